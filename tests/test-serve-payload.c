/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large payloads, as a server gets and sends them: the test plays the daemon and the clients. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "libcap-client/cap-client.h"
#include "tests/both.h"
#include "tests/fixture.h"
#include "tests/foreign.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define IDLE 4000000 /* usec, after which nothing is kept */
#define LARGE (1 << 20)

static struct played d;
static capc_entrypoint *e;
static int channel = -1;
static uint8_t buffer[WIRE_CALL_MAX];
static char large[WIRE_BUFFER_MAX + 4096];

/* Calls that wait for their answer. */
static capc_request *kept[128];
static struct capc_msg *messages[128];
static size_t n_kept;

static void
keep(capc_request *r, struct capc_msg *m, void *data)
{
	messages[n_kept] = m;
	kept[n_kept++] = r;
}

static void
reply_large(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.data = large, .n_data = LARGE}), 0);
}

static void
mirror(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_reply(r, m), 0);
}

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 7 + i / 4096);
	e = played_attach(&d, &channel);
	n_kept = 0;
	played_add(&d, e, 1, keep, NULL);
	played_add(&d, e, 2, reply_large, NULL);
	played_add(&d, e, 3, mirror, NULL);
}

static void
teardown(void)
{
	e = capc_detach(e);
	channel = fd_close(channel);
	played_deinit(&d);
	fixture_teardown();
}

/* The call that was kept last has this payload; answers it. */
static void
answer_kept(int client, const char *data, size_t n)
{
	struct wire_call reply;
	const struct capc_msg *m;

	ck_assert_uint_gt(n_kept, 0);
	m = messages[--n_kept];
	ck_assert_uint_eq(m->n_data, n);
	ck_assert_int_eq(memcmp(m->data, data, n), 0);
	ck_assert_int_eq(((const char *)m->data)[n], '\0');
	ck_assert_int_eq(capc_reply(kept[n_kept], NULL), 0);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, 0);
}

START_TEST(a_payload_is_the_servers_own_copy)
{
	static const size_t sizes[] = {WIRE_BUFFER_MAX, WIRE_PAYLOAD_MAX + 1, LARGE, LARGE + 4095};
	int client = played_client(e, channel, 1, 1);
	struct foreign f = foreign_new();

	for (unsigned i = 0; i < 12; i++) {
		size_t n = sizes[i % 4];

		memcpy(f.map, large + i, n);
		foreign_put(client, WIRE_CALL, i + 1, n, f.fd);
		ck_assert_int_eq(played_serve_all(e), 1);
		/* What the client does to it now is nothing to the server. */
		memset(f.map, 'x', WIRE_BUFFER_MAX);
		answer_kept(client, large + i, n);
	}
	ck_assert_uint_eq(foreign_count_maps("memfd:foreign"), 2);
	foreign_free(&f);
	close(client);
}
END_TEST

