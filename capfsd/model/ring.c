/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log is an array of pointers to lines, in the order of their numbers, which is that of where they
 * end. Offsets count all bytes that were ever written; since any line may go, there are holes
 * between those that stay. The array is short: to walk or to move it costs less than a system call.
 *
 * The bytes of a log are a part of what its session uses of `ram`, and counted in three places (the
 * session's event_bytes and `used`, the model's `used`); for lines only count_bytes() changes these.
 */
#include "config.h"

#include "capfsd/model/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/check.h"
#include "capfsd/model/line.h"
#include "capfsd/model/model.h"

#define ENTRIES_MIN 16
#define SHARES_MIN 4

struct entry {
	struct line *line;
	uint64_t end;
	uint64_t owner;
	uint32_t hash; /* of the line's body: beside it, so that a search looks at this array alone */
	uint8_t keep;
};

/* What one of the others has. In the order in which they came: among equals the first gives. */
struct share {
	uint64_t owner;
	uint32_t n;
};

struct events {
	struct entry *entries;
	size_t n, size;
	struct share *shares; /* none is empty */
	size_t n_shares, shares_size;
	size_t n_own;
	uint64_t own_bytes; /* of session.event_bytes */
	uint64_t end;
	uint64_t faults_end;  /* that of the last fault that was kept */
	uint64_t fault_bytes; /* of all that were */
};

static bool
events_make(struct session *s)
{
	if (!s->events)
		s->events = calloc(1, sizeof(*s->events));
	return s->events;
}

static void
count_bytes(struct session *s, uint64_t owner, uint64_t n)
{
	if (owner == RING_OWN)
		s->events->own_bytes += n;
	s->event_bytes += n;
	s->used.n[QUOTA_RAM] += n;
	s->model->used.n[QUOTA_RAM] += n;
}

static struct share *
share_find(struct events *ev, uint64_t owner)
{
	for (size_t i = 0; i < ev->n_shares; i++)
		if (ev->shares[i].owner == owner)
			return &ev->shares[i];
	return NULL;
}

static void
share_leave(struct events *ev, uint64_t owner)
{
	struct share *share;

	if (owner == RING_OWN) {
		ev->n_own--;
		return;
	}
	share = share_find(ev, owner);
	if (--share->n > 0)
		return;
	ev->n_shares--;
	memmove(share, share + 1,
		(size_t)(ev->shares + ev->n_shares - share) * sizeof(*share));
}

/*
 * Forgets a line. A reader who was before it goes on behind it, and sees by the numbers of the lines
 * that one is gone.
 */
static void
drop(struct session *s, size_t i)
{
	struct events *ev = s->events;
	struct entry e = ev->entries[i];

	ev->n--;
	memmove(&ev->entries[i], &ev->entries[i + 1], (ev->n - i) * sizeof(e));
	share_leave(ev, e.owner);
	count_bytes(s, e.owner, 0 - (uint64_t)e.line->header.n_text);
	line_unref(s->model, e.line);
}

/* Are more than half of what OWNER has faults? */
static bool
is_faulty(const struct events *ev, uint64_t owner)
{
	size_t n = 0, n_faults = 0;

	for (size_t i = 0; i < ev->n; i++)
		if (ev->entries[i].owner == owner) {
			n++;
			n_faults += ev->entries[i].keep == EVENT_FAULT;
		}
	return n_faults > n / 2;
}

/* What OWNER, who has one, can best do without. */
static size_t
least_of(const struct events *ev, uint64_t owner)
{
	enum event_keep first = is_faulty(ev, owner) ? EVENT_FAULT : EVENT_REFUSAL;
	size_t best = ev->n;

	for (size_t i = 0; i < ev->n; i++) {
		const struct entry *e = &ev->entries[i];

		if (e->owner != owner)
			continue;
		if (e->keep == first)
			return i;
		if (best == ev->n || e->keep < ev->entries[best].keep)
			best = i;
	}
	return best;
}

/* Who of the others has the most; LOGGING itself if nobody has more. */
static uint64_t
largest(struct events *ev, uint64_t logging)
{
	const struct share *best = share_find(ev, logging);

	for (size_t i = 0; i < ev->n_shares; i++)
		if (!best || ev->shares[i].n > best->n)
			best = &ev->shares[i];
	return best->owner;
}

/*
 * One line makes room for one of OWNER: the session's own never goes for another's, another's only
 * where they have more than half of what there is. Returns: false when no line may go.
 */
