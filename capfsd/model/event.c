/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line is one allocation, shared by the logs of its session and all above it, and is its own
 * record in the store: the text, and where it ends in each of these logs. A log is a ring of
 * pointers to lines.
 *
 * The store follows late: a line waits in the model's queue until it is stored, and comes there
 * again, to be deleted, when no log refers to it any more. A line that was forgotten before it was
 * stored never is.
 *
 * Anybody may log, and nothing may depend on it: an event is lost rather than that something fails
 * because of it. The bytes of a log are a part of what its session uses of `ram`, and counted in
 * three places (the session's event_bytes and `used`, the model's `used`); for lines only push()
 * and evict() change these.
 */
#include "config.h"

#include "capfsd/model/event.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

#define RING_MIN 16
#define FEW_LINES 8 /* so many are deleted in a transaction for which there is little room */

struct line_header {
	/* They begin the record, so they stand in stores of all versions. */
	uint32_t n_text, n_places;
};

/* Where a line ends in the log of one session. */
struct line_place {
	/* A session of 0 is none: there was no memory for that log when the line was written. */
	uint64_t session, end;
};

struct line {
	struct list link; /* model.event_queue, when something is to be done in the store */
	uint64_t number;
	uint32_t refs;
	bool stored;
	struct line_header header; /* from here on: the record */
	struct line_place places[];
};

_Static_assert(offsetof(struct line, places) ==
		offsetof(struct line, header) + sizeof(struct line_header),
	"the header and the places are one record");

struct entry {
	struct line *line;
	uint64_t end;
};

struct events {
	struct entry *ring;
	size_t size; /* a power of two, or 0 */
	size_t first, n;
	uint64_t start, end;
};

/*
 * The text stands behind the places, without a terminating zero, so that the record is one piece.
 */
static char *
line_text(const struct line *line)
{
	return (char *)(uintptr_t)&line->places[line->header.n_places];
}

static size_t
line_record_bytes(const struct line *line)
{
	return sizeof(line->header) + line->header.n_places * sizeof(line->places[0]) +
		line->header.n_text;
}

static struct line *
line_new(uint64_t number, uint32_t n_places, uint32_t n_text)
{
	struct line *line;

	line = calloc(1, sizeof(*line) + n_places * sizeof(line->places[0]) + n_text);
	if (!line)
		return NULL;
	list_init(&line->link);
	line->number = number;
	line->refs = 1;
	line->header = (struct line_header){n_text, n_places};
	return line;
}

/*
 * No log has it any more. One that the store has must be deleted there, so it goes back to the
 * queue and is freed when that was committed; any other was never stored, and is forgotten now.
 */
static void
line_unref(struct model *m, struct line *line)
{
	if (--line->refs > 0)
		return;
	list_unlink(&line->link);
	if (line->stored)
		list_append(&m->event_queue, &line->link);
	else
		free(line);
}

static struct entry *
entry_at(const struct events *ev, size_t i)
{
	return &ev->ring[(ev->first + i) & (ev->size - 1)];
}

/*
 * Forgets the oldest line. The log's start moves to where that line ended: a reader who was behind
 * goes on at the start, and sees by the numbers of the lines that some are gone.
 */
static void
evict(struct session *s)
{
	struct events *ev = s->events;
	struct entry *e = entry_at(ev, 0);

	ev->start = e->end;
	s->event_bytes -= e->line->header.n_text;
	s->used.n[QUOTA_RAM] -= e->line->header.n_text;
	s->model->used.n[QUOTA_RAM] -= e->line->header.n_text;
	line_unref(s->model, e->line);
	ev->first = (ev->first + 1) & (ev->size - 1);
	ev->n--;
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
		evict(s);
}

static bool
ring_grow(struct events *ev)
{
	size_t size = ev->size ? ev->size * 2 : RING_MIN;
	struct entry *ring = calloc(size, sizeof(*ring));

	if (!ring)
		return false;
	for (size_t i = 0; i < ev->n; i++)
		ring[i] = *entry_at(ev, i);
	free(ev->ring);
	ev->ring = ring;
	ev->size = size;
	ev->first = 0;
	return true;
}

/*
 * Is there room for N more bytes in the log of S, after the oldest lines have gone? They go by
 * number first, then as far as quota is short. Where the ring cannot grow, one line makes room for
 * the other.
 */
