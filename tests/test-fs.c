/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P01 P02 P13 P14 P16 S01 */
/* The front of FUSE: nodes and what is done with them, replies, requests that come again. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capfsd/fs/cache.h"
#include "capfsd/fs/front.h"
#include "capfsd/process/page.h"
#include "tests/fs-kernel.h"

START_TEST(S01_nodes_are_found_and_read)
{
	const struct fuse_getattr_in getattr = {};
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), label = look_up(FUSE_ROOT_ID, "label");
	struct fuse_attr_out attr;
	uint64_t fh;

	ck_assert_uint_ne(sessions, 0);
	ck_assert_uint_ne(label, 0);
	ck_assert_uint_eq(look_up(FUSE_ROOT_ID, "nonsense"), 0);
	ck_assert_int_eq(k.out.error, -ENOENT);
	ck_assert_uint_eq(look_up(label, "x"), 0);
	ck_assert_int_eq(ask(FUSE_GETATTR, label, &getattr, sizeof(getattr)), 0);
	memcpy(&attr, k.data, sizeof(attr));
	ck_assert_uint_eq(attr.attr.size, strlen("init\n"));
	ck_assert(S_ISREG(attr.attr.mode));
	fh = open_node(label);
	ck_assert_str_eq(read_node(label, fh, 0), "init\n");
	ck_assert_str_eq(read_node(label, fh, 2), "it\n");
	ck_assert_str_eq(read_node(label, fh, 100), "");
	ck_assert_int_eq(ask(FUSE_GETATTR, UINT64_C(0x7777777777), &getattr, sizeof(getattr)), -ESTALE);
}
END_TEST

START_TEST(P01_what_is_not_offered_is_refused)
{
	static const struct {
		uint32_t opcode;
		int error;
		size_t n;
		const char *body;
	} refused[] = {
		{FUSE_SYMLINK, -EPERM, 4, "a\0b"},
		{FUSE_LINK, -EPERM, 10, "\1\0\0\0\0\0\0\0a"},
		{FUSE_UNLINK, -EPERM, 6, "label"},
		{FUSE_RMDIR, -EPERM, 6, "label"},
		{FUSE_READLINK, -ENOSYS, 0, ""},
		{FUSE_GETXATTR, -ENOSYS, 10, "\0\0\0\0\0\0\0\0a"},
		{FUSE_FALLOCATE, -ENOSYS, sizeof(struct fuse_fallocate_in), ""},
		{FUSE_OPENDIR, -ENOSYS, sizeof(struct fuse_open_in), ""},
		{4000, -ENOSYS, 0, ""},
	};
	char body[256] = {};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		memset(body, 0, sizeof(body));
		memcpy(body, refused[i].body, strlen(refused[i].body));
		ck_assert_msg(ask(refused[i].opcode, FUSE_ROOT_ID, body, refused[i].n) ==
				refused[i].error,
			"opcode %u: %d", refused[i].opcode, k.out.error);
	}
	ck_assert_int_eq(make_directory(look_up(FUSE_ROOT_ID, "caps"), "x"), -EPERM);
}
END_TEST

START_TEST(P02_two_openers_never_mix)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), node, one, two;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	node = look_up(FUSE_ROOT_ID, "transfer_quota");
	one = open_node(node);
	two = open_node(node);
	ck_assert_uint_ne(one, two);
	ck_assert_int_eq(write_node(node, one, "to=app caps=3\n"), 0);
	ck_assert_int_eq(write_node(node, two, "to=nobody caps=3\n"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(read_node(node, two, 0), "nobody"));
	ck_assert_ptr_null(strstr(read_node(node, one, 0), "nobody"));
	/* The same, and nobody else's, from the next broker. */
	kernel_kill();
	ck_assert_ptr_null(strstr(read_node(node, one, 0), "nobody"));
	ck_assert_uint_ne(open_node(node), one);
	ck_assert_uint_ne(open_node(node), two);
}
END_TEST

START_TEST(P02_handles_that_are_open_are_not_given_again)
{
	uint64_t node = look_up(FUSE_ROOT_ID, "transfer_quota"), one, two;

	one = open_node(node);
	ck_assert_int_eq(write_node(node, one, "to=nobody caps=3\n"), -ENOENT);
	ck_assert_int_eq(kill(k.child, SIGUSR1), 0);
	two = open_node(node);
	ck_assert_uint_ne(one, two);
	ck_assert_ptr_null(strstr(read_node(node, two, 0), "nobody"));
	ck_assert_ptr_nonnull(strstr(read_node(node, one, 0), "nobody"));
}
END_TEST

