/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policies, and what they have given. To look at what a policy has given is a walk over session.given, which may
 * be long: it is done by the reaper, for the sake of the policy that was replaced, before that goes. Who wrote
 * the new one waits for it as for anything that ends.
 */
#include "config.h"

#include "capfsd/kinds/asking/policy.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

#define NAME "policy"

_Static_assert(sizeof(struct policy_record) == 4096, "stored");
_Static_assert(sizeof(struct ruled_record) == 8, "stored");

/* --- pieces --- */

static void
policy_deinit(struct entity *e)
{
	policy_of(e)->rules = rules_free(policy_of(e)->rules);
}

static struct place
policy_place(const struct entity *e)
{
	struct session *s = policy_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_POLICY], s};
}

static struct session *
policy_session(const struct entity *e)
{
	return policy_of(e)->session;
}

static bool
policy_is_shown(const struct entity *e)
{
	return false;
}

static bool
policy_is_ending(const struct entity *e)
{
	return policy_of(e)->record.state == POLICY_REPLACED;
}

static int
policy_resolve(struct model *m, struct entity *e)
{
	struct policy *p = policy_of(e);

	if (p->record.session >= e->id || p->record.n > POLICY_PIECE_BYTES || p->record.state > POLICY_REPLACED)
		return -EBADMSG;
	p->session = session_find_id(m, p->record.session);
	if (!p->session)
		return entity_find(m, p->record.session) ? -EBADMSG : -ENOENT;
	return 0;
}

/* It was asked before the commit whether there is room for it; a daemon that starts goes on without. */
void
policy_charge(struct policy *p)
{
	if (p->rules)
		(void)charge_init(&p->charge, p->session, QUOTA_RAM, (uint32_t)p->rules->bytes);
}

static void
policy_link(struct model *m, struct entity *e)
{
	struct policy *p = policy_of(e);

	if (!p->record.goes_on && p->record.state == POLICY_IN_FORCE)
		p->session->policy = p;
	if (policy_is_ending(e))
		entity_set_ending(m, e);
	policy_charge(p);
}

static void
policy_unlink(struct model *m, struct entity *e)
{
	struct policy *p = policy_of(e);

	charge_deinit(&p->charge);
	if (p->session->policy == p)
		p->session->policy = NULL;
}

static unsigned
policy_applied(struct model *m, struct entity *e, const void *old)
{
	const struct policy_record *before = old;

	if (policy_is_ending(e) && before->state != POLICY_REPLACED)
		entity_set_ending(m, e);
	return 0;
}

/*
 * Records have the right to send descriptors also where none are taken, and a server that takes some may come
 * later: who would not be given it now is left without. Returns: 0, 1: it had it; -ENOMEM.
 */
static int
take_descriptors(struct change *ch, const struct rule *rule, struct capability *c)
{
	uint32_t rights = record_rights(&c->record);
	struct capability_record *record;

	if (!(rights & RIGHT_FDS) || !rule->how || !rule->how->has_rights || (rule->how->rights & RIGHT_FDS))
		return 0;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record_set_rights(record, rights & ~(uint32_t)RIGHT_FDS);
	return 1;
}

/* Does RULE give C, as it is when this change is done? Returns: 1, 0: it, or a part of it, is ended; -ENOMEM. */
static int
leave(struct change *ch, const struct rule *rule, struct capability *c)
{
	int r;

	if (capability_is_doomed(c))
		return 1;
	if (!policy_covers(rule, c))
		return capability_end(ch, c) < 0 ? -ENOMEM : 0;
	r = take_descriptors(ch, rule, c);
	return r < 0 ? r : !r;
}

/* What it does not give any more. Returns: 0, 1 when the budget is used up, -ENOMEM. */
static int
look(struct reaper *r, struct session *s)
{
	uint64_t by = s->policy ? s->policy->entity.id : UINT64_MAX;

	list_for_each_safe (i, &s->given) {
		struct ruled *g = list_entry(i, struct ruled, given_link);
		int left;

		if (g->looked_by == by)
			break;
		if (r->left == 0)
			return 1;
		r->left--;
		left = leave(r->ch, policy_rule_of(g->capability), g->capability);
		if (left < 0)
			return left;
		/* It is met again, and has ended, or the slice was not stored. */
		if (left == 0)
			continue;
		g->looked_by = by;
		list_unlink(&g->given_link);
		list_append(&s->given, &g->given_link);
	}
	return 0;
}

static int
policy_reap(struct reaper *r, struct entity *e)
{
	struct policy *p = policy_of(e);

	/* Nothing can be looked up in it yet. */
	if (policy_is_ending(e) && p->session->policy && !p->session->policy->rules)
		return 1;
	if (policy_is_ending(e) && p->session->record.state == SESSION_RUNNING) {
		int a = look(r, p->session);

		if (a)
			return a;
	}
	return reap_one(r, e);
}

