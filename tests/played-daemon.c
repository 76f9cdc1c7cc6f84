/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/played-daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"

void
played_pair(int type, int ret_fds[2])
{
	ck_assert_int_eq(fd_socketpair(type, ret_fds), 0);
}

uint64_t
played_serial(struct played *d, capc_session *s)
{
	uint8_t buffer[WIRE_CONTROL_MAX];
	struct wire_request q;
	size_t n_fds;
	ssize_t n;
	char *none;

	ck_assert_int_eq(capc_read(s, "label", &none, 0), -ETIMEDOUT);
	n = msg_receive(d->fd, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_request_decode(buffer, (size_t)n, &q), 0);
	return q.serial;
}

void
played_init(struct played *d)
{
	int fds[2];

	played_pair(SOCK_SEQPACKET, fds);
	d->fd = fds[0];
	ck_assert_int_eq(capc_session_from_fd(fds[1], &d->session), 0);
	d->serial = played_serial(d, d->session);
}

void
played_deinit(struct played *d)
{
	d->session = capc_session_free(d->session);
	d->fd = fd_close(d->fd);
}

void
played_answer_with(struct played *d, const struct wire_reply *reply, int fd)
{
	uint8_t buffer[WIRE_CONTROL_MAX];
	int n = wire_reply_encode(reply, buffer, sizeof(buffer));

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(msg_send(d->fd, buffer, (size_t)n, &fd, fd >= 0, MSG_DONTWAIT), n);
}

void
played_answer(struct played *d, enum wire_op op, int error, const char *text, int fd)
{
	struct wire_reply reply = {
		.op = (uint8_t)op,
		.error = (uint32_t)error,
		.serial = ++d->serial,
		.text = text,
		.n_text = text ? strlen(text) : 0,
	};

	played_answer_with(d, &reply, fd);
}

uint64_t
played_asked(struct played *d, enum wire_op op, const char *node, const char *text)
{
	uint8_t buffer[WIRE_CONTROL_MAX];
	struct wire_request q;
	size_t n_fds;
	ssize_t n = msg_receive(d->fd, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_request_decode(buffer, (size_t)n, &q), 0);
	ck_assert_uint_eq(q.op, op);
	ck_assert_uint_eq(q.n_path, strlen(node));
	ck_assert_mem_eq(q.path, node, q.n_path);
	if (text) {
		ck_assert_uint_eq(q.n_text, strlen(text));
		ck_assert_mem_eq(q.text, text, q.n_text);
	}
	return q.offset;
}

