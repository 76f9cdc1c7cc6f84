/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Anchors. Each is made together with its first origin, and goes when its last one has gone, or its thread:
 * nobody ends one by itself, and one that is loaded without an origin is a rest of what an older daemon has
 * ended. Its name is its badge in decimal, so that the slots that lead to it may be called anything.
 *
 * The model calls the row, the verb `originate` and those who answer (capfsd/answers) what stages.
 */
#include "config.h"

#include "capfsd/kinds/anchor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/program.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct anchor_record) == 64, "stored");

static void
anchor_init(struct model *m, struct entity *e)
{
	list_init(&anchor_of(e)->origins);
	list_init(&anchor_of(e)->waiting);
	list_init(&anchor_of(e)->program_link);
}

static struct place
anchor_place(const struct entity *e)
{
	struct session *s = anchor_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_ANCHOR], s};
}

static struct session *
anchor_session(const struct entity *e)
{
	return anchor_of(e)->session;
}

static bool
anchor_is_shown(const struct entity *e)
{
	return false;
}

/* Its thread is never there again, so that this is true for ever, and nothing needs to be stored of it. */
static bool
is_lost(const struct anchor *a)
{
	return a->record.type == TYPE_THREAD && !a->program;
}

static bool
anchor_is_doomed(const struct entity *e)
{
	return is_lost(anchor_of(e)) || anchor_of(e)->session->record.state != SESSION_RUNNING;
}

static bool
anchor_is_ending(const struct entity *e)
{
	return is_lost(anchor_of(e)) || list_empty(&anchor_of(e)->origins);
}

static size_t
name_format(uint64_t badge, char name[NUMBER_BYTES_MAX])
{
	return (size_t)snprintf(name, NUMBER_BYTES_MAX, "%" PRIu64, badge);
}

/* A thread may have ended under a daemon that knows of no anchors; what stands in its place is damage. */
static int
resolve_program(struct model *m, struct anchor *a)
{
	struct entity *e = a->record.about ? entity_find(m, a->record.about) : NULL;

	if (a->record.type != TYPE_THREAD)
		return a->record.about ? -EBADMSG : 0;
	if (e && (e->kind != ENTITY_PROGRAM || program_of(e)->session != a->session))
		return -EBADMSG;
	a->program = e ? program_of(e) : NULL;
	return 0;
}

static int
anchor_resolve(struct model *m, struct entity *e)
{
	struct anchor *a = anchor_of(e);
	const struct anchor_record *r = &a->record;
	char name[NUMBER_BYTES_MAX];

	a->session = session_find_id(m, r->session);
	if (!a->session)
		return entity_find(m, r->session) ? -EBADMSG : -ENOENT;
	name_format(r->badge, name);
	if (strcmp(name, e->name) != 0 || !r->badge || r->badge >= m->header.next_badge)
		return -EBADMSG;
	if (r->type >= N_CAPABILITY_TYPES || capability_types[r->type]->target != ENTITY_ANCHOR)
		return -EBADMSG;
	if ((r->flags & ~ANCHOR_ALARM) ||
		((r->flags & ANCHOR_ALARM) && (a->session->alarm || r->type != TYPE_SIGNAL)))
		return -EBADMSG;
	return resolve_program(m, a);
}

static void
anchor_link(struct model *m, struct entity *e)
{
	struct anchor *a = anchor_of(e);

	if (a->record.flags & ANCHOR_ALARM)
		a->session->alarm = e;
	if (a->program)
		list_append(&a->program->anchors, &a->program_link);
	else if (is_lost(a))
		entity_set_ending(m, e);
}

static void
anchor_unlink(struct model *m, struct entity *e)
{
	struct anchor *a = anchor_of(e);

	assert(list_empty(&a->origins) && list_empty(&a->waiting));
	if (a->session->alarm == e)
		a->session->alarm = NULL;
	list_unlink(&a->program_link);
}

static unsigned
anchor_applied(struct model *m, struct entity *e, const void *old)
{
	const struct anchor_record *r = &anchor_of(e)->record, *before = old;

	return r->count != before->count || r->mailbox != before->mailbox ? APPLIED_BELOW : 0;
}

/* As with an object: origins refer to it, and go first. */
static int
anchor_reap(struct reaper *r, struct entity *e)
{
	list_for_each (i, &anchor_of(e)->origins) {
		int a = reap_entity(r, &list_entry(i, struct capability, origin_link)->entity);

		if (a)
			return a;
	}
	return reap_one(r, e);
}

/* What was loaded is in the list from before its origins came. */
static int
anchor_reap_ended(struct reaper *r, struct entity *e)
{
	return anchor_is_ending(e) ? anchor_reap(r, e) : 0;
}

/* Its capabilities show what it has. */
static void
anchor_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	list_for_each (i, &anchor_of(e)->origins)
		entity_touch_below(m, &list_entry(i, struct capability, origin_link)->entity, touch, stamp);
}

