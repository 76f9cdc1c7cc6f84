/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker: one process, one loop, that owns the model and all fronts. It may die at any moment:
 * whatever must not be lost is in the store before anybody is told, and the next broker begins with
 * that and the descriptors in the holder's table. Nothing in a round may sleep: everybody waits. It
 * frees nothing when it ends: what its objects name by number is shared with the holder, for the
 * next broker.
 */
#include "config.h"

#include "capfsd/broker/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/broker/fronts.h"
#include "capfsd/broker/loading.h"
#include "capfsd/broker/meter.h"
#include "capfsd/broker/keeper-orders.h"
#include "capfsd/fs/fs.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/doomed.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/model.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/filter.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/adopt.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/state/state.h"
#include "capfsd/tree/metrics.h"
#include "wire/wire.h"

#define SPIN_NSEC 50000	   /* a sleeping process takes about as long to wake up */
#define REAPING_NSEC 200000 /* what is removed in one round is to take so long */
#define REAP_MIN 16	   /* entities at least, however long that takes */
#define REAP_MAX 512
#define END_BUDGET 2	   /* sockets and connections of what has ended that end in one round */
#define HOLD_ROUNDS 1024   /* a crowd holds up for so many rounds what is to be removed, and then it does not */
#define SHARE_BUDGET 32	   /* slots given in one round */
#define RETRY_USEC 1000000 /* a full store is tried again after that */
#define TIMER_ACCURACY_USEC 1000

struct broker {
	const struct boot *boot;
	sd_event *event;
	sd_event_source *expiry_timer, *timer;
	struct state *state;
	struct model *model;
	struct fronts fronts;
	struct keeper_orders orders;
	struct metrics metrics;
	struct meter meter;
	unsigned slice; /* so many entities were removed in REAPING_NSEC lately */
	unsigned held;	/* rounds in which there was a crowd */
	int statm_fd; /* /proc/self/statm: opened while files can be */
	uint64_t asked_nsec;   /* when the kernel last asked for something */
	uint64_t talked_nsec;  /* … and a client by its control connection */
	uint64_t n_talked;     /* requests of such clients until then, but for programs */
	bool told;	       /* that the kernel may ask for something */
	bool quiet;	       /* the last look at the loop's sources found nothing */
	uint64_t expires_usec; /* what expiry_timer is set to */
	uint64_t timer_usec;   /* what timer is set to */
	uint64_t retry_usec;   /* the store was full, and is tried again then; 0: it was not */
	bool told_full;        /* that it is full stands in the log */
};

/* It is asked at the begin of the next round. */
static int
on_kernel(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct broker *b = data;

	b->told = true;
	return 0;
}

/* A round looks at everything that may have woken it, so that being woken is all that is needed. */
static int
on_time(sd_event_source *source, uint64_t usec, void *data)
{
	return 0;
}

static int
on_turn(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
	return 0;
}

/*
 * The holder wants the loop to turn, which it does by reading this. It is a source and not a handler: a
 * signal that came right before the sleep would be over when that begins.
 */
static int
add_turning(struct broker *b)
{
	sd_event_source *source;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, HOLDER_SIGNAL_TURN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(b->event, &source, HOLDER_SIGNAL_TURN, on_turn, b);
	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(source, true);
	return r < 0 ? r : 0;
}

/* Timers that callbacks need not act on: they wake the loop, which looks by itself. */
static int
add_timer(struct broker *b, clockid_t clock, sd_event_source **ret)
{
	int r = sd_event_add_time(
		b->event, ret, clock, UINT64_MAX, TIMER_ACCURACY_USEC, on_time, b);

	if (r >= 0)
		r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(*ret, true);
	return r < 0 ? r : 0;
}

static int
add_io(struct broker *b, int fd, sd_event_io_handler_t f)
{
	sd_event_source *source;
	int r = sd_event_add_io(b->event, &source, fd, EPOLLIN, f, b);

	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(source, true);
	return r < 0 ? r : 0;
}

