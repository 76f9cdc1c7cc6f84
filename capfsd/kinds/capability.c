/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A capability's own record says what it was given. What counts is the smallest along its
 * ancestors: rights, expiry, what is left of calls and connections, and whether it is alive. So a
 * parent that shrinks or ends takes its descendants along by one record of its own.
 */
#include "config.h"

#include "capfsd/kinds/capability.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/model/private.h"

#define SECOND_USEC UINT64_C(1000000)
#define HELD_LOOKS_MAX 1024 /* others may be many that have ended, and are being removed */
#define METHODS_END (UINT64_C(1) << 32) /* one behind the last */

struct entrypoint *
capability_entrypoint(const struct capability *c)
{
	return capability_service(c).entrypoint;
}

static void
capability_init(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	list_init(&c->children);
	list_init(&c->sibling_link);
	list_init(&c->origin_link);
	c->expiry.usec = LIMIT_NONE;
}

static struct place
capability_place(const struct entity *e)
{
	struct session *s = capability_of(e)->session;

	return (struct place){&s->entity, &s->slots, &s->n_slots, s};
}

static int
resolve_parent(struct model *m, struct capability *c)
{
	struct entity *e = entity_find(m, c->record.parent);

	if (!e || e->kind != ENTITY_CAPABILITY || capability_of(e)->target != c->target ||
		capability_of(e)->record.type != c->record.type)
		return -EBADMSG;
	c->parent = capability_of(e);
	if (c->parent->depth >= DERIVATION_DEPTH_MAX)
		return -EBADMSG;
	c->depth = c->parent->depth + 1;
	return 0;
}

/* Nothing of a capability may be asked of its type before this has looked at the record. */
static int
resolve_target(struct model *m, struct capability *c)
{
	const struct capability_record *r = &c->record;
	const struct type *type;

	if (r->type >= N_CAPABILITY_TYPES)
		return -EBADMSG;
	type = capability_type(c);
	c->target = entity_find(m, r->target);
	if (!c->target || c->target->kind != type->target)
		return -EBADMSG;
	return r->rights & ~(RIGHTS_COMMON | type->rights) ? -EBADMSG : 0;
}

static int
capability_resolve(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);
	const struct capability_record *r = &c->record;
	const struct methods methods = record_methods(r);

	c->session = session_find_id(m, r->session);
	if (!c->session || resolve_target(m, c) < 0)
		return -EBADMSG;
	if (!r->rights || (r->flags & ~CAPABILITY_DEAD) ||
		(r->mode > 0777 && r->mode != CAPABILITY_MODE_INHERIT))
		return -EBADMSG;
	if (r->calls_used > r->calls_limit || !methods_are_valid(&methods) ||
		(r->rate_limit != LIMIT_NONE && (r->rate_limit < 1 || r->rate_limit > RATE_MAX)))
		return -EBADMSG;
	if (m->loaded_upto < r->revoked_upto)
		m->loaded_upto = r->revoked_upto;
	return r->parent ? resolve_parent(m, c) : 0;
}

static void
link_expiry(struct model *m, struct capability *c)
{
	if (c->record.expires_usec == LIMIT_NONE || (c->record.flags & CAPABILITY_DEAD))
		return;
	if (c->expiry.usec != c->record.expires_usec)
		expiry_add(m, c, c->record.expires_usec);
	if (c->record.expires_usec < m->next_expiry_usec)
		m->next_expiry_usec = c->record.expires_usec;
}

static uint64_t
holder_hash(const struct capability *parent, const struct session *s)
{
	return index_hash_id(parent->entity.id ^ index_hash_id(s->entity.id));
}

/* What S has that was derived from PARENT: the first of them. */
static struct capability *
find_first(struct model *m, const struct session *s, const struct capability *parent)
{
	struct index_link *i = index_first(&m->by_holder, holder_hash(parent, s));

	for (; i; i = index_next(i)) {
		struct capability *c = container_of(i, struct capability, held_link);

		if (c->parent == parent && c->session == s)
			return c;
	}
	return NULL;
}

static void
make_first(struct model *m, struct capability *c)
{
	c->is_first = true;
	/* As with the other indexes, there are buckets. */
	if (index_add(&m->by_holder, &c->held_link, holder_hash(c->parent, c->session)) < 0)
		abort();
}

