/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Speaks the control protocol at a socket, as its script says line by line:
 *
 *	speak [-u UID] SOCKET	lines "read NODE", "list NODE", "write NODE TEXT", "create NODE [QUOTA]", "remove NODE",
 *				"bytes HEX", "run SESSION PROGRAM", whose exit code is told,
 *				"start PROGRAM ARGUMENT", whose thread is, from stdin; a line for each: "ok FIRST LINE OF THE REPLY", or "ERRNO REASON"
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT UINT64_C(60000000)

static int
become(const char *uid)
{
	uid_t to = (uid_t)atoi(uid);

	return setgroups(0, NULL) < 0 || setresgid(to, to, to) < 0 || setresuid(to, to, to) < 0 ? -errno : 0;
}

static int
reach(const char *path, capc_session **ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return fd < 0 ? -errno : -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return capc_session_from_fd(fd, ret);
}

static int
add(const char *name, void *data)
{
	char *line = data;
	size_t n = strlen(line);

	snprintf(line + n, 1024 - n, "%s%s", n ? " " : "", name);
	return 0;
}

/* "0aff": they are sent as they are, and then it is looked whether that has ended it. */
static int
send_bytes(capc_session *s, const char *hex)
{
	char bytes[4096];
	size_t n = 0;
	ssize_t r = 1;
	unsigned byte;

	for (; sscanf(hex + 2 * n, "%2x", &byte) == 1 && n < sizeof(bytes); n++)
		bytes[n] = (char)byte;
	if (send(capc_session_fd(s), bytes, n, MSG_NOSIGNAL) < 0)
		return -errno;
	while (r > 0)
		r = recv(capc_session_fd(s), bytes, sizeof(bytes), 0);
	return r < 0 ? -errno : 0;
}

/* Returns: as capc_spawn(), with "code=N" of the program in *RET. */
static int
run(capc_session *s, const char *session, char *program, char **ret)
{
	char *const argv[] = {program, NULL};
	const struct capc_spawn how = {.size = sizeof(how), .session = session, .argv = argv};
	struct capc_exit end;
	capc_thread *t = NULL;
	int r = capc_spawn(s, &how, TIMEOUT, &t, NULL);

	if (r == 0)
		r = capc_thread_wait(t, TIMEOUT, &end);
	if (r == 0 && asprintf(ret, "code=%d", WIFEXITED(end.status) ? WEXITSTATUS(end.status) : -1) < 0)
		r = -ENOMEM;
	capc_thread_free(t);
	return r;
}

/* Nobody waits for it, and it is kept until this process ends. Returns: as capc_spawn(), with the thread in *RET. */
static int
start(capc_session *s, const char *program, char *argument, char **ret)
{
	char *const argv[] = {(char *)(uintptr_t)program, argument, NULL};
	const struct capc_spawn how = {.size = sizeof(how), .argv = argv};
	capc_thread *t = NULL;
	int r = capc_spawn(s, &how, TIMEOUT, &t, NULL);

	if (r == 0)
		*ret = strdup(capc_thread_id(t));
	capc_thread_free(t);
	return r;
}

static int
ask(capc_session *s, const char *verb, const char *node, char *text, char **ret)
{
	static char names[1024];

	names[0] = '\0';
	if (strcmp(verb, "read") == 0)
		return capc_read(s, node, ret, TIMEOUT);
	if (strcmp(verb, "write") == 0)
		return capc_write(s, node, text, ret, TIMEOUT);
	if (strcmp(verb, "create") == 0)
		return capc_create(s, node, *text ? text : NULL, ret, TIMEOUT);
	if (strcmp(verb, "remove") == 0)
		return capc_remove(s, node, ret, TIMEOUT);
	if (strcmp(verb, "run") == 0)
		return run(s, strcmp(node, ".") == 0 ? NULL : node, text, ret);
	if (strcmp(verb, "start") == 0)
		return start(s, node, text, ret);
	if (strcmp(verb, "bytes") == 0)
		return send_bytes(s, node);
	if (strcmp(verb, "list") == 0) {
		int r = capc_list(s, node, add, names, TIMEOUT);

		*ret = strdup(names);
		return r;
	}
	return -ENOSYS;
}

static void
answer(capc_session *s, char *line)
{
	cleanup_free char *text = NULL;
	char none[] = "";
	const char *verb = strsep(&line, " "), *node = strsep(&line, " ");
	int r = ask(s, verb, node ? node : "", line ? line : none, &text);

	if (r < 0)
		printf("%s %s\n", error_name(r), capc_session_reason(s));
	else
		printf("ok %.*s\n", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	bool as = argc == 4 && strcmp(argv[1], "-u") == 0;
	capc_session *s = NULL;
	char line[4096];
	int r = as ? become(argv[2]) : 0;

	if (argc != 2 && !as)
		return 2;
	if (r == 0)
		r = reach(argv[argc - 1], &s);
	if (r < 0) {
		fprintf(stderr, "speak: %s\n", error_name(r));
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(s, line);
	}
	capc_session_free(s);
	return 0;
}
