/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large payloads of a peer that is not the library's, whatever it makes of the protocol. */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/wire.h"

#define FOREIGN_FIXED (F_SEAL_SHRINK | F_SEAL_GROW)

/* A buffer as the other side makes it. */
struct foreign {
	int fd;
	char *map;
};

struct foreign foreign_make(int seals, size_t size);
struct foreign foreign_new(void);
void foreign_free(struct foreign *f);

/* What ends the connection of a client; of a service, as RETURN in place of CALL. */
struct foreign_malformed {
	enum wire_call_type type;
	int seals;
	size_t size, n;
	bool passed;
};

#define FOREIGN_N_MALFORMED 13
extern const struct foreign_malformed foreign_malformed[FOREIGN_N_MALFORMED];

/* Sends a message without its payload, with PASSED if that is not -1. */
void foreign_put(int fd, enum wire_call_type type, uint64_t serial, size_t n, int passed);

/* Receives any message. Returns its descriptor, or -1. */
int foreign_get(int fd, struct wire_call *ret);

/* … a large one of TYPE, behind any number of parts, which *RET_PARTS counts. */
int foreign_get_large(int fd, enum wire_call_type type, uint64_t serial, unsigned *ret_parts);

bool foreign_is_buffer(int fd);

/* The payload in FD is the N bytes at DATA. */
void foreign_check(int fd, const char *data, size_t n);

/* What was copied, as the receiver says it in the buffer. */
void foreign_put_word(int fd, uint64_t serial);
uint64_t foreign_get_word(int fd);

ino_t foreign_inode(int fd);
blkcnt_t foreign_blocks(int fd);

/* How often a memfd of this name is mapped here. */
unsigned foreign_count_maps(const char *name);
