/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/checkpoint/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"

/* A server that has just gone counts for a moment yet. */
#define BUSY_TRIES 500
#define BUSY_PAUSE_USEC 20000

struct slot {
	bool there;
	uint32_t final, have; /* rights in the end, and for now */
	uint64_t limits[3];   /* calls, conns, rate; UINT64_MAX: none */
	uint64_t used;
	const char *expires; /* NULL: never */
};

static const enum file_key limit_keys[3] = {KEY_calls, KEY_conns, KEY_rate};
static const char *const limit_words[3] = {"calls=%", "conns=%", "rate=%"};

static struct slot *
slot_of(const struct slots *s, const struct file_line *l)
{
	return &s->slots[l - s->restore->file->lines - (ptrdiff_t)s->restore->file->first];
}

bool
slots_have(const struct slots *s, const struct file_line *l)
{
	return slot_of(s, l)->there;
}

void
slots_deinit(struct slots *s)
{
	free(s->slots);
	s->slots = NULL;
}

/* --- rights --- */

static const struct {
	const char *name;
	uint32_t right;
} rights[] = {
	{"call", CAPC_RIGHT_CALL}, {"grant", CAPC_RIGHT_GRANT}, {"replicate", CAPC_RIGHT_REPLICATE},
	{"reduce", CAPC_RIGHT_REDUCE}, {"transfer", CAPC_RIGHT_TRANSFER}, {"share", CAPC_RIGHT_SHARE},
	{"fds", CAPC_RIGHT_FDS}, {"raise", CAPC_RIGHT_RAISE}, {"wait", CAPC_RIGHT_WAIT},
	{"accept", CAPC_RIGHT_ACCEPT}, {"account", CAPC_RIGHT_ACCOUNT}, {"control", CAPC_RIGHT_CONTROL},
	{"spawn", CAPC_RIGHT_SPAWN}, {"kill", CAPC_RIGHT_KILL}, {"pause", CAPC_RIGHT_PAUSE},
	{"affinity", CAPC_RIGHT_AFFINITY}, {"signal", CAPC_RIGHT_SIGNAL}, {"open", CAPC_RIGHT_OPEN},
};

#define N_RIGHTS (sizeof(rights) / sizeof(rights[0]))
#define RIGHTS_TO_WORK (CAPC_RIGHT_GRANT | CAPC_RIGHT_REPLICATE | CAPC_RIGHT_REDUCE | CAPC_RIGHT_SHARE)

/* Returns: false, one of them is not known. */
static bool
parse_rights(const char *word, uint32_t *ret)
{
	*ret = 0;
	if (strcmp(word, "-") == 0)
		return true;
	for (;; word++) {
		size_t n = strcspn(word, ","), i = 0;

		while (i < N_RIGHTS && (strlen(rights[i].name) != n || memcmp(rights[i].name, word, n) != 0))
			i++;
		if (i == N_RIGHTS)
			return false;
		*ret |= rights[i].right;
		word += n;
		if (!*word)
			return true;
	}
}

static void
add_rights(struct text *t, uint32_t set)
{
	const char *separator = " rights=";

	for (size_t i = 0; i < N_RIGHTS; i++)
		if (set & rights[i].right) {
			text_addf(t, "%s%s", separator, rights[i].name);
			separator = ",";
		}
}

/* --- where it comes from --- */

struct source {
	const struct file_line *line; /* of a slot of the file, NULL: outside */
	struct text node, to;	      /* its directory; the session of what is derived, seen from there, empty: the same */
	uint32_t have;
	const struct slot *slot; /* NULL: outside */
};

static void
source_deinit(struct source *s)
{
	text_deinit(&s->node);
	text_deinit(&s->to);
}

/* What `info` of a slot says that it may. Returns: 0 or -errno. */
static int
read_rights(const struct slots *s, const char *node, const char *type, uint32_t *ret)
{
	cleanup_text struct text info = {}, word = {}, is = {};
	int e = context_read(s->restore->context, node, "info", &info);

	if (e < 0)
		return e;
	if (!field_find(info.data, NULL, "rights", &word) || !word.data || !parse_rights(word.data, ret))
		return -EBADMSG;
	if (type && (!field_find(info.data, NULL, "type", &is) || !is.data || strcmp(is.data, type) != 0))
		return -EEXIST;
	return 0;
}

/* The way from the session FROM down to TO, both of the file. Returns: false, it is none. */
static bool
way_down(const char *from, const char *to, struct text *t)
{
	size_t n = strcmp(from, ".") == 0 ? 0 : strlen(from);

	if (strcmp(from, to) == 0)
		return true;
	if (n > 0 && (strncmp(from, to, n) != 0 || to[n] != '/'))
		return false;
	text_add(t, n > 0 ? to + n + 1 : to);
	return true;
}

