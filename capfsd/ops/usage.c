/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "to=SESSION [as=NAME] [rights=call] …": first what one of is needed, then what is needed, then
 * what may be added, without what would be refused for this entity; last what may stand instead.
 */
#include "config.h"

#include "capfsd/ops/usage.h"

#include "capfsd/ops/reductions.h"
#include "capfsd/ops/verb.h"

void
usage_keys(key_set keys, const char *between, struct text *t)
{
	const char *before = "";

	for (enum key key = 0; key < KEY_N; key++)
		if (keys & KEY_BIT(key)) {
			text_addf(t, "%s%s", before, key_usage(key));
			before = between;
		}
}

/* Which rights there are to be given differs from one capability to the next. */
static void
add_key(enum key key, const struct entity *e, struct text *t)
{
	text_add(t, key_usage(key));
	if (key == KEY_RIGHTS && e->kind == ENTITY_CAPABILITY)
		rights_format(capability_rights(capability_of(e)), t);
	else if (key == KEY_RIGHTS)
		text_add(t, "RIGHT,...");
}

static void
add_keys(key_set keys, const char *open, const char *close, const struct entity *e, struct text *t)
{
	for (enum key key = 0; key < KEY_N; key++)
		if (keys & KEY_BIT(key)) {
			text_add(t, t->n > 0 ? " " : "");
			text_add(t, open);
			add_key(key, e, t);
			text_add(t, close);
			text_add(t, KEYS_TEXTS & KEY_BIT(key) ? "..." : "");
		}
}

static void
add_choice(key_set keys, const char *between, const struct entity *e, struct text *t)
{
	const char *before = "";

	for (enum key key = 0; key < KEY_N; key++)
		if (keys & KEY_BIT(key)) {
			text_add(t, before);
			add_key(key, e, t);
			before = between;
		}
}

void
verb_usage(const struct verb *v, struct request *r, struct entity *e, struct text *t)
{
	key_set needed = v->required | v->usual;
	key_set choice = v->one_of, keys = v->keys & ~v->hidden & ~choice & ~v->alone;

	if (v->usage) {
		v->usage(r, e, t);
		return;
	}
	if (e->kind == ENTITY_CAPABILITY && !capability_type(capability_of(e))->reaches)
		keys &= ~KEY_BIT(KEY_TARGET);
	if ((v->keys & KEYS_REDUCTIONS) && e->kind == ENTITY_CAPABILITY) {
		keys &= ~reductions_unkept(capability_of(e));
		choice &= ~reductions_unkept(capability_of(e));
	}
	/* Nothing but a choice is easier to read with blanks in it. */
	add_choice(choice, keys ? "|" : " | ", e, t);
	add_keys(keys & needed, "", "", e, t);
	add_keys(keys & ~needed, "[", "]", e, t);
	add_keys(v->alone, "or ", "", e, t);
	text_add(t, "\n");
}
