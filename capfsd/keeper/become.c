/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's own turn in an upgrade: how it becomes the installed binary by execve(2), with its
 * pid, its children and its descriptors, and how it goes on as that. It can go back until it has
 * taken up everything. It is called when a broker of the new binary serves already, so that
 * whatever fails here costs no client anything; it never stops or starts a child by itself.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/keeper/keeper.h"
#include "capfsd/keeper/state.h"
#include "capfsd/minder/minder.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/mounts.h"
#include "capfsd/process/succession.h"
#include "capfsd/start/binary.h"

/*
 * Signals that come from now on stay blocked and pending over execve(2), and children that end stay
 * to be waited for: the next binary finds both. If it cannot be executed, the descriptors are
 * closed on exec again and all is as before.
 */
void
keeper_become(struct keeper *k, int binary)
{
	struct succession *h = &k->held;
	cleanup_close int fd = -1;
	int r;

	h->role = SUCCESSION_KEEPER;
	h->self = getpid();
	h->generation = k->boot.generation;
	h->holder = k->children[CHILD_HOLDER].pid;
	h->binder = k->children[CHILD_BINDER].pid;
	memcpy(h->device, k->mount.device, sizeof(h->device));
	fd = succession_write(h, &k->boot);
	r = fd < 0 ? fd : succession_pass(h, true);
	if (r == 0)
		r = succession_exec(binary, fd, SUCCESSION_KEEPER, k->argv);
	succession_pass(h, false);
	log_message(LOG_ERR, "the keeper cannot become the installed binary: %s", strerror(-r));
}

/*
 * What was there before execve(2) is ours again. Until it has succeeded, nothing is changed for
 * good: no signal is taken, no record read, no descriptor closed, so that the old binary can still
 * have all of it back.
 */
static int
take_up(struct keeper *k)
{
	int r;

	/*
	 * Whether they are there at all; and as they stay open over execve(2), the way back has
	 * them.
	 */
	r = succession_pass(&k->held, true);
	if (r == 0)
		r = confine_keeper(&k->boot);
	if (r == 0)
		r = binder_watch_init(&k->binder);
	if (r == 0)
		r = keeper_watch(k);
	if (r < 0)
		return r;
	/* A binary of before may not have done it (family.c). */
	(void)fd_refuse_descriptors(k->held.peer_fd);
	child_started(&k->children[CHILD_HOLDER], k->held.holder);
	/* Not its path: by now that may be of a file which has been replaced again. */
	r = k->held.program_fd = binary_find(NULL);
	if (r >= 0)
		r = k->mounts_fd = mounts_watch();
	return r < 0 ? r : 0;
}

/*
 * The broker serves already. What can have come to pass meanwhile is looked at once: a child may
 * have ended and the mount may be gone, and no event of before execve(2) tells of it a second time.
 */
static int
go_on(struct keeper *k)
{
	int r;

	prctl(PR_SET_NAME, "capfsd");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	log_event(LOG_NOTICE, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UPGRADED}),
		"upgraded: capfsd %s goes on", PACKAGE_VERSION);
	keeper_say_ready(k);
	/*
	 * The binder is of the old binary: it ends when the broker has another, and has no role
	 * from here on.
	 */
	k->at[ALARM_BINDER] = clock_msec(CLOCK_MONOTONIC);
	minder_renew(&k->held);
	if (k->held.spawner_wanted)
		family_want_spawner(k, 0);
	family_reap(k);
	keeper_look_at_mount(k);
	r = keeper_loop(k);
	keeper_deinit(k);
	return r < 0 ? EXIT_FAILURE : r;
}

int
keeper_resume(int fd, int argc, char *argv[])
{
	static struct keeper_config config;
	struct keeper k;
	int r;

	config.argv = argv;
	r = succession_read(fd, SUCCESSION_KEEPER, &config.held, &config.boot, NULL);
	if (r < 0) {
		log_message(LOG_ERR, "cannot take over: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	succession_log(&config.held, &config.boot);
	keeper_init(&k, &config);
	r = take_up(&k);
	if (r < 0) {
		log_message(LOG_ERR, "cannot take over: %s, back to the old binary", strerror(-r));
		r = succession_exec(config.held.program_fd, fd, SUCCESSION_KEEPER, argv);
		log_message(LOG_CRIT, "cannot go back: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	/* From here on there is no way back. No child may inherit what stayed open for that. */
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	fd_close(fd);
	fd_close(config.held.program_fd);
	confine_argv(&k.boot, argc, argv);
	return go_on(&k);
}
