/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking through the control protocol: the request is replied to with the answer. It stays in the queue until
 * there is one, and is performed again then; what it has asked is found by the connection and the serial, also by
 * a later broker. So nothing is asked twice.
 *
 * Who decides waits by a request, too, which gives way to others of its connection: so whoever decides needs one
 * connection for both.
 */
#include "config.h"

#include "capfsd/control/asks.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"
#include "capfsd/asking/asking.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/wait.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/texts.h"
#include "wire/wire.h"

/*
 * There is no reply yet; but the connection is stored, as the one that has asked. What asks for nothing is an answer,
 * and is replied to.
 */
static int
note_connection(struct request *r, struct change *ch)
{
	const struct exchange *x = r->data;

	if (!r->made)
		return x->note(r, ch);
	return memo_stage(x->control->memo, ch, "", 0);
}

static int
begin(struct exchange *x, struct node node)
{
	const struct asker asker = {
		.instance = askings_instance(x->control->controls->askings),
		.connection = x->control->memo->record.cookie,
		.serial = x->asked->serial,
	};
	struct request *r = &x->request;
	int e;

	r->asker = &asker;
	x->note = r->note;
	r->note = note_connection;
	e = tree_write(r, node, x->asked->text, x->asked->n_text);
	r->asker = NULL;
	r->note = x->note;
	if (e == 0 && !r->error && r->made)
		memo_stored(x->control->controls->sockets, x->control->memo);
	r->made = NULL;
	return e;
}

/* The reply is stored with the end of what was asked: it is one or the other that a later broker finds. */
static int
finish(struct exchange *x, struct node node, struct ask *a)
{
	struct request *r = &x->request;
	struct change *ch = change_begin(r->model);
	int e = change_drop(ch, &a->entity);

	text_add_n(&r->text, a->record.text, a->record.n_text);
	r->error = (int)a->record.error;
	if (e == 0)
		e = text_done(&r->text);
	if (e < 0)
		return request_fail(r, ch, e);
	e = request_commit(r, ch);
	if (e == 0 && r->error)
		tree_refused(r, node);
	return e;
}

int
perform_ask(struct exchange *x, struct node node)
{
	struct control *c = x->control;
	struct model *m = x->request.model;
	uint64_t cookie = c->memo->record.cookie;
	struct ask *a = ask_find_request(m, cookie, x->asked->serial);
	int e;

	if (!a) {
		e = begin(x, node);
		if (e < 0 || x->request.error)
			return e;
		a = ask_find_request(m, cookie, x->asked->serial);
		if (!a)
			return 0;
		text_deinit(&x->request.text);
	}
	if (a->record.state == ASK_ANSWERED)
		return finish(x, node, a);
	wait_forget(c);
	askings_wait(a, &c->parked_link);
	x->parked = true;
	return 0;
}

/* "after=N": what has come before was told. */
static bool
take_after(struct exchange *x, uint64_t *ret)
{
	static const char key[] = "after=";
	const struct wire_request *q = x->asked;
	size_t n = sizeof(key) - 1;

	*ret = 0;
	if (q->n_text == 0)
		return true;
	if (q->n_text > n && memcmp(q->text, key, n) == 0 && number_parse(q->text + n, q->n_text - n, false, ret) == 0)
		return true;
	return refuse(&x->request, EINVAL, "a wait for something to decide says 'after=ID', or nothing");
}

/* What was told and left undecided stands before it: who decides makes that no longer than it wants. */
static const struct ask *
find_after(const struct session *s, uint64_t id)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->asked) {
		const struct ask *a = list_entry(i, struct ask, asked_link);

		if (a->entity.id > id)
			return a;
	}
	return NULL;
}

int
perform_wait_to_decide(struct exchange *x, struct session *s)
{
	struct control *c = x->control;
	const struct ask *a;
	uint64_t after;

	if (!take_after(x, &after))
		return 0;
	a = find_after(s, after);
	if (a) {
		text_ask(a, x->request.model->now_usec(), &x->request.text);
		return text_done(&x->request.text) < 0 ? refuse(&x->request, ENOMEM, "the daemon is out of memory") : 0;
	}
	if (wait_gives_way(x))
		return 0;
	if (wait_is_late(x))
		return refuse(&x->request, ETIMEDOUT, "there is nothing to decide");
	wait_forget(c);
	askings_wait_decider(s, &c->parked_link);
	x->parked = true;
	wait_arm(c);
	return 0;
}
