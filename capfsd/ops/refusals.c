/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables of refusals, one for each module that answers. A reason is a pattern, so that a table
 * shows at a glance what people read. In it stands
 *
 *	%c  the name of the capability, or of the subject
 *	%h  the label of the session that has the capability
 *	%t  the label of the receiving session
 *	%n  the name that was asked for
 *	%w  the right that was needed	%r  the rights that there are
 *	%q  the account of the quota that is short, and its largest consumer
 *	%k  that kind of quota		%d  how much of it was donated first
 *
 * The patterns are ours and never a client's; they are not printf()'s, and what is put in is never
 * looked at for another pattern.
 */
#include "config.h"

#include "capfsd/ops/refusals.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/kinds/alias.h"
#include "capfsd/kinds/anchor.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/visit.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define DIGITS(number) DIGITS_OF(number)
#define DIGITS_OF(number) #number

/* KIND counts where the reason has %q and only one kind can be short. */
struct refusal {
	int error;
	const char *reason;
	bool has_kind;
	enum quota_kind kind;
};

#define SHORT_OF(kind) {EDQUOT, "%q", true, kind}

/* What may be read by others than who asked names the session, since one has many. */
static const struct refusal capability_refusals[] = {
	[CAPABILITY_E_DEAD] = {ENOENT, "the capability has ended"},
	[CAPABILITY_E_RIGHT] = {EPERM, "%h does not hold right '%w' on %c"},
	[CAPABILITY_E_NOT_HELD] = {EPERM, "%h holds only '%r' on %c"},
	[CAPABILITY_E_NOT_SMALLER] = {EINVAL, "that is not a reduction of %c"},
	[CAPABILITY_E_IN_USE] = {EBUSY, "more than that of %c is in use"},
	[CAPABILITY_E_EXISTS] = {EEXIST, "%t has a slot '%n'"},
	[CAPABILITY_E_ENDING] = {EBUSY, "the slot '%n' of %t is being ended"},
	[CAPABILITY_E_NAME] = {EINVAL, "'%n' is not a valid name"},
	[CAPABILITY_E_QUOTA_CAPS] = SHORT_OF(QUOTA_CAPS),
	[CAPABILITY_E_QUOTA_RAM] = SHORT_OF(QUOTA_RAM),
	[CAPABILITY_E_CLOSING] = {EBUSY, "the session is being closed"},
	[CAPABILITY_E_LIMIT_CALLS] = {EDQUOT, "no calls are left of %c"},
	[CAPABILITY_E_LIMIT_RATE] = {EAGAIN, "the rate of %c is reached"},
	[CAPABILITY_E_ABOVE] = {EPERM, "%h itself has less than that on %c"},
	[CAPABILITY_E_CAVEATS] = {EMLINK, "more than " DIGITS(CAVEATS_OWN_MAX) " caveats of a slot, or "
					  DIGITS(CAVEATS_MAX) " with those it inherits"},
	[CAPABILITY_E_OWN] = {EPERM, "the right 'fds' stays with %c: nobody else posts there"},
	[CAPABILITY_E_NO_PART] = {EINVAL, "that is no part of %c which leaves something on either side"},
	[CAPABILITY_E_INDIVISIBLE] = {EBUSY, "a limit of %c has nothing left to be halved"},
	[CAPABILITY_E_TIES] = {EMLINK, "more than " DIGITS(TIE_DEPTH_MAX) " would be reached through each other"},
	[CAPABILITY_E_DEPTH] = {EMLINK, "derived more than " DIGITS(DERIVATION_DEPTH_MAX) " times"},
};