/* One that stands outside is found by its name, in the session in which it is restored. Returns: why not, or NULL. */
static const char *
find_outside(const struct slots *s, const struct file_line *l, struct source *ret)
{
	const struct restore *r = s->restore;
	const char *name = strrchr(l->value[KEY_from], '/');
	int e;

	if (!r->name)
		return "its source is not part of the checkpoint";
	text_addf(&ret->node, "%s%scaps/%s", r->at, *r->at ? "/" : "", name ? name + 1 : l->value[KEY_from]);
	text_add(&ret->to, r->name);
	if (strcmp(l->value[KEY_path], ".") != 0)
		text_addf(&ret->to, "/%s", l->value[KEY_path]);
	if (text_done(&ret->node) < 0)
		return "no memory";
	e = read_rights(s, ret->node.data, l->value[KEY_type], &ret->have);
	if (e == -EEXIST)
		return "what has its source's name here is of another type";
	return e < 0 ? "there is no slot of its source's name here" : NULL;
}

static const char *
find_source(const struct slots *s, const struct file_line *l, struct source *ret)
{
	if (l->value[KEY_from])
		return find_outside(s, l, ret);
	if (!l->value[KEY_parent])
		return "what it refers to is not part of the checkpoint";
	ret->line = file_find(s->restore->file, l->source);
	ret->slot = slot_of(s, ret->line);
	ret->have = ret->slot->have;
	if (!ret->slot->there)
		return "what it was derived from is not there";
	if (!way_down(ret->line->value[KEY_path], l->value[KEY_path], &ret->to))
		return "it stands in a session beside that of its source";
	restore_node(s->restore, ret->line->value[KEY_path], &ret->node);
	node_append(&ret->node, "caps");
	node_append(&ret->node, ret->line->value[KEY_name]);
	return NULL;
}

/* --- limits --- */

static uint64_t
limit(const struct file_line *l, enum file_key key)
{
	uint64_t n = UINT64_MAX;

	if (l->value[key])
		number_parse(l->value[key], strlen(l->value[key]), false, &n);
	return n;
}

/* What counts was the smallest along its ancestors: more than its source's is not asked for. */
static void
take_limits(struct slot *slot, const struct file_line *l, const struct slot *above)
{
	slot->used = l->value[KEY_used] ? limit(l, KEY_used) : 0;
	slot->expires = l->value[KEY_expires];
	for (int i = 0; i < 3; i++) {
		slot->limits[i] = limit(l, limit_keys[i]);
		if (above && above->limits[i] < slot->limits[i])
			slot->limits[i] = above->limits[i];
	}
	if (above && above->expires && (!slot->expires || strcmp(above->expires, slot->expires) < 0))
		slot->expires = above->expires;
	if (slot->used > slot->limits[0])
		slot->used = slot->limits[0];
}

/* Its limits from FIRST on, of those that are smaller than above. */
static void
add_limits(struct text *t, const struct file_line *l, const struct slot *slot, const struct slot *above, int first)
{
	if (l->value[KEY_methods])
		text_addf(t, " methods=%s", l->value[KEY_methods]);
	for (int i = first; i < 3; i++)
		if (slot->limits[i] != UINT64_MAX && (!above || above->limits[i] != slot->limits[i]))
			text_addf(t, " %.*s%" PRIu64 "%s", (int)strcspn(limit_words[i], "%"), limit_words[i],
				slot->limits[i], limit_keys[i] == KEY_rate ? "/s" : "");
	if (slot->expires && (!above || above->expires != slot->expires))
		text_addf(t, " expires=%s", slot->expires);
}

/* --- making them --- */

static bool
is_over(const char *expires)
{
	time_t seconds = time(NULL);
	char now[32];
	struct tm tm;

	return expires && gmtime_r(&seconds, &tm) && strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm) &&
		strcmp(expires, now) <= 0;
}

static void
slot_node(const struct slots *s, const struct file_line *l, struct text *t)
{
	restore_node(s->restore, l->value[KEY_path], t);
	node_append(t, "caps");
	node_append(t, l->value[KEY_name]);
}

/* The group of caveats behind the slot or the group L; NULL: there are no more. */
static const struct file_line *
next_caveats(const struct slots *s, const struct file_line *l)
{
	const struct file *f = s->restore->file;

	return l + 1 < f->lines + f->n && l[1].kind == FILE_ONLY && l[1].id == l->id ? l + 1 : NULL;
}

/* Adds those from L on, a command for each group, which cannot be taken back. Returns: 0 or -errno. */
static int
add_caveats(const struct slots *s, const char *node, const struct file_line *l, char **ret_answer)
{
	int e = 0;

	for (; l && e == 0; l = next_caveats(s, l)) {
		free(take_ptr(*ret_answer));
		e = restore_write(s->restore, node, "reduce", l->rest, ret_answer);
	}
	return e;
}

