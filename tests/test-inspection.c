/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inspections over the deaths of brokers; the test plays the binder, which outlives them. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/process/records.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

/* The next job. Returns: false: there is none. The descriptor that comes along is closed. */
static bool
next_job(struct binder_job *ret)
{
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n = msg_receive(w.binder, ret, sizeof(*ret), &fd, 1, &n_fds, MSG_DONTWAIT);

	if (n_fds > 0)
		close(fd);
	return n == sizeof(*ret);
}

static void
say(const struct binder_result *result)
{
	ck_assert_int_eq(send(w.binder, result, sizeof(*result), 0), sizeof(*result));
	world_settle(&w);
}

/* Begins one, that never ends. Returns: its number. */
static uint64_t
inspect(int control, const struct session *s)
{
	struct binder_job job;

	ck_assert_int_eq(world_ask(&w, control, WIRE_INSPECT, "", "", &a), 0);
	world_close(&w, a.fd);
	ck_assert(next_job(&job));
	ck_assert_uint_ne(job.inspection, 0);
	ck_assert_uint_eq(job.object, s->entity.id);
	return job.inspection;
}

/* The mark of a broker that has just come. */
static struct binder_job
mark(void)
{
	struct binder_job job;

	ck_assert(next_job(&job));
	ck_assert_uint_eq(job.inspection, 0);
	ck_assert_uint_eq(job.socket_type, 0);
	return job;
}

static void
answer_mark(struct binder_job job)
{
	say(&(struct binder_result){
		.object = job.object, .capability = job.capability, .error = EINVAL});
}

static void
goes_on(uint64_t inspection, uint64_t session)
{
	say(&(struct binder_result){
		.inspection = inspection, .object = session, .ended = INSPECTION_GOES_ON});
}

static struct session *
session(const char *name)
{
	return session_find(w.model, root(), name, strlen(name));
}

START_TEST(P20_the_next_broker_knows_of_inspections)
{
	int c = world_control(&w, root()), one, two;
	uint64_t running[INSPECTIONS_MAX / 2], id, sockets;
	struct binder_job job;

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/one", "sockets=64", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/two", "sockets=64", &a), 0);
	one = world_control(&w, session("one"));
	two = world_control(&w, session("two"));
	ck_assert_int_eq(world_ask(&w, one, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_READ, "label", "", &a), 0);
	w.binder_lazy = true;
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++)
		running[i] = inspect(one, session("one"));
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EBUSY);
	id = session("one")->entity.id;
	sockets = session("one")->used.n[QUOTA_SOCKETS];
	world_settle_for(&w, 30000);
	world_restart(&w);
	job = mark();
	/* As long as it has not heard of all, it begins nothing. */
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EAGAIN);
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++)
		goes_on(running[i], id);
	/* Told twice is once. */
	goes_on(running[0], id);
	answer_mark(job);
	ck_assert_uint_eq(session("one")->used.n[QUOTA_SOCKETS], sockets);
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EBUSY);
	(void)inspect(two, session("two"));
	/* It may have half of what the other has left. */
	for (int i = 3; i < 5; i++)
		say(&(struct binder_result){.inspection = running[i], .ended = INSPECTION_ENDED});
	ck_assert_uint_eq(session("one")->used.n[QUOTA_SOCKETS], sockets - 2);
	(void)inspect(one, session("one"));
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EBUSY);
}
END_TEST

START_TEST(P20_the_next_broker_knows_of_what_is_being_closed)
{
	int c = world_control(&w, root());
	uint64_t used;

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/one", "sockets=64", &a), 0);
	used = session("one")->used.n[QUOTA_SOCKETS];
	w.binder_lazy = true;
	world_restart(&w);
	goes_on(DISPOSAL_SERIAL | 7, session("one")->entity.id);
	goes_on(DISPOSAL_SERIAL | 7, session("one")->entity.id);
	answer_mark(mark());
	ck_assert_uint_eq(session("one")->used.n[QUOTA_SOCKETS], used + 1);
	say(&(struct binder_result){
		.inspection = DISPOSAL_SERIAL | 7, .ended = INSPECTION_ENDED});
	ck_assert_uint_eq(session("one")->used.n[QUOTA_SOCKETS], used);
}
END_TEST

START_TEST(P20_a_session_that_ends_leaves_them_to_its_parent)
{
	int c = world_control(&w, root()), one;
	uint64_t running, below;
	struct binder_job job;

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/bad", "sockets=64", &a), 0);
	ck_assert_int_eq(
		world_ask(&w, c, WIRE_CREATE, "sessions/bad/sessions/one", "sockets=8", &a), 0);
	one = world_control(&w, session("bad/one"));
	ck_assert_int_eq(world_ask(&w, one, WIRE_READ, "label", "", &a), 0);
	w.binder_lazy = true;
	running = inspect(one, session("bad/one"));
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/bad/sessions/one", "", &a), 0);
	world_settle(&w);
	ck_assert(next_job(&job));
	ck_assert_uint_eq(job.inspection, running);
	ck_assert_uint_eq(job.object, session("bad")->entity.id);
	below = session("bad")->used.n[QUOTA_SOCKETS];
	ck_assert_uint_eq(below, 1);
	world_restart(&w);
	answer_mark(mark());
	ck_assert_uint_eq(session("bad")->used.n[QUOTA_SOCKETS], 0);
	/* Of one that is nobody's the root pays, so that it counts at all. */
	below = root()->used.n[QUOTA_SOCKETS];
	goes_on(running, session("bad")->entity.id);
	ck_assert_uint_eq(session("bad")->used.n[QUOTA_SOCKETS], 1);
	goes_on(running + 1, UINT64_C(1) << 40);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], below + 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("inspection");
	TCase *t = tcase_create("inspection");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, P20_the_next_broker_knows_of_inspections);
	tcase_add_test(t, P20_the_next_broker_knows_of_what_is_being_closed);
	tcase_add_test(t, P20_a_session_that_ends_leaves_them_to_its_parent);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
