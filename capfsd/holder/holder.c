/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The holder: shares its descriptor table with the broker, so that every connection, listener and
 * the connection to the kernel stay open, under their numbers, when the broker dies. It waits,
 * starts the next one, and does nothing else; above all it parses nothing.
 *
 * For an upgrade it becomes the new binary, by execve(2), with all of its table; if no broker of
 * that comes up, it becomes the old one again. The broker may have put anything under any number: a
 * binary is taken only from the keeper, whose socket is known by its cookie, and only while no broker
 * lives.
 */
#include "config.h"

#include "capfsd/holder/holder.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "capfsd/broker/broker.h"
#include "capfsd/holder/become.h"
#include "capfsd/holder/orders.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/journal.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"
#include "capfsd/process/succession.h"
#include "capfsd/process/watchdog.h"

/*
 * A single death must cost clients no time; brokers that die at each start must not take a whole
 * CPU. The bound is what a client may have to wait for when the cause is over.
 */
#define BACKOFF_FREE 4
/* One that somebody kills has not failed by itself: whole bursts of that are to cost clients no pause. */
#define BACKOFF_KILLED_FREE 64
#define BACKOFF_FIRST_USEC UINT64_C(50000)
#define BACKOFF_MAX_USEC UINT64_C(4000000)
#define WEDGED_USEC UINT64_C(5000000) /* nobody who obeys SIGKILL needs that long to end */
#define WANTED_TRIES_MAX 3 /* brokers started at once to do what the keeper has asked for */

struct holder {
	struct boot *boot;
	/* Of brokers that end before they have answered anything: by themselves, and by SIGKILL. */
	struct backoff backoff, killed_backoff;
	uint64_t started_usec;	/* the broker, CLOCK_MONOTONIC */
	struct watchdog watch;	/* does the broker turn its loop? */
	uint64_t keeper;        /* its socket */
	unsigned wanted_tries;	/* brokers in a row that were wanted at once, and did not live */
	pid_t self, broker;
	uint64_t wedged_usec; /* we have ended this broker, which must have gone by then; 0: we have not */
	bool probation; /* another binary until now: its first broker must come up */
};

static void
holder_init(struct holder *h, struct boot *boot)
{
	*h = (struct holder){
		.boot = boot,
		.backoff = {BACKOFF_FREE, BACKOFF_FIRST_USEC, BACKOFF_MAX_USEC},
		.killed_backoff = {BACKOFF_KILLED_FREE, BACKOFF_FIRST_USEC, BACKOFF_MAX_USEC},
		.keeper = orders_keeper(),
		.self = getpid(),
	};
	watchdog_init(&h->watch);
}

/*
 * A process that shares our descriptors and nothing else. Not fork(2): that copies the table, and
 * what the broker opens would die with it. It is tied to us, since without a holder nobody would
 * reap it, watch it, or start the one after it.
 */
static pid_t
start_broker(struct holder *h)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	sigset_t none;

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (confine_tie(h->self) < 0)
		_exit(BROKER_EXIT_RESTART);
	confine_title(h->boot, "capfs-broker");
	_exit(broker_main(h->boot));
}

/*
 * Blocked, these wait for us: the broker's end, and the keeper's word that it has waited too long.
 * Otherwise the first would be lost between a look and the sleep, and the second would end the
 * holder.
 */
static void
holder_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGCHLD);
	sigaddset(ret, HOLDER_SIGNAL_HANGS);
	sigprocmask(SIG_BLOCK, ret, NULL);
}

/*
 * By SIGKILL, as it does not read anything else. Its memory is gone with that, but nothing of it
 * was promised to anybody before it was stored.
 */
static void
end_broker(struct holder *h)
{
	if (h->wedged_usec)
		return;
	log_message(LOG_ERR, "broker %u does not turn its loop, ending it", h->boot->page->n_brokers);
	kill(h->broker, SIGKILL);
	h->wedged_usec = clock_usec(CLOCK_MONOTONIC) + WEDGED_USEC;
}

