/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks says what it needs, who decides what it gives. Rights are what a program is written for: where
 * fewer are given than were asked for, nothing is. Limits are the smaller ones of both, and the new slot's
 * `info` shows them. What comes of it is a grant as any other, of a slot that who decides holds and may grant.
 */
#include "config.h"

#include "capfsd/verbs/asking/answer.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/reductions.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/ops/verb.h"

static void
take_smaller(bool has, uint64_t value, bool *ret_has, uint64_t *ret)
{
	if (has && (!*ret_has || value < *ret))
		*ret = value;
	*ret_has |= has;
}

/* What is asked that is not given. 0: nothing. */
static uint32_t
missing_rights(const struct reductions *asked, const struct reductions *given)
{
	return asked->has_rights && given->has_rights ? asked->rights & ~given->rights : 0;
}

static bool
combine(struct request *r, const struct reductions *given, struct reductions *how)
{
	cleanup_text struct text t = {};
	uint32_t missing = missing_rights(how, given);

	if (missing) {
		rights_format(missing, &t);
		return refuse(r, EPERM, "'%s' is asked for, and not given", t.data ? t.data : "?");
	}
	if (how->has_methods && given->has_methods && !methods_contain(&given->methods, &how->methods))
		return refuse(r, EINVAL, "more methods are asked for than are given");
	if (!how->has_rights)
		how->rights = given->rights;
	if (!how->has_methods)
		how->methods = given->methods;
	how->has_rights |= given->has_rights;
	how->has_methods |= given->has_methods;
	take_smaller(given->has_calls, given->calls, &how->has_calls, &how->calls);
	take_smaller(given->has_conns, given->conns, &how->has_conns, &how->conns);
	take_smaller(given->has_rate, given->rate, &how->has_rate, &how->rate);
	take_smaller(given->has_expires, given->expires_usec, &how->has_expires, &how->expires_usec);
	how->only = given->only;
	how->n_only = given->n_only;
	how->immutable = true;
	return true;
}

struct capability *
find_slot(struct request *r, struct session *s, const struct word *name)
{
	struct entity *e = entity_find_name(r->model, s->entity.id, ENTITY_CAPABILITY, name->p, name->n);

	if (e && capability_is_live(capability_of(e)))
		return capability_of(e);
	refuse(r, ENOENT, "there is no slot '%.*s'", (int)name->n, name->p);
	return NULL;
}

int
answer_with(struct request *r, struct change *ch, const struct asking *asking, struct capability *source,
	const struct reductions *given, struct capability **ret)
{
	const struct about about = {
		.capability = source,
		.session = asking->session,
		.name = {asking->name, asking->n_name},
		.right = RIGHT_GRANT,
	};
	struct reductions how;
	int answer;

	if (source->record.type != asking->record->type)
		return refuse(r, EINVAL, "%s is of type %s, and one of type %s is asked for", source->entity.name,
			capability_type(source)->name, capability_types[asking->record->type]->name);
	ask_reductions(asking->record, &how);
	if (!combine(r, given, &how) || !reductions_can_be_kept(r, source, &how))
		return 0;
	/* It would be good for nothing. */
	if (!how.has_rights && !(capability_rights(source) & ~RIGHTS_COMMON))
		return refuse_right(r, source, RIGHT_CALL);
	answer = capability_grant(ch, source, asking->session, asking->name, asking->n_name, &how, r->uid, ret);
	if (answer < 0)
		return answer;
	return answer ? refuse_capability(r, answer, &about) : 0;
}

void
answer_tell(struct operation *o, const struct capability *made, uint64_t ask_id)
{
	operation_tell(o, made->session, " slot=%s id=%" PRIu64 " request=%" PRIu64 " uid=%u from=",
		made->entity.name, made->entity.id, ask_id, (unsigned)o->request->uid);
	event_label(made->parent->session, &o->event);
	text_addf(&o->event, "/caps/%s", made->parent->entity.name);
	o->told_as = "grant";
}
