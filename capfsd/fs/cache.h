/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel may have cached: for each entity the set of its files of which it has attributes or
 * an entry. That set is this front's word in the entity. Whatever the kernel is given is noted here,
 * and whoever tells it of a change takes it from here; nothing of it is stored.
 */
#pragma once

#include <stdint.h>

#include "capfsd/tree/tree.h"

struct fs;

/*
 * A broker begins: the kernel may have cached all files of the entities that there are, by the word
 * of an earlier one. No entity is looked at for this.
 */
void fs_cache_begin(struct fs *fs);

/* The kernel is given NODE. */
void fs_cache_note(struct fs *fs, struct node node);

/* May the kernel have any of E's files? */
bool fs_cache_has(const struct fs *fs, const struct entity *e);

/* May it have found E's socket by name? That lasts, whatever is taken. */
bool fs_cache_names_socket(const struct fs *fs, const struct entity *e);

/* It has not. */
void fs_cache_drop_socket(struct fs *fs, struct entity *e);

/* Those of ROWS that the kernel may have. It is going to forget them. */
uint64_t fs_cache_take(struct fs *fs, struct entity *e, uint64_t rows);
