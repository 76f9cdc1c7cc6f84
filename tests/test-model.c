/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: Z40 Z41 */
/* The rules of capabilities: who may derive what, who pays, what ends with what. */
#include "config.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/model-service.h"

START_TEST(grant_keeps_what_is_not_reduced)
{
	struct reductions how = {
		.has_rights = true,
		.rights = RIGHT_CALL | RIGHT_GRANT,
		.has_calls = true,
		.calls = 10,
		.has_conns = true,
		.conns = 3,
	};
	struct capability *c = make_grant(&w, origin, app, NULL, &how);
	struct capability *d = make_grant(&w, c, inner, "d", NULL);

	ck_assert_str_eq(c->entity.name, "web");
	ck_assert_ptr_eq(c->parent, origin);
	ck_assert_ptr_eq(slot(app, "web"), &c->entity);
	ck_assert_uint_eq(d->record.rights, how.rights);
	ck_assert_uint_eq(d->record.calls_limit, 10);
	ck_assert_uint_eq(d->record.conns_limit, 3);
	ck_assert_uint_eq(d->entity.depth, 2);
	ck_assert_uint_eq(app->used.n[QUOTA_CAPS], 2);
	ck_assert_uint_eq(app->used.n[QUOTA_RAM], QUOTA_RAM_SLOT + QUOTA_RAM_SESSION);
}
END_TEST

START_TEST(grant_refuses_more_than_is_held)
{
	struct reductions small = {
		.has_rights = true,
		.rights = RIGHT_CALL | RIGHT_GRANT,
		.has_calls = true,
		.calls = 10,
		.has_expires = true,
		.expires_usec = world_now() + MINUTE_USEC,
	};
	struct capability *c = make_grant(&w, origin, app, NULL, &small), *d;
	const struct {
		struct reductions how;
		int answer;
	} cases[] = {
		{{.has_rights = true, .rights = RIGHT_REDUCE}, CAPABILITY_E_NOT_HELD},
		{{.has_rights = true, .rights = 0}, CAPABILITY_E_NOT_SMALLER},
		{{.has_rights = true, .rights = RIGHT_GRANT, .immutable = true},
			CAPABILITY_E_NOT_SMALLER},
		{{.has_calls = true, .calls = 11}, CAPABILITY_E_NOT_SMALLER},
		{{.has_calls = true, .calls = LIMIT_NONE}, CAPABILITY_E_NOT_SMALLER},
		{{.has_calls = true, .calls = 0}, CAPABILITY_E_NOT_SMALLER},
		{{.has_expires = true, .expires_usec = small.expires_usec + 1},
			CAPABILITY_E_NOT_SMALLER},
		{{.has_expires = true, .expires_usec = world_now()}, CAPABILITY_E_NOT_SMALLER},
	};
	cleanup_free char *before = world_describe(&w), *after = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(try_grant(&w, c, inner, "d", &cases[i].how, &d), cases[i].answer);
	ck_assert_int_eq(try_grant(&w, c, inner, ".d", NULL, &d), CAPABILITY_E_NAME);
	ck_assert_int_eq(try_grant(&w, c, inner, "", NULL, &d), CAPABILITY_E_NAME);
	ck_assert_int_eq(try_grant(&w, c, app, "web", NULL, &d), CAPABILITY_E_EXISTS);
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
}
END_TEST

START_TEST(immutable_cannot_be_passed_on)
{
	struct reductions how = {.immutable = true};
	struct capability *c = make_grant(&w, origin, app, NULL, &how), *d;

	ck_assert_uint_eq(c->record.rights, RIGHT_CALL);
	ck_assert_int_eq(try_grant(&w, c, inner, NULL, NULL, &d), CAPABILITY_E_RIGHT);
	ck_assert_int_eq(try_reduce(&w, c, &how), CAPABILITY_E_RIGHT);
}
END_TEST

