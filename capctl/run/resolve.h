/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* !cap and !session of an argument tree: what the session has, with the rights of this process. */
#pragma once

#include "capctl/run/child.h"

struct resolving {
	struct context *context;
	const char *session; /* the node of the one that the program runs in */
	struct child *child; /* NULL, or that one, as it was made for the program */
	uint64_t timeout_usec;
};

/* For capc_args_parse_yaml(), with a struct resolving. */
int run_resolve(const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data);

/* The slot WORD could not be used. Where there is none the daemon names what was asked for, and not what was meant. */
void run_complain_slot(const struct context *x, int error, const char *word);

/* Connects through the slot of a node. Returns: a descriptor, or -errno; capc_session_reason() has why. */
int run_open_slot(struct context *x, const char *node, uint64_t timeout);
