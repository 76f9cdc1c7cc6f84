/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ends that a request can have: refused, committed, or the daemon's. A refusal leaves nothing
 * behind but its reason.
 */
#include "config.h"

#include "capfsd/ops/request.h"

#include <errno.h>
#include <stdarg.h>

#include "base/error.h"

/*
 * Whatever a verb has said or made until then is dropped: a refusal that named what it made would
 * be believed.
 */
int
refuse(struct request *r, int error, const char *format, ...)
{
	va_list args;

	r->error = error;
	r->made = NULL;
	text_reset(&r->text);
	va_start(args, format);
	text_vaddf(&r->text, format, args);
	va_end(args);
	return 0;
}

/* A full store and no memory are the only errors that a client outlives: nothing was changed. */
int
request_fail(struct request *r, struct change *ch, int error)
{
	if (ch)
		change_abort(ch);
	switch (error) {
	case -ENOMEM:
		return refuse(r, ENOMEM, "the daemon is out of memory");
	case -ENOSPC:
		return refuse(r, ENOSPC, "the state store is full");
	default:
		return error_trace(error);
	}
}

/*
 * The reply is stored with the change, so that a repeated request is not done twice. After a commit
 * that failed there is nothing to be reaped, and the reply must not wait for it.
 */
int
request_commit(struct request *r, struct change *ch)
{
	int e;

	if (r->note) {
		e = r->note(r, ch);
		if (e < 0)
			return request_fail(r, ch, e);
		/*
		 * What ends something must be done even where a full store has no room for the
		 * note: a repeated request then finds the thing ended, which is what it wanted.
		 */
		if (r->pending)
			change_spare_notes(ch);
	}
	e = change_commit(ch);
	if (e < 0) {
		r->pending = 0;
		return request_fail(r, NULL, e);
	}
	return 0;
}

void
request_log_refusal(
	const struct request *r, struct session *s, const char *verb, const struct text *where)
{
	cleanup_text struct text fields = {};
	const struct event event = {
		.verb = verb,
		.error = r->error,
		.through = r->by,
		.fields = &fields,
		.text = r->text.data,
		.n_text = r->text.n,
	};

	if (where->n > 0)
		text_add_n(&fields, where->data, where->n);
	text_addf(&fields, " uid=%u", (unsigned)r->uid);
	fields.failed |= where->failed;
	event_log(r->model, s, &event);
}

void
request_deinit(struct request *r)
{
	text_deinit(&r->text);
}
