/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control protocol (doc/PROTOCOL): clients at the `control` socket of a session, over sockets/.
 *
 * It owns the clients, their replies that are still to be sent, what they have proved, and the
 * service manager's listener. broker/fronts.c makes it and tells it of the model's events, sockets/
 * calls it through struct endpoint_ops. It changes the model by verbs only, and never touches a
 * descriptor that a client has sent.
 *
 *	controls	all of them: what sockets/ and the model tell
 *	accept		how a client comes
 *	delegated	clients that have come through a slot: what they may
 *	control		one client: its requests in turn, and their replies
 *	perform		what each operation does; attach: those that give a descriptor
 *	spawn		programs are asked for
 *	wait		programs, and what else there is, are waited for
 *	asks		what is asked of other sessions, and waited for
 *	vouch		what was passed on to a client by another session
 *	inspection	the same, of connected sockets
 *	ownership	who keeps a connection when a session gets another owner or mode
 *	exchange	a request, its reply, and what the operations share
 *	manager		the service manager's listener, a second name of the root's control
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct askings;
struct controls;
struct entity;
struct metrics;
struct programs;
struct sockets;

/*
 * Joins it to SOCKETS, PROGRAMS and ASKINGS, which outlive it. METRICS are what requests show, NULL: none.
 * Returns: 0 or -errno.
 */
int controls_new(struct sockets *sockets, struct programs *programs, struct askings *askings, struct metrics *metrics,
	struct controls **ret);
/* Clients end; where SOCKETS forgets, they stay for the next broker. May be NULL. Returns: NULL. */
struct controls *controls_free(struct controls *controls);
/* Nobody is accepted any more, for good. The clients ended with their listeners. */
void controls_stop(struct controls *controls);

/*
 * WAITER is one of the clients', whose program, or whose ask, something has become of. FIRST: it is served before
 * all others.
 */
struct list;
void controls_resume(struct controls *controls, struct list *waiter, bool first);

/* WAITER alone waits for the end of a program that CONNECTION has asked for: if that is it, it takes it now. */
void controls_end(struct controls *controls, struct list *waiter, uint64_t connection);

/* What `metrics` calls an operation, by its number; 0: all others. NULL: there is none. */
const char *controls_operation_name(size_t op);

/* The model's hooks of these names. */
void controls_changed(struct controls *controls, const struct entity *e);
void controls_gone(struct controls *controls, const struct entity *e);

/*
 * Somebody who may connect through capability E has written CHALLENGE onto its socket.
 * Returns: 0, EINVAL, ECANCELED (no such challenge: that of an earlier broker, or it was used),
 * EEXIST.
 */
int controls_vouch(
	struct controls *controls, const struct entity *e, const char *challenge, size_t n);
