/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is written to `request` or `yield`, whose reply is the answer; and waiting for something to decide. */
#pragma once

#include "capfsd/tree/tree.h"

struct exchange;
struct session;

int perform_ask(struct exchange *x, struct node node);
/* The WAIT at a session's own directory. Returns: as perform(). */
int perform_wait_to_decide(struct exchange *x, struct session *s);
