/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Anchors: what capabilities that the daemon answers refer to. They last as their origins do, are paid,
 * come back after a restart, and are stored where an older daemon passes over them.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "capfsd/model/change.h"
#include "capfsd/model/kind.h"
#include "capfsd/state/state.h"
#include "tests/fixture.h"
#include "tests/model-service.h"

static struct capability *
make_anchored(struct session *s, const struct anchor_record *record, const char *name)
{
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL;
	struct anchor *a;

	ck_assert_int_eq(anchor_add(ch, s, record, NULL, &a), 0);
	ck_assert_int_eq(capability_originate(ch, record->type, &a->entity, s, name, strlen(name),
				 RIGHTS_COMMON | capability_types[record->type]->rights, 0, &made), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	return made;
}

static struct capability *
make_signal(struct session *s, const char *name, uint8_t flags)
{
	return make_anchored(s, &(struct anchor_record){.type = TYPE_SIGNAL, .flags = flags}, name);
}

static void
end(struct capability *c)
{
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, capability_end(ch, c)), 0);
}

START_TEST(it_is_paid_and_goes_with_its_origin)
{
	struct quota before = app->used;
	struct capability *c = make_signal(app, "bell", 0), *derived;
	const struct reductions how = {.has_rights = true, .rights = RIGHT_RAISE};
	struct change *ch = change_begin(w.model);

	ck_assert_uint_eq(app->used.n[QUOTA_CAPS] - before.n[QUOTA_CAPS], 1);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	ck_assert_int_eq(change_finish(ch, capability_grant(ch, c, inner, "b", 1, &how, 0, &derived)), 0);
	ck_assert_uint_eq(capability_connects(derived), RIGHT_RAISE);
	world_reap(&w);
	end(c);
	ck_assert(!capability_is_live(derived));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
	ck_assert_uint_eq(app->used.n[QUOTA_CAPS], before.n[QUOTA_CAPS]);
	ck_assert_ptr_null(slot(inner, "b"));
}
END_TEST

/* Where its origin went: with the last one it goes, and its session's end is its own. */
START_TEST(a_moved_origin_keeps_it)
{
	struct capability *c = make_signal(app, "bell", 0), *moved = NULL;
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, capability_transfer(ch, c, inner, "b", 1, 0, &moved)), 0);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	ck_assert(capability_is_live(moved));
	end(moved);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
}
END_TEST

START_TEST(it_ends_with_its_session)
{
	struct capability *c = make_signal(inner, "bell", ANCHOR_ALARM);
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, session_close(ch, inner)), 0);
	ck_assert(!capability_is_live(c));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
}
END_TEST

START_TEST(G70_counts_are_added_and_stop_at_the_largest)
{
	struct anchor *a = anchor_of(make_signal(app, "bell", 0)->target);
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(anchor_raise(ch, a, 5), 0);
	ck_assert_int_eq(change_finish(ch, anchor_raise(ch, a, 2)), 0);
	ck_assert_uint_eq(a->record.count, 7);
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	a = anchor_of(capability_of(slot(app, "bell"))->target);
	ck_assert_uint_eq(a->record.count, 7);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, anchor_raise(ch, a, UINT64_MAX - 1)), 0);
	ck_assert_uint_eq(a->record.count, UINT64_MAX);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, anchor_take(ch, a)), 0);
	ck_assert_uint_eq(a->record.count, 0);
}
END_TEST

START_TEST(a_fault_raises_the_alarms_above)
{
	struct anchor *own = anchor_of(make_signal(inner, "own", ANCHOR_ALARM)->target);
	struct anchor *above = anchor_of(make_signal(app, "above", ANCHOR_ALARM)->target);
	struct anchor *other = anchor_of(make_signal(app, "other", 0)->target);
	struct change *ch = change_begin(w.model);
	struct anchor *second;

	ck_assert_int_eq(change_finish(ch, anchors_alarm(ch, inner)), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, anchors_alarm(ch, app)), 0);
	ck_assert_uint_eq(own->record.count, 1);
	ck_assert_uint_eq(above->record.count, 2);
	ck_assert_uint_eq(other->record.count, 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(anchor_add(ch, app,
				 &(struct anchor_record){.type = TYPE_SIGNAL, .flags = ANCHOR_ALARM}, NULL, &second),
		ANCHOR_E_ALARM);
	change_abort(ch);
}
END_TEST

static struct program *
make_program(struct session *s)
{
	const struct program_record record = {.phase = PHASE_RUNNING};
	struct change *ch = change_begin(w.model);
	struct program *made = NULL;

	ck_assert_int_eq(change_finish(ch, program_add(ch, s, &record, &made)), 0);
	return made;
}

/* To P of its session, or to the session OF, in a slot of S. */
static struct capability *
make_about(struct session *s, struct session *of, struct program *p, const char *name)
{
	const struct anchor_record record = {.type = p ? TYPE_THREAD : TYPE_SESSION};
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL;
	struct anchor *a;

	ck_assert_int_eq(anchor_add(ch, of, &record, p, &a), 0);
	ck_assert_int_eq(capability_originate(ch, record.type, &a->entity, s, name, strlen(name),
				 RIGHTS_COMMON | capability_types[record.type]->rights, 0, &made), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	return made;
}

/* The slot is the ancestor's, and is no reason for what it refers to, to stay. */
START_TEST(S14_a_slot_ends_with_the_session_that_it_refers_to)
{
	struct quota before = app->used, below = inner->used;
	struct capability *c = make_about(app, inner, NULL, "it");
	struct change *ch;

	ck_assert_uint_eq(app->used.n[QUOTA_CAPS] - before.n[QUOTA_CAPS], 1);
	ck_assert_uint_eq(inner->used.n[QUOTA_CAPS], below.n[QUOTA_CAPS]);
	ck_assert_uint_eq(capability_connects(c), RIGHT_CONTROL);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, session_close(ch, inner)), 0);
	ck_assert(!capability_is_live(c));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
	ck_assert_uint_eq(app->used.n[QUOTA_CAPS] + 1, before.n[QUOTA_CAPS]);
	ck_assert_ptr_null(slot(app, "it"));
}
END_TEST

