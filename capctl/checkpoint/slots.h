/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slots of a checkpoint: restore.c has them made, and slots.c does it by commands that restore.c sends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capctl/checkpoint/restore.h"

struct slot; /* what has become of one */

struct slots {
	const struct restore *restore;
	struct slot *slots; /* beside the lines of the file, from its `first` on */
};

/* Makes them all. Returns: an exit status. */
int slots_make(struct slots *s);
void slots_deinit(struct slots *s);

/* Is the slot of L there? */
bool slots_have(const struct slots *s, const struct file_line *l);

/* Of restore.c: the node of a session of the file; a command to NODE/FILE; a line about what is not carried. */
void restore_node(const struct restore *r, const char *path, struct text *t);
int restore_write(const struct restore *r, const char *node, const char *file, const char *text, char **ret_answer);
void restore_left(const struct file_line *l, const char *what, const char *name, const char *why);
/* Adds the object of L again, with KEY=VALUE. Return: 0 or -errno, and what was answered, to be freed. */
int restore_object(const struct restore *r, const struct file_line *l, const char *key, const char *value,
	char **ret_answer);
