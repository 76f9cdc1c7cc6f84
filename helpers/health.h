/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the server that a relay stands in front of is there. It is looked at now and then, and what comes of
 * connections counts at once. When that changes it is told: in the log, and to the daemon, where `info` of all
 * slots shows it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct service;

struct health {
	const char *path;
	struct loop *loop;
	struct service *service;
	int type;	/* SOCK_STREAM, SOCK_SEQPACKET */
	bool as_caller; /* it need not let in who we are ourselves */
	bool waits;	/* callers wait for it */
	/* The rest is health.c's. */
	int error, told; /* 0, -errno: as it is, and as the daemon knows it */
	uint64_t next_usec; /* of the next look */
	uint64_t tell_usec; /* not before that, once it could not be told */
};

/* Looks at once. */
void health_start(struct health *h);
/* A connection was made (0), or not (-errno). */
void health_saw(struct health *h, int error);
/* To be called after every round, which may wait for so long. */
void health_tend(struct health *h);
uint64_t health_timeout(const struct health *h);
