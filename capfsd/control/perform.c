/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a control request does: one function for each operation, in a table. control.c calls
 * perform() with what a client asked, and sends the reply that is left in the exchange. The
 * functions resolve the path from the session of the connection and call tree/tree.h; they never
 * touch the socket.
 *
 * All return 0 where the client is to be told something, also that it was refused, and -errno only
 * for what ends the daemon. What is read in pieces is the one thing that is kept for a client here.
 */
#include "config.h"

#include "capfsd/control/perform.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/control/asks.h"
#include "capfsd/control/attach.h"
#include "capfsd/control/control.h"
#include "capfsd/control/delegated.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/inspection.h"
#include "capfsd/control/register.h"
#include "capfsd/control/spawn.h"
#include "capfsd/control/vouch.h"
#include "capfsd/control/wait.h"
#include "capfsd/model/event.h"
#include "capfsd/tree/tree.h"
#include "wire/wire.h"

#define COMMAND_BYTES_MAX 4095

#define NAME_ROOM (NAME_BYTES_MAX + 1)

/*
 * Offsets are the reader's own, and those of what was dropped meanwhile are moved up: it goes on
 * with the oldest that there is. What is not stored yet is stored first, as a reader that has seen
 * an event may rely on it, and a crash must not take it back.
 */
static int
perform_read_log(struct exchange *x, struct node node)
{
	const struct session *s = tree_session_of(node);
	uint64_t offset = x->asked->offset, end = events_end(s);
	struct text *t = &x->request.text;
	char buffer[4096];

	error_trace(events_store(x->request.model));
	while (offset < end && t->n + sizeof(buffer) <= WIRE_TEXT_MAX)
		text_add_n(t, buffer, events_read(s, node.row->view, &offset, buffer, sizeof(buffer)));
	if (text_done(t) < 0)
		return refuse(&x->request, ENOMEM, "the daemon is out of memory");
	x->value = offset;
	x->flags = offset < end ? WIRE_MORE : 0;
	return 0;
}

static void
snapshot_drop(struct control *c)
{
	text_deinit(&c->snapshot.text);
	charge_deinit(&c->snapshot.ram);
	c->snapshot = (struct snapshot){};
}

/*
 * The client's session pays for what does not fit into one reply, as it grows, since a client can ask
 * for the longest text there is and never come for its second piece.
 */
static int
snapshot_charge(struct exchange *x)
{
	struct snapshot *s = &x->control->snapshot;

	charge_deinit(&s->ram);
	if (s->text.n > UINT32_MAX ||
		charge_init(&s->ram, x->control->payer, QUOTA_RAM, (uint32_t)s->text.n))
		return refuse(&x->request, EDQUOT, "ram for a text of %zu bytes", s->text.n);
	return 0;
}

/* One piece of the text. Returns: is it whole? Else there is more to be made, or it is refused. */
static bool
snapshot_make(struct exchange *x, struct node node)
{
	struct control *c = x->control;
	struct snapshot *s = &c->snapshot;

	if (s->making != x->asked->serial || s->node != tree_number(node)) {
		snapshot_drop(c);
		s->node = tree_number(node);
		s->making = x->asked->serial;
	}
	x->unfinished = tree_read_piece(&x->request, node, &s->at, &s->text);
	if (text_done(&s->text) < 0)
		refuse(&x->request, ENOMEM, "the daemon is out of memory");
	else if (s->text.n > WIRE_TEXT_MAX)
		snapshot_charge(x);
	if (x->request.error) {
		x->unfinished = false;
		snapshot_drop(c);
	}
	if (!x->unfinished)
		s->making = 0;
	return !x->unfinished && !x->request.error;
}

/* A piece of the snapshot; the last one ends it, in perform_done(). */
static int
snapshot_read(struct exchange *x)
{
	const struct text *t = &x->control->snapshot.text;
	uint64_t offset = x->asked->offset;

	if (offset > t->n)
		offset = t->n;
	x->text = t->data + offset;
	x->n_text = t->n - offset;
	if (x->n_text > WIRE_TEXT_MAX) {
		x->n_text = WIRE_TEXT_MAX;
		x->flags = WIRE_MORE;
	}
	x->value = offset + x->n_text;
	return 0;
}

void
perform_forget(struct control *c)
{
	snapshot_drop(c);
}

/* Only after the reply was encoded, which is made of it. */
void
perform_done(struct exchange *x)
{
	if (x->text && !(x->flags & WIRE_MORE))
		snapshot_drop(x->control);
}

/* Finds what was asked for, which must have a text. Returns: whether it has; else refused. */
static bool
find_file(struct exchange *x, struct node *ret)
{
	if (exchange_walk(x, x->asked->path, x->asked->n_path, ret))
		return false;
	if (ret->row->type == ROW_DIRECTORY)
		return refuse(&x->request, EISDIR, "that is a directory");
	if (ret->row->type == ROW_SOCKET)
		return refuse(&x->request, ENXIO, "that is a socket");
	return true;
}

/*
 * A text that does not fit into one reply is kept as it was, so that its pieces belong together
 * whatever happens between them. A log needs no copy: its offsets mean the same for ever.
 */