static bool
give_way(struct session *s, uint64_t owner)
{
	struct events *ev = s->events;
	bool others = ev->n_shares > 0 &&
		(owner != RING_OWN || s->event_bytes - ev->own_bytes > ev->own_bytes);

	if (!others && (owner != RING_OWN || ev->n_own == 0))
		return false;
	drop(s, least_of(ev, others ? largest(ev, owner) : RING_OWN));
	return true;
}

/*
 * What is charged to a session comes before its events: they were allowed to use what nobody
 * needed. Called wherever more is used or lent, or a limit shrinks.
 */
void
events_yield(struct session *s)
{
	const struct quota *limit = &s->record.limit;

	while (s->events && s->events->n > 0 &&
		s->used.n[QUOTA_RAM] + s->lent.n[QUOTA_RAM] > limit->n[QUOTA_RAM])
		give_way(s, RING_OWN);
}

/* Doubles an array of elements of SIZE bytes. Returns: NULL without memory, the old one stays. */
static void *
grow(void *array, size_t *n, size_t min, size_t size)
{
	size_t more = *n > 0 ? *n * 2 : min;
	void *new = realloc(array, more * size);

	if (new)
		*n = more;
	return new;
}

static bool
has_memory(struct events *ev, uint64_t owner)
{
	void *new;

	if (ev->n == ev->size) {
		new = grow(ev->entries, &ev->size, ENTRIES_MIN, sizeof(*ev->entries));
		if (!new)
			return false;
		ev->entries = new;
	}
	if (owner == RING_OWN || ev->n_shares < ev->shares_size || share_find(ev, owner))
		return true;
	new = grow(ev->shares, &ev->shares_size, SHARES_MIN, sizeof(*ev->shares));
	if (!new)
		return false;
	ev->shares = new;
	return true;
}

/* Is there room for N bytes more of OWNER, after others have gone? By number first, then by quota. */
static bool
make_room(struct session *s, uint64_t owner, uint64_t n)
{
	struct events *ev = s->events;

	if ((owner == RING_OWN ? ev->n_own : ev->n - ev->n_own) == EVENTS_LINES_MAX / 2)
		drop(s, least_of(ev, owner == RING_OWN ? RING_OWN : largest(ev, owner)));
	while (quota_free(s, QUOTA_RAM) < n)
		if (!give_way(s, owner))
			return false;
	return has_memory(ev, owner);
}

static void
share_enter(struct events *ev, uint64_t owner)
{
	struct share *share;

	if (owner == RING_OWN) {
		ev->n_own++;
		return;
	}
	share = share_find(ev, owner);
	if (!share) {
		share = &ev->shares[ev->n_shares++];
		*share = (struct share){.owner = owner};
	}
	share->n++;
}

/*
 * The end moves also where nothing is kept, since offsets count all bytes that were ever written and
 * every record of a line has them.
 */
uint64_t
ring_push(struct session *s, struct line *line, uint64_t owner)
{
	uint32_t n = line->header.n_text;
	struct events *ev;

	if (!events_make(s))
		return 0;
	ev = s->events;
	ev->end += n;
	if (!make_room(s, owner, n))
		return ev->end;
	ev->entries[ev->n++] = (struct entry){line, ev->end, owner, line->hash, line->keep};
	share_enter(ev, owner);
	line->refs++;
	count_bytes(s, owner, n);
	if (line->keep == EVENT_FAULT) {
		ev->faults_end = ev->end;
		ev->fault_bytes += n;
	}
	return ev->end;
}

int
ring_skip(struct session *s, uint64_t offset)
{
	if (offset < events_end(s))
		return -EBADMSG;
	if (!events_make(s))
		return -ENOMEM;
	s->events->end = offset;
	return 0;
}

struct line *
ring_find(const struct session *s, const char *body, size_t n)
{
	const struct events *ev = s->events;
	uint32_t hash = line_hash(body, n);

	for (size_t i = ev ? ev->n : 0; i-- > 0;) {
		const struct entry *e = &ev->entries[i];

		if (e->hash == hash && e->keep == EVENT_REFUSAL && line_is_same(e->line, body, n))
			return e->line;
	}
	return NULL;
}

void
ring_remove(struct session *s, uint64_t number)
{
	const struct events *ev = s->events;
	size_t low = 0, high = ev ? ev->n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ev->entries[middle].line->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (ev && low < ev->n && ev->entries[low].line->number == number)
		drop(s, low);
}

