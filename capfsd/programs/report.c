/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has become of a program, put into the model: each is one change, stored before anybody is told. Its end
 * is an event of its session, which all sessions above have in their logs too, stored with the change: a crash
 * neither takes it back nor tells it twice. One that is not as it should be is a fault.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/change.h"
#include "capfsd/model/event.h"
#include "capfsd/ops/texts.h"
#include "capfsd/programs/inner.h"
#include "capfsd/sockets/serve.h"

#define TOLD_USEC 1000 /* after which it is looked whether all who waited for an end have been told */

/*
 * Did P, whose end is RECORD, end as it should not? Who could not begin at all has who asked for it to tell. Who
 * closes a session wants the end of all that is in it, and is not called back because of it.
 */
static bool
is_fault(const struct program *p, const struct program_record *record)
{
	if (p->session->record.state != SESSION_RUNNING)
		return false;
	/* Of one that we have not started it may be unknown, which is no reason to be called. */
	if (record->phase == PHASE_EXITED)
		return record->status > 0;
	/* That it runs it says just before it executes, which may fail. */
	return record->n_restarts > 0 || (p->record.phase != PHASE_STARTING && record->step == STEP_NONE);
}

int
report_alarm(struct change *ch, const struct program *p, const struct program_record *record)
{
	return is_fault(p, record) ? anchors_alarm(ch, p->session) : 0;
}

static void
add_status(struct text *t, int status)
{
	const char *name;

	if (status < 0) {
		text_addf(t, " status=%s", status == PROGRAM_END_LEFT ? "left" : "unknown");
		return;
	}
	if (!WIFSIGNALED(status)) {
		text_addf(t, " code=%d", WEXITSTATUS(status));
		return;
	}
	/* Those for whatever a program likes have a number only. */
	name = sigabbrev_np(WTERMSIG(status));
	if (name)
		text_addf(t, " signal=%s", name);
	else
		text_addf(t, " signal=%d", WTERMSIG(status));
	text_addf(t, " core=%s", WCOREDUMP(status) ? "yes" : "no");
}

void
report_tell(const struct program *p, const struct program_record *record, bool again)
{
	static const char *const steps[STEP_N] = PROCESS_STEP_WORDS;
	bool fault = is_fault(p, record), failed = record->phase == PHASE_FAILED;
	cleanup_text struct text fields = {};
	const struct event event = {
		.verb = fault ? EVENT_FAULT_VERB : failed ? "spawn" : "exit",
		.error = failed && !fault ? record->error : 0,
		.keep = fault ? EVENT_FAULT : EVENT_USUAL,
		.fields = &fields,
	};

	text_addf(&fields, " thread=%s pid=%" PRIu32, p->entity.name, record->pid);
	if (record->title[0])
		text_addf(&fields, " name=%s", record->title);
	if (!failed)
		add_status(&fields, record->status);
	else if (fault && record->step != STEP_NONE)
		text_addf(&fields, " step=%s", steps[record->step]);
	if (failed && fault)
		text_addf(&fields, " errno=%s", error_name(record->error));
	if (again)
		text_addf(&fields, " restart_msec=%" PRIu64, (record->again_usec - record->ended_usec) / 1000);
	if (text_done(&fields) == 0)
		event_log(p->session->model, p->session, &event);
}

/* Once for each end, also where that has to be stored a second time. */
static void
tell(struct running *r, const struct program_record *record, bool again)
{
	if (!r->said)
		report_tell(r->program, record, again);
	r->said = true;
}

int
report_running(struct running *r, pid_t pid)
{
	struct model *m = r->programs->sockets->model;
	struct change *ch = change_begin(m);
	struct program_record *record = change_edit(ch, &r->program->entity);
	int e;

	if (record) {
		record->phase = PHASE_RUNNING;
		record->pid = (uint32_t)pid;
		record->started_usec = m->now_usec();
	}
	e = change_finish(ch, record ? 0 : -ENOMEM);
	return e < 0 ? e : heart_start(r);
}

static int
store_waiting(struct running *r, const struct program_record *as, bool ended)
{
	struct change *ch = change_begin(r->programs->sockets->model);
	int e = ended ? report_alarm(ch, r->program, as) : 0;
	struct program_record *record = change_edit(ch, &r->program->entity);

	if (record) {
		*record = *as;
		record->phase = PHASE_WAITING;
	}
	return change_finish(ch, record ? e : -ENOMEM);
}

int
report_kept(struct running *r)
{
	struct program_record record = r->program->record;
	int e;

	record.again_usec = r->programs->sockets->model->now_usec();
	record.n_restarts++;
	e = store_waiting(r, &record, false);
	return e < 0 ? e : again_wait(r);
}

/*
 * Its init keeps what it needs for that, and is not told that its end is known. Whom a command has left standing
 * who has never served is not left to wait for one that may do the same.
 */
static int
wait_for_next(struct running *r, const struct program_record *as)
{
	int e;

	tell(r, as, true);
	e = store_waiting(r, as, true);
	if (e < 0)
		return e;
	r->said = false;
	heart_stop(r);
	/* What was to be done to it is not for the one that comes after it. */
	r->kill = 0;
	r->pause = 0;
	if (again_was_useless(r))
		serve_refuse(r->programs->sockets, program_entrypoint(r->program));
	return again_wait(r);
}

/* Nobody is to wait for the server that P was; for another one who serves now they may. Returns: 0 or -ENOMEM. */
static int
end_hold(struct change *ch, const struct program *p)
{
	struct entrypoint *ep = program_entrypoint(p);
	struct entrypoint_record *record;

	if (!ep || ep->command != p || (ep->thread && ep->thread->record.pid != p->record.pid))
		return 0;
	record = change_edit(ch, &ep->entity);
	if (record)
		record->hold = 0;
	return record ? 0 : -ENOMEM;
}

