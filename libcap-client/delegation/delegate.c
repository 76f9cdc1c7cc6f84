/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about whole nodes, and the short forms of capc_write(), which put a node and a command together. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcap-client/private.h"

#define CLOSE_AGAIN_USEC 20000 /* each try that is refused is an event in the log */

const char *
result_find(const char *result, const char *key, size_t *ret_n)
{
	size_t n_key = strlen(key);

	while (*result) {
		size_t n = strcspn(result, " \n");

		if (n >= n_key && strncmp(result, key, n_key) == 0) {
			*ret_n = n - n_key;
			return result + n_key;
		}
		result += n;
		result += strspn(result, " \n");
	}
	return NULL;
}

/* A name, or a path that ends in caps/NAME: no other kind of node. */
static bool
is_slot(const char *slot)
{
	const char *name = strrchr(slot, '/');
	size_t n = name ? (size_t)(name - slot) : 0;

	if (!name)
		return *slot;
	return name[1] && n >= 4 && strncmp(name - 4, "caps", 4) == 0 && (n == 4 || name[-5] == '/');
}

static void
add_slot(struct text *t, const char *slot)
{
	if (!strchr(slot, '/'))
		text_add(t, "caps/");
	text_add(t, slot);
}

void
session_node_add(struct text *t, const char *name)
{
	/* What a slot refers to is no session below. */
	if (*name == '@') {
		text_add(t, name);
		return;
	}
	while (*name) {
		size_t n = strcspn(name, "/");

		text_addf(t, "%ssessions/%.*s", t->n > 0 ? "/" : "", (int)n, name);
		name += n;
		name += *name == '/';
	}
}

int
slot_node(const char *slot, const char *node, struct text *ret)
{
	if (!is_slot(slot))
		return -EINVAL;
	add_slot(ret, slot);
	text_add(ret, node);
	return text_done(ret);
}

/* Writes TEXT to the command NODE of SLOT. */
static int
slot_write(struct capc_session *s, const char *slot, const char *node, struct text *command,
	char **ret_text)
{
	cleanup_text struct text path = {};

	add_slot(&path, slot);
	text_add(&path, node);
	return session_do_text(s, WIRE_WRITE, &path, command, ret_text);
}

/* As slot_write(), of a verb that makes a slot: *RET_SLOT is its name then. */
static int
slot_make(struct capc_session *s, const char *slot, const char *node, struct text *command,
	char **ret_slot)
{
	cleanup_free char *result = NULL;
	const char *made;
	char *name;
	size_t n;
	int r = slot_write(s, slot, node, command, &result);

	if (r < 0 || !ret_slot)
		return r;
	made = result_find(result, "slot=", &n);
	if (!made)
		return -EBADMSG;
	name = strndup(made, n);
	if (!name)
		return -ENOMEM;
	*ret_slot = name;
	return 0;
}

static void
add_how(struct text *t, const char *how)
{
	text_addf(t, "%s%s", t->n > 0 && how && *how ? " " : "", how ? how : "");
}

/* "KEY=VALUE HOW", of which either may be left out, by NULL. Returns: 0 or -EINVAL, as command_add(). */
static int
command_make(struct text *ret, const char *key, const char *value, const char *how)
{
	int r = command_add(ret, key, value);

	if (r == 0)
		add_how(ret, how);
	return r;
}

int
capc_grant(struct capc_session *s, const char *slot, const char *to, const char *how,
	char **ret_slot)
{
	cleanup_text struct text command = {};
	int r;

	session_begin(s);
	r = to ? command_make(&command, "to", to, how) : -EINVAL;
	return r < 0 ? r : slot_make(s, slot, "/grant", &command, ret_slot);
}

int
capc_replicate(struct capc_session *s, const char *slot, const char *as, const char *how,
	char **ret_slot)
{
	cleanup_text struct text command = {};
	int r;

	session_begin(s);
	r = command_make(&command, "as", as, how);
	return r < 0 ? r : slot_make(s, slot, "/replicate", &command, ret_slot);
}

int
capc_split(struct capc_session *s, const char *slot, const char *as, const char *how, char **ret_slot)
{
	cleanup_text struct text command = {};
	int r;

	session_begin(s);
	r = command_make(&command, "as", as, how);
	return r < 0 ? r : slot_make(s, slot, "/split", &command, ret_slot);
}

int
capc_transfer(struct capc_session *s, const char *slot, const char *to, const char *as)
{
	cleanup_text struct text command = {};
	int r;

	session_begin(s);
	r = to ? command_add(&command, "to", to) : -EINVAL;
	if (r == 0)
		r = command_add(&command, "as", as);
	return r < 0 ? r : slot_make(s, slot, "/transfer", &command, NULL);
}

int
capc_share(struct capc_session *s, const char *slot, const char *with, const char *how)
{
	cleanup_text struct text command = {};
	int r;

	session_begin(s);
	r = with ? command_make(&command, "with", with, how) : -EINVAL;
	return r < 0 ? r : slot_write(s, slot, "/share", &command, NULL);
}

int
capc_reduce(struct capc_session *s, const char *slot, const char *how)
{
	cleanup_text struct text command = {};

	text_add(&command, how);
	return slot_write(s, slot, "/reduce", &command, NULL);
}

