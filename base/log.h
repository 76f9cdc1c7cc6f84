/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's own words: to the journal with fields where it is there (capfsd/process/journal.h), else a line
 * to stderr. Nothing here waits: a line for which there is no room at once is lost, and counted. What
 * one place says again and again is left out after a few times, so that nobody fills the log by making
 * the daemon complain. The library never logs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* NAME is of capital letters, digits, underscores. TEXT NULL: the number. */
struct log_field {
	const char *name, *text;
	uint64_t number;
};

/* Fields for log_event(): LOG_FIELDS({"CAPFS_BROKER", NULL, 3}, {"MESSAGE_ID", "…"}) */
#define LOG_FIELDS(...)                                                                            \
	(const struct log_field[])                                                                 \
	{                                                                                          \
		__VA_ARGS__, {}                                                                    \
	}

/* A place in the program that logs. */
struct log_site {
	uint64_t since_usec; /* the begin of the present period */
	unsigned n, n_left_out;
};

#define LOG_PERIOD_USEC UINT64_C(10000000)
#define LOG_BURST 10 /* messages of one place in a period; of LOG_CRIT and LOG_DEBUG any number */

/* Levels are those of syslog(3); messages above `max` are dropped. Set once, by main(). */
void log_set_max_level(int max);

/* stderr is the journal: lines begin with "<N>", as sd-daemon(3) has it, not with "capfsd: ". */
void log_set_prefix(bool level);

/* Where lost lines are counted, also by other processes; NULL: here. */
void log_set_lost(uint64_t *lost);

/* Takes a message instead of stderr. Returns: was it taken? */
typedef bool log_sink(int level, const struct log_field *fields, const char *message);
void log_set_sink(log_sink *sink);

/* The level, format and arguments; FIELDS end with an empty one, or are NULL. Keeps errno. */
void log_at(struct log_site *site, int level, const struct log_field *fields, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* One entry of a record that somebody has asked for: whatever the level, and as often as it is called. */
void log_entry(int level, const struct log_field *fields, const char *message);

#define log_event(level, fields, ...)                                                              \
	do {                                                                                       \
		static struct log_site log_site_here;                                              \
		log_at(&log_site_here, level, fields, __VA_ARGS__);                                \
	} while (0)
#define log_message(level, ...) log_event(level, NULL, __VA_ARGS__)
