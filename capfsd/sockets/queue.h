/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections on their way to a server, in the order of their serials: those that wait for one to
 * come, in the queue of the endpoint; those that wait for its credit, those that it was offered,
 * and those that it has, in lists of its channel. Nothing else puts a connection into any of these.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"

struct channel;
struct connection;
struct entrypoint;

/* The serial of who queues up next at E: below those of every channel, and behind all that wait. */
uint64_t queue_serial(const struct entrypoint *e);
/* The epoch of a channel that comes to E: above whatever waits there. */
uint64_t queue_epoch(const struct entrypoint *e);

/* CONN waits for its hand-over, or has been taken before; by its serial among the others. */
void queue_enter(struct channel *channel, struct connection *conn);
/* CONN, which was never offered, waits until its entrypoint has a server again. */
void queue_hold(struct connection *conn);
/* The same for one that has just come: an event, at most one a second. */
void queue_hold_new(struct connection *conn);

/* Hands over what the server's credit and the budget of all allow. */
void queue_pump(struct channel *channel);
/* Ends those whose turn came when their session could not pay. May end connections of CHANNEL. */
void queue_refuse_unpaid(struct channel *channel);
/* The server has what had SERIAL. Returns: was that a connection? CHANNEL stays. */
bool queue_taken(struct channel *channel, uint64_t serial);

/* A server has come: those who waited are its first. */
void queue_take(struct channel *channel);
/*
 * It has gone: whom it has not been offered waits for the next one, if callers may. The rest ends.
 */
void queue_give_back(struct channel *channel);
void queue_end(struct channel *channel);
/* Nobody is coming for those who wait at E: they are ended. */
void queue_refuse(struct entrypoint *e);
