/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: R01
 *
 * Checkpoints that somebody has made or changed: what is cut off, damaged, of another version, or forged in such a
 * way that its words would become others is refused, whole, before anything is asked for.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sum.h"
#include "capctl/checkpoint/file.h"
#include "tests/fixture.h"

#define HEAD "capfs-checkpoint 1\nof=init/app made=2026-11-30T12:00:00Z version=0.2.0\n"
#define SESSION "session path=. uid=1 gid=1 mode=0700 caps=4 sockets=4 threads=4 ram=64 inflight=4\n"
#define OBJECT                                                                                     \
	"entrypoint path=. name=kv mode=broker hold=0 backlog=0 fds=no caveats=yes\n"                           \
	"object path=. entrypoint=kv id=5 key=0 socket=stream protocol=plain badge=0x1\n"
#define SLOT "slot path=. name=kv id=6 type=object object=5 rights=call,grant\n"
#define GOOD                                                                                       \
	HEAD SESSION "confine path=. net=none proc=no\n" OBJECT SLOT                                \
		     "slot path=a name=two id=9 type=object parent=6 rights=call calls=3 used=1 "      \
		     "expires=2027-01-31T12:00:00Z uid=1 gid=2 mode=0600\n"                            \
		     "session path=a uid=1 gid=1 mode=0700 caps=4 sockets=4 threads=4 ram=64 inflight=4\n" \
		     "slot path=a name=out id=8 type=object from=init/caps/log rights=call\n"          \
		     "only id=6 only=\"GET /a b\" only=\"say \\\"x\\\" \\\\\"\nonly id=6 only=\"POST\"\n" \
		     "share id=6 with=children calls=2\npolicy path=. init/app/a log kv\n"              \
		     "alias path=. slot=kv name=x\nleft path=. what=programs n=2\n"

/* With its end, so that only what it says is wrong. */
static int
parse(const char *body, struct file *ret)
{
	cleanup_text struct text t = {}, why = {};
	size_t n;
	int e;

	text_addf(&t, "%send sum=%016" PRIx64 "\n", body, sum_bytes(SUM_BEGIN, body, strlen(body)));
	n = t.n;
	e = file_parse(text_take(&t), n, ret, &why);
	ck_assert(e == 0 || why.n > 0);
	return e;
}

static void
refuses(const char *body)
{
	struct file f;

	ck_assert_msg(parse(body, &f) == -EBADMSG, "taken: %s", body);
}

START_TEST(what_is_good)
{
	struct file f;

	ck_assert_int_eq(parse(GOOD, &f), 0);
	ck_assert_str_eq(f.of, "init/app");
	ck_assert_uint_eq(f.n, 14);
	ck_assert_uint_eq(f.n - f.first, 7);
	ck_assert_str_eq(file_find(&f, 9)->value[KEY_name], "two");
	ck_assert_uint_eq(file_find(&f, 9)->source, 6);
	ck_assert_ptr_null(file_find(&f, 7));
	ck_assert_str_eq(f.lines[1].rest, "net=none proc=no");
	ck_assert_int_eq(file_find(&f, 6)->kind, FILE_SLOT);
	ck_assert_str_eq(file_find(&f, 6)[1].rest, "only=\"GET /a b\" only=\"say \\\"x\\\" \\\\\"");
	ck_assert_str_eq(file_find(&f, 6)[2].rest, "only=\"POST\"");
	ck_assert_str_eq(file_find(&f, 6)[3].rest, "with=children calls=2");
	file_deinit(&f);
}
END_TEST

START_TEST(words_that_would_become_others)
{
	static const char *const lines[] = {
		"slot path=. name=../x id=7 type=object object=5 rights=call\n",
		"share id=6 to=x\n",
		"share id=6 with=\n",
		"share id=6\n",
		"share id=5 with=children\n",
		"share id=99 with=children\n",
		"policy path=. \n",
		"policy path=. * log kv\001\n",
		"policy path=../x * log kv\n",
		"slot path=.. name=x id=7 type=object object=5 rights=call\n",
		"slot path=a/../../b name=x id=7 type=object object=5 rights=call\n",
		"slot path=/a name=x id=7 type=object object=5 rights=call\n",
		"slot path=. name=x\tto=y id=7 type=object object=5 rights=call\n",
		"slot path=. name= id=7 type=object object=5 rights=call\n",
		"slot path=. name=x id=7 type=object object=5 rights=call,GRANT\n",
		"slot path=. name=x id=7 type=object object=5 rights=call calls=-1\n",
		"slot path=. name=x id=7 type=object object=5 rights=call calls=99999999999999999999\n",
		"slot path=. name=x id=7 type=object object=5 rights=call expires=never\n",
		"slot path=. name=x id=7 type=object object=5 rights=call methods=1;2\n",
		"slot path=. name=x id=7 type=object object=5 rights=call mode=07777\n",
		"slot path=. name=x id=7 type=object object=5 rights=call only=x\n",
		"slot path=. name=x id=7 type=object object=5 rights=call rights=grant\n",
		"slot path=. name=x  id=7 type=object object=5 rights=call\n",
		"slot path=. name=x id=7 type=object object=5\n",
		"slot path=. name=x id=7 type=object object=5 from=a rights=call\n",
		"slot path=. name=x id=7 type=object from=/etc rights=call\n",
		"object path=. entrypoint=a/b id=7 key=0 socket=stream protocol=plain badge=0x1\n",
		"object path=. entrypoint=kv id=7 key=0 socket=stream protocol=plain badge=1\n",
		"object path=. entrypoint=kv id=7 key=0 socket=stream protocol=plain badge=0x11112222333344445\n",
		"confine path=.\n",
		"confine net=none\n",
		"only id=6 rights=call\n",
		"only id=6 only=\"x\" rights=grant\n",
		"only id=6 only=\"x\n",
		"only id=6 only=\"x\\\"\n",
		"only id=6 only=\"x\"only=\"y\"\n",
		"only id=6 only=\"x\"  only=\"y\"\n",
		"only id=6 only=\"\\n\"\n",
		"only id=5 only=\"x\"\n",
		"only id=7 only=\"x\"\n",
		"only id=6\n",
		"wibble path=.\n",
		"torn\n",
		"end sum=0000000000000000\n",
		"\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		cleanup_text struct text t = {};

		text_addf(&t, HEAD SESSION OBJECT SLOT "%s", lines[i]);
		refuses(t.data);
	}
}
END_TEST

