/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the descriptors of a program are called, in the words of who gave them: a list in pieces, each an entity
 * that belongs to the program, so that it is charged and stored as far as it is long.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/entity.h"

struct change;
struct kind;
struct program;
struct text;

extern const struct kind labels_kind;

#define LABELS_BYTES 1012 /* of one piece */

struct labels_record {
	uint64_t program;
	uint32_t n;
	char text[LABELS_BYTES]; /* not terminated: the next piece goes on */
};

struct labels {
	struct entity entity; /* its name is its place in the list */
	struct labels_record record;
	struct program *program;
};

static inline struct labels *
labels_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct labels, entity);
}

/* Stages the N bytes at TEXT, labels with commas between them, for P, which is new. Returns: 0, QUOTA_E_EXCEEDED, -errno. */
int labels_add(struct change *ch, struct program *p, const char *text, size_t n);
/* Stages the end of P's. Returns: 0 or -errno. */
int labels_drop(struct change *ch, struct program *p);
/* Appends them as they were given. */
void labels_text(const struct program *p, struct text *t);
