/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	spawn-storm ROOT KEEPER PROGRAM KILLS SECONDS SESSION…
 *
 * CLIENTS clients, each a process, start PROGRAM (tests/spawned, at a path of its own) in sessions
 *below ROOT, and check how it ends; each one that ran has left its token in a file. Meanwhile KILLS
 *of the processes that take part are killed at random times: see weights[]. What a client is told
 *may be an error only if something was killed, after it had asked, that this error is about:
 *
 *	told				killed
 *	the connection has ended	the holder
 *	it was not started: ECONNRESET	the holder, the init of the session, a program of it, the
 *spawner or its child
 *	killed by signal 9		the holder, the init of the session, a program of it
 *	failed: ECONNRESET		likewise
 *	nothing				this client
 *
 * so a dead broker is no reason for any. Prints what happened; its status is 0 when each request
 *has had one answer, no other than these, when each program whose status was told has run once, and
 *none ran of which it was said that it was not started.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "libcap-client/cap-client.h"
#include "tests/storm-victims.h"

#define CLIENTS 6
#define SESSIONS_MAX 3
#define REQUESTS_MAX 200000 /* of a client */
#define ANSWER_USEC UINT64_C(60000000)
#define PAUSE_USEC_MAX 120000
#define COME_MSEC_MAX 30000 /* within which one that was killed is there again */
#define DOORMAN_MSEC_MAX 200
#define FAILURES_SHOWN 8

enum outcome {
	OUTCOME_NONE,
	OUTCOME_ASKED,
	OUTCOME_RAN,	/* and it was told how it ended */
	OUTCOME_KILLED, /* after it was said to run */
	OUTCOME_NOT_STARTED,
	OUTCOME_LOST, /* it was started, and the connection ended before it did */
	OUTCOME_N,
};

struct client {
	uint32_t n; /* of requests */
	uint32_t n_killed;
	uint8_t outcomes[REQUESTS_MAX];
	uint8_t seen[REQUESTS_MAX]; /* how often the program has run */
};

struct shared {
	volatile bool stop;
	/* Counted before a kill, and again when that one is gone. */
	uint32_t begun[VICTIM_N][SESSIONS_MAX], gone[VICTIM_N][SESSIONS_MAX];
	uint32_t failures;
	char shown[FAILURES_SHOWN][240];
	struct client clients[CLIENTS];
};

static struct shared *shared;
static struct victims victims;
static const char *root;
static int log_fd;

static void
die(const char *what)
{
	fprintf(stderr, "spawn-storm: %s: %s\n", what, error_name(errno));
	exit(2);
}

static int64_t
now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- a client
 * -------------------------------------------------------------------------------------- */

struct request {
	unsigned client, session;
	uint32_t number;
	int status;		 /* it is to end with */
	bool is_killed;		 /* by its client */
	uint32_t gone[VICTIM_N]; /* when it was begun; of the holder, when its connection was */
};

/* Has any of these died, entirely or in part, since R was begun? */
static bool
was_killed(const struct request *r, unsigned what)
{
	for (int i = 0; i < VICTIM_N; i++)
		if (what & 1U << i && __atomic_load_n(&shared->begun[i][r->session],
					      __ATOMIC_SEQ_CST) != r->gone[i])
			return true;
	return false;
}

#define THE_HOLDER (1U << VICTIM_HOLDER)
#define IT (THE_HOLDER | 1U << VICTIM_INIT | 1U << VICTIM_PROGRAM)
#define ITS_START (IT | 1U << VICTIM_SPAWNER | 1U << VICTIM_DOORMAN)

static void
wrong(const struct request *r, const char *what, int error, const char *reason)
{
	uint32_t n = __atomic_fetch_add(&shared->failures, 1, __ATOMIC_SEQ_CST);

	if (n < FAILURES_SHOWN)
		snprintf(shared->shown[n], sizeof(shared->shown[n]),
			"%" PRId64 " client %u request %u session %s: %s: %s (%s)", now_msec(),
			r->client, r->number, victims.sessions[r->session], what,
			error < 0   ? error_name(-error)
			: error > 0 ? error_name(error)
				    : "-",
			reason ? reason : "");
}

static bool
is_end_of_connection(int r)
{
	return r == -ECONNRESET || r == -ENOTCONN;
}

/* Once nobody answers it is opened anew, for as long as another daemon may need. */
static struct capc_session *
open_session(void)
{
	int64_t end = now_msec() + COME_MSEC_MAX;
	struct capc_session *s;

	while (capc_session_open(root, ANSWER_USEC, &s) < 0) {
		if (now_msec() > end)
			return NULL;
		usleep(1000);
	}
	capc_session_set_timeout(s, ANSWER_USEC);
	return s;
}

