/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "args/leaf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/number.h"

/* --- options --- */

static const char *const option_names[][2] = {
	{"file", " path mode create truncate exclusive "},
	{"socket", " connect listen type backlog "},
};

static bool
is_option(const char *tag, const char *key)
{
	for (size_t i = 0; i < sizeof(option_names) / sizeof(option_names[0]); i++) {
		const char *names = option_names[i][1], *found = strstr(names, key);

		if (strcmp(tag, option_names[i][0]) == 0 && *key && !strchr(key, ' '))
			return found && found[-1] == ' ' && found[strlen(key)] == ' ';
	}
	return false;
}

const char *
leaf_option(const struct leaf *l, const char *key)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->options[i].key, key) == 0)
			return l->options[i].value;
	return NULL;
}

int
leaf_add(struct leaf *l, const char *key, const char *value)
{
	if (!is_option(l->tag, key)) {
		text_addf(l->reason, "!%s takes no '%s'", l->tag, key);
		return -EINVAL;
	}
	if (leaf_option(l, key)) {
		text_addf(l->reason, "the key '%s' comes twice", key);
		return -EEXIST;
	}
	l->options[l->n].key = strdup(key);
	l->options[l->n].value = strdup(value);
	l->n++;
	return l->options[l->n - 1].key && l->options[l->n - 1].value ? 0 : -ENOMEM;
}

void
leaf_deinit(struct leaf *l)
{
	for (; l->n > 0; l->n--) {
		free(l->options[l->n - 1].key);
		free(l->options[l->n - 1].value);
	}
}

int
leaf_refuse(struct text *reason, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vaddf(reason, format, args);
	va_end(args);
	return error;
}

/* --- !fd --- */

static int
listen_fd(const char *name, struct text *reason, int *ret_fd)
{
	const char *names = secure_getenv("LISTEN_FDNAMES"), *pid = secure_getenv("LISTEN_PID");
	uint64_t owner;
	int fd = 3, n_found = 0;

	if (!names || !pid || number_parse(pid, strlen(pid), false, &owner) < 0 ||
		owner != (uint64_t)getpid())
		names = "";
	for (; *names; fd++) {
		size_t n = strcspn(names, ":");

		if (n == strlen(name) && memcmp(names, name, n) == 0) {
			*ret_fd = fd;
			n_found++;
		}
		names += n + (names[n] == ':');
	}
	if (n_found == 0)
		return leaf_refuse(reason, -EBADF, "there is no descriptor '%s'", name);
	if (n_found > 1)
		return leaf_refuse(reason, -EBADF, "%d descriptors are called '%s'", n_found, name);
	return 0;
}

int
leaf_fd_number(const char *text)
{
	static const char *const standard[] = {"stdin", "stdout", "stderr"};
	uint64_t n;

	for (int i = 0; i < 3; i++)
		if (strcmp(text, standard[i]) == 0)
			return i;
	/* One that is too large cannot be open, and has a name that nobody gives. */
	return number_parse(text, strlen(text), false, &n) < 0 || n > INT_MAX ? -1 : (int)n;
}

int
leaf_find_fd(const char *text, struct text *reason, int *ret_fd)
{
	int fd = leaf_fd_number(text), r;

	if (fd < 0) {
		r = listen_fd(text, reason, &fd);
		if (r < 0)
			return r;
	}
	if (fcntl(fd, F_GETFD) < 0)
		return leaf_refuse(reason, -EBADF, "the descriptor %s is not open", text);
	*ret_fd = fd;
	return 0;
}

int
leaf_check_type(int fd, struct text *reason, const char *what)
{
	struct statx st;

	/* A file of a server that does not answer must not hold us up. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return leaf_refuse(reason, -errno, "%s: %s", what, error_name(errno));
	if (S_ISDIR(st.stx_mode))
		return leaf_refuse(reason, -EISDIR, "%s is a directory", what);
	return 0;
}

/* --- !file --- */

struct mode {
	const char *name;
	int flags;
};

static const struct mode modes[] = {
	{"r", O_RDONLY},
	{"w", O_WRONLY},
	{"rw", O_RDWR},
	{"append", O_WRONLY | O_APPEND},
};

static int
file_mode(const struct leaf *l, int *flags)
{
	const char *mode = leaf_option(l, "mode");

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(mode ? mode : "r", modes[i].name) == 0) {
			*flags |= modes[i].flags;
			return 0;
		}
	return leaf_refuse(l->reason, -EINVAL, "the mode '%s' is none of r, w, rw, append", mode);
}

static int
file_switch(const struct leaf *l, const char *key, int flag, int *flags)
{
	const char *value = leaf_option(l, key);

	if (!value || strcmp(value, "false") == 0)
		return 0;
	if (strcmp(value, "true") != 0)
		return leaf_refuse(
			l->reason, -EINVAL, "'%s' is true or false, not '%s'", key, value);
	*flags |= flag;
	return 0;
}

/* Permissions, in octal. */
static int
file_create(const struct leaf *l, int *flags, mode_t *ret)
{
	const char *value = leaf_option(l, "create"), *p = value;

	if (!value)
		return 0;
	if (strncmp(p, "0o", 2) == 0)
		p += 2;
	if (*p == '\0' || strlen(p) > 4 || strspn(p, "01234567") != strlen(p))
		return leaf_refuse(l->reason, -EINVAL,
			"'create' is permissions such as 0640, not '%s'", value);
	*flags |= O_CREAT;
	*ret = (mode_t)strtoul(p, NULL, 8);
	return 0;
}

static int
file_flags(const struct leaf *l, int *flags, mode_t *ret_mode)
{
	int r = file_mode(l, flags);

	if (r == 0)
		r = file_create(l, flags, ret_mode);
	if (r == 0)
		r = file_switch(l, "truncate", O_TRUNC, flags);
	if (r == 0)
		r = file_switch(l, "exclusive", O_EXCL, flags);
	if (r < 0)
		return r;
	if ((*flags & O_EXCL) && !(*flags & O_CREAT))
		return leaf_refuse(l->reason, -EINVAL, "'exclusive' goes with 'create'");
	if ((*flags & O_TRUNC) && (*flags & O_ACCMODE) == O_RDONLY)
		return leaf_refuse(l->reason, -EINVAL, "'truncate' goes with a mode that writes");
	return 0;
}

int
leaf_open_file(const struct leaf *l, int *ret_fd, char **ret_made)
{
	const char *path = leaf_option(l, "path");
	int flags = O_CLOEXEC | O_NOCTTY, r;
	cleanup_close int fd = -1;
	mode_t mode = 0;

	*ret_made = NULL;
	if (!path || !*path)
		return leaf_refuse(l->reason, -EINVAL, "!file needs a 'path'");
	r = file_flags(l, &flags, &mode);
	if (r < 0 || l->dry) {
		*ret_fd = -1;
		return r;
	}
	fd = open(path, flags, mode);
	if (fd < 0)
		return leaf_refuse(
			l->reason, -errno, "'%s' cannot be opened: %s", path, error_name(errno));
	r = leaf_check_type(fd, l->reason, path);
	if (r < 0)
		return r;
	*ret_fd = take_fd(fd);
	return 0;
}