static bool
make_room(struct session *s, uint32_t n)
{
	struct events *ev = s->events;

	if (ev->n == EVENTS_LINES_MAX)
		evict(s);
	while (ev->n > 0 && quota_free(s, QUOTA_RAM) < n)
		evict(s);
	if (quota_free(s, QUOTA_RAM) < n)
		return false;
	if (ev->n < ev->size || ring_grow(ev))
		return true;
	if (ev->n == 0)
		return false;
	evict(s);
	return true;
}

/*
 * A line that finds no room has been written, and is gone already: the end of the log moves all the
 * same, since offsets count all bytes that were ever written and every record of a line has them.
 */
static void
push(struct session *s, struct line *line)
{
	uint32_t n = line->header.n_text;
	struct events *ev = s->events;
	bool kept = make_room(s, n);

	ev->end += n;
	if (!kept) {
		while (ev->n > 0)
			evict(s);
		ev->start = ev->end;
		return;
	}
	*entry_at(ev, ev->n++) = (struct entry){line, ev->end};
	line->refs++;
	s->event_bytes += n;
	s->used.n[QUOTA_RAM] += n;
	s->model->used.n[QUOTA_RAM] += n;
}

static bool
events_make(struct session *s)
{
	if (!s->events)
		s->events = calloc(1, sizeof(*s->events));
	return s->events;
}

/*
 * When its session is unlinked, or freed with the whole model. The lines give back what they were
 * charged, and those that no other log has are queued to be deleted from the store.
 */
void
events_free(struct session *s)
{
	if (!s->events)
		return;
	while (s->events->n > 0)
		evict(s);
	free(s->events->ring);
	free(s->events);
	s->events = NULL;
}

/*
 * Copies TEXT with what a terminal might act upon escaped: labels and commands are chosen by
 * clients, and an administrator reads the log in a terminal. Returns the length, at most SIZE.
 */
static size_t
escape(char *buffer, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = c >= ' ' && c <= '~';

		if (size - n < (plain ? 1 : 4))
			break;
		if (plain)
			buffer[n++] = (char)c;
		else {
			static const char digits[] = "0123456789abcdef";

			memcpy(buffer + n, (char[]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4);
			n += 4;
		}
	}
	return n;
}

/* The number tells a reader whether lines are missing in between, which the time of day cannot. */
static size_t
format_line(char line[EVENT_BYTES_MAX], uint64_t now_usec, uint64_t number, const char *text)
{
	unsigned second = (unsigned)(now_usec / 1000000 % 86400);
	size_t n;

	n = (size_t)snprintf(line, EVENT_BYTES_MAX, "%02u:%02u:%02u e=%" PRIu64 " ", second / 3600,
		second / 60 % 60, second % 60, number);
	n += escape(line + n, EVENT_BYTES_MAX - 1 - n, text);
	line[n++] = '\n';
	return n;
}

static void
tell_logged(struct model *m, struct session *s)
{
	uint64_t stamp = model_stamp(m);

	for (; s; s = s->parent) {
		s->entity.changed_nsec = stamp;
		if (m->hooks && m->hooks->logged)
			m->hooks->logged(m->hooks_data, s);
	}
}

/*
 * The number is used up only when there is memory for the line, so that a gap in a log is a line
 * that was there and is gone. The reference of this function keeps the line while it is put into
 * the logs, any of which may have no room for it.
 */
void
event_log(struct model *m, struct session *s, const char *format, ...)
{
	char text[EVENT_BYTES_MAX], buffer[EVENT_BYTES_MAX];
	uint32_t n, n_places = 0;
	struct line *line;
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	n = (uint32_t)format_line(buffer, m->now_usec(), m->header.next_event, text);
	line = line_new(m->header.next_event, s->entity.depth + 1, n);
	if (!line) {
		m->counters->events_lost++;
		return;
	}
	m->counters->events++;
	m->header.next_event++;
	memcpy(line_text(line), buffer, n);
	list_append(&m->event_queue, &line->link);
	for (struct session *i = s; i; i = i->parent) {
		struct line_place *place = &line->places[n_places++];

		/* Without memory for a log the line has no place in it. */
		if (events_make(i)) {
			push(i, line);
			*place = (struct line_place){i->entity.id, i->events->end};
		} else {
			m->counters->events_lost++;
		}
	}
	line_unref(m, line);
	tell_logged(m, s);
}

uint64_t
events_start(const struct session *s)
{
	return s->events ? s->events->start : 0;
}

