/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this machine has of what capfsd uses. */
#pragma once

/* Prints one line per feature on standard output. Returns: 0, or 1 when a needed one is missing. */
int features_print(void);