void
played_quiet(struct played *d)
{
	char byte;

	ck_assert_int_eq(recv(d->fd, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

int
played_listen(const char *directory, const char *name, int type, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(dir, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir, name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	close(dir);
	return fd;
}

bool
played_at_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

capc_entrypoint *
played_attach_to(struct played *d, capc_session *s, int *ret_channel)
{
	capc_entrypoint *e;
	int fds[2];

	played_pair(SOCK_SEQPACKET, fds);
	played_answer(d, WIRE_ATTACH, 0, "", fds[1]);
	ck_assert_int_eq(capc_attach(s, "e", 0, &e), 0);
	played_asked(d, WIRE_ATTACH, "entrypoints/e", "pidfd=no");
	close(fds[1]);
	*ret_channel = fds[0];
	return e;
}

capc_entrypoint *
played_attach(struct played *d, int *ret_channel)
{
	return played_attach_to(d, d->session, ret_channel);
}

void
played_add(struct played *d, capc_entrypoint *e, uint64_t key, capc_handler *f, void *data)
{
	char text[64];
	uint64_t badge;

	snprintf(text, sizeof(text), "object=7 badge=0x%llx", 0x100 + (unsigned long long)key);
	played_answer(d, WIRE_WRITE, 0, text, -1);
	ck_assert_int_eq(capc_object_add(e, key, f, data, NULL, &badge), 0);
	ck_assert_uint_eq(badge, 0x100 + key);
	snprintf(text, sizeof(text), "key=%llu%s", (unsigned long long)key, f ? " protocol=calls" : "");
	played_asked(d, WIRE_WRITE, "entrypoints/e/objects", text);
}

void
played_handover_fd(int channel, uint64_t serial, uint64_t key, int fd, int pidfd)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	struct wire_handover m = {
		.serial = serial,
		.key = key,
		.badge = 0x100 + key,
		.capability = 31,
		.rights = CAPC_RIGHT_CALL | CAPC_RIGHT_GRANT,
		.uid = 990,
		.gid = 991,
		.pid = 4711,
		.label = "init/app",
		.n_label = 8,
	};
	int fds[2] = {fd, pidfd};
	int n = wire_handover_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(channel, buffer, (size_t)n, fds, pidfd < 0 ? 1 : 2, MSG_DONTWAIT),
		n);
}

int
played_handover(int channel, uint64_t serial, uint64_t key, int pidfd)
{
	int fds[2];

	played_pair(SOCK_SEQPACKET, fds);
	played_handover_fd(channel, serial, key, fds[1], pidfd);
	close(fds[1]);
	return fds[0];
}

void
played_taken(int channel, uint64_t serial)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	uint64_t taken;
	size_t n_fds;
	ssize_t n = msg_receive(channel, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (serial == 0) {
		ck_assert_int_eq(n, -EAGAIN);
		return;
	}
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_taken_decode(buffer, (size_t)n, &taken), 0);
	ck_assert_uint_eq(taken, serial);
}

int
played_client(capc_entrypoint *e, int channel, uint64_t serial, uint64_t key)
{
	int client = played_handover(channel, serial, key, -1);

	ck_assert_int_eq(capc_serve(e, 0), 1);
	played_taken(channel, serial);
	return client;
}

int
played_serve_all(capc_entrypoint *e)
{
	struct pollfd p = {.fd = capc_entrypoint_fd(e), .events = POLLIN};
	int n = 0;

	for (unsigned rounds = 0; poll(&p, 1, 0) > 0; rounds++) {
		int r = capc_serve(e, 0);

		ck_assert_int_ge(r, 0);
		ck_assert_uint_lt(rounds, 1000);
		n += r;
	}
	return n;
}

void
played_call(int fd, uint64_t serial, uint32_t method, const void *data, size_t n, int passed)
{
	static uint8_t buffer[WIRE_CALL_MAX];
	struct wire_call call = {
		.type = WIRE_CALL,
		.code = method,
		.serial = serial,
		.payload = data,
		.n_payload = n,
	};
	int length = wire_call_encode(&call, buffer, sizeof(buffer));

	ck_assert_int_gt(length, 0);
	ck_assert_int_eq(msg_send(fd, buffer, (size_t)length, &passed, passed >= 0, MSG_DONTWAIT),
		length);
}

bool
played_return(int fd, void *buffer, struct wire_call *ret, int *ret_fd)
{
	int fds[1];
	size_t n_fds;
	ssize_t n = msg_receive(fd, buffer, WIRE_CALL_MAX, fds, ret_fd ? 1 : 0, &n_fds,
		MSG_DONTWAIT);

	if (n == -EAGAIN)
		return false;
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, ret), 0);
	ck_assert_uint_eq(ret->type, WIRE_RETURN);
	if (ret_fd)
		*ret_fd = n_fds > 0 ? fds[0] : -1;
	return true;
}

int
played_answer_open(struct played *d, int type)
{
	int fds[2];

	played_pair(type, fds);
	played_answer(d, WIRE_OPEN, 0, "", fds[1]);
	close(fds[1]);
	return fds[0];
}

void
played_put_return(int service, uint64_t serial, uint32_t code, const char *data, int fd)
{
	struct wire_call reply = {
		.type = WIRE_RETURN,
		.code = code,
		.serial = serial,
		.payload = data,
		.n_payload = strlen(data),
	};
	static uint8_t buffer[WIRE_CALL_MAX];
	int n = wire_call_encode(&reply, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(service, buffer, (size_t)n, &fd, fd >= 0, 0), n);
}

void
played_get_call(int service, uint64_t serial, const struct capc_msg *m, int *ret_fd)
{
	static uint8_t buffer[WIRE_CALL_MAX];
	struct wire_call call;
	size_t n_fds;
	int fds[1];
	ssize_t n = msg_receive(service, buffer, sizeof(buffer), fds, ret_fd ? 1 : 0, &n_fds,
		MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, &call), 0);
	ck_assert_uint_eq(call.type, WIRE_CALL);
	ck_assert_uint_eq(call.serial, serial);
	ck_assert_uint_eq(call.code, m->code);
	ck_assert_uint_eq(call.n_payload, m->n_data);
	ck_assert(call.n_payload == 0 || memcmp(call.payload, m->data, m->n_data) == 0);
	if (ret_fd)
		*ret_fd = n_fds > 0 ? fds[0] : -1;
}
