/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection through a capability, from its making to its end. It pays `sockets` while it lasts
 * and `inflight` from when it is sent until its server has taken it, or its client has left. What
 * only waits for a server has nothing in flight: a service that hangs must not cost its clients the
 * way to all others. So each slot may have only a part of what its session has of either.
 *
 * The daemon keeps a duplicate of what the server gets. By it a revocation reaches the connection
 * wherever its descriptors went, and by it the daemon learns of its end: a HUP comes when the
 * client closes, or when the server shuts it down. Nothing is ever read from the duplicate but to
 * discard it.
 *
 * All members are written by connection.c alone; `channel_link` is in the list of whoever has it
 * now: the endpoint's queue, one of those of its channel (queue.c), that of
 * connect_again(), or one of who answers (answers.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/index.h"
#include "base/list.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/record.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"

struct answers;
struct capability;
struct change;
struct channel;
struct entrypoint;
struct listener;
struct memo;
struct session;

#define HANDOVER_FDS 2 /* the connection and its client's pidfd, in flight until they are taken */

/* A client that has come. */
struct arrival {
	int fd;		   /* its server's end */
	struct ucred peer; /* who it is */
	uint64_t client_cookie; /* of its own end, if that is made here, else 0 */
	bool aside;	   /* it waits for another connection in the place of this one */
};

struct connection {
	struct sockets *sockets;
	struct index_link peer_link; /* connections.by_peer, when its other end was made here */
	struct capability *capability; /* NULL: ended, and only its credit is still out */
	struct channel *channel;       /* NULL: it waits, in the queue, until there is a server … */
	const struct answers *answers; /* … or the daemon itself answers by these */
	struct listener *listener;
	struct list listener_link; /* listener.clients */
	struct list channel_link;
	struct list left_link; /* listener.left, while `hung_up` */
	struct watch watch;
	struct charge socket, inflight;
	struct memo *memo;
	uint64_t serial;
	int fd;
	uint8_t state;	/* enum connection_state */
	uint8_t n_sent; /* descriptors in flight */
	bool paired;	/* made here: its peer credentials are the daemon's own */
	bool hung_up;	/* the client went before the server took it */
	bool repeated;	/* a predecessor may have offered it */
	bool unpaid;	/* its session could not pay when its turn came */
	struct connection **known_as; /* set to NULL when it ends; may be NULL */
};

struct connections {
	struct index by_peer; /* by the cookie of the client's end */
	struct list again;    /* by channel_link; connect.c's */
	uint64_t n;
};

/* Returns: 0 or -errno. */
int connections_new(struct sockets *sockets);
void connections_free(struct sockets *sockets);
/* For endpoint_ops: one of those that came through L ends. */
void connections_gone(void *data, struct listener *l);
/*
 * It may have changed whether L, a slot's, and those that came through it take descriptors; and which caveats they
 * have: those that were made with fewer end. L may be freed.
 */
void connections_restricted(struct listener *l);
/* Has its capability the caveats that it had when CONN was made? */
bool connection_is_current(const struct connection *conn);

/* A new one through C, to whoever serves that, with MEMO still to be made. NULL: no memory. */
struct connection *connection_new(struct sockets *sockets, struct capability *c);
/*
 * One that is not published. Closes its descriptor, if it has one. CONN may be NULL. Returns: NULL.
 */
struct connection *connection_free(struct connection *conn);
/* Makes it pay `sockets`. Returns: 0 or -EDQUOT. */
int connection_charge(struct connection *conn);
/* The same for one of a predecessor, which had paid. */
int connection_charge_again(struct connection *conn);
/*
 * Can it be sent, now or when what is in flight of its own slot has been taken? What its session
 * has in flight elsewhere is not waited for, since others wait behind it. The first: a new one of S, through L,
 * which may be NULL.
 */
bool connections_can_fly(const struct session *s, const struct listener *l);
bool connection_can_fly(const struct connection *conn);
/* Makes it pay `inflight`, just before it is sent. Returns: false, not now. */
bool connection_fly(struct connection *conn);
/* It could not be sent. */
void connection_land(struct connection *conn);
/*
 * A descriptor is in flight as long as it lasts, where the daemon answers. Returns: 0; -EDQUOT: its
 * session has no room for that; -EAGAIN: the daemon has none.
 */
int connection_carry(struct connection *conn);
/* Its record, with its serial, as it is to be stored first. Returns: 0 or -ENOMEM. */
int connection_make_record(struct connection *conn, uint64_t cookie, const struct arrival *arrival,
	uint64_t serial);
/* Watches FD. Takes it on success. Returns: 0 or -ENOMEM. */
int connection_watch(struct connection *conn, int fd);
/* It is one of a predecessor, with its record. Takes MEMO. */
void connection_restore(struct connection *conn, struct memo *memo);
/* It is there for all to see: linked, and counted. */
void connection_publish(struct connection *conn);

/* It waits, for the credit of CHANNEL, or with NULL for a server. */
void connection_wait(struct connection *conn, struct channel *channel);
/* N descriptors of it were sent. */
void connection_offered(struct connection *conn, unsigned n);
/* They will not be taken: their server is gone. */
void connection_unoffered(struct connection *conn);
/* The server has it. CONN may be freed. */
void connection_taken(struct connection *conn);
/* The store is to know it as STATE, some time. */
void connection_touch(struct connection *conn, enum connection_state state);

/* Shuts it down, discards what is queued, forgets it. CONN may be freed. */
void connection_end(struct connection *conn);
/* Its client has closed, as the loop would learn a little later. CONN may be freed. */
void connection_left(struct connection *conn);
/* It ended while it was in flight, and that is over: nothing is left of it. */
void connection_bury(struct connection *conn);

struct entrypoint *connection_entrypoint(const struct connection *conn);
/* The one that was made here, by the cookie of the client's end. NULL: ended. */
struct connection *connection_find_paired(const struct sockets *sockets, uint64_t cookie);
/* *REF, which is CONN, becomes NULL when it ends. REF NULL: nobody wants to know any more. */
void connection_set_reference(struct connection *conn, struct connection **ref);