/*
 * When its session is unlinked, or freed with the whole model. The lines give back what they were
 * charged, and those that no other log has are queued to be deleted from the store.
 */
void
events_free(struct session *s)
{
	struct events *ev = s->events;

	if (!ev)
		return;
	while (ev->n > 0)
		drop(s, ev->n - 1);
	free(ev->entries);
	free(ev->shares);
	free(ev);
	s->events = NULL;
}

/* --- reading --- */

static uint64_t
entry_start(const struct entry *e)
{
	return e->end - e->line->header.n_text;
}

uint64_t
events_start(const struct session *s)
{
	const struct events *ev = s->events;

	return ev && ev->n > 0 ? entry_start(&ev->entries[0]) : events_end(s);
}

uint64_t
events_end(const struct session *s)
{
	return s->events ? s->events->end : 0;
}

uint64_t
events_size(const struct session *s, enum event_view view)
{
	if (view == EVENTS_ALL)
		return events_end(s);
	return s->events ? s->events->fault_bytes : 0;
}

bool
events_has_more(const struct session *s, enum event_view view, uint64_t offset)
{
	if (view == EVENTS_ALL)
		return offset < events_end(s);
	return s->events && offset < s->events->faults_end;
}

static bool
is_seen(const struct entry *e, enum event_view view)
{
	return view == EVENTS_ALL || e->keep == EVENT_FAULT;
}

/*
 * The first entry that ends after OFFSET. By bisection, since every read of a log begins with it.
 */
static size_t
find_entry(const struct events *ev, uint64_t offset)
{
	size_t low = 0, high = ev->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ev->entries[middle].end > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

size_t
events_read(const struct session *s, enum event_view view, uint64_t *offset, char *buffer, size_t size)
{
	const struct events *ev = s->events;
	size_t done = 0, i = ev ? find_entry(ev, *offset) : 0;

	for (; ev && i < ev->n && done < size; i++) {
		const struct entry *e = &ev->entries[i];
		uint64_t at = *offset > entry_start(e) ? *offset : entry_start(e);
		size_t n = (size_t)(e->end - at);

		if (!is_seen(e, view)) {
			*offset = e->end;
			continue;
		}
		if (n > size - done)
			n = size - done;
		memcpy(buffer + done, line_text(e->line) + (at - entry_start(e)), n);
		done += n;
		*offset = at + n;
	}
	if (ev && i == ev->n && (done == 0 || *offset == ev->entries[i - 1].end))
		*offset = ev->end;
	return done;
}

uint64_t
events_seek(const struct session *s, enum event_view view, uint64_t left)
{
	const struct events *ev = s->events;

	if (!ev || left == 0)
		return events_end(s);
	for (size_t i = ev->n; i-- > 0;) {
		const struct entry *e = &ev->entries[i];

		if (!is_seen(e, view))
			continue;
		if (left <= e->line->header.n_text)
			return e->end - left;
		left -= e->line->header.n_text;
	}
	return events_start(s);
}

void
events_check(const struct session *s)
{
	struct events *ev = s->events;
	uint64_t bytes = 0, own_bytes = 0, before = 0;
	size_t n_own = 0, n_others = 0;

	for (size_t i = 0; ev && i < ev->n; i++) {
		const struct entry *e = &ev->entries[i];
		uint64_t n = e->line->header.n_text;

		model_holds(M50, entry_start(e) >= before && e->end <= ev->end);
		before = e->end;
		bytes += n;
		own_bytes += e->owner == RING_OWN ? n : 0;
		n_own += e->owner == RING_OWN;
		model_holds(M50, e->owner == RING_OWN || share_find(ev, e->owner));
		model_holds(M50, e->keep != EVENT_FAULT || e->end <= ev->faults_end);
	}
	model_holds(M50, bytes == s->event_bytes);
	model_holds(M50, !ev || (ev->faults_end <= ev->end && ev->fault_bytes <= ev->faults_end));
	for (size_t i = 0; ev && i < ev->n_shares; i++)
		n_others += ev->shares[i].n;
	if (!ev)
		return;
	model_holds(M50, own_bytes == ev->own_bytes && n_own == ev->n_own);
	model_holds(M50, n_others == ev->n - n_own);
	model_holds(M50, n_own <= EVENTS_LINES_MAX / 2 && n_others <= EVENTS_LINES_MAX / 2);
}
