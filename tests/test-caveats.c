/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P38 */
/* Caveats in the model: who has which, who pays, and what older daemons leave of them. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/kind.h"
#include "tests/fixture.h"
#include "tests/populated.h"

#define ONLY(texts) {.only = (texts), .n_only = 1}
#define COST (2 * QUOTA_RAM_SLOT)

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

static struct capability *
slot(const char *session, const char *name)
{
	return slot_in(&w, *session ? session_at(&w, session) : w.model->root, name);
}

/* What a server would be told: groups with '|' between their members, each with ';' behind it. */
static void
expect(const struct capability *c, const char *told)
{
	cleanup_text struct text t = {};

	caveats_list(c, &t);
	text_add(&t, "");
	ck_assert_int_eq(text_done(&t), 0);
	for (size_t i = 0; i < t.n; i++)
		if (!t.data[i]) {
			bool ends = i + 1 < t.n && !t.data[i + 1];

			t.data[i] = ends ? ';' : '|';
			if (ends)
				memmove(t.data + i + 1, t.data + i + 2, t.n-- - i - 1);
		}
	ck_assert_str_eq(t.n > 0 ? t.data : "", told);
}

/* One more of "web" in app, with ONLY. */
static struct capability *
derive(const char *name, const char *only)
{
	struct reductions how = ONLY(only);

	return make_grant(&w, slot("", "web"), session_at(&w, "app"), name, &how);
}

START_TEST(P38_along_each_derivation)
{
	struct reductions two = {.only = "GET /b\0GET /c", .n_only = 2}, more = ONLY("POST /c");
	struct capability *c = derive("first", "GET /a"), *d, *e;
	struct change *ch;

	expect(slot("", "web"), "");
	expect(c, "GET /a;");
	d = make_grant(&w, c, session_at(&w, "app/inner"), "second", &two);
	expect(d, "GET /a;GET /b|GET /c;");
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_replicate(ch, d, "twin", 4, &more, 0, &e)), 0);
	expect(e, "GET /a;GET /b|GET /c;POST /c;");
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_transfer(ch, d, w.model->root, "moved", 5, 0, &e)),
		CAPABILITY_E_IN_USE);
	ch = change_begin(w.model);
	e = slot("app/inner", "twin");
	ck_assert_int_eq(finish(ch, capability_transfer(ch, e, w.model->root, "moved", 5, 0, &e)), 0);
	expect(slot("", "moved"), "GET /a;GET /b|GET /c;POST /c;");
	ck_assert_uint_eq(caveats_count_own(slot("", "moved")), 1);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_rename(ch, c, "renamed", 7)), 0);
	expect(slot("app", "renamed"), "GET /a;");
	/* In place it counts for all that is derived from it. */
	ck_assert_int_eq(try_reduce(&w, c, &more), 0);
	expect(c, "GET /a;POST /c;");
	expect(d, "GET /a;POST /c;GET /b|GET /c;");
	world_reap(&w);
}
END_TEST

/* A reduction of anything else leaves them, and the right to call with them. */
START_TEST(P38_none_goes)
{
	struct capability *c = derive("first", "GET /a");
	struct reductions how = {.has_conns = true, .conns = 3}, immutable = {.immutable = true};

	ck_assert_int_eq(try_reduce(&w, c, &how), 0);
	expect(c, "GET /a;");
	ck_assert_int_eq(try_reduce(&w, c, &immutable), 0);
	expect(c, "GET /a;");
	ck_assert_uint_eq(capability_rights(c), RIGHT_CALL);
	ck_assert_int_eq(try_connect(&w, c), 0);
	capability_disconnected(c);
}
END_TEST

START_TEST(P38_what_is_split_has_them_on_both_sides)
{
	struct reductions part = {.has_calls = true, .calls = 10};
	struct capability *c = derive("first", "GET /a"), *beside;
	struct change *ch;

	ck_assert_int_eq(try_reduce(&w, c, &(struct reductions){.has_calls = true, .calls = 50}), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_split(ch, c, &part, "part", 4, 0, &beside)), 0);
	expect(c, "GET /a;");
	expect(slot("app", "part"), "GET /a;");
	ck_assert(capability_rights(slot("app", "part")) & RIGHT_CALL);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	expect(slot("app", "part"), "GET /a;");
	ck_assert(capability_rights(slot("app", "part")) & RIGHT_CALL);
}
END_TEST

