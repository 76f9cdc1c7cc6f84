/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has become of a program, shows, and is not stored yet: that it runs, and its end, where who has asked for
 * it is about to be told or nobody is, so that it goes in the next transaction. Both are known to its init, which
 * tells them to a later broker again, and may forget an end only when that is stored. A start and its end take two
 * transactions fewer by it.
 */
#include "config.h"

#include <errno.h>

#include "base/error.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/change.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/inner.h"

#define LATE_USEC 20000

/* What an entrypoint or a starter hangs on is stored at once, as it decides what happens next. */
bool
late_is_allowed(const struct running *r)
{
	const struct program_record *record = &r->program->record;

	return r->init && !record->entrypoint && !(record->flags & PROGRAM_KEPT);
}

bool
late_end_is_allowed(const struct running *r)
{
	return late_is_allowed(r) && (r->asker_waits || !program_is_asked_about(r->program));
}

void
late_add(struct running *r)
{
	list_unlink(&r->late_link);
	list_append(&r->programs->late, &r->late_link);
	loop_arm(r->programs->late_timer, LATE_USEC);
}

/* What was known of R is stored. */
void
late_stored(struct running *r)
{
	struct init *i = init_find(r->programs, r->program->session);
	bool is_late = !list_empty(&r->late_link);

	list_unlink(&r->late_link);
	if (is_late && i && !program_is_live(r->program))
		init_acknowledge(i, r->program->entity.id);
}

/* Those whose end nobody asks about go instead. */
static int
drop_ended(struct programs *programs)
{
	int e = 0;

	list_for_each_safe (l, &programs->late) {
		struct running *r = list_entry(l, struct running, late_link);

		if (e == 0 && !program_is_live(r->program) && !program_is_asked_about(r->program))
			e = report_drop(r);
	}
	return e;
}

int
programs_store(struct programs *programs)
{
	int e = drop_ended(programs);
	struct change *ch;

	if (e < 0 || list_empty(&programs->late))
		return e;
	ch = change_begin(programs->sockets->model);
	list_for_each (l, &programs->late)
		if (!change_edit(ch, &list_entry(l, struct running, late_link)->program->entity))
			e = -ENOMEM;
	e = change_finish(ch, e);
	while (e == 0 && !list_empty(&programs->late))
		late_stored(list_entry(list_first(&programs->late), struct running, late_link));
	return e;
}

static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	struct programs *programs = data;
	int e = programs_store(programs);

	programs_check(programs, e);
	if (e < 0)
		loop_arm(programs->late_timer, START_USEC / 30);
	return 0;
}

int
late_init(struct programs *programs)
{
	return loop_add_timer(programs->sockets->event, on_time, programs, &programs->late_timer);
}

/* The next broker hears of them again. */
void
late_deinit(struct programs *programs)
{
	while (!list_empty(&programs->late))
		list_unlink(list_first(&programs->late));
	programs->late_timer = sd_event_source_disable_unref(programs->late_timer);
}
