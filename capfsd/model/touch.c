/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling what has changed. Each entity gets the stamp of a change once, and its hook is called
 * once for it, so that whoever passes a stamp on to others, along whatever links, may stop at one
 * that has it: it has been there already. Which others show an entity, the rows know.
 */
#include "config.h"

#include "capfsd/model/touch.h"

#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

/*
 * The clock may be set back or stand still between two changes; the kernel and whoever compares
 * times would then not see the second, so a stamp is at least one more than the last.
 */
uint64_t
model_stamp(struct model *m)
{
	uint64_t now = m->now_usec() * 1000;

	m->stamp_nsec = now > m->stamp_nsec ? now : m->stamp_nsec + 1;
	return m->stamp_nsec;
}

/*
 * What is not linked is not told of: it is new, and nobody has seen it, or it goes, and is told of
 * by the hook for that.
 */
bool
entity_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	if (!e->linked || e->changed_nsec >= stamp)
		return false;
	e->changed_nsec = e->shown_nsec = stamp;
	if (m->hooks && m->hooks->changed)
		m->hooks->changed(m->hooks_data, e);
	return true;
}

/*
 * Who only shows it may be changed itself by the same change: behind this that is told, too, and before this it has
 * told all that there is, but perhaps not passed it on.
 */
bool
entity_touch_shown(struct model *m, struct entity *e, uint64_t stamp)
{
	if (!e->linked || e->shown_nsec >= stamp)
		return e->linked && e->changed_nsec >= stamp;
	e->shown_nsec = stamp;
	if (m->hooks && m->hooks->shown)
		m->hooks->shown(m->hooks_data, e);
	return true;
}

/* The time of its last change stays as it is: these numbers change with every connection. */
void
entity_used(struct model *m, struct entity *e)
{
	if (e->linked && m->hooks && m->hooks->used)
		m->hooks->used(m->hooks_data, e);
}

void
entity_touch_all(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	const struct kind *kind = entity_kind(e);
	struct place place = kind->place(e);

	touch(m, e, stamp);
	if (kind->touch)
		kind->touch(m, e, stamp);
	/* The owner's list has changed, and of who pays for what stands elsewhere only what it has used. */
	if (place.owner && entity_touch_shown(m, place.owner, stamp) && entity_kind(place.owner)->touch)
		/* Whoever has the stamp has passed it on. */
		entity_kind(place.owner)->touch(m, place.owner, stamp);
	if (!place.payer)
		return;
	place.payer->paid_nsec = stamp;
	if (&place.payer->entity != place.owner)
		entity_used(m, &place.payer->entity);
}

/*
 * Only for what the row says is shown below it: a capability may have a million descendants, and
 * most changes of its record are of no interest to them.
 */
void
entity_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	if (entity_kind(e)->touch_below)
		entity_kind(e)->touch_below(m, e, touch, stamp);
}

/*
 * Connections are checked by the hook's owner, for everything that is derived from C: here only the
 * uppermost capability is named, so that one revocation is one call.
 */
void
model_tell_restricted(struct model *m, struct capability *c)
{
	if (m->hooks && m->hooks->restricted)
		m->hooks->restricted(m->hooks_data, c);
}

void
entity_tell_restricted(struct model *m, struct entity *e)
{
	if (entity_kind(e)->tell_restricted)
		entity_kind(e)->tell_restricted(m, e);
}
