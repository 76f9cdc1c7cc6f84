/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client's half of the library: nodes, listings, delegation, the session's end. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

static struct played d;
static capc_session *s;

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	s = d.session;
}

static void
teardown(void)
{
	played_deinit(&d);
	fixture_teardown();
}

START_TEST(a_node_is_read)
{
	cleanup_free char *text = NULL;

	played_answer(&d, WIRE_READ, 0, "state=served\n", -1);
	ck_assert_int_eq(capc_read(s, "caps/web/info", &text, LONG), 0);
	ck_assert_str_eq(text, "state=served\n");
	ck_assert_uint_eq(played_asked(&d, WIRE_READ, "caps/web/info", ""), 0);
}
END_TEST

START_TEST(a_long_node_is_read_in_parts)
{
	cleanup_free char *text = NULL;
	uint64_t offset = 0;

	for (uint64_t i = 1; i <= 3; i++)
		played_answer_with(&d, &(struct wire_reply){.op = WIRE_READ,
						.flags = i < 3 ? WIRE_MORE : 0,
						.serial = ++d.serial,
						.value = i * 2,
						.text = "ababab",
						.n_text = 2}, -1);
	ck_assert_int_eq(capc_read_from(s, "events", &offset, &text, LONG), 0);
	ck_assert_str_eq(text, "ababab");
	ck_assert_uint_eq(offset, 6);
	for (uint64_t i = 0; i < 3; i++)
		ck_assert_uint_eq(played_asked(&d, WIRE_READ, "events", ""), i * 2);
	free(text);
	text = NULL;
	played_answer_with(&d, &(struct wire_reply){.op = WIRE_READ, .serial = ++d.serial, .value = 6},
		-1);
	ck_assert_int_eq(capc_read_from(s, "events", &offset, &text, LONG), 0);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(offset, 6);
	ck_assert_uint_eq(played_asked(&d, WIRE_READ, "events", ""), 6);
}
END_TEST

START_TEST(parts_that_do_not_advance_end_the_session)
{
	char *text;

	played_answer_with(&d, &(struct wire_reply){.op = WIRE_READ, .flags = WIRE_MORE,
					.serial = ++d.serial}, -1);
	ck_assert_int_eq(capc_read(s, "label", &text, LONG), -EBADMSG);
	ck_assert_int_eq(capc_read(s, "label", &text, LONG), -ENOTCONN);
}
END_TEST

START_TEST(label_is_asked_for_once)
{
	played_answer(&d, WIRE_READ, 0, "init/web\n", -1);
	ck_assert_str_eq(capc_session_label(s), "init/web");
	ck_assert_str_eq(capc_session_label(s), "init/web");
	played_asked(&d, WIRE_READ, "label", "");
	played_quiet(&d);
}
END_TEST

START_TEST(a_command_gives_its_result_or_the_reason)
{
	char *text;

	played_answer(&d, WIRE_WRITE, 0, "slot=web-2 id=44", -1);
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", &text, LONG), 0);
	ck_assert_str_eq(text, "slot=web-2 id=44");
	ck_assert_str_eq(capc_session_reason(s), "");
	free(text);
	played_asked(&d, WIRE_WRITE, "caps/web/grant", "to=app");

	played_answer(&d, WIRE_WRITE, EDQUOT, "init/app caps limit=8 used=8", -1);
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", &text, LONG), -EDQUOT);
	ck_assert_str_eq(text, "init/app caps limit=8 used=8");
	ck_assert_str_eq(capc_session_reason(s), "init/app caps limit=8 used=8");
	free(text);
	played_asked(&d, WIRE_WRITE, "caps/web/grant", NULL);

	/* Nor has what was refused before anybody was asked. */
	played_answer(&d, WIRE_WRITE, EPERM, "no", -1);
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", NULL, LONG), -EPERM);
	played_asked(&d, WIRE_WRITE, "caps/web/grant", NULL);
	ck_assert_int_eq(capc_grant(s, "web", "a b", NULL, NULL), -EINVAL);
	ck_assert_str_eq(capc_session_reason(s), "");

	/* What nobody answered has no reason, not even an old one. */
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", &text, SHORT), -ETIMEDOUT);
	ck_assert_ptr_null(text);
	ck_assert_str_eq(capc_session_reason(s), "");
}
END_TEST

