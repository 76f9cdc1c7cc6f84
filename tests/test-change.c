/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P16 */
/*
 * What the model and its store promise each other: a change that fails anywhere has not happened,
 * and a model that is loaded again is the same.
 *
 * Linked with --wrap for the allocating functions, so that any of them can be made to fail.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/populated.h"

/* So many allocations succeed before one fails; UINT64_MAX: all. */
static uint64_t allocations_left = UINT64_MAX;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
char *__wrap_strndup(const char *s, size_t n);

static bool
allocation_fails(void)
{
	if (allocations_left == UINT64_MAX)
		return false;
	return allocations_left-- == 0;
}

void *
__wrap_malloc(size_t n)
{
	return allocation_fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(n, size);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return allocation_fails() ? NULL : __real_strndup(s, n);
}

static struct world w;

static void
setup(void)
{
	fixture_setup();
	populated_init(&w);
}

static void
teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

/* Operations that change something each time. They return what the model did. */
static int
op_grant(struct change *ch)
{
	static const struct reductions none;
	struct capability *source = slot_in(&w, session_at(&w, "app"), "web"), *c;

	return capability_grant(ch, source, session_at(&w, "app/inner"), NULL, 0, &none, 0, &c);
}

static int
op_reduce(struct change *ch)
{
	struct capability *c = slot_in(&w, session_at(&w, "app"), "web");
	struct reductions how = {.has_calls = true, .calls = c->record.calls_limit - 1};

	return capability_reduce(ch, c, &how);
}

static int
op_rename(struct change *ch)
{
	static char name[] = "name-a";

	name[5] = name[5] == 'z' ? 'a' : name[5] + 1;
	return capability_rename(ch, slot_in(&w, w.model->root, "web"), name, 6);
}

static int
op_connect(struct change *ch)
{
	return capability_connect(ch, slot_in(&w, session_at(&w, "app/inner"), "deep"));
}

static int
op_session(struct change *ch)
{
	static char name[] = "s-a";
	struct quota none = {};
	enum quota_kind kind;
	struct session *s;

	name[2]++;
	return session_create(ch, session_at(&w, "app"), name, 3, 0, 0, &none, &s, &kind);
}

static int
op_transfer(struct change *ch)
{
	struct quota q = {{1, 1, 1, 1, 1}};
	enum quota_kind kind;

	return session_transfer_quota(ch, w.model->root, session_at(&w, "app"), &q, &kind);
}

static int
op_serve(struct change *ch)
{
	static char name[] = "e-a";
	struct entrypoint *ep;
	struct capability *c;
	struct object *o;
	int r;

	name[2]++;
	r = entrypoint_attach(ch, session_at(&w, "app"), name, 3, 0, 1, &ep);
	if (r == 0)
		r = object_add(ch, ep, 5, OBJECT_STREAM, OBJECT_PLAIN, &o);
	if (r == 0)
		r = capability_originate(ch, TYPE_OBJECT, &o->entity, session_at(&w, "app"), name,
			3, RIGHT_CALL, 0, &c);
	return r;
}

static int
op_note(struct change *ch)
{
	int r = change_note(ch, STORE_KEY(STORE_REPLY, 5), "reply", 5);

	return r < 0 ? r : change_note(ch, STORE_KEY(STORE_REPLY, 5), NULL, 0);
}

static int
op_revoke(struct change *ch)
{
	return capability_end_children(ch, slot_in(&w, session_at(&w, "app"), "web"));
}

static int
op_end_object(struct change *ch)
{
	return object_end(ch, capability_object(slot_in(&w, session_at(&w, "app"), "db")));
}

static int
op_detach(struct change *ch)
{
	return entrypoint_detach(ch, entrypoint_in(&w, session_at(&w, "app"), "db"));
}

static int (*const operations[])(struct change *ch) = {
	op_grant, op_reduce, op_connect, op_session, op_transfer, op_serve, op_note, op_rename,
	op_detach, op_end_object, op_revoke,
};

