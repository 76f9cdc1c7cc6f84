/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The holder: shares its descriptor table with the broker, so that every connection, listener and
 * the connection to the kernel stay open, under their numbers, when the broker dies. It waits,
 * starts the next one, and does nothing else; above all it parses nothing.
 */
#include "config.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/boot.h"
#include "capfsd/confine.h"
#include "capfsd/messages.h"

#define EARLY_MAX 5
#define EARLY_WINDOW_SEC 10

/* When the last brokers ended before they had answered anything. */
struct early {
	uint64_t at_usec[EARLY_MAX];
	unsigned n;
};

static uint64_t
now_usec(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Were these too many in too short a time? */
static bool
early_add(struct early *e)
{
	uint64_t now = now_usec(CLOCK_MONOTONIC);

	e->at_usec[e->n++ % EARLY_MAX] = now;
	/* The next place to be written holds the oldest of the last five. */
	return e->n >= EARLY_MAX &&
		now - e->at_usec[e->n % EARLY_MAX] < EARLY_WINDOW_SEC * UINT64_C(1000000);
}

/*
 * A process that shares our descriptors and nothing else. Not fork(2): that copies the table,
 * and what the broker opens would die with it.
 */
static pid_t
start_broker(struct boot *boot, pid_t self)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	if (confine_tie(self) < 0)
		_exit(BROKER_EXIT_RESTART);
	confine_title(boot, "capfs-broker");
	_exit(broker_main(boot));
}

static int
wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

static void
log_end(int status, const struct boot_page *page)
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
	if (page->poisoned && page->poisoned == page->crashed)
		log_event(LOG_ERR,
			LOG_FIELDS({"MESSAGE_ID", MESSAGE_REQUEST_POISONED},
				{"CAPFS_BROKER", NULL, page->n_brokers},
				{"CAPFS_REQUEST", NULL, page->poisoned}),
			"two brokers in a row ended in request %#jx, which is refused now",
			(uintmax_t)page->poisoned);
}

/* A status that ends the holder as well. */
static bool
is_final(int status)
{
	return WIFEXITED(status) && (WEXITSTATUS(status) == BROKER_EXIT_STOPPED ||
					    WEXITSTATUS(status) == BROKER_EXIT_UNMOUNTED ||
					    WEXITSTATUS(status) == BROKER_EXIT_REFUSED);
}

/* SIGKILL comes from outside: no fault of a broker that was up and had nothing to answer. */
static bool
is_early(int status, const struct boot_page *page)
{
	if (page->answered)
		return false;
	return !page->ready || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

int
holder_main(struct boot *boot)
{
	struct early early = {};
	pid_t self = getpid();
	void *page;

	page = mmap(NULL, sizeof(struct boot_page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		log_message(LOG_ERR, "holder: no memory: %m");
		return BROKER_EXIT_RESTART;
	}
	boot->page = page;
	boot->page->counters.since_usec = now_usec(CLOCK_REALTIME);
	log_set_lost(&boot->page->counters.lines_lost);
	for (;;) {
		pid_t pid;
		int status;

		boot->page->answered = 0;
		boot->page->ready = 0;
		boot->page->n_brokers++;
		pid = start_broker(boot, self);
		status = pid < 0 ? pid : wait_for(pid);
		if (status < 0) {
			log_message(LOG_ERR, "holder: cannot run a broker: %s", strerror(-status));
			return BROKER_EXIT_RESTART;
		}
		if (is_final(status))
			return WEXITSTATUS(status);
		boot_page_crashed(boot->page);
		log_end(status, boot->page);
		if (is_early(status, boot->page) && early_add(&early)) {
			log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", MESSAGE_GIVING_UP}),
				"%d brokers in %d seconds ended before they answered, giving up",
				EARLY_MAX, EARLY_WINDOW_SEC);
			return BROKER_EXIT_REFUSED;
		}
	}
}
