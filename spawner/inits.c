/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An init is made by a fork of this process, with more or less between that and its work: nothing, where it
 * is of our own user; namespaces, where it is confined; a doorman, where it becomes somebody else's. A
 * doorman of a confined one makes a sibling of itself and ends. That is our child, too, of which the kernel
 * writes the pid into memory that both have.
 *
 * The spawner makes each one in a leaf of control groups, in which it has been before its first instruction. What
 * an init makes is in that of the init.
 */
#include "config.h"

#include "spawner/inits.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "spawner/cgroup/leaves.h"
#include "spawner/doorman.h"
#include "spawner/hello.h"
#include "spawner/init.h"
#include "spawner/namespace.h"
#include "spawner/raw.h"

#define INITS_MAX 4096
#define KEPT_MAX 8 /* descriptors of who is born */
#define LEAF_TRIES 3

struct init_child {
	struct list link;
	uint64_t session, thread;
	pid_t pid;
	uint32_t *word; /* where the pid of what its doorman makes will be; NULL: there is no doorman */
	bool is_confined;
	uint64_t leaf; /* 0: none of its own */
	struct channel *channel; /* who is told; NULL: nobody any more */
};

/* Why one was not made. */
struct failure {
	int step;
	uint32_t missing; /* enum process_controller */
};

int
inits_init(struct inits *all, bool with_doormen, struct leaves *leaves)
{
	size_t n = INITS_MAX * sizeof(*all->pids);
	void *pids = NULL;

	if (with_doormen)
		pids = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pids == MAP_FAILED)
		return -errno;
	*all = (struct inits){.pids = pids, .pids_bytes = n, .leaves = leaves};
	list_init(&all->list);
	return 0;
}

static void
tell(struct channel *c, const struct init_child *i, enum process_type type, int status)
{
	const struct process_record r = {
		.type = type,
		.flags = type == PROCESS_STATE ? PHASE_RUNNING : 0,
		.thread = i->thread,
		.session = i->session,
		.status = status,
		.pid = (uint32_t)i->pid,
		.version = PROCESS_VERSION,
	};

	if (c)
		channel_send(c, &r, NULL, 0);
}

static void
refuse(struct channel *c, const struct process_record *r, int step, int error, uint32_t missing)
{
	const struct process_record failed = {
		.type = PROCESS_FAILED,
		.flags = missing,
		.thread = r->thread,
		.session = r->session,
		.step = step,
		.error = error,
		.version = PROCESS_VERSION,
	};

	channel_send(c, &failed, NULL, 0);
}

static struct init_child *
find(const struct inits *all, const struct channel *c, uint64_t session)
{
	list_for_each(i, &all->list) {
		struct init_child *child = list_entry(i, struct init_child, link);

		if (child->channel == c && child->session == session)
			return child;
	}
	return NULL;
}

/* --- ends ------------------------------------------------------------------------------------------ */

/* What its doorman has made. 0: nothing (yet), or there is none. */
static pid_t
sibling_of(const struct init_child *i)
{
	uint32_t pid = i->word ? __atomic_load_n(i->word, __ATOMIC_ACQUIRE) : BIRTH_NOT_YET;

	return pid == BIRTH_NOT_YET || pid == BIRTH_COMING ? 0 : (pid_t)pid;
}

static void
end(struct inits *all, struct init_child *i, int status)
{
	tell(i->channel, i, PROCESS_ENDED, status);
	if (all->leaves)
		leaves_end(all->leaves, i->leaf);
	list_unlink(&i->link);
	all->n--;
	if (i->word)
		*i->word = 0;
	free(i);
}

/*
 * The end of a doorman is that of the session only if it has made no init; which may even have ended before
 * it.
 */
bool
inits_reaped(struct inits *all, pid_t pid, int status)
{
	list_for_each(link, &all->list) {
		struct init_child *i = list_entry(link, struct init_child, link);
		pid_t sibling = sibling_of(i);

		if (pid != i->pid && pid != sibling)
			continue;
		if (sibling != 0 && pid != sibling) {
			i->pid = sibling;
			return true;
		}
		i->pid = pid;
		end(all, i, status);
		return true;
	}
	return false;
}

bool
inits_are_coming(const struct inits *all)
{
	list_for_each(link, &all->list) {
		const struct init_child *i = list_entry(link, struct init_child, link);

		if (i->word && __atomic_load_n(i->word, __ATOMIC_ACQUIRE) == BIRTH_COMING)
			return true;
	}
	return false;
}

