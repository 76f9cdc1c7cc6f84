/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Posted descriptors, and the deaths of brokers in the midst; the test plays binder and inspectors. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/process/records.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

static int control;

static void
setup(void)
{
	web_setup();
	control = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "originate", "type=fd as=conf", &a), 0);
	w.binder_lazy = true;
}

static int
client_of(const char *slot)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, slot, "", &a), 0);
	return a.fd;
}

static int
client(void)
{
	return client_of("caps/conf");
}

static void
request(int fd, enum wire_posted word)
{
	const uint8_t byte = (uint8_t)word;
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(msg_send(fd, &byte, 1, &file, word == WIRE_POST, 0), 1);
	close(file);
	world_settle(&w);
}

/* The inspector for SERIAL has closed what it was given. */
static void
dispose(uint64_t serial)
{
	const struct binder_result told[] = {
		{.inspection = serial}, {.inspection = serial, .ended = INSPECTION_ENDED}};

	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(send(w.binder, &told[i], sizeof(told[i]), 0), sizeof(told[i]));
	world_settle(&w);
}

/* The inspection that was asked for, with so many sockets; 0: there is none. A mark is answered. */
static uint64_t
job(size_t n)
{
	struct binder_job j;
	int fds[2];
	size_t n_fds = 0;

	while (msg_receive(w.binder, &j, sizeof(j), fds, 2, &n_fds, MSG_DONTWAIT) == sizeof(j)) {
		for (size_t i = 0; i < n_fds; i++)
			close(fds[i]);
		if (!j.inspection) {
			struct binder_result mark = {
				.object = j.object, .capability = j.capability, .error = EINVAL};

			ck_assert_int_eq(send(w.binder, &mark, sizeof(mark), 0), sizeof(mark));
			world_settle_for(&w, 150000);
			continue;
		}
		if (j.inspection & DISPOSAL_SERIAL) {
			dispose(j.inspection);
			continue;
		}
		ck_assert_uint_eq(j.task, INSPECTION_POSTED);
		ck_assert_uint_eq(n_fds, n);
		return j.inspection;
	}
	return 0;
}

/* The inspector of SERIAL says RESULT, unless that is NULL, and ends. */
static void
say(uint64_t serial, const struct binder_result *result)
{
	struct binder_result r = {.inspection = serial, .ended = INSPECTION_ENDED};

	ck_assert_uint_ne(serial, 0);
	if (result) {
		struct binder_result said = *result;

		said.inspection = serial;
		ck_assert_int_eq(send(w.binder, &said, sizeof(said), 0), sizeof(said));
	}
	ck_assert_int_eq(send(w.binder, &r, sizeof(r), 0), sizeof(r));
	world_settle(&w);
}

/* What FD was answered; -1: nothing yet; -2: the end. */
static int
answer(int fd)
{
	int32_t said;
	ssize_t n;

	world_settle(&w);
	n = recv(fd, &said, sizeof(said), MSG_DONTWAIT);
	return n == sizeof(said) ? said : n == 0 ? -2 : -1;
}

static bool
shows(const char *line)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "caps/conf/info", "", &a), 0);
	return strstr(a.text, line);
}

/* Posts something, and gives the client, which stays. */
static int
post(void)
{
	int fd = client();

	request(fd, WIRE_POST);
	say(job(1), &(struct binder_result){});
	ck_assert_int_eq(answer(fd), 0);
	ck_assert_int_eq(answer(fd), -2);
	return fd;
}

static uint32_t
n_connections(void)
{
	return world_slot(&w, root(), "conf")->conns_used;
}

static uint64_t
n_inflight(void)
{
	return root()->used.n[QUOTA_INFLIGHT];
}

/* What is left in queues is closed by inspectors. */
static void
teardown(void)
{
	world_ask(&w, control, WIRE_REMOVE, "caps/conf", "", &a);
	for (unsigned i = 0; i < 3; i++) {
		world_settle_for(&w, 150000);
		ck_assert_uint_eq(job(0), 0);
	}
	web_teardown();
}

START_TEST(it_is_there_when_it_was_looked_at)
{
	int fd = client();

	request(fd, WIRE_POST);
	ck_assert_int_eq(answer(fd), -1);
	ck_assert(shows("served=no revocation=none"));
	say(job(1), &(struct binder_result){.memory = RESULT_MEMORY | F_SEAL_GROW, .size = 7});
	ck_assert(shows("served=yes revocation=none"));
	ck_assert(shows("\nmemory=7 seals=grow\n"));
	ck_assert_int_eq(answer(fd), 0);
	ck_assert_int_eq(answer(fd), -2);
	ck_assert_uint_eq(n_inflight(), 1);
	/* Who has posted it need not stay. */
	world_close(&w, fd);
	world_settle(&w);
	ck_assert(shows("served=yes revocation=none"));
	ck_assert_uint_eq(n_connections(), 1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "caps/conf", "", &a), 0);
	ck_assert_uint_eq(job(0), 0);
	ck_assert_uint_eq(n_inflight(), 0);
}
END_TEST

