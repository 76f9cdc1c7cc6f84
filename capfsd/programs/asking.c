/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is asked for a program. One whose session has no init is asked for at the spawner, which makes the init
 * with it; all others at their session's. The spawner is wanted only when somebody is to be asked for there.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/inner.h"

#define LOOK_USEC (START_USEC / 6)

/* "sessions/a/sessions/b" */
static int
write_path(const struct session *s, char *buffer, size_t size)
{
	const struct session *path[SESSION_DEPTH_MAX + 1];
	cleanup_text struct text t = {};
	size_t n = 0;

	for (; s->parent; s = s->parent)
		path[n++] = s;
	while (n-- > 0)
		text_addf(&t, "%ssessions/%s", t.n > 0 ? "/" : "", path[n]->entity.name);
	if (text_done(&t) < 0)
		return -ENOMEM;
	if (t.n >= size)
		return -ENAMETOOLONG;
	memcpy(buffer, t.data ? t.data : "", t.n);
	return 0;
}

/* Whom it runs as is in its own record; what it may, in the session's confinement. */
static void
write_plan(const struct running *r, struct process_plan *plan)
{
	struct confinement_record c;

	plan->uid = r->program->record.uid;
	plan->gid = r->program->record.gid;
	if (!confinement_effective(r->program->session, &c))
		return;
	plan->flags = c.flags;
	plan->n_groups = c.n_groups;
	memcpy(plan->groups, c.groups, sizeof(plan->groups));
	plan->n_binds = c.n_binds;
	plan->rlimits_set = c.rlimits_set;
	memcpy(plan->rlimits, c.rlimits, sizeof(plan->rlimits));
	plan->memory_max = c.memory_max;
	plan->pids_max = c.pids_max;
	memcpy(plan->root, c.root, sizeof(plan->root));
	memcpy(plan->cwd, c.cwd, sizeof(plan->cwd));
	memcpy(plan->binds, c.binds, sizeof(plan->binds));
}

/* The nearest session above that runs confined: what is made in there cannot get out. NULL: none. */
static struct init *
find_above(struct programs *programs, const struct session *s)
{
	struct confinement_record c;

	for (s = s->parent; s; s = s->parent) {
		struct init *i = init_find(programs, s);

		if (i && !i->ending && confinement_effective(s, &c))
			return i;
	}
	return NULL;
}

/* The spawner makes the init of a session, or the init of one above it that is confined, inside of that. */
static int
ask_first(struct programs *programs, struct running *r)
{
	struct {
		struct process_record record;
		struct process_plan plan;
	} start = {.record = {.type = PROCESS_START,
			   .flags = start_flags(r),
			   .thread = r->program->entity.id,
			   .session = r->program->session->entity.id}};
	struct init *above = find_above(programs, r->program->session);
	ssize_t n;
	int e;

	e = write_path(r->program->session, start.plan.session, sizeof(start.plan.session));
	if (e < 0)
		return e;
	write_plan(r, &start.plan);
	if (index_add(&programs->asked, &r->asked_link, index_hash_id(r->program->session->entity.id)) < 0)
		return -ENOMEM;
	r->awaited = true;
	n = msg_send(above ? above->fd : programs->spawner_fd, &start, sizeof(start), NULL, 0, MSG_DONTWAIT);
	if (n == -EAGAIN)
		watch_set(above ? &above->watch : &programs->spawner_watch, EPOLLIN | EPOLLOUT);
	if (n < 0) {
		index_remove(&programs->asked, &r->asked_link);
		r->awaited = false;
		return (int)n;
	}
	r->asked_usec = core_now(programs->sockets);
	r->above = above;
	return 0;
}

/* Is one of its session, which has no init yet, asked for already? That brings the init. */
static bool
is_awaited(const struct programs *programs, const struct session *s)
{
	struct index_link *link = index_first(&programs->asked, index_hash_id(s->entity.id));

	for (; link; link = index_next(link))
		if (container_of(link, struct running, asked_link)->program->session == s)
			return true;
	return false;
}

void
asking_leave(struct running *r)
{
	if (r->awaited)
		index_remove(&r->programs->asked, &r->asked_link);
	r->awaited = false;
	r->asked_usec = 0;
	r->above = NULL;
	list_unlink(&r->link);
}

static void
want_spawner(struct programs *programs)
{
	if (programs->wanted || programs->stopped)
		return;
	programs->wanted = true;
	programs->ops->want_spawner(programs->data);
}

/* What is not for want of room is no better later. */
static void
give_up(struct programs *programs, struct running *r, int e)
{
	if (e == 0 || e == -EAGAIN || e == -EPIPE || e == -ECONNRESET)
		return;
	asking_leave(r);
	programs_check(programs, report_failed(r, STEP_NONE, -e));
}

