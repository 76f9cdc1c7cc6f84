/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What servers have counted in the page `used` (wire/pages.h). It is a server's word: it
 * is believed as far as it does not fall, nor pass the limit. It is read by pread(2), which
 * allocates nothing, whenever somebody looks; to the store it goes once a second, and when the
 * server goes.
 *
 * Calls of that last second can be lost to a crash of the whole machine, and are then free. A crash
 * of the broker loses nothing, since the pages outlive it.
 */
#include "config.h"

#include "capfsd/sockets/counts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/model/change.h"
#include "capfsd/process/loop.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/pages.h"
#include "wire/pages.h"

#define READ_ENTRIES 1024  /* at once */
#define COUNTS_MAX 256	   /* stored in one transaction */
#define COUNT_USEC 1000000 /* between two looks */

struct counts {
	sd_event_source *timer;
};

/* Of the moment: what is shown may be ahead of the store by a second. */
bool
counts_read(const struct capability *c, uint64_t *ret_calls)
{
	const struct pages *p = endpoint_pages(capability_entrypoint(c));
	struct used_entry used;

	if (!p || !pages_have(p, c) || !pages_used(p, c->record.page_index, &used, 1))
		return false;
	*ret_calls = used.calls;
	return true;
}

/* As the server's library has it, which refuses them (libcap-client/limits.c). */
uint64_t
counts_no_rate(const struct capability *c)
{
	const struct pages *p = endpoint_pages(capability_entrypoint(c));
	uint64_t now = clock_usec(CLOCK_MONOTONIC);
	struct used_entry used;

	for (; p && c; c = c->parent) {
		uint64_t rate = c->record.rate_limit;

		if (rate != LIMIT_NONE && rate > 0 && pages_have(p, c) &&
			pages_used(p, c->record.page_index, &used, 1) &&
			pages_until(used.rate_at, now) > (rate - 1) * pages_rate_interval(rate))
			return c->entity.id;
	}
	return 0;
}

/*
 * As capability_calls_used() has it, of a server that may be gone: a page that a server has set
 * back gives no call back, and one that it has set too high uses up no more than there was.
 */
static uint64_t
calls_used(const struct capability_record *r, uint64_t calls)
{
	if (calls > r->calls_limit)
		return r->calls_limit;
	return calls > r->calls_used ? calls : r->calls_used;
}

/*
 * Nothing is staged for what has not changed, since most looks find nothing new. Returns: 1 when
 * that is new, 0, -ENOMEM.
 */
static int
count_one(const struct pages *p, struct change *ch, struct capability *c,
	const struct used_entry *used, bool last)
{
	const struct capability_record *r = &c->record;
	uint64_t calls = r->calls_used, missing = 0;
	struct capability_record *edited;

	if (r->calls_limit != LIMIT_NONE)
		calls = calls_used(r, used->calls);
	if (last && r->rate_limit != LIMIT_NONE)
		missing = pages_until(used->rate_at, clock_usec(CLOCK_MONOTONIC));
	if ((calls == r->calls_used && !missing) || capability_is_doomed(c))
		return 0;
	edited = change_edit(ch, &c->entity);
	if (!edited)
		return -ENOMEM;
	edited->calls_used = calls;
	if (missing)
		edited->rate_at_usec = p->sockets->model->now_usec() + missing;
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
 * Stages what was used from index *AT on, some of it, and moves *AT behind that. Returns: how much
 * is staged, -errno.
 */
static int
count_some(const struct pages *p, struct change *ch, uint32_t *at, bool last, bool *ret_live)
{
	struct used_entry used[READ_ENTRIES];
	int n = 0;

	while (*at <= p->n_given && n < COUNTS_MAX) {
		uint32_t first = *at, left = p->n_given - first + 1;
		uint32_t n_read = left < READ_ENTRIES ? left : READ_ENTRIES;

		if (!pages_used(p, first, used, n_read))
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

/*
 * To the store, in a transaction for every few of them, so that one with a million entries holds
 * nobody up for long. What a crash in between leaves is stored again, and the same.
 */
static int
counts_store(const struct pages *p, bool last, bool *ret_live)
{
	uint32_t at = 1;

	while (at <= p->n_given) {
		struct change *ch = change_begin(p->sockets->model);
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

/*
 * What is left of rates is stored as well: the next server begins with that, and not with a full
 * one.
 */
int
counts_settle(const struct pages *p)
{
	bool live = false;

	return p ? counts_store(p, true, &live) : 0;
}

/* Goes on while there are connections that can count; the last of them leaves no timer behind. */
static int
counts_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	bool live = false;

	list_for_each (i, &sockets->channels->all) {
		const struct pages *p = list_entry(i, struct channel, link)->endpoint->pages;
		int r = p ? counts_store(p, false, &live) : 0;

		if (r < 0) {
			core_fail(sockets, r);
			live = true;
		}
	}
	if (live)
		loop_arm(sockets->counts->timer, COUNT_USEC);
	return 0;
}

void
counts_watch(struct sockets *sockets)
{
	loop_arm(sockets->counts->timer, COUNT_USEC);
}

/* Without a limit there is nothing whose loss anybody could notice. */
void
counts_watch_capability(struct sockets *sockets, const struct capability *c)
{
	const struct pages *p = endpoint_pages(capability_entrypoint(c));

	if (!p || !pages_have(p, c))
		return;
	for (; c; c = c->parent)
		if (c->record.calls_limit != LIMIT_NONE) {
			counts_watch(sockets);
			return;
		}
}

int
counts_new(struct sockets *sockets)
{
	sockets->counts = calloc(1, sizeof(*sockets->counts));
	if (!sockets->counts)
		return -ENOMEM;
	return loop_add_timer(sockets->event, counts_on_timer, sockets, &sockets->counts->timer);
}

void
counts_free(struct sockets *sockets)
{
	struct counts *counts = take_ptr(sockets->counts);

	if (counts)
		sd_event_source_disable_unref(counts->timer);
	free(counts);
}