static void
anchor_tell_restricted(struct model *m, struct entity *e)
{
	list_for_each (i, &anchor_of(e)->origins)
		entity_tell_restricted(m, &list_entry(i, struct capability, origin_link)->entity);
}

static void
anchor_check(struct model *m, struct entity *e)
{
	struct anchor *a = anchor_of(e);

	model_holds(M04, a->session->entity.id == a->record.session);
	model_holds(M40, a->record.badge > 0 && a->record.badge < m->header.next_badge);
	model_holds(M03, !(a->record.flags & ANCHOR_ALARM) || a->session->alarm == e);
	model_holds(M03, list_empty(&a->program_link) == !a->program);
	model_holds(M10, !a->program || a->program->entity.id == a->record.about);
	list_for_each (i, &a->origins) {
		const struct capability *c = list_entry(i, struct capability, origin_link);

		model_holds(M13, c->target == e && !c->parent && c->record.type == a->record.type);
	}
}

const struct kind anchor_kind = {
	.size = sizeof(struct anchor),
	.record_offset = offsetof(struct anchor, record),
	.record_bytes = sizeof(struct anchor_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.later = true,
	.init = anchor_init,
	.place = anchor_place,
	.session = anchor_session,
	.is_shown = anchor_is_shown,
	.is_doomed = anchor_is_doomed,
	.is_ending = anchor_is_ending,
	.resolve = anchor_resolve,
	.link = anchor_link,
	.unlink = anchor_unlink,
	.applied = anchor_applied,
	.reap = anchor_reap,
	.reap_ended = anchor_reap_ended,
	.touch_below = anchor_touch_below,
	.tell_restricted = anchor_tell_restricted,
	.check = anchor_check,
};

int
anchor_add(struct change *ch, struct session *s, const struct anchor_record *record, struct program *program,
	struct anchor **ret)
{
	const struct session_record *session = change_record(ch, &s->entity);
	uint64_t badge = change_new_badge(ch);
	char name[NUMBER_BYTES_MAX];
	enum quota_kind kind;
	struct entity *e;
	int r;

	if (session->state != SESSION_RUNNING)
		return ANCHOR_E_CLOSING;
	if ((record->flags & ANCHOR_ALARM) && s->alarm)
		return ANCHOR_E_ALARM;
	if (!change_affords(ch, s, &anchor_kind.cost, &kind))
		return ANCHOR_E_QUOTA_RAM;
	e = entity_new(change_model(ch), ENTITY_ANCHOR, name, name_format(badge, name));
	if (!e)
		return -ENOMEM;
	anchor_of(e)->session = s;
	anchor_of(e)->record = *record;
	anchor_of(e)->record.session = s->entity.id;
	anchor_of(e)->record.badge = badge;
	anchor_of(e)->program = program;
	if (program)
		anchor_of(e)->record.about = program->entity.id;
	r = change_add(ch, e);
	if (r == 0)
		*ret = anchor_of(e);
	return r;
}

/* Who is connected to what refers to them is told here, since no record has changed. */
void
anchors_lost(struct program *p)
{
	struct model *m = p->session->model;

	while (!list_empty(&p->anchors)) {
		struct anchor *a = list_entry(list_first(&p->anchors), struct anchor, program_link);

		list_unlink(&a->program_link);
		a->program = NULL;
		entity_set_ending(m, &a->entity);
		entity_tell_restricted(m, &a->entity);
	}
}

/* Nobody is told less than there was, and a sum beyond 64 bits means no more than "many". */
int
anchor_raise(struct change *ch, struct anchor *a, uint64_t n)
{
	struct anchor_record *record = change_edit(ch, &a->entity);

	if (!record)
		return -ENOMEM;
	if (!number_add(record->count, n, &record->count))
		record->count = UINT64_MAX;
	return 0;
}

int
anchor_take(struct change *ch, struct anchor *a)
{
	struct anchor_record *record = change_edit(ch, &a->entity);

	if (!record)
		return -ENOMEM;
	record->count = 0;
	return 0;
}

int
anchor_post(struct change *ch, struct anchor *a, uint64_t cookie, bool memory, uint64_t size, uint8_t seals)
{
	struct anchor_record *record = change_edit(ch, &a->entity);

	if (!record)
		return -ENOMEM;
	record->mailbox = cookie;
	record->memory = memory;
	record->count = memory ? size : 0;
	record->seals = memory ? seals : 0;
	return 0;
}

int
anchors_alarm(struct change *ch, struct session *s)
{
	int r = 0;

	for (; s && r == 0; s = s->parent)
		if (s->alarm && !anchor_is_doomed(s->alarm))
			r = anchor_raise(ch, anchor_of(s->alarm), 1);
	return r;
}
