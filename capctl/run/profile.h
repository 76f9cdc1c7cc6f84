/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles: files of options for `capctl run`, one a line, that stand before those of the command line. A line is
 * a word and what is behind it, "confine ro=/usr net=none" for --confine='ro=/usr net=none'; '#' begins a comment.
 */
#pragma once

#include <stddef.h>

struct profile {
	char **argv; /* the command's name, the profile's options, and behind them the words of the command */
	int argc, n_own;
};

/*
 * Of a name, in the directories where profiles are, or of the path of a file, for a command of these words.
 * Complains to stderr, with a place. Returns: 0, or STATUS_USAGE. profile_deinit() in any case.
 */
int profile_read(struct profile *p, const char *name, int argc, char **argv);
void profile_deinit(struct profile *p);