static void
drop_when_told(struct running *r)
{
	list_unlink(&r->ended_link);
	list_append(&r->programs->untold, &r->ended_link);
	core_resume_later(r->programs->sockets, TOLD_USEC);
}

const struct program_record *
programs_end(const struct program *p)
{
	const struct running *r = running_of(p);

	return r && list_empty(&r->waiters) ? r->end : NULL;
}

int
programs_stage_end(struct change *ch, const struct program *p)
{
	int e = report_alarm(ch, p, running_of(p)->end);

	return e == 0 ? end_hold(ch, p) : e;
}

/*
 * Who asked for it, and alone waits for it, takes its end: that this is so, is told, and is forgotten then is one change
 * instead of two. Returns: has he? R is no more then.
 */
static bool
end_with_waiter(struct running *r, const struct program_record *as)
{
	struct programs *programs = r->programs;
	struct program *p = r->program;
	struct list *waiter = list_first(&r->waiters);
	uint64_t id = p->entity.id;
	struct init *i = r->init;

	if (!i || !waiter || waiter->next != &r->waiters || p->record.entrypoint ||
		!(p->record.flags & PROGRAM_LAUNCHED) || !program_is_asked_about(p) || program_is_given_up(p))
		return false;
	r->end = as;
	programs->ops->end(programs->data, waiter, p->record.connection);
	if (entity_find(programs->sockets->model, id)) {
		r->end = NULL;
		return false;
	}
	init_acknowledge(i, id);
	return true;
}

/* One that nobody asks about goes right after that, or when those who wait for it have been told. */
static int
end(struct running *r, const struct program_record *as)
{
	struct program *p = r->program;
	struct program_record *record;
	struct init *i = r->init;
	struct change *ch;
	int e = 0;

	if (!program_is_given_up(p))
		tell(r, as, false);
	if (end_with_waiter(r, as))
		return 0;
	ch = change_begin(r->programs->sockets->model);
	if (!program_is_given_up(p))
		e = report_alarm(ch, p, as);
	record = change_edit(ch, &p->entity);
	if (record)
		*record = *as;
	if (e == 0)
		e = record ? end_hold(ch, p) : -ENOMEM;
	e = change_finish(ch, e);
	if (e < 0)
		return e;
	heart_stop(r);
	if (program_entrypoint(p))
		serve_refuse(r->programs->sockets, program_entrypoint(p));
	if (i)
		init_acknowledge(i, p->entity.id);
	asking_leave(r);
	r->init = NULL;
	running_close_launch(r);
	running_resume(r, true);
	if (program_is_asked_about(p))
		return 0;
	if (list_empty(&r->waiters))
		return report_drop(r);
	drop_when_told(r);
	return 0;
}

int
report_end(struct running *r, const struct process_record *report)
{
	struct program_record record = r->program->record;
	bool failed = report->type == PROCESS_FAILED ||
		(report->type == PROCESS_STATE && report->flags == PHASE_FAILED);

	record.ended_usec = r->programs->sockets->model->now_usec();
	record.paused = 0;
	if (failed) {
		record.phase = PHASE_FAILED;
		record.status = 0;
		record.step = report->step > 0 && report->step < STEP_N ? (uint8_t)report->step : STEP_NONE;
		record.error = report->error > 0 ? report->error : ECONNRESET;
	} else {
		record.phase = PHASE_EXITED;
		record.step = STEP_NONE;
		record.error = 0;
		record.status = report->status & 0xffff;
		record.utime_usec = report->utime_usec;
		record.stime_usec = report->stime_usec;
		record.maxrss_kib = report->maxrss_kib;
	}
	return again_is_wanted(r, report, &record) ? wait_for_next(r, &record) : end(r, &record);
}

/* Its last end was told. */
int
report_given_up(struct running *r)
{
	struct program_record record = r->program->record;

	record.phase = record.error ? PHASE_FAILED : PHASE_EXITED;
	return end(r, &record);
}

int
report_failed(struct running *r, enum process_step step, int error)
{
	return report_missing(r, step, error, 0);
}

int
report_missing(struct running *r, enum process_step step, int error, uint32_t missing)
{
	struct program_record record = r->program->record;

	record.phase = PHASE_FAILED;
	record.step = (uint8_t)step;
	record.status = (int32_t)missing;
	record.error = error;
	record.ended_usec = r->programs->sockets->model->now_usec();
	return end(r, &record);
}

int
report_drop(struct running *r)
{
	struct change *ch = change_begin(r->programs->sockets->model);

	return change_finish(ch, program_drop(ch, r->program));
}

/* They have been called, and their turns are the first: it is a matter of this round or the next. */
int
report_told(struct programs *programs)
{
	int e = 0;

	list_for_each_safe (l, &programs->untold) {
		struct running *r = list_entry(l, struct running, ended_link);

		if (e == 0 && list_empty(&r->waiters))
			e = report_drop(r);
	}
	if (e == 0 && !list_empty(&programs->untold))
		core_resume_later(programs->sockets, TOLD_USEC);
	return e;
}

bool
programs_is_awaited(const struct program *p)
{
	const struct running *r = running_of(p);

	return r && !list_empty(&r->waiters);
}

int
programs_stage_told(struct change *ch, struct program *p)
{
	struct program_record *record = change_edit(ch, &p->entity);

	if (!record)
		return -ENOMEM;
	record->connection = 0;
	return 0;
}

void
programs_told(struct program *p)
{
	running_unindex(running_of(p));
	drop_when_told(running_of(p));
}
