/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * It is the first process of a confined session's namespaces, so that its end is that of all; of a bare
 * session it is the parent of whoever has lost his own, and ends only when it has no child left. What a
 * program's end was is kept until the broker knows it for good.
 */
#include "config.h"

#include "spawner/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"
#include "spawner/birth.h"
#include "spawner/channel.h"
#include "spawner/hello.h"
#include "spawner/opener/openers.h"
#include "spawner/self.h"
#include "spawner/inits.h"
#include "spawner/program.h"
#include "spawner/threads.h"

#define IDLE_MSEC 5000 /* for the next program of the session to find it */
#define RECORDS_A_TURN 64
#define END_MSEC 500 /* for its children to end one by one, and be told of */
#define ORPHANS_UNSENT_MAX 64 /* told for information: behind so many they are left out */

struct init {
	struct birthplace *place;
	struct process_plan plan;
	uint64_t session;
	struct channel channel;
	struct programs programs;
	struct threads threads;
	struct inits inits;
	struct openers openers;
	int signal_fd;
	int kill_fd, events_fd; /* of its leaf of control groups, if it is not confined; -1: there is none */
	bool has_children, ends;
	uint64_t kills_at_msec; /* 0: not yet */
	uint64_t idle_since_msec; /* 0: it is not idle */
};

/* --- programs -------------------------------------------------------------------------------------- */

static void
tell(struct init *i, struct thread *t, enum process_type type)
{
	struct process_record r;

	thread_describe(t, type, &r);
	channel_send(&i->channel, &r, NULL, 0);
}

static void
fail(struct init *i, struct thread *t, int step, int error)
{
	t->phase = PHASE_FAILED;
	t->program.step = step;
	t->program.error = error;
	tell(i, t, PROCESS_FAILED);
}

static void
set_flags(struct thread *t, uint32_t flags)
{
	t->program.is_kept = flags & START_KEEP;
	t->program.is_later = t->program.is_kept && flags & START_LATER;
}

static void
send_pair(struct init *i, uint64_t id, int *client)
{
	const struct process_record r = {
		.type = PROCESS_LAUNCH, .thread = id, .session = i->session, .version = PROCESS_VERSION};

	channel_send(&i->channel, &r, client, *client >= 0);
	*client = -1;
}

/* The client has its end of a spare pair by now, and hears of it there as well. */
static void
fail_start(struct init *i, struct thread *t, int launch, int error)
{
	const struct process_answer answer = {
		.step = error == -ECONNRESET ? STEP_HELLO : STEP_FORK, .error = -error};

	if (launch >= 0)
		(void)msg_send(launch, &answer, sizeof(answer), NULL, 0, MSG_DONTWAIT);
	program_leave_pair(launch);
	fail(i, t, answer.step, answer.error);
}

static void
start(struct init *i, uint64_t id, uint32_t flags)
{
	struct thread *t = threads_find(&i->threads, id);
	cleanup_close int launch = -1, client = -1;
	struct process_record r;
	int error;

	if (t) {
		tell(i, t, PROCESS_STATE);
		return;
	}
	t = threads_add(&i->threads, id, i->session);
	if (!t) {
		r = (struct process_record){.type = PROCESS_FAILED,
			.thread = id,
			.session = i->session,
			.step = STEP_FORK,
			.error = ENOMEM};
		channel_send(&i->channel, &r, NULL, 0);
		return;
	}
	set_flags(t, flags);
	error = program_take_pair(&i->programs, flags & START_SPARE, &launch, &client);
	if (error == 0)
		error = program_start(&i->programs, &t->program, launch, NULL);
	if (error < 0) {
		fail_start(i, t, take_fd(launch), error);
		return;
	}
	threads_started(&i->threads, t);
	if (client >= 0)
		send_pair(i, id, &client);
	client = flags & START_WANT_SPARE ? program_make_spare(&i->programs) : -1;
	if (client >= 0)
		send_pair(i, 0, &client);
}

static void
start_first(struct init *i, const struct birth *b, const struct process_hello *hello)
{
	struct thread *t = threads_add(&i->threads, b->thread, i->session);
	int r = -ENOMEM;

	if (t) {
		set_flags(t, b->flags);
		r = program_start(&i->programs, &t->program, b->launch, hello);
	}
	if (r < 0)
		birth_fail(b, STEP_FORK, -r);
	threads_started(&i->threads, t);
	close(b->launch);
}

