/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P14 P16 P35 */
/* Commands that come in pieces: what is kept, for how long, who pays, and what is never done. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/fs/front.h"
#include "tests/fs-kernel.h"

/* An open `transfer_quota` of the root, and init/app, to which it gives: 3 slots more, or none. */
static struct {
	uint64_t sessions, node, fh, quota;
	uint64_t offset; /* where the file's next write is */
	uint64_t unique; /* of the last one */
	char before[256];
} w;

static char *
read_all(uint64_t node)
{
	uint64_t fh = open_node(node);

	read_node(node, fh, 0);
	return k.data;
}

/* What init/app has of slots. */
static const char *
caps(void)
{
	const char *all = read_all(w.quota);

	ck_assert_ptr_nonnull(strchr(all, '\n'));
	*strchr(all, '\n') = '\0';
	return all;
}

static void
world_setup(void)
{
	kernel_setup();
	w.sessions = look_up(FUSE_ROOT_ID, "sessions");
	ck_assert_int_eq(make_directory(w.sessions, "app"), 0);
	w.quota = look_up(look_up(w.sessions, "app"), "quota");
	w.node = look_up(FUSE_ROOT_ID, "transfer_quota");
	w.fh = open_node(w.node);
	w.offset = 0;
	strcpy(w.before, caps());
}

/* As the kernel does it: a write that is refused moves nothing. */
static int
write_flags(const char *text, size_t n, uint32_t flags)
{
	static char body[sizeof(struct fuse_write_in) + 8192];
	const struct fuse_write_in in = {
		.fh = w.fh, .size = (uint32_t)n, .offset = w.offset, .flags = flags};

	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), text, n);
	if (ask(FUSE_WRITE, w.node, body, sizeof(in) + n) == 0)
		w.offset += n;
	w.unique = k.unique;
	return k.out.error;
}

static int
write_piece(const char *text)
{
	return write_flags(text, strlen(text), O_RDWR);
}

/* The last write again, as it comes to the next broker. */
static int
repeat(const char *text)
{
	char body[256];
	struct fuse_write_in in = {.fh = w.fh, .size = (uint32_t)strlen(text)};

	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), text, in.size);
	kernel_send(FUSE_WRITE, w.node, w.unique | RESENT, body, sizeof(in) + in.size);
	kernel_receive();
	return k.out.error;
}

static void
close_file(void)
{
	const struct fuse_release_in in = {.fh = w.fh};

	ck_assert_int_eq(ask(FUSE_RELEASE, w.node, &in, sizeof(in)), 0);
}

static bool
is_done(void)
{
	return strcmp(w.before, caps()) != 0;
}

/* A line of the root's log has both of these. */
static bool
is_told(const char *what, const char *also)
{
	char log[sizeof(k.data)], *save = NULL;

	strcpy(log, read_all(look_up(FUSE_ROOT_ID, "events")));
	for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, what) && strstr(line, also))
			return true;
	return false;
}

/* What the root has used of its ram. */
static unsigned long
used(void)
{
	const char *ram = strstr(read_all(look_up(FUSE_ROOT_ID, "quota")), "ram ");

	ck_assert_ptr_nonnull(ram);
	return strtoul(strstr(ram, "used=") + 5, NULL, 10);
}