static const struct refusal session_refusals[] = {
	[SESSION_E_EXISTS] = {EEXIST, "there is a session '%n'"},
	[SESSION_E_NAME] = {EINVAL, "'%n' is not a valid name here"},
	[SESSION_E_ENDING] = {EBUSY, "the session '%n' is being closed"},
	[SESSION_E_DEPTH] = {EMLINK, "sessions nest at most " DIGITS(SESSION_DEPTH_MAX) " deep"},
	[SESSION_E_LABEL] = {ENAMETOOLONG,
		"its label would be longer than " DIGITS(LABEL_BYTES_MAX) " bytes"},
	[SESSION_E_QUOTA] = {EDQUOT, "%q"},
	[SESSION_E_NOT_EMPTY] = {ENOTEMPTY, "it has child sessions"},
	[SESSION_E_BUSY] = {EBUSY, "it has live threads"},
	[SESSION_E_CLOSING] = {EBUSY, "the session is being closed"},
};

static const struct refusal entrypoint_refusals[] = {
	[ENTRYPOINT_E_NAME] = {EINVAL, "that is not a valid name"},
	[ENTRYPOINT_E_QUOTA_THREADS] = SHORT_OF(QUOTA_THREADS),
	[ENTRYPOINT_E_QUOTA_RAM] = SHORT_OF(QUOTA_RAM),
	[ENTRYPOINT_E_SERVED] = {EBUSY, "it is served by another"},
	[ENTRYPOINT_E_MODE] = {EEXIST, "it is there with another mode"},
	[ENTRYPOINT_E_COMMAND] = {EBUSY, "it has a command, and stays for that"},
	[ENTRYPOINT_E_CLOSING] = {EBUSY, "the session is being closed"},
};

static const struct refusal object_refusals[] = {
	[ENTRYPOINT_E_EXISTS] = {EEXIST,
		"that key has an object with another socket type or protocol"},
	[ENTRYPOINT_E_QUOTA_RAM] = SHORT_OF(QUOTA_RAM),
	[ENTRYPOINT_E_CLOSING] = {EBUSY, "the entrypoint %c is being ended"},
};

static const struct refusal alias_refusals[] = {
	[ALIAS_E_NAME] = {EINVAL, "'%n' is not a valid name of a socket"},
	[ALIAS_E_EXISTS] = {EEXIST, "%c has an alias '%n'"},
	[ALIAS_E_MANY] = {EMLINK, "a slot has " DIGITS(ALIASES_MAX) " aliases at most"},
	[ALIAS_E_DEAD] = {ENOENT, "the capability has ended"},
	[ALIAS_E_QUOTA_RAM] = SHORT_OF(QUOTA_RAM),
};

static const struct refusal anchor_refusals[] = {
	[ANCHOR_E_QUOTA_RAM] = SHORT_OF(QUOTA_RAM),
	[ANCHOR_E_CLOSING] = {EBUSY, "the session is being closed"},
	[ANCHOR_E_ALARM] = {EEXIST, "%t has a signal for its faults"},
};

static const struct refusal visit_refusals[] = {
	[VISIT_E_QUOTA] = {EDQUOT, "%q"},
	[VISIT_E_ARGS] = {EINVAL, "args has at most " DIGITS(VISIT_ARGS_BYTES) " bytes"},
	[VISIT_E_DEPTH] = {EMLINK, "servers visit for each other at most " DIGITS(VISIT_DEPTH_MAX) " deep"},
	[VISIT_E_ASKS] = {EBUSY, "what was asked for before is not answered yet"},
	[VISIT_E_ANSWERED] = {EALREADY, "nothing is asked: it was answered before"},
};

static const struct refusal transfer_refusals[] = {
	[QUOTA_E_EXCEEDED] = {EDQUOT, "%q"},
	[QUOTA_E_DONATION] = {EDQUOT, "%t %k would fall below its first donation of %d"},
};

static void
add_label(struct text *t, const struct session *s)
{
	if (s)
		session_label(s, t);
	else
		text_add(t, "?");
}

/* What it lacks is told of a session that a slot has named, and not who below it has that. */
static void
add_account(const struct request *r, struct session *s, enum quota_kind kind, struct text *t)
{
	if (r->asks && !session_is_within(s, r->asks))
		text_limit(s, kind, t);
	else
		text_account(s, kind, t);
}

