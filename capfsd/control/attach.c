/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two control requests that give a descriptor: a channel to serve an entrypoint, and a
 * connected socket. Both make a pair, keep one end, and commit what that is together with the
 * reply, in which the other end's cookie stands: a successor finds both ends among its
 * descriptors.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/ops/grammar.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/* A path is as long as somebody chose, and what follows must have its place in the line. */
static void
write_path(const struct operation *o, struct text *t)
{
	const struct wire_request *asked = ((const struct answer *)o->front)->asked;

	text_addf(t, "%.*s", (int)(asked->n_path < 256 ? asked->n_path : 256), asked->path);
}

static int
perform_finish(struct answer *a, struct session *s, const struct verb *verb, int result)
{
	struct operation o = {
		.request = &a->request,
		.verb = verb,
		.session = s,
		.where = write_path,
		.front = a,
	};

	return verb_finish(&o, result);
}

const struct verb verb_attach = {
	VERB_ROW(ATTACH, attach),
	.keys = KEY_BIT(KEY_ONCE) | KEY_BIT(KEY_MODE) | KEY_BIT(KEY_HOLD),
	.wordless = true,
};

const struct verb verb_open = {VERB_ROW(OPEN, open)};

/* Everything of the channel that can fail, but the entrypoint, which is only staged. */
static int
attach_prepare(struct ipc *ipc, struct session *s, int fds[2], struct channel **ret)
{
	struct memo *memo;
	uint64_t cookie;
	int r;

	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return r;
	r = fd_socket_cookie(fds[0], &cookie);
	if (r < 0)
		return r;
	memo = memo_new(SOCKET_CHANNEL, cookie, 0);
	if (!memo)
		return -ENOMEM;
	memo->record.serial = 1;
	r = channel_new(ipc, fds[0], memo, ret);
	if (r < 0) {
		memo_drop(ipc, memo);
		return r;
	}
	fds[0] = -1;
	return charge_init(&(*ret)->charge, s, QUOTA_SOCKETS, 1) ? -EDQUOT : 0;
}

CLEANUP_DEFINE(struct channel *, channel_free)

struct attach_how {
	uint32_t flags; /* enum entrypoint_flags */
	uint64_t hold;
};

/* "once", "mode=listen", "hold=N". Returns: whether that was understood. */
static bool
attach_how(struct answer *a, struct attach_how *ret)
{
	struct command c = {};
	uint32_t flags = 0;
	uint64_t hold = 0;

	if (a->asked->n_text > 0 &&
		!command_parse(&a->request, a->asked->text, a->asked->n_text, verb_attach.keys, &c))
		return false;
	if (command_has(&c, KEY_ONCE))
		flags |= ENTRYPOINT_ONCE;
	if (command_is(&c, KEY_MODE, "listen"))
		flags |= ENTRYPOINT_LISTEN;
	else if (command_has(&c, KEY_MODE) && !command_is(&c, KEY_MODE, "broker"))
		return refuse(&a->request, EINVAL, "mode is broker or listen");
	if (command_has(&c, KEY_HOLD) && !command_number(&a->request, &c, KEY_HOLD, &hold))
		return false;
	if (hold > ENTRYPOINT_HOLD_MAX)
		return refuse(&a->request, EINVAL, "at most %d callers wait", ENTRYPOINT_HOLD_MAX);
	if (hold && flags)
		return refuse(&a->request, EINVAL,
			"'hold' is for an entrypoint that stays, and not for mode=listen");
	*ret = (struct attach_how){flags, hold};
	return true;
}

/* Commits the attachment with CHANNEL, whose other end goes with the reply. */
static int
attach_commit(struct answer *a, struct session *s, const char *name, size_t n,
	const struct attach_how *how, struct channel *prepared)
{
	cleanup(channel_free_p) struct channel *channel = prepared;
	struct ipc *ipc = channel->ipc;
	struct request *r = &a->request;
	struct change *ch = change_begin(ipc->model);
	const struct entrypoint_record *record;
	struct entrypoint *e;
	int answer;

	answer = entrypoint_attach(ch, s, name, n, how->flags, r->pid, &e);
	if (answer == 0 && how->hold)
		answer = entrypoint_hold(ch, e, (uint16_t)how->hold);
	if (answer < 0)
		return request_fail(r, ch, answer);
	if (answer > 0) {
		change_abort(ch);
		return refuse_entrypoint(r, answer, &(struct about){.session = s});
	}
	record = change_record(ch, &e->entity);
	channel_begin(channel, e);
	channel->memo->record.owner = e->entity.id;
	channel->memo->record.value = record->thread;
	answer = memo_stage(channel->memo, ch, NULL, 0);
	if (answer < 0)
		return request_fail(r, ch, answer);
	text_addf(&r->text, "entrypoint=%.*s", (int)n, name);
	memos_stage(ipc, ch);
	answer = request_commit(r, ch);
	memos_settle(ipc, answer == 0 && !r->error);
	if (answer < 0 || r->error)
		return answer;
	channel_publish(take_ptr(channel), e);
	event_log(ipc->model, s, "attach entrypoints/%.*s uid=%u", (int)n, name, (unsigned)r->uid);
	return 0;
}

