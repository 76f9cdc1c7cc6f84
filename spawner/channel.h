/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records to a broker and from it. Nothing here waits: what the broker does not take yet is kept, and whoever
 * owns the channel reads no more from it until that is gone, so that a broker that does not listen has
 * nothing to ask for either.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "wire/process.h"

#define CHANNEL_REST_BYTES 16384

struct channel {
	int fd; /* -1: it has ended */
	struct list unsent;
	size_t n_unsent;
};

struct channel_packet {
	struct process_record record;
	unsigned char rest[CHANNEL_REST_BYTES]; /* what was behind it */
	size_t n_rest;
};

/* FD becomes the channel's, which sends no descriptors through it to us from now on. */
void channel_init(struct channel *c, int fd);
void channel_deinit(struct channel *c);

/*
 * Sends R with the N descriptors of FDS, two at most, which are closed here in any case. What cannot be sent
 * at all is lost: then the other ends of those are at their end, which is how it is noticed.
 */
void channel_send(struct channel *c, const struct process_record *r, int *fds, size_t n);

/* Sends what is kept as far as possible. */
void channel_flush(struct channel *c);

/* What to poll(2) for. */
short channel_events(const struct channel *c);

enum {
	CHANNEL_E_EMPTY = 1, /* nothing has come */
	CHANNEL_E_BAD,	     /* what came was no record, and is gone */
};

/* Takes one packet; what its record is too short for is 0. Returns: 0, CHANNEL_E_…, -errno: it has ended. */
int channel_receive(struct channel *c, struct channel_packet *ret);
