/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static int log_max_level = LOG_INFO;

void
log_set_max_level(int max)
{
	log_max_level = max;
}

void
log_message(int level, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n, m;

	if (level > log_max_level)
		return;
	n = snprintf(line, sizeof(line), getenv("JOURNAL_STREAM") ? "<%d>" : "capfsd: ", level);
	va_start(args, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (m < 0)
		return;
	n += m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* One write, so that lines of the daemon's processes do not mix; nowhere to report a failure. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

int
error_trace_at(int r, const char *file, int line)
{
	if (r < 0)
		log_message(LOG_DEBUG, "%s:%d: %s", file, line, error_name(r));
	return r;
}

const char *
error_name(int error)
{
	const char *name;

	if (error < 0)
		error = -error;
#ifdef HAVE_STRERRORNAME_NP
	name = strerrorname_np(error);
#else
	name = NULL;
#endif
	return name ? name : "E?";
}
