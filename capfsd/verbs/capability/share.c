/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * share: a slot appears, immutable, in other sessions, those of now and those to come. Written again it is for
 * others, who get it, while those it is not for any more lose it. In a session it shares all slots of that.
 *
 * Caveats are given to a replica, and that is shared: so a share is a record of a fixed length.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

#define SLOTS_MAX 1024 /* that one command shares, in one transaction */

/* Words come before names, so a session that is called so cannot be meant. */
static bool
parse_with(struct operation *o, struct session *by, enum share_with *ret, struct session **ret_session)
{
	static const char *const words[] = {
		[SHARE_NONE] = "none",
		[SHARE_CHILDREN] = "children",
		[SHARE_SUBTREE] = "subtree",
		[SHARE_SIBLINGS] = "siblings",
	};

	*ret_session = NULL;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (command_is(&o->command, KEY_WITH, words[i])) {
			*ret = (enum share_with)i;
			if (i == SHARE_SIBLINGS && !by->parent)
				return refuse(o->request, EINVAL, "init has no siblings");
			return true;
		}
	*ret = SHARE_SESSION;
	*ret_session = find_session(o, by, KEY_WITH, RIGHT_ACCEPT);
	return *ret_session;
}

static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	struct reductions how = o->reductions;
	const struct about about = {
		.capability = c, .session = c->session, .right = RIGHT_SHARE};
	struct request *r = o->request;
	enum share_with with;
	struct session *s;
	struct share *share;
	int answer;

	if (!parse_with(o, c->session, &with, &s))
		return 0;
	if (with == SHARE_NONE && !share_find(c))
		return refuse(r, ENOENT, "%s is not shared", c->entity.name);
	answer = share_stage(o->change, c, with, s, &how, &share);
	if (answer == 0)
		answer = share_begin(o->change, share);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	r->pending = share->settled ? 0 : share->entity.id;
	text_addf(&r->text, "slot=%s id=%" PRIu64, c->entity.name, c->entity.id);
	operation_tell(o, c->session, " slot=%s id=%" PRIu64 " uid=%u", c->entity.name, c->entity.id,
		(unsigned)r->uid);
	o->says_words = true;
	return 0;
}

const struct verb verb_share = {
	VERB_ROW(SHARE, share),
	.lasting = true,
	.keys = KEY_BIT(KEY_WITH) | (KEYS_REDUCTIONS & ~KEYS_TEXTS),
	.required = KEY_BIT(KEY_WITH),
	.right = RIGHT_SHARE,
	.stage = stage,
};

static bool
may_share(const struct capability *c, enum share_with with)
{
	return capability_is_live(c) && (capability_rights(c) & RIGHT_SHARE) &&
		(with != SHARE_NONE || share_find(c));
}

/* Those of now, each by a share of its own, so that each can be withdrawn alone. */
static int
share_all(struct operation *o, struct session *by, enum share_with with, struct session *s, uint64_t *ret_n)
{
	const struct reductions how = {};
	struct share *share;

	list_for_each (i, &by->owned[ENTITY_CAPABILITY]) {
		struct capability *c = capability_of(list_entry(i, struct entity, owner_link));
		const struct about about = {.capability = c, .session = by, .right = RIGHT_SHARE};
		int answer = may_share(c, with) ? share_stage(o->change, c, with, s, &how, &share) : -1;

		if (answer == -1)
			continue;
		if (answer < 0)
			return answer;
		if (answer > 0)
			return refuse_capability(o->request, answer, &about);
		o->request->pending = share->entity.id;
		if (++*ret_n > SLOTS_MAX)
			return refuse(o->request, EINVAL, "more than %d slots are shared one by one",
				SLOTS_MAX);
	}
	return 0;
}

static int
stage_all(struct operation *o)
{
	struct session *by = session_of(o->subject), *s;
	struct request *r = o->request;
	enum share_with with;
	uint64_t n = 0;
	int e;

	if (!parse_with(o, by, &with, &s))
		return 0;
	e = share_all(o, by, with, s, &n);
	if (e < 0 || r->error)
		return e;
	if (n == 0)
		return refuse(r, ENOENT, "there is no slot that %s",
			with == SHARE_NONE ? "is shared" : "may be shared");
	text_addf(&r->text, "shared=%" PRIu64, n);
	operation_tell(o, by, " uid=%u", (unsigned)r->uid);
	o->says_words = true;
	return 0;
}

const struct verb verb_share_all = {
	VERB_ROW(SHARE, share),
	.lasting = true,
	.keys = KEY_BIT(KEY_WITH),
	.required = KEY_BIT(KEY_WITH),
	.stage = stage_all,
};