/* What was asked for before is not done twice. */
static void
start_again(struct init *i, uint64_t id, uint64_t run)
{
	struct thread *t = threads_find(&i->threads, id);
	int r;

	if (t)
		threads_look(&i->threads, t);
	if (!t || t->is_over || run != (uint64_t)t->program.run + 1 || t->phase == PHASE_STARTING)
		return;
	t->phase = PHASE_STARTING;
	r = program_again(&t->program);
	if (r < 0)
		fail(i, t, STEP_FORK, -r);
}

static void
reaped(struct init *i, pid_t pid, int status, const struct rusage *usage)
{
	struct thread *t = threads_find_pid(&i->threads, pid);
	const struct process_record orphan = {
		.type = PROCESS_ORPHAN,
		.session = i->session,
		.status = status,
		.pid = (uint32_t)pid,
		.version = PROCESS_VERSION,
	};

	if (t) {
		if (threads_ended(&i->threads, t, status, usage))
			tell(i, t, t->phase == PHASE_EXITED ? PROCESS_EXITED : PROCESS_FAILED);
	} else if ((t = threads_find_starter(&i->threads, pid))) {
		if (threads_starter_ended(&i->threads, t, status))
			tell(i, t, PROCESS_FAILED);
	} else if (!inits_reaped(&i->inits, pid, status) && !openers_reaped(&i->openers, pid, status) &&
		   i->channel.n_unsent < ORPHANS_UNSENT_MAX) {
		channel_send(&i->channel, &orphan, NULL, 0);
	}
}

static void
reap(struct init *i)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	while (read(i->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM)
			i->ends = true;
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		reaped(i, pid, status, &usage);
	i->has_children = pid == 0;
}

/* --- signals --------------------------------------------------------------------------------------- */

static void
kill_child(void *context, pid_t pid)
{
	(void)context;
	kill(pid, SIGKILL);
}

struct to_signal {
	struct init *init;
	int signal;
};

/* A program leads a group; an orphan may be in any, so that it alone is meant. */
static void
signal_child(void *context, pid_t pid)
{
	const struct to_signal *s = context;

	if (threads_find_pid(&s->init->threads, pid) && kill(-pid, s->signal) == 0)
		return;
	if (!inits_have(&s->init->inits, pid) && !openers_have(&s->init->openers, pid))
		kill(pid, s->signal);
}

/* In a pid namespace of our own the kernel does it for all at once, but for ourselves. */
static void
signal_all(struct init *i, int signal)
{
	struct to_signal s = {i, signal};

	if (i->place->confined)
		kill(-1, signal);
	else
		self_for_each_child(i->place->proc_fd, signal_child, &s);
}

static void
signal_thread(struct init *i, uint64_t id, int signal, bool group)
{
	struct thread *t = threads_find(&i->threads, id);

	if (!t)
		return;
	threads_look(&i->threads, t);
	/* Who has given up a start has given up all of it. */
	if (t->program.pid <= 0 && t->program.starter > 0 && t->program.run == 0 && t->phase == PHASE_STARTING) {
		t->is_killed = signal == SIGKILL;
		kill(t->program.starter, signal);
	}
	if (t->program.pid <= 0)
		return;
	/* It leads no group before it has got as far as that. */
	if (!group || kill(-t->program.pid, signal) < 0)
		kill(t->program.pid, signal);
}

static void
send_signal(struct init *i, const struct process_record *r, int signal, bool group)
{
	if (signal < 1 || signal >= NSIG)
		return;
	if (r->thread == 0)
		signal_all(i, signal);
	else
		signal_thread(i, r->thread, signal, group);
}

static void
set_affinity(struct init *i, const struct process_record *r)
{
	struct thread *t = threads_find(&i->threads, r->thread);
	uint64_t mask[16] = {r->cookie};

	if (t)
		threads_look(&i->threads, t);
	if (t && t->program.pid > 0)
		syscall(SYS_sched_setaffinity, t->program.pid, sizeof(mask), mask);
}

/* --- the end --------------------------------------------------------------------------------------- */

/*
 * Again at each turn, since whoever is killed leaves children, who are ours then. Where the kernel does not
 * list them, those go that we know. Who forks faster than that, or is somebody else by now, is ended by the kernel,
 * which ends all in the leaf at once, this process as well: until nobody is left there the broker waits.
 */
