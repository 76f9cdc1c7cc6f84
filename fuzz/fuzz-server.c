/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A server over the library, against its daemon and its clients, both of which the input plays.
 * What the daemon is asked is answered before, as it should be; hand-overs may be anything.
 *
 * The input is a list of steps, one byte each with what follows it: see run().
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "fuzz/fuzz.h"
#include "libcap-client/cap-client.h"
#include "wire/wire.h"

#define CLIENTS_MAX 4
#define KEPT_MAX 160
#define UNANSWERED_MAX 64 /* of one client */
#define STEPS_MAX 200

enum key {
	KEY_ECHO,
	KEY_KEEP,
	KEY_REFUSE,
	KEY_MUCH, /* replies with more than a socket holds of */
	KEY_TAKE,
	KEY_DETACH,
	KEY_N,
	KEY_NONE = KEY_N, /* nobody added it */
};

struct world {
	int control; /* the daemon's ends */
	int channel;
	uint64_t serial;   /* of the last answer */
	uint64_t handover; /* of the last hand-over that ascended */
	capc_session *session;
	capc_entrypoint *entrypoint; /* NULL once detached */
	int clients[CLIENTS_MAX];    /* their ends, or -1 */
	capc_request *kept[KEPT_MAX];
	size_t n_kept;
};

static uint8_t buffer[WIRE_CALL_MAX];
static const uint8_t much[WIRE_PAYLOAD_MAX + 5000];

static void
answer(struct world *w, enum wire_op op, const char *text, int fd)
{
	struct wire_reply reply = {
		.op = (uint8_t)op,
		.serial = ++w->serial,
		.text = text,
		.n_text = strlen(text),
	};
	int n = wire_reply_encode(&reply, buffer, sizeof(buffer));

	FUZZ_CHECK(msg_send(w->control, buffer, (size_t)n, &fd, fd >= 0, MSG_DONTWAIT) == n);
}

/* A request that is given up at once tells where the serials are. */
static void
find_serial(struct world *w)
{
	struct wire_request q;
	size_t n_fds;
	ssize_t n;
	char *none;

	FUZZ_CHECK(capc_read(w->session, "label", &none, 0) == -ETIMEDOUT);
	n = msg_receive(w->control, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);
	FUZZ_CHECK(n > 0 && wire_request_decode(buffer, (size_t)n, &q) == 0);
	w->serial = q.serial;
}

static void
detach(struct world *w)
{
	w->entrypoint = capc_detach(w->entrypoint);
}

static void
keep(struct world *w, capc_request *r)
{
	unsigned n = 0;

	/* A client has its hand-over's serial in place of the capability's id. */
	for (size_t i = 0; i < w->n_kept; i++)
		n += capc_caller(w->kept[i])->capability == capc_caller(r)->capability;
	FUZZ_CHECK(n < UNANSWERED_MAX);
	if (w->n_kept < KEPT_MAX)
		w->kept[w->n_kept++] = r;
	else
		capc_reply_error(r, EAGAIN, NULL);
}

static void
handle(capc_request *r, struct capc_msg *m, void *data)
{
	struct world *w = data;

	FUZZ_CHECK(m->n_data <= CAPC_PAYLOAD_MAX && ((const char *)m->data)[m->n_data] == '\0');
	switch ((enum key)capc_caller(r)->key) {
	case KEY_KEEP:
		keep(w, r);
		break;
	case KEY_REFUSE:
		capc_reply_error(r, EPERM, "no");
		break;
	case KEY_MUCH:
		capc_reply(r, &(struct capc_msg){.data = much, .n_data = 60000});
		break;
	case KEY_TAKE:
		fd_close(capc_msg_take_fd(m, 0));
		capc_reply(r, NULL);
		break;
	case KEY_DETACH:
		detach(w);
		capc_reply(r, NULL);
		break;
	case KEY_ECHO:
	case KEY_N:
		capc_reply(r, m);
		break;
	}
}

static void
handle_raw(int fd, const struct capc_caller *caller, void *data)
{
	FUZZ_CHECK(strlen(caller->label) <= WIRE_LABEL_MAX);
	capc_raw_close(fd);
}

static void
world_init(struct world *w)
{
	char text[64];
	int pair[2];

	*w = (struct world){};
	for (int i = 0; i < CLIENTS_MAX; i++)
		w->clients[i] = -1;
	FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	w->control = pair[0];
	FUZZ_CHECK(capc_session_from_fd(pair[1], &w->session) == 0);
	find_serial(w);
	FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	w->channel = pair[0];
	answer(w, WIRE_ATTACH, "", pair[1]);
	fd_close(pair[1]);
	FUZZ_CHECK(capc_attach(w->session, "e", 0, &w->entrypoint) == 0);
	for (unsigned key = 0; key < KEY_N; key++) {
		snprintf(text, sizeof(text), "object=7 badge=0x%x", 0x100 + key);
		answer(w, WIRE_WRITE, text, -1);
		FUZZ_CHECK(capc_object_add(w->entrypoint, key, handle, w, NULL, NULL) == 0);
	}
}

