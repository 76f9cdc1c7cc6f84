/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/kinds/declined.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/kinds/capability/share.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"

#define NAME_BYTES (2 * NUMBER_BYTES_MAX)

_Static_assert(sizeof(struct declined_record) == 32, "stored");
_Static_assert(NAME_BYTES <= NAME_BYTES_MAX, "a name");

static size_t
name_format(uint64_t share, uint64_t written, char name[NAME_BYTES])
{
	return (size_t)snprintf(name, NAME_BYTES, "%" PRIu64 ".%" PRIu64, share, written);
}

static void
declined_init(struct model *m, struct entity *e)
{
	list_init(&declined_of(e)->share_link);
}

static struct place
declined_place(const struct entity *e)
{
	struct session *s = declined_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_DECLINED], s};
}

static struct session *
declined_session(const struct entity *e)
{
	return declined_of(e)->session;
}

static bool
declined_is_shown(const struct entity *e)
{
	return false;
}

static bool
declined_is_doomed(const struct entity *e)
{
	return declined_of(e)->session->record.state != SESSION_RUNNING;
}

/* An older daemon writes and ends shares, and ends sessions, and knows nothing of this. */
static int
declined_resolve(struct model *m, struct entity *e)
{
	struct declined *d = declined_of(e);
	const struct declined_record *r = &d->record;
	struct entity *share = entity_find(m, r->share);
	char name[NAME_BYTES];

	name_format(r->share, r->written, name);
	if (r->session >= e->id || r->share >= e->id || strcmp(name, e->name) != 0)
		return -EBADMSG;
	d->session = session_find_id(m, r->session);
	if (!d->session)
		return entity_find(m, r->session) ? -EBADMSG : -ENOENT;
	if (!share)
		return -ENOENT;
	if (share->kind != ENTITY_SHARE)
		return -EBADMSG;
	d->share = share_of(share);
	return d->share->record.written == r->written ? 0 : -ENOENT;
}

static void
declined_link(struct model *m, struct entity *e)
{
	struct declined *d = declined_of(e);

	list_append(&d->share->declined, &d->share_link);
}

static void
declined_unlink(struct model *m, struct entity *e)
{
	list_unlink(&declined_of(e)->share_link);
}

static void
declined_check(struct model *m, struct entity *e)
{
	const struct declined *d = declined_of(e);

	model_expect(d->session->entity.id == d->record.session);
	model_expect(d->share || !list_empty(&d->session->share_link));
	model_expect(!d->share || (d->share->entity.id == d->record.share &&
					  d->share->record.written == d->record.written));
}

const struct kind declined_kind = {
	.size = sizeof(struct declined),
	.record_offset = offsetof(struct declined, record),
	.record_bytes = sizeof(struct declined_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.later = true,
	.init = declined_init,
	.place = declined_place,
	.session = declined_session,
	.is_shown = declined_is_shown,
	.is_doomed = declined_is_doomed,
	.resolve = declined_resolve,
	.link = declined_link,
	.unlink = declined_unlink,
	.check = declined_check,
};

bool
declined_is(struct model *m, const struct session *s, const struct share *share)
{
	char name[NAME_BYTES];
	size_t n = name_format(share->entity.id, share->record.written, name);

	return entity_find_name(m, s->entity.id, ENTITY_DECLINED, name, n);
}

/* Where the share, or the session, ends as well there is nothing to remember. */
static struct share *
share_of_ended(const struct capability *c)
{
	struct share *share = c->parent ? share_find(c->parent) : NULL;

	if (c->record.by_uid != BY_SHARE_ENDED || c->session->record.state != SESSION_RUNNING)
		return NULL;
	return share && !capability_is_doomed(c->parent) && !change_drops(&share->entity) ? share : NULL;
}

static int
add(struct change *ch, const struct capability *c)
{
	struct share *share = share_of_ended(c);
	char name[NAME_BYTES];
	struct declined *d;
	struct entity *e;
	size_t n;

	if (!share)
		return 0;
	n = name_format(share->entity.id, share->record.written, name);
	if (change_name_is_taken(ch, c->session->entity.id, ENTITY_DECLINED, name, n))
		return 0;
	e = entity_new(change_model(ch), ENTITY_DECLINED, name, n);
	if (!e)
		return -ENOMEM;
	d = declined_of(e);
	d->session = c->session;
	d->share = share;
	d->record.session = c->session->entity.id;
	d->record.share = share->entity.id;
	d->record.written = share->record.written;
	return change_add(ch, e);
}

/* Walks of the reaper may come to it twice. */
int
declined_reap(struct reaper *r, struct capability *c)
{
	int e;

	if (change_drops(&c->entity))
		return 0;
	e = reap_one(r, &c->entity);
	return e ? e : add(r->ch, c);
}

void
declined_forget(struct model *m, struct share *share)
{
	while (!list_empty(&share->declined)) {
		struct declined *d = list_entry(list_first(&share->declined), struct declined, share_link);

		list_unlink(&d->share_link);
		d->share = NULL;
		if (list_empty(&d->session->share_link))
			list_append(&m->unshared, &d->session->share_link);
	}
}

int
declined_drop(struct change *ch, const struct session *s, unsigned *n)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->owned[ENTITY_DECLINED]) {
		struct entity *e = list_entry(i, struct entity, owner_link);
		int r;

		if (declined_of(e)->share)
			continue;
		if (*n == 0)
			return 1;
		--*n;
		r = change_drop(ch, e);
		if (r < 0)
			return r;
	}
	return 0;
}
