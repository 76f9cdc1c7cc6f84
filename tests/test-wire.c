/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every message survives the way there and back, and no bytes but those are taken for one: each is
 * cut at every place, made longer, and mutated. Copies have their exact size on the heap, so that
 * a sanitizer sees a read beyond the end.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "wire/wire.h"

#define MUTATIONS 20000

static uint8_t buffer[WIRE_CALL_MAX];

static const struct wire_request request = {
	.op = WIRE_WRITE,
	.serial = 0x1122334455667788,
	.offset = 77,
	.path = "caps/web/grant",
	.n_path = 14,
	.text = "to=app",
	.n_text = 6,
};

static const struct wire_reply reply = {
	.op = WIRE_READ,
	.flags = WIRE_MORE,
	.error = EDQUOT,
	.serial = 9,
	.value = UINT64_MAX,
	.text = "caps limit=8",
	.n_text = 12,
};

static const struct wire_listener listener = {.key = 7, .badge = 0x4c, .error = 122};

static const struct wire_handover handover = {
	.serial = 5,
	.key = 6,
	.badge = 0x4c,
	.capability = 31,
	.rights = 9,
	.uid = 990,
	.gid = UINT32_MAX,
	.pid = 4711,
	.page_index = 1 << 19,
	.aside = true,
	.label = "init/app",
	.n_label = 8,
};

/* The same for a server that asked for caveats: two groups, of two and of one. */
static const char caveats[] = "GET /a\0GET /b\0\0GET *\0";

static struct wire_handover
told(void)
{
	struct wire_handover m = handover;

	m.caveats = caveats;
	m.n_caveats = sizeof(caveats);
	return m;
}

static const struct wire_call call = {
	.type = WIRE_RETURN,
	.code = EPERM,
	.serial = 3,
	.payload = "no\0thing",
	.n_payload = 8,
};

/* One row for each kind of message: what is done to one is done to all. */
static int
encode_request(void *data, size_t size)
{
	return wire_request_encode(&request, data, size);
}

static int
encode_reply(void *data, size_t size)
{
	return wire_reply_encode(&reply, data, size);
}

static int
encode_handover(void *data, size_t size)
{
	return wire_handover_encode(&handover, data, size);
}

static int
encode_told(void *data, size_t size)
{
	const struct wire_handover m = told();

	return wire_handover_encode(&m, data, size);
}

static int
encode_taken(void *data, size_t size)
{
	return wire_taken_encode(5, data, size);
}

static int
encode_pages(void *data, size_t size)
{
	return wire_pages_encode(data, size);
}

static int
encode_listener(void *data, size_t size)
{
	return wire_listener_encode(&listener, data, size);
}

static int
encode_call(void *data, size_t size)
{
	return wire_call_encode(&call, data, size);
}

static int
decode_request(const void *data, size_t n)
{
	struct wire_request m;
	int r = wire_request_decode(data, n, &m);

	if (r == 0)
		ck_assert(m.n_path <= WIRE_PATH_MAX && m.n_text <= WIRE_TEXT_MAX && m.serial);
	return r;
}

static int
decode_reply(const void *data, size_t n)
{
	struct wire_reply m;

	return wire_reply_decode(data, n, &m);
}

static int
decode_handover(const void *data, size_t n)
{
	struct wire_handover m;

	return wire_handover_decode(data, n, &m);
}

static int
decode_taken(const void *data, size_t n)
{
	uint64_t serial;

	return wire_taken_decode(data, n, &serial);
}

static int
decode_listener(const void *data, size_t n)
{
	struct wire_listener m;
	int r = wire_listener_decode(data, n, &m);

	if (r == 0)
		ck_assert_uint_ne(m.badge, 0);
	return r;
}

static int
decode_call(const void *data, size_t n)
{
	struct wire_call m;

	return wire_call_decode(data, n, &m);
}

static const struct kind {
	int (*encode)(void *data, size_t size);
	int (*decode)(const void *data, size_t n);
	int n; /* bytes of the example, as doc/PROTOCOL has them */
	uint8_t foreign; /* a type that is none of its kind */
} kinds[] = {
	{encode_request, decode_request, 24 + 14 + 6, WIRE_READ | WIRE_REPLY},
	{encode_reply, decode_reply, 28 + 12, WIRE_READ},
	{encode_handover, decode_handover, 56 + 8, WIRE_TAKEN},
	{encode_told, decode_handover, 56 + 8 + 2 + sizeof(caveats), WIRE_TAKEN},
	{encode_taken, decode_taken, 10, WIRE_HANDOVER},
	{encode_pages, wire_pages_decode, 2, WIRE_TAKEN},
	{encode_listener, decode_listener, 22, WIRE_HANDOVER},
	{encode_call, decode_call, 18 + 8, 3},
};

