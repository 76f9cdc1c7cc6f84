/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads of processes that the daemon has not started. Who asked for one got an end of a pair; whoever speaks first
 * there is the thread, and the kernel says which process that is, by a number to be shown and by a pidfd. That first
 * message is looked at and never taken: so a later broker, which finds the pair in its table or is given it by the
 * service manager, gets the same word again, and with it a pidfd of the same process, also of one that has ended.
 *
 * A thread ends when it says so, or with its process. The end of the pair alone is none: a process may close what
 * it does not know, and go on.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/pidfd.h"
#include "capfsd/programs/inner.h"
#include "wire/register.h"

#define SPEAK_USEC UINT64_C(30000000) /* within which it must have spoken */
#define REAP_USEC UINT64_C(3000000)   /* for its parent to hear how it ended, which the kernel tells us only then */
#define RETRY_USEC UINT64_C(1000000)  /* where its end could not be stored */

struct registered {
	struct programs *programs;
	struct program *program; /* NULL: not committed yet */
	struct list link;	 /* programs.leaving, if it is to end for another reason than its own */
	struct watch watch, end_watch;
	struct charge charge;
	struct memo *memo;
	sd_event_source *timer;
	int fd, pidfd; /* -1: it has not spoken to this broker */
	int end;       /* how it ended, while that cannot be stored */
	bool is_over;  /* … and it did */
	bool said;     /* … and that is an event already */
};

static struct registered *
registered_of(const struct program *p)
{
	return p->record.flags & PROGRAM_REGISTERED ? endpoint_slot(&p->entity) : NULL;
}

CLEANUP_DEFINE(struct registered *, registered_free)

struct registered *
registered_free(struct registered *r)
{
	if (!r)
		return NULL;
	watch_remove(&r->watch);
	watch_remove(&r->end_watch);
	r->timer = sd_event_source_disable_unref(r->timer);
	list_unlink(&r->link);
	fd_close(r->pidfd);
	if (r->program)
		endpoint_set_slot(&r->program->entity, NULL);
	core_close(r->programs->sockets, r->fd,
		r->program ? r->program->session : r->programs->sockets->model->root);
	memo_drop(r->programs->sockets, r->memo);
	charge_deinit(&r->charge);
	free(r);
	return NULL;
}

/* --- its end --------------------------------------------------------------------------------------- */

/* Told and dropped in one change; also of one whose pair is gone, which is then all that is known of it. */
static int
drop(struct programs *programs, struct program *p, int end, bool *said)
{
	struct program_record record = p->record;
	struct change *ch;
	int e;

	record.phase = PHASE_EXITED;
	record.status = end;
	record.ended_usec = programs->sockets->model->now_usec();
	if (!*said)
		report_tell(p, &record, false);
	*said = true;
	ch = change_begin(programs->sockets->model);
	e = report_alarm(ch, p, &record);
	return change_finish(ch, e < 0 ? e : program_drop(ch, p));
}

/* R is freed by the hook of its program's, unless that stays. */
static void
end(struct registered *r, int status)
{
	struct programs *programs = r->programs;
	int e;

	r->is_over = true;
	r->end = status;
	watch_remove(&r->watch);
	watch_remove(&r->end_watch);
	e = drop(programs, r->program, status, &r->said);
	if (e < 0)
		loop_arm(r->timer, RETRY_USEC);
	programs_check(programs, e);
}

int
registered_lost(struct programs *programs, struct program *p)
{
	bool said = false;

	return registered_of(p) ? 0 : drop(programs, p, PROGRAM_END_UNKNOWN, &said);
}

void
registered_leave(struct programs *programs)
{
	list_for_each_safe (l, &programs->leaving) {
		struct registered *r = list_entry(l, struct registered, link);

		list_unlink(&r->link);
		if (!r->is_over)
			end(r, PROGRAM_END_LEFT);
	}
}

