/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control protocol, and what is left of its requests by a crash. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/control/control.h"
#include "capfsd/control/inspection.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/listener.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

START_TEST(reads_and_lists)
{
	int c = world_control(&w, root());

	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "caps\n"));
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "label", "", &a), ENOTDIR);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "caps", "", &a), EISDIR);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "control", "", &a), ENXIO);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "nothing", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app", "caps=8", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "sessions", "", &a), 0);
	ck_assert_str_eq(a.text, "app\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "sessions/app/label", "", &a), 0);
	ck_assert_str_eq(a.text, "init/app\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "caps/x", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "sessions", "", &a), 0);
	ck_assert_str_eq(a.text, "");
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "events", "", &a), 0);
	ck_assert_uint_gt(a.m.n_text, 0);
	ck_assert_uint_eq(a.m.value, events_end(root()));
}
END_TEST

/* Who has read a line finds it again after a crash; and no other with its number. */
START_TEST(what_was_read_of_a_log_is_stored)
{
	int c = world_control(&w, root());
	uint64_t n;

	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", "to=nobody caps=1", &a),
		ENOENT);
	n = w.model->header.next_event;
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "events", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "refused transfer_quota"));
	ck_assert_uint_eq(w.model->stored_header.next_event, n);
	ck_assert(list_empty(&w.model->event_queue));
}
END_TEST

START_TEST(lists_and_reads_in_pieces)
{
	int c = world_control(&w, root());
	size_t n = 0, n_lines = 0;
	char name[64];
	uint64_t cookie = 0;

	for (unsigned i = 0; i < 900; i++) {
		snprintf(name, sizeof(name), "sessions/a-name-that-is-long-enough-to-need-%03u", i);
		ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, name,
					 "caps=0 sockets=0 threads=0 ram=0 inflight=0", &a),
			0);
	}
	do {
		struct wire_request m = {.op = WIRE_LIST,
			.serial = 10000 + n,
			.offset = cookie,
			.path = "sessions",
			.n_path = 8,
			.text = ""};
		uint8_t buffer[256];
		int size = wire_request_encode(&m, buffer, sizeof(buffer));

		ck_assert_int_eq(send(c, buffer, (size_t)size, 0), size);
		world_settle(&w);
		ck_assert(world_reply(&w, c, &a));
		for (const char *p = a.text; (p = strchr(p, '\n')); p++)
			n_lines++;
		cookie = a.m.value;
		n++;
	} while (a.m.flags & WIRE_MORE);
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_eq(n_lines, 900);
}
END_TEST

START_TEST(bad_messages)
{
	static char big[WIRE_CONTROL_MAX + 100], text[5000];
	const bool bars = world_bars_descriptors();
	int c, null;

	c = world_control(&w, root());
	ck_assert_int_eq(send(c, "\x01\xff\x00", 3, 0), 3);
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert(a.m.error == EBADMSG || a.m.error == EPROTO);
	ck_assert(world_is_over(c));

	c = world_control(&w, root());
	ck_assert_int_eq(send(c, big, sizeof(big), 0), sizeof(big));
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.error, EMSGSIZE);
	ck_assert(world_is_over(c));

	c = world_control(&w, root());
	memset(text, 'x', sizeof(text) - 1);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", text, &a), EMSGSIZE);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", "to=", &a), EINVAL);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "label", "x", &a), EACCES);

	/* A descriptor cannot be sent; or the request is refused, and the descriptor is left nowhere. */
	null = world_own(&w, open("/dev/null", O_RDONLY | O_CLOEXEC));
	{
		struct wire_request m = {
			.op = WIRE_READ, .serial = 5000, .path = "label", .n_path = 5, .text = ""};
		uint8_t buffer[256];
		int n = wire_request_encode(&m, buffer, sizeof(buffer));

		ck_assert_int_eq(msg_send(c, buffer, (size_t)n, &null, 1, 0), bars ? -EPERM : n);
	}
	if (bars)
		world_send(c, WIRE_READ, 5000, "label", "");
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.serial, 5000);
	ck_assert_uint_eq(a.m.error, bars ? 0 : EINVAL);
	/* Serials ascend: an older one is no request. */
	world_send(c, WIRE_READ, 4999, "label", "");
	world_send(c, WIRE_READ, 5001, "label", "");
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.serial, 5001);
	ck_assert(!world_reply(&w, c, &a));
}
END_TEST

/* Sends requests whose replies nobody reads, until they have no room. Returns: the next serial. */
static uint64_t
fill(int control, uint64_t serial)
{
	static const unsigned n = 400;

	for (unsigned i = 0; i < n; i++) {
		world_send(control, WIRE_READ, serial++, "caps/web/info", "");
		world_settle(&w);
	}
	return serial;
}

