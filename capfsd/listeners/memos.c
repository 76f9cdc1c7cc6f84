/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of sockets that may be written late. A crash before that costs nothing: an offer is
 * repeated, and the server drops it; a record without a socket is dropped at the next start.
 */
#include "config.h"

#include "capfsd/listeners/memos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"

#define MEMOS_MAX 64 /* ride along with one change */
#define FLUSH_AGAIN_USEC 1000000 /* what found no room in the store is tried again after that */

/*
 * The places of the page, and who has them. One that is taken and not filled is free to the next broker:
 * its connection has not been offered to anybody.
 */
struct places {
	struct memo *used[BOOT_PLACES];
	uint16_t free[BOOT_PLACES]; /* counted from 1 on */
	unsigned n_free;
};

_Static_assert(sizeof(((struct boot_page *)0)->places[0]) == sizeof(struct connection_record),
	"a place has room for a record");

struct memos {
	struct list dirty;  /* to be written, or dropped */
	struct list riding; /* in the change that is being committed */
	bool refused;	    /* the store had no room for those that rode last */
	sd_event_source *timer;
	struct places places;
};

/*
 * The key has room for 56 bits of the cookie, which the kernel counts up from 1: they do not run
 * out.
 */
static uint64_t
memo_key(const struct memo *memo)
{
	return STORE_KEY(STORE_CONNECTION, STORE_KEY_ID(memo->record.cookie));
}

/*
 * It is its owner's until memo_drop(), after which it lives on by itself until the store has
 * forgotten.
 */
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

/* It is known to be in the store, so that it is deleted there when its socket ends. */
struct memo *
memo_load(const struct connection_record *record)
{
	struct memo *memo = memo_new(record->kind, record->cookie, record->owner);

	if (!memo)
		return NULL;
	memo->record = *record;
	memo->stored = true;
	return memo;
}

/* With text it is one record, so that a successor never finds the one without the other. */
int
memo_stage(struct memo *memo, struct change *ch, const void *text, size_t n)
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

/* --- places --- */

static uint64_t *
place_words(const struct sockets *sockets, unsigned place)
{
	return sockets->boot->page->places[place - 1];
}

/* Its cookie goes in last and out first: a successor finds it whole or not at all. */
static void
place_write(struct sockets *sockets, const struct memo *memo)
{
	uint64_t *words = place_words(sockets, memo->place), record[BOOT_PLACE_WORDS];

	memcpy(record, &memo->record, sizeof(record));
	memcpy(words + 1, record + 1, sizeof(record) - sizeof(record[0]));
	__atomic_store_n(words, record[0], __ATOMIC_RELEASE);
}

static void
place_give_back(struct sockets *sockets, struct memo *memo)
{
	struct places *places = &sockets->memos->places;

	__atomic_store_n(place_words(sockets, memo->place), 0, __ATOMIC_RELEASE);
	places->used[memo->place - 1] = NULL;
	places->free[places->n_free++] = memo->place;
	memo->place = 0;
}

static void
places_init(struct sockets *sockets)
{
	struct places *places = &sockets->memos->places;

	/* A later daemon that systemd gives the sockets to has the store, and not the page. */
	if (!sockets->boot->page || sockets->spares)
		return;
	for (uint16_t place = BOOT_PLACES; place > 0; place--)
		if (*place_words(sockets, place) == 0)
			places->free[places->n_free++] = place;
}

bool
memo_place(struct sockets *sockets, struct memo *memo)
{
	struct places *places = &sockets->memos->places;

	if (places->n_free == 0)
		return false;
	memo->place = places->free[--places->n_free];
	places->used[memo->place - 1] = memo;
	return true;
}

int
memos_placed(struct sockets *sockets, int (*f)(void *data, struct memo *memo), void *data)
{
	for (uint16_t place = 1; sockets->boot->page && place <= BOOT_PLACES; place++) {
		struct connection_record record;
		struct memo *memo;
		int r;

		memcpy(&record, place_words(sockets, place), sizeof(record));
		if (record.cookie == 0)
			continue;
		memo = memo_new(record.kind, record.cookie, record.owner);
		if (!memo)
			return -ENOMEM;
		memo->record = record;
		memo->place = place;
		sockets->memos->places.used[place - 1] = memo;
		r = f(data, memo);
		if (r < 0)
			return r;
	}
	return 0;
}

void
memo_stored(struct sockets *sockets, struct memo *memo)
{
	if (memo->place)
		place_write(sockets, memo);
	else
		memo->stored = true;
}

/* --- what may be late --- */

/*
 * It goes to the end, also when it was there already: what has just changed may change again soon.
 */
