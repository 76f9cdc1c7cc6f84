/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read of a conversation. */
#pragma once

#include <stdbool.h>

struct call;
struct call_read;
struct capability;
struct request;

/* What is there of the reply to CALL, whose capability C lives. Returns: 0 or CALL_E_WAIT. */
int call_read(struct call *call, struct request *r, const struct capability *c,
	struct call_read *read);
/* Was all of the reply read, or given up, so that the next request may come? */
bool call_is_over(struct call *call);
/* Discards what the service sent unasked. Returns: can the connection go on? */
bool call_drain(struct call *call);
/* Is there a reply, or the end of all replies? */
bool call_is_readable(struct call *call);
/* Of one that is adopted: finds out what its predecessor has taken. */
void call_recall(struct call *call);
