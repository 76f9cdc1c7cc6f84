/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is called with the address of a page, and answers with its lines, words and bytes. The page is fetched by whoever
 * stands behind the slot `fetch`, and what was done is told to the slot `log`. Pages are what strangers wrote: if one
 * of them takes this program over, it has these two slots, and nothing else.
 */
#include <cap-client.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static capc_session *session;

/* By a connection of its own: so it goes on when what serves it was started again. */
static int
call(const char *slot, const void *data, size_t n, struct capc_msg *ret)
{
	const struct capc_msg m = {.data = data, .n_data = n};
	capc *c;
	int r = capc_open(session, slot, CAPC_TIMEOUT_USEC, &c);

	*ret = (struct capc_msg){};
	if (r < 0)
		return r;
	r = capc_call(c, &m, ret, CAPC_TIMEOUT_USEC);
	capc_free(c);
	return r;
}

static void
count(const struct capc_msg *page, char result[64])
{
	const char *p = page->data;
	size_t lines = 0, words = 0;

	for (size_t i = 0; i < page->n_data; i++) {
		lines += p[i] == '\n';
		words += !isspace((unsigned char)p[i]) && (i == 0 || isspace((unsigned char)p[i - 1]));
	}
	snprintf(result, 64, "%zu %zu %zu", lines, words, page->n_data);
}

/* What there is to know about it. */
static void
tell(const struct capc_msg *m, const char *result)
{
	struct capc_msg ignored;
	char line[1024];
	int n = snprintf(line, sizeof(line), "%.*s: %s", (int)m->n_data, (const char *)m->data, result);

	call("log", line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1, &ignored);
	capc_msg_clear(&ignored);
}

static void
work(capc_request *r, struct capc_msg *m, void *data)
{
	struct capc_msg page;
	char result[64];
	int error = call("fetch", m->data, m->n_data, &page);

	(void)data;
	if (error == 0)
		count(&page, result);
	else
		snprintf(result, sizeof(result), "fetch: %s", strerror(-error));
	capc_msg_clear(&page);
	tell(m, result);
	if (error == 0)
		capc_reply(r, &(struct capc_msg){.data = result, .n_data = strlen(result)});
	else
		capc_reply_error(r, -error, result);
}

int
main(void)
{
	capc_entrypoint *e = NULL;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &session);

	if (r == 0)
		r = capc_attach(session, "count", 0, &e);
	if (r == 0)
		r = capc_object_add(e, 1, work, NULL, "as=count", NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "worker: %s %s\n", strerror(-r), session ? capc_session_reason(session) : "");
	capc_detach(e);
	capc_session_free(session);
	return EXIT_FAILURE;
}
