/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The minder's own work: one child, capfs-spawner, which is there from the first connection on. It
 * gives up nothing, as all that it has is what programs get; so it does as little as can be done.
 */
#include "config.h"

#include "capfsd/minder/minder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/process/child.h"
#include "capfsd/start/binary.h"

#define END_MSEC 2000 /* for the spawner, which waits for nobody */
#define KILL_MSEC 500

struct minder {
	const struct minder_config *config;
	int signal_fd;
	struct child spawner;
	uint64_t due_msec; /* when the next one may be started; 0: at any time */
	bool ends;
};

/*
 * As systemd would start it: the listener by its number, nothing of capfsd's environment, where a
 * NOTIFY_SOCKET would let it speak for the daemon, and standard input, which may be the journal's
 * socket, from nowhere. It ends with the minder, whatever that dies of.
 */
static void __attribute__((noreturn))
become_spawner(int binary, const struct minder_config *config, pid_t parent)
{
	char pid[32], count[] = "LISTEN_FDS=1", cgroup[PATH_MAX + 16] = "";
	char *const argv[] = {(char *)(uintptr_t)config->path, config->cgroup ? cgroup : NULL, NULL};
	char *const environment[] = {pid, count, NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	child_reset_signals();
	signal(SIGPIPE, SIG_DFL);
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", (int)getpid());
	if (config->cgroup)
		snprintf(cgroup, sizeof(cgroup), "--cgroup=%s", config->cgroup);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
		dup2(null, STDIN_FILENO) >= 0 && fd_set_cloexec(MINDER_FD_LISTENER, false) == 0)
		execveat(binary, "", argv, environment, AT_EMPTY_PATH);
	log_message(LOG_ERR, "cannot execute %s: %m", config->path);
	_exit(EXIT_FAILURE);
}

/*
 * One that cannot be started is one that has ended at once. It is said when it is so, and not again
 * and again.
 */
static void
start_spawner(struct minder *m)
{
	cleanup_close int binary = -1;
	const char *error = binary_open(m->config->path, &binary);
	pid_t parent = getpid(), pid = error ? 0 : fork();

	if (!error && pid == 0)
		become_spawner(binary, m->config, parent);
	child_started(&m->spawner, pid > 0 ? pid : 0);
	if (pid > 0)
		return;
	m->due_msec = child_ended(&m->spawner);
	if (m->spawner.backoff.n == 1)
		log_message(LOG_WARNING, "cannot start %s: %s", m->config->path,
			error ? error : "no process can be had");
}

/* Also inits whose spawner has ended come here; they go on, and their end is nobody's business. */
static void
reap(struct minder *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != m->spawner.pid)
			continue;
		m->due_msec = child_ended(&m->spawner);
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
			log_message(LOG_WARNING, SPAWNER_TITLE " was ended by signal %d",
				WTERMSIG(status));
		else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
			log_message(LOG_WARNING, SPAWNER_TITLE " ended with status %d",
				WEXITSTATUS(status));
	}
}

static void
on_signal(struct minder *m)
{
	struct signalfd_siginfo info;

	while (read(m->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGCHLD)
			reap(m);
		else
			m->ends = true;
}

/* Who was connected sees that it ends, and asks for another connection. */
static void
on_keeper(struct minder *m)
{
	char byte = 0;
	ssize_t n = recv(MINDER_FD_KEEPER, &byte, 1, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		m->ends = true;
	else if (n == 1 && byte == MINDER_RENEW)
		child_signal(&m->spawner, SIGTERM);
}

/* While one is running, or not due yet, nobody looks at the listener: who connects waits there. */
static int
turn(struct minder *m)
{
	bool missing = m->spawner.pid == 0, due = clock_msec(CLOCK_MONOTONIC) >= m->due_msec;
	struct pollfd p[] = {
		{.fd = MINDER_FD_KEEPER, .events = POLLIN},
		{.fd = m->signal_fd, .events = POLLIN},
		{.fd = missing && due ? MINDER_FD_LISTENER : -1, .events = POLLIN},
	};

	if (poll(p, 3, clock_until(&m->due_msec, missing && !due, UINT64_MAX)) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[0].revents)
		on_keeper(m);
	if (p[1].revents)
		on_signal(m);
	if (p[2].revents && !m->ends)
		start_spawner(m);
	return 0;
}

/* The end of the pair is a killed keeper's end, too; the signal is for a pair that lives on. */
static int
prepare(struct minder *m, pid_t parent)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0 || chdir("/") < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
		prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return -errno;
	/* A terminal's signals are for the keeper alone. */
	setsid();
	return getppid() == parent ? 0 : -ESRCH;
}

void
minder_main(pid_t parent, const struct minder_config *config)
{
	struct minder m = {
		.config = config,
		.spawner.backoff = {.first_usec = 100000, .max_usec = 4000000},
	};
	int r = prepare(&m, parent);

	while (r == 0 && !m.ends)
		r = turn(&m);
	if (m.spawner.pid) {
		child_signal(&m.spawner, SIGTERM);
		if (child_wait(m.spawner.pid, END_MSEC) == -ETIMEDOUT)
			child_end(&m.spawner, KILL_MSEC);
	}
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
