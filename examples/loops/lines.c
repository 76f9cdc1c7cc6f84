/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
look_over(struct lines *l)
{
	if (l->ended && l->n_calls == 0)
		l->over(l->loop);
}

static void
replied(capc *c, uint64_t serial, int result, struct capc_msg *m, void *data)
{
	struct lines *l = data;

	(void)c;
	(void)serial;
	printf("%.*s\n", (int)m->n_data, result < 0 && !m->code ? strerror(-result) : (const char *)m->data);
	fflush(stdout);
	l->n_calls--;
	look_over(l);
}

static void
changed(capc *c, uint64_t generation, int error, void *data)
{
	(void)c;
	(void)data;
	if (generation == 0)
		fprintf(stderr, "no connection: %s\n", strerror(-error));
	else
		fprintf(stderr, "connection %" PRIu64 " %s\n", generation, error ? "has ended" : "is there");
}

int
lines_open(struct lines *l, const char *slot)
{
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &l->session);

	if (r == 0)
		r = capc_open_flags(l->session, slot, 0, &l->c);
	if (r == 0)
		capc_on_connection(l->c, changed, l);
	return r;
}

void
lines_close(struct lines *l)
{
	capc_free(l->c);
	capc_session_free(l->session);
}

static void
call(struct lines *l, const char *line)
{
	int r = capc_call_async(l->c, &(struct capc_msg){.data = line, .n_data = strlen(line)}, replied, l, NULL);

	if (r < 0)
		printf("%s\n", strerror(-r));
	else
		l->n_calls++;
}

bool
lines_read(struct lines *l)
{
	char text[4096], *rest = text, *line;
	ssize_t n = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (n <= 0)
		l->ended = true;
	text[n > 0 ? n : 0] = '\0';
	while ((line = strsep(&rest, "\n")))
		if (*line)
			call(l, line);
	look_over(l);
	return !l->ended;
}
