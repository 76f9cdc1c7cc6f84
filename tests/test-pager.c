/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G30 P14 S12 S13 S23 Z70 */
/* Asking, and deciding, by the library, with a daemon that the test plays. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"

#define MAIL "id=12 from=init/app type=object name=mail rights=call,fds methods=0-9 calls=9 waiting=3"

static struct played d;

/* What the handler was told last, and what it is to do. */
static struct {
	unsigned n;
	uint64_t id;
	enum capc_ask_what what;
	char from[32], type[32], name[32], rights[32], limits[64];
	int (*decide)(const struct capc_ask *a);
	int result;
} told;

static void
copy(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text ? text : "-");
}

static void
handler(const struct capc_ask *a, void *data)
{
	ck_assert_ptr_eq(data, &told);
	ck_assert_ptr_eq(a->session, d.session);
	told.n++;
	told.id = a->id;
	told.what = a->what;
	copy(told.from, sizeof(told.from), a->from);
	copy(told.type, sizeof(told.type), a->type);
	copy(told.name, sizeof(told.name), a->name);
	copy(told.rights, sizeof(told.rights), a->rights);
	copy(told.limits, sizeof(told.limits), a->limits);
	if (told.decide)
		told.result = told.decide(a);
}

static void
setup(void)
{
	fixture_setup();
	memset(&told, 0, sizeof(told));
	played_init(&d);
}

static void
teardown(void)
{
	played_deinit(&d);
	fixture_teardown();
}

/* It waits for what is behind that id. */
static void
expect_wait(const char *after)
{
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "", after), UINT64_MAX);
	d.serial++;
}

static void
begin(void)
{
	played_answer(&d, WIRE_WAIT, ETIMEDOUT, "there is nothing to decide", -1);
	ck_assert_int_eq(capc_pager(d.session, handler, &told), 0);
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "", ""), 0);
	expect_wait("after=0");
}

/* The wait is answered so, before anything that the handler asks. */
static void
answer_wait(int error, const char *text)
{
	const struct wire_reply reply = {
		.op = WIRE_WAIT,
		.error = (uint32_t)error,
		.serial = d.serial,
		.text = text,
		.n_text = strlen(text),
	};

	played_answer_with(&d, &reply, -1);
}

static int
tell(int error, const char *text)
{
	answer_wait(error, text);
	return capc_session_process(d.session);
}

static void
expect_told(uint64_t id, enum capc_ask_what what, const char *from, const char *limits)
{
	ck_assert_uint_eq(told.id, id);
	ck_assert_int_eq((int)told.what, (int)what);
	ck_assert_str_eq(told.from, from);
	ck_assert_str_eq(told.limits, limits);
}

START_TEST(each_is_told_once)
{
	begin();
	ck_assert_int_eq(tell(0, MAIL), 0);
	expect_told(12, CAPC_ASK_SLOT, "init/app", "methods=0-9 calls=9");
	ck_assert_str_eq(told.type, "object");
	ck_assert_str_eq(told.name, "mail");
	ck_assert_str_eq(told.rights, "call,fds");
	/* A daemon that was restarted says it again: that is no other one. */
	ck_assert_int_eq(tell(0, MAIL), 0);
	expect_wait("after=12");
	ck_assert_int_eq(tell(0, "id=13 from=init/app quota caps=16 ram=4096 waiting=0"), 0);
	expect_told(13, CAPC_ASK_QUOTA, "init/app", "caps=16 ram=4096");
	expect_wait("after=13");
	ck_assert_int_eq(tell(0, "id=15 yield caps=8 waiting=0"), 0);
	expect_told(15, CAPC_ASK_YIELD, "-", "caps=8");
	expect_wait("after=15");
	ck_assert_int_eq(tell(0, "id=16 from=init/b type=object name=waiting waiting=0"), 0);
	expect_told(16, CAPC_ASK_SLOT, "init/b", "");
	ck_assert_str_eq(told.rights, "-");
	ck_assert_uint_eq(told.n, 4);
}
END_TEST

static int
process(const struct capc_ask *a)
{
	return capc_session_process(a->session);
}

