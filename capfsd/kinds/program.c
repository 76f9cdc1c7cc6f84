/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs. The model keeps what is known of each, and lets none go by itself: a session that is being closed
 * stays until its last program has ended, which the kernel alone can tell.
 */
#include "config.h"

#include "capfsd/kinds/program.h"

#include <errno.h>
#include <string.h>

#include "capfsd/kinds/anchor.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/labels.h"
#include "capfsd/kinds/thread.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "wire/process.h"

_Static_assert(sizeof(struct program_record) == 160, "stored");

static void
program_init(struct model *m, struct entity *e)
{
	list_init(&program_of(e)->labels);
	list_init(&program_of(e)->anchors);
}

static struct place
program_place(const struct entity *e)
{
	struct session *s = program_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_PROGRAM], s};
}

static struct session *
program_session(const struct entity *e)
{
	return program_of(e)->session;
}

/* A daemon that knew of no programs may have closed the session. */
static int
program_resolve(struct model *m, struct entity *e)
{
	struct program *p = program_of(e);
	char name[THREAD_NAME_BYTES_MAX];

	if (p->record.session >= e->id)
		return -EBADMSG;
	p->session = session_find_id(m, p->record.session);
	if (!p->session)
		return entity_find(m, p->record.session) ? -EBADMSG : -ENOENT;
	if (p->record.number > p->session->record.threads_made || p->record.phase < PHASE_STARTING ||
		p->record.phase > PHASE_WAITING || p->record.step >= STEP_N || p->record.restart >= RESTART_N ||
		p->record.title[PROGRAM_TITLE_BYTES - 1])
		return -EBADMSG;
	thread_format(p->record.session, p->record.number, name);
	return strcmp(name, e->name) == 0 ? 0 : -EBADMSG;
}

static void
program_check(struct model *m, struct entity *e)
{
	const struct program *p = program_of(e);

	model_holds(M04, p->record.session == p->session->entity.id && p->record.session < e->id);
	model_holds(M43, p->record.number <= p->session->record.threads_made);
}

struct entrypoint *
program_entrypoint(const struct program *p)
{
	struct entity *e = p->record.entrypoint ? entity_find(p->session->model, p->record.entrypoint) : NULL;

	if (!e || e->kind != ENTITY_ENTRYPOINT || entrypoint_of(e)->session != p->session ||
		entrypoint_of(e)->record.flags & ENTRYPOINT_DEAD)
		return NULL;
	return entrypoint_of(e);
}

static void
program_link(struct model *m, struct entity *e)
{
	struct entrypoint *ep = program_entrypoint(program_of(e));

	if (ep)
		ep->command = program_of(e);
}

static void
program_unlink(struct model *m, struct entity *e)
{
	struct entity *ep = entity_find(m, program_of(e)->record.entrypoint);

	if (ep && ep->kind == ENTITY_ENTRYPOINT && entrypoint_of(ep)->command == program_of(e))
		entrypoint_of(ep)->command = NULL;
}

/* With its session it is only waited for: nobody but the kernel can say that it is over. */
static int
program_reap(struct reaper *r, struct entity *e)
{
	return 0;
}

static void
program_gone(struct entity *e)
{
	anchors_lost(program_of(e));
	session_settle(program_of(e)->session);
}

const struct kind program_kind = {
	.size = sizeof(struct program),
	.record_offset = offsetof(struct program, record),
	.record_bytes = sizeof(struct program_record),
	.cost = {{[QUOTA_THREADS] = 1}},
	.later = true,
	.init = program_init,
	.place = program_place,
	.session = program_session,
	.resolve = program_resolve,
	.link = program_link,
	.unlink = program_unlink,
	.gone = program_gone,
	.reap = program_reap,
	.check = program_check,
};

bool
program_is_live(const struct program *p)
{
	return p->record.phase <= PHASE_RUNNING || p->record.phase == PHASE_WAITING;
}

bool
program_is_given_up(const struct program *p)
{
	return p->record.phase == PHASE_WAITING &&
		(p->record.restart == RESTART_NO || (p->record.entrypoint && !program_entrypoint(p)));
}

bool
program_is_asked_about(const struct program *p)
{
	uint8_t flags = p->record.flags;

	if (!p->record.connection || p->session->record.state != SESSION_RUNNING)
		return false;
	/* Until it speaks to the program the answer to its request is due; after that the end is, if it asked for that. */
	return (p->record.phase == PHASE_FAILED && !(flags & PROGRAM_LAUNCHED)) || flags & PROGRAM_KEEP;
}

int
program_add(struct change *ch, struct session *s, const struct program_record *record, struct program **ret)
{
	struct session_record *session = change_edit(ch, &s->entity);
	char name[THREAD_NAME_BYTES_MAX];
	enum quota_kind kind;
	struct entity *e;
	size_t n;
	int r;

	if (!session)
		return -ENOMEM;
	if (!change_affords(ch, s, &program_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	n = thread_format(s->entity.id, session->threads_made + 1, name);
	e = entity_new(change_model(ch), ENTITY_PROGRAM, name, n);
	if (!e)
		return -ENOMEM;
	*ret = program_of(e);
	(*ret)->session = s;
	(*ret)->record = *record;
	(*ret)->record.session = s->entity.id;
	(*ret)->record.number = ++session->threads_made;
	r = change_add(ch, e);
	return r;
}

int
program_drop(struct change *ch, struct program *p)
{
	int r = labels_drop(ch, p);

	return r < 0 ? r : change_drop(ch, &p->entity);
}
