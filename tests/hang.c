/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	hang HOLDER N	makes N brokers in a row hang in the middle of a MKDIR
 *
 * Each broker is traced from its birth on, stopped at its first system call after it has read a MKDIR and
 * whatever else there was to be read, and left there, where only SIGKILL ends it. "ready" is printed when the first one is traced, and a
 * line for each that hung. Needs the right to trace.
 */
#include "config.h"

#include <errno.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "base/error.h"
#include "capfsd/process/fds.h"

struct hang {
	pid_t holder, broker;
	uint64_t call, buffer; /* of the read under way */
	bool read;	       /* of /dev/fuse */
	bool armed;	       /* MKDIR was read */
	bool hangs;
};

static void
die(const char *what)
{
	fprintf(stderr, "hang: %s: %s\n", what, error_name(errno));
	exit(2);
}

static void
seize(pid_t pid, long options)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, options | PTRACE_O_TRACESYSGOOD) < 0)
		die("PTRACE_SEIZE");
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
}

static pid_t
broker_pid(pid_t holder)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)holder, (int)holder);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%d", &pid) != 1)
		die("no broker");
	fclose(f);
	return pid;
}

static bool
is_mkdir(const struct hang *h, int64_t n)
{
	struct fuse_in_header in;
	struct iovec ours = {&in, sizeof(in)};
	struct iovec theirs = {(void *)(uintptr_t)h->buffer, sizeof(in)};

	return n >= (int64_t)sizeof(in) &&
		process_vm_readv(h->broker, &ours, 1, &theirs, 1, 0) == sizeof(in) &&
		in.opcode == FUSE_MKDIR;
}

static void
on_call(struct hang *h)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, h->broker, sizeof(info), &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		h->read = info.entry.nr == SYS_read && info.entry.args[0] == BOOT_FD_FUSE;
		h->hangs = h->armed && !h->read;
		h->buffer = info.entry.args[1];
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && h->read) {
		h->armed = h->armed || is_mkdir(h, info.exit.rval);
	}
}

static void
on_stop(struct hang *h, pid_t pid, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	if (pid == h->holder) {
		ptrace(PTRACE_CONT, pid, 0, event || signal == SIGTRAP ? 0 : signal);
		return;
	}
	if (!h->broker)
		h->broker = pid;
	if (pid != h->broker) {
		/* A child of the broker's, which looks at the store. */
		ptrace(PTRACE_DETACH, pid, 0, event || signal == SIGTRAP ? 0 : signal);
		return;
	}
	if (signal == (SIGTRAP | 0x80))
		on_call(h);
	if (!h->hangs)
		ptrace(PTRACE_SYSCALL, pid, 0, event || signal == (SIGTRAP | 0x80) ? 0 : signal);
}

/* Until a broker that hung has ended. */
static void
one(struct hang *h)
{
	bool told = false;

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno != EINTR)
			die("waitpid");
		if (pid > 0 && WIFSTOPPED(status))
			on_stop(h, pid, status);
		else if (pid > 0 && pid == h->broker)
			return;
		if (h->hangs && !told) {
			puts("hangs");
			told = true;
		}
	}
}

static void
release(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid)
		ptrace(PTRACE_DETACH, pid, 0, 0);
}

int
main(int argc, char **argv)
{
	struct hang h = {};
	long n = argc == 3 ? atol(argv[2]) : 0;

	if (n < 1) {
		fprintf(stderr, "usage: hang HOLDER N\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	h.holder = atoi(argv[1]);
	h.broker = broker_pid(h.holder);
	seize(h.holder, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK);
	seize(h.broker, 0);
	ptrace(PTRACE_CONT, h.holder, 0, 0);
	ptrace(PTRACE_SYSCALL, h.broker, 0, 0);
	puts("ready");
	for (; n > 0; n--) {
		one(&h);
		h = (struct hang){.holder = h.holder};
	}
	/* The next one is not ours any more. */
	release(h.holder);
	return 0;
}
