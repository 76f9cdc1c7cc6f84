/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two fronts of the tree, FUSE and sockets, joined to the model and to each other. */
#pragma once

#include <systemd/sd-event.h>

struct boot;
struct fs;
struct ipc;
struct metrics;
struct model;
struct state;

struct fronts {
	struct fs *fs;
	struct ipc *ipc;
};

/*
 * F stays where it is. What METRICS needs of the fronts is filled in here, but what is measured.
 * Returns: 0 or -errno.
 */
int fronts_init(struct fronts *f, struct model *m, struct state *state, const struct boot *boot,
	sd_event *event, struct metrics *metrics);
