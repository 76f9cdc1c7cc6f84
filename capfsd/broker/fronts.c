/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/broker/fronts.h"

#include "base/error.h"
#include "capfsd/fs/fs.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"
#include "capfsd/tree/metrics.h"

/* The model's hooks: told to both fronts. */
static void
on_changed(void *data, struct entity *e)
{
	struct fronts *f = data;

	ipc_changed(f->ipc, e);
	fs_changed(f->fs, e);
}

static void
on_used(void *data, struct entity *e)
{
	struct fronts *f = data;

	fs_used(f->fs, e);
}

static void
on_gone(void *data, struct entity *e)
{
	struct fronts *f = data;

	ipc_gone(f->ipc, e);
	fs_gone(f->fs, e);
}

static void
on_restricted(void *data, struct capability *c)
{
	struct fronts *f = data;

	ipc_restricted(f->ipc, c);
}

static bool
on_counted(void *data, const struct capability *c, uint64_t *ret_calls)
{
	struct fronts *f = data;

	return ipc_counted(f->ipc, c, ret_calls);
}

static void
on_logged(void *data, struct session *s)
{
	struct fronts *f = data;

	fs_logged(f->fs, s);
}

static const struct model_hooks model_hooks = {
	.changed = on_changed,
	.used = on_used,
	.gone = on_gone,
	.restricted = on_restricted,
	.counted = on_counted,
	.logged = on_logged,
};

/* What one front needs of the other. */
static bool
sockets_ready(void *data, struct entity *e)
{
	struct fronts *f = data;

	return ipc_socket_ready(f->ipc, e);
}

static void
sockets_want(void *data, struct entity *e)
{
	struct fronts *f = data;

	ipc_socket_want(f->ipc, e);
}

static void
sockets_forgotten(void *data, uint64_t entity_id)
{
	struct fronts *f = data;

	ipc_socket_forgotten(f->ipc, entity_id);
}

static int
sockets_vouch(void *data, struct entity *e, const char *challenge, size_t n)
{
	struct fronts *f = data;

	return ipc_vouch(f->ipc, e, challenge, n);
}

static const struct fs_sockets fs_sockets = {
	.ready = sockets_ready,
	.want = sockets_want,
	.forgotten = sockets_forgotten,
	.vouch = sockets_vouch,
};

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

static void
on_call_ready(void *data, uint64_t handle)
{
	struct fronts *f = data;

	fs_call_ready(f->fs, handle);
}

static const struct ipc_fs ipc_fs = {
	.socket_done = on_socket_done,
	.socket_invalidate = on_socket_invalidate,
	.call_ready = on_call_ready,
};

int
fronts_init(struct fronts *f, struct model *m, struct state *state, const struct boot *boot,
	sd_event *event, struct metrics *metrics)
{
	int r;

	r = fs_new(m, state, boot, &fs_sockets, f, &f->fs);
	if (r == 0)
		r = ipc_new(m, state, boot, event, &ipc_fs, f, &f->ipc);
	if (r < 0)
		return error_trace(r);
	fs_set_calls(f->fs, &ipc_calls, f->ipc);
	fs_set_metrics(f->fs, metrics);
	ipc_set_metrics(f->ipc, metrics);
	metrics->fuse_name = fs_opcode_name;
	metrics->control_name = ipc_control_name;
	metrics->connect_name = ipc_refusal_name;
	m->hooks = &model_hooks;
	m->hooks_data = f;
	return 0;
}