/* What a part told of is not read again, and counts for that call in that buffer only. */
START_TEST(parts_are_copied_as_they_come)
{
	int client = played_client(e, channel, 1, 1);
	struct foreign f = foreign_new(), other = foreign_new();

	foreign_put(client, WIRE_PART, 1, LARGE, -1); /* there is no buffer as yet */
	memcpy(f.map, large, LARGE);
	foreign_put(client, WIRE_CALL, 1, LARGE, f.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	answer_kept(client, large, LARGE);
	foreign_put(client, WIRE_PART, 2, 1000, -1);
	foreign_put(client, WIRE_PART, 2, 200000, -1);
	foreign_put(client, WIRE_PART, 2, 3, -1);
	ck_assert_int_eq(played_serve_all(e), 0);
	memset(f.map, 'x', 200000);
	foreign_put(client, WIRE_CALL, 2, LARGE, f.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	answer_kept(client, large, LARGE);
	/* Parts of a call that never came. */
	foreign_put(client, WIRE_PART, 3, 200000, -1);
	ck_assert_int_eq(played_serve_all(e), 0);
	memcpy(f.map, large, LARGE);
	foreign_put(client, WIRE_CALL, 4, LARGE, f.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	answer_kept(client, large, LARGE);
	/* More than there is in the end, and in another buffer after all. */
	foreign_put(client, WIRE_PART, 5, WIRE_BUFFER_MAX, -1);
	ck_assert_int_eq(played_serve_all(e), 0);
	memcpy(other.map, large + 1, LARGE);
	foreign_put(client, WIRE_CALL, 5, LARGE, other.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	answer_kept(client, large + 1, LARGE);
	/* The client goes in the middle. */
	foreign_put(client, WIRE_PART, 6, 1000, -1);
	ck_assert_int_eq(played_serve_all(e), 0);
	close(client);
	ck_assert_int_eq(played_serve_all(e), 0);
	foreign_free(&f);
	foreign_free(&other);
}
END_TEST

/* Those that fit into a packet are not copied again: each of them has its own. */
START_TEST(what_fits_into_a_packet_stays_there)
{
	static const size_t sizes[] = {WIRE_PAYLOAD_MAX, 10, WIRE_PAYLOAD_MAX / 2, WIRE_PAYLOAD_MAX};
	int client = played_client(e, channel, 1, 1);

	for (unsigned i = 0; i < 4; i++) {
		struct wire_call m = {.type = WIRE_CALL, .serial = i + 1, .payload = large + i, .n_payload = sizes[i]};
		int n = wire_call_encode(&m, buffer, sizeof(buffer));

		ck_assert_int_eq(send(client, buffer, (size_t)n, 0), n);
		ck_assert_int_eq(played_serve_all(e), 1);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq((uintptr_t)messages[i]->data % sizeof(uint64_t), 0);
	for (unsigned i = 4; i-- > 0;)
		answer_kept(client, large + i, sizes[i]);
	close(client);
}
END_TEST

static void *
change(void *data)
{
	struct foreign *f = data;

	for (unsigned i = 0; __atomic_load_n(&n_kept, __ATOMIC_RELAXED) < 100; i++) {
		f->map[(i * 4099) % WIRE_BUFFER_MAX]++;
		if (i % 1000 == 0)
			fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(i * 4096) % WIRE_BUFFER_MAX, 65536);
	}
	return NULL;
}

/* Reads it twice. */
static void
compare(capc_request *r, struct capc_msg *m, void *data)
{
	memcpy(large, m->data, m->n_data);
	ck_assert_int_eq(memcmp(large, m->data, m->n_data), 0);
	ck_assert_int_eq(capc_reply(r, NULL), 0);
	__atomic_add_fetch(&n_kept, 1, __ATOMIC_RELAXED);
}

START_TEST(what_a_handler_reads_does_not_change)
{
	struct foreign f = foreign_new();
	struct wire_call reply;
	pthread_t thread;
	int client;

	played_add(&d, e, 4, compare, NULL);
	client = played_client(e, channel, 1, 4);
	ck_assert_int_eq(pthread_create(&thread, NULL, change, &f), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		foreign_put(client, WIRE_PART, i, 1000 * i, -1);
		foreign_put(client, WIRE_CALL, i, WIRE_BUFFER_MAX, f.fd);
		ck_assert_int_eq(played_serve_all(e), 1);
		ck_assert(played_return(client, buffer, &reply, NULL));
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	foreign_free(&f);
	close(client);
}
END_TEST

START_TEST(calls_that_are_not_as_they_must_be)
{
	struct foreign f = foreign_new();
	struct foreign bad = foreign_make(foreign_malformed[_i].seals, foreign_malformed[_i].size);
	int client = played_client(e, channel, 1, 1), other = played_client(e, channel, 2, 3);

	foreign_put(client, WIRE_CALL, 1, LARGE, f.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	n_kept = 0;
	ck_assert_int_eq(capc_reply(kept[0], NULL), 0);
	ck_assert(played_return(client, buffer, &(struct wire_call){}, NULL));
	foreign_put(client, foreign_malformed[_i].type, 2, foreign_malformed[_i].n,
		foreign_malformed[_i].passed ? bad.fd : -1);
	foreign_put(other, WIRE_CALL, 1, 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_at_end(client));
	ck_assert(played_return(other, buffer, &(struct wire_call){}, NULL));
	munmap(bad.map, foreign_malformed[_i].size);
	close(bad.fd);
	foreign_free(&f);
	close(client);
	close(other);
}
END_TEST

/* The copies are the server's memory: a client has one, however many buffers it brings. */
START_TEST(a_second_call_in_a_buffer_ends_the_connection)
{
	struct foreign f = foreign_new(), other = foreign_new();
	int client = played_client(e, channel, 1, 1);

	foreign_put(client, WIRE_CALL, 1, LARGE, f.fd);
	ck_assert_int_eq(played_serve_all(e), 1);
	foreign_put(client, WIRE_CALL, 2, LARGE, _i ? other.fd : f.fd);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert(played_at_end(client));
	/* What the handler has is good until it answers. */
	ck_assert_int_eq(((const char *)messages[0]->data)[LARGE], '\0');
	e = capc_detach(e);
	ck_assert_int_eq(((const char *)messages[0]->data)[LARGE - 1], '\0');
	ck_assert_int_eq(capc_reply(kept[0], NULL), -ECONNRESET);
	foreign_free(&f);
	foreign_free(&other);
	close(client);
}
END_TEST

/* To read it must not make the pages that the client has saved. */
START_TEST(holes_cost_the_server_nothing)
{
	struct foreign f = foreign_new();
	int client = played_client(e, channel, 1, 1);

	memset(large, 0, sizeof(large));
	for (uint64_t i = 1; i <= 3; i++) {
		foreign_put(client, WIRE_CALL, i, LARGE, f.fd);
		ck_assert_int_eq(played_serve_all(e), 1);
		answer_kept(client, large, LARGE);
	}
	ck_assert_int_eq(foreign_blocks(f.fd), 0);
	foreign_free(&f);
	close(client);
}
END_TEST

/* A page that takes its time: whoever reads it stands until somebody writes into the pipe. */
static char *slow;
static int slow_began[2], slow_ends[2];

static void
be_slow(int signal)
{
	char byte = 0;

	if (write(slow_began[1], &byte, 1) != 1 || read(slow_ends[0], &byte, 1) != 1 ||
		mprotect(slow, LARGE, PROT_READ) < 0)
		_exit(1);
}

static void *
reply_slow(void *data)
{
	return (void *)(intptr_t)capc_reply(data, &(struct capc_msg){.data = slow, .n_data = LARGE});
}

/* A thread answers R with a MiB, and stands in the middle of it. */
static pthread_t
slow_begin(capc_request *r)
{
	struct sigaction action = {.sa_handler = be_slow, .sa_flags = (int)SA_RESETHAND};
	pthread_t thread;
	char byte;

	ck_assert(pipe2(slow_began, O_CLOEXEC) == 0 && pipe2(slow_ends, O_CLOEXEC) == 0);
	ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
	slow = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(slow, large, LARGE);
	ck_assert_int_eq(mprotect(slow + LARGE / 2, LARGE / 2, PROT_NONE), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, reply_slow, r), 0);
	ck_assert_int_eq(read(slow_began[0], &byte, 1), 1);
	return thread;
}

/* Returns what capc_reply() did. */
static int
slow_end(pthread_t thread)
{
	void *result;

	ck_assert_int_eq(write(slow_ends[1], "", 1), 1);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_int_eq(munmap(slow, LARGE), 0);
	for (unsigned i = 0; i < 2; i++) {
		close(slow_began[i]);
		close(slow_ends[i]);
	}
	return (int)(intptr_t)result;
}

/* While one thread copies its reply others answer, and calls come; also when the client or the entrypoint ends. */
START_TEST(a_large_reply_stops_nobody_else)
{
	int client = played_client(e, channel, 1, 1), other = played_client(e, channel, 2, 1), fd;
	pthread_t thread;
	unsigned parts;

	foreign_put(client, WIRE_CALL, 1, 0, -1);
	foreign_put(other, WIRE_CALL, 1, 0, -1);
	ck_assert_int_eq(played_serve_all(e), 2);
	if (capc_caller(kept[0])->connection > capc_caller(kept[1])->connection) {
		capc_request *first = kept[0];

		kept[0] = kept[1];
		kept[1] = first;
	}
	thread = slow_begin(kept[0]);
	ck_assert_int_eq(capc_reply(kept[1], NULL), 0);
	ck_assert(played_return(other, buffer, &(struct wire_call){}, NULL));
	foreign_put(other, WIRE_CALL, 2, 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(capc_reply(kept[2], NULL), 0);
	if (_i == 1) {
		client = fd_close(client);
		played_serve_all(e);
	} else if (_i == 2) {
		e = capc_detach(e);
	}
	ck_assert_int_eq(slow_end(thread), _i == 0 ? 0 : -ECONNRESET);
	if (_i == 0) {
		fd = foreign_get_large(client, WIRE_RETURN, 1, &parts);
		ck_assert(foreign_is_buffer(fd));
		foreign_check(fd, large, LARGE);
		close(fd);
	}
	ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), _i == 0);
	fd_close(client);
	close(other);
}
END_TEST

/* A reply with which the connection ends, since half of it had gone ahead, leaves the buffer to who writes there. */
START_TEST(a_reply_that_fails_leaves_the_buffer_of_another)
{
	int client = played_client(e, channel, 1, 1), fds[300];
	pthread_t thread;

	for (unsigned i = 0; i < 300; i++)
		fds[i] = i < 299 ? client : -1;
	foreign_put(client, WIRE_CALL, 1, 0, -1);
	foreign_put(client, WIRE_CALL, 2, 0, -1);
	ck_assert_int_eq(played_serve_all(e), 2);
	thread = slow_begin(kept[0]);
	ck_assert_int_eq(capc_reply(kept[1], &(struct capc_msg){.fds = fds, .n_fds = 300}), -EBADF);
	ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), 1);
	ck_assert_int_eq(slow_end(thread), -ECONNRESET);
	ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), 0);
	close(client);
}
END_TEST

