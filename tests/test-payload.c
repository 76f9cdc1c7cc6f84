/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large payloads, as a client sends and gets them: the test plays the daemon and the service. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/foreign.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define LARGE (1 << 20)

static struct played d;
static capc *c;
static int service = -1;
static uint8_t buffer[WIRE_CALL_MAX];
static char large[WIRE_BUFFER_MAX];
static const struct capc_msg hello = {.code = 3, .data = "hello", .n_data = 5};

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 7 + i / 4096);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
}

static void
teardown(void)
{
	c = capc_free(c);
	service = fd_close(service);
	played_deinit(&d);
	fixture_teardown();
}

/* Makes a call of `large`, which has the next serial. Returns its payload's descriptor. */
static int
start(uint64_t serial, unsigned *ret_parts)
{
	uint64_t started;

	ck_assert_int_eq(
		capc_call_start(c, &(struct capc_msg){.data = large, .n_data = LARGE}, &started),
		0);
	ck_assert_uint_eq(started, serial);
	return foreign_get_large(service, WIRE_CALL, serial, ret_parts);
}

static void
finish(uint64_t serial)
{
	struct capc_msg reply;

	foreign_put(service, WIRE_RETURN, serial, 0, -1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), 0);
	capc_msg_done(&reply);
}

START_TEST(a_clients_buffer_waits_for_the_return)
{
	unsigned parts;
	int first, fd;

	first = start(1, &parts);
	ck_assert(foreign_is_buffer(first));
	ck_assert_int_eq(fcntl(first, F_GET_SEALS) & FOREIGN_FIXED, FOREIGN_FIXED);
	ck_assert_uint_eq(parts, 0);
	foreign_check(first, large, LARGE);
	fd = start(2, &parts);
	ck_assert(!foreign_is_buffer(fd));
	foreign_check(fd, large, LARGE);
	close(fd);
	finish(2);
	large[0]++;
	fd = start(3, &parts);
	ck_assert(!foreign_is_buffer(fd));
	close(fd);
	finish(1);
	fd = start(4, &parts);
	ck_assert(foreign_inode(fd) == foreign_inode(first));
	ck_assert_uint_gt(parts, 0);
	foreign_check(fd, large, LARGE);
	close(fd);
	close(first);
}
END_TEST

/* Who does not wait any more is answered all the same, and then the buffer is free. */
START_TEST(a_call_that_was_given_up_keeps_its_buffer)
{
	unsigned parts;
	int first = start(1, &parts), fd;

	ck_assert_int_eq(capc_call_cancel(c, 1), 0);
	ck_assert_int_eq(foreign_get(service, &(struct wire_call){}), -1);
	fd = start(2, &parts);
	ck_assert(!foreign_is_buffer(fd));
	close(fd);
	foreign_put(service, WIRE_RETURN, 1, 0, -1);
	finish(2);
	fd = start(3, &parts);
	ck_assert(foreign_inode(fd) == foreign_inode(first));
	close(fd);
	close(first);
}
END_TEST

/* It would show what is sent on a new connection to who had the old one. */
START_TEST(a_buffer_ends_with_its_connection)
{
	unsigned parts;
	int first = start(1, &parts), fd;

	finish(1);
	ck_assert(foreign_is_buffer(first));
	close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	fd = start(2, &parts);
	ck_assert(!foreign_is_buffer(fd) || foreign_inode(fd) != foreign_inode(first));
	ck_assert_uint_eq(parts, 0);
	foreign_check(fd, large, LARGE);
	close(fd);
	finish(2);
	fd = start(3, &parts);
	ck_assert(foreign_is_buffer(fd) && foreign_inode(fd) != foreign_inode(first));
	close(fd);
	close(first);
	/* … and in the middle. */
	shutdown(service, SHUT_RDWR);
	ck_assert_int_eq(capc_call_finish(c, 3, &(struct capc_msg){}, LONG), -ECONNRESET);
}
END_TEST

