/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is written to `request` or `yield`, whose reply is the answer. */
#pragma once

#include "capfsd/tree/tree.h"

struct exchange;

int perform_ask(struct exchange *x, struct node node);
