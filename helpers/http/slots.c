/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "helpers/http/rules.h"

#define SHARE 4 /* of all slots one session can have a fourth in use */
#define TRIES_MAX 16 /* HAProxy is asked about each; the next caller tries others */

void
slots_init(struct slots *s, struct engine *e, size_t n, const char *name, struct counts *counts)
{
	s->counts = counts;
	s->engine = e;
	s->name = name;
	s->n = n;
	for (size_t i = 0; i < n; i++)
		s->all[i].listener = (uint32_t)i + LISTENER_FREE;
}

static void
slot_clear(struct slot *s)
{
	free(s->caveats);
	free(s->label);
	s->caveats = s->label = NULL;
	s->n_caveats = 0;
	s->capability = 0;
	s->page_index = 0;
}

void
slots_deinit(struct slots *s)
{
	for (size_t i = 0; i < s->n; i++) {
		slot_clear(&s->all[i]);
		free(s->all[i].pattern);
	}
}

struct slot *
slots_find(struct slots *s, uint32_t listener)
{
	if (listener <= LISTENER_FREE || listener - LISTENER_FREE >= s->n)
		return NULL;
	return s->all[listener - LISTENER_FREE].capability ? &s->all[listener - LISTENER_FREE] : NULL;
}

static struct slot *
find_capability(struct slots *s, uint64_t capability)
{
	for (size_t i = 1; i < s->n; i++)
		if (s->all[i].capability == capability)
			return &s->all[i];
	return NULL;
}

/* Has the session as many as it may? */
static bool
is_crowded(const struct slots *s, const char *label)
{
	size_t n = 0;

	for (size_t i = 1; i < s->n; i++)
		n += s->all[i].n_clients > 0 && strcmp(s->all[i].label, label) == 0;
	return n >= (s->n + SHARE - 1) / SHARE;
}

/* One that was nobody's yet, or has not been used longest. */
static struct slot *
find_oldest(struct slots *s)
{
	struct slot *best = NULL;

	for (size_t i = 1; i < s->n; i++) {
		struct slot *one = &s->all[i];

		if (one->n_clients == 0 && (!best || one->used_usec < best->used_usec))
			best = one;
	}
	return best;
}

/*
 * One of which HAProxy has still something is in nobody's way: an upgraded connection, whose client has left and
 * whose server stays, may be there for days.
 */
static struct slot *
find_unused(struct slots *s, uint64_t now_usec)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		struct slot *best = find_oldest(s);

		if (!best || !best->pattern)
			return best;
		if (engine_is_idle(s->engine, best->listener)) {
			s->settle(s->data);
			return best;
		}
		best->used_usec = now_usec;
	}
	return NULL;
}

/* Is it the capability's own already? */
static bool
is_as(const struct slot *slot, const struct capc_caller *caller)
{
	return slot->capability == caller->capability && slot->page_index == caller->page_index &&
		slot->n_caveats == caller->n_caveats &&
		memcmp(slot->caveats, caller->caveats, caller->n_caveats) == 0 &&
		strcmp(slot->label, caller->label) == 0;
}

/* What there is of it here, made before HAProxy is told. */
struct made {
	struct text pattern, words, shown, caveats, label, entry;
};

static void
made_deinit(struct made *m)
{
	struct text *const all[] = {&m->pattern, &m->words, &m->shown, &m->caveats, &m->label, &m->entry};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		text_deinit(all[i]);
}

static int
make(const struct slots *s, const struct slot *slot, const struct capc_caller *caller, struct made *m)
{
	rules_pattern(caller, slot->listener, &m->pattern);
	if (caller->n_caveats == 0)
		text_add(&m->words, CONFIGURATION_ALL);
	rules_words(caller, &m->words);
	if (caller->page_index)
		text_addf(&m->entry, "%" PRIu32 " %" PRIu64, caller->page_index, caller->capability);
	else
		text_add(&m->entry, CONFIGURATION_NONE);
	text_addf(&m->shown, "%s %s", caller->label, s->name);
	text_add_n(&m->caveats, caller->caveats, caller->n_caveats);
	text_add(&m->label, caller->label);
	return text_done(&m->pattern) < 0 || text_done(&m->words) < 0 || text_done(&m->shown) < 0 ||
			text_done(&m->caveats) < 0 || text_done(&m->label) < 0 ||
			text_done(&m->entry) < 0 ? -ENOMEM : 0;
}

/* It is nobody's, and allows nothing. Returns: 0; -errno: nobody knows what HAProxy would allow. */
static int
slot_reset(struct slots *s, struct slot *slot)
{
	int e = slot->pattern ? engine_bar(s->engine, slot->pattern) : 0;

	if (e < 0) {
		s->failed = true;
		return e;
	}
	free(slot->pattern);
	slot->pattern = NULL;
	slot_clear(slot);
	return 0;
}

static int
slot_set(struct slots *s, struct slot *slot, const struct capc_caller *caller)
{
	cleanup(made_deinit) struct made m = {};
	int e = make(s, slot, caller, &m);

	if (e == 0)
		e = slot_reset(s, slot);
	if (e == 0)
		e = engine_allow(s->engine, slot->listener, m.pattern.data,
			&(struct lease){m.shown.data, m.words.data, m.entry.data});
	if (e < 0)
		return e;
	slot->capability = caller->capability;
	slot->page_index = caller->page_index;
	slot->n_caveats = m.caveats.n;
	slot->caveats = text_take(&m.caveats);
	slot->pattern = text_take(&m.pattern);
	slot->label = text_take(&m.label);
	slot->n_refused = 0;
	return 0;
}

struct slot *
slots_get(struct slots *s, const struct capc_caller *caller, uint64_t now_usec, const char **ret_why)
{
	struct slot *slot = find_capability(s, caller->capability);

	*ret_why = "its requests cannot be counted";
	if (caller->page_index && counts_open(s->counts) < 0) {
		s->failed = true;
		return NULL;
	}
	if (caller->n_caveats == 0 && !counts_hold(s->counts, caller->capability, caller->page_index))
		return &s->all[0];
	*ret_why = "too many capabilities of its session are in use";
	if ((!slot || slot->n_clients == 0) && is_crowded(s, caller->label))
		return NULL;
	*ret_why = "too many capabilities are in use";
	if (!slot || !(slot->n_clients == 0 || is_as(slot, caller)))
		slot = find_unused(s, now_usec);
	if (!slot)
		return NULL;
	*ret_why = "HAProxy does not take its caveats";
	if (!is_as(slot, caller) && slot_set(s, slot, caller) < 0)
		return NULL;
	slot->used_usec = now_usec;
	return slot;
}
