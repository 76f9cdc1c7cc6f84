/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "capctl/apply/apply.h"
#include "capctl/run/settle.h"

#define NAME_BYTES_MAX 64
/* That a server has made its object is no event, as its coming is: it is looked for so often. */
#define LOOK_MSEC 100

static int
slot_node(const char *session, const char *slot, struct text *t)
{
	text_add(t, session);
	node_append(t, "caps");
	node_append(t, slot);
	return text_done(t);
}

static bool
is_there(struct apply *a, const char *node, int *ret_error)
{
	cleanup_text struct text info = {};

	*ret_error = context_read(a->context, node, "info", &info);
	return *ret_error == 0;
}

/* --- who serves it --- */

/* Is the entrypoint LABEL, "init/shop/db/kv", of the session "shop/db", and not what that was granted itself? */
static bool
is_of(const char *label, const char *session)
{
	const char *name = strrchr(label, '/');
	size_t n = name ? (size_t)(name - label) : 0, n_session = strlen(session);

	return n > n_session && label[n - n_session - 1] == '/' &&
		memcmp(name - n_session, session, n_session) == 0;
}

/* Whether E's program serves the slot. Returns: 1, 0, -errno. */
static int
is_served(struct apply *a, const struct entry *e, const char *node)
{
	cleanup_text struct text info = {}, served = {}, entrypoint = {};
	int r = context_read(a->context, node, "info", &info);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!field_find(info.data, NULL, "served", &served) ||
		!field_find(info.data, NULL, "entrypoint", &entrypoint))
		return 0;
	if (text_done(&entrypoint) == 0 && !is_of(entrypoint.data, e->session.data))
		return 0;
	return text_done(&served) < 0 ? -ENOMEM : strcmp(served.data, "no") != 0;
}

static int
runs(struct apply *a, const struct entry *e)
{
	cleanup_text struct text title = {};
	int r = apply_title(a, e, &title);

	return r < 0 ? r : *title.data != '\0';
}

/* The events of the session that serves. Returns: a descriptor, or -1: then the time alone wakes
 * us. */
static int
open_events(const struct apply *a, const struct entry *e)
{
	cleanup_text struct text path = {};

	text_addf(&path, "%s/%s/events", a->context->place.root, e->node.data);
	return text_done(&path) < 0 ? -1 : open(path.data, O_RDONLY | O_CLOEXEC);
}

/* What has happened has been seen. */
static void
drain(int events)
{
	char buffer[4096];

	while (events >= 0 && read(events, buffer, sizeof(buffer)) > 0)
		;
}

static int
wait_served(struct apply *a, const struct entry *e, const struct use *u, const char *node)
{
	cleanup_close int events = open_events(a, u->from);
	uint64_t end = clock_usec(CLOCK_MONOTONIC) + e->words.timeout_usec;
	struct pollfd wanted = {.fd = events, .events = POLLIN};
	int served, running;

	for (;;) {
		drain(events);
		served = is_served(a, u->from, node);
		running = served == 0 ? runs(a, u->from) : 1;
		if (served > 0)
			return 0;
		if (served < 0 || running < 0)
			return complain(served < 0 ? served : running,
				capc_session_reason(a->context->session), "%s",
				u->from->session.data);
		if (!running)
			return complain(EPIPE, "its program has ended before it served that",
				"%s: %s", u->from->session.data, u->slot);
		if (clock_usec(CLOCK_MONOTONIC) >= end)
			return complain(ETIMEDOUT, "its program does not serve that", "%s: %s",
				u->from->session.data, u->slot);
		poll(&wanted, 1, LOOK_MSEC);
	}
}

/* --- from there to the first session --- */

/* "db.log", where that can be a name. */
static int
import_name(const struct use *u, struct text *ret)
{
	text_addf(ret, "%s.%s", u->from->name, u->slot);
	for (size_t i = 0; i < ret->n; i++)
		if (ret->data[i] == '/')
			ret->data[i] = '.';
	return text_done(ret);
}

