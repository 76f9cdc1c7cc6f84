/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server is told of who calls: the bytes of the header, and that they come before all others. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/kinds/capability/rights.h"
#include "helpers/proxy-header.h"
#include "tests/relay-world.h"

#define FIXED_BYTES 28
#define HEAD_BYTES 3
#define RIGHTS_ALL 0x7f

static const char vector[] =
	"\r\n\r\n\0\r\nQUIT\n"
	"\x21\x11\0\x39"
	"\xf0\0\x01\x2c" /* 240.0.1.44, from */
	"\xf0\0\0\0"	 /* 240.0.0.0, to */
	"\0\0\0\0"	 /* ports */
	"\x02\0\x08" "init/app"
	"\x05\0\x03" "300"
	"\xe0\0\x08" "init/app"
	"\xe1\0\x03" "300"
	"\xe2\0\x08" "call,fds";
#define VECTOR_BYTES (sizeof(vector) - 1)

static const struct capc_caller app = {
	.label = "init/app", .capability = 300, .rights = CAPC_RIGHT_CALL | CAPC_RIGHT_FDS};

START_TEST(a_header_as_it_is_documented)
{
	cleanup_text struct text t = {};

	text_add(&t, "before");
	ck_assert_int_eq(proxy_header(&app, &t), 0);
	ck_assert_uint_eq(t.n, 6 + VECTOR_BYTES);
	ck_assert_mem_eq(t.data, "before", 6);
	ck_assert_mem_eq(t.data + 6, vector, VECTOR_BYTES);
}
END_TEST

/* P38: each group, with its members apart; and none is left out, as the rest would allow more. */
START_TEST(caveats_come_group_by_group)
{
	static const char two[] = "GET /a\0GET /b\0\0GET *\0", rows[] = "\xe3\0\x0dGET /a\0GET /b\xe3\0\x05GET *";
	struct capc_caller caller = app;
	cleanup_text struct text t = {};
	char many[PROXY_HEADER_MAX + 2];

	caller.caveats = two;
	caller.n_caveats = sizeof(two);
	ck_assert_int_eq(proxy_header(&caller, &t), 0);
	ck_assert_uint_eq(t.n, VECTOR_BYTES + sizeof(rows) - 1);
	ck_assert_mem_eq(t.data + VECTOR_BYTES, rows, sizeof(rows) - 1);
	ck_assert_uint_eq((uint8_t)t.data[15], t.n - 16);
	caller.caveats = "";
	caller.n_caveats = 0;
	text_reset(&t);
	ck_assert_int_eq(proxy_header(&caller, &t), 0);
	ck_assert_uint_eq(t.n, VECTOR_BYTES);
	memset(many, 'x', sizeof(many));
	caller.caveats = many;
	for (size_t n = PROXY_HEADER_MAX - VECTOR_BYTES - HEAD_BYTES; n < sizeof(many) - 1; n++) {
		bool fits = n <= PROXY_HEADER_MAX - VECTOR_BYTES - HEAD_BYTES;

		memset(many, 'x', n);
		many[n] = many[n + 1] = '\0';
		caller.n_caveats = n + 2;
		text_reset(&t);
		ck_assert_int_eq(proxy_header(&caller, &t), fits ? 0 : -ENAMETOOLONG);
	}
}
END_TEST

/* The value of the row of TYPE, as a string. */
static void
get_value(const struct text *t, uint8_t type, char ret[PROXY_HEADER_MAX])
{
	const uint8_t *p = (const uint8_t *)t->data + FIXED_BYTES, *end = (const uint8_t *)t->data + t->n;

	while (end - p >= HEAD_BYTES) {
		size_t n = (size_t)p[1] << 8 | p[2];

		ck_assert_uint_le(n, (size_t)(end - p) - HEAD_BYTES);
		if (p[0] == type) {
			memcpy(ret, p + HEAD_BYTES, n);
			ret[n] = '\0';
			return;
		}
		p += HEAD_BYTES + n;
	}
	ck_abort_msg("no row of type 0x%x", type);
}

