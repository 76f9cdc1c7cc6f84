/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What shares make and end. It is never listed anywhere: it is found by looking at the slots that were derived
 * from the shared one, and at the sessions it is for. So a share that was written anew, a start of the daemon, and
 * a crash in the middle are all the same: both are gone through once more, in slices.
 *
 * A session that is made later, or that has room again, looks for what is shared with it instead.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "capfsd/kinds/declined.h"
#include "capfsd/kinds/capability/derive.h"
#include "capfsd/kinds/capability/share.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"

#define WELCOME_MAX 64 /* slots that are given with the change that makes the session, or the share */
#define LOOKS 16	   /* that cost as much as one slot made or ended */

/* Is S one of those it is for? */
static bool
covers(const struct share *share, const struct session *s)
{
	const struct session *by = share->capability->session;

	switch (share->record.with) {
	case SHARE_CHILDREN:
		return s->parent == by;
	case SHARE_SUBTREE:
		return s != by && session_is_within(s, by);
	case SHARE_SIBLINGS:
		return s != by && s->parent && s->parent == by->parent;
	case SHARE_SESSION:
		return s->entity.id == share->record.scope;
	default:
		return false;
	}
}

/* What SHARE has made for S, or NULL. */
static struct capability *
find_made(struct model *m, const struct share *share, const struct session *s)
{
	struct capability *c = NULL;

	do
		c = capability_next_in(m, s, share->capability, c);
	while (c && c->record.by_uid < BY_SHARE_ENDED);
	return c;
}

/* Beside it, or wherever somebody is who accepts it. */
static bool
is_beside(const struct share *share, const struct session *s)
{
	return !session_is_within(s, share->capability->session);
}

/* Those beside it are not below it: they keep half of their slots, whatever is shared with them. */
static bool
is_enough(const struct share *share, const struct session *s)
{
	return is_beside(share, s) &&
		quota_free(s, QUOTA_CAPS) <= s->record.limit.n[QUOTA_CAPS] / 2;
}

/*
 * From above it has the slot's own name, as all that comes from there. From beside it has the sharer's before
 * that: else who makes a session could not be sure what it finds under a name there.
 */
static void
shared_name(const struct share *share, const struct session *s, char name[2 * NAME_BYTES_MAX + 2])
{
	const struct capability *c = share->capability;
	bool beside = is_beside(share, s);

	snprintf(name, 2 * NAME_BYTES_MAX + 2, "%s%s%s", beside ? c->session->entity.name : "",
		beside ? "." : "", c->entity.name);
}

/* Is S to get what it has not? */
static bool
is_missing(struct model *m, const struct share *share, const struct session *s)
{
	return covers(share, s) && s->entity.id > share->record.settled_upto && !find_made(m, share, s) &&
		!declined_is(m, s, share);
}

/* Returns: as derive(); 0 also if S has it, or is not to have it. */
static int
give(struct change *ch, const struct share *share, struct session *s)
{
	const struct reductions how = share_reductions(&share->record);
	char base[2 * NAME_BYTES_MAX + 2], name[NAME_BYTES_MAX + 1];
	struct capability *made;

	if (!is_missing(change_model(ch), share, s))
		return 0;
	if (is_enough(share, s))
		return CAPABILITY_E_QUOTA_CAPS;
	shared_name(share, s, base);
	derive_pick_name(ch, s, base, name);
	return derive(ch, share->capability, RIGHT_SHARE, s, name, strlen(name), &how, BY_SHARE, &made);
}

/* One for whom there was no room, to be told when the change is done. */
struct lack {
	struct session *session;
	struct capability *source;
};

struct slice {
	struct change *ch;
	unsigned left, looks;
	struct lack lacks[64];
	unsigned n_lacks;
};

/* Told once, until all is there. Whatever else keeps it from being given is the source's, and no news. */
static int
note(struct slice *slice, const struct share *share, struct session *s, int answer)
{
	bool lacks = answer == CAPABILITY_E_QUOTA_CAPS || answer == CAPABILITY_E_QUOTA_RAM;

	if (answer < 0 || !lacks)
		return answer < 0 ? answer : 0;
	if (!s->lacks_shared && slice->n_lacks < sizeof(slice->lacks) / sizeof(slice->lacks[0]))
		slice->lacks[slice->n_lacks++] = (struct lack){s, share->capability};
	s->lacks_shared = true;
	return 0;
}

static void
tell_lacks(struct model *m, const struct slice *slice)
{
	for (unsigned i = 0; i < slice->n_lacks; i++) {
		const struct lack *lack = &slice->lacks[i];
		cleanup_text struct text fields = {};
		const struct event event = {.verb = "wait", .keep = EVENT_LASTING, .fields = &fields};

		text_addf(&fields, " slot=%s error=EDQUOT from=", lack->source->entity.name);
		event_label(lack->source->session, &fields);
		text_addf(&fields, "/caps/%s", lack->source->entity.name);
		event_log(m, lack->session, &event);
	}
}

