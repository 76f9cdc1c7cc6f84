/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sockets in whose queue a client has left a descriptor: the broker closes none of them. A pipe tells who
 * does: its reader sees the end when the last writer is closed, wherever that lies.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/process/records.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

static int channel, control, *before;
static size_t n_before;
static struct session *app;
static struct capability *slot;

/* A service that takes descriptors, and a slot of another session to it. */
static void
setup(void)
{
	fixture_setup();
	ck_assert_int_eq(fd_list(&before, &n_before), 0);
	world_init(&w);
	w.attach = "fds=yes";
	channel = serve_web(&control);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=200", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	slot = world_slot(&w, app, "web");
}

/* What nobody has taken stays open until the daemon's processes end. */
static void
teardown(void)
{
	size_t n, i, k;
	int *fds;

	world_deinit(&w);
	ck_assert_int_eq(fd_list(&fds, &n), 0);
	for (i = 0; i < n; i++) {
		for (k = 0; k < n_before && before[k] != fds[i]; k++)
			;
		if (k == n_before)
			close(fds[i]);
	}
	free(fds);
	free(before);
	fixture_teardown();
}

static bool
is_closed(int reader)
{
	struct pollfd p = {.fd = reader};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* Sends what tells that it was closed to FD, and has it there alone. Returns: by what that is told. */
static int
leave_descriptor(int fd)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(msg_send(fd, "x", 1, &ends[1], 1, 0), 1);
	close(ends[1]);
	return world_own(&w, ends[0]);
}

/* A client through SLOT, whose server has taken it and gone no further. */
static int
connect_taken(struct capability *c)
{
	int client = world_connect(&w, &c->entity);

	ck_assert_int_ge(client, 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	world_settle(&w);
	return client;
}

static void
revoke_web(void)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/revoke", "1", &a), 0);
	world_close(&w, h.fd);
}

/* The job that the binder was given: by which descriptor the inspector would receive. -1: none. */
static int
asked(uint64_t *ret_serial)
{
	struct binder_job job;
	size_t n_fds = 0;
	int fd = -1;

	while (msg_receive(w.binder, &job, sizeof(job), &fd, 1, &n_fds, MSG_DONTWAIT) == sizeof(job)) {
		if (!job.inspection) {
			/* A new broker's mark: until it is answered nothing else is asked. */
			struct binder_result marked = {
				.object = job.object, .capability = job.capability, .error = EINVAL};

			if (!job.socket_type)
				ck_assert_int_eq(send(w.binder, &marked, sizeof(marked), 0), sizeof(marked));
			continue;
		}
		ck_assert_uint_eq(n_fds, 1);
		ck_assert(job.inspection & DISPOSAL_SERIAL);
		*ret_serial = job.inspection;
		return world_own(&w, fd);
	}
	return -1;
}

/* The same, when the time for the next try has come. */
static int
asked_again(uint64_t *ret_serial)
{
	int fd = -1;

	for (unsigned i = 0; fd < 0 && i < 20; i++) {
		world_settle_for(&w, 120000);
		fd = asked(ret_serial);
	}
	return fd;
}

static void
tell(uint64_t serial, bool ended)
{
	struct binder_result result = {.inspection = serial, .ended = ended};

	ck_assert_int_eq(send(w.binder, &result, sizeof(result), 0), sizeof(result));
	world_settle(&w);
}

/* As an inspector does. Returns: what came, which ends with it. */
static int
take_one(int from)
{
	size_t n_fds = 0;
	int fd = -1;
	char byte;

	ck_assert_int_eq(msg_receive(from, &byte, 1, &fd, 1, &n_fds, MSG_DONTWAIT), 1);
	ck_assert_uint_eq(n_fds, 1);
	return world_own(&w, fd);
}

