/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other part of what is loaded into HAProxy: a function for its Lua, which counts a request where the daemon
 * looks (wire/pages.h). It is an addition in shared memory: HAProxy asks nobody, and waits for nothing. The pages come
 * by a socket, before the first connection of whose requests any are counted.
 *
 * Lua's own functions are HAProxy's, whichever 5 it has: these have been the same since 5.3. Where they are not there
 * the configuration is refused, and nothing of this runs.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcap-client/limits.h"

#define EXPORTED __attribute__((visibility("default")))
#define HAPROXYS __attribute__((weak, visibility("default")))

struct lua_State;
HAPROXYS const char *lua_tolstring(struct lua_State *l, int index, size_t *ret_n);
HAPROXYS long long lua_tointegerx(struct lua_State *l, int index, int *ret_is_number);
HAPROXYS const char *lua_pushstring(struct lua_State *l, const char *s);
EXPORTED int capfs_count(struct lua_State *l);

static struct limits limits;

/* Returns: are there any? */
static bool
pages_come(int from)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	char byte;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	const struct cmsghdr *c;
	int fds[2], r;

	if (recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return false;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fds)))
		return false;
	memcpy(fds, CMSG_DATA(c), sizeof(fds));
	r = limits_map(fds[0], fds[1], &limits);
	close(fds[0]);
	close(fds[1]);
	return r == 0;
}

/* ("INDEX CAPABILITY", the socket's descriptor): "ok", and it is counted; or why not. */
int
capfs_count(struct lua_State *l)
{
	const char *entry = lua_tolstring(l, 1, NULL), *why = "it cannot be counted";
	uint64_t capability;
	uint32_t index;

	if (entry && sscanf(entry, "%" SCNu32 " %" SCNu64, &index, &capability) == 2 &&
		(limits.granted || pages_come((int)lua_tointegerx(l, 2, NULL))) &&
		limits_count(&limits, index, capability, 0, &why) == 0)
		why = "ok";
	lua_pushstring(l, why);
	return 1;
}
