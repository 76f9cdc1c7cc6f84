/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a change has staged, between the two files that know: change.c puts it there and answers the
 * checks of the same change, commit.c stores and publishes it. Nobody else includes this; whoever
 * wants something of a change asks by change.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct entity;
struct model;

/* What the change does to one entity. */
struct staged {
	struct list link; /* change.items, in the order of staging */
	struct entity *entity;
	char *name; /* a new one, or NULL */
	bool added, edited, dropped;
	unsigned applied; /* enum applied, when it was published */
	void *record;	  /* the new one when `edited`; the old one while it is being published */
};

struct note {
	struct list link;
	uint64_t key;
	size_t n;
	bool drop;
	uint8_t data[];
};

struct change {
	struct model *model;
	struct list items; /* of struct staged */
	struct list notes;  /* of struct note */
	struct list riders; /* of struct note: they may be left out */
	uint64_t next_id, next_badge, n_entities;
	bool active;
	bool notes_spared; /* they may be left out */
	uint8_t *buffer;   /* of record_bytes_max(): the record that is being stored */
};
