/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one primitive, derive, its inverse, end, and what changes a capability in place. Each checks
 * everything, also what the same change has staged before, and then stages; a refusal has staged
 * nothing.
 *
 * For verbs, which have looked whether who asks may use the slot; that the slot has the right for
 * it is checked here again. Nothing can become more by any of it: the new record is made of the
 * source's, and each member that is given must be at most what the source has.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/kinds/alias.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/capability/derive.h"
#include "capfsd/kinds/capability/share.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/visit.h"
#include "capfsd/model/change.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

/* Up to this number automatic names are tried one by one; what follows is found by bisection. */
#define NAME_NUMBERS_DENSE 8

/*
 * BASE, or BASE-K for K > 1, shortened where it would be too long: a name that was valid once must
 * not make a grant fail.
 */
static size_t
name_format(const char *base, uint64_t k, char name[NAME_BYTES_MAX + 1])
{
	char suffix[NUMBER_BYTES_MAX + 1] = "";
	size_t n = strlen(base), n_suffix = 0;

	if (k > 1)
		n_suffix = (size_t)snprintf(suffix, sizeof(suffix), "-%" PRIu64, k);
	if (n > NAME_BYTES_MAX - n_suffix)
		n = NAME_BYTES_MAX - n_suffix;
	memcpy(name, base, n);
	memcpy(name + n, suffix, n_suffix + 1);
	return n + n_suffix;
}

static bool
name_is_taken(struct change *ch, const struct session *to, const char *base, uint64_t k,
	char name[NAME_BYTES_MAX + 1])
{
	size_t n = name_format(base, k, name);

	return change_name_is_taken(ch, to->entity.id, ENTITY_CAPABILITY, name, n);
}

/*
 * A free name: the first where few are taken, some where many are, without trying them all. Someone
 * who is granted the same slot a million times would else make each grant as slow as all before it.
 * The search keeps `taken` taken and `free_one` free, so what it ends at is free, even with gaps.
 */
void
derive_pick_name(struct change *ch, const struct session *to, const char *base,
	char name[NAME_BYTES_MAX + 1])
{
	uint64_t taken, free_one;

	for (uint64_t k = 1; k <= NAME_NUMBERS_DENSE; k++)
		if (!name_is_taken(ch, to, base, k, name))
			return;
	taken = NAME_NUMBERS_DENSE;
	free_one = 2 * taken;
	while (name_is_taken(ch, to, base, free_one, name)) {
		taken = free_one;
		free_one *= 2;
	}
	while (free_one - taken > 1) {
		uint64_t middle = taken + (free_one - taken) / 2;

		if (name_is_taken(ch, to, base, middle, name))
			taken = middle;
		else
			free_one = middle;
	}
	name_format(base, free_one, name);
}

/*
 * A name of one that has ended is free as soon as that one is removed, so it has an answer of its
 * own. Returns: 0, CAPABILITY_E_EXISTS, _ENDING.
 */
static int
check_name(struct change *ch, const struct session *to, const char *name, size_t n)
{
	const struct entity *other = entity_find_name(change_model(ch), to->entity.id,
		ENTITY_CAPABILITY, name, n);

	if (other && !capability_is_live(capability_of(other)))
		return CAPABILITY_E_ENDING;
	return change_name_is_taken(ch, to->entity.id, ENTITY_CAPABILITY, name, n)
		? CAPABILITY_E_EXISTS
		: 0;
}

/*
 * What a session must fulfil to get a new slot, called NAME unless that is NULL. Quota comes last,
 * since its refusal is the most work to explain.
 */
int
derive_check_slot(struct change *ch, const struct session *to, const char *name, size_t n_name)
{
	const struct session_record *record = change_record(ch, &to->entity);
	enum quota_kind kind;
	int r;

	if (record->state != SESSION_RUNNING)
		return CAPABILITY_E_CLOSING;
	if (name && !name_is_valid(name, n_name))
		return CAPABILITY_E_NAME;
	r = name ? check_name(ch, to, name, n_name) : 0;
	if (r)
		return r;
	if (change_affords(ch, to, &capability_kind.cost, &kind))
		return 0;
	return kind == QUOTA_CAPS ? CAPABILITY_E_QUOTA_CAPS : CAPABILITY_E_QUOTA_RAM;
}

