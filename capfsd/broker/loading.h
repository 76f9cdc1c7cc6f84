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
 * Opens the state that BOOT names, or a new one if there was none before.
 * Returns: 0, BROKER_EXIT_REFUSED, -errno.
 */
int loading_open(const struct boot *boot, struct state **ret);

/* The copy in the memfd FD (state_copy()), which is left open. Returns: likewise. */
int loading_open_copy(const struct boot *boot, int fd, struct state **ret);

/* All that the store has for the model. Returns: likewise. */
int loading_model(const struct boot *boot, struct state *state, struct model **ret);