static int
failed(const struct file_line *l, int error, const char *reason)
{
	return complain(error, reason, "restore: line %u", l->number);
}

/* The first one of an object has all rights, and its limits by a reduction. */
static int
make_origin(struct slots *s, const struct file_line *l, struct slot *slot)
{
	const struct file_line *object = file_find(s->restore->file, l->source);
	cleanup_text struct text node = {}, words = {};
	cleanup_free char *answer = NULL, *reduced = NULL;
	int e;

	if (strcmp(object->value[KEY_path], l->value[KEY_path]) != 0) {
		restore_left(l, "slot", l->value[KEY_name], "its entrypoint is in another session");
		return STATUS_DONE;
	}
	slot_node(s, l, &node);
	add_limits(&words, l, slot, NULL, 0);
	if (text_done(&node) < 0 || text_done(&words) < 0)
		return failed(l, -ENOMEM, NULL);
	e = restore_object(s->restore, object, "as", l->value[KEY_name], &answer);
	if (e < 0)
		return failed(l, e, answer);
	if (words.n > 0)
		e = restore_write(s->restore, node.data, "reduce", words.data + 1, &reduced);
	if (e == 0)
		e = add_caveats(s, node.data, next_caveats(s, l), &reduced);
	if (e < 0)
		return failed(l, e, reduced);
	e = read_rights(s, node.data, NULL, &slot->have);
	slot->there = e == 0;
	return e < 0 ? failed(l, e, NULL) : STATUS_DONE;
}

/* Where it cannot be reduced later it has what it shall have from the beginning, and the calls that are left. */
static void
choose_rights(struct slot *slot, const struct source *from)
{
	slot->have = slot->final;
	if (from->have & CAPC_RIGHT_REDUCE) {
		slot->have |= from->have & RIGHTS_TO_WORK;
		return;
	}
	if (slot->limits[0] != UINT64_MAX)
		slot->limits[0] -= slot->used;
	slot->used = 0;
}

/* A refusal for what the restorer holds is no failure. */
static bool
is_about_source(int e)
{
	return e == -EPERM || e == -EACCES || e == -EINVAL || e == -EOPNOTSUPP || e == -ENOENT || e == -EMSGSIZE;
}

static bool
has_fewer_calls(const struct slot *slot, const struct source *from)
{
	return slot->limits[0] != UINT64_MAX && (!from->slot || from->slot->limits[0] != slot->limits[0]);
}

/* A replica has the calls of what it was made of, until it is reduced. */
static int
limit_calls(struct slots *s, const struct file_line *l, const struct slot *slot, const struct source *from)
{
	cleanup_text struct text node = {}, calls = {};
	cleanup_free char *answer = NULL;
	int e;

	if (from->to.n > 0 || !has_fewer_calls(slot, from))
		return STATUS_DONE;
	slot_node(s, l, &node);
	text_addf(&calls, "calls=%" PRIu64, slot->limits[0]);
	e = text_done(&node) < 0 || text_done(&calls) < 0 ? -ENOMEM : restore_write(s->restore, node.data, "reduce", calls.data, &answer);
	return e < 0 ? failed(l, e, answer) : STATUS_DONE;
}

/* The rest of what it is derived with: without it it must not be there. Returns: 0 or -errno. */
static int
complete(const struct slots *s, const struct file_line *l, const struct file_line *caveats, char **ret_answer)
{
	cleanup_text struct text node = {};
	cleanup_free char *ignored = NULL;
	int e, gone;

	slot_node(s, l, &node);
	if (text_done(&node) < 0)
		return -ENOMEM;
	e = add_caveats(s, node.data, caveats, ret_answer);
	if (!is_about_source(e))
		return e;
	gone = context_remove(s->restore->context, node.data, &ignored);
	return gone < 0 ? gone : e;
}

static int
derive(struct slots *s, const struct file_line *l, struct slot *slot, const struct source *from)
{
	cleanup_text struct text words = {};
	const struct file_line *caveats = next_caveats(s, l);
	cleanup_free char *answer = NULL;
	bool same = from->to.n == 0;
	int e;

	choose_rights(slot, from);
	if (same)
		text_addf(&words, "as=%s", l->value[KEY_name]);
	else
		text_addf(&words, "to=%s as=%s", from->to.data, l->value[KEY_name]);
	add_rights(&words, slot->have);
	add_limits(&words, l, slot, from->slot, same ? 1 : 0);
	if (caveats)
		text_addf(&words, " %s", caveats->rest);
	if (text_done(&words) < 0 || text_done(&from->node) < 0)
		return failed(l, -ENOMEM, NULL);
	e = restore_write(s->restore, from->node.data, same ? "replicate" : "grant", words.data, &answer);
	if (e == 0 && caveats)
		e = complete(s, l, next_caveats(s, caveats), &answer);
	if (is_about_source(e)) {
		restore_left(l, "slot", l->value[KEY_name], answer ? answer : "it was refused");
		return STATUS_DONE;
	}
	slot->there = e == 0;
	if (e == 0 && !from->slot)
		printf("attached path=%s name=%s to=%s\n", l->value[KEY_path], l->value[KEY_name], from->node.data);
	return e < 0 ? failed(l, e, answer) : limit_calls(s, l, slot, from);
}