/* Neither is it while the first one is being decided. */
START_TEST(P14_each_is_told_once_by_two_daemons)
{
	told.decide = process;
	begin();
	answer_wait(0, MAIL);
	ck_assert_int_eq(tell(0, MAIL), 0);
	ck_assert_int_eq(told.result, 0);
	ck_assert_uint_eq(told.n, 1);
	expect_wait("after=12");
	played_quiet(&d);
}
END_TEST

static const char *const no_asks[] = {
	"",
	"id=12",
	" waiting=1",
	"id= from=init/app type=object name=a waiting=1",
	"id=x from=init/app type=object name=a waiting=1",
	"id=99999999999999999999 from=init/app type=object name=a waiting=1",
	"from=init/app type=object name=a waiting=1",
	"id=12 from=init/app type=object waiting=1",
	"id=12 from=init/app name=a waiting=1",
	"id=12 name=a type=object waiting=1",
	"id=12 waiting=1",
};

START_TEST(what_is_no_ask_is_an_error)
{
	begin();
	ck_assert_int_eq(tell(0, no_asks[_i]), -EBADMSG);
	ck_assert_uint_eq(told.n, 0);
}
END_TEST

/* Whatever else is asked ends the wait, and is followed by another one; what was told meanwhile is told again. */
START_TEST(it_waits_again_behind_other_requests)
{
	cleanup_free char *text = NULL;

	begin();
	played_answer(&d, WIRE_READ, 0, "running\n", -1);
	ck_assert_int_eq(capc_read(d.session, "state", &text, LONG), 0);
	ck_assert_str_eq(text, "running\n");
	played_asked(&d, WIRE_READ, "state", NULL);
	expect_wait("after=0");
	ck_assert_int_eq(tell(EAGAIN, "there is another request"), 0);
	expect_wait("after=0");
	ck_assert_int_eq(tell(EDQUOT, "ram"), -EDQUOT);
	ck_assert_uint_eq(told.n, 0);
}
END_TEST

START_TEST(nobody_is_told_any_more)
{
	begin();
	ck_assert_int_eq(capc_pager(d.session, NULL, NULL), 0);
	ck_assert_int_eq(tell(0, MAIL), 0);
	ck_assert_uint_eq(told.n, 0);
	played_quiet(&d);
	played_answer(&d, WIRE_WAIT, EINVAL, "only a program is waited for", -1);
	ck_assert_int_eq(capc_pager(d.session, handler, &told), -EINVAL);
}
END_TEST

static int
try_three(const struct capc_ask *a)
{
	static const char *const slots[] = {"weak", "small", "strong", NULL};
	const char *slot = NULL;
	int r = capc_pager_try(a, slots, &slot);

	ck_assert(r < 0 || strcmp(slot, "strong") == 0);
	ck_assert_int_eq(capc_pager(a->session, handler, NULL), -EBUSY);
	ck_assert_int_eq(capc_pager_give(a, "caps=1"), -EINVAL);
	return r;
}

static void
answer_next(int error, const char *text)
{
	played_answer(&d, WIRE_WRITE, error, text, -1);
}

START_TEST(Z70_7_the_first_that_fits)
{
	told.decide = try_three;
	begin();
	answer_wait(0, MAIL);
	answer_next(EPERM, "init does not hold right 'grant' on weak");
	answer_next(EINVAL, "calls");
	answer_next(0, "slot=mail id=44");
	ck_assert_int_eq(capc_session_process(d.session), 0);
	ck_assert_int_eq(told.result, 0);
	played_asked(&d, WIRE_WRITE, "requests", "id=12 slot=weak");
	played_asked(&d, WIRE_WRITE, "requests", "id=12 slot=small");
	played_asked(&d, WIRE_WRITE, "requests", "id=12 slot=strong");
	expect_wait("after=12");
}
END_TEST

START_TEST(Z70_7_none_fits)
{
	told.decide = try_three;
	begin();
	answer_wait(0, MAIL);
	answer_next(EPERM, "no");
	answer_next(ENOENT, "no");
	answer_next(EOPNOTSUPP, "no");
	answer_next(0, "refused");
	ck_assert_int_eq(capc_session_process(d.session), 0);
	ck_assert_int_eq(told.result, -EACCES);
	for (int i = 0; i < 3; i++)
		played_asked(&d, WIRE_WRITE, "requests", NULL);
	played_asked(&d, WIRE_WRITE, "requests", "id=12 refuse no capability");
}
END_TEST

