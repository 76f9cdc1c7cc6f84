/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store in a directory of its own, whose records tell what they have to be. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capfsd/state/state.h"
#include "tests/fixture.h"

#define MAP_BYTES (64 << 20)
#define RECORD_BYTES 100

extern char directory[FIXTURE_PATH], file[128];

/* For tcase_add_checked_fixture(). */
void store_setup(void);
void store_teardown(void);

struct state *open_good(void);

/* What record KEY has in it; GENERATION tells versions of it apart. */
void fill(uint8_t record[RECORD_BYTES], uint64_t key, unsigned generation);
int put(struct state *s, uint64_t key, unsigned generation);
/* One transaction, of generation 0. */
void put_range(struct state *s, uint64_t first, uint64_t n);

/* How many records there are, all of them right, or -1: refused, and left as it was. */
int64_t count_or_refused(void);
