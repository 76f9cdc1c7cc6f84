/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program is a process that was started for a session, or is being started, or has ended and is still asked
 * about. It stands among the threads of its session and has its name from the same count, S.N. What is done to
 * its process is capfsd/programs' affair; here is what is known of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"

struct change;
struct entrypoint;
struct kind;
struct session;

extern const struct kind program_kind;

#define PROGRAM_TITLE_BYTES 32

enum program_flags {
	PROGRAM_DIE = 1,  /* it ends with the connection that asked for it */
	PROGRAM_KEEP = 2, /* … and is there until that has waited for it */
	PROGRAM_LAUNCHED = 4, /* who asked speaks to it directly, and learns from it whether it runs */
	PROGRAM_KEPT = 8, /* so is what it was started with, and it can run again */
	PROGRAM_REGISTERED = 16, /* it was not started by us, and has registered itself */
	PROGRAM_SPARE = 32, /* its launch pair was there before it, and its init may not have been asked for it yet */
};

/* A status that is none of wait(2)'s: a registered one has left; or has ended, and nobody has said how. */
#define PROGRAM_END_LEFT (-1)
#define PROGRAM_END_UNKNOWN (-2)

/* When it is to run again, after it has ended. */
enum program_restart {
	RESTART_NO,
	RESTART_ON_FAILURE, /* if it was not by exit(0) */
	RESTART_ALWAYS,
	RESTART_N,
};

#define PROGRAM_RESTART_WORDS {[RESTART_NO] = "no", [RESTART_ON_FAILURE] = "on-failure", [RESTART_ALWAYS] = "always"}

struct program_record {
	uint64_t session;
	uint64_t number;     /* the N of its id S.N */
	uint64_t connection; /* the cookie of the control connection that asked; 0: it is gone */
	uint64_t serial;     /* … and that of its request */
	uint64_t started_usec, ended_usec; /* CLOCK_REALTIME; 0: not yet */
	uint64_t utime_usec, stime_usec, maxrss_kib;
	uint64_t again_usec; /* CLOCK_REALTIME: when it is to run again, while it waits for that */
	uint32_t n_restarts; /* how often it has ended, or was first waited with, and was to run after that */
	uint32_t n_quick;    /* of these, how often in a row it had not run for long */
	uint64_t entrypoint; /* whose command it is: it runs when somebody calls there; 0: of none */
	uint32_t pid;    /* as the kernel told; shown, never used */
	uint32_t uid, gid;
	uint32_t n_fds;
	int32_t status;  /* as of wait(2); where it has failed in STEP_CGROUP, enum process_controller that it lacks */
	int32_t error;   /* why it was not started */
	uint8_t step;    /* … and where: enum process_step */
	uint8_t phase;   /* enum process_phase */
	uint8_t flags;
	uint8_t paused;
	uint8_t restart; /* enum program_restart */
	uint8_t n_heartbeats;    /* it is killed when it has missed so many in a row … */
	uint16_t heartbeat_sec;  /* … of those that it has to give this often; 0: none */
	char title[PROGRAM_TITLE_BYTES]; /* as who asked called it; terminated */
};

struct program {
	struct entity entity; /* its name is its id, "7.1" */
	struct program_record record;
	struct session *session;
	struct list labels; /* of struct labels, entity.owner_link */
	struct list anchors; /* of struct anchor, program_link: of the capabilities to it */
};

static inline struct program *
program_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct program, entity);
}

/* Will it run, also once more, or does it? */
bool program_is_live(const struct program *p);
/* Whose command it is. NULL: of none, also of one that has ended. */
struct entrypoint *program_entrypoint(const struct program *p);
/* Does it wait to run again, and was told not to, or has lost what it is for? */
bool program_is_given_up(const struct program *p);
/* It does not; is somebody still to be told? */
bool program_is_asked_about(const struct program *p);

/* Stages its end, with all that belongs to it. Returns: 0 or -errno. */
int program_drop(struct change *ch, struct program *p);
/*
 * Stages one of S, whose RECORD has what is asked; session and number are set here. Returns: 0, QUOTA_E_EXCEEDED,
 * or -errno.
 */
int program_add(struct change *ch, struct session *s, const struct program_record *record, struct program **ret);