/* A client gets the server's buffer again when it has said that it copied the payload. */
START_TEST(a_buffer_waits_for_its_client)
{
	int client = played_client(e, channel, 1, 2), fds[5];
	unsigned parts;

	for (unsigned i = 0; i < 5; i++) {
		foreign_put(client, WIRE_CALL, i + 1, 0, -1);
		ck_assert_int_eq(played_serve_all(e), 1);
		fds[i] = foreign_get_large(client, WIRE_RETURN, i + 1, &parts);
		foreign_check(fds[i], large, LARGE);
		ck_assert_int_eq(foreign_is_buffer(fds[i]), i == 0 || i == 3);
		/* Only where it was used before is there a window that parts can be seen through.
		 */
		ck_assert_int_eq(parts > 0, i == 3);
		if (i == 1)
			foreign_put_word(fds[0], 77); /* no such call */
		if (i == 2)
			foreign_put_word(fds[0], 1);
	}
	ck_assert(foreign_inode(fds[0]) == foreign_inode(fds[3]));
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
	close(client);
}
END_TEST

#define CROWD 160
#define BOUND 64

/* However many clients there are, and when they are quiet for a while nothing is left. */
START_TEST(what_a_server_keeps_is_bounded)
{
	int clients[CROWD], fd;
	struct foreign f[CROWD];
	unsigned parts, n = 0;
	uint64_t began = clock_usec(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < CROWD; i++)
		clients[i] = played_client(e, channel, i + 1, i % 2 ? 1 : 2);
	for (unsigned i = 0; i < CROWD; i++) {
		f[i] = foreign_new();
		memcpy(f[i].map, large, LARGE);
		foreign_put(clients[i], WIRE_CALL, 1, LARGE, f[i].fd);
	}
	played_serve_all(e);
	ck_assert_uint_eq(n_kept, CROWD / 2);
	for (unsigned i = 0; i < CROWD; i += 2) {
		fd = foreign_get_large(clients[i], WIRE_RETURN, 1, &parts);
		foreign_check(fd, large, LARGE);
		n += foreign_is_buffer(fd);
		close(fd);
	}
	ck_assert_uint_ge(n, BOUND);
	for (unsigned i = 0; i < n_kept; i++) {
		ck_assert_int_eq(memcmp(messages[i]->data, large, LARGE), 0);
		ck_assert_int_eq(capc_reply(kept[i], NULL), 0);
	}
	for (unsigned i = 1; i < CROWD; i += 2)
		ck_assert(played_return(clients[i], buffer, &(struct wire_call){}, NULL));
	ck_assert_uint_le(foreign_count_maps("memfd:capc-buffer"), BOUND);
	ck_assert_uint_le(foreign_count_maps("memfd:foreign"), CROWD + BOUND);
	/* So much is kept, unless the machine was so slow that some of it has been idle for too long. */
	if (clock_usec(CLOCK_MONOTONIC) - began < IDLE / 2) {
		ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), BOUND);
		ck_assert_uint_eq(foreign_count_maps("memfd:foreign"), CROWD + BOUND);
	}
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(capc_serve(e, IDLE / 20), 0);
	ck_assert_uint_eq(foreign_count_maps("memfd:capc-buffer"), 0);
	ck_assert_uint_eq(foreign_count_maps("memfd:foreign"), CROWD);
	for (unsigned i = 0; i < CROWD; i++) {
		foreign_free(&f[i]);
		close(clients[i]);
	}
}
END_TEST

