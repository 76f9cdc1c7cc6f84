/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of sockets that may be written late: that a connection was taken, that a socket is gone.
 * A crash before that costs nothing: an offer is repeated, and the server drops it; a record
 * without a socket is dropped at the next start. So they ride along with the next change of this
 * front, or are written together when the timer runs.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

static uint64_t
memo_key(const struct memo *memo)
{
	return STORE_KEY(STORE_CONNECTION, STORE_KEY_ID(memo->record.cookie));
}

struct memo *
memo_new(enum socket_kind kind, uint64_t cookie, uint64_t owner)
{
	struct memo *memo = calloc(1, sizeof(*memo));

	if (!memo)
		return NULL;
	list_init(&memo->link);
	memo->record.kind = kind;
	memo->record.cookie = cookie;
	memo->record.owner = owner;
	return memo;
}

int
memo_stage(struct memo *memo, struct change *ch, const char *text, size_t n)
{
	cleanup_free uint8_t *data = NULL;

	if (n == 0)
		return change_note(ch, memo_key(memo), &memo->record, sizeof(memo->record));
	data = malloc(sizeof(memo->record) + n);
	if (!data)
		return -ENOMEM;
	memcpy(data, &memo->record, sizeof(memo->record));
	memcpy(data + sizeof(memo->record), text, n);
	return change_note(ch, memo_key(memo), data, sizeof(memo->record) + n);
}

static void
memo_defer(struct ipc *ipc, struct memo *memo)
{
	list_unlink(&memo->link);
	list_append(&ipc->dirty, &memo->link);
	ipc_arm(ipc->flush_timer, FLUSH_USEC);
}

void
memo_touch(struct ipc *ipc, struct memo *memo)
{
	memo_defer(ipc, memo);
}

struct memo *
memo_drop(struct ipc *ipc, struct memo *memo)
{
	if (!memo)
		return NULL;
	if (!memo->stored || ipc->forgetting) {
		list_unlink(&memo->link);
		free(memo);
		return NULL;
	}
	memo->drop = true;
	memo_defer(ipc, memo);
	return NULL;
}

void
memos_stage(struct ipc *ipc, struct change *ch)
{
	for (unsigned i = 0; i < MEMOS_MAX && !list_empty(&ipc->dirty); i++) {
		struct memo *memo = list_entry(list_first(&ipc->dirty), struct memo, link);
		int r;

		if (memo->drop)
			r = change_note(ch, memo_key(memo), NULL, 0);
		else
			r = memo_stage(memo, ch, NULL, 0);
		if (r < 0)
			return;
		list_unlink(&memo->link);
		list_append(&ipc->staged, &memo->link);
	}
}

void
memos_settle(struct ipc *ipc, bool committed)
{
	list_for_each_safe (i, &ipc->staged) {
		struct memo *memo = list_entry(i, struct memo, link);

		list_unlink(&memo->link);
		if (!committed) {
			list_append(&ipc->dirty, &memo->link);
		} else if (memo->drop) {
			free(memo);
		} else {
			memo->stored = true;
		}
	}
}

int
memos_flush(struct ipc *ipc)
{
	while (!list_empty(&ipc->dirty)) {
		int r = ipc_commit(ipc, change_begin(ipc->model));

		if (r < 0)
			return r;
		ipc->activity++;
	}
	return 0;
}

int
memos_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;
	int r = 0;

	if (!list_empty(&ipc->dirty))
		r = ipc_commit(ipc, change_begin(ipc->model));
	if (r < 0)
		ipc_fail(ipc, r);
	channels_retry(ipc);
	if (!list_empty(&ipc->dirty) || !list_empty(&ipc->detaching))
		ipc_arm(ipc->flush_timer, r < 0 ? FLUSH_AGAIN_USEC : FLUSH_USEC);
	return 0;
}
