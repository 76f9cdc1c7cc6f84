/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks is not looked at here: a connection may have been made by one process and handed down to another, and who
 * the thread is says the kernel on the pair that it gets.
 */
#include "config.h"

#include "capfsd/control/register.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/programs/programs.h"
#include "capfsd/verbs/verbs.h"
#include "wire/process.h"
#include "wire/wire.h"

static int
register_stage(struct operation *o)
{
	const struct word *name = &o->command.value[KEY_NAME];
	struct session *session = o->session;
	struct program_record record = {.flags = PROGRAM_REGISTERED, .phase = PHASE_STARTING};
	const struct quota cost = {{[QUOTA_SOCKETS] = REGISTERED_SOCKETS}};
	enum quota_kind kind;
	struct program *p;
	int e;

	if (session->record.state != SESSION_RUNNING)
		return refuse(o->request, ECONNREFUSED, "the session is being closed");
	if (command_has(&o->command, KEY_NAME) && (!name_is_valid(name->p, name->n) || name->n >= PROGRAM_TITLE_BYTES))
		return refuse(o->request, EINVAL, "a name is 1 to %d of A-Z, a-z, 0-9, '.', '_', '-'",
			PROGRAM_TITLE_BYTES - 1);
	if (command_has(&o->command, KEY_NAME))
		memcpy(record.title, name->p, name->n);
	if (!change_affords(o->change, session, &cost, &kind))
		return refuse_quota(o->request, session, kind);
	e = program_add(o->change, session, &record, &p);
	if (e > 0)
		return refuse_quota(o->request, session, QUOTA_THREADS);
	if (e == 0)
		e = registered_stage(o->state, o->change, p);
	if (e < 0)
		return e;
	o->request->made = &p->entity;
	text_addf(&o->request->text, "thread=%s", p->entity.name);
	operation_tell(o, session, " thread=%s uid=%u%s%s", p->entity.name, (unsigned)o->request->uid,
		record.title[0] ? " name=" : "", record.title);
	return 0;
}

static void
register_done(struct operation *o, bool committed)
{
	if (committed)
		registered_publish(o->state, program_of(o->request->made));
	else
		registered_free(o->state);
	o->state = NULL;
}

const struct verb verb_register = {
	VERB_ROW(REGISTER, register),
	.keys = KEY_BIT(KEY_NAME),
	.wordless = true,
	.stage = register_stage,
	.done = register_done,
};

int
perform_register(struct exchange *x)
{
	struct registered *registered;
	struct operation o;
	struct node at;
	int e;

	if (exchange_walk(x, x->asked->path, x->asked->n_path, &at))
		return 0;
	if (at.row->children != ENTITY_THREAD)
		return refuse(&x->request, EINVAL, "threads register in threads");
	e = registered_new(x->control->controls->programs, &registered, &x->fd);
	if (e == -EOPNOTSUPP)
		return refuse(&x->request, EOPNOTSUPP, "this kernel cannot say who a thread is: Linux 6.16 can");
	if (e < 0)
		return refuse(&x->request, -e, "the daemon has no descriptor left");
	o = exchange_operation(x, &verb_register, tree_session_of(at), &tree_session_of(at)->entity);
	o.state = registered;
	e = verb_run(&o);
	/* Refused before it was staged. */
	registered_free(o.state);
	if (x->request.error)
		x->fd = fd_close(x->fd);
	return e;
}
