/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that run again when they have ended. What such a one is started with is kept by a process in its
 * session, and its init is asked to use it once more; when that is, is decided here. One that does not live long
 * runs ever more rarely, and one that has lived for a while, or has served and left, begins anew: so it is throttled, and never given up
 * but by whoever asked for it. The command of an entrypoint waits for its first run as for all others.
 */
#include "config.h"

#include <errno.h>

#include "base/backoff.h"
#include "base/error.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/model.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/inner.h"

#define PAUSE_FIRST_USEC UINT64_C(100000)
#define PAUSE_MAX_USEC UINT64_C(60000000)
#define LONG_USEC UINT64_C(10000000) /* one that has run for so long has done what it is for */

void
again_keep(struct running *r)
{
	/* spawn has looked whether there is room; what runs already is not ended for it. */
	if (r->program->record.flags & PROGRAM_KEPT)
		(void)charge_init(&r->charge, r->program->session, QUOTA_THREADS, 1);
}

static bool
has_failed(const struct program_record *record)
{
	return record->phase == PHASE_FAILED || record->status != 0;
}

/* A command that leaves when nobody calls any more has done what it is for, too. */
static bool
has_served(const struct running *r, const struct program_record *record)
{
	return record->entrypoint && record->status == 0 && !again_was_useless(r);
}

bool
again_is_wanted(const struct running *r, const struct process_record *report, struct program_record *record)
{
	struct backoff backoff = {.first_usec = PAUSE_FIRST_USEC, .max_usec = PAUSE_MAX_USEC};

	if (record->restart == RESTART_NO || r->program->session->record.state != SESSION_RUNNING || !r->init ||
		r->init->ending || (record->entrypoint && !program_entrypoint(r->program)))
		return false;
	/* Who asked for it is told that it cannot begin. */
	if (record->phase == PHASE_FAILED && record->n_restarts == 0)
		return false;
	/* What it is started with is lost. */
	if (report->step == STEP_FORK && report->error == ECHILD)
		return false;
	if (record->restart == RESTART_ON_FAILURE && !has_failed(record))
		return false;
	if (record->phase == PHASE_EXITED &&
		(record->ended_usec - record->started_usec >= LONG_USEC || has_served(r, record)))
		record->n_quick = 0;
	backoff.n = record->n_quick;
	record->again_usec = record->ended_usec + backoff_add(&backoff);
	record->n_quick = backoff.n;
	record->n_restarts++;
	return true;
}

static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	struct running *r = data;

	r->due = true;
	if (r->init)
		init_pump(r->init);
	return 0;
}

/* The clock may have been set since: it is never longer than the longest pause. */
int
again_wait(struct running *r)
{
	uint64_t now = r->programs->sockets->model->now_usec(), again = r->program->record.again_usec;
	uint64_t pause = again > now ? again - now : 0;
	int e = 0;

	r->due = false;
	r->asked_usec = 0;
	if (!r->timer)
		e = loop_add_timer(r->programs->sockets->event, on_time, r, &r->timer);
	if (e < 0)
		return error_trace(e);
	loop_arm(r->timer, pause < PAUSE_MAX_USEC ? pause : PAUSE_MAX_USEC);
	return 0;
}

/* The command of an entrypoint is due when somebody calls there and nobody serves. */
bool
again_is_due(const struct running *r)
{
	const struct program_record *record = &r->program->record;
	const struct entrypoint *ep = program_entrypoint(r->program);

	if (record->phase != PHASE_WAITING || !r->due || record->restart == RESTART_NO)
		return false;
	return !record->entrypoint || (ep && !ep->thread && ep->n_waiting > 0);
}

void
again_asked(struct running *r)
{
	const struct entrypoint *ep = program_entrypoint(r->program);

	r->is_counted = ep;
	r->n_served = ep ? ep->record.attachment : 0;
}

bool
again_was_useless(const struct running *r)
{
	const struct entrypoint *ep = program_entrypoint(r->program);

	return ep && r->is_counted && r->n_served == ep->record.attachment;
}

void
again_deinit(struct running *r)
{
	r->timer = sd_event_source_disable_unref(r->timer);
	charge_deinit(&r->charge);
}
