/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: P21
 *
 * Requests of the kernel that wait for their turn, by the front without a kernel: it stands still
 * while they pile up.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/tree/lists.h"
#include "tests/fs-kernel.h"

#define MANY 150 /* as many as fit into a socket that nobody reads */

static uint64_t
session_of_name(const char *name)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions");

	ck_assert_int_eq(make_directory(sessions, name), 0);
	return look_up(sessions, name);
}

static uint64_t
send_open(uint64_t node)
{
	const struct fuse_open_in in = {.flags = O_RDONLY};

	k.unique += 2;
	kernel_send(FUSE_OPEN, node, k.unique, &in, sizeof(in));
	return k.unique;
}

/* Returns: how many were answered before UNIQUE. */
static unsigned
answered_before(uint64_t unique)
{
	unsigned n = 0;

	for (kernel_receive(); k.out.unique != unique; kernel_receive())
		n++;
	return n;
}

static void
receive_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		kernel_receive();
}

static void
interrupt(uint64_t unique)
{
	const struct fuse_interrupt_in in = {.unique = unique};

	k.unique += 2;
	kernel_send(FUSE_INTERRUPT, 0, k.unique, &in, sizeof(in));
}

/* Many that were there before do not make others wait for more than a turn's time. */
START_TEST(P21_sessions_take_turns)
{
	uint64_t storm = look_up(session_of_name("storm"), "quota");
	uint64_t calm = look_up(session_of_name("calm"), "quota"), one;
	unsigned n;

	kernel_stop();
	for (unsigned i = 0; i < MANY; i++)
		send_open(storm);
	one = send_open(calm);
	kernel_continue();
	n = answered_before(one);
	ck_assert_uint_le(n, 4);
	receive_all(MANY - n);
}
END_TEST

/* A new session `many` has N slots of caps/kv. Returns: the session. */
static uint64_t
grant_many(unsigned n)
{
	uint64_t many = session_of_name("many");
	uint64_t grant = look_up(look_up(look_up(FUSE_ROOT_ID, "caps"), "kv"), "grant"), fh = open_node(grant);
	uint64_t transfer = look_up(FUSE_ROOT_ID, "transfer_quota");
	char command[64];

	snprintf(command, sizeof(command), "to=many caps=%u\n", n + 20);
	ck_assert_int_eq(write_node(transfer, open_node(transfer), command), 0);
	for (unsigned i = 0; i < n; i++) {
		snprintf(command, sizeof(command), "to=many as=kv%u\n", i);
		ck_assert_int_eq(write_node(grant, fh, command), 0);
	}
	return many;
}

/* caps/kv/holders with as many lines as take many pieces. */
static uint64_t
make_holders(void)
{
	grant_many(20 * LISTS_PIECE_LINES);
	return look_up(look_up(look_up(FUSE_ROOT_ID, "caps"), "kv"), "holders");
}

/* Who has a long text made is not the only one who is served meanwhile. */
START_TEST(P21_long_texts_are_made_in_turns)
{
	uint64_t calm = look_up(session_of_name("calm"), "quota"), holders = make_holders(), one, fh;
	struct fuse_open_out out;
	const char *text;

	kernel_stop();
	one = send_open(holders);
	for (unsigned i = 0; i < 8; i++)
		send_open(calm);
	kernel_continue();
	ck_assert_uint_eq(answered_before(one), 8);
	ck_assert_int_eq(k.out.error, 0);
	memcpy(&out, k.data, sizeof(out));
	fh = out.fh;
	text = read_node(holders, fh, 0);
	ck_assert_ptr_nonnull(strstr(text, "init/many/caps/kv0 "));
}
END_TEST

/* What has ended and is still there is looked at in pieces, too, though no reply can say of them that there are more. */
START_TEST(P21_what_is_not_shown_is_listed_in_turns)
{
	const struct fuse_read_in in = {.offset = 2, .size = 4096};
	uint64_t calm = look_up(session_of_name("calm"), "quota"), many = grant_many(1500), one;
	unsigned n;

	k.unreaped = true;
	kernel_kill();
	k.unique += 2;
	kernel_send(FUSE_RMDIR, look_up(FUSE_ROOT_ID, "caps"), k.unique, "kv", 3);
	many = look_up(many, "caps");
	kernel_stop();
	one = k.unique += 2;
	kernel_send(FUSE_READDIR, many, one, &in, sizeof(in));
	for (unsigned i = 0; i < 4; i++)
		send_open(calm);
	kernel_continue();
	n = answered_before(one);
	ck_assert_uint_ge(n, 2);
	ck_assert_int_eq(k.out.error, 0);
	ck_assert_uint_eq(k.out.len, sizeof(k.out));
	receive_all(4 - n);
}
END_TEST

