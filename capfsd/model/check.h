/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For the checks of model_check(), which each kind has in its row: all that is derived from records
 * is computed again from the records alone. Only tests and fuzzers call it; it costs time in the
 * size of the model, and aborts with the line that does not hold.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "capfsd/model/entity.h"

struct list;

/* As assert(), and not left out of builds without that. */
#define model_expect(condition)                                                                    \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The entities in LIST are of KIND and belong to OWNER, in the order of their ids. Returns how many. */
uint64_t check_list(struct list *list, enum entity_kind kind, const struct entity *owner);
