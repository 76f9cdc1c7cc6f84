/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/reference.h"

#include <stdio.h>
#include <string.h>

#define FIND_FREE(array, n)                                                                        \
	do {                                                                                       \
		for (int i = 0; i < (n); i++)                                                      \
			if (!(array)[i].id)                                                        \
				return i;                                                          \
		return -1;                                                                         \
	} while (0)

int
ref_free_session(const struct reference *r)
{
	FIND_FREE(r->sessions, REF_SESSIONS);
}

int
ref_free_entrypoint(const struct reference *r)
{
	FIND_FREE(r->entrypoints, REF_ENTRYPOINTS);
}

int
ref_free_object(const struct reference *r)
{
	FIND_FREE(r->objects, REF_OBJECTS);
}

int
ref_free_cap(const struct reference *r)
{
	FIND_FREE(r->caps, REF_CAPS);
}

int
ref_free_program(const struct reference *r)
{
	FIND_FREE(r->programs, REF_PROGRAMS);
}

int
ref_free_signal(const struct reference *r)
{
	FIND_FREE(r->signals, REF_SIGNALS);
}

int
ref_free_share(const struct reference *r)
{
	FIND_FREE(r->shares, REF_SHARES);
}

int
ref_free_declined(const struct reference *r)
{
	FIND_FREE(r->declined, REF_DECLINED);
}

int
ref_free_ask(const struct reference *r)
{
	FIND_FREE(r->asks, REF_ASKS);
}

int
ref_free_policy(const struct reference *r)
{
	FIND_FREE(r->policies, REF_POLICIES);
}

/* A yield is asked, and paid, by the parent. */
static int
ask_payer(const struct reference *r, const struct ref_ask *a)
{
	return a->what == ASK_YIELD ? r->sessions[a->session].parent : a->session;
}

void
ref_used(const struct reference *r, int session, uint64_t used[QUOTA_N_KINDS])
{
	memset(used, 0, QUOTA_N_KINDS * sizeof(used[0]));
	for (int i = 0; i < REF_SESSIONS; i++)
		if (r->sessions[i].id && r->sessions[i].parent == session) {
			used[QUOTA_CAPS] += 1;
			used[QUOTA_RAM] += 4096;
		}
	for (int i = 0; i < REF_CAPS; i++) {
		const struct ref_cap *c = &r->caps[i];

		if (c->id && c->session == session) {
			used[QUOTA_CAPS] += 1;
			used[QUOTA_RAM] += 512 + c->n_caveats * REF_CAVEAT_RAM + (c->through ? 512 : 0) +
				(c->ruled[0] ? 512 : 0);
		}
		if (c->id && c->visit.is && c->visit.payer == session)
			used[QUOTA_RAM] += 512;
	}
	for (int i = 0; i < REF_ENTRYPOINTS; i++)
		if (r->entrypoints[i].id && r->entrypoints[i].session == session) {
			used[QUOTA_RAM] += 512;
			used[QUOTA_THREADS] += r->entrypoints[i].served;
		}
	for (int i = 0; i < REF_OBJECTS; i++)
		if (r->objects[i].id &&
			r->entrypoints[r->objects[i].entrypoint].session == session)
			used[QUOTA_RAM] += 512;
	for (int i = 0; i < REF_SHARES; i++)
		used[QUOTA_RAM] += r->shares[i].id && r->caps[r->shares[i].cap].session == session ? 512 : 0;
	for (int i = 0; i < REF_DECLINED; i++)
		used[QUOTA_RAM] += r->declined[i].id && r->declined[i].session == session ? 512 : 0;
	for (int i = 0; i < REF_ASKS; i++)
		used[QUOTA_RAM] += r->asks[i].id && ask_payer(r, &r->asks[i]) == session ? 1024 : 0;
	for (int i = 0; i < REF_POLICIES; i++)
		if (r->policies[i].id && r->policies[i].session == session)
			used[QUOTA_RAM] += 4096 + r->policies[i].bytes;
	for (int i = 0; i < REF_SIGNALS; i++)
		used[QUOTA_RAM] += r->signals[i].id && r->signals[i].session == session ? 512 : 0;
	for (int i = 0; i < REF_PROGRAMS; i++)
		used[QUOTA_THREADS] += r->programs[i].id && r->programs[i].session == session;
	used[QUOTA_RAM] += r->sessions[session].confined ? REF_CONFINEMENT_RAM : 0;
	for (int i = 0; i < REF_CHARGES; i++)
		if (r->charges[i].charge.session && r->charges[i].session == session)
			used[r->charges[i].kind] += r->charges[i].n;
}

