/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the store to the model: for each broker, and for the binary of an upgrade, which is tried on a
 * copy first. All log.
 */
#pragma once

#include "capfsd/model/model.h"
#include "capfsd/state/state.h"

struct boot;

/*
 * Opens the state that BOOT names, or a new one if there was none before, and has the model read all that
 * it has. What was opened belongs to the caller, also after a failure; both are NULL before.
 * Returns: 0, BROKER_EXIT_REFUSED, -errno.
 */
int loading_store(const struct boot *boot, struct state **ret, struct model **ret_model);

/* Likewise for the copy in the memfd FD (state_copy()), which is left open. */
int loading_copy(const struct boot *boot, int fd, struct state **ret, struct model **ret_model);

/* The way back, at a stop: all of it to the disk. */
void loading_sync(struct state *state);
