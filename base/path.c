/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/path.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
