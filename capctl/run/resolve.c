/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/run/settle.h"

int
run_open_slot(struct context *x, const char *node, uint64_t timeout)
{
	capc *c;
	int fd = capc_open(x->session, node, timeout, &c);

	return fd < 0 ? fd : capc_take_fd(c);
}

void
run_complain_slot(const struct context *x, int error, const char *word)
{
	cleanup_text struct text reason = {};

	text_addf(&reason, "there is no such slot; 'capctl why %s' says more", word);
	complain(error, error == -ENOENT && text_done(&reason) == 0 ? reason.data : capc_session_reason(x->session), "%s",
		word);
}

static int __attribute__((format(printf, 3, 4)))
refuse(char **ret_reason, int error, const char *format, ...)
{
	cleanup_text struct text t = {};
	va_list args;

	va_start(args, format);
	text_vaddf(&t, format, args);
	va_end(args);
	if (text_done(&t) == 0)
		*ret_reason = text_take(&t);
	return error;
}

static int
give_fd(int fd, struct capc_value *ret)
{
	if (fd < 0)
		return fd;
	*ret = (struct capc_value){.type = CAPC_FD, .fd = fd};
	return 0;
}

static const char *
why(const struct context *x, int error)
{
	const char *reason = capc_session_reason(x->session);

	return *reason ? reason : strerror(-error);
}

/* In the program's own session, by a grant unless --cap has made it already. NODE is the slot's, here and there. */
static int
grant(const struct resolving *g, const char *slot, const char *limits, struct text *node, char **ret_reason)
{
	const char *there = *limits ? NULL : child_slot(g->child, slot);
	cleanup_free char *made = NULL;
	cleanup_text struct text how = {};
	int r = run_limits(limits, LIMITS_END_LEAF, &how);

	if (r < 0)
		return refuse(ret_reason, r, "'%s' are no limits", limits);
	if (!there)
		r = child_grant(g->child, g->context, node->data, how.data, &made);
	if (r < 0)
		return refuse(ret_reason, r, "%s", why(g->context, r));
	text_reset(node);
	text_add(node, g->session);
	node_append(node, "caps");
	node_append(node, there ? there : made);
	return text_done(node);
}

/* SLOT [LIMITS] */
static int
resolve_cap(const struct resolving *g, const char *text, struct capc_value *ret, char **ret_reason)
{
	struct context *x = g->context;
	size_t n = strcspn(text, " \t\n");
	const char *limits = text + n + strspn(text + n, " \t\n");
	cleanup_free char *slot = strndup(text, n);
	cleanup_text struct text node = {};
	int fd, r;

	if (!slot)
		return -ENOMEM;
	if (*limits && !g->child)
		return refuse(ret_reason, -EOPNOTSUPP, "limits are of a session of the program's own: --new");
	if (word_node(&x->place, "caps", slot, &node) < 0 || text_done(&node) < 0 || node_kind(node.data) != NODE_SLOT)
		return refuse(ret_reason, -EINVAL, "'%s' is not a slot", slot);
	r = g->child ? grant(g, slot, limits, &node, ret_reason) : 0;
	if (r < 0)
		return r;
	fd = run_open_slot(x, node.data, g->timeout_usec);
	if (fd < 0)
		return refuse(ret_reason, fd, "%s", why(x, fd));
	return give_fd(fd, ret);
}

/*
 * A connection to its control socket, which is what capc_session_from_fd() takes; what leads to the socket itself
 * could be opened by nobody. It is made here, since a capc_session keeps its own to itself.
 */
static int
open_control(const char *path, uint64_t timeout)
{
	const struct timeval limit = {.tv_sec = (time_t)(timeout / 1000000), .tv_usec = (suseconds_t)(timeout % 1000000)};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (directory < 0 || fd < 0)
		return -errno;
	/* The path may be longer than an address is. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control", directory);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){}, sizeof(limit)) < 0)
		return -errno;
	return take_fd(fd);
}

/* [PATH] */
static int
resolve_session(const struct resolving *g, const char *text, struct capc_value *ret, char **ret_reason)
{
	struct context *x = g->context;
	cleanup_text struct text node = {}, path = {};
	int fd;

	text_add(&node, *text ? "" : g->session);
	if (*text && x->place.session && session_node(x->place.session, &node) < 0)
		return -EINVAL;
	if (*text && session_node(text, &node) < 0)
		return refuse(ret_reason, -EINVAL, "'%s' is not the name of a session", text);
	text_addf(&path, "%s/%s", x->place.root, node.n > 0 ? node.data : "");
	if (text_done(&node) < 0 || text_done(&path) < 0)
		return -ENOMEM;
	fd = open_control(path.data, g->timeout_usec);
	if (fd < 0)
		return refuse(ret_reason, fd, "%s", fd == -ENOENT ? "there is no such session" : strerror(-fd));
	return give_fd(fd, ret);
}

int
run_resolve(const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data)
{
	if (strcmp(tag, "cap") == 0)
		return resolve_cap(data, text, ret, ret_reason);
	if (strcmp(tag, "session") == 0)
		return resolve_session(data, text, ret, ret_reason);
	return refuse(ret_reason, -EOPNOTSUPP, "nothing is known of it");
}
