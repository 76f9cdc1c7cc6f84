/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays: each joins a client's connection to one of the server behind, and moves bytes both ways.
 *
 * A relay that waits holds two descriptors and no buffer (side.h). The end of one direction is passed on as
 * such, and so is that nobody reads any more. A client that has left is delivered for a while, a revoked one
 * is not, beyond what goes at once. A client of the library that can go on with the connection to the server
 * is given that, where it is wanted; a duplicate stays, by which it ends with the client. Where the server is told who calls, that comes before all else, whenever
 * the client began or ended.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"
#include "helpers/side.h"

struct relays_options {
	const char *path; /* of the server's socket, as it is called in messages */
	/*
	 * How the server is connected to, for the client at CLIENT_FD, who is UID and GID. Returns: a
	 * descriptor, -errno; -EAGAIN is tried again.
	 */
	int (*connect)(void *data, int client_fd, uid_t uid, gid_t gid);
	void *data;
	bool seqpacket;
	bool send_proxy; /* the server is told who calls (proxy-header.h); not with seqpacket */
	uint64_t idle_usec; /* 0: for ever */
	uint64_t wait_usec; /* a client waits so long for a server that is not there */
	uint64_t max;
};

struct relays {
	struct loop *loop;
	struct service *service; /* NULL: whoever adds keeps to the maximum */
	struct relays_options options;
	/* Each relay is in one of these lists; in each, whoever has waited longest is first. */
	struct list connecting; /* the server's backlog is full */
	struct list asking; /* the client has not asked yet for the connection that it can go on with */
	struct list aside; /* it has it: nothing moves here */
	struct list active;
	struct list suspects; /* the client has ended its side, or was revoked: nothing moves */
	struct list closing; /* the client is gone; what it sent is still on its way */
	struct list dead;    /* to be freed after the round */
	uint64_t n;
	struct message_limit limit;
	bool checked; /* whether others can reach PATH */
	struct mover mover;
};

int relays_init(
	struct relays *r, struct loop *l, struct service *s, const struct relays_options *o);
void relays_deinit(struct relays *r);

/* Joins the client's connection, which it takes, to the server. CALLER is borrowed. */
void relays_add(struct relays *r, int client_fd, const struct capc_caller *caller);

/* Ends what has waited too long and frees what has ended. To be called after every round. */
void relays_tend(struct relays *r);

/* How long the next round may wait. */
uint64_t relays_timeout(const struct relays *r);

/* Warns, once, when users of this machine reach the server without a capability. */
void relays_check(struct relays *r);