#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static int
run(int (*operation)(struct change *ch))
{
	struct change *ch = change_begin(w.model);
	int r = operation(ch);

	if (r == 0)
		return change_commit(ch);
	change_abort(ch);
	return r;
}

/* Lets each call of the store fail, the first, the second …, until the operation succeeds. */
START_TEST(P16_failing_store)
{
	static const int errors[] = {-EIO, -ENOSPC};
	int (*operation)(struct change *ch) = operations[_i / 2];
	uint64_t n = 0;
	int r;

	w.store->fail_error = errors[_i % 2];
	do {
		cleanup_free char *before = world_describe(&w), *after = NULL;

		ck_assert_uint_lt(n, 30);
		w.store->fail_after = n++;
		r = run(operation);
		w.store->fail_after = UINT64_MAX;
		model_check(w.model);
		after = world_describe(&w);
		if (r == 0)
			break;
		ck_assert_int_eq(r, w.store->fail_error);
		ck_assert_str_eq(after, before);
	} while (r < 0);
	ck_assert_uint_gt(n, 3);
}
END_TEST

START_TEST(P16_failing_allocations)
{
	int (*operation)(struct change *ch) = operations[_i];
	uint64_t n = 0;
	int r;

	do {
		cleanup_free char *before = world_describe(&w), *after = NULL;

		ck_assert_uint_lt(n, 60);
		allocations_left = n++;
		r = run(operation);
		allocations_left = UINT64_MAX;
		model_check(w.model);
		after = world_describe(&w);
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_str_eq(after, before);
		}
	} while (r < 0);
	ck_assert_int_eq(r, 0);
}
END_TEST

START_TEST(P16_reaping_with_failures)
{
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(capability_end(ch, slot_in(&w, w.model->root, "web")), 0);
	ck_assert_int_eq(entrypoint_end(ch, entrypoint_in(&w, session_at(&w, "app"), "db")), 0);
	ck_assert_int_eq(finish(ch, 0), 0);
	for (uint64_t n = 0; n < 40; n++) {
		w.store->fail_after = n % 2 ? UINT64_MAX : n / 2;
		allocations_left = n % 2 ? n / 2 : UINT64_MAX;
		model_reap(w.model, 1);
		allocations_left = w.store->fail_after = UINT64_MAX;
		model_check(w.model);
	}
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 0);
}
END_TEST

START_TEST(full_store_takes_deletions)
{
	struct change *ch;

	log_text(w.model, session_at(&w, "app"), "this has no room");
	w.store->full = true;
	ck_assert_int_eq(run(op_grant), -ENOSPC);
	ck_assert_int_eq(events_store(w.model), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_end(ch, slot_in(&w, w.model->root, "web"))), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 1);
	w.store->full = false;
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 1);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
	for (size_t i = 0; i < N_OPERATIONS; i++) {
		cleanup_free char *before = world_describe(&w), *after = NULL;
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(operations[i](ch), 0);
		change_abort(ch);
		after = world_describe(&w);
		ck_assert_str_eq(after, before);
	}
	model_check(w.model);
}
END_TEST

START_TEST(restart_brings_all_back)
{
	for (size_t i = 0; i < N_OPERATIONS; i++) {
		cleanup_free char *before = NULL, *after = NULL;

		ck_assert_int_eq(run(operations[i]), 0);
		before = world_describe(&w);
		ck_assert_int_eq(world_restart(&w), 0);
		model_check(w.model);
		after = world_describe(&w);
		ck_assert_str_eq(after, before);
	}
	/* What was ending goes on ending. */
	ck_assert(!list_empty(&w.model->ending));
	world_reap(&w);
	ck_assert_ptr_null(slot_in(&w, session_at(&w, "app"), "db"));
}
END_TEST

