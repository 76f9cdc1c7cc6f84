/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done with sessions: create, close, move quota, change owner and mode. */
#include "config.h"

#include "capfsd/verbs/verbs.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"

static int
refuse_transfer(struct request *r, struct session *from, int answer, enum quota_kind kind)
{
	cleanup_text struct text label = {};

	switch (answer) {
	case QUOTA_E_EXCEEDED:
		return refuse_quota(r, from, kind);
	case QUOTA_E_DONATION:
		session_label(from, &label);
		return refuse(r, EDQUOT, "%s %s would fall below its first donation of %" PRIu64,
			label.data ? label.data : "?", quota_kind_name(kind),
			from->record.donation.n[kind]);
	case -EINVAL:
		return refuse(r, EINVAL, "quota moves between a session and its child only");
	default:
		return refuse(r, EINVAL, "the sum does not fit 64 bits");
	}
}

int
verb_transfer_quota(struct request *r, struct entity *e, const char *text, size_t n)
{
	struct session *s = session_of(e), *other, *from, *to;
	enum quota_kind kind = QUOTA_CAPS;
	struct quota amount;
	struct command c;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, 1u << KEY_TO | 1u << KEY_FROM | KEYS_QUOTA, &c) ||
		!command_quota(r, &c, &amount))
		return 0;
	if (command_has(&c, KEY_TO) == command_has(&c, KEY_FROM))
		return refuse(r, EINVAL, "one of to=SESSION, from=SESSION");
	if (!(c.given & KEYS_QUOTA))
		return refuse(r, EINVAL, "no amount is given");
	other = find_session(r, s, &c, command_has(&c, KEY_TO) ? KEY_TO : KEY_FROM);
	if (!other)
		return 0;
	from = command_has(&c, KEY_TO) ? s : other;
	to = from == s ? other : s;
	ch = change_begin(r->model);
	a = session_transfer_quota(ch, from, to, &amount, &kind);
	if (a == -ENOMEM)
		return request_fail(r, ch, a);
	if (a != 0) {
		change_abort(ch);
		return refuse_transfer(r, from, a, kind);
	}
	text_add(&r->text, "done");
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, s, "transfer_quota uid=%u %.*s", (unsigned)r->uid, (int)n,
			text);
	return a;
}

int
verb_session_create(struct request *r, struct session *parent, const char *name, size_t n,
	const char *quota, size_t n_quota, struct session **ret)
{
	struct word word = {name, n};
	enum quota_kind kind = QUOTA_CAPS;
	struct quota donation, asked;
	struct command c = {};
	struct change *ch;
	int a;

	if (n_quota > 0 && (!command_parse(r, quota, n_quota, KEYS_QUOTA, &c) ||
				   !command_quota(r, &c, &asked)))
		return 0;
	session_default_donation(parent, &donation);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (command_has(&c, KEY_QUOTA + i))
			donation.n[i] = asked.n[i];
	ch = change_begin(r->model);
	a = session_create(ch, parent, name, n, r->uid, r->gid, &donation, ret, &kind);
	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_session(r, parent, &word, a, kind);
	}
	text_addf(&r->text, "session=%.*s id=%" PRIu64, (int)n, name, (*ret)->entity.id);
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, *ret, "create uid=%u", (unsigned)r->uid);
	return a;
}

int
verb_session_close(struct request *r, struct session *s)
{
	struct session *parent = s->parent;
	cleanup_text struct text label = {};
	struct change *ch;
	int a;

	session_label(s, &label);
	ch = change_begin(r->model);
	a = session_close(ch, s);
	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_session(r, s, NULL, a, QUOTA_CAPS);
	}
	r->pending = s->entity.id;
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, parent, "close uid=%u %s", (unsigned)r->uid,
			label.data ? label.data : "?");
	return a;
}

static int
set_session_owner(struct change *ch, struct session *s, uid_t uid, gid_t gid, mode_t mode)
{
	struct session_record *record = change_edit(ch, &s->entity);

	if (!record)
		return -ENOMEM;
	record->uid = uid != (uid_t)-1 ? uid : record->uid;
	record->gid = gid != (gid_t)-1 ? gid : record->gid;
	record->mode = mode != (mode_t)-1 ? mode & 0777 : record->mode;
	return 0;
}

static int
set_capability_owner(struct change *ch, struct capability *c, uid_t uid, gid_t gid, mode_t mode)
{
	struct capability_record *record = change_edit(ch, &c->entity);
	uid_t present_uid;
	gid_t present_gid;
	mode_t present_mode;

	if (!record)
		return -ENOMEM;
	capability_owner(c, &present_uid, &present_gid, &present_mode);
	record->uid = uid != (uid_t)-1 ? uid : present_uid;
	record->gid = gid != (gid_t)-1 ? gid : present_gid;
	record->mode = (mode != (mode_t)-1 ? mode : present_mode) & 0777;
	return 0;
}

int
verb_set_owner(struct request *r, struct entity *e, uid_t uid, gid_t gid, mode_t mode)
{
	struct change *ch = change_begin(r->model);
	int a;

	if (e->kind == ENTITY_SESSION)
		a = set_session_owner(ch, session_of(e), uid, gid, mode);
	else
		a = set_capability_owner(ch, capability_of(e), uid, gid, mode);
	if (a < 0)
		return request_fail(r, ch, a);
	return request_commit(r, ch);
}
