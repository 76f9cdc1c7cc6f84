/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What servers have counted in the page `used` (libcap-client/pages.h). It is a server's word: it is
 * believed as far as it does not fall, nor pass the limit. It is read by pread(2), which allocates
 * nothing, whenever somebody looks; to the store it goes once a second, and when the server goes.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "libcap-client/pages.h"

#define READ_ENTRIES 1024 /* at once */
#define COUNTS_MAX 256	  /* stored in one transaction */

static uint64_t
monotonic_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool
used_read(const struct pages *p, uint32_t index, struct used_entry *entries, uint32_t n)
{
	ssize_t bytes = (ssize_t)(n * sizeof(*entries));

	return pread(p->used_fd, entries, (size_t)bytes,
		       (off_t)(index * sizeof(*entries))) == bytes;
}

static uint64_t
capped(uint64_t usec)
{
	return usec < 2 * PAGES_SECOND_USEC ? usec : 0;
}

/* The clocks differ: what is left of the rate is the same. */
static uint64_t
rate_at(const struct ipc *ipc, const struct capability_record *r)
{
	uint64_t now = ipc->model->now_usec(), missing = 0;

	if (r->rate_limit != LIMIT_NONE && r->rate_at_usec > now)
		missing = capped(r->rate_at_usec - now);
	return missing ? monotonic_usec() + missing : 0;
}

int
counts_begin(const struct pages *p, uint32_t index, const struct capability_record *r)
{
	const struct used_entry used = {.calls = r->calls_used, .rate_at = rate_at(p->ipc, r)};
	ssize_t n = pwrite(p->used_fd, &used, sizeof(used), (off_t)(index * sizeof(used)));

	if (n < 0)
		return -errno;
	return n == sizeof(used) ? 0 : -ENOSPC;
}

bool
ipc_counted(struct ipc *ipc, const struct capability *c, uint64_t *ret_calls)
{
	const struct pages *p = capability_entrypoint(c)->pages;
	struct used_entry used;

	if (!p || !pages_have(p, c) || !used_read(p, c->record.page_index, &used, 1))
		return false;
	*ret_calls = used.calls;
	return true;
}

/* As capability_calls_used() has it, of a server that may be gone. */
static uint64_t
calls_used(const struct capability_record *r, uint64_t calls)
{
	if (calls > r->calls_limit)
		return r->calls_limit;
	return calls > r->calls_used ? calls : r->calls_used;
}

/* Stages what C has used. Returns: 1 when that is new, 0, -ENOMEM. */
static int
count_one(const struct pages *p, struct change *ch, struct capability *c,
	const struct used_entry *used, bool last)
{
	const struct capability_record *r = &c->record;
	uint64_t now = monotonic_usec(), calls = r->calls_used, missing = 0;
	struct capability_record *edited;

	if (r->calls_limit != LIMIT_NONE)
		calls = calls_used(r, used->calls);
	if (last && r->rate_limit != LIMIT_NONE && used->rate_at > now)
		missing = capped(used->rate_at - now);
	if ((calls == r->calls_used && !missing) || capability_is_doomed(c))
		return 0;
	edited = change_edit(ch, &c->entity);
	if (!edited)
		return -ENOMEM;
	edited->calls_used = calls;
	if (missing)
		edited->rate_at_usec = p->ipc->model->now_usec() + missing;
	return 1;
}

/* A rate is over in a second: it matters only at the end. */
static bool
is_stored(const struct capability *c, bool last)
{
	return c && (c->record.calls_limit != LIMIT_NONE ||
			    (last && c->record.rate_limit != LIMIT_NONE));
}

/*
 * Stages what was used from index *AT on, some of it, and moves *AT behind that. Returns: how much is
 * staged, -errno.
 */
static int
count_some(const struct pages *p, struct change *ch, uint32_t *at, bool last, bool *ret_live)
{
	struct used_entry used[READ_ENTRIES];
	int n = 0;

	while (*at <= p->n_given && n < COUNTS_MAX) {
		uint32_t first = *at, left = p->n_given - first + 1;
		uint32_t n_read = left < READ_ENTRIES ? left : READ_ENTRIES;

		if (!used_read(p, first, used, n_read))
			return -EIO;
		for (; *at < first + n_read && n < COUNTS_MAX; ++*at) {
			struct capability *c = p->slots[*at].capability;
			int r;

			if (!is_stored(c, last))
				continue;
			*ret_live = *ret_live || c->conns_used > 0;
			r = count_one(p, ch, c, &used[*at - first], last);
			if (r < 0)
				return r;
			n += r;
		}
	}
	return n;
}

/* To the state, in a transaction for every few of them. What is there twice is the same. */
static int
counts_store(const struct pages *p, bool last, bool *ret_live)
{
	uint32_t at = 1;

	while (at <= p->n_given) {
		struct change *ch = change_begin(p->ipc->model);
		int r = count_some(p, ch, &at, last, ret_live);

		if (r < 0)
			change_abort(ch);
		else
			r = change_commit(ch);
		if (r < 0)
			return r;
	}
	return 0;
}

int
counts_settle(const struct pages *p)
{
	bool live = false;

	return p ? counts_store(p, true, &live) : 0;
}

int
counts_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;
	bool live = false;

	list_for_each (i, &ipc->channels) {
		const struct pages *p = list_entry(i, struct channel, link)->pages;
		int r = p ? counts_store(p, false, &live) : 0;

		if (r < 0) {
			ipc_fail(ipc, r);
			live = true;
		}
	}
	if (live)
		ipc_arm(ipc->count_timer, COUNT_USEC);
	return 0;
}