START_TEST(reply_outlives_broker)
{
	int control, channel = serve_web(&control), pipe_control;
	uint64_t first = 1000, last;
	unsigned n = 0, n_created = 0;

	pipe_control = world_control(&w, root());
	last = fill(pipe_control, first);
	world_send(pipe_control, WIRE_OPEN, last, "caps/web", "");
	world_send(pipe_control, WIRE_CREATE, last + 1, "sessions/app", "");
	world_settle(&w);
	while (n < last + 2 - first) {
		ck_assert(world_reply(&w, pipe_control, &a));
		/* A reply that had gone out may come again after a crash. */
		if (a.m.serial < first + n)
			continue;
		ck_assert_uint_eq(a.m.serial, first + n);
		ck_assert_uint_eq(a.m.error, 0);
		n++;
		if (n % 50 == 0 || n + 2 > last - first)
			world_restart(&w);
		else
			world_settle(&w);
		if (a.fd >= 0) {
			ck_assert(world_handed(&w, channel, &h));
			ck_assert_int_eq(send(a.fd, "x", 1, MSG_NOSIGNAL), 1);
		}
		n_created += a.m.op == WIRE_CREATE;
	}
	ck_assert_uint_eq(n_created, 1);
	ck_assert_uint_eq(root()->n_owned[ENTITY_SESSION], 1);
	ck_assert_uint_eq(web()->conns_used, 1);
}
END_TEST

/* The broker's end of the only control connection. */
static uint64_t
find_cookie(void)
{
	uint64_t cookie = 0;

	list_for_each (i, &w.sockets->listeners->all) {
		struct listener *l = list_entry(i, struct listener, link);

		ck_assert_uint_eq(l->n_clients, 1);
		fd_socket_cookie(
			list_entry(list_first(&l->clients), struct control, listener_link)->fd,
			&cookie);
	}
	return cookie;
}

/* The challenge of a control connection, as it is written onto C's socket. Returns: the errno. */
static int
vouch(int control, struct capability *c, char challenge[CHALLENGE_BYTES + 1])
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_CHALLENGE, "", "", &a), 0);
	ck_assert_int_eq(sscanf(a.text, "challenge=%32s ", challenge), 1);
	ck_assert_uint_eq(strlen(challenge), CHALLENGE_BYTES);
	return controls_vouch(w.controls, &c->entity, challenge, CHALLENGE_BYTES);
}

/* Two sessions beside each other; caps/web is granted to the first with RIGHTS. */
static int
pass_web(int control, const char *rights)
{
	char text[64];

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/one", "caps=2", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/two", "caps=2", &a), 0);
	snprintf(text, sizeof(text), "to=one rights=%s", rights);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", text, &a), 0);
	return world_control(&w, session_find(w.model, root(), "two", 3));
}

static struct capability *
passed(void)
{
	return world_slot(&w, session_find(w.model, root(), "one", 3), "web");
}

START_TEST(S03_what_was_vouched_for_is_imported_once)
{
	char challenge[CHALLENGE_BYTES + 1], wrong[CHALLENGE_BYTES + 1];
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call,grant");
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EAGAIN);
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	/* The first word counts, and only of those who know the challenge. */
	ck_assert_int_eq(controls_vouch(w.controls, &web()->entity, challenge, CHALLENGE_BYTES), EEXIST);
	memcpy(wrong, challenge, sizeof(wrong));
	wrong[CHALLENGE_BYTES - 1] ^= 1;
	ck_assert_int_eq(controls_vouch(w.controls, &web()->entity, wrong, CHALLENGE_BYTES), ECANCELED);
	ck_assert_int_eq(controls_vouch(w.controls, &web()->entity, challenge, 8), EINVAL);
	/* It is this connection's: no other has it. */
	ck_assert_int_eq(world_ask(&w, c, WIRE_IMPORT, "", "", &a), EAGAIN);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "as=mine", &a), 0);
	ck_assert_str_eq(strtok(a.text, " "), "slot=mine");
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EAGAIN);
	ck_assert_int_eq(controls_vouch(w.controls, &web()->entity, challenge, CHALLENGE_BYTES), ECANCELED);
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "slot=mine "));
	ck_assert_ptr_nonnull(strstr(a.text, " held"));
}
END_TEST

START_TEST(S03_what_cannot_be_imported)
{
	char challenge[CHALLENGE_BYTES + 1];
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call");
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EPERM);
	ck_assert_ptr_nonnull(strstr(a.text, "init/one does not hold right 'grant'"));
	ck_assert(world_has_event(&w, "refused import"));
	/* It is known all the same. */
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IDENTIFY, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " type=object rights=call owner=init"));
	ck_assert_ptr_null(strstr(a.text, "slot="));
	/* The receiver pays. */
	for (int i = 0; i < 3; i++) {
		char name[] = "r0", command[] = "as=r0 rights=call,grant";

		name[1] = command[4] = (char)('0' + i);
		ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "caps/web/replicate", command, &a), 0);
		ck_assert_int_eq(vouch(two, world_slot(&w, root(), name), challenge), 0);
		ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), i < 2 ? 0 : EDQUOT);
	}
	/* It has ended before. */
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "caps/web/revoke", "1", &a), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IDENTIFY, "", "x", &a), EAGAIN);
	ck_assert_int_eq(world_ask(&w, two, WIRE_CHALLENGE, "caps", "", &a), EINVAL);
}
END_TEST