/* What is measured only when somebody reads it. */
static void
measure(struct metrics *m, void *data)
{
	const struct broker *b = data;
	const struct sockets_numbers numbers = sockets_numbers(b->fronts.sockets);
	unsigned long pages;
	char text[64];
	ssize_t n;

	m->listeners = numbers.listeners;
	m->connections = numbers.connections;
	state_usage(b->state, &m->store_used, &m->store_file, &m->store_limit);
	n = b->statm_fd < 0 ? -1 : pread(b->statm_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%*u %lu", &pages) == 1)
		m->memory = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
make_metrics(struct broker *b)
{
	b->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	b->metrics.instance = b->boot->instance;
	b->metrics.n_brokers = b->boot->page->n_brokers;
	b->metrics.measure = measure;
	b->metrics.data = b;
	b->model->counters = &b->boot->page->counters;
	b->model->more = &b->boot->page->more;
	meter_init(&b->meter, b->model->counters);
}

/* After the model is there: the fronts, joined to it and to each other. */
static int
make_fronts(struct broker *b)
{
	int r;

	make_metrics(b);
	r = sd_event_new(&b->event);
	if (r == 0)
		r = add_timer(b, CLOCK_REALTIME, &b->expiry_timer);
	if (r == 0)
		r = add_timer(b, CLOCK_MONOTONIC, &b->timer);
	if (r == 0)
		r = add_turning(b);
	if (r < 0)
		return error_trace(r);
	b->orders = (struct keeper_orders){b->boot, b->state, &b->fronts, b->event};
	keeper_orders_join(&b->orders);
	return fronts_init(&b->fronts, b->model, b->state, b->boot, b->event, &b->metrics);
}

/*
 * Takes over what the predecessor had: its descriptors, then its connection to the kernel. Before
 * that it gives up the means to open files: nothing that a client wrote is read by a process that
 * has them.
 */
static int
take_over(struct broker *b, const int *fds, size_t n_fds)
{
	int r = filter_broker();

	if (r == 0)
		r = adopt(b->fronts.sockets, fds, n_fds);
	if (r == 0) {
		jobs_set_binder(b->fronts.sockets, BOOT_FD_BINDER);
		r = keeper_orders_listen(&b->orders);
	}
	if (r == 0)
		r = add_io(b, BOOT_FD_FUSE, on_kernel);
	if (r < 0)
		return error_trace(r);
	r = fs_take_over(b->fronts.fs);
	if (r == -EPROTO) {
		log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STATE_REFUSED}),
			"the kernel is served in another version's way: start anew");
		return BROKER_EXIT_REFUSED;
	}
	return r;
}

/* The descriptors of before are listed first: none that is opened later is taken for a client's. */
static int
broker_start(struct broker *b)
{
	cleanup_free int *fds = NULL;
	size_t n_fds, first = 0;
	int r;

	r = fd_list(&fds, &n_fds);
	if (r < 0)
		return error_trace(r);
	while (first < n_fds && fds[first] < BOOT_FD_FIRST_FREE)
		first++;
	r = loading_store(b->boot, &b->state, &b->model);
	if (r == 0) {
		b->boot->page->stored = 1;
		state_tell(b->state, &b->boot->page->storing);
		r = make_fronts(b);
	}
	if (r == 0)
		r = take_over(b, fds + first, n_fds - first);
	if (r != 0)
		return r;
	b->boot->page->ready = 1;
	return error_trace(keeper_orders_tell(&b->orders, KEEPER_READY));
}

/* A full store is no reason to end, nor to try again without pause, which takes a whole CPU. */
static bool
must_wait(struct broker *b)
{
	if (b->retry_usec && clock_usec(CLOCK_MONOTONIC) >= b->retry_usec)
		b->retry_usec = 0;
	return b->retry_usec != 0;
}

/*
 * Reaping writes, too. What has ended is of no use to anybody meanwhile, also if it is still there.
 */
static int
wait_if_full(struct broker *b, int r)
{
	if (r != -ENOSPC && r != -ENOMEM)
		return r;
	if (!b->told_full && r == -ENOSPC)
		log_event(LOG_WARNING, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STORE_FULL}),
			"the state store is full: what has ended stays until there is room");
	else if (!b->told_full)
		log_message(LOG_WARNING, "out of memory: what has ended stays until there is room");
	b->told_full = true;
	b->retry_usec = clock_usec(CLOCK_MONOTONIC) + RETRY_USEC;
	return 0;
}

/* Ends what has expired, without waiting for a quiet moment, which may not come. */
static int
expire(struct broker *b)
{
	uint64_t next;

	if (b->model->now_usec() < b->model->next_expiry_usec || must_wait(b))
		return 0;
	return wait_if_full(b, expiry_run(b->model, &next));
}

/*
 * Ends a few connections of what has ended, as long as there are any. More at once would be no gain: the servers are
 * woken by each, and the kernel has to free what it was, and both may have the CPU before whoever waits for us.
 * Returns: was there any?
 */
static bool
end_connections(struct broker *b)
{
	unsigned n = 0;

	for (; n < END_BUDGET && listeners_are_doomed(b->fronts.sockets); n++)
		listeners_end_one(b->fronts.sockets);
	return n > 0;
}

/*
 * What is removed ends with all its connections at once, so where there are many these end first. But whoever fills and
 * revokes one slot after the other must not keep all others' from being removed.
 */