bool
inits_have(const struct inits *all, pid_t pid)
{
	list_for_each(link, &all->list) {
		const struct init_child *i = list_entry(link, struct init_child, link);

		if (i->pid == pid || sibling_of(i) == pid)
			return true;
	}
	return false;
}

/*
 * The kernel ends all that a confined one has with it. A bare one has to do that itself, and be asked; while
 * it is still a doorman it has nothing, and that signal ends it.
 */
void
inits_end(struct inits *all, const struct channel *c, uint64_t session)
{
	struct init_child *i = find(all, c, session);

	if (!i)
		return;
	kill(i->pid, i->is_confined ? SIGKILL : SIGTERM);
	if (sibling_of(i))
		kill(sibling_of(i), SIGKILL);
}

void
inits_tell(struct inits *all, struct channel *c, uint64_t serial)
{
	const struct process_record synced = {
		.type = PROCESS_SYNCED, .version = PROCESS_VERSION, .serial = serial};

	list_for_each(link, &all->list) {
		const struct init_child *i = list_entry(link, struct init_child, link);

		if (i->channel == c)
			tell(c, i, PROCESS_STATE, 0);
	}
	channel_send(c, &synced, NULL, 0);
}

void
inits_leave(struct inits *all, const struct channel *c)
{
	list_for_each(link, &all->list) {
		struct init_child *i = list_entry(link, struct init_child, link);

		if (i->channel == c)
			i->channel = NULL;
	}
}

/* --- begin ----------------------------------------------------------------------------------------- */

void
birth_begin(struct birth *b, const int *more, size_t n)
{
	int kept[KEPT_MAX] = {b->launch, b->reports, b->place->proc_fd, b->leaf.kill, b->leaf.events};

	if (n > 0)
		memcpy(kept + 5, more, n * sizeof(*more));
	raw_close_all_but(kept, 5 + n);
}

