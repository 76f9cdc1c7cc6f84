/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control request for a program, which is answered when its client can speak to it: at once where there is a launch
 * pair for it already.
 *
 * Such a request stays in the queue and is performed again whenever something has become of its program. That
 * one is found by the connection and the serial, also by a later broker: so a request starts one program and
 * not two, whoever dies in between.
 */
#include "config.h"

#include "capfsd/control/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/number.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/wait.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/programs/programs.h"
#include "capfsd/verbs/verbs.h"
#include "wire/process.h"
#include "wire/wire.h"

/* --- spawn --- */

#define HOLD_DEFAULT 1024 /* callers wait while a command is started */

struct spawning {
	struct programs *programs;
	struct program_record record;
	unsigned takes;     /* enum entrypoint_takes */
	uint64_t hold, key; /* of the entrypoint and its object, if it is the command of one */
	int *spare_fd; /* the client's end of its launch pair, if that is there already */
	struct capability *through; /* to its session, which is not below who asks; NULL: it is */
};

/* Returns: how many there are; SIZE_MAX: some are none. */
static size_t
count_labels(const struct word *labels)
{
	static const char allowed[] = WIRE_LABEL_CHARACTERS;
	size_t n = 1, length = 0;

	for (size_t i = 0; i < labels->n; i++) {
		if (labels->p[i] == ',' && length > 0)
			n++, length = 0;
		else if (labels->p[i] == ',' || !memchr(allowed, labels->p[i], sizeof(allowed) - 1))
			return SIZE_MAX;
		else
			length++;
	}
	return length > 0 ? n : SIZE_MAX;
}

#define HEARTBEATS 3 /* that are missed, unless it is said how many */

/* SECONDS[:N] */
static bool
decode_heartbeat(struct operation *o, struct program_record *record)
{
	const struct word *w = &o->command.value[KEY_HEARTBEAT];
	const char *colon = memchr(w->p, ':', w->n);
	size_t n = colon ? (size_t)(colon - w->p) : w->n;
	uint64_t seconds, max = HEARTBEATS;

	if (number_parse(w->p, n, false, &seconds) < 0 || seconds < 1 || seconds > UINT16_MAX ||
		(colon && number_parse(colon + 1, w->n - n - 1, false, &max) < 0) || max < 1 || max > UINT8_MAX)
		return refuse(o->request, EINVAL, "a heartbeat is 1 to %d seconds, of which 1 to %d are missed",
			UINT16_MAX, UINT8_MAX);
	record->heartbeat_sec = (uint16_t)seconds;
	record->n_heartbeats = (uint8_t)max;
	return true;
}

#define KEYS_OF_COMMANDS                                                                                       \
	(KEY_BIT(KEY_KEY) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_SOCKET) | KEY_BIT(KEY_PROTOCOL) | KEY_BIT(KEY_HOLD) | \
		KEY_BIT(KEY_FDS) | KEY_BIT(KEY_CAVEATS) | KEY_BIT(KEY_COUNTS))

/* The command of an entrypoint: it runs for those who call there. */
static bool
decode_command(struct operation *o, struct spawning *s, struct program_record *record)
{
	struct command *c = &o->command;
	bool fds = false, caveats = false, counts = false;

	if (!command_has(c, KEY_SERVES))
		return !(c->given & KEYS_OF_COMMANDS) ||
			refuse(o->request, EINVAL, "key, as, socket, protocol, hold, fds, caveats and counts go with 'serves='");
	s->hold = HOLD_DEFAULT;
	if (command_has(c, KEY_HOLD) && !command_number(o->request, c, KEY_HOLD, &s->hold))
		return false;
	if (command_has(c, KEY_KEY) && !command_number(o->request, c, KEY_KEY, &s->key))
		return false;
	if (s->hold < 1 || s->hold > ENTRYPOINT_HOLD_MAX)
		return refuse(o->request, EINVAL, "1 to %d callers wait", ENTRYPOINT_HOLD_MAX);
	if (!command_yes(o->request, c, KEY_FDS, &fds) || !command_yes(o->request, c, KEY_CAVEATS, &caveats) ||
		!command_yes(o->request, c, KEY_COUNTS, &counts))
		return false;
	s->takes = (fds ? ENTRYPOINT_TAKES_FDS : 0) | (caveats ? ENTRYPOINT_TAKES_CAVEATS : 0) |
		(counts ? ENTRYPOINT_TAKES_COUNTS : 0);
	if (!command_has(c, KEY_AS)) {
		c->given |= KEY_BIT(KEY_AS);
		c->value[KEY_AS] = c->value[KEY_SERVES];
	}
	record->flags |= PROGRAM_KEPT;
	if (!command_has(c, KEY_RESTART))
		record->restart = RESTART_ALWAYS;
	return record->restart != RESTART_NO ||
		refuse(o->request, EINVAL, "what runs when it is called for is started again");
}