/* One letter of a pattern. Names are at most NAME_BYTES_MAX long, but the one that was asked for. */
static void
add_part(const struct request *r, struct text *t, char part, const struct about *a, enum quota_kind kind)
{
	switch (part) {
	case 'c':
		text_add(t, a->capability ? a->capability->entity.name : a->subject);
		break;
	case 'h':
		add_label(t, a->capability ? a->capability->session : NULL);
		break;
	case 't':
		add_label(t, a->session);
		break;
	case 'n':
		text_addf(t, "%.*s", (int)a->name.n, a->name.p ? a->name.p : "");
		break;
	case 'w':
		rights_format(a->right, t);
		break;
	case 'r':
		rights_format(capability_rights(a->capability), t);
		break;
	case 'q':
		add_account(r, a->session, kind, t);
		break;
	case 'k':
		text_add(t, quota_kind_name(kind));
		break;
	case 'd':
		text_addf(t, "%" PRIu64, a->session->record.donation.n[kind]);
		break;
	}
}

/*
 * An answer that its table does not have is a bug of ours, and EIO for who asked. Without memory
 * for the reason the refusal stays one, with its errno.
 */
static int
refuse_by(struct request *r, const struct refusal *table, size_t n, int answer,
	const struct about *about)
{
	const struct refusal *refusal = answer > 0 && (size_t)answer < n ? &table[answer] : NULL;
	cleanup_text struct text t = {};

	if (!refusal || !refusal->reason)
		return refuse(r, EIO, "unexpected answer %d", answer);
	for (const char *p = refusal->reason; *p; p++) {
		size_t plain = strcspn(p, "%");

		text_add_n(&t, p, plain);
		p += plain;
		if (!*p)
			break;
		add_part(r, &t, *++p, about, refusal->has_kind ? refusal->kind : about->kind);
	}
	return refuse(r, refusal->error, "%s", t.data ? t.data : "?");
}

int
refuse_capability(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, capability_refusals, N_OF(capability_refusals), answer, about);
}

int
refuse_session(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, session_refusals, N_OF(session_refusals), answer, about);
}

int
refuse_entrypoint(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, entrypoint_refusals, N_OF(entrypoint_refusals), answer, about);
}

int
refuse_object(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, object_refusals, N_OF(object_refusals), answer, about);
}

int
refuse_alias(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, alias_refusals, N_OF(alias_refusals), answer, about);
}

int
refuse_anchor(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, anchor_refusals, N_OF(anchor_refusals), answer, about);
}

int
refuse_visit(struct request *r, int answer, const struct about *about)
{
	return refuse_by(r, visit_refusals, N_OF(visit_refusals), answer, about);
}

/* The model checks these two itself, and they are not about any amount. */
int
refuse_transfer(struct request *r, int answer, const struct about *about)
{
	if (answer == -EINVAL)
		return refuse(r, EINVAL, "quota moves between a session and its child only");
	if (answer < 0)
		return refuse(r, EINVAL, "the sum does not fit 64 bits");
	return refuse_by(r, transfer_refusals, N_OF(transfer_refusals), answer, about);
}

/* Whatever else the system has not is told as memory: the client can but try again. */
int
refuse_system(struct request *r, int error, const struct about *about)
{
	switch (error) {
	case -EDQUOT:
		return refuse_quota(r, about->session, about->kind);
	case -EMFILE:
	case -ENFILE:
		return refuse(r, -error, "the daemon has no descriptor left");
	default:
		return refuse(r, ENOMEM, "the daemon is out of memory");
	}
}

int
refuse_quota(struct request *r, struct session *s, enum quota_kind kind)
{
	return refuse_transfer(
		r, QUOTA_E_EXCEEDED, &(struct about){.session = s, .kind = kind});
}

int
refuse_right(struct request *r, const struct capability *c, uint32_t right)
{
	return refuse_capability(
		r, CAPABILITY_E_RIGHT, &(struct about){.capability = c, .right = right});
}
