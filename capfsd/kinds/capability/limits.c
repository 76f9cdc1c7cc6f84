/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What counts of a capability. Its own record says what it was given; what counts is the smallest
 * along its ancestors: rights, expiry, methods, what is left of calls and connections. So a parent
 * that shrinks takes its descendants along by one record of its own, and use counts against all of
 * them. Every question here is a walk up, DERIVATION_DEPTH_MAX long at most.
 *
 * Anybody may ask. Only capability_count() stages something, and only the count of connections is
 * changed without a change: it is not stored, and begins with 0 in each broker.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/passage.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/capability/use.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

#define SECOND_USEC UINT64_C(1000000)
#define METHODS_END (UINT64_C(1) << 32) /* one behind the last */

struct entrypoint *
capability_entrypoint(const struct capability *c)
{
	return capability_service(c).entrypoint;
}

/* Moves FIRST up to the next method that R has, and LAST down to where that range ends. */
static void
narrow(const struct capability_record *r, uint64_t *first, uint64_t *last)
{
	uint32_t i = 0;

	if (r->n_methods == 0)
		return;
	while (i < r->n_methods && r->methods[i].last < *first)
		i++;
	if (i == r->n_methods) {
		*first = METHODS_END;
		return;
	}
	if (r->methods[i].first > *first)
		*first = r->methods[i].first;
	if (r->methods[i].last < *last)
		*last = r->methods[i].last;
}

/*
 * The intersection of all sets, without memory for one: the candidate range is narrowed by each
 * ancestor until all agree on where it begins. Each round moves it up, so that it ends.
 */
bool
capability_next_methods(const struct capability *c, uint64_t *first, uint64_t *ret_last)
{
	uint64_t before, last = 0;

	if (*first >= METHODS_END)
		return false;
	do {
		before = *first;
		last = METHODS_END - 1;
		for (const struct capability *i = c; i; i = i->parent)
			narrow(&i->record, first, &last);
	} while (*first != before && *first < METHODS_END);
	*ret_last = last;
	return *first < METHODS_END;
}

void
capability_format_methods(const struct capability *c, struct text *t)
{
	const char *comma = "";
	uint64_t first = 0, last;

	for (; capability_next_methods(c, &first, &last); first = last + 1) {
		if (first == 0 && last == METHODS_END - 1)
			return;
		text_addf(t, first < last ? "%s%" PRIu64 "-%" PRIu64 : "%s%" PRIu64, comma, first,
			last);
		comma = ",";
	}
	if (!*comma)
		text_add(t, "none");
}

uint64_t
capability_expires(const struct capability *c)
{
	uint64_t expires = LIMIT_NONE;

	for (; c; c = c->parent) {
		uint64_t through = c->tie ? tie_expires(c->tie) : LIMIT_NONE;

		if (c->record.expires_usec < expires)
			expires = c->record.expires_usec;
		if (through < expires)
			expires = through;
	}
	return expires;
}

/*
 * The clock is asked only where something expires, since this is asked of every entity that is
 * listed.
 */
bool
capability_is_live(const struct capability *c)
{
	uint64_t expires = capability_expires(c);

	return !capability_is_doomed(c) &&
		(expires == LIMIT_NONE || expires > c->session->model->now_usec());
}

/* A server that takes no descriptors leaves nobody the right to send it any. */
uint32_t
capability_rights(const struct capability *c)
{
	uint32_t rights = capability_service(c).fds ? ~UINT32_C(0) : ~(uint32_t)RIGHT_FDS;

	for (; c; c = c->parent)
		rights &= record_rights(&c->record) & (c->tie ? tie_rights(c->tie) : ~UINT32_C(0));
	return rights;
}

bool
capability_counts_calls(const struct capability *c)
{
	return capability_service(c).counts;
}

/*
 * An entry counts only in the pages of the attachment that it was given in. A server that comes
 * later has other pages, where the same number is somebody else's entry.
 */
uint32_t
capability_page_index(const struct capability *c)
{
	const struct entrypoint *ep = c->record.page_index ? capability_entrypoint(c) : NULL;

	if (!ep || !ep->record.thread || ep->record.attachment != c->record.page_attachment)
		return 0;
	return c->record.page_index;
}

/*
 * The server may be hostile or broken, so its word moves the count only up, and not beyond the
 * limit: it cannot give calls back to a client, and the subtraction that follows cannot wrap.
 */
uint64_t
capability_calls_used(const struct capability *c)
{
	const struct model *m = c->session->model;
	const struct capability_record *r = &c->record;
	uint64_t counted;

	if (r->calls_limit == LIMIT_NONE || !capability_page_index(c) || !m->hooks ||
		!m->hooks->counted || !m->hooks->counted(m->hooks_data, c, &counted))
		return r->calls_used;
	if (counted > r->calls_limit)
		return r->calls_limit;
	return counted > r->calls_used ? counted : r->calls_used;
}

uint64_t
capability_calls_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE;

	for (; c; c = c->parent)
		if (c->record.calls_limit != LIMIT_NONE &&
			c->record.calls_limit - capability_calls_used(c) < least)
			least = c->record.calls_limit - capability_calls_used(c);
	return least;
}

