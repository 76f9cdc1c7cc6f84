/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keeping serve NAME CALLS: a service that keeps calls of method 1 until they are given up, and answers all others;
 * so many of a client may be kept. keeping ask SLOT N: N calls are kept, and one is answered, if there is room;
 * one of the N is given up; and one is answered.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/cap-client.h"

#define KEPT_MAX 4096
#define FULL 64	     /* of which the test says that they are all */
#define SHORT 300000 /* usec, where there is to be no reply */

static capc_request *kept[KEPT_MAX];
static unsigned n_kept;

static void
handle(capc_request *r, struct capc_msg *m, void *data)
{
	(void)data;
	if (m->code == 1 && n_kept < KEPT_MAX)
		kept[n_kept++] = r;
	else
		capc_reply(r, NULL);
}

static void
answer_given_up(void)
{
	for (unsigned i = n_kept; i-- > 0;) {
		if (!capc_cancelled(kept[i]))
			continue;
		capc_reply_error(kept[i], ECANCELED, NULL);
		kept[i] = kept[--n_kept];
	}
}

static int
serve(capc_session *s, const char *name, unsigned n)
{
	capc_entrypoint *e;
	char how[128];
	int r = capc_attach(s, name, 0, &e);

	snprintf(how, sizeof(how), "as=%s", name);
	if (r == 0)
		r = capc_entrypoint_set_calls(e, n);
	if (r == 0)
		r = capc_object_add(e, 1, handle, NULL, how, NULL);
	while (r >= 0) {
		r = capc_serve(e, CAPC_FOREVER);
		answer_given_up();
	}
	return r;
}

static void
say(const char *what, int r)
{
	printf("%s: %s\n", what, r == 0 ? "0" : strerrorname_np(-r));
}

static void
ask_one(capc *c, uint64_t timeout)
{
	struct capc_msg reply;

	say("asked", capc_call(c, &(struct capc_msg){.code = 2}, &reply, timeout));
	capc_msg_done(&reply);
}

static int
ask(capc_session *s, const char *slot, unsigned n)
{
	const struct capc_msg keep = {.code = 1, .data = "zz", .n_data = 2};
	uint64_t serial, first = 0;
	capc *c;
	int r = capc_open(s, slot, CAPC_TIMEOUT_USEC, &c);

	for (unsigned i = 0; r == 0 && i < n; i++) {
		/* There is an end to what waits in the client. */
		while ((r = capc_call_start(c, &keep, &serial)) == -EBUSY) {
			poll(&(struct pollfd){.fd = capc_poll_fd(c), .events = POLLIN}, 1, -1);
			capc_dispatch(c);
		}
		first = first ? first : serial;
	}
	if (r < 0)
		return r;
	ask_one(c, n == FULL ? SHORT : CAPC_TIMEOUT_USEC);
	say("given up", capc_call_cancel(c, first));
	ask_one(c, CAPC_TIMEOUT_USEC);
	capc_free(c);
	return 0;
}

int
main(int argc, char **argv)
{
	capc_session *s;
	unsigned n;
	int r;

	if (argc != 4 || capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s) < 0)
		return EXIT_FAILURE;
	n = (unsigned)atoi(argv[3]);
	r = strcmp(argv[1], "serve") == 0 ? serve(s, argv[2], n) : ask(s, argv[2], n);
	if (r < 0)
		fprintf(stderr, "keeping: %s\n", strerror(-r));
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
