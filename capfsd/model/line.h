/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line of the events: one allocation, shared by the logs that have it (ring.h), and one record of
 * the store: the text, and where it ends in each of these logs. For event.c and ring.c alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "capfsd/model/event.h"

struct line_header {
	/* They begin the record, so they stand in stores of all versions. */
	uint32_t n_text, n_places;
};

/* Where a line ends in the log of one session: that where it happened, then its parent, … */
struct line_place {
	/*
	 * A session of 0 is none: there was no memory for that log when the line was written, or,
	 * where the end has LINE_MARK, it is the last place and no place (line_mark()).
	 */
	uint64_t session, end;
};

struct line {
	struct list link; /* model.event_queue, when something is to be done in the store */
	uint64_t number;
	uint32_t refs;
	uint32_t count;         /* so often it happened */
	uint32_t hash;          /* of its body */
	uint16_t body, n_body;  /* what is the same each time it happens */
	uint8_t keep;           /* enum event_keep */
	uint8_t by_depth;       /* of the session that it is due to, which has the line's or is above; or one more */
	bool stored;
	_Alignas(struct line_place) struct line_header header; /* from here on: the record */
	struct line_place places[];
};

/* A line with one reference. N_PLACES counts its mark. Returns: NULL without memory. */
struct line *line_new(uint64_t number, uint32_t n_places, uint32_t n_text);
/* No log has it any more: it is deleted from the store with the next commit, or forgotten now. */
void line_unref(struct model *m, struct line *line);

/* The text, without a terminating zero; n_text bytes. */
char *line_text(const struct line *line);
static inline const char *
line_body(const struct line *line)
{
	return line_text(line) + line->body;
}

/* Finds the body, the count, and what kind of event it is where nothing else says so. */
void line_parse(struct line *line);
bool line_is_same(const struct line *line, const char *body, size_t n);
uint32_t line_hash(const char *body, size_t n);

/* Room for the mark where there are N places: 1, or 0 where an older daemon would not take so many. */
uint32_t line_mark_places(uint32_t n);
/* Notes `keep` and `by_depth` in the last place, if there is one for that. */
void line_mark(struct line *line, uint32_t n_places);
/* … and reads them. Returns: how many places there are beside it. */
uint32_t line_unmark(struct line *line);
