/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Joins the model, the file system, the sockets, the control protocol and the conversations: who is
 * told what, and in which order. It owns these four and has no logic of its own; it is the only
 * file that knows all of them, so that the file system and the sockets need not know each other. Of
 * the words that entities have for those outside the model (entity.slots) the first is the file
 * system's, the second that of the sockets.
 */
#include "config.h"

#include "capfsd/broker/fronts.h"

#include "base/clock.h"
#include "base/error.h"
#include "capfsd/asking/asking.h"
#include "capfsd/broker/audit.h"
#include "capfsd/control/controls.h"
#include "capfsd/conversation/conversations.h"
#include "capfsd/fs/fs.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/programs/programs.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/tree/metrics.h"

/*
 * The model's hooks, called after a commit. The sockets first: what the file system has the kernel
 * ask again must show what they have made of it.
 */
static void
tell_changed(struct fronts *f, struct entity *e)
{
	sockets_changed(f->sockets, e);
	programs_changed(f->programs, e);
	askings_changed(f->askings, e);
	controls_changed(f->controls, e);
}

static void
on_changed(void *data, struct entity *e)
{
	struct fronts *f = data;

	tell_changed(f, e);
	fs_changed(f->fs, e);
}

static void
on_shown(void *data, struct entity *e)
{
	struct fronts *f = data;

	tell_changed(f, e);
	fs_shown(f->fs, e);
}

/*
 * Numbers change with every connection: only the texts that show them go out of date, and no
 * listener does.
 */
static void
on_used(void *data, struct entity *e)
{
	struct fronts *f = data;

	fs_used(f->fs, e);
}

/*
 * Connections first: what is a client's of them ends more gently than by a look at its capability.
 * The file system last, as the others may still have replies for those who wait in it.
 */
static void
on_gone(void *data, struct entity *e)
{
	struct fronts *f = data;

	sockets_gone(f->sockets, e);
	askings_gone(f->askings, e);
	controls_gone(f->controls, e);
	programs_gone(f->programs, e);
	conversations_gone(f->conversations, e);
	fs_gone(f->fs, e);
}

/*
 * Who has a connection that a new limit does not allow any more loses it now, and not at its next
 * use.
 */
static void
on_restricted(void *data, struct capability *c)
{
	struct fronts *f = data;

	sockets_restricted(f->sockets, c);
}

/* Asked when somebody reads it, as servers count in memory of theirs without telling anybody. */
static bool
on_counted(void *data, const struct capability *c, uint64_t *ret_calls)
{
	return counts_read(c, ret_calls);
}

static void
on_looked(void *data, struct capability *c, struct passage *p)
{
	struct fronts *f = data;

	connect_look(f->sockets, c, p);
}

static int
on_commanded(void *data, struct program *p, unsigned type, uint64_t value)
{
	return programs_commanded(p, type, value);
}

static void
on_well(void *data, struct program *p)
{
	programs_well(p);
}

static void
on_logged(void *data, struct session *s)
{
	struct fronts *f = data;

	fs_logged(f->fs, s);
}

static void
on_told(void *data, const struct event_told *told)
{
	const struct fronts *f = data;

	if (f->audit)
		audit_event(told);
}

/*
 * What sockets and files may store late rides on another change: it costs no transaction, and no disk,
 * of its own.
 */
static void
on_boarding(void *data, struct change *ch)
{
	struct fronts *f = data;

	memos_boarding(f->sockets, ch);
	fs_boarding(f->fs, ch);
}

static void
on_arrived(void *data, bool stored)
{
	struct fronts *f = data;

	memos_arrived(f->sockets, stored);
	fs_arrived(f->fs, stored);
}

static const struct model_hooks model_hooks = {
	.changed = on_changed,
	.shown = on_shown,
	.used = on_used,
	.gone = on_gone,
	.restricted = on_restricted,
	.counted = on_counted,
	.looked = on_looked,
	.commanded = on_commanded,
	.well = on_well,
	.logged = on_logged,
	.told = on_told,
	.boarding = on_boarding,
	.arrived = on_arrived,
};

/*
 * What the file system needs of the others: a look-up of a socket waits until there is a listener
 * behind it.
 */
static bool
on_ready(void *data, struct entity *e)
{
	struct fronts *f = data;

	return binding_is_ready(f->sockets, e);
}

static void
on_want(void *data, struct entity *e)
{
	struct fronts *f = data;

	binding_want(f->sockets, e);
}

/*
 * The kernel has forgotten the node, and with it the inode that the listener is bound to: another
 * look-up would find one that nobody can connect to.
 */
