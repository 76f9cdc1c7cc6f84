/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Texts that are kept for a moment, each under a number, since whoever was told how long one is comes
 * next to read it. They are few and not large together; the oldest go first. Whoever does not find
 * one any more makes it anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define KEPT_MAX 64
#define KEPT_BYTES_MAX (2 << 20)
#define KEPT_USEC UINT64_C(1000000)

struct text;

struct kept {
	struct list texts; /* the oldest first */
	size_t n, n_bytes;
};

void kept_init(struct kept *k);
void kept_deinit(struct kept *k);

/* Instead of what there is under NUMBER. T is empty then; without memory, or too large, it is not kept. */
void kept_put(struct kept *k, uint64_t number, uint64_t now_usec, struct text *t);
void kept_drop(struct kept *k, uint64_t number);

/* Adds it to T. Returns: is it there, and not older than KEPT_USEC? T has failed where memory has. */
bool kept_copy(const struct kept *k, uint64_t number, uint64_t now_usec, struct text *t);

/* 0: there is none. */
size_t kept_length(const struct kept *k, uint64_t number);
