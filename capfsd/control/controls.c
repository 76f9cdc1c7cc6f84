/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All clients of the control protocol, and what sockets/ and the model tell of them: here it is
 * found out who is meant. Nothing of the protocol is here. broker/ makes and frees it; sockets/
 * calls it through control_ops.
 *
 * It owns the lists of those that wait for something. Whatever may free a client is called only
 * after the client was taken from the list that is walked.
 */
#include "config.h"

#include "capfsd/control/controls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/asking/asking.h"
#include "capfsd/control/control.h"
#include "capfsd/control/manager.h"
#include "capfsd/control/ownership.h"
#include "capfsd/control/wait.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/model.h"
#include "capfsd/programs/programs.h"
#include "wire/wire.h"

static void
on_accepted(void *data, struct listener *l, int fd)
{
	control_accepted(data, l, fd);
}

/* A session that is closed, or the end of all: its clients go with their listener. */
static void
on_gone(void *data, struct listener *l)
{
	struct list *first = list_first(&l->clients);

	if (first)
		control_free(list_entry(first, struct control, listener_link));
}

/*
 * All of them are moved to a list of their own first, so that who starves again meanwhile is not
 * met twice: with one that never finds room the loop would not end.
 */
static void
resume_starved(struct controls *controls)
{
	struct list now = LIST_INIT(now);

	while (!list_empty(&controls->starved)) {
		struct list *link = list_first(&controls->starved);

		list_unlink(link);
		list_append(&now, link);
	}
	while (!list_empty(&now)) {
		struct control *c = list_entry(list_first(&now), struct control, starved_link);

		list_unlink(&c->starved_link);
		control_resume(c, false);
	}
}

/* Why it is called nobody says: each of those that wait looks whether it was for that. */
static void
on_resume(void *data)
{
	struct controls *controls = data;

	ownership_settle(controls);
	resume_starved(controls);
	list_for_each_safe (i, &controls->pending) {
		struct control *c = list_entry(i, struct control, pending_link);

		if (!model_is_ending(controls->sockets->model, c->parcel.pending))
			control_resume(c, false);
	}
}

/* A socket without a record may be the service manager's, which only its name tells. */
static bool
on_adopt(void *data, struct adopted *found)
{
	if (!found->kind)
		return manager_adopt(data, found->fd);
	control_adopt(data, found);
	return true;
}

static const struct endpoint_ops control_ops = {
	.entity = ENTITY_SESSION,
	.socket = SOCKET_CONTROL,
	.accepted = on_accepted,
	.gone = on_gone,
	.resume = on_resume,
	.adopt = on_adopt,
};

CLEANUP_DEFINE(struct controls *, controls_free)

/*
 * The buffers for one request and one reply are shared by all, as one thread serves one after the
 * other; each of a thousand clients would else have two of the largest size.
 */
int
controls_new(struct sockets *sockets, struct programs *programs, struct askings *askings, struct metrics *metrics,
	struct controls **ret)
{
	cleanup(controls_free_p) struct controls *controls = calloc(1, sizeof(*controls));
	int r;

	if (!controls)
		return -ENOMEM;
	controls->sockets = sockets;
	controls->metrics = metrics;
	controls->programs = programs;
	controls->askings = askings;
	list_init(&controls->all);
	list_init(&controls->pending);
	list_init(&controls->starved);
	list_init(&controls->unsettled);
	controls->manager_fd = -1;
	controls->request = malloc(WIRE_CONTROL_MAX);
	controls->reply = malloc(WIRE_CONTROL_MAX);
	if (!controls->request || !controls->reply)
		return -ENOMEM;
	r = wait_init(controls);
	if (r == 0)
		r = manager_init(controls);
	if (r < 0)
		return error_trace(r);
	core_add_user(sockets, &control_ops, controls);
	/* When the predecessor's clients have been taken up. */
	core_resume_later(sockets, 0);
	*ret = take_ptr(controls);
	return 0;
}

/* Before the sockets are freed: they must not call what is gone. */
struct controls *
controls_free(struct controls *controls)
{
	if (!controls)
		return NULL;
	core_remove_user(controls->sockets, &control_ops);
	while (!list_empty(&controls->all))
		control_free(list_entry(list_first(&controls->all), struct control, link));
	assert(list_empty(&controls->pending) && list_empty(&controls->starved));
	manager_deinit(controls);
	wait_deinit(controls);
	ownership_deinit(controls);
	index_deinit(&controls->challenges);
	free(controls->request);
	free(controls->reply);
	free(controls);
	return NULL;
}

void
controls_connection_ended(struct controls *controls, uint64_t cookie)
{
	programs_connection_ended(controls->programs, cookie);
	askings_connection_ended(controls->askings, cookie);
}

void
controls_stop(struct controls *controls)
{
	manager_close(controls);
}

void
controls_resume(struct controls *controls, struct list *waiter, bool first)
{
	wait_resume(controls, waiter, first);
}

void
controls_end(struct controls *controls, struct list *waiter, uint64_t connection)
{
	wait_end(waiter, connection);
}

void
controls_changed(struct controls *controls, const struct entity *e)
{
	ownership_changed(controls, e);
	if (e->kind == ENTITY_VISIT && !visit_of(e)->record.asks)
		wait_visit_answered(visit_of(e));
}

void
controls_gone(struct controls *controls, const struct entity *e)
{
	if (e->kind == ENTITY_VISIT)
		wait_visit_answered(visit_of(e));
}
