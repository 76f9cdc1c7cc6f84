/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations of the property test on policies: what is asked for and stands in one is given at once, and when it is
 * replaced what the new one does not give is ended, and nothing else.
 */
#include "config.h"

#include "tests/property.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/ops/request.h"
#include "capfsd/verbs/asking/answer.h"
#include "capfsd/verbs/asking/policy.h"

#define NAMES 3 /* that are asked for */

#undef NDEBUG
#include <assert.h>

/* One of the four forms, of what may be a label. */
static void
random_pattern(struct property *p, char pattern[64])
{
	const struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS);
	cleanup_text struct text label = {};

	session_label(property_session(p, session < 0 ? 0 : session), &label);
	switch (property_random(p, 4)) {
	case 0:
		snprintf(pattern, 64, "%.60s", label.data);
		break;
	case 1:
		snprintf(pattern, 64, "%.60s/*", label.data);
		break;
	case 2:
		snprintf(pattern, 64, "*%.60s", strrchr(label.data, '/') ? strrchr(label.data, '/') : "/s0");
		break;
	default:
		strcpy(pattern, "*");
		break;
	}
}

/* With the words of a rule, which fit an object, a signal, or both. */
static void
random_words(struct property *p, struct ref_rule *rule)
{
	struct reductions *how = &rule->how;

	*how = (struct reductions){};
	rule->has_how = !rule->denies && property_random(p, 2);
	if (!rule->has_how)
		return;
	how->has_rights = property_random(p, 2);
	how->rights = property_random(p, 5) ? RIGHT_CALL : RIGHT_RAISE;
	how->has_conns = property_random(p, 2);
	how->conns = 1 + property_random(p, 4);
	how->has_calls = !how->has_rights && !how->has_conns;
	how->calls = 1 + property_random(p, 20);
}

/* As a policy has it, with the end of the line. */
static void
write_words(const struct ref_rule *rule, char *to)
{
	const struct reductions *how = &rule->how;

	if (how->has_rights)
		to += sprintf(to, how->rights == RIGHT_CALL ? " rights=call" : " rights=raise");
	if (how->has_conns)
		to += sprintf(to, " conns=%" PRIu64, how->conns);
	if (how->has_calls)
		to += sprintf(to, " calls=%" PRIu64, how->calls);
	strcpy(to, "\n");
}

/* A slot of SESSION that it can give, if it has one. */
static void
random_slot(struct property *p, int session, char slot[8])
{
	const struct reference *ref = &p->reference;

	property_name(p, slot, 'c', 10);
	for (int i = 0; i < 20; i++) {
		int cap = PICK(p, ref->caps, REF_CAPS);

		if (cap >= 0 && ref->caps[cap].session == session && strlen(ref->caps[cap].name) < 8 &&
			ref_cap_rights(ref, cap) & RIGHT_GRANT) {
			strcpy(slot, ref->caps[cap].name);
			return;
		}
	}
}

/* One of SESSION at random, or with other words, or as it is in OLD. */
static struct ref_rule
random_rule(struct property *p, int session, const struct ref_policy *old)
{
	struct ref_rule rule = {.denies = property_random(p, 8) == 0};

	if (old && old->n > 0 && property_random(p, 3)) {
		rule = old->rules[property_random(p, old->n)];
		if (property_random(p, 2))
			random_words(p, &rule);
		return rule;
	}
	random_pattern(p, rule.pattern);
	property_name(p, rule.name, 'q', NAMES);
	random_slot(p, session, rule.slot);
	random_words(p, &rule);
	return rule;
}

/* Rules of SESSION, and their text; no two are alike. */
static void
random_rules(struct property *p, int session, struct ref_policy *made, char *text)
{
	int old = ref_policy_of(&p->reference, session);
	unsigned n = (unsigned)property_random(p, REF_RULES + 1);

	for (unsigned i = 0; i < n; i++) {
		struct ref_rule rule = random_rule(p, session, old < 0 ? NULL : &p->reference.policies[old]);
		bool same = false;

		for (unsigned k = 0; k < made->n; k++)
			same = same || (strcmp(made->rules[k].pattern, rule.pattern) == 0 &&
					       strcmp(made->rules[k].name, rule.name) == 0);
		if (same)
			continue;
		sprintf(text + strlen(text), "%s %s %s", rule.pattern, rule.name, rule.denies ? "deny" : rule.slot);
		write_words(&rule, text + strlen(text));
		made->rules[made->n++] = rule;
	}
}

/* What is in force is to cover what was given from now on, and not only once. */
static void
replace(struct reference *ref, int session)
{
	int old = ref_policy_of(ref, session);

	if (old >= 0)
		ref->policies[old].replaced = true;
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref->caps[i].ruled[0] && ref->caps[ref->caps[i].parent].session == session)
			ref->caps[i].covered = false;
}

void
op_policy(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_policy(ref), answer;
	struct ref_policy made = {.session = session};
	struct request r = {.model = p->world.model};
	uint64_t left[QUOTA_N_KINDS], old;
	char text[REF_RULES * 160] = "";
	struct rules *rules;
	struct change *ch;
	bool done;

	if (session < 0 || place < 0 || ref->sessions[session].closing)
		return;
	random_rules(p, session, &made, text);
	rules = rules_new(text, strlen(text));
	assert(rules && policy_parse(&r, rules, false));
	request_deinit(&r);
	made.bytes = rules->bytes;
	ref_left(ref, session, left);
	ch = change_begin(p->world.model);
	answer = policy_set(ch, property_session(p, session), rules, &old);
	done = property_done(p, ch, answer, left[QUOTA_RAM] < 4096 + made.bytes ? QUOTA_E_EXCEEDED : 0);
	if (answer != 0)
		rules_free(rules);
	if (!done)
		return;
	replace(ref, session);
	made.id = policy_in_force(property_session(p, session))->entity.id;
	ref->policies[place] = made;
}

