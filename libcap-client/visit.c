/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Visits, from the side of who opens them. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/private.h"

/* "caps/NAME", or that of a session below, as SLOT and "to=" say. */
static int
made_node(const char *slot, const char *how, const char *result, struct text *ret)
{
	const char *above = strrchr(slot, '/');
	size_t n_to = 0, n_name;
	const char *to = how ? result_find(how, "to=", &n_to) : NULL, *name = result_find(result, "slot=", &n_name);
	cleanup_text struct text session = {};

	if (!name)
		return -EBADMSG;
	/* A path ends in caps/NAME. */
	if (above)
		text_add_n(ret, slot, (size_t)(above - slot) - strlen("caps"));
	if (to) {
		cleanup_free char *path = strndup(to, n_to);

		if (!path)
			return -ENOMEM;
		session_node_add(&session, path);
		text_addf(ret, "%s/", text_done(&session) == 0 ? session.data : "");
	}
	text_addf(ret, "caps/%.*s", (int)n_name, name);
	return text_done(ret) < 0 || session.failed ? -ENOMEM : 0;
}

/* Returns: 0, -EACCES (refused), -ENOENT, -ETIMEDOUT, -errno. */
static int
wait_for_answer(struct capc_session *s, const char *node, uint64_t timeout)
{
	uint64_t deadline = session_deadline(s);
	cleanup_free char *text = NULL;
	size_t n;
	int r;

	/* The daemon looks at the clock, so that its answer is never on its way when we give up. */
	deadline = timeout > UINT64_MAX - deadline ? UINT64_MAX : deadline + timeout;
	r = session_do_at(s, WIRE_WAIT, node, NULL, timeout, &text, deadline);
	if (r < 0)
		return r;
	if (!result_find(text, "answer=", &n))
		return -EBADMSG;
	return strstr(text, "answer=refused") ? -EACCES : 0;
}

/* Nobody is to be left with a visit of which its client knows nothing. */
static void
give_up(struct capc_session *s, const char *slot, const char *how, const char *node, const char *result)
{
	cleanup_text struct text command = {};
	size_t n;
	const char *id = result_find(result, "id=", &n);

	if (!how || !result_find(how, "to=", &n)) {
		(void)session_do(s, WIRE_REMOVE, node, NULL, NULL, session_deadline(s));
		return;
	}
	if (id)
		text_addf(&command, "id=%.*s", (int)strcspn(id, " \n"), id);
	if (id && text_done(&command) == 0)
		(void)capc_revoke(s, slot, command.data);
}

int
capc_visit(struct capc_session *s, const char *slot, const char *how, uint64_t timeout, char **ret_slot)
{
	cleanup_text struct text node = {}, made = {};
	cleanup_free char *result = NULL, *name = NULL;
	int r;

	session_begin(s);
	r = slot_node(slot, "/visit", &node);
	if (r == 0)
		r = session_do(s, WIRE_WRITE, node.data, how, &result, session_deadline(s));
	if (r == 0)
		r = made_node(slot, how, result, &made);
	if (r < 0)
		return r;
	name = strdup(strrchr(made.data, '/') + 1);
	r = name ? wait_for_answer(s, made.data, timeout) : -ENOMEM;
	if (r < 0 && r != -ENOENT)
		give_up(s, slot, how, made.data, result);
	if (r == 0 && ret_slot)
		*ret_slot = take_ptr(name);
	return r == -ENOENT ? -EACCES : r;
}

int
capc_visit_upgrade(struct capc_session *s, const char *slot, const char *how, uint64_t timeout)
{
	cleanup_text struct text node = {}, own = {};
	int r;

	session_begin(s);
	r = slot_node(slot, "/visit", &node);
	if (r == 0)
		r = slot_node(slot, "", &own);
	if (r == 0)
		r = session_do(s, WIRE_WRITE, node.data, how, NULL, session_deadline(s));
	return r == 0 ? wait_for_answer(s, own.data, timeout) : r;
}

int
capc_visit_close(struct capc_session *s, const char *slot)
{
	int r = capc_drop(s, slot);

	return r == -ENOENT ? 0 : r;
}
