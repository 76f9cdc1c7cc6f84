/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C06 S17 */
/* Argument trees from YAML: what each word means, where what is wrong stands, and what leaves open. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "tests/args-world.h"
#include "tests/fixture.h"

/* --- what a word means --- */

static const struct word {
	const char *text;
	struct capc_value value;
} words[] = {
#define WORD(text, ...) {text, {__VA_ARGS__}}
#define STRING(text, s) WORD(text, .type = CAPC_STRING, .string = {s, sizeof(s) - 1})
#define BIG(text, bytes, negative)                                                                 \
	WORD(text, .type = CAPC_BIG, .big = {(const uint8_t *)(bytes), sizeof(bytes) - 1, negative})
#define TIME(text, sec, nsec) WORD(text, .type = CAPC_TIME, .time = {sec, nsec})
#define INT(text, i) WORD(text, .type = CAPC_INT, .integer = i)
#define FLOAT(text, f) WORD(text, .type = CAPC_FLOAT, .real = f)
	WORD("null", .type = CAPC_NULL), WORD("Null", .type = CAPC_NULL), WORD("NULL", .type = CAPC_NULL),
	WORD("~", .type = CAPC_NULL), WORD("--- \n...", .type = CAPC_NULL), STRING("nUll", "nUll"),
	WORD("true", .type = CAPC_BOOL, .boolean = true), WORD("TRUE", .type = CAPC_BOOL, .boolean = true),
	WORD("False", .type = CAPC_BOOL), WORD("false", .type = CAPC_BOOL), STRING("tRue", "tRue"),
	/* Norway. */
	STRING("no", "no"), STRING("NO", "NO"), STRING("yes", "yes"), STRING("on", "on"), STRING("off", "off"),
	STRING("y", "y"), STRING("n", "n"),
	INT("0", 0), INT("-0", 0), INT("+7", 7), INT("007", 7), INT("-19", -19), INT("0o17", 15), INT("0xfF", 255),
	INT("9223372036854775807", INT64_MAX), INT("-9223372036854775808", INT64_MIN),
	BIG("9223372036854775808", "\x80\0\0\0\0\0\0\0", false),
	BIG("-9223372036854775809", "\x80\0\0\0\0\0\0\0", true),
	BIG("0xffffffffffffffff", "\xff\xff\xff\xff\xff\xff\xff\xff", false),
	BIG("18446744073709551616", "\1\0\0\0\0\0\0\0\0", false),
	BIG("-18446744073709551616", "\xff\xff\xff\xff\xff\xff\xff\xff", true),
	BIG("-18446744073709551617", "\1\0\0\0\0\0\0\0\0", true),
	STRING("1_000", "1_000"), STRING("0b1", "0b1"), STRING("0x", "0x"), STRING("0o8", "0o8"), STRING("-0x1", "-0x1"),
	STRING("190:20:30", "190:20:30"), STRING("+", "+"), STRING("1e", "1e"), STRING(".", "."),
	FLOAT("1.", 1.0), FLOAT(".5", 0.5), FLOAT("-1.5e3", -1500.0), FLOAT("1E-2", 0.01), FLOAT("+.5", 0.5),
	FLOAT(".inf", (double)INFINITY), FLOAT("-.INF", -(double)INFINITY), FLOAT(".NaN", (double)NAN), FLOAT("-0.0", -0.0),
	STRING("inf", "inf"), STRING("nan", "nan"), STRING("-.nan", "-.nan"), STRING("0x1p3", "0x1p3"),
	TIME("2026-11-30T12:00:00Z", 1796040000, 0), TIME("2026-11-30T12:00:00.25-01:30", 1796045400, 250000000),
	STRING("2026-11-30", "2026-11-30"), STRING("2026-11-30T12:00:00", "2026-11-30T12:00:00"),
	TIME("!!timestamp 2026-11-30", 1795996800, 0), TIME("!!timestamp '2026-11-30T12:00:00Z'", 1796040000, 0),
	STRING("'5'", "5"), STRING("\"true\"", "true"), STRING("!!str 5", "5"), STRING("! 5", "5"), STRING("''", ""),
	STRING("\"a\\0\\u20ac\\x01\"", "a\0\xe2\x82\xac\x01"), STRING("|\n  a\n  b\n", "a\nb\n"), STRING(">-\n a\n b\n", "a b"),
	INT("!!int '5'", 5), FLOAT("!!float 1.5", 1.5), WORD("!!null ''", .type = CAPC_NULL),
	WORD("!!bool 'true'", .type = CAPC_BOOL, .boolean = true), STRING("!<tag:yaml.org,2002:str> 5", "5"),
	STRING("%TAG !y! tag:yaml.org,2002:\n--- !y!str 5", "5"),
	WORD("!!binary ''", .type = CAPC_BINARY),
	WORD("!!binary /w==", .type = CAPC_BINARY, .binary = {"\xff", 1}),
	WORD("!!binary /wA=", .type = CAPC_BINARY, .binary = {"\xff", 2}),
	WORD("!!binary \"/wD+\"", .type = CAPC_BINARY, .binary = {"\xff\0\xfe", 3}),
	WORD("!!binary |\n  aGVs\n  bG8=\n", .type = CAPC_BINARY, .binary = {"hello", 5}),
};
#define N_WORDS (sizeof(words) / sizeof(words[0]))

