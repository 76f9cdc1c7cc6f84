/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree of nodes that both fronts show: every entity has a directory with the files that rows.c
 * lists for its kind. A node is an entity and a row of its table; its number is made of both, so
 * nothing is allocated for a node, and numbers are the same after a restart. The fronts look up, list
 * and ask here; the tree itself keeps nothing, and changes the model by verbs alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "capfsd/ops/request.h"
#include "capfsd/tree/rows.h"

struct node {
	struct entity *entity;
	const struct row *row;
};

/* The root of the whole tree, and a session's own directory. */
struct node tree_session(struct session *s);

/* The directory of E itself. */
struct node tree_entity(struct entity *e);

/* The node's number: never 0, the root's is 1, low bits spread. And back; false: no such node now. */
uint64_t tree_number(struct node node);
bool tree_node(struct model *m, uint64_t number, struct node *ret);

/* The node NAME in the directory AT. Returns: 0, ENOENT, ENOTDIR. */
int tree_lookup(struct model *m, struct node at, const char *name, size_t n, struct node *ret);

/* The node at PATH ("caps/web/info") below AT. No "..". Returns: 0, ENOENT, ENOTDIR, ENAMETOOLONG. */
int tree_walk(struct model *m, struct node at, const char *path, size_t n, struct node *ret);

/* A set of rows, by their numbers: a bit for each of an entity of this KIND that is of TYPE; all. */
uint64_t tree_rows(enum entity_kind kind, enum row_type type);
uint64_t tree_all_rows(enum entity_kind kind);
/* Those that tell of others: with a text of their own, a list, or, as a socket, a number of names. */
uint64_t tree_showing_rows(enum entity_kind kind);

/* The directory in which NODE stands; the root's is itself. */
struct node tree_parent(struct node node);

/* The socket of C, of which its aliases are names. */
struct node tree_slot_socket(struct capability *c);

/* The socket of O, where its entrypoint listens: the slots' `socket` are names of it. */
struct node tree_object_socket(struct object *o);

/* A file of E. */
struct node tree_file(struct entity *e, const struct row *row);

/*
 * Calls EACH for the entries of directory AT behind *COOKIE (0: from the start) until it returns false, all are
 * listed, or this piece took long enough. Where there is MORE it goes on at *COOKIE, which is behind those for which
 * EACH gave true, and those that are not shown. A cookie stays good when entries come and go. "." and ".." are not
 * given. Returns: 0, ENOTDIR.
 */
typedef bool tree_each(void *data, const char *name, struct node node, uint64_t cookie);
int tree_list(struct model *m, struct node at, uint64_t *cookie, tree_each *each, void *data, bool *ret_more);

struct node_stat {
	mode_t mode; /* with S_IFMT */
	uid_t uid;
	gid_t gid;
	uint64_t size; /* of a log */
	uint64_t nlink;
	uint64_t mtime_nsec;
};

/* All but how long its text is, which only who makes it knows. */
void tree_stat(struct node node, struct node_stat *ret);

/* Is there a text to be made? And may it change without notice? */
bool tree_has_text(struct node node);
bool tree_is_restless(struct node node);

/* The text of an info node, or the usage of a command; -ENOMEM sticks in T. */
void tree_read(struct request *r, struct node node, struct text *t);
/*
 * The same in pieces, none of which takes long: what T has, which is empty at first, is AT's until it ends.
 * The model may change between them. Returns: is there more?
 */
bool tree_read_piece(struct request *r, struct node node, struct reading *at, struct text *t);

/*
 * What the fronts ask for. The reply is in R; refusals are logged as events. All return 0, or
 * -errno for what ends the daemon. What was made is R's `made`.
 */
int tree_write(struct request *r, struct node node, const char *text, size_t n);
int tree_create(struct request *r, struct node at, const char *name, size_t n, const char *quota,
	size_t n_quota);
/* An alias in AT, which is the `as` of a slot. */
int tree_link(struct request *r, struct node at, const char *name, size_t n);
int tree_remove(struct request *r, struct node at, const char *name, size_t n);
int tree_rename(struct request *r, struct node at, const char *name, size_t n, struct node to,
	const char *new_name, size_t n_new);
/* UID, GID or MODE -1: unchanged. Only directories of sessions and slots have their own. */
int tree_set_owner(struct request *r, struct node node, uid_t uid, gid_t gid, mode_t mode);
/* R was refused by somebody else, on behalf of NODE: an event. */
void tree_refused(struct request *r, struct node node);

/* A node's path below its session's own directory, for messages: "caps/web/grant". */
void tree_path(struct node node, struct text *t);
/* The session in whose tree the node stands. */
struct session *tree_session_of(struct node node);