static int
attach(struct answer *a, struct session *s, const char *name, size_t n)
{
	struct ipc *ipc = a->control->ipc;
	cleanup_close int ours = -1;
	struct channel *channel = NULL;
	struct entity *found;
	int fds[2] = {-1, -1};
	struct attach_how how = {};
	int r;

	if (!attach_how(a, &how))
		return 0;
	/* One whose server went a moment ago need not wait for the loop to hear of it. */
	found = entity_find_name(ipc->model, s->entity.id, ENTITY_ENTRYPOINT, name, n);
	if (found && container_of(found, struct entrypoint, entity)->channel)
		channel_look(container_of(found, struct entrypoint, entity)->channel);
	r = attach_prepare(ipc, s, fds, &channel);
	ours = fds[0];
	a->fd = fds[1];
	if (r < 0) {
		channel_free(channel);
		return refuse_system(
			&a->request, r, &(struct about){.session = s, .kind = QUOTA_SOCKETS});
	}
	return attach_commit(a, s, name, n, &how, channel);
}

int
perform_attach(struct answer *a)
{
	struct session *s;
	const char *name;
	struct node at;
	size_t n;
	int r;

	if (perform_split(a, &at, &name, &n))
		return 0;
	if (at.row->children != ENTITY_ENTRYPOINT)
		return refuse(&a->request, EPERM, "only entrypoints/NAME is served");
	s = tree_session_of(at);
	r = attach(a, s, name, n);
	if (a->request.error)
		a->fd = fd_close(a->fd);
	return perform_finish(a, s, &verb_attach, r);
}

static int
refuse_open(struct answer *a, const struct capability *c, int answer)
{
	cleanup_text struct text reason = {};
	int error = connection_refusal(c, answer, &reason);

	return refuse(&a->request, error, "%s", reason.data ? reason.data : "");
}

/* Treats FD, the end that is the server's, as accepted through C. Takes FD. */
static int
open_commit(struct answer *a, struct capability *c, int fd)
{
	struct ipc *ipc = a->control->ipc;
	struct request *r = &a->request;
	struct change *ch = change_begin(ipc->model);
	struct connection *conn;
	uint64_t cookie;
	int answer;

	answer = fd_socket_cookie(a->fd, &cookie);
	if (answer == 0)
		answer = connection_stage(ipc, ch, c, fd, &a->control->peer, cookie, &conn);
	if (answer) {
		fd_close(fd);
		if (answer < 0)
			return request_fail(r, ch, answer);
		change_abort(ch);
		counters_add(ipc->model->counters->connects_refused, answer);
		return refuse_open(a, c, answer);
	}
	memos_stage(ipc, ch);
	answer = request_commit(r, ch);
	memos_settle(ipc, answer == 0 && !r->error);
	if (answer < 0 || r->error)
		connection_free(conn);
	else
		connection_publish(conn);
	return answer;
}

int
perform_open(struct answer *a)
{
	struct capability *c;
	struct node node;
	int fds[2];
	int r;

	r = tree_walk(a->request.model, tree_session(a->control->session), a->asked->path,
		a->asked->n_path, &node);
	if (r)
		return refuse(&a->request, r, "there is no such slot");
	if (node.entity->kind == ENTITY_OBJECT)
		return refuse(&a->request, EOPNOTSUPP,
			"its server accepts by itself: connect to its socket");
	if (node.entity->kind != ENTITY_CAPABILITY ||
		(node.row->name && node.row->type != ROW_SOCKET))
		return refuse(&a->request, EINVAL, "only caps/SLOT is opened");
	c = container_of(node.entity, struct capability, entity);
	if (entrypoint_listens(capability_entrypoint(c)))
		return refuse(&a->request, EOPNOTSUPP,
			"its server accepts by itself: connect to its socket");
	r = fd_socketpair(
		capability_object(c)->record.socket == OBJECT_STREAM ? SOCK_STREAM : SOCK_SEQPACKET, fds);
	if (r < 0)
		return refuse(&a->request, -r, "the daemon has no descriptor left");
	a->fd = fds[1];
	r = open_commit(a, c, fds[0]);
	if (a->request.error)
		a->fd = fd_close(a->fd);
	return perform_finish(a, c->session, &verb_open, r);
}
