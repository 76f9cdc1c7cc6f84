/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What operations share: paths, and how they end. It belongs to the one client and the one request,
 * and nothing of it outlives the reply. The operations call it; it changes nothing.
 *
 * Paths are a client's text and are shown in messages and in events, so what is shown of them is
 * cut.
 */
#include "config.h"

#include "capfsd/control/exchange.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "capfsd/control/control.h"
#include "capfsd/control/delegated.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "wire/wire.h"

#define SHOWN_BYTES_MAX 256 /* of a path: what else stands in a line must have its place */

static int
shown(size_t n)
{
	return (int)(n < SHOWN_BYTES_MAX ? n : SHOWN_BYTES_MAX);
}

void
exchange_deinit(struct exchange *x)
{
	request_deinit(&x->request);
	/* The client's end of what it got: shut down it would be of no use to it. */
	if (x->fd >= 0)
		close(x->fd);
	x->fd = -1;
}

struct capability *
exchange_through(struct exchange *x, const char **path, size_t *n)
{
	const char *name = *path + 1, *end = *path + *n, *slash = memchr(name, '/', *n - 1);
	struct capability *c = find_session_slot(&x->request, x->control->session, name,
		(size_t)((slash ? slash : end) - name));

	*path = slash ? slash + 1 : end;
	*n = (size_t)(end - *path);
	if (!c || (capability_rights(c) & RIGHT_SPAWN))
		return c;
	refuse_right(&x->request, c, RIGHT_SPAWN);
	return NULL;
}

/*
 * "@SLOT/threads/ID": of what is elsewhere only the programs that this very connection has started there, as long as
 * it could start others.
 */
static int
walk_started(struct exchange *x, const char *path, size_t n, struct node *ret)
{
	const char *rest = path;
	size_t n_rest = n;
	const struct capability *c = exchange_through(x, &rest, &n_rest);
	int e = x->request.error;

	if (!c)
		return e;
	e = tree_walk(x->request.model, tree_session(anchor_of(c->target)->session), rest, n_rest, ret);
	if (e || ret->entity->kind != ENTITY_PROGRAM ||
		program_of(ret->entity)->record.connection != x->control->memo->record.cookie) {
		e = ENOENT;
		refuse(&x->request, e, "nothing that was started from here is '%.*s'", shown(n), path);
	}
	return e;
}

/*
 * From the root of the connection downwards: what is above it has no name that a client could
 * give.
 */
int
exchange_walk(struct exchange *x, const char *path, size_t n, struct node *ret)
{
	int e;

	if (n > 0 && path[0] == '@' && !delegated_subject(x->control))
		return walk_started(x, path, n, ret);
	e = tree_walk(x->request.model, control_root(x->control), path, n, ret);
	if (e)
		refuse(&x->request, e, "there is no '%.*s'", shown(n), path);
	return e;
}

/*
 * The parent must be there and the name need not: what asks for this makes or removes. Without a
 * slash it is a part of the session itself, which nobody makes or removes.
 */
int
exchange_split(struct exchange *x, struct node *ret_at, struct word *ret_name)
{
	const char *path = x->asked->path;
	size_t n = x->asked->n_path, n_at;
	const char *slash;

	while (n > 0 && path[n - 1] == '/')
		n--;
	slash = n > 0 ? memrchr(path, '/', n) : NULL;
	if (!slash) {
		refuse(&x->request, n > 0 ? EPERM : EBUSY, "that is part of the session");
		return x->request.error;
	}
	n_at = (size_t)(slash - path);
	*ret_name = (struct word){slash + 1, n - n_at - 1};
	return exchange_walk(x, path, n_at, ret_at);
}

static void
write_path(const struct operation *o, struct text *t)
{
	const struct wire_request *asked = ((const struct exchange *)o->front)->asked;

	text_where(asked->path, asked->n_path, t);
}

struct operation
exchange_operation(struct exchange *x, const struct verb *verb, struct session *s,
	struct entity *subject)
{
	return (struct operation){
		.request = &x->request,
		.verb = verb,
		.subject = subject,
		.session = s,
		.text = {x->asked->text, x->asked->n_text},
		.where = write_path,
		.front = x,
	};
}
