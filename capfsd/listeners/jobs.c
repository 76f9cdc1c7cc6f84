/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the binder is asked for is in the lists of listeners that are QUEUED and SENT, so that nothing
 * is lost with it: it works in order, and what it has not replied to the next one gets.
 */
#include "config.h"

#include "capfsd/listeners/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/records.h"

#define MESSAGES_MAX 32	    /* of the binder, in a row */
#define BINDER_USEC 2000000 /* for one that is replaced, and its jobs */
#define MARK (ENTITY_ID_MAX + 1) /* this bit is in no id */

/* The binder's socket, and who else asks it for something. */
struct jobs {
	int fd, next_fd; /* -1: none. NEXT_FD comes when the other has ended */
	uint64_t mark;   /* what this binder was asked first; 0: it has replied to that */
	bool mark_sent;
	sd_event_source *source, *timer;
	jobs_result *result;
};

/*
 * All that the binder needs to know. It has no view of the model, and must not need one: whoever
 * waits on the mount must know nothing that is of use to anybody else.
 */
static struct binder_job
job_of(const struct listener *l)
{
	struct binder_job job = {
		.capability = l->entity->id,
		.socket_type = SOCK_SEQPACKET,
		.backlog = listener_backlog(l),
	};

	if (l->entity->kind == ENTITY_CAPABILITY) {
		struct service service = capability_service(capability_of(l->entity));

		job.object = service.object;
		job.socket_type = (uint32_t)service.socket;
	} else if (l->entity->kind == ENTITY_OBJECT) {
		job.capability = 0;
		job.object = l->entity->id;
		if (object_of(l->entity)->record.socket == OBJECT_STREAM)
			job.socket_type = SOCK_STREAM;
	}
	return job;
}

/* Returns: false: it has no room, which the loop waits for, or it died, which the loop will see. */
static bool
send_job(struct jobs *j, const struct binder_job *job)
{
	ssize_t n = msg_send(j->fd, job, sizeof(*job), NULL, 0, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -ENOBUFS || n == -ENOMEM)
		sd_event_source_set_io_events(j->source, EPOLLIN | EPOLLOUT);
	return n >= 0;
}

/*
 * Has it done what a broker before this one asked of it? It works in order, so it is asked for
 * nothing first, and for more when it has replied to that. Else a listener that is on its way could
 * be made twice, and who connects while the second one is bound, but does not listen, is refused.
 */
static bool
has_settled(struct jobs *j)
{
	const struct binder_job nothing = {.capability = j->mark};

	if (j->mark && !j->mark_sent)
		j->mark_sent = send_job(j, &nothing);
	return !j->mark;
}

/*
 * Sends the binder what waits for it, as far as it takes it. What was sent is in a list of its own,
 * so that it can be given to the next binder when this one dies.
 */
static void
jobs_send(struct sockets *sockets)
{
	struct jobs *j = sockets->jobs;
	struct listener *l;

	if (j->next_fd >= 0 || !j->source)
		return;
	sd_event_source_set_io_events(j->source, EPOLLIN);
	while (has_settled(j) && (l = listener_first(sockets, LISTENER_QUEUED))) {
		struct binder_job job = job_of(l);

		if (!send_job(j, &job))
			return;
		listener_enter(l, LISTENER_SENT);
	}
}

/* L is queued even where there is no binder: the next one gets what waits. */
void
jobs_request(struct listener *l)
{
	listener_enter(l, LISTENER_QUEUED);
	jobs_send(l->sockets);
}

static void jobs_install(struct sockets *sockets, int fd);

/* The binder died. What it had not replied to the next one gets. */
static void
jobs_lost(struct sockets *sockets)
{
	struct jobs *j = sockets->jobs;
	struct listener *l;

	j->source = sd_event_source_disable_unref(j->source);
	while ((l = listener_first(sockets, LISTENER_SENT)))
		listener_enter(l, LISTENER_QUEUED);
	/* Those who were at it ended with it, or are nobody's any more. */
	inspections_lost(sockets);
	disposal_lost(sockets->disposal);
	if (j->next_fd >= 0)
		jobs_install(sockets, take_fd(j->next_fd));
	else
		log_message(LOG_INFO, "the binder is gone; waiting for the next");
}

/* One of a broker before this says nothing: what that asked for later may be under way. */
static void
jobs_marked(struct sockets *sockets, uint64_t mark)
{
	if (mark != sockets->jobs->mark)
		return;
	sockets->jobs->mark = 0;
	jobs_send(sockets);
}