START_TEST(automatic_names_count_on)
{
	static const char *const names[] = {"web", "web-2", "web-3", "web-4"};
	char longest[NAME_BYTES_MAX + 1] = "";
	struct capability *c;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_str_eq(make_grant(&w, origin, app, NULL, NULL)->entity.name, names[i]);
	end_capability(&w, container_of(slot(app, "web-2"), struct capability, entity));
	/* An ended one keeps its name until it is removed. */
	ck_assert_str_eq(make_grant(&w, origin, app, NULL, NULL)->entity.name, "web-5");
	world_reap(&w);
	ck_assert_str_eq(make_grant(&w, origin, app, NULL, NULL)->entity.name, "web-2");

	memset(longest, 'x', NAME_BYTES_MAX);
	c = make_grant(&w, origin, root, longest, NULL);
	ck_assert_uint_eq(strlen(make_grant(&w, c, root, NULL, NULL)->entity.name), NAME_BYTES_MAX);
}
END_TEST

START_TEST(ten_thousand_automatic_names)
{
	uint64_t start = w.model->by_name.n;

	for (int i = 0; i < 10000; i++)
		make_grant(&w, origin, root, NULL, NULL);
	ck_assert_uint_eq(w.model->by_name.n, start + 10000);
	model_check(w.model);
}
END_TEST

START_TEST(Z40_Z41_refused_reduce_changes_nothing)
{
	struct reductions given = {.has_calls = true, .calls = 10, .has_conns = true, .conns = 4};
	struct capability *c = make_grant(&w, origin, app, NULL, &given);
	const struct {
		struct reductions how;
		int answer;
	} cases[] = {
		{{}, CAPABILITY_E_NOT_SMALLER},
		{{.has_rights = true, .rights = RIGHTS_OBJECT}, CAPABILITY_E_NOT_SMALLER},
		{{.has_rights = true, .rights = 0}, CAPABILITY_E_NOT_SMALLER},
		{{.has_rights = true, .rights = 1u << 20}, CAPABILITY_E_NOT_HELD},
		{{.has_calls = true, .calls = 10}, CAPABILITY_E_NOT_SMALLER},
		{{.has_calls = true, .calls = 11}, CAPABILITY_E_NOT_SMALLER},
		{{.has_calls = true, .calls = 2}, CAPABILITY_E_IN_USE},
		{{.has_conns = true, .conns = 2}, CAPABILITY_E_IN_USE},
		/* One good, one bad. */
		{{.has_calls = true, .calls = 5, .has_conns = true, .conns = 5},
			CAPABILITY_E_NOT_SMALLER},
		{{.has_rights = true, .rights = RIGHT_CALL, .has_conns = true, .conns = 1},
			CAPABILITY_E_IN_USE},
	};
	cleanup_free char *before = NULL, *after = NULL;

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(try_connect(&w, c), 0);
	before = world_describe(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(try_reduce(&w, c, &cases[i].how), cases[i].answer);
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
}
END_TEST

START_TEST(Z40_reduce_shrinks_descendants)
{
	struct capability *c = make_grant(&w, origin, app, NULL, NULL);
	struct capability *d = make_grant(&w, c, inner, NULL, NULL), *e;
	struct reductions how = {
		.has_rights = true,
		.rights = RIGHT_CALL | RIGHT_REDUCE,
		.has_calls = true,
		.calls = 1,
		.has_expires = true,
		.expires_usec = world_now() + MINUTE_USEC,
	};

	ck_assert_int_eq(try_reduce(&w, c, &how), 0);
	ck_assert_uint_eq(w.told.last_restricted, c->entity.id);
	ck_assert_uint_eq(capability_rights(d), how.rights);
	ck_assert_uint_eq(capability_calls_left(d), 1);
	ck_assert_uint_eq(capability_expires(d), how.expires_usec);
	ck_assert_int_eq(try_grant(&w, d, root, "x", NULL, &e), CAPABILITY_E_RIGHT);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_CALLS);
	ck_assert_int_eq(try_connect(&w, origin), 0);
}
END_TEST

