/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `originate`, by commands: what each type wants, and whom a session can name by it: itself, and what is
 * below it.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/model/change.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;
static struct session *app, *inner;

static struct program *
make_program(struct session *s, uint8_t phase)
{
	const struct program_record record = {.phase = phase};
	struct change *ch = change_begin(w.model);
	struct program *made = NULL;

	ck_assert_int_eq(change_finish(ch, program_add(ch, s, &record, &made)), 0);
	return made;
}

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=64 threads=16 ram=1M"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "inner", "caps=8 threads=4 ram=64K"), 0);
	app = session_find(w.model, w.model->root, "app", 3);
	inner = session_find(w.model, app, "inner", 5);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static int
originate(const char *text)
{
	return put(&w, "sessions/app/originate", text);
}

static int
of_thread(const struct program *p, const char *rest)
{
	char text[128];

	snprintf(text, sizeof(text), "type=thread thread=%s %s", p->entity.name, rest);
	return originate(text);
}

START_TEST(a_session_is_itself_or_one_below)
{
	ck_assert_int_eq(originate("type=session as=self"), 0);
	expect_line(&w, "sessions/app/caps/self/info", "type=session");
	expect_line(&w, "sessions/app/caps/self/info", "session=init/app");
	expect_line(&w, "sessions/app/caps/self/info",
		"rights=call,accept,account,control,spawn,grant,replicate,reduce,transfer");
	ck_assert_int_eq(originate("type=session as=below of=inner"), 0);
	expect_line(&w, "sessions/app/caps/below/info", "session=init/app/inner");
	expect_event(&w, "originate session=init/app slot=below ");
	ck_assert_int_eq(originate("type=session as=above of=../app"), ENOENT);
	ck_assert_int_eq(originate("type=session as=none of=other"), ENOENT);
	ck_assert_int_eq(originate("type=session as=self of=app"), ENOENT);
	ck_assert_int_eq(originate("type=session as=self"), EEXIST);
	ck_assert_int_eq(put(&w, "originate", "type=session as=deep of=app/inner"), 0);
}
END_TEST

START_TEST(S14_a_thread_is_one_of_the_session_or_of_one_below)
{
	struct program *own = make_program(app, PHASE_RUNNING), *below = make_program(inner, PHASE_RUNNING);
	struct program *above = make_program(w.model->root, PHASE_RUNNING), *ended = make_program(app, PHASE_EXITED);
	char line[64];

	ck_assert_int_eq(of_thread(own, "as=own"), 0);
	snprintf(line, sizeof(line), "thread=%s session=init/app", own->entity.name);
	expect_line(&w, "sessions/app/caps/own/info", line);
	expect_line(&w, "sessions/app/caps/own/info",
		"rights=wait,kill,pause,affinity,signal,grant,replicate,reduce,transfer");
	ck_assert_int_eq(of_thread(below, "as=below"), 0);
	ck_assert_int_eq(of_thread(above, "as=above"), ENOENT);
	ck_assert_int_eq(of_thread(ended, "as=ended"), ESRCH);
	ck_assert_int_eq(originate("type=thread as=x thread=nothing"), ENOENT);
	ck_assert_int_eq(originate("type=thread as=x thread=."), ENOENT);
	ck_assert_int_eq(originate("type=thread as=x thread=99999999999999999999.1"), ENOENT);
	ck_assert_int_eq(originate("type=thread as=x thread=1.77"), ENOENT);
	ck_assert_uint_eq(inner->used.n[QUOTA_CAPS], 0);
}
END_TEST

/* Its server is known as a thread, which nobody has started. */
START_TEST(a_server_is_none_that_anything_is_done_to)
{
	char text[128];

	serve(&w);
	snprintf(text, sizeof(text), "type=thread as=it thread=%s",
		list_entry(list_first(&w.model->root->owned[ENTITY_THREAD]), struct entity, owner_link)->name);
	ck_assert_int_eq(put(&w, "originate", text), EOPNOTSUPP);
}
END_TEST

START_TEST(words_are_of_their_type)
{
	struct program *p = make_program(app, PHASE_RUNNING);

	ck_assert_int_eq(originate("type=thread as=it"), EINVAL);
	ck_assert_int_eq(of_thread(p, "as=it of=inner"), EINVAL);
	ck_assert_int_eq(of_thread(p, "as=it faults"), EINVAL);
	ck_assert_int_eq(originate("type=session as=it faults"), EINVAL);
	ck_assert_int_eq(originate("type=session as=it thread=1.1"), EINVAL);
	ck_assert_int_eq(originate("type=signal as=it of=inner"), EINVAL);
	ck_assert_int_eq(originate("type=session as=it of="), EINVAL);
	ck_assert_int_eq(originate("type=session"), EINVAL);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 0);
}
END_TEST

/* Nobody names what ends, and what it was given goes with it, also elsewhere. */
START_TEST(what_is_closed_takes_its_slots_along)
{
	ck_assert_int_eq(originate("type=session as=it of=inner"), 0);
	ck_assert_int_eq(originate("type=session as=own"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/it/grant", "to=inner as=me rights=control"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/own/grant", "to=inner as=up rights=accept"), 0);
	ck_assert_int_eq(removed(&w, "sessions/app/sessions", "inner"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/it"));
	ck_assert(exists(&w, "sessions/app/caps/own"));
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
	ck_assert_int_eq(originate("type=session as=it of=inner"), ENOENT);
}
END_TEST

/* A slot that was reduced is no way to one with all rights. */
START_TEST(what_a_slot_refers_to_is_not_originated_anew)
{
	ck_assert_int_eq(put(&w, "originate", "type=session as=app of=app"), 0);
	ck_assert_int_eq(put(&w, "caps/app/grant", "to=app/inner as=up rights=control"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/sessions/inner/originate", "type=session as=more of=@up"), ENOENT);
	ck_assert_int_eq(put(&w, "originate", "type=session as=again of=@app"), ENOENT);
	ck_assert_uint_eq(w.model->n[ENTITY_ANCHOR], 1);
}
END_TEST

/* The limits of a type, and what it has not. */
START_TEST(what_is_derived_has_rights_of_its_type)
{
	ck_assert_int_eq(originate("type=session as=it of=inner"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/it/replicate", "as=less rights=control conns=1 rate=5/s"), 0);
	expect_line(&w, "sessions/app/caps/less/info", "rights=control");
	ck_assert_int_eq(put(&w, "sessions/app/caps/it/replicate", "as=x rights=kill"), EPERM);
	ck_assert_int_eq(put(&w, "sessions/app/caps/it/replicate", "as=x methods=1"), EOPNOTSUPP);
	ck_assert_int_eq(put(&w, "sessions/app/caps/it/replicate", "as=x only=x"), EOPNOTSUPP);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("originate");
	TCase *t = tcase_create("originate");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_session_is_itself_or_one_below);
	tcase_add_test(t, S14_a_thread_is_one_of_the_session_or_of_one_below);
	tcase_add_test(t, a_server_is_none_that_anything_is_done_to);
	tcase_add_test(t, words_are_of_their_type);
	tcase_add_test(t, what_is_closed_takes_its_slots_along);
	tcase_add_test(t, what_a_slot_refers_to_is_not_originated_anew);
	tcase_add_test(t, what_is_derived_has_rights_of_its_type);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
