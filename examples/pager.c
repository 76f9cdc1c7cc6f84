/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	pager SLOT…
 *
 * Decides what the session's policy has not. A child that asks for a slot gets one of SLOTs, the first that is of the
 * type and has the rights and limits that are wanted; one that asks for quota gets it while there is some; and the
 * parent gets back what is free. Each is decided once, whatever becomes of the daemon meanwhile.
 */
#include <cap-client.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void
print(const struct capc_ask *a, const char *what, const char *name)
{
	printf("%" PRIu64 " %s %s: %s\n", a->id, a->from ? a->from : "parent", what, name);
}

static void
decide(const struct capc_ask *a, void *data)
{
	const char *const *slots = data;
	const char *slot = "";
	int r;

	if (a->what == CAPC_ASK_SLOT) {
		r = capc_pager_try(a, slots, &slot);
		print(a, a->name, r == 0 ? slot : strerror(-r));
		return;
	}
	r = capc_pager_give(a, a->limits);
	if (r == -EDQUOT) {
		(void)capc_pager_refuse(a, "there is not so much");
		r = -EACCES;
	}
	print(a, a->limits, r == 0 ? "given" : strerror(-r));
}

int
main(int argc, char **argv)
{
	struct pollfd poller = {.events = POLLIN};
	capc_session *s;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);

	if (r < 0 || argc < 2) {
		fprintf(stderr, "pager: %s\n", r < 0 ? strerror(-r) : "which slots?");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* The words behind its name end with NULL, as those of capc_pager_try() do. */
	r = capc_pager(s, decide, argv + 1);
	poller.fd = capc_session_fd(s);
	while (r == 0) {
		poll(&poller, 1, -1);
		r = capc_session_process(s);
	}
	fprintf(stderr, "pager: %s %s\n", strerror(-r), capc_session_reason(s));
	capc_session_free(s);
	return 1;
}