static void
policy_check(struct model *m, struct entity *e)
{
	const struct policy *p = policy_of(e);

	model_holds(M04, p->record.session == p->session->entity.id && p->record.session < e->id);
	model_holds(M63, p->record.n <= POLICY_PIECE_BYTES);
	if (!p->record.goes_on && p->record.state == POLICY_IN_FORCE)
		model_holds(M63, p->session->policy == p && p->rules);
}

const struct kind policy_kind = {
	.size = sizeof(struct policy),
	.record_offset = offsetof(struct policy, record),
	.record_bytes = sizeof(struct policy_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SESSION}},
	.names_repeat = true,
	.later = true,
	.deinit = policy_deinit,
	.place = policy_place,
	.session = policy_session,
	.is_shown = policy_is_shown,
	.is_ending = policy_is_ending,
	.resolve = policy_resolve,
	.link = policy_link,
	.unlink = policy_unlink,
	.applied = policy_applied,
	.reap = policy_reap,
	.check = policy_check,
};

struct policy *
policy_in_force(const struct session *s)
{
	return s->policy;
}

void
policy_text(const struct session *s, struct text *t)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->owned[ENTITY_POLICY]) {
		const struct policy *p = policy_of(list_entry(i, struct entity, owner_link));

		if (p->record.state == POLICY_IN_FORCE)
			text_add_n(t, p->record.text, p->record.n);
	}
}

/* The first piece stays until it was looked at what it has given; nobody needs the others for that. */
static int
replace(struct change *ch, struct session *s, uint64_t *ret_old)
{
	*ret_old = 0;
	list_for_each (i, &s->owned[ENTITY_POLICY]) {
		struct policy *p = policy_of(list_entry(i, struct entity, owner_link));
		struct policy_record *record;

		if (p->record.state == POLICY_REPLACED)
			continue;
		if (p->record.goes_on) {
			if (change_drop(ch, &p->entity) < 0)
				return -ENOMEM;
			continue;
		}
		record = change_edit(ch, &p->entity);
		if (!record)
			return -ENOMEM;
		record->state = POLICY_REPLACED;
		*ret_old = p->entity.id;
	}
	return 0;
}

