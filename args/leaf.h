/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the leaves !fd, !file and !socket are: descriptors of this process, and those that it opens
 * with its rights. A failure gives -errno and says in the reason why, without the place in the
 * text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "args/tree.h"

#define LEAF_OPTIONS_MAX 8

struct leaf {
	const char *tag; /* "file" */
	struct {
		char *key, *value;
	} options[LEAF_OPTIONS_MAX];
	size_t n;
	bool dry; /* open nothing */
	struct text *reason;
};

void leaf_deinit(struct leaf *l);
#define cleanup_leaf cleanup(leaf_deinit)

/* Adds an option; both are copied. Returns: 0, -EEXIST, -EINVAL (there is no such option of the
 * tag), -ENOMEM. */
int leaf_add(struct leaf *l, const char *key, const char *value);

/* Returns: its value, NULL: it was not given. */
const char *leaf_option(const struct leaf *l, const char *key);

/* Says why. Returns: ERROR. */
int leaf_refuse(struct text *reason, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What a leaf opens; RET_MADE is the socket's file that it made, or NULL. */
typedef int leaf_opener(const struct leaf *l, int *ret_fd, char **ret_made);

leaf_opener leaf_open_file, leaf_open_socket;

/* "3", "stdin". Returns: the number, -1. */
int leaf_fd_number(const char *text);

/* Also a name of $LISTEN_FDNAMES. The number of a descriptor that is open in this process: 0,
 * -EBADF. */
int leaf_find_fd(const char *text, struct text *reason, int *ret_fd);

/* No descriptor of a directory goes to a program: it would lead to all that is around it. */
int leaf_check_type(int fd, struct text *reason, const char *what);