/* Only one of many twins is in the index, since a chain of equal hashes is slow to remove from. */
static void
link_holder(struct model *m, struct capability *c)
{
	struct capability *first = find_first(m, c->session, c->parent);

	if (first)
		list_append(&first->twins, &c->twins);
	else
		make_first(m, c);
}

static void
unlink_holder(struct model *m, struct capability *c)
{
	struct list *next = c->twins.next;
	bool alone = list_empty(&c->twins);

	list_unlink(&c->twins);
	if (!c->is_first)
		return;
	index_remove(&m->by_holder, &c->held_link);
	c->is_first = false;
	if (!alone)
		make_first(m, list_entry(next, struct capability, twins));
}

static void
capability_link(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	if (c->parent) {
		list_append(&c->parent->children, &c->sibling_link);
		c->parent->n_children++;
		link_holder(m, c);
	} else {
		list_append(capability_type(c)->origins(c->target), &c->origin_link);
	}
	link_expiry(m, c);
}

static void
capability_unlink(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	assert(list_empty(&c->children));
	list_unlink(&c->sibling_link);
	if (c->parent) {
		c->parent->n_children--;
		unlink_holder(m, c);
	} else {
		list_unlink(&c->origin_link);
	}
	expiry_remove(m, c);
}

static bool
is_shown_below(const struct capability_record *r, const struct capability_record *before)
{
	return r->rights != before->rights || r->calls_limit != before->calls_limit ||
		r->conns_limit != before->conns_limit || r->rate_limit != before->rate_limit ||
		r->expires_usec != before->expires_usec || r->n_methods != before->n_methods ||
		memcmp(r->methods, before->methods, sizeof(r->methods)) != 0;
}

static unsigned
capability_applied(struct model *m, struct entity *e, const void *old)
{
	struct capability *c = capability_of(e);
	const struct capability_record *r = &c->record, *before = old;
	bool reduced = is_shown_below(r, before);
	bool ended = ((r->flags & ~before->flags) & CAPABILITY_DEAD) ||
		r->revoked_upto != before->revoked_upto;

	if (ended)
		entity_set_ending(m, e);
	if (r->flags & CAPABILITY_DEAD)
		expiry_remove(m, c);
	link_expiry(m, c);
	return (ended || reduced ? APPLIED_RESTRICTED : 0) | (reduced ? APPLIED_BELOW : 0);
}

static struct capability *
find_derived(struct model *m, const struct session *s, const struct capability *c)
{
	struct capability *first = find_first(m, s, c), *i = first;

	for (unsigned n = 0; i && n < HELD_LOOKS_MAX; n++) {
		if (capability_is_live(i))
			return i;
		i = list_entry(i->twins.next, struct capability, twins);
		if (i == first)
			break;
	}
	return NULL;
}

struct capability *
capability_held(struct model *m, const struct session *s, struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent)
		if (i->session == s)
			return i;
	return find_derived(m, s, c);
}

static struct session *
capability_session(const struct entity *e)
{
	return capability_of(e)->session;
}

static bool
capability_is_shown(const struct entity *e)
{
	return capability_is_live(capability_of(e));
}

const struct kind capability_kind = {
	.size = sizeof(struct capability),
	.record_offset = offsetof(struct capability, record),
	.record_bytes = sizeof(struct capability_record),
	.cost = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.init = capability_init,
	.place = capability_place,
	.session = capability_session,
	.is_shown = capability_is_shown,
	.resolve = capability_resolve,
	.link = capability_link,
	.unlink = capability_unlink,
	.applied = capability_applied,
};

static const struct {
	const char *name;
	enum right right;
} right_names[] = {
	{"call", RIGHT_CALL},
	{"grant", RIGHT_GRANT},
	{"replicate", RIGHT_REPLICATE},
	{"reduce", RIGHT_REDUCE},
	{"transfer", RIGHT_TRANSFER},
	{"share", RIGHT_SHARE},
};

#define N_RIGHTS (sizeof(right_names) / sizeof(right_names[0]))

void
rights_format(uint32_t rights, struct text *t)
{
	const char *separator = "";

	for (size_t i = 0; i < N_RIGHTS; i++)
		if (rights & right_names[i].right) {
			text_add(t, separator);
			text_add(t, right_names[i].name);
			separator = ",";
		}
	if (!*separator)
		text_add(t, "-");
}

