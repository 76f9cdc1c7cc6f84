/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Whether a revocation can be told from a client that left: what needs that is skipped otherwise. */
bool peers_are_known(void);
