/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G26 G40 G41 G42 G45 S04 S19 S20 Z02 Z40 Z41 */
/* The rules of the model: who may derive what, who pays, what ends with what. */
#include "config.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

/* What most cases start from: a service in the root, and two sessions, one below the other. */
static struct world w;
static struct session *root, *app, *inner;
static struct entrypoint *web;
static struct capability *origin;

static void
setup(void)
{
	fixture_setup();
	world_set_now(1000 * MINUTE_USEC);
	world_init(&w);
	root = w.model->root;
	app = make_session(&w, root, "app", NULL);
	inner = make_session(&w, app, "inner", NULL);
	web = make_entrypoint(&w, root, "web");
	origin = make_origin(&w, web, 1, "web");
}

static void
teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

static struct entity *
slot(struct session *s, const char *name)
{
	return entity_find_name(w.model, s->entity.id, ENTITY_CAPABILITY, name, strlen(name));
}

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
	ck_assert_uint_eq(d->depth, 2);
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
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_CALLS);
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
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_RATE);
	ck_assert_int_eq(try_connect(&w, c), CAPABILITY_E_LIMIT_RATE);
	ck_assert_int_eq(try_connect(&w, origin), 0);
	world_set_now(world_now() + 199999);
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_RATE);
	world_set_now(world_now() + 1);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_RATE);
	/* A restart forgives nothing. */
	ck_assert_int_eq(world_restart(&w), 0);
	d = container_of(entity_find(w.model, id), struct capability, entity);
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_RATE);
	/* No more than a second's worth is ever saved up, and a smaller rate takes effect at once. */
	world_set_now(world_now() + MINUTE_USEC);
	ck_assert_uint_eq(capability_rate_left(d), 5);
	ck_assert_int_eq(try_reduce(&w, d->parent, &two), 0);
	ck_assert_uint_eq(capability_rate_left(d), 2);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), 0);
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_RATE);
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
	ck_assert_int_eq(try_connect(&w, e), CAPABILITY_E_LIMIT_CONNS);
	capability_disconnected(d);
	ck_assert_int_eq(try_connect(&w, e), 0);
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_LIMIT_CONNS);
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
	ck_assert_int_eq(try_connect(&w, d), CAPABILITY_E_DEAD);
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

	ck_assert_int_eq(model_expire(w.model, &next), 0);
	ck_assert_uint_eq(next, minute.expires_usec);
	world_set_now(minute.expires_usec);
	ck_assert(!capability_is_live(c) && !capability_is_live(d));
	ck_assert_int_eq(model_expire(w.model, &next), 0);
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

START_TEST(S19_S20_badges_are_unique_for_ever)
{
	struct entrypoint *db = make_entrypoint(&w, app, "db");
	struct capability *other = make_origin(&w, db, 1, "db");
	uint64_t badge = other->object->record.badge;
	struct change *ch;

	ck_assert_uint_ne(badge, origin->object->record.badge);
	ck_assert_ptr_eq(other->object->entrypoint->session, app);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, object_end(ch, other->object)), 0);
	world_reap(&w);
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	db = container_of(entity_find_name(w.model, app->entity.id, ENTITY_ENTRYPOINT, "db", 2),
		struct entrypoint, entity);
	ck_assert_uint_gt(make_origin(&w, db, 1, "db")->object->record.badge, badge);
}
END_TEST

START_TEST(S04_G40_G41_forged_badges_reach_nothing)
{
	struct entrypoint *db = make_entrypoint(&w, app, "db");
	struct capability *other = make_origin(&w, db, 1, "db");

	for (uint64_t badge = 0; badge < 1000; badge++)
		if (badge != origin->object->record.badge)
			ck_assert_ptr_null(object_find(web, badge));
	ck_assert_ptr_eq(object_find(web, origin->object->record.badge), origin->object);
	ck_assert_ptr_null(object_find(web, other->object->record.badge));
}
END_TEST

