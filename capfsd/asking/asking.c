/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hooks of the model only note who is to be told, since to tell a file is to read for it, which is a change
 * of its own; the loop does it a moment later.
 */
#include "config.h"

#include "capfsd/asking/asking.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/request.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"

#define COMMAND_BYTES_MAX 4095
#define RETRY_USEC UINT64_C(1000000) /* after a store without room */
#define READ_SLACK_USEC UINT64_C(2000000) /* what is due is answered here, before the reader's time is over */

struct askings {
	struct model *model;
	const struct askings_ops *ops;
	void *ops_data;
	uint64_t instance;
	struct list news;       /* of struct ask, news_link */
	sd_event *event;
	sd_event_source *timer; /* for the news, and for what is due */
};

/* --- what has become of them --- */

static void
arm(struct askings *all)
{
	struct list *first = list_first(&all->model->asks);
	uint64_t now = all->model->now_usec(), due;

	if (!list_empty(&all->news)) {
		loop_arm(all->timer, 0);
		return;
	}
	loop_disarm(all->timer);
	due = first ? ask_due(list_entry(first, struct ask, due_link)) : UINT64_MAX;
	if (due != UINT64_MAX)
		loop_arm(all->timer, due > now ? due - now : 0);
}

static void
note(struct askings *all, struct ask *a)
{
	if (list_empty(&a->news_link))
		list_append(&all->news, &a->news_link);
	loop_arm(all->timer, 0);
}

static void
resume_all(struct askings *all, struct list *waiters)
{
	while (!list_empty(waiters)) {
		struct list *waiter = list_first(waiters);

		list_unlink(waiter);
		if (all->ops)
			all->ops->resume(all->ops_data, waiter, false);
	}
}

static int
drop(struct askings *all, struct ask *a)
{
	struct change *ch = change_begin(all->model);

	return change_finish(ch, change_drop(ch, &a->entity));
}

/* Nobody decided; or it was, and who asked has never come for it. */
static int
end(struct askings *all, struct ask *a)
{
	static const char reason[] = "nobody has decided in time";
	struct change *ch;

	if (a->record.state == ASK_ANSWERED)
		return drop(all, a);
	ch = change_begin(all->model);
	return change_finish(ch, ask_answer(ch, a, ETIMEDOUT, reason, strlen(reason)));
}

static int
tell(struct askings *all, struct ask *a)
{
	/* It stays in the list until that is stored. */
	if (a->abandoned)
		return drop(all, a);
	list_unlink(&a->news_link);
	if (a->record.asker.handle && all->ops)
		all->ops->ready(all->ops_data, a->record.asker.handle);
	return 0;
}

/* One piece of work, and the loop has others' turns before the next. */
static int
work(struct askings *all)
{
	struct list *first = list_first(&all->model->asks);
	struct ask *a = first ? list_entry(first, struct ask, due_link) : NULL;

	if (!list_empty(&all->news))
		return tell(all, list_entry(list_first(&all->news), struct ask, news_link));
	return a && ask_due(a) <= all->model->now_usec() ? end(all, a) : 0;
}

static int
on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct askings *all = data;
	int r = work(all);

	if (r == 0) {
		arm(all);
	} else if (r == -ENOSPC || r == -ENOMEM) {
		loop_disarm(all->timer);
		loop_arm(all->timer, RETRY_USEC);
	} else if (all->ops) {
		all->ops->fail(all->ops_data, error_trace(r));
	}
	return 0;
}

void
askings_changed(struct askings *all, struct entity *e)
{
	struct ask *a;

	if (e->kind == ENTITY_SESSION) {
		/* One of its own may be new, and due before all others. */
		if (!list_empty(&session_of(e)->owned[ENTITY_ASK]))
			arm(all);
		return;
	}
	if (e->kind != ENTITY_ASK)
		return;
	a = ask_of(e);
	if (a->record.state != ASK_ANSWERED) {
		resume_all(all, &ask_decider(a->session, a->record.what)->deciders);
		return;
	}
	resume_all(all, &a->waiters);
	if (a->record.asker.handle)
		note(all, a);
}

void
askings_gone(struct askings *all, struct entity *e)
{
	if (e->kind == ENTITY_ASK) {
		list_unlink(&ask_of(e)->news_link);
		resume_all(all, &ask_of(e)->waiters);
	} else if (e->kind == ENTITY_SESSION) {
		resume_all(all, &session_of(e)->deciders);
	}
}

void
askings_connection_ended(struct askings *all, uint64_t connection)
{
	struct ask *a = ask_next_of(all->model, connection, NULL);

	for (; a; a = ask_next_of(all->model, connection, a)) {
		a->abandoned = true;
		note(all, a);
	}
}

void
askings_wait(struct ask *a, struct list *waiter)
{
	list_append(&a->waiters, waiter);
}

void
askings_wait_decider(struct session *s, struct list *waiter)
{
	list_append(&s->deciders, waiter);
}

uint64_t
askings_instance(const struct askings *all)
{
	return all->instance;
}

/* --- open files --- */