static bool
decode(struct operation *o, struct spawning *s, struct program_record *record)
{
	const struct command *c = &o->command;
	const struct word *name = &c->value[KEY_NAME];
	struct request *r = o->request;
	uint64_t n_fds;

	if (!command_number(r, c, KEY_DESCRIPTORS, &n_fds))
		return false;
	if (n_fds > HELLO_FDS_MAX)
		return refuse(r, EINVAL, "a program has at most %d descriptors", HELLO_FDS_MAX);
	if (command_has(c, KEY_NAME) && (!name_is_valid(name->p, name->n) || name->n >= PROGRAM_TITLE_BYTES))
		return refuse(r, EINVAL, "a name is 1 to %d of A-Z, a-z, 0-9, '.', '_', '-'",
			PROGRAM_TITLE_BYTES - 1);
	if (command_has(c, KEY_NAME))
		memcpy(record->title, name->p, name->n);
	record->n_fds = (uint32_t)n_fds;
	if (command_has(c, KEY_LABELS) && count_labels(&c->value[KEY_LABELS]) != n_fds)
		return refuse(r, EINVAL, "as many labels as descriptors, of A-Z, a-z, 0-9 and ._:@+/-");
	record->flags = (command_has(c, KEY_DIE) ? PROGRAM_DIE : 0) |
		(command_has(c, KEY_KEEP) ? PROGRAM_KEEP : 0);
	if (command_has(c, KEY_RESTART)) {
		record->flags |= PROGRAM_KEPT;
		if (!take_restart(o, &record->restart))
			return false;
	}
	if (command_has(c, KEY_HEARTBEAT) && !decode_heartbeat(o, record))
		return false;
	return decode_command(o, s, record);
}

/* The entrypoint, an object and the slot of that, which a server finds when it comes. */
static int
stage_command(struct operation *o, const struct spawning *s, struct program_record *record)
{
	const struct word *name = &o->command.value[KEY_SERVES];
	struct entrypoint *ep;
	struct object *object;
	int answer;

	answer = entrypoint_prepare(o->change, o->session, name->p, name->n, (uint16_t)s->hold,
		s->takes, &ep);
	if (answer > 0)
		return refuse_entrypoint(o->request, answer, &(struct about){.session = o->session});
	if (answer < 0)
		return answer;
	record->entrypoint = ep->entity.id;
	return object_stage(o, ep, s->key, &object);
}

/* What is there for those who call belongs to its session, and is not made by others. */
static bool
check_through(struct operation *o, struct spawning *s)
{
	const struct about about = {.capability = s->through, .right = RIGHT_SPAWN};
	int answer = capability_use(o->change, s->through, RIGHT_SPAWN);

	if (answer < 0)
		return refuse(o->request, ENOMEM, "the daemon is out of memory");
	if (answer > 0)
		return refuse_capability(o->request, answer, &about);
	return !command_has(&o->command, KEY_SERVES) ||
		refuse(o->request, EPERM, "'serves' is for those below the session that asks");
}

/* Whose program it is reads who has started it, if that was none of those above. */
static void
tell_started(struct operation *o, const struct spawning *s, struct session *session, const struct program *p)
{
	operation_tell(o, session, " thread=%s uid=%u descriptors=%" PRIu32 "%s%s", p->entity.name,
		(unsigned)p->record.uid, p->record.n_fds, p->record.title[0] ? " name=" : "", p->record.title);
	if (!s->through)
		return;
	text_add(&o->event, " from=");
	event_label(s->through->session, &o->event);
	text_addf(&o->event, "/caps/%s", s->through->entity.name);
}

