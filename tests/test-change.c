/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P15 P16 P17 */
/*
 * What the model and its store promise each other: a change that fails anywhere has not happened, a
 * model that is loaded again is the same, and no damaged record is believed or crashes.
 *
 * Linked with --wrap for the allocating functions, so that any of them can be made to fail.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/record.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

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

/* By name, since restarts make new pointers. */
static struct session *
session(const char *path)
{
	return session_find(w.model, w.model->root, path, strlen(path));
}

static struct capability *
slot(struct session *s, const char *name)
{
	struct entity *e = entity_find_name(w.model, s->entity.id, ENTITY_CAPABILITY, name,
		strlen(name));

	return e ? container_of(e, struct capability, entity) : NULL;
}

static struct entrypoint *
entrypoint(struct session *s, const char *name)
{
	struct entity *e = entity_find_name(w.model, s->entity.id, ENTITY_ENTRYPOINT, name,
		strlen(name));

	return e ? container_of(e, struct entrypoint, entity) : NULL;
}

/* One of everything. */
static void
populate(void)
{
	struct reductions how = {
		.has_calls = true,
		.calls = 100,
		.has_expires = true,
		.expires_usec = world_now() + MINUTE_USEC,
	};
	struct session *app = make_session(&w, w.model->root, "app", NULL);
	struct session *inner = make_session(&w, app, "inner", NULL);
	struct entrypoint *web = make_entrypoint(&w, w.model->root, "web");
	struct capability *c = make_origin(&w, web, 1, "web");

	make_origin(&w, make_entrypoint(&w, app, "db"), 7, "db");
	c = make_grant(&w, c, app, NULL, &how);
	ck_assert_int_eq(try_connect(&w, c), 0);
	capability_disconnected(c);
	make_grant(&w, c, inner, "deep", NULL);
	event_log(w.model, inner, "made everything");
	event_log(w.model, app, "and more");
	ck_assert_int_eq(events_store(w.model), 0);
}

static void
setup(void)
{
	fixture_setup();
	world_set_now(1000 * MINUTE_USEC);
	world_init(&w);
	populate();
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
	struct capability *source = slot(session("app"), "web"), *c;

	return capability_grant(ch, source, session("app/inner"), NULL, 0, &none, 0, &c);
}

static int
op_reduce(struct change *ch)
{
	struct capability *c = slot(session("app"), "web");
	struct reductions how = {.has_calls = true, .calls = c->record.calls_limit - 1};

	return capability_reduce(ch, c, &how);
}

static int
op_rename(struct change *ch)
{
	static char name[] = "name-a";

	name[5] = name[5] == 'z' ? 'a' : name[5] + 1;
	return capability_rename(ch, slot(w.model->root, "web"), name, 6);
}

static int
op_connect(struct change *ch)
{
	return capability_connect(ch, slot(session("app/inner"), "deep"));
}

static int
op_session(struct change *ch)
{
	static char name[] = "s-a";
	struct quota none = {};
	enum quota_kind kind;
	struct session *s;

	name[2]++;
	return session_create(ch, session("app"), name, 3, 0, 0, &none, &s, &kind);
}

static int
op_transfer(struct change *ch)
{
	struct quota q = {{1, 1, 1, 1, 1}};
	enum quota_kind kind;

	return session_transfer_quota(ch, w.model->root, session("app"), &q, &kind);
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
	r = entrypoint_attach(ch, session("app"), name, 3, 0, 1, &ep);
	if (r == 0)
		r = object_add(ch, ep, 5, OBJECT_STREAM, OBJECT_PLAIN, &o);
	if (r == 0)
		r = capability_originate(ch, TYPE_OBJECT, &o->entity, session("app"), name, 3, RIGHT_CALL, 0, &c);
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
	return capability_end_children(ch, slot(session("app"), "web"));
}

static int
op_end_object(struct change *ch)
{
	return object_end(ch, capability_object(slot(session("app"), "db")));
}

static int
op_detach(struct change *ch)
{
	return entrypoint_detach(ch, entrypoint(session("app"), "db"));
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

	ck_assert_int_eq(capability_end(ch, slot(w.model->root, "web")), 0);
	ck_assert_int_eq(entrypoint_end(ch, entrypoint(session("app"), "db")), 0);
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

	event_log(w.model, session("app"), "this has no room");
	w.store->full = true;
	ck_assert_int_eq(run(op_grant), -ENOSPC);
	ck_assert_int_eq(events_store(w.model), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_end(ch, slot(w.model->root, "web"))), 0);
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
	ck_assert_ptr_null(slot(session("app"), "db"));
}
END_TEST

