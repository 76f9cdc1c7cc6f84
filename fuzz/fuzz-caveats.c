/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Caveats as a server has them, of whoever derives a capability, and what callers ask: the first part of the input,
 * up to a line feed, is a pattern and the list of a hand-over, the rest what is asked. Patterns are matched once more
 * in the plain way, which tries everything, as long as that takes no time.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz/fuzz.h"
#include "libcap-client/cap-client.h"
#include "wire/wire.h"

#define PLAIN_MAX 10 /* bytes of what is matched in the plain way */

/* Only what has no sets and no escapes: the rest of PATTERN, of TEXT. */
static bool
plain(const char *pattern, const char *text)
{
	bool any = pattern[0] == '*' && pattern[1] == '*';

	if (!*pattern)
		return !*text;
	if (*pattern != '*')
		return *text && (*pattern == *text || (*pattern == '?' && *text != '/')) &&
			plain(pattern + 1, text + 1);
	for (const char *rest = pattern + strspn(pattern, "*");; text++) {
		if (plain(rest, text))
			return true;
		if (!*text || (*text == '/' && !any))
			return false;
	}
}

static void
check_glob(const char *pattern, const char *text)
{
	int r = capc_glob(pattern, text);

	FUZZ_CHECK(r == 0 || r == 1 || r == -EINVAL);
	if (strlen(pattern) > PLAIN_MAX || strlen(text) > PLAIN_MAX || strpbrk(pattern, "[\\"))
		return;
	FUZZ_CHECK(r == plain(pattern, text));
}

struct count {
	unsigned n, group;
};

static int
count(unsigned group, const char *text, void *data)
{
	struct count *c = data;

	FUZZ_CHECK(group == c->group || (c->n > 0 && group == c->group + 1));
	FUZZ_CHECK(*text && strlen(text) <= WIRE_CAVEAT_MAX);
	c->group = group;
	c->n++;
	return 0;
}

static int
allows(const char *text, void *data)
{
	return capc_glob(text, data) > 0;
}

static void
check_list(const char *list, size_t n, const char *asked)
{
	const struct capc_caller caller = {.caveats = list, .n_caveats = n};
	struct count c = {};
	int r;

	if (!wire_caveats_are_valid(list, n))
		return;
	FUZZ_CHECK(capc_caveats(&caller, count, &c) == 0);
	FUZZ_CHECK(c.n <= WIRE_CAVEATS_N_MAX && (c.n > 0) == (n > 0));
	r = capc_caveat_glob(&caller, asked);
	FUZZ_CHECK(r == capc_caveats_allow(&caller, allows, (void *)(uintptr_t)asked));
	FUZZ_CHECK(n > 0 || r == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = n > 0 ? memchr(data, '\n', n) : NULL;
	size_t n_list = end ? (size_t)(end - data) : n;
	cleanup_free char *list = malloc(n_list + 1), *asked = strndup((const char *)data + n_list + !!end, n - n_list - !!end);

	FUZZ_CHECK(list && asked);
	if (n_list > 0)
		memcpy(list, data, n_list);
	list[n_list] = '\0';
	check_glob(list, asked);
	check_list(list, n_list, asked);
	return 0;
}
