/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * adjust: what was derived from a slot gets other limits, or rights, up or down within what the slot has
 * itself. Its id, its slot and its connections stay, which a revocation and a new grant would end.
 *
 * Only what was derived from this very slot: what that passed on is as its holder wants it, and is adjusted
 * there, by whoever may write there.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/verbs.h"

#define NAMED_MAX 8 /* of those among which one must choose */

static int
prepare(struct operation *o)
{
	if (!(o->command.given & KEYS_REDUCTIONS))
		return refuse(o->request, EINVAL, "nothing is given that would change");
	return 0;
}

static struct capability *
find_by_id(struct operation *o, struct capability *source)
{
	struct capability *found;
	struct entity *e;
	uint64_t id;

	if (!command_number(o->request, &o->command, KEY_ID, &id))
		return NULL;
	e = entity_find(o->request->model, id);
	found = e && e->kind == ENTITY_CAPABILITY ? capability_of(e) : NULL;
	if (found && found->parent == source && capability_is_live(found))
		return found;
	refuse(o->request, ENOENT, "nothing derived from %s itself has that id", source->entity.name);
	return NULL;
}

/* Which of them is meant only their ids can tell. */
static int
refuse_many(struct operation *o, struct capability *source, const struct session *s,
	struct capability *first)
{
	cleanup_text struct text ids = {};
	struct capability *i = first;
	unsigned n = 0;

	for (; i && n < NAMED_MAX; n++) {
		text_addf(&ids, "%sid=%" PRIu64, n > 0 ? ", " : "", i->entity.id);
		i = capability_next_in(o->request->model, s, source, i);
	}
	if (text_done(&ids) < 0)
		return -ENOMEM;
	return refuse(o->request, EINVAL, "several of %s are held there: %s%s", source->entity.name,
		ids.data, i ? ", ..." : "");
}

static int
find_in_session(struct operation *o, struct capability *source, struct capability **ret)
{
	struct model *m = o->request->model;
	struct session *s = find_session(o, source->session, KEY_TO, 0);
	struct capability *found = s ? capability_next_in(m, s, source, NULL) : NULL;

	if (!s)
		return 0;
	if (!found)
		return refuse(o->request, ENOENT, "nothing derived from %s itself is held there",
			source->entity.name);
	if (capability_next_in(m, s, source, found))
		return refuse_many(o, source, s, found);
	*ret = found;
	return 0;
}

static void
add_number(struct text *t, uint64_t n)
{
	if (n == LIMIT_NONE)
		text_add(t, "none");
	else
		text_addf(t, "%" PRIu64, n);
}

static void
add_rate(struct text *t, uint64_t rate)
{
	add_number(t, rate);
	if (rate != LIMIT_NONE)
		text_add(t, "/s");
}

static void
add_time(struct text *t, uint64_t usec)
{
	if (usec == LIMIT_NONE)
		text_add(t, "never");
	else
		text_time(t, usec);
}

static void
add_limit(struct text *t, const char *name, uint64_t before, uint64_t after,
	void (*add)(struct text *t, uint64_t value))
{
	if (before == after)
		return;
	text_addf(t, " %s=", name);
	add(t, before);
	text_add(t, "->");
	add(t, after);
}

static void
add_methods(struct text *t, const struct capability_record *r)
{
	const struct methods methods = record_methods(r);

	if (methods.n > 0)
		methods_format(&methods, t);
	else
		text_add(t, "all");
}

/* " conns=4->64 rights=call->call,grant": what is other than it was, as its record says it. */
static void
add_changes(struct text *t, const struct capability_record *before,
	const struct capability_record *after)
{
	const struct methods was = record_methods(before), is = record_methods(after);

	if (record_rights(before) != record_rights(after)) {
		text_add(t, " rights=");
		rights_format(record_rights(before), t);
		text_add(t, "->");
		rights_format(record_rights(after), t);
	}
	if (!methods_equal(&was, &is)) {
		text_add(t, " methods=");
		add_methods(t, before);
		text_add(t, "->");
		add_methods(t, after);
	}
	add_limit(t, "calls", before->calls_limit, after->calls_limit, add_number);
	add_limit(t, "conns", before->conns_limit, after->conns_limit, add_number);
	add_limit(t, "rate", before->rate_limit, after->rate_limit, add_rate);
	add_limit(t, "expires", before->expires_usec, after->expires_usec, add_time);
}

/* Told whoever has it, with what is other now and not with the words: these say less. */
static int
stage_one(struct operation *o, struct capability *source, struct capability *c)
{
	const struct about about = {
		.capability = source, .session = c->session, .right = RIGHT_GRANT};
	struct request *r = o->request;
	int answer = capability_adjust(o->change, c, &o->reductions);

	if (answer < 0)
		return answer;
	if (answer == CAPABILITY_E_IN_USE)
		return refuse(r, EBUSY, "more than that of %s is in use", c->entity.name);
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	text_addf(&r->text, "slot=%s id=%" PRIu64 " connections=%" PRIu32, c->entity.name,
		c->entity.id, c->conns_used);
	add_changes(&r->text, &c->record, change_record(o->change, &c->entity));
	operation_tell(o, c->session, " slot=%s id=%" PRIu64 " uid=%u from=", c->entity.name,
		c->entity.id, (unsigned)r->uid);
	event_label(source->session, &o->event);
	text_addf(&o->event, "/caps/%s", source->entity.name);
	add_changes(&o->event, &c->record, change_record(o->change, &c->entity));
	return 0;
}

static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *found = NULL;
	int r = 0;

	if (command_has(&o->command, KEY_TO))
		r = find_in_session(o, source, &found);
	else
		found = find_by_id(o, source);
	return found ? stage_one(o, source, found) : r;
}

#define WHICH (KEY_BIT(KEY_TO) | KEY_BIT(KEY_ID))

const struct verb verb_adjust = {
	VERB_ROW(ADJUST, adjust),
	.lasting = true,
	.keys = WHICH | KEYS_REDUCTIONS,
	.one_of = WHICH,
	.right = RIGHT_GRANT,
	.prepare = prepare,
	.stage = stage,
};