START_TEST(a_capability_has_an_address_of_its_own_or_none)
{
	static const struct {
		uint64_t id;
		uint8_t address[4];
	} rows[] = {
		{1, {240, 0, 0, 1}},
		{0x0ffffffe, {255, 255, 255, 254}},
		{0x0fffffff, {240, 0, 0, 0}},
		{0x10000001, {240, 0, 0, 0}},
		{UINT64_C(0x100000001), {240, 0, 0, 0}},
		{UINT64_MAX, {240, 0, 0, 0}},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct capc_caller caller = {.label = "init", .capability = rows[i].id};
		cleanup_text struct text t = {};
		char value[PROXY_HEADER_MAX];

		ck_assert_int_eq(proxy_header(&caller, &t), 0);
		ck_assert_mem_eq(t.data + 16, rows[i].address, 4);
		get_value(&t, 0x05, value);
		ck_assert_uint_eq(strtoull(value, NULL, 10), rows[i].id);
	}
}
END_TEST

START_TEST(rights_are_called_as_the_daemon_calls_them)
{
	for (uint32_t rights = 0; rights <= RIGHTS_ALL; rights++) {
		struct capc_caller caller = {.label = "init", .capability = 1, .rights = rights};
		cleanup_text struct text wanted = {};
		cleanup_text struct text t = {};
		char value[PROXY_HEADER_MAX];

		rights_format(rights, &wanted);
		ck_assert_int_eq(proxy_header(&caller, &t), 0);
		get_value(&t, 0xe2, value);
		ck_assert_str_eq(value, wanted.data);
	}
}
END_TEST

/* With the longest of everything it is no longer than what it is documented to be. */
START_TEST(a_label_is_told_whole_or_not_at_all)
{
	cleanup_text struct text t = {};
	char label[257], value[PROXY_HEADER_MAX];
	struct capc_caller caller = {.label = label, .capability = UINT64_MAX, .rights = UINT32_MAX};

	memset(label, 'a', 256);
	label[256] = '\0';
	ck_assert_int_eq(proxy_header(&caller, &t), -ENAMETOOLONG);
	label[255] = '\0';
	text_reset(&t);
	ck_assert_int_eq(proxy_header(&caller, &t), 0);
	ck_assert_uint_le(t.n, PROXY_HEADER_MAX);
	get_value(&t, 0x02, value);
	ck_assert_str_eq(value, label);
	get_value(&t, 0xe0, value);
	ck_assert_str_eq(value, label);
}
END_TEST

/* A client's end, from whom nothing has come yet; *RET_KEPT as of connect_client(). */
static int
connect_app(int *ret_kept)
{
	int fds[2];

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, fds), 0);
	*ret_kept = fd_dup(fds[1]);
	relays_add(&w.relays, fds[1], &app);
	return fds[0];
}

/* Nothing is in front of it. */
static void
assert_header(int server)
{
	char bytes[VECTOR_BYTES];

	ck_assert(turn_until_readable(server));
	ck_assert_int_eq(recv(server, bytes, sizeof(bytes), MSG_DONTWAIT), (ssize_t)sizeof(bytes));
	ck_assert_mem_eq(bytes, vector, sizeof(bytes));
}

/* As of a mail server, which greets, once it knows whom. */
START_TEST(it_comes_before_anybody_has_spoken)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){.send_proxy = true});
	client = connect_app(&kept);
	server = accept_behind();
	assert_header(server);
	assert_arrives(server, client, "220 hello");
	assert_arrives(client, server, "quit");
	relays_deinit(&w.relays);
}
END_TEST