/* A slot in TO for TARGET, made of RECORD, whose type is set; its other members are set here. */
static int
add_slot(struct change *ch, struct entity *target, struct capability *parent, struct session *to,
	const char *name, size_t n_name, const struct capability_record *record,
	struct capability **ret)
{
	struct model *m = change_model(ch);
	struct entity *e = entity_new(m, ENTITY_CAPABILITY, name, n_name);
	struct capability *c;
	int r;

	if (!e)
		return -ENOMEM;
	c = capability_of(e);
	c->session = to;
	c->target = target;
	c->parent = parent;
	c->entity.depth = parent ? parent->entity.depth + 1 : 0;
	c->record = *record;
	c->record.session = to->entity.id;
	c->record.target = target->id;
	c->record.parent = parent ? parent->entity.id : 0;
	c->record.since_usec = m->now_usec();
	c->record.mode = CAPABILITY_MODE_INHERIT;
	r = change_add(ch, e);
	if (r == 0)
		*ret = c;
	return r;
}

/*
 * In each set up to the origin, since all of them count: a parent that was reduced later has fewer
 * than the source's own record says.
 */
static bool
methods_are_held(struct change *ch, const struct capability *c, const struct methods *m)
{
	for (; c; c = c->parent) {
		const struct methods held = record_methods(change_record(ch, &c->entity));

		if (!methods_contain(&held, m))
			return false;
	}
	return true;
}

/* Is any limit of HOW more than C has, whose record as it counts is HELD? Then it is no reduction. */
bool
derive_exceeds(struct change *ch, const struct capability *c,
	const struct capability_record *held, const struct reductions *how)
{
	return (how->has_methods && !methods_are_held(ch, c, &how->methods)) ||
		(how->has_calls && how->calls > held->calls_limit) ||
		(how->has_conns && how->conns > held->conns_limit) ||
		(how->has_rate && how->rate > held->rate_limit) ||
		(how->has_expires && how->expires_usec > held->expires_usec);
}

/*
 * What HOW makes of RECORD, within what HELD has of rights; what is not given stays as it is there. Asking
 * for more than there is is refused, and not cut down to what there is: who asks relies on what was asked
 * for. A limit of 0 would be a capability that is good for nothing, and hides a mistake.
 */
int
derive_apply(const struct capability_record *held, const struct reductions *how, uint64_t now,
	struct capability_record *record)
{
	uint32_t rights = how->has_rights ? how->rights : record_rights(record);

	if (how->has_rights && (rights & ~held->rights))
		return CAPABILITY_E_NOT_HELD;
	if (how->immutable)
		rights &= ~(uint32_t)RIGHTS_COMMON;
	/* To send descriptors is of no use alone, and stands elsewhere in the record. */
	if (!(rights & ~(uint32_t)RIGHT_FDS))
		return CAPABILITY_E_NOT_SMALLER;
	if ((how->has_calls && how->calls == 0) || (how->has_conns && how->conns == 0) ||
		(how->has_rate && how->rate == 0) || (how->has_expires && how->expires_usec <= now))
		return CAPABILITY_E_NOT_SMALLER;
	record_set_rights(record, rights);
	if (how->has_methods)
		record_set_methods(record, &how->methods);
	if (how->has_calls)
		record->calls_limit = how->calls;
	if (how->has_conns)
		record->conns_limit = how->conns;
	if (how->has_rate)
		record->rate_limit = how->rate;
	if (how->has_expires)
		record->expires_usec = how->expires_usec;
	return 0;
}

/*
 * C's record as this change leaves it, with the rights and the expiry that count: all rights, also the one
 * that records have by its absence, and also where its server takes no descriptors today.
 */
