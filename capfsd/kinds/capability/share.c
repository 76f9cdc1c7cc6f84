/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The row of shares, and how one is written. What it makes and ends by that is done elsewhere (sharing.c), after
 * the change in which it was written, or loaded.
 */
#include "config.h"

#include "capfsd/kinds/capability/share.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/kinds/declined.h"
#include "capfsd/kinds/capability/derive.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

_Static_assert(sizeof(struct share_record) == 112, "stored");

static struct place
share_place(const struct entity *e)
{
	struct capability *c = share_of(e)->capability;

	return (struct place){&c->entity, &c->shares, c->session};
}

static struct session *
share_session(const struct entity *e)
{
	return share_of(e)->capability->session;
}

static bool
share_is_doomed(const struct entity *e)
{
	return capability_is_doomed(share_of(e)->capability);
}

static bool
share_is_busy(const struct entity *e)
{
	return !list_empty(&share_of(e)->work_link);
}

static void
share_init(struct model *m, struct entity *e)
{
	list_init(&share_of(e)->scope_link);
	list_init(&share_of(e)->work_link);
	list_init(&share_of(e)->declined);
}

static bool
record_is_valid(const struct share_record *r)
{
	struct methods m = {.n = r->n_methods};

	memcpy(m.range, r->methods, sizeof(m.range));
	return r->with < N_SHARE_WITH && r->n_methods <= METHODS_MAX && r->changed <= 1 && methods_are_valid(&m);
}

/* An older daemon ends slots and sessions, and leaves their shares, of which it knows nothing. */
static int
share_resolve(struct model *m, struct entity *e)
{
	struct share *s = share_of(e);
	struct entity *owner = entity_find(m, s->record.capability);

	if (s->record.capability >= e->id || !record_is_valid(&s->record))
		return -EBADMSG;
	if (!owner || !session_find_id(m, s->record.scope))
		return -ENOENT;
	if (owner->kind != ENTITY_CAPABILITY)
		return -EBADMSG;
	s->capability = capability_of(owner);
	return list_empty(&s->capability->shares) ? 0 : -EBADMSG;
}

/* All of it is looked at again, from the begin. */
static void
begin(struct model *m, struct share *s)
{
	struct session *scope = session_find_id(m, s->record.scope);

	s->at = 0;
	s->gives = false;
	list_unlink(&s->scope_link);
	if (scope)
		list_append(&scope->shares, &s->scope_link);
	if (list_empty(&s->work_link))
		list_append(&m->sharing, &s->work_link);
}

static void
share_link(struct model *m, struct entity *e)
{
	struct share *s = share_of(e);

	begin(m, s);
	if (s->settled)
		list_unlink(&s->work_link);
	/* It is not said of what it is written to later. */
	s->settled = false;
}

static void
share_unlink(struct model *m, struct entity *e)
{
	list_unlink(&share_of(e)->scope_link);
	list_unlink(&share_of(e)->work_link);
	declined_forget(m, share_of(e));
}

static unsigned
share_applied(struct model *m, struct entity *e, const void *old)
{
	struct share *s = share_of(e);
	const struct share_record *before = old;

	if (s->record.written == before->written)
		return 0;
	declined_forget(m, s);
	begin(m, s);
	return 0;
}

static void
share_check(struct model *m, struct entity *e)
{
	const struct share *s = share_of(e);

	model_expect(s->capability->entity.id == s->record.capability);
	model_expect(s->record.capability < e->id && record_is_valid(&s->record));
	model_expect(list_empty(&s->scope_link) == !session_find_id(m, s->record.scope));
	model_expect(s->record.with != SHARE_NONE || !list_empty(&s->work_link));
}

