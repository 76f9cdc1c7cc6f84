/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How listeners come and go: made when a look-up wants one, given back when too many are idle.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"

/* The binder's jobs included (jobs.h). Returns: 0 or -errno. */
int bindings_new(struct sockets *sockets);
void bindings_free(struct sockets *sockets);

/* Can E be connected to at once? */
bool binding_is_ready(struct sockets *sockets, struct entity *e);
/* A look-up waits for that: sockets_fs.socket_done tells, perhaps before this returns. */
void binding_want(struct sockets *sockets, struct entity *e);
/* The kernel has forgotten the node. */
void binding_forgotten(struct sockets *sockets, uint64_t entity_id);

/*
 * E is served again. If the kernel does not forget its node now, it is held (a bind mount, a descriptor) and
 * gets a listener, since whoever has it connects without a look-up.
 */
void binding_recall(struct sockets *sockets, struct entity *e);

/* Gives back what is idle beyond the limit. */
void binding_balance(struct sockets *sockets);
/* Gives back an idle one of S, other than KEEP, its quota at once. Returns: was there one? */
bool binding_yield(struct sockets *sockets, const struct session *s, const struct listener *keep);