START_TEST(a_reply_is_the_clients_own_copy)
{
	struct foreign f = foreign_new();
	struct capc_msg reply, before = {};
	uint64_t serial;

	for (uint64_t i = 1; i <= 5; i++) {
		memcpy(f.map, large + i, LARGE);
		ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){}, &serial), 0);
		foreign_put(service, WIRE_PART, i, 1000, -1);
		foreign_put(service, WIRE_RETURN, i, LARGE, f.fd);
		ck_assert_int_eq(capc_call_finish(c, i, &reply, LONG), 0);
		ck_assert_uint_eq(foreign_get_word(f.fd), i);
		memset(f.map, 'x', LARGE);
		ck_assert_uint_eq(reply.n_data, LARGE);
		ck_assert_int_eq(memcmp(reply.data, large + i, LARGE), 0);
		ck_assert_int_eq(((const char *)reply.data)[LARGE], '\0');
		/* One that is kept is not written over by the next. */
		ck_assert(i == 1 || memcmp(before.data, large + i - 1, LARGE) == 0);
		capc_msg_done(&before);
		before = reply;
	}
	/* One that nobody wants is done with, too. */
	ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, 0), -ETIMEDOUT);
	foreign_put(service, WIRE_RETURN, 6, LARGE, f.fd);
	ck_assert_int_eq(capc_call_done(c, &serial), 0);
	ck_assert_uint_eq(foreign_get_word(f.fd), 6);
	c = capc_free(c);
	ck_assert_int_eq(memcmp(before.data, large + 5, LARGE), 0);
	capc_msg_done(&before);
	foreign_free(&f);
}
END_TEST

START_TEST(replies_that_are_not_as_they_must_be)
{
	struct foreign bad = foreign_make(foreign_malformed[_i].seals, foreign_malformed[_i].size);
	struct capc_msg reply;
	enum wire_call_type type =
		foreign_malformed[_i].type == WIRE_CALL ? WIRE_RETURN : WIRE_PART;

	foreign_put(service, type, 1, foreign_malformed[_i].n,
		foreign_malformed[_i].passed ? bad.fd : -1);
	ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, LONG), -EBADMSG);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
	munmap(bad.map, foreign_malformed[_i].size);
	close(bad.fd);
}
END_TEST

/* The buffer is its parent's: the child neither writes it nor gives its memory back. */
START_TEST(a_child_of_fork_leaves_the_buffer)
{
	unsigned parts;
	int first = start(1, &parts), fd, status;
	pid_t pid;

	finish(1);
	pid = fork();
	if (pid == 0) {
		bool good = capc_call(c, &(struct capc_msg){.data = large, .n_data = LARGE},
				    &(struct capc_msg){}, LONG) == -ECHILD;

		capc_free(c);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_gt(foreign_blocks(first), 0);
	foreign_check(first, large, LARGE);
	fd = start(2, &parts);
	ck_assert(foreign_inode(fd) == foreign_inode(first));
	foreign_check(fd, large, LARGE);
	close(fd);
	/* What is free is given back, though the service has it mapped. */
	finish(2);
	c = capc_free(c);
	ck_assert_int_eq(foreign_blocks(first), 0);
	close(first);
}
END_TEST

#define MANY 68

START_TEST(what_a_process_keeps_for_its_clients_is_bounded)
{
	struct capc_msg req = {.data = large, .n_data = LARGE};
	int services[MANY], fd;
	unsigned parts, n = 0;
	capc *many[MANY];
	uint64_t serial;

	for (unsigned i = 0; i < MANY; i++) {
		close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
		services[i] = fd_dup(service);
		ck_assert_int_eq(capc_open(d.session, "kv", LONG, &many[i]), 0);
		ck_assert_int_eq(capc_call_start(many[i], &req, &serial), 0);
		fd = foreign_get_large(services[i], WIRE_CALL, 1, &parts);
		foreign_check(fd, large, LARGE);
		n += foreign_is_buffer(fd);
		close(fd);
	}
	ck_assert_uint_eq(n, MANY - 4);
	ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), MANY - 4);
	capc_free(many[0]);
	ck_assert_int_eq(capc_call_start(many[MANY - 1], &req, &serial), 0);
	fd = foreign_get_large(services[MANY - 1], WIRE_CALL, 2, &parts);
	ck_assert(foreign_is_buffer(fd));
	close(fd);
	for (unsigned i = 0; i < MANY; i++) {
		close(services[i]);
		if (i > 0)
			capc_free(many[i]);
	}
}
END_TEST

