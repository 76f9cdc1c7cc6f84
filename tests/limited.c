/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	limited NAME [WORD…]
 *
 * A service for it-caveats.sh, in slots caps/NAME, of streams, and caps/NAME-calls, attached with these words. Whoever connects to the first one is
 * told of its caveats, "0:GET *,1:GET /a" in a line, and then of nothing more until it leaves. A call of the second one
 * is answered by itself when all groups have a pattern that allows it.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/text.h"
#include "libcap-client/cap-client.h"

static int
add_caveat(unsigned group, const char *text, void *data)
{
	struct text *t = data;

	text_addf(t, "%s%u:%s", t->n > 0 ? "," : "", group, text);
	return 0;
}

/* Its end is heard of by epoll alone, whose descriptor DATA is. */
static void
tell(int fd, const struct capc_caller *caller, void *data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	cleanup_text struct text t = {};

	if (capc_caveats(caller, add_caveat, &t) == 0)
		text_add(&t, "\n");
	if (text_done(&t) < 0 || write(fd, t.data, t.n) != (ssize_t)t.n ||
		epoll_ctl(*(int *)data, EPOLL_CTL_ADD, fd, &event) < 0)
		capc_raw_close(fd);
}

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	char text[256] = "";

	memcpy(text, m->data, m->n_data < sizeof(text) - 1 ? m->n_data : sizeof(text) - 1);
	if (capc_caveat_glob(capc_caller(r), text))
		capc_reply(r, m);
	else
		capc_reply_error(r, EACCES, "that is outside");
}

static int
run(capc_entrypoint *e, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = -1};
	int r = epoll_ctl(epoll, EPOLL_CTL_ADD, capc_entrypoint_fd(e), &event) < 0 ? -errno : 0;

	while (r >= 0) {
		if (epoll_wait(epoll, &event, 1, -1) < 0)
			continue;
		if (event.data.fd < 0) {
			r = capc_serve(e, 0);
			continue;
		}
		epoll_ctl(epoll, EPOLL_CTL_DEL, event.data.fd, NULL);
		capc_raw_close(event.data.fd);
	}
	return r;
}

int
main(int argc, char **argv)
{
	int r, epoll = epoll_create1(EPOLL_CLOEXEC);
	char words[256] = "", how[128];
	capc_entrypoint *e;
	capc_session *s;

	if (argc < 2)
		return 2;
	for (int i = 2; i < argc; i++)
		snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s ", argv[i]);
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach_how(s, argv[1], *words ? words : NULL, &e);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return 1;
	}
	r = capc_accept_raw(e, tell, &epoll);
	snprintf(how, sizeof(how), "as=%s socket=stream", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 1, NULL, NULL, how, NULL);
	snprintf(how, sizeof(how), "as=%s-calls", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 2, answer, NULL, how, NULL);
	if (r == 0)
		r = run(e, epoll);
	fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
	return 1;
}