/* The slot of which that rule gives, or -1. */
static int
source_of(const struct reference *ref, int session, unsigned line)
{
	int parent = ref->sessions[session].parent;
	const struct ref_rule *rule = &ref->policies[ref_policy_of(ref, parent)].rules[line - 1];

	return rule->denies ? -1 : ref_cap_named(ref, parent, rule->slot);
}

/* What the rule of a line gives to who asks. */
static bool
expect_gift(struct property *p, const struct ref_ask *ask, unsigned line, struct ref_cap *made)
{
	struct reference *ref = &p->reference;
	int parent = ref->sessions[ask->session].parent;
	const struct ref_rule *rule = &ref->policies[ref_policy_of(ref, parent)].rules[line - 1];
	int source = source_of(ref, ask->session, line);
	uint64_t left[QUOTA_N_KINDS];

	ref_left(ref, ask->session, left);
	if (source < 0 || !property_expect_gift(p, ask, source, &rule->how, made))
		return false;
	strcpy(made->ruled, ask->name);
	made->covered = true;
	return left[QUOTA_RAM] >= 1024;
}

/* A session asks for what its name stands for: where there is a rule it has the slot, or there is none to be had. */
void
op_request(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = -1, source, answer;
	struct ref_ask ask = {.what = ASK_SLOT};
	struct request r = {.model = p->world.model};
	struct ask_record record;
	const struct rule *rule;
	struct capability *c;
	struct ref_cap made;
	struct change *ch;
	unsigned line = 0;
	bool expected;

	/* Most ask for what there is. */
	for (int i = 0; i < 12 && !line; i++) {
		session = PICK(p, ref->sessions, REF_SESSIONS);
		property_name(p, ask.name, 'q', NAMES);
		line = session < 0 ? 0 : ref_rule_for(ref, session, ask.name);
	}
	if (session <= 0 || ref->sessions[session].closing || ref_free_cap(ref) < 0)
		return;
	ask.session = session;
	source = line ? source_of(ref, session, line) : -1;
	property_ask_for(p, property_random(p, 8) ? source >= 0 && ref->caps[source].signal : true, &ask, &record);
	rule = policy_find(property_session(p, session), ask.name, strlen(ask.name));
	assert(rule ? rule->line == line : !line);
	if (!rule)
		return;
	expected = expect_gift(p, &ask, line, &made);
	ch = change_begin(p->world.model);
	answer = policy_give(&r, ch,
		&(struct asking){&record, property_session(p, session), ask.name, strlen(ask.name)}, rule, &c);
	answer = answer ? answer : r.error != 0;
	request_deinit(&r);
	if (property_done(p, ch, answer, !expected))
		property_add_cap(p, &made, c);
}

/* All that was given by a policy of SESSION, which has replaced others that have gone, is what it gives, or gave. */
static void
check_looked_at(struct reference *ref, int session)
{
	for (int i = 0; i < REF_POLICIES; i++)
		if (ref->policies[i].id && ref->policies[i].session == session && ref->policies[i].replaced)
			return;
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref->caps[i].ruled[0] && !ref_cap_doomed(ref, i) &&
			ref->caps[ref->caps[i].parent].session == session)
			assert(ref->caps[i].covered);
}

/* The reaper looks at what was given, and ends what is not given now. */
void
property_policies_reaped(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_CAPS; i++) {
		struct ref_cap *c = &ref->caps[i];
		struct entity *e = c->id && c->ruled[0] ? entity_find(p->world.model, c->id) : NULL;

		if (e && (capability_of(e)->record.flags & CAPABILITY_DEAD) && !ref_cap_doomed(ref, i)) {
			assert(!ref_policy_covers(ref, i));
			c->dead = true;
		}
		/* Of what is being removed this goes first. */
		if (e && !capability_of(e)->ruled) {
			assert(ref_cap_doomed(ref, i));
			c->ruled[0] = '\0';
		}
	}
	for (int i = 0; i < REF_POLICIES; i++) {
		struct ref_policy *of = &ref->policies[i];

		if (!of->id || entity_find(p->world.model, of->id))
			continue;
		assert(of->replaced || ref->sessions[of->session].closing);
		of->id = 0;
		if (!ref->sessions[of->session].closing)
			check_looked_at(ref, of->session);
	}
}

/* Of one that was replaced nobody needs the rules. */
void
property_policies_made(struct property *p)
{
	struct reference *ref = &p->reference;

	assert(policies_make(p->world.model) == 0);
	for (int i = 0; i < REF_POLICIES; i++)
		if (ref->policies[i].replaced)
			ref->policies[i].bytes = 0;
}

void
property_compare_policies(struct property *p)
{
	struct reference *ref = &p->reference;
	uint64_t n = 0, n_ruled = 0;

	for (int i = 0; i < REF_POLICIES; i++) {
		const struct ref_policy *of = &ref->policies[i];
		const struct policy *now;

		if (!of->id)
			continue;
		n++;
		now = policy_in_force(property_session(p, of->session));
		assert(of->replaced || (now && now->entity.id == of->id && now->rules->n == of->n));
	}
	for (int i = 0; i < REF_CAPS; i++) {
		if (!ref->caps[i].id || !ref->caps[i].ruled[0])
			continue;
		n_ruled++;
		ref->caps[i].covered = ref->caps[i].covered || ref_policy_covers(ref, i);
	}
	assert(n == p->world.model->n[ENTITY_POLICY]);
	assert(n_ruled == p->world.model->n[ENTITY_RULED]);
}
