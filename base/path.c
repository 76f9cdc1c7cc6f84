/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/path.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
is_component(const char *p, size_t n)
{
	return n > 0 && !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.');
}

bool
path_is_clean(const char *path, size_t n)
{
	const char *end = path + n;

	if (n < 2 || *path != '/')
		return false;
	while (path < end) {
		const char *slash = memchr(path + 1, '/', (size_t)(end - path - 1)), *stop = slash ? slash : end;

		if (!is_component(path + 1, (size_t)(stop - path - 1)))
			return false;
		path = stop;
	}
	return true;
}

bool
path_is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return strncmp(path, directory, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

char *
path_escape(const char *path)
{
	char *name = malloc(strlen(path) * 4 + 2), *to = name;

	if (!name)
		return NULL;
	while (*path) {
		bool first = to == name;

		if (*path == '/') {
			path += strspn(path, "/");
			/* Neither at the beginning nor at the end. */
			if (!first && *path)
				*to++ = '-';
		} else if (isalnum((unsigned char)*path) || strchr(":_", *path) ||
			   (*path == '.' && !first)) {
			*to++ = *path++;
		} else {
			to += sprintf(to, "\\x%02x", (unsigned char)*path++);
		}
	}
	if (to == name)
		*to++ = '-';
	*to = '\0';
	return name;
}
