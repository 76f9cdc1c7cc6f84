/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's beginning and its end: it makes the mount and the first children, and takes all of
 * it away again, also what is there when the beginning fails half-way. What lies between is in
 * loop.c.
 */
#include "config.h"

#include "capfsd/keeper/keeper.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/keeper/state.h"
#include "capfsd/minder/minder.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/mounts.h"
#include "capfsd/start/binary.h"
#include "capfsd/start/fdstore.h"

#define BINDER_MSEC 1000 /* it may be in a call that nobody will reply to */

static void
press_holder(struct keeper *k, int signal)
{
	child_signal(&k->children[CHILD_HOLDER], signal);
}

static const struct upgrade_host upgrade_host = {
	.tell = keeper_tell,
	.press = press_holder,
	.become = keeper_become,
	.stop = keeper_begin_stop,
};

void
keeper_init(struct keeper *k, const struct keeper_config *config)
{
	*k = (struct keeper){
		.boot = config->boot,
		.held = config->held,
		.mount = {.path = k->held.mountpoint, .privileged = config->boot.privileged},
		.argv = config->argv,
		.signal_fd = -1,
		.mounts_fd = -1,
		.exit_status = 1,
	};
	memcpy(k->mount.device, k->held.device, sizeof(k->mount.device));
	family_init(k);
	upgrade_init(&k->upgrade, &upgrade_host, k, &k->boot, &k->held);
}

/*
 * Signals are blocked first: one that comes while the mount is being made is read later, and no end
 * leaves a mount behind. The list of mounts is watched before the holder starts, so that no unmount
 * is missed.
 */
static int
start(struct keeper *k, struct fdstore *stored)
{
	int r;

	r = confine_keeper(&k->boot);
	if (r == 0)
		r = binder_watch_init(&k->binder);
	if (r == 0)
		r = keeper_watch(k);
	if (r == 0)
		r = k->held.program_fd = binary_find(k->held.binary);
	if (r < 0) {
		log_message(LOG_ERR, "cannot start: %s", strerror(-r));
		return r;
	}
	/* Brokers whose holder has died become our children, so that no zombie stays. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = 0;
	if (stored->found)
		fdstore_take_mount(stored, &k->boot, k->mount.device, &k->held.fuse_fd);
	else
		r = mount_make(&k->mount, &k->boot, &k->held.fuse_fd);
	if (r < 0)
		return r;
	snprintf(k->boot.device, sizeof(k->boot.device), "%s", k->mount.device);
	k->mounts_fd = mounts_watch();
	r = k->mounts_fd < 0 ? k->mounts_fd : family_start_holder(k, stored);
	/*
	 * They are the holder's now. Ours are closed without shutting down, which would end them
	 * for all.
	 */
	fdstore_deinit(stored, false);
	if (r < 0)
		log_message(LOG_ERR, "cannot start the holder: %s", strerror(-r));
	return r;
}

/*
 * The end, in this order: nobody serves any more, the name is taken away, and with the last
 * descriptor the kernel ends whatever still waits, the binder's calls among them. Only then can the
 * binder be waited for. The locks go last: the next daemon begins when it gets them, and must find
 * none of this.
 */
void
keeper_deinit(struct keeper *k)
{
	const int fds[] = {k->held.peer_fd, k->signal_fd, k->mounts_fd, k->held.program_fd,
		k->held.activation_fd, k->held.state_fd, k->held.lock_fd};

	/*
	 * Nobody replies to it any more, and the connection, which systemd keeps, does not end its
	 * calls: it must not be waited for without a bound.
	 */
	if (k->leaving)
		child_end(&k->children[CHILD_BINDER], BINDER_MSEC);
	child_end(&k->children[CHILD_HOLDER], 3 * KEEPER_STOP_MSEC);
	/*
	 * Whoever has that pair has the mount and the state, too: the last broker, whose holder is
	 * dead.
	 */
	if (k->held.peer_fd >= 0)
		child_is_gone(k->held.peer_fd, KEEPER_STOP_MSEC);
	child_signal(&k->children[CHILD_BINDER], SIGKILL);
	if (k->boot.store_max && !k->leaving)
		fdstore_forget();
	if (!k->leaving)
		mount_end(&k->mount);
	fd_close(k->held.fuse_fd);
	child_end(&k->children[CHILD_BINDER], 3 * KEEPER_STOP_MSEC);
	minder_end(&k->held);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fd_close(fds[i]);
}

int
keeper_run(const struct keeper_config *config)
{
	struct keeper k;
	int r;

	keeper_init(&k, config);
	r = start(&k, config->stored);
	if (r == 0)
		r = keeper_loop(&k);
	keeper_deinit(&k);
	return r < 0 ? 1 : r;
}
