/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What changes capabilities that are there, beyond making one smaller: adjust, by who has what it was derived
 * from, and split, which makes two of one. Neither makes anybody's authority more than it was: what is adjusted
 * stays within its source, and the two parts of what was split have together what it had.
 *
 * For verbs, as derive.c. All is checked before anything is staged.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/capability/derive.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"

/* Only what is given can be below what is in use; all else was so before. */
static bool
is_below_use(const struct capability_record *record, const struct reductions *how,
	const struct capability *c)
{
	return (how->has_calls && record->calls_limit < record->calls_used) ||
		(how->has_conns && record->conns_limit < c->conns_used);
}

/*
 * Within what the source has now, and not within what it had when C was derived. What was derived from C keeps
 * its own record: all ancestors count for it, so that it follows C down, and up to where it was.
 */
int
capability_adjust(struct change *ch, struct capability *c, const struct reductions *how)
{
	struct capability_record record, held, *edited;
	int r;

	assert(c->parent);
	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	held = derive_held(ch, c->parent);
	if (!(held.rights & RIGHT_GRANT))
		return CAPABILITY_E_RIGHT;
	if (derive_in_vain(c, how))
		return CAPABILITY_E_NOT_HELD;
	/* A visit is its client's alone. */
	if (c->visit && how->has_rights && (how->rights & RIGHTS_COMMON))
		return CAPABILITY_E_NOT_HELD;
	record = *(const struct capability_record *)change_record(ch, &c->entity);
	record.calls_used = capability_calls_used(c);
	r = derive_apply(&held, how, change_model(ch)->now_usec(), &record);
	if (r)
		return r;
	if (derive_exceeds(ch, c->parent, &held, how))
		return CAPABILITY_E_ABOVE;
	if (is_below_use(&record, how, c))
		return CAPABILITY_E_IN_USE;
	edited = change_edit(ch, &c->entity);
	if (!edited)
		return -ENOMEM;
	*edited = record;
	return caveats_add(ch, c, how->only, how->n_only);
}

/* Two halves of what is left of a limit, of which the source's is the larger; it keeps what is used. */
static bool
halve(uint64_t limit, uint64_t used, uint64_t *ret_part, uint64_t *ret_rest)
{
	uint64_t left = limit > used ? limit - used : 0;

	*ret_part = limit == LIMIT_NONE ? LIMIT_NONE : left / 2;
	*ret_rest = limit == LIMIT_NONE ? LIMIT_NONE : limit - left / 2;
	return *ret_part > 0;
}

/* Where only one side can be used its limits are there once, as they were. */
static bool
can_be_used(const struct capability_record *r)
{
	return record_rights(r) & ~(uint32_t)(RIGHTS_COMMON | RIGHT_FDS);
}

/* What is counted on either side of what was counted on one. */
static int
halve_limits(const struct capability *source, const struct reductions *how,
	struct capability_record *part, struct capability_record *rest)
{
	if (!can_be_used(part) || !can_be_used(rest))
		return 0;
	if ((!how->has_calls &&
		    !halve(rest->calls_limit, rest->calls_used, &part->calls_limit, &rest->calls_limit)) ||
		!halve(rest->conns_limit, source->conns_used, &part->conns_limit, &rest->conns_limit) ||
		!halve(rest->rate_limit, 0, &part->rate_limit, &rest->rate_limit))
		return CAPABILITY_E_INDIVISIBLE;
	return 0;
}

static int
split_rights(const struct capability_record *held, const struct reductions *how,
	struct capability_record *part, struct capability_record *rest)
{
	const uint32_t gone = ~how->rights, shown = ~(uint32_t)RIGHT_FDS;

	if (how->rights & ~held->rights)
		return CAPABILITY_E_NOT_HELD;
	if (!(how->rights & shown) || !(held->rights & gone & shown))
		return CAPABILITY_E_NO_PART;
	record_set_rights(part, how->rights);
	record_set_rights(rest, record_rights(rest) & gone);
	return 0;
}

/* Is there a method that counts and is not among PART? */
static bool
leaves_methods(const struct capability *c, const struct methods *part)
{
	uint64_t first = 0, last;

	for (; capability_next_methods(c, &first, &last); first = last + 1) {
		struct methods some = {};

		methods_add(&some, (uint32_t)first, (uint32_t)last);
		if (!methods_contain(part, &some))
			return true;
	}
	return false;
}

static int
split_methods(const struct capability *c, const struct reductions *how,
	struct capability_record *part, struct capability_record *rest)
{
	const struct methods all = record_methods(rest);
	struct methods left;

	if (!methods_without(&all, &how->methods, &left) || !leaves_methods(c, &how->methods))
		return CAPABILITY_E_NO_PART;
	record_set_methods(part, &how->methods);
	record_set_methods(rest, &left);
	return 0;
}

/* Of what is not used yet, and not all of that: else there would be nothing on the source's side. */
static int
split_calls(const struct reductions *how, struct capability_record *part,
	struct capability_record *rest)
{
	if (how->calls == 0 || rest->calls_limit == LIMIT_NONE || how->calls >= rest->calls_limit)
		return CAPABILITY_E_NO_PART;
	if (how->calls >= rest->calls_limit - rest->calls_used)
		return CAPABILITY_E_IN_USE;
	part->calls_limit = how->calls;
	rest->calls_limit -= how->calls;
	return 0;
}

/* What is to become of the source, REST, and what is to be beside it, PART; both are as it was. */
static int
split_record(struct change *ch, struct capability *source, const struct reductions *how,
	struct capability_record *part, struct capability_record *rest)
{
	const struct capability_record held = derive_held(ch, source);
	int r;

	if (!(held.rights & RIGHT_REDUCE))
		return CAPABILITY_E_RIGHT;
	if (derive_in_vain(source, how))
		return CAPABILITY_E_NOT_HELD;
	if (how->has_methods && derive_exceeds(ch, source, &held, how))
		return CAPABILITY_E_NO_PART;
	if (how->has_rights)
		r = split_rights(&held, how, part, rest);
	else
		r = how->has_methods ? split_methods(source, how, part, rest)
				     : split_calls(how, part, rest);
	return r ? r : halve_limits(source, how, part, rest);
}

/* Beside the source and not below it: the source could end it else, and its end would end both. */
int
capability_split(struct change *ch, struct capability *source, const struct reductions *how,
	const char *name, size_t n_name, uid_t by_uid, struct capability **ret)
{
	struct capability_record part, rest, *edited;
	int r;

	if (!capability_is_live(source))
		return CAPABILITY_E_DEAD;
	rest = *(const struct capability_record *)change_record(ch, &source->entity);
	rest.calls_used = capability_calls_used(source);
	part = rest;
	part.by_uid = by_uid;
	part.calls_used = part.revoked_upto = 0;
	part.page_attachment = part.page_index = 0;
	r = split_record(ch, source, how, &part, &rest);
	if (r == 0)
		r = derive_check_slot(ch, source->session, name, n_name);
	if (r)
		return r;
	r = derive_add(ch, source, source->parent, source->session, name, n_name, &part, ret);
	if (r)
		return r;
	edited = change_edit(ch, &source->entity);
	if (!edited)
		return -ENOMEM;
	*edited = rest;
	return 0;
}
