/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's children: when each is started, what its end means, and when the next one is due. It
 * owns their pids and nothing else of them; what a role does is in the room of that name. It waits
 * for nobody but at the end, and for the last broker of a holder that has died: two brokers must
 * never write one store.
 */
#include "config.h"

#include "capfsd/keeper/family.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/holder/holder.h"
#include "capfsd/keeper/state.h"
#include "capfsd/minder/minder.h"
#include "capfsd/process/child.h"
#include "capfsd/start/fdstore.h"

#define RETRY_MSEC 2000 /* when no process or no descriptor is to be had */

static int
start_binder(struct keeper *k, int *ret_fd)
{
	int r = binder_start(&k->boot, k->mount.path, &k->binder, ret_fd);

	if (r > 0)
		child_started(&k->children[CHILD_BINDER], r);
	k->at[ALARM_LOOK] = binder_watch_msec(&k->binder);
	return r < 0 ? r : 0;
}

/*
 * A holder needs a binder that knows the other end of a pair which it is born with: so they begin
 * together, and the binder first. When the holder cannot be made, that pair is closed and the
 * binder ends by itself. The old pair to the keeper is closed only when there is a new one, since
 * its end tells who of before still lives.
 */
int
family_start_holder(struct keeper *k, const struct fdstore *stored)
{
	cleanup_close int binder = -1;
	struct holder_fds fds = {
		.fuse = k->held.fuse_fd,
		.lock = k->held.lock_fd,
		.activation = k->held.activation_fd,
		.sockets = stored ? stored->sockets : NULL,
		.n_sockets = stored ? stored->n_sockets : 0,
	};
	int r, peer;

	r = start_binder(k, &binder);
	if (r < 0)
		return error_trace(r);
	fds.binder = binder;
	r = holder_start(&k->boot, &fds, &peer);
	if (r < 0)
		return error_trace(r);
	child_started(&k->children[CHILD_HOLDER], r);
	/* A broker may be anybody's by now: what it sends must not be closed here. */
	(void)fd_refuse_descriptors(peer);
	fd_close(k->held.peer_fd);
	k->held.peer_fd = peer;
	return 0;
}

/*
 * Two brokers must never write one store: the last one has ended when its table is given up, which
 * the kernel tells at the pair. It may take its time in a system call, while the keeper goes on and
 * looks again later.
 */
void
family_next_holder(struct keeper *k)
{
	k->at[ALARM_HOLDER] = 0;
	if (!child_is_gone(k->held.peer_fd, KEEPER_STOP_MSEC))
		log_message(LOG_ERR, "the last broker does not end, waiting for it");
	else if (family_start_holder(k, NULL) < 0)
		log_message(LOG_ERR, "cannot start another holder, trying it again");
	else
		return;
	k->at[ALARM_HOLDER] = clock_msec(CLOCK_MONOTONIC) + RETRY_MSEC;
}

/*
 * For the broker that is there and can be told of it. In an upgrade nobody can, and it is tried
 * again. The time of the next try is set first, so that no way out of here leaves the daemon
 * without a binder for good.
 */
void
family_next_binder(struct keeper *k)
{
	cleanup_close int fd = -1;
	int r;

	k->at[ALARM_BINDER] = clock_msec(CLOCK_MONOTONIC) + RETRY_MSEC;
	if (!upgrade_lets_speak(&k->upgrade) || start_binder(k, &fd) < 0)
		return;
	k->at[ALARM_BINDER] = 0;
	r = keeper_tell(k, KEEPER_BINDER, fd);
	/* Without its socket it ends at once, and is tried again later. */
	if (r < 0)
		log_message(LOG_WARNING, "the new binder cannot be handed to the broker: %s",
			strerror(-r));
}

/*
 * A broker may be anybody's by now. It gets a connection at once, and again after a pause that grows
 * as long as it asks; what comes of that is told by its end, and none of it is read here.
 */
void
family_want_spawner(struct keeper *k, uint32_t generation)
{
	k->held.spawner_wanted = 1;
	if (!k->at[ALARM_SPAWNER])
		k->at[ALARM_SPAWNER] = child_ended(&k->children[CHILD_SPAWNER]);
}

void
family_give_spawner(struct keeper *k)
{
	cleanup_close int fd = minder_connect(&k->held);

	k->at[ALARM_SPAWNER] = k->held.spawner_wanted = 0;
	child_started(&k->children[CHILD_SPAWNER], 0);
	(void)keeper_tell(k, KEEPER_SPAWNER, fd);
}

