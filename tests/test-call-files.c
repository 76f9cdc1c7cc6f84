/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P11 P13 P14 S04 */
/* caps/SLOT/call: what is asked and read, and the READs that wait. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/fs-kernel.h"

/* A READ that will be answered later. Returns: its number. */
static uint64_t
read_later(uint64_t node, uint64_t fh)
{
	const struct fuse_read_in in = {.fh = fh, .size = 4096, .flags = O_RDWR};

	k.unique += 2;
	kernel_send(FUSE_READ, node, k.unique, &in, sizeof(in));
	return k.unique;
}

static const char *
read_call(uint64_t node, uint64_t fh)
{
	read_later(node, fh);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, k.unique);
	k.data[k.n] = '\0';
	return k.data;
}

static void
interrupt(uint64_t unique)
{
	const struct fuse_interrupt_in in = {.unique = unique};

	k.unique += 2;
	kernel_send(FUSE_INTERRUPT, 0, k.unique, &in, sizeof(in));
}

static void
expect_answer(uint64_t unique, int error, const char *text)
{
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, unique);
	ck_assert_int_eq(k.out.error, error);
	ck_assert_uint_eq(k.n, strlen(text));
	ck_assert_mem_eq(k.data, text, k.n);
}

START_TEST(S04_a_call_is_asked_and_read)
{
	const struct fuse_open_in read_only = {.flags = O_RDONLY};
	struct fuse_open_out out;
	uint64_t node = find_call(), fh = open_node(node), other;
	char usage[256];

	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.open_flags, FOPEN_DIRECT_IO | FOPEN_STREAM);
	/* Offsets mean nothing: what was read is over. */
	strcpy(usage, read_call(node, fh));
	ck_assert_ptr_nonnull(strstr(usage, "request"));
	ck_assert_str_eq(read_call(node, fh), "");
	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_str_eq(read_call(node, fh), "reply");
	ck_assert_str_eq(read_call(node, fh), "");
	/* Nothing can be asked: a text as any other. */
	ck_assert_int_eq(ask(FUSE_OPEN, node, &read_only, sizeof(read_only)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.open_flags, FOPEN_DIRECT_IO);
	ck_assert_str_eq(read_node(node, out.fh, 0), usage);
	ck_assert_str_eq(read_node(node, out.fh, 0), usage);
	ck_assert_str_eq(read_node(node, out.fh, 4), usage + 4);
	/* A refusal's reason is read where the reply would be. */
	other = open_node(node);
	ck_assert_int_eq(write_node(node, other, "refuse"), -EPERM);
	ck_assert_str_eq(read_call(node, other), "not today\n");
	ck_assert_str_eq(read_call(node, other), "");
}
END_TEST

START_TEST(P11_a_read_of_a_call_times_out)
{
	uint64_t node = find_call(), fh = open_node(node), unique;
	const struct fuse_getattr_in getattr = {};

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	unique = read_later(node, fh);
	/* Others are served meanwhile. */
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &getattr, sizeof(getattr)), 0);
	expect_answer(unique, -ETIMEDOUT, "");
	read_node(look_up(FUSE_ROOT_ID, "events"), open_node(look_up(FUSE_ROOT_ID, "events")), 0);
	ck_assert_ptr_nonnull(strstr(k.data, "refused call session=init slot=kv uid=0 ETIMEDOUT"));
}
END_TEST

START_TEST(P11_a_read_of_a_call_is_interrupted)
{
	uint64_t node = find_call(), fh = open_node(node), one, two, three;
	const struct fuse_getattr_in getattr = {};

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	one = read_later(node, fh);
	two = read_later(node, fh);
	three = read_later(node, fh);
	/* All three were read, and wait. */
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &getattr, sizeof(getattr)), 0);
	interrupt(two);
	expect_answer(two, -EINTR, "");
	interrupt(three);
	interrupt(one);
	expect_answer(three, -EINTR, "");
	expect_answer(one, -EINTR, "");
	/* Before the read has come. */
	interrupt(k.unique + 4);
	one = read_later(node, fh);
	expect_answer(one, -EINTR, "");
	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_str_eq(read_call(node, fh), "reply");
}
END_TEST

START_TEST(P11_many_wait_and_are_woken)
{
	uint64_t node = find_call(), fhs[200], unique[200];
	uint64_t waker = open_node(node);

	for (size_t i = 0; i < 200; i++) {
		fhs[i] = open_node(node);
		ck_assert_int_eq(write_node(node, fhs[i], "never"), 0);
		unique[i] = read_later(node, fhs[i]);
	}
	{
		char body[128];
		size_t n = write_body(body, waker, "wake", 4);
		bool seen[200] = {};

		k.unique += 2;
		kernel_send(FUSE_WRITE, node, k.unique, body, n);
		for (size_t i = 0; i < 201; i++) {
			size_t at = 0;

			kernel_receive();
			ck_assert_int_eq(k.out.error, 0);
			if (k.out.unique == k.unique)
				continue;
			while (at < 200 && unique[at] != k.out.unique)
				at++;
			ck_assert_uint_lt(at, 200);
			ck_assert(!seen[at]);
			seen[at] = true;
			ck_assert_uint_eq(k.n, 5);
		}
	}
}
END_TEST

