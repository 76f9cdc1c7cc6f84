/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rights: what whoever has a capability may do with it. They stand in records, so a bit that was
 * given once keeps its meaning. A type of capability says which of them there are for it beside the
 * common ones (type.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct text;

enum right {
	RIGHT_CALL = 1 << 0,
	RIGHT_GRANT = 1 << 1,
	RIGHT_REPLICATE = 1 << 2,
	RIGHT_REDUCE = 1 << 3,
	RIGHT_TRANSFER = 1 << 4,
	RIGHT_SHARE = 1 << 5,
	RIGHT_FDS = 1 << 6, /* descriptors may be sent through it; its absence stands in records */
	RIGHT_RAISE = 1 << 7,
	RIGHT_WAIT = 1 << 8,
	RIGHT_ACCEPT = 1 << 9, /* of a session: capabilities may be given to it … */
	RIGHT_ACCOUNT = 1 << 10, /* … quota too, and be taken back */
	RIGHT_CONTROL = 1 << 11, /* … it may be spoken to as at its own `control` */
	RIGHT_SPAWN = 1 << 12,   /* … programs may be started there */
	RIGHT_KILL = 1 << 13,    /* of a thread, as the words of its `ctl` */
	RIGHT_PAUSE = 1 << 14,
	RIGHT_AFFINITY = 1 << 15,
	RIGHT_SIGNAL = 1 << 16,
	RIGHT_OPEN = 1 << 17, /* to get what was posted */
};

/* Without any of these a capability is immutable. */
#define RIGHTS_COMMON (RIGHT_GRANT | RIGHT_REPLICATE | RIGHT_REDUCE | RIGHT_TRANSFER | RIGHT_SHARE)

/* Names of rights: "call", "grant", … Appends "call,grant" to the text; "-" for none. */
void rights_format(uint32_t rights, struct text *t);
/* The right of that name, or 0. */
uint32_t right_find(const char *name, size_t n);