/* Of both sides, in any order, and through whatever the sizes lead to. */
START_TEST(large_payloads_pass_each_other)
{
	static const size_t sizes[] = {
		LARGE, 10, WIRE_PAYLOAD_MAX + 1, WIRE_BUFFER_MAX, WIRE_BUFFER_MAX / 2 + 17};
	uint64_t serials[100];
	struct capc_msg reply;
	struct both b;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	for (unsigned i = 0; i < 105; i++) {
		struct capc_msg req = {.data = large + i, .n_data = sizes[i % 5] - i % 7};

		if (i < 100)
			ck_assert_int_eq(capc_call_start(b.c, &req, &serials[i]), 0);
		if (i < 5)
			continue;
		req.data = large + i - 5;
		req.n_data = sizes[i % 5] - (i - 5) % 7;
		ck_assert_int_eq(
			capc_call_finish(b.c, serials[i - 5], &reply, CAPC_TIMEOUT_USEC), 0);
		ck_assert_uint_eq(reply.n_data, req.n_data);
		ck_assert_int_eq(memcmp(reply.data, req.data, req.n_data), 0);
		capc_msg_done(&reply);
	}
	both_stop(&b);
}
END_TEST

START_TEST(large_payloads_come_back)
{
	static const size_t sizes[] = {WIRE_PAYLOAD_MAX, WIRE_PAYLOAD_MAX + 1, 1 << 20,
		(1 << 20) + 4095, CAPC_PAYLOAD_MAX};
	cleanup_free char *data = malloc(CAPC_PAYLOAD_MAX);
	struct capc_msg reply;
	struct both b;

	for (size_t i = 0; i < CAPC_PAYLOAD_MAX; i++)
		data[i] = (char)(i * 7 + i / 4096);
	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct capc_msg req = {.data = data, .n_data = sizes[i]};

		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), 0);
		ck_assert_uint_eq(reply.n_data, sizes[i]);
		ck_assert_int_eq(memcmp(reply.data, data, sizes[i]), 0);
		ck_assert_int_eq(((const char *)reply.data)[sizes[i]], '\0');
		capc_msg_done(&reply);
	}
	both_stop(&b);
}
END_TEST

