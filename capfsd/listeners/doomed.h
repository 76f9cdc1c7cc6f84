/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of listeners whose capability has ended, piece by piece, so that nobody waits for the end of thousands:
 * first it is found out which they are, then each ends its socket, and its clients one after the other. Whoever comes
 * meanwhile is refused by the rules of a passage. What is removed from the model before ends with all of that at once
 * (listener_free()).
 *
 * The model's hooks call it, and the broker's loop.
 */
#pragma once

#include <stdbool.h>

struct listener;
struct sockets;

/* L is to end, with all that waits there refused. */
void listener_doom(struct listener *l);
/* Some have ended, nobody knows yet which: all are looked at. */
void listeners_look(struct sockets *sockets);

/* Is one of them still to be ended, or looked at? */
bool listeners_are_doomed(const struct sockets *sockets);
/* … and may it have so many clients that its entity may not be removed, with all of them, before most have ended? */
bool listeners_are_crowded(const struct sockets *sockets);
/* One piece of that: a few looks, and the socket of one of them, or with that gone one of its clients. */
void listeners_end_one(struct sockets *sockets);
