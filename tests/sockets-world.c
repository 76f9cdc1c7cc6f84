/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sockets-world.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/listeners/doomed.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/adopt.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/state/state.h"

#define MAP_BYTES (32 << 20)
/* Everything here happens at once: no need to wait for it. */
#define IDLE_USEC 0

static uint64_t next_serial;

int
world_own(struct world *w, int fd)
{
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(w->n_own, WORLD_FDS_MAX);
	w->own[w->n_own++] = fd;
	return fd;
}

int
world_close(struct world *w, int fd)
{
	for (size_t i = 0; i < w->n_own; i++)
		if (w->own[i] == fd) {
			w->own[i] = w->own[--w->n_own];
			close(fd);
			return -1;
		}
	ck_abort_msg("not of the test: %d", fd);
}

static void
on_done(void *data, struct entity *e, int error)
{
	struct world *w = data;

	w->done_id = e->id;
	w->done_error = error;
	w->n_done++;
}

static void
on_invalidate(void *data, struct entity *e)
{
	struct world *w = data;

	w->invalidated_id = e->id;
	w->n_invalidated++;
}

static bool
on_is_known(void *data, struct entity *e)
{
	struct world *w = data;

	return e->id == w->known_id;
}

static void
on_call_ready(void *data, uint64_t handle)
{
	struct world *w = data;

	w->n_ready++;
}

static const struct sockets_fs world_fs = {
	.socket_done = on_done,
	.socket_invalidate = on_invalidate,
	.socket_is_known = on_is_known,
};

static void
on_changed(void *data, struct entity *e)
{
	struct world *w = data;

	if (!w->sockets || w->deaf)
		return;
	sockets_changed(w->sockets, e);
	if (w->controls) {
		programs_changed(w->programs, e);
		askings_changed(w->askings, e);
		controls_changed(w->controls, e);
	}
}

static void
on_gone(void *data, struct entity *e)
{
	struct world *w = data;

	if (!w->sockets)
		return;
	sockets_gone(w->sockets, e);
	askings_gone(w->askings, e);
	controls_gone(w->controls, e);
	programs_gone(w->programs, e);
	conversations_gone(w->conversations, e);
}

static int
on_commanded(void *data, struct program *p, unsigned type, uint64_t value)
{
	return programs_commanded(p, type, value);
}

static void
on_restricted(void *data, struct capability *c)
{
	struct world *w = data;

	if (w->sockets)
		sockets_restricted(w->sockets, c);
}

static bool
on_counted(void *data, const struct capability *c, uint64_t *ret_calls)
{
	struct world *w = data;

	return w->sockets && counts_read(c, ret_calls);
}

static void
on_looked(void *data, struct capability *c, struct passage *p)
{
	struct world *w = data;

	if (w->sockets)
		connect_look(w->sockets, c, p);
}

static void
on_boarding(void *data, struct change *ch)
{
	struct world *w = data;

	if (w->sockets)
		memos_boarding(w->sockets, ch);
}

static void
on_arrived(void *data, bool stored)
{
	struct world *w = data;

	if (w->sockets)
		memos_arrived(w->sockets, stored);
}

static const struct model_hooks world_hooks = {
	.changed = on_changed,
	.shown = on_changed,
	.gone = on_gone,
	.restricted = on_restricted,
	.counted = on_counted,
	.looked = on_looked,
	.commanded = on_commanded,
	.boarding = on_boarding,
	.arrived = on_arrived,
};

static int
load_one(void *data, uint64_t key, const void *record, size_t n)
{
	enum store_space space = STORE_KEY_SPACE(key);

	if (space != STORE_HEADER && space != STORE_ENTITY && space != STORE_EVENT && space != STORE_LATER)
		return 0;
	return model_load(data, key, record, n);
}

void
world_address(struct world *w, const struct entity *e, struct sockaddr_un *ret)
{
	uint64_t object = 0;

	if (e->kind == ENTITY_CAPABILITY)
		object = capability_of(e)->target->id;
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%" PRIu64 ".%" PRIu64, w->dir, object,
		e->id);
}

/* What the binder does with a job. */
static void
bind_one(struct world *w, const struct binder_job *job)
{
	struct binder_result result = {.object = job->object, .capability = job->capability};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (job->inspection)
		return;
	if (!job->socket_type) {
		result.error = EINVAL;
		ck_assert_int_eq(msg_send(w->binder, &result, sizeof(result), NULL, 0, 0), sizeof(result));
		return;
	}
	fd = socket(AF_UNIX, (int)job->socket_type | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%" PRIu64 ".%" PRIu64, w->dir, job->object,
		job->capability);
	unlink(a.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, (int)job->backlog), 0);
	ck_assert_int_eq(msg_send(w->binder, &result, sizeof(result), &fd, 1, 0), sizeof(result));
	close(fd);
	w->n_bound++;
}