static bool
is_held(struct broker *b)
{
	if (!listeners_are_crowded(b->fronts.sockets)) {
		b->held = 0;
		return false;
	}
	return b->held++ / HOLD_ROUNDS % 2 == 0;
}

/*
 * How long a transaction takes depends on the machine and on what goes, such as slots with a connection each after many
 * without. It grows slowly: what took little time now and then says nothing.
 */
static void
set_pace(struct broker *b, uint64_t nsec)
{
	if (nsec > 2 * REAPING_NSEC)
		b->slice /= 2;
	else if (nsec > REAPING_NSEC)
		b->slice -= b->slice / 8;
	else
		b->slice += b->slice / 8;
	if (b->slice < REAP_MIN)
		b->slice = REAP_MIN;
	if (b->slice > REAP_MAX)
		b->slice = REAP_MAX;
}

/*
 * Removes a slice of what has ended: the end of a large session must not make all others wait. Only one that leaves
 * something was whole and tells the pace.
 */
static int
reap(struct broker *b, bool *ret_busy)
{
	uint64_t begin;
	int r;

	if (list_empty(&b->model->ending) || is_held(b) || must_wait(b))
		return 0;
	begin = clock_nsec(CLOCK_MONOTONIC);
	r = wait_if_full(b, model_reap(b->model, b->slice));
	if (r < 0)
		return error_trace(r);
	if (b->retry_usec)
		return 0;
	if (r > 0)
		set_pace(b, clock_nsec(CLOCK_MONOTONIC) - begin);
	b->told_full = false;
	*ret_busy = true;
	fronts_reaped(&b->fronts);
	return 0;
}

/*
 * Gives a slice of what is shared, when nothing is left that has ended: that makes room. Whoever shares with ten
 * thousand makes nobody wait.
 */
static int
share(struct broker *b, bool *ret_busy)
{
	int r;

	if (!share_is_due(b->model) || !list_empty(&b->model->ending) || must_wait(b))
		return 0;
	r = wait_if_full(b, share_run(b->model, SHARE_BUDGET));
	if (r < 0)
		return error_trace(r);
	*ret_busy = true;
	fronts_reaped(&b->fronts);
	return 0;
}

/* When the loop last looked at its sources: it has asked for the time then. */
static uint64_t
event_usec(const struct broker *b)
{
	uint64_t usec = 0;

	return sd_event_now(b->event, CLOCK_MONOTONIC, &usec) < 0 ? 0 : usec;
}

/*
 * Is there a reason to read from the kernel? Whoever it was that had an answer of it often asks again at
 * once, sooner than one look at all sources would be over. Who only connects to sockets does not: for
 * those each look is a system call too many.
 */
static bool
kernel_may_ask(const struct broker *b, uint64_t now)
{
	return b->told || now - b->asked_nsec < SPIN_NSEC || !turns_empty(&b->fronts.turns);
}

/* The same of clients with a control connection. Who was handed on, to a service or a program, is not expected. */
static bool
may_ask(const struct broker *b, uint64_t now)
{
	return kernel_may_ask(b, now) || now - b->talked_nsec < SPIN_NSEC;
}

/* One turn's time for the kernel's requests, and whoever else is in line. Returns: 0 or -errno. */
static int
serve_kernel(struct broker *b, uint64_t now, bool *ret_busy)
{
	const uint64_t *served = &b->model->counters->served[FRONT_FUSE], before = *served;
	int n, r;

	if (!kernel_may_ask(b, now))
		return 0;
	/* What is told of sockets is what there is by now. */
	r = sockets_catch_up(b->fronts.sockets);
	if (r < 0)
		return r;
	n = fs_drain(b->fronts.fs, now - b->asked_nsec < SPIN_NSEC);
	b->told = false;
	if (*served != before)
		b->asked_nsec = clock_nsec(CLOCK_MONOTONIC);
	*ret_busy = n > 0;
	return n < 0 ? n : 0;
}

