/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/kinds/labels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "capfsd/kinds/program.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

_Static_assert(sizeof(struct labels_record) == 1024, "stored");

static struct place
labels_place(const struct entity *e)
{
	struct program *p = labels_of(e)->program;

	return (struct place){&p->entity, &p->labels, p->session};
}

static struct session *
labels_session(const struct entity *e)
{
	return labels_of(e)->program->session;
}

static bool
labels_is_shown(const struct entity *e)
{
	return false;
}

static int
labels_resolve(struct model *m, struct entity *e)
{
	struct labels *l = labels_of(e);
	struct entity *owner = entity_find(m, l->record.program);

	if (l->record.program >= e->id || l->record.n > LABELS_BYTES)
		return -EBADMSG;
	if (!owner)
		return -ENOENT;
	if (owner->kind != ENTITY_PROGRAM)
		return -EBADMSG;
	l->program = program_of(owner);
	return 0;
}

static void
labels_check(struct model *m, struct entity *e)
{
	const struct labels *l = labels_of(e);

	model_holds(M04, l->program->entity.id == l->record.program);
	model_expect(l->record.n <= LABELS_BYTES);
}

const struct kind labels_kind = {
	.size = sizeof(struct labels),
	.record_offset = offsetof(struct labels, record),
	.record_bytes = sizeof(struct labels_record),
	.cost = {{[QUOTA_RAM] = 2 * QUOTA_RAM_SLOT}},
	.later = true,
	.place = labels_place,
	.session = labels_session,
	.is_shown = labels_is_shown,
	.resolve = labels_resolve,
	.check = labels_check,
};

static int
add_piece(struct change *ch, struct program *p, unsigned i, const char *text, size_t n)
{
	char name[NUMBER_BYTES_MAX];
	enum quota_kind kind;
	struct entity *e;
	int n_name;

	if (!change_affords(ch, p->session, &labels_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	n_name = snprintf(name, sizeof(name), "%u", i);
	e = entity_new(change_model(ch), ENTITY_LABELS, name, (size_t)n_name);
	if (!e)
		return -ENOMEM;
	labels_of(e)->program = p;
	labels_of(e)->record.program = p->entity.id;
	labels_of(e)->record.n = (uint32_t)n;
	memcpy(labels_of(e)->record.text, text, n);
	return change_add(ch, e);
}

int
labels_add(struct change *ch, struct program *p, const char *text, size_t n)
{
	int r = 0;

	for (unsigned i = 0; n > 0 && r == 0; i++) {
		size_t piece = n < LABELS_BYTES ? n : LABELS_BYTES;

		r = add_piece(ch, p, i, text, piece);
		text += piece;
		n -= piece;
	}
	return r;
}

int
labels_drop(struct change *ch, struct program *p)
{
	int r = 0;

	list_for_each (i, &p->labels) {
		r = change_drop(ch, list_entry(i, struct entity, owner_link));
		if (r < 0)
			break;
	}
	return r;
}

void
labels_text(const struct program *p, struct text *t)
{
	list_for_each (i, (struct list *)(uintptr_t)&p->labels) {
		const struct labels *l = labels_of(list_entry(i, struct entity, owner_link));

		text_add_n(t, l->record.text, l->record.n);
	}
}