/*
 * A broker that SIGKILL does not end sleeps in the kernel, over a file that somebody else serves. It never
 * runs again; but this table, which it shares, lasts as long as it sleeps, and whoever waits for something
 * in it would. So the keeper's copies are made the only ones of the mount and the lock, and all others see
 * an end: of our pairs, by which keeper and binder know that nobody of ours is left, of connections, and of
 * listeners, to which nobody would listen. Nothing of a stranger's is closed. Ours is only the service
 * manager's listener not.
 */
static void
leave_table(const struct boot *boot)
{
	struct rlimit limit;
	int first = boot->activation[0] ? BOOT_FD_FIRST_FREE + 1 : BOOT_FD_FIRST_FREE;

	log_message(LOG_CRIT, "broker %u was killed and does not end: leaving it what it has, connections are lost",
		boot->page->n_brokers);
	close(BOOT_FD_FUSE);
	close(BOOT_FD_LOCK);
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = first; fd < (int)limit.rlim_cur; fd++)
		shutdown(fd, SHUT_RDWR);
	shutdown(BOOT_FD_BINDER, SHUT_RDWR);
	shutdown(BOOT_FD_KEEPER, SHUT_RDWR);
}

/* Not while it writes the store: what it is at there is done when its disk answers. */
static bool
is_wedged(const struct holder *h)
{
	const struct boot_page *page = h->boot->page;

	return h->wedged_usec && clock_usec(CLOCK_MONOTONIC) >= h->wedged_usec && page->ready &&
		!__atomic_load_n(&page->storing, __ATOMIC_SEQ_CST);
}

static bool
turns(struct holder *h, uint64_t now_usec)
{
	const struct boot_page *page = h->boot->page;

	return watchdog_look(&h->watch, __atomic_load_n(&page->turns, __ATOMIC_RELAXED),
		__atomic_load_n(&page->ready, __ATOMIC_RELAXED), h->broker, now_usec);
}

/* Until the broker has ended, somebody says that it hangs, or it is time to look whether it does. */
static void
wait_for_something(struct holder *h, const sigset_t *set)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);
	uint64_t at = h->wedged_usec ? now + WEDGED_USEC : watch_at(&h->watch);
	uint64_t left = at > now ? at - now : 0;
	struct timespec t = {
		.tv_sec = (time_t)(left / 1000000),
		.tv_nsec = (long)(left % 1000000) * 1000,
	};
	int signal = sigtimedwait(set, NULL, &t);

	if (signal == HOLDER_SIGNAL_HANGS)
		return end_broker(h);
	now = clock_usec(CLOCK_MONOTONIC);
	if (signal < 0 && now >= at && !turns(h, now))
		end_broker(h);
}

/*
 * A signal only wakes: what counts is whether the broker is there, as waitpid(2) has it. Returns:
 * its wait status, -EBUSY: it is there, but never again awake; -errno.
 */
static int
wait_for_broker(struct holder *h)
{
	sigset_t set;
	pid_t pid;
	int status;

	holder_signals(&set);
	while ((pid = waitpid(h->broker, &status, WNOHANG)) == 0) {
		if (is_wedged(h))
			return -EBUSY;
		wait_for_something(h, &set);
	}
	return pid < 0 ? -errno : status;
}

/* A word that was meant for the broker of before: the next one must not be ended for it. */
static void
forget_hangs(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, HOLDER_SIGNAL_HANGS);
	while (sigtimedwait(&set, NULL, &(struct timespec){}) > 0)
		;
}

/*
 * Also says which request is refused from now on: the client that sent it sees EIO, and the
 * administrator is to find why.
 */
