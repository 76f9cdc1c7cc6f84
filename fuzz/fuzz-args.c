/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argument trees, as who starts a program gives them to it. What is taken has one form: encoded
 * again it is the same bytes, but for times, which may come with another zone. Each value is found
 * at its path.
 */
#include "config.h"

#include <string.h>

#include "args/tree.h"
#include "fuzz/fuzz.h"

struct walk {
	const capc_args *args;
	bool has_times;
};

static int
look(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct walk *w = data;
	struct capc_value again;

	FUZZ_CHECK(capc_args_get(w->args, path, &again) == 0);
	FUZZ_CHECK(again.type == v->type);
	w->has_times |= v->type == CAPC_TIME;
	if (v->type == CAPC_SEQUENCE || v->type == CAPC_MAP)
		FUZZ_CHECK(capc_args_each(w->args, path, look, data) == 0);
	return 0;
}

static void
encode(capc_args *a, struct text *t)
{
	for (size_t i = 0; i < a->n_fds; i++)
		a->fds[i]->number = a->fds[i]->fd;
	FUZZ_CHECK(args_encode(a, t) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_text struct text once = {}, twice = {};
	cleanup_args capc_args *a = NULL, *again = NULL;
	struct walk w = {};
	struct capc_value root;

	if (args_decode(data, n, &a) < 0)
		return 0;
	w.args = a;
	FUZZ_CHECK(capc_args_get(a, "", &root) == 0);
	look("", NULL, &root, &w);
	encode(a, &once);
	if (!w.has_times)
		FUZZ_CHECK(once.n == n && memcmp(once.data, data, n) == 0);
	FUZZ_CHECK(args_decode(once.data, once.n, &again) == 0);
	encode(again, &twice);
	FUZZ_CHECK(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0);
	return 0;
}