START_TEST(hooks_and_stamps)
{
	struct session *app = session("app");
	struct capability *c = slot(app, "web"), *top = slot(w.model->root, "web");
	uint64_t stamp = top->entity.changed_nsec, app_stamp = app->entity.changed_nsec;

	w.told = (struct told){};
	ck_assert_int_eq(run(op_connect), 0);
	ck_assert_uint_gt(w.told.n_changed, 0);
	ck_assert_uint_eq(w.told.n_restricted, 0);
	ck_assert_uint_gt(top->entity.changed_nsec, stamp);
	ck_assert_uint_gt(app->entity.changed_nsec, app_stamp);
	ck_assert_int_eq(run(op_reduce), 0);
	ck_assert_uint_eq(w.told.n_restricted, 1);
	ck_assert_uint_eq(w.told.last_restricted, c->entity.id);
	w.told = (struct told){};
	event_log(w.model, session("app/inner"), "x");
	ck_assert_uint_eq(w.told.n_logged, 3);
	ck_assert_uint_eq(w.told.n_changed, 0);
	ck_assert_int_eq(run(op_revoke), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.told.n_gone, 1);
}
END_TEST

/* One record, or a truncated, lengthened or changed copy of it. */
struct damaged {
	uint64_t key;
	uint8_t data[512];
	size_t n;
};

static struct damaged records[64];
static size_t n_records;

static int
collect(void *data, uint64_t key, const void *record, size_t n)
{
	struct damaged *d = &records[n_records++];

	ck_assert_uint_le(n_records, sizeof(records) / sizeof(records[0]));
	ck_assert_uint_le(n, sizeof(d->data) - 8);
	d->key = key;
	d->n = n;
	memcpy(d->data, record, n);
	return 0;
}

/* Loads with one record damaged: refused, or good in itself. */
static void
load_damaged(const struct damaged *d, const uint8_t *data, size_t n)
{
	int r;

	stub_set(w.store, d->key, data, n);
	r = world_restart(&w);
	ck_assert(r == 0 || r == -EBADMSG);
	if (r == 0) {
		model_check(w.model);
		while (model_reap(w.model, 100) > 0)
			;
		model_check(w.model);
	}
	world_deinit(&w);
	w.store = stub_new();
	for (size_t i = 0; i < n_records; i++)
		stub_set(w.store, records[i].key, records[i].data, records[i].n);
}

START_TEST(P15_damaged_records)
{
	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		const struct damaged *d = &records[i];
		uint8_t copy[sizeof(d->data)] = {};

		memcpy(copy, d->data, d->n);
		load_damaged(d, copy, 0);
		load_damaged(d, copy, d->n - 1);
		load_damaged(d, copy, d->n + 1);
		for (size_t at = 0; at < d->n; at++)
			for (unsigned change = 1; change <= 0xff; change = change * 16 + 15) {
				memcpy(copy, d->data, d->n);
				copy[at] ^= (uint8_t)change;
				load_damaged(d, copy, d->n);
			}
	}
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

