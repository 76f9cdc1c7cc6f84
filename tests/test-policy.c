/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C14 G50 G51 G52 */
/* What a session's children get by its policy, and what a change of that takes away. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capfsd/verbs/asking/policy.h"
#include "capfsd/verbs/verbs.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;
static uint64_t handle;

static int
request_by(const char *path, const char *text)
{
	const struct asker asker = {.handle = ++handle};
	struct request *r = ask(&w);

	r->asker = &asker;
	ck_assert_int_eq(tree_write(r, walk(&w, path), text, strlen(text)), 0);
	r->asker = NULL;
	model_check(w.model);
	return r->error;
}

/* What SESSION gets when it asks for NAME: 0, an errno, or -1: it waits. */
static int
outcome(const char *session, const char *name)
{
	char path[128], text[128];
	const struct ask *a;

	snprintf(path, sizeof(path), "sessions/%s/request", session);
	snprintf(text, sizeof(text), "name=%s", name);
	ck_assert_int_eq(request_by(path, text), 0);
	a = ask_find_file(w.model, handle);
	return a->record.state == ASK_WAITING ? -1 : (int)a->record.error;
}

static void
setup(void)
{
	fixture_setup();
	handle = 0;
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=exact rights=call,grant"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=begin rights=call,grant"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=end rights=call,grant"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=all rights=call,grant"), 0);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", ""), 0);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

START_TEST(G50_exact_before_beginning_before_end_before_all)
{
	ck_assert_int_eq(put(&w, "policy",
				 "# what everybody gets\n"
				 "* mail all\n"
				 "*/app mail end\n"
				 "init/* mail begin calls=7\n"
				 "\n"
				 "init/app mail exact\n"),
		0);
	ck_assert_int_eq(outcome("app", "mail"), 0);
	expect_line(&w, "sessions/app/caps/mail/info", "parent=init/caps/exact");
	expect_line(&w, "sessions/app/caps/mail/info", "policy=init line=6\n");
	ck_assert_int_eq(outcome("b", "mail"), 0);
	expect_line(&w, "sessions/b/caps/mail/info", "parent=init/caps/begin");
	expect_line(&w, "sessions/b/caps/mail/info", "calls limit=7");
	ck_assert_int_eq(outcome("b", "other"), -1);
	/* Sessions that come later are covered. */
	ck_assert_int_eq(make(&w, "sessions", "c", ""), 0);
	ck_assert_int_eq(outcome("c", "mail"), 0);
}
END_TEST

static const char *
found(const struct rules *rules, const char *label)
{
	const struct rule *r = rules_find(rules, label, strlen(label), "n", 1);
	static char slot[64];

	if (!r)
		return "-";
	snprintf(slot, sizeof(slot), "%.*s", (int)r->n_slot, rule_slot(r));
	return slot;
}

START_TEST(G50_longer_before_shorter)
{
	static const char text[] = "init/* n a\ninit/x/* n b\ninit/x/y n c\n*/z n d\n*/y/z n e\n* n f\n";
	struct rules *rules = rules_new(text, strlen(text));
	struct request r = {.model = w.model};

	ck_assert(policy_parse(&r, rules, false));
	ck_assert_str_eq(found(rules, "init"), "a");
	ck_assert_str_eq(found(rules, "init/q"), "a");
	ck_assert_str_eq(found(rules, "init/x"), "b");
	ck_assert_str_eq(found(rules, "init/x/y"), "c");
	ck_assert_str_eq(found(rules, "init/x/y/z"), "b");
	ck_assert_str_eq(found(rules, "initx"), "f");
	ck_assert_str_eq(found(rules, "root/z"), "d");
	ck_assert_str_eq(found(rules, "root/y/z"), "e");
	ck_assert_str_eq(found(rules, "root/yy/z"), "d");
	ck_assert_str_eq(found(rules, "z"), "f");
	ck_assert_ptr_null(rules_find(rules, "init", 4, "m", 1));
	rules_free(rules);
	request_deinit(&r);
}
END_TEST

