/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log is a ring of pointers to lines, in the order of their numbers, which is that of where they
 * end. Offsets count all bytes that were ever written; since any line may go, there are holes
 * between those that stay. In a full log each line that comes makes another one go, which is most often
 * among the oldest: so a ring, in which the shorter side of a hole is moved.
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

#define ENTRIES_MIN 16 /* a power of two, as all sizes of the ring */
#define SHARES_MIN 4

struct entry {
	struct line *line;
	uint64_t end;
	uint64_t owner;
	uint32_t hash; /* of the line's body: beside it, so that a search looks at this array alone */
	uint8_t keep;
};

/* How many lines somebody has, and how many of each sort. */
struct share {
	uint64_t owner;
	uint32_t n;
	uint32_t n_of[EVENT_N_KEEPS]; /* by enum event_keep */
};

struct events {
	struct entry *entries;
	size_t first, n, size;
	struct share own;
	/* Those of the others, none empty. In the order in which they came: among equals the first gives. */
	struct share *shares;
	size_t n_shares, shares_size;
	uint64_t own_bytes; /* of session.event_bytes */
	uint64_t end;
	uint64_t faults_end;  /* that of the last fault that was kept */
	uint64_t fault_bytes; /* of all that were */
};

/* The I-th of the lines that are there. */
static struct entry *
entry_at(const struct events *ev, size_t i)
{
	return &ev->entries[(ev->first + i) & (ev->size - 1)];
}

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
	if (owner == RING_OWN)
		return &ev->own;
	for (size_t i = 0; i < ev->n_shares; i++)
		if (ev->shares[i].owner == owner)
			return &ev->shares[i];
	return NULL;
}

static void
share_leave(struct events *ev, const struct entry *e)
{
	struct share *share = share_find(ev, e->owner);

	share->n--;
	share->n_of[e->keep]--;
	if (share == &ev->own || share->n > 0)
		return;
	ev->n_shares--;
	memmove(share, share + 1,
		(size_t)(ev->shares + ev->n_shares - share) * sizeof(*share));
}

/* The I-th is nobody's any more: those behind it come nearer, or those before it where these are fewer. */
static void
close_hole(struct events *ev, size_t i)
{
	ev->n--;
	if (i < ev->n / 2) {
		for (; i > 0; i--)
			*entry_at(ev, i) = *entry_at(ev, i - 1);
		ev->first = (ev->first + 1) & (ev->size - 1);
	} else {
		for (; i < ev->n; i++)
			*entry_at(ev, i) = *entry_at(ev, i + 1);
	}
}

/*
 * Forgets a line. A reader who was before it goes on behind it, and sees by the numbers of the lines
 * that one is gone.
 */
static void
drop(struct session *s, size_t i)
{
	struct events *ev = s->events;
	struct entry e = *entry_at(ev, i);

	close_hole(ev, i);
	share_leave(ev, &e);
	count_bytes(s, e.owner, 0 - (uint64_t)e.line->header.n_text);
	line_unref(s->model, e.line);
}

/* What SHARE, which has one, can best do without: of faults where they are more than half, else of what goes first. */
static size_t
least_of(const struct events *ev, const struct share *share)
{
	unsigned keep = EVENT_REFUSAL;
	size_t i = 0;

	if (share->n_of[EVENT_FAULT] > share->n / 2)
		keep = EVENT_FAULT;
	while (share->n_of[keep] == 0)
		keep++;
	while (entry_at(ev, i)->owner != share->owner || entry_at(ev, i)->keep != keep)
		i++;
	return i;
}