START_TEST(what_is_refused_is_not_there)
{
	const struct binder_result said[] = {
		{.error = EISDIR}, {.error = EPERM}, {.error = EBADF}, {.object = 3, .capability = 4},
		{.capability = 4},
	};
	const int wanted[] = {EISDIR, EPERM, EBADF, EXDEV, EXDEV};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		struct binder_result result = said[i];
		int fd = client();

		result.uid = w.boot.daemon_uid;
		request(fd, WIRE_POST);
		say(job(1), &result);
		ck_assert_int_eq(answer(fd), wanted[i]);
		ck_assert_int_eq(answer(fd), -2);
		ck_assert(shows("served=no"));
		world_close(&w, fd);
		world_settle(&w);
		ck_assert_uint_eq(n_connections(), 0);
	}
	ck_assert_uint_eq(n_inflight(), 0);
}
END_TEST

START_TEST(a_connection_that_was_given_is_ours)
{
	struct binder_result result = {};
	int fd = client(), other = client();

	ck_assert_int_eq(fd_socket_cookie(other, &result.cookie), 0);
	request(fd, WIRE_POST);
	say(job(1), &result);
	ck_assert_int_eq(answer(fd), EXDEV);
}
END_TEST

START_TEST(an_inspector_that_says_nothing_is_no_answer)
{
	int fd = client();

	request(fd, WIRE_POST);
	say(job(1), NULL);
	ck_assert_int_eq(answer(fd), EAGAIN);
	ck_assert(shows("served=no"));
}
END_TEST

START_TEST(a_new_binder_ends_what_the_last_one_did)
{
	int fd = client();

	request(fd, WIRE_POST);
	ck_assert_uint_ne(job(1), 0);
	world_binder(&w);
	world_settle(&w);
	ck_assert_int_eq(answer(fd), EAGAIN);
}
END_TEST

START_TEST(another_one_takes_its_place)
{
	int first = post(), second;

	ck_assert_uint_eq(n_connections(), 1);
	second = post();
	/* Its client has not gone yet, and could still have to read its answer. */
	ck_assert_uint_eq(n_connections(), 2);
	world_close(&w, first);
	world_settle(&w);
	ck_assert_uint_eq(n_connections(), 1);
	world_close(&w, second);
	world_settle(&w);
	ck_assert_uint_eq(n_connections(), 1);
	(void)post();
	world_settle(&w);
	ck_assert_uint_eq(n_connections(), 1);
	ck_assert_uint_eq(n_inflight(), 1);
}
END_TEST

START_TEST(what_is_fetched_is_in_flight_until_it_is_left)
{
	int fd = client();
	uint64_t serial;

	request(fd, WIRE_FETCH);
	ck_assert_int_eq(answer(fd), ECONNREFUSED);
	(void)post();
	fd = client();
	request(fd, WIRE_FETCH);
	serial = job(2);
	ck_assert_uint_eq(n_inflight(), 2);
	say(serial, &(struct binder_result){});
	/* The answer is the inspector's; then there is the end. */
	ck_assert_int_eq(answer(fd), -2);
	ck_assert_uint_eq(n_inflight(), 2);
	request(fd, WIRE_FETCH);
	ck_assert_uint_eq(job(2), 0);
	world_close(&w, fd);
	world_settle(&w);
	ck_assert_uint_eq(n_inflight(), 1);
}
END_TEST

START_TEST(who_fetches_leaves_sockets_to_the_poster)
{
	uint64_t serial[2];
	char amount[32];
	int fd[3];

	(void)post();
	for (unsigned i = 0; i < 3; i++)
		fd[i] = client();
	snprintf(amount, sizeof(amount), "sockets=%llu", (unsigned long long)quota_free(root(), QUOTA_SOCKETS) - 4);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/rest", amount, &a), 0);
	for (unsigned i = 0; i < 2; i++) {
		request(fd[i], WIRE_FETCH);
		serial[i] = job(2);
		ck_assert_uint_ne(serial[i], 0);
	}
	request(fd[2], WIRE_FETCH);
	ck_assert_int_eq(answer(fd[2]), EBUSY);
	ck_assert_uint_eq(quota_free(root(), QUOTA_SOCKETS), 2);
	say(serial[0], &(struct binder_result){});
	world_close(&w, fd[2]);
	fd[2] = client();
	request(fd[2], WIRE_FETCH);
	say(job(2), &(struct binder_result){});
	ck_assert_int_eq(answer(fd[2]), -2);
	say(serial[1], &(struct binder_result){});
}
END_TEST

