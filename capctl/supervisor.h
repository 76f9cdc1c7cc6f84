/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `capctl serve` above its helper: whoever kills that costs its callers a pause, and nobody the service. */
#pragma once

#include <stdbool.h>

struct supervised {
	const char *name;   /* for messages */
	char *const *first; /* argv of the helper, when it is started for the first time */
	char *const *again; /* and later, when the daemon may not know yet that the one before has gone */
};

/*
 * Runs the helper until it ends by itself, or somebody asks us to end; one that was killed is started again,
 * at once at first, and ever more slowly when it lives too short. *RET_SERVED: some helper has served. Returns:
 * the exit status.
 */
int supervise(const struct supervised *s, bool *ret_served);
