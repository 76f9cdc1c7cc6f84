/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the broker counts for `metrics` and `version`. Owned by the broker, counted up by the fronts,
 * shown by ops/info.c. Counters begin anew with each broker.
 */
#pragma once

#include <stdint.h>

struct metrics {
	uint64_t instance;  /* of the mount */
	uint64_t n_brokers; /* started for this mount, the present one included */
	uint64_t fuse_requests;
	uint64_t control_requests;
	uint64_t connections; /* open now */
	uint64_t connections_total;
	uint64_t listeners; /* open now */
};
