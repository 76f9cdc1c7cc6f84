/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes up what a predecessor left. Called once, before the loop turns.
 */
#pragma once

#include <stddef.h>

#include "capfsd/listeners/core.h"

/*
 * FDS are all descriptors from BOOT_FD_FIRST_FREE on that this broker did not open itself. What
 * neither the store nor its own name explains is closed. Entrypoints whose server is gone are
 * detached.
 * Returns: 0 or -errno.
 */
int adopt(struct sockets *sockets, const int *fds, size_t n);
