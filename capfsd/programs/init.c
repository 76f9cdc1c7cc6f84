/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The init of a session. It is asked to start programs and to signal them, and tells what becomes of them. It
 * and the programs that have not executed yet run as the session's user, so what comes is believed only of the
 * session's own programs; who has sent it is the kernel's word.
 *
 * Nothing is kept that an init has not taken: what it has to do follows from what is known of its programs,
 * and is sent when there is room.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
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
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/programs/inner.h"

#define RETRY_USEC 1000000

static bool init_on_io(void *data);

struct init *
init_find(struct programs *programs, const struct session *s)
{
	struct index_link *link = index_first(&programs->by_session, index_hash_id(s->entity.id));

	for (; link; link = index_next(link)) {
		struct init *init = container_of(link, struct init, session_link);

		if (init->session == s)
			return init;
	}
	return NULL;
}

CLEANUP_DEFINE(struct init *, init_free)

/* Nobody had it, but a session's user made it. */
void
init_close_spare(struct init *i)
{
	if (i->spare_fd >= 0 && !i->programs->sockets->forgetting)
		disposal_leave(i->programs->sockets->disposal, i->spare_fd, i->session, NULL);
	i->spare_fd = -1;
}

struct init *
init_free(struct init *i)
{
	if (!i)
		return NULL;
	assert(list_empty(&i->programs_of_it));
	watch_remove(&i->watch);
	watch_remove(&i->end_watch);
	init_close_spare(i);
	fd_close(i->pidfd);
	fd_close(i->leaf_fd);
	list_unlink(&i->link);
	if (i->indexed) {
		index_remove(&i->programs->by_session, &i->session_link);
		i->session->has_init = false;
	}
	core_close(i->programs->sockets, i->fd, i->session);
	memo_drop(i->programs->sockets, i->memo);
	charge_deinit(&i->charge);
	free(i);
	return NULL;
}

int
init_new(struct programs *programs, struct session *s, int fd, struct memo *memo, struct init **ret)
{
	cleanup(init_free_p) struct init *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->programs = programs;
	i->session = s;
	i->fd = i->spare_fd = i->pidfd = i->leaf_fd = -1;
	list_init(&i->programs_of_it);
	list_append(&programs->inits, &i->link);
	if (charge_init(&i->charge, s, QUOTA_THREADS, 1))
		return EDQUOT;
	r = index_add(&programs->by_session, &i->session_link, index_hash_id(s->entity.id));
	i->indexed = s->has_init = r == 0;
	if (r == 0)
		r = msg_ask_sender(fd, true);
	if (r == 0)
		r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = core_watch(programs->sockets, &i->watch, s, fd, EPOLLIN, init_on_io, i);
	if (r < 0)
		return error_trace(r);
	i->fd = fd;
	i->memo = memo;
	*ret = take_ptr(i);
	return 0;
}

static int
init_send(struct init *i, const struct process_record *record)
{
	ssize_t n = msg_send(i->fd, record, sizeof(*record), NULL, 0, MSG_DONTWAIT);

	if (n == -EAGAIN)
		watch_set(&i->watch, EPOLLIN | EPOLLOUT);
	return n < 0 ? (int)n : 0;
}

/* Where there is no room for it the init is asked for all once more, until it was told of each. */
void
init_acknowledge(struct init *i, uint64_t thread)
{
	const struct process_record ack = {
		.type = PROCESS_ACK, .thread = thread, .session = i->session->entity.id};

	if (init_send(i, &ack) < 0)
		i->unheard = true;
}

int
init_tell(struct init *i, enum process_type type, const struct running *r, int32_t signal, uint64_t cookie)
{
	const struct process_record record = {
		.type = type,
		.session = i->session->entity.id,
		.flags = type == PROCESS_START ? start_flags(r) | START_WANT_SPARE : 0,
		.thread = r ? r->program->entity.id : 0,
		.signal = signal,
		.cookie = cookie,
		.serial = type == PROCESS_SYNC ? i->sync : 0,
	};

	return init_send(i, &record);
}

static bool
is_to_be_asked_for(const struct running *r)
{
	const struct program_record *record = &r->program->record;

	if (r->asked_usec)
		return false;
	return record->phase == PHASE_STARTING || again_is_due(r);
}

