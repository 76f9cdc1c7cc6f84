/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * originate: a session gets the first capability, without a parent, to something for which the daemon
 * answers itself. What that is, is made with it, and goes with its last one. Objects get theirs by
 * `objects`, from who serves them.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/*
 * What there can be in an origin: these are given to one session at a time, and not shared. Who asks by a capability
 * to a session, and passes on what it makes there, has no more by that.
 */
static uint32_t
rights_origin(const struct request *r, enum capability_type type)
{
	uint32_t rights = capability_types[type]->rights;

	if (type == TYPE_SESSION && r->by)
		rights &= capability_rights(r->by);
	return rights | (RIGHTS_COMMON & ~(uint32_t)RIGHT_SHARE);
}

/* "type=": one of those whose rows refer to an anchor. Returns: is it one? Else it is refused. */
static bool
find_type(struct operation *o, struct anchor_record *record)
{
	for (uint8_t i = 0; i < N_CAPABILITY_TYPES; i++)
		if (capability_types[i]->target == ENTITY_ANCHOR &&
			command_is(&o->command, KEY_TYPE, capability_types[i]->name)) {
			record->type = i;
			return true;
		}
	return refuse(o->request, EINVAL, "no type '%.*s' is originated", (int)o->command.value[KEY_TYPE].n,
		o->command.value[KEY_TYPE].p);
}

/* The slot for A in S. */
static int
stage_origin(struct operation *o, struct session *s, struct anchor *a)
{
	const struct word *as = &o->command.value[KEY_AS];
	const struct about about = {.session = s, .name = *as};
	struct request *r = o->request;
	struct capability *made;
	int answer = capability_originate(o->change, a->record.type, &a->entity, s, as->p, as->n,
		rights_origin(r, a->record.type), r->uid, &made);

	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	r->made = &made->entity;
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	operation_tell(o, s, " slot=%s id=%" PRIu64 " type=%s uid=%u", made->entity.name,
		made->entity.id, capability_type(made)->name, (unsigned)r->uid);
	return 0;
}

/* The session of the thread that NAME ("7.1") is an id of, as far as S may name it. NULL: there is none. */
static struct session *
session_of_thread(struct model *m, struct session *s, const struct word *name)
{
	const char *dot = memchr(name->p, '.', name->n);
	struct session *found = NULL;
	uint64_t id;

	if (dot && number_parse(name->p, (size_t)(dot - name->p), false, &id) == 0)
		found = session_find_id(m, id);
	return found && session_is_within(found, s) ? found : NULL;
}

/* "thread=": what is done to one the daemon does through its init, so that servers that it only knows have none. */
static bool
find_thread(struct operation *o, struct session *s, struct program **ret)
{
	const struct word *name = &o->command.value[KEY_THREAD];
	struct model *m = o->request->model;
	struct session *of = session_of_thread(m, s, name);
	struct entity *e = of ? entity_find_name(m, of->entity.id, ENTITY_PROGRAM, name->p, name->n) : NULL;

	if (!e && of && entity_find_name(m, of->entity.id, ENTITY_THREAD, name->p, name->n))
		return refuse(o->request, EOPNOTSUPP, "'%.*s' is a server that the daemon has not started", (int)name->n,
			name->p);
	if (!e)
		return refuse(o->request, ENOENT, "there is no thread '%.*s' here", (int)name->n, name->p);
	if (!program_is_live(program_of(e)))
		return refuse(o->request, ESRCH, "it has ended");
	*ret = program_of(e);
	return true;
}

/* Which words each type wants, and which it has not. Returns: are they right? Else it is refused. */
static bool
check_words(struct operation *o, enum capability_type type)
{
	static const struct {
		enum key key;
		enum capability_type type;
		bool required;
	} words[] = {
		{KEY_FAULTS, TYPE_SIGNAL, false},
		{KEY_OF, TYPE_SESSION, false},
		{KEY_THREAD, TYPE_THREAD, true},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (command_has(&o->command, words[i].key) && words[i].type != type)
			return refuse(o->request, EINVAL, "'%s' is for a %s", key_name(words[i].key),
				capability_types[words[i].type]->name);
		if (words[i].required && words[i].type == type && !command_has(&o->command, words[i].key))
			return refuse(o->request, EINVAL, "'%s=' is missing", key_name(words[i].key));
	}
	return true;
}

/* What it is to be about: a session, S if nothing is said, or a thread. Returns: is there one? Else it is refused. */
static bool
find_about(struct operation *o, struct session *s, enum capability_type type, struct session **ret,
	struct program **ret_program)
{
	*ret = s;
	*ret_program = NULL;
	if (command_has(&o->command, KEY_OF)) {
		*ret = find_descendant(o->request, s, &o->command, KEY_OF);
		return *ret;
	}
	if (type != TYPE_THREAD)
		return true;
	if (!find_thread(o, s, ret_program))
		return false;
	*ret = (*ret_program)->session;
	return true;
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject), *of;
	struct anchor_record record = {};
	struct program *program;
	struct anchor *a;
	int answer;

	if (!find_type(o, &record) || !check_words(o, record.type) ||
		!find_about(o, s, record.type, &of, &program))
		return 0;
	if (command_has(&o->command, KEY_FAULTS))
		record.flags |= ANCHOR_ALARM;
	answer = anchor_add(o->change, of, &record, program, &a);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_anchor(o->request, answer, &(struct about){.session = of});
	return stage_origin(o, s, a);
}

const struct verb verb_originate = {
	VERB_ROW(ORIGINATE, originate),
	.lasting = true,
	.keys = KEY_BIT(KEY_TYPE) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_FAULTS) | KEY_BIT(KEY_OF) |
		KEY_BIT(KEY_THREAD),
	.required = KEY_BIT(KEY_TYPE) | KEY_BIT(KEY_AS),
	.stage = stage,
};