static enum outcome
judge_start(struct request *r, int error, const char *reason)
{
	bool about_start = reason && strncmp(reason, "step ", 5) == 0;

	if (error == -ECONNRESET && about_start
			? !was_killed(r, ITS_START)
			: !is_end_of_connection(error) || !was_killed(r, THE_HOLDER))
		wrong(r, "not started", error, reason);
	return OUTCOME_NOT_STARTED;
}

static enum outcome
judge_end(struct request *r, int error, const struct capc_exit *end)
{
	if (error < 0) {
		if (!is_end_of_connection(error) || !was_killed(r, THE_HOLDER))
			wrong(r, "no end", error, NULL);
		return OUTCOME_LOST;
	}
	if (end->error) {
		if (end->error != ECONNRESET || !was_killed(r, IT))
			wrong(r, "failed", end->error, end->step);
		return OUTCOME_KILLED;
	}
	if (WIFEXITED(end->status) && WEXITSTATUS(end->status) == r->status && !r->is_killed)
		return OUTCOME_RAN;
	if (!WIFSIGNALED(end->status) || WTERMSIG(end->status) != SIGKILL ||
		!(r->is_killed || was_killed(r, IT)))
		wrong(r, "ended otherwise", end->status, "status");
	return OUTCOME_KILLED;
}

/*
 * Kills it. One that has gone, with its daemon or its init, cannot be; or because a broker that
 * died before it has said so had killed it.
 */
static void
kill_it(struct request *r, struct capc_thread *t)
{
	int error = capc_thread_ctl(t, "kill", NULL);

	if (error < 0 && !was_killed(r, IT) &&
		!((error == -ESRCH || error == -ENOENT) && was_killed(r, 1U << VICTIM_BROKER)))
		wrong(r, "kill", error, NULL);
}

/* Returns: false when the connection has ended. */
static bool
request(struct capc_session *s, unsigned number, uint32_t holders)
{
	struct client *c = &shared->clients[number];
	struct request r = {
		.client = number,
		.session = number % (unsigned)victims.n_sessions,
		.number = c->n,
		.status = (int)(random() % 100),
		.is_killed = random() % 16 == 0,
	};
	char token[32], status[16];
	char mark[] = "mark", sec[] = "1000";
	char *argv[] = {(char *)(uintptr_t)victims.program, mark, token, status,
		r.is_killed ? sec : NULL, NULL};
	const int fds[1] = {log_fd};
	const struct capc_spawn p = {
		.size = sizeof(p),
		.session = victims.sessions[r.session],
		.argv = argv,
		.fds = fds,
		.n_fds = 1,
		.flags = random() % 4 == 0 ? CAPC_SPAWN_DIE_WITH : 0,
	};
	struct capc_exit end;
	struct capc_thread *t;
	char *reason;
	int e;

	snprintf(token, sizeof(token), "%" PRIu64, (uint64_t)number << 32 | r.number);
	snprintf(status, sizeof(status), "%d", r.status);
	for (int i = 0; i < VICTIM_N; i++)
		r.gone[i] = __atomic_load_n(&shared->gone[i][r.session], __ATOMIC_SEQ_CST);
	r.gone[VICTIM_HOLDER] = holders;
	c->outcomes[r.number] = OUTCOME_ASKED;
	__atomic_store_n(&c->n, r.number + 1, __ATOMIC_SEQ_CST);
	e = capc_spawn(s, &p, ANSWER_USEC, &t, &reason);
	if (e < 0) {
		c->outcomes[r.number] = judge_start(&r, e, reason);
		e = reason && strncmp(reason, "step ", 5) == 0 ? 0 : e;
		free(reason);
		return e == 0;
	}
	if (r.is_killed)
		kill_it(&r, t);
	e = capc_thread_wait(t, ANSWER_USEC, &end);
	c->outcomes[r.number] = judge_end(&r, e, &end);
	capc_thread_free(t);
	return e == 0;
}

static void __attribute__((noreturn)) be_client(unsigned number)
{
	struct capc_session *s = NULL;

	uint32_t holders = 0;

	srandom((unsigned)getpid());
	while (!shared->stop && shared->clients[number].n < REQUESTS_MAX) {
		if (!s) {
			holders =
				__atomic_load_n(&shared->gone[VICTIM_HOLDER][0], __ATOMIC_SEQ_CST);
			s = open_session();
		}
		if (!s) {
			wrong(&(struct request){.client = number}, "no daemon", 0, NULL);
			break;
		}
		if (!request(s, number, holders))
			s = capc_session_free(s);
	}
	capc_session_free(s);
	_exit(0);
}

