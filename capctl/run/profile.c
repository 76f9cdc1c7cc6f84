/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/profile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "capctl/command.h"

#define LINES_MAX 1000
#define BLANKS " \t\r\n"

/* What a profile may say: how a program runs, and not what it is. */
static const char *const keys[] = {
	"cap", "clear-env", "confine", "die-with", "env", "groups", "open-sockets", "quota", "timeout", "uid", "workspace"};

void
profile_deinit(struct profile *p)
{
	for (int i = 1; i <= p->n_own; i++)
		free(p->argv[i]);
	free(p->argv);
	*p = (struct profile){};
}

/* --- where it is --- */

static FILE *
open_in(const char *directory, const char *below, const char *name, struct text *ret)
{
	if (!directory || !*directory)
		return NULL;
	text_reset(ret);
	text_addf(ret, "%s%s/%s", directory, below, name);
	return text_done(ret) < 0 ? NULL : fopen(ret->data, "re");
}

/* RET is the path of what was found. */
static FILE *
find(const char *name, struct text *ret)
{
	const char *config = getenv("XDG_CONFIG_HOME");
	const struct {
		const char *directory, *below;
	} places[] = {
		{getenv("CAPFS_PROFILES"), ""},
		{config && *config ? config : getenv("HOME"),
			config && *config ? "/capfs/profiles" : "/.config/capfs/profiles"},
		{"/etc/capfs/profiles", ""},
		{PROFILES, ""},
	};
	FILE *f = NULL;

	if (strchr(name, '/')) {
		text_add(ret, name);
		return text_done(ret) < 0 ? NULL : fopen(name, "re");
	}
	if (!name_is_valid(name, strlen(name))) {
		errno = EINVAL;
		return NULL;
	}
	/* One that is there and cannot be read is not passed over: another one may allow more. */
	for (size_t i = 0; !f && i < sizeof(places) / sizeof(places[0]); i++) {
		errno = ENOENT;
		f = open_in(places[i].directory, places[i].below, name, ret);
		if (!f && errno != ENOENT && errno != ENOTDIR)
			return NULL;
	}
	return f;
}

/* --- what it says --- */

static bool
is_known(const char *key, size_t n)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strlen(keys[i]) == n && memcmp(keys[i], key, n) == 0)
			return true;
	return false;
}

/* As an option: "confine net=none", "--confine=net=none" and "--confine net=none" are one. */
static int
take_line(struct profile *p, char *line, const char *path, size_t number)
{
	cleanup_text struct text option = {};
	char *key = line + strspn(line, BLANKS), *value;
	size_t n, n_value;

	if (!*key || *key == '#')
		return 0;
	if (strncmp(key, "--", 2) == 0)
		key += 2;
	n = strcspn(key, "=" BLANKS);
	if (!is_known(key, n))
		return complain_usage("%s:%zu: '%.*s' is nothing that a profile says", path, number, (int)n, key);
	value = key + n + (key[n] == '=');
	value += strspn(value, BLANKS);
	/* A comment ends a line behind a blank alone: values may have such a character. */
	for (n_value = 0; value[n_value]; n_value++)
		if (value[n_value] == '#' && strchr(BLANKS, value[n_value - (n_value > 0)]))
			break;
	if (*value == '#')
		n_value = 0;
	while (n_value > 0 && strchr(BLANKS, value[n_value - 1]))
		n_value--;
	text_addf(&option, "--%.*s%s%.*s", (int)n, key, n_value > 0 ? "=" : "", (int)n_value, value);
	if (text_done(&option) < 0)
		return complain(ENOMEM, NULL, "%s", path);
	p->argv[++p->n_own] = text_take(&option);
	return 0;
}

static int
take_lines(struct profile *p, FILE *f, const char *path)
{
	cleanup_free char *line = NULL;
	size_t size = 0, number = 0;
	int status = 0;

	while (status == 0 && getline(&line, &size, f) >= 0) {
		if (number == LINES_MAX)
			return complain_usage("%s: it has more than %d lines", path, LINES_MAX);
		status = take_line(p, line, path, ++number);
	}
	if (status == 0 && ferror(f))
		status = complain(errno, NULL, "%s", path);
	return status;
}

int
profile_read(struct profile *p, const char *name, int argc, char **argv)
{
	cleanup_text struct text path = {};
	cleanup_fclose FILE *f = find(name, &path);
	int status;

	*p = (struct profile){};
	if (!f) {
		complain(errno, errno == ENOENT ? "there is no such profile" : NULL, "--profile=%s", name);
		return STATUS_USAGE;
	}
	p->argv = calloc(LINES_MAX + (size_t)argc + 1, sizeof(*p->argv));
	if (!p->argv)
		return complain(ENOMEM, NULL, "run");
	p->argv[0] = argv[0];
	status = take_lines(p, f, path.data);
	for (int i = 1; i < argc; i++)
		p->argv[p->n_own + i] = argv[i];
	p->argc = p->n_own + argc;
	return status ? STATUS_USAGE : 0;
}
