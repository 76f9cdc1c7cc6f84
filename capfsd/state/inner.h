/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of an open store, for the two files that it has: state.c opens and writes it, reading.c
 * reads it. Both run in the broker, or in the process that tries a binary on a copy.
 */
#pragma once

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/state/crc.h"
#include "capfsd/state/state.h"
#include "capfsd/state/verify.h"

/* What state_get() gave out: lives until the next transaction. */
struct copy {
	struct copy *next;
	_Alignas(16) char data[];
};

struct state {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn; /* the write transaction under way, or NULL */
	MDB_cursor *dropping; /* of that one; where it deleted last, or NULL */
	struct crc crc;
	struct state_header header;
	struct copy *copies;
	char *dir;    /* its name; NULL: it is a copy in a memfd */
	int dir_fd;   /* by which all in it is reached, or -1 */
	void *buffer; /* one record with its CRC */
	size_t buffer_size;
	uint64_t *storing;   /* who may want to know whether the file is being written; or NULL */
	uint64_t file_bytes; /* the file's length, as far as we made it */
	uint64_t page_bytes;
	size_t size_max_bytes;
	bool new;
	bool full; /* no reserve: new records are refused */
};

/* LMDB's error R as an errno: 0, -ENOENT, -ENOSPC, -EBADMSG (damage), or its own. */
int state_error(int r);

/* Makes room for a record of N bytes with its CRC in s->buffer. Returns: 0, -EMSGSIZE, -ENOMEM. */
int state_buffer_reserve(struct state *s, size_t n);

/*
 * Checks the CRC of what stands under KEY and takes it off VALUE. Of a record that is not good nothing
 * may be used, not even its length.
 */
bool state_record_is_good(const struct state *s, uint64_t key, MDB_val *value);
