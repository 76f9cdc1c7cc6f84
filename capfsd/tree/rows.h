/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of each kind of entity: a table per kind. Nothing else knows which files there are: the
 * tree walks and lists by these rows, and what a file shows or does is the function or the verb in
 * its row. Constant, and read by everybody in tree/ and by the fronts through struct node.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/event.h"

struct request;
struct text;
struct verb;

/* A set of rows is a number of 64 bits: each front keeps one of those it must remember, and a bit. */
#define TREE_ROWS_MAX 63

enum row_type {
	ROW_DIRECTORY,
	ROW_INFO,    /* read: a text made when it is opened */
	ROW_COMMAND, /* write one command; the same open file reads the result, a fresh one the usage */
	ROW_LOG,     /* read: a text that grows (events, faults) */
	ROW_SOCKET,
	ROW_CALL,    /* write a request, read its reply; a fresh one the usage */
	ROW_ASK,     /* write what is asked of another session, read the answer, for which a read waits */
	N_ROW_TYPES,
};

/* How far a text was made that is made in pieces: all zero at its start. */
struct reading {
	uint64_t last, last_parent; /* ids of what was told last, and of what it belongs to */
	unsigned n_lines, n_restarts;
	bool in_line;
	/* Of a walk through sessions: those that were entered and not left, from the top; and what comes next. */
	uint64_t path[SESSION_DEPTH_MAX + 1];
	uint16_t n_path;
	uint8_t phase;
	bool arrows;
	uint64_t began_nsec; /* the model's stamp then: what was changed since has a larger one */
	uint64_t sum;        /* of the first N_SUMMED bytes */
	size_t n_summed;
};

struct row {
	const char *name; /* NULL: the entity's own directory */
	enum row_type type;
	uint8_t number; /* its index in the table: bits 48-55 of the node's number */
	bool hidden;    /* there is no such node: the kind has no directory */
	bool root_only; /* only in the root session */
	uint32_t rights; /* with any of these, who has a capability to the entity itself may use it; 0: nobody may */
	mode_t mode;    /* whatever the owner's is; 0: of the owner's what the type has of it */
	enum entity_kind children; /* of a directory: the entities that are listed in it, or 0 … */
	enum entity_kind others;   /* … and these, whose names are other ones; or 0 */
	/* May E's text change without notice? It is not to be cached then. NULL: never. */
	bool (*restless)(const struct entity *e);
	/* What it reads as; NULL: the usage of its verb. */
	void (*read)(struct request *r, struct entity *e, struct text *t);
	/* Instead: one piece of it behind what T has. Returns: is there more? */
	bool (*read_piece)(struct request *r, struct entity *e, struct reading *at, struct text *t);
	const struct verb *verb; /* what is done by writing to it */
	uint32_t bytes_max; /* of a text that is written as a whole, and ends with a line feed; 0: a command is */
	enum event_view view;    /* what is read of a log */
};

struct rows {
	const struct row *rows;
	size_t n;
};

struct rows rows_of(enum entity_kind kind);

/* Has E this file? */
bool row_exists(const struct row *row, const struct entity *e);

/* S_IFDIR, S_IFREG or S_IFSOCK; and that with the mode, where the mode of the owner is OWNER. */
mode_t row_format(const struct row *row);
mode_t row_mode(const struct row *row, mode_t owner);

/* The directory of their session in which entities of KIND stand. NULL: in none. */
const struct row *rows_place(enum entity_kind kind);
