/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What HAProxy has refused, as it logs it, told to the daemon: it is an event of the session whose capability it
 * was. Of each slot only so many a second; the daemon has a bound of its own for all of them together.
 */
#pragma once

#include "helpers/http/slots.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"

struct refusals {
	struct source source; /* the first member */
	struct loop *loop;
	struct service *service;
	struct slots *slots;
	struct message_limit limit;
};

/* Returns: 0 or -errno. */
int refusals_init(struct refusals *r, struct loop *l, struct service *s, struct slots *slots);
void refusals_deinit(struct refusals *r);
/* Reads all that there is by now. */
void refusals_read(struct refusals *r);