static int
make_slot(struct slots *s, const struct file_line *l)
{
	cleanup(source_deinit) struct source from = {};
	struct slot *slot = slot_of(s, l);
	const char *why = NULL;

	if (!parse_rights(l->value[KEY_rights], &slot->final))
		return failed(l, -EOPNOTSUPP, "a right that is not known here");
	if (slot->final == 0) {
		restore_left(l, "slot", l->value[KEY_name], "no right was left of it");
		return STATUS_DONE;
	}
	if (l->value[KEY_object]) {
		take_limits(slot, l, NULL);
		return make_origin(s, l, slot);
	}
	why = find_source(s, l, &from);
	take_limits(slot, l, from.slot);
	if (!why && from.to.n == 0 && !(from.have & CAPC_RIGHT_REDUCE) && has_fewer_calls(slot, &from))
		why = "its calls could not be limited";
	if (!why && is_over(slot->expires))
		why = "it has expired";
	if (!why && (slot->final & ~from.have))
		why = "its source here has not all of its rights";
	if (why) {
		restore_left(l, "slot", l->value[KEY_name], why);
		return STATUS_DONE;
	}
	return derive(s, l, slot, &from);
}

/* Those who are to have it are there; what they had before of its calls was not carried. */
static int
share_slot(const struct slots *s, const struct file_line *l)
{
	const struct file *f = s->restore->file;
	cleanup_text struct text node = {};
	cleanup_free char *answer = NULL;
	const struct file_line *share = l + 1;
	int e;

	while (share < f->lines + f->n && share->kind == FILE_ONLY && share->id == l->id)
		share++;
	if (share == f->lines + f->n || share->kind != FILE_SHARE || share->id != l->id)
		return STATUS_DONE;
	slot_node(s, l, &node);
	e = text_done(&node) < 0 ? -ENOMEM : restore_write(s->restore, node.data, "share", share->rest, &answer);
	if (!is_about_source(e))
		return e < 0 ? failed(share, e, answer) : STATUS_DONE;
	restore_left(l, "share", l->value[KEY_name], answer ? answer : "it was refused");
	return STATUS_DONE;
}

/* What was used of its calls, and what it has too much. */
static int
finish_slot(struct slots *s, const struct file_line *l)
{
	struct slot *slot = slot_of(s, l);
	cleanup_text struct text node = {}, used = {}, last = {};
	cleanup_free char *answer = NULL;
	int e = 0;

	if (share_slot(s, l) != STATUS_DONE)
		return STATUS_FAILED;

	slot_node(s, l, &node);
	text_addf(&used, "used=%" PRIu64, slot->used);
	add_rights(&last, slot->final);
	if (text_done(&node) < 0 || text_done(&used) < 0 || text_done(&last) < 0)
		return failed(l, -ENOMEM, NULL);
	for (int i = 0; slot->used > 0 && i < BUSY_TRIES; i++) {
		free(take_ptr(answer));
		e = restore_write(s->restore, node.data, "reduce", used.data, &answer);
		if (e != -EBUSY)
			break;
		usleep(BUSY_PAUSE_USEC);
	}
	if (e == 0 && slot->have != slot->final) {
		free(take_ptr(answer));
		e = restore_write(s->restore, node.data, "reduce", last.data + 1, &answer);
	}
	return e < 0 ? failed(l, e, answer) : STATUS_DONE;
}

int
slots_make(struct slots *s)
{
	const struct file *f = s->restore->file;
	int status = STATUS_DONE;

	s->slots = calloc(f->n - f->first + 1, sizeof(*s->slots));
	if (!s->slots)
		return complain(-ENOMEM, NULL, "restore");
	for (size_t i = f->first; i < f->n && status == STATUS_DONE; i++)
		if (f->lines[i].kind == FILE_SLOT)
			status = make_slot(s, &f->lines[i]);
	for (size_t i = f->n; i > f->first && status == STATUS_DONE; i--)
		if (f->lines[i - 1].kind == FILE_SLOT && slots_have(s, &f->lines[i - 1]))
			status = finish_slot(s, &f->lines[i - 1]);
	return status;
}