/* A limit may have become smaller than what is in use; that leaves 0, and ends nothing. */
uint64_t
capability_conns_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE;

	for (; c; c = c->parent) {
		uint64_t limit = c->record.conns_limit;
		uint64_t left = limit > c->conns_used ? limit - c->conns_used : 0;

		if (limit != LIMIT_NONE && left < least)
			least = left;
	}
	return least;
}

/* Rounded up: never more than the limit, if a little less of a high one. */
static uint64_t
rate_interval(const struct capability_record *r)
{
	return (SECOND_USEC + r->rate_limit - 1) / r->rate_limit;
}

/*
 * A second's worth of connections is there to be had at once, and comes back evenly. When the clock was
 * set back, all of it is there: no rate makes anybody wait for two seconds.
 */
uint64_t
record_rate_left(const struct capability_record *r, uint64_t now)
{
	uint64_t interval = rate_interval(r), missing, used;

	missing = r->rate_at_usec > now ? r->rate_at_usec - now : 0;
	used = missing > 2 * SECOND_USEC ? 0 : (missing + interval - 1) / interval;
	return used < r->rate_limit ? r->rate_limit - used : 0;
}

/*
 * `rate_at_usec` is the moment at which everything is there again, and each use moves it by one
 * interval. A moment that has passed, or lies further ahead than any use could have moved it,
 * starts at now.
 */
static void
rate_use(struct capability_record *r, uint64_t now)
{
	if (r->rate_at_usec < now || r->rate_at_usec - now > 2 * SECOND_USEC)
		r->rate_at_usec = now;
	r->rate_at_usec += rate_interval(r);
}

uint64_t
capability_rate_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE, now = c->session->model->now_usec();

	for (; c; c = c->parent) {
		uint64_t left = LIMIT_NONE;

		if (c->record.rate_limit != LIMIT_NONE)
			left = record_rate_left(&c->record, now);
		if (left < least)
			least = left;
	}
	return least;
}

void
capability_owner(const struct capability *c, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_mode)
{
	bool own = c->record.mode != CAPABILITY_MODE_INHERIT;

	*ret_uid = own ? c->record.uid : c->session->record.uid;
	*ret_gid = own ? c->record.gid : c->session->record.gid;
	*ret_mode = own ? c->record.mode : c->session->record.mode;
}

bool
capability_was_shown(const struct capability *c)
{
	const struct session_record *s = &c->session->record;

	if (c->record.mode != CAPABILITY_MODE_INHERIT)
		return c->record.was_shown || mode_shows(c->record.mode);
	return s->was_shown || mode_shows(s->mode);
}

/*
 * The use of calls and rates is stored with the connection, in one change: a broker that is killed
 * in between would else have let somebody in and forgotten the call.
 */
int
capability_count(struct change *ch, struct capability *c)
{
	uint64_t now = change_model(ch)->now_usec();
	struct capability_record *record;

	if (capability_counts_calls(c))
		return 0;
	for (; c; c = c->parent) {
		if (c->record.calls_limit == LIMIT_NONE && c->record.rate_limit == LIMIT_NONE)
			continue;
		record = change_edit(ch, &c->entity);
		if (!record)
			return -ENOMEM;
		if (record->calls_limit != LIMIT_NONE)
			record->calls_used++;
		if (record->rate_limit != LIMIT_NONE)
			rate_use(record, now);
	}
	return 0;
}

/*
 * All limits of all ancestors are looked at before any of them is used, so that a refusal uses
 * none.
 */
int
capability_connect(struct change *ch, struct capability *c)
{
	struct passage p;
	int answer;

	passage_init(&p, c);
	p.change = ch;
	answer = passage_check(&p, PASSAGE_OWN, NULL);
	return answer ? answer : capability_count(ch, c);
}

int
capability_use(struct change *ch, struct capability *c, uint32_t right)
{
	struct passage p;

	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	if (!(capability_rights(c) & right))
		return CAPABILITY_E_RIGHT;
	passage_init(&p, c);
	p.change = ch;
	if (passage_ask(&p, PASSAGE_CALLS))
		return CAPABILITY_E_LIMIT_CALLS;
	if (passage_ask(&p, PASSAGE_RATE))
		return CAPABILITY_E_LIMIT_RATE;
	return capability_count(ch, c);
}

/* The entrypoint shows how many are connected, and so does each ancestor. */
void
capability_used(struct capability *c)
{
	struct model *m = c->session->model;
	struct entrypoint *ep = capability_entrypoint(c);

	if (ep)
		entity_used(m, &ep->entity);
	for (; c; c = c->parent)
		entity_used(m, &c->entity);
}

void
capability_connected(struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent)
		i->conns_used++;
	capability_used(c);
}

/*
 * Along the parents as they are now, which are those of capability_connected(): a parent never
 * changes.
 */
void
capability_disconnected(struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent) {
		assert(i->conns_used > 0);
		i->conns_used--;
	}
	capability_used(c);
}
