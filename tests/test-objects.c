/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G26 G40 G41 G42 G45 S04 S19 S20 Z02 */
/* The rules of entrypoints, of their objects, and of sessions. */
#include "config.h"

#include <check.h>

#include "tests/fixture.h"
#include "tests/model-service.h"

START_TEST(S19_S20_badges_are_unique_for_ever)
{
	struct entrypoint *db = make_entrypoint(&w, app, "db");
	struct capability *other = make_origin(&w, db, 1, "db");
	uint64_t badge = capability_object(other)->record.badge;
	struct change *ch;

	ck_assert_uint_ne(badge, capability_object(origin)->record.badge);
	ck_assert_ptr_eq(capability_entrypoint(other)->session, app);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, object_end(ch, capability_object(other))), 0);
	world_reap(&w);
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	db = container_of(entity_find_name(w.model, app->entity.id, ENTITY_ENTRYPOINT, "db", 2),
		struct entrypoint, entity);
	ck_assert_uint_gt(capability_object(make_origin(&w, db, 1, "db"))->record.badge, badge);
}
END_TEST

START_TEST(S04_G40_G41_forged_badges_reach_nothing)
{
	struct entrypoint *db = make_entrypoint(&w, app, "db");
	struct capability *other = make_origin(&w, db, 1, "db");

	for (uint64_t badge = 0; badge < 1000; badge++)
		if (badge != capability_object(origin)->record.badge)
			ck_assert_ptr_null(object_find(web, badge));
	ck_assert_ptr_eq(object_find(web, capability_object(origin)->record.badge), capability_object(origin));
	ck_assert_ptr_null(object_find(web, capability_object(other)->record.badge));
}
END_TEST

START_TEST(G42_same_key_with_a_live_and_a_dead_object)
{
	struct change *ch = change_begin(w.model);
	struct object *o, *old = capability_object(origin);

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

	ck_assert_int_eq(finish(ch, object_end(ch, capability_object(origin))), 0);
	ck_assert_uint_eq(w.told.last_restricted, origin->entity.id);
	ck_assert(!capability_is_live(c) && !capability_is_live(origin));
	ck_assert_int_eq(try_connect(&w, c), CONNECT_E_ENDED);
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
	uint64_t badge = capability_object(origin)->record.badge, id = web->entity.id;
	struct entrypoint *ep;
	struct change *ch;

	ck_assert_str_eq(web->thread->entity.name, "1.1");
	ck_assert_int_eq(try_attach(&w, root, "web", 0, &ep), ENTRYPOINT_E_SERVED);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_detach(ch, web)), 0);
	ck_assert_ptr_null(web->thread);
	ck_assert_uint_eq(root->n_owned[ENTITY_THREAD], 0);
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
	ck_assert_int_eq(finish(ch, capability_originate(ch, TYPE_OBJECT, origin->target, root, "y", 1,
					RIGHT_CALL, 0, &origin)),
		CAPABILITY_E_CLOSING);
	world_reap(&w);
	ck_assert_uint_eq(root->n_owned[ENTITY_THREAD] + root->n_owned[ENTITY_ENTRYPOINT] + root->n_owned[ENTITY_CAPABILITY], 0);
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
	ck_assert_ptr_eq(capability_slot_in(w.model, app, c), c);
	ck_assert_ptr_eq(capability_slot_in(w.model, other, c), d);
	ck_assert_ptr_eq(capability_slot_in(w.model, root, e), origin);
	ck_assert_ptr_eq(capability_slot_in(w.model, app, e), c);
	ck_assert_ptr_eq(capability_slot_in(w.model, inner, c), NULL);
	ck_assert_ptr_eq(capability_slot_in(w.model, other, origin), NULL);
	/* However many there are, and whichever goes first. */
	for (int i = 0; i < 3; i++)
		make_grant(&w, c, other, NULL, NULL);
	end_capability(&w, d);
	world_reap(&w);
	ck_assert_ptr_ne(capability_slot_in(w.model, other, c), d);
	for (int i = 0; i < 2; i++) {
		end_capability(&w, capability_slot_in(w.model, other, c));
		world_reap(&w);
	}
	ck_assert_int_eq(world_restart(&w), 0);
	c = container_of(entity_find(w.model, id), struct capability, entity);
	other = session_find(w.model, w.model->root, "other", 5);
	ck_assert_str_eq(capability_slot_in(w.model, other, c)->entity.name, "c-3");
	/* What has ended is nothing, also before it is gone. */
	end_capability(&w, capability_slot_in(w.model, other, c));
	ck_assert_ptr_eq(capability_slot_in(w.model, other, c), NULL);
	world_reap(&w);
	ck_assert_ptr_eq(capability_slot_in(w.model, other, c), NULL);
}
END_TEST

static void
add_cases(TCase *t)
{
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
	Suite *s = suite_create("objects");
	TCase *t = tcase_create("rules");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, service_setup, service_teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
