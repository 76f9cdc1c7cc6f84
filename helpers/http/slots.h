/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of HAProxy's listeners has the connections of which capability: what it allows and counts goes by that. One
 * that may do everything, however often, has none of its own.
 *
 * A slot stays its capability's when there is no connection any more: most come again. When another one needs
 * it, it is taken away from whoever has not used it longest; but only when HAProxy itself says that nothing is
 * left of what came by it, since that would be allowed by the other one's caveats.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "helpers/http/counts.h"
#include "helpers/http/engine.h"
#include "libcap-client/cap-client.h"

struct slot {
	uint32_t listener;
	uint64_t capability; /* 0: nobody's */
	char *caveats; /* n_caveats bytes, as its callers have them */
	size_t n_caveats;
	uint32_t page_index; /* where its requests are counted, or 0 */
	char *pattern; /* that HAProxy compares with; NULL: there is none, and it allows nothing */
	char *label;   /* of the session */
	uint32_t n_clients;
	uint64_t used_usec;
	uid_t uid; /* of all of these; -1: of several users */
	/* The current second's begin, and how many refusals were told in it. */
	uint64_t second_usec;
	unsigned n_refused;
};

struct slots {
	struct engine *engine;
	const char *name; /* of the service */
	struct counts *counts;
	struct slot all[ENGINE_LISTENERS_MAX];
	size_t n;
	bool failed; /* HAProxy is not as it should be; whoever has the slots ends it */
	/* Reads what HAProxy has said by now of a slot that will be another one's. */
	void (*settle)(void *data);
	void *data;
};

void slots_init(struct slots *s, struct engine *e, size_t n, const char *name, struct counts *counts);
void slots_deinit(struct slots *s);

/*
 * The slot for a connection of CALLER's, with HAProxy told what it may do. It is kept until n_clients, which is
 * the user's to count, is 0. May block, shortly. Returns: NULL: not now, *RET_WHY says why.
 */
struct slot *slots_get(struct slots *s, const struct capc_caller *caller, uint64_t now_usec, const char **ret_why);

/* Of a listener; NULL: it is nobody's. */
struct slot *slots_find(struct slots *s, uint32_t listener);
