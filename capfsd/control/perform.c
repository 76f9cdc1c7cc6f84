/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a control request does: one function for each operation, in a table. They resolve the path
 * from the session of the connection and call tree/tree.h; the answer is sent by control.c.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

#define NAME_ROOM (NAME_BYTES_MAX + 1)

static int
perform_walk(struct answer *a, const char *path, size_t n, struct node *ret)
{
	struct node at = tree_session(a->control->session);
	int e = tree_walk(a->request.model, at, path, n, ret);

	if (e)
		refuse(&a->request, e, "there is no '%.*s'", (int)(n < 256 ? n : 256), path);
	return e;
}

int
perform_split(struct answer *a, struct node *ret_at, const char **ret_name, size_t *ret_n)
{
	const char *path = a->asked->path;
	size_t n = a->asked->n_path, n_at;
	const char *slash;

	while (n > 0 && path[n - 1] == '/')
		n--;
	slash = n > 0 ? memrchr(path, '/', n) : NULL;
	if (!slash) {
		refuse(&a->request, n > 0 ? EPERM : EBUSY, "that is part of the session");
		return a->request.error;
	}
	n_at = (size_t)(slash - path);
	*ret_name = slash + 1;
	*ret_n = n - n_at - 1;
	return perform_walk(a, path, n_at, ret_at);
}

static int
perform_read_log(struct answer *a, struct node node)
{
	const struct session *s = tree_session_of(node);
	uint64_t offset = a->asked->offset, start = events_start(s), end = events_end(s);
	struct text *t = &a->request.text;
	char buffer[4096];

	error_trace(events_store(a->request.model));
	if (offset < start)
		offset = start;
	while (offset < end && t->n + sizeof(buffer) <= WIRE_TEXT_MAX) {
		size_t n = events_read(s, offset, buffer, sizeof(buffer));

		if (n == 0)
			break;
		text_add_n(t, buffer, n);
		offset += n;
	}
	if (text_done(t) < 0)
		return refuse(&a->request, ENOMEM, "the daemon is out of memory");
	a->value = offset;
	a->flags = offset < end ? WIRE_MORE : 0;
	return 0;
}

static void
snapshot_drop(struct control *c)
{
	text_deinit(&c->snapshot);
	c->snapshot = (struct text){};
	charge_deinit(&c->snapshot_ram);
	c->snapshot_node = 0;
}

/* Keeps T, which is too long for one reply. Takes its content. */
static int
snapshot_keep(struct answer *a, struct node node, struct text *t)
{
	struct control *c = a->control;

	if (t->n > UINT32_MAX ||
		charge_init(&c->snapshot_ram, c->session, QUOTA_RAM, (uint32_t)t->n))
		return refuse(&a->request, EDQUOT, "ram for a text of %zu bytes", t->n);
	c->snapshot = *t;
	*t = (struct text){};
	c->snapshot_node = tree_number(node);
	return 0;
}

/* A piece of the snapshot; the last one ends it. */
static int
snapshot_read(struct answer *a)
{
	struct control *c = a->control;
	uint64_t offset = a->asked->offset;

	if (offset > c->snapshot.n)
		offset = c->snapshot.n;
	a->text = c->snapshot.data + offset;
	a->n_text = c->snapshot.n - offset;
	if (a->n_text > WIRE_TEXT_MAX) {
		a->n_text = WIRE_TEXT_MAX;
		a->flags = WIRE_MORE;
	}
	a->value = offset + a->n_text;
	return 0;
}

static int
perform_read(struct answer *a)
{
	struct control *c = a->control;
	cleanup_text struct text t = {};
	struct node node;

	if (perform_walk(a, a->asked->path, a->asked->n_path, &node))
		return 0;
	if (node.row->type == ROW_DIRECTORY)
		return refuse(&a->request, EISDIR, "that is a directory");
	if (node.row->type == ROW_SOCKET)
		return refuse(&a->request, ENXIO, "that is a socket");
	if (node.row->type == ROW_LOG)
		return perform_read_log(a, node);
	if (a->asked->offset > 0 && c->snapshot_node == tree_number(node))
		return snapshot_read(a);
	snapshot_drop(c);
	tree_read(&a->request, node, &t);
	if (text_done(&t) < 0)
		return refuse(&a->request, ENOMEM, "the daemon is out of memory");
	if (a->request.error)
		return 0;
	if (a->asked->offset == 0 && t.n <= WIRE_TEXT_MAX) {
		text_deinit(&a->request.text);
		a->request.text = t;
		a->value = t.n;
		t = (struct text){};
		return 0;
	}
	/* A later piece without its snapshot, which went with a broker: of the text as it is now.
	 */
	snapshot_keep(a, node, &t);
	return a->request.error ? 0 : snapshot_read(a);
}

