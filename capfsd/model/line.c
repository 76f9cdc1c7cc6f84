/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a line says of itself, and its record in the store. The store follows late: a line waits in
 * the model's queue until it is stored, and comes there again, to be deleted, when no log refers to
 * it any more. A line that was forgotten before it was stored never is.
 *
 * The record has the form that the first version gave it, which takes no other: what came later
 * stands in a place that belongs to no session and is passed over there.
 */
#include "config.h"

#include "capfsd/model/line.h"

#include <stdlib.h>
#include <string.h>

#include "capfsd/model/model.h"

#define FEW_LINES 8 /* so many are deleted in a transaction for which there is little room */
#define LINE_MARK (UINT64_C(1) << 63)
#define TIMES " \xc3\x97" /* before the count, at the end of a line; nobody's text has it (event.c) */
#define COUNT_DIGITS 9

_Static_assert(offsetof(struct line, places) ==
		offsetof(struct line, header) + sizeof(struct line_header),
	"the header and the places are one record");

/*
 * The text stands behind the places, without a terminating zero, so that the record is one piece.
 */
char *
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

struct line *
line_new(uint64_t number, uint32_t n_places, uint32_t n_text)
{
	struct line *line;

	line = calloc(1, sizeof(*line) + n_places * sizeof(line->places[0]) + n_text);
	if (!line)
		return NULL;
	list_init(&line->link);
	line->number = number;
	line->refs = 1;
	line->count = 1;
	line->header = (struct line_header){n_text, n_places};
	return line;
}

/*
 * One that the store has must be deleted there, so it goes back to the queue and is freed when that
 * was committed; any other was never stored.
 */
void
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

/* FNV-1a: it only spares comparisons, so nobody gains by finding two that are equal. */
uint32_t
line_hash(const char *body, size_t n)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)body[i]) * 16777619u;
	return hash;
}

bool
line_is_same(const struct line *line, const char *body, size_t n)
{
	return line->n_body == n && memcmp(line_body(line), body, n) == 0;
}

/* Cuts " ×40" off the N bytes of TEXT, if it ends so. Returns: how many bytes are left. */
static size_t
cut_count(const char *text, size_t n, uint32_t *ret_count)
{
	const size_t n_times = sizeof(TIMES) - 1;
	size_t at = n;
	uint32_t count = 0;

	while (at > 0 && n - at < COUNT_DIGITS && text[at - 1] >= '0' && text[at - 1] <= '9')
		at--;
	if (at == n || at < n_times || memcmp(text + at - n_times, TIMES, n_times) != 0)
		return n;
	for (size_t i = at; i < n; i++)
		count = count * 10 + (uint32_t)(text[i] - '0');
	*ret_count = count;
	return at - n_times;
}

static bool
begins(const char *text, size_t n, const char *with)
{
	size_t k = strlen(with);

	return n >= k && memcmp(text, with, k) == 0;
}

/* Behind the time and the number, which are the first two words. */
void
line_parse(struct line *line)
{
	static const char refused[] = "refused ", fault[] = EVENT_FAULT_VERB " ";
	const char *text = line_text(line);
	size_t n = line->header.n_text, at = 0;

	if (n > 0 && text[n - 1] == '\n')
		n--;
	for (int i = 0; i < 2 && at < n; i++) {
		const char *space = memchr(text + at, ' ', n - at);

		at = space ? (size_t)(space - text) + 1 : n;
	}
	n = at + cut_count(text + at, n - at, &line->count);
	line->body = (uint16_t)at;
	line->n_body = (uint16_t)(n - at);
	line->hash = line_hash(text + at, n - at);
	line->keep = EVENT_USUAL;
	if (begins(text + at, n - at, refused))
		line->keep = EVENT_REFUSAL;
	else if (begins(text + at, n - at, fault))
		line->keep = EVENT_FAULT;
}

uint32_t
line_mark_places(uint32_t n)
{
	return n < SESSION_DEPTH_MAX + 1 ? 1 : 0;
}

void
line_mark(struct line *line, uint32_t n_places)
{
	if (line->header.n_places > n_places)
		line->places[n_places].end =
			LINE_MARK | (uint64_t)line->keep << 8 | line->by_depth;
}

/* What was marked wrongly is taken as if it was not marked, as lines of older daemons are. */
uint32_t
line_unmark(struct line *line)
{
	uint32_t n = line->header.n_places;
	const struct line_place *mark = n > 0 ? &line->places[n - 1] : NULL;
	bool marked = mark && mark->session == 0 && (mark->end & LINE_MARK);

	n -= marked;
	line->by_depth = (uint8_t)(n > 0 ? n - 1 : 0);
	if (marked && (mark->end >> 8 & 0xff) < EVENT_N_KEEPS && (mark->end & 0xff) <= n) {
		line->keep = (uint8_t)(mark->end >> 8);
		line->by_depth = (uint8_t)mark->end;
	}
	return n;
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
