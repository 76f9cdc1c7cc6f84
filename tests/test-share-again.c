/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: S15 S16 */
/* What a share has made follows it, also when the daemon is killed in the middle of that. */
#include "config.h"

#include <check.h>
#include <stdio.h>

#include "tests/fixture.h"
#include "tests/model-service.h"

#define CHILDREN 10

static void
share_slot(struct capability *c, enum share_with with, uint64_t conns)
{
	const struct reductions how = {.has_conns = conns > 0, .conns = conns};
	struct change *ch = change_begin(w.model);
	struct share *share;

	ck_assert_int_eq(finish(ch, share_stage(ch, c, with, NULL, &how, &share)), 0);
}

static void
share_with_children(uint64_t conns)
{
	share_slot(origin, SHARE_CHILDREN, conns);
}

static void
run_all(void)
{
	while (model_reap(w.model, 4) > 0 || share_run(w.model, 4) > 0)
		model_check(w.model);
}

START_TEST(S16_less_after_a_kill)
{
	const struct quota quota = {{[QUOTA_CAPS] = 4, [QUOTA_RAM] = 20000}};
	uint64_t id = origin->entity.id;
	char name[32];

	for (int i = 0; i < CHILDREN; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		make_session(&w, root, name, &quota);
	}
	share_with_children(0);
	run_all();
	share_with_children(2);
	ck_assert_int_eq(share_run(w.model, 4), 1);
	ck_assert_int_eq(world_restart(&w), 0);
	run_all();
	origin = capability_of(entity_find(w.model, id));
	ck_assert_uint_eq(origin->n_children, CHILDREN + 1);
	list_for_each (i, &origin->children)
		ck_assert_uint_eq(list_entry(i, struct capability, sibling_link)->record.conns_limit, 2);
	ck_assert_uint_eq(share_find(origin)->record.changed, 0);
}
END_TEST

/* With the change that makes it all have it, and nobody waits; but what is written to it later takes its time. */
START_TEST(S15_what_is_written_later_is_waited_for)
{
	static const char *const names[] = {"a", "b"};
	const struct quota quota = {{[QUOTA_CAPS] = 4, [QUOTA_RAM] = 20000}};

	for (int i = 0; i < 2; i++)
		make_session(&w, root, names[i], &quota);
	for (int i = 0; i < 2; i++) {
		const struct reductions how = {.has_conns = i == 1, .conns = 2};
		struct change *ch = change_begin(w.model);
		struct share *share;
		int r = share_stage(ch, origin, SHARE_CHILDREN, NULL, &how, &share);

		if (r == 0)
			r = share_begin(ch, share);
		ck_assert_int_eq(r, 0);
		ck_assert(share->settled == (i == 0));
		ck_assert_int_eq(finish(ch, r), 0);
		ck_assert(share_is_due(w.model) == (i == 1));
		run_all();
	}
}
END_TEST

/* In a session without any room: what is remembered takes a part of what the slot had. */
START_TEST(S15_what_was_dropped_stays_so_after_kills)
{
	const struct quota quota = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = QUOTA_RAM_SLOT}};
	struct session *s = make_session(&w, root, "s", &quota);
	uint64_t id = origin->entity.id, session = s->entity.id;
	struct entity *e;

	share_with_children(0);
	run_all();
	e = entity_next(w.model, &s->owned[ENTITY_CAPABILITY], 0);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(quota_free(s, QUOTA_RAM), 0);
	end_capability(&w, capability_of(e));
	ck_assert_int_eq(world_restart(&w), 0);
	run_all();
	ck_assert_int_eq(world_restart(&w), 0);
	run_all();
	s = session_find_id(w.model, session);
	ck_assert_ptr_null(entity_next(w.model, &s->owned[ENTITY_CAPABILITY], 0));
	ck_assert_uint_eq(quota_free(s, QUOTA_RAM), 0);
	ck_assert_uint_eq(w.model->n[ENTITY_DECLINED], 1);
	/* With the share it goes, also a slice at a time, with deaths in between. */
	origin = capability_of(entity_find(w.model, id));
	{
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(finish(ch, capability_end_children(ch, origin)), 0);
	}
	ck_assert_int_eq(world_restart(&w), 0);
	run_all();
	s = session_find_id(w.model, session);
	ck_assert_uint_eq(quota_free(s, QUOTA_RAM), QUOTA_RAM_SLOT);
	ck_assert_uint_eq(w.model->n[ENTITY_DECLINED], 0);
}
END_TEST

