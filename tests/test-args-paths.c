/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Argument trees: paths, what is at them, and the descriptors of a tree in their order. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "tests/args-world.h"
#include "tests/fixture.h"

static int
get(const capc_args *a, const char *path)
{
	struct capc_value v;

	return capc_args_get(a, path, &v);
}

static int
try_set(capc_args *a, const char *path, struct capc_value v)
{
	return capc_args_set(a, path, &v);
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* --- looking up --- */

START_TEST(a_path_is_keys_and_indexes)
{
	capc_args *a = yaml("web: {listen: [80, 443], a.b: 1, 'c\\d': 2, '0': 3}\nlast: [[[7]]]\n");
	int64_t i;

	ck_assert_int_eq(capc_args_get_int(a, "web.listen.1", &i), 0);
	ck_assert_int_eq(i, 443);
	ck_assert_int_eq(capc_args_get_int(a, "web.a\\.b", &i), 0);
	ck_assert_int_eq(i, 1);
	ck_assert_int_eq(capc_args_get_int(a, "web.c\\\\d", &i), 0);
	ck_assert_int_eq(i, 2);
	ck_assert_int_eq(capc_args_get_int(a, "web.0", &i), 0);
	ck_assert_int_eq(i, 3);
	ck_assert_int_eq(capc_args_get_int(a, "last.0.0.0", &i), 0);
	ck_assert_int_eq(i, 7);
	ck_assert_int_eq(get(a, ""), 0);
	capc_args_free(a);
}
END_TEST

static const struct {
	const char *path;
	int error;
} failures[] = {
	{"none", -ENOENT},
	{"web.none", -ENOENT},
	{"web.listen.2", -ENOENT},
	{"web.listen.00", -ENOENT},
	{"web.listen.-", -ENOENT},
	{"web.listen.+1", -ENOENT},
	{"web.listen.99999999999999999999", -ENOENT},
	{"web.listen.0.0", -ENOTDIR},
	{"web.listen.0.0.0", -ENOTDIR},
	{".", -EINVAL},
	{".web", -EINVAL},
	{"web.", -EINVAL},
	{"web..listen", -EINVAL},
	{"none..listen", -EINVAL},
	{"web\\", -EINVAL},
	{"w\\eb", -EINVAL},
};

START_TEST(a_path_that_leads_nowhere)
{
	capc_args *a = yaml("web: {listen: [80, 443]}");

	ck_assert_msg(get(a, failures[_i].path) == failures[_i].error, "'%s': %d",
		failures[_i].path, get(a, failures[_i].path));
	capc_args_free(a);
}
END_TEST

START_TEST(a_key_has_at_most_255_bytes)
{
	capc_args *a = new_args();
	char key[CAPC_ARGS_KEY_MAX + 2];

	memset(key, 'k', sizeof(key));
	key[CAPC_ARGS_KEY_MAX + 1] = '\0';
	ck_assert_int_eq(try_set(a, key, an_int(1)), -EINVAL);
	key[CAPC_ARGS_KEY_MAX] = '\0';
	set(a, key, an_int(1));
	ck_assert_int_eq(get(a, key), 0);
	ck_assert_int_eq(try_set(a, "a\nb", an_int(1)), -EILSEQ);
	ck_assert_int_eq(try_set(a, "a\x7f", an_int(1)), -EILSEQ);
	ck_assert_int_eq(try_set(a, "a\xff", an_int(1)), -EILSEQ);
	capc_args_free(a);
}
END_TEST

START_TEST(a_type_is_asked_for)
{
	capc_args *a = yaml("{s: word, z: \"a\\0b\", e: '', i: -5, u: 18446744073709551615, v: "
			    "18446744073709551616, "
			    "w: -9223372036854775809, b: true, f: 1.5, d: !fd 0}");
	char *s;
	int64_t i = 0;
	uint64_t u = 0;
	bool b = false;
	int fd = -1;

	ck_assert_int_eq(capc_args_get_string(a, "s", &s), 0);
	ck_assert_str_eq(s, "word");
	free(s);
	ck_assert_int_eq(capc_args_get_string(a, "e", &s), 0);
	ck_assert_str_eq(s, "");
	free(s);
	ck_assert_int_eq(capc_args_get_string(a, "z", &s), -EILSEQ);
	ck_assert_int_eq(capc_args_get_string(a, "i", &s), -EPROTOTYPE);
	ck_assert_int_eq(capc_args_get_string(a, "none", &s), -ENOENT);
	ck_assert_int_eq(capc_args_get_int(a, "i", &i), 0);
	ck_assert_int_eq(i, -5);
	ck_assert_int_eq(capc_args_get_int(a, "u", &i), -ERANGE);
	ck_assert_int_eq(capc_args_get_int(a, "f", &i), -EPROTOTYPE);
	ck_assert_int_eq(capc_args_get_uint(a, "u", &u), 0);
	ck_assert_uint_eq(u, UINT64_MAX);
	ck_assert_int_eq(capc_args_get_uint(a, "v", &u), -ERANGE);
	ck_assert_int_eq(capc_args_get_uint(a, "w", &u), -ERANGE);
	ck_assert_int_eq(capc_args_get_uint(a, "i", &u), -ERANGE);
	ck_assert_int_eq(capc_args_get_uint(a, "s", &u), -EPROTOTYPE);
	ck_assert_int_eq(capc_args_get_bool(a, "b", &b), 0);
	ck_assert(b);
	ck_assert_int_eq(capc_args_get_bool(a, "s", &b), -EPROTOTYPE);
	ck_assert_int_eq(capc_args_get_fd(a, "d", &fd), 0);
	ck_assert(same_file(fd, 0));
	ck_assert_int_eq(capc_args_get_fd(a, "i", &fd), -EPROTOTYPE);
	capc_args_free(a);
}
END_TEST

static int
describe(const char *path, const char *key, const struct capc_value *v, void *data)
{
	text_addf(data, "%s=%s:%d ", path, key ? key : "-", v->type);
	return 0;
}

static int
stop(const char *path, const char *key, const struct capc_value *v, void *data)
{
	++*(int *)data;
	return 17;
}

START_TEST(items_come_in_their_order)
{
	capc_args *a = yaml("{b: [x, [], 1], a: 1, c.d: {}}");
	cleanup_text struct text t = {};
	int n = 0;

	ck_assert_int_eq(capc_args_each(a, "", describe, &t), 0);
	ck_assert_int_eq(capc_args_each(a, "b", describe, &t), 0);
	ck_assert_int_eq(capc_args_each(a, "c\\.d", describe, &t), 0);
	ck_assert_str_eq(t.data, "b=b:9 a=a:2 c\\.d=c.d:10 b.0=-:5 b.1=-:9 b.2=-:2 ");
	ck_assert_int_eq(capc_args_each(a, "", stop, &n), 17);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(capc_args_each(a, "a", stop, &n), -ENOTDIR);
	ck_assert_int_eq(capc_args_each(a, "none", stop, &n), -ENOENT);
	capc_args_free(a);
}
END_TEST

/* --- setting --- */

START_TEST(what_is_on_the_way_is_made)
{
	capc_args *a = new_args(), *wanted = yaml("{a: {b: {c: 1, d: 2}}, l: [x, {y: 3}]}");

	set(a, "a.b.c", an_int(1));
	set(a, "a.b.d", an_int(2));
	set(a, "l", (struct capc_value){.type = CAPC_SEQUENCE});
	set(a, "l.0", a_string("x"));
	set(a, "l.-.y", an_int(3));
	assert_same(a, wanted, "", false);
	set(a, "a", an_int(1));
	ck_assert_int_eq(get(a, "a.b"), -ENOTDIR);
	set(a, "", an_int(1));
	ck_assert_int_eq(get(a, "l"), -ENOTDIR);
	capc_args_free(a);
	capc_args_free(wanted);
}
END_TEST

/* A tree is what it was. */
START_TEST(what_cannot_be_set_changes_nothing)
{
	capc_args *a = yaml("{a: 1, l: [1]}"), *wanted = yaml("{a: 1, l: [1]}");
	uint8_t bytes[CAPC_ARGS_BIG_MAX + 1] = {1};
	char deep[2 * CAPC_ARGS_DEPTH_MAX + 2];

	ck_assert_int_eq(try_set(a, "a.b", an_int(1)), -ENOTDIR);
	ck_assert_int_eq(try_set(a, "a.b..c", an_int(1)), -EINVAL);
	ck_assert_int_eq(try_set(a, "l.2", an_int(1)), -ENOENT);
	ck_assert_int_eq(try_set(a, "l.01", an_int(1)), -EINVAL);
	ck_assert_int_eq(try_set(a, "l.x", an_int(1)), -EINVAL);
	ck_assert_int_eq(try_set(a, "m.n..o", an_int(1)), -EINVAL);
	ck_assert_int_eq(try_set(a, "m.n\n", an_int(1)), -EILSEQ);
	ck_assert_int_eq(try_set(a, "m.n", a_string("\xff")), -EILSEQ);
	ck_assert_int_eq(try_set(a, "m.n", a_fd(-1)), -EBADF);
	ck_assert_int_eq(try_set(a, "m.n", a_fd(PLACE)), -EBADF);
	ck_assert_int_eq(try_set(a, "l.-", a_fd(PLACE)), -EBADF);
	ck_assert_int_eq(try_set(a, "a", a_fd(PLACE)), -EBADF);
	ck_assert_int_eq(
		try_set(a, "m", (struct capc_value){.type = CAPC_MAP, .n_items = 1}), -EINVAL);
	ck_assert_int_eq(try_set(a, "m", (struct capc_value){.type = 99}), -EINVAL);
	ck_assert_int_eq(
		try_set(a, "m", (struct capc_value){.type = CAPC_STRING, .string = {NULL, 1}}),
		-EINVAL);
	ck_assert_int_eq(
		try_set(a, "m", (struct capc_value){.type = CAPC_TIME, .time = {0, 1000000000}}),
		-EINVAL);
	ck_assert_int_eq(
		try_set(a, "m", (struct capc_value){.type = CAPC_TIME, .time = {253402300800, 0}}),
		-EINVAL);
	ck_assert_int_eq(try_set(a, "m",
				 (struct capc_value){
					 .type = CAPC_BIG, .big = {bytes, sizeof(bytes), false}}),
		-EINVAL);
	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = i % 2 ? '.' : 'd';
	deep[sizeof(deep) - 1] = '\0';
	ck_assert_int_eq(try_set(a, deep, an_int(1)), -E2BIG);
	assert_same(a, wanted, "", false);
	assert_same(wanted, a, "", false);
	deep[sizeof(deep) - 3] = '\0';
	set(a, deep, an_int(1));
	ck_assert_int_eq(get(a, deep), 0);
	capc_args_free(a);
	capc_args_free(wanted);
}
END_TEST

START_TEST(the_number_of_values_is_bounded)
{
	capc_args *a = new_args();

	set(a, "l", (struct capc_value){.type = CAPC_SEQUENCE});
	for (int i = 2; i < CAPC_ARGS_VALUES_MAX; i++)
		set(a, "l.-", an_int(i));
	ck_assert_int_eq(try_set(a, "l.-", an_int(1)), -E2BIG);
	ck_assert_int_eq(try_set(a, "m.n", an_int(1)), -E2BIG);
	set(a, "l", an_int(1));
	set(a, "m.n", an_int(1));
	capc_args_free(a);
}
END_TEST

START_TEST(a_tree_that_is_too_long_cannot_be_sealed)
{
	cleanup_free char *bytes = calloc(1, CAPC_ARGS_BYTES_MAX);
	struct capc_value v = {.type = CAPC_BINARY, .binary = {bytes, CAPC_ARGS_BYTES_MAX - 5}};
	capc_args *a = new_args();
	int memfd = -1;

	set(a, "", v);
	v.binary.n++;
	set(a, "", v);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), -E2BIG);
	ck_assert_int_eq(memfd, -1);
	v.binary.n--;
	set(a, "", v);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	close(memfd);
	capc_args_free(a);
}
END_TEST

