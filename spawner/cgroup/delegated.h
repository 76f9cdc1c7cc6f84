/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which control group was given to this process to make others in. */
#pragma once

#include <stdbool.h>

#define DELEGATED_OWN "own"

/*
 * That at PATH, which somebody has named. DELEGATED_OWN: the own one, or the one above if the own one is called
 * `supervisor`. NULL: likewise, where its attributes say that it was delegated, as systemd writes them for the system's
 * units, and later versions for all. Nobody else's is ever taken. *RET_DIRECT: this process itself is in it,
 * and whoever starts the next one will put that there too. Returns: its directory, or -errno: -ENOENT, there is none.
 */
int delegated_open(const char *path, bool *ret_direct);