uint32_t
right_find(const char *name, size_t n)
{
	for (size_t i = 0; i < N_RIGHTS; i++)
		if (strlen(right_names[i].name) == n && memcmp(right_names[i].name, name, n) == 0)
			return right_names[i].right;
	return 0;
}

bool
capability_is_doomed(const struct capability *c)
{
	if (entity_is_doomed(c->target))
		return true;
	for (; c; c = c->parent)
		if ((c->record.flags & CAPABILITY_DEAD) ||
			c->session->record.state != SESSION_RUNNING ||
			(c->parent && c->entity.id <= c->parent->record.revoked_upto))
			return true;
	return false;
}

bool
capability_has_revoked(const struct capability *c)
{
	struct list *first = list_first(&c->children);

	/* Children stand in the order of their ids. */
	return first && list_entry(first, struct capability, sibling_link)->entity.id <=
		c->record.revoked_upto;
}

/* Moves FIRST up to the next method that R has, and LAST down to where that range ends. */
static void
narrow(const struct capability_record *r, uint64_t *first, uint64_t *last)
{
	uint32_t i = 0;

	if (r->n_methods == 0)
		return;
	while (i < r->n_methods && r->methods[i].last < *first)
		i++;
	if (i == r->n_methods) {
		*first = METHODS_END;
		return;
	}
	if (r->methods[i].first > *first)
		*first = r->methods[i].first;
	if (r->methods[i].last < *last)
		*last = r->methods[i].last;
}

void
capability_format_methods(const struct capability *c, struct text *t)
{
	const char *comma = "";
	uint64_t first = 0, last, before;

	for (; first < METHODS_END; first = last + 1) {
		do {
			before = first;
			last = METHODS_END - 1;
			for (const struct capability *i = c; i; i = i->parent)
				narrow(&i->record, &first, &last);
		} while (first != before && first < METHODS_END);
		if (first == METHODS_END || (first == 0 && last == METHODS_END - 1))
			break;
		text_addf(t, first < last ? "%s%" PRIu64 "-%" PRIu64 : "%s%" PRIu64, comma, first,
			last);
		comma = ",";
	}
	if (!*comma && first == METHODS_END)
		text_add(t, "none");
}

uint64_t
capability_expires(const struct capability *c)
{
	uint64_t expires = LIMIT_NONE;

	for (; c; c = c->parent)
		if (c->record.expires_usec < expires)
			expires = c->record.expires_usec;
	return expires;
}

bool
capability_is_live(const struct capability *c)
{
	uint64_t expires = capability_expires(c);

	return !capability_is_doomed(c) &&
		(expires == LIMIT_NONE || expires > c->session->model->now_usec());
}

uint32_t
capability_rights(const struct capability *c)
{
	uint32_t rights = c->record.rights;

	for (c = c->parent; c; c = c->parent)
		rights &= c->record.rights;
	return rights;
}

bool
capability_counts_calls(const struct capability *c)
{
	return capability_service(c).counts;
}

uint32_t
capability_page_index(const struct capability *c)
{
	const struct entrypoint_record *e;

	if (!c->record.page_index)
		return 0;
	e = &capability_entrypoint(c)->record;
	return e->thread && c->record.page_attachment == e->attachment ? c->record.page_index : 0;
}

uint64_t
capability_calls_used(const struct capability *c)
{
	const struct model *m = c->session->model;
	const struct capability_record *r = &c->record;
	uint64_t counted;

	if (r->calls_limit == LIMIT_NONE || !capability_page_index(c) || !m->hooks ||
		!m->hooks->counted || !m->hooks->counted(m->hooks_data, c, &counted))
		return r->calls_used;
	if (counted > r->calls_limit)
		return r->calls_limit;
	return counted > r->calls_used ? counted : r->calls_used;
}

uint64_t
capability_calls_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE;

	for (; c; c = c->parent)
		if (c->record.calls_limit != LIMIT_NONE &&
			c->record.calls_limit - capability_calls_used(c) < least)
			least = c->record.calls_limit - capability_calls_used(c);
	return least;
}