START_TEST(C06_a_word_has_its_meaning)
{
	capc_args *a = yaml(words[_i].text), *wanted = NULL;

	ck_assert_int_eq(capc_args_new(&wanted), 0);
	set(wanted, "", words[_i].value);
	assert_same(a, wanted, "", false);
	capc_args_free(a);
	capc_args_free(wanted);
}
END_TEST

START_TEST(C06_sequences_and_maps)
{
	capc_args *a = yaml("web:\n  listen:\n  - 80\n  - {no: [], 1: {}}\n\"on\": !!map {true: !!seq [~]}\n"), *b = NULL;

	ck_assert_int_eq(capc_args_new(&b), 0);
	set(b, "web.listen", (struct capc_value){.type = CAPC_SEQUENCE});
	set(b, "web.listen.-", an_int(80));
	set(b, "web.listen.1", (struct capc_value){.type = CAPC_MAP});
	set(b, "web.listen.1.no", (struct capc_value){.type = CAPC_SEQUENCE});
	set(b, "web.listen.1.1", (struct capc_value){.type = CAPC_MAP});
	set(b, "on.true", (struct capc_value){.type = CAPC_SEQUENCE});
	set(b, "on.true.0", (struct capc_value){});
	assert_same(a, b, "", false);
	assert_same(b, a, "", false);
	capc_args_free(a);
	capc_args_free(b);
}
END_TEST

/* --- what is wrong, and where --- */

