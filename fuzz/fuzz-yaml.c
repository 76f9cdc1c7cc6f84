/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argument trees as people write them. Nothing is opened here. What is taken can be encoded and
 * decoded; what is refused is refused with a place in the text.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "args/tree.h"
#include "fuzz/fuzz.h"

static void
check_tree(capc_args *a)
{
	cleanup_text struct text once = {}, twice = {};
	cleanup_args capc_args *again = NULL;
	int r;

	FUZZ_CHECK(args_number(a, 3) == 0);
	r = args_encode(a, &once);
	if (r == -E2BIG)
		return;
	FUZZ_CHECK(r == 0);
	FUZZ_CHECK(args_decode(once.data, once.n, &again) == 0);
	FUZZ_CHECK(again->n_fds == a->n_fds && again->n_nodes == a->n_nodes);
	for (size_t i = 0; i < again->n_fds; i++)
		again->fds[i]->number = again->fds[i]->fd;
	FUZZ_CHECK(args_encode(again, &twice) == 0);
	FUZZ_CHECK(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_args capc_args *a = NULL;
	cleanup_free char *reason = NULL;
	unsigned long line, column;
	char c;
	int r = capc_args_parse_yaml(
		(const char *)data, n, "t", CAPC_ARGS_DRY, NULL, NULL, &a, &reason);

	FUZZ_CHECK((r == 0) == (a != NULL) && (r == 0) == (reason == NULL));
	if (r == 0)
		check_tree(a);
	else
		FUZZ_CHECK(sscanf(reason, "t:%lu:%lu: %c", &line, &column, &c) == 3 && line > 0 &&
			   column > 0);
	return 0;
}
