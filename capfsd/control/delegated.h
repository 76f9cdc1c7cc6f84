/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients of the control protocol that have come through a capability to a session, or to a thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/tree/tree.h"

struct control;
struct exchange;

/* Is what C has come through still good for it? Asked before each request, as that may end later than the capability. */
bool control_may_ask(const struct control *c);
/* Where the paths of C begin. Only where control_may_ask(). */
struct node control_root(const struct control *c);
/* Of one whose root is no session: the capability, by whose rights each thing that can be done there is bounded. NULL. */
const struct capability *delegated_subject(const struct control *c);
/* Does what X has come through let it ask for that, which takes RIGHT of a session's? Else it is refused. */
bool delegated_allows(struct exchange *x, uint32_t right);
