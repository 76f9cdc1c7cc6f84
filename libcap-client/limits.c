/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A call is first checked along all its ancestors, then counted along them, each by
 * compare-and-exchange, so that no limit is ever passed. Whoever loses the last one of an ancestor
 * gives back what was counted below it: then others may be refused, for a moment, that would have
 * had their turn.
 */
#include "config.h"

#include "libcap-client/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "libcap-client/cap-client.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
/* A daemon that died while it wrote: what is read then is not more than was granted. */
#define TRIES_MAX 1000

/* A page of exactly this size, for good: else it could become a SIGBUS. */
static int
map_page(int fd, size_t n, int protection, void **ret)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size != (off_t)n)
		return -EBADMSG;
	p = mmap(NULL, n, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int
limits_map(int granted_fd, int used_fd, struct limits *ret)
{
	const struct granted_header *header;
	void *granted, *used;
	int r;

	r = map_page(granted_fd, PAGES_GRANTED_BYTES, PROT_READ, &granted);
	if (r < 0)
		return r;
	header = granted;
	if (header->magic != PAGES_MAGIC)
		r = -EBADMSG;
	else if (header->version != PAGES_VERSION || header->n_entries != PAGES_ENTRIES)
		r = -EPROTO;
	else
		r = map_page(used_fd, PAGES_USED_BYTES, PROT_READ | PROT_WRITE, &used);
	if (r < 0) {
		munmap(granted, PAGES_GRANTED_BYTES);
		return r;
	}
	*ret = (struct limits){granted, used};
	return 0;
}

void
limits_unmap(struct limits *l)
{
	if (!l->granted)
		return;
	munmap((void *)(uintptr_t)l->granted, PAGES_GRANTED_BYTES);
	munmap(l->used, PAGES_USED_BYTES);
	*l = (struct limits){};
}

static uint64_t
get(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* On the way from a capability to its origin. */
struct step {
	uint32_t index;
	uint64_t capability;
	uint64_t below; /* the id of the one before, 0: it is the first */
	unsigned depth;
	uint64_t parent, parent_index;
	const struct granted_entry *granted;
	struct used_entry *used;
};

/* Returns: 0, ENOENT: it is not there any more. */
static int
step_enter(const struct limits *l, struct step *s)
{
	if (s->index == 0 || s->index >= PAGES_ENTRIES || s->depth >= PAGES_DEPTH_MAX)
		return ENOENT;
	s->granted = &l->granted[s->index];
	s->used = &l->used[s->index];
	if (!s->capability ||
		__atomic_load_n(&s->granted->capability, __ATOMIC_ACQUIRE) != s->capability)
		return ENOENT;
	s->parent = get(&s->granted->parent);
	s->parent_index = get(&s->granted->parent_index);
	return s->below && s->below <= get(&s->granted->revoked_upto) ? ENOENT : 0;
}

/* Was what has been read of it since step_enter() its own? */
static bool
step_holds(const struct step *s)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return get(&s->granted->capability) == s->capability;
}

/* Returns: false at the origin. */
static bool
step_up(struct step *s)
{
	s->below = s->capability;
	s->capability = s->parent;
	s->index = s->parent_index < PAGES_ENTRIES ? (uint32_t)s->parent_index : 0;
	s->depth++;
	return s->parent != 0;
}

static bool
ranges_have(const struct granted_entry *g, uint32_t method)
{
	for (unsigned i = 0; i < PAGES_METHODS; i++) {
		uint64_t range = get(&g->methods[i]);

		if (method >= (uint32_t)range && method <= (uint32_t)(range >> 32))
			return true;
	}
	return false;
}

/* When all of a second's calls would be there again, if none was made now. */
static uint64_t
rate_start(uint64_t at, uint64_t now)
{
	/* No rate makes anybody wait for two seconds. */
	return at < now || at - now > 2 * PAGES_SECOND_USEC ? now : at;
}

static bool
rate_has_room(uint64_t rate, uint64_t at, uint64_t now)
{
	return rate > 0 && at - now <= (rate - 1) * pages_rate_interval(rate);
}

static int
step_look(const struct step *s, uint32_t method, uint64_t *now, const char **ret_reason)
{
	const struct granted_entry *g = s->granted;
	uint64_t limit = get(&g->calls_limit), rate = get(&g->rate);

	*ret_reason = "it lacks right 'call'";
	if (!(get(&g->rights) & CAPC_RIGHT_CALL))
		return EPERM;
	*ret_reason = "it may not call that method";
	if (!ranges_have(g, method))
		return EPERM;
	*ret_reason = "its calls are used up";
	if (limit != PAGES_NO_LIMIT && get(&s->used->calls) >= limit)
		return EDQUOT;
	*ret_reason = "its rate is reached";
	if (rate == PAGES_NO_LIMIT)
		return 0;
	if (!*now)
		*now = clock_usec(CLOCK_MONOTONIC);
	return rate_has_room(rate, rate_start(get(&s->used->rate_at), *now), *now) ? 0 : EDQUOT;
}

/*
 * What was granted may become more as well as less, so that a mixture of before and after could be what never
 * was granted. A daemon that died while it wrote must not be waited for: then what is there counts.
 */
static int
step_check(const struct step *s, uint32_t method, uint64_t *now, const char **ret_reason)
{
	const struct granted_entry *g = s->granted;
	int r = 0;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		uint64_t sequence = __atomic_load_n(&g->sequence, __ATOMIC_ACQUIRE);

		r = step_look(s, method, now, ret_reason);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(sequence & 1) && get(&g->sequence) == sequence)
			break;
		sched_yield();
	}
	return r;
}

