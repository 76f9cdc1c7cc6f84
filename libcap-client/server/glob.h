/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patterns of paths, as cap-client.h has them (capc_glob). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define GLOB_BYTES_MAX 240 /* of a pattern */

/* Does all of TEXT match PATTERN? Returns: 1, 0, -EINVAL (that is no pattern). */
int glob_match(const char *pattern, const char *text);