static const struct bad {
	const char *text;
	int error;
	const char *reason;
} bads[] = {
	{"", -EINVAL, "t:1:1: there is nothing in it"},
	{"# nothing\n", -EINVAL, "t:2:1: there is nothing in it"},
	{"a: 1\n---\nb: 1\n", -EINVAL, "t:2:1: a second document begins here"},
	{"a: 1\nb: 2\na: 3\n", -EEXIST, "t:3:1: the key 'a' comes twice"},
	{"{a: {\xc3\xa4: 1, '\xc3\xa4': 2}}", -EEXIST, "t:1:12: the key '\xc3\xa4' comes twice"},
	{"a: &x 1\n", -EINVAL, "t:1:4: anchors and aliases are not taken"},
	{"a: &x [1]\n", -EINVAL, "t:1:4: anchors and aliases are not taken"},
	{"a: &x {}\n", -EINVAL, "t:1:4: anchors and aliases are not taken"},
	{"&x a: 1\n", -EINVAL, "t:1:1: anchors and aliases are not taken"},
	{"a: *x\n", -EINVAL, "t:1:4: anchors and aliases are not taken"},
	{"*x : 1\n", -EINVAL, "t:1:1: anchors and aliases are not taken"},
	{"[a, b\n", -EINVAL, "t:2:1: did not find expected ',' or ']' while parsing a flow sequence"},
	{"a: 'b\n", -EINVAL, "t:2:1: found unexpected end of stream while scanning a quoted scalar"},
	{"a: b: c\n", -EINVAL, "t:1:5: mapping values are not allowed in this context"},
	{"\ta: b\n", -EINVAL, "t:1:1: found character that cannot start any token while scanning for the next token"},
	{"a:\n  - b\n c\n", -EINVAL, "t:3:2: did not find expected key while parsing a block mapping"},
	{"a: \x01\n", -EINVAL, "t:1:4: control characters are not allowed"},
	{"\xc3\xa4: 1\n\xc3\xa4: \xff\n", -EILSEQ, "t:2:4: this is no UTF-8"},
	{"a: \xed\xa0\x80\n", -EILSEQ, "t:1:4: this is no UTF-8"},
	{"[1]: 2\n", -EINVAL, "t:1:1: a key is a word"},
	{"? {a: 1}\n: 2\n", -EINVAL, "t:1:3: a key is a word"},
	{"!!int 1: 2\n", -EINVAL, "t:1:1: a key is a word"},
	{"'': 1\n", -EILSEQ, "t:1:1: a key has 1 to 255 bytes without control characters"},
	{"a: 1\n\"b\\n\": 1\n", -EILSEQ, "t:2:1: a key has 1 to 255 bytes without control characters"},
	{"a: !!int x\n", -EINVAL, "t:1:4: this is no !!int"},
	{"a: !!int 1.5\n", -EINVAL, "t:1:4: this is no !!int"},
	{"a: !!float x\n", -EINVAL, "t:1:4: this is no !!float"},
	{"a: !!bool yes\n", -EINVAL, "t:1:4: this is no !!bool"},
	{"a: !!null x\n", -EINVAL, "t:1:4: this is no !!null"},
	{"a: !!timestamp 2026-02-29\n", -EINVAL, "t:1:4: this is no !!timestamp"},
	{"a: !!timestamp 2026-11-30 12:00:00\n", -EINVAL, "t:1:4: this is no !!timestamp"},
	{"a: !!binary /w=\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary /x==\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary /===\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary /w==/w==\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary A===\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary /=w=\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: !!binary a-_b\n", -EINVAL, "t:1:4: this is no !!binary"},
	{"a: 1e999\n", -ERANGE, "t:1:4: this number is too large"},
	{"a: !!set {}\n", -EINVAL, "t:1:4: the tag !!set is not for a map"},
	{"a: !!str []\n", -EINVAL, "t:1:4: the tag !!str is not for a sequence"},
	{"a: !!omap []\n", -EINVAL, "t:1:4: the tag !!omap is not for a sequence"},
	{"a: !!seq x\n", -EINVAL, "t:1:4: the tag !!seq is not for a scalar"},
	{"a: !foo x\n", -EINVAL, "t:1:4: the tag !foo is not for a scalar"},
	{"a: !fd [3]\n", -EINVAL, "t:1:4: the tag !fd is not for a sequence"},
	{"a: !cap {}\n", -EINVAL, "t:1:4: the tag !cap is not for a map"},
	{"a: !socket /x\n", -EINVAL, "t:1:4: the tag !socket is not for a scalar"},
	{"!file \"/no\\n\\e[2J\\x9bwhere\"", -ENOENT, "t:1:1: '/no??[2J??where' cannot be opened: ENOENT"},
	/* leaves */
	{"a: !fd 600\n", -EBADF, "t:1:4: the descriptor 600 is not open"},
	{"a: !fd web\n", -EBADF, "t:1:4: there is no descriptor 'web'"},
	{"a: !fd -1\n", -EBADF, "t:1:4: there is no descriptor '-1'"},
	{"a: !fd\n", -EBADF, "t:1:4: there is no descriptor ''"},
	{"a: !cap kv\n", -EOPNOTSUPP, "t:1:4: there is nothing here that resolves !cap"},
	{"a: !session\n", -EOPNOTSUPP, "t:1:4: there is nothing here that resolves !session"},
	{"a: !file /nowhere/x\n", -ENOENT, "t:1:4: '/nowhere/x' cannot be opened: ENOENT"},
	{"a: !file\n", -EINVAL, "t:1:4: !file needs a 'path'"},
	{"a: !file \"/a\\0b\"\n", -EINVAL, "t:1:4: there is a NUL in this !file"},
	{"a: !file /tmp\n", -EISDIR, "t:1:4: /tmp is a directory"},
	{"a: !file {path: /tmp, mode: rw}\n", -EISDIR, "t:1:4: '/tmp' cannot be opened: EISDIR"},
	{"a: !file {mode: r}\n", -EINVAL, "t:1:4: !file needs a 'path'"},
	{"a: !file {path: /x, mode: rx}\n", -EINVAL, "t:1:4: the mode 'rx' is none of r, w, rw, append"},
	{"a: !file {path: /x, perm: 1}\n", -EINVAL, "t:1:21: !file takes no 'perm'"},
	{"a: !file {path: /x, connect: 1}\n", -EINVAL, "t:1:21: !file takes no 'connect'"},
	{"a: !file {path: /x, path: /y}\n", -EEXIST, "t:1:21: the key 'path' comes twice"},
	{"a: !file {path: [x]}\n", -EINVAL, "t:1:11: the options of !file are words"},
	{"a: !file {path: &x /x}\n", -EINVAL, "t:1:17: anchors and aliases are not taken"},
	{"a: !file {path: !!str /x}\n", -EINVAL, "t:1:11: the options of !file are words"},
	{"a: !file {path: /x, create: 0999}\n", -EINVAL, "t:1:4: 'create' is permissions such as 0640, not '0999'"},
	{"a: !file {path: /x, truncate: 1}\n", -EINVAL, "t:1:4: 'truncate' is true or false, not '1'"},
	{"a: !file {path: /x, truncate: true}\n", -EINVAL, "t:1:4: 'truncate' goes with a mode that writes"},
	{"a: !file {path: /x, exclusive: true}\n", -EINVAL, "t:1:4: 'exclusive' goes with 'create'"},
	{"a: !socket {}\n", -EINVAL, "t:1:4: !socket needs one of 'connect' and 'listen'"},
	{"a: !socket {connect: /x, listen: /y}\n", -EINVAL, "t:1:4: !socket needs one of 'connect' and 'listen'"},
	{"a: !socket {connect: x}\n", -EINVAL, "t:1:4: 'x' is neither a path with a '/' nor HOST:PORT"},
	{"a: !socket {connect: ':80'}\n", -EINVAL, "t:1:4: ':80' is no HOST:PORT"},
	{"a: !socket {connect: '::1:80'}\n", -EINVAL, "t:1:4: '::1:80' is no HOST:PORT"},
	{"a: !socket {connect: '127.0.0.1:x'}\n", -EADDRNOTAVAIL, NULL},
	{"a: !socket {connect: /x, type: raw}\n", -EINVAL, "t:1:4: the type 'raw' is none of stream, seqpacket, dgram"},
	{"a: !socket {connect: '[::1]:80', type: seqpacket}\n", -EINVAL, "t:1:4: '[::1]:80' cannot be of type seqpacket"},
	{"a: !socket {connect: /x, backlog: 1}\n", -EINVAL, "t:1:4: 'backlog' is for what accepts"},
	{"a: !socket {listen: /x, backlog: 0}\n", -EINVAL, "t:1:4: 'backlog' is 1 to 65536, not '0'"},
	{"a: !socket {connect: /nowhere/x}\n", -ENOENT, "t:1:4: '/nowhere/x' cannot be connected to: ENOENT"},
	{"a: !socket {listen: /nowhere/x}\n", -ENOENT, "t:1:4: '/nowhere/x' cannot be listened at: ENOENT"},
	{"a: !socket {connect: '127.0.0.1:1'}\n", -ECONNREFUSED, "t:1:4: '127.0.0.1:1' cannot be connected to: ECONNREFUSED"},
};
#define N_BADS (sizeof(bads) / sizeof(bads[0]))