struct capability_record
derive_held(struct change *ch, const struct capability *c)
{
	struct capability_record held = *(const struct capability_record *)change_record(ch,
		&c->entity);

	held.rights = UINT32_MAX;
	for (; c; c = c->parent) {
		const struct capability_record *r = change_record(ch, &c->entity);
		uint64_t through = c->tie ? tie_expires(c->tie) : LIMIT_NONE;

		held.rights &= record_rights(r) & (c->tie ? tie_rights(c->tie) : UINT32_MAX);
		if (r->expires_usec < held.expires_usec)
			held.expires_usec = r->expires_usec;
		if (through < held.expires_usec)
			held.expires_usec = through;
	}
	/* So that record_rights() says the same. */
	held.marks = (uint8_t)(record_n_caveats(&held) << MARK_CAVEATS_SHIFT |
		(held.rights & RIGHT_CALL ? MARK_CALL : 0) | (held.rights & RIGHT_FDS ? 0 : MARK_NO_FDS));
	return held;
}

/* Nobody is promised what the server takes from nobody. */
bool
derive_in_vain(const struct capability *c, const struct reductions *how)
{
	return how->has_rights && (how->rights & RIGHT_FDS) && !capability_service(c).fds;
}

/*
 * A slot's name in TO where none is given. What stands beside its source, and not below it, has the source's own
 * caveats, and is tied as that is: nobody above is.
 */
int
derive_add(struct change *ch, const struct capability *source, struct capability *parent,
	struct session *to, const char *name, size_t n_name,
	const struct capability_record *record, struct capability **ret)
{
	char picked[NAME_BYTES_MAX + 1];
	struct capability *c;
	int r;

	if (!name) {
		derive_pick_name(ch, to, source->entity.name, picked);
		name = picked;
		n_name = strlen(picked);
	}
	r = add_slot(ch, source->target, parent, to, name, n_name, record, &c);
	if (r == 0 && parent != source)
		r = caveats_copy(ch, source, c);
	if (r == 0 && parent != source)
		r = tie_copy(ch, source, c);
	if (r == 0)
		*ret = c;
	return r;
}

/*
 * Liveness first: whoever uses a capability that has ended learns nothing else of it. The type is
 * the source's, always: another one would read the target as what it is not.
 */
int
derive_record(struct change *ch, struct capability *source, uint32_t right,
	const struct reductions *how, uid_t by_uid, struct capability_record *ret)
{
	struct capability_record held;
	int r;

	if (!capability_is_live(source))
		return CAPABILITY_E_DEAD;
	held = derive_held(ch, source);
	if (!(held.rights & right))
		return CAPABILITY_E_RIGHT;
	if (derive_in_vain(source, how))
		return CAPABILITY_E_NOT_HELD;
	if (how->has_rights && (how->rights & RIGHT_FDS) && capability_service(source).fds_own)
		return CAPABILITY_E_OWN;
	*ret = (struct capability_record){
		.by_uid = by_uid,
		.expires_usec = LIMIT_NONE,
		.type = held.type,
		.calls_limit = held.calls_limit,
		.conns_limit = held.conns_limit,
		.rate_limit = held.rate_limit,
		.n_methods = held.n_methods,
	};
	memcpy(ret->methods, held.methods, sizeof(ret->methods));
	record_set(ret, held.rights, 0);
	r = derive_apply(&held, how, change_model(ch)->now_usec(), ret);
	return r == 0 && derive_exceeds(ch, source, &held, how) ? CAPABILITY_E_NOT_SMALLER : r;
}

int
derive_slot(struct change *ch, struct capability *source, struct session *to, const char *name,
	size_t n_name, const struct reductions *how, const struct capability_record *record,
	struct capability **ret)
{
	struct capability *c = NULL;
	int r = derive_check_slot(ch, to, name, n_name);

	if (r == 0 && source->entity.depth >= DERIVATION_DEPTH_MAX)
		r = CAPABILITY_E_DEPTH;
	if (r == 0)
		r = derive_add(ch, source, source, to, name, n_name, record, &c);
	if (r == 0)
		r = caveats_add(ch, c, how->only, how->n_only);
	if (r == 0)
		*ret = c;
	return r;
}