START_TEST(who_leaves_meanwhile_gets_nothing)
{
	int fd;
	uint64_t serial;

	(void)post();
	fd = client();
	request(fd, WIRE_FETCH);
	serial = job(2);
	world_close(&w, fd);
	world_settle(&w);
	say(serial, &(struct binder_result){.error = EPIPE});
	ck_assert_uint_eq(n_inflight(), 1);
	/* And who is ended. */
	fd = client();
	request(fd, WIRE_POST);
	serial = job(1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "caps/conf", "", &a), 0);
	say(serial, &(struct binder_result){});
	ck_assert_uint_eq(n_inflight(), 0);
}
END_TEST

START_TEST(a_crash_before_it_was_looked_at)
{
	int fd = client();

	request(fd, WIRE_POST);
	ck_assert_uint_ne(job(1), 0);
	world_restart(&w);
	ck_assert_int_eq(answer(fd), -1);
	say(job(1), &(struct binder_result){});
	ck_assert_int_eq(answer(fd), 0);
	ck_assert(shows("served=yes"));
	ck_assert_uint_eq(n_inflight(), 1);
}
END_TEST

START_TEST(a_crash_after_it_was_stored)
{
	int first = post(), second = client();

	request(second, WIRE_POST);
	say(job(1), &(struct binder_result){});
	world_restart(&w);
	ck_assert(shows("served=yes"));
	ck_assert_uint_eq(n_connections(), 2);
	ck_assert_uint_eq(n_inflight(), 2);
	/* It is told once. */
	ck_assert_int_eq(answer(second), 0);
	ck_assert_int_eq(answer(second), -2);
	world_close(&w, first);
	world_settle(&w);
	ck_assert(shows("served=yes"));
	ck_assert_uint_eq(n_connections(), 1);
	ck_assert_uint_eq(n_inflight(), 1);
}
END_TEST

START_TEST(a_crash_while_somebody_fetches)
{
	int fd;

	(void)post();
	fd = client();
	request(fd, WIRE_FETCH);
	ck_assert_uint_ne(job(2), 0);
	world_restart(&w);
	say(job(2), &(struct binder_result){});
	ck_assert_int_eq(answer(fd), -2);
	/* The store hears of it a little later. */
	world_settle_for(&w, 100000);
	world_restart(&w);
	ck_assert_uint_eq(n_inflight(), 2);
	world_close(&w, fd);
	world_settle(&w);
	ck_assert_uint_eq(n_inflight(), 1);
}
END_TEST

/* A session with a slot of its own. */
static void
session_with_slot(const char *session, const char *originate)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, session, "sockets=100 inflight=40", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, originate, "type=fd as=conf", &a), 0);
}

START_TEST(files_that_hang_keep_out_their_posters_alone)
{
	int fd;

	session_with_slot("sessions/one", "sessions/one/originate");
	session_with_slot("sessions/two", "sessions/two/originate");
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++) {
		request(client_of("sessions/one/caps/conf"), WIRE_POST);
		ck_assert_uint_ne(job(1), 0);
	}
	fd = client_of("sessions/one/caps/conf");
	request(fd, WIRE_POST);
	ck_assert_int_eq(answer(fd), EBUSY);
	fd = client_of("sessions/two/caps/conf");
	request(fd, WIRE_POST);
	say(job(1), &(struct binder_result){});
	ck_assert_int_eq(answer(fd), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/one/caps/conf", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/two/caps/conf", "", &a), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("posted");
	TCase *t = tcase_create("posted");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, it_is_there_when_it_was_looked_at);
	tcase_add_test(t, what_is_refused_is_not_there);
	tcase_add_test(t, a_connection_that_was_given_is_ours);
	tcase_add_test(t, an_inspector_that_says_nothing_is_no_answer);
	tcase_add_test(t, a_new_binder_ends_what_the_last_one_did);
	tcase_add_test(t, another_one_takes_its_place);
	tcase_add_test(t, what_is_fetched_is_in_flight_until_it_is_left);
	tcase_add_test(t, who_fetches_leaves_sockets_to_the_poster);
	tcase_add_test(t, who_leaves_meanwhile_gets_nothing);
	tcase_add_test(t, a_crash_before_it_was_looked_at);
	tcase_add_test(t, a_crash_after_it_was_stored);
	tcase_add_test(t, a_crash_while_somebody_fetches);
	tcase_add_test(t, files_that_hang_keep_out_their_posters_alone);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