static void *
be_done(void *data)
{
	capc_msg_done(data);
	return NULL;
}

/* A message may end in another thread than the one that has its connection. */
START_TEST(a_reply_ends_in_another_thread)
{
	struct capc_msg replies[30];
	pthread_t threads[30];
	struct both b;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	for (unsigned i = 0; i < 30; i++) {
		struct capc_msg req = {.data = large + i, .n_data = LARGE};

		ck_assert_int_eq(capc_call(b.c, &req, &replies[i], CAPC_TIMEOUT_USEC), 0);
		ck_assert_int_eq(memcmp(replies[i].data, large + i, LARGE), 0);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, be_done, &replies[i]), 0);
	}
	for (unsigned i = 0; i < 30; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	both_stop(&b);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("serve-payload");
	TCase *t = tcase_create("serve-payload");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_payload_is_the_servers_own_copy);
	tcase_add_test(t, parts_are_copied_as_they_come);
	tcase_add_test(t, what_fits_into_a_packet_stays_there);
	tcase_add_test(t, what_a_handler_reads_does_not_change);
	tcase_add_loop_test(t, calls_that_are_not_as_they_must_be, 0, FOREIGN_N_MALFORMED);
	tcase_add_loop_test(t, a_second_call_in_a_buffer_ends_the_connection, 0, 2);
	tcase_add_test(t, holes_cost_the_server_nothing);
	tcase_add_loop_test(t, a_large_reply_stops_nobody_else, 0, 3);
	tcase_add_test(t, a_reply_that_fails_leaves_the_buffer_of_another);
	tcase_add_test(t, a_buffer_waits_for_its_client);
	tcase_add_test(t, what_a_server_keeps_is_bounded);
	tcase_add_test(t, large_payloads_pass_each_other);
	tcase_add_test(t, a_reply_ends_in_another_thread);
	tcase_add_test(t, large_payloads_come_back);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