static void
on_forgotten(void *data, uint64_t entity_id)
{
	struct fronts *f = data;

	binding_forgotten(f->sockets, entity_id);
}

/* Whoever could write this through the tree may use the slot: the kernel has checked its mode. */
static int
on_vouch(void *data, struct entity *e, const char *challenge, size_t n)
{
	struct fronts *f = data;

	return controls_vouch(f->controls, e, challenge, n);
}

static const struct fs_sockets fs_sockets = {
	.ready = on_ready,
	.want = on_want,
	.forgotten = on_forgotten,
	.vouch = on_vouch,
};

/* What the others need of the file system: whoever waits for a listener gets it, or the error. */
static void
on_socket_done(void *data, struct entity *e, int error)
{
	struct fronts *f = data;

	fs_socket_done(f->fs, e, error);
}

static void
on_socket_invalidate(void *data, struct entity *e)
{
	struct fronts *f = data;

	fs_socket_invalidate(f->fs, e);
}

static bool
on_socket_is_known(void *data, struct entity *e)
{
	struct fronts *f = data;

	return fs_socket_is_known(f->fs, e);
}

static const struct sockets_fs sockets_fs = {
	.socket_done = on_socket_done,
	.socket_invalidate = on_socket_invalidate,
	.socket_is_known = on_socket_is_known,
};

/* By handle and no pointer, since the reader may have closed the file meanwhile. */
static void
on_call_ready(void *data, uint64_t handle)
{
	struct fronts *f = data;

	fs_call_ready(f->fs, handle);
}

/* Who waits for a program, or for an answer, is a client of the control protocol. */
static void
on_waiter(void *data, struct list *waiter, bool first)
{
	struct fronts *f = data;

	controls_resume(f->controls, waiter, first);
}

static void
on_end(void *data, struct list *waiter, uint64_t connection)
{
	struct fronts *f = data;

	controls_end(f->controls, waiter, connection);
}

static void
on_want_spawner(void *data)
{
	struct fronts *f = data;

	f->want_spawner(f->keeper);
}

static void
on_failed(void *data, int error)
{
	struct fronts *f = data;

	core_fail(f->sockets, error);
}

static const struct askings_ops askings_ops = {
	.ready = on_call_ready,
	.resume = on_waiter,
	.fail = on_failed,
};

static const struct programs_ops programs_ops = {
	.resume = on_waiter,
	.end = on_end,
	.want_spawner = on_want_spawner,
};

/*
 * Each of them is given those that are there already; the file system, which comes first, gets its
 * callers for calls and metrics later. The hooks are set last, when there is somebody behind each.
 * What is made stays where it is when another fails: the process ends then.
 */
int
fronts_init(struct fronts *f, struct model *m, struct state *state, const struct boot *boot,
	sd_event *event, struct metrics *metrics)
{
	int r;

	turns_init(&f->turns, clock_turns_nsec);
	r = fs_new(m, state, boot, &f->turns, &fs_sockets, f, &f->fs);
	if (r == 0)
		r = sockets_new(m, state, boot, event, &f->turns, &sockets_fs, f, &f->sockets);
	if (r == 0)
		r = programs_new(f->sockets, &f->programs);
	if (r == 0)
		r = askings_new(m, boot, event, &f->askings);
	if (r == 0)
		r = controls_new(f->sockets, f->programs, f->askings, metrics, &f->controls);
	if (r == 0)
		r = conversations_new(f->sockets, on_call_ready, f, &f->conversations);
	if (r < 0)
		return error_trace(r);
	fs_set_calls(f->fs, &conversation_calls, f->conversations);
	fs_set_asks(f->fs, &asking_calls, f->askings);
	askings_set_ops(f->askings, &askings_ops, f);
	fs_set_metrics(f->fs, metrics);
	metrics->fuse_name = fs_opcode_name;
	metrics->control_name = controls_operation_name;
	metrics->connect_name = connect_refusal_name;
	programs_set_ops(f->programs, &programs_ops, f);
	f->audit = boot->audit;
	m->hooks = &model_hooks;
	m->hooks_data = f;
	return 0;
}

/*
 * Conversations first, as they run over sockets; the service manager's listener last, as it is none
 * of those.
 */
void
fronts_stop(struct fronts *f)
{
	conversations_stop(f->conversations);
	programs_stop(f->programs);
	sockets_stop(f->sockets);
	controls_stop(f->controls);
}

void
fronts_reaped(struct fronts *f)
{
	fs_reaped(f->fs);
	sockets_reaped(f->sockets);
}