/* Its session, or the slot, ends while it is made. */
START_TEST(P21_what_is_opened_may_go_meanwhile)
{
	uint64_t holders = make_holders(), caps = look_up(FUSE_ROOT_ID, "caps"), one, gone;

	kernel_stop();
	one = send_open(holders);
	k.unique += 2;
	gone = k.unique;
	kernel_send(FUSE_RMDIR, caps, gone, "kv", 3);
	kernel_continue();
	for (unsigned i = 0; i < 2; i++) {
		kernel_receive();
		ck_assert_int_eq(k.out.error, k.out.unique == one ? -ESTALE : 0);
	}
	ck_assert_uint_eq(look_up(caps, "kv"), 0);
}
END_TEST

/* What one has asked is done in the order in which it came. */
START_TEST(P21_within_a_session_the_order_stays)
{
	uint64_t storm = look_up(session_of_name("storm"), "quota"), first;

	kernel_stop();
	first = send_open(storm);
	for (unsigned i = 1; i < MANY; i++)
		send_open(storm);
	kernel_continue();
	for (unsigned i = 0; i < MANY; i++) {
		kernel_receive();
		ck_assert_uint_eq(k.out.unique, first + 2 * i);
	}
}
END_TEST

/* It ends while requests of it wait: each is answered all the same. */
START_TEST(P21_what_waits_outlives_its_session)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions");
	uint64_t storm = look_up(session_of_name("storm"), "quota"), first;

	kernel_stop();
	k.unique += 2;
	kernel_send(FUSE_RMDIR, sessions, k.unique, "storm", 6);
	first = k.unique;
	for (unsigned i = 0; i < MANY; i++)
		send_open(storm);
	kernel_continue();
	for (unsigned i = 0; i <= MANY; i++) {
		kernel_receive();
		if (k.out.unique == first)
			ck_assert_int_eq(k.out.error, 0);
		else
			ck_assert_int_eq(k.out.error, k.out.error ? -ESTALE : 0);
	}
	ck_assert_uint_eq(look_up(sessions, "storm"), 0);
}
END_TEST

/* A signal that does not kill is no reason to fail. */
START_TEST(P21_who_is_interrupted_is_served)
{
	uint64_t quota = look_up(FUSE_ROOT_ID, "quota"), one;

	kernel_stop();
	one = send_open(quota);
	interrupt(one);
	kernel_continue();
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, one);
	ck_assert_int_eq(k.out.error, 0);
}
END_TEST

/* … and libfuse knows of it: one that would wait for a service does not. */
START_TEST(P21_who_is_interrupted_does_not_wait_for_a_service)
{
	struct fuse_read_in in = {.size = 4096, .flags = O_RDWR};
	uint64_t call = find_call();

	in.fh = open_node(call);
	ck_assert_int_eq(write_node(call, in.fh, "never"), 0);
	kernel_stop();
	k.unique += 2;
	kernel_send(FUSE_READ, call, k.unique, &in, sizeof(in));
	in.offset = k.unique;
	interrupt(k.unique);
	kernel_continue();
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, in.offset);
	ck_assert_int_eq(k.out.error, -EINTR);
}
END_TEST

/* What was interrupted long ago is of use to nobody, and its process may be waiting to end. */
START_TEST(P21_who_was_interrupted_long_ago_is_let_go)
{
	uint64_t quota = look_up(FUSE_ROOT_ID, "quota"), killed, other;

	k.impatient = true;
	kernel_kill();
	kernel_stop();
	killed = send_open(quota);
	other = send_open(quota);
	interrupt(killed);
	kernel_continue();
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, killed);
	ck_assert_int_eq(k.out.error, -EINTR);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, other);
	ck_assert_int_eq(k.out.error, 0);
}
END_TEST

