/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One process waits, the other serves. It owns the helper's pid, and stands between it and the service
 * manager: that knows this process alone, so what the helper has to say (READY=1) goes through here, and the
 * sockets that the manager has passed stay open here for the next helper.
 */
#include "config.h"

#include "capctl/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/notify.h"
#include "capctl/command.h"

#define GOOD_USEC UINT64_C(5000000) /* a helper that has lived that long was of use */
#define STATUS_SIGNAL 128

struct supervisor {
	const struct supervised *what;
	struct backoff backoff;
	struct sockaddr_un manager; /* where the service manager listens */
	socklen_t n_manager;	    /* 0: there is none */
	int signal_fd, notify_fd;
	bool activated; /* the manager has passed sockets */
	bool stopping;
	bool ready; /* some helper has said so */
	pid_t helper;
	uint64_t started_usec;
};

static int
find_manager(struct supervisor *v)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && *path ? notify_address(path, &v->manager, &v->n_manager) : 0;
}

static int
supervisor_init(struct supervisor *v, const struct supervised *what)
{
	const char *pid = getenv("LISTEN_PID");
	sigset_t set;
	int r;

	*v = (struct supervisor){
		.what = what,
		.backoff = {.n_free = 4, .first_usec = 50000, .max_usec = 4000000},
		.signal_fd = -1,
		.notify_fd = -1,
		.activated = pid && strtol(pid, NULL, 10) == (long)getpid(),
	};
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Whoever started us may have ignored it, and the kernel would then keep no status. */
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	v->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = v->signal_fd < 0 ? -errno : find_manager(v);
	if (r < 0)
		return r;
	/* The helper finds it in place of the manager's. */
	v->notify_fd = notify_listen();
	return v->notify_fd < 0 ? v->notify_fd : 0;
}

static void
supervisor_deinit(struct supervisor *v)
{
	if (v->signal_fd >= 0)
		close(v->signal_fd);
	if (v->notify_fd >= 0)
		close(v->notify_fd);
}

/* It ends with us, in order, as if we had told it: nobody else would. */
static void __attribute__((noreturn))
run_helper(const struct supervisor *v, char *const *argv, pid_t parent)
{
	char pid[24];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	if (v->activated)
		setenv("LISTEN_PID", pid, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == parent)
		execv(argv[0], argv);
	complain(errno, NULL, "%s", argv[0]);
	_exit(STATUS_FAILED);
}

static int
start(struct supervisor *v, char *const *argv)
{
	pid_t parent = getpid();

	v->started_usec = clock_usec(CLOCK_MONOTONIC);
	v->helper = fork();
	if (v->helper == 0)
		run_helper(v, argv, parent);
	return v->helper < 0 ? -errno : 0;
}

static void
pass_on(struct supervisor *v)
{
	char text[1024];
	size_t n = notify_receive(v->notify_fd, v->helper, text, sizeof(text));

	if (n == 0)
		return;
	v->ready = v->ready || notify_is_ready(text);
	if (v->n_manager)
		sendto(v->notify_fd, text, n, MSG_NOSIGNAL, (const struct sockaddr *)&v->manager,
			v->n_manager);
}

static void
on_signals(struct supervisor *v)
{
	struct signalfd_siginfo info;

	while (read(v->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		v->stopping = true;
		if (v->helper > 0)
			kill(v->helper, SIGTERM);
	}
}

/* Until UNTIL_USEC, UINT64_MAX: without an end; or until a signal or a word came. */
static void
wait_for_something(struct supervisor *v, uint64_t until_usec)
{
	struct pollfd p[] = {
		{.fd = v->signal_fd, .events = POLLIN},
		{.fd = v->notify_fd, .events = POLLIN},
	};
	uint64_t now = clock_usec(CLOCK_MONOTONIC);
	uint64_t left = until_usec > now ? until_usec - now : 0;

	poll(p, 2, until_usec == UINT64_MAX ? -1 : (int)((left + 999) / 1000));
	if (p[1].revents & POLLIN)
		pass_on(v);
	if (p[0].revents & POLLIN)
		on_signals(v);
}

/* Returns: its wait status. */
static int
wait_for_helper(struct supervisor *v)
{
	int status = W_EXITCODE(STATUS_FAILED, 0);
	pid_t pid;

	while ((pid = waitpid(v->helper, &status, WNOHANG)) == 0 || (pid < 0 && errno == EINTR))
		wait_for_something(v, UINT64_MAX);
	/* What it has said may be waiting still. */
	pass_on(v);
	v->helper = 0;
	return status;
}

static void
pause_before_next(struct supervisor *v, int status)
{
	uint64_t pause;

	fprintf(stderr, "capctl: %s: the helper was ended by signal %d, starting another\n", v->what->name,
		WTERMSIG(status));
	if (clock_usec(CLOCK_MONOTONIC) - v->started_usec >= GOOD_USEC)
		backoff_reset(&v->backoff);
	pause = v->started_usec + backoff_add(&v->backoff);
	while (!v->stopping && clock_usec(CLOCK_MONOTONIC) < pause)
		wait_for_something(v, pause);
}

static int
run(struct supervisor *v)
{
	int r = start(v, v->what->first);

	while (r == 0) {
		int status = wait_for_helper(v);

		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (!v->stopping)
			pause_before_next(v, status);
		if (v->stopping)
			return STATUS_SIGNAL + WTERMSIG(status);
		r = start(v, v->what->again);
	}
	return complain(-r, NULL, "serve");
}

int
supervise(const struct supervised *s, bool *ret_served)
{
	struct supervisor v;
	int r = supervisor_init(&v, s), status;

	status = r < 0 ? complain(-r, NULL, "serve") : run(&v);
	*ret_served = v.ready;
	supervisor_deinit(&v);
	return status;
}
