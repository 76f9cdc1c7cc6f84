/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store that forgets, for models that are not loaded again, and a clock that stands still. */
#pragma once

#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"

extern const struct store_ops fuzz_store_ops;

/* 2026-01-31T12:00:00Z, for model.now_usec. */
uint64_t fuzz_now(void);

/* model_reap() until nothing is left, in slices of BUDGET, and model_check(). */
void fuzz_reap(struct model *m, unsigned budget);
