/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The policy of a session: what its children get by asking alone. Its text is stored in pieces; that in force has
 * its rules, by which sessions are looked up. One that is replaced stays until all that it has given was looked
 * at: what the new one does not cover is ended, by slices, as all that ends is (model_reap()).
 *
 * What a policy has given is a `ruled` of the session that has it: it belongs to the slot, and goes with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/kinds/asking/rules.h"
#include "capfsd/model/entity.h"

struct capability;
struct change;
struct kind;
struct session;
struct text;

extern const struct kind policy_kind, ruled_kind;

#define POLICY_PIECE_BYTES 4080

enum policy_state {
	POLICY_IN_FORCE,
	POLICY_REPLACED,
};

struct policy_record {
	uint64_t session;
	uint32_t n;
	uint8_t state;
	uint8_t goes_on; /* it is not the first piece */
	uint8_t reserved[2];
	char text[POLICY_PIECE_BYTES]; /* not terminated: the next piece goes on */
};

struct policy {
	struct entity entity; /* called "policy" */
	struct policy_record record;
	struct session *session;
	struct rules *rules; /* of the first piece; NULL: not made yet (policy_to_make()) */
	struct charge charge; /* for them */
};

struct ruled_record {
	uint64_t capability;
};

struct ruled {
	struct entity entity; /* its name is the one that was asked for */
	struct ruled_record record;
	struct capability *capability;
	struct session *session; /* whose policy it was */
	struct list given_link;  /* session.given, those first that are to be looked at */
	uint64_t looked_by;      /* the id of the policy for which it was */
};

static inline struct policy *
policy_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct policy, entity);
}

static inline struct ruled *
ruled_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct ruled, entity);
}

/* That in force. NULL: none. */
struct policy *policy_in_force(const struct session *s);
/* Appends its text. */
void policy_text(const struct session *s, struct text *t);

/*
 * Stages RULES and their text as the policy of S. *RET_OLD: what is looked at after the commit (model_is_ending()),
 * 0: nothing is. Takes RULES on success. Returns: 0, QUOTA_E_EXCEEDED: ram; -ENOMEM.
 */
int policy_set(struct change *ch, struct session *s, struct rules *rules, uint64_t *ret_old);

/* After loading, when the rules are not made yet: the first piece of the next policy behind P; NULL: no more. */
struct policy *policy_to_make(struct model *m, struct policy *p);
/* Its rules are there, and its session pays for them. */
void policy_charge(struct policy *p);

/* The rule of the parent of S that counts where S asks for NAME. NULL: none. */
const struct rule *policy_find(const struct session *s, const char *name, size_t n);
/* The same for a slot that was got by a policy, as that is now. */
const struct rule *policy_rule_of(const struct capability *c);
/* Does RULE still give C, which it or another one has given? */
bool policy_covers(const struct rule *rule, const struct capability *c);

/* Stages that C, which this change adds, was given by the policy of its parent's session to who asked for NAME. */
int ruled_add(struct change *ch, struct capability *c, const char *name, size_t n);