static pid_t
start_client(unsigned number)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			be_client(number);
		_exit(1);
	}
	return pid;
}

/* --- kills
 * ----------------------------------------------------------------------------------------- */

static pid_t pids[CLIENTS];

static void
count(uint32_t counts[VICTIM_N][SESSIONS_MAX], enum victim what, unsigned session)
{
	bool of_all = what != VICTIM_INIT && what != VICTIM_PROGRAM;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (of_all || i == session)
			__atomic_fetch_add(&counts[what][i], 1, __ATOMIC_SEQ_CST);
}

/* In N of all that are killed. */
static const struct {
	enum victim what;
	long n;
} weights[] = {
	{VICTIM_BROKER, 28},
	{VICTIM_SPAWNER, 12},
	{VICTIM_DOORMAN, 8},
	{VICTIM_INIT, 20},
	{VICTIM_PROGRAM, 20},
	{VICTIM_CLIENT, 10},
	{VICTIM_HOLDER, 2},
};

static enum victim
choose(void)
{
	long n = random() % 100;
	size_t i = 0;

	while (n >= weights[i].n)
		n -= weights[i++].n;
	return weights[i].what;
}

static pid_t
find(enum victim what, unsigned *session)
{
	unsigned long long token = 0;
	pid_t pid = 0;

	*session = (unsigned)random() % (unsigned)victims.n_sessions;
	switch (what) {
	case VICTIM_BROKER:
		return victim_broker(&victims);
	case VICTIM_HOLDER:
		return victim_holder(&victims);
	case VICTIM_SPAWNER:
		return victim_spawner(&victims);
	case VICTIM_DOORMAN:
		return victim_doorman(&victims);
	case VICTIM_INIT:
		return victim_init(&victims, *session);
	case VICTIM_PROGRAM:
		/* The rarer one first. */
		for (int i = 0; i < 8 && !pid; i++)
			pid = victim_half_started(&victims, *session);
		if (pid)
			return pid;
		pid = victim_program(&victims, &token);
		*session = (unsigned)(token >> 32) % (unsigned)victims.n_sessions;
		return pid;
	default:
		return 0;
	}
}

static void
kill_client(void)
{
	unsigned number = (unsigned)random() % CLIENTS;

	shared->clients[number].n_killed++;
	kill(pids[number], SIGKILL);
	waitpid(pids[number], NULL, 0);
	pids[number] = start_client(number);
}

/* Of a kind of which one comes sooner or later. Returns: true when one was killed. */
static bool
kill_one(enum victim what)
{
	int64_t end = now_msec() + (what == VICTIM_DOORMAN ? DOORMAN_MSEC_MAX : COME_MSEC_MAX);
	unsigned session;
	bool killed;
	pid_t pid;

	if (what == VICTIM_CLIENT) {
		kill_client();
		return true;
	}
	/* There is one for a moment, when an init is made; a user's daemon has none. */
	if (what == VICTIM_DOORMAN)
		(void)kill_one(VICTIM_INIT);
	while (!(pid = find(what, &session)))
		/* It comes when an init is to be made. */
		if (what == VICTIM_SPAWNER || now_msec() > end)
			return false;
	count(shared->begun, what, session);
	killed = victim_kill(&victims, pid, what);
	count(shared->gone, what, session);
	if (killed && getenv("SPAWN_STORM_TALKS"))
		printf("%" PRId64 " killed %d of %u: %d\n", now_msec(), (int)what, session,
			(int)pid);
	return killed;
}

static uint64_t
count_requests(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < CLIENTS; i++)
		n += __atomic_load_n(&shared->clients[i].n, __ATOMIC_SEQ_CST);
	return n;
}

/* Until each client has asked for something more. Returns: how many have not. */
static int
wait_for_progress(void)
{
	int64_t end = now_msec() + 3 * COME_MSEC_MAX;
	uint32_t before[CLIENTS];
	int still = 0;

	for (unsigned i = 0; i < CLIENTS; i++)
		before[i] = shared->clients[i].n;
	for (unsigned i = 0; i < CLIENTS; i++) {
		while (__atomic_load_n(&shared->clients[i].n, __ATOMIC_SEQ_CST) == before[i] &&
			before[i] < REQUESTS_MAX && now_msec() < end)
			usleep(1000);
		if (shared->clients[i].n == before[i] && before[i] < REQUESTS_MAX) {
			printf("client %u stands still at request %u\n", i, before[i]);
			still++;
		}
	}
	return still;
}