static bool
bind_some(struct world *w)
{
	struct binder_job job;
	bool any = false;
	size_t n_fds;

	while (w->binder >= 0 && !w->binder_lazy &&
		msg_receive(w->binder, &job, sizeof(job), NULL, 0, &n_fds, MSG_DONTWAIT) ==
			sizeof(job)) {
		bind_one(w, &job);
		any = true;
	}
	return any;
}

void
world_settle_for(struct world *w, uint64_t usec)
{
	uint64_t now, end;

	sd_event_now(w->event, CLOCK_MONOTONIC, &now);
	end = now + usec;
	for (;;) {
		bool any = bind_some(w);
		int r = sd_event_run(w->event, IDLE_USEC);

		ck_assert_int_ge(r, 0);
		any = any || r > 0; /* it may have given the binder a job */
		while (listeners_are_doomed(w->sockets))
			listeners_end_one(w->sockets);
		while ((r = model_reap(w->model, 64)) > 0)
			any = true;
		ck_assert_int_eq(r, 0);
		sockets_reaped(w->sockets);
		model_check(w->model);
		sd_event_now(w->event, CLOCK_MONOTONIC, &now);
		if (!any && now >= end && sd_event_run(w->event, IDLE_USEC) == 0)
			return;
	}
}

void
world_settle(struct world *w)
{
	world_settle_for(w, 0);
}

void
world_binder(struct world *w)
{
	int fds[2];

	if (w->binder >= 0)
		world_close(w, w->binder);
	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, fds), 0);
	w->binder = world_own(w, fds[1]);
	/* The next one comes under the number of the first. */
	if (w->binder_end < 0)
		w->binder_end = fds[0];
	jobs_set_binder(w->sockets, fds[0]);
}

/* The binder outlives brokers, which find it where it was. */
static void
start_binder(struct world *w)
{
	if (w->binder >= 0) {
		jobs_set_binder(w->sockets, w->binder_end);
		return;
	}
	w->binder_end = -1;
	world_binder(w);
}

static bool
is_own(const struct world *w, int fd)
{
	for (size_t i = 0; i < w->n_own; i++)
		if (w->own[i] == fd)
			return true;
	for (size_t i = 0; i < w->n_base; i++)
		if (w->base[i] == fd)
			return true;
	return w->binder >= 0 && w->binder_end == fd;
}

static void
on_program(void *data, struct list *waiter, bool first)
{
	struct world *w = data;

	controls_resume(w->controls, waiter, first);
}

static void
on_end(void *data, struct list *waiter, uint64_t connection)
{
	struct world *w = data;

	controls_end(w->controls, waiter, connection);
}

/* There are no files in this world, and a store that fails ends the test elsewhere. */
static const struct askings_ops world_askings = {.resume = on_program};

static void
on_want_spawner(void *data)
{
	struct world *w = data;

	w->n_spawners_wanted++;
}

static const struct programs_ops world_programs = {on_program, on_end, on_want_spawner};