START_TEST(mistakes_change_nothing_and_name_their_lines)
{
	static const struct {
		const char *text, *reason;
	} bad[] = {
		{"init/app mail exact\n# x\ninit/app mail begin", "line 3: line 1 says already what init/app gets as mail"},
		{"* mail all\n* mail deny", "line 2: line 1 says already"},
		{"init/app mail", "line 1"},
		{"ok/x a b\ninit/app mail exact to=b", "line 2"},
		{"init/app mail exact colour=red", "line 1"},
		{"init/app mail exact calls=0", "line 1"},
		{"init/app mail deny calls=1", "nothing stands behind 'deny'"},
		{"init/ mail exact", "line 1"},
		{"/init mail exact", "line 1"},
		{"init//x mail exact", "line 1"},
		{"*app mail exact", "line 1"},
		{"*/ mail exact", "line 1"},
		{"in*t mail exact", "line 1"},
		{"init/app .mail exact", "line 1"},
		{"init/app mail ex/act", "line 1"},
		{"init/app mail exact\tcalls=1", "line 1"},
		{"init/app mail exact\001", "line 1"},
	};

	ck_assert_int_eq(put(&w, "policy", "* mail all\n"), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(put(&w, "policy", bad[i].text) == EINVAL, "'%s' is taken", bad[i].text);
		ck_assert_msg(strstr(w.request.text.data, bad[i].reason), "'%s': %s", bad[i].text, w.request.text.data);
		expect_line(&w, "policy", "* mail all\n");
	}
}
END_TEST

START_TEST(a_policy_is_bounded_and_charged)
{
	size_t n = 0, size = RULES_BYTES_MAX + 64;
	char *text = calloc(1, size);
	struct session *b = session_of(walk(&w, "sessions/b").entity);
	uint64_t used = b->used.n[QUOTA_RAM] - b->event_bytes;

	for (int i = 0; i < RULES_MAX; i++)
		n += (size_t)snprintf(text + n, size - n, "init/b/c%d n%d s calls=1\n", i, i);
	ck_assert_int_eq(put(&w, "sessions/b/policy", text), 0);
	ck_assert_uint_gt(b->used.n[QUOTA_RAM] - b->event_bytes, used + n);
	snprintf(text + n, size - n, "* n s\n");
	ck_assert_int_eq(put(&w, "sessions/b/policy", text), EINVAL);
	memset(text, '#', size - 1);
	ck_assert_int_eq(put(&w, "sessions/b/policy", text), EMSGSIZE);
	ck_assert_int_eq(put(&w, "sessions/b/policy", ""), 0);
	ck_assert_uint_lt(b->used.n[QUOTA_RAM] - b->event_bytes, used + 2 * QUOTA_RAM_SESSION);
	ck_assert_int_eq(make(&w, "sessions", "poor", "ram=4K"), 0);
	ck_assert_int_eq(put(&w, "sessions/poor/policy", "* a b"), EDQUOT);
	/* Room for its pieces, or for its rules, but not for both. */
	ck_assert_int_eq(make(&w, "sessions", "tight", "ram=80K"), 0);
	memset(text, '#', 60000);
	text[60000] = '\0';
	ck_assert_int_eq(put(&w, "sessions/tight/policy", text), EDQUOT);
	free(text);
}
END_TEST

START_TEST(what_a_rule_does_not_give_is_refused_with_a_reason)
{
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=plain rights=call"), 0);
	ck_assert_int_eq(put(&w, "policy", "* no deny\n* gone nothing\n* plain plain\n* fds all rights=call\n"), 0);
	ck_assert_int_eq(outcome("app", "no"), EACCES);
	ck_assert_int_eq(outcome("app", "gone"), ENOENT);
	ck_assert_int_eq(outcome("app", "plain"), EPERM);
	/* C14: more rights than the rule gives. */
	ck_assert_int_eq(request_by("sessions/app/request", "name=fds rights=call,fds"), 0);
	ck_assert_uint_eq(ask_find_file(w.model, handle)->record.error, EPERM);
	ck_assert(!exists(&w, "sessions/app/caps/fds") && !exists(&w, "sessions/app/caps/plain"));
}
END_TEST

