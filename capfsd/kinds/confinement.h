/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs of a session may, beside the session's capabilities: as whom they run, what of the file
 * system they see, whether they have a network. It is inherited: in each session it is what all above it leave,
 * and its own. One that is looser than what it replaces is never made.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/model/entity.h"
#include "wire/process.h"

struct change;
struct kind;
struct session;

extern const struct kind confinement_kind;

#define CONFINEMENT_NOBODY UINT32_MAX /* as uid or gid: that of the session's owner */

struct confinement_record {
	uint64_t session;
	uint32_t uid, gid;
	uint32_t flags; /* enum plan_flags */
	uint32_t rlimits_set;
	uint32_t n_binds;
	uint32_t n_groups;
	uint64_t rlimits[PLAN_RLIMITS][2];
	uint64_t memory_max, pids_max; /* 0: as it is */
	uint32_t groups[PLAN_GROUPS_MAX]; /* supplementary ones, each larger than the one before */
	uint64_t reserved[6];
	char root[PLAN_PATH_BYTES];
	char cwd[PLAN_PATH_BYTES];
	struct plan_bind binds[PLAN_BINDS_MAX];
};

struct confinement {
	struct entity entity; /* called "confine" */
	struct confinement_record record;
	struct session *session;
};

static inline struct confinement *
confinement_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct confinement, entity);
}

/* What a session has to which nothing is said but that it is confined. */
void confinement_default(struct confinement_record *ret);

/* That of S alone. NULL: none. */
struct confinement *confinement_own(const struct session *s);
/* What is in effect in S. Returns: is it confined? */
bool confinement_effective(const struct session *s, struct confinement_record *ret);

/* A directory before what lies in it: in the order in which they are bound. Groups as they are stored. */
void confinement_sort(struct confinement_record *record);

/* The one of both that WITH is, as far as BASE allows. */
void confinement_tighten(const struct confinement_record *base, const struct confinement_record *with,
	struct confinement_record *ret);

/* Stages RECORD as that of S. Returns: 0, QUOTA_E_EXCEEDED; -errno. */
int confinement_set(struct change *ch, struct session *s, const struct confinement_record *record);
