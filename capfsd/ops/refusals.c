/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/ops/refusals.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/tree/info.h"
#include "capfsd/ops/request.h"

int
refuse_quota(struct request *r, struct session *s, enum quota_kind kind)
{
	cleanup_text struct text t = {};

	info_account(s, kind, &t);
	return refuse(r, EDQUOT, "%s", t.data ? t.data : "quota");
}

int
refuse_right(struct request *r, const struct capability *c, const char *right)
{
	cleanup_text struct text label = {};

	session_label(c->session, &label);
	return refuse(r, EPERM, "%s does not hold right '%s' on %s", label.data ? label.data : "?",
		right, c->entity.name);
}

/* The answers of the capability's operations as refusals; TO is the receiving session. */
int
refuse_capability(struct request *r, const struct capability *c, struct session *to,
	const struct word *name, int answer, const char *right)
{
	cleanup_text struct text t = {};

	switch (answer) {
	case CAPABILITY_E_DEAD:
		return refuse(r, ENOENT, "the capability has ended");
	case CAPABILITY_E_RIGHT:
		return refuse_right(r, c, right);
	case CAPABILITY_E_NOT_HELD:
		session_label(c->session, &t);
		text_addf(&t, " holds only '");
		rights_format(capability_rights(c), &t);
		return refuse(r, EPERM, "%s' on %s", t.data ? t.data : "?", c->entity.name);
	case CAPABILITY_E_NOT_SMALLER:
		return refuse(r, EINVAL, "that is not a reduction of %s", c->entity.name);
	case CAPABILITY_E_IN_USE:
		return refuse(r, EBUSY, "more than that of %s is in use", c->entity.name);
	case CAPABILITY_E_EXISTS:
		session_label(to, &t);
		return refuse(r, EEXIST, "%s has a slot '%.*s'", t.data ? t.data : "?",
			(int)name->n, name->p);
	case CAPABILITY_E_ENDING:
		session_label(to, &t);
		return refuse(r, EBUSY, "the slot '%.*s' of %s is being ended", (int)name->n,
			name->p, t.data ? t.data : "?");
	case CAPABILITY_E_NAME:
		return refuse(r, EINVAL, "'%.*s' is not a valid name", (int)name->n, name->p);
	case CAPABILITY_E_QUOTA_CAPS:
		return refuse_quota(r, to, QUOTA_CAPS);
	case CAPABILITY_E_QUOTA_RAM:
		return refuse_quota(r, to, QUOTA_RAM);
	case CAPABILITY_E_CLOSING:
		return refuse(r, EBUSY, "the session is being closed");
	case CAPABILITY_E_DEPTH:
		return refuse(r, EMLINK, "derived more than %d times", DERIVATION_DEPTH_MAX);
	default:
		return refuse(r, EIO, "unexpected answer %d", answer);
	}
}

int
refuse_session(struct request *r, struct session *parent, const struct word *name, int answer,
	enum quota_kind kind)
{
	switch (answer) {
	case SESSION_E_EXISTS:
		return refuse(r, EEXIST, "there is a session '%.*s'", (int)name->n, name->p);
	case SESSION_E_NAME:
		return refuse(r, EINVAL, "'%.*s' is not a valid name here", (int)name->n, name->p);
	case SESSION_E_ENDING:
		return refuse(r, EBUSY, "the session '%.*s' is being closed", (int)name->n, name->p);
	case SESSION_E_DEPTH:
		return refuse(r, EMLINK, "sessions nest at most %d deep", SESSION_DEPTH_MAX);
	case SESSION_E_LABEL:
		return refuse(r, ENAMETOOLONG, "its label would be longer than %d bytes",
			LABEL_BYTES_MAX);
	case SESSION_E_QUOTA:
		return refuse_quota(r, parent, kind);
	case SESSION_E_NOT_EMPTY:
		return refuse(r, ENOTEMPTY, "it has child sessions");
	case SESSION_E_BUSY:
		return refuse(r, EBUSY, "it has live threads");
	case SESSION_E_CLOSING:
		return refuse(r, EBUSY, "the session is being closed");
	default:
		return refuse(r, EIO, "unexpected answer %d", answer);
	}
}

/* The session that KEY names, seen from S. NULL: refused. */
struct session *
find_session(struct request *r, struct session *s, const struct command *c, enum key key)
{
	const struct word *w = &c->value[key];
	struct session *found;

	found = session_find(r->model, s, w->p, w->n);
	if (!found)
		refuse(r, ENOENT, "there is no session '%.*s' here", (int)w->n, w->p);
	return found;
}

