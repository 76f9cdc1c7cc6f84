/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words to stderr, "capfs-relay: …", and to a service manager. */
#pragma once

#include <stdint.h>

void message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For what a client can provoke: a few at once, then one a second, telling how many were left out.
 */
struct message_limit {
	uint64_t since_usec; /* the current second's begin */
	unsigned n, n_dropped;
};

void message_limited(struct message_limit *l, uint64_t now_usec, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
