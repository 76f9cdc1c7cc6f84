/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thing that a control client asked: the request, and the reply as it is to be. Operations fill
 * it; control.c sends it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/ops/request.h"
#include "capfsd/ops/verb.h"
#include "capfsd/tree/tree.h"

struct capability;
struct change;
struct control;
struct session;
struct wire_request;

struct exchange {
	struct request request;
	struct control *control;
	const struct wire_request *asked;
	size_t n_asked; /* bytes of it in the queue */
	const char *text; /* instead of request.text, when set */
	size_t n_text;
	uint64_t value;
	uint16_t flags;
	int (*note)(struct request *r, struct change *ch); /* of what is replied to at once (asks.c) */
	int fd;	    /* goes with the reply, -1: none */
	bool noted;	/* the reply was staged */
	bool parked;     /* no reply yet, and nothing to be done until control_resume() … */
	bool gives_way;  /* … or until there is another request behind it */
	bool unfinished; /* no reply yet: others have their turn, and then it is performed again */
};

void exchange_deinit(struct exchange *x);

/*
 * The slot that a path names which begins with "@SLOT/", behind which that is moved: a capability to a session, with
 * `spawn`. NULL: refused.
 */
struct capability *exchange_through(struct exchange *x, const char **path, size_t *n);
/* The node of PATH, seen from the client's session. Returns: 0, else refused. */
int exchange_walk(struct exchange *x, const char *path, size_t n, struct node *ret);
/* The directory of the path that was asked for, and the name in it. Returns: 0, else refused. */
int exchange_split(struct exchange *x, struct node *ret_at, struct word *ret_name);
/*
 * VERB, done by what was asked to SUBJECT, and told in S: for verb_run(). What it tells of where it
 * was asked is the path.
 */
struct operation exchange_operation(struct exchange *x, const struct verb *verb,
	struct session *s, struct entity *subject);