static void
expect_refused(const char *text, size_t n, unsigned flags, int error, const char *wanted)
{
	cleanup_free char *reason = NULL;
	capc_args *a = NULL;
	int r = capc_args_parse_yaml(text, n, "t", flags, NULL, NULL, &a, &reason);

	ck_assert_msg(r == error, "%.40s: %d, %s", text, r, reason);
	ck_assert_ptr_null(a);
	ck_assert_ptr_nonnull(reason);
	if (wanted)
		ck_assert_str_eq(reason, wanted);
}

START_TEST(what_is_wrong_is_refused_where_it_stands)
{
	expect_refused(bads[_i].text, strlen(bads[_i].text), 0, bads[_i].error, bads[_i].reason);
}
END_TEST

/* --- bounds --- */

static char *
repeated(const char *begin, const char *s, size_t n, const char *end)
{
	struct text t = {};

	text_add(&t, begin);
	for (size_t i = 0; i < n; i++)
		text_add(&t, s);
	text_add(&t, end);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

static void
expect_bound(char *text, unsigned flags, int error, const char *reason)
{
	if (reason)
		expect_refused(text, strlen(text), flags, error, reason);
	else
		capc_args_free(yaml(text));
	free(text);
}

/* Comments behind it are not its own, wherever it ends. */
static const struct {
	const char *path;
	struct capc_place place;
} places[] = {
	{"", {2, 1, 16, 6}},
	{"a", {2, 4, 2, 5}},
	{"\xc3\xa4", {4, 3, 5, 9}},
	{"\xc3\xa4.b", {4, 6, 5, 9}},
	{"\xc3\xa4.b.1", {5, 5, 5, 7}},
	{"c.1.f", {8, 2, 8, 3}},
	{"d", {10, 3, 10, 28}},
	{"d.e", {10, 6, 10, 28}},
	{"g", {11, 4, 14, 1}},
	{"h", {16, 4, 16, 6}},
};

START_TEST(a_value_has_its_place_in_the_text)
{
	capc_args *a = yaml("# first\na: 1\n\xc3\xa4:\n  b: [1,\n    22 ] # more\n# of c\nc: [1, {f:\n 3}]\n"
			    "d:\n  e: !!str 'quoted words \xc3\xa4'\ng: |\n  x\n  # y\n# of h\n\nh: ok # last\n# end\n");
	struct capc_place p;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct capc_place *wanted = &places[i].place;

		ck_assert_int_eq(capc_args_place(a, places[i].path, &p), 0);
		ck_assert_msg(memcmp(&p, wanted, sizeof(p)) == 0, "'%s' from %zu:%zu to %zu:%zu", places[i].path, p.line,
			p.column, p.end_line, p.end_column);
	}
	ck_assert_int_eq(capc_args_place(a, "none", &p), -ENOENT);
	set(a, "a", (struct capc_value){.type = CAPC_INT, .integer = 2});
	ck_assert_int_eq(capc_args_place(a, "a", &p), -ENODATA);
	capc_args_free(a);
}
END_TEST

