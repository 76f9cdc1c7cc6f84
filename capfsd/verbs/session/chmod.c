/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chmod: the owner and the mode of a session or a slot, which its files show as theirs. A slot has
 * those of its session until it is given some.
 */
#include "config.h"

#include <errno.h>

#include "capfsd/verbs/verbs.h"

#define MODE_MASK 0777

/*
 * Is somebody left with a descriptor of a slot's socket who may not use it, now or once? Who could use it
 * and cannot any more, but root, who can; and who was shown it.
 */
static bool
leaves_somebody(const struct owner *old, const struct owner *new)
{
	return (old->uid != new->uid && old->uid != 0) ||
		(old->gid != new->gid && (old->mode & 0020)) ||
		(old->mode & ~new->mode & 0022) || mode_shows(old->mode) || mode_shows(new->mode);
}

/* The record keeps what is not named; a mode has only the nine bits of permissions. */
static int
own_session(struct operation *o)
{
	struct session_record *record = change_edit(o->change, o->subject);
	const struct owner *to = &o->owner;
	struct session_record old;

	if (!record)
		return -ENOMEM;
	if (session_has_processes(session_of(o->subject)) &&
		((to->uid != (uid_t)-1 && to->uid != record->uid) || (to->gid != (gid_t)-1 && to->gid != record->gid)))
		return refuse(o->request, EBUSY, "a program of it runs, as its owner");
	old = *record;
	record->uid = to->uid != (uid_t)-1 ? to->uid : record->uid;
	record->gid = to->gid != (gid_t)-1 ? to->gid : record->gid;
	record->mode = to->mode != (mode_t)-1 ? to->mode & MODE_MASK : record->mode;
	if (leaves_somebody(&(struct owner){old.uid, old.gid, old.mode},
		    &(struct owner){record->uid, record->gid, record->mode}))
		record->was_shown = 1;
	/* Known to whoever comes after this commit, as a connection must not outlive its right. */
	if (record->uid != old.uid || record->gid != old.gid || record->mode != old.mode)
		record->owner_changed = (uint8_t)(old.owner_changed % UINT8_MAX + 1);
	return 0;
}

/* From the first time on the slot has all three of its own, also those that were not named. */
static int
own_slot(struct operation *o)
{
	struct capability_record *record = change_edit(o->change, o->subject);
	const struct owner *to = &o->owner;
	const struct capability *c = capability_of(o->subject);
	bool was_shown = capability_was_shown(c);
	struct owner present;

	if (!record)
		return -ENOMEM;
	capability_owner(c, &present.uid, &present.gid, &present.mode);
	record->uid = to->uid != (uid_t)-1 ? to->uid : present.uid;
	record->gid = to->gid != (gid_t)-1 ? to->gid : present.gid;
	record->mode = (to->mode != (mode_t)-1 ? to->mode : present.mode) & MODE_MASK;
	record->was_shown = was_shown ||
		leaves_somebody(&present, &(struct owner){record->uid, record->gid, record->mode});
	return 0;
}

static int (*const owners[ENTITY_N_KINDS])(struct operation *o) = {
	[ENTITY_SESSION] = own_session,
	[ENTITY_CAPABILITY] = own_slot,
};

/* Entrypoints, objects and threads show the owner of their session, and have none of their own. */
static int
stage(struct operation *o)
{
	if (!owners[o->subject->kind])
		return refuse(o->request, EPERM, "only sessions and slots have an owner and a mode");
	return owners[o->subject->kind](o);
}

const struct verb verb_chmod = {
	VERB_ROW(CHMOD, chmod),
	.stage = stage,
};
