/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In place of capfs-spawner, started as that is: it takes the first record of each connection, greets with
 * a record that has its pid, and a descriptor, and starts nothing. What it sees is a line each in a file beside
 * the program, PROGRAM.saw:
 *
 *	start PID FD…			with these descriptors open
 *	environment WORD…		all of it
 *	attach MOUNTPOINT		a connection began as it must
 *	bad				it did not
 *	end				a connection's
 *
 * PROGRAM.mode has one word, if it is there: deaf (accepts nothing), dies (at once), stays (SIGTERM is ignored).
 *
 *	played-spawner --listen PATH	listens there by itself, as systemd would for it
 *	played-spawner --ask WHOM	connects to that path, or to the spawner of the keeper of that pid, and
 *					prints its pid
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "wire/process.h"

#define LISTENER 3
#define N_CONNECTIONS 256
#define TOGETHER_MSEC 30000

struct attach {
	struct process_record record;
	char mountpoint[PATH_MAX];
};

static char program[PATH_MAX - 8];
static int saw;

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static bool
has_mode(const char *word)
{
	char path[PATH_MAX], mode[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s.mode", program);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(mode, sizeof(mode), f))
		mode[0] = '\0';
	fclose(f);
	return strncmp(mode, word, strlen(word)) == 0;
}

static void
begin(void)
{
	char path[PATH_MAX];
	int *fds = NULL;
	size_t n = 0;

	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		fail("readlink");
	fd_list(&fds, &n);
	snprintf(path, sizeof(path), "%s.saw", program);
	saw = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (saw < 0)
		fail(path);
	dprintf(saw, "start %d", (int)getpid());
	for (size_t i = 0; i < n; i++)
		dprintf(saw, " %d", fds[i]);
	dprintf(saw, "\nenvironment");
	for (char **e = environ; *e; e++)
		dprintf(saw, " %s", *e);
	dprintf(saw, "\n");
	free(fds);
	prctl(PR_SET_NAME, "capfs-spawner");
	if (has_mode("dies"))
		exit(3);
	if (has_mode("stays"))
		signal(SIGTERM, SIG_IGN);
}

static void
greet(int fd)
{
	struct process_record record = {.type = PROCESS_SYNCED, .pid = (uint32_t)getpid()};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (msg_send(fd, &record, sizeof(record), &null, 1, MSG_DONTWAIT) < 0)
		dprintf(saw, "cannot greet\n");
	close(null);
}

static void
take_first(int fd)
{
	struct attach attach = {};
	struct ucred peer;
	socklen_t size = sizeof(peer);
	ssize_t n = recv(fd, &attach, sizeof(attach), 0), length = n - (ssize_t)sizeof(attach.record);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
		(peer.uid != 0 && peer.uid != geteuid()) || length < 2 ||
		attach.record.type != PROCESS_ATTACH || attach.record.version != PROCESS_VERSION ||
		memchr(attach.mountpoint, '\0', (size_t)length) != attach.mountpoint + length - 1) {
		dprintf(saw, "bad\n");
		return;
	}
	dprintf(saw, "attach %s\n", attach.mountpoint);
	greet(fd);
}

static int
serve(void)
{
	struct pollfd p[1 + N_CONNECTIONS] = {{.fd = LISTENER, .events = POLLIN}};
	bool known[1 + N_CONNECTIONS] = {};
	nfds_t n = 1;
	char byte;

	if (has_mode("deaf"))
		for (;;)
			pause();
	while (poll(p, n, -1) > 0) {
		for (nfds_t i = 1; i < n; i++) {
			if (!p[i].revents)
				continue;
			if (!known[i]) {
				take_first(p[i].fd);
				known[i] = true;
			} else if (recv(p[i].fd, &byte, 1, MSG_TRUNC) <= 0) {
				dprintf(saw, "end\n");
				close(p[i].fd);
				p[i].fd = -1;
			}
		}
		if (p[0].revents && n <= N_CONNECTIONS) {
			p[n].fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC);
			p[n++].events = POLLIN;
		}
	}
	return 1;
}

static int
listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	(void)fd_refuse_descriptors(fd);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0 ||
		(fd != LISTENER && dup3(fd, LISTENER, O_CLOEXEC) < 0))
		fail(path);
	begin();
	return serve();
}

/* The keeper's descriptor of the listener's file is the one of that name, which it has no more. */
static void
connect_of(int fd, const char *keeper)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char target[PATH_MAX];

	if (keeper[0] == '/')
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", keeper);
	for (int i = 3; keeper[0] != '/' && i < 64; i++) {
		ssize_t n;

		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/%s/fd/%d", keeper, i);
		n = readlink(address.sun_path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (strstr(target, "/spawner.new"))
			break;
	}
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(address.sun_path);
}

static int
ask(const char *keeper)
{
	struct attach attach = {.record = {.type = PROCESS_ATTACH, .version = PROCESS_VERSION}, .mountpoint = "/asked"};
	struct process_record record;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	connect_of(fd, keeper);
	if (send(fd, &attach, sizeof(attach.record) + sizeof("/asked"), MSG_NOSIGNAL) < 0)
		fail("send");
	if (poll(&p, 1, TOGETHER_MSEC) <= 0 || recv(fd, &record, sizeof(record), 0) != sizeof(record))
		fail("no greeting");
	printf("%u\n", record.pid);
	return 0;
}

int
main(int argc, char *argv[])
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

	if (argc == 3 && strcmp(argv[1], "--listen") == 0)
		return listen_at(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--ask") == 0)
		return ask(argv[2]);
	if (!pid || !n || atoi(pid) != getpid() || strcmp(n, "1") != 0)
		return 2;
	begin();
	return serve();
}