START_TEST(C08_bounds_of_a_text)
{
	static char text[CAPC_ARGS_BYTES_MAX + 1];
	char closed[CAPC_ARGS_DEPTH_MAX + 1];

	memset(closed, ']', CAPC_ARGS_DEPTH_MAX);
	closed[CAPC_ARGS_DEPTH_MAX] = '\0';
	expect_bound(repeated("", "[", CAPC_ARGS_DEPTH_MAX, closed), 0, 0, NULL);
	expect_bound(repeated("", "[", 100000, ""), 0, -E2BIG, "t:1:66: a tree has at most 64 levels");
	expect_bound(repeated("", "{a: ", 100000, ""), 0, -E2BIG, "t:1:258: a tree has at most 64 levels");
	expect_bound(repeated("", "- ", 100000, ""), 0, -E2BIG, "t:1:131: a tree has at most 64 levels");
	expect_bound(repeated("[", "1,", CAPC_ARGS_VALUES_MAX - 1, "]"), 0, 0, NULL);
	expect_bound(repeated("[", "1,", CAPC_ARGS_VALUES_MAX, "]"), 0, -E2BIG, "t:1:131072: a tree has at most 65536 values");
	expect_bound(repeated("a: ", "9", 2466, ""), 0, 0, NULL);
	expect_bound(repeated("a: ", "9", 2467, ""), 0, -ERANGE, "t:1:4: this number is too large");
	expect_bound(repeated("a: ", "9", 1000000, ""), 0, -ERANGE, "t:1:4: this number is too large");
	expect_bound(repeated("[", "!cap x, ", CAPC_ARGS_FDS_MAX + 1, "]"), CAPC_ARGS_DRY, -E2BIG,
		"t:1:32002: a tree has at most 4000 descriptors");
	memset(text, '#', sizeof(text));
	text[0] = '1';
	text[1] = ' ';
	expect_refused(text, sizeof(text), 0, -E2BIG, "t:1:1: a text has at most 1048576 bytes");
}
END_TEST

