/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A model's beginning and end: empty, over a store; then either a root session is made, or what the
 * store has is loaded (load.c). Everything that happens to it afterwards is a change (change.c).
 *
 * Called by the broker once each, and by tests; nothing here looks at an entity's meaning but for
 * the root's limits.
 */
#include "config.h"

#include "capfsd/model/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "capfsd/model/event.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/reap.h"

#define BUCKETS_MIN 64

static uint64_t
now_realtime(void)
{
	return clock_usec(CLOCK_REALTIME);
}

static struct model *
model_alloc(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	list_init(&m->sharing);
	list_init(&m->unshared);
	list_init(&m->ending);
	list_init(&m->asks);
	list_init(&m->event_queue);
	m->now_usec = now_realtime;
	m->next_expiry_usec = LIMIT_NONE;
	m->slice = SLICE_MAX;
	m->counters = &m->own_counters;
	m->more = &m->own_more;
	m->header = (struct model_header){.next_id = 1, .next_badge = 1, .next_event = 1};
	return m;
}

CLEANUP_DEFINE(struct model *, model_free)

/*
 * The indexes get their first buckets here, where it may still fail: they are added to behind the
 * store's commit, where nothing may, and an index that has buckets only gets slower without memory.
 */
int
model_new(const struct store_ops *store, void *store_data, struct model **ret)
{
	cleanup(model_free_p) struct model *m = model_alloc();

	if (!m)
		return -ENOMEM;
	m->store = store;
	m->store_data = store_data;
	if (getrandom(&m->seed, sizeof(m->seed), 0) != sizeof(m->seed))
		return error_trace(-EIO);
	m->change = change_new(m);
	/* Once an index has buckets, adding to it cannot fail. */
	if (!m->change || index_reserve(&m->by_id, BUCKETS_MIN) < 0 ||
		index_reserve(&m->by_name, BUCKETS_MIN) < 0 ||
		index_reserve(&m->by_badge, BUCKETS_MIN) < 0 ||
		index_reserve(&m->by_holder, BUCKETS_MIN) < 0 ||
		index_reserve(&m->by_asker, BUCKETS_MIN) < 0)
		return -ENOMEM;
	*ret = take_ptr(m);
	return 0;
}

/*
 * Everything goes, so nothing is unlinked from anything: that would have to be done leaves first.
 * The indexes are emptied without looking at their members, which are freed by then.
 */
static void
free_entities(struct model *m)
{
	for (size_t i = 0; i < m->by_id.size; i++)
		for (struct index_link *link = m->by_id.buckets[i], *next; link; link = next) {
			struct entity *e = container_of(link, struct entity, id_link);

			next = link->next;
			e->linked = false;
			entity_free(e);
		}
	m->by_id.n = m->by_name.n = m->by_badge.n = m->by_holder.n = m->by_asker.n = 0;
}

struct model *
model_free(struct model *m)
{
	if (!m)
		return NULL;
	change_free(m->change);
	free_entities(m);
	events_deinit(m);
	index_deinit(&m->by_id);
	index_deinit(&m->by_name);
	index_deinit(&m->by_badge);
	index_deinit(&m->by_holder);
	index_deinit(&m->by_asker);
	free(m->orphans);
	free(m);
	return NULL;
}

/*
 * A change as any other, so that a store has a root and a header or is known to be empty. It is
 * paid by nobody: its limits are what the administrator gave the daemon.
 */
int
model_create_root(struct model *m, uid_t uid, gid_t gid, mode_t mode, const struct quota *limit)
{
	struct change *ch;
	struct entity *e;

	assert(!m->root && m->header.next_id == 1);
	e = entity_new(m, ENTITY_SESSION, "init", strlen("init"));
	if (!e)
		return -ENOMEM;
	session_of(e)->record = (struct session_record){
		.created_usec = m->now_usec(),
		.limit = *limit,
		.uid = uid,
		.gid = gid,
		.mode = (uint16_t)(mode & 07777),
		.state = SESSION_RUNNING,
	};
	ch = change_begin(m);
	return change_finish(ch, change_add(ch, e));
}

/*
 * The administrator may start the daemon with less than is in use. What is in use is not taken away
 * by that; the limit follows as far as it can, or the sums of the root would no longer come out.
 */
int
model_set_root_limit(struct model *m, const struct quota *limit)
{
	struct session *root = m->root;
	struct session_record *record;
	struct change *ch;
	struct quota wanted;

	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		uint64_t least = root->used.n[i] + root->lent.n[i];

		wanted.n[i] = limit->n[i] > least ? limit->n[i] : least;
	}
	if (memcmp(&wanted, &root->record.limit, sizeof(wanted)) == 0)
		return 0;
	ch = change_begin(m);
	record = change_edit(ch, &root->entity);
	if (record)
		record->limit = wanted;
	return change_finish(ch, record ? 0 : -ENOMEM);
}
