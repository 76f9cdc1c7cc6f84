/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/foreign.h"

#include <check.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"

#define LARGE (1 << 20)

const struct foreign_malformed foreign_malformed[FOREIGN_N_MALFORMED] = {
	{WIRE_CALL, 0, WIRE_BUFFER_BYTES, LARGE, true},
	{WIRE_CALL, F_SEAL_SHRINK, WIRE_BUFFER_BYTES, LARGE, true},
	{WIRE_CALL, F_SEAL_GROW, WIRE_BUFFER_BYTES, LARGE, true},
	{WIRE_CALL, F_SEAL_GROW | F_SEAL_FUTURE_WRITE, WIRE_BUFFER_BYTES, LARGE, true},
	{WIRE_CALL, FOREIGN_FIXED, WIRE_BUFFER_BYTES - 1, LARGE, true},
	{WIRE_CALL, FOREIGN_FIXED, WIRE_BUFFER_BYTES + 4096, LARGE, true},
	{WIRE_CALL, FOREIGN_FIXED, LARGE + 1, LARGE, true},
	{WIRE_CALL, FOREIGN_FIXED, WIRE_BUFFER_BYTES, WIRE_BUFFER_MAX + 1, true},
	{WIRE_CALL, FOREIGN_FIXED, WIRE_BUFFER_BYTES, WIRE_LARGE_MAX, true},
	{WIRE_CALL, FOREIGN_FIXED, WIRE_BUFFER_BYTES, LARGE, false},
	{WIRE_PART, FOREIGN_FIXED, WIRE_BUFFER_BYTES, LARGE, true},
	{WIRE_PART, FOREIGN_FIXED, WIRE_BUFFER_BYTES, 0, false},
	{WIRE_PART, FOREIGN_FIXED, WIRE_BUFFER_BYTES, WIRE_BUFFER_MAX + 1, false},
};

struct foreign
foreign_make(int seals, size_t size)
{
	struct foreign f = {.fd = memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING)};

	ck_assert_int_eq(ftruncate(f.fd, (off_t)size), 0);
	f.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	ck_assert(f.map != MAP_FAILED);
	ck_assert_int_eq(fcntl(f.fd, F_ADD_SEALS, seals), 0);
	return f;
}

struct foreign
foreign_new(void)
{
	return foreign_make(FOREIGN_FIXED, WIRE_BUFFER_BYTES);
}

void
foreign_free(struct foreign *f)
{
	munmap(f->map, WIRE_BUFFER_BYTES);
	f->fd = fd_close(f->fd);
}

void
foreign_put(int fd, enum wire_call_type type, uint64_t serial, size_t n, int passed)
{
	uint8_t buffer[64];
	struct wire_call m = {.type = (uint8_t)type, .serial = serial, .n_payload = n};
	int length = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_gt(length, 0);
	ck_assert_int_eq(
		msg_send(fd, buffer, (size_t)length, &passed, passed >= 0, MSG_DONTWAIT), length);
}

int
foreign_get(int fd, struct wire_call *ret)
{
	static uint8_t buffer[WIRE_CALL_MAX];
	size_t n_fds;
	int got[1];
	ssize_t n = msg_receive(fd, buffer, sizeof(buffer), got, 1, &n_fds, MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, ret), 0);
	return n_fds > 0 ? got[0] : -1;
}

int
foreign_get_large(int fd, enum wire_call_type type, uint64_t serial, unsigned *ret_parts)
{
	struct wire_call m = {};
	size_t before = 0;
	int got;

	*ret_parts = 0;
	while ((got = foreign_get(fd, &m)) < 0 && m.type == WIRE_PART) {
		ck_assert_uint_eq(m.serial, serial);
		ck_assert_uint_gt(m.n_payload, before);
		before = m.n_payload;
		(*ret_parts)++;
	}
	ck_assert_uint_eq(m.type, type);
	ck_assert_uint_eq(m.serial, serial);
	ck_assert_uint_gt(m.n_payload, WIRE_PAYLOAD_MAX);
	ck_assert_int_ge(got, 0);
	return got;
}

bool
foreign_is_buffer(int fd)
{
	return !(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE);
}

ino_t
foreign_inode(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

blkcnt_t
foreign_blocks(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_blocks;
}

void
foreign_check(int fd, const char *data, size_t n)
{
	const char *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);

	ck_assert(map != MAP_FAILED);
	ck_assert_int_eq(memcmp(map, data, n), 0);
	munmap((void *)(uintptr_t)map, n);
}

void
foreign_put_word(int fd, uint64_t serial)
{
	uint64_t word = htole64(serial);

	ck_assert_int_eq(pwrite(fd, &word, sizeof(word), WIRE_BUFFER_MAX), sizeof(word));
}

uint64_t
foreign_get_word(int fd)
{
	uint64_t word;

	ck_assert_int_eq(pread(fd, &word, sizeof(word), WIRE_BUFFER_MAX), sizeof(word));
	return le64toh(word);
}

unsigned
foreign_count_maps(const char *name)
{
	cleanup_fclose FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) != NULL;
	return n;
}
