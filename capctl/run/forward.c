/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/forward.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "capctl/command.h"
#include "capctl/run/run.h"

#define CTL_USEC (UINT64_C(10) * 1000000)

static const int forwarded[] = {
	SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};

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

static int
write_command(struct forward *f, const char *command, char **ret_reason)
{
	cleanup_text struct text node = {};
	int r = 0;

	*ret_reason = NULL;
	text_addf(&node, "%s/ctl", f->node);
	if (text_done(&node) < 0)
		return -ENOMEM;
	if (!f->session)
		r = capc_session_open(f->root, CTL_USEC, &f->session);
	return r < 0 ? r : capc_write(f->session, node.data, command, ret_reason, CTL_USEC);
}

static bool
ends_us(int signal)
{
	return signal != SIGTSTP && signal != SIGCONT;
}

static void
pass_on(struct forward *f, int signal)
{
	cleanup_free char *reason = NULL;
	char buffer[24];
	int r = 0;

	if (f->restarts && ends_us(signal))
		r = write_command(f, "restart=no", &reason);
	if (r == 0) {
		free(reason);
		r = write_command(f, forward_command(signal, buffer), &reason);
	}
	/* Between two runs there is nobody to be told. */
	if (f->restarts && r == -EAGAIN)
		r = 0;
	if (r < 0 && r != -ENOENT && r != -ESRCH) {
		complain(r, reason, "signal %d", signal);
		f->session = capc_session_free(f->session);
		/* Else nobody could end this process either. */
		if (ends_us(signal))
			_exit(STATUS_SIGNAL + signal);
	}
	if (signal == SIGTSTP)
		kill(getpid(), SIGSTOP);
}

static void *
run(void *data)
{
	struct forward *f = data;
	struct pollfd p[] = {{.fd = f->end_fd, .events = POLLIN}, {.fd = f->signal_fd, .events = POLLIN}};
	struct signalfd_siginfo info;

	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents)
			return NULL;
		while (read(f->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			pass_on(f, (int)info.ssi_signo);
	}
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

int
forward_start(struct forward *f, const char *root, const char *node, bool restarts)
{
	int r;

	*f = (struct forward){.root = root, .node = node, .restarts = restarts, .signal_fd = -1, .end_fd = -1};
	sigemptyset(&f->signals);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		if (!is_ignored(forwarded[i]))
			sigaddset(&f->signals, forwarded[i]);
	r = pthread_sigmask(SIG_BLOCK, &f->signals, NULL);
	if (r != 0)
		return -r;
	f->signal_fd = signalfd(-1, &f->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	f->end_fd = eventfd(0, EFD_CLOEXEC);
	if (f->signal_fd < 0 || f->end_fd < 0)
		r = errno;
	if (r == 0)
		r = pthread_create(&f->thread, NULL, run, f);
	if (r != 0) {
		pthread_sigmask(SIG_UNBLOCK, &f->signals, NULL);
		fd_close(f->signal_fd);
		fd_close(f->end_fd);
	}
	if (r == 0 && kept)
		kill(getpid(), kept);
	return -r;
}

void
forward_end(struct forward *f)
{
	uint64_t one = 1;

	if (write(f->end_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(f->thread, NULL);
	capc_session_free(f->session);
	fd_close(f->signal_fd);
	fd_close(f->end_fd);
}
