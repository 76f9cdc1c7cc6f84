/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Aliases in the model: who shows which, who pays, and what older and newer daemons leave of them. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/kind.h"
#include "tests/fixture.h"
#include "tests/populated.h"

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

static int
try_alias(struct capability *c, const char *name)
{
	struct change *ch = change_begin(w.model);

	return finish(ch, alias_add(ch, c, name, strlen(name)));
}

static bool
shows(const struct capability *c, const char *name)
{
	return alias_find(c, name, strlen(name)) != NULL;
}

/* populated_init() has given "web" of the root one. */
START_TEST(what_is_derived_shows_it)
{
	struct capability *deep = slot("app/inner", "deep");

	ck_assert(deep && shows(deep, ".web.sock"));
	ck_assert_int_eq(try_alias(deep, "own"), 0);
	ck_assert(shows(deep, "own") && !shows(slot("", "web"), "own"));
	ck_assert_int_eq(try_alias(deep, ".web.sock"), ALIAS_E_EXISTS);
	ck_assert_uint_eq(alias_count(deep), 2);
	/* The other way round it is there twice, and shown once. */
	ck_assert_int_eq(try_alias(slot("app", "web"), "own"), 0);
	ck_assert_uint_eq(alias_count(deep), 2);
	ck_assert_ptr_eq(alias_find(deep, "own", 3)->capability, deep);
}
END_TEST

START_TEST(names_may_begin_with_one_dot)
{
	static const char *const bad[] = {"", ".", "..", "..x", "a/b", "a b", "a=b", "\x7f"};
	struct capability *c = slot("", "web");
	char longest[NAME_BYTES_MAX + 2] = ".";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(try_alias(c, bad[i]), ALIAS_E_NAME);
	memset(longest + 1, 'n', NAME_BYTES_MAX);
	ck_assert_int_eq(try_alias(c, longest), ALIAS_E_NAME);
	longest[NAME_BYTES_MAX] = '\0';
	ck_assert_int_eq(try_alias(c, longest), 0);
	ck_assert_int_eq(try_alias(c, ".s.PGSQL.5432"), 0);
}
END_TEST

START_TEST(the_nearest_eight_are_shown_in_order_of_ids)
{
	struct capability *web = slot("", "web"), *deep = slot("app/inner", "deep");
	uint64_t last = 0;
	unsigned n = 0;
	char name[16];

	for (int i = 0; i < ALIASES_MAX - 1; i++) {
		snprintf(name, sizeof(name), "deep%d", i);
		ck_assert_int_eq(try_alias(deep, name), 0);
	}
	ck_assert_int_eq(try_alias(deep, "more"), ALIAS_E_MANY);
	for (int i = 0; i < ALIASES_MAX - 1; i++) {
		snprintf(name, sizeof(name), "web%d", i);
		ck_assert_int_eq(try_alias(web, name), 0);
	}
	ck_assert_int_eq(try_alias(web, "more"), ALIAS_E_MANY);
	ck_assert(shows(deep, "deep6") && shows(deep, ".web.sock") && !shows(deep, "web0"));
	for (struct alias *a = alias_next(deep, 0); a; a = alias_next(deep, last), n++) {
		ck_assert_uint_gt(a->entity.id, last);
		last = a->entity.id;
	}
	ck_assert_uint_eq(n, ALIASES_MAX);
}
END_TEST

START_TEST(its_session_pays)
{
	struct session *app = session_at(&w, "app");
	struct capability *c = slot("app", "web");
	uint64_t used = app->used.n[QUOTA_RAM], deep = session_at(&w, "app/inner")->used.n[QUOTA_RAM];
	struct change *ch;

	ck_assert_int_eq(try_alias(c, "own"), 0);
	ck_assert_uint_eq(app->used.n[QUOTA_RAM], used + QUOTA_RAM_SLOT);
	ck_assert_uint_eq(session_at(&w, "app/inner")->used.n[QUOTA_RAM], deep);
	ch = change_begin(w.model);
	finish(ch, change_drop(ch, &alias_find(c, "own", 3)->entity));
	ck_assert_uint_eq(app->used.n[QUOTA_RAM], used);
	app->record.limit.n[QUOTA_RAM] = used + app->lent.n[QUOTA_RAM];
	ck_assert_int_eq(try_alias(c, "own"), ALIAS_E_QUOTA_RAM);
	app->record.limit = app->record.donation;
}
END_TEST

