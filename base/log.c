/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES_MAX 1024 /* less than PIPE_BUF: lines of several processes do not mix */

static int log_max_level = LOG_INFO;
static bool log_prefix_level;
static uint64_t log_lost_here, *log_lost = &log_lost_here;
static log_sink *log_sink_now;

void
log_set_max_level(int max)
{
	log_max_level = max;
}

void
log_set_prefix(bool level)
{
	log_prefix_level = level;
}

void
log_set_lost(uint64_t *lost)
{
	log_lost = lost ? lost : &log_lost_here;
}

void
log_set_sink(log_sink *sink)
{
	log_sink_now = sink;
}

static void
count_lost(void)
{
	__atomic_fetch_add(log_lost, 1, __ATOMIC_RELAXED);
}

/*
 * One write, at once or not at all. As long as poll(2) says so there is room for a line in a pipe,
 * whether or not it was opened as one that does not block.
 */
static bool
write_line(const char *line, size_t n)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t r;

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
		return false;
	r = send(STDERR_FILENO, line, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r < 0 && errno == ENOTSOCK)
		r = write(STDERR_FILENO, line, n);
	return r == (ssize_t)n;
}

static bool
print(int level, const char *message)
{
	char line[LINE_BYTES_MAX + 16];
	int n;

	n = log_prefix_level ? snprintf(line, sizeof(line), "<%d>%s\n", level, message)
			     : snprintf(line, sizeof(line), "capfsd: %s\n", message);
	return write_line(line, (size_t)n);
}

/* May SITE say something more in this period? *RET_LEFT_OUT: what it could not say before. */
static bool
site_enter(struct log_site *site, unsigned *ret_left_out)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (site->n == 0 || now - site->since_usec >= LOG_PERIOD_USEC) {
		*ret_left_out = site->n_left_out;
		*site = (struct log_site){.since_usec = now};
	}
	if (site->n < LOG_BURST) {
		site->n++;
		return true;
	}
	site->n_left_out++;
	return false;
}

void
log_entry(int level, const struct log_field *fields, const char *message)
{
	if (!(log_sink_now && log_sink_now(level, fields, message)) && !print(level, message))
		count_lost();
}

void
log_at(struct log_site *site, int level, const struct log_field *fields, const char *format, ...)
{
	char message[LINE_BYTES_MAX];
	int error = errno, n;
	unsigned left_out = 0;
	va_list args;

	if (level > log_max_level)
		return;
	if (level > LOG_CRIT && level < LOG_DEBUG && !site_enter(site, &left_out)) {
		count_lost();
		errno = error;
		return;
	}
	errno = error; /* for %m */
	va_start(args, format);
	n = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (n > 0 && left_out > 0 && (size_t)n < sizeof(message))
		snprintf(message + n, sizeof(message) - (size_t)n, " (%u like it left out)",
			left_out);
	if (n > 0)
		log_entry(level, fields, message);
	errno = error;
}