struct names {
	char all[256];
	unsigned n, stop_at;
};

static int
collect(const char *name, void *data)
{
	struct names *names = data;

	strcat(strcat(names->all, name), " ");
	return ++names->n == names->stop_at ? 42 : 0;
}

static void
answer_names(uint64_t next, bool more, const char *text)
{
	played_answer_with(&d, &(struct wire_reply){.op = WIRE_LIST,
					.flags = more ? WIRE_MORE : 0,
					.serial = ++d.serial,
					.value = next,
					.text = text,
					.n_text = strlen(text)}, -1);
}

START_TEST(a_directory_is_listed_by_cookies)
{
	struct names names = {};

	answer_names(17, true, "log\nweb\n");
	answer_names(99, false, "zeta\n");
	ck_assert_int_eq(capc_list(s, "caps", collect, &names, LONG), 0);
	ck_assert_str_eq(names.all, "log web zeta ");
	ck_assert_uint_eq(played_asked(&d, WIRE_LIST, "caps", ""), 0);
	ck_assert_uint_eq(played_asked(&d, WIRE_LIST, "caps", ""), 17);
	played_quiet(&d);
}
END_TEST

START_TEST(a_listing_can_be_stopped)
{
	struct names names = {.stop_at = 1};

	answer_names(17, true, "log\nweb\n");
	ck_assert_int_eq(capc_list(s, "caps", collect, &names, LONG), 42);
	ck_assert_str_eq(names.all, "log ");
	played_answer(&d, WIRE_LIST, ENOTDIR, "not a directory", -1);
	ck_assert_int_eq(capc_list(s, "label", collect, &names, LONG), -ENOTDIR);
}
END_TEST

static int
nested(const char *name, void *data)
{
	cleanup_free char *text = NULL;
	unsigned *n = data;

	ck_assert_int_eq(strlen(name), 3);
	played_answer(&d, WIRE_READ, 0, "some text that is longer than the names", -1);
	ck_assert_int_eq(capc_read(s, name, &text, LONG), 0);
	return ++*n > 2;
}

START_TEST(a_listing_can_be_interleaved)
{
	unsigned n = 0;

	answer_names(17, false, "log\nweb\n");
	ck_assert_int_eq(capc_list(s, "caps", nested, &n, LONG), 0);
	ck_assert_uint_eq(n, 2);
}
END_TEST

