/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * transfer_quota: moves quota between a session and its child. The parent's side asks for it in
 * either direction, and the child is not asked; below its first donation it never falls. To and from a session
 * that is no child it is moved by who has a capability to that one, with `account`.
 */
#include "config.h"

#include <errno.h>

#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/* Without an amount nothing would move, and the reply would say that it was done. */
static int
prepare(struct operation *o)
{
	if (!(o->command.given & KEYS_QUOTA))
		return refuse(o->request, EINVAL, "no amount is given");
	return 0;
}

/* The session itself is one side, and the other is named from here, in either direction. */
static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject), *other, *from, *to;
	bool gives = command_has(&o->command, KEY_TO), by_slot;
	enum key key = gives ? KEY_TO : KEY_FROM;
	struct request *r = o->request;
	struct about about = {};
	int answer;

	other = find_session(o, s, key, RIGHT_ACCOUNT);
	if (!other)
		return 0;
	from = gives ? s : other;
	to = gives ? other : s;
	by_slot = names_slot(&o->command, key);
	answer = by_slot ? session_move_quota(o->change, from, to, &o->quota, &about.kind)
			 : session_transfer_quota(o->change, from, to, &o->quota, &about.kind);
	if (answer == -ENOMEM)
		return answer;
	if (answer == -EINVAL && by_slot)
		return refuse(r, EINVAL, "quota does not leave the session that has lent it");
	about.session = from;
	if (answer != 0)
		return refuse_transfer(r, answer, &about);
	text_add(&r->text, "done");
	operation_tell(o, s, " uid=%u", (unsigned)r->uid);
	o->says_words = true;
	return 0;
}

const struct verb verb_transfer_quota = {
	VERB_ROW(TRANSFER_QUOTA, transfer_quota),
	.keys = KEY_BIT(KEY_TO) | KEY_BIT(KEY_FROM) | KEYS_QUOTA,
	.one_of = KEY_BIT(KEY_TO) | KEY_BIT(KEY_FROM),
	.prepare = prepare,
	.stage = stage,
};
