/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions: the row of the one kind that the model itself is about, since all others belong to one,
 * are paid by one, and end with one; and what is done with them: make, close, lend quota.
 *
 * Verbs and fronts call what session.h has; whether who asks may do it is theirs to know. Quota is
 * never made here: what a child gets is lent by its parent in the same change, and every path that
 * moves it keeps limit = used + lent + free on both sides.
 */
#include "config.h"

#include "capfsd/model/session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"
#include "capfsd/model/check.h"
#include "capfsd/model/event.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

/* Stores of all versions have it like this, and those that come must read them. */
_Static_assert(sizeof(struct session_record) == 8 * (3 + 2 * QUOTA_N_KINDS) + 16, "stored");

static void
session_init(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);

	s->model = m;
	list_init(&s->shares);
	list_init(&s->share_link);
	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		list_init(&s->owned[kind]);
	list_init(&s->asked);
	list_init(&s->deciders);
	list_init(&s->given);
	list_init(&s->visits);
}

static void
session_deinit(struct entity *e)
{
	events_free(session_of(e));
}

static struct place
session_place(const struct entity *e)
{
	struct session *parent = session_of(e)->parent;

	if (!parent)
		return (struct place){};
	return (struct place){&parent->entity, &parent->owned[ENTITY_SESSION], parent};
}

/*
 * A sum of limits that does not fit 64 bits would make a parent that has lent nearly nothing, so it
 * is damage and not left to wrap.
 */
static int
resolve_parent(struct model *m, struct session *s)
{
	struct entity *e = entity_find(m, s->record.parent);
	uint64_t sum;

	if (!e || e->kind != ENTITY_SESSION)
		return -EBADMSG;
	s->parent = session_of(e);
	s->entity.depth = s->parent->entity.depth + 1;
	if (s->entity.depth > SESSION_DEPTH_MAX)
		return -EBADMSG;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(s->parent->lent.n[i], s->record.limit.n[i], &sum))
			return -EBADMSG;
	return 0;
}

/* The root was given nothing: its limit is free to fall, see model_set_root_limit(). */
static int
resolve_root(struct model *m, const struct session *s)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (s->record.donation.n[i] > 0)
			return -EBADMSG;
	return m->root ? -EBADMSG : 0;
}

static int
session_resolve(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);
	const struct session_record *r = &s->record;

	if (r->state > SESSION_CLOSING || r->mode > 07777)
		return -EBADMSG;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (r->donation.n[i] > r->limit.n[i])
			return -EBADMSG;
	return r->parent ? resolve_parent(m, s) : resolve_root(m, s);
}

/* Whatever is shared by those above with those below is for the new one, too. */
static void
welcome(struct model *m, struct session *s)
{
	for (struct session *i = s->parent; i; i = i->parent)
		if (!list_empty(&i->shares)) {
			list_append(&m->unshared, &s->share_link);
			return;
		}
}

void
session_has_room(struct session *s)
{
	if (s->lacks_shared && list_empty(&s->share_link))
		list_append(&s->model->unshared, &s->share_link);
}

static void
session_link(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);

	if (!s->parent) {
		m->root = s;
		return;
	}
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		s->parent->lent.n[i] += s->record.limit.n[i];
	events_yield(s->parent);
	if (model_is_loaded(m))
		welcome(m, s);
}

static void
session_unlink(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);

	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		assert(list_empty(&s->owned[kind]));
	list_unlink(&s->share_link);
	while (!list_empty(&s->shares))
		list_unlink(list_first(&s->shares));
	assert(list_empty(&s->visits));
	/* Now, since nobody shows it any more and its lines are charged. */
	events_free(s);
	if (!s->parent) {
		m->root = NULL;
		return;
	}
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		s->parent->lent.n[i] -= s->record.limit.n[i];
}

/*
 * What the parent lends follows the limit by the difference, which may be negative: modulo 2^64
 * that is the same. Both sides may have less for their events than before. A session that begins to
 * close restricts all that is in it, so connections are looked at again.
 */
static unsigned
session_applied(struct model *m, struct entity *e, const void *old)
{
	struct session *s = session_of(e);
	const struct session_record *before = old;
	bool closed = s->record.state == SESSION_CLOSING && before->state != SESSION_CLOSING;

	for (int i = 0; s->parent && i < QUOTA_N_KINDS; i++)
		s->parent->lent.n[i] += s->record.limit.n[i] - before->limit.n[i];
	if (s->parent)
		events_yield(s->parent);
	events_yield(s);
	session_has_room(s);
	if (closed)
		entity_set_ending(m, e);
	return closed ? APPLIED_RESTRICTED : 0;
}

static struct session *
session_itself(const struct entity *e)
{
	return session_of(e);
}

static const struct quota *
session_lends(const void *record)
{
	return &((const struct session_record *)record)->limit;
}

static bool
session_is_shown(const struct entity *e)
{
	return session_of(e)->record.state == SESSION_RUNNING;
}

