/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C06 C07 C08 C09 S17 */
/* Argument trees: made, sealed, opened; and bytes that are none. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "tests/args-world.h"
#include "tests/fixture.h"

static struct capc_value
get(const capc_args *a, const char *path)
{
	struct capc_value v = {};

	ck_assert_msg(capc_args_get(a, path, &v) == 0, "'%s'", path);
	return v;
}

static struct capc_value
a_float(double real)
{
	return (struct capc_value){.type = CAPC_FLOAT, .real = real};
}

static struct capc_value
a_big(const char *bytes, size_t n, bool negative)
{
	return (struct capc_value){.type = CAPC_BIG, .big = {(const uint8_t *)bytes, n, negative}};
}

static struct capc_value
a_time(int64_t sec, uint32_t nsec)
{
	return (struct capc_value){.type = CAPC_TIME, .time = {sec, nsec}};
}

static struct capc_value
a_collection(enum capc_type type)
{
	return (struct capc_value){.type = type};
}

/* --- C06: what goes in comes out --- */

static const struct row {
	const char *name;
	struct capc_value value;
	const char *bytes; /* of it as the root */
	size_t n;
} rows[] = {
#define ROW(name, bytes, ...) {name, __VA_ARGS__, bytes, sizeof(bytes) - 1}
	ROW("null", "\xf6", {.type = CAPC_NULL}),
	ROW("true", "\xf5", {.type = CAPC_BOOL, .boolean = true}),
	ROW("false", "\xf4", {.type = CAPC_BOOL}),
	ROW("0", "\x00", {.type = CAPC_INT}),
	ROW("23", "\x17", {.type = CAPC_INT, .integer = 23}),
	ROW("24", "\x18\x18", {.type = CAPC_INT, .integer = 24}),
	ROW("255", "\x18\xff", {.type = CAPC_INT, .integer = 255}),
	ROW("256", "\x19\x01\x00", {.type = CAPC_INT, .integer = 256}),
	ROW("65536", "\x1a\x00\x01\x00\x00", {.type = CAPC_INT, .integer = 65536}),
	ROW("2^32", "\x1b\x00\x00\x00\x01\x00\x00\x00\x00", {.type = CAPC_INT, .integer = INT64_C(1) << 32}),
	ROW("most", "\x1b\x7f\xff\xff\xff\xff\xff\xff\xff", {.type = CAPC_INT, .integer = INT64_MAX}),
	ROW("-1", "\x20", {.type = CAPC_INT, .integer = -1}),
	ROW("least", "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", {.type = CAPC_INT, .integer = INT64_MIN}),
	ROW("2^63", "\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
		{.type = CAPC_BIG, .big = {(const uint8_t *)"\x80\0\0\0\0\0\0\0", 8, false}}),
	ROW("-1-2^63", "\x3b\x80\x00\x00\x00\x00\x00\x00\x00",
		{.type = CAPC_BIG, .big = {(const uint8_t *)"\x80\0\0\0\0\0\0\0", 8, true}}),
	ROW("2^64", "\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		{.type = CAPC_BIG, .big = {(const uint8_t *)"\1\0\0\0\0\0\0\0\0", 9, false}}),
	ROW("-1-2^64", "\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		{.type = CAPC_BIG, .big = {(const uint8_t *)"\1\0\0\0\0\0\0\0\0", 9, true}}),
	ROW("0.0", "\xf9\x00\x00", {.type = CAPC_FLOAT}),
	ROW("-0.0", "\xf9\x80\x00", {.type = CAPC_FLOAT, .real = -0.0}),
	ROW("1.0", "\xf9\x3c\x00", {.type = CAPC_FLOAT, .real = 1.0}),
	ROW("1.5", "\xf9\x3e\x00", {.type = CAPC_FLOAT, .real = 1.5}),
	ROW("65504.0", "\xf9\x7b\xff", {.type = CAPC_FLOAT, .real = 65504.0}),
	ROW("65536.0", "\xfa\x47\x80\x00\x00", {.type = CAPC_FLOAT, .real = 65536.0}),
	ROW("2^-14", "\xf9\x04\x00", {.type = CAPC_FLOAT, .real = 0x1p-14}),
	ROW("2^-24", "\xf9\x00\x01", {.type = CAPC_FLOAT, .real = 0x1p-24}),
	ROW("1023*2^-24", "\xf9\x03\xff", {.type = CAPC_FLOAT, .real = 0x3ffp-24}),
	ROW("2^-25", "\xfa\x33\x00\x00\x00", {.type = CAPC_FLOAT, .real = 0x1p-25}),
	ROW("1.1", "\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a", {.type = CAPC_FLOAT, .real = 1.1}),
	ROW("1e300", "\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", {.type = CAPC_FLOAT, .real = 1e300}),
	ROW("largest", "\xfa\x7f\x7f\xff\xff", {.type = CAPC_FLOAT, .real = 0x1.fffffep127}),
	ROW("infinity", "\xf9\x7c\x00", {.type = CAPC_FLOAT, .real = (double)INFINITY}),
	ROW("-infinity", "\xf9\xfc\x00", {.type = CAPC_FLOAT, .real = -(double)INFINITY}),
	ROW("nan", "\xf9\x7e\x00", {.type = CAPC_FLOAT, .real = (double)NAN}),
	ROW("empty", "\x60", {.type = CAPC_STRING}),
	ROW("string", "\x64h\xc3\xa4\0", {.type = CAPC_STRING, .string = {"h\xc3\xa4\0", 4}}),
	ROW("no bytes", "\x40", {.type = CAPC_BINARY}),
	ROW("bytes", "\x43\xff\0\xfe", {.type = CAPC_BINARY, .binary = {"\xff\0\xfe", 3}}),
	ROW("time", "\xc0\x74" "1970-01-01T00:00:00Z", {.type = CAPC_TIME}),
	ROW("leap day", "\xc0\x76" "2024-02-29T23:59:59.5Z", {.type = CAPC_TIME, .time = {1709251199, 500000000}}),
	ROW("nanosecond", "\xc0\x78\x1e" "1969-12-31T23:59:59.000000001Z", {.type = CAPC_TIME, .time = {-1, 1}}),
	ROW("first year", "\xc0\x74" "0000-01-01T00:00:00Z", {.type = CAPC_TIME, .time = {-62167219200, 0}}),
	ROW("last year", "\xc0\x74" "9999-12-31T23:59:59Z", {.type = CAPC_TIME, .time = {253402300799, 0}}),
	ROW("sequence", "\x80", {.type = CAPC_SEQUENCE}),
	ROW("map", "\xa0", {.type = CAPC_MAP}),
#undef ROW
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

START_TEST(C06_each_type_has_its_bytes)
{
	const struct row *row = &rows[_i];
	capc_args *a = new_args(), *opened = NULL;
	cleanup_free uint8_t *bytes = NULL;
	size_t n;

	set(a, "", row->value);
	bytes = encoded(a, &n);
	ck_assert_msg(n == row->n && memcmp(bytes, row->bytes, n) == 0, "%s has other bytes", row->name);
	ck_assert_int_eq(open_bytes(bytes, n, &opened), 0);
	assert_same(a, opened, "", true);
	capc_args_free(a);
	capc_args_free(opened);
}
END_TEST

/* Times that others write in other ways. */
START_TEST(C06_times_have_zones)
{
	static const char bytes[] = "\xc0\x78\x19" "2026-11-30T13:00:00+01:00";
	capc_args *opened = NULL;

	ck_assert_int_eq(open_bytes(bytes, sizeof(bytes) - 1, &opened), 0);
	ck_assert_int_eq(get(opened, "").time.sec, 1796040000);
	capc_args_free(opened);
}
END_TEST

static void fill(capc_args *a, const char *path, unsigned depth, uint64_t *seed, int fd);

static struct capc_value
random_scalar(uint64_t *seed, char buffer[64], int fd)
{
	size_t n = pick(seed, 40);

	for (size_t i = 0; i < n; i++)
		buffer[i] = (char)pick(seed, 256);
	switch (pick(seed, 9)) {
	case 0:
		return (struct capc_value){};
	case 1:
		return (struct capc_value){.type = CAPC_BOOL, .boolean = pick(seed, 2)};
	case 2:
		return an_int((int64_t)(pick(seed, UINT64_MAX) << 11 ^ pick(seed, UINT64_MAX)) >> pick(seed, 64));
	case 3:
		return a_big(buffer, n, pick(seed, 2));
	case 4:
		return a_float(ldexp((double)(int64_t)pick(seed, UINT64_C(1) << pick(seed, 53)),
			(int)pick(seed, 200) - 100));
	case 5:
		for (size_t i = 0; i < n; i++)
			buffer[i] &= 0x7f;
		return (struct capc_value){.type = CAPC_STRING, .string = {buffer, n}};
	case 6:
		return (struct capc_value){.type = CAPC_BINARY, .binary = {buffer, n}};
	case 7:
		return a_time((int64_t)pick(seed, UINT64_C(315569520000)) - INT64_C(62167219200),
			(uint32_t)pick(seed, 2) * (uint32_t)pick(seed, 1000000000));
	default:
		return a_fd(fd);
	}
}

static void
fill_items(capc_args *a, const char *path, unsigned depth, uint64_t *seed, int fd)
{
	enum capc_type type = pick(seed, 2) ? CAPC_MAP : CAPC_SEQUENCE;
	size_t n = pick(seed, 7);

	set(a, path, a_collection(type));
	for (size_t i = 0; i < n; i++) {
		struct text t = {};

		text_addf(&t, "%s%s", path, *path ? "." : "");
		if (type == CAPC_SEQUENCE)
			text_addf(&t, "%zu", i);
		else
			text_addf(&t, "k%zu%s", i, pick(seed, 2) ? "\\.\\\\\xe2\x82\xac" : "");
		fill(a, t.data, depth + 1, seed, fd);
		text_deinit(&t);
	}
}

static void
fill(capc_args *a, const char *path, unsigned depth, uint64_t *seed, int fd)
{
	char buffer[64];

	if (depth == 0 || (depth < 6 && pick(seed, 5) < 2))
		fill_items(a, path, depth, seed, fd);
	else
		set(a, path, random_scalar(seed, buffer, fd));
}

START_TEST(C06_random_trees_come_back)
{
	uint64_t seed = seed_of_run();
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (int i = 0; i < 300; i++) {
		capc_args *a = new_args(), *opened = NULL;
		uint64_t again = seed;
		capc_args *same = new_args();
		size_t n_fds, n;
		cleanup_free uint8_t *bytes = NULL;

		fill(a, "", 0, &seed, fd);
		fill(same, "", 0, &again, fd);
		opened = start(a, PLACE, &n_fds);
		bytes = encoded(same, &n);
		assert_same(same, opened, "", false);
		assert_same(opened, same, "", false);
		capc_args_free(opened);
		capc_args_free(same);
		unplace(PLACE, n_fds);
	}
	close(fd);
}
END_TEST

/* --- C07, C08: bytes that are none --- */

static const struct bad {
	const char *why, *bytes;
	size_t n;
} bads[] = {
#define BAD(why, bytes) {why, bytes, sizeof(bytes) - 1}
	BAD("nothing", ""),
	BAD("two values", "\x00\x00"),
	BAD("a long 0", "\x18\x00"),
	BAD("a long 23", "\x18\x17"),
	BAD("a long 255", "\x19\x00\xff"),
	BAD("a long 65535", "\x1a\x00\x00\xff\xff"),
	BAD("a long 2^32-1", "\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
	BAD("a long -1", "\x38\x00"),
	BAD("a long length of text", "\x78\x01" "a"),
	BAD("a long length of bytes", "\x58\x01" "a"),
	BAD("a long length of a sequence", "\x98\x01\x00"),
	BAD("a long length of a map", "\xb8\x01\x61" "a\x00"),
	BAD("a long tag", "\xd8\x00\x74" "1970-01-01T00:00:00Z"),
	BAD("reserved 28", "\x1c"),
	BAD("reserved 30", "\x5e"),
	BAD("an indefinite text", "\x7f\x61" "a\xff"),
	BAD("indefinite bytes", "\x5f\x41" "a\xff"),
	BAD("an indefinite sequence", "\x9f\xff"),
	BAD("an indefinite map", "\xbf\xff"),
	BAD("an end of nothing", "\xff"),
	BAD("a sequence that lacks one", "\x82\x00"),
	BAD("a map that lacks a value", "\xa1\x61" "a"),
	BAD("a text that lacks bytes", "\x62" "a"),
	BAD("a text of 2^64-1 bytes", "\x7b\xff\xff\xff\xff\xff\xff\xff\xff" "a"),
	BAD("a sequence of 2^64-1 items", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
	BAD("a map of 2^63 items", "\xbb\x80\x00\x00\x00\x00\x00\x00\x00"),
	BAD("half a number", "\x19\x01"),
	BAD("half a float", "\xf9\x3c"),
	BAD("undefined", "\xf7"),
	BAD("a simple value", "\xe0"),
	BAD("a long simple value", "\xf8\x20"),
	BAD("a single that is a half", "\xfa\x3f\x80\x00\x00"),
	BAD("a double that is a half", "\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
	BAD("a double that is a single", "\xfb\x40\xf0\x00\x00\x00\x00\x00\x00"),
	BAD("another nan", "\xf9\x7e\x01"),
	BAD("a negative nan", "\xf9\xfe\x00"),
	BAD("a long nan", "\xfa\x7f\xc0\x00\x00"),
	BAD("a long infinity", "\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
	BAD("a byte that begins no character", "\x61\xff"),
	BAD("a byte that goes on", "\x61\x80"),
	BAD("half a character", "\x61\xc3"),
	BAD("a long character", "\x62\xc0\x80"),
	BAD("a longer character", "\x63\xe0\x80\x80"),
	BAD("a surrogate", "\x63\xed\xa0\x80"),
	BAD("a character beyond the last", "\x64\xf4\x90\x80\x80"),
	BAD("a key that comes twice", "\xa2\x61" "a\x00\x61" "a\x00"),
	BAD("a key that is a number", "\xa1\x00\x00"),
	BAD("a key that is bytes", "\xa1\x41" "a\x00"),
	BAD("a key without bytes", "\xa1\x60\x00"),
	BAD("a key with a newline", "\xa1\x61\n\x00"),
	BAD("a key with a control character", "\xa1\x62\xc2\x9b\x00"),
	BAD("a key that is no text", "\xa1\x61\xff\x00"),
	BAD("tag 1", "\xc1\x00"),
	BAD("tag 4", "\xc4\x82\x00\x00"),
	BAD("tag 55799", "\xd9\xd9\xf7\x00"),
	BAD("a tag of nothing", "\xc0"),
	BAD("a time that is a number", "\xc0\x00"),
	BAD("a day", "\xc0\x6a" "1970-01-01"),
	BAD("the 30th of February", "\xc0\x74" "1970-02-30T00:00:00Z"),
	BAD("the 29th in no leap year", "\xc0\x74" "1900-02-29T00:00:00Z"),
	BAD("the 13th month", "\xc0\x74" "1970-13-01T00:00:00Z"),
	BAD("the 25th hour", "\xc0\x74" "1970-01-01T24:00:00Z"),
	BAD("a leap second", "\xc0\x74" "1990-12-31T23:59:60Z"),
	BAD("a time without a zone", "\xc0\x73" "1970-01-01T00:00:00"),
	BAD("a time of ten digits", "\xc0\x78\x1f" "1970-01-01T00:00:00.0000000000Z"),
	BAD("a time before the first", "\xc0\x78\x19" "0000-01-01T00:00:00+00:01"),
	BAD("an integer that is short enough", "\xc2\x48\x80\x00\x00\x00\x00\x00\x00\x00"),
	BAD("an integer of no bytes", "\xc2\x40"),
	BAD("an integer with a zero", "\xc2\x4a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
	BAD("an integer of text", "\xc2\x69" "aaaaaaaaa"),
	BAD("a negative descriptor", "\xd9\xca\xfd\x20"),
	BAD("a descriptor of text", "\xd9\xca\xfd\x61" "3"),
	BAD("a descriptor beyond all", "\xd9\xca\xfd\x1a\x80\x00\x00\x00"),
#undef BAD
};
#define N_BADS (sizeof(bads) / sizeof(bads[0]))

START_TEST(C07_malformed_bytes_are_refused)
{
	capc_args *a = NULL;

	ck_assert_msg(open_bytes(bads[_i].bytes, bads[_i].n, &a) == -EBADMSG, "%s", bads[_i].why);
	ck_assert_ptr_null(a);
}
END_TEST

/* Whatever is left of a tree that was cut off is none. */
START_TEST(C07_each_part_of_a_tree_is_refused)
{
	capc_args *a = new_args(), *opened = NULL;
	cleanup_free uint8_t *bytes = NULL;
	size_t n;

	for (size_t i = 0; i < N_ROWS; i++) {
		char path[16];

		snprintf(path, sizeof(path), "k%zu", i);
		set(a, path, rows[i].value);
	}
	bytes = encoded(a, &n);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(open_bytes(bytes, i, &opened), -EBADMSG);
	ck_assert_int_eq(open_bytes(bytes, n, &opened), 0);
	assert_same(a, opened, "", true);
	capc_args_free(a);
	capc_args_free(opened);
}
END_TEST

START_TEST(C08_descriptors_must_be_open)
{
	static const char here[] = "\x82\xd9\xca\xfd\x00\xd9\xca\xfd\x00";
	static const char nowhere[] = "\xd9\xca\xfd\x19\x02\x58"; /* PLACE */
	capc_args *a = NULL;

	ck_assert_int_eq(open_bytes(nowhere, sizeof(nowhere) - 1, &a), -EBADF);
	ck_assert_int_eq(dup2(0, PLACE), PLACE);
	ck_assert_int_eq(open_bytes(nowhere, sizeof(nowhere) - 1, &a), 0);
	ck_assert_int_eq(get(a, "").fd, PLACE);
	capc_args_free(a);
	ck_assert_int_eq(fcntl(PLACE, F_GETFD), 0);
	close(PLACE);
	ck_assert_int_eq(open_bytes(here, sizeof(here) - 1, &a), 0);
	ck_assert_int_eq(get(a, "1").fd, 0);
	capc_args_free(a);
}
END_TEST

/* One descriptor may be named more often than a tree has descriptors. */
START_TEST(C08_a_descriptor_counts_once)
{
	enum { N = CAPC_ARGS_FDS_MAX + 1, BYTES = 4 };
	cleanup_free uint8_t *bytes = malloc(3 + N * BYTES);
	capc_args *a = NULL;

	memcpy(bytes, (uint8_t[]){0x99, N >> 8, N & 0xff}, 3);
	for (size_t i = 0; i < N; i++)
		memcpy(bytes + 3 + i * BYTES, "\xd9\xca\xfd\x00", BYTES);
	ck_assert_int_eq(open_bytes(bytes, 3 + N * BYTES, &a), 0);
	capc_args_free(a);
}
END_TEST

/* N sequences, each in the one before, around one value. */
START_TEST(C08_depth_is_bounded)
{
	uint8_t bytes[CAPC_ARGS_DEPTH_MAX + 2];
	capc_args *a = NULL;

	memset(bytes, 0x81, sizeof(bytes));
	bytes[CAPC_ARGS_DEPTH_MAX] = 0;
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_DEPTH_MAX + 1, &a), 0);
	capc_args_free(a);
	bytes[CAPC_ARGS_DEPTH_MAX] = 0x81;
	bytes[CAPC_ARGS_DEPTH_MAX + 1] = 0;
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_DEPTH_MAX + 2, &a), -EBADMSG);
}
END_TEST

START_TEST(C08_the_number_of_values_is_bounded)
{
	cleanup_free uint8_t *bytes = calloc(1, CAPC_ARGS_VALUES_MAX + 8);
	capc_args *a = NULL;

	/* The sequence is one, too. */
	memcpy(bytes, "\x99\xff\xff", 3);
	ck_assert_int_eq(open_bytes(bytes, 3 + CAPC_ARGS_VALUES_MAX - 1, &a), 0);
	ck_assert_uint_eq(get(a, "").n_items, CAPC_ARGS_VALUES_MAX - 1);
	capc_args_free(a);
	memcpy(bytes, "\x9a\x00\x01\x00\x00", 5);
	ck_assert_int_eq(open_bytes(bytes, 5 + CAPC_ARGS_VALUES_MAX, &a), -EBADMSG);
}
END_TEST

START_TEST(C08_the_length_is_bounded)
{
	cleanup_free uint8_t *bytes = calloc(1, CAPC_ARGS_BYTES_MAX + 1);
	capc_args *a = NULL;

	memcpy(bytes, "\x5a\x00\x0f\xff\xfb", 5);
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_BYTES_MAX, &a), 0);
	capc_args_free(a);
	memcpy(bytes, "\x5a\x00\x0f\xff\xfc", 5);
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_BYTES_MAX + 1, &a), -EBADMSG);
}
END_TEST