int
derive(struct change *ch, struct capability *source, uint32_t right, struct session *to,
	const char *name, size_t n_name, const struct reductions *how, uid_t by_uid,
	struct capability **ret)
{
	struct capability_record record;
	int r = derive_record(ch, source, right, how, by_uid, &record);

	return r ? r : derive_slot(ch, source, to, name, n_name, how, &record, ret);
}

int
capability_grant(struct change *ch, struct capability *source, struct session *to, const char *name,
	size_t n_name, const struct reductions *how, uid_t by_uid, struct capability **ret)
{
	return derive(ch, source, RIGHT_GRANT, to, name, n_name, how, by_uid, ret);
}

int
capability_replicate(struct change *ch, struct capability *source, const char *name, size_t n_name,
	const struct reductions *how, uid_t by_uid, struct capability **ret)
{
	return derive(ch, source, RIGHT_REPLICATE, source->session, name, n_name, how, by_uid, ret);
}

/* Least authority: a visit is its client's alone. */
int
capability_visit(struct change *ch, struct capability *source, struct session *to, const char *name, size_t n_name,
	uid_t by_uid, struct capability **ret)
{
	const struct reductions how = {.immutable = true};
	uint32_t right = to == source->session ? RIGHT_CALL : RIGHT_GRANT;

	return derive(ch, source, right, to, name, n_name, &how, by_uid, ret);
}

/*
 * A new slot under the same parent, and the end of the old one, in one change: there is no moment
 * in which both or neither are there. What is used of its limits stays used, or one could move a
 * slot to and fro to fill it up. Its page entry is its server's word about the old slot, and stays
 * behind.
 */
int
capability_transfer(struct change *ch, struct capability *source, struct session *to,
	const char *name, size_t n_name, uid_t by_uid, struct capability **ret)
{
	struct capability_record record;
	struct capability *c = NULL;
	int r;

	if (!capability_is_live(source))
		return CAPABILITY_E_DEAD;
	if (!(derive_held(ch, source).rights & RIGHT_TRANSFER))
		return CAPABILITY_E_RIGHT;
	if (source->conns_used > 0 || !list_empty(&source->children) || source->ties)
		return CAPABILITY_E_IN_USE;
	r = derive_check_slot(ch, to, name, n_name);
	if (r)
		return r;
	/* What is used of its limits stays used. */
	record = *(const struct capability_record *)change_record(ch, &source->entity);
	record.by_uid = by_uid;
	record.revoked_upto = 0;
	record.calls_used = capability_calls_used(source);
	record.page_attachment = record.page_index = 0;
	r = derive_add(ch, source, source->parent, to, name, n_name, &record, &c);
	if (r)
		return r;
	r = alias_copy_all(ch, source, c);
	if (r > 0)
		return CAPABILITY_E_QUOTA_RAM;
	if (r == 0)
		r = capability_end(ch, source);
	if (r == 0)
		*ret = c;
	return r;
}

/* Nothing limits an origin but what its target can do: whoever makes it also serves it. */
int
capability_originate(struct change *ch, enum capability_type type, struct entity *target,
	struct session *to, const char *name, size_t n_name, uint32_t rights, uid_t by_uid,
	struct capability **ret)
{
	struct capability_record record = {
		.type = (uint8_t)type,
		.rights = rights & (RIGHTS_COMMON | capability_types[type]->rights),
		.by_uid = by_uid,
		.expires_usec = LIMIT_NONE,
		.calls_limit = LIMIT_NONE,
		.conns_limit = LIMIT_NONE,
		.rate_limit = LIMIT_NONE,
	};
	int r;

	assert(target->kind == capability_types[type]->target);
	if (entity_is_doomed(target))
		return CAPABILITY_E_CLOSING;
	if (!name)
		return CAPABILITY_E_NAME;
	r = derive_check_slot(ch, to, name, n_name);
	return r ? r : add_slot(ch, target, NULL, to, name, n_name, &record, ret);
}

