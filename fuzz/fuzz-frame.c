/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls in packets with descriptors, as they come in at either side. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "fuzz/fuzz.h"
#include "libcap-client/private.h"

static uint8_t buffer[WIRE_CALL_MAX];
static struct call_packet *packet;
static struct room room; /* for what is sent on */
static struct buffer out;

/* What came can be sent on, and comes out the same. */
static void
check_sent_on(const struct capc_msg *m)
{
	struct call_packet *other = malloc(sizeof(*other));
	struct window window;
	struct inbox in = {.window = &window};
	struct wire_call call;
	struct capc_msg same;
	struct frame f;
	int pair[2], r;

	window_init(&window, &room);
	FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	FUZZ_CHECK(frame_begin(&f, WIRE_CALL, m->code, 1, m, &out) == 0);
	FUZZ_CHECK(frame_send(&f, pair[0], buffer, sizeof(buffer)) == 0);
	frame_end(&f);
	do
		r = frame_receive(pair[1], other->bytes, sizeof(other->bytes), m->n_fds, true, &in, MSG_DONTWAIT, &call);
	while (r == 0);
	FUZZ_CHECK(r == 1 && inbox_take(&in, &call, &other, &same) == 0);
	FUZZ_CHECK(same.code == m->code && same.n_data == m->n_data && same.n_fds == m->n_fds);
	FUZZ_CHECK(memcmp(same.data, m->data, m->n_data) == 0);
	capc_msg_done(&same);
	free(other);
	buffer_copied(&out, 1);
	window_drop(&window);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void
check_message(struct capc_msg *m, const struct wire_call *call, size_t fds_max)
{
	struct wire_call plain = *call; /* but for who refuses, which is no part of what a message says */
	const char *data = m->data;

	(void)wire_refusal_origin(&plain);
	FUZZ_CHECK(m->code == call->code && m->n_data == plain.n_payload && m->n_fds <= fds_max);
	FUZZ_CHECK(data[m->n_data] == '\0');
	for (size_t i = 0; i < m->n_fds; i++)
		FUZZ_CHECK(m->fds[i] >= 0);
	if (m->n_data <= 2 * WIRE_PAYLOAD_MAX && m->n_fds <= CAPC_FDS_MAX)
		check_sent_on(m);
	fd_close(capc_msg_take_fd(m, 0));
	FUZZ_CHECK(capc_msg_take_fd(m, 0) == -EBADF);
}

/* Returns: as frame_receive(), or inbox_take() for a message that ends the connection. */
static int
receive(int fd, struct inbox *in, size_t fds_max)
{
	struct wire_call call;
	struct capc_msg m;
	int r = frame_receive(fd, packet->bytes, sizeof(packet->bytes), fds_max, true, in, MSG_DONTWAIT, &call);

	if (r <= 0)
		return r;
	FUZZ_CHECK(r == 1);
	if (call.type == WIRE_CREDIT)
		return 1;
	r = inbox_take(in, &call, &packet, &m);
	FUZZ_CHECK(in->n == 0 && !in->fds && !in->error);
	if (r < 0) {
		FUZZ_CHECK(r == -EBADMSG || r == -EMSGSIZE || r == -EMFILE);
		return r == -EBADMSG ? r : 1;
	}
	check_message(&m, &call, fds_max);
	capc_msg_done(&m);
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input input = {data, data + n};
	size_t fds_max = (size_t)fuzz_take(&input, 1) * 4;
	unsigned n_fds = fuzz_count_fds();
	struct window window;
	struct inbox in = {.window = &window};
	int pair[2], r = 0;

	packet = malloc(sizeof(*packet));
	room_init(&room, 1);
	buffer_init(&out, &room, true);
	window_init(&window, &room);
	FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	while (r >= 0 && input.p < input.end) {
		fuzz_send_packet(&input, pair[0]);
		r = receive(pair[1], &in, fds_max);
		FUZZ_CHECK(in.error ? in.n == 0 : in.n <= fds_max + 1);
	}
	FUZZ_CHECK(r >= 0 || r == -EBADMSG || r == -EPROTO || r == -ECONNRESET || r == -EMSGSIZE);
	inbox_clear(&in);
	free(packet);
	room_deinit(&room);
	FUZZ_CHECK(room_is_empty(&room));
	fd_close(pair[0]);
	fd_close(pair[1]);
	FUZZ_CHECK(fuzz_count_fds() == n_fds);
	return 0;
}