/* The client learns everything else from the program itself. */
static void
tell_launch(struct request *r, const struct program *p)
{
	text_addf(&r->text, "thread=%s uid=%" PRIu32 " gid=%" PRIu32, p->entity.name, p->record.uid, p->record.gid);
}

/* The first program of a session needs an init, which its session pays for as well. */
static int
spawn_stage(struct operation *o)
{
	const struct word *labels = &o->command.value[KEY_LABELS];
	struct spawning *s = o->state;
	struct session *session = session_of(o->subject);
	struct program_record record = s->record;
	struct quota cost = {{[QUOTA_THREADS] = programs_has_init(s->programs, session) ? 1 : 2}};
	struct confinement_record confinement;
	enum quota_kind kind;
	struct program *p;
	int e;

	if (session->record.state != SESSION_RUNNING)
		return refuse(o->request, ECONNREFUSED, "the session is being closed");
	if (!decode(o, s, &record) || (s->through && !check_through(o, s)))
		return 0;
	if (record.flags & PROGRAM_KEPT)
		cost.n[QUOTA_THREADS]++;
	if (!change_affords(o->change, session, &cost, &kind))
		return refuse_quota(o->request, session, kind);
	record.phase = PHASE_STARTING;
	*s->spare_fd = programs_take_spare(s->programs, session);
	if (*s->spare_fd >= 0)
		record.flags |= PROGRAM_LAUNCHED | PROGRAM_SPARE;
	record.uid = session->record.uid;
	record.gid = session->record.gid;
	if (confinement_effective(session, &confinement)) {
		if (confinement.uid != CONFINEMENT_NOBODY)
			record.uid = record.gid = confinement.uid;
		if (confinement.gid != CONFINEMENT_NOBODY)
			record.gid = confinement.gid;
	}
	e = command_has(&o->command, KEY_SERVES) ? stage_command(o, s, &record) : 0;
	if (e < 0 || o->request->error)
		return e;
	e = program_add(o->change, session, &record, &p);
	if (e < 0)
		return e;
	if (e > 0)
		return refuse_quota(o->request, session, QUOTA_THREADS);
	e = labels_add(o->change, p, labels->p, labels->n);
	if (e < 0)
		return e;
	if (e > 0)
		return refuse_quota(o->request, session, QUOTA_RAM);
	o->request->made = &p->entity;
	if (*s->spare_fd >= 0)
		tell_launch(o->request, p);
	tell_started(o, s, session, p);
	return 0;
}

static void
spawn_done(struct operation *o, bool committed)
{
	struct spawning *s = o->state;

	if (committed) {
		programs_start(s->programs, program_of(o->request->made));
	} else if (*s->spare_fd >= 0) {
		programs_return_spare(s->programs, session_of(o->subject), *s->spare_fd);
		*s->spare_fd = -1;
	}
}

const struct verb verb_spawn = {
	VERB_ROW(SPAWN, spawn),
	.keys = KEY_BIT(KEY_DESCRIPTORS) | KEY_BIT(KEY_NAME) | KEY_BIT(KEY_DIE) | KEY_BIT(KEY_KEEP) |
		KEY_BIT(KEY_LABELS) | KEY_BIT(KEY_RESTART) | KEY_BIT(KEY_HEARTBEAT) |
		KEY_BIT(KEY_SERVES) | KEYS_OF_COMMANDS,
	.required = KEY_BIT(KEY_DESCRIPTORS),
	.stage = spawn_stage,
	.done = spawn_done,
};

/*
 * With a spare pair there is a reply. Else there is none yet, so none is stored; but the connection is, so that a later broker knows it as the one
 * that has asked. What it was replied before was read, since it has asked for something else.
 */
static int
note_connection(struct request *r, struct change *ch)
{
	struct exchange *x = r->data;

	return x->fd >= 0 ? x->note(r, ch) : memo_stage(x->control->memo, ch, "", 0);
}