/* Those of a session that has an init by now go to that. */
void
programs_pump(struct programs *programs)
{
	list_for_each_safe (l, &programs->asking) {
		struct running *r = list_entry(l, struct running, link);
		struct init *i = init_find(programs, r->program->session);

		if (i && !i->ending) {
			asking_leave(r);
			list_append(&i->programs_of_it, &r->link);
			r->init = i;
			init_pump(i);
		} else if (!i && !r->asked_usec && !is_awaited(programs, r->program->session)) {
			if (programs->spawner_fd < 0 && !find_above(programs, r->program->session))
				want_spawner(programs);
			else
				give_up(programs, r, ask_first(programs, r));
		}
	}
	loop_arm(programs->timer, LOOK_USEC);
}

void
programs_ask(struct running *r)
{
	r->n_tries++;
	asking_leave(r);
	list_append(&r->programs->asking, &r->link);
}

/* One whose init is on its way out is of no use. */
int
programs_take_spare(struct programs *programs, const struct session *s)
{
	struct init *i = init_find(programs, s);

	if (!i || i->ending || i->sync || i->spare_fd < 0)
		return -1;
	if (fd_has_hung_up(i->spare_fd))
		init_close_spare(i);
	return take_fd(i->spare_fd);
}

void
programs_return_spare(struct programs *programs, const struct session *s, int fd)
{
	init_find(programs, s)->spare_fd = fd;
}

/* There is no spawner for any of them. */
static void
fail_asking(struct programs *programs, int error)
{
	int e = 0;

	list_for_each_safe (l, &programs->asking) {
		struct running *r = list_entry(l, struct running, link);

		if (e < 0)
			break;
		if (r->above)
			continue;
		asking_leave(r);
		e = report_failed(r, STEP_NONE, error);
	}
	programs_check(programs, e);
}

/* Does a client still wait for its end of R's launch pair? */
static bool
is_waited_for(const struct running *r)
{
	const struct program_record *record = &r->program->record;

	return record->phase == PHASE_STARTING && !(record->flags & PROGRAM_LAUNCHED) && r->launch_fd < 0;
}

/* A process that never came: who waits for it is told. What the keeper was asked may have been lost. */
static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	struct programs *programs = data;
	struct model *m = programs->sockets->model;
	uint64_t now = core_now(programs->sockets);
	bool left = false;
	int e = 0;

	programs->wanted = false;
	for (struct session *s = m->root; s; s = session_next_below(m->root, s))
		list_for_each_safe (l, &s->owned[ENTITY_PROGRAM]) {
			struct running *r = running_at(l);

			if (!r || !is_waited_for(r) || e < 0)
				continue;
			if (now - r->since_usec >= START_USEC)
				e = report_failed(r, STEP_NONE, ETIMEDOUT);
			else
				left = true;
		}
	programs_check(programs, e);
	if (left)
		programs_pump(programs);
	return 0;
}

/* --- the spawner --- */

/* A later broker has one of its own: this one is of no use to it. */
void
asking_stop(struct programs *programs)
{
	watch_remove(&programs->spawner_watch);
	programs->spawner_fd =
		core_close(programs->sockets, programs->spawner_fd, programs->sockets->model->root);
}

/* ABOVE, or the spawner if that is NULL, is gone: what was asked for there is asked for again. */
void
asking_lost(struct programs *programs, const struct init *above)
{
	list_for_each_safe (l, &programs->asking) {
		struct running *r = list_entry(l, struct running, link);

		if (!r->asked_usec || r->above != above)
			continue;
		if (r->n_tries < TRIES_MAX) {
			programs_ask(r);
			continue;
		}
		asking_leave(r);
		programs_check(programs, report_failed(r, STEP_NONE, ECONNRESET));
	}
}

/*
 * The init of a session has begun, with its first program. Its record is stored before its program is
 * anybody's: so a later broker can explain every init whose program a client may have spoken to.
 */
