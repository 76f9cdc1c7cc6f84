/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages in which requests are counted (wire/pages.h). HAProxy counts there itself (counter.c); here they are
 * passed to it, and looked at.
 */
#pragma once

#include <stdbool.h>

#include "helpers/http/engine.h"
#include "libcap-client/cap-client.h"
#include "libcap-client/limits.h"

struct counts {
	const struct engine *engine;
	capc_entrypoint *const *entrypoint; /* borrowed */
	struct limits limits;
};

void counts_init(struct counts *c, const struct engine *e, capc_entrypoint *const *entrypoint);
void counts_deinit(struct counts *c);

/*
 * Are they there, for HAProxy as well? They are when a caller with an entry has come. Returns: 0, -errno: HAProxy
 * can count nothing.
 */
int counts_open(struct counts *c);

/* Does a limit of calls, or a rate, hold for it now? */
bool counts_hold(const struct counts *c, uint64_t capability, uint32_t page_index);
