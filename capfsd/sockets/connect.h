/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a connection through a capability is made: by accept(2), or over a pair by whoever in the
 * daemon has the other end (WIRE_OPEN, an open `call`); and why it is not, by the rules of passage.h.
 */
#pragma once

#include "capfsd/kinds/capability/passage.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/record.h"

struct arrival;
struct capability;
struct change;
struct connection;
struct memo;
struct text;

/* For core_add_user(): capabilities are served by this. */
extern const struct endpoint_ops connect_ops;

/*
 * What is known here of a connection through C, in P. By connect(2) it takes a listener, too, where there is none
 * that is paid for.
 */
void connect_look(struct sockets *sockets, struct capability *c, struct passage *p);

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
/*
 * The same for one who is no struct connection, and has yet to be paid for: stages that there is one more through C.
 * After the commit comes capability_connected(), and at its end capability_disconnected(). Returns: 0, CONNECT_E_*.
 */
int connect_count(struct sockets *sockets, struct change *ch, struct capability *c);
/* Counts ANSWER, CONNECT_E_*, and appends its reason to T. Returns: its errno. */
int connect_refused(
	struct sockets *sockets, const struct capability *c, int answer, struct text *t);

/* The daemon answers CONN, and cannot now: it is asked again a little later (answers.h). */
void connect_again(struct connection *conn);

/* One of a predecessor, with its record; takes both. */
void connect_adopt(struct sockets *sockets, int fd, struct memo *memo);
