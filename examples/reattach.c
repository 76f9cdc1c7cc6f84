/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	reattach NAME
 *
 * A service that comes back: the same entrypoint and key keep object, badge and every capability, whether this
 * process was restarted or the daemon. It prints the badge whenever it serves. Calls give how many there have been
 * since this process began.
 *
 * A daemon's crash is no end, connections go on with the next one. Its stop is: capc_serve() gives ENOTCONN, and all
 * that was made of the session is made again. While another process serves, that is EBUSY.
 */
#include <cap-client.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_USEC_MIN 20000
#define AGAIN_USEC_MAX 1000000

static unsigned n_calls;

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", ++n_calls);

	(void)m;
	(void)data;
	capc_reply(r, &(struct capc_msg){.data = text, .n_data = (size_t)n});
}

/* From the session on until that has ended; *RET_SERVED tells whether it was reached. Returns: -errno. */
static int
serve(const char *name, const char *how, bool *ret_served)
{
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	uint64_t badge;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);

	if (r == 0)
		r = capc_attach(s, name, 0, &e);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, how, &badge);
	if (r == 0) {
		printf("badge=0x%" PRIx64 "\n", badge);
		*ret_served = true;
	}
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	capc_detach(e);
	capc_session_free(s);
	return r;
}

/* Is it something that passes by itself? */
static bool
passes(int r)
{
	switch (r) {
	case -ENOTCONN: case -ECONNRESET: case -ECONNREFUSED: /* the daemon has ended, or is not there yet */
	case -ENOENT: case -EPROTOTYPE:                        /* nor what it mounts */
	case -EBUSY:                                           /* the server before this one is still there */
	case -ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

int
main(int argc, char **argv)
{
	useconds_t again = AGAIN_USEC_MIN;
	capc_how *how;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: reattach NAME\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	while (r == 0 || passes(r)) {
		bool served = false;

		if (r < 0)
			usleep(again);
		r = serve(argv[1], capc_how_text(how), &served);
		again = served ? AGAIN_USEC_MIN : again < AGAIN_USEC_MAX / 2 ? again * 2 : AGAIN_USEC_MAX;
	}
	fprintf(stderr, "reattach: %s\n", strerror(-r));
	capc_how_free(how);
	return EXIT_FAILURE;
}
