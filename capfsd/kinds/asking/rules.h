/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of a policy, as they are looked up: PATTERN NAME SLOT or PATTERN NAME deny, a line each. A pattern is
 * a label; one with a slash and a star behind it, for that and all below; a star, a slash and the end of labels; or a
 * star alone, for all. Of those that match one counts: a label before a beginning, a longer beginning before a
 * shorter one, that before an end, a longer end before a shorter one, and the star last. No two can be alike.
 *
 * It owns a copy of the text, and nothing else knows of it but the policy that has it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/index.h"
#include "capfsd/kinds/capability/capability.h"

/*
 * All of a policy is understood in one turn, by the broker in service and by one that starts, which takes half a
 * millisecond for this many: as much as others may have to wait for anybody (SECURITY). A megabyte would take eight, and
 * to understand it in pieces would be two policies at once for as long as that lasts.
 */
#define RULES_MAX 1024
#define RULES_BYTES_MAX 65535

struct rule {
	struct index_link link;
	const char *text;       /* of all of them; what follows is in it, not terminated */
	struct reductions *how; /* the words, as they were understood when the rules were made; NULL: there are none */
	uint16_t pattern, n_pattern, name, n_name, slot, n_slot, words, n_words;
	uint32_t line; /* from 1 on */
	bool denies;
};

static inline const char *
rule_pattern(const struct rule *r)
{
	return r->text + r->pattern;
}

static inline const char *
rule_name(const struct rule *r)
{
	return r->text + r->name;
}

static inline const char *
rule_slot(const struct rule *r)
{
	return r->text + r->slot;
}

struct rules {
	char *text;
	size_t n_text;
	struct rule *rule;
	size_t n, n_max;
	size_t bytes; /* of memory, all of it */
	struct index index;
};

/* With a copy of the text, and no rules yet; of at most RULES_BYTES_MAX. NULL: no memory. */
struct rules *rules_new(const char *text, size_t n);
struct rules *rules_free(struct rules *rules);

/* The one of this pattern and name. NULL: there is none. */
const struct rule *rules_same(const struct rules *rules, const struct rule *as);
/* What RULE has stands in the copy of the text; HOW, NULL: nothing, is copied. Returns: 0, -E2BIG: RULES_MAX, -ENOMEM. */
int rules_add(struct rules *rules, const struct rule *rule, const struct reductions *how);

/* The one that counts for a session of this label that asks for NAME. NULL: none matches. */
const struct rule *rules_find(const struct rules *rules, const char *label, size_t n_label, const char *name,
	size_t n);
