/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holder and binder: how they are started, what their ends mean, and by whom they are replaced. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/start/fdstore.h"
#include "capfsd/keeper/children.h"
#include "capfsd/keeper/private.h"
#include "capfsd/process/messages.h"

#define HOLDERS_WINDOW_MSEC 10000
#define BINDER_PAUSE_MSEC 100
#define BINDER_PAUSE_MAX_MSEC 2000
#define BINDER_GOOD_MSEC 5000

#define GIVING_UP LOG_FIELDS({"MESSAGE_ID", MESSAGE_GIVING_UP})

/* Starts a binder; *RET_FD is the broker's end of the pair. */
static int
start_binder(struct keeper *k, int *ret_fd)
{
	cleanup_close int theirs = -1, brokers = -1;
	int pair[2], r;

	r = fd_socketpair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return error_trace(r);
	theirs = pair[0];
	brokers = pair[1];
	r = children_start_binder(&k->boot, k->mount.path, theirs);
	if (r < 0)
		return error_trace(r);
	k->binder = r;
	k->binder_at = 0;
	k->binder_since = keeper_now_msec();
	*ret_fd = take_fd(brokers);
	return 0;
}

/* A holder needs new pairs, and a binder that knows the other end of one. */
int
family_start_holder(struct keeper *k, const struct fdstore *stored)
{
	cleanup_close int ours = -1, theirs = -1, binder = -1;
	struct children_fds fds = {
		.fuse = k->fuse_fd,
		.lock = k->lock_fd,
		.activation = k->activation_fd,
		.sockets = stored ? stored->sockets : NULL,
		.n_sockets = stored ? stored->n_sockets : 0,
	};
	int pair[2], r;

	r = start_binder(k, &binder);
	if (r < 0)
		return r;
	r = fd_socketpair(SOCK_SEQPACKET | SOCK_NONBLOCK, pair);
	if (r < 0)
		return error_trace(r);
	ours = pair[0];
	theirs = pair[1];
	fds.keeper = theirs;
	fds.binder = binder;
	r = children_start_holder(&k->boot, &fds);
	if (r < 0)
		return error_trace(r);
	k->holder = r;
	fd_close(k->peer_fd);
	k->peer_fd = take_fd(ours);
	k->holders_at[k->n_holders++ % HOLDERS_MAX] = keeper_now_msec();
	watchdog_loading(k);
	return 0;
}

void
family_replace_binder(struct keeper *k)
{
	cleanup_close int fd = -1;
	int r = start_binder(k, &fd);

	if (r < 0) {
		k->binder_at = keeper_now_msec() + BINDER_PAUSE_MAX_MSEC;
		return;
	}
	r = keeper_tell(k, KEEPER_BINDER, fd);
	/* Without its socket it ends at once, and is tried again later. */
	if (r < 0)
		log_message(LOG_WARNING, "the new binder cannot be handed to the broker: %s",
			strerror(-r));
}

static void
on_binder_end(struct keeper *k, int status)
{
	bool good = keeper_now_msec() - k->binder_since >= BINDER_GOOD_MSEC;

	k->binder = 0;
	if (k->stop_at || !k->holder)
		return;
	k->binder_pause_msec = good ? 0 : k->binder_pause_msec * 2 + BINDER_PAUSE_MSEC;
	if (k->binder_pause_msec > BINDER_PAUSE_MAX_MSEC)
		k->binder_pause_msec = BINDER_PAUSE_MAX_MSEC;
	k->binder_at = keeper_now_msec() + k->binder_pause_msec;
	if (WIFSIGNALED(status))
		log_message(LOG_WARNING, "the binder was ended by signal %d, starting another",
			WTERMSIG(status));
	else
		/* With 0 it saw the other end go, which is told elsewhere. */
		log_message(WEXITSTATUS(status) == 0 ? LOG_DEBUG : LOG_WARNING,
			"the binder ended with status %d, starting another",
			WEXITSTATUS(status));
}

/* Does the holder's status end the daemon? The broker has logged why. */
static bool
is_final(struct keeper *k, int status)
{
	if (!WIFEXITED(status))
		return false;
	switch (WEXITSTATUS(status)) {
	case BROKER_EXIT_STOPPED:
		keeper_end(k, 0);
		return true;
	case BROKER_EXIT_UNMOUNTED:
		keeper_log_unmounted(k);
		keeper_end(k, 0);
		return true;
	case BROKER_EXIT_REFUSED:
		keeper_end(k, 1);
		return true;
	default:
		return false;
	}
}

/*
 * Two brokers must never write one store: the pair hangs up when the last of holder and broker has
 * given its table up, which the kernel does behind the last of their writes.
 */
bool
family_wait_for_table(const struct keeper *k)
{
	uint64_t until = keeper_now_msec() + STOP_MSEC;
	struct pollfd p = {.fd = k->peer_fd};

	for (uint64_t now; (now = keeper_now_msec()) < until;)
		if (poll(&p, 1, (int)(until - now)) > 0 && (p.revents & (POLLHUP | POLLERR)))
			return true;
	return false;
}

static void
on_holder_end(struct keeper *k, int status)
{
	unsigned oldest = k->n_holders % HOLDERS_MAX;
	bool was_ended = WIFSIGNALED(status);
	/* Only to another main process does systemd give them back: of the installed binary, though. */
	bool kept = k->boot.store_max && k->ready && upgrade_lets_speak(k);
	int r;

	k->holder = 0;
	/* In an upgrade any program may have ended there, with any status. */
	if ((upgrade_lets_speak(k) && is_final(k, status)) || k->stop_at) {
		k->done = true;
		return;
	}
	log_event(LOG_WARNING,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_HOLDER_LOST},
			{was_ended ? "CAPFS_SIGNAL" : "CAPFS_STATUS", NULL,
				(uint64_t)(was_ended ? WTERMSIG(status) : WEXITSTATUS(status))}),
		"the holder %s %d: %s",
		was_ended ? "was ended by signal" : "ended with status",
		was_ended ? WTERMSIG(status) : WEXITSTATUS(status),
		kept ? "systemd is to start the daemon again, with what it keeps"
		     : "connections are lost, starting another");
	if (kept) {
		k->leaving = true;
		return keeper_end(k, EXIT_FAILURE);
	}
	if (k->boot.store_max)
		fdstore_forget_sockets();
	if (k->n_holders >= HOLDERS_MAX &&
		keeper_now_msec() - k->holders_at[oldest] < HOLDERS_WINDOW_MSEC) {
		log_event(LOG_CRIT, GIVING_UP, "%d holders in %d seconds have ended, giving up", HOLDERS_MAX,
			HOLDERS_WINDOW_MSEC / 1000);
		return keeper_end(k, 1);
	}
	if (!family_wait_for_table(k)) {
		log_event(LOG_CRIT, GIVING_UP, "the last broker does not end, giving up");
		return keeper_end(k, 1);
	}
	/* The old binder's pair is gone with the old table; it ends by itself. */
	k->binder = 0;
	r = family_start_holder(k, NULL);
	upgrade_on_holder_end(k);
	if (r < 0) {
		log_event(LOG_CRIT, GIVING_UP, "cannot start another holder: %s", strerror(-r));
		keeper_end(k, 1);
	}
}

void
family_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while (!k->done && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->holder)
			on_holder_end(k, status);
		else if (pid == k->binder)
			on_binder_end(k, status);
		else
			upgrade_on_child(k, pid, status);
		/* Others are brokers whose holder has died, and binders of before. */
	}
}