/* Each is asked for once, and again only when an init of before has not heard of it. */
static bool
pump_one(struct init *i, struct running *r)
{
	const struct program_record *record = &r->program->record;
	uint64_t now = core_now(i->programs->sockets);
	int e;

	if (is_to_be_asked_for(r)) {
		if (record->phase == PHASE_STARTING)
			e = init_tell(i, PROCESS_START, r, 0, 0);
		else
			e = init_tell(i, PROCESS_AGAIN, r, 0, record->n_restarts);
		if (e < 0)
			return false;
		again_asked(r);
		r->asked_usec = now ? now : 1;
	}
	/* Of what it was not asked for it has heard nothing, and would not know whom that is for. */
	if (r->kill && init_tell(i, PROCESS_KILL, r, r->kill, 0) == 0)
		r->kill = 0;
	if (!r->kill && r->pause && init_tell(i, r->pause, r, 0, 0) == 0)
		r->pause = 0;
	return !r->kill && !r->pause;
}

void
init_sync(struct init *i)
{
	list_for_each (l, &i->programs_of_it)
		list_entry(l, struct running, link)->known = false;
	i->behind = false;
	i->sync = ++i->programs->next_serial;
	i->synced = init_tell(i, PROCESS_SYNC, NULL, 0, 0) == 0;
}

/* Nothing is asked before it has said what it has. */
void
init_pump(struct init *i)
{
	watch_set(&i->watch, EPOLLIN);
	if (i->unheard && !i->sync) {
		i->unheard = false;
		init_sync(i);
	}
	if (i->sync && !i->synced)
		i->synced = init_tell(i, PROCESS_SYNC, NULL, 0, 0) == 0;
	if (i->sync)
		return;
	if (i->ending && !i->told)
		i->told = init_tell(i, PROCESS_END, NULL, 0, 0) == 0;
	list_for_each (l, &i->programs_of_it)
		if (!pump_one(i, list_entry(l, struct running, link)))
			return;
}

/* --- what it says --- */

static struct running *
find_running(struct init *i, uint64_t id)
{
	struct entity *e = entity_find(i->programs->sockets->model, id);
	struct running *r = e && e->kind == ENTITY_PROGRAM ? running_of(program_of(e)) : NULL;

	return r && r->init == i ? r : NULL;
}

/*
 * Without one it is not to be given to anybody any more: we close it behind all that we have asked for, by which its
 * init knows that nobody has it whom it does not know of.
 */
static void
on_spare(struct init *i, int *fd)
{
	init_close_spare(i);
	if (!i->ending)
		i->spare_fd = take_fd(*fd);
}

/* The client's end. Of one that is not wanted any more the other end learns that, and fails. */
static int
on_launch(struct init *i, struct running *r, const struct process_record *record,
	const struct msg_sender *sender, int *fd)
{
	if (record->thread == 0)
		on_spare(i, fd);
	if (!r || r->orphaned || *fd < 0 || r->launch_fd >= 0 || r->program->record.phase != PHASE_STARTING ||
		r->program->record.flags & PROGRAM_LAUNCHED)
		return 0;
	r->launch_fd = take_fd(*fd);
	running_resume(r, false);
	return 0;
}

/* Does that one begin whose begin is waited for? */
static bool
is_to_run(const struct running *r, const struct process_record *record)
{
	enum process_phase phase = r->program->record.phase;

	return (phase == PHASE_STARTING || phase == PHASE_WAITING) &&
		record->serial == r->program->record.n_restarts;
}

/*
 * It is over as far as anybody knows, and must not be. That this is known was lost on its way, or it was given up
 * just when it was to run again.
 */
static bool
end_unknown(struct init *i, const struct running *r, uint64_t id)
{
	struct entity *e = entity_find(i->programs->sockets->model, id);

	if (r || (e && e->kind == ENTITY_PROGRAM && program_is_live(program_of(e))))
		return false;
	init_acknowledge(i, id);
	return true;
}

static int
on_running(struct init *i, struct running *r, const struct process_record *record,
	const struct msg_sender *sender, int *fd)
{
	if (end_unknown(i, r, record->thread) || !r)
		return 0;
	return is_to_run(r, record) ? report_running(r, sender->pid) : 0;
}

/*
 * Its client's end has gone with a broker before the client had it, so that it saw nobody. The client still
 * waits, and knows nothing of that.
 */
static bool
is_lost(const struct running *r, const struct process_record *record)
{
	return record->step == STEP_HELLO && record->error == ECONNRESET && r->launch_fd < 0 &&
	       !(r->program->record.flags & PROGRAM_LAUNCHED) && !r->orphaned && r->n_tries < TRIES_MAX;
}

/*
 * The end of one that is not known was told before, and the word that it may be forgotten was lost with a
 * broker.
 */
static int
on_end(struct init *i, struct running *r, const struct process_record *record,
	const struct msg_sender *sender, int *fd)
{
	/* Known, and one run further. */
	if (r && program_is_live(r->program) && record->serial < r->program->record.n_restarts) {
		r->known = true;
		r->asked_usec = 0;
		return 0;
	}
	if (r && program_is_live(r->program) && !is_lost(r, record))
		return report_end(r, record);
	init_acknowledge(i, record->thread);
	if (!r || !program_is_live(r->program))
		return 0;
	r->n_tries++;
	r->asked_usec = 0;
	init_pump(i);
	return 0;
}