/* One that hangs is killed and not waited for, as it may sleep in a call that ignores even that. */
void
family_look_at_binder(struct keeper *k)
{
	struct child *binder = &k->children[CHILD_BINDER];
	bool hangs = binder->pid && !binder_turns(&k->binder, binder->pid);

	k->at[ALARM_LOOK] = binder->pid && !hangs ? binder_watch_msec(&k->binder) : 0;
	if (!hangs || keeper_is_stopping(k))
		return;
	log_message(LOG_WARNING, "the binder does not turn its loop, starting another");
	child_signal(binder, SIGKILL);
	k->at[ALARM_BINDER] = child_ended(binder);
}

/*
 * Meanwhile look-ups of sockets wait for at most as long as they always do, and connections go on:
 * they do not need it.
 */
static void
on_binder_end(struct keeper *k, int status)
{
	/* Without a holder it ends by itself, and comes with the next one. */
	if (keeper_is_stopping(k) || !k->children[CHILD_HOLDER].pid)
		return;
	k->at[ALARM_BINDER] = child_ended(&k->children[CHILD_BINDER]);
	binder_log_end(status);
}

/* Somebody else may have unmounted, which the holder's status alone tells. */
static bool
is_final(struct keeper *k, int status)
{
	int exit_status;

	if (!holder_end_is_final(status, &exit_status))
		return false;
	if (WEXITSTATUS(status) == BROKER_EXIT_UNMOUNTED)
		mount_log_gone(&k->mount);
	keeper_end(k, exit_status);
	return true;
}

/*
 * The table is gone with it, and with that all connections, unless systemd has copies. Those it
 * passes only to another main process, so then the daemon ends with a failure and is started again;
 * else another holder goes on with the keeper's copy of the connection to the kernel, and open
 * files of the tree stay.
 */
static void
on_holder_end(struct keeper *k, int status)
{
	/*
	 * Not in an upgrade: systemd starts the installed binary, which may be the one that has
	 * just failed.
	 */
	bool kept = k->boot.store_max && k->ready && upgrade_lets_speak(&k->upgrade);

	/* In an upgrade any program may have ended there, with any status. */
	if ((upgrade_lets_speak(&k->upgrade) && is_final(k, status)) || keeper_is_stopping(k)) {
		k->done = true;
		return;
	}
	holder_log_end(status, kept);
	if (kept) {
		k->leaving = true;
		return keeper_end(k, EXIT_FAILURE);
	}
	if (k->boot.store_max)
		fdstore_forget_sockets();
	/* The old binder's pair is gone with the old table; it ends by itself. */
	k->children[CHILD_BINDER].pid = 0;
	k->at[ALARM_BINDER] = 0;
	k->at[ALARM_HOLDER] = child_ended(&k->children[CHILD_HOLDER]);
	upgrade_on_holder_end(&k->upgrade);
}

/*
 * A holder that dies costs connections, so the first few times another one comes at once. A binder
 * is missed only by who looks a socket up for the first time, and comes after a pause.
 */
static const struct {
	void (*on_end)(struct keeper *k, int status);
	struct backoff backoff;
} roles[CHILD_N] = {
	[CHILD_HOLDER] = {on_holder_end, {.n_free = 4, .first_usec = 50000, .max_usec = 4000000}},
	[CHILD_BINDER] = {on_binder_end, {.first_usec = 100000, .max_usec = 2000000}},
	[CHILD_SPAWNER] = {NULL, {.first_usec = 50000, .max_usec = 4000000}},
};

void
family_init(struct keeper *k)
{
	for (int role = 0; role < CHILD_N; role++)
		k->children[role] = (struct child){.backoff = roles[role].backoff};
}

/* Returns: the role that a child has, or CHILD_N. */
static int
find_role(const struct keeper *k, pid_t pid)
{
	int role = 0;

	while (role < CHILD_N && k->children[role].pid != pid)
		role++;
	return role;
}

/*
 * One SIGCHLD can stand for many. Those of no role are the trial of an upgrade, brokers whose
 * holder has died, which have become our children, and binders of before: waiting for them takes
 * their zombies away.
 */
void
family_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while (!k->done && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		int role = find_role(k, pid);

		if (role == CHILD_N) {
			upgrade_on_child_end(&k->upgrade, pid, status);
		} else {
			k->children[role].pid = 0;
			roles[role].on_end(k, status);
		}
	}
}
