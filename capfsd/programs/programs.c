/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All programs, who asks about them, and what a predecessor left.
 *
 * Whatever may free a program is called only after it was taken from the list that is walked. Hooks of the
 * model only mark: what changes it then follows in the loop, in on_resume().
 */
#include "config.h"

#include "capfsd/programs/programs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "base/turns.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/inner.h"

/* --- one of them --- */

void
programs_check(struct programs *programs, int e)
{
	if (e < 0)
		core_fail(programs->sockets, e);
}

void
running_unindex(struct running *r)
{
	if (r->indexed)
		index_remove(&r->programs->by_connection, &r->connection_link);
	r->indexed = false;
}

struct running *
running_new(struct programs *programs, struct program *p)
{
	struct running *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->programs = programs;
	r->program = p;
	r->launch_fd = -1;
	r->since_usec = core_now(programs->sockets);
	list_init(&r->link);
	list_init(&r->waiters);
	list_init(&r->ended_link);
	r->indexed = p->record.connection;
	r->orphaned = !r->indexed;
	if (r->indexed &&
		index_add(&programs->by_connection, &r->connection_link, index_hash_id(p->record.connection)) < 0) {
		free(r);
		return NULL;
	}
	if ((p->record.phase == PHASE_WAITING && again_wait(r) < 0) ||
		(p->record.phase == PHASE_RUNNING && heart_start(r) < 0)) {
		heart_deinit(r);
		again_deinit(r);
		running_unindex(r);
		free(r);
		return NULL;
	}
	again_keep(r);
	endpoint_set_slot(&p->entity, r);
	return r;
}

/* The client has its own end, or none is wanted: the other one learns it when the last is closed. */
void
running_close_launch(struct running *r)
{
	struct sockets *sockets = r->programs->sockets;

	if (r->launch_fd >= 0 && !sockets->forgetting)
		disposal_leave(sockets->disposal, r->launch_fd, r->program->session, NULL);
	r->launch_fd = -1;
}

/* They stay in the list until they have looked, by which it is known that all have. */
void
running_resume(struct running *r, bool first)
{
	struct programs *programs = r->programs;

	list_for_each_safe (waiter, &r->waiters)
		programs->ops->resume(programs->data, waiter, first);
}

static void
running_free(struct running *r)
{
	running_resume(r, false);
	while (!list_empty(&r->waiters))
		list_unlink(list_first(&r->waiters));
	running_close_launch(r);
	again_deinit(r);
	heart_deinit(r);
	asking_leave(r);
	list_unlink(&r->ended_link);
	running_unindex(r);
	endpoint_set_slot(&r->program->entity, NULL);
	free(r);
}

/* --- control clients --- */

void
programs_start(struct programs *programs, struct program *p)
{
	struct running *r = running_new(programs, p);

	if (!r) {
		programs_check(programs, -ENOMEM);
		return;
	}
	r->known = r->connected = true;
	programs_ask(r);
	programs_pump(programs);
}

/* The next one that this connection has asked for, behind LAST; NULL: the first. Returns: NULL: there is none. */
static struct running *
next_of(struct programs *programs, uint64_t connection, const struct running *last)
{
	struct index_link *link = last
		? index_next(&last->connection_link)
		: index_first(&programs->by_connection, index_hash_id(connection));

	for (; link; link = index_next(link)) {
		struct running *r = container_of(link, struct running, connection_link);

		if (r->program->record.connection == connection)
			return r;
	}
	return NULL;
}

struct program *
programs_find(struct programs *programs, uint64_t connection, uint64_t serial)
{
	struct running *r = next_of(programs, connection, NULL);

	while (r && r->program->record.serial != serial)
		r = next_of(programs, connection, r);
	return r ? r->program : NULL;
}

bool
programs_has_init(const struct programs *programs, const struct session *s)
{
	return init_find((struct programs *)(uintptr_t)programs, s);
}

int
programs_forget(struct program *p)
{
	return report_drop(running_of(p));
}

