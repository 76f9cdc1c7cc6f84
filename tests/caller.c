/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	caller serve ROOT NAME		a service of the library's protocol, in slot NAME; empty replies
 *	caller call ROOT SLOT		for each line "METHOD N": N calls over one connection, and then a line
 *					of how many had which answer: "ok=3 EDQUOT=2"
 *	caller label N			the label of the session whose control socket is the descriptor N
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "libcap-client/cap-client.h"

#define ERRNO_MAX 200

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	capc_reply(r, NULL);
}

static int
serve(const char *root, const char *name)
{
	capc_entrypoint *e;
	capc_session *s;
	char how[128];
	int r;

	snprintf(how, sizeof(how), "as=%s", name);
	r = capc_session_open(root, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, name, CAPC_ATTACH_FDS, &e);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, how, NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "serve: %s\n", strerror(-r));
	return 1;
}

static void
make_calls(capc *c, unsigned method, unsigned n)
{
	unsigned answers[ERRNO_MAX] = {};

	while (n-- > 0) {
		struct capc_msg reply;
		int r = capc_call(c, &(struct capc_msg){.code = method}, &reply, CAPC_TIMEOUT_USEC);

		answers[r < 0 && r > -ERRNO_MAX ? -r : 0]++;
		capc_msg_done(&reply);
	}
	printf("ok=%u", answers[0]);
	for (int i = 1; i < ERRNO_MAX; i++)
		if (answers[i] > 0)
			printf(" %s=%u", error_name(i), answers[i]);
	putchar('\n');
	fflush(stdout);
}

static int
call(const char *root, const char *slot)
{
	unsigned method, n;
	capc_session *s = NULL;
	capc *c;
	int r;

	r = capc_session_open(root, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_open(s, slot, CAPC_TIMEOUT_USEC, &c);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", slot, error_name(-r));
		capc_session_free(s);
		return 1;
	}
	while (scanf("%u %u", &method, &n) == 2)
		make_calls(c, method, n);
	capc_free(c);
	capc_session_free(s);
	return 0;
}

static int
label(int fd)
{
	const char *label = NULL;
	capc_session *s = NULL;

	if (capc_session_from_fd(fd, &s) == 0)
		label = capc_session_label(s);
	puts(label ? label : "none");
	capc_session_free(s);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "label") == 0)
		return label(atoi(argv[2]));
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "call") == 0)
		return call(argv[2], argv[3]);
	fprintf(stderr, "usage: caller serve ROOT NAME | caller call ROOT SLOT\n");
	return 2;
}
