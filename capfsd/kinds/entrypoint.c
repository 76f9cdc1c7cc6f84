/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An entrypoint's record has the id of the thread that serves it, and the thread knows nothing of
 * that: which one serves is found by the record alone, when either of the two is linked. Its end is
 * one mark in its record, which all its objects and their capabilities see.
 *
 * The model calls the row; control and the broker's loop stage what becomes of servers. Nothing
 * here has a socket or knows a process but by the number that is shown: a server is gone when
 * somebody who sees its channel says so.
 */
#include "config.h"

#include "capfsd/kinds/entrypoint.h"

#include <assert.h>
#include <errno.h>

#include "capfsd/kinds/object.h"
#include "capfsd/kinds/program.h"
#include "capfsd/kinds/thread.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct entrypoint_record) == 32, "stored");
_Static_assert(ENTRYPOINT_HOLD_MAX <= UINT16_MAX, "the record has 16 bits");

static void
entrypoint_init(struct model *m, struct entity *e)
{
	list_init(&entrypoint_of(e)->objects);
}

static struct place
entrypoint_place(const struct entity *e)
{
	struct session *s = entrypoint_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_ENTRYPOINT], s};
}

/*
 * Callers that wait are the broker's, so an entrypoint whose server accepts by itself, or that ends
 * with its server, cannot have said that some may.
 */
static int
entrypoint_resolve(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);

	ep->session = session_find_id(m, ep->record.session);
	if (ep->record.flags & ~(uint32_t)(ENTRYPOINT_ONCE | ENTRYPOINT_DEAD | ENTRYPOINT_LISTEN))
		return -EBADMSG;
	if (ep->record.hold > ENTRYPOINT_HOLD_MAX ||
		(ep->record.hold && (ep->record.flags & (ENTRYPOINT_ONCE | ENTRYPOINT_LISTEN))))
		return -EBADMSG;
	if (entrypoint_backlog(ep) > ENTRYPOINT_BACKLOG_MAX)
		return -EBADMSG;
	return ep->session ? 0 : -EBADMSG;
}

/*
 * Finds the thread that serves, after its record or that of the thread has come. Both ends of the
 * link are set together, also the old one's: a thread that still pointed to an entrypoint would be
 * found serving it after another has taken over.
 */
static void
set_thread(struct model *m, struct entrypoint *ep)
{
	struct entity *e = ep->record.thread ? entity_find(m, ep->record.thread) : NULL;

	if (ep->thread)
		ep->thread->serves = NULL;
	ep->thread = e && e->kind == ENTITY_THREAD ? thread_of(e) : NULL;
	if (ep->thread)
		ep->thread->serves = ep;
}

static void
entrypoint_link(struct model *m, struct entity *e)
{
	set_thread(m, entrypoint_of(e));
}

static void
entrypoint_unlink(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);

	assert(list_empty(&ep->objects));
	if (ep->thread)
		ep->thread->serves = NULL;
}

/* Its capabilities show whether it is served, so those below are told when the thread changes. */
static unsigned
entrypoint_applied(struct model *m, struct entity *e, const void *old)
{
	struct entrypoint *ep = entrypoint_of(e);
	const struct entrypoint_record *before = old;
	bool ended = (ep->record.flags & ~before->flags) & ENTRYPOINT_DEAD;

	if (ep->record.thread != before->thread)
		set_thread(m, ep);
	if (ended)
		entity_set_ending(m, e);
	return (ended ? APPLIED_RESTRICTED : 0) |
		(ep->record.thread != before->thread || ep->record.takes != before->takes ||
					ep->record.hold != before->hold
				? APPLIED_BELOW : 0);
}

static struct session *
entrypoint_session(const struct entity *e)
{
	return entrypoint_of(e)->session;
}

static bool
entrypoint_is_doomed(const struct entity *e)
{
	return (entrypoint_of(e)->record.flags & ENTRYPOINT_DEAD) ||
		entity_is_doomed(&entrypoint_of(e)->session->entity);
}

static bool
entrypoint_is_ending(const struct entity *e)
{
	return entrypoint_of(e)->record.flags & ENTRYPOINT_DEAD;
}

/*
 * A thread has a larger id than an entrypoint that is taken up again, so it comes later, and only
 * now must be there. One thread serves one entrypoint, of its own session.
 */
static int
entrypoint_finish(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);
	struct entity *t = ep->record.thread ? entity_find(m, ep->record.thread) : NULL;

	if (!ep->record.thread)
		return 0;
	if (!t || t->kind != ENTITY_THREAD || thread_of(t)->session != ep->session ||
		(thread_of(t)->serves && thread_of(t)->serves != ep))
		return -EBADMSG;
	set_thread(m, ep);
	return 0;
}

/*
 * The thread goes in one with it, since its record refers to the thread; it costs no budget. Never
 * in an earlier slice, or a restart in between would find a reference to nothing and refuse the
 * store.
 */