START_TEST(S14_a_slot_ends_with_its_thread)
{
	struct program *p = make_program(inner);
	struct capability *c = make_about(app, inner, p, "it"), *twin = make_about(inner, inner, p, "twin");
	struct change *ch;

	ck_assert_uint_eq(capability_connects(c),
		RIGHT_WAIT | RIGHT_KILL | RIGHT_PAUSE | RIGHT_AFFINITY | RIGHT_SIGNAL);
	end(twin);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	w.told.n_restricted = 0;
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, program_drop(ch, p)), 0);
	ck_assert_uint_eq(w.told.n_restricted, 1);
	ck_assert_uint_eq(w.told.last_restricted, c->entity.id);
	ck_assert(!capability_is_live(c));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
	ck_assert_ptr_null(slot(app, "it"));
}
END_TEST

START_TEST(a_restart_finds_what_they_refer_to)
{
	struct program *p = make_program(inner);
	uint64_t id = p->entity.id;

	make_about(app, inner, p, "thread");
	make_about(app, inner, NULL, "session");
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	p = program_of(entity_find(w.model, id));
	ck_assert_ptr_eq(anchor_of(capability_of(slot(app, "thread"))->target)->program, p);
	ck_assert(capability_is_live(capability_of(slot(app, "session"))));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 2);
}
END_TEST

/* A daemon that has ended the thread did not know of anybody who refers to it; or this one died before it reaped. */
START_TEST(a_restart_ends_what_refers_to_a_lost_thread)
{
	struct program *p = make_program(inner);
	struct change *ch;

	make_about(app, inner, p, "thread");
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, program_drop(ch, p)), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	ck_assert(!capability_is_live(capability_of(slot(app, "thread"))));
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
	ck_assert_ptr_null(slot(app, "thread"));
}
END_TEST

static int
count_space(void *data, uint64_t key, const void *record, size_t n)
{
	uint64_t *spaces = data;

	spaces[STORE_KEY_SPACE(key) % 16]++;
	/* What no older daemon has is no number of a kind of its. */
	if (STORE_KEY_SPACE(key) == STORE_LATER)
		ck_assert_uint_gt(*(const uint8_t *)record, ENTITY_LABELS);
	return 0;
}

START_TEST(older_daemons_pass_over_it)
{
	uint64_t before[16] = {}, after[16] = {};

	stub_scan(w.store, count_space, before);
	make_signal(app, "bell", 0);
	stub_scan(w.store, count_space, after);
	ck_assert_uint_eq(after[STORE_ENTITY % 16], before[STORE_ENTITY % 16]);
	ck_assert_uint_eq(after[STORE_LATER % 16], before[STORE_LATER % 16] + 2);
}
END_TEST

/* They are loaded behind all others, and stand among them. */
START_TEST(a_restart_keeps_slots_in_the_order_of_ids)
{
	struct session *s = web->session;
	uint64_t id = s->entity.id, last = 0, n = 0;

	make_signal(s, "bell", 0);
	make_origin(&w, web, 77, "seven");
	make_signal(s, "horn", 0);
	make_origin(&w, web, 78, "eight");
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	list_for_each (i, &session_find_id(w.model, id)->owned[ENTITY_CAPABILITY]) {
		const struct entity *e = list_entry(i, struct entity, owner_link);

		ck_assert_uint_gt(e->id, last);
		last = e->id;
		n++;
	}
	ck_assert_uint_ge(n, 4);
}
END_TEST

/* Such a daemon has given its name to something else, which stays. */
START_TEST(what_an_older_daemon_has_put_in_its_place_stays)
{
	struct session *s = web->session;
	struct capability *c = make_signal(s, "bell", 0);
	uint64_t id = c->entity.id;

	/* As if it had been made without knowing of the other. */
	c->entity.name[0] = 'B';
	index_remove(&w.model->by_name, &c->entity.name_link);
	ck_assert_int_eq(index_add(&w.model->by_name, &c->entity.name_link,
				 entity_hash_name(w.model, s->entity.id, ENTITY_CAPABILITY, "Bell", 4)), 0);
	make_origin(&w, web, 77, "bell");
	ck_assert_int_eq(world_restart(&w), 0);
	world_reap(&w);
	ck_assert_ptr_null(entity_find(w.model, id));
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("anchors");
	TCase *t = tcase_create("anchors");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, service_setup, service_teardown);
	tcase_add_test(t, it_is_paid_and_goes_with_its_origin);
	tcase_add_test(t, a_moved_origin_keeps_it);
	tcase_add_test(t, it_ends_with_its_session);
	tcase_add_test(t, G70_counts_are_added_and_stop_at_the_largest);
	tcase_add_test(t, a_fault_raises_the_alarms_above);
	tcase_add_test(t, S14_a_slot_ends_with_the_session_that_it_refers_to);
	tcase_add_test(t, S14_a_slot_ends_with_its_thread);
	tcase_add_test(t, a_restart_finds_what_they_refer_to);
	tcase_add_test(t, a_restart_ends_what_refers_to_a_lost_thread);
	tcase_add_test(t, older_daemons_pass_over_it);
	tcase_add_test(t, a_restart_keeps_slots_in_the_order_of_ids);
	tcase_add_test(t, what_an_older_daemon_has_put_in_its_place_stays);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