/*
 * Returns: false: the binder is lost, and nothing more must be sent to it. So many messages in a
 * row, since sockets of clients are to have their turn.
 */
static bool
jobs_receive(struct sockets *sockets)
{
	struct jobs *j = sockets->jobs;

	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		struct binder_result result;
		cleanup_close int listener = -1;
		size_t n_fds = 0;
		ssize_t n = msg_receive(j->fd, &result, sizeof(result), &listener, 1, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n != sizeof(result)) {
			fd_shutdown_close(take_fd(listener));
			jobs_lost(sockets);
			return false;
		}
		if (!result.inspection && result.capability & MARK)
			jobs_marked(sockets, result.capability);
		else if (!result.inspection)
			j->result(sockets, &result, take_fd(listener));
		else if (result.inspection & DISPOSAL_SERIAL)
			core_disposal_told(sockets, &result);
		else
			inspections_told(sockets, &result);
	}
	return true;
}

/* An inspector tells us before it tells its client, so that what that says is here already. */
void
jobs_look(struct sockets *sockets)
{
	if (sockets->jobs->source)
		jobs_receive(sockets);
}

static int
jobs_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	if (jobs_receive(data) && revents & EPOLLOUT)
		jobs_send(data);
	return 0;
}

static void
jobs_install(struct sockets *sockets, int fd)
{
	struct jobs *j = sockets->jobs;
	int r;

	/* Under the old one's number, since there the next broker will look for it. */
	if (j->fd >= 0 && j->fd != fd) {
		if (dup3(fd, j->fd, O_CLOEXEC) < 0)
			log_message(LOG_ERR, "the new binder: %s", error_name(errno));
		fd_close(fd);
	} else {
		j->fd = fd;
	}
	j->mark = MARK | core_now(sockets);
	j->mark_sent = false;
	r = fd_set_nonblock(j->fd, true);
	if (r == 0)
		r = loop_add_io(sockets->event, j->fd, EPOLLIN, jobs_on_io, sockets, &j->source);
	if (r < 0)
		core_fail(sockets, r);
	else
		jobs_send(sockets);
}

/*
 * One that is still there has its jobs to itself until it has answered them all: were two at the
 * same one, clients could come to the listener that is not ours. Its end of writing is shut down,
 * by which it knows that it is to end.
 */
void
jobs_set_binder(struct sockets *sockets, int fd)
{
	struct jobs *j = sockets->jobs;

	if (!j->source) {
		jobs_install(sockets, fd);
		return;
	}
	fd_close(j->next_fd);
	j->next_fd = fd;
	sd_event_source_set_io_events(j->source, EPOLLIN);
	shutdown(j->fd, SHUT_WR);
	loop_arm(j->timer, BINDER_USEC);
}

/*
 * The binder that is replaced does not end, and is not waited for any longer: its jobs go to the
 * next.
 */
static int
jobs_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	struct jobs *j = sockets->jobs;

	if (j->next_fd >= 0 && j->source)
		jobs_lost(sockets);
	else if (j->next_fd >= 0)
		jobs_install(sockets, take_fd(j->next_fd));
	return 0;
}

/* Waits for no binder. Nothing is begun before all is counted that other brokers have begun. */
int
jobs_inspect(struct sockets *sockets, uint64_t serial, const struct session *s, enum inspection_task task,
	const int *fds, size_t n)
{
	const struct binder_job job = {.inspection = serial, .object = s->entity.id, .task = task};
	const struct jobs *j = sockets->jobs;

	return !j->source || (j->mark && n > 0) ||
		msg_send(j->fd, &job, sizeof(job), fds, n, MSG_DONTWAIT) < 0
		? -EAGAIN : 0;
}

int
jobs_new(struct sockets *sockets, jobs_result *result)
{
	struct jobs *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->fd = j->next_fd = -1;
	j->result = result;
	sockets->jobs = j;
	return loop_add_timer(sockets->event, jobs_on_timer, sockets, &j->timer);
}

/* The binder ends when its socket does. */
void
jobs_stop(struct sockets *sockets)
{
	struct jobs *j = sockets->jobs;

	j->source = sd_event_source_disable_unref(j->source);
	j->fd = fd_close(j->fd);
	j->next_fd = fd_close(j->next_fd);
}

void
jobs_free(struct sockets *sockets)
{
	struct jobs *j = take_ptr(sockets->jobs);

	if (!j)
		return;
	sd_event_source_disable_unref(j->source);
	sd_event_source_disable_unref(j->timer);
	free(j);
}