/* --- what leaves open --- */

static int
fd_of(const capc_args *a, const char *path)
{
	int fd = -1;

	ck_assert_msg(capc_args_get_fd(a, path, &fd) == 0, "'%s'", path);
	return fd;
}

static capc_args *
yamlf(const char *format, const char *directory)
{
	cleanup_text struct text t = {};

	text_addf(&t, format, directory, directory);
	return yaml(t.data);
}

START_TEST(S17_files_are_opened_as_it_is_said)
{
	char directory[FIXTURE_PATH], path[FIXTURE_PATH + 16], buffer[16];
	capc_args *a;
	struct stat st;
	mode_t mask = umask(0);

	fixture_directory(directory);
	snprintf(path, sizeof(path), "%s/log", directory);
	a = yamlf("{w: !file {path: %s/log, mode: w, create: 0640, exclusive: true}}", directory);
	ck_assert_int_eq(write(fd_of(a, "w"), "one\n", 4), 4);
	ck_assert_int_eq(read(fd_of(a, "w"), buffer, 1), -1);
	ck_assert_int_eq(fcntl(fd_of(a, "w"), F_GETFD), FD_CLOEXEC);
	ck_assert_int_ge(fd_of(a, "w"), 3);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	capc_args_free(a);
	a = yamlf("{a: !file {path: %s/log, mode: append}, r: !file %s/log}", directory);
	ck_assert_int_eq(write(fd_of(a, "a"), "two\n", 4), 4);
	ck_assert_int_eq(read(fd_of(a, "r"), buffer, sizeof(buffer)), 8);
	ck_assert_int_eq(write(fd_of(a, "r"), "x", 1), -1);
	capc_args_free(a);
	a = yamlf("{t: !file {path: %s/log, mode: rw, truncate: true, create: 0o600}}", directory);
	ck_assert_int_eq(read(fd_of(a, "t"), buffer, sizeof(buffer)), 0);
	ck_assert_int_eq(write(fd_of(a, "t"), "x", 1), 1);
	capc_args_free(a);
	umask(mask);
	fixture_remove(directory);
}
END_TEST