/* Not by capability_end(), which is for those who do not want it to be made again. */
static int
end_made(struct change *ch, struct capability *c)
{
	struct capability_record *edited = change_edit(ch, &c->entity);

	if (!edited)
		return -ENOMEM;
	edited->flags |= CAPABILITY_DEAD;
	return 0;
}

/*
 * As it would be made now; one in the way of which stands what is in use is made anew, and one whose time is over,
 * though nobody has ended it yet.
 */
static int
renew(struct change *ch, const struct share *share, struct capability *c)
{
	struct capability_record record, *edited;
	int r = share_derive(ch, share, &record);

	if (r || !capability_is_live(c))
		return r < 0 ? r : end_made(ch, c);
	if (record.calls_limit < capability_calls_used(c) || record.conns_limit < c->conns_used)
		return end_made(ch, c);
	edited = change_edit(ch, &c->entity);
	if (!edited)
		return -ENOMEM;
	record_set_rights(edited, record_rights(&record));
	edited->n_methods = record.n_methods;
	memcpy(edited->methods, record.methods, sizeof(record.methods));
	edited->calls_used = capability_calls_used(c);
	edited->calls_limit = record.calls_limit;
	edited->conns_limit = record.conns_limit;
	edited->rate_limit = record.rate_limit;
	edited->expires_usec = record.expires_usec;
	return 0;
}

static bool
has_ended(struct change *ch, const struct capability *c)
{
	const struct capability_record *r = change_record(ch, &c->entity);

	return r->by_uid >= BY_SHARE_ENDED && (r->flags & CAPABILITY_DEAD);
}

/* The next that was derived from the shared slot, behind the last one that stays. */
static struct capability *
next_child(struct model *m, const struct share *share, const struct capability *before)
{
	struct list *all = &share->capability->children, *next = list_first(all);
	const struct entity *e = share->at ? entity_find(m, share->at) : NULL;

	if (!before && e && e->kind == ENTITY_CAPABILITY && capability_of(e)->parent == share->capability)
		before = capability_of(e);
	if (before)
		next = before->sibling_link.next == all ? NULL : before->sibling_link.next;
	return next ? list_entry(next, struct capability, sibling_link) : NULL;
}

/* C is as it should be, or becomes so: it stays, is changed, or ends. *RET_STAYS: it need not be looked at again. */
static int
look_at(struct slice *slice, const struct share *share, struct capability *c, bool *ret_stays)
{
	bool covered = covers(share, c->session);

	*ret_stays = c->record.by_uid != BY_SHARE || (covered && !capability_is_doomed(c));
	if (c->record.by_uid != BY_SHARE || capability_is_doomed(c) || (covered && !share->record.changed))
		return 0;
	slice->left--;
	return covered ? renew(slice->ch, share, c) : end_made(slice->ch, c);
}

/*
 * Whoever should not have it loses it; what stays is made as it should be. It is not over until all that has ended
 * is gone, so that names and quota are free when it is. Returns: 1 when done, 0, -errno.
 */
static int
withdraw(struct slice *slice, struct share *share)
{
	struct capability *c = NULL;
	bool all_stay = true, remains = false, stays;

	while (slice->left > 0 && slice->looks > 0) {
		int r;

		c = next_child(change_model(slice->ch), share, c);
		if (!c)
			return !remains;
		slice->looks--;
		r = look_at(slice, share, c, &stays);
		if (r < 0)
			return r;
		remains = remains || has_ended(slice->ch, c);
		all_stay = all_stay && stays;
		if (all_stay)
			share->at = c->entity.id;
	}
	return 0;
}

/* The next session that it is for; of those that have gone since the walk goes on from the begin. */
static struct session *
next_session(struct model *m, const struct share *share)
{
	struct session *by = share->capability->session, *at;
	struct entity *e;

	switch (share->record.with) {
	case SHARE_CHILDREN:
	case SHARE_SIBLINGS:
		at = share->record.with == SHARE_CHILDREN ? by : by->parent;
		e = entity_next(m, &at->owned[ENTITY_SESSION], share->at);
		return e ? session_of(e) : NULL;
	case SHARE_SUBTREE:
		at = share->at ? session_find_id(m, share->at) : NULL;
		return session_next_below(by, at && session_is_within(at, by) ? at : by);
	case SHARE_SESSION:
		return share->at ? NULL : session_find_id(m, share->record.scope);
	default:
		return NULL;
	}
}

/* Returns: 1 when all have it, 0, -errno. */
static int
give_some(struct slice *slice, struct share *share)
{
	struct model *m = change_model(slice->ch);

	while (slice->left > 0 && slice->looks > 0) {
		struct session *s = next_session(m, share);
		int r;

		if (!s)
			return 1;
		slice->looks--;
		share->at = s->entity.id;
		if (!covers(share, s) || find_made(m, share, s))
			continue;
		slice->left--;
		r = note(slice, share, s, give(slice->ch, share, s));
		if (r < 0)
			return r;
	}
	return 0;
}