START_TEST(P20_what_was_left_in_a_queue_is_closed_by_somebody_else)
{
	uint64_t used = app->used.n[QUOTA_SOCKETS], serial;
	int client = connect_taken(slot), reader = leave_descriptor(client), from, taken;

	w.binder_lazy = true;
	revoke_web();
	/* The connection is over at once, for everybody; the descriptor is still somewhere. */
	ck_assert(world_is_over(client));
	ck_assert(!is_closed(reader));
	from = asked(&serial);
	ck_assert_int_ge(from, 0);
	world_close(&w, client);
	taken = take_one(from);
	tell(serial, false);
	world_close(&w, from);
	ck_assert(!is_closed(reader));
	/* It is paid for by the slot's session as long as it hangs. */
	ck_assert_uint_eq(app->used.n[QUOTA_SOCKETS], used + 1);
	world_close(&w, taken);
	ck_assert(is_closed(reader));
	tell(serial, true);
	ck_assert_uint_eq(app->used.n[QUOTA_SOCKETS], used);
}
END_TEST

/* A client's end that is gone, too; and what can be read no more, as out-of-band data that was. */
START_TEST(P20_a_client_that_hangs_up_leaves_it_as_well)
{
	int client = connect_taken(slot), reader = leave_descriptor(client);
	uint64_t serial;

	w.binder_lazy = true;
	world_close(&w, client);
	world_settle(&w);
	world_close(&w, h.fd);
	ck_assert(!is_closed(reader));
	ck_assert_int_ge(asked(&serial), 0);
	ck_assert(!is_closed(reader));
}
END_TEST

static int
put_nothing(void *store, uint64_t key, const void *data, size_t n)
{
	(void)store, (void)key, (void)data, (void)n;
	return -ENOSPC;
}

/* It was watched by then, and the file is told of as long as anybody has it. */
START_TEST(P20_one_that_cannot_be_stored_is_forgotten_first)
{
	const struct store_ops *store = w.model->store;
	struct store_ops full = *store;
	int client, reader, from;
	uint64_t serial;

	full.put = put_nothing;
	client = world_connect(&w, &slot->entity);
	ck_assert_int_ge(client, 0);
	reader = leave_descriptor(client);
	w.binder_lazy = true;
	w.model->store = &full;
	world_settle(&w);
	w.model->store = store;
	ck_assert(world_is_over(client));
	from = asked(&serial);
	ck_assert_int_ge(from, 0);
	world_settle(&w);
	world_close(&w, take_one(from));
	ck_assert(is_closed(reader));
}
END_TEST

START_TEST(P20_with_nothing_left_nobody_is_asked)
{
	int client = connect_taken(slot);
	uint64_t serial;

	ck_assert_int_eq(send(client, "secret", 6, 0), 6);
	w.binder_lazy = true;
	revoke_web();
	ck_assert(world_is_over(client));
	ck_assert_int_eq(asked(&serial), -1);
}
END_TEST

/* Nothing is lost by a process that could not be started, a binder that dies, or a broker. */
START_TEST(P20_it_is_asked_again_until_it_was_taken)
{
	int client = connect_taken(slot), reader = leave_descriptor(client), from;
	uint64_t serial, again;

	w.binder_lazy = true;
	revoke_web();
	world_close(&w, client);
	from = asked(&serial);
	ck_assert_int_ge(from, 0);
	world_close(&w, from);
	tell(serial, true);
	ck_assert(!is_closed(reader));
	from = asked_again(&again);
	ck_assert_int_ge(from, 0);
	ck_assert_uint_eq(again, serial);
	world_close(&w, from);
	world_kill(&w);
	ck_assert(!is_closed(reader));
	world_start(&w);
	from = asked_again(&again);
	ck_assert_int_ge(from, 0);
	ck_assert(!is_closed(reader));
	world_close(&w, take_one(from));
	tell(again, false);
	tell(again, true);
	world_close(&w, from);
	ck_assert(is_closed(reader));
}
END_TEST