static bool
session_is_closing(const struct entity *e)
{
	return session_of(e)->record.state == SESSION_CLOSING;
}

/* Processes are outside of the model, and end when they do. */
bool
session_has_processes(const struct session *s)
{
	return s->n_owned[ENTITY_PROGRAM] > 0 || s->has_init;
}

static bool
session_is_ending(const struct entity *e)
{
	return session_is_closing(e) && !session_has_processes(session_of(e));
}

void
session_settle(struct session *s)
{
	if (session_is_ending(&s->entity))
		entity_set_ending(s->model, &s->entity);
}

/*
 * Only now are its children and all that it pays for known. Sums that do not come out would be
 * quota from nowhere, and a root that is closing would end everything.
 */
static int
session_finish(struct model *m, struct entity *e)
{
	const struct session *s = session_of(e);
	uint64_t sum;

	if (s->record.state != SESSION_RUNNING && (s->n_owned[ENTITY_SESSION] > 0 || !s->parent))
		return -EBADMSG;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(s->used.n[i], s->lent.n[i], &sum) || sum > s->record.limit.n[i])
			return -EBADMSG;
	return 0;
}

/* A charge that outlived its session would be given back to freed memory, and so would a turn of its. */
static void
session_gone(struct entity *e)
{
	assert(payer_is_idle(&session_of(e)->payer));
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		assert(session_of(e)->charged.n[i] == 0);
}

/*
 * Entrypoints and slots, and what hangs on them, before the session. Threads go with their
 * entrypoint. Programs, and with them the session, go later.
 */
static int
session_reap(struct reaper *r, struct entity *e)
{
	struct session *s = session_of(e);

	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		list_for_each (i, &s->owned[kind]) {
			int a = reap_entity(r, list_entry(i, struct entity, owner_link));

			if (a)
				return a;
		}
	return session_has_processes(s) ? 0 : reap_one(r, e);
}

/*
 * Each slot, and through entrypoints and objects each origin that the session serves, also those of
 * which other sessions have got theirs.
 */
static void
session_tell_restricted(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);

	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		list_for_each (i, &s->owned[kind])
			entity_tell_restricted(m, list_entry(i, struct entity, owner_link));
}

/* limit = used + lent + free, with used and lent counted again. */
static void
check_quota(struct session *s)
{
	struct quota used = s->charged, lent = s->donated;

	used.n[QUOTA_RAM] += s->event_bytes;
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++)
		for (int i = 0; i < QUOTA_N_KINDS; i++)
			used.n[i] += s->n_owned[kind] * entity_kinds[kind]->cost.n[i];
	list_for_each (i, &s->owned[ENTITY_SESSION])
		for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
			lent.n[kind] += list_entry(i, struct session, entity.owner_link)
						->record.limit.n[kind];
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++) {
		model_holds(M30, s->used.n[kind] == used.n[kind]);
		model_holds(M31, s->lent.n[kind] == lent.n[kind]);
		model_holds(M32, used.n[kind] <= s->record.limit.n[kind]);
		model_holds(M32, lent.n[kind] <= s->record.limit.n[kind] - used.n[kind]);
		model_holds(M32, quota_free(s, kind) ==
			s->record.limit.n[kind] - used.n[kind] - lent.n[kind]);
		model_holds(M33, s->record.limit.n[kind] >= s->record.donation.n[kind]);
	}
}

/*
 * A closing session has no children, or they would be removed with it without having been closed.
 */
static void
session_check(struct model *m, struct entity *e)
{
	struct session *s = session_of(e);

	model_holds(M04, s->model == m && s->entity.depth <= SESSION_DEPTH_MAX);
	model_holds(M04, s->parent ? s->entity.depth == s->parent->entity.depth + 1
			       : s == m->root && s->entity.depth == 0);
	model_holds(M04, s->record.parent == (s->parent ? s->parent->entity.id : 0));
	/*
	 * Objects are in their entrypoint's list, and the session pays for them; so what its lists
	 * have may be less than what is counted; for the visits to its servers their clients pay, and for
	 * what is asked back of it its parent.
	 * model_check() compares the sums.
	 */
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		uint64_t n = check_list(&s->owned[kind], kind, &s->entity);

		model_holds(M06, kind != ENTITY_VISIT || n == s->n_visits);
		model_holds(M06, check_list_paid(&s->owned[kind], s) <= s->n_owned[kind]);
	}
	for (int i = 0; list_empty(&s->visits) && i < QUOTA_N_KINDS; i++)
		model_holds(M31, s->donated.n[i] == 0);
	if (s->record.state == SESSION_CLOSING)
		model_holds(M16, s->n_owned[ENTITY_SESSION] == 0);
	events_check(s);
	check_quota(s);
}