START_TEST(P38_an_adjustment_takes_none_away)
{
	struct reductions more = {.has_conns = true, .conns = 9, .only = "GET /b", .n_only = 1};
	struct reductions rights = {.has_rights = true, .rights = RIGHT_CALL | RIGHT_GRANT};
	struct capability *c = derive("first", "GET /a");
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(finish(ch, capability_adjust(ch, c, &more)), 0);
	expect(c, "GET /a;GET /b;");
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_adjust(ch, c, &rights)), 0);
	expect(c, "GET /a;GET /b;");
	ck_assert_uint_eq(c->record.rights & RIGHT_CALL, 0);
	ck_assert_uint_eq(capability_rights(c), RIGHT_CALL | RIGHT_GRANT);
}
END_TEST

START_TEST(P38_no_more_than_a_server_can_be_told)
{
	char many[CAVEATS_OWN_MAX + 1][2];
	struct reductions how = {.only = many[0], .n_only = CAVEATS_OWN_MAX + 1};
	struct reductions one = ONLY("x");
	struct session *app = session_at(&w, "app");
	struct capability *c, *d;
	char *before, *after;

	for (unsigned i = 0; i <= CAVEATS_OWN_MAX; i++)
		memcpy(many[i], "a", 2);
	before = world_describe(&w);
	ck_assert_int_eq(try_grant(&w, slot("", "web"), app, "c", &how, &c), CAPABILITY_E_CAVEATS);
	after = world_describe(&w);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	how.n_only--;
	c = make_grant(&w, slot("", "web"), app, "c", &how);
	ck_assert_int_eq(try_reduce(&w, c, &one), CAPABILITY_E_CAVEATS);
	d = make_grant(&w, c, app, "d", &how);
	ck_assert_uint_eq(caveats_count(d), CAVEATS_MAX);
	ck_assert_int_eq(try_grant(&w, d, app, "e", &one, &c), CAPABILITY_E_CAVEATS);
	/* Without any of its own it may have them all. */
	ck_assert_uint_eq(caveats_count(make_grant(&w, d, app, "e", NULL)), CAVEATS_MAX);
}
END_TEST

START_TEST(its_session_pays)
{
	struct session *app = session_at(&w, "app");
	uint64_t used = app->used.n[QUOTA_RAM];
	struct reductions how = {.only = "a\0b", .n_only = 2}, one = ONLY("c");
	struct capability *c = make_grant(&w, slot("", "web"), app, "c", &how), *d;

	ck_assert_uint_eq(app->used.n[QUOTA_RAM], used + QUOTA_RAM_SLOT + 2 * COST);
	app->record.limit.n[QUOTA_RAM] = app->used.n[QUOTA_RAM] + app->lent.n[QUOTA_RAM];
	ck_assert_int_eq(try_reduce(&w, c, &one), CAPABILITY_E_QUOTA_RAM);
	ck_assert_int_eq(try_grant(&w, c, app, "d", &one, &d), CAPABILITY_E_QUOTA_RAM);
	app->record.limit = app->record.donation;
	ck_assert_int_eq(try_reduce(&w, c, &one), 0);
	end_capability(&w, c);
	world_reap(&w);
	ck_assert_uint_eq(app->used.n[QUOTA_RAM], used);
	ck_assert_uint_eq(w.model->n[ENTITY_CAVEAT], 0);
}
END_TEST

START_TEST(P38_all_comes_back_after_a_restart)
{
	struct reductions how = {.only = "say \"a\\b\"\0b", .n_only = 2};
	char *before, *after;

	make_grant(&w, derive("first", "GET /a"), session_at(&w, "app/inner"), "second", &how);
	before = world_describe(&w);
	ck_assert_ptr_nonnull(strstr(before, "only=\"say \\\"a\\\\b\\\"\" only=\"b\""));
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	after = world_describe(&w);
	ck_assert_str_eq(before, after);
	expect(slot("app/inner", "second"), "GET /a;say \"a\\b\"|b;");
	free(before);
	free(after);
}
END_TEST

/* One entity a slice: they go before their slot, and none is left. */
START_TEST(they_end_with_their_slot)
{
	struct capability *c = derive("first", "a");
	struct reductions how = {.only = "b\0c", .n_only = 2};
	int r;

	make_grant(&w, c, session_at(&w, "app/inner"), "second", &how);
	end_capability(&w, c);
	do {
		r = model_reap(w.model, 1);
		model_check(w.model);
	} while (r > 0);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(w.model->n[ENTITY_CAVEAT], 0);
}
END_TEST

