/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control request that waits: for the end of a program, the answer to a visit, or what a session is to decide. It
 * stays in the queue and is performed again whenever something has become of that.
 */
#include "config.h"

#include "capfsd/control/wait.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "capfsd/control/asks.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/programs.h"
#include "wire/wire.h"

void
wait_resume(struct controls *controls, struct list *waiter, bool first)
{
	control_resume(container_of(waiter, struct control, parked_link), first);
}

void
wait_end(struct list *waiter, uint64_t connection)
{
	struct control *c = container_of(waiter, struct control, parked_link);

	if (c->memo->record.cookie == connection)
		control_look(c);
}

void
wait_forget(struct control *c)
{
	list_unlink(&c->parked_link);
	list_unlink(&c->timed_link);
}

/* Performed again when something has become of P. */
int
wait_park(struct exchange *x, struct program *p)
{
	wait_forget(x->control);
	x->parked = programs_wait(p, &x->control->parked_link);
	return x->parked ? 0 : refuse(&x->request, ENOMEM, "the daemon is out of memory");
}

/* All whose time is over are performed once more, and see that. */
static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	struct controls *controls = data;
	uint64_t now = loop_now(controls->sockets->event);

	list_for_each_safe (i, &controls->timed) {
		struct control *c = list_entry(i, struct control, timed_link);

		if (c->wait_until_usec <= now)
			control_resume(c, false);
		else
			loop_arm(controls->wait_timer, c->wait_until_usec - now);
	}
	return 0;
}

int
wait_init(struct controls *controls)
{
	list_init(&controls->timed);
	return loop_add_timer(controls->sockets->event, on_time, controls, &controls->wait_timer);
}

void
wait_deinit(struct controls *controls)
{
	controls->wait_timer = sd_event_source_disable_unref(controls->wait_timer);
}

/* Who asked for the program, and asked to be told of its end, has been told by this. */
static int
wait_stage(struct operation *o)
{
	struct exchange *x = o->front;
	struct program *p = program_of(o->subject);
	const struct program_record *end = programs_end(p);
	int e;

	text_addf(&o->request->text, "thread=%s ", p->entity.name);
	text_program(end ? end : &p->record, " ", &o->request->text);
	o->unchanged = p->record.connection != x->control->memo->record.cookie;
	if (o->unchanged)
		return 0;
	e = end ? programs_stage_end(o->change, p) : 0;
	if (e < 0)
		return e;
	o->state = programs_is_awaited(p) ? p : NULL;
	return o->state ? programs_stage_told(o->change, p) : program_drop(o->change, p);
}

static void
wait_done(struct operation *o, bool committed)
{
	if (committed && o->state)
		programs_told(o->state);
}

static const struct verb verb_wait = {
	.name = "wait",
	.quiet = true,
	.wordless = true,
	.stage = wait_stage,
	.done = wait_done,
};

bool
wait_is_late(struct exchange *x)
{
	struct control *c = x->control;
	uint64_t now = loop_now(c->controls->sockets->event), timeout = x->asked->offset;

	if (c->wait_serial != x->asked->serial) {
		c->wait_serial = x->asked->serial;
		c->wait_until_usec = timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
	}
	return now >= c->wait_until_usec;
}

/* The kernel counts all packets of the queue, of which the first is the one that is performed. */
static bool
is_followed(const struct exchange *x)
{
	int n = 0;

	return ioctl(x->control->fd, FIONREAD, &n) == 0 && (size_t)n > x->n_asked;
}

bool
wait_gives_way(struct exchange *x)
{
	x->gives_way = true;
	if (!is_followed(x))
		return false;
	refuse(&x->request, EAGAIN, "there is another request");
	return true;
}

void
wait_arm(struct control *c)
{
	if (c->wait_until_usec == UINT64_MAX)
		return;
	list_append(&c->controls->timed, &c->timed_link);
	loop_arm(c->controls->wait_timer, c->wait_until_usec - loop_now(c->controls->sockets->event));
}

static bool
take_yields(struct exchange *x, bool *ret)
{
	size_t n = strlen(WIRE_WAIT_YIELDS);

	*ret = x->asked->n_text == n && memcmp(x->asked->text, WIRE_WAIT_YIELDS, n) == 0;
	return *ret || x->asked->n_text == 0 ||
		refuse(&x->request, EINVAL, "a wait says '" WIRE_WAIT_YIELDS "', or nothing");
}

/* Performed again when the visit is answered, or gone: then there is no such slot. */
static int
wait_for_visit(struct exchange *x, const struct capability *slot)
{
	struct visit *v = slot->visit;

	if (!v)
		return refuse(&x->request, EINVAL, "only the slot of a visit is waited for");
	if (!v->record.asks) {
		text_addf(&x->request.text, "answer=%s", v->record.answer == VISIT_REFUSED ? "refused" : "accepted");
		return 0;
	}
	if (wait_is_late(x))
		return refuse(&x->request, ETIMEDOUT, "its server has not answered");
	wait_forget(x->control);
	list_append(&v->waiting, &x->control->parked_link);
	x->parked = true;
	wait_arm(x->control);
	return 0;
}

void
wait_visit_answered(struct visit *v)
{
	while (!list_empty(&v->waiting)) {
		struct list *waiter = list_first(&v->waiting);

		list_unlink(waiter);
		control_resume(container_of(waiter, struct control, parked_link), false);
	}
}

/* What has been said already of the end comes before what stands behind this. */
static int
wait_for_program(struct exchange *x, struct node node)
{
	struct program *p = program_of(node.entity);
	struct operation o;
	bool yields;
	int e;

	if (p->record.flags & PROGRAM_REGISTERED)
		return refuse(&x->request, EOPNOTSUPP, "it was not started by the daemon: its end is an event");
	if (!take_yields(x, &yields))
		return 0;
	if (!program_is_live(p) || programs_end(p)) {
		o = exchange_operation(x, &verb_wait, tree_session_of(node), node.entity);
		return verb_run(&o);
	}
	if (yields && wait_gives_way(x))
		return 0;
	if (wait_is_late(x))
		return refuse(&x->request, ETIMEDOUT, "it has not ended");
	e = wait_park(x, p);
	wait_arm(x->control);
	return e;
}

int
perform_wait(struct exchange *x)
{
	struct node node;

	if (exchange_walk(x, x->asked->path, x->asked->n_path, &node))
		return 0;
	if (node.entity->kind == ENTITY_SESSION && !node.row->name)
		return perform_wait_to_decide(x, session_of(node.entity));
	if (node.entity->kind == ENTITY_CAPABILITY && !node.row->name)
		return wait_for_visit(x, capability_of(node.entity));
	if (node.entity->kind != ENTITY_PROGRAM || node.row->name)
		return refuse(&x->request, EINVAL, "only a program is waited for, at threads/ID, a visit, at caps/SLOT, or what a session is to decide");
	return wait_for_program(x, node);
}