/* It costs no transaction of its own, and yet it does not stay. */
START_TEST(what_closed_files_were_told_goes_with_later_changes)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), node, closed[2 * FS_CLOSED_MAX + 1];
	const size_t n = sizeof(closed) / sizeof(closed[0]);
	char usage[256];

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	node = look_up(FUSE_ROOT_ID, "transfer_quota");
	snprintf(usage, sizeof(usage), "%s", read_node(node, open_node(node), 0));
	for (size_t i = 0; i < n; i++) {
		struct fuse_release_in release = {.fh = closed[i] = open_node(node)};

		ck_assert_int_eq(write_node(node, closed[i], "to=app caps=1\n"), 0);
		ck_assert_str_ne(read_node(node, closed[i], 0), usage);
		ck_assert_int_eq(ask(FUSE_RELEASE, node, &release, sizeof(release)), 0);
	}
	ck_assert_int_eq(make_directory(sessions, "b"), 0);
	kernel_kill();
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(read_node(node, closed[i], 0), usage);
}
END_TEST

/* Answered and killed; then the kernel, that never got the answer, asks again. */
START_TEST(P14_a_repeated_request_runs_once)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), node, quota, fh, unique;
	char body[256], before[4096];
	size_t n;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	node = look_up(FUSE_ROOT_ID, "transfer_quota");
	quota = look_up(look_up(sessions, "app"), "quota");
	fh = open_node(node);
	n = write_body(body, fh, "to=app caps=3\n", 14);
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, n), 0);
	unique = k.unique;
	strcpy(before, read_node(quota, open_node(quota), 0));
	kernel_kill();
	kernel_send(FUSE_WRITE, node, unique | RESENT, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, unique | RESENT);
	ck_assert_int_eq(k.out.error, 0);
	ck_assert_str_eq(read_node(quota, open_node(quota), 0), before);
	/* Not marked it is a new request, whose number happens to be the same. */
	kernel_send(FUSE_WRITE, node, unique, body, n);
	kernel_receive();
	ck_assert_int_eq(k.out.error, 0);
	ck_assert_str_ne(read_node(quota, open_node(quota), 0), before);
}
END_TEST

/* What a repeated request waited for may be gone before it is asked for again. */
START_TEST(P14_a_repeated_rmdir_is_answered)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), unique;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	ck_assert_int_eq(ask(FUSE_RMDIR, sessions, "app", 4), 0);
	unique = k.unique;
	kernel_kill();
	kernel_send(FUSE_RMDIR, sessions, unique | RESENT, "app", 4);
	kernel_receive();
	ck_assert_int_eq(k.out.error == 0 || k.out.error == -ENOENT, 1);
	ck_assert_uint_eq(look_up(sessions, "app"), 0);
}
END_TEST

/* The node that was made comes with the reply, also with that of the next broker. */
START_TEST(P14_a_repeated_mkdir_has_the_same_node)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), unique, app;
	const struct fuse_mkdir_in in = {.mode = 0755};
	char body[sizeof(in) + 4] = {};
	struct fuse_entry_out entry;

	memcpy(body, &in, sizeof(in));
	strcpy(body + sizeof(in), "app");
	ck_assert_int_eq(ask(FUSE_MKDIR, sessions, body, sizeof(body)), 0);
	unique = k.unique;
	memcpy(&entry, k.data, sizeof(entry));
	app = look_up(sessions, "app");
	ck_assert_uint_eq(entry.nodeid, app);
	kernel_kill();
	kernel_send(FUSE_MKDIR, sessions, unique | RESENT, body, sizeof(body));
	kernel_receive();
	ck_assert_int_eq(k.out.error, 0);
	memcpy(&entry, k.data, sizeof(entry));
	ck_assert_uint_eq(entry.nodeid, app);
}
END_TEST

/* What cannot be told to who asked is not done. */
START_TEST(P16_without_memory_for_its_reply_nothing_is_made)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions");

	kernel_starve();
	ck_assert_int_eq(make_directory(sessions, "app"), -ENOMEM);
	kernel_starve();
	ck_assert_uint_eq(look_up(sessions, "app"), 0);
	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	ck_assert_uint_ne(look_up(sessions, "app"), 0);
}
END_TEST

