/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `capctl run FILE.yaml`: the program, where and how it runs; its tree is what the file has as `args`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "capctl/run/tree.h"
#include "capctl/run/words.h"

struct run_file {
	char **argv; /* ends with NULL; its first N_OWN words are its own, those behind are the caller's */
	char **env;  /* KEY=VALUE */
	char *session, *name, *serve;
	size_t n_own, n_env;
	unsigned restart; /* one of CAPC_SPAWN_RESTART_X, or 0 */
	struct run_heartbeat heartbeat;
};

/* Whether the word that stands for the program is such a file. */
bool run_file_is(const char *word);

/*
 * Takes what the text of T says. The words MORE follow those of the program. Complains to stderr, with a place.
 * Returns: 0, or an exit status. run_file_deinit() in any case.
 */
int run_file_take(struct run_file *f, const struct run_tree *t, const capc_args *a, char *const *more);
void run_file_deinit(struct run_file *f);
