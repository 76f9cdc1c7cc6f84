/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capfs-listen(8): gives a listener to a server that knows socket activation and nothing of us.
 *
 * The server is our child, not ourselves, since somebody has to keep the channel: when we end, so does
 * the listener. What it was told to do we pass on, and its end is ours.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/notify.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"
#include "helpers/sockets.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

#define STATUS_USAGE 2
#define STATUS_EXEC 127
#define LISTEN_FD 3 /* the first one, by sd_listen_fds(3) */
#define SOCKETS_AT_ONCE 1024 /* of the service manager's sockets */
#define END_USEC (UINT64_C(10) * 1000000)

struct server {
	struct loop loop;
	struct service service;
	struct sockets sockets;
	struct source signals;
	pid_t pid; /* 0: it has ended */
};

static const char usage[] =
	"usage: capfs-listen [--as=SLOT] [--backlog=N] [--fds] [--once] [--socket=stream|seqpacket] [--user=[USER][:GROUP,...]] "
	"[--wait=S] NAME -- COMMAND [ARGUMENT…]\n";

/* Returns: 0, -EINVAL, or 1 when there is nothing more to do. */
static int
parse(int argc, char **argv, struct service_options *o)
{
	static const struct option options[] = {
		{"fds", no_argument, NULL, 'f'},
		SERVICE_OPTIONS,
	};
	int c, e = 0;

	while (e == 0 && (c = getopt_long(argc, argv, "+", options, NULL)) != -1)
		e = service_option(c, "capfs-listen", usage, o);
	return e;
}

static int
set_environment(const char *name)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_PIDFDID");
	if (setenv("LISTEN_FDS", "1", 1) < 0 || setenv("LISTEN_PID", pid, 1) < 0 ||
		setenv("LISTEN_FDNAMES", name, 1) < 0)
		return -errno;
	return 0;
}

/* In the new process. Nothing but 0 to 2 and the listener goes on to the program. */
static _Noreturn void
execute(const char *name, char **command, int listener, int report_to, pid_t parent)
{
	cleanup_close int report = report_to;
	sigset_t none;
	int e;

	sigemptyset(&none);
	/* Out of the way of the listener's place. */
	if (report == LISTEN_FD)
		report = fcntl(report_to, F_DUPFD_CLOEXEC, LISTEN_FD + 1);
	signal(SIGPIPE, SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
		sigprocmask(SIG_SETMASK, &none, NULL) == 0 && set_environment(name) == 0 &&
		(listener == LISTEN_FD ? fd_set_cloexec(listener, false) == 0
				       : dup2(listener, LISTEN_FD) == LISTEN_FD) &&
		syscall(SYS_close_range, LISTEN_FD + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0)
		execvp(command[0], command);
	e = errno ? errno : ESRCH;
	if (write(report, &e, sizeof(e)) < 0)
		_exit(STATUS_EXEC);
	_exit(STATUS_EXEC);
}

/* Returns: 0 when the program runs; -errno, said. */
static int
start(struct server *s, char **command)
{
	cleanup_close int listener = take_fd(s->service.listener), report = -1, to = -1;
	pid_t parent = getpid();
	int fds[2], e = 0;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		message("pipe: %s", error_name(errno));
		return -EMFILE;
	}
	report = fds[0];
	to = fds[1];
	s->pid = fork();
	if (s->pid == 0)
		execute(s->service.name, command, listener, to, parent);
	if (s->pid < 0) {
		s->pid = 0;
		message("fork: %s", error_name(errno));
		return -EAGAIN;
	}
	to = fd_close(to);
	if (read(report, &e, sizeof(e)) != (ssize_t)sizeof(e))
		return 0;
	message("%s: %s: %s", command[0], error_name(e), strerror(e));
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
	return -e;
}

static void
reap(struct server *s)
{
	int status;

	if (s->pid == 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
		return;
	s->pid = 0;
	loop_end(&s->loop, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void
signals_run(struct source *source, uint32_t events)
{
	struct server *s = container_of(source, struct server, signals);
	struct signalfd_siginfo info;

	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(s);
		/* What a terminal sends it sends to the server as well. */
		else if (s->pid > 0 && info.ssi_code != SI_KERNEL)
			kill(s->pid, (int)info.ssi_signo);
	}
}

/* The entrypoint has ended under a server that still runs. */
static void
stop(struct server *s)
{
	uint64_t end = loop_clock_usec() + END_USEC;
	int status = s->loop.status;

	if (s->pid > 0)
		kill(s->pid, SIGTERM);
	while (s->pid > 0 && loop_clock_usec() < end &&
		loop_wait(&s->loop, end - loop_clock_usec()) == 0)
		reap(s);
	if (s->pid > 0 && kill(s->pid, SIGKILL) == 0)
		waitpid(s->pid, NULL, 0);
	s->loop.status = status;
}

static int
run(struct server *s, const struct service_options *o, char **command)
{
	static const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
	int e = loop_init(&s->loop);

	if (e < 0) {
		message("start: %s", error_name(e));
		return 1;
	}
	if (service_init(&s->service, &s->loop, o, NULL, NULL) < 0)
		return 1;
	s->signals.run = signals_run;
	e = loop_add_signals(&s->loop, &s->signals, signals, 4);
	if (e < 0) {
		message("signals: %s", error_name(e));
		return 1;
	}
	if (start(s, command) < 0)
		return STATUS_EXEC;
	service_ready(&s->service);
	e = sockets_start(&s->sockets, &s->service, o, SOCKETS_AT_ONCE);
	while (!s->loop.ended && e == 0) {
		e = loop_wait(&s->loop, sockets_timeout(&s->sockets));
		sockets_tend(&s->sockets);
	}
	if (e < 0) {
		message("epoll: %s", error_name(e));
		s->loop.status = 1;
	}
	notify("STOPPING=1");
	service_pause(&s->service);
	stop(s);
	return s->loop.status;
}

int
main(int argc, char **argv)
{
	struct service_options o = {.listen = true};
	struct server s = {.loop = LOOP_NONE, .service = {.listener = -1}};
	char **command;
	int status, e;

	e = parse(argc, argv, &o);
	if (e > 0)
		return 0;
	command = e == 0 ? service_command(argc, argv, &o) : NULL;
	if (!command) {
		fputs(usage, stderr);
		return STATUS_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (sockets_take(&s.sockets, o.seqpacket) < 0)
		return STATUS_USAGE;
	status = run(&s, &o, command);
	sockets_deinit(&s.sockets);
	service_deinit(&s.service);
	loop_deinit(&s.loop);
	return status;
}