/* A memfd of N bytes with SEALS, sent as the payload of a return of CLAIMED bytes. */
static void
put_large(uint64_t serial, size_t n, size_t claimed, int seals, char last)
{
	struct wire_call m = {.type = WIRE_RETURN, .serial = serial, .n_payload = claimed};
	int fd = memfd_create("payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int length = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	ck_assert_int_eq(pwrite(fd, "begin", 5, 0), 5);
	ck_assert_int_eq(pwrite(fd, &last, 1, (off_t)n - 1), 1);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	ck_assert_int_eq(msg_send(service, buffer, (size_t)length, &fd, 1, 0), length);
	close(fd);
}

START_TEST(large_replies_are_read_in_place)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	const size_t n = CAPC_PAYLOAD_MAX;
	struct capc_msg reply;

	put_large(1, n + 1, n, seals, '\0');
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	ck_assert_uint_eq(reply.n_data, n);
	ck_assert_uint_eq(reply.n_fds, 0);
	ck_assert_mem_eq(reply.data, "begin", 5);
	ck_assert_int_eq(((const char *)reply.data)[n], '\0');
	capc_msg_done(&reply);
}
END_TEST

/* What the sender could still change, or what is not as long as it says, is not looked at. */
START_TEST(large_replies_that_are_not_as_they_must_be)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	const size_t n = WIRE_PAYLOAD_MAX + 1;
	struct wire_call bare = {.type = WIRE_RETURN, .serial = 1, .n_payload = n};
	struct capc_msg reply;
	int length;

	switch (_i) {
	case 0:
		put_large(1, n + 1, n, F_SEAL_SHRINK | F_SEAL_GROW, '\0');
		break;
	case 1:
		put_large(1, n + 1, n, F_SEAL_WRITE | F_SEAL_GROW, '\0');
		break;
	case 2:
		put_large(1, n, n, seals, '\0');
		break;
	case 3:
		put_large(1, n + 1, n, seals, 'x');
		break;
	case 4:
		length = wire_call_encode(&bare, buffer, sizeof(buffer));
		ck_assert_int_eq(msg_send(service, buffer, (size_t)length, NULL, 0, 0), length);
		break;
	default:
		length = wire_call_encode(&bare, buffer, sizeof(buffer));
		ck_assert_int_eq(msg_send(service, buffer, (size_t)length, &service, 1, 0), length);
	}
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -EBADMSG);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("payload");
	TCase *t = tcase_create("payload");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, a_clients_buffer_waits_for_the_return);
	tcase_add_test(t, a_call_that_was_given_up_keeps_its_buffer);
	tcase_add_test(t, a_buffer_ends_with_its_connection);
	tcase_add_test(t, a_reply_is_the_clients_own_copy);
	tcase_add_loop_test(t, replies_that_are_not_as_they_must_be, 0, FOREIGN_N_MALFORMED);
	tcase_add_test(t, a_child_of_fork_leaves_the_buffer);
	tcase_add_test(t, what_a_process_keeps_for_its_clients_is_bounded);
	tcase_add_test(t, large_replies_are_read_in_place);
	tcase_add_loop_test(t, large_replies_that_are_not_as_they_must_be, 0, 6);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
