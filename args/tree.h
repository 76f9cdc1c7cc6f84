/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An argument tree in memory: values, each at its place below the root, and the descriptors that
 *they name. A tree that was opened points into its mapping; one that is being made owns copies.
 *
 *	tree.c		values and their places, paths, descriptors
 *	check.c		what is a string, a key, a time
 *	item.c		CBOR, item by item, in its shortest form alone
 *	decode.c	bytes into a tree; trusts none of them
 *	encode.c	a tree into bytes, the numbers of descriptors, the memfd
 *	args.c		the functions of cap-client.h
 *	scalar.c	what a word of YAML means
 *	yaml.c		a text into a tree
 *	leaf.c		what !fd, !file and !socket open
 *
 * Nothing here knows sessions or the daemon; of the library only a few functions for sockets are
 *used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/index.h"
#include "base/text.h"
#include "libcap-client/cap-client.h"

/* A descriptor, which any number of values may name. */
struct args_fd {
	int fd;	    /* -1: nothing was opened */
	int number; /* in the program, when it was sealed */
	int source; /* the number of the caller's that it was parsed from, or -1 */
	char *made; /* the socket's file that parsing made, or NULL: without a seal it goes, too */
	size_t n_values; /* that name it; none: it is closed */
	size_t place;	 /* in capc_args.fds */
	char *label;	 /* when it was sealed: where it first appears */
};

struct args_node {
	struct capc_value value; /* of a CAPC_FD its type alone: see FD */
	struct args_node *parent;
	const char *key; /* in the parent, when that is a map; not terminated */
	size_t n_key;
	unsigned depth;
	struct args_fd *fd;
	struct args_node **items; /* value.n_items of them */
	size_t size;
	void *owned, *owned_key; /* the copies, if they are any */
	struct capc_place place; /* of what was read from a text, else zeros */
	struct index_link link;	 /* in capc_args.keys, when it has a key */
};

enum args_state {
	ARGS_MADE,   /* can be changed */
	ARGS_SEALED, /* descriptors have numbers in the program, and the order of these in `fds` */
	ARGS_OPENED, /* this process's: descriptors are its own */
};

struct capc_args {
	enum args_state state;
	struct args_node *root;
	size_t n_nodes;
	struct index keys; /* of all maps */
	uint64_t seed;	   /* of their hashes: secret */
	struct args_fd **fds;
	size_t n_fds, size_fds;
	const char *bound; /* for the reason of an -E2BIG */
	void *map;	   /* of ARGS_OPENED */
	size_t n_map;
};

/* --- tree.c --- */

/* An empty tree, whose root is null. */
struct capc_args *args_make(enum args_state state);
CLEANUP_DEFINE(struct capc_args *, capc_args_free)
#define cleanup_args cleanup(capc_args_free_p)

/*
 * Adds a value, null, at the end of PARENT. KEY is for a map; it is copied if COPY is set.
 * Returns: 0, -EEXIST, -EILSEQ (the key), -E2BIG, -ENOMEM.
 */
int args_add(struct capc_args *a, struct args_node *parent, const char *key, size_t n_key,
	bool copy, struct args_node **ret);

/* Takes the last item of NODE out again, with what is below it. */
void args_remove_last(struct capc_args *a, struct args_node *node);

/* Makes NODE null, without what is below it. */
void args_clear(struct capc_args *a, struct args_node *node);

/* Gives NODE, which is null, the scalar or the empty collection V. No descriptor. 0, -ENOMEM. */
int args_put(struct args_node *node, const struct capc_value *v, bool copy);

/*
 * Gives NODE, which is null, a descriptor that is new to the tree; that becomes the tree's, on
 * success. SOURCE is the number under which others know it, or -1. Returns: 0, -E2BIG, -ENOMEM.
 */
int args_put_fd(struct capc_args *a, struct args_node *node, int fd, int source);

/* Gives NODE, which is null, a descriptor that the tree has. */
void args_share_fd(struct args_node *node, struct args_fd *fd);

/* Takes FD. Returns: the same from 3 up, CLOEXEC; -errno. */
int args_fd_up(int fd);

/* Which is FD here, or is a duplicate of SOURCE. Returns: NULL: none. */
struct args_fd *args_find_fd(const struct capc_args *a, int fd);
struct args_fd *args_find_source(const struct capc_args *a, int source);

/* Adds ".KEY" of NODE's path, escaped, for the root nothing; text_done() tells of failures. */
void args_path(const struct args_node *node, struct text *t);

/* The next component of *PATH, without escapes. Returns: 1, 0 (the end), -EINVAL. */
int args_path_next(const char **path, char key[CAPC_ARGS_KEY_MAX + 1], size_t *ret_n);

/* Returns: NULL: it has no such item. */
struct args_node *args_item(
	const struct capc_args *a, const struct args_node *node, const char *key, size_t n_key);

/* As capc_args_get(). */
int args_find(const struct capc_args *a, const char *path, struct args_node **ret);

/* What capc_args_get() gives. */
struct capc_value args_value(const struct capc_args *a, const struct args_node *node);

/* --- check.c --- */

/* Returns: 0, -EILSEQ. */
int utf8_check(const void *data, size_t n);
int args_key_check(const char *key, size_t n);

/* RFC 3339, "2026-11-30T12:00:00.5Z". Returns: 0, -EINVAL. */
int time_parse(const char *s, size_t n, struct capc_time *ret);
/* The same of a day, "2026-11-30". */
int time_parse_day(const char *s, size_t n, struct capc_time *ret);

/* Of a time_is_valid(); in UTC, with as many digits as it needs. */
#define TIME_TEXT_MAX 40
void time_format(const struct capc_time *time, char ret[TIME_TEXT_MAX]);
bool time_is_valid(const struct capc_time *time);

/* The integer without zeros before it; one that is small enough becomes a CAPC_INT. 0, -EINVAL. */
int big_normalize(const struct capc_big *big, struct capc_value *ret);

/* --- args.c --- */

/* Gives NODE, which is null, a copy of what may come from anybody. 0, -EINVAL, -EILSEQ, -ENOMEM. */
int args_set_scalar(struct args_node *node, const struct capc_value *v);

/* --- decode.c, encode.c --- */

/*
 * Makes the tree of N bytes, which must outlive it.
 * Returns: 0, -EBADMSG, -ENOMEM.
 */
int args_decode(const void *data, size_t n, struct capc_args **ret);

/* Numbers the descriptors from FIRST in the order in which they appear, and labels them. 0,
 * -ERANGE, -ENOMEM. */
int args_number(struct capc_args *a, int first);

/* Adds the encoded tree. Returns: 0, -E2BIG, -ENOMEM. */
int args_encode(const struct capc_args *a, struct text *t);
