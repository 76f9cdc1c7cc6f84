/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks. Those that wait stand in the list of who decides, all of them in one of the model's in the order of
 * when they are due, and by the number of who waits in an index: none of these can fail to be linked.
 */
#include "config.h"

#include "capfsd/kinds/asking/ask.h"

#include <errno.h>
#include <string.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct ask_record) == 392, "stored");

enum ask_given {
	GIVEN_RIGHTS = 1 << 0,
	GIVEN_METHODS = 1 << 1,
	GIVEN_CALLS = 1 << 2,
	GIVEN_CONNS = 1 << 3,
	GIVEN_RATE = 1 << 4,
	GIVEN_EXPIRES = 1 << 5,
};

struct session *
ask_decider(const struct session *s, enum ask_what what)
{
	return what == ASK_YIELD ? (struct session *)(uintptr_t)s : s->parent;
}

/* The file of an answer is there until it is closed; a connection may have gone without a word. */
uint64_t
ask_due(const struct ask *a)
{
	if (a->record.state == ASK_WAITING)
		return a->record.until_usec;
	if (a->record.asker.handle)
		return UINT64_MAX;
	return a->record.until_usec + ASK_GRACE_USEC;
}

static void
ask_init(struct model *m, struct entity *e)
{
	struct ask *a = ask_of(e);

	list_init(&a->asked_link);
	list_init(&a->due_link);
	list_init(&a->waiters);
	list_init(&a->news_link);
}

/* Who asks: a child whose quota is used up can be asked for some of it. */
static struct session *
payer(const struct session *s, enum ask_what what)
{
	return what == ASK_YIELD ? s->parent : (struct session *)(uintptr_t)s;
}

static struct place
ask_place(const struct entity *e)
{
	const struct ask *a = ask_of(e);
	struct session *s = a->session;

	return (struct place){&s->entity, &s->owned[ENTITY_ASK], payer(s, a->record.what)};
}

static struct session *
ask_session(const struct entity *e)
{
	return ask_of(e)->session;
}

/* It is in no directory: who decides reads of it in `requests`, or in `yield`. */
static bool
ask_is_shown(const struct entity *e)
{
	return false;
}

static bool
is_valid(const struct ask_record *r)
{
	const struct methods m = {.n = r->n_methods};
	struct methods methods = m;

	if (r->what >= ASK_N || r->state > ASK_ANSWERED || r->type >= N_CAPABILITY_TYPES ||
		r->n_text > ASK_TEXT_BYTES || r->read_last > r->read_offset)
		return false;
	memcpy(methods.range, r->methods, sizeof(methods.range));
	return methods_are_valid(&methods);
}

static int
ask_resolve(struct model *m, struct entity *e)
{
	struct ask *a = ask_of(e);

	if (a->record.session >= e->id || !is_valid(&a->record))
		return -EBADMSG;
	a->session = session_find_id(m, a->record.session);
	if (!a->session)
		return entity_find(m, a->record.session) ? -EBADMSG : -ENOENT;
	return a->session->parent ? 0 : -EBADMSG;
}

/* Most have the same time to wait, so that the place is the last one. */
static void
link_due(struct model *m, struct ask *a)
{
	struct list *before = &m->asks;

	list_unlink(&a->due_link);
	while (before->prev != &m->asks && ask_due(list_entry(before->prev, struct ask, due_link)) > ask_due(a))
		before = before->prev;
	list_append(before, &a->due_link);
}

static uint64_t
asker_number(const struct ask *a)
{
	return a->record.asker.handle ? a->record.asker.handle : a->record.asker.connection;
}

static void
ask_link(struct model *m, struct entity *e)
{
	struct ask *a = ask_of(e);

	link_due(m, a);
	/* Cannot fail: the index has buckets (model_new()). */
	(void)index_add(&m->by_asker, &a->asker_link, index_hash_id(asker_number(a)));
	if (a->record.state == ASK_WAITING)
		list_append(&ask_decider(a->session, a->record.what)->asked, &a->asked_link);
}

static void
ask_unlink(struct model *m, struct entity *e)
{
	struct ask *a = ask_of(e);

	list_unlink(&a->asked_link);
	list_unlink(&a->due_link);
	list_unlink(&a->news_link);
	index_remove(&m->by_asker, &a->asker_link);
	while (!list_empty(&a->waiters))
		list_unlink(list_first(&a->waiters));
}

static unsigned
ask_applied(struct model *m, struct entity *e, const void *old)
{
	struct ask *a = ask_of(e);
	const struct ask_record *before = old;

	if (before->state == ASK_WAITING && a->record.state == ASK_ANSWERED) {
		list_unlink(&a->asked_link);
		link_due(m, a);
	}
	return 0;
}

/* Who decides shows it. */
static void
ask_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	struct ask *a = ask_of(e);

	entity_touch(m, &ask_decider(a->session, a->record.what)->entity, stamp);
}

static void
ask_check(struct model *m, struct entity *e)
{
	const struct ask *a = ask_of(e);

	model_holds(M04, a->record.session == a->session->entity.id && a->record.session < e->id);
	model_holds(M60, is_valid(&a->record) && a->session->parent);
	model_holds(M60, list_empty(&a->asked_link) == (a->record.state == ASK_ANSWERED));
	model_holds(M62, ask_count(a->session, false) <= ASKS_MAX && ask_count(a->session, true) <= ASKS_MAX);
	model_holds(M62, a->record.what != ASK_YIELD || a->record.state == ASK_ANSWERED ||
			ask_find_yield(a->session) == a);
}