void
registered_changed(struct programs *programs, const struct session *s)
{
	list_for_each (l, &s->owned[ENTITY_PROGRAM]) {
		struct registered *r = registered_of(program_of(list_entry(l, struct entity, owner_link)));

		if (r && list_empty(&r->link))
			list_append(&programs->leaving, &r->link);
	}
	core_resume_later(programs->sockets, 0);
}

void
registered_gone(const struct program *p)
{
	registered_free(registered_of(p));
}

/* How it ended is known when its parent has been told. One that nobody waits for is waited for by us only so long. */
static bool
on_process(void *data)
{
	struct registered *r = data;
	struct pollfd p = {.fd = r->pidfd, .events = POLLIN};
	int status;

	if (poll(&p, 1, 0) != 1)
		return false;
	if (pidfd_status(r->pidfd, &status) == 0)
		end(r, status);
	else if (p.revents & POLLHUP)
		end(r, PROGRAM_END_UNKNOWN);
	else
		loop_arm(r->timer, REAP_USEC);
	return false;
}

/* It has not spoken; or nobody has heard how it ended; or there may be room for that in the store. */
static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	struct registered *r = data;

	if (r->is_over)
		end(r, r->end);
	else if (r->pidfd < 0)
		end(r, PROGRAM_END_LEFT);
	else
		end(r, PROGRAM_END_UNKNOWN);
	return 0;
}

/* --- what it says ---------------------------------------------------------------------------------- */

/* Where the next look is at what is AT bytes behind the begin. Returns: as msg_receive(). */
static ssize_t
look(struct registered *r, int at, void *data, size_t size, struct msg_sender *ret)
{
	ssize_t n = -ECONNRESET;
	size_t n_fds;

	if (setsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at)) < 0)
		return -errno;
	/* That the other end went with something unread is told once, and before what it had said. */
	for (int i = 0; i < 2 && n == -ECONNRESET; i++)
		n = msg_receive_from(r->fd, data, size, NULL, 0, &n_fds, ret, MSG_PEEK | MSG_DONTWAIT);
	return n;
}

static void
answer(struct registered *r, int error)
{
	const struct register_answer a = {.error = error};

	(void)msg_send(r->fd, &a, sizeof(a), NULL, 0, MSG_DONTWAIT);
}

static int
store_sender(struct registered *r, const struct msg_sender *sender)
{
	struct change *ch = change_begin(r->programs->sockets->model);
	struct program_record *record = change_edit(ch, &r->program->entity);

	if (record) {
		record->phase = PHASE_RUNNING;
		record->pid = (uint32_t)sender->pid;
		record->uid = sender->uid;
		record->gid = sender->gid;
		record->started_usec = r->programs->sockets->model->now_usec();
	}
	return change_finish(ch, record ? 0 : -ENOMEM);
}

/* Returns: has it spoken? Else it may later, or has ended. */
static bool
attest(struct registered *r)
{
	struct register_hello hello = {};
	struct msg_sender sender;
	ssize_t n = look(r, 0, &hello, sizeof(hello), &sender);
	int e = 0;

	r->pidfd = take_fd(sender.pidfd);
	if (n == -EAGAIN)
		return false;
	if (n != sizeof(hello) || hello.magic != REGISTER_MAGIC || r->pidfd < 0 || sender.pid <= 0) {
		/* In a namespace of processes that this one does not see it is nobody. */
		answer(r, n == sizeof(hello) && hello.magic == REGISTER_MAGIC ? EOPNOTSUPP : EBADMSG);
		end(r, r->program->record.phase == PHASE_RUNNING ? PROGRAM_END_UNKNOWN : PROGRAM_END_LEFT);
		return false;
	}
	if (r->program->record.phase != PHASE_RUNNING)
		e = store_sender(r, &sender);
	if (e == 0)
		e = watch_add(r->programs->sockets->watches, &r->end_watch, &r->program->session->payer, r->pidfd,
			EPOLLIN, on_process, r);
	answer(r, -e);
	if (e < 0) {
		end(r, PROGRAM_END_LEFT);
		return false;
	}
	sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
	return true;
}