static int
add_piece(struct change *ch, struct session *s, const char *text, size_t n, bool goes_on, struct policy **ret)
{
	enum quota_kind kind;
	struct entity *e;

	if (!change_affords(ch, s, &policy_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	e = entity_new(change_model(ch), ENTITY_POLICY, NAME, strlen(NAME));
	if (!e)
		return -ENOMEM;
	*ret = policy_of(e);
	(*ret)->session = s;
	(*ret)->record.session = s->entity.id;
	(*ret)->record.goes_on = goes_on;
	(*ret)->record.n = (uint32_t)n;
	if (n > 0)
		memcpy((*ret)->record.text, text, n);
	return change_add(ch, e);
}

int
policy_set(struct change *ch, struct session *s, struct rules *rules, uint64_t *ret_old)
{
	size_t n_pieces = rules->n_text > 0 ? (rules->n_text - 1) / POLICY_PIECE_BYTES + 1 : 1;
	const struct quota cost = {{[QUOTA_RAM] = n_pieces * policy_kind.cost.n[QUOTA_RAM] + rules->bytes}};
	struct policy *first = NULL, *piece;
	enum quota_kind kind;
	size_t at = 0;
	int r = replace(ch, s, ret_old);

	if (r == 0 && !change_affords(ch, s, &cost, &kind))
		r = QUOTA_E_EXCEEDED;
	while (r == 0 && (at < rules->n_text || !first)) {
		size_t left = rules->n_text - at, n = left < POLICY_PIECE_BYTES ? left : POLICY_PIECE_BYTES;

		r = add_piece(ch, s, rules->text + at, n, first, &piece);
		if (r == 0 && !first)
			first = piece;
		at += n;
	}
	if (r == 0)
		first->rules = rules;
	return r;
}

struct policy *
policy_to_make(struct model *m, struct policy *p)
{
	struct session *s = p ? session_next_below(m->root, p->session) : m->root;

	while (s && (!s->policy || s->policy->rules))
		s = session_next_below(m->root, s);
	return s ? s->policy : NULL;
}

static const struct rule *
find(const struct policy *p, const struct session *s, const char *name, size_t n)
{
	cleanup_text struct text label = {};

	session_label(s, &label);
	if (!p || !p->rules || text_done(&label) < 0)
		return NULL;
	return rules_find(p->rules, label.data, label.n, name, n);
}

const struct rule *
policy_find(const struct session *s, const char *name, size_t n)
{
	return s->parent ? find(s->parent->policy, s, name, n) : NULL;
}

const struct rule *
policy_rule_of(const struct capability *c)
{
	const struct ruled *g = c->ruled;

	return g ? find(g->session->policy, c->session, g->entity.name, strlen(g->entity.name)) : NULL;
}

/* What a policy gives has one group of caveats, that of its rule. */
static bool
has_caveats(const struct capability *c, const struct reductions *how)
{
	const char *text = how->only;
	unsigned n = how->n_only;

	list_for_each (i, (struct list *)(uintptr_t)&c->caveats) {
		const struct caveat_record *r = &caveat_of(list_entry(i, struct entity, owner_link))->record;

		if (n == 0 || strlen(text) != r->n || memcmp(text, r->text, r->n) != 0)
			return how->n_only == 0;
		text += strlen(text) + 1;
		n--;
	}
	return n == 0;
}

/* What the rule says at least as wide as what the slot has: it could be given so now. */
bool
policy_covers(const struct rule *rule, const struct capability *c)
{
	const struct capability_record *r = &c->record;
	const struct methods methods = record_methods(r);
	uint32_t rights = record_rights(r);
	const struct reductions *how;

	/* Records have the right to send descriptors also where none are taken. */
	if (!capability_service(c).fds)
		rights &= ~(uint32_t)RIGHT_FDS;
	if (!rule || rule->denies || !c->parent || strlen(c->parent->entity.name) != rule->n_slot ||
		memcmp(c->parent->entity.name, rule_slot(rule), rule->n_slot) != 0)
		return false;
	how = rule->how;
	return !how ||
		(!(how->has_rights && (rights & ~how->rights)) &&
		!(how->has_methods && !methods_contain(&how->methods, &methods)) &&
		!(how->has_calls && r->calls_limit > how->calls) &&
		!(how->has_conns && r->conns_limit > how->conns) &&
		!(how->has_rate && r->rate_limit > how->rate) &&
		!(how->has_expires && capability_expires(c) > how->expires_usec) && has_caveats(c, how));
}

/* --- what was given --- */

static void
ruled_init(struct model *m, struct entity *e)
{
	list_init(&ruled_of(e)->given_link);
}

static struct place
ruled_place(const struct entity *e)
{
	struct session *s = ruled_of(e)->capability->session;

	return (struct place){&s->entity, &s->owned[ENTITY_RULED], s};
}

static struct session *
ruled_session(const struct entity *e)
{
	return ruled_of(e)->capability->session;
}

static int
ruled_resolve(struct model *m, struct entity *e)
{
	struct ruled *g = ruled_of(e);
	struct entity *c = entity_find(m, g->record.capability);

	if (g->record.capability >= e->id)
		return -EBADMSG;
	if (!c)
		return -ENOENT;
	if (c->kind != ENTITY_CAPABILITY || !capability_of(c)->parent)
		return -EBADMSG;
	g->capability = capability_of(c);
	g->session = g->capability->parent->session;
	return g->capability->ruled ? -EBADMSG : 0;
}

/* New ones are the policy's in force. Of those that are loaded it is not known, and they are looked at again. */
static void
ruled_link(struct model *m, struct entity *e)
{
	struct ruled *g = ruled_of(e);

	g->capability->ruled = g;
	if (g->looked_by)
		list_append(&g->session->given, &g->given_link);
	else
		list_append(g->session->given.next, &g->given_link);
}

static void
ruled_unlink(struct model *m, struct entity *e)
{
	ruled_of(e)->capability->ruled = NULL;
	list_unlink(&ruled_of(e)->given_link);
}

static void
ruled_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	entity_touch(m, &ruled_of(e)->capability->entity, stamp);
}

static void
ruled_check(struct model *m, struct entity *e)
{
	const struct ruled *g = ruled_of(e);

	model_holds(M64, g->record.capability == g->capability->entity.id && g->capability->ruled == g);
	model_holds(M64, g->capability->parent && g->session == g->capability->parent->session);
	model_holds(M64, !list_empty(&g->given_link));
}

const struct kind ruled_kind = {
	.size = sizeof(struct ruled),
	.record_offset = offsetof(struct ruled, record),
	.record_bytes = sizeof(struct ruled_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.names_repeat = true,
	.later = true,
	.init = ruled_init,
	.place = ruled_place,
	.session = ruled_session,
	.is_shown = policy_is_shown,
	.resolve = ruled_resolve,
	.link = ruled_link,
	.unlink = ruled_unlink,
	.touch = ruled_touch,
	.check = ruled_check,
};

int
ruled_add(struct change *ch, struct capability *c, const char *name, size_t n)
{
	struct session *of = c->parent->session;
	enum quota_kind kind;
	struct entity *e;

	if (!change_affords(ch, c->session, &ruled_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	e = entity_new(change_model(ch), ENTITY_RULED, name, n);
	if (!e)
		return -ENOMEM;
	ruled_of(e)->capability = c;
	ruled_of(e)->session = of;
	ruled_of(e)->record.capability = c->entity.id;
	ruled_of(e)->looked_by = of->policy ? of->policy->entity.id : 0;
	return change_add(ch, e);
}