static void
end_children(struct init *i)
{
	uint64_t now = clock_msec(CLOCK_MONOTONIC);

	if (i->kills_at_msec == 0)
		i->kills_at_msec = now + END_MSEC;
	if (i->kill_fd >= 0 && now >= i->kills_at_msec) {
		(void)!write(i->kill_fd, "1", 1);
		i->kill_fd = fd_close(i->kill_fd);
	}
	if (self_for_each_child(i->place->proc_fd, kill_child, NULL) < 0)
		threads_kill(&i->threads);
}

static void
end_if_done(struct init *i)
{
	if (!i->ends)
		return;
	if (i->place->confined || !i->has_children)
		_exit(EXIT_SUCCESS);
	end_children(i);
}

/* 0: never, or it is done. */
static uint64_t
kill_due_msec(const struct init *i)
{
	return i->kill_fd >= 0 ? i->kills_at_msec : 0;
}

static uint64_t
lives_until_msec(struct init *i)
{
	uint64_t now = clock_msec(CLOCK_MONOTONIC);

	if (i->has_children || i->threads.n > 0 || i->channel.n_unsent > 0) {
		i->idle_since_msec = 0;
		return UINT64_MAX;
	}
	if (i->idle_since_msec == 0)
		i->idle_since_msec = now;
	return i->idle_since_msec + IDLE_MSEC;
}

/* --- the broker ------------------------------------------------------------------------------------ */

/* With a descriptor that tells its end, and one that tells the end of all that it has, who may outlive it. */
static void
introduce(struct init *i)
{
	const struct process_record r = {
		.type = PROCESS_INITED,
		.session = i->session,
		.pid = (uint32_t)getpid(),
		.version = PROCESS_VERSION,
	};
	int fds[2] = {(int)syscall(SYS_pidfd_open, getpid(), 0), -1};

	if (fds[0] >= 0 && i->events_fd >= 0)
		fds[1] = fcntl(i->events_fd, F_DUPFD_CLOEXEC, 3);
	channel_send(&i->channel, &r, fds, (size_t)(fds[0] >= 0) + (size_t)(fds[1] >= 0));
}

static void
sync_all(struct init *i, uint64_t serial)
{
	/* Whoever asks may have lost the descriptors with a broker. */
	if (i->events_fd >= 0)
		introduce(i);
	list_for_each(link, &i->threads.list) {
		struct thread *t = list_entry(link, struct thread, link);

		threads_look(&i->threads, t);
		if (!t->is_over)
			tell(i, t, PROCESS_STATE);
	}
	inits_tell(&i->inits, &i->channel, serial);
}

static void
acknowledge(struct init *i, uint64_t id)
{
	struct thread *t = threads_find(&i->threads, id);

	if (t)
		threads_acknowledge(&i->threads, t);
}

static void
handle(struct init *i, const struct channel_packet *p)
{
	const struct process_record *r = &p->record;

	switch (r->type) {
	case PROCESS_START:
		if (p->n_rest > 0)
			inits_start(&i->inits, i->place, &i->channel, r, p->rest, p->n_rest);
		else if (r->thread != 0)
			start(i, r->thread, r->flags);
		break;
	case PROCESS_AGAIN:
		start_again(i, r->thread, r->cookie);
		break;
	case PROCESS_KILL:
		send_signal(i, r, r->signal, false);
		break;
	case PROCESS_PAUSE:
		send_signal(i, r, SIGSTOP, true);
		break;
	case PROCESS_RESUME:
		send_signal(i, r, SIGCONT, true);
		break;
	case PROCESS_AFFINITY:
		set_affinity(i, r);
		break;
	case PROCESS_ACK:
		acknowledge(i, r->thread);
		break;
	case PROCESS_SYNC:
		sync_all(i, r->serial);
		break;
	case PROCESS_END:
		if (r->session == 0 || r->session == i->session)
			i->ends = true;
		else
			inits_end(&i->inits, &i->channel, r->session);
		break;
	default:
		break;
	}
}

/* The end of the channel is that of the session: nobody could ever ask for any of it again. */
static void
receive(struct init *i)
{
	static struct channel_packet packet;

	for (int n = 0; n < RECORDS_A_TURN && i->channel.n_unsent == 0 && !i->ends; n++) {
		int r = channel_receive(&i->channel, &packet);

		if (r == CHANNEL_E_EMPTY)
			return;
		if (r == 0)
			handle(i, &packet);
		if (r < 0) {
			i->ends = true;
			channel_deinit(&i->channel);
		}
	}
}