/* The first session's slot of it, which may have been there. RET is its node. */
static int
import(struct apply *a, const struct use *u, const char *node, struct text *ret)
{
	cleanup_text struct text name = {};
	cleanup_free char *slot = NULL;
	int fd, r;

	fd = capc_export(a->context->session, node);
	if (fd < 0)
		return complain(fd, capc_session_reason(a->context->session), "%s: %s",
			u->from->session.data, u->slot);
	r = import_name(u, &name);
	if (r == 0)
		r = capc_import(a->first, fd, name.n <= NAME_BYTES_MAX ? name.data : NULL, &slot);
	else
		close(fd);
	if (r < 0)
		return complain(
			r, capc_session_reason(a->first), "%s: %s", u->from->session.data, u->slot);
	return slot_node(a->plan->all[0]->node.data, slot, ret) < 0 ? plan_no_memory() : 0;
}

/* --- and to who uses it --- */

/* Of the session that the file is applied in. */
static int
outside(struct apply *a, const struct entry *e, const struct use *u, struct text *ret)
{
	struct context *x = a->context;
	cleanup_text struct text here = {};
	int status = context_node(x, "caps", u->slot, ret);

	if (status == 0)
		status = context_session(x, &here);
	if (status != 0)
		return status;
	node_append(&here, "caps/");
	if (text_done(&here) < 0)
		return plan_no_memory();
	if (strncmp(ret->data, here.data, here.n) != 0 || node_kind(ret->data) != NODE_SLOT)
		return complain(EINVAL, "it is no slot of the session that the file is applied in",
			"%s: %s", e->session.data, u->slot);
	return 0;
}

int
wire_check(struct apply *a, const struct entry *e)
{
	int status = 0, r;

	complain_at(e->place);
	for (size_t i = 0; i < e->n_uses && status == 0; i++) {
		cleanup_text struct text node = {};

		if (e->uses[i].from)
			continue;
		status = outside(a, e, &e->uses[i], &node);
		if (status == 0 && !is_there(a, node.data, &r))
			status = complain(r, r == -ENOENT ? "there is no such slot" : NULL,
				"%s: %s", e->session.data, e->uses[i].slot);
	}
	complain_at(NULL);
	return status;
}

/* As the session of the slot names it. */
static const char *
receiver(const struct apply *a, const struct entry *e, const struct use *u)
{
	const struct entry *first = a->plan->all[0];
	size_t n_above = first->session.n - strlen(node_name(first->node.data));

	return u->from ? e->name : e->session.data + n_above;
}

int
wire_grant(struct apply *a, const struct entry *e, const struct use *u, char **ret_slot)
{
	cleanup_text struct text node = {}, served = {}, how = {};
	const char *limits = u->given->limits;
	int status = 0, r;

	if (!u->from)
		status = outside(a, e, u, &node);
	else if (slot_node(u->from->node.data, u->slot, &served) < 0)
		status = plan_no_memory();
	if (status == 0 && u->from)
		status = wait_served(a, e, u, served.data);
	if (status == 0 && u->from)
		status = import(a, u, served.data, &node);
	if (status != 0)
		return status;
	if (word_append(&how, "as", u->name) < 0)
		return complain(EINVAL, "that is no name", "%s: %s", e->session.data, u->name);
	if (limits && run_limits(limits, LIMITS_END_OPTION, &how) < 0)
		return complain(EINVAL, "these are no limits", "%s: %s", u->given->slot, limits);
	r = text_done(&how);
	if (r == 0)
		r = capc_grant(
			a->context->session, node.data, receiver(a, e, u), how.data, ret_slot);
	return r < 0 ? complain(r, capc_session_reason(a->context->session), "grant %s to %s",
			       u->given->slot, e->session.data)
		     : 0;
}

int
wire_keep(struct apply *a, const struct entry *e, const struct use *u, bool *ret_made)
{
	cleanup_text struct text node = {};
	cleanup_free char *slot = NULL;
	int r;

	*ret_made = false;
	if (slot_node(e->node.data, u->name, &node) < 0)
		return plan_no_memory();
	if (is_there(a, node.data, &r))
		return 0;
	if (r != -ENOENT)
		return complain(r, capc_session_reason(a->context->session), "%s: %s",
			e->session.data, u->name);
	*ret_made = true;
	return wire_grant(a, e, u, &slot);
}