/* Of entities that an earlier broker knew the kernel may have everything, of new ones nothing. */
START_TEST(what_may_be_cached_is_known_without_a_walk)
{
	static struct model model = {.header = {.next_id = 10}};
	struct fs fs = {.model = &model};
	struct entity entities[] = {
		{.id = 9, .kind = ENTITY_CAPABILITY}, {.id = 10, .kind = ENTITY_CAPABILITY}};
	const uint64_t all = tree_all_rows(ENTITY_CAPABILITY), three = UINT64_C(1) << 3;

	fs_cache_begin(&fs);
	ck_assert(fs_cache_has(&fs, &entities[0]) && !fs_cache_has(&fs, &entities[1]));
	ck_assert_uint_eq(fs_cache_take(&fs, &entities[0], three), three);
	ck_assert_uint_eq(fs_cache_take(&fs, &entities[0], UINT64_MAX), all & ~three);
	ck_assert_uint_eq(fs_cache_take(&fs, &entities[1], UINT64_MAX), 0);
	for (int i = 0; i < 2; i++) {
		struct node node = tree_entity(&entities[i]);

		ck_assert(!fs_cache_has(&fs, &entities[i]));
		node.row += 3;
		fs_cache_note(&fs, node);
		ck_assert(fs_cache_has(&fs, &entities[i]));
		ck_assert_uint_eq(fs_cache_take(&fs, &entities[i], ~three), 0);
		ck_assert_uint_eq(fs_cache_take(&fs, &entities[i], UINT64_MAX), three);
		ck_assert(!fs_cache_has(&fs, &entities[i]));
	}
}
END_TEST

/* A change takes what is known of a socket, and its name leads to it still: that is not forgotten. */
START_TEST(the_name_of_a_socket_outlives_its_attributes)
{
	static struct model model = {.header = {.next_id = 10}};
	struct fs fs = {.model = &model};
	struct entity entities[] = {
		{.id = 9, .kind = ENTITY_CAPABILITY}, {.id = 10, .kind = ENTITY_CAPABILITY}};
	struct node node = tree_entity(&entities[1]);

	fs_cache_begin(&fs);
	ck_assert(fs_cache_names_socket(&fs, &entities[0]));
	fs_cache_note(&fs, node);
	ck_assert(!fs_cache_names_socket(&fs, &entities[1]));
	while (node.row->type != ROW_SOCKET)
		node.row++;
	fs_cache_note(&fs, node);
	for (int i = 0; i < 2; i++) {
		fs_cache_take(&fs, &entities[i], UINT64_MAX);
		ck_assert(!fs_cache_has(&fs, &entities[i]));
		ck_assert(fs_cache_names_socket(&fs, &entities[i]));
	}
}
END_TEST

/* Who waits for an edge polls once after the take-over, and is woken by what comes then. */
START_TEST(P14_a_poller_is_known_to_the_next_broker)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), log = look_up(FUSE_ROOT_ID, "events");
	const struct fuse_poll_in in = {
		.fh = open_node(log), .kh = 77, .flags = FUSE_POLL_SCHEDULE_NOTIFY, .events = POLLIN};
	const struct fuse_getattr_in getattr = {};

	ck_assert_int_eq(ask(FUSE_POLL, log, &in, sizeof(in)), 0);
	kernel_kill();
	ck_assert_int_eq(ask(FUSE_POLL, log, &in, sizeof(in)), 0);
	k.n_polls = 0;
	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
	ck_assert_uint_eq(k.n_polls, 1);
}
END_TEST

/* One more poller of LOG. Returns: the answer's error. */
static int
poll_log(uint64_t log, uint64_t kh)
{
	const uint64_t fh = open_node(log);
	const struct fuse_poll_in in = {
		.fh = fh, .kh = kh, .flags = FUSE_POLL_SCHEDULE_NOTIFY, .events = POLLIN};

	/* To the end, so that it waits. */
	read_node(log, fh, 0);
	return ask(FUSE_POLL, log, &in, sizeof(in));
}

START_TEST(P14_pollers_of_one_session_leave_room_for_others)
{
	uint64_t at = FUSE_ROOT_ID, bad, good;
	const struct fuse_getattr_in getattr = {};
	unsigned n = 0;

	/* Below each half as many as below its parent. */
	for (unsigned depth = 0; depth < 4; depth++) {
		uint64_t sessions = look_up(at, "sessions");

		ck_assert_int_eq(make_directory(sessions, "bad"), 0);
		at = look_up(sessions, "bad");
	}
	bad = look_up(at, "events");
	ck_assert_int_eq(make_directory(look_up(FUSE_ROOT_ID, "sessions"), "good"), 0);
	good = look_up(look_up(look_up(FUSE_ROOT_ID, "sessions"), "good"), "events");
	while (n < BOOT_ALL_POLLS && poll_log(bad, 1000 + n) == 0)
		n++;
	/* Who has no place is told so, and does not sleep. */
	ck_assert_uint_eq(n, BOOT_ALL_POLLS >> 4);
	ck_assert_int_eq(k.out.error, -EDQUOT);
	ck_assert_int_eq(poll_log(good, 1), 0);
	k.n_polls = 0;
	kernel_kill();
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
	ck_assert_uint_eq(k.n_polls, n + 1);
	/* The next begins without any of them. */
	ck_assert_int_eq(poll_log(bad, 9000), 0);
}
END_TEST