static int
entrypoint_reap(struct reaper *r, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);
	int a = 0;

	list_for_each (i, &ep->objects) {
		a = reap_entity(r, list_entry(i, struct entity, owner_link));
		if (a)
			return a;
	}
	if (ep->thread && r->left > 0)
		a = change_drop(r->ch, &ep->thread->entity);
	return a ? a : reap_one(r, e);
}

/* Its capabilities show whether it is served. */
static void
entrypoint_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	list_for_each (i, &entrypoint_of(e)->objects)
		entity_touch_below(m, list_entry(i, struct entity, owner_link), touch, stamp);
}

static void
entrypoint_tell_restricted(struct model *m, struct entity *e)
{
	list_for_each (i, &entrypoint_of(e)->objects)
		entity_tell_restricted(m, list_entry(i, struct entity, owner_link));
}

/* The session's count of objects is right when it is that of all its entrypoints. */
static void
check_paid(const struct session *s)
{
	uint64_t n = 0;

	list_for_each (i, &s->owned[ENTITY_ENTRYPOINT])
		n += list_entry(i, struct entrypoint, entity.owner_link)->n_objects;
	model_holds(M41, n == s->n_owned[ENTITY_OBJECT]);
}

static void
entrypoint_check(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);

	model_holds(M03, ep->session->entity.id == ep->record.session);
	model_holds(M41, ep->n_objects == check_list(&ep->objects, ENTITY_OBJECT, e));
	model_holds(M42, ep->record.thread == (ep->thread ? ep->thread->entity.id : 0));
	model_holds(M45, !ep->command || program_entrypoint(ep->command) == ep || entrypoint_is_ending(e));
	model_holds(M42, !ep->thread ||
		(ep->thread->serves == ep && ep->thread->session == ep->session));
	if (list_first(&ep->session->owned[ENTITY_ENTRYPOINT]) == &e->owner_link)
		check_paid(ep->session);
}

static bool
entrypoint_is_shown(const struct entity *e)
{
	return !(entrypoint_of(e)->record.flags & ENTRYPOINT_DEAD);
}

