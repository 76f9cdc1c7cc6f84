/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Argument trees while there is no memory: each allocation fails once, and nothing is left of what failed. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args/tree.h"
#include "tests/fixture.h"

/* Of the library's own; libyaml has a way of its own to run out of memory, which is not tried here. */
static long countdown = -1;

static bool
fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static int
ignore(const char *path, const char *key, const struct capc_value *v, void *data)
{
	return 0;
}

/* All that is done with a tree, from its text to the program that looks into it. */
static int
work(void)
{
	static const char text[] = "{a: [!fd 0, !file {path: /dev/null, mode: rw}, x], b: !!binary aGk=, "
				   "c: {d: 99999999999999999999, e: '', f: 1.5, g: 1, h: 2, i: !fd 1, j: !fd 2}}";
	cleanup_args capc_args *a = NULL, *opened = NULL;
	cleanup_text struct text t = {};
	cleanup_close int memfd = -1;
	cleanup_free char *s = NULL;
	struct capc_value v = {.type = CAPC_STRING, .string = {"s", 1}};
	int r = capc_args_parse_yaml(text, strlen(text), "t", 0, NULL, NULL, &a, NULL);

	if (r == 0)
		r = capc_args_set(a, "new.map.with.a", &v);
	if (r == 0)
		r = capc_args_set(a, "a.2", &v);
	if (r == 0)
		r = capc_args_get_string(a, "a.2", &s);
	if (r == 0)
		r = capc_args_each(a, "c", ignore, NULL);
	if (r == 0)
		r = args_number(a, 3);
	if (r == 0)
		r = args_encode(a, &t);
	if (r == 0)
		r = args_decode(t.data, t.n, &opened);
	if (r == 0)
		r = capc_args_seal(a, 3, &memfd);
	return r;
}

START_TEST(each_allocation_can_fail)
{
	long n = 0;
	int r;

	do {
		countdown = n++;
		r = work();
		/* What is below the last allocation there is fails no more. */
		ck_assert_msg(r == -ENOMEM || (r == 0 && countdown >= 0), "the allocation %ld: %d", n - 1, r);
	} while (r < 0);
	countdown = -1;
	ck_assert_int_gt(n, 50);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("args-memory");
	TCase *t = fixture_case(s, "memory", 60);

	tcase_add_test(t, each_allocation_can_fail);
	return fixture_main(s);
}
