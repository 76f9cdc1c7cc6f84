/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * They are entities of a `later` kind, so that they are stored, charged and reaped one by one, and a capability
 * that has none costs nothing for them. The capability's record says how many there are: where that does not agree
 * with those that are there, an older daemon had the store meanwhile, and the capability has lost its right to call.
 *
 * The model calls the row, derive.c what stages, sockets and the tree what reads.
 */
#include "config.h"

#include "capfsd/kinds/capability/caveat.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

#define NAME "only" /* of each: nobody looks for one */

_Static_assert(sizeof(struct caveat_record) == 256, "stored");

static struct place
caveat_place(const struct entity *e)
{
	struct capability *c = caveat_of(e)->capability;

	return (struct place){&c->entity, &c->caveats, c->session};
}

static struct session *
caveat_session(const struct entity *e)
{
	return caveat_of(e)->capability->session;
}

static bool
caveat_is_shown(const struct entity *e)
{
	return false;
}

static bool
caveat_is_doomed(const struct entity *e)
{
	return capability_is_doomed(caveat_of(e)->capability);
}

bool
caveat_is_valid(const char *text, size_t n)
{
	if (n < 1 || n > CAVEAT_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

unsigned
caveats_count_own(const struct capability *c)
{
	unsigned n = 0;

	list_for_each (i, (struct list *)(uintptr_t)&c->caveats)
		n++;
	return n;
}

unsigned
caveats_count(const struct capability *c)
{
	unsigned n = 0;

	for (; c; c = c->parent)
		if (!list_empty(&c->caveats))
			n += caveats_count_own(c);
	return n;
}

/* An older daemon ends slots and leaves their caveats, of which it knows nothing. */
static int
caveat_resolve(struct model *m, struct entity *e)
{
	struct caveat *caveat = caveat_of(e);
	const struct caveat_record *r = &caveat->record;
	struct entity *owner = entity_find(m, r->capability);

	if (r->capability >= e->id || r->n > CAVEAT_BYTES_MAX || !caveat_is_valid(r->text, r->n))
		return -EBADMSG;
	if (!owner)
		return -ENOENT;
	if (owner->kind != ENTITY_CAPABILITY)
		return -EBADMSG;
	caveat->capability = capability_of(owner);
	return caveats_count_own(caveat->capability) < CAVEATS_OWN_MAX ? 0 : -EBADMSG;
}

static void
caveat_check(struct model *m, struct entity *e)
{
	const struct caveat *caveat = caveat_of(e);
	const struct list *before = e->owner_link.prev;

	model_holds(M04, caveat->capability->entity.id == caveat->record.capability);
	model_holds(M04, caveat->record.capability < e->id);
	model_holds(M18, caveat_is_valid(caveat->record.text, caveat->record.n));
	model_holds(M18, before == &caveat->capability->caveats ||
		caveat_of(list_entry((struct list *)(uintptr_t)before, struct entity, owner_link))->record.group <=
			caveat->record.group);
}

const struct kind caveat_kind = {
	.size = sizeof(struct caveat),
	.record_offset = offsetof(struct caveat, record),
	.record_bytes = sizeof(struct caveat_record),
	.cost = {{[QUOTA_RAM] = 2 * QUOTA_RAM_SLOT}},
	.names_repeat = true,
	.later = true,
	.place = caveat_place,
	.session = caveat_session,
	.is_shown = caveat_is_shown,
	.is_doomed = caveat_is_doomed,
	.resolve = caveat_resolve,
	.check = caveat_check,
};

static int
add(struct change *ch, struct capability *c, unsigned group, const char *text, size_t n)
{
	enum quota_kind kind;
	struct entity *e;
	struct caveat *caveat;

	if (!change_affords(ch, c->session, &caveat_kind.cost, &kind))
		return CAPABILITY_E_QUOTA_RAM;
	e = entity_new(change_model(ch), ENTITY_CAVEAT, NAME, strlen(NAME));
	if (!e)
		return -ENOMEM;
	caveat = caveat_of(e);
	caveat->capability = c;
	caveat->record.capability = c->entity.id;
	caveat->record.group = group;
	caveat->record.n = (uint32_t)n;
	memcpy(caveat->record.text, text, n);
	return change_add(ch, e);
}

/*
 * The record counts those that the same change has staged before, the list those of the ancestors that there are:
 * nobody derives from what the same change has made.
 */
int
caveats_add(struct change *ch, struct capability *c, const char *texts, unsigned n)
{
	struct capability_record *record;
	unsigned before, above = caveats_count(c->parent);
	int r = 0;

	if (n == 0)
		return 0;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	before = record_n_caveats(record);
	if (before + n > CAVEATS_OWN_MAX || above + before + n > CAVEATS_MAX)
		return CAPABILITY_E_CAVEATS;
	for (unsigned i = 0; r == 0 && i < n; i++) {
		size_t bytes = strlen(texts);

		r = add(ch, c, before, texts, bytes);
		texts += bytes + 1;
	}
	record_set_caveats(record, before + n);
	return r;
}

int
caveats_copy(struct change *ch, const struct capability *from, struct capability *to)
{
	struct capability_record *record;
	unsigned n = 0;
	int r = 0;

	record = change_edit(ch, &to->entity);
	if (!record)
		return -ENOMEM;
	list_for_each (i, (struct list *)(uintptr_t)&from->caveats) {
		const struct caveat_record *own = &caveat_of(list_entry(i, struct entity, owner_link))->record;

		r = add(ch, to, own->group, own->text, own->n);
		if (r)
			return r;
		n++;
	}
	record_set_caveats(record, n);
	return 0;
}

/* Is I the last one of its group? */
static bool
ends_group(const struct capability *c, const struct list *i)
{
	const struct caveat *caveat = caveat_of(list_entry((struct list *)(uintptr_t)i, struct entity, owner_link));

	return i->next == &c->caveats ||
		caveat_of(list_entry(i->next, struct entity, owner_link))->record.group != caveat->record.group;
}

static void
list_own(const struct capability *c, struct text *t)
{
	list_for_each (i, (struct list *)(uintptr_t)&c->caveats) {
		const struct caveat *caveat = caveat_of(list_entry(i, struct entity, owner_link));

		text_add_n(t, caveat->record.text, caveat->record.n);
		text_add_n(t, "\0\0", ends_group(c, i) ? 2 : 1);
	}
}

/* From the origin down, without recursion: depths are bounded, but not by the stack. */
void
caveats_list(const struct capability *c, struct text *t)
{
	const struct capability *owners[CAVEATS_MAX];
	unsigned n = 0;

	for (; c && n < CAVEATS_MAX; c = c->parent)
		if (!list_empty(&c->caveats))
			owners[n++] = c;
	while (n > 0)
		list_own(owners[--n], t);
}

void
caveats_show(const struct capability *c, const char *between, struct text *t)
{
	list_for_each (i, (struct list *)(uintptr_t)&c->caveats) {
		const struct caveat_record *r = &caveat_of(list_entry(i, struct entity, owner_link))->record;

		text_add(t, "only=");
		text_add_quoted(t, r->text, r->n);
		if (i->next != &c->caveats)
			text_add(t, ends_group(c, i) ? between : " ");
	}
}
