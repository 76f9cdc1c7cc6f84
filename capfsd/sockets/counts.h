/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What servers have counted in their pages: read when somebody asks, stored once a second and at
 * the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"

struct capability;
struct pages;

/* Returns: 0 or -errno. */
int counts_new(struct sockets *sockets);
void counts_free(struct sockets *sockets);

/* What the server of C has counted for it. Returns: false where nobody knows. */
bool counts_read(const struct capability *c, uint64_t *ret_calls);
/* The nearest, of C and all it came from, whose rate its server has counted to the end just now: its id, or 0. */
uint64_t counts_no_rate(const struct capability *c);
/*
 * Looks at all pages in a second, and so on while there are connections through what has a limit.
 */
void counts_watch(struct sockets *sockets);
/* The same, if C or what it was derived from has a limit, and an entry. */
void counts_watch_capability(struct sockets *sockets, const struct capability *c);
/* Stores what was used, for the last time. P may be NULL. Returns: 0, -errno. */
int counts_settle(const struct pages *p);