/* It has not run yet, and does when it is asked to. */
static int
on_kept(struct running *r, const struct process_record *record)
{
	if (r->program->record.phase == PHASE_STARTING && is_to_run(r, record))
		return report_kept(r);
	r->asked_usec = 0;
	return 0;
}

static int
on_state(struct init *i, struct running *r, const struct process_record *record,
	const struct msg_sender *sender, int *fd)
{
	struct confinement_record c;

	if (record->flags == PHASE_FAILED || record->flags == PHASE_EXITED)
		return on_end(i, r, record, sender, fd);
	if (end_unknown(i, r, record->thread) || !r)
		return 0;
	r->known = true;
	if (record->flags == PHASE_WAITING)
		return on_kept(r, record);
	r->asked_usec = core_now(i->programs->sockets);
	if (record->flags != PHASE_RUNNING || !is_to_run(r, record))
		return 0;
	/* Its own word was lost with a broker. A confined init has other numbers. */
	return report_running(r, confinement_effective(i->session, &c) ? 0 : (pid_t)record->pid);
}

/*
 * All that it has was named. What was not is over, as it has said before that; or it is yet to be asked for; or gone
 * without a word, as its client's end or its own was lost with a broker.
 */
static int
on_synced(struct init *i, struct running *none, const struct process_record *record,
	const struct msg_sender *sender, int *fd)
{
	int e = 0;

	if (!i->sync || record->serial != i->sync)
		return 0;
	i->sync = 0;
	list_for_each_safe (l, &i->programs_of_it) {
		struct running *r = list_entry(l, struct running, link);

		if (r->known || e < 0 || !program_is_live(r->program))
			continue;
		if (r->program->record.phase != PHASE_STARTING ||
			(r->program->record.flags & (PROGRAM_LAUNCHED | PROGRAM_SPARE)) == PROGRAM_LAUNCHED)
			e = report_failed(r, STEP_NONE, ECONNRESET);
		else
			r->asked_usec = 0;
	}
	init_pump(i);
	return e;
}

/* Whose process it is only itself can say: the programs speak by the same socket. */
static void
keep_pidfd(struct init *i, struct msg_sender *sender)
{
	if (i->pidfd < 0 && sender->pidfd >= 0) {
		i->pidfd = take_fd(sender->pidfd);
		(void)msg_ask_sender(i->fd, false);
	}
}

static const struct {
	enum process_type type;
	int (*obey)(struct init *i, struct running *r, const struct process_record *record, const struct msg_sender *sender, int *fd);
} reports[] = {
	{PROCESS_LAUNCH, on_launch},
	{PROCESS_RUNNING, on_running},
	{PROCESS_FAILED, on_end},
	{PROCESS_EXITED, on_end},
	{PROCESS_STATE, on_state},
	{PROCESS_SYNCED, on_synced},
};

/* Is there a process in its leaf, itself or what it has left? The kernel tells that each time that it changes. */
static bool
leaf_is_populated(const struct init *i)
{
	char text[64];
	ssize_t n = i->leaf_fd < 0 ? 0 : pread(i->leaf_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "populated 1");
}

