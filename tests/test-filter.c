/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeper and holder may not do, whatever binary they have become. Each is asked in a child of its own. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capfsd/process/filter.h"
#include "tests/fixture.h"

#define POINTER(p) ((long)(uintptr_t)(p))

static char page[65536] __attribute__((aligned(65536)));
static struct clone_args new_user = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};

static const struct {
	long call;
	long arguments[6];
	int error;
} refused[] = {
	{SYS_unshare, {CLONE_NEWUSER}, EPERM},
	{SYS_clone, {CLONE_NEWUSER | SIGCHLD}, EPERM},
	{SYS_clone, {CLONE_NEWNET | CLONE_NEWUSER | SIGCHLD}, EPERM},
	{SYS_clone, {CLONE_NEWNS | SIGCHLD}, EPERM},
	{SYS_clone3, {POINTER(&new_user), sizeof(new_user)}, ENOSYS},
	{SYS_mprotect, {POINTER(page), sizeof(page), PROT_READ | PROT_EXEC}, EPERM},
	{SYS_pkey_mprotect, {POINTER(page), sizeof(page), PROT_READ | PROT_EXEC, -1}, EPERM},
	{SYS_shmat, {0, 0, SHM_EXEC}, EPERM},
	{SYS_socket, {AF_INET, SOCK_STREAM}, EPERM},
	{SYS_ptrace, {0}, EPERM},
};

static bool
confine(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter_family() == 0;
}

static int
status_of(pid_t child)
{
	int status;

	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

START_TEST(P28_keeper_and_holder_are_refused)
{
	const long *a = refused[_i].arguments;
	pid_t child = fork();

	if (child == 0) {
		long r = confine() ? syscall(refused[_i].call, a[0], a[1], a[2], a[3], a[4], a[5]) : 0;

		_exit(r >= 0 ? 255 : errno == refused[_i].error ? 0 : errno);
	}
	ck_assert_int_eq(status_of(child), 0);
}
END_TEST

/* And what they need: children, and programs. */
START_TEST(P28_they_start_others)
{
	pid_t child = fork();

	if (child == 0) {
		int status = 1;
		pid_t program = confine() ? fork() : -1;

		if (program == 0)
			execl("/bin/true", "true", NULL);
		_exit(program > 0 && waitpid(program, &status, 0) == program && status == 0 ? 0 : 1);
	}
	ck_assert_int_eq(status_of(child), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("filter");
	TCase *t = tcase_create("filter");
	int n = sizeof(refused) / sizeof(refused[0]);

#ifdef HAVE_SANITIZERS
	n = 0; /* without a filter */
#endif
	tcase_add_loop_test(t, P28_keeper_and_holder_are_refused, 0, n);
	tcase_add_test(t, P28_they_start_others);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