static bool
calls_take(const struct step *s, uint64_t limit)
{
	uint64_t calls = get(&s->used->calls);

	do
		if (calls >= limit)
			return false;
	while (!__atomic_compare_exchange_n(&s->used->calls, &calls, calls + 1, true,
		__ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

static bool
rate_take(const struct step *s, uint64_t rate, uint64_t now)
{
	uint64_t at = get(&s->used->rate_at), start;

	do {
		start = rate_start(at, now);
		if (!rate_has_room(rate, start, now))
			return false;
	} while (!__atomic_compare_exchange_n(&s->used->rate_at, &at,
		start + pages_rate_interval(rate), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

/* What was counted at one entry, to be given back should a later one refuse. */
struct taken {
	struct used_entry *used;
	uint64_t calls, usec;
};

static int
step_take(const struct step *s, uint64_t now, struct taken *ret, const char **ret_reason)
{
	uint64_t limit = get(&s->granted->calls_limit), rate = get(&s->granted->rate);

	*ret = (struct taken){.used = s->used};
	*ret_reason = "its calls are used up";
	if (limit != PAGES_NO_LIMIT && !calls_take(s, limit))
		return EDQUOT;
	ret->calls = limit != PAGES_NO_LIMIT;
	*ret_reason = "its rate is reached";
	/* One that was set since the check counts from the next call on. */
	if (rate == PAGES_NO_LIMIT || !now)
		return 0;
	if (!rate_take(s, rate, now))
		return EDQUOT;
	ret->usec = pages_rate_interval(rate);
	return 0;
}

static void
give_back(const struct taken *taken, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (taken[i].calls)
			__atomic_fetch_sub(&taken[i].used->calls, taken[i].calls, __ATOMIC_RELAXED);
		if (taken[i].usec)
			__atomic_fetch_sub(&taken[i].used->rate_at, taken[i].usec, __ATOMIC_RELAXED);
	}
}

static bool
step_is_counted(const struct step *s)
{
	return get(&s->granted->calls_limit) != PAGES_NO_LIMIT ||
		get(&s->granted->rate) != PAGES_NO_LIMIT;
}

static int
count(const struct limits *l, struct step s, uint64_t now, const char **ret_reason)
{
	struct taken taken[PAGES_DEPTH_MAX];
	unsigned n = 0;
	int r;

	do {
		r = step_enter(l, &s);
		if (r == 0 && step_is_counted(&s))
			r = step_take(&s, now, &taken[n++], ret_reason);
		if (r == 0 && !step_holds(&s))
			r = ENOENT;
	} while (r == 0 && step_up(&s));
	if (r)
		give_back(taken, n);
	return r;
}

bool
limits_apply(const struct limits *l, uint32_t index, uint64_t capability)
{
	struct step s = {.index = index, .capability = capability};

	do
		if (step_enter(l, &s) || step_is_counted(&s))
			return true;
	while (step_up(&s));
	return false;
}

int
limits_count(const struct limits *l, uint32_t index, uint64_t capability, uint32_t method,
	const char **ret_reason)
{
	struct step s = {.index = index, .capability = capability};
	const struct step first = s;
	bool counted = false;
	uint64_t now = 0;
	int r;

	do {
		*ret_reason = "the capability has ended";
		r = step_enter(l, &s);
		if (r == 0)
			r = step_check(&s, method, &now, ret_reason);
		/* Whatever was read of one that has ended meanwhile. */
		if (s.granted && !step_holds(&s))
			r = ENOENT;
		if (r)
			return r;
		counted = counted || step_is_counted(&s);
	} while (step_up(&s));
	return counted ? count(l, first, now, ret_reason) : 0;
}