START_TEST(C08_the_length_of_an_integer_is_bounded)
{
	uint8_t bytes[CAPC_ARGS_BIG_MAX + 5] = "\xc2\x59\x04\x00";
	capc_args *a = NULL;

	memset(bytes + 4, 1, sizeof(bytes) - 4);
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_BIG_MAX + 4, &a), 0);
	capc_args_free(a);
	memcpy(bytes, "\xc2\x59\x04\x01", 4);
	ck_assert_int_eq(open_bytes(bytes, CAPC_ARGS_BIG_MAX + 5, &a), -EBADMSG);
}
END_TEST

/* --- C09: many descriptors --- */

/* As many as a tree may have, or, where not so many can be open, more than go in one message of the kernel's. */
START_TEST(C09_many_descriptors)
{
	struct rlimit limit = {.rlim_cur = 10000, .rlim_max = 10000};
	bool all = setrlimit(RLIMIT_NOFILE, &limit) == 0;
	int n = all ? CAPC_ARGS_FDS_MAX : 300, first = all ? 5000 : PLACE;
	capc_args *a = new_args();
	size_t n_fds;

	set(a, "fds", a_collection(CAPC_SEQUENCE));
	for (int i = 0; i < n; i++)
		set(a, "fds.-", a_fd(i % 3));
	if (all)
		ck_assert_int_eq(capc_args_set(a, "fds.-", &(struct capc_value){.type = CAPC_FD}), -E2BIG);
	ck_assert_uint_eq(get(a, "fds").n_items, n);
	a = start(a, first, &n_fds);
	ck_assert_uint_eq(n_fds, n);
	for (int i = 0; i < n; i++) {
		char path[16];

		snprintf(path, sizeof(path), "fds.%d", i);
		ck_assert_int_eq(get(a, path).fd, first + i);
	}
	capc_args_free(a);
	unplace(first, n_fds);
}
END_TEST

