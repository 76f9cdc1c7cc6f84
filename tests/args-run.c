/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * args-run FILE.yaml COMMAND…: becomes the command, with the tree of the file: its descriptors from
 * 3 on, then the memfd. A leaf !cap NAME is a string here, "cap:NAME", so that one sees who
 * resolved it.
 */
#include "config.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "libcap-client/cap-client.h"

#define FIRST 3
#define TEXT_MAX (CAPC_ARGS_BYTES_MAX + 1)

static int
resolve(const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data)
{
	static char buffer[256];

	snprintf(buffer, sizeof(buffer), "%s:%s", tag, text);
	*ret = (struct capc_value){.type = CAPC_STRING, .string = {buffer, strlen(buffer)}};
	return 0;
}

/* All are moved out of the way first, so that none is lost when another takes its number. */
static void
place(capc_args *a, int memfd)
{
	size_t n = capc_args_n_fds(a);
	int last = FIRST + (int)n;
	cleanup_free int *fds = calloc(n + 1, sizeof(int));
	char number[16];

	for (size_t i = 0; i <= n; i++) {
		fds[i] = fcntl(i < n ? capc_args_fd(a, i, NULL) : memfd, F_DUPFD_CLOEXEC, last + 1);
		if (fds[i] < 0)
			err(126, "descriptors");
	}
	for (size_t i = 0; i <= n; i++)
		if (dup2(fds[i], FIRST + (int)i) < 0)
			err(126, "descriptors");
	close_range((unsigned)last + 1, ~0U, 0);
	snprintf(number, sizeof(number), "%d", last);
	setenv("CAP_ARGS_FD", number, 1);
}

int
main(int argc, char **argv)
{
	cleanup_free char *text = malloc(TEXT_MAX);
	char *reason = NULL;
	capc_args *a;
	int memfd, r;
	size_t n;
	FILE *f;

	if (argc < 3 || !text || !(f = fopen(argv[1], "re")))
		errx(125, "usage: args-run FILE.yaml COMMAND…");
	n = fread(text, 1, TEXT_MAX, f);
	fclose(f);
	r = capc_args_parse_yaml(text, n, argv[1], 0, resolve, NULL, &a, &reason);
	if (r < 0)
		errx(125, "%s", reason);
	r = capc_args_seal(a, FIRST, &memfd);
	if (r < 0)
		errx(125, "%s: %s", argv[1], strerror(-r));
	place(a, memfd);
	execvp(argv[2], argv + 2);
	err(127, "%s", argv[2]);
}