/* Also later than the entrypoint's end: then it goes nowhere. */
static void
reply(struct world *w, struct fuzz_input *in)
{
	static const int fds[300];
	unsigned how = (unsigned)fuzz_take(in, 1);
	size_t i = how >> 3;
	capc_request *r;

	if (i >= w->n_kept)
		return;
	r = w->kept[i];
	w->kept[i] = w->kept[--w->n_kept];
	capc_cancelled(r);
	switch (how & 7) {
	case 0:
		capc_reply(r, NULL);
		break;
	case 1:
		capc_reply_error(r, EIO, NULL);
		break;
	case 2:
		capc_reply(r, &(struct capc_msg){.data = much, .n_data = 60000});
		break;
	case 3:
		capc_reply(r, &(struct capc_msg){.data = much, .n_data = sizeof(much)});
		break;
	case 4:
		capc_reply(
			r, &(struct capc_msg){
				   .data = much, .n_data = sizeof(much), .fds = fds, .n_fds = 300});
		break;
	case 5:
		capc_reply(r, &(struct capc_msg){.fds = fds, .n_fds = 1});
		break;
	case 6:
		capc_reply(r, &(struct capc_msg){.fds = (int[]){-1}, .n_fds = 1});
		break;
	default:
		capc_reply(r, &(struct capc_msg){.n_data = CAPC_PAYLOAD_MAX + 1});
		break;
	}
}

static void
world_deinit(struct world *w)
{
	struct fuzz_input none = {};

	detach(w);
	while (w->n_kept > 0)
		reply(w, &none);
	for (int i = 0; i < CLIENTS_MAX; i++)
		fd_close(w->clients[i]);
	fd_close(w->channel);
	capc_session_free(w->session);
	fd_close(w->control);
}

/* A hand-over as the daemon makes it, of a new client. */
static void
hand_over(struct world *w, struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1);
	int *client = &w->clients[how & 3], pair[2], fds[2], n;
	struct wire_handover m = {
		.key = how >> 2 & 7,
		.rights = CAPC_RIGHT_CALL,
		.label = "init/app",
		.n_label = 8,
	};

	w->handover += !(how & 0x20) || w->handover == 0;
	m.serial = m.capability = w->handover;
	m.badge = 0x100 + m.key;
	fd_close(*client);
	FUZZ_CHECK(fd_socketpair(how & 0x40 ? SOCK_STREAM : SOCK_SEQPACKET, pair) == 0);
	*client = pair[0];
	fds[0] = pair[1];
	fds[1] = STDERR_FILENO;
	n = wire_handover_encode(&m, buffer, sizeof(buffer));
	msg_send(w->channel, buffer, (size_t)n, fds, how & 0x80 ? 2 : 1, MSG_DONTWAIT);
	fd_close(pair[1]);
}

/* All that has come for a client; what it gets is well-formed, whatever it sent. */
static void
receive(struct world *w, int client)
{
	int type, fds[MSG_FDS_MAX];
	struct wire_call m;
	size_t n_fds;
	ssize_t n;

	for (int i = 0; i < 2 * UNANSWERED_MAX; i++) {
		n = msg_receive(
			client, buffer, sizeof(buffer), fds, MSG_FDS_MAX, &n_fds, MSG_DONTWAIT);
		if (n <= 0)
			return;
		type = wire_call_decode(buffer, (size_t)n, &m) == 0 ? m.type : -1;
		FUZZ_CHECK(type == WIRE_RETURN || type == WIRE_FDS || type == WIRE_PART || type == WIRE_CREDIT);
		/* Some clients give buffers back. */
		if (n_fds > 0 && m.serial % 2 && fcntl(fds[0], F_GET_SEALS) > 0)
			FUZZ_CHECK(
				pwrite(fds[0], &m.serial, sizeof(m.serial), WIRE_BUFFER_MAX) > 0 ||
				errno == EPERM);
		for (size_t j = 0; j < n_fds; j++)
			fd_close(fds[j]);
	}
}

static void
serve(struct world *w)
{
	int r = w->entrypoint ? capc_serve(w->entrypoint, 0) : 0;

	FUZZ_CHECK(r >= 0 || r == -ENOTCONN || r == -EBADMSG || r == -EPROTO);
}

static void
set(struct world *w, struct fuzz_input *in)
{
	uint64_t value = fuzz_take(in, 1);

	if (!w->entrypoint)
		return;
	capc_entrypoint_set_timeout(w->entrypoint, value & 0x80 ? CAPC_FOREVER : value);
	capc_entrypoint_set_max(w->entrypoint, value << 10, value * 4);
	capc_accept_raw(w->entrypoint, value == 0x42 ? handle_raw : NULL, NULL);
}

/* One step. The client is in its upper bits. */
static void
step(struct world *w, struct fuzz_input *in)
{
	unsigned what = (unsigned)fuzz_take(in, 1);
	int *client = &w->clients[what >> 4 & 3];

	switch (what & 15) {
	case 0:
		fuzz_send_packet(in, w->channel);
		break;
	case 1:
		hand_over(w, in);
		break;
	case 2:
		reply(w, in);
		break;
	case 3:
		set(w, in);
		break;
	case 4:
		if (*client >= 0)
			receive(w, *client);
		break;
	case 5:
		*client = fd_close(*client);
		break;
	case 6:
		if (*client >= 0)
			shutdown(*client, (int)(what >> 6) % 3);
		break;
	case 7:
		serve(w);
		break;
	case 8:
		detach(w);
		break;
	default:
		if (*client >= 0)
			fuzz_send_packet(in, *client);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input in = {data, data + n};
	unsigned n_fds = fuzz_count_fds();
	struct world w;

	world_init(&w);
	for (int i = 0; i < STEPS_MAX && in.p < in.end; i++)
		step(&w, &in);
	for (int i = 0; i < 3; i++)
		serve(&w);
	world_deinit(&w);
	FUZZ_CHECK(fuzz_count_fds() == n_fds);
	return 0;
}
