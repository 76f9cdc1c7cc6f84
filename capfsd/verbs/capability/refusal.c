/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * refusal: what the server of an entrypoint has refused to somebody who came by one of its capabilities, for what
 * the daemon does not understand, such as a caveat, or where a limit that it counts is used up. Whoever has that capability reads it as if the daemon had
 * refused it; session and slot are the daemon's own words, user and call are the server's. So a server says
 * something of those alone who may call it, in their own share of their logs, and no more often than it may.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/number.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

#define SECOND_USEC UINT64_C(1000000)
#define SECOND_MAX 32

static bool
take_turn(struct entrypoint *ep)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (now - ep->second_usec >= SECOND_USEC) {
		ep->second_usec = now;
		ep->n_refusals = 0;
	}
	return ep->n_refusals++ < SECOND_MAX;
}

static int
hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* A word has no blanks: "POST%20/x". What is no such pair stands for itself. */
static void
add_decoded(struct text *t, const struct word *w)
{
	for (size_t i = 0; i < w->n; i++) {
		int high = w->p[i] == '%' && i + 2 < w->n ? hex_digit(w->p[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(w->p[i + 2]) : -1;
		char c = low >= 0 ? (char)(high << 4 | low) : w->p[i];

		text_add_n(t, &c, 1);
		i += low >= 0 ? 2 : 0;
	}
}

/* Returns: NULL, and the request is refused. */
static struct capability *
find(struct operation *o, struct entrypoint *ep)
{
	struct capability *c = NULL;
	struct entity *e;
	uint64_t id;

	if (!command_number(o->request, &o->command, KEY_ID, &id))
		return NULL;
	e = entity_find(o->request->model, id);
	if (e && e->kind == ENTITY_CAPABILITY)
		c = capability_of(e);
	if (c && capability_entrypoint(c) == ep && capability_is_live(c))
		return c;
	refuse(o->request, ENOENT, "no capability to it has that id");
	return NULL;
}

static int
refusal_stage(struct operation *o)
{
	struct entrypoint *ep = entrypoint_of(o->subject);
	struct capability *c = find(o, ep);
	const struct word *name = &o->command.value[KEY_ERROR];
	uint64_t uid = UINT64_MAX;
	int error = EPERM;

	if (!c || (command_has(&o->command, KEY_UID) &&
		!command_number(o->request, &o->command, KEY_UID, &uid)))
		return 0;
	if (command_has(&o->command, KEY_ERROR))
		error = error_number(name->p, name->n);
	if (error == 0)
		return refuse(o->request, EINVAL, "no error is called '%.*s'", (int)name->n, name->p);
	if (!ep->thread)
		return refuse(o->request, ECONNREFUSED, "nobody serves it");
	if (!take_turn(ep))
		return refuse(o->request, EDQUOT, "more than %d in a second", SECOND_MAX);
	o->unchanged = true;
	operation_tell(o, c->session, " slot=%s", c->entity.name);
	if (uid <= UINT32_MAX)
		text_addf(&o->event, " uid=%u", (unsigned)uid);
	o->told_as = "call";
	o->told_error = error;
	text_reset(&o->told_text);
	add_decoded(&o->told_text, &o->command.value[KEY_CALL]);
	return text_done(&o->told_text);
}

const struct verb verb_refusal = {
	VERB_ROW(REFUSAL, refusal),
	.keys = KEY_BIT(KEY_ID) | KEY_BIT(KEY_UID) | KEY_BIT(KEY_CALL) |
		KEY_BIT(KEY_ERROR),
	.required = KEY_BIT(KEY_ID) | KEY_BIT(KEY_CALL),
	.stage = refusal_stage,
};