/* The next broker does not know the proof; what was committed it does. */
START_TEST(P14_a_proof_does_not_outlive_the_broker)
{
	char challenge[CHALLENGE_BYTES + 1];
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call,grant");
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	world_restart(&w);
	ck_assert_int_eq(controls_vouch(w.controls, &web()->entity, challenge, CHALLENGE_BYTES), ECANCELED);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EAGAIN);
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), 0);
	world_restart(&w);
	ck_assert_int_eq(vouch(two, passed(), challenge), 0);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " held"));
}
END_TEST

/* An inspector that says RESULT of what CONTROL's client has sent, and ends when ENDED. */
static void
inspect(int control, struct binder_result *result, bool ended)
{
	struct binder_job job = {};
	size_t n_fds = 0;
	int fd = -1;

	w.binder_lazy = true;
	ck_assert_int_eq(world_ask(&w, control, WIRE_INSPECT, "", "", &a), 0);
	close(a.fd);
	ck_assert_int_eq(msg_receive(w.binder, &job, sizeof(job), &fd, 1, &n_fds, MSG_DONTWAIT),
		sizeof(job));
	ck_assert_uint_eq(n_fds, 1);
	ck_assert_uint_ne(job.inspection, 0);
	close(fd);
	result->inspection = job.inspection;
	ck_assert_int_eq(send(w.binder, result, sizeof(*result), 0), sizeof(*result));
	if (ended) {
		struct binder_result end = {.inspection = job.inspection, .ended = 1};

		ck_assert_int_eq(send(w.binder, &end, sizeof(end), 0), sizeof(end));
	}
	w.binder_lazy = false;
}

START_TEST(S03_what_an_inspector_says_is_a_proof)
{
	struct binder_result result = {};
	struct session *one;
	int c, two, control, client, channel;

	channel = serve_web(&c);
	two = pass_web(c, "call,grant");
	one = session_find(w.model, root(), "one", 3);
	control = world_control(&w, one);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), 0);
	client = a.fd;
	ck_assert_int_eq(fd_socket_cookie(client, &result.cookie), 0);
	ck_assert(world_handed(&w, channel, &h));
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IDENTIFY, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "rights=call,grant"));
	/* The next broker knows it too. */
	world_restart(&w);
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "slot=web "));
	/* It is asked for once. */
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EAGAIN);
	/* A connection that has ended is nothing. */
	world_take(&w, channel, h.m.serial);
	world_close(&w, client);
	world_settle(&w);
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EXDEV);
}
END_TEST

START_TEST(G41_what_an_inspector_does_not_believe)
{
	struct binder_result result = {.cookie = 1};
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call,grant");
	/* What was bound by another user, or in another place, or is no socket. */
	result.uid = w.boot.daemon_uid + 1;
	result.object = capability_object(passed())->entity.id;
	result.capability = passed()->entity.id;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EXDEV);
	/* Others of this user could have bound it. */
	result.uid = w.boot.daemon_uid;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EXDEV);
	result.by_binder = 1;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), 0);
	/* A badge that does not match: another object's. */
	result.object++;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), ENOENT);
	result.object = 0;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), EINVAL);
	result.error = ENOTSOCK;
	inspect(two, &result, true);
	ck_assert_int_eq(world_ask(&w, two, WIRE_IMPORT, "", "", &a), ENOTSOCK);
}
END_TEST

/* As long as the process is there; and its session's parent answers for it when that is gone. */
START_TEST(S03_inspectors_are_paid_for_until_they_end)
{
	struct binder_result result = {.error = EINVAL}, end = {.ended = 1};
	struct session *s;
	uint64_t used, below;
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call");
	s = session_find(w.model, root(), "two", 3);
	world_settle(&w);
	used = s->used.n[QUOTA_SOCKETS];
	below = root()->used.n[QUOTA_SOCKETS];
	inspect(two, &result, false);
	world_settle(&w);
	ck_assert_uint_eq(s->used.n[QUOTA_SOCKETS], used + 1);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/two", "", &a), 0);
	world_settle(&w);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], below + 1);
	end.inspection = result.inspection;
	ck_assert_int_eq(send(w.binder, &end, sizeof(end), 0), sizeof(end));
	world_settle(&w);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], below);
	/* Those that a binder had end with it; what one had found out counts. */
	inspect(c, &result, false);
	world_binder(&w);
	world_settle(&w);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], below);
	ck_assert_int_eq(world_ask(&w, c, WIRE_IMPORT, "", "", &a), EINVAL);
}
END_TEST

