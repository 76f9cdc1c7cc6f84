/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl adjust: what was granted gets other limits while it is used. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capctl/command.h"

/* "conns=4->64" as "conns 4 -> 64". */
static void
print_change(const char *word, int n)
{
	int n_key = (int)strcspn(word, "="), n_before;
	const char *before = word + n_key + 1, *arrow = strstr(before, "->");

	n_before = (int)(arrow - before);
	printf("%.*s %.*s -> %.*s, ", n_key, word, n_before, before, n - n_key - 1 - n_before - 2,
		arrow + 2);
}

/* "slot=kv id=31 connections=4 conns=4->64" as "conns 4 -> 64, 4 connections kept". */
static void
print_answer(const char *answer)
{
	const char *kept = strstr(answer, " connections=");
	bool changed = false;

	for (const char *p = answer; *p; p += strspn(p, " \n")) {
		size_t n = strcspn(p, " \n");
		const char *arrow = strstr(p, "->");

		if (arrow && arrow < p + n) {
			print_change(p, (int)n);
			changed = true;
		}
		p += n;
	}
	if (!changed)
		fputs("as it was, ", stdout);
	if (kept) {
		kept += strlen(" connections=");
		printf("%.*s connection%s kept\n", (int)strcspn(kept, " \n"), kept,
			strcspn(kept, " \n") == 1 && *kept == '1' ? "" : "s");
	}
}

/* SLOT, and SESSION unless --id= says which, and what is to change. */
static int
run(struct context *x, int argc, char **argv)
{
	const char *id = x->options.id, *session = id ? NULL : argv[1];
	int n_words = id ? 1 : 2, status;
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	cleanup_free char *answer = NULL;

	if (argc <= n_words)
		return complain_usage("adjust needs a SESSION or --id, and what is to change");
	status = command_word(&how, id ? "id" : "to", id ? id : session);
	if (status == STATUS_DONE)
		status = command_words(&how, argv + n_words, argc - n_words);
	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "adjust %s %s%s", argv[0], id ? "id=" : "", id ? id : session);
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "adjust");
	status = context_ask(x, node.data, "adjust", how.data, what.data, &answer);
	if (status != STATUS_DONE)
		return status;
	printf("%s: ", what.data + strlen("adjust "));
	print_answer(answer ? answer : "");
	return STATUS_DONE;
}

const struct command command_adjust = {
	.name = "adjust",
	.arguments = "SLOT SESSION|--id=N LIMITS",
	.summary = "change what a session was granted, in place: its connections stay",
	.options = OPTION_ID,
	.n_min = 2,
	.n_max = -1,
	.run = run,
};
