/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server is told of the caveats of its callers, in the form of the hand-over. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "libcap-client/server/glob.h"
#include "libcap-client/private.h"

_Static_assert(GLOB_BYTES_MAX == WIRE_CAVEAT_MAX, "each caveat can be a pattern");

int
capc_caveats(const struct capc_caller *caller, int (*each)(unsigned group, const char *text, void *data),
	void *data)
{
	const char *p = caller->caveats, *end = p ? p + caller->n_caveats : NULL;
	unsigned group = 0;
	int r = 0;

	while (r == 0 && p < end) {
		if (!*p) {
			group++;
			p++;
			continue;
		}
		r = each(group, p, data);
		p += strlen(p) + 1;
	}
	return r;
}

/* Of the group that is looked at. */
struct verdict {
	int (*allows)(const char *text, void *data);
	void *data;
	unsigned group;
	bool allowed;
};

/* Returns: 0; 1: the group before has none that allows it; -errno. */
static int
judge(unsigned group, const char *text, void *data)
{
	struct verdict *v = data;
	int r;

	if (group != v->group) {
		if (!v->allowed)
			return 1;
		v->group = group;
		v->allowed = false;
	}
	if (v->allowed)
		return 0;
	r = v->allows(text, v->data);
	v->allowed = r > 0;
	return r < 0 ? r : 0;
}

int
capc_caveats_allow(
	const struct capc_caller *caller, int (*allows)(const char *text, void *data), void *data)
{
	struct verdict v = {.allows = allows, .data = data};
	int r;

	if (caller->n_caveats == 0)
		return 1;
	r = capc_caveats(caller, judge, &v);
	return r < 0 ? r : r == 0 && v.allowed;
}

/* What is no pattern allows nothing: nobody knows what was meant. */
static int
glob_allows(const char *text, void *data)
{
	return glob_match(text, data) > 0;
}

int
capc_caveat_glob(const struct capc_caller *caller, const char *text)
{
	return capc_caveats_allow(caller, glob_allows, (void *)(uintptr_t)text);
}

int
capc_only(const char *text, char **ret)
{
	cleanup_text struct text t = {};

	if (command_add(&t, "only", text) < 0)
		return -EINVAL;
	if (text_done(&t) < 0)
		return -ENOMEM;
	*ret = text_take(&t);
	return 0;
}

int
capc_glob(const char *pattern, const char *text)
{
	return glob_match(pattern, text);
}