START_TEST(ids_that_lead_nowhere)
{
	refuses(HEAD SESSION OBJECT SLOT SLOT);
	refuses(HEAD SESSION SLOT);
	refuses(HEAD SESSION OBJECT "slot path=. name=x id=7 type=object parent=5 rights=call\n");
	refuses(HEAD SESSION OBJECT SLOT "slot path=. name=x id=7 type=object object=6 rights=call\n");
	refuses(HEAD SESSION OBJECT "slot path=. name=x id=4 type=object object=5 rights=call\n");
	refuses(HEAD SESSION "slot path=. name=x id=4 type=object parent=4 rights=call\n");
	refuses(HEAD SESSION "slot path=. name=x id=4 type=object parent=0 rights=call\n");
	refuses(HEAD SESSION "slot path=. name=x id=0 type=object rights=call\n");
}
END_TEST

START_TEST(begins_that_are_none)
{
	struct file f;

	refuses(HEAD);
	refuses(HEAD OBJECT);
	refuses(HEAD "session path=a uid=1 gid=1 mode=0700 caps=4 sockets=4 threads=4 ram=64 inflight=4\n");
	refuses("capfs-checkpoint 1\n" SESSION);
	refuses("capfs-checkpoint 1\nof=../x made=2026 version=1\n" SESSION);
	refuses("#!/bin/sh\n" SESSION);
	ck_assert_int_eq(parse("capfs-checkpoint 2\nof=init/app made=2026 version=9\n" SESSION, &f), -EOPNOTSUPP);
}
END_TEST

/* Whatever is cut off, and whatever byte is another one. */
START_TEST(damage)
{
	cleanup_text struct text whole = {}, why = {};
	struct file f;

	text_addf(&whole, "%send sum=%016" PRIx64 "\n", GOOD, sum_bytes(SUM_BEGIN, GOOD, strlen(GOOD)));
	for (size_t n = 0; n < whole.n; n++) {
		char *part = strndup(whole.data, n);

		ck_assert_int_lt(file_parse(part, n, &f, &why), 0);
	}
	for (size_t i = 0; i < whole.n; i++)
		for (int bit = 0; bit < 8; bit++) {
			char *flipped = malloc(whole.n + 1);

			memcpy(flipped, whole.data, whole.n + 1);
			flipped[i] = (char)(flipped[i] ^ 1 << bit);
			ck_assert_int_lt(file_parse(flipped, whole.n, &f, &why), 0);
		}
}
END_TEST

/* The same with a sum that fits: it is taken or refused, and read no further than it goes. */
START_TEST(forgeries)
{
	for (size_t i = 0; i < strlen(GOOD); i++)
		for (const char *with = " \n=./0a-\377"; *with; with++) {
			char *body = strdup(GOOD);
			struct file f;

			body[i] = *with;
			if (parse(body, &f) == 0)
				file_deinit(&f);
			free(body);
		}
}
END_TEST

START_TEST(a_torn_one)
{
	cleanup_text struct text why = {};
	struct file f;
	char *torn = strdup(GOOD "torn\n");

	ck_assert_int_eq(file_parse(torn, strlen(GOOD "torn\n"), &f, &why), -EBUSY);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("checkpoint-file");
	TCase *t = fixture_case(s, "checkpoint-file", 60);

	tcase_add_test(t, what_is_good);
	tcase_add_test(t, words_that_would_become_others);
	tcase_add_test(t, ids_that_lead_nowhere);
	tcase_add_test(t, begins_that_are_none);
	tcase_add_test(t, damage);
	tcase_add_test(t, forgeries);
	tcase_add_test(t, a_torn_one);
	return fixture_main(s);
}