START_TEST(S03_a_subtree_has_its_share_of_inspectors)
{
	struct binder_result result = {.error = EINVAL};
	int c = world_control(&w, root()), one, two;

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/one", "sockets=64", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/two", "sockets=64", &a), 0);
	one = world_control(&w, session_find(w.model, root(), "one", 3));
	two = world_control(&w, session_find(w.model, root(), "two", 3));
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++)
		inspect(one, &result, false);
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EBUSY);
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++)
		inspect(two, &result, false);
	ck_assert_int_eq(world_ask(&w, c, WIRE_INSPECT, "", "", &a), EBUSY);
	ck_assert_int_eq(world_ask(&w, c, WIRE_INSPECT, "caps", "", &a), EINVAL);
}
END_TEST

START_TEST(poison)
{
	int control = world_control(&w, root());

	world_send(control, WIRE_CREATE, 76, "sessions/app", "");
	world_send(control, WIRE_CREATE, 77, "sessions/bad", "");
	w.page.poisoned = BOOT_REQUEST_CONTROL(find_cookie(), 77);
	world_settle(&w);
	ck_assert(world_reply(&w, control, &a));
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert(world_reply(&w, control, &a));
	ck_assert_uint_eq(a.m.error, EIO);
	ck_assert_uint_eq(root()->n_owned[ENTITY_SESSION], 1);
	ck_assert_uint_eq(w.page.executing, 0);
	ck_assert_uint_eq(w.page.answered, 1);
}
END_TEST

static struct sockaddr_un activation = {.sun_family = AF_UNIX};

/* What a service manager does: it listens, and keeps the open file. Returns: its descriptor. */
static int
activation_listen(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(activation.sun_path, sizeof(activation.sun_path), "%s/control", w.dir);
	strcpy(w.boot.activation, activation.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&activation, sizeof(activation)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return world_own(&w, fd);
}

static int
activation_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&activation, sizeof(activation)), 0);
	return world_own(&w, fd);
}

START_TEST(activation_is_the_roots_control)
{
	int manager = activation_listen(), early, accepted, late;

	/* Somebody is there before the daemon is. */
	early = activation_connect();
	world_kill(&w);
	ck_assert_int_ge(fd_dup(manager), 0);
	world_start(&w);
	ck_assert_int_eq(world_ask(&w, early, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init\n");
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], 1);
	/* One broker dies after it has accepted, the next listens again. */
	accepted = activation_connect();
	world_kill(&w);
	ck_assert_int_ge(accept4(manager, NULL, NULL, SOCK_CLOEXEC), 0);
	world_start(&w);
	ck_assert_int_eq(world_ask(&w, accepted, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, early, WIRE_READ, "label", "", &a), 0);
	late = activation_connect();
	ck_assert_int_eq(world_ask(&w, late, WIRE_READ, "label", "", &a), 0);
	/* The end of the daemon is not the manager's. */
	world_stop(&w);
	ck_assert(world_is_over(late));
	late = activation_connect();
	world_own(&w, accept4(manager, NULL, NULL, SOCK_CLOEXEC));
	ck_assert(!world_is_over(late));
}
END_TEST

START_TEST(activation_waits_for_descriptors)
{
	int manager = activation_listen(), client;
	struct rlimit old, none;

	world_kill(&w);
	ck_assert_int_ge(fd_dup(manager), 0);
	world_start(&w);
	client = activation_connect();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	world_settle(&w);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(!world_is_over(client));
	world_settle_for(&w, 150000);
	ck_assert_int_eq(world_ask(&w, client, WIRE_READ, "label", "", &a), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control");
	TCase *t = tcase_create("control");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, reads_and_lists);
	tcase_add_test(t, what_was_read_of_a_log_is_stored);
	tcase_add_test(t, lists_and_reads_in_pieces);
	tcase_add_test(t, bad_messages);
	tcase_add_test(t, reply_outlives_broker);
	tcase_add_test(t, S03_what_was_vouched_for_is_imported_once);
	tcase_add_test(t, S03_what_cannot_be_imported);
	tcase_add_test(t, P14_a_proof_does_not_outlive_the_broker);
	tcase_add_test(t, S03_what_an_inspector_says_is_a_proof);
	tcase_add_test(t, G41_what_an_inspector_does_not_believe);
	tcase_add_test(t, S03_inspectors_are_paid_for_until_they_end);
	tcase_add_test(t, S03_a_subtree_has_its_share_of_inspectors);
	tcase_add_test(t, poison);
	tcase_add_test(t, activation_is_the_roots_control);
	tcase_add_test(t, activation_waits_for_descriptors);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