const struct kind entrypoint_kind = {
	.size = sizeof(struct entrypoint),
	.record_offset = offsetof(struct entrypoint, record),
	.record_bytes = sizeof(struct entrypoint_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.init = entrypoint_init,
	.place = entrypoint_place,
	.session = entrypoint_session,
	.is_shown = entrypoint_is_shown,
	.is_doomed = entrypoint_is_doomed,
	.is_ending = entrypoint_is_ending,
	.resolve = entrypoint_resolve,
	.finish = entrypoint_finish,
	.link = entrypoint_link,
	.unlink = entrypoint_unlink,
	.applied = entrypoint_applied,
	.reap = entrypoint_reap,
	.touch_below = entrypoint_touch_below,
	.tell_restricted = entrypoint_tell_restricted,
	.check = entrypoint_check,
};

/*
 * The one of that name, also one that the same change has added; NULL: there is none, and it may be made. The mode
 * must be the one that it was made with: the limits of the capabilities that exist were accepted for that. With a
 * command it stays, for that to be run again.
 */
static int
find_usable(struct change *ch, struct session *s, const char *name, size_t n_name, uint32_t flags, bool serve,
	struct entrypoint **ret)
{
	const struct session_record *session = change_record(ch, &s->entity);
	const struct entrypoint_record *record;
	struct entity *e;

	*ret = NULL;
	if (session->state != SESSION_RUNNING)
		return ENTRYPOINT_E_CLOSING;
	if (!name_is_valid(name, n_name))
		return ENTRYPOINT_E_NAME;
	e = entity_find_name(change_model(ch), s->entity.id, ENTITY_ENTRYPOINT, name, n_name);
	if (!e)
		e = change_find_added(ch, s->entity.id, ENTITY_ENTRYPOINT, name, n_name);
	if (!e)
		return 0;
	record = change_record(ch, e);
	if (record->flags & ENTRYPOINT_DEAD)
		return ENTRYPOINT_E_CLOSING;
	if (serve && record->thread)
		return ENTRYPOINT_E_SERVED;
	if ((record->flags ^ flags) & ENTRYPOINT_LISTEN)
		return ENTRYPOINT_E_MODE;
	*ret = entrypoint_of(e);
	return (*ret)->command && (!serve || flags & ENTRYPOINT_ONCE) ? ENTRYPOINT_E_COMMAND : 0;
}

/* COST, and that of EP, if that is yet to be made. */
static int
check_cost(struct change *ch, struct session *s, const struct entrypoint *ep, struct quota cost)
{
	enum quota_kind kind;

	if (!ep)
		cost.n[QUOTA_RAM] += entrypoint_kind.cost.n[QUOTA_RAM];
	if (change_affords(ch, s, &cost, &kind))
		return 0;
	return kind == QUOTA_THREADS ? ENTRYPOINT_E_QUOTA_THREADS : ENTRYPOINT_E_QUOTA_RAM;
}

/* Its flags are set by who attaches, in the same change. */
static int
entrypoint_add(struct change *ch, struct session *s, const char *name, size_t n,
	struct entrypoint **ret)
{
	struct entity *e = entity_new(change_model(ch), ENTITY_ENTRYPOINT, name, n);
	int r;

	if (!e)
		return -ENOMEM;
	entrypoint_of(e)->session = s;
	entrypoint_of(e)->record.session = s->entity.id;
	r = change_add(ch, e);
	if (r == 0)
		*ret = entrypoint_of(e);
	return r;
}

/*
 * A server that comes again finds its entrypoint by the name, and takes it up if nobody serves it. A thread is
 * paid each time, the entrypoint once. The thread is staged first, since the record refers to it by its id. The number of the attachment
 * goes up each time, so that what an earlier server has counted in its pages is not taken for this
 * one's word. Nobody waits unless this server says so.
 */
int
entrypoint_attach(struct change *ch, struct session *s, const char *name, size_t n_name,
	uint32_t flags, pid_t pid, struct entrypoint **ret)
{
	struct entrypoint_record *record;
	struct entrypoint *ep = NULL;
	uint64_t thread;
	int r;

	r = find_usable(ch, s, name, n_name, flags, true, &ep);
	if (r == 0)
		r = check_cost(ch, s, ep, thread_kind.cost);
	if (r == 0)
		r = thread_add(ch, s, pid, &thread);
	if (r == 0 && !ep)
		r = entrypoint_add(ch, s, name, n_name, &ep);
	if (r)
		return r;
	record = change_edit(ch, &ep->entity);
	if (!record)
		return -ENOMEM;
	record->thread = thread;
	record->attachment++;
	record->flags = flags & (ENTRYPOINT_ONCE | ENTRYPOINT_LISTEN);
	record->takes = (flags & ENTRYPOINT_FDS ? ENTRYPOINT_TAKES_FDS : 0) |
		(flags & ENTRYPOINT_CAVEATS ? ENTRYPOINT_TAKES_CAVEATS : 0) |
		(flags & ENTRYPOINT_COUNTS ? ENTRYPOINT_TAKES_COUNTS : 0);
	record->hold = 0;
	record->backlog = 0;
	*ret = ep;
	return 0;
}

int
entrypoint_prepare(struct change *ch, struct session *s, const char *name, size_t n_name, uint16_t hold,
	unsigned takes, struct entrypoint **ret)
{
	struct entrypoint_record *record;
	struct entrypoint *ep;
	int r = find_usable(ch, s, name, n_name, 0, false, &ep);

	if (r == 0 && ep && ep->record.flags & ENTRYPOINT_ONCE)
		r = ENTRYPOINT_E_MODE;
	if (r == 0)
		r = check_cost(ch, s, ep, (struct quota){});
	if (r == 0 && !ep)
		r = entrypoint_add(ch, s, name, n_name, &ep);
	if (r)
		return r;
	record = change_edit(ch, &ep->entity);
	if (!record)
		return -ENOMEM;
	record->hold = hold;
	if (!ep->thread)
		record->takes = (uint8_t)takes;
	*ret = ep;
	return 0;
}

int
entrypoint_wait(struct change *ch, struct entrypoint *ep, uint16_t hold, uint32_t backlog)
{
	struct entrypoint_record *record = change_edit(ch, &ep->entity);

	if (!record)
		return -ENOMEM;
	record->hold = hold;
	record->backlog = backlog ? 1 : 0;
	while (backlog > UINT32_C(1) << record->backlog)
		record->backlog++;
	return 0;
}

/*
 * The thread and the reference to it go in one change. Objects and capabilities stay, as the next
 * server takes them up; only one that was attached once ends here.
 */
int
entrypoint_detach(struct change *ch, struct entrypoint *ep)
{
	struct entrypoint_record *record;

	if (!ep->thread)
		return 0;
	record = change_edit(ch, &ep->entity);
	if (!record || change_drop(ch, &ep->thread->entity) < 0)
		return -ENOMEM;
	record->thread = 0;
	if (record->flags & ENTRYPOINT_ONCE)
		record->flags |= ENTRYPOINT_DEAD;
	return 0;
}

/* What is doomed with its session needs no mark of its own. */
int
entrypoint_end(struct change *ch, struct entrypoint *ep)
{
	struct entrypoint_record *record;

	if (entity_is_doomed(&ep->entity))
		return 0;
	record = change_edit(ch, &ep->entity);
	if (!record)
		return -ENOMEM;
	record->flags |= ENTRYPOINT_DEAD;
	return 0;
}

