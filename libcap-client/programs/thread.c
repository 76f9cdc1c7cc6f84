/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "libcap-client/programs/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/number.h"

#define ABANDON_USEC UINT64_C(1000000) /* so long at most does the next request wait for it */

int
thread_new(struct capc_session *s, const char *threads, const char *id, struct capc_thread **ret)
{
	cleanup_text struct text node = {};
	struct capc_thread *t;
	uint64_t a, b;

	if (strchr(id, '/') || number_parse_pair(id, &a, &b) < 0)
		return -EBADMSG;
	text_addf(&node, "%s/%s", threads, id);
	if (text_done(&node) < 0)
		return -ENOMEM;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	list_init(&t->wait.link);
	t->session = s;
	t->node = t->text = text_take(&node);
	t->id = t->node + strlen(threads) + 1;
	*ret = t;
	return 0;
}

struct capc_thread *
capc_thread_free(struct capc_thread *t)
{
	if (!t)
		return NULL;
	list_unlink(&t->wait.link);
	capc_session_free(t->own);
	free(t->text);
	free(t);
	return NULL;
}

CLEANUP_DEFINE(struct capc_thread *, capc_thread_free)

/* What the slot refers to says its `info`: "thread=7.1 session=init/app". */
static int
find_id(struct capc_session *s, const char *slot, uint64_t timeout, char **ret)
{
	cleanup_text struct text node = {};
	cleanup_free char *info = NULL;
	uint64_t a, b;
	const char *id;
	size_t n;
	int r = slot_node(slot, "/info", &node);

	if (r == 0)
		r = capc_read(s, node.data, &info, timeout);
	if (r < 0)
		return r;
	id = strstr(info, "\nthread=");
	n = id ? strcspn(id + strlen("\nthread="), " \n") : 0;
	*ret = n > 0 ? strndup(id + strlen("\nthread="), n) : NULL;
	if (!*ret)
		return id ? -ENOMEM : -EPROTOTYPE;
	if (number_parse_pair(*ret, &a, &b) == 0)
		return 0;
	free(take_ptr(*ret));
	return -EBADMSG;
}

int
capc_thread_through(struct capc_session *s, const char *slot, uint64_t timeout, struct capc_thread **ret)
{
	cleanup(capc_thread_free_p) struct capc_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	list_init(&t->wait.link);
	r = find_id(s, slot, timeout, &t->text);
	if (r == 0)
		r = capc_session_through(s, slot, timeout, &t->own);
	if (r < 0)
		return r;
	t->session = t->own;
	t->id = t->text;
	t->node = t->text + strlen(t->text);
	*ret = take_ptr(t);
	return 0;
}

const char *
capc_thread_id(const struct capc_thread *t)
{
	return t->id;
}

static int
control(struct capc_thread *t, const char *command, char **ret_text, uint64_t deadline)
{
	cleanup_text struct text node = {};

	text_addf(&node, "%s/ctl", t->node);
	if (text_done(&node) < 0)
		return -ENOMEM;
	return session_do(t->session, WIRE_WRITE, node.data, command, ret_text, deadline);
}

void
thread_abandon(struct capc_thread *t, bool kill)
{
	uint64_t now = now_usec();

	/* The answers come too late on purpose, and are discarded. */
	if (kill)
		(void)control(t, "kill", NULL, now);
	(void)session_do_at(t->session, WIRE_WAIT, t->node, NULL, ABANDON_USEC, NULL, now);
}

int
capc_thread_ctl(struct capc_thread *t, const char *command, char **ret_reason)
{
	char *text = NULL;
	int r;

	session_begin(t->session);
	r = t->ended ? -ENOENT : control(t, command, &text, session_deadline(t->session));
	if (r == 0)
		free(take_ptr(text));
	if (ret_reason)
		*ret_reason = take_ptr(text);
	free(text);
	return r;
}

/* The number behind KEY, at most MAX. Returns: 0, -EBADMSG. */
static int
number_of(const char *text, const char *key, uint64_t max, uint64_t *ret)
{
	size_t n;
	const char *value = result_find(text, key, &n);

	return value && number_parse(value, n, false, ret) == 0 && *ret <= max ? 0 : -EBADMSG;
}

static bool
word_is(const char *text, const char *key, const char *word)
{
	size_t n;
	const char *value = result_find(text, key, &n);

	return value && n == strlen(word) && memcmp(value, word, n) == 0;
}