/* One that pretends to be somebody else, and is gone at once. */
START_TEST(it_comes_before_what_a_client_forges)
{
	cleanup_close int server = -1;
	char bytes[VECTOR_BYTES];
	int kept, client;

	listen_behind(SOCK_STREAM, 0);
	start_relays(&(struct relays_options){.send_proxy = true});
	client = connect_app(&kept);
	ck_assert_int_eq(send(client, vector, VECTOR_BYTES, MSG_NOSIGNAL), (ssize_t)VECTOR_BYTES);
	close(client);
	close(kept);
	server = accept_behind();
	assert_header(server);
	ck_assert(turn_until_readable(server));
	ck_assert_int_eq(recv(server, bytes, sizeof(bytes), MSG_DONTWAIT), (ssize_t)sizeof(bytes));
	assert_end(server);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(it_waits_with_its_connection)
{
	enum { N = 4 };
	int kept[N], clients[N], servers[N];

	listen_behind(SOCK_STREAM, 0);
	start_relays(&(struct relays_options){.send_proxy = true});
	for (int i = 0; i < N; i++)
		clients[i] = connect_app(&kept[i]);
	turn();
	ck_assert(!list_empty(&w.relays.connecting));
	for (int i = 0; i < N; i++)
		servers[i] = accept_behind();
	for (int i = 0; i < N; i++) {
		assert_header(servers[i]);
		assert_arrives(clients[i], servers[i], "hello");
	}
	relays_deinit(&w.relays);
	for (int i = 0; i < N; i++) {
		close(clients[i]);
		close(kept[i]);
		close(servers[i]);
	}
}
END_TEST

/* The one end of a pair: a connection into which nothing goes any more. */
static int
connect_full(void *data, int client_fd, uid_t uid, gid_t gid)
{
	static const char block[BLOCK_BYTES];
	int fds[2];

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, fds), 0);
	*(int *)data = fds[1];
	while (send(fds[0], block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
	}
	return fds[0];
}

/* Takes what the connection was full of, byte by byte, up to the begin of what came through the relay. */
static void
skip_filling(int server)
{
	char byte = '\0';

	for (;;) {
		ck_assert(turn_until_readable(server));
		ck_assert_int_eq(recv(server, &byte, 1, MSG_DONTWAIT | MSG_PEEK), 1);
		if (byte != '\0')
			return;
		recv(server, &byte, 1, MSG_DONTWAIT);
	}
}

/* Without a word of the client's, which would wake the relay. */
START_TEST(it_waits_for_room)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	start_relays(&(struct relays_options){.send_proxy = true});
	w.relays.options.connect = connect_full;
	w.relays.options.data = &server;
	client = connect_app(&kept);
	for (int i = 0; i < 3; i++)
		turn();
	skip_filling(server);
	assert_header(server);
	assert_arrives(client, server, "hello");
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(who_cannot_be_told_is_turned_away)
{
	cleanup_free char *label = calloc(1, 257);
	cleanup_close int kept = -1;
	int fds[2];

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){.send_proxy = true});
	memset(label, 'a', 256);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, fds), 0);
	kept = fd_dup(fds[1]);
	relays_add(&w.relays, fds[1], &(struct capc_caller){.label = label});
	ck_assert_uint_eq(w.relays.n, 0);
	assert_end(fds[0]);
	close(fds[0]);
	ck_assert_int_eq(accept(w.listener, NULL, NULL), -1);
	relays_deinit(&w.relays);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proxy-header");
	TCase *c = fixture_case(s, "header", 10);

	tcase_add_test(c, a_header_as_it_is_documented);
	tcase_add_test(c, caveats_come_group_by_group);
	tcase_add_test(c, a_capability_has_an_address_of_its_own_or_none);
	tcase_add_test(c, rights_are_called_as_the_daemon_calls_them);
	tcase_add_test(c, a_label_is_told_whole_or_not_at_all);
	c = tcase_create("relay");
	tcase_add_checked_fixture(c, relay_setup, relay_teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, it_comes_before_anybody_has_spoken);
	tcase_add_test(c, it_comes_before_what_a_client_forges);
	tcase_add_test(c, it_waits_with_its_connection);
	tcase_add_test(c, it_waits_for_room);
	tcase_add_test(c, who_cannot_be_told_is_turned_away);
	suite_add_tcase(s, c);
	return fixture_main(s);
}
