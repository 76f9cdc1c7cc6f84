/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * create: a child session, which the caller owns. Quota that is not named is the default, of which
 * each kind can be given, also as 0: a session that may do nothing of that kind.
 */
#include "config.h"

#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/* What is donated is taken from the parent in the same change, or nothing is made. */
static int
stage(struct operation *o)
{
	struct session *parent = session_of(o->subject), *made;
	struct about about = {.session = parent, .name = o->name};
	struct request *r = o->request;
	struct quota donation;
	int answer;

	session_default_donation(parent, &donation);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (command_has(&o->command, KEY_QUOTA + i))
			donation.n[i] = o->quota.n[i];
	answer = session_create(o->change, parent, o->name.p, o->name.n, r->uid, r->gid, &donation,
		&made, &about.kind);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_session(r, answer, &about);
	answer = share_welcome(o->change, made);
	if (answer < 0)
		return answer;
	r->made = &made->entity;
	text_addf(&r->text, "session=%.*s id=%" PRIu64, (int)o->name.n, o->name.p, made->entity.id);
	/* The first line of its own log, which all above it have too. */
	operation_tell(o, made, " id=%" PRIu64 " uid=%u", made->entity.id, (unsigned)r->uid);
	return 0;
}

const struct verb verb_create = {
	VERB_ROW(CREATE, create),
	.keys = KEYS_QUOTA,
	.wordless = true,
	.stage = stage,
};
