/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listeners of objects, which go to servers that accept by themselves. Nobody is accepted here,
 * and no connection of theirs is ever seen.
 */
#pragma once

#include <stdint.h>

#include "capfsd/listeners/core.h"

struct channel;
struct entrypoint;
struct object;

/* For core_add_user(). */
extern const struct endpoint_ops lend_ops;

/* Makes the listeners that the objects of E do not have; its server gets each when it is bound. */
void lend_all(struct sockets *sockets, struct entrypoint *e);
/* Sends what the server has credit for. */
void lend_pump(struct channel *channel);
/* The server has the listener of the object with this badge, if there is one. */
void lend_taken(struct channel *channel, uint64_t badge);
/* CHANNEL ends. */
void lend_detach(struct channel *channel);
/* O is new: its server gets a listener at the next chance. For hooks. */
void lend_changed(struct object *o);