/* A kernel before 6.9: who was in service is told so, once, and nobody else. */
START_TEST(P14_G12_without_repetition_nobody_waits_for_ever)
{
	const struct fuse_getattr_in getattr = {};
	uint64_t waiting[3];

	k.old = k.no_sockets = true;
	kernel_kill();
	for (int i = 0; i < 3; i++) {
		waiting[i] = k.unique += 2;
		kernel_send(FUSE_LOOKUP, FUSE_ROOT_ID, waiting[i], "control", sizeof("control"));
		/* Answered, and so not in service any more. */
		ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
	}
	kernel_settle(3);
	kernel_kill();
	for (int i = 0; i < 3; i++) {
		kernel_receive();
		ck_assert_int_eq(k.out.error, -EIO);
		ck_assert(k.out.unique == waiting[0] || k.out.unique == waiting[1] ||
			k.out.unique == waiting[2]);
	}
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
	kernel_settle(0);
	kernel_kill();
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
}
END_TEST

/* There, too many in service are refused rather than forgotten. */
START_TEST(P01_without_repetition_there_is_a_bound)
{
	k.old = k.no_sockets = true;
	kernel_kill();
	ck_assert_uint_ne(look_up(FUSE_ROOT_ID, "label"), 0);
	kernel_settle(0);
	for (int i = 0; i < BOOT_SERVED_MAX; i++)
		k.boot.page->served[i] = UINT64_MAX;
	ck_assert_int_eq(ask(FUSE_LOOKUP, FUSE_ROOT_ID, "label", sizeof("label")), -ENOMEM);
	memset(k.boot.page->served, 0, sizeof(k.boot.page->served));
	ck_assert_uint_ne(look_up(FUSE_ROOT_ID, "label"), 0);
}
END_TEST

START_TEST(poisoned_request_is_refused)
{
	const struct fuse_getattr_in getattr = {};

	k.boot.page->poisoned = k.unique + 2;
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), -EIO);
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
}
END_TEST

START_TEST(P13_oversized_commands_change_nothing)
{
	static char body[sizeof(struct fuse_write_in) + 8192];
	uint64_t node = look_up(FUSE_ROOT_ID, "transfer_quota"), fh = open_node(node);
	static char text[8192];

	memset(text, ' ', sizeof(text));
	memcpy(text, "to=app caps=3", 13);
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, write_body(body, fh, text, sizeof(text))), -EMSGSIZE);
	/* Nor does what follows in the same open file. */
	ck_assert_int_eq(write_node(node, fh, "to=app caps=3\n"), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, open_node(node), "to=\xff\xfe caps=3"), -EINVAL);
	ck_assert_int_eq(write_node(node, open_node(node), ""), -EINVAL);
}
END_TEST

/* Random requests: whatever they say, each is answered, and the child lives. */
START_TEST(P13_random_requests)
{
	static const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_GETATTR, FUSE_SETATTR, FUSE_MKDIR, FUSE_RMDIR,
		FUSE_RENAME, FUSE_RENAME2, FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_RELEASE, FUSE_READDIR,
		FUSE_POLL, FUSE_STATFS, FUSE_MKNOD, FUSE_UNLINK, FUSE_FLUSH, FUSE_ACCESS, FUSE_LSEEK};
	const struct fuse_getattr_in getattr = {};
	uint64_t nodes[8] = {FUSE_ROOT_ID, look_up(FUSE_ROOT_ID, "sessions"),
		look_up(FUSE_ROOT_ID, "transfer_quota"), look_up(FUSE_ROOT_ID, "events"),
		look_up(FUSE_ROOT_ID, "quota"), look_up(FUSE_ROOT_ID, ".bind-1"), 12345, find_call()};
	uint64_t fh = open_node(nodes[2]);
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		char body[256] = {};
		uint32_t opcode = opcodes[(unsigned)rand_r(&seed) % (sizeof(opcodes) / sizeof(opcodes[0]))];

		for (size_t j = 0; j < 96; j++)
			body[j] = rand_r(&seed) % 3 ? 0 : (char)rand_r(&seed);
		if (rand_r(&seed) % 2)
			memcpy(body, &fh, sizeof(fh));
		/* The sizes that libfuse allocates or copies by are the kernel's, and sane. */
		if (opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_WRITE) {
			const uint32_t size = (uint32_t)rand_r(&seed) % 64;

			memcpy(body + offsetof(struct fuse_read_in, size), &size, sizeof(size));
		}
		ask(opcode, nodes[rand_r(&seed) % 8], body, sizeof(body));
		ck_assert_int_le(k.out.error, 0);
	}
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
}
END_TEST

