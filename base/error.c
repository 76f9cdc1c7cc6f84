/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An error is logged where it began, once, at debug level: further up nobody knows the place any more,
 * and whoever can do something about it says so in its own words.
 */
#include "config.h"

#include "base/error.h"

#include <string.h>
#include <syslog.h>

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
	/* Without glibc's function all are "E?": a table of our own would have to follow the kernel's. */
#ifdef HAVE_STRERRORNAME_NP
	name = strerrorname_np(error);
#else
	name = NULL;
#endif
	return name ? name : "E?";
}

#define ERRNO_MAX 4095 /* of the kernel's, which has no more */

int
error_number(const char *name, size_t n)
{
	for (int error = 1; error <= ERRNO_MAX; error++) {
		const char *candidate = error_name(error);

		if (strlen(candidate) == n && memcmp(candidate, name, n) == 0 && *candidate == 'E' && n > 2)
			return error;
	}
	return 0;
}
