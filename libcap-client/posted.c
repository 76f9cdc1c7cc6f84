/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Posted descriptors, and the memory that is mostly posted: one connection for each request. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/private.h"

#define AGAIN_NSEC 10000000
#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* One request, and its answer. Returns: 0, or -errno. RET_FD is what came with it, or -1. */
static int
ask(struct capc_session *s, const char *slot, uint8_t word, const int *fds, size_t n_fds, uint64_t deadline,
	int *ret_fd)
{
	uint64_t now = now_usec();
	struct capc *c;
	int32_t answer;
	ssize_t n;
	int r = capc_open(s, slot,
		deadline == UINT64_MAX ? CAPC_FOREVER : deadline > now ? deadline - now : 0, &c);

	*ret_fd = -1;
	if (r < 0)
		return r;
	r = send_until(capc_fd(c), &word, sizeof(word), fds, n_fds, deadline);
	n = r < 0 ? r : receive_until(capc_fd(c), &answer, sizeof(answer), ret_fd, deadline);
	capc_free(c);
	if (n == sizeof(answer) && answer >= 0 && (answer == 0) >= (*ret_fd >= 0))
		return -answer;
	*ret_fd = fd_close(*ret_fd);
	return n == 0 || n == -EPIPE ? -ECONNRESET : n < 0 ? (int)n : -EBADMSG;
}

/* There are only so many processes that look at descriptors, and each is there for a moment. */
static int
ask_again(struct capc_session *s, const char *slot, uint8_t word, const int *fds, size_t n_fds, uint64_t deadline,
	int *ret_fd)
{
	int r;

	for (;;) {
		r = ask(s, slot, word, fds, n_fds, deadline, ret_fd);
		if ((r != -EBUSY && r != -EAGAIN) || now_usec() >= deadline)
			return r;
		nanosleep(&(struct timespec){.tv_nsec = AGAIN_NSEC}, NULL);
	}
}

int
capc_post(struct capc_session *s, const char *slot, int fd)
{
	int none, r;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	r = ask_again(s, slot, WIRE_POST, &fd, 1, session_deadline(s), &none);
	if (none < 0)
		return r;
	/* Whoever is there is not the daemon. */
	fd_close(none);
	return -EBADMSG;
}

int
capc_fetch(struct capc_session *s, const char *slot, uint64_t timeout, int *ret_fd)
{
	int fd, r = ask_again(s, slot, WIRE_FETCH, NULL, 0, deadline_after(timeout), &fd);

	if (r < 0)
		return r;
	if (fd < 0)
		return -EBADMSG;
	*ret_fd = fd;
	return 0;
}

static int
fill(int fd, const void *data, size_t n)
{
	size_t done = 0;

	if (ftruncate(fd, (off_t)n) < 0)
		return -errno;
	while (data && done < n) {
		ssize_t written = pwrite(fd, (const char *)data + done, n - done, (off_t)done);

		if (written < 0 && errno != EINTR)
			return -errno;
		done += written > 0 ? (size_t)written : 0;
	}
	return fcntl(fd, F_ADD_SEALS, SIZE_SEALS) < 0 ? -errno : 0;
}

int
capc_dataspace_new(const void *data, size_t n, int *ret_fd)
{
	cleanup_close int fd = memfd_create("dataspace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : fill(fd, data, n);

	if (r < 0)
		return r;
	*ret_fd = take_fd(fd);
	return 0;
}

int
capc_dataspace_seal(int fd)
{
	int changes = 0;

	if (fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		if (errno != EBUSY)
			return -errno;
		/* Somebody has it mapped for writing, and may go on. */
		if (fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
			return -errno;
		changes = 1;
	}
	return changes;
}

/* Nothing is asked of a file before it is known to be memory: its file system may never answer. */
int
capc_dataspace_size(int fd, size_t *ret_n)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0)
		return errno == EBADF ? -EBADF : -EINVAL;
	if ((seals & SIZE_SEALS) != SIZE_SEALS)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_n = (size_t)st.st_size;
	return seals & F_SEAL_WRITE ? 0 : 1;
}
