/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The session that is made for a program, with its owner, its confinement and what is granted to it; it is closed
 * when the program has ended, or when it was not started.
 */
#pragma once

#include "capctl/command.h"
#include "capctl/run/words.h"

/* What the program is told by --cap; other grants are the tree's. */
struct child_grant {
	const char *word; /* as the command line calls the slot */
	char *slot;       /* its name in the new session */
};

struct child {
	char *name;
	const char *parent;  /* the node that it is below */
	struct text node;    /* its own */
	struct text session; /* as the library calls it */
	struct child_grant *grants;
	size_t n_grants;
	bool is_made;
};

/*
 * Makes it below the session whose node is PARENT, for PROGRAM. Complains to stderr.
 * Returns: 0, or an exit status, and then there is none. child_deinit() in any case.
 */
int child_make(struct child *c, struct context *x, const struct run_words *w, const char *parent, const char *program);
/* Grants the slot of NODE with these words. Returns: 0 or -errno; capc_session_reason() has why. */
int child_grant(struct child *c, struct context *x, const char *node, const char *how, char **ret_slot);
/* The slot that is the new session's by --cap=WORD, or NULL. */
const char *child_slot(const struct child *c, const char *word);
/* Ends whatever is in it, and it. Returns: 0, or an exit status, having said why. */
int child_close(struct child *c, struct context *x);
void child_deinit(struct child *c);
