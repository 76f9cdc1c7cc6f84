/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "base/text.h"
#include "capctl/command.h"

static int
parse_id(const char *word, size_t n, unsigned *ret)
{
	uint64_t id;

	if (number_parse(word, n, false, &id) < 0 || id >= UINT32_MAX)
		return -EINVAL;
	*ret = (unsigned)id;
	return 0;
}

static int
parse_group(const char *name, size_t n, gid_t *ret)
{
	cleanup_free char *group = strndup(name, n);
	const struct group *gr;

	if (!group)
		return complain(ENOMEM, NULL, "--groups");
	gr = getgrnam(group);
	if (gr)
		*ret = gr->gr_gid;
	else if (parse_id(group, n, ret) < 0)
		return complain_usage("there is no group '%s'", group);
	return 0;
}

int
owner_parse_groups(const char *word, gid_t *ret, size_t *ret_n)
{
	int status = 0;

	*ret_n = 0;
	for (bool more = true; more && status == 0; word++) {
		size_t n = strcspn(word, ",");

		if (*ret_n == OWNER_GROUPS_MAX)
			return complain_usage("--groups takes at most %d of them", OWNER_GROUPS_MAX);
		status = parse_group(word, n, &ret[(*ret_n)++]);
		word += n;
		more = *word;
	}
	return status;
}

int
owner_parse(const char *word, struct owner *ret)
{
	size_t n = strcspn(word, ":");
	cleanup_free char *user = strndup(word, n);
	const char *group = word[n] ? word + n + 1 : NULL;
	const struct passwd *pw;
	const struct group *gr;

	if (!user)
		return complain(ENOMEM, NULL, "--owner");
	pw = getpwnam(user);
	if (pw) {
		ret->uid = pw->pw_uid;
		ret->gid = pw->pw_gid;
	} else if (parse_id(user, n, &ret->uid) < 0) {
		return complain_usage("there is no user '%s'", user);
	}
	if (!group)
		return 0;
	gr = getgrnam(group);
	if (gr)
		ret->gid = gr->gr_gid;
	else if (parse_id(group, strlen(group), &ret->gid) < 0)
		return complain_usage("there is no group '%s'", group);
	return 0;
}

int
owner_parse_mode(const char *word, struct owner *ret)
{
	char *end;
	unsigned long mode = strtoul(word, &end, 8);

	if (*word < '0' || *word > '7' || *end || mode > 0777)
		return complain_usage("'%s' is not an octal mode", word);
	ret->mode = (mode_t)mode;
	return 0;
}

int
owner_set(const char *root, const char *node, const struct owner *o)
{
	cleanup_text struct text path = {};

	text_addf(&path, "%s/%s", root, node);
	if (text_done(&path) < 0)
		return -ENOMEM;
	/* The mode first: after chown(2) only root may. */
	if (o->mode != (mode_t)-1 && chmod(path.data, o->mode) < 0)
		return -errno;
	if ((o->uid != (uid_t)-1 || o->gid != (gid_t)-1) && chown(path.data, o->uid, o->gid) < 0)
		return -errno;
	return 0;
}