static int
decode_copy(const struct kind *kind, const void *data, size_t n)
{
	cleanup_free uint8_t *copy = malloc(n > 0 ? n : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, n);
	return kind->decode(copy, n);
}

START_TEST(request_comes_back)
{
	struct wire_request m;
	int n = wire_request_encode(&request, buffer, sizeof(buffer));

	ck_assert_int_eq(wire_request_decode(buffer, (size_t)n, &m), 0);
	ck_assert_uint_eq(m.op, request.op);
	ck_assert_uint_eq(m.serial, request.serial);
	ck_assert_uint_eq(m.offset, request.offset);
	ck_assert_uint_eq(m.n_path, request.n_path);
	ck_assert_mem_eq(m.path, request.path, m.n_path);
	ck_assert_uint_eq(m.n_text, request.n_text);
	ck_assert_mem_eq(m.text, request.text, m.n_text);
}
END_TEST

START_TEST(reply_comes_back)
{
	struct wire_reply m;
	int n = wire_reply_encode(&reply, buffer, sizeof(buffer));

	ck_assert_uint_eq(buffer[1], WIRE_READ | WIRE_REPLY);
	ck_assert_int_eq(wire_reply_decode(buffer, (size_t)n, &m), 0);
	ck_assert_uint_eq(m.op, reply.op);
	ck_assert_uint_eq(m.flags, reply.flags);
	ck_assert_uint_eq(m.error, reply.error);
	ck_assert_uint_eq(m.serial, reply.serial);
	ck_assert_uint_eq(m.value, reply.value);
	ck_assert_uint_eq(m.n_text, reply.n_text);
	ck_assert_mem_eq(m.text, reply.text, m.n_text);
}
END_TEST

START_TEST(handover_comes_back)
{
	struct wire_handover m;
	uint64_t serial;
	int n = wire_handover_encode(&handover, buffer, sizeof(buffer));

	ck_assert_int_eq(wire_handover_decode(buffer, (size_t)n, &m), 0);
	ck_assert_uint_eq(m.serial, handover.serial);
	ck_assert_uint_eq(m.key, handover.key);
	ck_assert_uint_eq(m.badge, handover.badge);
	ck_assert_uint_eq(m.capability, handover.capability);
	ck_assert_uint_eq(m.rights, handover.rights);
	ck_assert_uint_eq(m.uid, handover.uid);
	ck_assert_uint_eq(m.gid, handover.gid);
	ck_assert_uint_eq(m.pid, handover.pid);
	ck_assert_uint_eq(m.page_index, handover.page_index);
	ck_assert(m.aside);
	ck_assert_uint_eq(m.n_label, handover.n_label);
	ck_assert_mem_eq(m.label, handover.label, m.n_label);

	ck_assert_ptr_null(m.caveats);
	n = encode_told(buffer, sizeof(buffer));
	ck_assert_int_eq(wire_handover_decode(buffer, (size_t)n, &m), 0);
	ck_assert_uint_eq(m.rights, handover.rights);
	ck_assert_uint_eq(m.n_caveats, sizeof(caveats));
	ck_assert_mem_eq(m.caveats, caveats, sizeof(caveats));

	n = wire_taken_encode(5, buffer, sizeof(buffer));
	ck_assert_int_eq(wire_taken_decode(buffer, (size_t)n, &serial), 0);
	ck_assert_uint_eq(serial, 5);
}
END_TEST

/* P38: what is not a list of caveats is none, so that nobody takes the half of one for all. */
START_TEST(caveats_are_a_list_of_groups)
{
	static const struct {
		const char *list;
		size_t n;
		bool is;
	} rows[] = {
		{"", 0, true}, {"a\0", 3, true}, {"a\0b\0\0c\0", 8, true}, {"a", 1, false}, {"a", 2, false},
		{"\0", 1, false}, {"a\0\0", 4, false}, {"a\n\0", 4, false}, {"a\0\0\0", 5, false},
	};
	char most[WIRE_CAVEATS_MAX], *p = most;
	struct wire_handover m = handover;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_int_eq(wire_caveats_are_valid(rows[i].list, rows[i].n), rows[i].is);
	for (int i = 0; i < WIRE_CAVEATS_N_MAX; i++, p += 2) {
		memset(p, 'x', WIRE_CAVEAT_MAX);
		p += WIRE_CAVEAT_MAX;
		p[0] = p[1] = '\0';
	}
	ck_assert(wire_caveats_are_valid(most, sizeof(most)));
	most[WIRE_CAVEAT_MAX] = 'x';
	ck_assert(!wire_caveats_are_valid(most, sizeof(most)));
	memcpy(most, "a\0", 3);
	memset(most + 3, 'b', sizeof(most) - 3);
	ck_assert(!wire_caveats_are_valid(most, sizeof(most)));
	/* The longest there is has room in a message of the channel. */
	m.caveats = most;
	m.n_caveats = sizeof(most);
	m.label = (const char *)buffer + WIRE_CHANNEL_MAX;
	m.n_label = WIRE_LABEL_MAX;
	ck_assert_int_gt(wire_handover_encode(&m, buffer, WIRE_CHANNEL_MAX), 0);
	m.n_caveats++;
	ck_assert_int_eq(wire_handover_encode(&m, buffer, sizeof(buffer)), -EMSGSIZE);
}
END_TEST

