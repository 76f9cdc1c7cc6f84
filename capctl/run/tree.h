/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The argument tree that a program gets, of a YAML file: all of that, or what it has as `args`. It is read twice:
 * once without opening anything, so that what is wrong with the text is known before anything is made, and once
 * for the program. What opening has made, a socket's file, goes with the tree unless the program runs.
 */
#pragma once

#include "base/text.h"
#include "libcap-client/cap-client.h"

struct run_tree {
	const char *name; /* of the file, for reasons; NULL: there is none */
	const char *root; /* where in the text the tree is, a path of one key, or "" */
	struct text text;
	capc_args *opened;
	capc_args *given; /* the same without what stands around it, sealed */
	int memfd;
};

/* "-" is stdin. Returns: 0, or an exit status, having said why. run_tree_deinit() in any case. */
int run_tree_read(struct run_tree *t, const char *file);
/* What the text says, with nothing opened. Free it. Returns: as above. */
int run_tree_check(const struct run_tree *t, capc_args **ret);
/* Opens it, for a program that has its descriptors from FIRST on. Returns: as above. */
int run_tree_open(struct run_tree *t, capc_args_resolver *resolve, void *data, int first);
/* The program runs, and all of it is its own. */
void run_tree_keep(struct run_tree *t);
void run_tree_deinit(struct run_tree *t);