static int
files_write(void *data, struct request *r, struct node node, uint64_t handle, const void *bytes, size_t n)
{
	struct askings *all = data;
	const struct asker asker = {.instance = all->instance, .handle = handle};

	int e;

	r->asker = &asker;
	e = tree_write(r, node, bytes, n);
	r->asker = NULL;
	return e;
}

/* Commits how far it was read before anything is given, so that a READ that is sent again gets the same. */
static int
commit_read(struct askings *all, struct ask *a, const struct call_read *read, uint32_t offset)
{
	struct change *ch = change_begin(all->model);
	struct ask_record *record = change_edit(ch, &a->entity);

	if (!record)
		return change_finish(ch, -ENOMEM);
	record->read_unique = read->unique;
	record->read_last = (uint32_t)read->n;
	record->read_offset = offset;
	return change_finish(ch, 0);
}

/* The text of the answer and a line feed, once. */
static int
give(struct askings *all, struct request *r, struct ask *a, struct call_read *read)
{
	const struct ask_record *record = &a->record;
	bool again = read->resent && record->read_unique == read->unique;
	uint32_t from = again ? record->read_offset - record->read_last : record->read_offset;
	uint32_t total = record->n_text + 1U, left = total - from;
	int e;

	read->n = again ? record->read_last : read->size < left ? read->size : left;
	if (!again && read->n > 0) {
		e = commit_read(all, a, read, from + (uint32_t)read->n);
		if (e < 0)
			return request_fail(r, NULL, e);
	}
	for (size_t i = 0; i < read->n; i++)
		read->buffer[i] = from + i < record->n_text ? record->text[from + i] : '\n';
	return 0;
}

static int
files_read(void *data, struct request *r, struct node node, struct call_read *read)
{
	struct askings *all = data;
	struct ask *a = ask_find_file(all->model, read->handle);

	read->n = 0;
	if (!a)
		return CALL_E_NONE;
	if (a->record.state == ASK_WAITING)
		return CALL_E_WAIT;
	if (a->record.error)
		return refuse(r, (int)a->record.error, "%.*s", a->record.n_text, a->record.text);
	return give(all, r, a, read);
}

static bool
files_exists(void *data, uint64_t handle)
{
	struct askings *all = data;

	return ask_find_file(all->model, handle);
}

/* At once, as its reply may be waited for; without room in the store a moment later. */
static void
files_end(void *data, uint64_t handle)
{
	struct askings *all = data;
	struct ask *a = ask_find_file(all->model, handle);

	if (a && drop(all, a) < 0) {
		a->abandoned = true;
		note(all, a);
	}
}

/* As long as the ask does, and no longer than that when it is sent again. */
static uint64_t
files_wait(void *data, const struct call_read *read, uint64_t until_usec)
{
	struct askings *all = data;
	struct ask *a = ask_find_file(all->model, read->handle);
	uint64_t now = all->model->now_usec(), left;

	if (!a)
		return until_usec;
	left = ask_due(a) > now ? ask_due(a) - now : 0;
	return loop_now(all->event) + left + READ_SLACK_USEC;
}

/* Who was interrupted may read again: what is asked waits as long as the file is open. */
static void
files_give_up(void *data, uint64_t handle)
{
}

static bool
files_poll(void *data, uint64_t handle)
{
	struct askings *all = data;
	const struct ask *a = ask_find_file(all->model, handle);

	return !a || a->record.state == ASK_ANSWERED;
}

const struct calls asking_calls = {
	.bytes_max = COMMAND_BYTES_MAX,
	.write = files_write,
	.read = files_read,
	.exists = files_exists,
	.end = files_end,
	.wait = files_wait,
	.give_up = files_give_up,
	.poll = files_poll,
};

/* --- all of them --- */

/* Open files and connections of another daemon are nobody's here. What cannot be dropped now is dropped later. */
static void
forget_foreign(struct askings *all)
{
	list_for_each (i, &all->model->asks) {
		struct ask *a = list_entry(i, struct ask, due_link);

		if (a->record.asker.instance == all->instance && a->record.state == ASK_WAITING)
			continue;
		a->abandoned = a->record.asker.instance != all->instance;
		note(all, a);
	}
}

int
askings_new(struct model *m, const struct boot *boot, sd_event *event, struct askings **ret)
{
	struct askings *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->model = m;
	all->instance = boot->instance;
	all->event = event;
	list_init(&all->news);
	r = loop_add_timer(event, on_timer, all, &all->timer);
	if (r < 0) {
		askings_free(all);
		return error_trace(r);
	}
	forget_foreign(all);
	arm(all);
	*ret = all;
	return 0;
}

void
askings_set_ops(struct askings *all, const struct askings_ops *ops, void *data)
{
	all->ops = ops;
	all->ops_data = data;
}

struct askings *
askings_free(struct askings *all)
{
	if (!all)
		return NULL;
	while (!list_empty(&all->news))
		list_unlink(list_first(&all->news));
	all->timer = sd_event_source_disable_unref(all->timer);
	free(all);
	return NULL;
}
