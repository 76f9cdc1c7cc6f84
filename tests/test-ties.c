/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ties, in the store: they come back, end what they tie in as many steps as there must be, and are not lost when a
 * daemon that does not know them has ended what they were about.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "capfsd/model/change.h"
#include "capfsd/model/kind.h"
#include "tests/fixture.h"
#include "tests/model-service.h"

static struct capability *
find(struct session *s, const char *name)
{
	struct entity *e = slot(s, name);

	return e ? capability_of(e) : NULL;
}

static void
find_sessions(void)
{
	app = session_find(w.model, w.model->root, "app", 3);
	inner = session_find(w.model, app, "inner", 5);
}

/* In app a capability to its session. */
static struct capability *
make_session_slot(const char *name)
{
	const struct anchor_record record = {.type = TYPE_SESSION};
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL;
	struct anchor *a;

	ck_assert_int_eq(anchor_add(ch, app, &record, NULL, &a), 0);
	ck_assert_int_eq(capability_originate(ch, TYPE_SESSION, &a->entity, app, name, strlen(name),
				 RIGHTS_COMMON | capability_types[TYPE_SESSION]->rights, 0, &made), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	return made;
}

static struct capability *
reach_slot(struct capability *through, struct capability *target, struct session *to, const char *name)
{
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL, *of;
	int r = capability_reach(ch, through, target, RIGHT_GRANT, to, name, strlen(name), &(struct reductions){}, 0,
		&made, &of);

	ck_assert_int_eq(change_finish(ch, r), 0);
	model_check(w.model);
	return made;
}

static struct capability *
reach(struct capability *through, struct session *to, const char *name)
{
	return reach_slot(through, origin, to, name);
}

static void
end(struct capability *c)
{
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, capability_end(ch, c)), 0);
}

START_TEST(a_restart_finds_what_is_tied)
{
	reach(make_session_slot("it"), inner, "tied");
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	model_check(w.model);
	ck_assert_ptr_eq(find(inner, "tied")->tie->through, find(app, "it"));
	ck_assert(capability_is_live(find(inner, "tied")));
	/* It is told of, as what it was reached through is. */
	w.told.n_restricted = 0;
	end(find(app, "it"));
	ck_assert_uint_eq(w.told.n_restricted, 2);
	ck_assert(!capability_is_live(find(inner, "tied")));
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	ck_assert(!capability_is_live(find(inner, "tied")));
	world_reap(&w);
	ck_assert(!find(inner, "tied") && w.model->n[ENTITY_TIE] == 0);
}
END_TEST

/* Whoever dies between two steps leaves nothing that lives again. */
START_TEST(what_has_ended_is_dead_after_each_step)
{
	struct capability *it = make_session_slot("it"), *tied = reach(it, inner, "tied"), *made;
	struct change *ch = change_begin(w.model);
	int more = 1;

	ck_assert_int_eq(change_finish(ch, capability_grant(ch, tied, inner, "a", 1, &(struct reductions){}, 0, &made)), 0);
	end(it);
	while (more > 0) {
		more = model_reap(w.model, 1);
		ck_assert_int_ge(more, 0);
		ck_assert_int_eq(world_restart(&w), 0);
		find_sessions();
		model_check(w.model);
		ck_assert(!find(inner, "tied") || !capability_is_live(find(inner, "tied")));
	}
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
}
END_TEST

/* Its record is there, and cannot be read; or is not, which is the same. */
START_TEST(what_was_lost_ends_what_was_reached_through_it)
{
	static const uint8_t unknown[8] = {250};
	struct capability *it = make_session_slot("it");
	uint64_t id = it->entity.id;

	reach(it, inner, "tied");
	stub_set(w.store, STORE_KEY(STORE_LATER, id), unknown, sizeof(unknown));
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	model_check(w.model);
	ck_assert_ptr_nonnull(find(inner, "tied"));
	ck_assert(!capability_is_live(find(inner, "tied")));
	ck_assert_uint_eq(capability_connects(find(inner, "tied")), 0);
	world_reap(&w);
	ck_assert(!find(inner, "tied") && w.model->n[ENTITY_TIE] == 0);
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

START_TEST(what_has_lost_its_slot_is_nothing)
{
	static const uint8_t unknown[8] = {250};
	struct capability *it = make_session_slot("it"), *tied = reach_slot(it, make_session_slot("other"), inner, "tied");

	stub_set(w.store, STORE_KEY(STORE_LATER, tied->entity.id), unknown, sizeof(unknown));
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	model_check(w.model);
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
	ck_assert(capability_is_live(find(app, "it")));
}
END_TEST

static int
set_ids(void *data, uint64_t key, const void *record, size_t n)
{
	const struct tie_record *wanted = data;
	uint8_t bytes[256];
	uint8_t *at;

	if (STORE_KEY_SPACE(key) != STORE_LATER || *(const uint8_t *)record != ENTITY_TIE)
		return 0;
	ck_assert_uint_le(n, sizeof(bytes));
	memcpy(bytes, record, n);
	at = memmem(bytes, n, wanted, sizeof(*wanted));
	ck_assert_ptr_nonnull(at);
	memcpy(at, wanted + 1, sizeof(*wanted));
	stub_set(w.store, key, bytes, n);
	return 1;
}

/* Made after what it is about, tied to what is older, and once. */
START_TEST(a_damaged_record_is_refused)
{
	struct capability *it = make_session_slot("it"), *tied = reach(it, inner, "tied");
	struct tie_record ids[2] = {tied->tie->record};
	uint64_t wrong[][2] = {
		{tied->entity.id, tied->entity.id},
		{app->entity.id, it->entity.id},
		{tied->tie->entity.id, it->entity.id},
		{it->entity.id, origin->entity.id},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ids[1] = (struct tie_record){wrong[i][0], wrong[i][1]};
		ck_assert_int_eq(stub_scan(w.store, set_ids, ids), 1);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
		ids[0] = ids[1];
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ties");
	TCase *t = tcase_create("ties");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, service_setup, service_teardown);
	tcase_add_test(t, a_restart_finds_what_is_tied);
	tcase_add_test(t, what_has_ended_is_dead_after_each_step);
	tcase_add_test(t, what_was_lost_ends_what_was_reached_through_it);
	tcase_add_test(t, what_has_lost_its_slot_is_nothing);
	tcase_add_test(t, a_damaged_record_is_refused);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
