/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store: LMDB in the state directory, one write transaction per operation. Each record carries a
 * CRC; the header carries the version and the number of records, so that a store that was cut off,
 * emptied or damaged is refused, as often as it is opened, and never taken for a new one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/model.h"

struct state;

enum {
	STATE_E_DAMAGED = 1, /* left as it is; *RET_REASON says what is wrong */
	STATE_E_VERSION,     /* of a newer capfsd; likewise */
};

/*
 * Opens DIR/state.mdb, of at most SIZE_MAX_BYTES (the map's size), or makes it. DIR must be the caller's
 * own and nobody else's to enter, and no link. Checks the file's length before mapping it. REASON belongs
 * to the caller (free).
 * Returns: 0, STATE_E_*; -errno.
 */
int state_open(const char *dir, size_t size_max_bytes, struct state **ret, char **ret_reason);
struct state *state_free(struct state *s);

/*
 * All of the store as it is between two transactions, in a memfd, so that another process can read it
 * while this one goes on. Returns: the memfd, which is the caller's; -errno.
 */
int state_copy(struct state *s);

/* Opens such a copy, which FD stays. Returns: as state_open(). */
int state_open_copy(int fd, size_t size_max_bytes, struct state **ret, char **ret_reason);

/* *STORING is 1 from now on while S writes its file, else 0: who ends this process may have to know. */
void state_tell(struct state *s, uint64_t *storing);

/* Nothing was ever stored. */
bool state_is_new(const struct state *s);

/* Bytes: of pages with records, of the file, and how long that may become. */
void state_usage(const struct state *s, uint64_t *ret_used, uint64_t *ret_file,
	uint64_t *ret_limit);

/* For model_new(). */
extern const struct store_ops state_store_ops;

/*
 * Calls EACH for all records in order of keys, CRC checked and taken off. Stops at the first that
 * does not return 0 and returns that. Returns: 0, STATE_E_DAMAGED, what EACH returned; -errno.
 */
typedef int state_each(void *data, uint64_t key, const void *record, size_t n);
int state_scan(struct state *s, state_each *each, void *data, char **ret_reason);

/* Says so of a damage, also one that only its reader could see. Returns: STATE_E_DAMAGED; -errno. */
int state_damaged(const struct state *s, const char *why, char **ret_reason);

/*
 * Gives DIR/state.mdb, which nobody has open, another name, so that the next state_open() makes a new one.
 * Returns: 0 with *RET_NAME (free); -errno.
 */
int state_set_aside(const char *dir, char **ret_name);

/* All of it to the disk. It may take as long as a disk needs. Returns: 0 or -errno. */
int state_sync(struct state *s);

/* One record. Returns: 0, -ENOENT, -EBADMSG; the data is valid until the next transaction. */
int state_get(struct state *s, uint64_t key, const void **ret, size_t *ret_n);