void
ref_lent(const struct reference *r, int session, uint64_t lent[QUOTA_N_KINDS])
{
	memset(lent, 0, QUOTA_N_KINDS * sizeof(lent[0]));
	for (int i = 0; i < REF_SESSIONS; i++)
		if (r->sessions[i].id && r->sessions[i].parent == session)
			for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
				lent[kind] += r->sessions[i].limit[kind];
	for (int i = 0; i < REF_CAPS; i++)
		if (r->caps[i].id && r->caps[i].visit.is && r->caps[i].visit.payer == session)
			for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
				lent[kind] += r->caps[i].visit.lent[kind];
}

void
ref_left(const struct reference *r, int session, uint64_t left[QUOTA_N_KINDS])
{
	uint64_t used[QUOTA_N_KINDS], lent[QUOTA_N_KINDS];

	ref_used(r, session, used);
	ref_lent(r, session, lent);
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
		left[kind] = r->sessions[session].limit[kind] - used[kind] - lent[kind];
}

bool
ref_entrypoint_doomed(const struct reference *r, int entrypoint)
{
	const struct ref_entrypoint *e = &r->entrypoints[entrypoint];

	return e->dead || r->sessions[e->session].closing;
}

bool
ref_object_doomed(const struct reference *r, int object)
{
	return r->objects[object].dead || ref_entrypoint_doomed(r, r->objects[object].entrypoint);
}

int
ref_cap_server(const struct reference *r, int cap)
{
	const struct ref_cap *c = &r->caps[cap];

	return c->signal ? r->signals[c->signal - 1].session : r->entrypoints[r->objects[c->object].entrypoint].session;
}

uint32_t
ref_cap_connects(const struct reference *r, int cap)
{
	return r->caps[cap].signal ? RIGHT_RAISE | RIGHT_WAIT : RIGHT_CALL;
}

bool
ref_cap_doomed(const struct reference *r, int cap)
{
	const struct ref_cap *c = &r->caps[cap];

	if (c->dead || c->revoked || r->sessions[c->session].closing ||
		r->sessions[ref_cap_server(r, cap)].closing || (!c->signal && ref_object_doomed(r, c->object)))
		return true;
	if ((c->visit.is && c->visit.via >= 0 && ref_cap_doomed(r, c->visit.via)) ||
		(c->through && ref_cap_doomed(r, c->through - 1)))
		return true;
	return c->parent >= 0 && ref_cap_doomed(r, c->parent);
}

static bool
is_busy(const struct reference *r, int session)
{
	for (int i = 0; i < REF_PROGRAMS; i++)
		if (r->programs[i].id && r->programs[i].session == session)
			return true;
	return false;
}

bool
ref_cap_is_kept(const struct reference *r, int cap)
{
	int server = ref_cap_server(r, cap);

	if (r->sessions[server].closing && is_busy(r, server))
		return true;
	for (; cap >= 0; cap = r->caps[cap].parent)
		if ((r->sessions[r->caps[cap].session].closing && is_busy(r, r->caps[cap].session)) ||
			(r->caps[cap].visit.is && r->caps[cap].visit.via >= 0 &&
				ref_cap_is_kept(r, r->caps[cap].visit.via)) ||
			(r->caps[cap].through && ref_cap_is_kept(r, r->caps[cap].through - 1)))
			return true;
	return false;
}