START_TEST(G42_same_key_with_a_live_and_a_dead_object)
{
	struct change *ch = change_begin(w.model);
	struct object *o, *old = origin->object;

	ck_assert_int_eq(object_add(ch, web, 1, OBJECT_STREAM, OBJECT_PLAIN, &o), 0);
	ck_assert_ptr_eq(o, old);
	ck_assert_int_eq(
		finish(ch, object_add(ch, web, 1, OBJECT_SEQPACKET, OBJECT_PLAIN, &o)), ENTRYPOINT_E_EXISTS);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, object_end(ch, old)), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, object_add(ch, web, 1, OBJECT_SEQPACKET, OBJECT_PLAIN, &o)), 0);
	ck_assert_ptr_ne(o, old);
	ck_assert_uint_gt(o->record.badge, old->record.badge);
	ck_assert_int_eq(world_restart(&w), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_OBJECT], 1);
}
END_TEST

START_TEST(G45_capability_of_an_ended_object_is_dead_at_once)
{
	struct capability *c = make_grant(&w, origin, app, NULL, NULL), *d;
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(finish(ch, object_end(ch, origin->object)), 0);
	ck_assert_uint_eq(w.told.last_restricted, origin->entity.id);
	ck_assert(!capability_is_live(c) && !capability_is_live(origin));
	ck_assert_int_eq(try_connect(&w, c), CAPABILITY_E_DEAD);
	ck_assert_int_eq(try_grant(&w, c, inner, NULL, NULL, &d), CAPABILITY_E_DEAD);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 0);
}
END_TEST

START_TEST(Z02_what_is_missing_is_not_found)
{
	ck_assert_ptr_null(slot(app, "nothing"));
	ck_assert_ptr_null(entity_find(w.model, 0));
	ck_assert_ptr_null(entity_find(w.model, UINT64_MAX));
	ck_assert_ptr_null(entity_find_name(w.model, 1, ENTITY_CAPABILITY,
		"a name that is longer than any name can be, whatever it is made of, really", 73));
	ck_assert_ptr_eq(session_find(w.model, root, "app/inner", 9), inner);
	ck_assert_ptr_null(session_find(w.model, root, "app/", 4));
	ck_assert_ptr_null(session_find(w.model, root, "/app", 4));
	ck_assert_ptr_null(session_find(w.model, root, "", 0));
	ck_assert_ptr_null(session_find(w.model, root, "inner", 5));
	ck_assert_ptr_null(session_find(w.model, app, "app", 3));
	ck_assert_ptr_null(session_find(w.model, app, "..", 2));
}
END_TEST

START_TEST(entrypoint_is_taken_up_again)
{
	uint64_t badge = origin->object->record.badge, id = web->entity.id;
	struct entrypoint *ep;
	struct change *ch;

	ck_assert_str_eq(web->thread->entity.name, "1.1");
	ck_assert_int_eq(try_attach(&w, root, "web", 0, &ep), ENTRYPOINT_E_SERVED);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_detach(ch, web)), 0);
	ck_assert_ptr_null(web->thread);
	ck_assert_uint_eq(root->n_threads, 0);
	ck_assert(capability_is_live(origin));
	ck_assert_int_eq(try_attach(&w, root, "web", ENTRYPOINT_ONCE, &ep), 0);
	ck_assert_uint_eq(ep->entity.id, id);
	ck_assert_str_eq(ep->thread->entity.name, "1.2");
	ck_assert_ptr_nonnull(object_find(ep, badge));
	ck_assert_int_eq(world_restart(&w), 0);
	ep = container_of(entity_find(w.model, id), struct entrypoint, entity);
	ck_assert_str_eq(ep->thread->entity.name, "1.2");
	/* Attached once: it ends with its server. */
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_detach(ch, ep)), 0);
	ck_assert(model_is_ending(w.model, id));
	ck_assert_int_eq(try_attach(&w, w.model->root, "web", 0, &ep), ENTRYPOINT_E_CLOSING);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 0);
	ck_assert_uint_eq(w.model->n[ENTITY_ENTRYPOINT], 0);
}
END_TEST

START_TEST(entrypoint_end_takes_its_thread)
{
	struct change *ch;
	struct object *o;

	make_grant(&w, origin, app, NULL, NULL);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_end(ch, web)), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(
		finish(ch, object_add(ch, web, 9, OBJECT_STREAM, OBJECT_PLAIN, &o)), ENTRYPOINT_E_CLOSING);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, capability_originate(ch, origin->object, root, "y", 1,
					RIGHT_CALL, 0, &origin)),
		CAPABILITY_E_CLOSING);
	world_reap(&w);
	ck_assert_uint_eq(root->n_threads + root->n_entrypoints + root->n_slots, 0);
	ck_assert_uint_eq(root->used.n[QUOTA_THREADS], 0);
}
END_TEST