int
programs_take_launch(struct program *p)
{
	struct running *r = running_of(p);

	return r ? take_fd(r->launch_fd) : -1;
}

void
programs_return_launch(struct program *p, int fd)
{
	running_of(p)->launch_fd = fd;
}

bool
programs_wait(struct program *p, struct list *waiter)
{
	struct running *r = running_of(p);

	if (r)
		list_append(&r->waiters, waiter);
	return r;
}

void
programs_connection_found(struct programs *programs, uint64_t connection)
{
	for (struct running *r = next_of(programs, connection, NULL); r; r = next_of(programs, connection, r))
		r->connected = true;
}

/* One that was asked for by this connection, and of which no more is known than that it was begun. */
static struct init *
find_unsure(struct programs *programs, uint64_t connection)
{
	for (struct running *r = next_of(programs, connection, NULL); r; r = next_of(programs, connection, r)) {
		const struct program_record *record = &r->program->record;

		if (record->phase == PHASE_STARTING && record->flags & PROGRAM_LAUNCHED && r->init)
			return r->init;
	}
	return NULL;
}

bool
programs_catch_up(struct programs *programs, uint64_t connection)
{
	const struct list *first = &programs->sockets->turns->first, *last = first->prev;
	struct init *i = find_unsure(programs, connection);

	if (i)
		init_look(i);
	return first->prev == last;
}

/* It may be in a hook of the model: what follows from it is done when that is over. */
void
running_settle_later(struct running *r)
{
	list_unlink(&r->ended_link);
	list_append(&r->programs->ended, &r->ended_link);
	core_resume_later(r->programs->sockets, 0);
}

static void
orphan(struct running *r)
{
	r->orphaned = true;
	running_settle_later(r);
}

void
programs_connection_ended(struct programs *programs, uint64_t connection)
{
	for (struct running *r = next_of(programs, connection, NULL); r; r = next_of(programs, connection, r))
		orphan(r);
}

/*
 * Who asked is gone. A program that has not executed learns it by its launch pair; one that was to end with its
 * client is killed; one that has ended is forgotten.
 */
static int
settle_orphan(struct running *r)
{
	struct program *p = r->program;
	struct program_record *record;
	struct change *ch;
	int e;

	running_unindex(r);
	if (!program_is_live(p))
		return report_drop(r);
	running_close_launch(r);
	if (p->record.flags & PROGRAM_DIE) {
		r->kill = SIGKILL;
		if (r->init)
			init_pump(r->init);
	}
	ch = change_begin(r->programs->sockets->model);
	record = change_edit(ch, &p->entity);
	if (record)
		record->connection = 0;
	if (record && record->flags & PROGRAM_DIE)
		record->restart = RESTART_NO;
	e = change_finish(ch, record ? 0 : -ENOMEM);
	if (e == 0 && !r->init && p->record.phase == PHASE_STARTING) {
		asking_leave(r);
		e = report_failed(r, STEP_NONE, ECONNRESET);
	}
	return e;
}

/* Once nobody asks about it any more, that it is given up is its end. */
static int
settle_ended(struct running *r)
{
	bool is_left = r->orphaned && r->program->record.connection;

	if (program_is_given_up(r->program) && !is_left)
		return report_given_up(r);
	/* It was given up, and taken back before anything had followed from it. */
	return r->orphaned ? settle_orphan(r) : 0;
}

/* --- the model --- */

/* A signal is sent now or refused; a pause, which is stored, may be sent later. */
int
programs_commanded(struct program *p, unsigned type, uint64_t value)
{
	struct running *r = running_of(p);

	/* What it was not asked for yet it does not know. */
	if (!r || !r->init || (p->record.phase == PHASE_STARTING && !r->asked_usec))
		return -EAGAIN;
	if (type == PROCESS_AFFINITY)
		return init_tell(r->init, PROCESS_AFFINITY, r, 0, value);
	if (type == PROCESS_KILL)
		return init_tell(r->init, PROCESS_KILL, r, (int)value, 0);
	r->pause = type;
	init_pump(r->init);
	return 0;
}

