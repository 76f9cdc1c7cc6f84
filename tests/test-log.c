/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's log: it never waits, it counts what it loses, it does not let one place fill it; and
 * what the journal gets.
 */
#include "config.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "capfsd/broker/audit.h"
#include "capfsd/process/journal.h"
#include "tests/fixture.h"

/* Stands in for stderr while a test runs. */
static int saved_stderr;
static uint64_t lost;

static void
stderr_begin(int fd)
{
	fflush(stderr);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	lost = 0;
	log_set_lost(&lost);
}

static void
stderr_end(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	log_set_lost(NULL);
	log_set_sink(NULL);
	log_set_prefix(false);
}

static void
say(unsigned i)
{
	log_message(LOG_WARNING, "message %u", i);
}

static void
expect(int fd, const char *line)
{
	char buffer[2048];
	ssize_t n = read(fd, buffer, sizeof(buffer) - 1);

	ck_assert_int_gt(n, 0);
	buffer[n] = '\0';
	ck_assert_str_eq(buffer, line);
}

START_TEST(lines_have_a_name_or_a_level)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	stderr_begin(fds[1]);
	errno = ENOENT;
	log_message(LOG_ERR, "%s: %m", "x");
	ck_assert_int_eq(errno, ENOENT);
	expect(fds[0], "capfsd: x: No such file or directory\n");
	log_set_prefix(true);
	log_message(LOG_ERR, "y");
	log_message(LOG_DEBUG, "below the level");
	expect(fds[0], "<3>y\n");
	ck_assert_uint_eq(lost, 0);
	stderr_end();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* The pipe is one that blocks, as a shell makes it. */
START_TEST(P18_a_full_pipe_does_not_block)
{
	char block[4096] = {};
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], block, sizeof(block)) > 0)
		;
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
	stderr_begin(fds[1]);
	alarm(5);
	log_message(LOG_ERR, "nobody reads this");
	ck_assert_uint_eq(lost, 1);
	ck_assert_int_eq(read(fds[0], block, sizeof(block)), sizeof(block));
	log_message(LOG_ERR, "there is room again");
	alarm(0);
	ck_assert_uint_eq(lost, 1);
	stderr_end();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(P18_nor_does_a_full_socket)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	stderr_begin(fds[1]);
	alarm(5);
	for (unsigned i = 0; i < 100000 && lost == 0; i++)
		log_message(LOG_CRIT, "%0500u", i);
	ck_assert_uint_eq(lost, 1);
	/* Nobody is left: no signal. */
	close(fds[0]);
	log_message(LOG_CRIT, "x");
	alarm(0);
	ck_assert_uint_eq(lost, 2);
	stderr_end();
	close(fds[1]);
}
END_TEST

