/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program for the test scripts: does single system calls and says how each ended, by the name of
 * the errno, which a shell cannot.
 *
 *	probe [-u UID] try			lines "OPERATION PATH [ARGUMENT]" from stdin; one result a line
 *	probe [-u UID] write PATH FILE…		one open file, one write(2) of each FILE's bytes
 *	probe [-u UID] command PATH TEXT	writes TEXT and prints what the same open file gives then
 *	probe [-u UID] ask PATH TEXT		a conversation: TEXT, half-close, everything until EOF
 *	probe [-u UID] flood PATH N SECONDS	opens N connections and keeps them
 *	probe [-u UID] inherit PATH CMD…	runs CMD with a connection as descriptor 3
 *	probe [-u UID] linger PATH SECONDS PID	sends PID, the daemon, a TCP socket that lingers so long when closed
 *	probe [-u UID] poll PATH SECONDS	reads a log to its end and polls it until something comes
 *	probe [-u UID] keep PATH CMD…		runs CMD with PATH, opened with O_PATH, as descriptor 3
 *	probe [-u UID] serve [PATH]		a plain server that echoes, on a socket of its own, or one by LISTEN_FDS
 *	probe [-u UID] fuzz DIR SECONDS SEED	random commands to all command files below DIR
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "tests/probe.h"

#define PROBE_FILE_MAX (1 << 20)

struct operation {
	const char *name;
	int (*run)(const char *path, const char *argument); /* 0 or -errno */
};

static int
result(int r)
{
	return r < 0 ? -errno : 0;
}

static int
try_stat(const char *path, const char *argument)
{
	struct stat st;

	return result(lstat(path, &st));
}

/* A control group, as systemd marks it. */
static int
try_delegate(const char *path, const char *argument)
{
	return result(setxattr(path, "user.delegate", "1", 1, 0));
}

static int
try_open_as(const char *path, int flags)
{
	cleanup_close int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

	return result(fd);
}

static int
try_open(const char *path, const char *argument)
{
	return try_open_as(path, O_RDONLY);
}

static int
try_openw(const char *path, const char *argument)
{
	return try_open_as(path, O_WRONLY);
}

static int
try_read(const char *path, const char *argument)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buffer[4096];
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buffer, sizeof(buffer));
	while (n > 0);
	return result((int)n);
}

static int
try_write(const char *path, const char *argument)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return result((int)write(fd, argument, strlen(argument)));
}

static int
try_list(const char *path, const char *argument)
{
	cleanup_closedir DIR *d = opendir(path);

	if (!d)
		return -errno;
	errno = 0;
	while (readdir(d))
		;
	return -errno;
}

static int
try_connect(const char *path, const char *argument)
{
	cleanup_close int fd = probe_connect(path);

	return fd < 0 ? fd : 0;
}

static int
try_bind(const char *path, const char *argument)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	return result(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int
try_mkdir(const char *path, const char *argument)
{
	return result(mkdir(path, 0777));
}

static int
try_rmdir(const char *path, const char *argument)
{
	return result(rmdir(path));
}

static int
try_unlink(const char *path, const char *argument)
{
	return result(unlink(path));
}

static int
try_rename(const char *path, const char *argument)
{
	return result(rename(path, argument));
}

static int
try_link(const char *path, const char *argument)
{
	return result(link(path, argument));
}

static int
try_symlink(const char *path, const char *argument)
{
	return result(symlink("target", path));
}

static int
try_mkfifo(const char *path, const char *argument)
{
	return result(mkfifo(path, 0600));
}

static int
try_create(const char *path, const char *argument)
{
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return result(fd);
}

static int
try_truncate(const char *path, const char *argument)
{
	return result(truncate(path, 0));
}

static int
try_chmod(const char *path, const char *argument)
{
	return result(chmod(path, (mode_t)strtoul(argument, NULL, 8)));
}

static int
try_chown(const char *path, const char *argument)
{
	return result(chown(path, (uid_t)strtoul(argument, NULL, 10), (gid_t)-1));
}

static const struct operation operations[] = {
	{"bind", try_bind},
	{"chmod", try_chmod},
	{"chown", try_chown},
	{"connect", try_connect},
	{"create", try_create},
	{"delegate", try_delegate},
	{"link", try_link},
	{"list", try_list},
	{"mkdir", try_mkdir},
	{"mkfifo", try_mkfifo},
	{"open", try_open},
	{"openw", try_openw},
	{"read", try_read},
	{"rename", try_rename},
	{"rmdir", try_rmdir},
	{"stat", try_stat},
	{"symlink", try_symlink},
	{"truncate", try_truncate},
	{"unlink", try_unlink},
	{"write", try_write},
};

static const char *
try_line(char *line)
{
	char *save = NULL, *name = strtok_r(line, " ", &save), *path = strtok_r(NULL, " ", &save);

	if (!name || !path)
		return "?";
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!strcmp(operations[i].name, name)) {
			int r = operations[i].run(path, save ? save : "");

			return r < 0 ? error_name(r) : "OK";
		}
	return "?";
}

static int
probe_try(int argc, char **argv)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		puts(try_line(line));
		fflush(stdout);
	}
	return 0;
}

/* All bytes of a file. Returns: how many, or -errno. */
static ssize_t
load(const char *path, char *buffer, size_t size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r;

	if (fd < 0)
		return -errno;
	while ((r = read(fd, buffer + n, size - n)) > 0)
		n += (size_t)r;
	return r < 0 ? -errno : (ssize_t)n;
}

static int
probe_write(int argc, char **argv)
{
	cleanup_free char *buffer = malloc(PROBE_FILE_MAX);
	cleanup_close int fd = -1;
	int status = 0;

	if (argc < 3 || !buffer)
		return 2;
	fd = open(argv[1], O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		puts(error_name(errno));
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		ssize_t n = load(argv[i], buffer, PROBE_FILE_MAX);
		bool done = n >= 0 && write(fd, buffer, (size_t)n) == n;

		puts(done ? "OK" : error_name(n < 0 ? (int)n : errno));
		status |= !done;
	}
	return status;
}

static int
probe_command(int argc, char **argv)
{
	cleanup_close int fd = -1;
	char buffer[4096];
	ssize_t n;
	int error = 0;

	if (argc != 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		puts(error_name(errno));
		return 1;
	}
	if (write(fd, argv[2], strlen(argv[2])) < 0)
		error = errno;
	if (error)
		printf("%s ", error_name(error));
	fflush(stdout);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (write(STDOUT_FILENO, buffer, (size_t)n) != n)
			return 2;
	return error != 0;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"ask", probe_ask},
	{"command", probe_command},
	{"flood", probe_flood},
	{"fuzz", probe_fuzz},
	{"inherit", probe_inherit},
	{"keep", probe_keep},
	{"linger", probe_linger},
	{"poll", probe_poll},
	{"serve", probe_serve},
	{"try", probe_try},
	{"write", probe_write},
};

static int
become(const char *text)
{
	uid_t uid = (uid_t)strtoul(text, NULL, 10);

	if (uid == getuid())
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

int
main(int argc, char **argv)
{
	int at = 1;

	if (argc > 2 && !strcmp(argv[1], "-u")) {
		if (become(argv[2]) < 0) {
			perror("probe: -u");
			return 2;
		}
		at = 3;
	}
	if (at < argc)
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (!strcmp(commands[i].name, argv[at]))
				return commands[i].run(argc - at, argv + at);
	fprintf(stderr, "usage: probe [-u UID] ask|command|flood|fuzz|inherit|keep|linger|poll|serve|try|write …\n");
	return 2;
}