const struct kind session_kind = {
	.size = sizeof(struct session),
	.record_offset = offsetof(struct session, record),
	.record_bytes = sizeof(struct session_record),
	.cost = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = QUOTA_RAM_SESSION}},
	.init = session_init,
	.deinit = session_deinit,
	.place = session_place,
	.session = session_itself,
	.lends = session_lends,
	.is_shown = session_is_shown,
	.is_doomed = session_is_closing,
	.is_ending = session_is_ending,
	.resolve = session_resolve,
	.finish = session_finish,
	.link = session_link,
	.unlink = session_unlink,
	.gone = session_gone,
	.applied = session_applied,
	.reap = session_reap,
	.tell_restricted = session_tell_restricted,
	.check = session_check,
};

bool
mode_shows(mode_t mode)
{
	mode_t looks = (mode & 0444) >> 2 & mode;

	return (looks & ~((mode & 0222) >> 1) & 0011) != 0;
}

/*
 * Half, so that who makes children without saying how much does not give everything to the first
 * one.
 */
void
session_default_donation(const struct session *parent, struct quota *ret)
{
	static const struct quota usual = {{
		[QUOTA_CAPS] = 32,
		[QUOTA_SOCKETS] = 64,
		[QUOTA_THREADS] = 16,
		[QUOTA_RAM] = 1 << 20,
		[QUOTA_INFLIGHT] = 64,
	}};

	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		uint64_t n = quota_available(parent, i), half = n / 2, cost = session_kind.cost.n[i];

		/* The session itself has to be paid for from the other half. */
		if (n - half < cost)
			half = n < cost ? 0 : n - cost;
		ret->n[i] = half < usual.n[i] ? half : usual.n[i];
	}
}

static size_t
label_bytes(const struct session *s)
{
	size_t n = 0;

	for (; s; s = s->parent)
		n += strlen(s->entity.name) + 1;
	return n;
}

/*
 * The cheap refusals come first, and quota last, since its reason names the largest consumer and
 * has to be searched for. A name that is being ended has an answer of its own: who gets it may try
 * again soon.
 */
static int
check_create(struct change *ch, struct session *parent, const char *name, size_t n_name,
	const struct quota *donation, enum quota_kind *ret_kind)
{
	const struct session_record *record = change_record(ch, &parent->entity);
	struct quota cost = session_kind.cost;
	const struct entity *other;

	if (record->state != SESSION_RUNNING)
		return SESSION_E_CLOSING;
	if (!name_is_valid(name, n_name))
		return SESSION_E_NAME;
	if (parent->entity.depth >= SESSION_DEPTH_MAX)
		return SESSION_E_DEPTH;
	if (label_bytes(parent) + n_name > LABEL_BYTES_MAX)
		return SESSION_E_LABEL;
	other = entity_find_name(change_model(ch), parent->entity.id, ENTITY_SESSION, name, n_name);
	if (other && entity_is_doomed(other))
		return SESSION_E_ENDING;
	if (change_name_is_taken(ch, parent->entity.id, ENTITY_SESSION, name, n_name))
		return SESSION_E_EXISTS;
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(cost.n[i], donation->n[i], &cost.n[i])) {
			*ret_kind = i;
			return SESSION_E_QUOTA;
		}
	return change_affords(ch, parent, &cost, ret_kind) ? 0 : SESSION_E_QUOTA;
}

int
session_create(struct change *ch, struct session *parent, const char *name, size_t n_name,
	uid_t uid, gid_t gid, const struct quota *donation, struct session **ret, enum quota_kind *ret_kind)
{
	struct model *m = change_model(ch);
	struct session *s;
	struct entity *e;
	int r;

	r = check_create(ch, parent, name, n_name, donation, ret_kind);
	if (r)
		return r;
	e = entity_new(m, ENTITY_SESSION, name, n_name);
	if (!e)
		return -ENOMEM;
	s = session_of(e);
	s->parent = parent;
	s->entity.depth = parent->entity.depth + 1;
	s->record = (struct session_record){
		.parent = parent->entity.id,
		.created_usec = m->now_usec(),
		.limit = *donation,
		.donation = *donation,
		.uid = uid,
		.gid = gid,
		.mode = SESSION_MODE_DEFAULT,
		.state = SESSION_RUNNING,
	};
	r = change_add(ch, e);
	if (r == 0)
		*ret = s;
	return r;
}

/*
 * Refused while somebody serves in it: a server would lose its thread without being told that it
 * has to stop. Child sessions are the owner's to close, leaves first, so that one mistaken command
 * does not end a whole tree.
 */
int
session_close(struct change *ch, struct session *s)
{
	const struct session_record *present = change_record(ch, &s->entity);
	struct session_record *record;

	if (!s->parent)
		return SESSION_E_BUSY;
	if (present->state != SESSION_RUNNING)
		return SESSION_E_CLOSING;
	if (s->n_owned[ENTITY_SESSION] > 0)
		return SESSION_E_NOT_EMPTY;
	if (s->n_owned[ENTITY_THREAD] > 0)
		return SESSION_E_BUSY;
	record = change_edit(ch, &s->entity);
	if (!record)
		return -ENOMEM;
	record->state = SESSION_CLOSING;
	return 0;
}
