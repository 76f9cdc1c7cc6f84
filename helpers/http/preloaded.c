/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded into HAProxy (LD_PRELOAD), which polls by epoll(7) and takes it that what it closes is polled no more. That
 * is so of a socket of which nobody has a duplicate; but of those that it has from us the daemon has one, and we
 * another. What happens to such a socket later is then told of whatever has its number next: the end of one client
 * broke the request of another one off. And one that has hung up is told again and again, until all have closed it.
 *
 * So what is closed is taken out of the poller first. Nothing else is changed; counter.c is loaded with it, and called.
 */
#include "config.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int epoll_create1(int flags);
EXPORTED int epoll_create(int size);
EXPORTED int close(int fd);

static int poller = -1;

int
epoll_create1(int flags)
{
	poller = (int)syscall(SYS_epoll_create1, flags);
	return poller;
}

int
epoll_create(int size)
{
	return epoll_create1(0);
}

/* What is not in there is left as it is. */
int
close(int fd)
{
	int kept = errno;

	if (poller >= 0 && fd != poller)
		syscall(SYS_epoll_ctl, poller, EPOLL_CTL_DEL, fd, NULL);
	errno = kept;
	return (int)syscall(SYS_close, fd);
}
