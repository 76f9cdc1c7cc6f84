/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pieces of text that are read in many places. They only append: without memory the text is marked
 * as failed, and whoever made it looks at that once, at the end.
 */
#include "config.h"

#include "capfsd/ops/texts.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "wire/process.h"

void
text_slot(const struct capability *c, struct text *t)
{
	session_label(c->session, t);
	text_addf(t, "/caps/%s", c->entity.name);
}

void
text_maker(const struct capability *c, struct text *t)
{
	if (c->record.by_uid == BY_SHARE)
		text_add(t, " by=share");
	else
		text_addf(t, " by=uid:%" PRIu32, c->record.by_uid);
}

/*
 * In UTC, since the daemon knows nothing of its readers' time zones, and because such times can be
 * compared as text. A time that the C library cannot express is left out: no part of a text is
 * worth refusing all of it.
 */
void
text_time(struct text *t, uint64_t usec)
{
	time_t seconds = (time_t)(usec / 1000000);
	char buffer[32];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) && strftime(buffer, sizeof(buffer), "%Y-%m-%dT%H:%M:%SZ", &tm))
		text_add(t, buffer);
}

/* The largest consumer is named, since the one who is refused is often not who uses it up. */
void
text_limit(const struct session *s, unsigned kind, struct text *t)
{
	session_label(s, t);
	text_addf(t, " %s limit=%" PRIu64 " used=%" PRIu64, quota_kind_name(kind),
		s->record.limit.n[kind], s->used.n[kind]);
	if (s->lent.n[kind] > 0)
		text_addf(t, " lent=%" PRIu64, s->lent.n[kind]);
}

void
text_account(struct session *s, unsigned kind, struct text *t)
{
	struct session *largest = quota_largest(s, kind);

	text_limit(s, kind, t);
	text_add(t, "; largest: ");
	session_label(largest, t);
	text_addf(t, " %" PRIu64, largest->used.n[kind]);
}

void
text_where(const char *path, size_t n, struct text *t)
{
	static const struct {
		const char *directory, *key;
	} named[] = {{"caps/", "slot"}, {"entrypoints/", "entrypoint"}};
	size_t said = 0;

	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		size_t at = strlen(named[i].directory);
		const char *end = n > at ? memchr(path + at, '/', n - at) : NULL;

		if (n <= at || memcmp(path, named[i].directory, at) != 0)
			continue;
		said = end ? (size_t)(end - path) : n;
		event_field(t, named[i].key, path + at, said - at);
	}
	if (said < n)
		event_field(t, "at", path, n);
}

void
text_program(const struct program_record *p, const char *separator, struct text *t)
{
	static const char *const steps[STEP_N] = PROCESS_STEP_WORDS;

	switch (p->phase) {
	case PHASE_STARTING:
		text_add(t, "state=starting");
		break;
	case PHASE_RUNNING:
		text_addf(t, "state=%s%spid=%" PRIu32, p->paused ? "paused" : "running", separator, p->pid);
		break;
	case PHASE_FAILED:
		text_addf(t, "state=failed%sstep=%s%serrno=%s", separator, steps[p->step], separator,
			error_name(p->error));
		break;
	case PHASE_WAITING:
		text_addf(t, "state=waiting%s", separator);
		if (p->error)
			text_addf(t, "step=%s%serrno=%s", steps[p->step], separator, error_name(p->error));
		else
			text_addf(t, "status=%" PRId32, p->status);
		break;
	default:
		text_addf(t, "state=exited%sstatus=%" PRId32 "%sutime_usec=%" PRIu64, separator, p->status,
			separator, p->utime_usec);
		text_addf(t, "%sstime_usec=%" PRIu64 "%smaxrss_kib=%" PRIu64, separator, p->stime_usec,
			separator, p->maxrss_kib);
	}
}

static const char *const rlimit_names[PLAN_RLIMITS] = {
	[RLIMIT_CPU] = "cpu",
	[RLIMIT_FSIZE] = "fsize",
	[RLIMIT_DATA] = "data",
	[RLIMIT_STACK] = "stack",
	[RLIMIT_CORE] = "core",
	[RLIMIT_RSS] = "rss",
	[RLIMIT_NPROC] = "nproc",
	[RLIMIT_NOFILE] = "nofile",
	[RLIMIT_MEMLOCK] = "memlock",
	[RLIMIT_AS] = "as",
	[RLIMIT_LOCKS] = "locks",
	[RLIMIT_SIGPENDING] = "sigpending",
	[RLIMIT_MSGQUEUE] = "msgqueue",
	[RLIMIT_NICE] = "nice",
	[RLIMIT_RTPRIO] = "rtprio",
	[RLIMIT_RTTIME] = "rttime",
};

int
rlimit_find(const char *name, size_t n)
{
	for (int i = 0; i < PLAN_RLIMITS; i++)
		if (strlen(rlimit_names[i]) == n && memcmp(rlimit_names[i], name, n) == 0)
			return i;
	return -1;
}

