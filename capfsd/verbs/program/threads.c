/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is said of threads and done to them.
 *
 * health: whether what an entrypoint stands for can be reached, in the words of who serves it. A relay is
 * attached all the while that the server behind it is gone, and whoever looks at a slot is to see that. It is
 * a word about this server, and goes with it; nothing is decided by it.
 *
 * ctl: what is done to the process of a program. Its init is asked for it, and nothing is waited for: what has
 * become of the program is told when it has. `ok` is the program's own word that it is well.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"
#include "wire/process.h"

static int
health_stage(struct operation *o)
{
	const struct word *name = &o->command.value[KEY_ERROR];
	const struct entrypoint *ep = entrypoint_of(o->subject);
	int error = 0;

	if (!ep->thread)
		return refuse(o->request, ECONNREFUSED, "nobody serves it");
	if (command_has(&o->command, KEY_ERROR)) {
		error = error_number(name->p, name->n);
		if (error == 0)
			return refuse(o->request, EINVAL, "no error is called '%.*s'", (int)name->n, name->p);
	}
	o->unchanged = ep->thread->record.error == (uint32_t)error;
	if (o->unchanged)
		return 0;
	operation_tell(o, ep->session, " entrypoint=%s health=%s", ep->entity.name,
		error ? error_name(error) : "ok");
	return thread_set_error(o->change, ep->thread, (uint32_t)error);
}

const struct verb verb_health = {
	VERB_ROW(HEALTH, health),
	.keys = KEY_BIT(KEY_OK) | KEY_BIT(KEY_ERROR),
	.one_of = KEY_BIT(KEY_OK) | KEY_BIT(KEY_ERROR),
	.stage = health_stage,
};

#define CPUS_MAX 64

/* "0-3,6". Returns: the mask; 0: that is none. */
static uint64_t
parse_cpus(const char *p, size_t n)
{
	const char *end = p + n;
	uint64_t mask = 0;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
		const char *dash = memchr(p, '-', (size_t)(stop - p)), *first_end = dash ? dash : stop;
		uint64_t first, last;

		if (number_parse(p, (size_t)(first_end - p), false, &first) < 0)
			return 0;
		last = first;
		if (dash && number_parse(dash + 1, (size_t)(stop - dash - 1), false, &last) < 0)
			return 0;
		if (first > last || last >= CPUS_MAX || (comma && comma + 1 == end))
			return 0;
		for (uint64_t cpu = first; cpu <= last; cpu++)
			mask |= UINT64_C(1) << cpu;
		p = comma ? comma + 1 : end;
	}
	return mask;
}

/* Asks whoever has its process; nothing is waited for. */
static int
command(struct operation *o, enum process_type type, uint64_t value)
{
	const struct model *m = o->request->model;
	int e = m->hooks && m->hooks->commanded
		? m->hooks->commanded(m->hooks_data, program_of(o->subject), type, value) : -EAGAIN;

	return e < 0 ? refuse(o->request, -e, "its init takes nothing now") : 0;
}

static int
send_signal(struct operation *o, uint64_t signal)
{
	const struct program *p = program_of(o->subject);

	if (signal < 1 || signal > (uint64_t)SIGRTMAX)
		return refuse(o->request, EINVAL, "a signal is 1 to %d", SIGRTMAX);
	operation_tell(o, p->session, " thread=%s signal=%d uid=%u", p->entity.name, (int)signal,
		(unsigned)o->request->uid);
	return command(o, PROCESS_KILL, signal);
}

static int
set_affinity(struct operation *o)
{
	const struct word *cpus = &o->command.value[KEY_AFFINITY];
	uint64_t mask = parse_cpus(cpus->p, cpus->n);

	if (!mask)
		return refuse(o->request, EINVAL, "CPUs are numbers below %d, as in 0-3,6", CPUS_MAX);
	return command(o, PROCESS_AFFINITY, mask);
}

/* Asked for when it is stored: what follows a crash is what is shown. */
static int
set_paused(struct operation *o, bool paused)
{
	struct program *p = program_of(o->subject);
	struct program_record *record = change_edit(o->change, &p->entity);

	if (!record)
		return -ENOMEM;
	o->unchanged = record->paused == paused;
	record->paused = paused;
	operation_tell(o, p->session, " thread=%s %s uid=%u", p->entity.name, paused ? "pause" : "resume",
		(unsigned)o->request->uid);
	return 0;
}

static const char *const restart_words[] = PROGRAM_RESTART_WORDS;

bool
take_restart(struct operation *o, uint8_t *ret)
{
	for (uint8_t i = 0; i < RESTART_N; i++)
		if (command_is(&o->command, KEY_RESTART, restart_words[i])) {
			*ret = i;
			return true;
		}
	return refuse(o->request, EINVAL, "'restart=' wants no, on-failure or always");
}