static int
perform_read(struct exchange *x)
{
	struct control *c = x->control;
	struct node node;

	if (!find_file(x, &node))
		return 0;
	if (node.row->type == ROW_LOG)
		return perform_read_log(x, node);
	if (x->asked->offset > 0 && !c->snapshot.making && c->snapshot.node == tree_number(node))
		return snapshot_read(x);
	/* A later piece without its snapshot, which went with a broker: of the text as it is now. */
	if (!snapshot_make(x, node))
		return 0;
	if (x->asked->offset > 0 || c->snapshot.text.n > WIRE_TEXT_MAX)
		return snapshot_read(x);
	text_deinit(&x->request.text);
	x->request.text = c->snapshot.text;
	x->value = x->request.text.n;
	c->snapshot.text = (struct text){};
	snapshot_drop(c);
	return 0;
}

/* Up to where the reply is full. Each name is given room for the longest, so that none is cut. */
static bool
list_one(void *data, const char *name, struct node node, uint64_t cookie)
{
	struct exchange *x = data;

	if (x->request.text.n + NAME_ROOM > WIRE_TEXT_MAX)
		return false;
	text_addf(&x->request.text, "%s\n", name);
	return true;
}

static int
perform_list(struct exchange *x)
{
	struct node node;
	bool more;

	if (exchange_walk(x, x->asked->path, x->asked->n_path, &node))
		return 0;
	x->value = x->asked->offset;
	if (tree_list(x->request.model, node, &x->value, list_one, x, &more))
		return refuse(&x->request, ENOTDIR, "that is not a directory");
	if (text_done(&x->request.text) < 0)
		return refuse(&x->request, ENOMEM, "the daemon is out of memory");
	x->flags = more ? WIRE_MORE : 0;
	return 0;
}

/* Bounded as a write to the file is, so that both fronts take the same commands. */
static int
perform_write(struct exchange *x)
{
	struct node node;

	if (!find_file(x, &node))
		return 0;
	/* What is written as a whole has at most what one message has. */
	if (x->asked->n_text > COMMAND_BYTES_MAX && !node.row->bytes_max)
		return refuse(
			&x->request, EMSGSIZE, "a command has at most %d bytes", COMMAND_BYTES_MAX);
	if (memchr(x->asked->text, '\0', x->asked->n_text))
		return refuse(&x->request, EINVAL, "a command is one line of text");
	if (node.row->type == ROW_ASK)
		return perform_ask(x, node);
	return tree_write(&x->request, node, x->asked->text, x->asked->n_text);
}

/* Of what is written as a whole: whoever writes one command can as well take it back. */
static int
perform_check(struct exchange *x)
{
	struct node node;

	if (!find_file(x, &node))
		return 0;
	if (!node.row->bytes_max)
		return refuse(&x->request, EOPNOTSUPP, "only a policy is checked before it is written");
	x->request.checks = true;
	return perform_write(x);
}

static int
perform_create(struct exchange *x)
{
	struct word name;
	struct node at;

	if (exchange_split(x, &at, &name))
		return 0;
	return tree_create(
		&x->request, at, name.p, name.n, x->asked->text, x->asked->n_text);
}

static int
perform_remove(struct exchange *x)
{
	struct word name;
	struct node at;

	if (exchange_split(x, &at, &name))
		return 0;
	return tree_remove(&x->request, at, name.p, name.n);
}

/*
 * By the number on the wire, which is never given to another operation: a client of any version
 * must find what it knows. What has no function is refused by number.
 */
static const struct {
	const char *name; /* in `metrics` */
	int (*perform)(struct exchange *x);
	uint32_t right; /* that it takes, beside `control`, of who speaks to a session through a slot; 0: none */
} operations[] = {
	[0] = {"other", NULL},
	[WIRE_READ] = {"read", perform_read},
	[WIRE_WRITE] = {"write", perform_write},
	[WIRE_LIST] = {"list", perform_list},
	[WIRE_CREATE] = {"create", perform_create},
	[WIRE_REMOVE] = {"remove", perform_remove},
	[WIRE_ATTACH] = {"attach", perform_attach},
	[WIRE_OPEN] = {"open", perform_open, RIGHT_CALL},
	[WIRE_CHALLENGE] = {"challenge", perform_challenge},
	[WIRE_IMPORT] = {"import", perform_import},
	[WIRE_IDENTIFY] = {"identify", perform_identify},
	[WIRE_INSPECT] = {"inspect", perform_inspect},
	[WIRE_SPAWN] = {"spawn", perform_spawn, RIGHT_SPAWN},
	[WIRE_WAIT] = {"wait", perform_wait},
	[WIRE_REGISTER] = {"register", perform_register, RIGHT_SPAWN},
	[WIRE_CHECK] = {"check", perform_check},
};

#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

const char *
controls_operation_name(size_t op)
{
	return op < N_OPERATIONS ? operations[op].name : NULL;
}

int
perform(struct exchange *x)
{
	uint8_t op = x->asked->op;

	if (op >= N_OPERATIONS || !operations[op].perform)
		return refuse(&x->request, EOPNOTSUPP, "there is no operation %u", op);
	if (!delegated_allows(x, operations[op].right))
		return 0;
	return operations[op].perform(x);
}