static void
end_init(struct init *i)
{
	i->ending = true;
	init_pump(i);
	core_resume_later(i->programs->sockets, 0);
}

/*
 * One that is on its way waits for its client first, and hears nothing. It has no program: that it has nobody to
 * report to any more is its end.
 */
static void
end_unborn(struct programs *programs)
{
	list_for_each_safe (l, &programs->inits) {
		struct init *i = list_entry(l, struct init, link);

		if (i->ending && !i->introduced)
			init_look(i);
	}
	list_for_each_safe (l, &programs->inits) {
		struct init *i = list_entry(l, struct init, link);

		if (i->ending && !i->introduced)
			init_lost(i);
	}
}

/* Somebody may have called where it is wanted for that; or it is not wanted there any more. */
static void
look_at_command(struct program *p)
{
	struct running *r = p ? running_of(p) : NULL;

	if (!r || p->record.phase != PHASE_WAITING)
		return;
	if (program_is_given_up(p))
		running_settle_later(r);
	else if (r->init && !r->asked_usec && again_is_due(r))
		init_pump(r->init);
}

void
programs_changed(struct programs *programs, const struct entity *e)
{
	struct init *i;

	if (e->kind == ENTITY_ENTRYPOINT)
		look_at_command(entrypoint_of(e)->command);
	if (e->kind == ENTITY_PROGRAM && program_is_given_up(program_of(e)) && running_of(program_of(e)))
		running_settle_later(running_of(program_of(e)));
	if (e->kind != ENTITY_SESSION || session_of(e)->record.state != SESSION_CLOSING)
		return;
	registered_changed(programs, session_of(e));
	i = init_find(programs, session_of(e));
	if (i && !i->ending)
		end_init(i);
	/* Those that have none yet. */
	list_for_each (l, &session_of(e)->owned[ENTITY_PROGRAM]) {
		struct running *r = running_at(l);

		if (r && !r->init)
			orphan(r);
	}
}

void
programs_gone(struct programs *programs, const struct entity *e)
{
	if (e->kind != ENTITY_PROGRAM)
		return;
	if (running_of(program_of(e)))
		running_free(running_of(program_of(e)));
	registered_gone(program_of(e));
}

/* --- a predecessor --- */

/* Of a program that has no init by now, or nobody who asks about it. */
static int
settle_found(struct programs *programs, struct program *p)
{
	struct running *r = running_of(p);

	if (!r)
		return registered_lost(programs, p);
	if (p->record.connection && !r->connected)
		orphan(r);
	if (r->init || !list_empty(&r->link))
		return 0;
	if (!program_is_live(p))
		return program_is_asked_about(p) || !list_empty(&r->ended_link) ? 0 : report_drop(r);
	if (p->record.phase != PHASE_STARTING || p->record.flags & PROGRAM_LAUNCHED || r->orphaned)
		return report_failed(r, STEP_NONE, ECONNRESET);
	programs_ask(r);
	return 0;
}

/* What the last broker knew of, when all that it left has been taken up. */
static int
settle(struct programs *programs)
{
	struct session *root = programs->sockets->model->root;
	int e = 0;

	for (struct session *s = root; s && e == 0; s = session_next_below(root, s))
		list_for_each_safe (l, &s->owned[ENTITY_PROGRAM])
			if (e == 0)
				e = settle_found(programs, program_of(list_entry(l, struct entity, owner_link)));
	programs->settled = e == 0;
	return e;
}

static int
find_programs(struct programs *programs)
{
	struct session *root = programs->sockets->model->root;

	for (struct session *s = root; s; s = session_next_below(root, s))
		list_for_each (l, &s->owned[ENTITY_PROGRAM]) {
			struct program *p = program_of(list_entry(l, struct entity, owner_link));

			if (!(p->record.flags & PROGRAM_REGISTERED) && !running_new(programs, p))
				return -ENOMEM;
		}
	return 0;
}

