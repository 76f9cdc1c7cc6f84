/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes again what a checkpoint tells of, by the commands that anybody has: so a file gives nobody more than
 * whoever restores it may grant.
 */
#pragma once

#include "capctl/checkpoint/file.h"
#include "capctl/command.h"

struct restore {
	struct context *context;
	const struct file *file;
	const char *at;    /* the node of the session in which it is restored */
	const char *name;  /* what the session is called there; NULL: it is that one itself, which has nothing yet */
	const char *quota; /* of it, instead of the file's; NULL: the file's */
};

/*
 * Prints a line for each badge, and for each thing that could not be carried. All or nothing: where something is
 * refused that is no matter of what the restorer holds, the session is closed again. Returns: an exit status.
 */
int restore_run(const struct restore *r);

/* Prints what the file says that was not carried into it. */
void restore_tell_left(const struct file_line *l);