/* What is over is so for ever, also before anybody has come to end it: others get another one. */
START_TEST(S16_what_has_expired_is_made_anew)
{
	const struct quota quota = {{[QUOTA_CAPS] = 2, [QUOTA_RAM] = 20000}};
	const struct reductions how = {.has_expires = true, .expires_usec = world_now() + 10};
	struct session *s = make_session(&w, root, "s", &quota);
	struct change *ch = change_begin(w.model);
	struct capability *c;
	struct share *share;

	ck_assert_int_eq(finish(ch, share_stage(ch, origin, SHARE_CHILDREN, NULL, &how, &share)), 0);
	run_all();
	c = capability_next_in(w.model, s, origin, NULL);
	ck_assert_ptr_nonnull(c);
	world_set_now(world_now() + 20);
	ck_assert(!capability_is_live(c));
	share_with_children(0);
	while (share_run(w.model, 4) > 0)
		ck_assert(!capability_is_live(c));
	ck_assert(!capability_is_live(c));
	run_all();
	ck_assert_ptr_nonnull(capability_next_in(w.model, s, origin, NULL));
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 1);
}
END_TEST

/* Whatever it is that goes: room is room. */
START_TEST(S15_what_goes_leaves_room)
{
	const struct quota quota = {{[QUOTA_CAPS] = 1, [QUOTA_THREADS] = 1, [QUOTA_RAM] = QUOTA_RAM_SLOT}};
	struct session *s = make_session(&w, root, "s", &quota);
	struct entrypoint *ep = make_entrypoint(&w, s, "own");
	struct change *ch;

	share_with_children(0);
	run_all();
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(finish(ch, entrypoint_end(ch, ep)), 0);
	run_all();
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 1);
}
END_TEST

/* That one was declined is forgotten with the share, and what it had cost is there for another one. */
START_TEST(S15_what_was_declined_leaves_room)
{
	const struct quota quota = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = QUOTA_RAM_SLOT}};
	struct session *s = make_session(&w, root, "s", &quota);

	share_with_children(0);
	run_all();
	end_capability(&w, capability_of(entity_next(w.model, &s->owned[ENTITY_CAPABILITY], 0)));
	run_all();
	share_slot(make_origin(&w, web, 77, "other"), SHARE_CHILDREN, 0);
	run_all();
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 0);
	share_slot(origin, SHARE_NONE, 0);
	run_all();
	ck_assert_uint_eq(w.model->n[ENTITY_DECLINED], 0);
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 1);
}
END_TEST

static void
begin_share(enum share_with with)
{
	const struct reductions how = {};
	struct change *ch = change_begin(w.model);
	struct share *share;

	ck_assert_int_eq(share_stage(ch, origin, with, NULL, &how, &share), 0);
	ck_assert_int_eq(finish(ch, share_begin(ch, share)), 0);
}

START_TEST(S15_a_few_get_it_with_the_share)
{
	const struct quota quota = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = 20000}};
	uint64_t id = origin->entity.id, commits;
	char name[32];

	for (int i = 0; i < CHILDREN; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		make_session(&w, root, name, &quota);
	}
	commits = w.store->n_commits;
	begin_share(SHARE_CHILDREN);
	ck_assert_uint_eq(w.store->n_commits, commits + 1);
	ck_assert(!share_is_due(w.model));
	ck_assert_uint_eq(origin->n_children, CHILDREN + 1);
	model_check(w.model);
	/* Who comes later gets it, too; and for who starts the daemon anew there is nothing to do. */
	make_session(&w, root, "later", &quota);
	ck_assert_int_eq(world_restart(&w), 0);
	run_all();
	origin = capability_of(entity_find(w.model, id));
	ck_assert_uint_eq(origin->n_children, CHILDREN + 2);
	share_slot(origin, SHARE_NONE, 0);
	run_all();
	ck_assert_uint_eq(w.model->n[ENTITY_SHARE], 0);
}
END_TEST

/* Those behind one who has no room wait with him for what tells him so. */
START_TEST(S15_with_the_share_none_is_passed_over)
{
	const struct quota none = {{[QUOTA_RAM] = 20000}}, quota = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = 20000}};
	struct session *full = make_session(&w, root, "full", &none), *s = make_session(&w, root, "s", &quota);

	begin_share(SHARE_CHILDREN);
	ck_assert(share_is_due(w.model));
	run_all();
	ck_assert_uint_eq(full->n_owned[ENTITY_CAPABILITY], 0);
	ck_assert(full->lacks_shared && full->event_bytes > 0);
	ck_assert_uint_eq(s->n_owned[ENTITY_CAPABILITY], 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("share-again");
	TCase *t = tcase_create("share-again");

	tcase_add_checked_fixture(t, service_setup, service_teardown);
	tcase_add_test(t, S16_less_after_a_kill);
	tcase_add_test(t, S15_what_is_written_later_is_waited_for);
	tcase_add_test(t, S15_what_was_dropped_stays_so_after_kills);
	tcase_add_test(t, S16_what_has_expired_is_made_anew);
	tcase_add_test(t, S15_what_goes_leaves_room);
	tcase_add_test(t, S15_what_was_declined_leaves_room);
	tcase_add_test(t, S15_a_few_get_it_with_the_share);
	tcase_add_test(t, S15_with_the_share_none_is_passed_over);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
