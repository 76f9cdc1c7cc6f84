/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A session that is reached through a slot is spoken to as one's own; its connection is the slot's. */
#include "config.h"

#include "libcap-client/private.h"

int
capc_session_through(struct capc_session *s, const char *slot, uint64_t timeout, struct capc_session **ret)
{
	struct capc *c;
	int fd, r = capc_open(s, slot, timeout, &c);

	if (r < 0)
		return r;
	fd = capc_take_fd(c);
	return fd < 0 ? fd : capc_session_from_fd(fd, ret);
}