START_TEST(P03_a_rate_comes_back_with_time)
{
	struct reductions five = {.has_rate = true, .rate = 5}, two = {.has_rate = true, .rate = 2};
	struct reductions more = {.has_rate = true, .rate = 6};
	struct capability *c = make_grant(&w, origin, app, NULL, &five), *e;
	struct capability *d = make_grant(&w, c, inner, "d", NULL);
	uint64_t id = d->entity.id;

	ck_assert_int_eq(try_grant(&w, c, inner, "e", &more, &e), CAPABILITY_E_NOT_SMALLER);
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(capability_rate_left(d), 5 - (unsigned)i);
		ck_assert_int_eq(try_connect(&w, i % 2 ? c : d), 0);
	}
	/* That of the ancestor counts for both; the origin has none. */
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_RATE);
	ck_assert_int_eq(try_connect(&w, c), CONNECT_E_RATE);
	ck_assert_int_eq(try_connect(&w, origin), 0);
	world_set_now(world_now() + 199999);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_RATE);
	world_set_now(world_now() + 1);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_RATE);
	/* A restart forgives nothing. */
	ck_assert_int_eq(world_restart(&w), 0);
	d = container_of(entity_find(w.model, id), struct capability, entity);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_RATE);
	/* No more than a second's worth is ever saved up, and a smaller rate takes effect at once. */
	world_set_now(world_now() + MINUTE_USEC);
	ck_assert_uint_eq(capability_rate_left(d), 5);
	ck_assert_int_eq(try_reduce(&w, d->parent, &two), 0);
	ck_assert_uint_eq(capability_rate_left(d), 2);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_RATE);
	/* A clock that is set back by hours does not lock anybody out. */
	world_set_now(world_now() - 60 * MINUTE_USEC);
	ck_assert_int_eq(try_connect(&w, d), 0);
}
END_TEST

START_TEST(uses_count_against_all_ancestors)
{
	struct reductions five = {.has_conns = true, .conns = 5};
	struct capability *c = make_grant(&w, origin, app, NULL, &five);
	struct capability *d = make_grant(&w, c, inner, "d", NULL);
	struct capability *e = make_grant(&w, c, inner, "e", NULL);

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(try_connect(&w, d), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(try_connect(&w, e), 0);
	ck_assert_uint_eq(c->conns_used, 5);
	ck_assert_uint_eq(capability_conns_left(e), 0);
	ck_assert_int_eq(try_connect(&w, e), CONNECT_E_CONNS);
	capability_disconnected(d);
	ck_assert_int_eq(try_connect(&w, e), 0);
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_CONNS);
	/* Connections that nobody gives back go with their capability. */
	end_capability(&w, d);
	world_reap(&w);
	ck_assert_uint_eq(c->conns_used, 3);
}
END_TEST

START_TEST(revoke_ends_descendants_at_once)
{
	struct capability *c = make_grant(&w, origin, app, NULL, NULL);
	struct capability *d = make_grant(&w, c, inner, NULL, NULL), *later;
	uint64_t id = d->entity.id, commits = w.store->n_commits;
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(finish(ch, capability_end_children(ch, c)), 0);
	ck_assert_uint_eq(w.store->n_commits, commits + 1);
	ck_assert(capability_is_live(c) && !capability_is_live(d));
	ck_assert(model_is_ending(w.model, c->entity.id) && model_is_ending(w.model, id));
	ck_assert_int_eq(try_connect(&w, d), CONNECT_E_ENDED);
	ck_assert_int_eq(try_grant(&w, d, app, "x", NULL, &later), CAPABILITY_E_DEAD);
	later = make_grant(&w, c, inner, "later", NULL);
	world_reap(&w);
	ck_assert_uint_eq(w.told.last_gone, id);
	ck_assert_ptr_null(entity_find(w.model, id));
	ck_assert(capability_is_live(later) && !model_is_ending(w.model, c->entity.id));
	ck_assert_uint_eq(inner->used.n[QUOTA_CAPS], 1);
}
END_TEST