static void
late(struct sockets *sockets, struct memo *memo)
{
	list_unlink(&memo->link);
	list_append(&sockets->memos->dirty, &memo->link);
	loop_arm(sockets->memos->timer, FLUSH_USEC);
}

void
memo_touch(struct sockets *sockets, struct memo *memo)
{
	if (memo->place)
		place_write(sockets, memo);
	else
		late(sockets, memo);
}

bool
memo_is_late(const struct memo *memo)
{
	return !list_empty(&memo->link);
}

struct memo *
memo_drop(struct sockets *sockets, struct memo *memo)
{
	if (!memo)
		return NULL;
	/*
	 * What the store never had need not be deleted there, and what is forgotten must stay
	 * there.
	 */
	if (!memo->stored || sockets->forgetting) {
		if (memo->place && !sockets->forgetting)
			place_give_back(sockets, memo);
		list_unlink(&memo->link);
		free(memo);
		return NULL;
	}
	memo->drop = true;
	late(sockets, memo);
	return NULL;
}

/*
 * Called for every change of the model. So many at a time: each makes the transaction of somebody
 * else, who waits for it, a little longer.
 */
void
memos_boarding(struct sockets *sockets, struct change *ch)
{
	struct memos *all = sockets->memos;

	for (unsigned i = 0; i < MEMOS_MAX && !list_empty(&all->dirty); i++) {
		struct memo *memo = list_entry(list_first(&all->dirty), struct memo, link);
		const struct connection_record *record = memo->drop ? NULL : &memo->record;

		if (change_ride(ch, memo_key(memo), record, record ? sizeof(*record) : 0) < 0)
			return;
		list_unlink(&memo->link);
		list_append(&all->riding, &memo->link);
	}
}

/* One that was in both is found in the store by a successor, and its place is given up. */
static void
arrived(struct sockets *sockets, struct memo *memo)
{
	memo->stored = true;
	if (memo->place)
		place_give_back(sockets, memo);
}

/* Those that were left behind are the first of the next time. */
void
memos_arrived(struct sockets *sockets, bool stored)
{
	struct memos *all = sockets->memos;

	all->refused = !stored && !list_empty(&all->riding);
	while (!list_empty(&all->riding)) {
		struct memo *memo = list_entry(all->riding.prev, struct memo, link);

		list_unlink(&memo->link);
		if (!stored)
			list_append(all->dirty.next, &memo->link);
		else if (memo->drop)
			free(memo);
		else
			arrived(sockets, memo);
	}
	/* Without this they would wait for the next change, which may never come. */
	if (all->refused)
		loop_arm(all->timer, FLUSH_AGAIN_USEC);
}

/* One transaction of them. Returns: 0 or -errno. */
static int
memos_write(struct sockets *sockets)
{
	int r = change_commit(change_begin(sockets->model));

	/* A change that has nothing but riders succeeds without them. */
	return r == 0 && sockets->memos->refused ? -ENOSPC : r;
}

/* For what must be stored before something else happens: success means that nothing is late. */
int
memos_flush(struct sockets *sockets)
{
	while (!list_empty(&sockets->memos->dirty)) {
		int r = memos_write(sockets);

		if (r < 0)
			return r;
	}
	return 0;
}

int
memos_settle(struct sockets *sockets)
{
	struct places *places = &sockets->memos->places;

	for (unsigned i = 0; i < BOOT_PLACES; i++)
		if (places->used[i])
			late(sockets, places->used[i]);
	return memos_flush(sockets);
}

static int
memos_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	struct memos *all = sockets->memos;
	int r = list_empty(&all->dirty) ? 0 : memos_write(sockets);

	if (r < 0)
		core_fail(sockets, r);
	if (!list_empty(&all->dirty))
		loop_arm(all->timer, r < 0 ? FLUSH_AGAIN_USEC : FLUSH_USEC);
	return 0;
}

int
memos_new(struct sockets *sockets)
{
	struct memos *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	list_init(&all->dirty);
	list_init(&all->riding);
	sockets->memos = all;
	places_init(sockets);
	return loop_add_timer(sockets->event, memos_on_timer, sockets, &all->timer);
}

/* What is still late stays as the store has it, which is good enough for a successor. */
void
memos_free(struct sockets *sockets)
{
	struct memos *all = take_ptr(sockets->memos);

	if (!all)
		return;
	while (!list_empty(&all->dirty)) {
		struct memo *memo = list_entry(list_first(&all->dirty), struct memo, link);

		list_unlink(&memo->link);
		free(memo);
	}
	sd_event_source_disable_unref(all->timer);
	free(all);
}