uint64_t
capability_conns_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE;

	for (; c; c = c->parent) {
		uint64_t limit = c->record.conns_limit;
		uint64_t left = limit > c->conns_used ? limit - c->conns_used : 0;

		if (limit != LIMIT_NONE && left < least)
			least = left;
	}
	return least;
}

/* Rounded up: never more than the limit, if a little less of a high one. */
static uint64_t
rate_interval(const struct capability_record *r)
{
	return (SECOND_USEC + r->rate_limit - 1) / r->rate_limit;
}

/*
 * A second's worth of connections is there to be had at once, and comes back evenly. When the clock was
 * set back, all of it is there: no rate makes anybody wait for two seconds.
 */
static uint64_t
rate_left(const struct capability_record *r, uint64_t now)
{
	uint64_t interval = rate_interval(r), missing, used;

	missing = r->rate_at_usec > now ? r->rate_at_usec - now : 0;
	used = missing > 2 * SECOND_USEC ? 0 : (missing + interval - 1) / interval;
	return used < r->rate_limit ? r->rate_limit - used : 0;
}

static void
rate_use(struct capability_record *r, uint64_t now)
{
	if (r->rate_at_usec < now || r->rate_at_usec - now > 2 * SECOND_USEC)
		r->rate_at_usec = now;
	r->rate_at_usec += rate_interval(r);
}

uint64_t
capability_rate_left(const struct capability *c)
{
	uint64_t least = LIMIT_NONE, now = c->session->model->now_usec();

	for (; c; c = c->parent) {
		uint64_t left = LIMIT_NONE;

		if (c->record.rate_limit != LIMIT_NONE)
			left = rate_left(&c->record, now);
		if (left < least)
			least = left;
	}
	return least;
}

void
capability_owner(const struct capability *c, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_mode)
{
	bool own = c->record.mode != CAPABILITY_MODE_INHERIT;

	*ret_uid = own ? c->record.uid : c->session->record.uid;
	*ret_gid = own ? c->record.gid : c->session->record.gid;
	*ret_mode = own ? c->record.mode : c->session->record.mode;
}

static int
check_connect(struct change *ch, const struct capability *c, uint64_t now)
{
	bool is_call = !capability_counts_calls(c);

	for (; c; c = c->parent) {
		const struct capability_record *r = change_record(ch, &c->entity);

		if (!(r->rights & RIGHT_CALL))
			return CAPABILITY_E_RIGHT;
		if (is_call && r->calls_limit != LIMIT_NONE && r->calls_used >= r->calls_limit)
			return CAPABILITY_E_LIMIT_CALLS;
		if (r->conns_limit != LIMIT_NONE && c->conns_used >= r->conns_limit)
			return CAPABILITY_E_LIMIT_CONNS;
		if (is_call && r->rate_limit != LIMIT_NONE && rate_left(r, now) == 0)
			return CAPABILITY_E_LIMIT_RATE;
	}
	return 0;
}

int
capability_connect(struct change *ch, struct capability *c)
{
	uint64_t now = change_model(ch)->now_usec();
	struct capability_record *record;
	int r;

	if (!capability_is_live(c))
		return CAPABILITY_E_DEAD;
	r = check_connect(ch, c, now);
	if (r || capability_counts_calls(c))
		return r;
	for (; c; c = c->parent) {
		if (c->record.calls_limit == LIMIT_NONE && c->record.rate_limit == LIMIT_NONE)
			continue;
		record = change_edit(ch, &c->entity);
		if (!record)
			return -ENOMEM;
		if (record->calls_limit != LIMIT_NONE)
			record->calls_used++;
		if (record->rate_limit != LIMIT_NONE)
			rate_use(record, now);
	}
	return 0;
}

void
capability_connected(struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent)
		i->conns_used++;
	capability_used(c);
}

void
capability_disconnected(struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent) {
		assert(i->conns_used > 0);
		i->conns_used--;
	}
	capability_used(c);
}

struct capability *
capability_next_below(const struct capability *top, struct capability *c)
{
	struct list *first = list_first(&c->children);

	if (first)
		return list_entry(first, struct capability, sibling_link);
	while (c != top) {
		if (c->sibling_link.next != &c->parent->children)
			return list_entry(c->sibling_link.next, struct capability, sibling_link);
		c = c->parent;
	}
	return NULL;
}
