/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client over the library, against its daemon and its service, both of which the input plays: connections that
 * come and go, calls that wait, are sent and given up, replies and credit, or anything in their place.
 *
 * The input is a list of steps, one byte each with what follows it: see step().
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "fuzz/fuzz.h"
#include "libcap-client/cap-client.h"
#include "wire/wire.h"

#define STEPS_MAX 200
#define CALLS_MAX 600 /* more than can be under way and wait */

struct world {
	int control; /* the daemon's end */
	int service; /* the service's end of the last connection, or -1 */
	capc_session *session;
	capc *c; /* NULL: there is none */
	unsigned n_calls;
	bool replied[CALLS_MAX];
};

static uint8_t buffer[WIRE_CALL_MAX];
static const uint8_t much[WIRE_PAYLOAD_MAX + 5000];

static void
replied(capc *c, uint64_t serial, int result, struct capc_msg *m, void *data)
{
	bool *once = data;

	FUZZ_CHECK(!*once && result <= 0 && result >= -4095);
	FUZZ_CHECK(!m->data || ((const char *)m->data)[m->n_data] == '\0');
	*once = true;
	if (serial % 5 == 0)
		capc_call_cancel(c, serial + 1);
	FUZZ_CHECK(capc_dispatch(c) == -EBUSY);
}

static void
changed(capc *c, uint64_t generation, int error, void *data)
{
	FUZZ_CHECK(error <= 0 && generation <= capc_generation(c));
	FUZZ_CHECK(generation > 0 || error < 0);
}

static void
open_handle(struct world *w, unsigned flags)
{
	w->c = capc_free(w->c);
	if (capc_open_flags(w->session, "s", flags & 3, &w->c) == 0)
		capc_on_connection(w->c, changed, NULL);
	if (w->c && flags & 4)
		FUZZ_CHECK(capc_poll_fd(w->c) >= 0);
}

/* The next request that asks for a connection has it, or a refusal. */
static void
answer(struct world *w, unsigned how)
{
	struct wire_reply reply = {.op = WIRE_OPEN, .error = how & 1 ? ENOENT : 0};
	struct wire_request q;
	size_t n_fds;
	ssize_t n = msg_receive(w->control, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);
	int pair[2], length;

	if (n <= 0 || wire_request_decode(buffer, (size_t)n, &q) < 0)
		return;
	FUZZ_CHECK(q.op == WIRE_OPEN);
	reply.serial = q.serial;
	reply.text = "aside";
	reply.n_text = how & 2 ? 5 : 0;
	FUZZ_CHECK(fd_socketpair(how & 4 ? SOCK_STREAM : SOCK_SEQPACKET, pair) == 0);
	length = wire_reply_encode(&reply, buffer, sizeof(buffer));
	msg_send(w->control, buffer, (size_t)length, &pair[1], how & 1 ? 0 : 1, MSG_DONTWAIT);
	fd_close(pair[1]);
	fd_close(w->service);
	w->service = pair[0];
}

static void
call(struct world *w, unsigned how)
{
	int fds[3] = {w->control, w->control, how & 0x80 ? -1 : w->control};
	struct capc_msg m = {
		.data = much,
		.n_data = how & 1 ? sizeof(much) : how & 2 ? 60000 : how & 15,
		.fds = fds,
		.n_fds = how >> 4 & 3,
	};
	uint64_t serial;

	if (!w->c || w->n_calls == CALLS_MAX)
		return;
	if (how & 4)
		capc_call_start(w->c, &m, &serial);
	else if (capc_call_async(w->c, &m, replied, &w->replied[w->n_calls], &serial) == 0)
		w->n_calls++;
}

static void
finish(struct world *w, uint64_t serial)
{
	struct capc_msg m;
	int r;

	if (!w->c)
		return;
	if (serial == 0 && capc_call_done(w->c, &serial) == 0)
		return;
	r = capc_call_finish(w->c, serial, &m, 0);
	FUZZ_CHECK(r <= 0 && r >= -4095);
	capc_msg_done(&m);
}

static void
drain(struct world *w, unsigned n_max)
{
	int fds[MSG_FDS_MAX];
	size_t n_fds;

	for (unsigned i = 0; w->service >= 0 && i < n_max; i++) {
		if (msg_receive(w->service, buffer, sizeof(buffer), fds, MSG_FDS_MAX, &n_fds, MSG_DONTWAIT) <= 0)
			return;
		for (size_t j = 0; j < n_fds; j++)
			fd_close(fds[j]);
	}
}

static void
send_word(struct world *w, enum wire_call_type type, uint64_t serial, uint32_t code)
{
	struct wire_call m = {.type = (uint8_t)type, .serial = serial, .code = code};
	int n = wire_call_encode(&m, buffer, sizeof(buffer));

	if (w->service >= 0)
		msg_send(w->service, buffer, (size_t)n, NULL, 0, MSG_DONTWAIT);
}

static void
step(struct world *w, struct fuzz_input *in)
{
	unsigned what = (unsigned)fuzz_take(in, 1);
	int r;

	switch (what & 15) {
	case 0:
		open_handle(w, what >> 4);
		break;
	case 1:
		answer(w, what >> 4);
		break;
	case 2:
		if (w->service >= 0)
			fuzz_send_packet(in, w->service);
		break;
	case 3:
		drain(w, what);
		break;
	case 4:
		call(w, (unsigned)fuzz_take(in, 1));
		break;
	case 5:
		for (unsigned i = 0; i < what; i++)
			call(w, 0);
		break;
	case 6:
		if (w->c)
			capc_call_cancel(w->c, fuzz_take(in, 1));
		break;
	case 7:
		finish(w, what >> 4);
		break;
	case 8:
		w->service = fd_shutdown_close(w->service);
		break;
	case 9:
		send_word(w, WIRE_CREDIT, WIRE_CREDIT_SERIAL, WIRE_CREDIT_MIN + (what >> 4));
		break;
	case 10:
		send_word(w, WIRE_RETURN, fuzz_take(in, 1), what >> 6);
		break;
	case 11:
		fuzz_send_packet(in, w->control);
		break;
	case 12:
		r = capc_session_process(w->session);
		FUZZ_CHECK(r <= 0);
		break;
	default:
		if (w->c)
			FUZZ_CHECK(capc_dispatch(w->c) >= 0);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input in = {data, data + n};
	unsigned n_fds = fuzz_count_fds();
	struct world w = {.service = -1};
	int pair[2];

	FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	w.control = pair[0];
	FUZZ_CHECK(capc_session_from_fd(pair[1], &w.session) == 0);
	open_handle(&w, 0);
	for (int i = 0; i < STEPS_MAX && in.p < in.end; i++)
		step(&w, &in);
	for (int i = 0; w.c && i < 3; i++)
		FUZZ_CHECK(capc_dispatch(w.c) >= 0);
	capc_free(w.c);
	capc_session_free(w.session);
	fd_close(w.control);
	fd_close(w.service);
	FUZZ_CHECK(fuzz_count_fds() == n_fds);
	return 0;
}