void
world_start(struct world *w)
{
	cleanup_free char *reason = NULL;
	cleanup_free int *fds = NULL;
	size_t n, n_left = 0;
	int r;

	ck_assert_int_eq(fd_list(&fds, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (!is_own(w, fds[i]))
			fds[n_left++] = fds[i];
	r = state_open(w->dir, MAP_BYTES, &w->state, &reason);
	ck_assert_msg(r == 0, "state: %d %s", r, reason ? reason : "");
	ck_assert_int_eq(model_new(&state_store_ops, w->state, &w->model), 0);
	w->model->hooks = &world_hooks;
	w->model->hooks_data = w;
	if (state_is_new(w->state)) {
		struct quota quota = {{1000, 500, 100, 64 << 20, 200}};

		ck_assert_int_eq(model_create_root(w->model, 0, 0, 0711, &quota), 0);
	} else {
		ck_assert_int_eq(state_scan(w->state, load_one, w->model, &reason), 0);
		ck_assert_int_eq(model_load_done(w->model), 0);
	}
	ck_assert_int_ge(sd_event_new(&w->event), 0);
	turns_init(&w->turns, clock_turns_nsec);
	ck_assert_int_eq(sockets_new(w->model, w->state, &w->boot, w->event, &w->turns, &world_fs, w,
				 &w->sockets),
		0);
	ck_assert_int_eq(programs_new(w->sockets, &w->programs), 0);
	ck_assert_int_eq(askings_new(w->model, &w->boot, w->event, &w->askings), 0);
	ck_assert_int_eq(controls_new(w->sockets, w->programs, w->askings, NULL, &w->controls), 0);
	programs_set_ops(w->programs, &world_programs, w);
	askings_set_ops(w->askings, &world_askings, w);
	ck_assert_int_eq(conversations_new(w->sockets, on_call_ready, w, &w->conversations), 0);
	ck_assert_int_eq(adopt(w->sockets, fds, n_left), 0);
	start_binder(w);
	model_check(w->model);
}

void
world_kill(struct world *w)
{
	sockets_forget(w->sockets);
	w->conversations = conversations_free(w->conversations);
	w->controls = controls_free(w->controls);
	w->askings = askings_free(w->askings);
	w->programs = programs_free(w->programs);
	w->sockets = sockets_free(w->sockets);
	w->model = model_free(w->model);
	w->state = state_free(w->state);
	w->event = sd_event_unref(w->event);
}

void
world_restart(struct world *w)
{
	world_kill(w);
	world_start(w);
	world_settle(w);
}

void
world_init(struct world *w)
{
	*w = (struct world){.binder = -1, .binder_end = -1};
	next_serial = 1;
	fixture_directory(w->dir);
	w->boot.page = &w->page;
	ck_assert_int_eq(fd_list(&w->base, &w->n_base), 0);
	world_start(w);
}

void
world_stop(struct world *w)
{
	conversations_stop(w->conversations);
	programs_stop(w->programs);
	sockets_stop(w->sockets);
	controls_stop(w->controls);
}

void
world_deinit(struct world *w)
{
	world_stop(w);
	world_kill(w);
	while (w->n_own > 0)
		world_close(w, w->own[w->n_own - 1]);
	fixture_remove(w->dir);
	free(w->base);
}

int
world_want(struct world *w, struct entity *e)
{
	unsigned before = w->n_done;

	binding_want(w->sockets, e);
	world_settle(w);
	ck_assert_uint_eq(w->n_done, before + 1);
	ck_assert_uint_eq(w->done_id, e->id);
	return w->done_error;
}

int
world_connect(struct world *w, struct entity *e)
{
	int type = SOCK_SEQPACKET, fd;
	struct sockaddr_un a;

	if (e->kind == ENTITY_CAPABILITY &&
		capability_service(capability_of(e)).socket == SOCK_STREAM)
		type = SOCK_STREAM;
	if (!binding_is_ready(w->sockets, e) && world_want(w, e))
		return -w->done_error;
	world_address(w, e, &a);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return world_own(w, fd);
}

int
world_control(struct world *w, struct session *s)
{
	int fd = world_connect(w, &s->entity);

	ck_assert_int_ge(fd, 0);
	world_settle(w);
	return fd;
}

static void
send_request(int fd, const struct wire_request *m)
{
	static uint8_t buffer[WIRE_CONTROL_MAX];
	int n = wire_request_encode(m, buffer, sizeof(buffer));

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(send(fd, buffer, (size_t)n, MSG_NOSIGNAL), n);
}

void
world_send(int fd, enum wire_op op, uint64_t serial, const char *path, const char *text)
{
	struct wire_request m = {
		.op = (uint8_t)op,
		.serial = serial,
		.path = path,
		.n_path = strlen(path),
		.text = text,
		.n_text = strlen(text),
	};

	send_request(fd, &m);
}

bool
world_reply(struct world *w, int fd, struct answered *ret)
{
	static uint8_t buffer[WIRE_CONTROL_MAX];
	size_t n_fds;
	ssize_t n;

	ret->fd = -1;
	n = msg_receive(fd, buffer, sizeof(buffer), &ret->fd, 1, &n_fds, MSG_DONTWAIT);
	if (n <= 0)
		return false;
	if (n_fds > 0)
		world_own(w, ret->fd);
	ck_assert_int_eq(wire_reply_decode(buffer, (size_t)n, &ret->m), 0);
	memcpy(ret->text, ret->m.text, ret->m.n_text);
	ret->text[ret->m.n_text] = '\0';
	return true;
}

int
world_ask(struct world *w, int fd, enum wire_op op, const char *path, const char *text,
	struct answered *ret)
{
	uint64_t serial = next_serial++;

	world_send(fd, op, serial, path, text);
	world_settle(w);
	ck_assert(world_reply(w, fd, ret));
	ck_assert_uint_eq(ret->m.serial, serial);
	ck_assert_uint_eq(ret->m.op, op);
	return (int)ret->m.error;
}

struct capability *
world_slot(struct world *w, struct session *s, const char *name)
{
	struct entity *e =
		entity_find_name(w->model, s->entity.id, ENTITY_CAPABILITY, name, strlen(name));

	return e ? container_of(e, struct capability, entity) : NULL;
}

bool
world_is_over(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

bool
world_has_event(struct world *w, const char *text)
{
	static char buffer[256 * 1024];
	const struct session *s = w->model->root;
	uint64_t at = events_start(s);
	size_t n = events_read(s, EVENTS_ALL, &at, buffer, sizeof(buffer) - 1);

	buffer[n] = '\0';
	return strstr(buffer, text);
}