/*
 * A reduction that changes nothing is a mistake, most often a word that was forgotten. RIGHTS are those
 * that can be seen.
 */
static bool
is_smaller(const struct capability_record *record, const struct capability_record *held, uint32_t rights)
{
	return ((record_rights(record) ^ held->rights) & rights) ||
		record->calls_limit < held->calls_limit ||
		record->conns_limit < held->conns_limit ||
		record->rate_limit < held->rate_limit ||
		record->expires_usec < held->expires_usec ||
		record->n_methods != held->n_methods ||
		memcmp(record->methods, held->methods, sizeof(held->methods)) != 0;
}

/*
 * The calls that the server has counted are put into the record first: else a reduction could bring
 * the limit below what was used up, and each question after that would start from too little.
 */
int
capability_reduce(struct change *ch, struct capability *c, const struct reductions *how)
{
	struct capability_record record, held, *edited;
	int r;

	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	held = derive_held(ch, c);
	if (!(held.rights & RIGHT_REDUCE))
		return CAPABILITY_E_RIGHT;
	if (derive_in_vain(c, how))
		return CAPABILITY_E_NOT_HELD;
	record = held;
	record.calls_used = capability_calls_used(c);
	r = derive_apply(&held, how, change_model(ch)->now_usec(), &record);
	if (r)
		return r;
	if (derive_exceeds(ch, c, &held, how) ||
		(how->n_only == 0 && !is_smaller(&record, &held, capability_rights(c))))
		return CAPABILITY_E_NOT_SMALLER;
	if (record.calls_limit < record.calls_used || record.conns_limit < c->conns_used)
		return CAPABILITY_E_IN_USE;
	edited = change_edit(ch, &c->entity);
	if (!edited)
		return -ENOMEM;
	/*
	 * What is held has the smallest expiry of all ancestors. That stays theirs: copied into
	 * this record it would make another entry among those that expire, for nothing.
	 */
	if (!how->has_expires)
		record.expires_usec = edited->expires_usec;
	*edited = record;
	return caveats_add(ch, c, how->only, how->n_only);
}

int
capability_use_up(struct change *ch, struct capability *c, uint64_t used)
{
	struct capability_record *record;

	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	if (!(capability_rights(c) & RIGHT_REDUCE))
		return CAPABILITY_E_RIGHT;
	if (capability_page_index(c))
		return CAPABILITY_E_IN_USE;
	if (c->record.calls_limit == LIMIT_NONE || used > c->record.calls_limit || used < c->record.calls_used)
		return CAPABILITY_E_NOT_SMALLER;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record->calls_used = used;
	return 0;
}

/* Its own name again is no refusal, since rename(2) says so. */
int
capability_rename(struct change *ch, struct capability *c, const char *name, size_t n)
{
	int r;

	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	if (!name_is_valid(name, n))
		return CAPABILITY_E_NAME;
	if (entity_is_named(&c->entity, c->session->entity.id, ENTITY_CAPABILITY, name, n))
		return 0;
	r = check_name(ch, c->session, name, n);
	return r ? r : change_rename(ch, &c->entity, name, n);
}

/*
 * One mark, however large the tree below. What is doomed already needs none: its mark is further
 * up.
 */
int
capability_end(struct change *ch, struct capability *c)
{
	struct capability_record *record;

	if (capability_is_doomed(c))
		return 0;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record->flags |= CAPABILITY_DEAD;
	if (record->by_uid == BY_SHARE)
		record->by_uid = BY_SHARE_ENDED;
	return 0;
}

/* Without children there is nothing to end, and no transaction to pay for. */
int
capability_end_children(struct change *ch, struct capability *c)
{
	struct capability_record *record;

	if (list_empty(&c->children) && !share_find(c))
		return 0;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record->revoked_upto = change_last_id(ch);
	return share_find(c) ? change_drop(ch, &share_find(c)->entity) : 0;
}