static bool
on_io(void *data)
{
	struct registered *r = data;
	char byte[REGISTER_LEAVES_BYTES];
	struct msg_sender sender;
	ssize_t n;

	if (r->pidfd < 0 && !attest(r))
		return false;
	n = look(r, (int)sizeof(struct register_hello), byte, sizeof(byte), &sender);
	fd_close(sender.pidfd);
	if (n > 0 || n == -EMSGSIZE)
		end(r, PROGRAM_END_LEFT);
	return false;
}

/* --- one more -------------------------------------------------------------------------------------- */

static int
make(struct programs *programs, int fd, struct registered **ret)
{
	cleanup(registered_free_p) struct registered *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->programs = programs;
	r->fd = r->pidfd = -1;
	list_init(&r->link);
	e = loop_add_timer(programs->sockets->event, on_time, r, &r->timer);
	if (e < 0)
		return e;
	r->fd = fd;
	*ret = take_ptr(r);
	return 0;
}

int
registered_new(struct programs *programs, struct registered **ret, int *ret_fd)
{
	cleanup_close int ours = -1, theirs = -1;
	cleanup(registered_free_p) struct registered *r = NULL;
	uint64_t cookie;
	int fds[2], e;

	e = fd_socketpair(SOCK_SEQPACKET, fds);
	if (e < 0)
		return e;
	ours = fds[0];
	theirs = fds[1];
	/* Who can send us none may close none here; where that cannot be had, pidfds of the dead cannot be, either. */
	if (fd_refuse_descriptors(ours) < 0)
		return -EOPNOTSUPP;
	e = msg_ask_sender(ours, true);
	if (e == 0)
		e = fd_socket_cookie(ours, &cookie);
	if (e == 0)
		e = make(programs, ours, &r);
	if (e < 0)
		return e;
	ours = -1;
	r->memo = memo_new(SOCKET_THREAD, cookie, 0);
	if (!r->memo)
		return -ENOMEM;
	*ret = take_ptr(r);
	*ret_fd = take_fd(theirs);
	return 0;
}

int
registered_stage(struct registered *r, struct change *ch, const struct program *p)
{
	r->memo->record.owner = p->entity.id;
	return memo_stage(r->memo, ch, "", 0);
}

static int
begin(struct registered *r, struct program *p)
{
	struct sockets *sockets = r->programs->sockets;

	r->program = p;
	endpoint_set_slot(&p->entity, r);
	if (charge_init(&r->charge, p->session, QUOTA_SOCKETS, REGISTERED_SOCKETS))
		return -EDQUOT;
	loop_arm(r->timer, SPEAK_USEC);
	return core_watch(sockets, &r->watch, p->session, r->fd, EPOLLIN, on_io, r);
}

void
registered_publish(struct registered *r, struct program *p)
{
	memo_stored(r->programs->sockets, r->memo);
	if (begin(r, p) < 0)
		end(r, PROGRAM_END_LEFT);
}

/* --- a predecessor --------------------------------------------------------------------------------- */

static bool
on_adopt(void *data, struct adopted *found)
{
	struct programs *programs = data;
	struct registered *r;
	struct entity *e;

	if (found->kind != SOCKET_THREAD)
		return false;
	e = entity_find(programs->sockets->model, found->memo->record.owner);
	if (!e || e->kind != ENTITY_PROGRAM || !(program_of(e)->record.flags & PROGRAM_REGISTERED) ||
		registered_of(program_of(e)) || make(programs, found->fd, &r) < 0)
		return false;
	r->memo = take_ptr(found->memo);
	found->fd = -1;
	if (begin(r, program_of(e)) < 0)
		registered_free(r);
	else if (program_of(e)->session->record.state != SESSION_RUNNING)
		registered_changed(programs, program_of(e)->session);
	return true;
}

const struct endpoint_ops registered_ops = {
	.socket = SOCKET_THREAD,
	.adopt = on_adopt,
};
