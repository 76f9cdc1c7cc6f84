/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capctl/run/run.h"

/* DIRECTORY/NAME, from the root on. The N bytes at DIRECTORY may be none: then it is the present one. */
static int
join(const char *directory, size_t n, const char *name, struct text *ret)
{
	char present[PATH_MAX];

	text_reset(ret);
	if (n == 0 || directory[0] != '/') {
		if (!getcwd(present, sizeof(present)))
			return -errno;
		text_addf(ret, "%s/", strcmp(present, "/") == 0 ? "" : present);
	}
	text_add_n(ret, directory, n);
	text_addf(ret, "%s%s", n > 0 ? "/" : "", name);
	return text_done(ret);
}

int
run_find(const char *program, const char *path, struct text *ret)
{
	int found = -ENOENT;

	if (program[0] == '/') {
		text_add(ret, program);
		return text_done(ret);
	}
	if (strchr(program, '/'))
		return join("", 0, program, ret);
	for (const char *p = path; p && *program; p += strcspn(p, ":") + 1) {
		struct stat st;
		int r = join(p, strcspn(p, ":"), program, ret);

		if (r < 0)
			return r;
		if (stat(ret->data, &st) == 0 && S_ISREG(st.st_mode)) {
			if (access(ret->data, X_OK) == 0)
				return 0;
			found = -EACCES;
		}
		if (!p[strcspn(p, ":")])
			break;
	}
	return found;
}