int
asking_launched(struct programs *programs, struct running *r, int *launch_fd, int *init_fd)
{
	struct session *s = r->program->session;
	struct memo *memo;
	struct change *ch;
	struct init *i = NULL;
	uint64_t cookie;
	int e;

	e = fd_socket_cookie(*init_fd, &cookie);
	if (e < 0)
		return e;
	memo = memo_new(SOCKET_INIT, cookie, s->entity.id);
	e = memo ? init_new(programs, s, *init_fd, memo, &i) : -ENOMEM;
	if (e) {
		memo_drop(programs->sockets, memo);
		asking_leave(r);
		e = report_failed(r, STEP_NONE, e < 0 ? -e : e);
		programs_pump(programs);
		return e;
	}
	*init_fd = -1;
	ch = change_begin(programs->sockets->model);
	e = change_finish(ch, memo_stage(memo, ch, "", 0));
	if (e < 0) {
		init_free(i);
		session_settle(s);
		asking_leave(r);
		(void)report_failed(r, STEP_NONE, -e);
		return e;
	}
	memo_stored(programs->sockets, memo);
	asking_leave(r);
	list_append(&i->programs_of_it, &r->link);
	r->init = i;
	r->asked_usec = core_now(programs->sockets);
	r->launch_fd = take_fd(*launch_fd);
	running_resume(r, false);
	programs_pump(programs);
	return 0;
}

struct running *
asking_find(struct programs *programs, const struct init *above, uint64_t id)
{
	list_for_each (l, &programs->asking) {
		struct running *r = list_entry(l, struct running, link);

		if (r->program->entity.id == id && r->asked_usec && r->above == above)
			return r;
	}
	return NULL;
}

/*
 * An init was asked for while the one before it, of which we know no more than that its socket has ended, was still
 * on its way out: now it is gone. If this is of no news to who was asked, it knows the thread and does it once.
 */
void
asking_ended(struct programs *programs, const struct init *above, uint64_t session)
{
	list_for_each_safe (l, &programs->asking) {
		struct running *r = list_entry(l, struct running, link);

		if (!r->awaited || r->above != above || r->program->session->entity.id != session)
			continue;
		asking_leave(r);
		list_append(&programs->asking, &r->link);
		break;
	}
	programs_pump(programs);
}

/* While an init of before ends it is busy, and says when that has ended. */
int
asking_failed(struct programs *programs, struct running *r, const struct process_record *record)
{
	int e;

	if (record->step == STEP_NONE && record->error == EBUSY)
		return 0;
	asking_leave(r);
	e = report_missing(r, record->step > 0 && record->step < STEP_N ? record->step : STEP_NONE,
		record->error > 0 ? record->error : EPROTO, record->flags);
	programs_pump(programs);
	return e;
}

static bool
spawner_on_io(void *data)
{
	struct programs *programs = data;
	struct process_record record = {};
	int fds[2] = {-1, -1}, e = 0;
	struct running *r;
	size_t n_fds = 0;
	ssize_t n;

	n = msg_receive(programs->spawner_fd, &record, sizeof(record), fds, 2, &n_fds, MSG_DONTWAIT);
	if (n == -EAGAIN) {
		watch_set(&programs->spawner_watch, EPOLLIN);
		programs_pump(programs);
		return false;
	}
	if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		asking_stop(programs);
		asking_lost(programs, NULL);
		programs_pump(programs);
		return false;
	}
	r = n == sizeof(record) ? asking_find(programs, NULL, record.thread) : NULL;
	if (r && record.type == PROCESS_LAUNCH && n_fds == 2)
		e = asking_launched(programs, r, &fds[0], &fds[1]);
	else if (r && record.type == PROCESS_FAILED)
		e = asking_failed(programs, r, &record);
	if (n == sizeof(record) && record.type == PROCESS_ENDED)
		asking_ended(programs, NULL, record.session);
	/* Both are the daemon's own ends, in which nobody has left anything. */
	for (size_t i = 0; i < n_fds; i++)
		fd_close(fds[i]);
	programs_check(programs, e);
	return true;
}

void
programs_set_spawner(struct programs *programs, int fd)
{
	cleanup_close int own = fd;
	int e;

	programs->wanted = false;
	if (programs->spawner_fd >= 0 || programs->stopped)
		return;
	if (own < 0) {
		fail_asking(programs, ECONNREFUSED);
		return;
	}
	e = fd_set_nonblock(own, true);
	if (e == 0)
		e = watch_add(programs->sockets->watches, &programs->spawner_watch, programs->payer, own,
			EPOLLIN, spawner_on_io, programs);
	if (e < 0) {
		programs_check(programs, e);
		return;
	}
	programs->spawner_fd = take_fd(own);
	programs_pump(programs);
}

int
asking_init(struct programs *programs)
{
	programs->spawner_fd = -1;
	programs->payer = &programs->sockets->model->root->payer;
	list_init(&programs->asking);
	return loop_add_timer(programs->sockets->event, on_time, programs, &programs->timer);
}

void
asking_deinit(struct programs *programs)
{
	asking_stop(programs);
	index_deinit(&programs->asked);
	programs->timer = sd_event_source_disable_unref(programs->timer);
}