START_TEST(P35_a_command_waits_for_its_newline)
{
	ck_assert_int_eq(write_piece("to=app "), 0);
	ck_assert_str_eq(read_node(w.node, w.fh, w.offset), "");
	ck_assert_str_eq(read_node(w.node, w.fh, 0), "");
	ck_assert_int_eq(write_piece("cap"), 0);
	ck_assert_int_eq(write_piece("s=3"), 0);
	ck_assert(!is_done());
	ck_assert_int_eq(write_piece("\n"), 0);
	ck_assert(is_done());
	/* The next one begins anew. */
	ck_assert_int_eq(write_piece("to=nobody caps=3"), 0);
	ck_assert_int_eq(write_piece("\n"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(read_node(w.node, w.fh, w.offset + 1), "nobody"));
	ck_assert_int_eq(write_piece("to=app caps=3\n"), 0);
}
END_TEST

/* _i: killed before the piece of that number is written. */
START_TEST(P35_P14_it_waits_across_brokers)
{
	static const char *const pieces[] = {"to=a", "pp ", "caps=3", "\n"};

	for (int i = 0; i < 4; i++) {
		if (i == _i)
			kernel_kill();
		ck_assert(!is_done());
		ck_assert_int_eq(write_piece(pieces[i]), 0);
	}
	ck_assert(is_done());
}
END_TEST

/* The broker dies behind each piece, and the kernel has no answer yet. */
START_TEST(P35_P14_no_piece_is_taken_twice)
{
	static const char *const pieces[] = {"to=app ", "caps=", "1", "\n"};
	char once[256];

	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(write_piece(pieces[i]), 0);
		kernel_kill();
		ck_assert_int_eq(repeat(pieces[i]), 0);
	}
	strcpy(once, caps());
	ck_assert(is_done());
	kernel_kill();
	ck_assert_int_eq(repeat("\n"), 0);
	ck_assert_str_eq(once, caps());
}
END_TEST

/* What was refused with its first half is refused, when it comes again, without that. */
START_TEST(P35_P14_the_rest_of_a_refused_command_is_none)
{
	ck_assert_int_eq(write_piece("sockets=99999999 "), 0);
	ck_assert_int_eq(write_piece("to=app caps=3\n"), -EDQUOT);
	kernel_kill();
	ck_assert_int_eq(repeat("to=app caps=3\n"), -EDQUOT);
	ck_assert(!is_done());
	ck_assert_int_eq(write_piece("to=app caps=3\n"), 0);
	ck_assert(is_done());
}
END_TEST

START_TEST(P35_closing_ends_a_command)
{
	ck_assert_int_eq(write_piece("to=app caps=3"), 0);
	/* _i: by a broker that does not know the file; or by one that does, and the next does it no more. */
	if (_i)
		kernel_kill();
	close_file();
	ck_assert(is_done());
	ck_assert(is_told(" transfer_quota ", "caps=3"));
	strcpy(w.before, caps());
	kernel_kill();
	close_file();
	ck_assert(!is_done());
}
END_TEST

START_TEST(P35_closing_tells_by_the_event)
{
	ck_assert_int_eq(write_piece("to=nobody caps=3"), 0);
	if (_i)
		kernel_kill();
	close_file();
	ck_assert(is_told("refused transfer_quota", "ENOENT"));
}
END_TEST

/* Whoever was killed between two words has written half a command. */
START_TEST(P35_behind_a_blank_nothing_is_done)
{
	ck_assert_int_eq(write_piece("to=app caps=3 "), 0);
	if (_i)
		kernel_kill();
	close_file();
	ck_assert(!is_done());
	ck_assert(is_told("refused transfer_quota", "EINVAL: the file was closed behind a blank"));
}
END_TEST

/* A piece that was refused: what follows would be the rest of something, in the next broker, too. */
static void
takes_nothing_more(int error)
{
	ck_assert_int_eq(write_piece("to=app caps=3\n"), error);
	kernel_settle(0);
	kernel_kill();
	ck_assert_int_eq(write_piece("to=app caps=3\n"), error);
	close_file();
	ck_assert(!is_done());
}

START_TEST(P35_one_line_in_all)
{
	static char text[2048];

	memset(text, ' ', sizeof(text));
	ck_assert_int_eq(write_flags(text, 2048, O_RDWR), 0);
	ck_assert_int_eq(write_flags(text, 2047, O_RDWR), 0);
	ck_assert_int_eq(write_piece(" "), -EMSGSIZE);
	ck_assert(is_told("refused transfer_quota", "EMSGSIZE"));
	takes_nothing_more(-EMSGSIZE);
}
END_TEST

