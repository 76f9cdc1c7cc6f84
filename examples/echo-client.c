/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls the service behind a slot, once for each argument: echo-client [-s SLOT] TEXT... */
#include <cap-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
call(capc *c, const char *text)
{
	struct capc_msg req = {.data = text, .n_data = strlen(text)}, reply;
	int r = capc_call(c, &req, &reply, CAPC_TIMEOUT_USEC);

	if (r == 0)
		printf("%.*s\n", (int)reply.n_data, (const char *)reply.data);
	else if (reply.code)
		fprintf(stderr, "echo-client: refused: %s\n", (const char *)reply.data);
	capc_msg_clear(&reply);
	return r;
}

int
main(int argc, char **argv)
{
	const char *slot = "echo";
	capc_session *s = NULL;
	capc *c = NULL;
	int opt, r;

	while ((opt = getopt(argc, argv, "s:")) != -1) {
		if (opt != 's')
			return 2;
		slot = optarg;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_open(s, slot, CAPC_TIMEOUT_USEC, &c);
	for (int i = optind; r == 0 && i < argc; i++)
		r = call(c, argv[i]);
	if (r < 0)
		fprintf(stderr, "echo-client: %s %s\n", strerror(-r),
			s ? capc_session_reason(s) : "");
	capc_free(c);
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