static bool
listens(int fd)
{
	socklen_t n = sizeof(int);
	int on = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

START_TEST(S17_sockets_listen_and_connect)
{
	char directory[FIXTURE_PATH], path[FIXTURE_PATH + 16], in_use[FIXTURE_PATH + 64];
	capc_args *a, *b;
	int memfd = -1;

	fixture_directory(directory);
	snprintf(path, sizeof(path), "%s/s", directory);
	snprintf(in_use, sizeof(in_use), "t:1:4: '%s' cannot be listened at: EADDRINUSE", path);
	for (int i = 0; i < 2; i++) {
		/* The second time the first one's name is still there. */
		a = yamlf("{l: !socket {listen: %s/s, type: seqpacket, backlog: 3}, c: !socket {connect: %s/s, type: seqpacket}}",
			directory);
		ck_assert(listens(fd_of(a, "l")));
		ck_assert_int_eq(fcntl(fd_of(a, "l"), F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fcntl(fd_of(a, "c"), F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(send(fd_of(a, "c"), "x", 1, MSG_NOSIGNAL), 1);
		expect_bound(repeated("a: !socket {type: seqpacket, listen: ", path, 1, "}"), 0, -EADDRINUSE, in_use);
		ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
		close(memfd);
		capc_args_free(a);
		ck_assert_int_eq(access(path, F_OK), 0);
	}
	/* Of what was not sealed nothing is left. */
	a = yamlf("{l: !socket {listen: %s/s}}", directory);
	capc_args_free(a);
	ck_assert_int_eq(access(path, F_OK), -1);
	/* A file that is none is nobody's to take over. */
	close(open(path, O_CREAT | O_WRONLY, 0600));
	expect_bound(repeated("a: !socket {listen: ", path, 1, "}"), 0, -EADDRINUSE, in_use);
	ck_assert_int_eq(unlink(path), 0);
	a = yamlf("{d: !socket {listen: %s/s, type: dgram}}", directory);
	b = yamlf("{d: !socket {connect: %s/s, type: dgram}}", directory);
	ck_assert_int_eq(send(fd_of(b, "d"), "x", 1, 0), 1);
	ck_assert_int_eq(recv(fd_of(a, "d"), path, 1, MSG_DONTWAIT), 1);
	capc_args_free(a);
	capc_args_free(b);
	fixture_remove(directory);
}
END_TEST

START_TEST(S17_tcp_listens_and_connects)
{
	capc_args *a = yaml("{l: !socket {listen: '127.0.0.1:0'}, u: !socket {listen: ':0', type: dgram}}"), *b;
	struct sockaddr_in address;
	socklen_t n = sizeof(address);
	struct timeval bound;
	char text[80];

	ck_assert(listens(fd_of(a, "l")));
	ck_assert_int_eq(getsockname(fd_of(a, "l"), (struct sockaddr *)&address, &n), 0);
	snprintf(text, sizeof(text), "!socket {connect: 'localhost:%u'}", ntohs(address.sin_port));
	b = yaml(text);
	ck_assert_int_eq(send(fd_of(b, ""), "x", 1, MSG_NOSIGNAL), 1);
	n = sizeof(bound);
	ck_assert_int_eq(getsockopt(fd_of(b, ""), SOL_SOCKET, SO_SNDTIMEO, &bound, &n), 0);
	ck_assert_int_eq(bound.tv_sec, 0);
	ck_assert_int_eq(fcntl(fd_of(b, ""), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(fd_of(b, ""), F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd_of(a, "l"), F_GETFD), FD_CLOEXEC);
	capc_args_free(a);
	capc_args_free(b);
}
END_TEST

START_TEST(S17_descriptors_by_name)
{
	cleanup_free char *names = NULL;
	capc_args *a;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	/* The numbers begin with 3; where nothing else is open they are 600 and above. */
	names = repeated("", "a:", 597, "web:twice:twice");
	setenv("LISTEN_FDNAMES", names, 1);
	ck_assert_int_eq(dup2(0, 600), 600);
	ck_assert_int_eq(dup2(0, 602), 602);
	a = yaml("{i: !fd stdin, o: !fd 1, w: !fd web, same: !fd 600}");
	ck_assert_int_eq(fd_of(a, "w"), fd_of(a, "same"));
	ck_assert_int_ne(fd_of(a, "i"), fd_of(a, "o"));
	capc_args_free(a);
	expect_refused("!fd twice", 9, 0, -EBADF, "t:1:1: 2 descriptors are called 'twice'");
	setenv("LISTEN_PID", "1", 1);
	expect_refused("!fd web", 7, 0, -EBADF, "t:1:1: there is no descriptor 'web'");
	close(600);
	close(602);
}
END_TEST

START_TEST(S17_directories_are_refused)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	ck_assert_int_eq(dup2(fd, 600), 600);
	close(fd);
	expect_refused("!fd 600", 7, 0, -EISDIR, "t:1:1: 600 is a directory");
	close(600);
}
END_TEST

/* A program that is to have it as number 3 would find it as its standard input, too. */
START_TEST(S17_nothing_takes_the_place_of_stdin)
{
	int saved = fcntl(0, F_DUPFD_CLOEXEC, 3), memfd = -1;
	capc_args *a;

	close(0);
	a = yaml("{f: !file /dev/null, n: !fd 1}");
	ck_assert_int_ge(fd_of(a, "f"), 3);
	ck_assert_int_ge(fd_of(a, "n"), 3);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	ck_assert_int_ge(memfd, 3);
	ck_assert_int_eq(fcntl(0, F_GETFD), -1);
	ck_assert_int_eq(dup2(saved, 0), 0);
	close(saved);
	close(memfd);
	capc_args_free(a);
}
END_TEST

/* What the parser itself has opened for another leaf is not the caller's, whatever its number is. */
START_TEST(S17_no_descriptor_is_found_by_guessing)
{
	int next = fcntl(0, F_DUPFD_CLOEXEC, 3);
	char text[64];

	close(next);
	snprintf(text, sizeof(text), "[!fd 0, !fd %d]", next);
	expect_refused(text, strlen(text), 0, -EBADF, NULL);
}
END_TEST

static int
resolve(const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data)
{
	text_addf(data, "%s(%s) ", tag, text);
	if (strcmp(text, "refused") == 0) {
		*ret_reason = strdup("not this one");
		return -EPERM;
	}
	if (strcmp(text, "bad") == 0)
		*ret = a_string("\xff");
	else if (strcmp(text, "word") == 0)
		*ret = a_string("resolved");
	else
		*ret = a_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
	return 0;
}

static int
parse_resolved(const char *text, struct text *t, capc_args **ret, char **reason)
{
	text_reset(t);
	return capc_args_parse_yaml(text, strlen(text), "t", 0, resolve, t, ret, reason);
}

START_TEST(others_resolve_what_is_theirs)
{
	cleanup_text struct text t = {};
	char *reason = NULL, *s = NULL;
	capc_args *a = NULL;

	ck_assert_int_eq(parse_resolved("{a: !cap kv rights=call conns=4, s: !session, w: !cap word}", &t, &a, &reason), 0);
	ck_assert_str_eq(t.data, "cap(kv rights=call conns=4) session() cap(word) ");
	ck_assert_int_ge(fd_of(a, "a"), 3);
	ck_assert_int_ge(fd_of(a, "s"), 3);
	ck_assert_int_eq(capc_args_get_string(a, "w", &s), 0);
	ck_assert_str_eq(s, "resolved");
	free(s);
	capc_args_free(a);
	ck_assert_int_eq(parse_resolved("{a: !cap kv, b: !cap refused}", &t, &a, &reason), -EPERM);
	ck_assert_str_eq(reason, "t:1:17: !cap refused: not this one");
	free(reason);
	ck_assert_int_eq(parse_resolved("[!cap bad]", &t, &a, &reason), -EILSEQ);
	ck_assert_str_eq(reason, "t:1:2: EILSEQ");
	free(reason);
}
END_TEST

/* Nothing is opened, made or asked for; numbers are as they would be. */
START_TEST(a_dry_run_opens_nothing)
{
	static const char text[] = "{f: !file {path: /nowhere/x, mode: w, create: 0600}, n: !fd 700, s: !socket {listen: "
				   "/nowhere/s}, m: !fd 700, c: !cap kv}";
	capc_args *a = NULL;
	const char *label;
	int memfd = -1;

	ck_assert_int_eq(capc_args_parse_yaml(text, strlen(text), "t", CAPC_ARGS_DRY, NULL, NULL, &a, NULL), 0);
	ck_assert_int_eq(fd_of(a, "f"), -1);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	close(memfd);
	ck_assert_int_eq(fd_of(a, "m"), 4);
	ck_assert_int_eq(fd_of(a, "c"), 6);
	ck_assert_uint_eq(capc_args_n_fds(a), 4);
	ck_assert_int_eq(capc_args_fd(a, 2, &label), -EBADF);
	ck_assert_str_eq(label, "s");
	capc_args_free(a);
	expect_refused("!file {path: /x, mode: q}", 25, CAPC_ARGS_DRY, -EINVAL, NULL);
	ck_assert_int_eq(capc_args_parse_yaml("1", 1, "t", 2, NULL, NULL, &a, NULL), -EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("args-yaml");
	TCase *t = fixture_case(s, "yaml", 60);

	tcase_add_loop_test(t, C06_a_word_has_its_meaning, 0, N_WORDS);
	tcase_add_test(t, C06_sequences_and_maps);
	tcase_add_loop_test(t, what_is_wrong_is_refused_where_it_stands, 0, N_BADS);
	tcase_add_test(t, a_value_has_its_place_in_the_text);
	tcase_add_test(t, C08_bounds_of_a_text);
	tcase_add_test(t, S17_files_are_opened_as_it_is_said);
	tcase_add_test(t, S17_sockets_listen_and_connect);
	tcase_add_test(t, S17_tcp_listens_and_connects);
	tcase_add_test(t, S17_descriptors_by_name);
	tcase_add_test(t, S17_directories_are_refused);
	tcase_add_test(t, S17_nothing_takes_the_place_of_stdin);
	tcase_add_test(t, S17_no_descriptor_is_found_by_guessing);
	tcase_add_test(t, others_resolve_what_is_theirs);
	tcase_add_test(t, a_dry_run_opens_nothing);
	return fixture_main(s);
}
