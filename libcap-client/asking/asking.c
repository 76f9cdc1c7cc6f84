/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking, and deciding on what is asked. A pager waits by a request on the session's own connection, which the
 * daemon answers when there is something to decide, or when another request of the session comes behind it. So
 * one descriptor is polled for all of it, and nothing is lost by what is done in between: what was not told is
 * told by the next wait, since that says which was the last.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "libcap-client/asking/pager.h"

#define TIMEOUT_MAX 86400 /* seconds; the daemon takes no more */
#define REASON_NOTHING_FITS "no capability"

/* --- asking --- */

static uint64_t
to_seconds(uint64_t usec)
{
	uint64_t seconds = usec / 1000000 + (usec % 1000000 != 0);

	return seconds < 1 ? 1 : seconds > TIMEOUT_MAX ? TIMEOUT_MAX : seconds;
}

int
capc_ask(struct capc_session *s, const char *want, uint64_t timeout, char **ret)
{
	cleanup_text struct text command = {};
	cleanup_free char *text = NULL;
	uint64_t seconds = to_seconds(timeout), deadline = session_deadline(s);
	const char *slot;
	char *result;
	size_t n;
	int r;

	session_begin(s);
	text_addf(&command, "%s timeout=%" PRIu64, want, seconds);
	if (text_done(&command) < 0)
		return -ENOMEM;
	/* It is the daemon that looks at the clock: its answer is never on its way when we give up. */
	deadline = deadline > UINT64_MAX - seconds * 1000000 ? UINT64_MAX : deadline + seconds * 1000000;
	r = session_do(s, WIRE_WRITE, "request", command.data, &text, deadline);
	if (r < 0 || !ret)
		return r;
	slot = result_find(text, "slot=", &n);
	result = slot ? strndup(slot, n) : strdup(text);
	if (!result)
		return -ENOMEM;
	*ret = result;
	return 0;
}

/* --- what is told --- */

/* The word at *P, which is ended there; *P is behind it then. NULL: there is none. */
static char *
next_word(char **p)
{
	char *word = *p + strspn(*p, " "), *end = word + strcspn(word, " ");

	*p = *end ? end + 1 : end;
	*end = '\0';
	return *word ? word : NULL;
}

static bool
take(const char *word, const char *key, const char **ret)
{
	size_t n = strlen(key);

	if (strncmp(word, key, n) != 0)
		return false;
	*ret = word + n;
	return true;
}

/* What a known word says. Returns: false, it is another one, and limits begin there. */
static bool
take_word(const char *word, struct capc_ask *a)
{
	if (strcmp(word, "quota") == 0)
		a->what = CAPC_ASK_QUOTA;
	else if (strcmp(word, "yield") == 0)
		a->what = CAPC_ASK_YIELD;
	else
		return take(word, "from=", &a->from) || take(word, "type=", &a->type) || take(word, "name=", &a->name) ||
			take(word, "rights=", &a->rights);
	return true;
}

/* "id=12 from=init/app type=object name=mail rights=call calls=9 waiting=3"; TEXT is ended in many places. */
static int
parse(char *text, struct capc_ask *ret)
{
	char *waiting = strstr(text, " waiting="), *rest = text, *word;
	const char *id;

	if (!waiting)
		return -EBADMSG;
	*waiting = '\0';
	word = next_word(&rest);
	if (!word || !take(word, "id=", &id) || number_parse(id, strlen(id), false, &ret->id) < 0)
		return -EBADMSG;
	ret->limits = rest + strlen(rest);
	while ((word = next_word(&rest))) {
		if (take_word(word, ret))
			continue;
		if (*rest)
			rest[-1] = ' ';
		ret->limits = word;
		break;
	}
	return ret->what != CAPC_ASK_SLOT || (ret->from && ret->type && ret->name) ? 0 : -EBADMSG;
}

/* --- a pager --- */

int
pager_wait(struct capc_session *s, struct pager *p)
{
	char text[32];

	if (!p->handler || p->is_busy)
		return 0;
	snprintf(text, sizeof(text), "after=%" PRIu64, p->last);
	return session_post(s, WIRE_WAIT, "", text, UINT64_MAX, &p->serial);
}

int
pager_take(struct capc_session *s, struct pager *p, const struct wire_reply *reply)
{
	struct capc_ask ask = {.session = s};
	cleanup_free char *text = NULL;
	int r;

	/* One that was ended by another request is repeated behind that. */
	if (!p->handler || reply->serial != p->serial)
		return 0;
	/* A daemon that was restarted may say it again. */
	p->serial = 0;
	if (reply->error)
		return reply->error == EAGAIN ? pager_wait(s, p) : -(int)reply->error;
	text = strndup(reply->text, reply->n_text);
	if (!text)
		return -ENOMEM;
	r = parse(text, &ask);
	if (r < 0)
		return r;
	p->last = ask.id;
	p->is_busy = true;
	p->handler(&ask, p->data);
	p->is_busy = false;
	return pager_wait(s, p);
}

int
capc_pager(struct capc_session *s, capc_pager_handler *handler, void *data)
{
	struct pager *p = session_pager(s);
	int r;

	if (p->is_busy)
		return -EBUSY;
	p->handler = NULL;
	if (!handler)
		return 0;
	/* A daemon that cannot do it says so now, and not when nobody looks. */
	r = session_do_at(s, WIRE_WAIT, "", "", 0, NULL, session_deadline(s));
	if (r == -ETIMEDOUT && !*capc_session_reason(s))
		return r;
	if (r < 0 && r != -ETIMEDOUT)
		return r;
	session_begin(s);
	p->handler = handler;
	p->data = data;
	p->last = 0;
	return pager_wait(s, p);
}

/* --- answers --- */

/* "id=N" and what is answered, where that is written. */
static int
answer(const struct capc_ask *a, struct text *command)
{
	const char *node = a->what == CAPC_ASK_YIELD ? "yield" : "requests";

	if (text_done(command) < 0)
		return -ENOMEM;
	return session_do(a->session, WIRE_WRITE, node, command->data, NULL, session_deadline(a->session));
}

static int
try(const struct capc_ask *a, const char *slot)
{
	cleanup_text struct text command = {};
	int r;

	text_addf(&command, "id=%" PRIu64, a->id);
	r = command_add(&command, "slot", slot);
	return r < 0 ? r : answer(a, &command);
}

/* It says something of the slot, and not of who asks. */
static bool
does_not_fit(int r)
{
	return r == -EPERM || r == -EINVAL || r == -ENOENT || r == -EOPNOTSUPP;
}

int
capc_pager_try(const struct capc_ask *a, const char *const *slots, const char **ret_slot)
{
	int r;

	if (a->what != CAPC_ASK_SLOT)
		return -EINVAL;
	for (; *slots; slots++) {
		r = try(a, *slots);
		if (r == 0 && ret_slot)
			*ret_slot = *slots;
		if (!does_not_fit(r))
			return r;
	}
	r = capc_pager_refuse(a, REASON_NOTHING_FITS);
	return r < 0 ? r : -EACCES;
}

int
capc_pager_give(const struct capc_ask *a, const char *amounts)
{
	cleanup_text struct text command = {};

	if (a->what == CAPC_ASK_SLOT)
		return -EINVAL;
	text_addf(&command, "id=%" PRIu64 " %s", a->id, amounts);
	return answer(a, &command);
}

int
capc_pager_refuse(const struct capc_ask *a, const char *reason)
{
	cleanup_text struct text command = {};

	text_addf(&command, "id=%" PRIu64 " refuse %s", a->id, reason ? reason : "");
	return answer(a, &command);
}