START_TEST(P35_the_longest_line_in_pieces)
{
	static char text[4081];

	memset(text, ' ', sizeof(text));
	ck_assert_int_eq(write_flags(text, sizeof(text), O_RDWR), 0);
	ck_assert_int_eq(write_piece("to=app caps=3\n"), 0);
	ck_assert(is_done());
}
END_TEST

START_TEST(P35_the_beginning_of_a_second_line)
{
	ck_assert_int_eq(write_piece("to=app caps=1\nsockets=1"), -EINVAL);
	takes_nothing_more(-EINVAL);
}
END_TEST

START_TEST(P35_a_piece_elsewhere_in_the_file)
{
	ck_assert_int_eq(write_piece("sockets=1 "), 0);
	w.offset = 0;
	ck_assert_int_eq(write_piece("to=app caps=3\n"), -EINVAL);
	takes_nothing_more(-EINVAL);
}
END_TEST

/* There the kernel guesses the offset. */
START_TEST(P35_appended_pieces)
{
	ck_assert_int_eq(write_flags("to=app ", 7, O_RDWR | O_APPEND), 0);
	w.offset = 123;
	ck_assert_int_eq(write_flags("caps=3\n", 7, O_RDWR | O_APPEND), 0);
	ck_assert(is_done());
}
END_TEST

START_TEST(P35_P14_a_poisoned_piece)
{
	if (_i)
		ck_assert_int_eq(write_piece("sockets=1 "), 0);
	k.boot.page->poisoned = k.unique + 2;
	ck_assert_int_eq(write_piece("threads=1 "), -EIO);
	takes_nothing_more(-EIO);
}
END_TEST

/* Who was interrupted writes the piece again, _i; or was killed, and it is missing for ever. */
START_TEST(P35_an_interrupted_piece)
{
	static char body[sizeof(struct fuse_write_in) + 64];
	struct fuse_interrupt_in interrupt = {};

	k.impatient = true;
	kernel_kill();
	ck_assert_int_eq(write_piece("to=app caps=3"), 0);
	kernel_stop();
	w.unique = interrupt.unique = k.unique += 2;
	kernel_send(FUSE_WRITE, w.node, w.unique, body, write_body(body, w.fh, " sockets=1\n", 11));
	kernel_send(FUSE_INTERRUPT, 0, k.unique += 2, &interrupt, sizeof(interrupt));
	kernel_continue();
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, w.unique);
	ck_assert_int_eq(k.out.error, -EINTR);
	kernel_kill();
	if (_i)
		ck_assert_int_eq(write_piece(" sockets=1\n"), 0);
	close_file();
	ck_assert(is_done() == _i);
	ck_assert(is_told("refused transfer_quota", "EINTR") != _i);
}
END_TEST

START_TEST(P35_P16_no_memory_for_a_piece)
{
	ck_assert_int_eq(write_piece("sockets=1 "), 0);
	kernel_starve();
	ck_assert_int_eq(write_piece("threads=1 inflight=1 this is longer than what there is room for"), -ENOMEM);
	kernel_starve();
	takes_nothing_more(-ENOMEM);
}
END_TEST

/* A kernel before 6.9 does not say what was written when the broker died. */
START_TEST(P35_P14_without_repetition_no_half_is_kept)
{
	k.old = true;
	kernel_kill();
	ck_assert_int_eq(write_piece("to=app "), 0);
	kernel_settle(0);
	kernel_kill();
	if (_i) {
		ck_assert_int_eq(write_piece("caps=3\n"), -EIO);
		takes_nothing_more(-EIO);
	} else {
		close_file();
		ck_assert(is_told("refused transfer_quota", "EIO"));
	}
	ck_assert(!is_done());
}
END_TEST

START_TEST(P35_P02_each_byte_is_paid)
{
	const unsigned long before = used();
	unsigned long with;

	ck_assert_int_eq(write_piece("to=app "), 0);
	with = used();
	ck_assert_int_eq(write_piece("caps=3"), 0);
	ck_assert_uint_gt(with, before);
	/* Each look has opened the file once more. */
	ck_assert_uint_eq(used() - with, with - before - 7 + 6);
	close_file();
	ck_assert(is_done());
}
END_TEST