static bool
list_one(void *data, const char *name, struct node node, uint64_t cookie)
{
	struct answer *a = data;

	if (a->request.text.n + NAME_ROOM > WIRE_TEXT_MAX) {
		a->flags = WIRE_MORE;
		return false;
	}
	text_addf(&a->request.text, "%s\n", name);
	a->value = cookie;
	return true;
}

static int
perform_list(struct answer *a)
{
	struct node node;
	int e;

	if (perform_walk(a, a->asked->path, a->asked->n_path, &node))
		return 0;
	if (node.row->type != ROW_DIRECTORY)
		return refuse(&a->request, ENOTDIR, "that is not a directory");
	a->value = a->asked->offset;
	e = tree_list(a->request.model, node, a->asked->offset, list_one, a);
	if (e < 0 || text_done(&a->request.text) < 0)
		return refuse(&a->request, ENOMEM, "the daemon is out of memory");
	return e ? refuse(&a->request, e, "that cannot be listed") : 0;
}

static int
perform_write(struct answer *a)
{
	struct node node;

	if (perform_walk(a, a->asked->path, a->asked->n_path, &node))
		return 0;
	if (node.row->type == ROW_DIRECTORY)
		return refuse(&a->request, EISDIR, "that is a directory");
	if (node.row->type == ROW_SOCKET)
		return refuse(&a->request, ENXIO, "that is a socket");
	if (a->asked->n_text > COMMAND_BYTES_MAX)
		return refuse(
			&a->request, EMSGSIZE, "a command has at most %d bytes", COMMAND_BYTES_MAX);
	if (memchr(a->asked->text, '\0', a->asked->n_text))
		return refuse(&a->request, EINVAL, "a command is one line of text");
	return tree_write(&a->request, node, a->asked->text, a->asked->n_text);
}

static int
perform_create(struct answer *a)
{
	struct node at;
	const char *name;
	size_t n;

	if (perform_split(a, &at, &name, &n))
		return 0;
	return tree_create(&a->request, at, name, n, a->asked->text, a->asked->n_text);
}

static int
perform_remove(struct answer *a)
{
	struct node at;
	const char *name;
	size_t n;

	if (perform_split(a, &at, &name, &n))
		return 0;
	return tree_remove(&a->request, at, name, n);
}

static const struct {
	const char *name; /* in `metrics` */
	int (*perform)(struct answer *a);
} operations[] = {
	[0] = {"other", NULL},
	[WIRE_READ] = {"read", perform_read},
	[WIRE_WRITE] = {"write", perform_write},
	[WIRE_LIST] = {"list", perform_list},
	[WIRE_CREATE] = {"create", perform_create},
	[WIRE_REMOVE] = {"remove", perform_remove},
	[WIRE_ATTACH] = {"attach", perform_attach},
	[WIRE_OPEN] = {"open", perform_open},
	[WIRE_CHALLENGE] = {"challenge", perform_challenge},
	[WIRE_IMPORT] = {"import", perform_import},
	[WIRE_IDENTIFY] = {"identify", perform_identify},
	[WIRE_INSPECT] = {"inspect", perform_inspect},
};

#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

const char *
ipc_control_name(size_t op)
{
	return op < N_OPERATIONS ? operations[op].name : NULL;
}

int
perform(struct answer *a)
{
	uint8_t op = a->asked->op;

	if (op >= N_OPERATIONS || !operations[op].perform)
		return refuse(&a->request, EOPNOTSUPP, "there is no operation %u", op);
	return operations[op].perform(a);
}

void
answer_deinit(struct answer *a)
{
	request_deinit(&a->request);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	if (a->text && !(a->flags & WIRE_MORE))
		snapshot_drop(a->control);
}