/* Nothing was sent before this, so that there is room for it. */
void
birth_fail(const struct birth *b, int step, int error)
{
	const struct process_record failed = {
		.type = PROCESS_FAILED,
		.thread = b->thread,
		.session = b->session,
		.step = step,
		.error = error,
		.version = PROCESS_VERSION,
	};
	const struct process_answer answer = {.step = step, .error = error};

	send(b->reports, &failed, sizeof(failed), MSG_NOSIGNAL | MSG_DONTWAIT);
	send(b->launch, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(EXIT_FAILURE);
}

static void __attribute__((noreturn))
be_born(struct birth *b)
{
	if (b->place->privileged)
		doorman_main(b);
	if (b->plan.flags & PLAN_CONFINED)
		namespace_enter_own(b);
	birth_begin(b, NULL, 0);
	init_main(b, NULL);
}

static pid_t
fork_into(int cgroup)
{
	struct clone_args a = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup};

	return cgroup < 0 ? fork() : (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

static pid_t
make_process(struct birth *b)
{
	bool own_namespaces = b->plan.flags & PLAN_CONFINED && !b->place->privileged;
	int cgroup = b->leaf.directory;
	pid_t pid = own_namespaces ? namespace_fork(&b->plan, cgroup, NULL) : fork_into(cgroup);

	if (pid == 0)
		be_born(b);
	return pid < 0 ? -errno : pid;
}

/* The kernel ends all in a confined one with it: that has no need to. */
static pid_t
make_in_leaf(struct inits *all, struct birth *b, struct failure *ret)
{
	bool confined = b->plan.flags & PLAN_CONFINED;
	pid_t pid;
	int r;

	ret->step = STEP_CGROUP;
	r = leaves_make(all->leaves, &b->plan, &b->leaf, &ret->missing);
	if (r < 0)
		return r;
	if (confined) {
		b->leaf.kill = fd_close(b->leaf.kill);
		b->leaf.events = fd_close(b->leaf.events);
	}
	pid = make_process(b);
	if (pid < 0)
		leaves_drop(all->leaves, b->leaf.number);
	else if (!confined)
		leaves_note(all->leaves, b->leaf.number, pid);
	/* Into a control group that is none of ours to put processes into. */
	if (pid != -EACCES)
		ret->step = STEP_FORK;
	leaf_made_close(&b->leaf);
	return pid;
}

/* Another spawner that is given the same place may take an empty leaf for one that was left. */
static pid_t
make(struct inits *all, struct birth *b, struct failure *ret)
{
	pid_t pid = -ENODEV;

	if (!all->leaves)
		return make_process(b);
	for (int n = 0; n < LEAF_TRIES && (pid == -ENODEV || pid == -ENOENT); n++)
		pid = make_in_leaf(all, b, ret);
	return pid;
}

/* Two pairs; who is born has the first end of each. */
static int
make_pairs(int launch[2], int reports[2])
{
	int r = hello_pair(launch);

	if (r == 0)
		r = fd_socketpair(SOCK_SEQPACKET, reports);
	if (r == 0)
		(void)fd_refuse_descriptors(reports[0]);
	return r;
}

static uint32_t *
free_word(const struct inits *all)
{
	for (size_t n = 0; all->pids && n < INITS_MAX; n++)
		if (all->pids[n] == 0)
			return &all->pids[n];
	return NULL;
}

/* FDS are the client's end and the broker's. Returns: the pid of what is made first, -errno. */
static pid_t
add(struct inits *all, struct channel *c, struct birth *b, int fds[2], struct failure *ret)
{
	cleanup_free struct init_child *i = calloc(1, sizeof(*i));
	cleanup_close int launch = -1, reports = -1, client = -1, broker = -1;
	int launch_pair[2] = {-1, -1}, reports_pair[2] = {-1, -1}, r;
	pid_t pid;

	if (!i)
		return -ENOMEM;
	r = make_pairs(launch_pair, reports_pair);
	launch = launch_pair[0];
	client = launch_pair[1];
	reports = reports_pair[0];
	broker = reports_pair[1];
	if (r < 0)
		return r;
	b->launch = launch;
	b->reports = reports;
	i->word = b->ret_pid = free_word(all);
	if (i->word)
		*i->word = BIRTH_NOT_YET;
	pid = make(all, b, ret);
	if (pid < 0) {
		if (i->word)
			*i->word = 0;
		return pid;
	}
	i->session = b->session;
	i->thread = b->thread;
	i->pid = pid;
	i->is_confined = b->plan.flags & PLAN_CONFINED;
	i->leaf = b->leaf.number;
	i->channel = c;
	list_append(&all->list, &i->link);
	all->n++;
	take_ptr(i);
	fds[0] = take_fd(client);
	fds[1] = take_fd(broker);
	return pid;
}

/* One that has ended may wait to be noticed, while its broker knows already. */
static bool
is_there(struct inits *all, const struct channel *c, uint64_t session, uint64_t *ret_thread)
{
	struct init_child *i = find(all, c, session);
	int status;

	if (i && sibling_of(i))
		i->pid = sibling_of(i);
	if (i && waitpid(i->pid, &status, WNOHANG) == i->pid) {
		inits_reaped(all, i->pid, status);
		i = find(all, c, session);
	}
	if (i)
		*ret_thread = i->thread;
	return i != NULL;
}

void
inits_start(struct inits *all, struct birthplace *place, struct channel *c, const struct process_record *r,
	const void *data, size_t n)
{
	struct birth b = {
		.place = place,
		.thread = r->thread,
		.session = r->session,
		.flags = r->flags,
		.leaf = {.directory = -1, .kill = -1, .events = -1},
		.pids = all->pids,
		.pids_bytes = all->pids_bytes,
	};
	struct process_record launch = {
		.type = PROCESS_LAUNCH,
		.thread = r->thread,
		.session = r->session,
		.version = PROCESS_VERSION,
	};
	struct failure failure = {.step = STEP_FORK};
	int fds[2], error = plan_decode(data, n, &place->scope, &b.plan);
	uint64_t thread;

	if (error == 0 && place->above)
		error = plan_inherit(&b.plan, place->above);
	if (error < 0) {
		refuse(c, r, STEP_NONE, -error, 0);
		return;
	}
	if (place->above && !plan_shares_limits(&b.plan, place->above)) {
		refuse(c, r, STEP_CGROUP, EOPNOTSUPP, 0);
		return;
	}
	if (!plan_groups_can_be(&b.plan, &place->scope, place->above)) {
		refuse(c, r, STEP_CREDS, EOPNOTSUPP, 0);
		return;
	}
	if (is_there(all, c, r->session, &thread)) {
		if (thread != r->thread)
			refuse(c, r, STEP_NONE, EBUSY, 0);
		return;
	}
	error = all->n < INITS_MAX ? add(all, c, &b, fds, &failure) : -EAGAIN;
	if (error < 0) {
		refuse(c, r, failure.step, -error, failure.missing);
		return;
	}
	launch.pid = (uint32_t)error;
	channel_send(c, &launch, fds, 2);
}
