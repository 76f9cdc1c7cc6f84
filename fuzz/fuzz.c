/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "wire/wire.h"

#define FDS_COUNTED 1024
#define PAYLOAD_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

uint64_t
fuzz_take(struct fuzz_input *in, unsigned n_bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n_bytes && in->p < in->end; i++)
		value |= (uint64_t)*in->p++ << (8 * i);
	return value;
}

const void *
fuzz_take_bytes(struct fuzz_input *in, size_t *n)
{
	const uint8_t *p = in->p;

	if (*n > (size_t)(in->end - p))
		*n = (size_t)(in->end - p);
	in->p += *n;
	return p;
}

void
fuzz_check_same(const void *data, size_t n, const void *encoded, int n_encoded)
{
	FUZZ_CHECK(n_encoded >= 0 && (size_t)n_encoded == n);
	FUZZ_CHECK(memcmp(data, encoded, n) == 0);
}

/* It stays open, so that it is known again. */
static int
fuzz_buffer(void)
{
	static const char text[4096] = "a page of a buffer";
	static int fd = -1;

	if (fd >= 0)
		return fd;
	fd = memfd_create("fuzz-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	FUZZ_CHECK(fd >= 0);
	for (int i = 0; i < WIRE_BUFFER_BYTES / 4096; i++)
		FUZZ_CHECK(write(fd, text, sizeof(text)) == sizeof(text));
	FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	return fd;
}

unsigned
fuzz_count_fds(void)
{
	struct pollfd fds[FDS_COUNTED];
	unsigned n = 0;

	fuzz_buffer();
	for (int i = 0; i < FDS_COUNTED; i++)
		fds[i] = (struct pollfd){.fd = i};
	FUZZ_CHECK(poll(fds, FDS_COUNTED, 0) >= 0);
	for (int i = 0; i < FDS_COUNTED; i++)
		n += !(fds[i].revents & POLLNVAL);
	return n;
}

enum passed {
	PASSED_FILE,
	PASSED_PAYLOAD,
	PASSED_UNSEALED,
	PASSED_TOO_LONG,
	PASSED_UNENDED, /* no NUL behind the payload */
	PASSED_PIPE,
	PASSED_SOCKET,
	PASSED_BUFFER, /* always the same, for any payload */
	PASSED_N,
};

static int
make_memfd(enum passed what, size_t n)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)n + 1 + (what == PASSED_TOO_LONG)) == 0);
	if (what == PASSED_UNENDED)
		FUZZ_CHECK(pwrite(fd, "x", 1, (off_t)n) == 1);
	if (what != PASSED_UNSEALED)
		FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, PAYLOAD_SEALS) == 0);
	return fd;
}

/* A descriptor to be passed; a memfd is for a payload of N bytes. */
static int
make_passed(enum passed what, size_t n)
{
	int fds[2];

	switch (what) {
	case PASSED_PIPE:
		FUZZ_CHECK(pipe2(fds, O_CLOEXEC) == 0);
		break;
	case PASSED_SOCKET:
		FUZZ_CHECK(fd_socketpair(SOCK_SEQPACKET, fds) == 0);
		break;
	case PASSED_PAYLOAD:
	case PASSED_UNSEALED:
	case PASSED_TOO_LONG:
	case PASSED_UNENDED:
		return make_memfd(what, n);
	case PASSED_BUFFER:
		return fd_dup(fuzz_buffer());
	case PASSED_FILE:
	case PASSED_N:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	close(fds[1]);
	return fds[0];
}

/* A call's message: lengths around the limits, and a payload that is in the input else. */
static struct wire_call
take_call(struct fuzz_input *in)
{
	static const uint8_t zeros[WIRE_PAYLOAD_MAX];
	static const size_t lengths[] = {
		WIRE_PAYLOAD_MAX - 1,
		WIRE_PAYLOAD_MAX,
		WIRE_PAYLOAD_MAX + 1,
		1 << 20,
		WIRE_LARGE_MAX - 1,
		WIRE_LARGE_MAX,
		60000,
		4096,
	};
	struct wire_call m = {
		.type = (uint8_t)fuzz_take(in, 1),
		.code = (uint32_t)fuzz_take(in, 1),
		.serial = fuzz_take(in, 1),
		.payload = zeros,
		.n_payload = fuzz_take(in, 1),
	};

	if (m.serial == 0xff)
		m.serial = WIRE_CREDIT_SERIAL;
	if (m.n_payload >= 0xf8)
		m.n_payload = lengths[m.n_payload - 0xf8];
	else
		m.payload = fuzz_take_bytes(in, &m.n_payload);
	return m;
}

void
fuzz_send_packet(struct fuzz_input *in, int fd)
{
	static const size_t counts[] = {0, 1, 2, MSG_FDS_MAX};
	static uint8_t buffer[WIRE_CALL_MAX];
	unsigned how = (unsigned)fuzz_take(in, 1);
	size_t n_fds = counts[how & 3], n_payload = 0;
	const void *data = buffer;
	int fds[MSG_FDS_MAX];
	ssize_t sent;
	size_t n;

	if (how & 0x80) {
		n = (size_t)fuzz_take(in, 2);
		data = fuzz_take_bytes(in, &n);
	} else {
		struct wire_call m = take_call(in);

		n_payload = m.n_payload;
		n = (size_t)wire_call_encode(&m, buffer, sizeof(buffer));
	}
	fds[0] = n_fds > 0 ? make_passed((how >> 2 & 7) % PASSED_N, n_payload) : -1;
	FUZZ_CHECK(n_fds == 0 || fds[0] >= 0);
	for (size_t i = 1; i < n_fds; i++)
		fds[i] = STDERR_FILENO;
	sent = msg_send(fd, data, n, fds, n_fds, MSG_DONTWAIT);
	FUZZ_CHECK(sent >= 0 || sent == -EAGAIN || sent == -EPIPE || sent == -ECONNRESET ||
		sent == -ETOOMANYREFS);
	fd_close(fds[0]);
}
