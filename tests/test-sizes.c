/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: P34
 *
 * The sizes that the kernel is told, by the front without a kernel: programs read no more than that.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/tree/lists.h"
#include "capfsd/tree/rows.h"
#include "tests/fs-kernel.h"

#define SOMEBODY_ELSE 4711
#define LINES (4 * LISTS_PIECE_LINES)

static uint64_t
find(const char *path)
{
	char *copy = strdup(path), *rest = copy, *name;
	uint64_t node = FUSE_ROOT_ID;

	while ((name = strsep(&rest, "/")))
		node = look_up(node, name);
	free(copy);
	ck_assert_uint_ne(node, 0);
	return node;
}

static struct fuse_attr_out
attributes_of(uint64_t node)
{
	const struct fuse_getattr_in in = {};
	struct fuse_attr_out out;

	ck_assert_int_eq(ask(FUSE_GETATTR, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	return out;
}

static bool
is_cached(const struct fuse_attr_out *out)
{
	return out->attr_valid > 0 || out->attr_valid_nsec > 0;
}

static uint64_t
size_of(uint64_t node)
{
	return attributes_of(node).attr.size;
}

static uint64_t
size_for_another(uint64_t node)
{
	uint64_t size;

	k.pid = SOMEBODY_ELSE;
	size = size_of(node);
	k.pid = 0;
	return size;
}

static uint64_t
read_length(uint64_t node, uint64_t fh)
{
	uint64_t n = 0;

	do
		read_node(node, fh, n);
	while ((n += k.n, k.n > 0));
	return n;
}

static void
release(uint64_t node, uint64_t fh)
{
	const struct fuse_release_in in = {.fh = fh};

	ck_assert_int_eq(ask(FUSE_RELEASE, node, &in, sizeof(in)), 0);
}

static uint64_t
length_of_text(uint64_t node)
{
	uint64_t fh = open_node(node), n = read_length(node, fh);

	release(node, fh);
	return n;
}

static void
command(const char *path, const char *text)
{
	uint64_t node = find(path), fh = open_node(node);

	ck_assert_msg(write_node(node, fh, text) == 0, "%s: %s", path, read_node(node, fh, 0));
	release(node, fh);
}

static void
grant(unsigned first, unsigned n)
{
	char text[64];

	for (unsigned i = first; i < first + n; i++) {
		snprintf(text, sizeof(text), "to=many as=kv%u", i);
		command("caps/kv/grant", text);
	}
}

/* caps/kv/holders, made in pieces. */
static uint64_t
make_holders(void)
{
	ck_assert_int_eq(make_directory(find("sessions"), "many"), 0);
	command("transfer_quota", "to=many caps=500 ram=1M");
	grant(0, LINES);
	return find("caps/kv/holders");
}

/* Every row that can be read: one that is added has a size like all others, or this fails. */
static void
expect_true_sizes(enum entity_kind kind, uint64_t directory)
{
	struct rows rows = rows_of(kind);

	for (size_t i = 1; i < rows.n; i++) {
		const struct row *row = &rows.rows[i];
		uint64_t node = (uint64_t)i << 48 | directory, told, fh, n;

		if (row->type == ROW_DIRECTORY || row->type == ROW_SOCKET)
			continue;
		told = size_of(node);
		fh = open_node(node);
		n = size_of(node);
		ck_assert_msg(told == n || row->type == ROW_LOG, "%s: %u, opened %u", row->name,
			(unsigned)told, (unsigned)n);
		ck_assert_msg(read_length(node, fh) == n || row->type == ROW_CALL, "%s: is not %u",
			row->name, (unsigned)n);
		release(node, fh);
	}
}

START_TEST(P34_every_file_says_how_long_it_is)
{
	command("entrypoints/kv/objects", "key=7 as=seven");
	make_holders();
	expect_true_sizes(ENTITY_SESSION, FUSE_ROOT_ID);
	expect_true_sizes(ENTITY_CAPABILITY, find("caps/kv"));
	expect_true_sizes(ENTITY_CAPABILITY, find("sessions/many/caps/kv0"));
	expect_true_sizes(ENTITY_ENTRYPOINT, find("entrypoints/kv"));
}
END_TEST

/* What is short is asked for once; what is made in pieces may be another text by the time that it is whole. */
START_TEST(P34_long_texts_are_not_cached)
{
	uint64_t kv = find("caps/kv"), holders = find("caps/kv/holders");
	struct fuse_attr_out attr = attributes_of(holders);

	ck_assert(is_cached(&attr));
	ck_assert_uint_eq(attr.attr.size, 0);
	ck_assert_uint_eq(make_holders(), holders);
	attr = attributes_of(holders);
	ck_assert(!is_cached(&attr));
	ck_assert_uint_eq(attr.attr.size, length_of_text(holders));
	attr = attributes_of(look_up(kv, "info"));
	ck_assert(is_cached(&attr));
	attr = attributes_of(find("metrics"));
	ck_assert(!is_cached(&attr));
}
END_TEST

/* Servers count calls without a word: of a limit of these nobody would be told. */
START_TEST(P34_what_servers_count_is_not_cached)
{
	struct fuse_attr_out attr;

	ck_assert_int_eq(make_directory(find("sessions"), "app"), 0);
	command("transfer_quota", "to=app caps=10 ram=64K");
	command("caps/kv/grant", "to=app as=all");
	command("caps/kv/grant", "to=app as=few calls=100");
	attr = attributes_of(find("sessions/app/caps/all/info"));
	ck_assert(is_cached(&attr));
	attr = attributes_of(find("sessions/app/caps/few/info"));
	ck_assert(!is_cached(&attr));
	attr = attributes_of(find("caps/kv/holders"));
	ck_assert(!is_cached(&attr));
}
END_TEST

/* Others have their turns meanwhile. */
START_TEST(P34_sizes_are_made_in_turns)
{
	const struct fuse_getattr_in getattr = {};
	const struct fuse_open_in open = {.flags = O_RDONLY};
	uint64_t holders = make_holders(), one, other;
	struct fuse_attr_out out;

	ck_assert_int_eq(make_directory(find("sessions"), "calm"), 0);
	other = find("sessions/calm/label");
	kernel_stop();
	one = k.unique += 2;
	kernel_send(FUSE_GETATTR, holders, one, &getattr, sizeof(getattr));
	kernel_send(FUSE_OPEN, other, k.unique += 2, &open, sizeof(open));
	kernel_continue();
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, k.unique);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, one);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.attr.size, length_of_text(holders));
}
END_TEST