START_TEST(hooks_and_stamps)
{
	struct session *app = session_at(&w, "app");
	struct capability *c = slot_in(&w, app, "web"), *top = slot_in(&w, w.model->root, "web");
	uint64_t stamp = top->entity.shown_nsec, app_stamp = app->entity.shown_nsec;

	w.told = (struct told){};
	ck_assert_int_eq(run(op_connect), 0);
	ck_assert_uint_eq(w.told.n_changed, 0);
	ck_assert_uint_eq(w.told.n_restricted, 0);
	ck_assert_uint_gt(top->entity.shown_nsec, stamp);
	ck_assert_uint_gt(app->entity.shown_nsec, app_stamp);
	ck_assert_int_eq(run(op_reduce), 0);
	ck_assert_uint_eq(w.told.n_restricted, 1);
	ck_assert_uint_eq(w.told.last_restricted, c->entity.id);
	w.told = (struct told){};
	log_text(w.model, session_at(&w, "app/inner"), "x");
	ck_assert_uint_eq(w.told.n_logged, 3);
	ck_assert_uint_eq(w.told.n_changed, 0);
	ck_assert_int_eq(run(op_revoke), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.told.n_gone, 1);
}
END_TEST

/* A grant that changes what it comes from as well, between those that list it. */
static int
op_grant_and_take(struct change *ch)
{
	struct capability *c = slot_in(&w, session_at(&w, "app"), "web");
	struct reductions how = {.has_rights = true, .rights = RIGHT_CALL};
	int r = op_grant(ch);

	return r ? r : capability_reduce(ch, c, &how);
}

static unsigned n_shown;

static void
count_shown(void *data, struct entity *e)
{
	n_shown += e->linked;
}

/* Who only lists what is new has texts that change, and the same attributes, for which nobody asks again. */
START_TEST(who_shows_a_change_has_not_changed)
{
	const struct capability *c = slot_in(&w, session_at(&w, "app"), "web"),
				*top = slot_in(&w, w.model->root, "web");
	const struct model_hooks *before = w.model->hooks;
	const struct model_hooks hooks = {.shown = count_shown};
	const uint64_t stamp = top->entity.changed_nsec, shown = top->entity.shown_nsec;

	ck_assert_ptr_eq(c->parent, top);
	w.model->hooks = &hooks;
	ck_assert_int_eq(run(op_grant), 0);
	w.model->hooks = before;
	/* Those it comes from, and the session that has it and pays for it. */
	ck_assert_uint_eq(n_shown, 3);
	ck_assert_uint_gt(top->entity.shown_nsec, shown);
	ck_assert_uint_eq(top->entity.changed_nsec, stamp);
	ck_assert_uint_eq(top->entity.shown_nsec, c->entity.shown_nsec);
	/* Nor has who gets other limits; who gets other rights has, as its commands say so. */
	ck_assert_int_eq(run(op_reduce), 0);
	ck_assert_uint_lt(c->entity.changed_nsec, c->entity.shown_nsec);
	ck_assert_int_eq(run(op_grant_and_take), 0);
	ck_assert_uint_eq(c->entity.changed_nsec, c->entity.shown_nsec);
	ck_assert_uint_eq(top->entity.changed_nsec, stamp);
	ck_assert_uint_eq(top->entity.shown_nsec, c->entity.shown_nsec);
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_loop_test(t, P16_failing_store, 0, 2 * N_OPERATIONS);
	tcase_add_loop_test(t, P16_failing_allocations, 0, N_OPERATIONS);
	tcase_add_test(t, P16_reaping_with_failures);
	tcase_add_test(t, full_store_takes_deletions);
	tcase_add_test(t, abort_leaves_nothing);
	tcase_add_test(t, restart_brings_all_back);
	tcase_add_test(t, hooks_and_stamps);
	tcase_add_test(t, who_shows_a_change_has_not_changed);
}

int
main(void)
{
	Suite *s = suite_create("change");
	TCase *t = tcase_create("change");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
