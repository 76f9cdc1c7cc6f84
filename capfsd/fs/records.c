/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the store keeps for this front, read and written here alone: halves and results of commands,
 * replies, and the epoch by which handles of one broker differ from those of all others.
 *
 * Every record begins with the instance of its mount. Those of another one are swept away when a
 * broker begins: their handles and their requests belong to nobody any more, and a number that the
 * kernel gives anew in this mount must never meet the reply of another request.
 */
#include "config.h"

#include "capfsd/fs/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/error.h"

#define EPOCH_KEY STORE_KEY(STORE_OPEN, 0)

struct epoch_record {
	uint64_t instance, epoch;
};

static uint64_t
open_key(uint64_t fh)
{
	return STORE_KEY(STORE_OPEN, fh & ((UINT64_C(1) << FS_HANDLE_BITS) - 1));
}

/* Beside what the same handle gives to its reader. */
static uint64_t
half_key(uint64_t fh)
{
	return open_key(fh) | UINT64_C(1) << FS_HANDLE_BITS;
}

/* What each record of a handle begins with. */
struct handle_record {
	uint64_t instance, number;
};

/* A handle of another mount, or of another node, is none of ours, whatever its number. */
static bool
find(struct fs *fs, uint64_t key, uint64_t number, void *ret, size_t n_ret, struct text *t)
{
	struct handle_record head;
	const void *data;
	size_t n;

	if (state_get(fs->state, key, &data, &n) != 0 || n < n_ret)
		return false;
	memcpy(&head, data, sizeof(head));
	if (head.instance != fs->boot->instance || head.number != number)
		return false;
	memcpy(ret, data, n_ret);
	text_add_n(t, (const char *)data + n_ret, n - n_ret);
	return true;
}

static int
note(struct change *ch, uint64_t key, const void *record, size_t n, const struct text *t,
	const char *end)
{
	cleanup_text struct text all = {};
	int e;

	text_add_n(&all, record, n);
	text_add_n(&all, t->data, t->n);
	text_add(&all, end);
	e = text_done(&all);
	return e < 0 ? e : change_note(ch, key, all.data, all.n);
}

bool
fs_open_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_open_record *ret, struct text *t)
{
	return find(fs, open_key(fh), number, ret, sizeof(*ret), t);
}

int
fs_open_note(struct change *ch, uint64_t fh, const struct fs_open_record *record,
	const struct text *t)
{
	return note(ch, open_key(fh), record, sizeof(*record), t, "\n");
}

bool
fs_half_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_half_record *ret, struct text *t)
{
	return find(fs, half_key(fh), number, ret, sizeof(*ret), t);
}

int
fs_half_note(struct change *ch, uint64_t fh, const struct fs_half_record *record,
	const struct text *t)
{
	if (!record)
		return change_note(ch, half_key(fh), NULL, 0);
	return note(ch, half_key(fh), record, sizeof(*record), t, "");
}

/*
 * What cannot be dropped for want of room stays until the mount ends, and is never asked for again.
 */
void
fs_record_drop(struct fs *fs, uint64_t key)
{
	struct change *ch = change_begin(fs->model);

	error_trace(change_finish(ch, change_note(ch, key, NULL, 0)));
}

/*
 * Nobody waits for this, so it rides on the next change instead of being a transaction of its own
 * behind each command: who sends one after the other would wait for that. What a broker that dies has
 * not dropped yet stays until the mount ends, and that is a few records at most.
 */
void
fs_open_drop(struct fs *fs, uint64_t fh)
{
	fs->closed[fs->n_closed++] = open_key(fh);
	if (fs->n_closed == FS_CLOSED_MAX) {
		error_trace(change_commit(change_begin(fs->model)));
		fs->n_closed = 0; /* those for which there was no room stay, too */
	}
}

void
fs_boarding(struct fs *fs, struct change *ch)
{
	fs->n_riding = 0;
	while (fs->n_riding < fs->n_closed && change_ride(ch, fs->closed[fs->n_riding], NULL, 0) == 0)
		fs->n_riding++;
}

/* Those that were not stored go with a later change. */
void
fs_arrived(struct fs *fs, bool stored)
{
	if (stored) {
		fs->n_closed -= fs->n_riding;
		memmove(fs->closed, fs->closed + fs->n_riding, fs->n_closed * sizeof(fs->closed[0]));
	}
	fs->n_riding = 0;
}

void
fs_half_drop(struct fs *fs, uint64_t fh)
{
	fs_record_drop(fs, half_key(fh));
}

struct sweep {
	struct fs *fs;
	struct change *change;
	uint64_t epoch; /* the last that was used in this mount */
};

/* All kinds of records begin with the instance of their mount. */
static int
sweep_record(void *data, uint64_t key, const void *record, size_t n)
{
	struct sweep *sweep = data;
	struct epoch_record epoch = {};
	enum store_space space = STORE_KEY_SPACE(key);

	if (space != STORE_OPEN && space != STORE_REPLY)
		return 0;
	memcpy(&epoch, record, n < sizeof(epoch) ? n : sizeof(epoch));
	if (epoch.instance != sweep->fs->boot->instance)
		return change_note(sweep->change, key, NULL, 0);
	if (key == EPOCH_KEY)
		sweep->epoch = epoch.epoch;
	return 0;
}

/*
 * Without room in the store the epoch is one that is most unlikely to have been used: a mount must
 * be served also with a full store, or nobody could make room in it.
 */
static int
sweep_commit(struct sweep *sweep)
{
	const struct epoch_record epoch = {
		.instance = sweep->fs->boot->instance, .epoch = sweep->epoch + 1};
	int r = change_note(sweep->change, EPOCH_KEY, &epoch, sizeof(epoch));

	if (r < 0) {
		change_abort(sweep->change);
		return r;
	}
	r = change_commit(sweep->change);
	sweep->fs->epoch = epoch.epoch;
	if (r == -ENOSPC &&
		getrandom(&sweep->fs->epoch, sizeof(sweep->fs->epoch), GRND_NONBLOCK) > 0)
		r = 0;
	return r;
}

/* A broker that finds records which it cannot read must not go on: -EBADMSG. */
int
fs_records_begin(struct fs *fs)
{
	struct sweep sweep = {.fs = fs, .change = change_begin(fs->model)};
	cleanup_free char *reason = NULL;
	int r = state_scan(fs->state, sweep_record, &sweep, &reason);

	if (r != 0) {
		change_abort(sweep.change);
		return r < 0 ? error_trace(r) : -EBADMSG;
	}
	return sweep_commit(&sweep);
}
