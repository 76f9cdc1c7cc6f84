/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* That a capability is used, which counts against its limits and those of all that it came from (limits.c). */
#pragma once

#include <stdint.h>

struct capability;
struct change;

/*
 * Stages one connection that was let pass (passage.h): counts a call against C and all its ancestors, where
 * they have a limit of calls and the server does not count. The connection itself is counted by
 * capability_connected(), after the commit, and given back by capability_disconnected().
 * Returns: 0 or -ENOMEM.
 */
int capability_count(struct change *ch, struct capability *c);
/* The same, asked for the rules that need no server. Returns: 0, CONNECT_E_*; -ENOMEM. */
int capability_connect(struct change *ch, struct capability *c);
void capability_connected(struct capability *c);
void capability_disconnected(struct capability *c);

/*
 * Stages that C, for which the daemon answers, is used with RIGHT in a command: that is a call of it.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT, _LIMIT_CALLS, _LIMIT_RATE; -ENOMEM.
 */
int capability_use(struct change *ch, struct capability *c, uint32_t right);

/* What C and its ancestors show of their use has changed. */
void capability_used(struct capability *c);
