/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests/it-open-sockets.sh has opened, and who listens there. The first word says what:
 *
 *	flags PATH	three opens: has it CLOEXEC, is it non-blocking
 *	nofollow PATH	the error
 *	paths PATH	a path that ends with its page, one without end, one that is nowhere, an empty one
 *	full PATH	there is no number left: the error
 *	undumpable PATH	nobody may look into it: the error
 *	chroot DIR PATH	the error where DIR is the root; status 77: it cannot be
 *	race GOOD BAD N	N opens while another thread changes the path: how many have succeeded with either
 *	storm PATH N	N opens by four threads: how many have given no socket, and what is open then
 *	listen PATH	keeps one waiting whom it made itself, for whom alone there is room; lets others in from a
 *			byte of its input on, and at the end of that says how many it were
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *
result(int fd)
{
	struct stat s;

	if (fd < 0)
		return strerrorname_np(errno);
	return fstat(fd, &s) == 0 && S_ISSOCK(s.st_mode) ? "socket" : "file";
}

static int
flags(const char *path)
{
	static const int all[] = {O_RDWR, O_RDWR | O_CLOEXEC, O_RDWR | O_NONBLOCK};

	for (int i = 0; i < 3; i++) {
		int fd = open(path, all[i]);

		if (fd < 0)
			return 1;
		printf("%d %d\n", fcntl(fd, F_GETFD) == FD_CLOEXEC,
			(fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	}
	return 0;
}

static int
paths(const char *path)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = strlen(path) + 1, n_long = 3 * PATH_MAX;
	char *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at_end = map + page - n, *too_long = malloc(n_long);

	if (map == MAP_FAILED || !too_long || munmap(map + page, page) < 0)
		return 1;
	memcpy(at_end, path, n);
	memset(too_long, '/', n_long);
	puts(result(open(at_end, O_RDWR)));
	puts(result(open(too_long, O_RDWR)));
	puts(result(open(map + page, O_RDWR)));
	puts(result(open("", O_RDWR)));
	free(too_long);
	return 0;
}

static int
full(const char *path)
{
	const struct rlimit none = {3, 3};

	if (setrlimit(RLIMIT_NOFILE, &none) < 0)
		return 1;
	puts(result(open(path, O_RDWR)));
	return 0;
}

static int
with_root(const char *directory, const char *path)
{
	if (unshare(CLONE_NEWUSER) < 0 || chroot(directory) < 0 || chdir("/") < 0)
		return 77;
	puts(result(open(path, O_RDWR)));
	return 0;
}

/* --- a path that changes --- */

static const char *names[2];
static char name[PATH_MAX];

static void *
change(void *p)
{
	(void)p;
	for (unsigned i = 0;; i++)
		memcpy(name, names[i % 2], PATH_MAX);
	return NULL;
}

static int
race(const char *good, const char *bad, int n)
{
	static char both[2][PATH_MAX];
	int files = 0, sockets = 0;
	pthread_t t;

	snprintf(both[0], PATH_MAX, "%s", good);
	snprintf(both[1], PATH_MAX, "%s", bad);
	names[0] = both[0];
	names[1] = both[1];
	memcpy(name, good, strlen(good) + 1);
	if (pthread_create(&t, NULL, change, NULL) != 0)
		return 1;
	for (int i = 0; i < n; i++) {
		int fd = open(name, O_RDWR);
		const char *what = result(fd);

		files += strcmp(what, "file") == 0;
		sockets += strcmp(what, "socket") == 0;
		if (fd >= 0)
			close(fd);
	}
	printf("%d %d\n", files, sockets);
	return 0;
}

/* --- while nobody is sure who answers --- */

static const char *stormed;
static int storm_left, storm_others;

static void *
storm_one(void *p)
{
	(void)p;
	while (__atomic_fetch_sub(&storm_left, 1, __ATOMIC_RELAXED) > 0) {
		int fd = open(stormed, O_RDWR | O_CLOEXEC);

		if (strcmp(result(fd), "socket") == 0 && fd > STDERR_FILENO) {
			close(fd);
			continue;
		}
		__atomic_fetch_add(&storm_others, 1, __ATOMIC_RELAXED);
		if (fd > STDERR_FILENO)
			close(fd);
	}
	return NULL;
}

/* What is open then, beside what was given. */
static int
count_open(void)
{
	int n = 0;

	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int
storm(const char *path, int n)
{
	pthread_t t[4];

	stormed = path;
	storm_left = n;
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, storm_one, NULL) != 0)
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("%d others, %d left open\n", storm_others, count_open());
	return 0;
}

/* --- who listens --- */

static int
let_in(int fd)
{
	int other = accept(fd, NULL, NULL);

	if (other < 0 || write(other, "ok\n", 3) != 3)
		return 0;
	close(other);
	return 1;
}

static int
serve(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), own = socket(AF_UNIX, SOCK_STREAM, 0), n = 0;
	struct pollfd p[] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	char byte;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(path, 0777) < 0 ||
		listen(fd, 0) < 0 || connect(own, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	puts("listens");
	fflush(stdout);
	if (read(0, &byte, 1) != 1)
		return 1;
	close(accept(fd, NULL, NULL));
	while (poll(p, 2, -1) > 0) {
		if (p[1].revents)
			n += let_in(fd);
		else if (p[0].revents && read(0, &byte, 1) <= 0)
			break;
	}
	printf("%d\n", n);
	return 0;
}

int
main(int argc, char *argv[])
{
	const char *what = argc > 2 ? argv[1] : "", *path = argv[argc > 2 ? 2 : 0];

	if (strcmp(what, "flags") == 0)
		return flags(path);
	if (strcmp(what, "paths") == 0)
		return paths(path);
	if (strcmp(what, "full") == 0)
		return full(path);
	if (strcmp(what, "listen") == 0)
		return serve(path);
	if (strcmp(what, "chroot") == 0 && argc == 4)
		return with_root(path, argv[3]);
	if (strcmp(what, "race") == 0 && argc == 5)
		return race(path, argv[3], atoi(argv[4]));
	if (strcmp(what, "storm") == 0 && argc == 4)
		return storm(path, atoi(argv[3]));
	if (strcmp(what, "undumpable") == 0)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	else if (strcmp(what, "nofollow") != 0)
		return 2;
	puts(result(open(path, O_RDWR | (*what == 'n' ? O_NOFOLLOW : 0))));
	return 0;
}
