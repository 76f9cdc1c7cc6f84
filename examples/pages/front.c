/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	front SLOT…
 *
 * What its callers see: it hands each request to the next of the workers behind these slots, and to another one
 * where that does not answer. Each request is told to the slot `log`.
 */
#include <cap-client.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static capc_session *session;
static char **workers;
static int n_workers, next;

static int
call(const char *slot, const struct capc_msg *m, struct capc_msg *ret)
{
	capc *c;
	int r = capc_open(session, slot, CAPC_TIMEOUT_USEC, &c);

	*ret = (struct capc_msg){};
	if (r < 0)
		return r;
	r = capc_call(c, m, ret, CAPC_TIMEOUT_USEC);
	capc_free(c);
	return r;
}

/* A refusal is an answer, too. */
static void
hand_on(capc_request *r, struct capc_msg *m, void *data)
{
	const struct capc_msg request = {.data = m->data, .n_data = m->n_data};
	struct capc_msg reply = {}, ignored;
	int error = -ECONNREFUSED;

	(void)data;
	for (int i = 0; i < n_workers && error < 0 && reply.code == 0; i++) {
		capc_msg_clear(&reply);
		error = call(workers[next++ % n_workers], &request, &reply);
	}
	call("log", &request, &ignored);
	capc_msg_clear(&ignored);
	if (error == 0)
		capc_reply(r, &(struct capc_msg){.data = reply.data, .n_data = reply.n_data});
	else
		capc_reply_error(r, -error, reply.code ? reply.data : "no worker answers");
	capc_msg_clear(&reply);
}

int
main(int argc, char **argv)
{
	capc_entrypoint *e = NULL;
	int r;

	if (argc < 2) {
		fprintf(stderr, "usage: front SLOT...\n");
		return 2;
	}
	workers = argv + 1;
	n_workers = argc - 1;
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &session);
	if (r == 0)
		r = capc_attach(session, "front", 0, &e);
	if (r == 0)
		r = capc_object_add(e, 1, hand_on, NULL, "as=front", NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "front: %s %s\n", strerror(-r), session ? capc_session_reason(session) : "");
	capc_detach(e);
	capc_session_free(session);
	return EXIT_FAILURE;
}