/* Only sockets of slots take one; here are none. The kernel must go on asking. */
START_TEST(attributes_are_refused)
{
	static const char *const names[] = {"user.x", "security.capability", "capfs.vouch"};

	for (size_t i = 0; i < 3; i++) {
		char body[128] = {};
		struct fuse_setxattr_in in = {.size = 3};
		size_t n = strlen(names[i]) + 1;
		/* The kernel sends the short form unless it was told otherwise. */
		const size_t head = FUSE_COMPAT_SETXATTR_IN_SIZE;

		memcpy(body, &in, head);
		memcpy(body + head, names[i], n);
		memcpy(body + head + n, "abc", 3);
		ck_assert_int_eq(ask(FUSE_SETXATTR, look_up(FUSE_ROOT_ID, "control"), body, head + n + 3),
			i < 2 ? -EOPNOTSUPP : -EINVAL);
		ck_assert_int_eq(ask(FUSE_SETXATTR, UINT64_C(1) << 40, body, head + n + 3),
			i < 2 ? -EOPNOTSUPP : -ESTALE);
	}
}
END_TEST

START_TEST(requests_without_answer)
{
	const struct fuse_forget_in forget = {.nlookup = 1};
	const struct fuse_batch_forget_in batch = {.count = 0};
	const struct fuse_interrupt_in interrupt = {.unique = 50};
	const struct fuse_getattr_in getattr = {};

	kernel_send(FUSE_FORGET, look_up(FUSE_ROOT_ID, "caps"), 1000, &forget, sizeof(forget));
	kernel_send(FUSE_BATCH_FORGET, 0, 1002, &batch, sizeof(batch));
	kernel_send(FUSE_INTERRUPT, 0, 1004, &interrupt, sizeof(interrupt));
	/* Said with the next request: "not known (yet)", so that the kernel asks again. */
	kernel_send(FUSE_GETATTR, FUSE_ROOT_ID, 1006, &getattr, sizeof(getattr));
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, 1004);
	ck_assert_int_eq(k.out.error, -EAGAIN);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, 1006);
	ck_assert_int_eq(k.out.error, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fs");
	TCase *t = fixture_case(s, "fs", 60);

	tcase_add_checked_fixture(t, kernel_setup, kernel_teardown);
	tcase_add_test(t, S01_nodes_are_found_and_read);
	tcase_add_test(t, P01_what_is_not_offered_is_refused);
	tcase_add_test(t, P02_two_openers_never_mix);
	tcase_add_test(t, P02_handles_that_are_open_are_not_given_again);
	tcase_add_test(t, what_closed_files_were_told_goes_with_later_changes);
	tcase_add_test(t, P14_a_repeated_request_runs_once);
	tcase_add_test(t, P14_a_repeated_rmdir_is_answered);
	tcase_add_test(t, P14_a_repeated_mkdir_has_the_same_node);
	tcase_add_test(t, P16_without_memory_for_its_reply_nothing_is_made);
	tcase_add_test(t, P14_a_poller_is_known_to_the_next_broker);
	tcase_add_test(t, P14_pollers_of_one_session_leave_room_for_others);
	tcase_add_test(t, P14_G12_without_repetition_nobody_waits_for_ever);
	tcase_add_test(t, P01_without_repetition_there_is_a_bound);
	tcase_add_test(t, poisoned_request_is_refused);
	tcase_add_test(t, P13_oversized_commands_change_nothing);
	tcase_add_test(t, P13_random_requests);
	tcase_add_test(t, attributes_are_refused);
	tcase_add_test(t, requests_without_answer);
	tcase_add_test(fixture_case(s, "cache", 10), what_may_be_cached_is_known_without_a_walk);
	tcase_add_test(fixture_case(s, "cache", 10), the_name_of_a_socket_outlives_its_attributes);
	return fixture_main(s);
}