/* --- what a process is started with --- */

START_TEST(a_process_has_no_tree)
{
	capc_args *a = NULL;

	unsetenv("CAP_ARGS_FD");
	ck_assert_int_eq(capc_args_open(&a), -ENOENT);
	setenv("CAP_ARGS_FD", "", 1);
	ck_assert_int_eq(capc_args_open(&a), -EBADMSG);
	setenv("CAP_ARGS_FD", "3x", 1);
	ck_assert_int_eq(capc_args_open(&a), -EBADMSG);
	setenv("CAP_ARGS_FD", "99999999999", 1);
	ck_assert_int_eq(capc_args_open(&a), -EBADMSG);
	setenv("CAP_ARGS_FD", "600", 1);
	ck_assert_int_eq(capc_args_open(&a), -EBADF);
	setenv("CAP_ARGS_FD", "0", 1);
	ck_assert_int_eq(capc_args_open(&a), -EBADMSG);
}
END_TEST

START_TEST(a_tree_must_be_sealed)
{
	static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
	int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

	for (int i = 0; i < 4; i++) {
		int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		capc_args *a = NULL;
		char text[16];

		ck_assert_int_eq(write(fd, "\xa0", 1), 1);
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, i < 3 ? all & ~seals[i] : all), 0);
		snprintf(text, sizeof(text), "%d", fd);
		setenv("CAP_ARGS_FD", text, 1);
		ck_assert_int_eq(capc_args_open(&a), i < 3 ? -EBADMSG : 0);
		capc_args_free(a);
		close(fd);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("args");
	TCase *t = fixture_case(s, "args", 60);

	tcase_add_loop_test(t, C06_each_type_has_its_bytes, 0, N_ROWS);
	tcase_add_test(t, C06_times_have_zones);
	tcase_add_test(t, C06_random_trees_come_back);
	tcase_add_loop_test(t, C07_malformed_bytes_are_refused, 0, N_BADS);
	tcase_add_test(t, C07_each_part_of_a_tree_is_refused);
	tcase_add_test(t, C08_descriptors_must_be_open);
	tcase_add_test(t, C08_a_descriptor_counts_once);
	tcase_add_test(t, C08_depth_is_bounded);
	tcase_add_test(t, C08_the_number_of_values_is_bounded);
	tcase_add_test(t, C08_the_length_is_bounded);
	tcase_add_test(t, C08_the_length_of_an_integer_is_bounded);
	tcase_add_test(t, C09_many_descriptors);
	tcase_add_test(t, a_process_has_no_tree);
	tcase_add_test(t, a_tree_must_be_sealed);
	return fixture_main(s);
}