/* As a daemon before them reads a record: RIGHT_CALL in `rights`, and a byte of RIGHT_FDS. */
START_TEST(P38_an_older_daemon_sees_nothing_that_it_could_call)
{
	struct reductions call = {.has_rights = true, .rights = RIGHT_CALL, .only = "a", .n_only = 1};
	struct capability *c = make_grant(&w, slot("", "web"), session_at(&w, "app"), "c", &call);
	const struct capability_record *r = &c->record;

	ck_assert_uint_eq(capability_rights(c), RIGHT_CALL);
	ck_assert_uint_eq(r->rights, RIGHT_REDUCE);
	ck_assert_uint_ne(r->marks, 0);
	r = &derive("d", "b")->record;
	ck_assert_uint_ne(r->rights, 0);
	ck_assert_uint_eq(r->rights & RIGHT_CALL, 0);
	ck_assert_uint_ne(record_rights(r) & RIGHT_CALL, 0);
}
END_TEST

static struct world *const world = &w;
static uint64_t later;

static int
find_later(void *data, uint64_t key, const void *record, size_t n)
{
	if (STORE_KEY_SPACE(key) == STORE_LATER && ((const uint8_t *)record)[0] == ENTITY_CAVEAT)
		later = key;
	return 0;
}

/* What was derived by its transfer has the record of the one that had them, and not these. */
START_TEST(P38_what_an_older_daemon_has_moved_cannot_be_called)
{
	struct capability *c = derive("first", "a");

	make_grant(&w, c, session_at(&w, "app/inner"), "second", NULL);
	stub_scan(world->store, find_later, NULL);
	stub_set(world->store, later, NULL, 0);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	ck_assert_uint_eq(capability_rights(slot("app", "first")) & RIGHT_CALL, 0);
	ck_assert_int_eq(try_connect(&w, slot("app", "first")), CONNECT_E_RIGHT);
	ck_assert_int_eq(try_connect(&w, slot("app/inner", "second")), CONNECT_E_RIGHT);
	/* It stays so, whatever is done with it. */
	ck_assert_int_eq(try_reduce(&w, slot("app", "first"), &(struct reductions)ONLY("b")), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	ck_assert_int_eq(try_connect(&w, slot("app", "first")), CONNECT_E_RIGHT);
	ck_assert_int_eq(try_connect(&w, slot("", "web")), 0);
	capability_disconnected(slot("", "web"));
}
END_TEST

/* An older daemon's `reduce` writes a byte of its own over what says that there are some. */
START_TEST(P38_what_an_older_daemon_has_reduced_cannot_be_called)
{
	struct capability *c = derive("first", "a");
	struct capability_record *r;
	struct change *ch = change_begin(w.model);

	r = change_edit(ch, &c->entity);
	r->marks = 0;
	r->conns_limit = 3;
	ck_assert_int_eq(finish(ch, 0), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	ck_assert_int_eq(try_connect(&w, slot("app", "first")), CONNECT_E_RIGHT);
}
END_TEST

START_TEST(a_refusal_gives_no_slot)
{
	char only[2 * (CAVEATS_OWN_MAX + 1)] = "";
	const struct reductions how = {.only = only, .n_only = CAVEATS_OWN_MAX + 1};
	struct capability *source = slot("", "web"), *got = source;
	struct change *ch;

	for (size_t i = 0; i < sizeof(only); i += 2)
		only[i] = 'a';
	ch = change_begin(w.model);
	ck_assert_int_eq(capability_grant(ch, source, session_at(&w, "app"), "more", 4, &how, 0, &got), CAPABILITY_E_CAVEATS);
	ck_assert_ptr_eq(got, source);
	change_abort(ch);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("caveats");
	TCase *t = tcase_create("caveats");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P38_along_each_derivation);
	tcase_add_test(t, P38_none_goes);
	tcase_add_test(t, P38_what_is_split_has_them_on_both_sides);
	tcase_add_test(t, P38_an_adjustment_takes_none_away);
	tcase_add_test(t, P38_no_more_than_a_server_can_be_told);
	tcase_add_test(t, its_session_pays);
	tcase_add_test(t, P38_all_comes_back_after_a_restart);
	tcase_add_test(t, they_end_with_their_slot);
	tcase_add_test(t, P38_an_older_daemon_sees_nothing_that_it_could_call);
	tcase_add_test(t, P38_what_an_older_daemon_has_moved_cannot_be_called);
	tcase_add_test(t, P38_what_an_older_daemon_has_reduced_cannot_be_called);
	tcase_add_test(t, a_refusal_gives_no_slot);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