/* Who of the others has the most; LOGGING itself if nobody has more. */
static const struct share *
largest(struct events *ev, uint64_t logging)
{
	const struct share *best = logging == RING_OWN ? NULL : share_find(ev, logging);

	for (size_t i = 0; i < ev->n_shares; i++)
		if (!best || ev->shares[i].n > best->n)
			best = &ev->shares[i];
	return best;
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

	if (!others && (owner != RING_OWN || ev->own.n == 0))
		return false;
	drop(s, least_of(ev, others ? largest(ev, owner) : &ev->own));
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

/* Twice as large, where the end of the ring's array was: what had gone on at its begin is put behind that. */
static bool
grow_ring(struct events *ev)
{
	const size_t n = ev->size;
	struct entry *new = grow(ev->entries, &ev->size, ENTRIES_MIN, sizeof(*new));

	if (!new)
		return false;
	memcpy(new + n, new, ev->first * sizeof(*new));
	ev->entries = new;
	return true;
}

static bool
has_memory(struct events *ev, uint64_t owner)
{
	void *new;

	if (ev->n == ev->size && !grow_ring(ev))
		return false;
	if (ev->n_shares < ev->shares_size || share_find(ev, owner))
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

	if ((owner == RING_OWN ? ev->own.n : ev->n - ev->own.n) == EVENTS_LINES_MAX / 2)
		drop(s, least_of(ev, owner == RING_OWN ? &ev->own : largest(ev, owner)));
	while (quota_free(s, QUOTA_RAM) < n)
		if (!give_way(s, owner))
			return false;
	return has_memory(ev, owner);
}

static void
share_enter(struct events *ev, const struct entry *e)
{
	struct share *share = share_find(ev, e->owner);

	if (!share) {
		share = &ev->shares[ev->n_shares++];
		*share = (struct share){.owner = e->owner};
	}
	share->n++;
	share->n_of[e->keep]++;
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
	*entry_at(ev, ev->n++) = (struct entry){line, ev->end, owner, line->hash, line->keep};
	share_enter(ev, entry_at(ev, ev->n - 1));
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
		const struct entry *e = entry_at(ev, i);

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

		if (entry_at(ev, middle)->line->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (ev && low < ev->n && entry_at(ev, low)->line->number == number)
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

	return ev && ev->n > 0 ? entry_start(entry_at(ev, 0)) : events_end(s);
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

		if (entry_at(ev, middle)->end > offset)
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
		const struct entry *e = entry_at(ev, i);
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
	if (ev && i == ev->n && (done == 0 || *offset == entry_at(ev, i - 1)->end))
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
		const struct entry *e = entry_at(ev, i);

		if (!is_seen(e, view))
			continue;
		if (left <= e->line->header.n_text)
			return e->end - left;
		left -= e->line->header.n_text;
	}
	return events_start(s);
}

/* What it counts is taken from N_KEPT, which is what there is. */
static void
check_share(const struct share *share, size_t n_kept[EVENT_N_KEEPS])
{
	size_t n = 0;

	for (unsigned keep = 0; keep < EVENT_N_KEEPS; keep++) {
		n += share->n_of[keep];
		n_kept[keep] -= share->n_of[keep];
	}
	model_holds(M50, n == share->n);
}

void
events_check(const struct session *s)
{
	struct events *ev = s->events;
	uint64_t bytes = 0, own_bytes = 0, before = 0;
	size_t n_own = 0, n_others = 0, n_kept[EVENT_N_KEEPS] = {0};

	for (size_t i = 0; ev && i < ev->n; i++) {
		const struct entry *e = entry_at(ev, i);
		uint64_t n = e->line->header.n_text;

		model_holds(M50, entry_start(e) >= before && e->end <= ev->end);
		before = e->end;
		bytes += n;
		own_bytes += e->owner == RING_OWN ? n : 0;
		n_own += e->owner == RING_OWN;
		n_kept[e->keep]++;
		model_holds(M50, e->owner == RING_OWN || share_find(ev, e->owner));
		model_holds(M50, e->keep != EVENT_FAULT || e->end <= ev->faults_end);
	}
	model_holds(M50, bytes == s->event_bytes);
	model_holds(M50, !ev || (ev->faults_end <= ev->end && ev->fault_bytes <= ev->faults_end));
	if (!ev)
		return;
	check_share(&ev->own, n_kept);
	for (size_t i = 0; i < ev->n_shares; i++) {
		check_share(&ev->shares[i], n_kept);
		n_others += ev->shares[i].n;
	}
	for (unsigned keep = 0; keep < EVENT_N_KEEPS; keep++)
		model_holds(M50, n_kept[keep] == 0);
	model_holds(M50, own_bytes == ev->own_bytes && n_own == ev->own.n);
	model_holds(M50, n_others == ev->n - n_own);
	model_holds(M50, n_own <= EVENTS_LINES_MAX / 2 && n_others <= EVENTS_LINES_MAX / 2);
}
