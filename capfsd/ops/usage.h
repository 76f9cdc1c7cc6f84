/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Usages: what may be written to a command file, made of the keys of its verb. They are texts for
 * people, who read them by opening the file; nothing is decided by them.
 */
#pragma once

#include "capfsd/ops/grammar.h"

struct text;

/* The usages of a set of KEYS, in their order, BETWEEN two of them. */
void usage_keys(key_set keys, const char *between, struct text *t);
