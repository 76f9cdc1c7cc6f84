/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The smallest service: one object, in the slot caps/echo, that sends back what it gets, behind the
 * label of the session that asks. It shows that a server learns its callers from the system.
 */
#include <cap-client.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
echo(capc_request *r, struct capc_msg *m, void *data)
{
	const char *label = capc_caller(r)->label;
	size_t n = strlen(label) + 2;
	char *text = malloc(n + m->n_data + 1);

	(void)data;
	if (!text || n + m->n_data > CAPC_PAYLOAD_MAX) {
		capc_reply_error(r, text ? EMSGSIZE : ENOMEM, "that is too long to be sent back");
	} else {
		sprintf(text, "%s: ", label);
		memcpy(text + n, m->data, m->n_data);
		capc_reply(r, &(struct capc_msg){.data = text, .n_data = n + m->n_data});
	}
	free(text);
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "echo";
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	capc_how *how = NULL;
	int r;

	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, name, 0, &e);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", name);
	if (r == 0)
		r = capc_object_add(e, 1, echo, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "echo-server: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_how_free(how);
	capc_detach(e);
	capc_session_free(s);
	return EXIT_FAILURE;
}
