/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an entrypoint's server is told of its visits, from within its rounds. */
#pragma once

#include "libcap-client/server/serving.h"

/* Embedded in an entrypoint. */
void visited_init(struct visited *v);
void visited_deinit(struct visited *v);

/*
 * Looks at the visit of the slot ID, 0: at all of them, and tells the handler what is new. Returns: 0, -errno of the
 * session.
 */
int visited_look(struct capc_entrypoint *e, uint64_t id);
