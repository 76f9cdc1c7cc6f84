/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start of a program in a session that is there: what it is given is opened, and closed here again. All of
 * this says why it failed.
 */
#pragma once

#include "capctl/run/child.h"
#include "capctl/run/file.h"
#include "capctl/run/table.h"
#include "capctl/run/words.h"

struct start {
	const struct run_words *words;
	const char *session; /* its node, "" for ours */
	char **argv;
	struct run_tree *tree; /* without a name: there is none */
	struct run_file file;  /* without words: there is none */
	struct child *child;   /* the session, if it was made for the program, else NULL */
	struct reserve reserve; /* while there is a tree to be opened */
	/* What it has as its output where nobody waits for it: a file, "/dev/null"; NULL: stderr is ours. */
	const char *output;
};

void start_deinit(struct start *s);

/* What is to be given is open here. Returns: 0, or an exit status. */
int start_check_fds(const struct run_words *w);

/* The program by its absolute path, RET, which takes the place of ARGV[0]. Returns: 0, or an exit status. */
int start_find(char **argv, struct text *ret);

/* Is it started in a session to which a slot is a capability? */
bool start_is_elsewhere(const struct start *s);

/* Returns: 0, or an exit status, and then nothing of it runs. */
int start_program(struct context *x, struct start *s, capc_thread **ret);

/*
 * Appends the variable by which a program of the session NODE, "" for ours, finds it: unless that is confined,
 * where everybody does. Returns: 0 or -errno.
 */
int start_place(struct context *x, const char *node, struct text *t);

/* NAME[,WORD...] of the entrypoint whose command it is, or NULL. */
const char *start_serve(const struct start *s);

/* One of CAPC_SPAWN_RESTART_X, or 0. */
unsigned start_restart(const struct start *s);

/* The exit status for a step of a start that failed. */
int start_status(int error, const char *step);
