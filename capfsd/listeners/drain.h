/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners that are given up: shut down, so that nobody new comes, and then emptied one client at a
 * time, in the turns of who pays. As many may wait there as the system allows, and whoever has his
 * own slot flooded and revoked must not keep others waiting for that.
 */
#pragma once

#include "capfsd/listeners/core.h"

/* FD came to E by a listener that has been given up. Takes FD. */
typedef void drain_admit(struct sockets *sockets, struct entity *e, int fd);

extern const struct endpoint_ops drain_ops;

/*
 * Takes FD, a listener of E. Whoever waits there is given to ADMIT as long as E is there; NULL: is
 * refused. It goes on being paid for by CHARGE, which is taken, or if that is NULL or none, anew where that
 * can be.
 */
struct charge;
void drain_begin(struct sockets *sockets, struct entity *e, int fd, drain_admit *admit, struct charge *charge);
/* S ends: its parent pays for those that are not empty yet. */
void drains_inherit(struct sockets *sockets, struct session *s);
/* Empties them all at once, as no loop will do it. */
void drains_finish(struct sockets *sockets);
/* They stay open for the next broker. */
void drains_free(struct sockets *sockets);