/* What is the asker's, or is over, is not tried with others. */
START_TEST(Z70_7_what_no_other_slot_helps)
{
	static const int errors[] = {ESRCH, EDQUOT, EEXIST};

	told.decide = try_three;
	begin();
	answer_wait(0, MAIL);
	answer_next(errors[_i], "no");
	ck_assert_int_eq(capc_session_process(d.session), 0);
	ck_assert_int_eq(told.result, -errors[_i]);
	played_asked(&d, WIRE_WRITE, "requests", "id=12 slot=weak");
	expect_wait("after=12");
}
END_TEST

static int
give_six(const struct capc_ask *a)
{
	static const char *const slots[] = {NULL};

	ck_assert_int_eq(capc_pager_try(a, slots, NULL), -EINVAL);
	return capc_pager_give(a, "caps=6");
}

START_TEST(G30_what_is_asked_back_is_given)
{
	static const char *const lines[] = {"id=12 yield caps=8 waiting=0", "id=12 from=init/app quota caps=8 waiting=0"};
	static const char *const nodes[] = {"yield", "requests"};

	told.decide = give_six;
	begin();
	answer_wait(0, lines[_i]);
	answer_next(0, "caps=6");
	ck_assert_int_eq(capc_session_process(d.session), 0);
	ck_assert_int_eq(told.result, 0);
	played_asked(&d, WIRE_WRITE, nodes[_i], "id=12 caps=6");
}
END_TEST

static const struct {
	uint64_t timeout;
	const char *text;
} timeouts[] = {
	{0, "name=mail timeout=1"},
	{1500000, "name=mail timeout=2"},
	{UINT64_C(90000000000), "name=mail timeout=86400"},
	{CAPC_FOREVER, "name=mail timeout=86400"},
};

START_TEST(S23_asked_for)
{
	cleanup_free char *slot = NULL;

	played_answer(&d, WIRE_WRITE, 0, "slot=mail id=44", -1);
	ck_assert_int_eq(capc_ask(d.session, "name=mail", timeouts[_i].timeout, &slot), 0);
	ck_assert_str_eq(slot, "mail");
	played_asked(&d, WIRE_WRITE, "request", timeouts[_i].text);
}
END_TEST

START_TEST(asked_for_and_refused_or_quota)
{
	cleanup_free char *text = NULL;

	played_answer(&d, WIRE_WRITE, EACCES, "not today", -1);
	ck_assert_int_eq(capc_ask(d.session, "name=mail", LONG, &text), -EACCES);
	ck_assert_str_eq(capc_session_reason(d.session), "not today");
	ck_assert_ptr_null(text);
	played_answer(&d, WIRE_WRITE, 0, "caps=16", -1);
	ck_assert_int_eq(capc_ask(d.session, "quota caps=16", LONG, &text), 0);
	ck_assert_str_eq(text, "caps=16");
	played_answer(&d, WIRE_WRITE, 0, "caps=16", -1);
	ck_assert_int_eq(capc_ask(d.session, "quota caps=16", LONG, NULL), 0);
}
END_TEST

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

int
main(void)
{
	Suite *s = suite_create("pager");
	TCase *t = tcase_create("pager");

	tcase_add_checked_fixture(t, setup, teardown);
	suite_add_tcase(s, t);
	tcase_add_test(t, each_is_told_once);
	tcase_add_test(t, P14_each_is_told_once_by_two_daemons);
	tcase_add_loop_test(t, what_is_no_ask_is_an_error, 0, N(no_asks));
	tcase_add_test(t, it_waits_again_behind_other_requests);
	tcase_add_test(t, nobody_is_told_any_more);
	tcase_add_test(t, Z70_7_the_first_that_fits);
	tcase_add_test(t, Z70_7_none_fits);
	tcase_add_loop_test(t, Z70_7_what_no_other_slot_helps, 0, 3);
	tcase_add_loop_test(t, G30_what_is_asked_back_is_given, 0, 2);
	tcase_add_loop_test(t, S23_asked_for, 0, N(timeouts));
	tcase_add_test(t, asked_for_and_refused_or_quota);
	return fixture_main(s);
}