static int
parse_exited(const char *text, struct capc_exit *ret)
{
	uint64_t status;

	if (number_of(text, "status=", 0xffff, &status) < 0 ||
		number_of(text, "utime_usec=", UINT64_MAX, &ret->utime_usec) < 0 ||
		number_of(text, "stime_usec=", UINT64_MAX, &ret->stime_usec) < 0 ||
		number_of(text, "maxrss_kib=", UINT64_MAX, &ret->maxrss_kib) < 0)
		return -EBADMSG;
	ret->status = (int)status;
	return 0;
}

static int
parse_failed(const char *text, struct capc_exit *ret)
{
	size_t n_step, n_name;
	const char *step = result_find(text, "step=", &n_step);
	const char *name = result_find(text, "errno=", &n_name);

	if (!step || n_step >= sizeof(ret->step) || !name)
		return -EBADMSG;
	memcpy(ret->step, step, n_step);
	ret->error = error_number(name, n_name);
	return ret->error > 0 ? 0 : -EBADMSG;
}

/* "thread=7.3 state=exited status=0 …" */
static int
parse_end(const struct capc_thread *t, const char *text, struct capc_exit *ret)
{
	struct capc_exit end = {};
	int r = -EBADMSG;

	if (!word_is(text, "thread=", t->id))
		return r;
	if (word_is(text, "state=", "exited"))
		r = parse_exited(text, &end);
	else if (word_is(text, "state=", "failed"))
		r = parse_failed(text, &end);
	if (r == 0)
		*ret = end;
	return r;
}

int
capc_thread_wait(struct capc_thread *t, uint64_t timeout, struct capc_exit *ret)
{
	cleanup_free char *text = NULL;
	uint64_t deadline;
	int r = 0;

	if (!t->ended) {
		session_begin(t->session);
		/*
		 * It is the daemon that looks at the clock: whoever stopped waiting a moment before it
		 * answered would have lost the only answer that has the status.
		 */
		deadline = session_deadline(t->session);
		deadline = timeout > UINT64_MAX - deadline ? UINT64_MAX : deadline + timeout;
		r = session_do_at(t->session, WIRE_WAIT, t->node, NULL, timeout, &text, deadline);
		if (r == 0)
			r = parse_end(t, text, &t->exit);
		/* It may have been told to a capc_thread_poll() that gave way to this. */
		t->ended |= r == 0;
	}
	if (t->ended) {
		*ret = t->exit;
		r = 0;
	}
	return r;
}

static void
wait_answered(struct errand *e, int error, const struct wire_reply *reply, int fd)
{
	struct capc_thread *t = list_entry(e, struct capc_thread, wait);
	cleanup_free char *text = NULL;

	fd_close(fd);
	if (error == -EAGAIN) { /* another request came behind it, and has reasons of its own */
		session_begin(t->session);
		return;
	}
	if (error == 0) {
		text = strndup(reply->text, reply->n_text);
		error = text ? parse_end(t, text, &t->exit) : -ENOMEM;
	}
	t->ended = error == 0;
	t->error = error;
}

int
capc_thread_poll(struct capc_thread *t, struct capc_exit *ret)
{
	int r = 0;

	while (!t->ended && !t->error) {
		t->wait.answered = wait_answered;
		if (list_empty(&t->wait.link))
			r = errand_wait(&t->wait, t->session, t->node);
		if (r == 0)
			r = errand_process(&t->wait, t->session);
		if (r < 0 && !t->error)
			return r;
		if (!list_empty(&t->wait.link))
			return -EAGAIN;
	}
	r = t->error;
	t->error = 0;
	if (t->ended)
		*ret = t->exit;
	return t->ended ? 0 : r;
}

/* --- this program --- */

uint64_t
capc_heartbeat_usec(void)
{
	const char *word = getenv(HEARTBEAT_SECONDS);
	uint64_t seconds;

	if (!word || !getenv(HEARTBEAT_THREAD) || number_parse(word, strlen(word), false, &seconds) < 0 ||
		seconds > UINT16_MAX)
		return 0;
	return seconds * 1000000;
}

int
capc_heartbeat(struct capc_session *s, uint64_t timeout)
{
	cleanup_text struct text node = {};
	int r;

	if (capc_heartbeat_usec() == 0)
		return 0;
	text_addf(&node, "threads/%s/ctl", getenv(HEARTBEAT_THREAD));
	r = text_done(&node) < 0 ? -ENOMEM : capc_write(s, node.data, "ok", NULL, timeout);
	return r < 0 ? r : 1;
}