START_TEST(a_value_can_be_set_to_what_it_was)
{
	capc_args *a = yaml("{s: word, d: !fd 0}"), *wanted = yaml("{s: word, d: !fd 0}");
	struct capc_value v;

	ck_assert_int_eq(capc_args_get(a, "s", &v), 0);
	set(a, "s", v);
	ck_assert_int_eq(capc_args_get(a, "d", &v), 0);
	set(a, "d", v);
	assert_same(a, wanted, "", false);
	capc_args_free(a);
	capc_args_free(wanted);
}
END_TEST

START_TEST(what_is_opened_or_sealed_stays_as_it_is)
{
	capc_args *a = new_args(), *opened = NULL;
	int memfd = -1;

	ck_assert_int_eq(open_bytes("\xa0", 1, &opened), 0);
	ck_assert_int_eq(try_set(opened, "a", an_int(1)), -EROFS);
	ck_assert_int_eq(capc_args_seal(opened, 3, &memfd), -EROFS);
	ck_assert_uint_eq(capc_args_n_fds(opened), 0);
	ck_assert_int_eq(capc_args_fd(opened, 0, NULL), -EINVAL);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	ck_assert_int_eq(try_set(a, "a", an_int(1)), -EROFS);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), -EROFS);
	ck_assert_int_eq(write(memfd, "", 1), -1);
	ck_assert_int_eq(errno, EPERM);
	close(memfd);
	capc_args_free(a);
	capc_args_free(opened);
	ck_assert_ptr_null(capc_args_free(NULL));
}
END_TEST

