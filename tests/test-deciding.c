/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P14 S12 Z70 */
/* Waiting through the control protocol for something to decide; policies that are only checked. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capfsd/kinds/kinds.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

#define FOREVER UINT64_MAX

static int parent, child; /* control connections: of the root, and of app */
static uint64_t serial;

static void
send_with(int fd, enum wire_op op, const char *path, uint64_t offset, const char *text)
{
	struct wire_request m = {
		.op = (uint8_t)op,
		.serial = ++serial,
		.offset = offset,
		.path = path,
		.n_path = strlen(path),
		.text = text,
		.n_text = strlen(text),
	};
	uint8_t buffer[512];
	int n = wire_request_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(send(fd, buffer, (size_t)n, 0), n);
}

/* As that, and settles. */
static void
say(int fd, enum wire_op op, const char *path, uint64_t offset, const char *text)
{
	send_with(fd, op, path, offset, text);
	world_settle(&w);
}

static void
expect_reply(int fd, int error, const char *text)
{
	ck_assert(world_reply(&w, fd, &a));
	ck_assert_msg((int)a.m.error == error && strstr(a.text, text), "%u '%s'", a.m.error, a.text);
}

static void
expect_none(int fd)
{
	ck_assert(!world_reply(&w, fd, &a));
}

static struct session *
child_session(void)
{
	return session_of(entity_find_name(w.model, root()->entity.id, ENTITY_SESSION, "app", 3));
}

static void
setup(void)
{
	web_setup();
	serial = 1000000;
	parent = world_control(&w, root());
	say(parent, WIRE_CREATE, "sessions/app", 0, "");
	expect_reply(parent, 0, "");
	child = world_control(&w, child_session());
}

static uint64_t
id_of(const char *text)
{
	unsigned long long id = 0;

	ck_assert_int_eq(sscanf(text, "id=%llu ", &id), 1);
	return id;
}

START_TEST(what_waits_and_what_comes)
{
	char after[64];

	say(child, WIRE_WRITE, "request", 0, "name=mail rights=call");
	expect_none(child);
	say(parent, WIRE_WAIT, "", FOREVER, "");
	expect_reply(parent, 0, "from=init/app type=object name=mail rights=call waiting=0");
	snprintf(after, sizeof(after), "after=%llu", (unsigned long long)id_of(a.text));
	say(parent, WIRE_WAIT, "", FOREVER, after);
	expect_none(parent);
	say(world_control(&w, child_session()), WIRE_WRITE, "request", 0, "quota caps=2");
	expect_reply(parent, 0, "from=init/app quota caps=2 waiting=0");
	/* It is the session's own, and what its parent wants back is its, too. */
	child = world_control(&w, child_session());
	say(child, WIRE_WAIT, "", FOREVER, "after=0");
	expect_none(child);
	say(parent, WIRE_WRITE, "sessions/app/yield", 0, "caps=2");
	expect_reply(child, 0, "yield caps=2 waiting=0");
	say(child, WIRE_WAIT, "", 0, "after=999999999");
	expect_reply(child, ETIMEDOUT, "nothing to decide");
}
END_TEST

/* What the same connection asks goes first, and nothing is lost by that. */
START_TEST(it_gives_way)
{
	say(parent, WIRE_WAIT, "", FOREVER, "");
	expect_none(parent);
	say(parent, WIRE_READ, "label", 0, "");
	expect_reply(parent, EAGAIN, "another request");
	expect_reply(parent, 0, "init\n");
	send_with(parent, WIRE_WAIT, "", FOREVER, "");
	say(parent, WIRE_READ, "label", 0, "");
	expect_reply(parent, EAGAIN, "another request");
	expect_reply(parent, 0, "init\n");
	/* Where there is something, that is told. */
	say(child, WIRE_WRITE, "request", 0, "name=mail");
	send_with(parent, WIRE_WAIT, "", FOREVER, "");
	say(parent, WIRE_READ, "label", 0, "");
	expect_reply(parent, 0, "name=mail");
	expect_reply(parent, 0, "init\n");
}
END_TEST