/* open(2) asks first, and gets that text though it be another one by then: sendfile(2) goes by that size. */
START_TEST(P34_open_gives_what_was_told)
{
	uint64_t holders = make_holders(), told = size_of(holders), fh, again;

	grant(LINES, 1);
	fh = open_node(holders);
	ck_assert_uint_eq(size_of(holders), told);
	ck_assert_uint_eq(read_length(holders, fh), told);
	/* Whoever opens it again asks again. */
	again = size_for_another(holders);
	ck_assert_uint_gt(again, told);
	ck_assert_uint_eq(length_of_text(holders), again);
	release(holders, fh);
}
END_TEST

/* A size that others ask for does not cut what somebody is reading; nor has it any part in it afterwards. */
START_TEST(P34_no_size_is_less_than_what_is_open)
{
	uint64_t holders = make_holders(), long_one = size_of(holders), fh = open_node(holders);
	struct fuse_attr_out attr;
	uint64_t caps = find("sessions/many/caps");

	for (unsigned i = 0; i < LINES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "kv%u", i);
		ck_assert_int_eq(ask(FUSE_RMDIR, caps, name, strlen(name) + 1), 0);
	}
	ck_assert_uint_eq(size_for_another(holders), long_one);
	ck_assert_uint_eq(look_up(find("caps/kv"), "holders"), holders);
	ck_assert_uint_eq(((struct fuse_entry_out *)(void *)k.data)->attr.size, long_one);
	ck_assert_uint_eq(read_length(holders, fh), long_one);
	ck_assert_uint_eq(size_for_another(holders), 0);
	/* … but to the one who has it. */
	attr = attributes_of(holders);
	ck_assert_uint_eq(attr.attr.size, long_one);
	ck_assert(!is_cached(&attr));
	release(holders, fh);
	attr = attributes_of(holders);
	ck_assert_uint_eq(attr.attr.size, 0);
	ck_assert(is_cached(&attr));
}
END_TEST

/* Who has no memory left for a text is told its size all the same. */
START_TEST(P34_sizes_need_no_quota)
{
	uint64_t holders = make_holders(), told = size_of(holders), quota = find("quota");
	uint64_t readme = find("README");
	const struct fuse_open_in in = {.flags = O_RDONLY};
	const char *ram = strstr(read_node(quota, open_node(quota), 0), "ram limit=");
	char text[64];

	snprintf(text, sizeof(text), "to=many ram=%lu",
		strtoul(strstr(ram, "free=") + strlen("free="), NULL, 10) - told / 2);
	command("transfer_quota", text);
	/* The text was kept for who opens it; and events give way to whoever needs memory. */
	kernel_kill();
	while (ask(FUSE_OPEN, readme, &in, sizeof(in)) == 0)
		continue;
	ck_assert_int_eq(ask(FUSE_OPEN, holders, &in, sizeof(in)), -EDQUOT);
	ck_assert_uint_eq(size_of(holders), told);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sizes");
	TCase *t = tcase_create("sizes");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, kernel_setup, kernel_teardown);
	tcase_add_test(t, P34_every_file_says_how_long_it_is);
	tcase_add_test(t, P34_long_texts_are_not_cached);
	tcase_add_test(t, P34_what_servers_count_is_not_cached);
	tcase_add_test(t, P34_sizes_are_made_in_turns);
	tcase_add_test(t, P34_open_gives_what_was_told);
	tcase_add_test(t, P34_no_size_is_less_than_what_is_open);
	tcase_add_test(t, P34_sizes_need_no_quota);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
