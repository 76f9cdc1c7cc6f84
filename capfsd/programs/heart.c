/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that have to say every now and then that they are well. One that has not for too long stands still,
 * whatever the reason is, and is killed; whether it then runs again is another matter (again.c). One that is paused
 * cannot say anything, and while no broker is there nobody is heard: neither counts. What was said while this one
 * stood still lies in its queues, and is heard before anybody is killed for it.
 */
#include "config.h"

#include <signal.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/event.h"
#include "capfsd/model/model.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/inner.h"

#define GRACE_USEC UINT64_C(250000)

static void
wait_for_next(struct running *r)
{
	loop_disarm(r->heart);
	loop_arm(r->heart, (uint64_t)r->program->record.heartbeat_sec * 1000000);
}

static void
tell_missed(const struct running *r)
{
	const struct program *p = r->program;
	cleanup_text struct text fields = {};
	const struct event event = {.verb = EVENT_FAULT_VERB, .keep = EVENT_FAULT, .fields = &fields};

	text_addf(&fields, " thread=%s", p->entity.name);
	if (p->record.title[0])
		text_addf(&fields, " name=%s", p->record.title);
	text_addf(&fields, " missed=%u", p->record.n_heartbeats);
	if (text_done(&fields) == 0)
		event_log(p->session->model, p->session, &event);
}

static int
on_missed(sd_event_source *source, uint64_t usec, void *data)
{
	struct running *r = data;

	r->n_missed = r->program->record.paused ? 0 : r->n_missed + 1;
	if (r->n_missed < r->program->record.n_heartbeats) {
		wait_for_next(r);
		return 0;
	}
	if (r->n_missed == r->program->record.n_heartbeats) {
		loop_arm(r->heart, GRACE_USEC);
		return 0;
	}
	tell_missed(r);
	r->kill = SIGKILL;
	if (r->init)
		init_pump(r->init);
	return 0;
}

int
heart_start(struct running *r)
{
	int e;

	r->n_missed = 0;
	if (!r->program->record.heartbeat_sec)
		return 0;
	if (!r->heart) {
		e = loop_add_timer(r->programs->sockets->event, on_missed, r, &r->heart);
		if (e < 0)
			return error_trace(e);
	}
	wait_for_next(r);
	return 0;
}

void
programs_well(struct program *p)
{
	struct running *r = running_of(p);

	if (!r || !r->heart || p->record.phase != PHASE_RUNNING || r->n_missed > p->record.n_heartbeats)
		return;
	r->n_missed = 0;
	wait_for_next(r);
}

void
heart_stop(struct running *r)
{
	loop_disarm(r->heart);
	r->n_missed = 0;
}

void
heart_deinit(struct running *r)
{
	r->heart = sd_event_source_disable_unref(r->heart);
}
