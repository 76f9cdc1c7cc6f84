/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The argument tree of one program: its part of the file's text, and the digest of all that the
 * program is. */
#pragma once

#include "capctl/apply/plan.h"

/*
 * Cuts the tree out of the file, checks it, and finds which of the session's slots it wants
 * connections through. Complains. Returns: 0, or an exit status.
 */
int arguments_read(struct plan *p, struct entry *e);

/* Adds these bytes to what the program is. */
void arguments_digest(struct entry *e, const void *data, size_t n);
