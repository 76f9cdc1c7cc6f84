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
	return 0;
}
