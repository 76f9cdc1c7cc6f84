/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	gate NAME
 *
 * Answers later: a call of "wait" is kept until somebody calls "open TEXT", and then all that wait get TEXT, and who
 * opened how many they were. Who has given up waiting is answered like the others, and not counted.
 */
#include <cap-client.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request belongs to the server until it is answered, with its message. */
struct waiting {
	capc_request *request;
	struct waiting *next;
};

static struct waiting *all;

static void
keep(capc_request *r)
{
	struct waiting *w = malloc(sizeof(*w));

	if (!w) {
		capc_reply_error(r, ENOMEM, NULL);
		return;
	}
	*w = (struct waiting){r, all};
	all = w;
}

static unsigned
answer_all(const struct capc_msg *m)
{
	unsigned n = 0;

	while (all) {
		struct waiting *w = all;

		all = w->next;
		n += !capc_cancelled(w->request);
		/* It never blocks: what a client does not take at once is sent by later rounds. */
		capc_reply(w->request, m);
		free(w);
	}
	return n;
}

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	static const char open[] = "open ";
	size_t n = strlen(open);
	char text[32];
	int length;

	(void)data;
	if (m->n_data == strlen("wait") && memcmp(m->data, "wait", m->n_data) == 0) {
		keep(r);
		return;
	}
	if (m->n_data < n || memcmp(m->data, open, n) != 0) {
		capc_reply_error(r, EINVAL, "wait, or open TEXT");
		return;
	}
	length = snprintf(text, sizeof(text), "%u",
		answer_all(&(struct capc_msg){.data = (const char *)m->data + n, .n_data = m->n_data - n}));
	capc_reply(r, &(struct capc_msg){.data = text, .n_data = (size_t)length});
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	capc_how *how = NULL;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: gate NAME\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[1], 0, &e);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "gate: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	/* Also now each request is answered once, in vain, which frees it. */
	answer_all(NULL);
	capc_how_free(how);
	capc_detach(e);
	capc_session_free(s);
	return EXIT_FAILURE;
}