/* All that it has made is as it should be. */
static int
settle_changed(struct change *ch, struct share *share)
{
	struct share_record *edited = change_edit(ch, &share->entity);

	if (!edited)
		return -ENOMEM;
	edited->changed = 0;
	return 0;
}

/* One that is withdrawn goes with the slice that finds nothing more of it. */
static int
stage_share(struct slice *slice, struct share *share, bool *ret_done)
{
	int r = 1;

	if (!share->gives)
		r = withdraw(slice, share);
	if (r > 0 && share->record.with == SHARE_NONE)
		return change_drop(slice->ch, &share->entity);
	if (r > 0 && !share->gives) {
		share->gives = true;
		share->at = 0;
		r = share->record.changed && settle_changed(slice->ch, share) < 0 ? -ENOMEM : r;
	}
	if (r >= 0 && share->gives)
		r = give_some(slice, share);
	*ret_done = r > 0;
	return r < 0 ? r : 0;
}

/* What could not be stored is done again, from where it was begun. */
static int
run_share(struct model *m, struct slice *slice, struct share *share)
{
	const struct share before = *share;
	bool goes = before.record.with == SHARE_NONE, done = false;
	int r;

	slice->ch = change_begin(m);
	r = change_finish(slice->ch, stage_share(slice, share, &done));
	if (r < 0) {
		share->at = before.at;
		share->gives = before.gives;
	} else if (done && !goes) {
		list_unlink(&share->work_link);
	}
	return r;
}

/*
 * Whom it is for is not looked at further than to the first one who does not get it: what is to be told of that is
 * told by share_run(), which begins anew.
 */
int
share_begin(struct change *ch, struct share *share)
{
	struct session *s;
	int answer = 0;

	if (share->entity.linked || share->record.with == SHARE_NONE)
		return 0;
	for (unsigned n = 0; answer == 0 && n < WELCOME_MAX; n++) {
		s = next_session(change_model(ch), share);
		if (!s) {
			share->settled = true;
			break;
		}
		share->at = s->entity.id;
		answer = give(ch, share, s);
	}
	return answer < 0 ? answer : 0;
}

/*
 * All that is shared with S by shares that stand in the list of AT. Only what is given counts: each slice begins
 * at the first one, and would else come no further than that.
 */
static int
give_of(struct slice *slice, const struct session *at, struct session *s)
{
	list_for_each (i, (struct list *)(uintptr_t)&at->shares) {
		const struct share *share = list_entry(i, struct share, scope_link);
		int answer, r;

		if (!is_missing(change_model(slice->ch), share, s))
			continue;
		if (slice->left == 0)
			return 1;
		answer = give(slice->ch, share, s);
		slice->left -= answer == 0;
		r = note(slice, share, s, answer);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Its own list has those for it alone, its parent's what is for all children, all above what is for subtrees. */
static int
give_all(struct slice *slice, struct session *s)
{
	int r = 0;

	for (const struct session *at = s; r == 0 && at; at = at->parent)
		r = give_of(slice, at, s);
	return r;
}

int
share_welcome(struct change *ch, struct session *s)
{
	struct slice slice = {.ch = ch, .left = WELCOME_MAX};
	int r = give_all(&slice, s);

	return r < 0 ? r : 0;
}

/* What goes first leaves room, of which the slice that comes then knows. Returns: 1 if there is more; 0; -errno. */
static int
stage_session(struct slice *slice, struct session *s)
{
	unsigned left = slice->left;
	int r = declined_drop(slice->ch, s, &slice->left);

	if (r < 0 || slice->left < left)
		return r < 0 ? r : 1;
	s->lacks_shared = false;
	return give_all(slice, s);
}

/* It stays in the line as long as there is more than one slice has room for. */
static int
run_session(struct model *m, struct slice *slice, struct session *s)
{
	bool lacked = s->lacks_shared;
	int r, more;

	slice->ch = change_begin(m);
	more = stage_session(slice, s);
	r = change_finish(slice->ch, more < 0 ? more : 0);
	if (r < 0 || more == 0)
		list_unlink(&s->share_link);
	if (r < 0) {
		s->lacks_shared = lacked;
		list_append(&m->unshared, &s->share_link);
	}
	if (lacked)
		slice->n_lacks = 0;
	return r;
}

int
share_run(struct model *m, unsigned budget)
{
	struct slice slice = {.left = budget, .looks = budget * LOOKS};
	int r = 0;

	if (!list_empty(&m->sharing))
		r = run_share(m, &slice, list_entry(list_first(&m->sharing), struct share, work_link));
	else if (!list_empty(&m->unshared))
		r = run_session(m, &slice, list_entry(list_first(&m->unshared), struct session, share_link));
	if (r < 0)
		return r;
	tell_lacks(m, &slice);
	return share_is_due(m);
}