const struct kind share_kind = {
	.size = sizeof(struct share),
	.record_offset = offsetof(struct share, record),
	.record_bytes = sizeof(struct share_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.later = true,
	.init = share_init,
	.place = share_place,
	.session = share_session,
	.is_doomed = share_is_doomed,
	.is_busy = share_is_busy,
	.resolve = share_resolve,
	.link = share_link,
	.unlink = share_unlink,
	.applied = share_applied,
	.check = share_check,
};

struct share *
share_find(const struct capability *c)
{
	struct list *first = list_first(&c->shares);

	return first ? share_of(list_entry(first, struct entity, owner_link)) : NULL;
}

void
share_format_with(struct model *m, const struct share *s, struct text *t)
{
	static const char *const words[N_SHARE_WITH] = {
		"none", "children", "subtree", "siblings", NULL};
	const struct session *scope = session_find_id(m, s->record.scope);

	if (words[s->record.with])
		text_add(t, words[s->record.with]);
	else if (scope)
		session_label(scope, t);
	else
		text_add(t, "?");
}

struct reductions
share_reductions(const struct share_record *r)
{
	struct reductions how = {
		.has_rights = r->given & SHARE_HAS_RIGHTS,
		.has_methods = r->given & SHARE_HAS_METHODS,
		.has_calls = r->given & SHARE_HAS_CALLS,
		.has_conns = r->given & SHARE_HAS_CONNS,
		.has_rate = r->given & SHARE_HAS_RATE,
		.has_expires = r->given & SHARE_HAS_EXPIRES,
		.immutable = true,
		.rights = r->rights,
		.methods.n = r->n_methods,
		.calls = r->calls,
		.conns = r->conns,
		.rate = r->rate,
		.expires_usec = r->expires_usec,
	};

	memcpy(how.methods.range, r->methods, sizeof(r->methods));
	return how;
}

static void
record_reductions(const struct reductions *how, struct share_record *r)
{
	r->given = (uint8_t)((how->has_rights ? SHARE_HAS_RIGHTS : 0) |
		(how->has_methods ? SHARE_HAS_METHODS : 0) | (how->has_calls ? SHARE_HAS_CALLS : 0) |
		(how->has_conns ? SHARE_HAS_CONNS : 0) | (how->has_rate ? SHARE_HAS_RATE : 0) |
		(how->has_expires ? SHARE_HAS_EXPIRES : 0));
	r->rights = how->rights;
	r->calls = how->calls;
	r->conns = how->conns;
	r->rate = how->rate;
	r->expires_usec = how->expires_usec;
	r->n_methods = (uint8_t)how->methods.n;
	memcpy(r->methods, how->methods.range, sizeof(r->methods));
}

int
share_derive(struct change *ch, const struct share *share, struct capability_record *ret)
{
	const struct reductions how = share_reductions(&share->record);

	return derive_record(ch, share->capability, RIGHT_SHARE, &how, BY_SHARE, ret);
}

static int
add_share(struct change *ch, struct capability *c, const struct share_record *record,
	struct share **ret)
{
	enum quota_kind kind;
	struct entity *e;
	int r;

	if (!change_affords(ch, c->session, &share_kind.cost, &kind))
		return CAPABILITY_E_QUOTA_RAM;
	e = entity_new(change_model(ch), ENTITY_SHARE, "share", strlen("share"));
	if (!e)
		return -ENOMEM;
	share_of(e)->capability = c;
	share_of(e)->record = *record;
	r = change_add(ch, e);
	if (r == 0)
		*ret = share_of(e);
	return r;
}

/* Do they differ in what is given, whoever it is for? */
static bool
differ(struct share_record a, struct share_record b)
{
	a.with = b.with = a.changed = b.changed = 0;
	a.scope = b.scope = a.written = b.written = a.settled_upto = b.settled_upto = 0;
	return memcmp(&a, &b, sizeof(a)) != 0;
}

/*
 * Where it is written with other reductions what it has made is to follow. That stands in the record: else who is
 * killed meanwhile would leave the others with what they had.
 */
int
share_stage(struct change *ch, struct capability *c, enum share_with with, const struct session *s,
	const struct reductions *how, struct share **ret)
{
	const struct session *scope = with == SHARE_SIBLINGS ? c->session->parent
		: s					     ? s
							     : c->session;
	struct share_record record = {
		.capability = c->entity.id, .scope = scope->entity.id, .with = (uint8_t)with,
		.written = change_last_id(ch)};
	struct share *found = share_find(c), probe = {.capability = c};
	struct capability_record unused;
	struct share_record *edited;
	int r;

	record_reductions(how, &record);
	probe.record = record;
	r = share_derive(ch, &probe, &unused);
	if (r && (with != SHARE_NONE || r == CAPABILITY_E_DEAD || r == CAPABILITY_E_RIGHT))
		return r;
	if (!found)
		return add_share(ch, c, &record, ret);
	edited = change_edit(ch, &found->entity);
	if (!edited)
		return -ENOMEM;
	record.written = found->record.written + 1;
	record.changed = found->record.changed || differ(record, found->record);
	*edited = record;
	*ret = found;
	return 0;
}
