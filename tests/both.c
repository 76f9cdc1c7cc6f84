/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/both.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

static void *
serve_thread(void *data)
{
	while (capc_serve(data, CAPC_FOREVER) >= 0)
		continue;
	return NULL;
}

void
both_start(struct both *b, capc_entrypoint *e, int *channel)
{
	int fds[2];

	b->channel = channel;
	played_init(&b->client);
	played_pair(SOCK_SEQPACKET, fds);
	played_answer(&b->client, WIRE_OPEN, 0, "", fds[0]);
	close(fds[0]);
	ck_assert_int_eq(pthread_create(&b->thread, NULL, serve_thread, e), 0);
	ck_assert_int_eq(capc_open(b->client.session, "e", CAPC_TIMEOUT_USEC, &b->c), 0);
	played_handover_fd(*channel, 1, 1, fds[1], -1);
	close(fds[1]);
}

void
both_stop(struct both *b)
{
	capc_free(b->c);
	played_deinit(&b->client);
	*b->channel = fd_close(*b->channel);
	ck_assert_int_eq(pthread_join(b->thread, NULL), 0);
}
