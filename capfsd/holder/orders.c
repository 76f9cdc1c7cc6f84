/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the holder hears from the keeper while no broker is there to hear it, and what it says. It
 * owns nothing: the socket is found by its number, and what comes with a record is the caller's or
 * closed. The broker could have put a socket of its own there, so nothing is read before the kernel
 * has said that it is the one that we were born with. No record is read for longer than the keeper needs
 * to reply, since clients wait for the next broker.
 */
#include "config.h"

#include "capfsd/holder/orders.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/records.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"

#define ANSWER_MSEC 5000 /* the keeper replies at once, or is gone */

/* Before the first broker: what is there then is the keeper's, and no other socket ever has its cookie. */
uint64_t
orders_keeper(void)
{
	uint64_t cookie;

	return fd_socket_cookie(BOOT_FD_KEEPER, &cookie) < 0 ? 0 : cookie;
}

bool
orders_keeper_is_there(uint64_t keeper)
{
	return keeper && orders_keeper() == keeper;
}

int
orders_tell(const struct boot *boot, enum keeper_type type)
{
	struct keeper_record record = {.type = type, .generation = boot->generation};
	ssize_t n = msg_send(BOOT_FD_KEEPER, &record, sizeof(record), NULL, 0, MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

/*
 * One record, with the descriptor that comes along, or -1. Never waits, and leaves no descriptor
 * behind when the record is none. Returns: 0 or -errno.
 */
static int
receive(struct keeper_record *ret, int *ret_fd)
{
	size_t n_fds = 0;
	ssize_t n = msg_receive(BOOT_FD_KEEPER, ret, sizeof(*ret), ret_fd, 1, &n_fds, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	if (n_fds == 0)
		*ret_fd = -1;
	if (n == sizeof(*ret))
		return 0;
	*ret_fd = fd_close(*ret_fd);
	return -EBADMSG;
}

/*
 * All other records were meant for the broker that has just ended, and are void: a binder that is
 * lost so ends with its socket, and the keeper starts another. A BECOME without a binary is nothing
 * that can be obeyed.
 */
int
orders_receive(struct keeper_record *ret, int *ret_binary)
{
	struct pollfd p = {.fd = BOOT_FD_KEEPER, .events = POLLIN};

	for (;;) {
		cleanup_close int fd = -1;
		int r = poll(&p, 1, ANSWER_MSEC);

		if (r <= 0)
			return r < 0 ? -errno : -ETIMEDOUT;
		r = receive(ret, &fd);
		if (r < 0)
			return r;
		if (ret->type == KEEPER_GO_ON || (ret->type == KEEPER_BECOME && fd >= 0)) {
			*ret_binary = take_fd(fd);
			return 0;
		}
	}
}

/* What the holder does in a pause with a record of the keeper's. Returns: does the pause go on? */
struct order {
	enum keeper_type type;
	bool stays; /* in the queue, for a broker */
	bool (*obey)(int fd, enum orders_pause *ret);
};

/* The record stays in the queue, so that the broker that is started for it finds it there. */
static bool
obey_wanted(int fd, enum orders_pause *ret)
{
	*ret = ORDERS_PAUSE_WANTED;
	return false;
}

/* There is nothing to pause: that is what the keeper is to hear, as it waits for it. */
static bool
obey_pause(int fd, enum orders_pause *ret)
{
	*ret = ORDERS_PAUSE_ALONE;
	return false;
}

/* The next broker finds it where it would have found the one before. */
static bool
obey_binder(int fd, enum orders_pause *ret)
{
	if (fd >= 0)
		dup3(fd, BOOT_FD_BINDER, O_CLOEXEC);
	return true;
}

/* All others are for a broker that is no more, and void. */
static const struct order pause_orders[] = {
	{KEEPER_STOP, true, obey_wanted},
	{KEEPER_COPY, true, obey_wanted},
	{KEEPER_PAUSE, false, obey_pause},
	{KEEPER_BINDER, false, obey_binder},
};

static const struct order *
find_order(uint32_t type)
{
	for (size_t i = 0; i < sizeof(pause_orders) / sizeof(pause_orders[0]); i++)
		if (pause_orders[i].type == type)
			return &pause_orders[i];
	return NULL;
}

/*
 * The first record in the queue, by a look before it is taken: what only a broker can do must stay
 * for it. Returns: does the pause go on?
 */
static bool
obey(enum orders_pause *ret)
{
	struct keeper_record record;
	const struct order *order;
	cleanup_close int fd = -1;
	ssize_t n = recv(BOOT_FD_KEEPER, &record, sizeof(record), MSG_PEEK | MSG_DONTWAIT);

	order = n == sizeof(record) ? find_order(record.type) : NULL;
	if (order && order->stays)
		return order->obey(-1, ret);
	if (receive(&record, &fd) < 0 || !order)
		return true;
	return order->obey(fd, ret);
}

/* Only there so that the signal interrupts the sleep, and does not end the holder. */
static void
on_hangs(int signal)
{
}

/*
 * Sleeps until there is something to read, or it is time. The signal is let in by ppoll(2) alone:
 * one that came right before it would otherwise be over when the sleep begins. Returns: does the
 * pause go on?
 */
static bool
sleep_until(struct pollfd *p, uint64_t until_usec)
{
	const struct sigaction handler = {.sa_handler = on_hangs}, none = {.sa_handler = SIG_DFL};
	uint64_t now = clock_usec(CLOCK_MONOTONIC), left = now < until_usec ? until_usec - now : 0;
	struct timespec t = {
		.tv_sec = (time_t)(left / 1000000),
		.tv_nsec = (long)(left % 1000000) * 1000,
	};
	sigset_t waiting;
	int r;

	if (left == 0)
		return false;
	/* Only while it sleeps: a broker is not to inherit the handler. */
	sigaction(HOLDER_SIGNAL_HANGS, &handler, NULL);
	sigprocmask(SIG_BLOCK, NULL, &waiting);
	sigdelset(&waiting, HOLDER_SIGNAL_HANGS);
	r = ppoll(p, 1, &t, &waiting);
	sigaction(HOLDER_SIGNAL_HANGS, &none, NULL);
	/* A signal here says that the keeper has waited long enough. */
	return r > 0;
}

enum orders_pause
orders_pause(uint64_t keeper, uint64_t until_usec)
{
	struct pollfd p = {.fd = BOOT_FD_KEEPER, .events = POLLIN};
	enum orders_pause over = ORDERS_PAUSE_OVER;

	if (!orders_keeper_is_there(keeper))
		p.fd = -1;
	while (sleep_until(&p, until_usec)) {
		if (p.revents & POLLIN) {
			if (!obey(&over))
				break;
		} else {
			/* It has hung up: what is left is to wait, or to end with the keeper. */
			p.fd = -1;
		}
	}
	return over;
}

/* So that the end does not wait for brokers that never live long enough to obey. */
uint32_t
orders_drop(uint64_t keeper)
{
	struct keeper_record record;
	cleanup_close int fd = -1;

	return orders_keeper_is_there(keeper) && receive(&record, &fd) == 0 ? record.type : 0;
}
