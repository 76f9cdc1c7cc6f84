/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which methods of the library's call protocol may be called: a few ranges, ascending, with a gap
 * before each next one, so that equal sets have equal bytes. They stand in records.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define METHODS_MAX 4

struct method_range {
	uint32_t first, last; /* both belong to it */
};

struct methods {
	uint32_t n; /* 0: all methods */
	struct method_range range[METHODS_MAX]; /* zeros behind the last */
};

struct text;

/* Adds a range to a set that may be empty. Returns: false when it would have too many. */
bool methods_add(struct methods *m, uint32_t first, uint32_t last);

/* A set to which ranges were added, as it stands in records. */
void methods_finish(struct methods *m);

/* For records of unknown origin: is it as the functions here make it? */
bool methods_are_valid(const struct methods *m);

/* ALL without SOME, which may be nothing. Returns: false when that would have too many ranges, or none. */
bool methods_without(const struct methods *all, const struct methods *some, struct methods *ret);

bool methods_contain(const struct methods *all, const struct methods *some);
bool methods_equal(const struct methods *a, const struct methods *b);

/* "0-3,7"; nothing for all. */
void methods_format(const struct methods *m, struct text *t);
