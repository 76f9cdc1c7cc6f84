/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages that own what they carry. A payload that is too long for a packet is in a memfd. Sealed, whoever
 * made it can neither change nor shorten it any more, so that it is read in place; else it is the
 * sender's buffer, and copied out.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/private.h"

#define TAKEN_MIN (WIRE_PAYLOAD_MAX / 2) /* bytes of a payload for which a packet's memory is not too much */
#define LARGE_SEALS (F_SEAL_WRITE | BUFFER_SEALS)

/* What a message owns, in one block with the descriptors and what is short of its data. */
struct message {
	struct block *block; /* of what was copied, or NULL */
	struct call_packet *packet; /* that has the data, or NULL */
	void *map; /* of what is long, or NULL */
	size_t n_map;
	int fds[];
};

static struct message *
message_new(const int *fds, size_t n_fds, size_t n_data)
{
	struct message *m = malloc(sizeof(*m) + n_fds * sizeof(int) + n_data);

	if (!m)
		return NULL;
	m->block = NULL;
	m->packet = NULL;
	m->map = NULL;
	m->n_map = 0;
	if (n_fds > 0)
		memcpy(m->fds, fds, n_fds * sizeof(int));
	return m;
}

static void
message_set(struct message *m, const struct wire_call *call, const void *data, size_t n_fds,
	struct capc_msg *ret)
{
	*ret = (struct capc_msg){
		.code = call->code,
		.data = data,
		.n_data = call->n_payload,
		.fds = m->fds,
		.n_fds = n_fds,
		.owned = m,
	};
}

/* To copy it again would take as long as all else together. Where there is no memory for another one it is copied. */
static struct call_packet *
take_packet(struct call_packet **packet, size_t n)
{
	struct call_packet *other = n < TAKEN_MIN ? NULL : malloc(sizeof(*other)), *taken = *packet;

	if (!other)
		return NULL;
	*packet = other;
	return taken;
}

static int
make_short(const struct wire_call *call, const int *fds, size_t n_fds, struct call_packet **packet, struct capc_msg *ret)
{
	struct call_packet *taken = take_packet(packet, call->n_payload);
	struct message *m = message_new(fds, n_fds, taken ? 0 : call->n_payload + 1);
	char *data;

	if (!m) {
		free(taken);
		return -ENOMEM;
	}
	m->packet = taken;
	data = taken ? (char *)taken->bytes + WIRE_CALL_HEAD : (char *)&m->fds[n_fds];
	if (!taken && call->n_payload > 0)
		memcpy(data, call->payload, call->n_payload);
	data[call->n_payload] = '\0';
	message_set(m, call, data, n_fds, ret);
	return 0;
}

/*
 * The N bytes in MEMFD, which is sealed, and the NUL behind them.
 * Returns: 0, -EBADMSG (not what it must be), -ENOMEM.
 */
static int
map_large(int memfd, size_t n, void **ret)
{
	struct stat st;
	char *map;

	if (fstat(memfd, &st) < 0 || st.st_size != (off_t)n + 1)
		return -EBADMSG;
	map = mmap(NULL, n + 1, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (map == MAP_FAILED)
		return errno == ENOMEM ? -ENOMEM : -EBADMSG;
	if (map[n] != '\0') {
		munmap(map, n + 1);
		return -EBADMSG;
	}
	*ret = map;
	return 0;
}

/* The large payload in MEMFD, by what its sender can still do to it. */
static int
take_large(struct message *m, const struct wire_call *call, int memfd, struct window *w)
{
	int seals = fcntl(memfd, F_GET_SEALS), r;

	if (seals >= 0 && (seals & LARGE_SEALS) == LARGE_SEALS) {
		r = map_large(memfd, call->n_payload, &m->map);
		m->n_map = m->map ? call->n_payload + 1 : 0;
		return r;
	}
	r = window_copy(w, call->serial, memfd, call->n_payload, &m->block);
	if (r == 0 && call->type == WIRE_RETURN)
		window_copied(memfd, call->serial);
	return r;
}

static int
make_large(const struct wire_call *call, const int *fds, size_t n_fds, struct window *w,
	struct capc_msg *ret)
{
	struct message *m;
	int r;

	if (n_fds == 0)
		return -EBADMSG;
	m = message_new(fds + 1, n_fds - 1, 0);
	if (!m)
		return -ENOMEM;
	r = take_large(m, call, fds[0], w);
	if (r < 0) {
		free(m);
		return r;
	}
	message_set(m, call, m->block ? m->block->data : m->map, n_fds - 1, ret);
	close(fds[0]);
	return 0;
}

int
message_make(const struct wire_call *call, const int *fds, size_t n_fds, struct window *w,
	struct call_packet **packet, struct capc_msg *ret)
{
	struct wire_call plain = *call;
	uint8_t origin = wire_refusal_origin(&plain);
	int r = wire_call_is_large(call) ? make_large(call, fds, n_fds, w, ret)
					 : make_short(&plain, fds, n_fds, packet, ret);

	if (r == 0 && origin)
		ret->origin = origin == WIRE_ORIGIN_LIMIT ? CAPC_ORIGIN_LIMIT : CAPC_ORIGIN_SERVER;
	return r;
}

bool
message_is_copied(const struct capc_msg *m)
{
	const struct message *owned = m->owned;

	return owned && owned->block;
}

static int
memfd_fill(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, data, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		n -= (size_t)written;
	}
	return 0;
}

int
message_memfd(const void *data, size_t n, int *ret)
{
	cleanup_close int fd = memfd_create("capc-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = memfd_fill(fd, data, n);
	/* The NUL behind it comes with the length. */
	if (r == 0 && (ftruncate(fd, (off_t)n + 1) < 0 ||
			      fcntl(fd, F_ADD_SEALS, LARGE_SEALS | F_SEAL_SEAL) < 0))
		r = -errno;
	if (r < 0)
		return r;
	*ret = take_fd(fd);
	return 0;
}

int
message_check(const struct capc_msg *m)
{
	if (m->n_data > CAPC_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (m->n_fds > CAPC_FDS_MAX || (m->n_data > 0 && !m->data) || (m->n_fds > 0 && !m->fds))
		return -EINVAL;
	return 0;
}

int
capc_msg_take_fd(struct capc_msg *m, size_t i)
{
	struct message *owned = m->owned;

	if (!owned || i >= m->n_fds || owned->fds[i] < 0)
		return -EBADF;
	return take_fd(owned->fds[i]);
}

void
capc_msg_done(struct capc_msg *m)
{
	struct message *owned = m->owned;

	for (size_t i = 0; owned && i < m->n_fds; i++)
		fd_close(owned->fds[i]);
	if (owned && owned->map)
		munmap(owned->map, owned->n_map);
	if (owned)
		block_unref(owned->block);
	if (owned)
		free(owned->packet);
	free(owned);
	*m = (struct capc_msg){};
}