/* A session that has no room for it is told so, and its half is none. */
START_TEST(P35_P02_whoever_cannot_pay)
{
	uint64_t root = w.node, fhs[400];
	static char text[4000];
	int n = 0;

	memset(text, ' ', sizeof(text));
	w.node = look_up(look_up(w.sessions, "app"), "transfer_quota");
	for (int i = 0; i < 400; i++)
		fhs[i] = open_node(w.node);
	do {
		ck_assert_int_lt(n, 400);
		w.fh = fhs[n++];
		w.offset = 0;
	} while (write_flags(text, sizeof(text), O_RDWR) == 0);
	ck_assert_int_gt(n, 10);
	ck_assert_int_eq(k.out.error, -EDQUOT);
	ck_assert_ptr_nonnull(strstr(read_node(w.node, w.fh, sizeof(text)), "init/app"));
	ck_assert_int_eq(write_piece("to=app caps=3\n"), -EDQUOT);
	/* Nobody else is. */
	w.node = root;
	w.fh = open_node(root);
	w.offset = 0;
	ck_assert_int_eq(write_piece("to=app "), 0);
	ck_assert_int_eq(write_piece("caps=3\n"), 0);
	/* What ends with the session is given back. */
	ck_assert_int_eq(ask(FUSE_RMDIR, w.sessions, "app", 4), 0);
	ck_assert_uint_eq(look_up(w.sessions, "app"), 0);
}
END_TEST

/* Its session ends: nobody is left to tell, nothing to do. */
START_TEST(P35_a_session_that_ends_meanwhile)
{
	w.node = look_up(look_up(w.sessions, "app"), "transfer_quota");
	w.fh = open_node(w.node);
	ck_assert_int_eq(write_piece("to=app caps=3"), 0);
	ck_assert_int_eq(ask(FUSE_RMDIR, w.sessions, "app", 4), 0);
	ck_assert_int_eq(write_piece("\n"), -ESTALE);
	close_file();
	ck_assert_uint_eq(look_up(w.sessions, "app"), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("halves");
	TCase *t = fixture_case(s, "halves", 60);

	tcase_add_checked_fixture(t, world_setup, kernel_teardown);
	tcase_add_test(t, P35_a_command_waits_for_its_newline);
	tcase_add_loop_test(t, P35_P14_it_waits_across_brokers, 0, 4);
	tcase_add_test(t, P35_P14_no_piece_is_taken_twice);
	tcase_add_test(t, P35_P14_the_rest_of_a_refused_command_is_none);
	tcase_add_loop_test(t, P35_closing_ends_a_command, 0, 2);
	tcase_add_loop_test(t, P35_closing_tells_by_the_event, 0, 2);
	tcase_add_loop_test(t, P35_behind_a_blank_nothing_is_done, 0, 2);
	tcase_add_test(t, P35_one_line_in_all);
	tcase_add_test(t, P35_the_longest_line_in_pieces);
	tcase_add_test(t, P35_the_beginning_of_a_second_line);
	tcase_add_test(t, P35_a_piece_elsewhere_in_the_file);
	tcase_add_test(t, P35_appended_pieces);
	tcase_add_loop_test(t, P35_P14_a_poisoned_piece, 0, 2);
	tcase_add_loop_test(t, P35_an_interrupted_piece, 0, 2);
	tcase_add_test(t, P35_P16_no_memory_for_a_piece);
	tcase_add_loop_test(t, P35_P14_without_repetition_no_half_is_kept, 0, 2);
	tcase_add_test(t, P35_P02_each_byte_is_paid);
	tcase_add_test(t, P35_P02_whoever_cannot_pay);
	tcase_add_test(t, P35_a_session_that_ends_meanwhile);
	return fixture_main(s);
}
