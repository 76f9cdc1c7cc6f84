/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mass grant ROOT SLOT SESSION FIRST LAST: grants SLOT to SESSION as mFIRST … mLAST. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/cap-client.h"

int
main(int argc, char **argv)
{
	capc_session *s;
	char node[256], text[256];
	int r;

	if (argc != 7 || strcmp(argv[1], "grant") != 0) {
		fprintf(stderr, "usage: mass grant ROOT SLOT SESSION FIRST LAST\n");
		return 2;
	}
	r = capc_session_open(argv[2], 5000000, &s);
	if (r < 0) {
		fprintf(stderr, "mass: %s: %s\n", argv[2], strerror(-r));
		return 1;
	}
	snprintf(node, sizeof(node), "caps/%s/grant", argv[3]);
	for (long i = atol(argv[5]); r >= 0 && i <= atol(argv[6]); i++) {
		char *answer = NULL;

		snprintf(text, sizeof(text), "to=%s as=m%ld", argv[4], i);
		r = capc_write(s, node, text, &answer, 5000000);
		if (r < 0)
			fprintf(stderr, "mass: %s: %s\n", text, answer ? answer : strerror(-r));
		free(answer);
	}
	capc_session_free(s);
	return r < 0;
}