/* Sets TIMER to wake the loop at USEC, UINT64_MAX: never; no system call when it is so already. */
static int
set_timer(sd_event_source *timer, uint64_t usec, uint64_t *set_to)
{
	int enabled = usec == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT;
	int is_enabled = SD_EVENT_OFF, r;

	r = sd_event_source_get_enabled(timer, &is_enabled);
	if (r < 0 || (usec == *set_to && is_enabled == enabled))
		return r < 0 ? r : 0;
	*set_to = usec;
	r = sd_event_source_set_time(timer, usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(timer, enabled);
	return r < 0 ? r : 0;
}

/* What is done only when there is nothing else to do, and until when the loop may sleep then. */
static int
before_sleep(struct broker *b, bool *ret_sleeps)
{
	uint64_t expires = UINT64_MAX, deadline = fs_deadline(b->fronts.fs);
	int r;

	if (!must_wait(b)) {
		r = expiry_run(b->model, &expires);
		if (r == 0)
			r = events_store(b->model);
		r = wait_if_full(b, r);
		if (r < 0)
			return error_trace(r);
		*ret_sleeps = b->retry_usec ||
			(list_empty(&b->model->ending) && !share_is_due(b->model));
	}
	*ret_sleeps &= !listeners_are_doomed(b->fronts.sockets);
	if (b->retry_usec && b->retry_usec < deadline)
		deadline = b->retry_usec;
	r = set_timer(b->expiry_timer, expires, &b->expires_usec);
	return r < 0 ? r : set_timer(b->timer, deadline, &b->timer_usec);
}

/*
 * The next of the loop's sources, which for all sockets of clients is one session's turn
 * (process/watch.h). SLEEPS: waits for one. Returns: 0 or -errno.
 */
static int
serve_sources(struct broker *b, bool sleeps, bool *ret_came)
{
	int r;

	meter_mark(&b->meter);
	r = sd_event_prepare(b->event);
	if (r == 0)
		r = sd_event_wait(b->event, sleeps ? UINT64_MAX : 0);
	if (r < 0)
		return error_trace(r);
	if (sleeps)
		meter_begin(&b->meter, event_usec(b));
	else
		meter_note(&b->meter, event_usec(b));
	if (r == 0)
		return 0;
	*ret_came = true;
	r = sd_event_dispatch(b->event);
	return r < 0 ? error_trace(r) : 0;
}

/* Returns: the time, up to which all that was served is measured. */
static uint64_t
finish_round(struct broker *b)
{
	const struct counters *c = b->model->counters;
	uint64_t now = clock_nsec(CLOCK_MONOTONIC), n = c->served[FRONT_CONTROL] - c->control[WIRE_SPAWN];

	if (n != b->n_talked)
		b->talked_nsec = now;
	b->n_talked = n;
	meter_mark(&b->meter);
	meter_note(&b->meter, now / 1000);
	return now;
}

/*
 * One turn of everything: the kernel's requests, and of the loop's sources the next. Each has a bound,
 * and nobody has two in a row, so that none waits longer than a turn for each session that wants
 * something. Where there is nothing to be done, and nothing is expected, it sleeps before that.
 */
static int
broker_round(struct broker *b, uint64_t now)
{
	struct boot_page *page = b->boot->page;
	bool busy = false, came = false, ended, sleeps;
	int r;

	/* For the holder, who would end a broker whose count stands still. */
	__atomic_store_n(&page->turns, page->turns + 1, __ATOMIC_RELAXED);
	meter_begin(&b->meter, now / 1000);
	r = serve_kernel(b, now, &busy);
	sleeps = !busy && !may_ask(b, now) && (b->quiet || !events_are_queued(b->model));
	if (r == 0 && sleeps)
		r = before_sleep(b, &sleeps);
	if (r == 0)
		r = serve_sources(b, sleeps, &came);
	if (r < 0 || sd_event_get_exit_code(b->event, &(int){0}) == 0)
		return r;
	b->quiet = !came;
	fs_timeouts(b->fronts.fs);
	r = expire(b);
	ended = end_connections(b);
	if (r == 0)
		r = reap(b, &came);
	if (r == 0)
		r = share(b, &came);
	if (r == 0 && !busy && !came && !ended)
		sched_yield(); /* it takes no time from anybody who could use it */
	return r;
}

static int
broker_loop(struct broker *b)
{
	uint64_t now = clock_nsec(CLOCK_MONOTONIC);
	int r, exit_code;

	b->told = true;
	for (;;) {
		r = broker_round(b, now);
		if (r < 0)
			return r;
		if (sd_event_get_exit_code(b->event, &exit_code) == 0)
			return exit_code;
		now = finish_round(b);
	}
}

/* Without a mount another broker would have nothing to serve; whatever else fails, it may not. */
int
broker_main(const struct boot *boot)
{
	struct broker b = {
		.boot = boot,
		.slice = 2 * REAP_MIN,
		.expires_usec = UINT64_MAX,
		.timer_usec = UINT64_MAX,
	};
	int r;

	r = broker_start(&b);
	if (r == 0)
		r = broker_loop(&b);
	if (r >= 0)
		return r;
	if (r == -ENODEV || r == -ENOTCONN)
		return BROKER_EXIT_UNMOUNTED;
	log_message(LOG_ERR, "the broker ends: %s", strerror(-r));
	return BROKER_EXIT_RESTART;
}