/* --- descriptors --- */

START_TEST(descriptors_are_in_their_order_and_have_labels)
{
	capc_args *a = yaml("{z: [~, !fd 1], a: {b.c: !fd 0}, same: !fd 1, last: !fd 2}");
	static const char *const labels[] = {"z.1", "a.b\\.c", "last"};
	static const int files[] = {1, 0, 2};
	const char *label;
	int memfd = -1, fd;

	ck_assert_uint_eq(capc_args_n_fds(a), 0);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	ck_assert_uint_eq(capc_args_n_fds(a), 3);
	for (size_t i = 0; i < 3; i++) {
		fd = capc_args_fd(a, i, &label);
		ck_assert(same_file(fd, files[i]));
		ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
		ck_assert_str_eq(label, labels[i]);
	}
	ck_assert_int_eq(capc_args_fd(a, 3, NULL), -EINVAL);
	ck_assert_int_eq(capc_args_get_fd(a, "same", &fd), 0);
	ck_assert_int_eq(fd, 3);
	ck_assert_int_eq(capc_args_get_fd(a, "last", &fd), 0);
	ck_assert_int_eq(fd, 5);
	close(memfd);
	capc_args_free(a);
}
END_TEST

START_TEST(a_descriptor_is_a_duplicate_and_named_again_the_same)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), one, other, memfd = -1;
	capc_args *a = new_args();

	set(a, "a", a_fd(fd));
	close(fd);
	ck_assert_int_eq(capc_args_get_fd(a, "a", &one), 0);
	set(a, "b", a_fd(one));
	ck_assert_int_eq(capc_args_get_fd(a, "b", &other), 0);
	ck_assert_int_eq(one, other);
	set(a, "a", an_int(1));
	ck_assert_int_eq(fcntl(one, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(capc_args_seal(a, INT_MAX, &memfd), -ERANGE);
	ck_assert_int_eq(capc_args_seal(a, -1, &memfd), -ERANGE);
	set(a, "b", an_int(1));
	ck_assert_int_eq(fcntl(one, F_GETFD), -1);
	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	ck_assert_uint_eq(capc_args_n_fds(a), 0);
	close(memfd);
	capc_args_free(a);
}
END_TEST

/* A child of fork(2) has the tree and its descriptors, and ends neither. */
START_TEST(a_tree_goes_on_in_a_child)
{
	capc_args *a = yaml("{i: 5, d: !fd 0}");
	int status, fd;
	pid_t child = fork();

	if (child == 0) {
		int64_t i = 0;
		bool ok = capc_args_get_int(a, "i", &i) == 0 && i == 5;

		capc_args_free(a);
		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(capc_args_get_fd(a, "d", &fd), 0);
	ck_assert(same_file(fd, 0));
	capc_args_free(a);
}
END_TEST

/* A large map is looked up at once, whatever its keys are. */
START_TEST(a_map_of_many_keys)
{
	capc_args *a = new_args();
	char key[16];
	int64_t v;

	for (int i = 0; i < 60000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		set(a, key, an_int(i));
	}
	for (int i = 0; i < 60000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		ck_assert_int_eq(capc_args_get_int(a, key, &v), 0);
		ck_assert_int_eq(v, i);
	}
	capc_args_free(a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("args-paths");
	TCase *t = fixture_case(s, "paths", 60);

	tcase_add_test(t, a_path_is_keys_and_indexes);
	tcase_add_loop_test(
		t, a_path_that_leads_nowhere, 0, sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(t, a_key_has_at_most_255_bytes);
	tcase_add_test(t, a_type_is_asked_for);
	tcase_add_test(t, items_come_in_their_order);
	tcase_add_test(t, what_is_on_the_way_is_made);
	tcase_add_test(t, what_cannot_be_set_changes_nothing);
	tcase_add_test(t, the_number_of_values_is_bounded);
	tcase_add_test(t, a_tree_that_is_too_long_cannot_be_sealed);
	tcase_add_test(t, a_value_can_be_set_to_what_it_was);
	tcase_add_test(t, what_is_opened_or_sealed_stays_as_it_is);
	tcase_add_test(t, descriptors_are_in_their_order_and_have_labels);
	tcase_add_test(t, a_descriptor_is_a_duplicate_and_named_again_the_same);
	tcase_add_test(t, a_tree_goes_on_in_a_child);
	tcase_add_test(t, a_map_of_many_keys);
	return fixture_main(s);
}
