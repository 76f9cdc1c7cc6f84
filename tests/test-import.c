/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library does with descriptors that came in messages, as far as a played daemon can tell.
 * What the kernel and the real one make of them is in it-import.sh.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"

#define CHALLENGE "challenge=00112233445566778899aabbccddeeff device="

static struct played d;

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
}

static void
teardown(void)
{
	played_deinit(&d);
	fixture_teardown();
}

/* A socket that is no node of the daemon's. RET_PATH is unlinked with it. */
static int
bound(char *directory, char *path, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, size, "%s/12.44", directory);
	strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

START_TEST(S03_only_nodes_of_the_daemon_s_mount_are_written_to)
{
	char directory[] = "/tmp/import-XXXXXX", path[64], text[128];
	int listener = bound(directory, path, sizeof(path)), node = open(path, O_PATH | O_CLOEXEC);
	struct capc_identity id;
	struct stat st;
	char *slot;

	played_answer(&d, WIRE_CHALLENGE, 0, CHALLENGE "4095:1", -1);
	ck_assert_int_eq(capc_identify(d.session, node, &id), -EXDEV);
	played_asked(&d, WIRE_CHALLENGE, "", "");
	/* Asked nothing more, and borrowed. */
	played_quiet(&d);
	ck_assert_int_eq(fstat(node, &st), 0);
	/* One that says it is of that file system: the kernel knows no such attribute there. */
	snprintf(text, sizeof(text), CHALLENGE "%u:%u", major(st.st_dev), minor(st.st_dev));
	played_answer(&d, WIRE_CHALLENGE, 0, text, -1);
	ck_assert_int_eq(capc_import(d.session, node, NULL, &slot), -EOPNOTSUPP);
	played_asked(&d, WIRE_CHALLENGE, "", "");
	played_quiet(&d);
	/* Taken. */
	ck_assert_int_eq(fcntl(node, F_GETFD), -1);
	unlink(path);
	rmdir(directory);
	close(listener);
}
END_TEST

START_TEST(S03_what_is_no_socket_is_refused_and_closed)
{
	char *slot;
	int node = open("/", O_PATH | O_CLOEXEC), file = open("/dev/null", O_RDWR | O_CLOEXEC);

	played_answer(&d, WIRE_CHALLENGE, 0, CHALLENGE "0:1", -1);
	ck_assert_int_eq(capc_import(d.session, node, NULL, &slot), -EINVAL);
	ck_assert_int_eq(capc_import(d.session, file, NULL, &slot), -ENOTSOCK);
	ck_assert_int_eq(capc_import(d.session, -1, NULL, &slot), -EBADF);
	ck_assert_int_eq(fcntl(node, F_GETFD), -1);
	ck_assert_int_eq(fcntl(file, F_GETFD), -1);
	node = open("/", O_PATH | O_CLOEXEC);
	ck_assert_int_eq(capc_import(d.session, node, "two words", &slot), -EINVAL);
	ck_assert_int_eq(fcntl(node, F_GETFD), -1);
}
END_TEST

START_TEST(a_refusal_has_its_reason)
{
	char *slot;

	played_answer(&d, WIRE_CHALLENGE, EOPNOTSUPP, "there is no operation 8", -1);
	ck_assert_int_eq(
		capc_import(d.session, open("/", O_PATH | O_CLOEXEC), NULL, &slot), -EOPNOTSUPP);
	ck_assert_str_eq(capc_session_reason(d.session), "there is no operation 8");
	played_answer(&d, WIRE_CHALLENGE, 0, "what", -1);
	ck_assert_int_eq(
		capc_import(d.session, open("/", O_PATH | O_CLOEXEC), NULL, &slot), -EBADMSG);
}
END_TEST

/* The daemon is restarted again and again: there is an end to that. */
START_TEST(it_ends_in_time)
{
	char *slot;

	capc_session_set_timeout(d.session, 20000);
	for (int i = 0; i < 40; i++)
		played_answer(&d, WIRE_CHALLENGE, EAGAIN, "", -1);
	ck_assert_int_eq(
		capc_import(d.session, open("/", O_PATH | O_CLOEXEC), NULL, &slot), -ETIMEDOUT);
}
END_TEST

START_TEST(G41_a_connection_s_own_name_is_a_hint)
{
	char directory[] = "/tmp/import-XXXXXX", path[64];
	int listener = bound(directory, path, sizeof(path)), pair[2], client;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct capc_identity id;

	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, path);
	ck_assert_int_eq(capc_identify(d.session, client, &id), -ENOTCONN);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	/* The daemon says that it is not its own, or cannot say. */
	played_answer(&d, WIRE_INSPECT, EOPNOTSUPP, "there is no operation 11", -1);
	ck_assert_int_eq(capc_identify(d.session, client, &id), 0);
	played_asked(&d, WIRE_INSPECT, "", "");
	ck_assert(!id.verified);
	ck_assert_uint_eq(id.object, 12);
	ck_assert_uint_eq(id.capability, 44);
	ck_assert_uint_eq(id.rights, 0);
	ck_assert_str_eq(id.owner, "");
	played_pair(SOCK_STREAM, pair);
	played_answer(&d, WIRE_INSPECT, EOPNOTSUPP, "there is no operation 11", -1);
	ck_assert_int_eq(capc_identify(d.session, pair[0], &id), -EINVAL);
	close(pair[0]);
	close(pair[1]);
	close(client);
	close(listener);
	unlink(path);
	rmdir(directory);
}
END_TEST

