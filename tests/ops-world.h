/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree and its operations over a model that is kept by nobody: no root, no FUSE, no sockets. */
#pragma once

#include <stdbool.h>

#include "capfsd/tree/tree.h"

/* A store that forgets, and that is full when told so. */
struct store {
	bool full;
	unsigned n_commits;
};

struct world {
	struct store store;
	struct model *model;
	struct request request; /* the last answer */
};

void world_init(struct world *w);
void world_deinit(struct world *w);

/* A new request; the answer to the last one is forgotten. */
struct request *ask(struct world *w);

struct node walk(struct world *w, const char *path);
bool exists(struct world *w, const char *path);

/* Returns the errno of the refusal, 0 when done; what must be reaped is reaped. */
int put(struct world *w, const char *path, const char *text);
/* Asks without reaping, so that what has ended is still there. */
int put_only(struct world *w, const char *path, const char *text);
int make(struct world *w, const char *at, const char *name, const char *quota);
int removed(struct world *w, const char *at, const char *name);

/* What the file has, to be freed. */
char *text_of(struct world *w, const char *path);
void expect_line(struct world *w, const char *path, const char *line);
void expect_event(struct world *w, const char *part);

/* A served entrypoint "kv" with an object and a slot of that name. */
void serve(struct world *w);