static void
add_binds(const struct confinement_record *c, bool writable, const char *key, struct text *t)
{
	bool first = true;

	for (uint32_t i = 0; i < c->n_binds; i++) {
		if ((c->binds[i].writable != 0) != writable)
			continue;
		text_addf(t, "%s%s", first ? key : ",", c->binds[i].path);
		first = false;
	}
	if (!first)
		text_add(t, "\n");
}

static void
add_groups(const struct confinement_record *c, struct text *t)
{
	for (uint32_t i = 0; i < c->n_groups; i++)
		text_addf(t, "%s%" PRIu32, i == 0 ? "groups=" : ",", c->groups[i]);
	if (c->n_groups > 0)
		text_add(t, "\n");
}

static void
add_rlimits(const struct confinement_record *c, struct text *t)
{
	bool first = true;

	for (int i = 0; i < PLAN_RLIMITS; i++) {
		if (!(c->rlimits_set & 1U << i))
			continue;
		text_addf(t, "%s%s:%" PRIu64, first ? "rlimits=" : ",", rlimit_names[i], c->rlimits[i][0]);
		if (c->rlimits[i][1] != c->rlimits[i][0])
			text_addf(t, ":%" PRIu64, c->rlimits[i][1]);
		first = false;
	}
	if (!first)
		text_add(t, "\n");
}

void
text_confinement(const struct confinement_record *c, struct text *t)
{
	static const struct {
		uint32_t flag;
		const char *key;
	} flags[] = {
		{PLAN_PROC, "proc"}, {PLAN_DEV, "dev"}, {PLAN_SECCOMP, "seccomp"}, {PLAN_LANDLOCK, "landlock"}};

	if (c->uid != CONFINEMENT_NOBODY)
		text_addf(t, "uid=%" PRIu32 "\n", c->uid);
	if (c->gid != CONFINEMENT_NOBODY)
		text_addf(t, "gid=%" PRIu32 "\n", c->gid);
	add_groups(c, t);
	if (*c->root)
		text_addf(t, "root=%s\n", c->root);
	add_binds(c, false, "ro=", t);
	add_binds(c, true, "rw=", t);
	if (*c->cwd)
		text_addf(t, "cwd=%s\n", c->cwd);
	text_addf(t, "net=%s\n", c->flags & PLAN_NET ? "host" : "none");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		text_addf(t, "%s=%s\n", flags[i].key, c->flags & flags[i].flag ? "yes" : "no");
	add_rlimits(c, t);
	if (c->memory_max)
		text_addf(t, "mem=%" PRIu64 "\n", c->memory_max);
	if (c->pids_max)
		text_addf(t, "pids=%" PRIu64 "\n", c->pids_max);
}

static void
add_amount(const struct quota *amount, struct text *t)
{
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (amount->n[i] > 0)
			text_addf(t, " %s=%" PRIu64, quota_kind_name(i), amount->n[i]);
}

void
text_bound(const char *key, uint64_t limit, struct text *t)
{
	if (limit != LIMIT_NONE)
		text_addf(t, " %s=%" PRIu64, key, limit);
}

/* In the order in which usages have them. */
void
text_reductions(const struct reductions *how, struct text *t)
{
	if (how->has_rights) {
		text_add(t, " rights=");
		rights_format(how->rights, t);
	}
	if (how->has_methods) {
		text_add(t, " methods=");
		methods_format(&how->methods, t);
	}
	text_bound("calls", how->has_calls ? how->calls : LIMIT_NONE, t);
	text_bound("conns", how->has_conns ? how->conns : LIMIT_NONE, t);
	if (how->has_rate && how->rate != LIMIT_NONE)
		text_addf(t, " rate=%" PRIu64 "/s", how->rate);
	if (how->has_expires && how->expires_usec != LIMIT_NONE) {
		text_add(t, " expires=");
		text_time(t, how->expires_usec);
	}
}

void
text_asked(const struct ask_record *record, const char *name, struct text *t)
{
	struct reductions how;

	if (record->what != ASK_SLOT) {
		text_add(t, record->what == ASK_QUOTA ? "quota" : "yield");
		add_amount(&record->amount, t);
		return;
	}
	ask_reductions(record, &how);
	text_addf(t, "type=%s name=%s", capability_types[record->type]->name, name);
	text_reductions(&how, t);
}

void
text_ask(const struct ask *a, uint64_t now_usec, struct text *t)
{
	uint64_t since = a->record.since_usec;

	text_addf(t, "id=%" PRIu64 " ", a->entity.id);
	if (a->record.what != ASK_YIELD) {
		text_add(t, "from=");
		session_label(a->session, t);
		text_add(t, " ");
	}
	text_asked(&a->record, a->entity.name, t);
	text_addf(t, " waiting=%" PRIu64, now_usec > since ? (now_usec - since) / 1000000 : 0);
}