/* The played inspector gets the descriptor; what it says comes with the answer to the next request.
 */
START_TEST(S03_a_connection_is_sent_to_the_inspector)
{
	int inspector[2], pair[2], got = -1;
	struct capc_identity id;
	size_t n_fds = 0;
	char byte, *slot;

	played_pair(SOCK_STREAM, pair);
	played_pair(SOCK_SEQPACKET, inspector);
	ck_assert_int_eq(send(inspector[0], "", 1, 0), 1);
	played_answer(&d, WIRE_INSPECT, 0, "", inspector[1]);
	played_answer(&d, WIRE_IDENTIFY, 0,
		"object=12 badge=0x4c capability=44 type=object rights=call,share owner=init/web "
		"slot=kv",
		-1);
	ck_assert_int_eq(capc_identify(d.session, pair[0], &id), 0);
	ck_assert_int_eq(msg_receive(inspector[0], &byte, 1, &got, 1, &n_fds, MSG_DONTWAIT), 1);
	ck_assert_uint_eq(n_fds, 1);
	ck_assert_int_eq(capc_same(got, pair[0]), 0);
	ck_assert(id.verified);
	ck_assert_uint_eq(id.badge, 0x4c);
	ck_assert_uint_eq(id.rights, CAPC_RIGHT_CALL | CAPC_RIGHT_SHARE);
	ck_assert_str_eq(id.owner, "init/web");
	ck_assert_str_eq(id.slot, "kv");
	close(got);
	/* It has died: once more, and then the daemon refuses. */
	close(inspector[0]);
	played_answer(&d, WIRE_INSPECT, 0, "", inspector[1]);
	played_answer(&d, WIRE_INSPECT, EBUSY, "too many inspections", -1);
	ck_assert_int_eq(capc_import(d.session, pair[0], NULL, &slot), -EBUSY);
	ck_assert_str_eq(capc_session_reason(d.session), "too many inspections");
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
	close(inspector[1]);
	close(pair[1]);
}
END_TEST

/* What was asked for by capc_import() of a connection that the played inspector takes. Returns: what that gave. */
static int
import(const char *as, int error, const char *result, char **ret_slot)
{
	int inspector[2], pair[2], r;

	played_pair(SOCK_STREAM, pair);
	played_pair(SOCK_SEQPACKET, inspector);
	ck_assert_int_eq(send(inspector[0], "", 1, 0), 1);
	played_answer(&d, WIRE_INSPECT, 0, "", inspector[1]);
	played_answer(&d, WIRE_IMPORT, error, result, -1);
	r = capc_import(d.session, pair[0], as, ret_slot);
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
	played_asked(&d, WIRE_INSPECT, "", "");
	close(inspector[0]);
	close(inspector[1]);
	close(pair[1]);
	return r;
}

/* It asks for no less than there is: whoever wants less reduces what was imported. */
START_TEST(S03_an_import_has_no_reductions)
{
	char *slot = NULL;

	ck_assert_int_eq(import(NULL, 0, "slot=kv-2 id=44", &slot), 0);
	played_asked(&d, WIRE_IMPORT, "", "");
	ck_assert_str_eq(slot, "kv-2");
	free(slot);
	ck_assert_int_eq(import("mine", 0, "slot=mine id=45 held", &slot), 1);
	played_asked(&d, WIRE_IMPORT, "", "as=mine");
	ck_assert_str_eq(slot, "mine");
	free(slot);
	ck_assert_int_eq(import("mine", 0, "slot=mine id=45", NULL), 0);
	played_asked(&d, WIRE_IMPORT, "", "as=mine");
}
END_TEST

START_TEST(S03_what_the_daemon_says_of_an_import)
{
	char *slot = NULL;

	ck_assert_int_eq(import("mine", EPERM, "init/web does not hold right 'grant' on kv", &slot), -EPERM);
	ck_assert_str_eq(capc_session_reason(d.session), "init/web does not hold right 'grant' on kv");
	played_asked(&d, WIRE_IMPORT, "", "as=mine");
	ck_assert_int_eq(import("mine", 0, "id=45", &slot), -EBADMSG);
	ck_assert_ptr_null(slot);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("library");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, S03_only_nodes_of_the_daemon_s_mount_are_written_to);
	tcase_add_test(t, S03_what_is_no_socket_is_refused_and_closed);
	tcase_add_test(t, a_refusal_has_its_reason);
	tcase_add_test(t, it_ends_in_time);
	tcase_add_test(t, G41_a_connection_s_own_name_is_a_hint);
	tcase_add_test(t, S03_a_connection_is_sent_to_the_inspector);
	tcase_add_test(t, S03_an_import_has_no_reductions);
	tcase_add_test(t, S03_what_the_daemon_says_of_an_import);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
