/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "mount/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum meaning {
	OPTION_PASSED = 1, /* NAME=VALUE is --NAME=VALUE of capfsd */
	OPTION_WORD,	   /* NAME is --NAME of capfsd */
	OPTION_IGNORED,	   /* mount(8)'s own, or what holds for every capfs */
	OPTION_REFUSED,
};

static const struct option {
	const char *name;
	enum meaning meaning;
	const char *reason;
} options[] = {
	{"run-dir", OPTION_PASSED},
	{"state-dir", OPTION_PASSED},
	{"quota", OPTION_PASSED},
	{"log-level", OPTION_PASSED},
	{"volatile", OPTION_WORD},
	{"discard-damaged-state", OPTION_WORD},
	{"ro", OPTION_REFUSED, "a capfs cannot be read-only: its commands are written"},
	{"remount", OPTION_REFUSED, "a capfs cannot be remounted: unmount it, and mount it anew"},
	{"sync", OPTION_IGNORED},
	{"async", OPTION_IGNORED},
	{"rw", OPTION_IGNORED},
	{"defaults", OPTION_IGNORED},
	{"auto", OPTION_IGNORED},
	{"noauto", OPTION_IGNORED},
	{"user", OPTION_IGNORED},
	{"nouser", OPTION_IGNORED},
	{"users", OPTION_IGNORED},
	{"owner", OPTION_IGNORED},
	{"group", OPTION_IGNORED},
	{"nofail", OPTION_IGNORED},
	{"_netdev", OPTION_IGNORED},
	{"dev", OPTION_IGNORED},
	{"nodev", OPTION_IGNORED},
	{"suid", OPTION_IGNORED},
	{"nosuid", OPTION_IGNORED},
	{"exec", OPTION_IGNORED},
	{"noexec", OPTION_IGNORED},
	{"atime", OPTION_IGNORED},
	{"noatime", OPTION_IGNORED},
	{"diratime", OPTION_IGNORED},
	{"nodiratime", OPTION_IGNORED},
	{"relatime", OPTION_IGNORED},
	{"norelatime", OPTION_IGNORED},
	{"strictatime", OPTION_IGNORED},
	{"nostrictatime", OPTION_IGNORED},
	{"lazytime", OPTION_IGNORED},
	{"nolazytime", OPTION_IGNORED},
	{"silent", OPTION_IGNORED},
	{"loud", OPTION_IGNORED},
	{"allow_other", OPTION_IGNORED},
	{"default_permissions", OPTION_IGNORED},
	{"comment", OPTION_IGNORED},
	{"helper", OPTION_IGNORED},
	{"uhelper", OPTION_IGNORED},
};

static const struct option *
option_find(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0)
			return &options[i];
	return NULL;
}

int
mount_options_add(struct mount_options *o, const char *name, const char *value, size_t n)
{
	char *word;

	if (o->n == MOUNT_ARGUMENTS_MAX) {
		fprintf(stderr, "mount.fuse.capfs: too many options\n");
		return -EINVAL;
	}
	if (value ? asprintf(&word, "--%s=%.*s", name, (int)n, value) < 0 : asprintf(&word, "--%s", name) < 0)
		return -ENOMEM;
	o->argv[o->n++] = word;
	return 0;
}

/* Where a comma ends an option, the parts of a quota are joined by colons. */
static int
option_pass(struct mount_options *o, const char *name, const char *value, size_t n)
{
	int r;

	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value++;
		n -= 2;
	}
	r = mount_options_add(o, name, value, n);
	if (r < 0)
		return r;
	if (strcmp(name, "run-dir") == 0)
		o->run_dir = true;
	if (strcmp(name, "quota") == 0)
		for (char *c = o->argv[o->n - 1]; (c = strchr(c, ':'));)
			*c = ',';
	return 0;
}

/* TEXT's first option, of N bytes, with or without a value. */
static int
option_parse(struct mount_options *o, const char *text, size_t n, bool sloppy)
{
	const char *equals = memchr(text, '=', n);
	size_t n_name = equals ? (size_t)(equals - text) : n;
	const struct option *option = option_find(text, n_name);

	if (n == 0 || (n > 2 && strncasecmp(text, "x-", 2) == 0))
		return 0;
	if (!option && sloppy)
		return 0;
	if (!option) {
		fprintf(stderr, "mount.fuse.capfs: unknown option '%.*s'\n", (int)n_name, text);
		return -EINVAL;
	}
	switch (option->meaning) {
	case OPTION_REFUSED:
		fprintf(stderr, "mount.fuse.capfs: %s: %s\n", option->name, option->reason);
		return -EINVAL;
	case OPTION_PASSED:
		if (equals && n_name + 1 < n)
			return option_pass(o, option->name, equals + 1, n - n_name - 1);
		fprintf(stderr, "mount.fuse.capfs: %s needs a value\n", option->name);
		return -EINVAL;
	case OPTION_WORD:
		if (!equals)
			return mount_options_add(o, option->name, NULL, 0);
		fprintf(stderr, "mount.fuse.capfs: %s takes no value\n", option->name);
		return -EINVAL;
	case OPTION_IGNORED:
		break;
	}
	return 0;
}

/* A comma within double quotes ends no option. */
static size_t
option_length(const char *text)
{
	bool quoted = false;
	size_t n = 0;

	for (; text[n] && (quoted || text[n] != ','); n++)
		if (text[n] == '"')
			quoted = !quoted;
	return n;
}

int
mount_options_parse(struct mount_options *o, const char *text, bool sloppy)
{
	while (*text) {
		size_t n = option_length(text);
		int r = option_parse(o, text, n, sloppy);

		if (r < 0)
			return r;
		text += n + (text[n] == ',');
	}
	return 0;
}

void
mount_options_deinit(struct mount_options *o)
{
	while (o->n > 0)
		free(o->argv[--o->n]);
}