static bool
is_running(const struct init *i)
{
	struct pollfd p = {.fd = i->pidfd, .events = POLLIN};

	return i->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

static bool
init_on_end(void *data)
{
	struct init *i = data;

	if (!leaf_is_populated(i))
		init_lost(i);
	return false;
}

/*
 * The process ends a moment after its socket: a confined one when all that was in its namespace has; another one
 * perhaps before what is in its leaf, if it has one. Until then there is something of the session that runs.
 */
static void
init_over(struct init *i)
{
	bool populated = leaf_is_populated(i);

	watch_remove(&i->watch);
	if ((!populated && !is_running(i)) ||
		watch_add(i->programs->sockets->watches, &i->end_watch, &i->session->payer,
			populated ? i->leaf_fd : i->pidfd, populated ? EPOLLPRI : EPOLLIN, init_on_end, i) < 0)
		init_lost(i);
}

#define LOOK_MAX 64 /* records: whoever has an init can make it say more than anybody reads */

/* One record at a time. Records of later versions are longer. */
static bool
init_on_io(void *data)
{
	struct init *i = data;
	struct process_record record = {};
	int fds[2] = {-1, -1}, e = 0;
	struct msg_sender sender;
	struct running *first;
	size_t n_fds = 0;
	ssize_t n;

	n = msg_receive_from(i->fd, &record, sizeof(record), fds, 2, &n_fds, &sender, MSG_DONTWAIT);
	if (n == -EAGAIN) {
		init_pump(i);
		return false;
	}
	if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		init_over(i);
		return false;
	}
	if (n == sizeof(record) && (record.type == PROCESS_INITED || record.type == PROCESS_SYNCED)) {
		i->introduced = true;
		keep_pidfd(i, &sender);
	}
	if (n == sizeof(record) && record.type == PROCESS_INITED && n_fds == 2 && i->leaf_fd < 0)
		i->leaf_fd = take_fd(fds[1]);
	fd_close(sender.pidfd);
	/* It has made the init of a session below, or failed to. */
	first = n == sizeof(record) ? asking_find(i->programs, i, record.thread) : NULL;
	if (first && record.type == PROCESS_LAUNCH && n_fds == 2)
		e = asking_launched(i->programs, first, &fds[0], &fds[1]);
	else if (first && record.type == PROCESS_FAILED)
		e = asking_failed(i->programs, first, &record);
	if (n == sizeof(record) && record.type == PROCESS_ENDED)
		asking_ended(i->programs, i, record.session);
	i->obeying = true;
	for (size_t k = 0; !first && n == sizeof(record) && k < sizeof(reports) / sizeof(reports[0]); k++)
		if (reports[k].type == record.type)
			e = reports[k].obey(i, find_running(i, record.thread), &record, &sender, &fds[0]);
	i->obeying = false;
	/* All are the daemon's own ends, in which nobody has left anything. */
	fd_close(fds[0]);
	fd_close(fds[1]);
	/* What had no room in the store is said again. */
	if (e == -ENOSPC || e == -ENOMEM) {
		i->behind = true;
		core_resume_later(i->programs->sockets, RETRY_USEC);
	}
	programs_check(i->programs, e);
	return true;
}

/*
 * Not in the midst of a report, whose client may be answered by it (end_with_waiter()): what came behind that may be the
 * end of I.
 */
void
init_look(struct init *i)
{
	for (int n = 0; n < LOOK_MAX && !i->obeying && init_on_io(i); n++)
		continue;
}

/*
 * Its end is that of all its programs: those of a confined session end with it, others are ended by it or by
 * the spawner. What was not started is asked for again, at the spawner; but who speaks to a program already
 * learns from its end of the launch pair that it is no more.
 */
void
init_lost(struct init *i)
{
	struct programs *programs = i->programs;
	struct session *s = i->session;
	int e = 0;

	while (!list_empty(&i->programs_of_it)) {
		struct running *r = list_entry(list_first(&i->programs_of_it), struct running, link);
		bool is_killed = r->kill != 0;

		list_unlink(&r->link);
		r->init = NULL;
		r->kill = 0;
		running_close_launch(r);
		/* Those for whose end the store has no room now are looked at again. */
		if (e < 0)
			continue;
		if (r->program->record.phase == PHASE_STARTING && !(r->program->record.flags & PROGRAM_LAUNCHED) &&
			r->n_tries < TRIES_MAX && s->record.state == SESSION_RUNNING && !r->orphaned &&
			!is_killed)
			programs_ask(r);
		else
			e = report_failed(r, STEP_NONE, ECONNRESET);
	}
	asking_lost(programs, i);
	init_free(i);
	session_settle(s);
	if (e < 0) {
		programs->settled = false;
		core_resume_later(programs->sockets, RETRY_USEC);
	}
	programs_check(programs, e);
	programs_pump(programs);
}

/* It says what it has. One of a session that is gone ends when its socket does. */
bool
init_adopt(void *data, struct adopted *found)
{
	struct programs *programs = data;
	struct sockets *sockets = programs->sockets;
	struct entity *e;
	struct init *i;

	if (found->kind != SOCKET_INIT)
		return false;
	e = entity_find(sockets->model, found->memo->record.owner);
	if (!e || e->kind != ENTITY_SESSION || init_find(programs, session_of(e)) ||
		init_new(programs, session_of(e), found->fd, found->memo, &i))
		return false;
	found->fd = -1;
	found->memo = NULL;
	/* As far as we know. */
	i->introduced = true;
	i->ending = i->session->record.state == SESSION_CLOSING;
	list_for_each (l, &i->session->owned[ENTITY_PROGRAM]) {
		struct running *r = running_at(l);

		if (!r || !program_is_live(r->program))
			continue;
		r->init = i;
		list_append(&i->programs_of_it, &r->link);
		/* What was given up may not have been ended, … */
		if (program_is_given_up(r->program))
			running_settle_later(r);
		/* … and what was asked for last not have been sent. */
		if (r->program->record.paused)
			r->pause = PROCESS_PAUSE;
		if (r->program->record.flags & PROGRAM_DIE && !r->program->record.connection)
			r->kill = SIGKILL;
	}
	init_sync(i);
	return true;
}
