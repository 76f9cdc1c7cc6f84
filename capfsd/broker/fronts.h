/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the broker serves the tree by: the file system, the sockets, the control protocol, and the
 * conversations of open files; joined to the model and to each other. They know of each other only
 * what they are given here.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/turns.h"

struct askings;
struct boot;
struct controls;
struct conversations;
struct fs;
struct metrics;
struct model;
struct programs;
struct sockets;
struct state;

struct fronts {
	struct turns turns; /* whoever asks, by whichever front */
	struct fs *fs;
	struct sockets *sockets;
	struct programs *programs;
	struct askings *askings;
	struct controls *controls;
	struct conversations *conversations;
	bool audit;
	/* Asks the keeper for a connection to the spawner. Set before fronts_init(). */
	void (*want_spawner)(void *keeper);
	void *keeper;
};

/*
 * F stays where it is. What METRICS needs of the fronts is filled in here, but what is measured.
 * Returns: 0 or -errno.
 */
int fronts_init(struct fronts *f, struct model *m, struct state *state, const struct boot *boot,
	sd_event *event, struct metrics *metrics);
/* Shuts down all listeners, connections, channels and control clients, for good. */
void fronts_stop(struct fronts *f);
/* Something was reaped: replies that waited for it go out. */
void fronts_reaped(struct fronts *f);
