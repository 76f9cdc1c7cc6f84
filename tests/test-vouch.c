/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one session has passed on to another: what proves it, and what is made of it. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/control/control.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/ops/request.h"
#include "capfsd/process/records.h"
#include "capfsd/tree/tree.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

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
	ck_assert_ptr_nonnull(strstr(
		a.text, " type=object rights=call owner=init holder=init/one vouched=yes"));
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

/* A session's mode is that of its slots. */
static void
set_owner(struct session *s, uid_t uid, mode_t mode)
{
	struct request r = {.model = w.model};

	ck_assert_int_eq(tree_set_owner(&r, tree_session(s), uid, (gid_t)-1, mode), 0);
	ck_assert_int_eq(r.error, 0);
	request_deinit(&r);
}

/* With each mode after the one before: does somebody vouch for the slot's node? */
static const struct mode_step {
	mode_t mode;
	bool vouched;
} shown[] = {{0700, true}, {0711, true}, {0744, true}, {0755, false}, {0700, false}},
  lost[] = {{0711, true}, {0733, true}, {0777, true}, {0770, false}, {0700, false}};

static const struct {
	const struct mode_step *steps;
	size_t n;
} histories[] = {{shown, sizeof(shown) / sizeof(shown[0])}, {lost, sizeof(lost) / sizeof(lost[0])}};

/* Who may pass by a slot or use it is one thing; who may look at it without, or could use it, can name it. */
START_TEST(P22_who_may_not_use_it_imports_nothing)
{
	const struct mode_step *step = histories[_i].steps;
	char challenge[CHALLENGE_BYTES + 1];
	int c, two;

	serve_web(&c);
	two = pass_web(c, "call,grant");
	for (size_t i = 0; i < histories[_i].n; i++, step++) {
		set_owner(passed()->session, (uid_t)-1, step->mode);
		ck_assert_int_eq(controls_vouch(w.controls, &passed()->entity, "", 0),
			step->vouched ? 0 : ENOTUNIQ);
		ck_assert_int_eq(vouch(two, passed(), challenge), 0);
		ck_assert_int_eq(world_ask(&w, two, WIRE_IDENTIFY, "", "", &a), 0);
		ck_assert_ptr_nonnull(strstr(a.text, step->vouched ? " vouched=yes" : " vouched=no"));
		ck_assert_int_eq(vouch(two, passed(), challenge), 0);
		ck_assert_int_eq(
			world_ask(&w, two, WIRE_IMPORT, "", "", &a), step->vouched ? 0 : EACCES);
	}
	/* Stored with the session. */
	world_restart(&w);
	ck_assert_int_eq(controls_vouch(w.controls, &passed()->entity, "", 0), ENOTUNIQ);
}
END_TEST

/* Root gives a session away, and has it still; its next owner has not. */
START_TEST(P22_a_former_owner_imports_nothing)
{
	int c;

	serve_web(&c);
	(void)pass_web(c, "call,grant");
	set_owner(passed()->session, 0, (mode_t)-1);
	set_owner(passed()->session, 1234, (mode_t)-1);
	ck_assert_int_eq(controls_vouch(w.controls, &passed()->entity, "", 0), 0);
	set_owner(passed()->session, 0, (mode_t)-1);
	ck_assert_int_eq(controls_vouch(w.controls, &passed()->entity, "", 0), ENOTUNIQ);
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
	int c = world_control(&w, root()), one, two, three;

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/one", "sockets=64", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/two", "sockets=64", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/three", "sockets=64", &a), 0);
	three = world_control(&w, session_find(w.model, root(), "three", 5));
	one = world_control(&w, session_find(w.model, root(), "one", 3));
	two = world_control(&w, session_find(w.model, root(), "two", 3));
	for (int i = 0; i < INSPECTIONS_MAX / 2; i++)
		inspect(one, &result, false);
	ck_assert_int_eq(world_ask(&w, one, WIRE_INSPECT, "", "", &a), EBUSY);
	/* Half of what is left, each time: two of them leave room for a third, and for the root. */
	for (int i = 0; i < INSPECTIONS_MAX / 4; i++)
		inspect(two, &result, false);
	ck_assert_int_eq(world_ask(&w, two, WIRE_INSPECT, "", "", &a), EBUSY);
	for (int i = 0; i < INSPECTIONS_MAX / 8; i++)
		inspect(three, &result, false);
	ck_assert_int_eq(world_ask(&w, three, WIRE_INSPECT, "", "", &a), EBUSY);
	for (int i = 0; i < INSPECTIONS_MAX / 8; i++)
		inspect(c, &result, false);
	ck_assert_int_eq(world_ask(&w, c, WIRE_INSPECT, "", "", &a), EBUSY);
	ck_assert_int_eq(world_ask(&w, c, WIRE_INSPECT, "caps", "", &a), EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vouch");
	TCase *t = tcase_create("vouch");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, S03_what_was_vouched_for_is_imported_once);
	tcase_add_loop_test(t, P22_who_may_not_use_it_imports_nothing, 0,
		sizeof(histories) / sizeof(histories[0]));
	if (geteuid() == 0)
		tcase_add_test(t, P22_a_former_owner_imports_nothing);
	tcase_add_test(t, S03_what_cannot_be_imported);
	tcase_add_test(t, P14_a_proof_does_not_outlive_the_broker);
	tcase_add_test(t, S03_what_an_inspector_says_is_a_proof);
	tcase_add_test(t, G41_what_an_inspector_does_not_believe);
	tcase_add_test(t, S03_inspectors_are_paid_for_until_they_end);
	tcase_add_test(t, S03_a_subtree_has_its_share_of_inspectors);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
