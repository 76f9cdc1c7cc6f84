/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/spawn-world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/fixture.h"

#define STARTED "thread=7.3 uid=%u gid=%u"
#define ABANDONED 1000000 /* usec that the daemon looks for the end of one that failed */

struct played d;
struct played_program program;
capc_thread *thread;
char *reason;
int files[FILES];
int table[HELLO_FDS_MAX + 1];
static int *open_before;
static size_t n_open_before;

char *const true_argv[] = {(char[]){"/bin/true"}, NULL};

void
spawn_setup(void)
{
	fixture_setup();
	played_init(&d);
	next_program();
}

void
next_program(void)
{
	thread = capc_thread_free(thread);
	free(take_ptr(reason));
	program = (struct played_program){.takes = PROGRAM_TAKES_ALL, .n_answers = 1};
}

void
spawn_teardown(void)
{
	thread = capc_thread_free(thread);
	free(take_ptr(reason));
	free(take_ptr(open_before));
	played_deinit(&d);
	fixture_teardown();
}

void
become_nobody(void)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	}
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
}

void
make_files(void)
{
	for (size_t i = 0; i < FILES; i++)
		files[i] = memfd_create("file", MFD_CLOEXEC);
	for (size_t i = 0; i <= HELLO_FDS_MAX; i++)
		table[i] = files[(i * i + i / FILES) % FILES];
}

void
close_files(void)
{
	for (size_t i = 0; i < FILES; i++)
		close(files[i]);
}

void
answer_as(unsigned uid, unsigned gid)
{
	int fd = played_program_start(&program);
	char text[128];

	snprintf(text, sizeof(text), STARTED, uid, gid);
	played_answer(&d, WIRE_SPAWN, 0, text, fd);
	close(fd);
}

void
answer(void)
{
	answer_as(geteuid(), getegid());
}

int
spawn(const struct capc_spawn *p, uint64_t timeout)
{
	ck_assert_ptr_null(reason);
	ck_assert_ptr_null(thread);
	return capc_spawn(d.session, p, timeout, &thread, &reason);
}

void
starts(const struct capc_spawn *p)
{
	answer();
	ck_assert_int_eq(spawn(p, LONG), 0);
	played_program_end(&program);
	ck_assert_ptr_null(reason);
	ck_assert_str_eq(capc_thread_id(thread), "7.3");
	ck_assert_int_eq(program.who.pid, getpid());
	ck_assert_uint_eq(program.who.uid, geteuid());
	ck_assert_uint_eq(program.who.gid, getegid());
	ck_assert_uint_eq(program.hello.magic, HELLO_MAGIC);
}

void
was_given_up(bool kill)
{
	played_asked(&d, WIRE_SPAWN, "threads", NULL);
	if (kill)
		played_asked(&d, WIRE_WRITE, "threads/7.3/ctl", "kill");
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "threads/7.3", ""), ABANDONED);
	played_quiet(&d);
	d.serial += kill ? 2 : 1;
}

void
remember_table(void)
{
	ck_assert_int_eq(fd_list(&open_before, &n_open_before), 0);
}

void
table_is_as_before(void)
{
	cleanup_free int *fds = NULL;
	size_t n;

	ck_assert_int_eq(fd_list(&fds, &n), 0);
	ck_assert_uint_eq(n, n_open_before);
	ck_assert_mem_eq(fds, open_before, n * sizeof(*fds));
	for (size_t i = 0; i < FILES; i++)
		ck_assert_int_eq(fcntl(files[i], F_GETFD), FD_CLOEXEC);
}

void
has_bytes(const char *bytes, size_t n)
{
	ck_assert_uint_eq(program.hello.n_bytes, n);
	ck_assert_uint_eq(program.n_bytes, n);
	ck_assert_mem_eq(program.bytes, bytes, n);
}

void
has_files(size_t n)
{
	ck_assert_uint_eq(program.n_fds, n);
	for (size_t i = 0; i < n; i++) {
		struct stat st;

		ck_assert_int_eq(fstat(table[i], &st), 0);
		ck_assert_msg(program.files[i] == st.st_ino, "descriptor %zu", i);
	}
}
