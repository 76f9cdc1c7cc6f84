/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client that leaves a descriptor whose release takes long, for tests.
 *
 *	fd-bomb SOCKET WATCHES
 *
 * Makes two epolls with so many watches each, closes one of them, and leaves the other in the queue of a
 * connection to SOCKET, nowhere else. Prints "MSEC sent": how much CPU time the first has taken to close;
 * or an errno's name instead. Then it waits for the end of stdin.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"

#define SLOTS 3000 /* numbers of descriptors: a watch is a file and a number */
#define SLOT_FIRST 1000

static void
check(bool good)
{
	if (good)
		return;
	puts(strerrorname_np(errno));
	exit(0);
}

static int
bomb(unsigned n)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {};

	check(epoll >= 0);
	for (unsigned done = 0; done < n;) {
		/* Never closed: its watches go with the epoll. */
		int file = eventfd(0, EFD_CLOEXEC);

		check(file >= 0);
		for (int i = 0; i < SLOTS && done < n; i++, done++) {
			check(dup2(file, SLOT_FIRST + i) >= 0);
			check(epoll_ctl(epoll, EPOLL_CTL_ADD, SLOT_FIRST + i, &event) == 0);
		}
	}
	return epoll;
}

int
main(int argc, char **argv)
{
	const struct rlimit limit = {SLOT_FIRST + SLOTS, SLOT_FIRST + SLOTS};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint64_t before;
	int fd, sent;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: fd-bomb SOCKET WATCHES\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	fd = bomb((unsigned)atoi(argv[2]));
	before = clock_usec(CLOCK_PROCESS_CPUTIME_ID);
	close(fd);
	before = clock_usec(CLOCK_PROCESS_CPUTIME_ID) - before;
	sent = bomb((unsigned)atoi(argv[2]));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(msg_send(fd, "x", 1, &sent, 1, 0) == 1);
	close(sent);
	printf("%u sent\n", (unsigned)(before / 1000));
	fflush(stdout);
	while (getchar() != EOF)
		continue;
	return 0;
}