START_TEST(P14_a_read_that_waits_is_sent_again)
{
	uint64_t node = find_call(), fh = open_node(node), unique, written;
	const struct fuse_getattr_in getattr = {};
	const struct fuse_read_in in = {.fh = fh, .size = 4096, .flags = O_RDWR};
	char body[128];
	size_t n = write_body(body, fh, "never", 5);

	ck_assert_int_eq(ask(FUSE_WRITE, node, body, n), 0);
	written = k.unique;
	unique = read_later(node, fh);
	/* It was read, and waits. */
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &getattr, sizeof(getattr)), 0);
	kernel_kill();
	/* What was committed is not asked again: to this child it would be the first. */
	kernel_send(FUSE_WRITE, node, written | RESENT, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, written | RESENT);
	ck_assert_int_eq(k.out.error, 0);
	kernel_send(FUSE_READ, node, unique | RESENT, &in, sizeof(in));
	kernel_receive();
	ck_assert_uint_eq(k.n, 0);
	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	kernel_send(FUSE_READ, node, unique | RESENT, &in, sizeof(in));
	expect_answer(unique | RESENT, 0, "resent");
}
END_TEST

START_TEST(P14_a_read_that_kills_is_refused)
{
	uint64_t node = find_call(), fh = open_node(node), other = open_node(node), unique;
	char body[128];
	size_t n = write_body(body, other, "wake", 4);

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	unique = read_later(node, fh);
	k.boot.page->poisoned = unique;
	kernel_send(FUSE_WRITE, node, k.unique += 2, body, n);
	expect_answer(unique, -EIO, "");
	kernel_receive();
	ck_assert_int_eq(k.out.error, 0);
	/* It is answered before the note is cleared. */
	for (int i = 0; i < 1000 && __atomic_load_n(&k.boot.page->executing, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	ck_assert_uint_eq(k.boot.page->executing, 0);
}
END_TEST

START_TEST(the_end_of_a_slot_wakes_its_readers)
{
	uint64_t caps = look_up(FUSE_ROOT_ID, "caps"), node = find_call(), fh = open_node(node);
	const struct fuse_release_in release = {.fh = fh};

	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_int_eq(ask(FUSE_RMDIR, caps, "kv", 3), 0);
	read_later(node, fh);
	expect_answer(k.unique, -ESTALE, "");
	ck_assert_int_eq(write_node(node, fh, "two"), -ESTALE);
	ck_assert_int_eq(ask(FUSE_RELEASE, node, &release, sizeof(release)), 0);
}
END_TEST

START_TEST(P13_oversized_calls_are_not_sent)
{
	static char body[sizeof(struct fuse_write_in) + 65537], text[65537];
	uint64_t node = find_call(), fh = open_node(node);

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, write_body(body, fh, text, 65536)), 0);
	ck_assert_int_eq(
		ask(FUSE_WRITE, node, body, write_body(body, fh, text, 65537)), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, fh, "x"), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, open_node(node), "x"), 0);
}
END_TEST

START_TEST(a_poller_of_a_call_is_woken)
{
	uint64_t node = find_call(), fh = open_node(node), other = open_node(node);
	const struct fuse_poll_in in = {
		.fh = fh, .kh = 78, .flags = FUSE_POLL_SCHEDULE_NOTIFY, .events = POLLIN};
	struct fuse_poll_out out;

	ck_assert_int_eq(ask(FUSE_POLL, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_ne(out.revents & POLLIN, 0);
	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	ck_assert_int_eq(ask(FUSE_POLL, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.revents, 0);
	k.n_polls = 0;
	ck_assert_int_eq(write_node(node, other, "wake"), 0);
	ck_assert_uint_eq(k.n_polls, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("call-files");
	TCase *t = fixture_case(s, "call files", 60);

	tcase_add_checked_fixture(t, kernel_setup, kernel_teardown);
	tcase_add_test(t, S04_a_call_is_asked_and_read);
	tcase_add_test(t, P11_a_read_of_a_call_times_out);
	tcase_add_test(t, P11_a_read_of_a_call_is_interrupted);
	tcase_add_test(t, P11_many_wait_and_are_woken);
	tcase_add_test(t, P14_a_read_that_waits_is_sent_again);
	tcase_add_test(t, P14_a_read_that_kills_is_refused);
	tcase_add_test(t, the_end_of_a_slot_wakes_its_readers);
	tcase_add_test(t, P13_oversized_calls_are_not_sent);
	tcase_add_test(t, a_poller_of_a_call_is_woken);
	return fixture_main(s);
}