int
capc_adjust(struct capc_session *s, const char *slot, const char *which, const char *how,
	char **ret_text)
{
	cleanup_text struct text command = {};

	if (ret_text)
		*ret_text = NULL;
	session_begin(s);
	/* "to=SESSION" or "id=N", in which no blank may begin the changes. */
	if (!which || !*which || strpbrk(which, " \t\r\n"))
		return -EINVAL;
	text_add(&command, which);
	add_how(&command, how);
	return slot_write(s, slot, "/adjust", &command, ret_text);
}

int
capc_revoke(struct capc_session *s, const char *slot, const char *what)
{
	cleanup_text struct text command = {};

	text_add(&command, what ? what : "1");
	return slot_write(s, slot, "/revoke", &command, NULL);
}

int
capc_drop(struct capc_session *s, const char *slot)
{
	cleanup_text struct text path = {};

	session_begin(s);
	if (!is_slot(slot))
		return -EINVAL;
	add_slot(&path, slot);
	return session_do_text(s, WIRE_REMOVE, &path, &(struct text){}, NULL);
}

int
capc_transfer_quota(struct capc_session *s, const char *how)
{
	return session_do(s, WIRE_WRITE, "transfer_quota", how, NULL, session_deadline(s));
}

int
capc_session_create(struct capc_session *s, const char *name, const char *quota)
{
	cleanup_text struct text path = {}, text = {};

	session_begin(s);
	if (!*name)
		return -EINVAL;
	session_node_add(&path, name);
	text_add(&text, quota ? quota : "");
	return session_do_text(s, WIRE_CREATE, &path, &text, NULL);
}

struct closing {
	struct capc_session *session;
	const char *node;
	uint64_t deadline; /* of all of it */
};

static int close_all(const struct closing *c);

/* Others may have ended it meanwhile. */
static int
gone_is_done(int r)
{
	return r == -ENOENT ? 0 : r;
}

static int
close_entrypoint(const char *name, void *data)
{
	const struct closing *c = data;
	cleanup_text struct text path = {};
	int r;

	text_addf(&path, "%s/entrypoints/%s", c->node, name);
	r = text_done(&path);
	if (r < 0)
		return r;
	return gone_is_done(session_do(c->session, WIRE_REMOVE, path.data, NULL, NULL, c->deadline));
}

static int
close_child(const char *name, void *data)
{
	struct closing child = *(const struct closing *)data;
	cleanup_text struct text path = {};
	int r;

	text_addf(&path, "%s/sessions/%s", child.node, name);
	r = text_done(&path);
	if (r < 0)
		return r;
	child.node = path.data;
	return gone_is_done(close_all(&child));
}

static int
close_each(const struct closing *c, const char *folder, int (*each)(const char *name, void *data))
{
	cleanup_text struct text path = {};
	int r;

	text_addf(&path, "%s/%s", c->node, folder);
	r = text_done(&path);
	return r < 0 ? r : session_list(c->session, path.data, each, (void *)(uintptr_t)c, c->deadline);
}

/* As deep as sessions are nested, which the length of a path bounds. */
static int
close_all(const struct closing *c)
{
	int r = 0;

	/*
	 * Whoever has that session may make children as long as it is there; others are being reaped. And
	 * it is busy until the daemon has seen its servers go.
	 */
	do {
		if (r < 0)
			usleep(CLOSE_AGAIN_USEC);
		r = close_each(c, "entrypoints", close_entrypoint);
		if (r == 0)
			r = close_each(c, "sessions", close_child);
		if (r == 0)
			r = session_do(c->session, WIRE_REMOVE, c->node, NULL, NULL, c->deadline);
	} while ((r == -ENOTEMPTY || r == -EBUSY) && deadline_left_msec(c->deadline) != 0);
	return r;
}

int
capc_session_close(struct capc_session *s, const char *name, unsigned flags)
{
	cleanup_text struct text path = {};
	struct closing c;
	int r;

	session_begin(s);
	if (!*name || flags & ~(unsigned)CAPC_CLOSE_ALL)
		return -EINVAL;
	session_node_add(&path, name);
	r = text_done(&path);
	if (r < 0)
		return r;
	c = (struct closing){.session = s, .node = path.data, .deadline = session_deadline(s)};
	if (flags & CAPC_CLOSE_ALL)
		return close_all(&c);
	return session_do(s, WIRE_REMOVE, path.data, NULL, NULL, c.deadline);
}

/* --- nodes as a whole --- */

int
capc_list(struct capc_session *s, const char *node, int (*each)(const char *name, void *data),
	void *data, uint64_t timeout)
{
	return session_list(s, node, each, data, deadline_after(timeout));
}

int
capc_write(struct capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout)
{
	return session_do(s, WIRE_WRITE, node, text, ret_text, deadline_after(timeout));
}

int
capc_create(struct capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout)
{
	return session_do(s, WIRE_CREATE, node, text, ret_text, deadline_after(timeout));
}

int
capc_remove(struct capc_session *s, const char *node, char **ret_text, uint64_t timeout)
{
	return session_do(s, WIRE_REMOVE, node, NULL, ret_text, deadline_after(timeout));
}

int
capc_check(struct capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout)
{
	return session_do(s, WIRE_CHECK, node, text, ret_text, deadline_after(timeout));
}