bool
ref_cap_live(const struct reference *r, int cap, uint64_t now)
{
	return !ref_cap_doomed(r, cap) && ref_cap_expires(r, cap) > now;
}

uint32_t
ref_cap_rights(const struct reference *r, int cap)
{
	const struct ref_cap *c = &r->caps[cap];
	uint32_t rights = c->rights & (c->parent < 0 ? UINT32_MAX : ref_cap_rights(r, c->parent));
	uint32_t through = c->through ? ref_cap_rights(r, c->through - 1) : UINT32_MAX;

	if (!(through & RIGHT_CALL))
		rights &= RIGHTS_COMMON;
	return rights & (through | ~(uint32_t)RIGHTS_COMMON);
}

uint64_t
ref_cap_expires(const struct reference *r, int cap)
{
	const struct ref_cap *c = &r->caps[cap];
	uint64_t above = c->parent < 0 ? UINT64_MAX : ref_cap_expires(r, c->parent);
	uint64_t through = c->through ? ref_cap_expires(r, c->through - 1) : UINT64_MAX;

	above = through < above ? through : above;
	return c->expires < above ? c->expires : above;
}

void
ref_cap_end(struct reference *r, int cap)
{
	struct ref_cap *c = &r->caps[cap];

	if (ref_cap_doomed(r, cap))
		return;
	c->dead = true;
	c->declined = c->shared;
}

int
ref_share_of(const struct reference *r, int cap)
{
	for (int i = 0; i < REF_SHARES; i++)
		if (r->shares[i].id && r->shares[i].cap == cap)
			return i;
	return -1;
}

int
ref_policy_of(const struct reference *r, int session)
{
	for (int i = 0; i < REF_POLICIES; i++)
		if (r->policies[i].id && r->policies[i].session == session && !r->policies[i].replaced)
			return i;
	return -1;
}

static void
label_of(const struct reference *r, int session, char label[128])
{
	char above[128];

	if (session == 0) {
		strcpy(label, "init");
		return;
	}
	label_of(r, r->sessions[session].parent, above);
	snprintf(label, 128, "%.100s/%.8s", above, r->sessions[session].name);
}

/* How much PATTERN says of LABEL: a label more than a beginning, that more than an end, each more if longer. 0: nothing. */
static size_t
matches(const char *pattern, const char *label)
{
	size_t n = strlen(pattern), n_label = strlen(label);

	if (strcmp(pattern, label) == 0)
		return 3000;
	if (strcmp(pattern, "*") == 0)
		return 1;
	if (strncmp(pattern, "*/", 2) == 0)
		return n_label >= n && strcmp(label + n_label - (n - 1), pattern + 1) == 0 ? 1000 + n : 0;
	if (strcmp(pattern + n - 2, "/*") != 0 || strncmp(pattern, label, n - 2) != 0)
		return 0;
	return label[n - 2] == '\0' || label[n - 2] == '/' ? 2000 + n : 0;
}

static unsigned
find_rule(const struct reference *r, int policy, int session, const char *name)
{
	const struct ref_policy *of = &r->policies[policy];
	size_t most = 0, n;
	unsigned found = 0;
	char label[128];

	label_of(r, session, label);
	for (unsigned i = 0; i < of->n; i++) {
		n = strcmp(of->rules[i].name, name) == 0 ? matches(of->rules[i].pattern, label) : 0;
		if (n <= most)
			continue;
		most = n;
		found = i + 1;
	}
	return found;
}

unsigned
ref_rule_for(const struct reference *r, int session, const char *name)
{
	int policy = session > 0 ? ref_policy_of(r, r->sessions[session].parent) : -1;

	return policy < 0 ? 0 : find_rule(r, policy, session, name);
}