START_TEST(P18_a_place_that_repeats_itself_is_left_out)
{
	unsigned lines = 0;
	char buffer[8192];
	int fds[2];
	ssize_t n;

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	stderr_begin(fds[1]);
	for (unsigned i = 0; i < 100; i++)
		say(i);
	log_message(LOG_WARNING, "another place");
	n = read(fds[0], buffer, sizeof(buffer) - 1);
	ck_assert_int_gt(n, 0);
	buffer[n] = '\0';
	for (const char *p = buffer; (p = strchr(p, '\n')); p++)
		lines++;
	ck_assert_uint_eq(lines, LOG_BURST + 1);
	ck_assert_ptr_nonnull(strstr(buffer, "another place"));
	ck_assert_uint_eq(lost, 100 - LOG_BURST);
	stderr_end();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(it_says_how_many_were_left_out)
{
	struct log_site site = {};
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	stderr_begin(fds[1]);
	log_at(&site, LOG_ERR, NULL, "first");
	expect(fds[0], "capfsd: first\n");
	/* A period later. */
	site.n = LOG_BURST;
	site.n_left_out = 7;
	site.since_usec -= LOG_PERIOD_USEC;
	log_at(&site, LOG_ERR, NULL, "then");
	expect(fds[0], "capfsd: then (7 like it left out)\n");
	log_at(&site, LOG_ERR, NULL, "again");
	expect(fds[0], "capfsd: again\n");
	stderr_end();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(fields_are_encoded_by_the_native_protocol)
{
	char buffer[JOURNAL_BYTES_MAX];
	const char *wanted = "MESSAGE=hello\nPRIORITY=4\nSYSLOG_IDENTIFIER=capfsd\n"
			     "MESSAGE_ID=0123\nCAPFS_BROKER=18446744073709551615\n";
	size_t n = journal_encode(LOG_WARNING,
		LOG_FIELDS({"MESSAGE_ID", "0123"}, {"CAPFS_BROKER", NULL, UINT64_MAX}), "hello",
		buffer, sizeof(buffer));

	ck_assert_uint_eq(n, strlen(wanted));
	ck_assert_int_eq(memcmp(buffer, wanted, n), 0);
	n = journal_encode(LOG_ERR, NULL, "x", buffer, sizeof(buffer));
	wanted = "MESSAGE=x\nPRIORITY=3\nSYSLOG_IDENTIFIER=capfsd\n";
	ck_assert_uint_eq(n, strlen(wanted));
	for (size_t size = 0; size < n; size++)
		ck_assert_uint_eq(journal_encode(LOG_ERR, NULL, "x", buffer, size), 0);
	ck_assert_uint_eq(journal_encode(LOG_ERR, NULL, "x", buffer, n), n);
}
END_TEST

START_TEST(no_value_makes_a_field)
{
	const char *evil = "a\nMESSAGE_ID=0";
	uint64_t length = htole64(strlen(evil));
	char buffer[256], wanted[256];
	size_t n = journal_encode(
		LOG_ERR, LOG_FIELDS({"CAPFS_SESSION", evil}), evil, buffer, sizeof(buffer));
	size_t m = 0;

	memcpy(wanted + m, "MESSAGE\n", 8);
	memcpy(wanted + m + 8, &length, 8);
	m = 16 + (size_t)sprintf(wanted + 16,
			 "%s\nPRIORITY=3\nSYSLOG_IDENTIFIER=capfsd\n"
			 "CAPFS_SESSION\n",
			 evil);
	memcpy(wanted + m, &length, 8);
	m += 8 + (size_t)sprintf(wanted + m + 8, "%s\n", evil);
	ck_assert_uint_eq(n, m);
	ck_assert_int_eq(memcmp(buffer, wanted, n), 0);
}
END_TEST

/* "NAME=VALUE" of all fields, each behind a blank. */
static void
expect_audit(const char *body, const char *expected)
{
	struct audit_entry entry;
	char got[1024] = "";

	audit_encode(body, strlen(body), &entry);
	for (size_t i = 1; i < entry.n_fields; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), " %s=%s",
			entry.fields[i].name, entry.fields[i].text);
	ck_assert_str_eq(entry.fields[0].name, "MESSAGE_ID");
	ck_assert_str_eq(got, expected);
}

START_TEST(P23_an_audit_entry_has_the_fields_of_its_line)
{
	expect_audit("grant session=init/a slot=kv id=7 uid=0 from=init/caps/kv",
		" CAPFS_VERB=grant CAPFS_SESSION=init/a CAPFS_SLOT=kv CAPFS_ID=7 CAPFS_UID=0"
		" CAPFS_FROM=init/caps/kv");
	expect_audit("refused call session=init slot=kv uid=1 EPERM: x=1 message_id=2 y",
		" CAPFS_VERB=call CAPFS_SESSION=init CAPFS_SLOT=kv CAPFS_UID=1 CAPFS_ERROR=EPERM");
	expect_audit("revoke session=init slot=kv uid=0 self", " CAPFS_VERB=revoke CAPFS_SESSION=init"
		" CAPFS_SLOT=kv CAPFS_UID=0");
	expect_audit("refused listen session=init EDQUOT:", " CAPFS_VERB=listen CAPFS_SESSION=init"
		" CAPFS_ERROR=EDQUOT");
	expect_audit("", " CAPFS_VERB=");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = fixture_case(s, "log", 20);

	tcase_add_test(tc, lines_have_a_name_or_a_level);
	tcase_add_test(tc, P18_a_full_pipe_does_not_block);
	tcase_add_test(tc, P18_nor_does_a_full_socket);
	tcase_add_test(tc, P18_a_place_that_repeats_itself_is_left_out);
	tcase_add_test(tc, it_says_how_many_were_left_out);
	tcase_add_test(tc, fields_are_encoded_by_the_native_protocol);
	tcase_add_test(tc, no_value_makes_a_field);
	tcase_add_test(tc, P23_an_audit_entry_has_the_fields_of_its_line);
	return fixture_main(s);
}