static unsigned
kill_all(unsigned n, int *still)
{
	unsigned killed = 0, of[VICTIM_N] = {};

	for (unsigned tries = 0; killed < n && tries < 20 * n && *still == 0; tries++) {
		enum victim what = choose();

		usleep((useconds_t)(random() % PAUSE_USEC_MAX));
		if (tries % 8 == 7)
			*still = wait_for_progress();
		if (!kill_one(what))
			continue;
		of[what]++;
		killed++;
	}
	printf("killed %u: brokers %u, holders %u, spawners %u, doormen %u, inits %u, programs %u, "
	       "clients %u\n",
		killed, of[VICTIM_BROKER], of[VICTIM_HOLDER], of[VICTIM_SPAWNER],
		of[VICTIM_DOORMAN], of[VICTIM_INIT], of[VICTIM_PROGRAM], of[VICTIM_CLIENT]);
	return killed;
}

/* --- the end
 * --------------------------------------------------------------------------------------- */

static int
stop_clients(void)
{
	int64_t end = now_msec() + 2 * (int64_t)(ANSWER_USEC / 1000);
	int still = 0;

	shared->stop = true;
	for (unsigned i = 0; i < CLIENTS; i++) {
		int status = 0;

		while (waitpid(pids[i], &status, WNOHANG) == 0 && now_msec() < end)
			usleep(10000);
		if (now_msec() >= end) {
			printf("client %u does not end, at request %u\n", i, shared->clients[i].n);
			kill(pids[i], SIGKILL);
			still++;
		} else if (status) {
			printf("client %u ended with status %d\n", i, status);
			still++;
		}
	}
	return still;
}

static void
read_tokens(void)
{
	uint64_t token;

	for (off_t at = 0; pread(log_fd, &token, sizeof(token), at) == sizeof(token);
		at += (off_t)sizeof(token)) {
		uint64_t client = token >> 32, number = token & UINT32_MAX;

		if (client < CLIENTS && number < shared->clients[client].n)
			shared->clients[client].seen[number]++;
		else
			printf("a program has run that nobody has asked for: %" PRIx64 "\n", token);
	}
}

static int
report(void)
{
	static const char *const words[OUTCOME_N] = {
		"", "without an answer", "ran", "killed", "not started", "without an end"};
	uint32_t n[OUTCOME_N] = {}, twice = 0, missing = 0, hidden = 0, unanswered = 0;

	read_tokens();
	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct client *c = &shared->clients[i];
		uint32_t asked = 0;

		for (uint32_t k = 0; k < c->n; k++) {
			n[c->outcomes[k]]++;
			asked += c->outcomes[k] == OUTCOME_ASKED;
			twice += c->seen[k] > 1;
			missing += c->seen[k] == 0 && c->outcomes[k] == OUTCOME_RAN;
			hidden += c->seen[k] > 0 && c->outcomes[k] == OUTCOME_NOT_STARTED;
		}
		unanswered += asked > c->n_killed ? asked - c->n_killed : 0;
	}
	printf("requests %" PRIu64 ":", count_requests());
	for (int i = OUTCOME_ASKED; i < OUTCOME_N; i++)
		printf(" %s %u%s", words[i], n[i], i + 1 < OUTCOME_N ? "," : "\n");
	printf("wrong answers %u, none %u, ran twice %u, said to have run and did not %u, said not "
	       "to and did %u\n",
		shared->failures, unanswered, twice, missing, hidden);
	for (uint32_t i = 0; i < shared->failures && i < FAILURES_SHOWN; i++)
		printf("%s\n", shared->shown[i]);
	return shared->failures || unanswered || twice || missing || hidden ||
	       n[OUTCOME_RAN] < CLIENTS;
}

int
main(int argc, char **argv)
{
	char path[] = "/tmp/spawn-storm.XXXXXX";
	int64_t until;
	int bad = 0;
	unsigned n;

	if (argc < 7 || argc > 6 + SESSIONS_MAX) {
		fprintf(stderr,
			"usage: spawn-storm ROOT KEEPER PROGRAM KILLS SECONDS SESSION...\n");
		return 2;
	}
	root = argv[1];
	victims = (struct victims){
		.keeper = (pid_t)atoi(argv[2]), .program = argv[3], .sessions = argv + 6};
	victims.n_sessions = (size_t)argc - 6;
	n = (unsigned)atoi(argv[4]);
	log_fd = mkostemp(path, O_APPEND | O_CLOEXEC);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (log_fd < 0 || unlink(path) < 0 || shared == MAP_FAILED)
		die("begin");
	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom((unsigned)getpid());
	for (unsigned i = 0; i < CLIENTS; i++)
		pids[i] = start_client(i);
	until = now_msec() + atoi(argv[5]) * 1000;
	bad += kill_all(n, &bad) < n;
	while (now_msec() < until)
		usleep(10000);
	bad += wait_for_progress();
	bad += stop_clients();
	return report() || bad;
}
