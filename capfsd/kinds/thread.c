/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads. Their names are S.N: the id of their session, and a number that counts up in it, so that
 * a name in a log means one process for ever.
 *
 * A thread comes and goes only together with the entrypoint's reference to it (entrypoint.c stages
 * both), so there is never one that serves nothing. Nothing is done to its process.
 */
#include "config.h"

#include "capfsd/kinds/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/kinds/entrypoint.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct thread_record) == 24, "stored");

static struct place
thread_place(const struct entity *e)
{
	struct session *s = thread_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_THREAD], s};
}

size_t
thread_format(uint64_t session, uint64_t number, char buffer[THREAD_NAME_BYTES_MAX])
{
	return (size_t)snprintf(buffer, THREAD_NAME_BYTES_MAX, "%" PRIu64 ".%" PRIu64, session,
		number);
}

/* A number above what its session has given would be given once more. */
static int
thread_resolve(struct model *m, struct entity *e)
{
	struct thread *t = thread_of(e);
	char name[THREAD_NAME_BYTES_MAX];

	t->session = session_find_id(m, t->record.session);
	if (!t->session || t->record.number > t->session->record.threads_made)
		return -EBADMSG;
	thread_format(t->record.session, t->record.number, name);
	return strcmp(name, e->name) == 0 ? 0 : -EBADMSG;
}

/* Whichever of the two is unlinked first, the other must not point to what is freed. */
static void
thread_unlink(struct model *m, struct entity *e)
{
	struct thread *t = thread_of(e);

	if (t->serves)
		t->serves->thread = NULL;
	t->serves = NULL;
}

/*
 * Every one serves: a thread goes when its entrypoint loses it, so one without would never end, and
 * its session could never be closed.
 */
static int
thread_finish(struct model *m, struct entity *e)
{
	return thread_of(e)->serves ? 0 : -EBADMSG;
}

static void
thread_check(struct model *m, struct entity *e)
{
	const struct thread *t = thread_of(e);

	model_holds(M42, t->serves && t->serves->thread == t);
	model_holds(M43, t->record.number <= t->session->record.threads_made);
}

static unsigned
thread_applied(struct model *m, struct entity *e, const void *old)
{
	const struct thread_record *before = old;

	return thread_of(e)->record.error != before->error ? APPLIED_BELOW : 0;
}

/* It is shown by what it serves, and by all that leads there. */
static void
thread_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	struct entrypoint *served = thread_of(e)->serves;

	if (!served)
		return;
	touch(m, &served->entity, stamp);
	entity_touch_below(m, &served->entity, touch, stamp);
}

static struct session *
thread_session(const struct entity *e)
{
	return thread_of(e)->session;
}

const struct kind thread_kind = {
	.size = sizeof(struct thread),
	.record_offset = offsetof(struct thread, record),
	.record_bytes = sizeof(struct thread_record),
	.cost = {{[QUOTA_THREADS] = 1}},
	.place = thread_place,
	.session = thread_session,
	.resolve = thread_resolve,
	.finish = thread_finish,
	.unlink = thread_unlink,
	.applied = thread_applied,
	.touch_below = thread_touch_below,
	.check = thread_check,
};

/*
 * The count is a part of the session's record and staged with the thread, so that no number comes
 * again after a restart, even when the thread is long gone.
 */
int
thread_add(struct change *ch, struct session *s, pid_t pid, uint64_t *ret_id)
{
	struct session_record *record = change_edit(ch, &s->entity);
	char name[THREAD_NAME_BYTES_MAX];
	struct thread *t;
	struct entity *e;
	size_t n;
	int r;

	if (!record)
		return -ENOMEM;
	n = thread_format(s->entity.id, record->threads_made + 1, name);
	e = entity_new(change_model(ch), ENTITY_THREAD, name, n);
	if (!e)
		return -ENOMEM;
	t = thread_of(e);
	t->session = s;
	t->record = (struct thread_record){
		.session = s->entity.id,
		.number = ++record->threads_made,
		.pid = (uint32_t)pid,
	};
	r = change_add(ch, e);
	if (r == 0)
		*ret_id = e->id;
	return r;
}

int
thread_set_error(struct change *ch, struct thread *t, uint32_t error)
{
	struct thread_record *record = change_edit(ch, &t->entity);

	if (!record)
		return -ENOMEM;
	record->error = error;
	return 0;
}