/* One session's do not take the places of all others. */
START_TEST(P20_a_subtree_has_its_share)
{
	int readers[2 * DISPOSAL_MAX];
	unsigned n = 0;
	uint64_t serial;

	for (unsigned i = 0; i < 2 * DISPOSAL_MAX; i++) {
		int client = connect_taken(slot);

		readers[i] = leave_descriptor(client);
		world_close(&w, h.fd);
		world_close(&w, client);
		/* From here on the jobs are for asked(). */
		w.binder_lazy = true;
	}
	world_settle(&w);
	/* The binder has room for a few messages at a time. */
	for (unsigned i = 0; i < 100 && n < DISPOSAL_MAX / 2; i++) {
		while (asked(&serial) >= 0)
			n++;
		world_settle_for(&w, 120000);
	}
	ck_assert_uint_eq(n, DISPOSAL_MAX / 2);
	world_settle_for(&w, 250000);
	ck_assert_int_eq(asked(&serial), -1);
	for (unsigned i = 0; i < 2 * DISPOSAL_MAX; i++)
		ck_assert(!is_closed(readers[i]));
}
END_TEST

/* `fds` is the object's word and a right: each alone is enough to be refused. */
START_TEST(P20_fds_is_asked_for_and_can_be_reduced_away)
{
	struct capability *less;
	int client, fd, null = world_own(&w, open("/dev/null", O_RDONLY | O_CLOEXEC));

	if (!world_bars_descriptors())
		return;
	ck_assert(capability_rights(slot) & RIGHT_FDS);
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=less rights=call", &a), 0);
	less = world_slot(&w, app, "less");
	ck_assert(!(capability_rights(less) & RIGHT_FDS));
	client = connect_taken(slot);
	ck_assert_int_eq(msg_send(client, "x", 1, &null, 1, 0), 1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/web", "", &a), 0);
	fd = a.fd;
	ck_assert_int_eq(msg_send(fd, "x", 1, &null, 1, 0), 1);
	client = world_connect(&w, &less->entity);
	ck_assert_int_eq(msg_send(client, "x", 1, &null, 1, 0), -EPERM);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/less", "", &a), 0);
	ck_assert_int_eq(msg_send(a.fd, "x", 1, &null, 1, 0), -EPERM);
	/* What is connected already follows, also below. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/reduce", "rights=call,grant", &a), 0);
	ck_assert(!(capability_rights(slot) & RIGHT_FDS));
	ck_assert_int_eq(msg_send(fd, "x", 1, &null, 1, 0), -EPERM);
	client = world_connect(&w, &slot->entity);
	ck_assert_int_eq(msg_send(client, "x", 1, &null, 1, 0), -EPERM);
}
END_TEST

/* The next server takes none: those who wait already, and all slots, follow it. */
START_TEST(P20_the_next_server_may_take_none)
{
	int client, null = world_own(&w, open("/dev/null", O_RDONLY | O_CLOEXEC));

	if (!world_bars_descriptors())
		return;
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "entrypoints/web/info", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " fds=yes"));
	world_close(&w, channel);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "fds=no", &a), 0);
	channel = a.fd;
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "entrypoints/web/info", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " fds=no"));
	ck_assert(!(capability_rights(slot) & RIGHT_FDS));
	ck_assert_int_eq(world_want(&w, &slot->entity), 0);
	client = connect_taken(slot);
	ck_assert_int_eq(msg_send(client, "x", 1, &null, 1, 0), -EPERM);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=more rights=call,fds", &a),
		EPERM);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/other", "fds=perhaps", &a), EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("disposal");
	TCase *t = tcase_create("disposal");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, P20_what_was_left_in_a_queue_is_closed_by_somebody_else);
	tcase_add_test(t, P20_a_client_that_hangs_up_leaves_it_as_well);
	tcase_add_test(t, P20_one_that_cannot_be_stored_is_forgotten_first);
	tcase_add_test(t, P20_with_nothing_left_nobody_is_asked);
	tcase_add_test(t, P20_it_is_asked_again_until_it_was_taken);
	tcase_add_test(t, P20_a_subtree_has_its_share);
	tcase_add_test(t, P20_fds_is_asked_for_and_can_be_reduced_away);
	tcase_add_test(t, P20_the_next_server_may_take_none);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