START_TEST(P14_it_goes_on_with_another_broker)
{
	say(parent, WIRE_WAIT, "", FOREVER, "");
	expect_none(parent);
	world_restart(&w);
	world_settle(&w);
	expect_none(parent);
	world_restart(&w);
	say(child, WIRE_WRITE, "request", 0, "name=mail");
	expect_reply(parent, 0, "name=mail");
	expect_none(parent);
	world_kill(&w);
	send_with(parent, WIRE_WAIT, "", FOREVER, "after=999999999");
	send_with(parent, WIRE_READ, "label", 0, "");
	world_start(&w);
	world_settle(&w);
	expect_reply(parent, EAGAIN, "another request");
	expect_reply(parent, 0, "init\n");
}
END_TEST

static const char *const words[] = {"after", "after=", "after=x", "after=-1", "after=1 ", "after=1 after=2",
	"after=99999999999999999999", "before=1", " "};

START_TEST(bad_words)
{
	say(parent, WIRE_WAIT, "", FOREVER, words[_i]);
	expect_reply(parent, EINVAL, "after=ID");
	say(parent, WIRE_WAIT, "sessions", FOREVER, "");
	expect_reply(parent, EINVAL, "");
	say(parent, WIRE_WAIT, "requests", FOREVER, "");
	expect_reply(parent, EINVAL, "");
	say(parent, WIRE_WAIT, "sessions/none", FOREVER, "");
	expect_reply(parent, ENOENT, "");
}
END_TEST

/* Whoever goes, who waits, or for what. */
START_TEST(its_end)
{
	int fd = world_control(&w, root());

	say(fd, WIRE_WAIT, "", FOREVER, "");
	expect_none(fd);
	world_close(&w, fd);
	world_settle(&w);
	say(child, WIRE_WRITE, "request", 0, "name=mail");
	say(child, WIRE_READ, "label", 0, "");
	expect_none(child);
	fd = world_control(&w, child_session());
	say(fd, WIRE_WAIT, "", FOREVER, "");
	say(parent, WIRE_WAIT, "sessions/app", FOREVER, "");
	expect_none(parent);
	say(parent, WIRE_READ, "label", 0, "");
	expect_reply(parent, EAGAIN, "");
	expect_reply(parent, 0, "init\n");
	say(parent, WIRE_WAIT, "sessions/app", FOREVER, "");
	{
		int other = world_control(&w, root());

		say(other, WIRE_REMOVE, "sessions/app", 0, "");
		expect_reply(other, 0, "");
	}
	expect_reply(parent, ENOENT, "");
	ck_assert(world_is_over(fd));
}
END_TEST

START_TEST(a_policy_that_is_checked)
{
	uint64_t line;

	say(parent, WIRE_WRITE, "policy", 0, "* a b\n");
	expect_reply(parent, 0, "rules=1");
	line = w.model->header.next_event;
	say(parent, WIRE_CHECK, "policy", 0, "* c d\n* e f\n");
	expect_reply(parent, 0, "rules=2");
	say(parent, WIRE_CHECK, "policy", 0, "* c d\n* c f\n");
	expect_reply(parent, EINVAL, "line 2: line 1 says already");
	ck_assert_uint_eq(w.model->header.next_event, line);
	say(parent, WIRE_READ, "policy", 0, "");
	expect_reply(parent, 0, "* a b\n");
	say(parent, WIRE_CHECK, "transfer_quota", 0, "to=app caps=1");
	expect_reply(parent, EOPNOTSUPP, "only a policy");
	say(parent, WIRE_CHECK, "sessions/app/request", 0, "name=mail");
	expect_reply(parent, EOPNOTSUPP, "only a policy");
	say(parent, WIRE_CHECK, "", 0, "");
	expect_reply(parent, EISDIR, "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("deciding");
	TCase *t = tcase_create("deciding");

	tcase_add_checked_fixture(t, setup, web_teardown);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	tcase_add_test(t, what_waits_and_what_comes);
	tcase_add_test(t, it_gives_way);
	tcase_add_test(t, P14_it_goes_on_with_another_broker);
	tcase_add_loop_test(t, bad_words, 0, (int)(sizeof(words) / sizeof(words[0])));
	tcase_add_test(t, its_end);
	tcase_add_test(t, a_policy_that_is_checked);
	return fixture_main(s);
}
