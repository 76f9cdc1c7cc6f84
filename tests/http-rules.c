/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	http-rules SEED N
 *	http-rules CAVEAT	the expression of this one alone
 *
 * Prints N lines: an expression as HAProxy is given it for caveats that are made up, what it is compared with, and
 * whether the library lets that through, as it is or without an API's version; for whoever has another engine to
 * compare. They are made of few characters, so that much matches.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "helpers/http/rules.h"
#include "libcap-client/cap-client.h"

#define KEY 7
#define CAVEATS_MAX 4
#define PIECES_MAX 9

static const char *const patterns[] = {"*", "**", "a", "b", "/", "/a", "ab/", "?", "[ab]", "[!a]", "[b-a]", "\\*", ".", "a+"};
static const char *const paths[] = {"a", "b", "/", "ab", "a/b", ".", "a+", "v1", "*"};

static unsigned
below(size_t n)
{
	return (unsigned)rand() % (unsigned)n;
}

static void
add_pieces(struct text *t, const char *const *pieces, size_t n)
{
	for (unsigned i = below(PIECES_MAX); i > 0; i--)
		text_add(t, pieces[below(n)]);
}

static void
add_caveats(struct text *t)
{
	for (unsigned i = 1 + below(CAVEATS_MAX); i > 0; i--) {
		text_add(t, below(8) == 0 ? "*" : "GET");
		text_add(t, below(16) == 0 ? "" : " /");
		add_pieces(t, patterns, sizeof(patterns) / sizeof(patterns[0]));
		text_add_n(t, "", 1);
		if (i == 1 || below(3) == 0)
			text_add_n(t, "", 1);
	}
}

/* A request, and the same without an API's version; NULL: it has none. */
struct request {
	const char *as_it_is, *bare;
};

static int
allows(const char *caveat, void *data)
{
	const struct request *r = data;

	return capc_glob(caveat, r->as_it_is) == 1 || (r->bare && capc_glob(caveat, r->bare) == 1);
}

static bool
is_allowed(const struct capc_caller *caller, const char *request)
{
	struct request r = {.as_it_is = request};
	cleanup_text struct text bare = {};
	size_t n;

	if (strncmp(request, "GET /v1", 7) == 0) {
		n = 6 + strspn(request + 6, "0123456789.");
		text_addf(&bare, "GET %s", request + n);
		r.bare = request[n] == '/' ? bare.data : NULL;
	}
	return capc_caveats_allow(caller, allows, &r) == 1;
}

static int
print_one(const char *caveat)
{
	cleanup_text struct text caveats = {}, expression = {};
	struct capc_caller caller = {};

	text_add_n(&caveats, caveat, strlen(caveat) + 1);
	text_add_n(&caveats, "", 1);
	if (text_done(&caveats) < 0)
		return 1;
	caller.caveats = caveats.data;
	caller.n_caveats = caveats.n;
	rules_pattern(&caller, KEY, &expression);
	return text_done(&expression) < 0 || puts(expression.data) < 0;
}

int
main(int argc, char **argv)
{
	if (argc == 2)
		return print_one(argv[1]);
	if (argc != 3)
		return 2;
	srand((unsigned)atoi(argv[1]));
	for (int i = atoi(argv[2]); i > 0; i--) {
		cleanup_text struct text caveats = {}, request = {}, expression = {};
		struct capc_caller caller = {};

		add_caveats(&caveats);
		text_add(&request, below(4) == 0 ? "GET /v1/" : "GET /");
		add_pieces(&request, paths, sizeof(paths) / sizeof(paths[0]));
		if (text_done(&caveats) < 0 || text_done(&request) < 0)
			return 1;
		caller.caveats = caveats.data;
		caller.n_caveats = caveats.n;
		rules_pattern(&caller, KEY, &expression);
		if (text_done(&expression) < 0)
			return 1;
		printf("%s\t%d %s\t%d\n", expression.data, KEY, request.data, is_allowed(&caller, request.data));
	}
	return 0;
}
