/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/args-world.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

capc_args *
new_args(void)
{
	capc_args *a = NULL;

	ck_assert_int_eq(capc_args_new(&a), 0);
	return a;
}

static int
open_memfd(int fd, capc_args **ret)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", fd);
	setenv("CAP_ARGS_FD", text, 1);
	return capc_args_open(ret);
}

int
open_bytes(const void *data, size_t n, capc_args **ret)
{
	cleanup_close int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	if (n > 0)
		ck_assert_int_eq(write(fd, data, n), n);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, SEALS), 0);
	return open_memfd(fd, ret);
}

capc_args *
start(capc_args *a, int first, size_t *ret_n_fds)
{
	capc_args *opened = NULL;
	int memfd = -1;

	ck_assert_int_eq(capc_args_seal(a, first, &memfd), 0);
	*ret_n_fds = capc_args_n_fds(a);
	for (size_t i = 0; i < *ret_n_fds; i++)
		ck_assert_int_eq(dup2(capc_args_fd(a, i, NULL), first + (int)i), first + (int)i);
	ck_assert_int_eq(open_memfd(memfd, &opened), 0);
	close(memfd);
	capc_args_free(a);
	return opened;
}

void
unplace(int first, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		close(first + (int)i);
}

uint8_t *
encoded(capc_args *a, size_t *ret_n)
{
	uint8_t *data = malloc(CAPC_ARGS_BYTES_MAX + 1);
	int memfd = -1;
	ssize_t n;

	ck_assert_int_eq(capc_args_seal(a, 3, &memfd), 0);
	n = pread(memfd, data, CAPC_ARGS_BYTES_MAX + 1, 0);
	ck_assert_int_gt(n, 0);
	close(memfd);
	*ret_n = (size_t)n;
	return data;
}

/* --- the same --- */

struct comparison {
	const capc_args *other;
	const capc_args *one;
	bool same_fds;
	size_t n;
};

static bool
same_bytes(const void *a, size_t n_a, const void *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a) == 0);
}

static bool
same_value(const struct capc_value *a, const struct capc_value *b, bool same_fds)
{
	switch (a->type) {
	case CAPC_NULL:
		return true;
	case CAPC_BOOL:
		return a->boolean == b->boolean;
	case CAPC_INT:
		return a->integer == b->integer;
	case CAPC_BIG:
		return a->big.negative == b->big.negative &&
		       same_bytes(a->big.data, a->big.n, b->big.data, b->big.n);
	case CAPC_FLOAT:
		/* Not a number is one value; zeros are two. */
		return a->real != a->real ? b->real != b->real
					  : memcmp(&a->real, &b->real, sizeof(double)) == 0;
	case CAPC_STRING:
		return same_bytes(a->string.data, a->string.n, b->string.data, b->string.n);
	case CAPC_BINARY:
		return same_bytes(a->binary.data, a->binary.n, b->binary.data, b->binary.n);
	case CAPC_TIME:
		return a->time.sec == b->time.sec && a->time.nsec == b->time.nsec;
	case CAPC_FD:
		return !same_fds || a->fd == b->fd;
	case CAPC_SEQUENCE:
	case CAPC_MAP:
		return a->n_items == b->n_items;
	}
	return false;
}

static int
compare_item(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct comparison *c = data;

	assert_same(c->one, c->other, path, c->same_fds);
	return 0;
}

void
assert_same(const capc_args *a, const capc_args *b, const char *path, bool same_fds)
{
	struct comparison c = {.one = a, .other = b, .same_fds = same_fds};
	struct capc_value v = {}, w = {};

	ck_assert_msg(capc_args_get(a, path, &v) == 0, "'%s' is not in the first", path);
	ck_assert_msg(capc_args_get(b, path, &w) == 0, "'%s' is not in the second", path);
	ck_assert_msg(v.type == w.type, "'%s' has types %d and %d", path, v.type, w.type);
	ck_assert_msg(same_value(&v, &w, same_fds), "'%s' is not the same", path);
	if (v.type == CAPC_SEQUENCE || v.type == CAPC_MAP)
		ck_assert_int_eq(capc_args_each(a, path, compare_item, &c), 0);
}

/* --- making --- */

capc_args *
yaml(const char *text)
{
	cleanup_free char *reason = NULL;
	capc_args *a = NULL;
	int r = capc_args_parse_yaml(text, strlen(text), "t", 0, NULL, NULL, &a, &reason);

	ck_assert_msg(r == 0, "%d: %s", r, reason);
	ck_assert_ptr_null(reason);
	return a;
}

struct capc_value
a_string(const char *s)
{
	return (struct capc_value){.type = CAPC_STRING, .string = {s, strlen(s)}};
}

struct capc_value
an_int(int64_t i)
{
	return (struct capc_value){.type = CAPC_INT, .integer = i};
}

struct capc_value
a_fd(int fd)
{
	return (struct capc_value){.type = CAPC_FD, .fd = fd};
}

void
set(capc_args *a, const char *path, struct capc_value v)
{
	ck_assert_msg(capc_args_set(a, path, &v) == 0, "'%s'", path);
}

uint64_t
pick(uint64_t *seed, uint64_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed * UINT64_C(0x2545f4914f6cdd1d) >> 11) % n;
}

uint64_t
seed_of_run(void)
{
	const char *text = getenv("PROPERTY_SEED");
	uint64_t seed = 0;

	if (text)
		seed = strtoull(text, NULL, 0);
	else
		ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	seed |= 1; /* it must not be 0 */
	printf("# PROPERTY_SEED=0x%llx\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}