uint64_t
events_end(const struct session *s)
{
	return s->events ? s->events->end : 0;
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
events_read(const struct session *s, uint64_t offset, char *buffer, size_t size)
{
	const struct events *ev = s->events;
	size_t done = 0;

	if (!ev || offset < ev->start)
		return 0;
	for (size_t i = find_entry(ev, offset); i < ev->n && done < size; i++) {
		const struct entry *e = entry_at(ev, i);
		size_t n = (size_t)(e->end - offset);

		if (n > size - done)
			n = size - done;
		memcpy(buffer + done,
			line_text(e->line) + (e->line->header.n_text - (e->end - offset)), n);
		done += n;
		offset += n;
	}
	return done;
}

bool
events_are_queued(const struct model *m)
{
	return !list_empty(&m->event_queue);
}

/*
 * Deletions are what a full store needs, so a few of them are staged even where nothing else is:
 * few, because each may need a page before it gives one back.
 */
int
events_stage(struct model *m, bool all)
{
	unsigned n_few = 0;

	list_for_each (i, &m->event_queue) {
		const struct line *line = list_entry(i, struct line, link);
		uint64_t key = STORE_KEY(STORE_EVENT, line->number);
		int r = 0;

		if (line->stored && (all || n_few++ < FEW_LINES))
			r = m->store->drop(m->store_data, key);
		else if (!line->stored && all)
			r = m->store->put(m->store_data, key, &line->header,
				line_record_bytes(line));
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Must choose exactly what events_stage() chose, in the same order, since the two run on either
 * side of the commit and nothing remembers what was staged.
 */
void
events_settle(struct model *m, bool all)
{
	unsigned n_few = 0;

	list_for_each_safe (i, &m->event_queue) {
		struct line *line = list_entry(i, struct line, link);

		if (line->stored && (all || n_few++ < FEW_LINES)) {
			list_unlink(&line->link);
			free(line);
		} else if (!line->stored && all) {
			list_unlink(&line->link);
			line->stored = true;
		}
	}
}

int
events_store(struct model *m)
{
	return events_are_queued(m) ? change_commit(change_begin(m)) : 0;
}

/*
 * LINE comes back to the log of one session. Lines come in the order of their numbers, so an end
 * that lies before what the log has already is damage. A gap is none: lines between were evicted
 * here and not in the logs above. What an older line had before a gap is given up, since a log has
 * no holes. A session that is gone is passed over, as its ancestors have the line still.
 */
static int
restore_place(struct model *m, struct line *line, const struct line_place *place)
{
	struct entity *e = place->session ? entity_find(m, place->session) : NULL;
	struct session *s;

	if (!e || e->kind != ENTITY_SESSION)
		return 0;
	s = session_of(e);
	if (place->end < line->header.n_text ||
		place->end - line->header.n_text < events_end(s))
		return -EBADMSG;
	if (!events_make(s))
		return -ENOMEM;
	if (s->events->end != place->end - line->header.n_text) {
		while (s->events->n > 0)
			evict(s);
		s->events->start = s->events->end = place->end - line->header.n_text;
	}
	push(s, line);
	return 0;
}

/*
 * The lengths are compared with each other before any of them is used. The line's own reference is
 * dropped at the end, so that one that belongs to no log any more is queued to be deleted.
 */
int
event_load(struct model *m, uint64_t number, const void *data, size_t n)
{
	struct line_header header;
	struct line *line;
	int r = 0;

	if (n < sizeof(header) || number >= m->header.next_event)
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.n_text == 0 || header.n_text > EVENT_BYTES_MAX ||
		header.n_places > SESSION_DEPTH_MAX + 1 ||
		n != sizeof(header) + header.n_places * sizeof(struct line_place) + header.n_text)
		return -EBADMSG;
	line = line_new(number, header.n_places, header.n_text);
	if (!line)
		return -ENOMEM;
	memcpy(line->places, (const char *)data + sizeof(header), n - sizeof(header));
	line->stored = true;
	for (uint32_t i = 0; r == 0 && i < header.n_places; i++)
		r = restore_place(m, line, &line->places[i]);
	line_unref(m, line);
	return r < 0 ? error_trace(r) : 0;
}

/*
 * When no session is left. The queue has no log's reference; what is not stored yet is lost with
 * it, and the store keeps what it has, to be loaded at the next start.
 */
void
events_deinit(struct model *m)
{
	list_for_each_safe (i, &m->event_queue)
		free(list_entry(i, struct line, link));
	list_init(&m->event_queue);
}