START_TEST(late_answers_are_discarded)
{
	cleanup_free char *text = NULL;
	struct pollfd p = {.fd = capc_session_fd(s), .events = POLLIN};
	int fds[2];

	ck_assert_int_eq(capc_read(s, "first", &text, SHORT), -ETIMEDOUT);
	played_pair(SOCK_SEQPACKET, fds);
	played_answer(&d, WIRE_READ, 0, "first", fds[1]);
	close(fds[1]);
	played_answer(&d, WIRE_READ, 0, "second", -1);
	ck_assert_int_eq(capc_read(s, "second", &text, LONG), 0);
	ck_assert_str_eq(text, "second");
	ck_assert(played_at_end(fds[0]));
	close(fds[0]);

	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_assert_int_eq(capc_read(s, "third", &(char *){NULL}, SHORT), -ETIMEDOUT);
	played_answer(&d, WIRE_READ, 0, "third", -1);
	ck_assert_int_eq(poll(&p, 1, 0), 1);
	ck_assert_int_eq(capc_session_process(s), 0);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

START_TEST(late_answers_do_not_prolong_anything)
{
	struct pollfd p = {.fd = capc_session_fd(s), .events = POLLIN};
	struct wire_reply old = {.op = WIRE_READ, .serial = d.serial};
	char *text;

	for (int i = 0; i < 100; i++)
		played_answer_with(&d, &old, -1);
	played_answer(&d, WIRE_READ, 0, "too late", -1);
	ck_assert_int_eq(capc_read(s, "label", &text, 0), -ETIMEDOUT);
	ck_assert_int_eq(capc_session_process(s), 0);
	ck_assert_int_eq(poll(&p, 1, 0), 1);
	ck_assert_int_eq(capc_session_process(s), 0);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

START_TEST(the_end_is_told_at_once_and_for_good)
{
	char *text;

	ck_assert_int_eq(shutdown(d.fd, SHUT_WR), 0);
	ck_assert_int_eq(capc_read(s, "label", &text, CAPC_FOREVER), -ECONNRESET);
	ck_assert_int_eq(capc_read(s, "label", &text, CAPC_FOREVER), -ENOTCONN);
	ck_assert_int_eq(capc_session_process(s), -ENOTCONN);
	ck_assert_int_eq(capc_session_fd(s), -ENOTCONN);
	ck_assert_ptr_null(capc_session_label(s));
}
END_TEST

START_TEST(a_request_to_nobody_is_told)
{
	d.fd = fd_close(d.fd);
	ck_assert_int_eq(capc_create(s, "sessions/app", "caps=8", NULL, LONG), -ECONNRESET);
	ck_assert_int_eq(capc_create(s, "sessions/app", "caps=8", NULL, LONG), -ENOTCONN);
}
END_TEST

START_TEST(short_forms_keep_the_time_of_the_session)
{
	capc_session_set_timeout(s, SHORT);
	ck_assert_int_eq(capc_reduce(s, "kv", "conns=2"), -ETIMEDOUT);
	ck_assert_ptr_null(capc_session_label(s));
}
END_TEST

START_TEST(cookies_that_stay_end_the_session)
{
	struct names names = {};

	answer_names(0, true, "log\n");
	ck_assert_int_eq(capc_list(s, "caps", collect, &names, LONG), -EBADMSG);
}
END_TEST

START_TEST(an_end_while_idle_is_noticed)
{
	d.fd = fd_close(d.fd);
	ck_assert_int_eq(capc_session_process(s), -ENOTCONN);
}
END_TEST

START_TEST(malformed_answers_end_the_session)
{
	static const struct {
		struct wire_reply reply; /* its serial is counted from the last request's */
		size_t cut;
		uint8_t version;
		int error;
	} cases[] = {
		{{.op = WIRE_READ, .serial = 2}, 0, 1, -EBADMSG},
		{{.op = WIRE_WRITE, .serial = 1}, 0, 1, -EBADMSG},
		{{.op = WIRE_READ, .serial = 1, .error = 5000}, 0, 1, -EBADMSG},
		{{.op = WIRE_READ, .serial = 1, .text = "abc", .n_text = 3}, 1, 1, -EBADMSG},
		{{.op = WIRE_READ, .serial = 1}, 0, 2, -EPROTO},
	};
	struct wire_reply reply = cases[_i].reply;
	uint8_t buffer[128];
	char *text;
	int n;

	reply.serial += d.serial;
	n = wire_reply_encode(&reply, buffer, sizeof(buffer));
	buffer[0] = cases[_i].version;
	ck_assert_int_gt(send(d.fd, buffer, (size_t)n - cases[_i].cut, 0), 0);
	ck_assert_int_eq(capc_read(s, "label", &text, LONG), cases[_i].error);
	ck_assert_int_eq(capc_read(s, "label", &text, LONG), -ENOTCONN);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused_before)
{
	static char big[WIRE_TEXT_MAX + 2];

	memset(big, 'x', sizeof(big) - 1);
	ck_assert_int_eq(capc_write(s, "policy", big, NULL, LONG), -EMSGSIZE);
	ck_assert_int_eq(capc_remove(s, big, NULL, LONG), -ENAMETOOLONG);
	ck_assert_int_eq(capc_grant(s, "web", "app rights=grant", NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_grant(s, "web", NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_replicate(s, "web", "a immutable", NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_transfer(s, "web", NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_transfer(s, "web", "b", ""), -EINVAL);
	ck_assert_int_eq(capc_split(s, "web", "a b", "calls=1", NULL), -EINVAL);
	ck_assert_int_eq(capc_share(s, "web", NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_share(s, "web", "none now", NULL), -EINVAL);
	ck_assert_int_eq(capc_adjust(s, "web", NULL, "conns=1", NULL), -EINVAL);
	ck_assert_int_eq(capc_adjust(s, "web", "to=a conns=1", NULL, NULL), -EINVAL);
	ck_assert_int_eq(capc_drop(s, "sessions/app"), -EINVAL);
	ck_assert_int_eq(capc_drop(s, "sessions/xcaps/app"), -EINVAL);
	ck_assert_int_eq(capc_drop(s, "sessions/app/caps/"), -EINVAL);
	ck_assert_int_eq(capc_drop(s, "/kv"), -EINVAL);
	ck_assert_int_eq(capc_drop(s, ""), -EINVAL);
	ck_assert_int_eq(capc_session_close(s, "app", 2), -EINVAL);
	ck_assert_int_eq(capc_session_create(s, "", NULL), -EINVAL);
	played_quiet(&d);
}
END_TEST

START_TEST(delegation_is_the_text_of_the_files)
{
	cleanup_free char *slot = NULL;

	played_answer(&d, WIRE_WRITE, 0, "slot=kv-2 id=44", -1);
	ck_assert_int_eq(capc_grant(s, "kv", "app/db", "conns=4", &slot), 0);
	ck_assert_str_eq(slot, "kv-2");
	played_asked(&d, WIRE_WRITE, "caps/kv/grant", "to=app/db conns=4");
	played_answer(&d, WIRE_WRITE, 0, "slot=kv id=45", -1);
	ck_assert_int_eq(capc_grant(s, "sessions/a/caps/kv", "b", NULL, NULL), 0);
	played_asked(&d, WIRE_WRITE, "sessions/a/caps/kv/grant", "to=b");
	played_answer(&d, WIRE_WRITE, 0, "slot=kv-3 id=46", -1);
	free(take_ptr(slot));
	ck_assert_int_eq(capc_replicate(s, "kv", NULL, "rights=call", &slot), 0);
	ck_assert_str_eq(slot, "kv-3");
	played_asked(&d, WIRE_WRITE, "caps/kv/replicate", "rights=call");
	played_answer(&d, WIRE_WRITE, 0, "slot=two id=47", -1);
	ck_assert_int_eq(capc_replicate(s, "kv", "two", "immutable", NULL), 0);
	played_asked(&d, WIRE_WRITE, "caps/kv/replicate", "as=two immutable");
	played_answer(&d, WIRE_WRITE, 0, "slot=kv id=12", -1);
	ck_assert_int_eq(capc_share(s, "kv", "children", "conns=2"), 0);
	played_asked(&d, WIRE_WRITE, "caps/kv/share", "with=children conns=2");
	played_answer(&d, WIRE_WRITE, 0, "slot=some id=49", -1);
	ck_assert_int_eq(capc_split(s, "kv", "some", "calls=5", NULL), 0);
	played_asked(&d, WIRE_WRITE, "caps/kv/split", "as=some calls=5");
	played_answer(&d, WIRE_WRITE, 0, "slot=here id=48", -1);
	ck_assert_int_eq(capc_transfer(s, "two", "b", "here"), 0);
	played_asked(&d, WIRE_WRITE, "caps/two/transfer", "to=b as=here");
	played_answer(&d, WIRE_WRITE, EPERM, "init/b does not hold 'reduce'", -1);
	ck_assert_int_eq(capc_reduce(s, "kv", "conns=2"), -EPERM);
	ck_assert_str_eq(capc_session_reason(s), "init/b does not hold 'reduce'");
	played_asked(&d, WIRE_WRITE, "caps/kv/reduce", "conns=2");
	free(take_ptr(slot));
	played_answer(&d, WIRE_WRITE, 0, "slot=kv id=31 connections=4 conns=4->64", -1);
	ck_assert_int_eq(capc_adjust(s, "kv", "to=app", "conns=64", &slot), 0);
	ck_assert_str_eq(slot, "slot=kv id=31 connections=4 conns=4->64");
	played_asked(&d, WIRE_WRITE, "caps/kv/adjust", "to=app conns=64");
	played_answer(&d, WIRE_WRITE, 0, "", -1);
	ck_assert_int_eq(capc_revoke(s, "kv", NULL), 0);
	played_asked(&d, WIRE_WRITE, "caps/kv/revoke", "1");
	played_answer(&d, WIRE_WRITE, 0, "", -1);
	ck_assert_int_eq(capc_revoke(s, "kv", "to=app"), 0);
	played_asked(&d, WIRE_WRITE, "caps/kv/revoke", "to=app");
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	ck_assert_int_eq(capc_drop(s, "kv"), 0);
	played_asked(&d, WIRE_REMOVE, "caps/kv", "");
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	ck_assert_int_eq(capc_drop(s, "sessions/caps/caps/kv"), 0);
	played_asked(&d, WIRE_REMOVE, "sessions/caps/caps/kv", "");
	played_answer(&d, WIRE_WRITE, 0, "", -1);
	ck_assert_int_eq(capc_transfer_quota(s, "to=app caps=8"), 0);
	played_asked(&d, WIRE_WRITE, "transfer_quota", "to=app caps=8");
	played_answer(&d, WIRE_CREATE, 0, "", -1);
	ck_assert_int_eq(capc_session_create(s, "app/db", "caps=8"), 0);
	played_asked(&d, WIRE_CREATE, "sessions/app/sessions/db", "caps=8");
	played_answer(&d, WIRE_REMOVE, ENOTEMPTY, "it has child sessions", -1);
	ck_assert_int_eq(capc_session_close(s, "app", 0), -ENOTEMPTY);
	played_asked(&d, WIRE_REMOVE, "sessions/app", "");
}
END_TEST

/* Before anything was asked, or instead of an answer. */
START_TEST(a_daemon_says_why_it_hangs_up)
{
	struct wire_reply farewell = {.error = EDQUOT, .text = "sockets used=64", .n_text = 15};

	farewell.op = _i ? WIRE_WRITE : 0;
	played_answer_with(&d, &farewell, -1);
	if (_i)
		ck_assert_int_eq(shutdown(d.fd, SHUT_WR), 0);
	else
		d.fd = fd_shutdown_close(d.fd);
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", NULL, LONG), -EDQUOT);
	ck_assert_str_eq(capc_session_reason(s), "sockets used=64");
	ck_assert_int_eq(capc_write(s, "caps/web/grant", "to=app", NULL, LONG), -ENOTCONN);
}
END_TEST

START_TEST(a_result_that_is_none_is_told)
{
	char *slot;

	played_answer(&d, WIRE_WRITE, 0, "id=44", -1);
	ck_assert_int_eq(capc_grant(s, "kv", "app", NULL, &slot), -EBADMSG);
}
END_TEST

START_TEST(closing_all_goes_from_the_leaves)
{
	answer_names(1, false, "kv\n");
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	answer_names(1, false, "db\n");
	answer_names(0, false, "");
	answer_names(0, false, "");
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	ck_assert_int_eq(capc_session_close(s, "app", CAPC_CLOSE_ALL), 0);
	played_asked(&d, WIRE_LIST, "sessions/app/entrypoints", NULL);
	played_asked(&d, WIRE_REMOVE, "sessions/app/entrypoints/kv", NULL);
	played_asked(&d, WIRE_LIST, "sessions/app/sessions", NULL);
	played_asked(&d, WIRE_LIST, "sessions/app/sessions/db/entrypoints", NULL);
	played_asked(&d, WIRE_LIST, "sessions/app/sessions/db/sessions", NULL);
	played_asked(&d, WIRE_REMOVE, "sessions/app/sessions/db", NULL);
	played_asked(&d, WIRE_REMOVE, "sessions/app", NULL);
}
END_TEST

/* They end, and come, while they are closed. */
START_TEST(closing_all_goes_on_whatever_others_do)
{
	answer_names(1, false, "kv\n");
	played_answer(&d, WIRE_REMOVE, ENOENT, "no such entrypoint", -1);
	answer_names(1, false, "db\n");
	played_answer(&d, WIRE_LIST, ENOENT, "no such session", -1);
	played_answer(&d, WIRE_REMOVE, ENOTEMPTY, "it has child sessions", -1);
	answer_names(0, false, "");
	answer_names(0, false, "");
	played_answer(&d, WIRE_REMOVE, 0, "", -1);
	ck_assert_int_eq(capc_session_close(s, "app", CAPC_CLOSE_ALL), 0);
	/* What was to be closed itself is another matter. */
	played_answer(&d, WIRE_LIST, ENOENT, "no such session", -1);
	ck_assert_int_eq(capc_session_close(s, "app", CAPC_CLOSE_ALL), -ENOENT);
	/* And not for ever. */
	capc_session_set_timeout(s, 0);
	answer_names(0, false, "");
	answer_names(0, false, "");
	played_answer(&d, WIRE_REMOVE, ENOTEMPTY, "it has child sessions", -1);
	ck_assert_int_eq(capc_session_close(s, "app", CAPC_CLOSE_ALL), -ENOTEMPTY);
}
END_TEST

static int
dawdle(const char *name, void *data)
{
	usleep(SHORT);
	return 0;
}

START_TEST(a_listing_has_one_timeout)
{
	answer_names(17, true, "log\n");
	answer_names(18, false, "web\n");
	ck_assert_int_eq(capc_list(s, "caps", dawdle, NULL, SHORT), -ETIMEDOUT);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("client");
	TCase *c = tcase_create("client");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_node_is_read);
	tcase_add_test(c, a_long_node_is_read_in_parts);
	tcase_add_test(c, parts_that_do_not_advance_end_the_session);
	tcase_add_test(c, label_is_asked_for_once);
	tcase_add_test(c, a_command_gives_its_result_or_the_reason);
	tcase_add_test(c, a_directory_is_listed_by_cookies);
	tcase_add_test(c, a_listing_can_be_stopped);
	tcase_add_test(c, a_listing_can_be_interleaved);
	tcase_add_test(c, late_answers_are_discarded);
	tcase_add_test(c, late_answers_do_not_prolong_anything);
	tcase_add_test(c, the_end_is_told_at_once_and_for_good);
	tcase_add_test(c, a_request_to_nobody_is_told);
	tcase_add_test(c, short_forms_keep_the_time_of_the_session);
	tcase_add_test(c, cookies_that_stay_end_the_session);
	tcase_add_test(c, an_end_while_idle_is_noticed);
	tcase_add_loop_test(c, malformed_answers_end_the_session, 0, 5);
	tcase_add_test(c, what_cannot_be_sent_is_refused_before);
	tcase_add_test(c, delegation_is_the_text_of_the_files);
	tcase_add_loop_test(c, a_daemon_says_why_it_hangs_up, 0, 2);
	tcase_add_test(c, a_result_that_is_none_is_told);
	tcase_add_test(c, closing_all_goes_from_the_leaves);
	tcase_add_test(c, closing_all_goes_on_whatever_others_do);
	tcase_add_test(c, a_listing_has_one_timeout);
	suite_add_tcase(suite, c);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