/*
 * Somebody may be given the other end just now, and would find nobody. So the broker, behind all that it has asked
 * for, closes that, and then we may go. Returns: is there one?
 */
static bool
recall_spare(struct init *i)
{
	if (i->programs.spare >= 0 && !i->programs.is_recalled)
		send_pair(i, 0, &(int){-1});
	i->programs.is_recalled = i->programs.spare >= 0;
	return i->programs.is_recalled;
}

static void __attribute__((noreturn))
serve(struct init *i)
{
	for (;;) {
		uint64_t end = lives_until_msec(i), due[] = {openers_due_msec(&i->openers), kill_due_msec(i)};
		bool over = end <= clock_msec(CLOCK_MONOTONIC) && !recall_spare(i);
		struct pollfd p[] = {
			{.fd = i->channel.fd, .events = channel_events(&i->channel)},
			{.fd = i->signal_fd, .events = POLLIN},
			{.fd = i->openers.fd, .events = POLLIN},
			{.fd = i->programs.is_recalled ? i->programs.spare : -1},
		};

		if (over)
			_exit(EXIT_SUCCESS);
		poll(p, 4, clock_until(due, 2, i->programs.is_recalled ? UINT64_MAX : end));
		channel_flush(&i->channel);
		receive(i);
		/* Whoever was given it has been asked for before its end could come. */
		if (p[3].revents && i->programs.is_recalled)
			program_drop_spare(&i->programs);
		openers_receive(&i->openers);
		reap(i);
		end_if_done(i);
		if (!i->ends)
			openers_renew(&i->openers);
	}
}

/* --- the begin ------------------------------------------------------------------------------------- */

/*
 * SIGCHLD, and of a bare one SIGTERM, by which whoever made it ends it: from inside anybody could end a
 * confined one.
 */
static int
listen_to_signals(bool confined)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (!confined)
		sigaddset(&set, SIGTERM);
	sigprocmask(SIG_SETMASK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* All that it may have: a program may ask for more descriptors than the limit of programs is. */
static void
raise_limit(struct rlimit *ret_before)
{
	struct rlimit all;

	getrlimit(RLIMIT_NOFILE, ret_before);
	all = *ret_before;
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
}

/* What was made for the children of another process. */
static void
settle(struct init *i, struct birth *b)
{
	struct birthplace *place = b->place;

	if (place->programs)
		programs_forget(place->programs);
	place->programs = &i->programs;
	if (b->pids)
		munmap(b->pids, b->pids_bytes);
	place->privileged = false;
	place->scope = (struct plan_scope){.uid = b->plan.uid, .gid = b->plan.gid, .root = b->plan.uid == 0};
	place->confined = b->plan.flags & PLAN_CONFINED;
	place->above = &i->plan;
	i->place = place;
	i->plan = b->plan;
	i->session = b->session;
	i->kill_fd = b->leaf.kill;
	i->events_fd = b->leaf.events;
}

void
init_main(struct birth *b, const struct process_hello *hello)
{
	struct init *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		birth_fail(b, STEP_FORK, ENOMEM);
	settle(i, b);
	self_title("capfs-init", *b->plan.session ? b->plan.session : "/");
	i->programs.spare = -1;
	i->signal_fd = listen_to_signals(i->place->confined);
	if (i->signal_fd < 0)
		birth_fail(b, STEP_FORK, -i->signal_fd);
	if (b->plan.flags & (PLAN_CONFINED | PLAN_NO_PRIVS))
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	self_adopt();
	raise_limit(&i->programs.nofile);
	i->programs.plan = &i->plan;
	i->programs.filters = i->place->filters;
	i->programs.reports = b->reports;
	r = openers_init(&i->openers, *b->plan.session ? i->plan.session : "/", i->place->proc_fd, &i->programs,
		&i->programs.openers);
	if (r < 0)
		birth_fail(b, STEP_FORK, -r);
	threads_init(&i->threads);
	channel_init(&i->channel, b->reports);
	inits_init(&i->inits, false, NULL);
	introduce(i);
	start_first(i, b, hello);
	serve(i);
}