/* A label is given by who makes the session: its child can be called as it likes, and is still below. */
START_TEST(G51_a_child_cannot_forge_its_beginning)
{
	ck_assert_int_eq(put(&w, "policy", "init/app mail exact\n"), 0);
	ck_assert_int_eq(make(&w, "sessions/b/sessions", "init", "caps=4 ram=64K"), 0);
	ck_assert_int_eq(make(&w, "sessions/b/sessions/init/sessions", "app", "caps=1 ram=8K"), 0);
	ck_assert_int_eq(outcome("b/sessions/init/sessions/app", "mail"), -1);
	ck_assert_int_eq(make(&w, "sessions/b/sessions", "init.app", "caps=1 ram=8K"), 0);
	ck_assert_int_eq(outcome("b/sessions/init.app", "mail"), -1);
	ck_assert_int_eq(make(&w, "sessions/b/sessions", "init/app", ""), EINVAL);
	/* Its own parent's policy alone counts for it. */
	ck_assert_int_eq(outcome("b", "mail"), -1);
	ck_assert_int_eq(outcome("app", "mail"), 0);
}
END_TEST

START_TEST(G52_exactly_what_is_not_covered_any_more_is_revoked)
{
	ck_assert_int_eq(put(&w, "policy", "init/app mail exact\ninit/b mail exact\n* log all calls=10\n"), 0);
	ck_assert_int_eq(outcome("app", "mail"), 0);
	ck_assert_int_eq(outcome("b", "mail"), 0);
	ck_assert_int_eq(outcome("app", "log"), 0);
	ck_assert_int_eq(outcome("b", "log"), 0);
	ck_assert_int_eq(put(&w, "caps/exact/grant", "to=b as=granted"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/log/grant", "to=x"), EPERM);
	/* The same in other words, and one line less. */
	ck_assert_int_eq(put(&w, "policy", "# moved\n*/app mail exact\n* log all calls=20\n"), 0);
	ck_assert(exists(&w, "sessions/app/caps/mail"));
	ck_assert(!exists(&w, "sessions/b/caps/mail"));
	ck_assert(exists(&w, "sessions/app/caps/log") && exists(&w, "sessions/b/caps/log"));
	ck_assert(exists(&w, "sessions/b/caps/granted"));
	expect_line(&w, "sessions/app/caps/mail/info", "policy=init line=2\n");
	/* Fewer calls than were given, another slot, deny. */
	ck_assert_int_eq(put(&w, "policy", "*/app mail begin\ninit/app log all calls=5\ninit/b log all\n"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/mail") && !exists(&w, "sessions/app/caps/log"));
	ck_assert(exists(&w, "sessions/b/caps/log"));
	ck_assert_int_eq(put(&w, "policy", "* log deny\n"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/log") && exists(&w, "sessions/b/caps/granted"));
	/* A slot that was renamed by who holds it is the same slot. */
	ck_assert_int_eq(put(&w, "policy", "* mail all\n"), 0);
	ck_assert_int_eq(outcome("app", "mail"), 0);
	{
		struct request *r = ask(&w);

		ck_assert_int_eq(tree_rename(r, walk(&w, "sessions/app/caps"), "mail", 4,
					 walk(&w, "sessions/app/caps"), "post", 4), 0);
		ck_assert_int_eq(r->error, 0);
	}
	ck_assert_int_eq(put(&w, "policy", "* mail all\n* more all\n"), 0);
	ck_assert(exists(&w, "sessions/app/caps/post"));
	ck_assert_int_eq(put(&w, "policy", "* post all\n"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/post"));
}
END_TEST

START_TEST(G52_with_caveats_and_rights)
{
	ck_assert_int_eq(put(&w, "policy", "* mail all rights=call\n"), 0);
	ck_assert_int_eq(outcome("app", "mail"), 0);
	ck_assert_int_eq(put(&w, "policy", "* mail all expires=3600\n"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/mail"));
	ck_assert_int_eq(outcome("app", "mail"), 0);
	ck_assert_int_eq(put(&w, "policy", "* mail all expires=7200\n"), 0);
	ck_assert(exists(&w, "sessions/app/caps/mail"));
}
END_TEST

START_TEST(G52_with_descriptors)
{
	struct entity *kv = entity_find_name(w.model, w.model->root->entity.id, ENTITY_ENTRYPOINT, "kv", 2);

	ck_assert_int_eq(put(&w, "policy", "* mail all\n"), 0);
	ck_assert_int_eq(outcome("app", "mail"), 0);
	ck_assert_int_eq(put(&w, "policy", "* mail all rights=call\n"), 0);
	ck_assert(exists(&w, "sessions/app/caps/mail"));
	/* A server that takes some comes later. */
	entrypoint_of(kv)->record.takes = ENTRYPOINT_TAKES_FDS;
	expect_line(&w, "sessions/app/caps/mail/info", "rights=call\n");
	ck_assert_int_eq(put(&w, "policy", "* mail all rights=call\n"), 0);
	ck_assert(exists(&w, "sessions/app/caps/mail"));
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=both rights=call,grant,fds"), 0);
	ck_assert_int_eq(put(&w, "policy", "* post both rights=call,fds\n"), 0);
	ck_assert_int_eq(outcome("app", "post"), 0);
	expect_line(&w, "sessions/app/caps/post/info", "rights=call,fds\n");
	ck_assert_int_eq(put(&w, "policy", "* post both rights=call\n"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/post"));
}
END_TEST

/* What is there when many have got something: each is looked at once, whatever else is done between the slices. */
START_TEST(G52_of_many)
{
	char name[32];

	ck_assert_int_eq(put(&w, "policy", "* a all\ninit/s1/* a deny\n"), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ck_assert_int_eq(make(&w, "sessions", name, "caps=2 ram=16K"), 0);
		ck_assert_int_eq(outcome(name, "a"), i == 1 ? EACCES : 0);
	}
	ck_assert_int_eq(put_only(&w, "policy", "init/s7 a all\n"), 0);
	ck_assert_uint_ne(w.request.pending, 0);
	ck_assert(model_is_ending(w.model, w.request.pending));
	while (model_reap(w.model, 3) > 0)
		model_check(w.model);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "sessions/s%d/caps/a", i);
		ck_assert_int_eq(exists(&w, name), i == 7);
	}
	ck_assert_uint_eq(w.model->n[ENTITY_RULED], 1);
	ck_assert_uint_eq(w.model->n[ENTITY_POLICY], 1);
}
END_TEST

/* The largest one: what it takes is told, and is no more than the turns that may be owed at once. */
START_TEST(the_largest_policy_is_understood_in_a_millisecond)
{
	size_t n = 0;
	char *text = malloc(RULES_BYTES_MAX);
	struct timespec from, to;
	struct rules *rules;
	struct request r = {.model = w.model};
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < RULES_MAX; i++)
		n += (size_t)snprintf(text + n, RULES_BYTES_MAX - n, "init/sessions/of/many/s%d/* name%d slot rights=call calls=9\n", i, i);
	for (int i = 0; i < 5; i++) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		rules = rules_new(text, n);
		ck_assert(policy_parse(&r, rules, false));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		rules_free(rules);
		uint64_t usec = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000 + (uint64_t)(to.tv_nsec / 1000) -
			(uint64_t)(from.tv_nsec / 1000);
		best = usec < best ? usec : best;
	}
	printf("# %d rules, %zu bytes: %llu us\n", RULES_MAX, n, (unsigned long long)best);
	ck_assert_uint_lt(best, 10000);
	request_deinit(&r);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("policy");
	TCase *t = tcase_create("policy");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	tcase_add_test(t, G50_exact_before_beginning_before_end_before_all);
	tcase_add_test(t, G50_longer_before_shorter);
	tcase_add_test(t, mistakes_change_nothing_and_name_their_lines);
	tcase_add_test(t, a_policy_is_bounded_and_charged);
	tcase_add_test(t, what_a_rule_does_not_give_is_refused_with_a_reason);
	tcase_add_test(t, G51_a_child_cannot_forge_its_beginning);
	tcase_add_test(t, G52_exactly_what_is_not_covered_any_more_is_revoked);
	tcase_add_test(t, G52_with_caveats_and_rights);
	tcase_add_test(t, G52_with_descriptors);
	tcase_add_test(t, G52_of_many);
	tcase_add_test(t, the_largest_policy_is_understood_in_a_millisecond);
	return fixture_main(s);
}