/* Whatever this binary does not know is refused, not taken for something that it knows. */
START_TEST(P15_types_are_checked)
{
	const size_t at = 8 + offsetof(struct capability_record, type);
	const size_t at_target = 8 + offsetof(struct capability_record, target);
	unsigned n = 0;

	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		struct damaged *d = &records[i];
		const uint64_t root = 1;
		uint8_t copy[sizeof(d->data)];

		if (STORE_KEY_SPACE(d->key) != STORE_ENTITY || d->data[0] != ENTITY_CAPABILITY)
			continue;
		memcpy(copy, d->data, d->n);
		ck_assert_uint_eq(copy[at], TYPE_OBJECT);
		copy[at] = N_CAPABILITY_TYPES;
		stub_set(w.store, d->key, copy, d->n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
		copy[at] = TYPE_OBJECT;
		memcpy(copy + at_target, &root, sizeof(root));
		stub_set(w.store, d->key, copy, d->n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
		stub_set(w.store, d->key, d->data, d->n);
		n++;
	}
	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

/* What a change stores a record from has room for the largest there is, with the longest name. */
START_TEST(P15_largest_record_fits)
{
	char name[NAME_BYTES_MAX + 1] = "";
	size_t most = 0;

	memset(name, 'n', NAME_BYTES_MAX);
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		uint8_t *buffer = malloc(record_bytes_max());
		struct entity *e = entity_new(w.model, kind, name, NAME_BYTES_MAX);
		struct record record;
		size_t n;

		ck_assert(buffer && e);
		n = record_encode(e, entity_record(e), name, buffer);
		ck_assert_uint_le(n, record_bytes_max());
		ck_assert_int_eq(record_decode(buffer, n, &record), 0);
		ck_assert(record.kind == (enum entity_kind)kind && record.n_name == NAME_BYTES_MAX);
		ck_assert_int_eq(record_decode(buffer, n - 1, &record), -EBADMSG);
		most = n > most ? n : most;
		entity_free(e);
		free(buffer);
	}
	ck_assert_uint_eq(most, record_bytes_max());
}
END_TEST

/* A record that is missing takes with it what it held together: refused. */
START_TEST(P15_missing_records)
{
	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		if (STORE_KEY_SPACE(records[i].key) == STORE_EVENT)
			continue;
		world_deinit(&w);
		w.store = stub_new();
		for (size_t j = 0; j < n_records; j++)
			if (j != i)
				stub_set(w.store, records[j].key, records[j].data, records[j].n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
	}
	world_deinit(&w);
	world_init(&w);
}
END_TEST

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
load_timed(void *data, uint64_t key, const void *record, size_t n)
{
	double start = seconds();
	int r = model_load(w.model, key, record, n);

	*(double *)data += seconds() - start;
	return r;
}

START_TEST(P17_many_capabilities_load_fast)
{
	struct capability *c = slot(w.model->root, "web");
	double spent = 0, start;

	for (int i = 0; i < 1 << 17; i++)
		make_grant(&w, c, w.model->root, NULL, NULL);
	ck_assert_uint_le(sizeof(struct capability), 392);
	ck_assert_int_eq(world_restart(&w), 0);
	world_restart(&w);
	w.model = model_free(w.model);
	ck_assert_int_eq(model_new(&stub_store_ops, w.store, &w.model), 0);
	ck_assert_int_eq(stub_scan(w.store, load_timed, &spent), 0);
	start = seconds();
	ck_assert_int_eq(model_load_done(w.model), 0);
	spent += seconds() - start;
	fprintf(stderr, "# 2^17 capabilities loaded in %.0f ms\n", spent * 1000);
	/* Far above what it takes, since machines differ; a quadratic one would be far slower. */
	ck_assert_double_lt(spent, 5.0);
}
END_TEST

#define N_LEASES 400

/* What it takes to end leases one after the other, beside N that last. */
static double
time_expiries(uint64_t n)
{
	struct reductions how = {.has_expires = true};
	struct capability *c = slot(w.model->root, "web");
	double start;
	uint64_t next;

	for (uint64_t i = 0; i < n; i++) {
		how.expires_usec = world_now() + (1000 + i * 7919 % n) * MINUTE_USEC;
		make_grant(&w, c, w.model->root, NULL, &how);
	}
	for (uint64_t i = 1; i <= N_LEASES; i++) {
		how.expires_usec = world_now() + i;
		make_grant(&w, c, w.model->root, NULL, &how);
	}
	start = seconds();
	for (uint64_t i = 1; i <= N_LEASES; i++) {
		world_set_now(world_now() + 1);
		ck_assert_int_eq(expiry_run(w.model, &next), 0);
		ck_assert_uint_gt(next, world_now());
	}
	return seconds() - start;
}

START_TEST(P17_an_expiry_costs_nothing_to_other_leases)
{
	uint64_t n = w.model->n[ENTITY_CAPABILITY];
	double few = time_expiries(1 << 7), many = time_expiries(1 << 17);

	fprintf(stderr, "# 400 expiries: %.3f ms beside 2^7, %.3f ms beside 2^17\n", few * 1000,
		many * 1000);
	/* Twenty times as long, and a little for a machine that is busy: a walk takes far longer. */
	ck_assert_double_lt(many, 20 * few + 0.05);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], n + (1 << 7) + (1 << 17));
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
	tcase_add_test(t, P15_damaged_records);
	tcase_add_test(t, P15_missing_records);
	tcase_add_test(t, P15_types_are_checked);
	tcase_add_test(t, P15_largest_record_fits);
	tcase_add_test(t, P17_an_expiry_costs_nothing_to_other_leases);
	tcase_add_test(t, P17_many_capabilities_load_fast);
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
