/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is read from the store. Every record is checked by its CRC before anything of it is believed:
 * LMDB itself checks nothing, and a flipped bit would otherwise be a right that nobody gave.
 */
#include "config.h"

#include "capfsd/state/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

bool
state_record_is_good(const struct state *s, uint64_t key, MDB_val *value)
{
	uint32_t sum;

	if (value->mv_size < STATE_CRC_BYTES)
		return false;
	memcpy(&sum, value->mv_data, STATE_CRC_BYTES);
	value->mv_data = (char *)value->mv_data + STATE_CRC_BYTES;
	value->mv_size -= STATE_CRC_BYTES;
	return sum == state_crc(&s->crc, key, value->mv_data, value->mv_size);
}

/*
 * Gives one record to EACH, from a place where a struct may be read in it: in the map it is not
 * aligned.
 */
static int
scan_record(struct state *s, uint64_t key, const MDB_val *value, state_each *each, void *data)
{
	int r = state_buffer_reserve(s, value->mv_size);

	if (r < 0)
		return r;
	memcpy(s->buffer, value->mv_data, value->mv_size);
	return each(data, key, s->buffer, value->mv_size);
}

/*
 * The header's number of records is compared at the end. Whole records that were lost, each other
 * one with the right checksum, show in nothing else. *RET_WHY is set only where the damage was
 * found here; what EACH returns is its own.
 */
static int
scan(struct state *s, MDB_cursor *cursor, state_each *each, void *data, const char **ret_why)
{
	MDB_val key, value;
	uint64_t n = 0, id;
	int r;

	while ((r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		*ret_why = "a record does not match its checksum";
		if (key.mv_size != sizeof(id))
			return STATE_E_DAMAGED;
		memcpy(&id, key.mv_data, sizeof(id));
		if (!state_record_is_good(s, id, &value))
			return STATE_E_DAMAGED;
		*ret_why = NULL;
		if (id == STATE_KEY_HEADER)
			continue;
		n++;
		r = scan_record(s, id, &value, each, data);
		if (r != 0)
			return r;
	}
	if (r == MDB_NOTFOUND && n == s->header.n_records)
		return 0;
	*ret_why = "the number of its records is not what its header says";
	return r == MDB_NOTFOUND ? STATE_E_DAMAGED : error_trace(state_error(r));
}

int
state_scan(struct state *s, state_each *each, void *data, char **ret_reason)
{
	const char *why = NULL;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r;

	*ret_reason = NULL;
	r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (r != 0)
		return error_trace(state_error(r));
	r = state_error(mdb_cursor_open(txn, s->dbi, &cursor));
	if (r == 0) {
		r = scan(s, cursor, each, data, &why);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return r == STATE_E_DAMAGED && why ? state_damaged(s, why, ret_reason) : r;
}

/*
 * The copy is kept on a list of the store's, so that callers need not free it; it is gone at the
 * next transaction, as a pointer into the map would be.
 */
int
state_get(struct state *s, uint64_t key, const void **ret, size_t *ret_n)
{
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)}, value;
	struct copy *c = NULL;
	MDB_txn *txn;
	int r;

	r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (r != 0)
		return error_trace(state_error(r));
	r = state_error(mdb_get(txn, s->dbi, &k, &value));
	if (r == 0 && !state_record_is_good(s, key, &value))
		r = error_trace(-EBADMSG);
	if (r == 0) {
		c = malloc(sizeof(*c) + value.mv_size);
		r = c ? 0 : -ENOMEM;
	}
	if (r == 0) {
		memcpy(c->data, value.mv_data, value.mv_size);
		c->next = s->copies;
		s->copies = c;
		*ret = c->data;
		*ret_n = value.mv_size;
	}
	mdb_txn_abort(txn);
	return r;
}

void
state_usage(const struct state *s, uint64_t *ret_used, uint64_t *ret_file, uint64_t *ret_limit)
{
	MDB_stat stat = {};

	mdb_env_stat(s->env, &stat);
	*ret_used = (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
		(uint64_t)stat.ms_psize;
	*ret_file = s->file_bytes;
	*ret_limit = s->size_max_bytes;
}
