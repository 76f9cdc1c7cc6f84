/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads /proc/self/mountinfo, each time anew. It owns nothing and never touches what it reads
 * about: a stat(2) on the mount would ask the broker, and would wait for it when it hangs, which is
 * when the keeper and the next daemon most need to know.
 */
#include "config.h"

#include "capfsd/process/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * The kernel writes white space and backslashes in mountinfo as \ooo, and the path that we compare
 * with is the plain one. It becomes shorter, so that it can be done in place.
 */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
			s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/*
 * Splits a line "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [TAGS…] - TYPE SOURCE OPTIONS" in place.
 * The number of tags varies, so that what is behind them is found by the dash, which no field
 * before it can have alone. A line that looks otherwise is skipped.
 */
static bool
split_line(char *line, char **ret_device, char **ret_path, char **ret_type)
{
	char *field[5], *rest = line, *tail = strstr(line, " - ");

	if (!tail)
		return false;
	for (int i = 0; i < 5; i++)
		field[i] = strsep(&rest, " ");
	if (!rest || rest > tail + 1)
		return false;
	*ret_type = tail + 3;
	(*ret_type)[strcspn(*ret_type, " ")] = '\0';
	unescape(field[4]);
	*ret_device = field[2];
	*ret_path = field[4];
	return true;
}

/*
 * Mounts on one place follow each other in the order in which they were made: the last one is on
 * top, and is the one that others reach.
 */
int
mounts_top(const char *path, char device[MOUNTS_FIELD_BYTES], char type[MOUNTS_FIELD_BYTES])
{
	cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	char *line_device, *line_path, *line_type;
	size_t size = 0;

	device[0] = type[0] = '\0';
	if (!f)
		return -errno;
	while (getline(&line, &size, f) >= 0) {
		if (!split_line(line, &line_device, &line_path, &line_type) ||
			strcmp(line_path, path) != 0)
			continue;
		snprintf(device, MOUNTS_FIELD_BYTES, "%s", line_device);
		snprintf(type, MOUNTS_FIELD_BYTES, "%s", line_type);
	}
	return ferror(f) ? -EIO : 0;
}

bool
mounts_have(const char *device)
{
	cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	char *line_device, *path, *type;
	size_t size = 0;

	/* When it cannot be found out, nobody is to end a daemon for that. */
	if (!f)
		return true;
	while (getline(&line, &size, f) >= 0)
		if (split_line(line, &line_device, &path, &type) &&
			strcmp(line_device, device) == 0)
			return true;
	return ferror(f);
}

int
mounts_watch(void)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}