START_TEST(G26_closed_session_gives_everything_back)
{
	struct entrypoint *db = make_entrypoint(&w, inner, "db");
	struct capability *c = make_origin(&w, db, 1, "db");
	uint64_t ram = quota_free(app, QUOTA_RAM), limit = inner->record.limit.n[QUOTA_RAM], next;
	struct change *ch;

	make_grant(&w, c, root, "theirs", NULL);
	make_grant(&w, origin, inner, NULL, NULL);
	ck_assert_int_eq(try_close(&w, root), SESSION_E_BUSY);
	ck_assert_int_eq(try_close(&w, app), SESSION_E_NOT_EMPTY);
	ck_assert_int_eq(try_close(&w, inner), SESSION_E_BUSY);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_detach(ch, db)), 0);
	next = inner->entity.id;
	ck_assert_int_eq(try_close(&w, inner), 0);
	ck_assert_int_eq(try_close(&w, inner), SESSION_E_CLOSING);
	ck_assert_ptr_null(session_find(w.model, app, "inner", 5));
	ck_assert(model_is_ending(w.model, next));
	ck_assert(!capability_is_live(c));
	ck_assert_ptr_nonnull(slot(root, "theirs"));
	ck_assert_int_eq(try_grant(&w, origin, inner, "x", NULL, &c), CAPABILITY_E_CLOSING);
	world_reap(&w);
	ck_assert_ptr_null(slot(root, "theirs"));
	ck_assert_uint_eq(quota_free(app, QUOTA_RAM), ram + limit + QUOTA_RAM_SESSION);
}
END_TEST

START_TEST(S03_what_a_session_holds_is_found)
{
	struct session *other = make_session(&w, root, "other", NULL);
	struct capability *c = make_grant(&w, origin, app, "c", NULL);
	struct capability *d = make_grant(&w, c, other, "d", NULL);
	struct capability *e = make_grant(&w, d, inner, "e", NULL);
	uint64_t id = c->entity.id;

	/* Itself, what it was derived from however far, what was derived from it directly. */
	ck_assert_ptr_eq(capability_held(w.model, app, c), c);
	ck_assert_ptr_eq(capability_held(w.model, other, c), d);
	ck_assert_ptr_eq(capability_held(w.model, root, e), origin);
	ck_assert_ptr_eq(capability_held(w.model, app, e), c);
	ck_assert_ptr_eq(capability_held(w.model, inner, c), NULL);
	ck_assert_ptr_eq(capability_held(w.model, other, origin), NULL);
	/* However many there are, and whichever goes first. */
	for (int i = 0; i < 3; i++)
		make_grant(&w, c, other, NULL, NULL);
	end_capability(&w, d);
	world_reap(&w);
	ck_assert_ptr_ne(capability_held(w.model, other, c), d);
	for (int i = 0; i < 2; i++) {
		end_capability(&w, capability_held(w.model, other, c));
		world_reap(&w);
	}
	ck_assert_int_eq(world_restart(&w), 0);
	c = container_of(entity_find(w.model, id), struct capability, entity);
	other = session_find(w.model, w.model->root, "other", 5);
	ck_assert_str_eq(capability_held(w.model, other, c)->entity.name, "c-3");
	/* What has ended is nothing, also before it is gone. */
	end_capability(&w, capability_held(w.model, other, c));
	ck_assert_ptr_eq(capability_held(w.model, other, c), NULL);
	world_reap(&w);
	ck_assert_ptr_eq(capability_held(w.model, other, c), NULL);
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
	tcase_add_test(t, S19_S20_badges_are_unique_for_ever);
	tcase_add_test(t, S04_G40_G41_forged_badges_reach_nothing);
	tcase_add_test(t, G42_same_key_with_a_live_and_a_dead_object);
	tcase_add_test(t, G45_capability_of_an_ended_object_is_dead_at_once);
	tcase_add_test(t, Z02_what_is_missing_is_not_found);
	tcase_add_test(t, entrypoint_is_taken_up_again);
	tcase_add_test(t, entrypoint_end_takes_its_thread);
	tcase_add_test(t, S03_what_a_session_holds_is_found);
	tcase_add_test(t, G26_closed_session_gives_everything_back);
}

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("rules");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