static void
on_resume(void *data)
{
	struct programs *programs = data;
	int e = programs->settled ? 0 : settle(programs);

	while (!list_empty(&programs->ended) && e == 0) {
		struct running *r = list_entry(list_first(&programs->ended), struct running, ended_link);

		list_unlink(&r->ended_link);
		e = settle_ended(r);
		if (e < 0)
			list_append(&programs->ended, &r->ended_link);
	}
	if (e == 0)
		e = report_told(programs);
	programs_check(programs, e);
	if (e < 0)
		core_resume_later(programs->sockets, START_USEC / 30);
	end_unborn(programs);
	registered_leave(programs);
	list_for_each (l, &programs->inits) {
		struct init *i = list_entry(l, struct init, link);

		if (i->behind)
			init_sync(i);
	}
	programs_pump(programs);
}

static const struct endpoint_ops programs_ops = {
	.socket = SOCKET_INIT,
	.resume = on_resume,
	.adopt = init_adopt,
};

static void
resume_nobody(void *data, struct list *waiter, bool first)
{
}

static void
end_nobody(void *data, struct list *waiter, uint64_t connection)
{
}

static void
want_nothing(void *data)
{
}

static const struct programs_ops no_ops = {resume_nobody, end_nobody, want_nothing};

CLEANUP_DEFINE(struct programs *, programs_free)

int
programs_new(struct sockets *sockets, struct programs **ret)
{
	cleanup(programs_free_p) struct programs *programs = calloc(1, sizeof(*programs));
	int r;

	if (!programs)
		return -ENOMEM;
	programs->sockets = sockets;
	programs->ops = &no_ops;
	/* What an init has answered to a predecessor is no answer to us. */
	programs->next_serial = core_now(sockets);
	list_init(&programs->inits);
	list_init(&programs->ended);
	list_init(&programs->untold);
	list_init(&programs->leaving);
	r = asking_init(programs);
	if (r < 0)
		return error_trace(r);
	r = find_programs(programs);
	if (r < 0)
		return error_trace(r);
	core_add_user(sockets, &programs_ops, programs);
	core_add_user(sockets, &registered_ops, programs);
	/* When what the predecessor left has been taken up. */
	core_resume_later(sockets, 0);
	*ret = take_ptr(programs);
	return 0;
}

/* Before the sockets are freed: they must not call what is gone. */
struct programs *
programs_free(struct programs *programs)
{
	struct model *m;

	if (!programs)
		return NULL;
	m = programs->sockets->model;
	core_remove_user(programs->sockets, &programs_ops);
	core_remove_user(programs->sockets, &registered_ops);
	programs->ops = &no_ops;
	for (struct session *s = m->root; s; s = session_next_below(m->root, s))
		list_for_each (l, &s->owned[ENTITY_PROGRAM])
			programs_gone(programs, list_entry(l, struct entity, owner_link));
	while (!list_empty(&programs->inits))
		init_free(list_entry(list_first(&programs->inits), struct init, link));
	asking_deinit(programs);
	index_deinit(&programs->by_connection);
	index_deinit(&programs->by_session);
	free(programs);
	return NULL;
}

/* An init that is left alone ends all that it has. What has become of them nobody is told any more. */
void
programs_stop(struct programs *programs)
{
	programs->stopped = true;
	while (!list_empty(&programs->inits)) {
		struct init *i = list_entry(list_first(&programs->inits), struct init, link);

		while (!list_empty(&i->programs_of_it)) {
			struct running *r = list_entry(list_first(&i->programs_of_it), struct running, link);

			list_unlink(&r->link);
			r->init = NULL;
		}
		init_free(i);
	}
	asking_stop(programs);
}

void
programs_set_ops(struct programs *programs, const struct programs_ops *ops, void *data)
{
	programs->ops = ops;
	programs->data = data;
}