START_TEST(call_comes_back)
{
	struct wire_call m;
	int n = wire_call_encode(&call, buffer, sizeof(buffer));

	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, &m), 0);
	ck_assert_uint_eq(m.type, call.type);
	ck_assert_uint_eq(m.code, call.code);
	ck_assert_uint_eq(m.serial, call.serial);
	ck_assert_uint_eq(m.n_payload, call.n_payload);
	ck_assert_mem_eq(m.payload, call.payload, m.n_payload);
}
END_TEST

START_TEST(bytes_are_as_written_down)
{
	static const uint8_t taken[] = {1, 2, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
	static const uint8_t start[] = {1, WIRE_WRITE, 14, 0, 6, 0, 0, 0, 0x88, 0x77, 0x66, 0x55,
		0x44, 0x33, 0x22, 0x11, 77, 0, 0, 0, 0, 0, 0, 0, 'c', 'a'};

	ck_assert_int_eq(wire_taken_encode(request.serial, buffer, sizeof(buffer)), sizeof(taken));
	ck_assert_mem_eq(buffer, taken, sizeof(taken));
	ck_assert_int_ge(encode_request(buffer, sizeof(buffer)), (int)sizeof(start));
	ck_assert_mem_eq(buffer, start, sizeof(start));
}
END_TEST

START_TEST(cut_or_longer_is_malformed)
{
	const struct kind *kind = &kinds[_i];
	int n = kind->encode(buffer, sizeof(buffer));

	ck_assert_int_eq(n, kind->n);
	ck_assert_int_eq(decode_copy(kind, buffer, (size_t)n), 0);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(decode_copy(kind, buffer, (size_t)i), -EBADMSG);
	buffer[n] = 0;
	ck_assert_int_eq(decode_copy(kind, buffer, (size_t)n + 1), -EBADMSG);
	for (int size = 0; size < n; size++)
		ck_assert_int_eq(kind->encode(buffer, (size_t)size), -EMSGSIZE);
}
END_TEST

START_TEST(another_version_is_told)
{
	const struct kind *kind = &kinds[_i];
	int n = kind->encode(buffer, sizeof(buffer));

	buffer[0] = WIRE_VERSION + 1;
	ck_assert_int_eq(decode_copy(kind, buffer, (size_t)n), -EPROTO);
}
END_TEST

START_TEST(foreign_types_are_malformed)
{
	const struct kind *kind = &kinds[_i];
	int n = kind->encode(buffer, sizeof(buffer));

	buffer[1] = kind->foreign;
	ck_assert_int_eq(decode_copy(kind, buffer, (size_t)n), -EBADMSG);
	buffer[1] = 0;
	ck_assert_int_eq(decode_copy(kind, buffer, (size_t)n), -EBADMSG);
}
END_TEST

START_TEST(mutations_are_survived)
{
	const struct kind *kind = &kinds[_i];
	unsigned seed = (unsigned)_i + 1;

	for (int i = 0; i < MUTATIONS; i++) {
		int n = kind->encode(buffer, sizeof(buffer)), r;

		for (int j = rand_r(&seed) % 4; j >= 0; j--)
			buffer[rand_r(&seed) % n] = (uint8_t)rand_r(&seed);
		r = decode_copy(kind, buffer, (size_t)(rand_r(&seed) % 4 ? n : rand_r(&seed) % n));
		ck_assert(r == 0 || r == -EBADMSG || r == -EPROTO);
	}
}
END_TEST

START_TEST(zero_serials_are_malformed)
{
	struct wire_request q = request;
	struct wire_handover h = handover;
	struct wire_call c = call;
	int n;

	q.serial = h.serial = c.serial = 0;
	n = wire_request_encode(&q, buffer, sizeof(buffer));
	ck_assert_int_eq(decode_request(buffer, (size_t)n), -EBADMSG);
	n = wire_handover_encode(&h, buffer, sizeof(buffer));
	ck_assert_int_eq(decode_handover(buffer, (size_t)n), -EBADMSG);
	n = wire_call_encode(&c, buffer, sizeof(buffer));
	ck_assert_int_eq(decode_call(buffer, (size_t)n), -EBADMSG);
	n = wire_taken_encode(0, buffer, sizeof(buffer));
	ck_assert_int_eq(decode_taken(buffer, (size_t)n), -EBADMSG);
}
END_TEST

START_TEST(limits_are_kept)
{
	static char big[WIRE_PAYLOAD_MAX + 1];
	struct wire_request q = {.op = WIRE_READ, .serial = 1, .path = big, .text = big};
	struct wire_reply a = {.op = WIRE_READ, .text = big, .n_text = WIRE_TEXT_MAX};
	struct wire_call c = {.type = WIRE_CALL, .serial = 1, .payload = big};
	struct wire_handover h = {.serial = 1, .label = big, .n_label = WIRE_LABEL_MAX};
	int n;

	q.n_path = WIRE_PATH_MAX;
	q.n_text = WIRE_TEXT_MAX;
	n = wire_request_encode(&q, buffer, WIRE_CONTROL_MAX);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(decode_request(buffer, (size_t)n), 0);
	q.n_path++;
	ck_assert_int_eq(wire_request_encode(&q, buffer, sizeof(buffer)), -EMSGSIZE);
	q.n_path--;
	q.n_text++;
	ck_assert_int_eq(wire_request_encode(&q, buffer, sizeof(buffer)), -EMSGSIZE);

	ck_assert_int_gt(wire_reply_encode(&a, buffer, WIRE_CONTROL_MAX), 0);
	a.n_text++;
	ck_assert_int_eq(wire_reply_encode(&a, buffer, sizeof(buffer)), -EMSGSIZE);

	c.n_payload = WIRE_PAYLOAD_MAX;
	ck_assert_int_gt(wire_call_encode(&c, buffer, WIRE_CALL_MAX), 0);
	/* A longer payload is not in the packet. */
	c.n_payload++;
	ck_assert_int_eq(wire_call_encode(&c, buffer, sizeof(buffer)), 18);
	c.n_payload = WIRE_LARGE_MAX + 1;
	ck_assert_int_eq(wire_call_encode(&c, buffer, sizeof(buffer)), -EMSGSIZE);

	ck_assert_int_gt(wire_handover_encode(&h, buffer, WIRE_CHANNEL_MAX), 0);
	h.n_label++;
	ck_assert_int_eq(wire_handover_encode(&h, buffer, sizeof(buffer)), -EMSGSIZE);
}
END_TEST

START_TEST(cursor_sticks_at_its_end)
{
	static const uint8_t data[] = {1, 2, 3};
	struct wire_reader r = {.p = data, .end = data + sizeof(data)};

	ck_assert_uint_eq(wire_get(&r, 2), 0x0201);
	ck_assert_uint_eq(wire_get(&r, 4), 0);
	ck_assert(r.failed);
	/* What is left is not given out after a failure. */
	ck_assert_uint_eq(wire_get(&r, 1), 0);
	ck_assert_ptr_null(wire_get_bytes(&r, 0));
	ck_assert(!wire_reader_done(&r));
}
END_TEST

static Suite *
suite(void)
{
	const int n = (int)(sizeof(kinds) / sizeof(kinds[0]));
	Suite *suite = suite_create("wire");
	TCase *c = tcase_create("wire");

	tcase_add_checked_fixture(c, fixture_setup, fixture_teardown);
	tcase_add_test(c, request_comes_back);
	tcase_add_test(c, reply_comes_back);
	tcase_add_test(c, handover_comes_back);
	tcase_add_test(c, caveats_are_a_list_of_groups);
	tcase_add_test(c, call_comes_back);
	tcase_add_test(c, bytes_are_as_written_down);
	tcase_add_loop_test(c, cut_or_longer_is_malformed, 0, n);
	tcase_add_loop_test(c, another_version_is_told, 0, n);
	tcase_add_loop_test(c, foreign_types_are_malformed, 0, n);
	tcase_add_loop_test(c, mutations_are_survived, 0, n);
	tcase_add_test(c, zero_serials_are_malformed);
	tcase_add_test(c, limits_are_kept);
	tcase_add_test(c, cursor_sticks_at_its_end);
	suite_add_tcase(suite, c);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
