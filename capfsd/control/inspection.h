/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connected sockets that clients have sent, which an inspector looks at (listeners/inspections.h). */
#pragma once

struct exchange;

/* Returns: as perform(). */
int perform_inspect(struct exchange *x);