static int
set_restart(struct operation *o)
{
	struct program *p = program_of(o->subject);
	struct program_record *record;
	uint8_t restart;

	if (!take_restart(o, &restart))
		return 0;
	if (!(p->record.flags & PROGRAM_KEPT))
		return refuse(o->request, EOPNOTSUPP, "what it was started with is not kept");
	record = change_edit(o->change, &p->entity);
	if (!record)
		return -ENOMEM;
	o->unchanged = record->restart == restart;
	record->restart = restart;
	operation_tell(o, p->session, " thread=%s restart=%s uid=%u", p->entity.name,
		restart_words[restart], (unsigned)o->request->uid);
	return 0;
}

/* It does not run again: what is stored says so before it ends. */
static int
kill_for_good(struct operation *o)
{
	struct program *p = program_of(o->subject);
	struct program_record *record = change_edit(o->change, &p->entity);

	if (!record)
		return -ENOMEM;
	o->unchanged = record->restart == RESTART_NO;
	record->restart = RESTART_NO;
	return send_signal(o, SIGKILL);
}

/* Said too often for an event each. */
static int
be_well(struct operation *o)
{
	const struct model *m = o->request->model;

	if (m->hooks && m->hooks->well)
		m->hooks->well(m->hooks_data, program_of(o->subject));
	return 0;
}

/* What a signal does that nobody can catch, beside its name: it needs that right, too. */
static uint32_t
right_of_signal(uint64_t signal)
{
	switch (signal) {
	case SIGKILL:
		return RIGHT_SIGNAL | RIGHT_KILL;
	case SIGSTOP:
	case SIGCONT:
		return RIGHT_SIGNAL | RIGHT_PAUSE;
	default:
		return RIGHT_SIGNAL;
	}
}

/* The right that the word needs of who has come by a capability to the thread; 0: it is its own session's alone. */
static uint32_t
right_of_word(const struct command *c, uint64_t signal)
{
	if (command_has(c, KEY_KILL))
		return RIGHT_KILL;
	if (command_has(c, KEY_PAUSE) || command_has(c, KEY_RESUME))
		return RIGHT_PAUSE;
	if (command_has(c, KEY_AFFINITY))
		return RIGHT_AFFINITY;
	return command_has(c, KEY_SIGNAL) ? right_of_signal(signal) : 0;
}

/* Returns: may it be said? Else it is refused. */
static bool
ctl_allows(struct operation *o, uint64_t signal)
{
	const struct capability *through = o->request->through;
	uint32_t right = right_of_word(&o->command, signal);

	if (!through)
		return true;
	if (!right)
		return refuse(o->request, EPERM, "that is for its own session to say");
	right &= ~capability_rights(through);
	return !right || refuse_right(o->request, through, right);
}

static int
ctl_stage(struct operation *o)
{
	const struct program *p = program_of(o->subject);
	uint64_t signal = 0;

	if (command_has(&o->command, KEY_SIGNAL) && !command_number(o->request, &o->command, KEY_SIGNAL, &signal))
		return 0;
	if (!ctl_allows(o, signal))
		return 0;
	if (!program_is_live(p))
		return refuse(o->request, ESRCH, "it has ended");
	if (p->record.flags & PROGRAM_REGISTERED)
		return refuse(o->request, EOPNOTSUPP, "it was not started by the daemon, which has no power over it");
	if (command_has(&o->command, KEY_RESTART))
		return set_restart(o);
	/* Who has given up a start need not wait for what becomes of it. */
	if (p->record.phase != PHASE_RUNNING && !command_has(&o->command, KEY_KILL))
		return refuse(o->request, EAGAIN, "it is being started");
	if (command_has(&o->command, KEY_PAUSE) || command_has(&o->command, KEY_RESUME))
		return set_paused(o, command_has(&o->command, KEY_PAUSE));
	if (command_has(&o->command, KEY_KILL))
		return kill_for_good(o);
	o->unchanged = true;
	if (command_has(&o->command, KEY_OK))
		return be_well(o);
	if (command_has(&o->command, KEY_AFFINITY))
		return set_affinity(o);
	return send_signal(o, signal);
}

static void
ctl_done(struct operation *o, bool committed)
{
	const struct command *c = &o->command;

	if (committed && (command_has(c, KEY_PAUSE) || command_has(c, KEY_RESUME)))
		(void)command(o, program_of(o->subject)->record.paused ? PROCESS_PAUSE : PROCESS_RESUME, 0);
}

#define COMMANDS                                                                                               \
	(KEY_BIT(KEY_OK) | KEY_BIT(KEY_KILL) | KEY_BIT(KEY_SIGNAL) | KEY_BIT(KEY_PAUSE) | KEY_BIT(KEY_RESUME) |                  \
		KEY_BIT(KEY_AFFINITY) | KEY_BIT(KEY_RESTART))

const struct verb verb_ctl = {
	VERB_ROW(CTL, ctl),
	.keys = COMMANDS,
	.one_of = COMMANDS,
	.stage = ctl_stage,
	.done = ctl_done,
};