static void
ask_check_all(struct model *m)
{
	uint64_t n = 0, due = 0;

	list_for_each (i, &m->asks) {
		const struct ask *a = list_entry(i, struct ask, due_link);

		model_holds(M61, ask_due(a) >= due);
		due = ask_due(a);
		n++;
	}
	model_holds(M06, n == m->n[ENTITY_ASK] && n == m->by_asker.n);
}

const struct kind ask_kind = {
	.size = sizeof(struct ask),
	.record_offset = offsetof(struct ask, record),
	.record_bytes = sizeof(struct ask_record),
	.cost = {{[QUOTA_RAM] = 2 * QUOTA_RAM_SLOT}},
	.names_repeat = true,
	.later = true,
	.init = ask_init,
	.place = ask_place,
	.session = ask_session,
	.is_shown = ask_is_shown,
	.resolve = ask_resolve,
	.link = ask_link,
	.unlink = ask_unlink,
	.applied = ask_applied,
	.touch = ask_touch,
	.check = ask_check,
	.check_all = ask_check_all,
};

static struct ask *
find(struct model *m, uint64_t number, struct ask *after)
{
	struct index_link *l = after ? index_next(&after->asker_link)
				     : index_first(&m->by_asker, index_hash_id(number));

	for (; l; l = index_next(l)) {
		struct ask *a = container_of(l, struct ask, asker_link);

		if (asker_number(a) == number)
			return a;
	}
	return NULL;
}

struct ask *
ask_find_file(struct model *m, uint64_t handle)
{
	struct ask *a = find(m, handle, NULL);

	while (a && !a->record.asker.handle)
		a = find(m, handle, a);
	return a;
}

struct ask *
ask_next_of(struct model *m, uint64_t connection, struct ask *a)
{
	do
		a = find(m, connection, a);
	while (a && a->record.asker.handle);
	return a;
}

struct ask *
ask_find_request(struct model *m, uint64_t connection, uint64_t serial)
{
	struct ask *a = ask_next_of(m, connection, NULL);

	while (a && a->record.asker.serial != serial)
		a = ask_next_of(m, connection, a);
	return a;
}

unsigned
ask_count(const struct session *s, bool yields)
{
	unsigned n = 0;

	list_for_each (i, (struct list *)(uintptr_t)&s->owned[ENTITY_ASK])
		n += (ask_of(list_entry(i, struct entity, owner_link))->record.what == ASK_YIELD) == yields;
	return n;
}

struct ask *
ask_find_yield(const struct session *s)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->asked) {
		struct ask *a = list_entry(i, struct ask, asked_link);

		if (a->record.what == ASK_YIELD)
			return a;
	}
	return NULL;
}

void
ask_set_reductions(struct ask_record *record, const struct reductions *how)
{
	record->given = (how->has_rights ? GIVEN_RIGHTS : 0U) | (how->has_methods ? GIVEN_METHODS : 0U) |
		(how->has_calls ? GIVEN_CALLS : 0U) | (how->has_conns ? GIVEN_CONNS : 0U) |
		(how->has_rate ? GIVEN_RATE : 0U) | (how->has_expires ? GIVEN_EXPIRES : 0U);
	record->rights = how->rights;
	record->calls = how->calls;
	record->conns = how->conns;
	record->rate = how->rate;
	record->expires_usec = how->expires_usec;
	record->n_methods = how->methods.n;
	memcpy(record->methods, how->methods.range, sizeof(record->methods));
}

void
ask_reductions(const struct ask_record *record, struct reductions *ret)
{
	*ret = (struct reductions){
		.has_rights = record->given & GIVEN_RIGHTS,
		.has_methods = record->given & GIVEN_METHODS,
		.has_calls = record->given & GIVEN_CALLS,
		.has_conns = record->given & GIVEN_CONNS,
		.has_rate = record->given & GIVEN_RATE,
		.has_expires = record->given & GIVEN_EXPIRES,
		.immutable = true,
		.rights = record->rights,
		.calls = record->calls,
		.conns = record->conns,
		.rate = record->rate,
		.expires_usec = record->expires_usec,
		.methods.n = record->n_methods,
	};
	memcpy(ret->methods.range, record->methods, sizeof(record->methods));
}

void
ask_set_text(struct ask_record *record, uint32_t error, const char *text, size_t n)
{
	record->state = ASK_ANSWERED;
	record->error = error;
	record->n_text = (uint8_t)(n < ASK_TEXT_BYTES ? n : ASK_TEXT_BYTES);
	memset(record->text, 0, sizeof(record->text));
	if (n > 0)
		memcpy(record->text, text, record->n_text);
}

int
ask_add(struct change *ch, struct session *s, const char *name, size_t n, const struct ask_record *record,
	struct ask **ret)
{
	enum quota_kind kind;
	struct entity *e;
	int r;

	if (!change_affords(ch, payer(s, record->what), &ask_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	e = entity_new(change_model(ch), ENTITY_ASK, name, n);
	if (!e)
		return -ENOMEM;
	ask_of(e)->session = s;
	ask_of(e)->record = *record;
	ask_of(e)->record.session = s->entity.id;
	r = change_add(ch, e);
	if (r == 0)
		*ret = ask_of(e);
	return r;
}

int
ask_answer(struct change *ch, struct ask *a, uint32_t error, const char *text, size_t n)
{
	struct ask_record *record = change_edit(ch, &a->entity);

	if (!record)
		return -ENOMEM;
	ask_set_text(record, error, text, n);
	return 0;
}