/* Nor is who waits for a listener that nobody makes. */
START_TEST(P21_a_look_up_that_was_interrupted_is_let_go)
{
	uint64_t killed;

	k.impatient = k.no_sockets = true;
	kernel_kill();
	killed = k.unique += 2;
	kernel_send(FUSE_LOOKUP, FUSE_ROOT_ID, killed, "control", sizeof("control"));
	ck_assert_uint_ne(look_up(FUSE_ROOT_ID, "label"), 0);
	interrupt(killed);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, killed);
	ck_assert_int_eq(k.out.error, 0);
}
END_TEST

static uint64_t
send_mkdir(uint64_t parent, const char *name, uint64_t unique)
{
	char body[256];
	const struct fuse_mkdir_in in = {.mode = 0755};

	memcpy(body, &in, sizeof(in));
	strcpy(body + sizeof(in), name);
	kernel_send(FUSE_MKDIR, parent, unique, body, sizeof(in) + strlen(name) + 1);
	return unique;
}

/* The answer of each, in whichever order they come. */
static void
expect_done(uint64_t one, uint64_t other, unsigned more)
{
	for (unsigned i = 0; i < 2 + more; i++) {
		kernel_receive();
		if (k.out.unique == one || k.out.unique == other)
			ck_assert_int_eq(k.out.error, 0);
	}
}

/*
 * A change was made and its broker died before it said so. The kernel sends others again as well, in an
 * order of its own: none of them may be done before that one is answered.
 */
START_TEST(P14_what_was_done_is_answered_before_others)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), done, other;

	done = send_mkdir(sessions, "done", k.unique += 2);
	kernel_receive();
	other = k.unique += 2;
	kernel_end();
	send_mkdir(sessions, "other", other | RESENT);
	send_mkdir(sessions, "done", done | RESENT);
	kernel_begin();
	expect_done(done | RESENT, other | RESENT, 0);
	/* Also by the next broker, which has as little of it. */
	kernel_end();
	send_mkdir(sessions, "more", (k.unique += 2) | RESENT);
	send_mkdir(sessions, "other", other | RESENT);
	kernel_begin();
	expect_done(k.unique | RESENT, other | RESENT, 0);
}
END_TEST

/* Its own session's turn may come long after another's. */
START_TEST(P14_what_was_done_waits_for_no_turn)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions");
	uint64_t calm = look_up(session_of_name("calm"), "sessions"), done, other;
	uint64_t quota = look_up(FUSE_ROOT_ID, "quota");

	done = send_mkdir(sessions, "done", k.unique += 2);
	kernel_receive();
	other = k.unique += 2;
	kernel_end();
	for (unsigned i = 0; i < MANY / 2; i++) {
		const struct fuse_open_in in = {.flags = O_RDONLY};

		k.unique += 2;
		kernel_send(FUSE_OPEN, quota, k.unique | RESENT, &in, sizeof(in));
	}
	send_mkdir(sessions, "done", done | RESENT);
	send_mkdir(calm, "other", other | RESENT);
	kernel_begin();
	expect_done(done | RESENT, other | RESENT, MANY / 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pending");
	TCase *t = fixture_case(s, "pending", 60);

	tcase_add_checked_fixture(t, kernel_setup, kernel_teardown);
	tcase_add_test(t, P21_sessions_take_turns);
	tcase_add_test(t, P21_long_texts_are_made_in_turns);
	tcase_add_test(t, P21_what_is_not_shown_is_listed_in_turns);
	tcase_add_test(t, P21_what_is_opened_may_go_meanwhile);
	tcase_add_test(t, P21_within_a_session_the_order_stays);
	tcase_add_test(t, P21_what_waits_outlives_its_session);
	tcase_add_test(t, P21_who_is_interrupted_is_served);
	tcase_add_test(t, P21_who_is_interrupted_does_not_wait_for_a_service);
	tcase_add_test(t, P21_who_was_interrupted_long_ago_is_let_go);
	tcase_add_test(t, P21_a_look_up_that_was_interrupted_is_let_go);
	tcase_add_test(t, P14_what_was_done_is_answered_before_others);
	tcase_add_test(t, P14_what_was_done_waits_for_no_turn);
	return fixture_main(s);
}
