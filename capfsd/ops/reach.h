/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom a command may name. Names reach down: what is written in a session names that one's slots, its
 * descendants, and, as @SLOT, a session to which one of its slots is a capability. For stage functions.
 */
#pragma once

#include "capfsd/ops/verb.h"

/* The descendant of S that KEY names. NULL: refused (ENOENT). */
struct session *find_descendant(struct request *r, struct session *s, const struct command *c, enum key key);

/*
 * The same, or the session that a slot of S refers to. That must have RIGHT, and to be named so is a call of it;
 * RIGHT 0: nothing is asked of that session, and it is named to find what S has given before. NULL: refused.
 */
struct session *find_session(struct operation *o, struct session *s, enum key key, uint32_t right);

/* The slot of S that is called so, a live capability to a session. NULL: refused (ENOENT, EINVAL). */
struct capability *find_session_slot(struct request *r, const struct session *s, const char *name, size_t n);

/* What target= names, of the session that THROUGH refers to. That must have `call`. NULL: refused. */
struct capability *find_target(struct operation *o, const struct capability *through);

/* Is what KEY names a slot? */
bool names_slot(const struct command *c, enum key key);
