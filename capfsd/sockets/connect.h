/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a connection through a capability is made: by accept(2), or over a pair by whoever in the
 * daemon has the other end (WIRE_OPEN, an open `call`); and why it is not. What a refusal is
 * called, and which errno it is, stands in one table, which the metrics show as well.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"
#include "capfsd/listeners/record.h"

struct arrival;
struct capability;
struct change;
struct connection;
struct memo;
struct text;

/* Their order is that of the counters, which outlive a broker: new ones come last. */
enum {
	CONNECT_E_ENDED = 1, /* the capability */
	CONNECT_E_RIGHT,
	CONNECT_E_UNSERVED,
	CONNECT_E_CALLS,
	CONNECT_E_CONNS,
	CONNECT_E_RATE,
	CONNECT_E_QUEUED,  /* as many wait for a server as may */
	CONNECT_E_SOCKETS, /* quota */
	CONNECT_E_INFLIGHT,
	CONNECT_E_PAGES,
	CONNECT_E_STORE,
	CONNECT_E_MEMORY,
};

/* What the metrics call it; 0: the daemon's fault. NULL: there is no such answer. */
const char *connect_refusal_name(size_t answer);

/* For core_add_user(): capabilities are served by this. */
extern const struct endpoint_ops connect_ops;

/*
 * Before the change of a connection through C: where a limit of C is reached, one that has left counts until
 * its server's word on it is read.
 */
void connect_make_room(const struct capability *c);

/*
 * Stages a connection through C. After the commit comes connect_publish(), else connection_free(). Takes the
 * descriptor on success. Returns: 0, CONNECT_E_*, -errno.
 */
int connect_stage(struct sockets *sockets, struct change *ch, struct capability *c,
	const struct arrival *arrival, struct connection **ret);
void connect_publish(struct connection *conn);
/* Counts ANSWER, CONNECT_E_*, and appends its reason to T. Returns: its errno. */
int connect_refused(
	struct sockets *sockets, const struct capability *c, int answer, struct text *t);

/* One of a predecessor, with its record; takes both. */
void connect_adopt(struct sockets *sockets, int fd, struct memo *memo);
