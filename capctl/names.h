/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what a user types to a node's path below the session that capctl talks to, and the little
 * text that nodes consist of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* What a path refers to, by its shape alone. */
enum node_kind {
	NODE_SESSION,	 /* "", sessions/app */
	NODE_SLOT,	 /* …caps/kv */
	NODE_ENTRYPOINT, /* …entrypoints/kv */
	NODE_THREAD,	 /* …threads/7.1 */
	NODE_OTHER,	 /* a file or a directory in one of those */
};

/* Is it a name as slots, sessions and entrypoints have them? */
bool name_is_valid(const char *name, size_t n);

/*
 * Appends the path of the session directory that SESSION names: "app/db" gives
 * "sessions/app/sessions/db", "" gives "". Written as a path it may also be "sessions/app".
 * Returns: 0, or -EINVAL for what cannot be the name of a session.
 */
int session_node(const char *session, struct text *t);

/* The session of such a path as the library calls it: "app/db". text_done() tells of failures. */
void session_name(const char *node, struct text *t);

/* What a word is read against: the mount, the label of its session, and --session (or NULL). */
struct place {
	const char *root;
	const char *label;
	const char *session;
};

/*
 * Appends the node that WORD names. With a '/' or without, in this order:
 *
 *	/cap/sessions/app/caps/kv	a path below the root
 *	app:kv, app/db:kv		a slot in a descendant session
 *	init/app/caps/kv		as `info` and `holders` write it
 *	sessions/app/caps/kv, caps/kv	a path below the session
 *	kv				FOLDER/kv, where FOLDER is "caps" or the like; "": kv itself
 *
 * Returns: 0, or -EINVAL.
 */
int word_node(const struct place *place, const char *folder, const char *word, struct text *t);

/*
 * The other way round: the node that the daemon calls LABEL, of a session or a slot, and what it calls the session of
 * NODE. Returns: 0, -ENOENT: it is not below our session; -EINVAL.
 */
int label_node(const struct place *place, const char *label, struct text *t);
void session_label(const struct place *place, const char *node, struct text *t);

enum node_kind node_kind(const char *node);

/* The last name of a path; the whole of it without one. */
const char *node_name(const char *node);

/* Appends "/NAME" or, to an empty path, "NAME". */
void node_append(struct text *t, const char *name);

/*
 * The value of KEY in a text of KEY=VALUE words, also in the line that begins with the bare word
 * LINE when that is not NULL ("conns limit=4"). Appends it to RET.
 * Returns: whether it was there.
 */
bool field_find(const char *text, const char *line, const char *key, struct text *ret);

/*
 * Appends "KEY=WORD", or WORD when KEY is NULL, to a command, behind a blank. Nothing in a word may
 * become another one.
 * Returns: 0, or -EINVAL for a word with blanks or without anything.
 */
int word_append(struct text *t, const char *key, const char *word);