static void
log_end(int status, const struct boot_page *page, bool refused)
{
	if (WIFSIGNALED(status))
		log_event(LOG_WARNING,
			LOG_FIELDS({"MESSAGE_ID", MESSAGE_BROKER_RESTARTED},
				{"CAPFS_BROKER", NULL, page->n_brokers},
				{"CAPFS_SIGNAL", NULL, (uint64_t)WTERMSIG(status)}),
			"broker %u was ended by signal %d (%s), starting another", page->n_brokers,
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_event(LOG_WARNING,
			LOG_FIELDS({"MESSAGE_ID", MESSAGE_BROKER_RESTARTED},
				{"CAPFS_BROKER", NULL, page->n_brokers},
				{"CAPFS_STATUS", NULL, (uint64_t)WEXITSTATUS(status)}),
			"broker %u ended with status %d, starting another", page->n_brokers,
			WEXITSTATUS(status));
	if (refused)
		log_event(LOG_ERR,
			LOG_FIELDS({"MESSAGE_ID", MESSAGE_REQUEST_POISONED},
				{"CAPFS_BROKER", NULL, page->n_brokers},
				{"CAPFS_REQUEST", NULL, page->poisoned}),
			"two brokers in a row ended in request %#jx, which is refused now",
			(uintmax_t)page->poisoned);
}

/* A status that ends the holder as well, with that status, as the keeper must know why. */
static bool
is_final(const struct holder *h, int status)
{
	if (!WIFEXITED(status))
		return false;
	/* What a binary of another version refuses, the one of before can do. */
	if (WEXITSTATUS(status) == BROKER_EXIT_REFUSED)
		return !h->probation;
	return WEXITSTATUS(status) == BROKER_EXIT_STOPPED ||
		WEXITSTATUS(status) == BROKER_EXIT_UNMOUNTED;
}

/*
 * SIGKILL that is not ours comes from outside, from an administrator or a kernel without memory, and
 * says nothing about what the broker was at.
 */
static bool
is_to_blame(const struct holder *h, int status)
{
	return h->wedged_usec || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

/* Did it end before it was of use to anybody? One that was up may have had nothing to reply to. */
static bool
has_failed(const struct holder *h, int status)
{
	const struct boot_page *page = h->boot->page;

	return !page->answered && (!page->ready || is_to_blame(h, status));
}

/*
 * Without a broker, one that was told to pause or that of a new binary which did not come up, the
 * keeper decides what is next. Without a keeper, or without its word in time, it is another broker
 * of this binary, since clients wait. Returns in that case only.
 */
static void
ask_keeper(struct holder *h)
{
	cleanup_close int binary = -1;
	struct keeper_record record;
	int r;

	if (!orders_keeper_is_there(h->keeper))
		return;
	r = orders_tell(h->boot, KEEPER_ALONE);
	if (r == 0)
		r = orders_receive(&record, &binary);
	if (r == 0 && record.type == KEEPER_BECOME)
		r = become_binary(h->boot, binary, record.generation);
	if (r < 0)
		log_message(LOG_ERR, "holder: cannot become another binary: %s", strerror(-r));
}

/*
 * The page says from here on what this broker does; what the one before did has been looked at.
 * Returns: its wait status, or -errno.
 */
static int
run_broker(struct holder *h)
{
	h->boot->page->answered = 0;
	h->boot->page->ready = 0;
	h->boot->page->storing = 0;
	h->boot->page->n_brokers++;
	h->wedged_usec = 0;
	h->started_usec = clock_usec(CLOCK_MONOTONIC);
	watchdog_begin(&h->watch, h->started_usec);
	forget_hangs();
	orders_tell(h->boot, KEEPER_LOADING);
	h->broker = start_broker(h);
	return h->broker < 0 ? h->broker : wait_for_broker(h);
}

/*
 * A broker has ended that the daemon could do without. Brokers that end one after the other before they
 * have answered anything, whether somebody kills them or they cannot do better, are started ever more
 * slowly, and clients wait. Returns: is the daemon to end, because the keeper wants that?
 */
static bool
pause_before_next(struct holder *h, int status)
{
	struct backoff *backoff = is_to_blame(h, status) ? &h->backoff : &h->killed_backoff;
	uint64_t pause = 0;

	if (has_failed(h, status)) {
		pause = backoff_add(backoff);
	} else {
		backoff_reset(&h->backoff);
		backoff_reset(&h->killed_backoff);
	}
	if (pause == 0) {
		h->wanted_tries = 0;
		return false;
	}
	log_event(LOG_WARNING, LOG_FIELDS({"MESSAGE_ID", MESSAGE_BROKERS_FAIL}),
		"%u brokers in a row ended before they answered, the next one waits %u ms",
		backoff->n, (unsigned)(pause / 1000));
	switch (orders_pause(h->keeper, h->started_usec + pause)) {
	case ORDERS_PAUSE_WANTED:
		if (++h->wanted_tries <= WANTED_TRIES_MAX)
			return false;
		/* Where no broker lives long enough to shut connections down, the end must do. */
		h->wanted_tries = 0;
		return orders_drop(h->keeper) == KEEPER_STOP;
	case ORDERS_PAUSE_ALONE:
		ask_keeper(h);
		return false;
	case ORDERS_PAUSE_OVER:
		break;
	}
	return false;
}

/*
 * No process can be made: not now. Such a failure counts as that of a broker, so that the next try
 * waits. Returns: the wait status of one that was of no use.
 */
static int
cannot_run(int error)
{
	log_message(LOG_ERR, "holder: cannot run a broker: %s", strerror(-error));
	return W_EXITCODE(BROKER_EXIT_RESTART, 0);
}

/*
 * Broker after broker. A pause is no death: nothing is noted as crashed for it, and no pause is
 * added. A binary that was just taken up is on probation until a broker of it is ready; if its
 * first one is not, the keeper has the old one back.
 */
static int
holder_run(struct holder *h)
{
	struct boot_page *page = h->boot->page;
	sigset_t set;

	holder_signals(&set);
	for (;;) {
		int status = run_broker(h);
		bool refused;

		if (status == -EBUSY) {
			leave_table(h->boot);
			return BROKER_EXIT_RESTART;
		}
		if (status < 0)
			status = cannot_run(status);
		if (is_final(h, status))
			return WEXITSTATUS(status);
		/* No broker would be heard, nor hear: the keeper's next holder has a table of its own. */
		if (!orders_keeper_is_there(h->keeper)) {
			log_message(LOG_CRIT, "holder: a broker has put another socket in the keeper's place");
			return BROKER_EXIT_RESTART;
		}
		h->probation = h->probation && !page->ready;
		if (WIFEXITED(status) && WEXITSTATUS(status) == BROKER_EXIT_PAUSED) {
			ask_keeper(h);
			continue;
		}
		refused = boot_page_died(page, is_to_blame(h, status));
		log_end(status, page, refused);
		if (h->probation) {
			h->probation = false;
			ask_keeper(h);
		} else if (pause_before_next(h, status)) {
			return BROKER_EXIT_STOPPED;
		}
	}
}

/* Shared and without a name: brokers have it over clone(2), and nobody can open it. */
static struct boot_page *
page_new(void)
{
	void *page = mmap(NULL, sizeof(struct boot_page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		log_message(LOG_ERR, "holder: no memory: %m");
	return page == MAP_FAILED ? NULL : page;
}

int
holder_main(struct boot *boot)
{
	struct holder h;

	holder_init(&h, boot);
	boot->page = page_new();
	if (!boot->page)
		return BROKER_EXIT_RESTART;
	boot->page->counters.since_usec = clock_usec(CLOCK_REALTIME);
	log_set_lost(&boot->page->counters.lines_lost);
	boot->page->stored = boot->resumed;
	return holder_run(&h);
}

/*
 * The page of before cannot be shared over execve(2); its copy comes with the succession, and no
 * broker lives that could write the old one. Nothing here may fail but by a status that has the
 * keeper start another holder.
 */
int
holder_resume(int fd, int argc, char *argv[])
{
	static struct succession succession;
	static struct boot boot;
	struct boot_page *page = page_new();
	struct holder h;
	int r;

	/*
	 * First of all: execve(2) has made us dumpable, and so open to all of the daemon's user's
	 * processes.
	 */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || !page)
		return BROKER_EXIT_RESTART;
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	r = succession_read(fd, SUCCESSION_HOLDER, &succession, &boot, page);
	if (r == 0)
		r = confine_tie(succession.parent);
	if (r == 0)
		r = confine_family(&boot);
	if (r < 0) {
		log_message(LOG_ERR, "holder: cannot take over: %s", strerror(-r));
		return BROKER_EXIT_RESTART;
	}
	close(fd);
	log_set_lost(&page->counters.lines_lost);
	boot.generation = succession.generation;
	succession_log(&succession, &boot);
	confine_argv(&boot, argc, argv);
	confine_title(&boot, HOLDER_TITLE);
	holder_init(&h, &boot);
	h.probation = true;
	return holder_run(&h);
}
