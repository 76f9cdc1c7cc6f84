/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/forward.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/command.h"
#include "capctl/run/run.h"

struct forward {
	capc_session *session;
	capc_thread *thread;
	bool restarts;
	int fd; /* the signals */
};

static const int forwarded[] = {
	SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT};

const char *
forward_command(int signal, char buffer[24])
{
	if (signal == SIGTSTP)
		return "pause";
	if (signal == SIGCONT)
		return "resume";
	snprintf(buffer, 24, "signal=%d", signal);
	return buffer;
}

static bool
ends_us(int signal)
{
	return signal != SIGTSTP && signal != SIGCONT && signal != SIGWINCH;
}

static void
pass_on(const struct forward *f, int signal)
{
	cleanup_free char *reason = NULL;
	char buffer[24];
	int r = 0;

	if (f->restarts && ends_us(signal))
		r = capc_thread_ctl(f->thread, "restart=no", &reason);
	if (r == 0) {
		free(reason);
		r = capc_thread_ctl(f->thread, forward_command(signal, buffer), &reason);
	}
	/* Between two runs there is nobody to be told. */
	if (f->restarts && r == -EAGAIN)
		r = 0;
	if (r < 0 && r != -ENOENT && r != -ESRCH) {
		complain(r, reason, "signal %d", signal);
		/* Else nobody could end this process either. Where it is so for a moment, the next one may. */
		if (ends_us(signal) && r != -EAGAIN)
			_exit(STATUS_SIGNAL + signal);
	}
	if (signal == SIGTSTP)
		kill(getpid(), SIGSTOP);
}

/* nohup(1), and a shell for what runs in the background, have their reasons. */
static bool
is_ignored(int signal)
{
	struct sigaction a;

	return sigaction(signal, NULL, &a) == 0 && a.sa_handler == SIG_IGN;
}

static volatile sig_atomic_t kept; /* a handler has no other place */

static void
keep(int signal)
{
	kept = signal;
}

void
forward_keep(void)
{
	/* Without SA_RESTART. */
	const struct sigaction a = {.sa_handler = keep};

	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		if (ends_us(forwarded[i]) && !is_ignored(forwarded[i]))
			sigaction(forwarded[i], &a, NULL);
}

int
forward_kept(void)
{
	return kept;
}

/* Returns: a descriptor from which the signals are read, or -errno. */
static int
take_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		if (!is_ignored(forwarded[i]))
			sigaddset(&signals, forwarded[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (kept)
		kill(getpid(), kept);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* One signal, or news of the program: what was asked of it comes before the next signal, as each may be its last. */
static int
wait_once(const struct forward *f, struct capc_exit *ret)
{
	struct signalfd_siginfo info;
	int r = capc_thread_poll(f->thread, ret);
	struct pollfd p[] = {
		{.fd = capc_session_fd(f->session), .events = POLLIN},
		{.fd = f->fd, .events = POLLIN},
	};

	if (r != -EAGAIN)
		return r;
	if (poll(p, 2, -1) < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (read(f->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		pass_on(f, (int)info.ssi_signo);
	return -EAGAIN;
}

int
forward_wait(capc_session *s, capc_thread *t, bool restarts, struct capc_exit *ret)
{
	cleanup_close int fd = take_signals();
	const struct forward f = {.session = s, .thread = t, .restarts = restarts, .fd = fd};
	int r = -EAGAIN;

	while (r == -EAGAIN)
		r = wait_once(&f, ret);
	return r;
}
