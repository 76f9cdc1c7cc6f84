/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	inject SLOT SESSION NAME		grants SLOT to SESSION as NAME, with conns=1, and prints as what
 *	inject SLOT SESSION NAME unchecked	the same, and looks at no answer of the builder
 *
 * A program whose NAME comes from somebody else.
 */
#include "libcap-client/cap-client.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc_how *how = NULL;
	char *slot = NULL;
	int r;

	if (argc < 4)
		return 2;
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0) {
		r = capc_how_add(how, "as", argv[3]);
		capc_how_add(how, "conns", "1");
		if (r == 0 || argc > 4)
			r = capc_grant(s, argv[1], argv[2], capc_how_text(how), &slot);
	}
	if (r == 0)
		puts(slot);
	else
		fprintf(stderr, "inject: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	free(slot);
	capc_how_free(how);
	capc_session_free(s);
	return r < 0;
}
