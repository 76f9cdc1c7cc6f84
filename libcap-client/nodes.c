/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked of nodes in a few requests, or many: reading and listing come in pieces. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/private.h"

int
session_do(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	char **ret_text, uint64_t deadline)
{
	return session_do_at(s, op, node, text, 0, ret_text, deadline);
}

int
session_do_at(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t offset, char **ret_text, uint64_t deadline)
{
	struct wire_request q = request_make(op, node, text);
	struct wire_reply reply;
	int r;

	q.offset = offset;
	r = session_ask(s, &q, deadline, &reply, NULL);
	if (!ret_text)
		return r;
	*ret_text = NULL;
	if (r == 0)
		*ret_text = strndup(reply.text, reply.n_text);
	else if (*capc_session_reason(s))
		*ret_text = strdup(capc_session_reason(s));
	return r == 0 && !*ret_text ? -ENOMEM : r;
}

int
session_do_fd(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t deadline, int *ret_fd)
{
	struct wire_reply reply;

	return session_do_fd_reply(s, op, node, text, deadline, &reply, ret_fd);
}

int
session_do_text(struct capc_session *s, enum wire_op op, struct text *node, struct text *text,
	char **ret_text)
{
	int r = text_done(node);

	session_begin(s);
	if (r == 0)
		r = text_done(text);
	if (r < 0)
		return r;
	return session_do(s, op, node->data, text->data, ret_text, session_deadline(s));
}

/* Reads from *OFFSET to the end that the node has now; *OFFSET is then where that is. */
static int
session_read(struct capc_session *s, const char *node, uint64_t *offset, uint64_t timeout,
	char **ret)
{
	cleanup_text struct text t = {};
	uint64_t deadline = deadline_after(timeout);
	struct wire_reply reply;
	uint64_t at = *offset;
	int r;

	do {
		struct wire_request q = request_make(WIRE_READ, node, NULL);

		q.offset = at;
		r = session_ask(s, &q, deadline, &reply, NULL);
		if (r < 0)
			return r;
		text_add_n(&t, reply.text, reply.n_text);
		if (reply.flags & WIRE_MORE && reply.value <= at)
			return session_end(s, -EBADMSG);
		at = reply.value;
	} while (reply.flags & WIRE_MORE);
	r = text_done(&t);
	if (r < 0)
		return r;
	*ret = text_take(&t);
	if (!*ret)
		return -ENOMEM;
	*offset = at;
	return 0;
}

int
capc_read(struct capc_session *s, const char *node, char **ret, uint64_t timeout)
{
	uint64_t offset = 0;
	char *text;
	int r = session_read(s, node, &offset, timeout, &text);

	if (r == 0)
		*ret = text;
	return r;
}

int
capc_read_from(struct capc_session *s, const char *node, uint64_t *offset, char **ret,
	uint64_t timeout)
{
	char *text;
	int r = session_read(s, node, offset, timeout, &text);

	if (r == 0)
		*ret = text;
	return r;
}

/* EACH may ask for something by S, so the names are a copy of the buffer. */
static int
list_each(char *names, int (*each)(const char *name, void *data), void *data)
{
	char *rest = names, *name;
	int r;

	while ((name = strsep(&rest, "\n"))) {
		if (!*name)
			continue;
		r = each(name, data);
		if (r != 0)
			return r;
	}
	return 0;
}

int
session_list(struct capc_session *s, const char *node, int (*each)(const char *name, void *data),
	void *data, uint64_t deadline)
{
	struct wire_reply reply;
	uint64_t cookie = 0;
	int r;

	do {
		struct wire_request q = request_make(WIRE_LIST, node, NULL);
		cleanup_free char *names = NULL;

		q.offset = cookie;
		r = session_ask(s, &q, deadline, &reply, NULL);
		if (r < 0)
			return r;
		if (reply.flags & WIRE_MORE && reply.value == cookie)
			return session_end(s, -EBADMSG);
		cookie = reply.value;
		names = strndup(reply.text, reply.n_text);
		if (!names)
			return -ENOMEM;
		r = list_each(names, each, data);
		if (r != 0)
			return r;
		if (reply.flags & WIRE_MORE && deadline_left_msec(deadline) == 0)
			return -ETIMEDOUT;
	} while (reply.flags & WIRE_MORE);
	return 0;
}
