/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"

/* Of the case that runs in this process. */
static int *fds_before;
static size_t n_fds_before;

void
fixture_setup(void)
{
	free(fds_before);
	ck_assert_int_eq(fd_list(&fds_before, &n_fds_before), 0);
}

static void
describe(struct text *t, const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_addf(t, " %d", fds[i]);
}

void
fixture_teardown(void)
{
	cleanup_text struct text before = {}, after = {};
	cleanup_free int *fds = NULL;
	size_t n;

	ck_assert_int_eq(fd_list(&fds, &n), 0);
	describe(&before, fds_before, n_fds_before);
	describe(&after, fds, n);
	free(fds_before);
	fds_before = NULL;
	ck_assert_int_eq(text_done(&before), 0);
	ck_assert_int_eq(text_done(&after), 0);
	ck_assert_str_eq(after.data ? after.data : "", before.data ? before.data : "");
}

TCase *
fixture_case(Suite *s, const char *name, double timeout)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, timeout);
	tcase_add_checked_fixture(t, fixture_setup, fixture_teardown);
	suite_add_tcase(s, t);
	return t;
}

void
fixture_directory(char path[FIXTURE_PATH])
{
	const char *above = getenv("TMPDIR");
	int n = snprintf(path, FIXTURE_PATH, "%s/capfs-test.XXXXXX", above && *above ? above : "/tmp");

	ck_assert_msg(n < FIXTURE_PATH, "$TMPDIR is too long for sockets: %s", above);
	ck_assert_ptr_nonnull(mkdtemp(path));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void
fixture_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
fixture_skip(const char *name, const char *reason)
{
	printf("ok - %s # SKIP %s\n", name, reason);
	fflush(stdout);
}

int
fixture_main(Suite *s)
{
	const char *tap = getenv("TAP_FILE");
	SRunner *runner = srunner_create(s);
	int n_failed;

	if (tap && *tap)
		srunner_set_tap(runner, tap);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
