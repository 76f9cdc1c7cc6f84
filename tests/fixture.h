/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all unit tests share: a checked fixture that compares the open descriptors before and after
 * each case, and a main() that runs each case in a process of its own.
 */
#pragma once

#include <check.h>

/* For tcase_add_checked_fixture(); a test's own fixture calls them first and last. */
void fixture_setup(void);
void fixture_teardown(void);

/* A case with that fixture, added to S. TIMEOUT is in seconds. */
TCase *fixture_case(Suite *s, const char *name, double timeout);

#define FIXTURE_PATH 64

/* Makes a directory of the test's own below $TMPDIR, and removes it with all that is in it. */
void fixture_directory(char path[FIXTURE_PATH]);
void fixture_remove(const char *path);

/* Says that a test cannot be run here. */
void fixture_skip(const char *name, const char *reason);

/*
 * Runs S in fork mode, also under a debugger or CK_FORK=no in the one process, and writes TAP to
 * the file that $TAP_FILE names, if any. Returns: EXIT_SUCCESS or EXIT_FAILURE, for main().
 */
int fixture_main(Suite *s);
