/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that the spawner's tests start; what it is to do is its first word.
 *
 *	exit N		ends with that status
 *	signal N	ends by that signal
 *	table N		has the descriptors 0 to N-1 and no other, each with its number in it (memfd), else
 *exits with 1 sleep		until it is ended; with descriptors, a byte to 0 when it is there daemon
 *leaves one behind that has forked twice and sleeps, with its byte to 0, and ends self		its pid, its
 *session's leader, $LISTEN_PID, its uid and gid, to 0
 *	limit N		the soft and hard limit of that number, to 0
 *	cat FILE	FILE, to 0
 *	groups		its groups, and the errnos of ways to have others, to 0
 *	mark TOKEN N [S]	the 64-bit number TOKEN, to 0; ends with N, after S seconds
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
has_number(int fd)
{
	int number = -1;

	return pread(fd, &number, sizeof(number), 0) == sizeof(number) && number == fd &&
	       fcntl(fd, F_GETFD) == 0;
}

static int
has_table(int n)
{
	for (int fd = 0; fd < n; fd++)
		if (!has_number(fd))
			return 0;
	/* As many as there can be; where the limit is high, as many as there is a reason for. */
	for (int fd = n; fd < n + 5000; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 0;
	return 1;
}

static void __attribute__((noreturn))
sleep_on(void)
{
	if (write(0, "s", 1) < 0)
		_exit(3);
	for (;;)
		pause();
}

static void
leave_behind(void)
{
	if (fork() != 0)
		return;
	setsid();
	if (fork() == 0)
		sleep_on();
	_exit(0);
}

static void
show_file(const char *path)
{
	char bytes[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

	if (n < 0 || write(0, bytes, (size_t)n) != n)
		_exit(1);
}

#define NEW_USER 0x10000000 /* CLONE_NEWUSER */

/* As it is, and as one who has all privilege in a user namespace of its own, if it gets one. */
static void
show_groups(void)
{
	char text[1024] = "";
	gid_t groups[64];
	int n = getgroups(64, groups), dropped, taken, made, mapped = 0;
	size_t at = 0;

	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%u ", (unsigned)groups[i]);
	dropped = setgroups(0, NULL) < 0 ? errno : 0;
	taken = setgid(0) < 0 ? errno : 0;
	made = (int)syscall(SYS_unshare, NEW_USER) < 0 ? errno : 0;
	if (made == 0)
		mapped = setgroups(0, NULL) < 0 ? errno : 0;
	at += (size_t)snprintf(text + at, sizeof(text) - at, "drop=%d root=%d", dropped, taken);
	if (made == 0)
		snprintf(text + at, sizeof(text) - at, " inside=%d", mapped);
	dprintf(0, "%s\n", text);
}

/* One write: of those that write to the same file none is torn. */
static int
mark(const char *token, int status, int sec)
{
	unsigned long long number = strtoull(token, NULL, 10);

	if (write(0, &number, sizeof(number)) != sizeof(number))
		return 255;
	sleep((unsigned)sec);
	return status;
}

int
main(int argc, char *argv[])
{
	const char *what = argc > 1 ? argv[1] : "", *word = argc > 2 ? argv[2] : "";
	int n = atoi(word);
	struct rlimit limit;

	if (strcmp(what, "exit") == 0)
		return n;
	if (strcmp(what, "mark") == 0 && argc > 3)
		return mark(word, atoi(argv[3]), argc > 4 ? atoi(argv[4]) : 0);
	if (strcmp(what, "signal") == 0)
		raise(n);
	if (strcmp(what, "table") == 0)
		return !has_table(n);
	if (strcmp(what, "sleep") == 0)
		sleep_on();
	if (strcmp(what, "daemon") == 0)
		leave_behind();
	if (strcmp(what, "cat") == 0)
		show_file(word);
	if (strcmp(what, "groups") == 0)
		show_groups();
	if (strcmp(what, "limit") == 0 && getrlimit((__rlimit_resource_t)n, &limit) == 0)
		dprintf(0, "%llu %llu\n", (unsigned long long)limit.rlim_cur,
			(unsigned long long)limit.rlim_max);
	if (strcmp(what, "self") == 0)
		dprintf(0, "%d %d %s %d %d\n", (int)getpid(), (int)getsid(0),
			getenv("LISTEN_PID") ? getenv("LISTEN_PID") : "-", (int)getuid(), (int)getgid());
	return 0;
}