START_TEST(revoke_of_overlapping_trees)
{
	struct capability *chain[6];
	struct change *ch;

	chain[0] = origin;
	for (int i = 1; i < 6; i++)
		chain[i] = make_grant(&w, chain[i - 1], i % 2 ? app : inner, NULL, NULL);
	ch = change_begin(w.model);
	ck_assert_int_eq(capability_end(ch, chain[4]), 0);
	ck_assert_int_eq(capability_end_children(ch, chain[2]), 0);
	ck_assert_int_eq(capability_end(ch, chain[1]), 0);
	ck_assert_int_eq(capability_end(ch, chain[1]), 0);
	ck_assert_int_eq(finish(ch, 0), 0);
	ck_assert_int_eq(model_reap(w.model, 1), 1);
	ck_assert_int_eq(world_restart(&w), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 1);
}
END_TEST

START_TEST(deepest_and_widest_derivations)
{
	struct capability *c = origin, *more;

	for (int i = 0; i < DERIVATION_DEPTH_MAX; i++)
		c = make_grant(&w, c, root, NULL, NULL);
	ck_assert_int_eq(try_grant(&w, c, root, NULL, NULL, &more), CAPABILITY_E_DEPTH);
	ck_assert_int_eq(try_connect(&w, c), 0);
	for (int i = 0; i < 50000; i++)
		make_grant(&w, origin, root, NULL, NULL);
	model_check(w.model);
	end_capability(&w, origin);
	ck_assert_int_eq(model_reap(w.model, 1000), 1);
	while (model_reap(w.model, 1000) > 0)
		;
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 0);
	ck_assert_uint_eq(root->used.n[QUOTA_CAPS], 1);
}
END_TEST

START_TEST(expiry_ends_what_it_should)
{
	struct reductions minute = {
		.has_expires = true, .expires_usec = world_now() + MINUTE_USEC};
	struct capability *c = make_grant(&w, origin, app, NULL, &minute);
	struct capability *d = make_grant(&w, c, inner, NULL, NULL);
	uint64_t next;

	ck_assert_int_eq(expiry_run(w.model, &next), 0);
	ck_assert_uint_eq(next, minute.expires_usec);
	world_set_now(minute.expires_usec);
	ck_assert(!capability_is_live(c) && !capability_is_live(d));
	ck_assert_int_eq(expiry_run(w.model, &next), 0);
	ck_assert_uint_eq(next, LIMIT_NONE);
	ck_assert_uint_eq(w.told.last_restricted, c->entity.id);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 1);
}
END_TEST

START_TEST(rename_takes_only_free_names)
{
	struct capability *c = make_grant(&w, origin, app, "c", NULL), *d;
	struct change *ch;

	d = make_grant(&w, origin, app, "d", NULL);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_rename(ch, c, "d", 1)), CAPABILITY_E_EXISTS);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_rename(ch, c, "a/b", 3)), CAPABILITY_E_NAME);
	ch = change_begin(w.model);
	ck_assert_int_eq(capability_rename(ch, c, "new", 3), 0);
	ck_assert_int_eq(finish(ch, capability_rename(ch, d, "new", 3)), CAPABILITY_E_EXISTS);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_rename(ch, c, "new", 3)), 0);
	ck_assert_ptr_eq(slot(app, "new"), &c->entity);
	ck_assert_ptr_null(slot(app, "c"));
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	ck_assert_ptr_nonnull(slot(app, "new"));
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_test(t, grant_keeps_what_is_not_reduced);
	tcase_add_test(t, grant_refuses_more_than_is_held);
	tcase_add_test(t, immutable_cannot_be_passed_on);
	tcase_add_test(t, automatic_names_count_on);
	tcase_add_test(t, ten_thousand_automatic_names);
	tcase_add_test(t, Z40_Z41_refused_reduce_changes_nothing);
	tcase_add_test(t, Z40_reduce_shrinks_descendants);
	tcase_add_test(t, P03_a_rate_comes_back_with_time);
	tcase_add_test(t, uses_count_against_all_ancestors);
	tcase_add_test(t, revoke_ends_descendants_at_once);
	tcase_add_test(t, revoke_of_overlapping_trees);
	tcase_add_test(t, deepest_and_widest_derivations);
	tcase_add_test(t, expiry_ends_what_it_should);
	tcase_add_test(t, rename_takes_only_free_names);
}

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("rules");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, service_setup, service_teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
