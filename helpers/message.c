/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_PERIOD_USEC 1000000
#define LIMIT_BURST 5

/* One write, so that lines of several processes do not mix. */
static void
print(const char *suffix, const char *format, va_list args)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s: ", program_invocation_short_name), m;

	m = vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	if (m > 0)
		n += m;
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	m = snprintf(line + n, sizeof(line) - (size_t)n, "%s\n", suffix);
	n += m;
	if (n > (int)sizeof(line) - 1) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* there is nowhere to tell it */
}

void
message(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print("", format, args);
	va_end(args);
}

void
message_limited(struct message_limit *l, uint64_t now_usec, const char *format, ...)
{
	char suffix[64] = "";
	va_list args;

	if (now_usec - l->since_usec >= LIMIT_PERIOD_USEC) {
		l->since_usec = now_usec;
		l->n = 0;
	}
	if (l->n >= LIMIT_BURST) {
		l->n_dropped++;
		return;
	}
	l->n++;
	if (l->n_dropped > 0)
		snprintf(suffix, sizeof(suffix), " (%u like it not shown)", l->n_dropped);
	l->n_dropped = 0;
	va_start(args, format);
	print(suffix, format, args);
	va_end(args);
}