START_TEST(all_comes_back_after_a_restart)
{
	char *before, *after;

	ck_assert_int_eq(try_alias(slot("app", "web"), "S.gpg-agent"), 0);
	before = world_describe(&w);
	ck_assert_ptr_nonnull(strstr(before, "S.gpg-agent"));
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	after = world_describe(&w);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
}
END_TEST

/* One entity a slice: aliases before their slot, and none is left. */
START_TEST(they_end_with_their_slot)
{
	struct capability *c = slot("", "web");
	int r;

	ck_assert_int_eq(try_alias(slot("app/inner", "deep"), "X5"), 0);
	end_capability(&w, c);
	ck_assert_int_eq(try_alias(c, "more"), ALIAS_E_DEAD);
	do {
		r = model_reap(w.model, 1);
		model_check(w.model);
	} while (r > 0);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(w.model->n[ENTITY_ALIAS], 0);
}
END_TEST

static unsigned n_later;

static int
count_later(void *data, uint64_t key, const void *record, size_t n)
{
	n_later += STORE_KEY_SPACE(key) == STORE_LATER;
	return 0;
}

static unsigned
stored(void)
{
	n_later = 0;
	stub_scan(w.store, count_later, NULL);
	return n_later;
}

/* As if a daemon that does not know aliases had ended their slot. */
static uint64_t
leave_orphan(uint8_t kind)
{
	struct {
		uint8_t kind, n_name, reserved[6];
		struct alias_record record;
		char name[4];
	} __attribute__((packed)) record = {.kind = kind, .n_name = 4, .name = "left"};
	struct capability *c = make_grant(&w, slot("", "web"), session_at(&w, "app"), "short", NULL);
	uint64_t id;

	record.record.capability = c->entity.id;
	end_capability(&w, c);
	world_reap(&w);
	c = make_grant(&w, slot("", "web"), session_at(&w, "app"), "short", NULL);
	id = c->entity.id;
	end_capability(&w, c);
	world_reap(&w);
	stub_set(w.store, STORE_KEY(STORE_LATER, id), &record, sizeof(record));
	return id;
}

START_TEST(what_an_older_daemon_has_left_goes)
{
	leave_orphan(ENTITY_ALIAS);
	ck_assert_uint_eq(stored(), 2);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	ck_assert_uint_eq(stored(), 1);
	ck_assert(shows(slot("app", "web"), ".web.sock"));
}
END_TEST

/* A full store keeps it, and starts. */
START_TEST(or_stays_when_the_store_is_full)
{
	leave_orphan(ENTITY_ALIAS);
	w.store->fail_after = 0;
	w.store->fail_error = -ENOSPC;
	ck_assert_int_eq(world_restart(&w), 0);
	w.store->fail_after = UINT64_MAX;
	model_check(w.model);
	ck_assert_uint_eq(stored(), 2);
}
END_TEST

START_TEST(what_a_newer_daemon_has_stored_is_let_be)
{
	leave_orphan(ENTITY_N_KINDS);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	ck_assert_uint_eq(stored(), 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("alias");
	TCase *t = tcase_create("alias");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_is_derived_shows_it);
	tcase_add_test(t, names_may_begin_with_one_dot);
	tcase_add_test(t, the_nearest_eight_are_shown_in_order_of_ids);
	tcase_add_test(t, its_session_pays);
	tcase_add_test(t, all_comes_back_after_a_restart);
	tcase_add_test(t, they_end_with_their_slot);
	tcase_add_test(t, what_an_older_daemon_has_left_goes);
	tcase_add_test(t, or_stays_when_the_store_is_full);
	tcase_add_test(t, what_a_newer_daemon_has_stored_is_let_be);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
