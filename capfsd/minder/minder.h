/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the minder: the parent of this daemon's own capfs-spawner, for where no unit of
 * systemd has one.
 *
 * Programs inherit from capfs-spawner whatever it has inherited, so its parent is forked before
 * anything is confined, filtered or opened, and stays as it was started. It owns the listener of
 * that spawner, which it starts when somebody connects, with the listener as systemd would pass it,
 * and starts again when it has ended and somebody connects. It reads one byte at a time from the
 * keeper, and nothing from anybody else. main() starts it, the keeper speaks to it and connects; it
 * survives the keeper's upgrades as the program that it was, so that the bytes that it knows are
 * never changed.
 *
 * The listener has no name. The keeper has a descriptor of its file, and connects by that; so
 * nobody else can.
 */
#pragma once

#include <sys/types.h>

struct succession;

#define MINDER_TITLE "capfs-minder"
#define SPAWNER_TITLE "capfs-spawner"

/* From the keeper. The end of the pair to it is that of spawner and minder. */
enum minder_byte {
	MINDER_RENEW = 'r', /* end the spawner; the next one is what is installed then */
};

/* The numbers of its descriptors; the first one is that of the spawner's, too (LISTEN_FDS). */
enum minder_fd {
	MINDER_FD_LISTENER = 3,
	MINDER_FD_KEEPER = 4,
};

/* How it starts its spawner. */
struct minder_config {
	const char *path; /* the program; an absolute one */
	const char *cgroup; /* the directory of control groups that it is told; NULL: none */
};

/*
 * Starts one, whose spawner is as CONFIG says, and which is named in ARGV's memory. The listener is made in the directory RUN_FD. Whatever is done with it later is done by
 * what is set in H; none is started, and that is no error, where there is no program. Returns: 0 or
 * -errno. To be called before this process gives anything up.
 */
int minder_start(int run_fd, const struct minder_config *config, int argc, char *argv[], struct succession *h);

/* What it does, until PARENT or the pair to it ends. */
void __attribute__((noreturn)) minder_main(pid_t parent, const struct minder_config *config);

/*
 * A new connection to the unit's spawner, or to the minder's where there is none of that, on which
 * the spawner has been told whose mount it is. Never waits and reads nothing; says once that there
 * is none. Returns: a non-blocking SEQPACKET socket, or -errno.
 */
int minder_connect(struct succession *h);

/* Has the next connection served by the installed program. */
void minder_renew(const struct succession *h);

/* Ends both, and waits for that, 3 s at most. */
void minder_end(struct succession *h);
