/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl visit, upgrade, answer: what is lent to a service, and what that says to it. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "capctl/command.h"

static int
complain_visit(struct context *x, int e, const char *what, const char *slot)
{
	const char *reason = capc_session_reason(x->session);

	if (!*reason && e == -EACCES)
		reason = "its server refuses";
	return complain(e, *reason ? reason : NULL, "%s %s", what, slot);
}

/* Waits for the server's word: who has the slot can use it. */
static int
run_visit(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, how = {};
	cleanup_free char *slot = NULL;
	int e, status = command_word(&how, "as", argv[1]);

	if (status == STATUS_DONE)
		status = command_words(&how, argv + 2, argc - 2);
	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	e = capc_visit(x->session, node.data, how.data, TIMEOUT_USEC, &slot);
	if (e < 0)
		return complain_visit(x, e, "visit", argv[0]);
	printf("slot=%s\n", slot);
	return STATUS_DONE;
}

const struct command command_visit = {
	.name = "visit",
	.arguments = "SLOT NAME [KIND=N...] [args=TEXT] [to=SESSION] [via=ID]",
	.summary = "open a visit at the service of a slot, and lend it quota; prints its slot",
	.n_min = 2,
	.n_max = -1,
	.run = run_visit,
};

static int
run_upgrade(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, how = {};
	int e, status = command_words(&how, argv + 1, argc - 1);

	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	e = capc_visit_upgrade(x->session, node.data, how.data, TIMEOUT_USEC);
	return e < 0 ? complain_visit(x, e, "upgrade", argv[0]) : STATUS_DONE;
}

const struct command command_upgrade = {
	.name = "upgrade",
	.arguments = "SLOT KIND=N...",
	.summary = "lend more for the visit that a slot is for",
	.n_min = 2,
	.n_max = -1,
	.run = run_upgrade,
};

static int
run_answer(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, how = {}, what = {};
	int status = command_words(&how, argv + 1, argc - 1);

	status = context_begin(x, status, "visits", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "answer %s", argv[0]);
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "answer");
	return context_write(x, node.data, "answer", how.data, false, what.data);
}

const struct command command_answer = {
	.name = "answer",
	.arguments = "ID accept|KIND=N...|refuse [REASON]",
	.summary = "answer a visit at a service of this session, or charge it",
	.n_min = 2,
	.n_max = -1,
	.run = run_answer,
};
