/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is told of what a session is to decide: a part of the session, which calls it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libcap-client/private.h"

struct pager {
	capc_pager_handler *handler; /* NULL: nobody */
	void *data;
	uint64_t last;	 /* the id of what was told last */
	uint64_t serial; /* of the request that waits; 0: none does */
	bool is_busy;	 /* the handler runs, and nothing waits */
};

/* Waits for more, if there is somebody to tell, after a request of S has ended the wait. Returns: 0, -errno. */
int pager_wait(struct capc_session *s, struct pager *p);

/* S was sent REPLY, which may be that of the wait. Returns: 0, -errno. */
int pager_take(struct capc_session *s, struct pager *p, const struct wire_reply *reply);

/* session.c: that of S. */
struct pager *session_pager(struct capc_session *s);

/*
 * Sends a request, the answer of which nobody waits for: capc_session_process() finds it by *RET_SERIAL.
 * Returns: 0, -errno.
 */
int session_post(struct capc_session *s, enum wire_op op, const char *node, const char *text, uint64_t offset,
	uint64_t *ret_serial);