bool
ref_policy_covers(const struct reference *r, int cap)
{
	const struct ref_cap *c = &r->caps[cap];
	int policy = ref_policy_of(r, r->caps[c->parent].session);
	unsigned line = policy < 0 ? 0 : find_rule(r, policy, c->session, c->ruled);
	const struct ref_rule *rule = line ? &r->policies[policy].rules[line - 1] : NULL;
	const struct reductions *how = rule ? &rule->how : NULL;

	if (!rule || rule->denies || strcmp(r->caps[c->parent].name, rule->slot) != 0)
		return false;
	return !rule->has_how || (!(how->has_rights && (c->rights & ~how->rights)) &&
			!(how->has_calls && c->calls_limit > how->calls) &&
			!(how->has_conns && c->conns_limit > how->conns));
}

bool
ref_session_within(const struct reference *r, int session, int top)
{
	while (session >= 0 && session != top)
		session = r->sessions[session].parent;
	return session == top;
}

bool
ref_share_covers(const struct reference *r, int share, int session)
{
	const struct ref_share *s = &r->shares[share];
	int by = r->caps[s->cap].session;

	switch (s->with) {
	case SHARE_CHILDREN:
		return r->sessions[session].parent == by;
	case SHARE_SUBTREE:
		return session != by && ref_session_within(r, session, by);
	case SHARE_SIBLINGS:
		return session != by && session > 0 && r->sessions[session].parent == r->sessions[by].parent;
	case SHARE_SESSION:
		return r->sessions[session].id == s->scope;
	default:
		return false;
	}
}

unsigned
ref_cap_caveats(const struct reference *r, int cap)
{
	unsigned n = 0;

	for (; cap >= 0; cap = r->caps[cap].parent)
		n += r->caps[cap].n_caveats;
	return n;
}

bool
ref_cap_is_below(const struct reference *r, int cap, int top)
{
	while (cap >= 0 && cap != top)
		cap = r->caps[cap].parent;
	return cap == top;
}

bool
ref_cap_depends(const struct reference *r, int cap, int top)
{
	for (; cap >= 0; cap = r->caps[cap].parent)
		if (cap == top || (r->caps[cap].through && ref_cap_depends(r, r->caps[cap].through - 1, top)))
			return true;
	return false;
}

int
ref_cap_ties(const struct reference *r, int cap)
{
	int a, b;

	while (cap >= 0 && !r->caps[cap].through)
		cap = r->caps[cap].parent;
	if (cap < 0)
		return 0;
	a = ref_cap_ties(r, r->caps[cap].through - 1);
	b = ref_cap_ties(r, r->caps[cap].parent);
	return 1 + (a > b ? a : b);
}

uint64_t
ref_cap_conns(const struct reference *r, int cap)
{
	uint64_t n = 0;

	for (int i = 0; i < REF_CAPS; i++)
		if (r->caps[i].id && r->caps[i].conns > 0 && ref_cap_is_below(r, i, cap))
			n += r->caps[i].conns;
	return n;
}

int
ref_cap_named(const struct reference *r, int session, const char *name)
{
	for (int i = 0; i < REF_CAPS; i++)
		if (r->caps[i].id && r->caps[i].session == session &&
			strcmp(r->caps[i].name, name) == 0)
			return i;
	return -1;
}

int
ref_session_named(const struct reference *r, int parent, const char *name)
{
	for (int i = 0; i < REF_SESSIONS; i++)
		if (r->sessions[i].id && r->sessions[i].parent == parent &&
			strcmp(r->sessions[i].name, name) == 0)
			return i;
	return -1;
}

int
ref_entrypoint_named(const struct reference *r, int session, const char *name)
{
	for (int i = 0; i < REF_ENTRYPOINTS; i++)
		if (r->entrypoints[i].id && r->entrypoints[i].session == session &&
			strcmp(r->entrypoints[i].name, name) == 0)
			return i;
	return -1;
}

int
ref_object_keyed(const struct reference *r, int entrypoint, uint64_t key)
{
	for (int i = 0; i < REF_OBJECTS; i++)
		if (r->objects[i].id && !r->objects[i].dead &&
			r->objects[i].entrypoint == entrypoint && r->objects[i].key == key)
			return i;
	return -1;
}
