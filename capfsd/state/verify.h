/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What LMDB does not do: looks at a store before it is trusted. LMDB maps the file and follows what
 * stands in it, so a file that was cut off is SIGBUS and a flipped pointer anything. Hence the
 * length is compared with what the meta pages say before anything is mapped, and then a child
 * walks the whole tree; that it comes back, found as many records as the header says, and each page
 * in one place only (pages.h), is the proof. What the records say is not looked at here: each has
 * its CRC.
 */
#pragma once

#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_MAGIC UINT64_C(0x6574617473666163) /* "cafstate" */
#define STATE_VERSION 1
#define STATE_KEY_HEADER (UINT64_C(0xff) << 56)
#define STATE_CRC_BYTES 4

/* The store's own record, under a key that no other has. */
struct state_header {
	uint64_t magic;
	uint32_t version;
	uint32_t reserved;
	uint64_t n_records;  /* without this one */
	uint64_t instance;   /* random, the store's own */
	uint64_t file_bytes; /* the file is at least that long */
};

struct crc;

/* What a record's CRC must be. */
uint32_t state_crc(const struct crc *crc, uint64_t key, const void *data, size_t n);

/* Opens the environment; nothing in it is looked at. Returns: 0 or LMDB's error. */
int state_env_open(const char *path, size_t size_max_bytes, MDB_env **ret);
int state_dbi_open(MDB_txn *txn, MDB_dbi *ret);

/* How many pages of the file are free; TXN is a reading one. Returns: 0 or LMDB's error. */
int state_free_pages(MDB_txn *txn, uint64_t *ret_n);

/* FLAGS are for open(2). Returns: 0, STATE_E_* with *RET_REASON (a constant); -errno. */
int state_inspect(const char *path, int flags, size_t size_max_bytes, const char **ret_reason);
