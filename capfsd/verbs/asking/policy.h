/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A policy's words, and what a rule gives. */
#pragma once

#include <stdbool.h>

#include "capfsd/kinds/asking/policy.h"

struct asking;
struct model;
struct request;

/*
 * Adds the rules of the text that RULES have; KEPT: they were understood once. Returns: true, or false: refused, with
 * the number of the line.
 */
bool policy_parse(struct request *r, struct rules *rules, bool kept);

/*
 * Stages what RULE gives to who asks. Returns: 0, refused in R: it does not get it, or with the slot in *RET;
 * -errno.
 */
int policy_give(struct request *r, struct change *ch, const struct asking *asking, const struct rule *rule,
	struct capability **ret);

/* After loading: the rules of all policies. Returns: 0, -EBADMSG, -ENOMEM. */
int policies_make(struct model *m);
