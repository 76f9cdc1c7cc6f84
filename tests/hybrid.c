/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	hybrid DIR self NAME END	registers itself, and ends
 *	hybrid DIR child NAME END	a child registers itself over a connection that its parent has made, and ends
 *	hybrid DIR threads N SLOT	N threads register themselves as t0, t1 …, and call SLOT
 *	hybrid DIR many N		registers itself N times
 *
 * A program that capfsd has not started, with a session at DIR. END is an exit status, or "SEGV". It says what it
 * has done, a line each, and goes on when it is given one.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcap-client/cap-client.h"

#define TIMEOUT 30000000
#define THREADS_MAX 16

static const char *directory, *slot;

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(": %s\n", strerror(-r));
	fflush(stdout);
	_exit(99);
}

static void
say(const char *what, long n)
{
	printf("%s %ld\n", what, n);
	fflush(stdout);
}

static void
go_on(void)
{
	char line[64];

	(void)!fgets(line, sizeof(line), stdin);
}

static capc_session *
open_session(void)
{
	capc_session *s;
	int r = capc_session_open(directory, TIMEOUT, &s);

	if (r < 0)
		fail(r, "open");
	return s;
}

static void
register_self(capc_session *s, const char *name)
{
	int r = capc_thread_register(s, name);

	if (r < 0)
		fail(r, "register");
}

static void __attribute__((noreturn))
end(const char *how)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	if (strcmp(how, "SEGV") == 0)
		raise(SIGSEGV);
	exit(atoi(how));
}

/* Nothing was said on it yet. */
static int
open_connection(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", directory);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail(-errno, "connect");
	return fd;
}

static void
be_child(const char *name, const char *how)
{
	int connection = open_connection(), status, r;
	pid_t pid = fork();
	capc_session *s;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = capc_session_from_fd(connection, &s);
		if (r < 0)
			fail(r, "session");
		register_self(s, name);
		say("child", getpid());
		go_on();
		end(how);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail(-errno, "fork");
	say("ended", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static pthread_barrier_t called, leave;

/* Each has a session of its own: one object is used by one thread at a time. */
static void *
be_thread(void *data)
{
	const char *name = data;
	char text[32];
	struct capc_msg request = {.data = text}, reply;
	capc_session *s = open_session();
	capc *c;
	int r;

	register_self(s, name);
	request.n_data = (size_t)snprintf(text, sizeof(text), "echo %s", name);
	r = capc_open(s, slot, TIMEOUT, &c);
	if (r == 0)
		r = capc_call(c, &request, &reply, TIMEOUT);
	if (r < 0)
		fail(r, "call");
	if (strcmp(reply.data, name) != 0)
		fail(-EBADMSG, "reply");
	capc_msg_done(&reply);
	capc_free(c);
	capc_session_free(s);
	pthread_barrier_wait(&called);
	pthread_barrier_wait(&leave);
	return NULL;
}

static void
have_threads(unsigned n)
{
	pthread_t threads[THREADS_MAX];
	char names[THREADS_MAX][16];

	pthread_barrier_init(&called, NULL, n + 1);
	pthread_barrier_init(&leave, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "t%u", i);
		if (pthread_create(&threads[i], NULL, be_thread, names[i]) != 0)
			fail(-EAGAIN, "thread");
	}
	pthread_barrier_wait(&called);
	say("called", getpid());
	go_on();
	pthread_barrier_wait(&leave);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	say("joined", n);
	go_on();
}

int
main(int argc, char *argv[])
{
	capc_session *s;

	if (argc < 4 || strlen(argv[3]) > 32)
		return 2;
	directory = argv[1];
	if (strcmp(argv[2], "self") == 0 && argc > 4) {
		s = open_session();
		register_self(s, argv[3]);
		capc_session_free(s);
		say("self", getpid());
		go_on();
		end(argv[4]);
	}
	if (strcmp(argv[2], "child") == 0 && argc > 4)
		be_child(argv[3], argv[4]);
	if (strcmp(argv[2], "threads") == 0 && argc > 4 && atoi(argv[3]) <= THREADS_MAX) {
		slot = argv[4];
		have_threads((unsigned)atoi(argv[3]));
	}
	if (strcmp(argv[2], "many") == 0) {
		s = open_session();
		for (int i = 0; i < atoi(argv[3]); i++)
			register_self(s, NULL);
		say("many", getpid());
		go_on();
	}
	return 0;
}