/* "threads" of a session below, or of that which a slot refers to: "@SLOT/threads". NULL: refused. */
static struct session *
find_place(struct exchange *x, struct capability **ret_through)
{
	const char *path = x->asked->path;
	size_t n = x->asked->n_path;
	struct node at;

	if (n > 0 && path[0] == '@') {
		*ret_through = exchange_through(x, &path, &n);
		if (!*ret_through)
			return NULL;
		if (n == strlen("threads") && memcmp(path, "threads", n) == 0)
			return anchor_of((*ret_through)->target)->session;
	} else {
		if (exchange_walk(x, path, n, &at))
			return NULL;
		if (at.row->children == ENTITY_THREAD)
			return tree_session_of(at);
	}
	refuse(&x->request, EINVAL, "programs are started in threads");
	return NULL;
}

/* The first time. Who asks is told of a refusal, wherever it is. */
static int
begin(struct exchange *x)
{
	struct spawning s = {
		.programs = x->control->controls->programs,
		.record = {.connection = x->control->memo->record.cookie, .serial = x->asked->serial},
		.spare_fd = &x->fd,
	};
	struct request *r = &x->request;
	struct session *session;
	struct operation o;
	int e;

	session = find_place(x, &s.through);
	if (!session)
		return 0;
	o = exchange_operation(x, &verb_spawn, s.through ? x->control->session : session, &session->entity);
	o.state = &s;
	x->note = r->note;
	r->note = note_connection;
	e = verb_run(&o);
	r->note = x->note;
	if (e == 0 && !r->error && !x->noted)
		memo_stored(x->control->controls->sockets, x->control->memo);
	r->made = NULL;
	return e;
}

static int
launch_stage(struct operation *o)
{
	struct program *p = program_of(o->subject);
	struct program_record *record = change_edit(o->change, &p->entity);

	if (!record)
		return -ENOMEM;
	record->flags |= PROGRAM_LAUNCHED;
	tell_launch(o->request, p);
	return 0;
}

static const struct verb verb_launch = {.name = "launch", .quiet = true, .wordless = true, .stage = launch_stage};

static int
launch(struct exchange *x, struct program *p, int fd)
{
	struct operation o = exchange_operation(x, &verb_launch, p->session, &p->entity);
	int e;

	x->fd = fd;
	e = verb_run(&o);
	if (x->request.error) {
		programs_return_launch(p, fd);
		x->fd = -1;
	}
	return e;
}

/* What `confine` says cannot be kept. */
static int
refuse_limits(struct request *r, int missing)
{
	const char *memory = missing & CONTROLLER_MEMORY ? " memory" : "";
	const char *pids = missing & CONTROLLER_PIDS ? " pids" : "", *cpu = missing & CONTROLLER_CPU ? " cpu" : "";

	if (missing)
		return refuse(r, EOPNOTSUPP, "step cgroup: EOPNOTSUPP: no controller%s%s%s", memory, pids, cpu);
	return refuse(r, EOPNOTSUPP, "step cgroup: EOPNOTSUPP: limits of its own, below a session that runs");
}

static int
fail(struct exchange *x, struct program *p)
{
	static const char *const steps[STEP_N] = PROCESS_STEP_WORDS;
	int error = p->record.error, step = p->record.step, missing = p->record.status, e;

	e = programs_forget(p);
	if (e < 0)
		return e;
	if (error == ECONNREFUSED && step == STEP_NONE)
		return refuse(&x->request, error, "there is no spawner (capfs-spawner) to make processes");
	if (error == EOPNOTSUPP && step == STEP_CGROUP)
		return refuse_limits(&x->request, missing);
	return refuse(&x->request, error, "step %s: %s", steps[step], error_name(error));
}

int
perform_spawn(struct exchange *x)
{
	struct control *c = x->control;
	struct programs *programs = c->controls->programs;
	uint64_t cookie = c->memo->record.cookie;
	struct program *p = programs_find(programs, cookie, x->asked->serial);
	int e = 0, fd;

	if (!p) {
		e = begin(x);
		if (e < 0 || x->request.error || x->fd >= 0)
			return e;
		text_deinit(&x->request.text);
		p = programs_find(programs, cookie, x->asked->serial);
	}
	if (!p)
		return refuse(&x->request, ENOMEM, "the daemon is out of memory");
	if (!program_is_live(p))
		return fail(x, p);
	fd = programs_take_launch(p);
	return fd >= 0 ? launch(x, p, fd) : wait_park(x, p);
}
