/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An entity as the store has it: its kind, the plain bytes of its record, its name. Written by
 * change.c and read by load.c, and nobody else knows how it looks. Stores of older versions are
 * read by newer ones, and the other way round, so none of it changes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/entity.h"

/* A record that was checked as far as that is possible without knowing what it is about. */
struct record {
	enum entity_kind kind;
	const void *data; /* of the size that its kind has; not aligned */
	const char *name;
	size_t n_name;
};

/* So many bytes are enough for any entity. */
size_t record_bytes_max(void);
/* E with RECORD and NAME instead of its own. Returns the length. */
size_t record_encode(const struct entity *e, const void *record, const char *name, uint8_t *buffer);
/* Returns: 0, or -EBADMSG for what record_encode() does not make. */
int record_decode(const uint8_t *data, size_t n, struct record *ret);
/* Is it of a kind that only a newer daemon has? */
bool record_is_unknown(const uint8_t *data, size_t n);
