/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How programs are started: what capfsd, its spawner, the inits of sessions and half-started programs say to
 * each other, and what a client says to the program that it starts. doc/PROTOCOL describes it, and changes with
 * this file.
 *
 * All of it goes over pairs of SEQPACKET sockets, in records of fixed size, a packet each, in the machine's order.
 * Images of the spawner and of inits outlive the daemon that they were made for: records grow at their ends, and
 * values are appended, never changed or used again. What a shorter record does not have reads as 0; a record that
 * is not known is ignored.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PROCESS_VERSION 1

enum process_type {
	/* keeper to spawner, the first record of all, behind it the path of the mount point with its 0 */
	PROCESS_ATTACH = 1,
	/*
	 * broker to the spawner, or to the init of the session above: make an init for `session` by the plan that
	 * follows in the same packet, whose first program is `thread`. To an init without a plan: start `thread`.
	 * `flags`: enum start_flags.
	 */
	PROCESS_START,
	PROCESS_KILL,     /* send `signal` to `thread`; 0: to all of the session */
	PROCESS_PAUSE,    /* `thread`; 0: all */
	PROCESS_RESUME,
	PROCESS_AFFINITY, /* `thread` runs on the CPUs of the mask `cookie` */
	/*
	 * `thread`, which has ended and was started with START_KEEP, is to run for the `cookie`th time after the
	 * first. Where what it was started with is lost, EXITED, or the FAILED that answers this, has STEP_FORK and
	 * ECHILD.
	 */
	PROCESS_AGAIN,
	PROCESS_END,      /* all of it */
	PROCESS_ACK,      /* the end of `thread` is known for good, forget it */
	PROCESS_SYNC,     /* say the state of all: STATE for each, then SYNCED, with this `serial` */
	/*
	 * spawner or init to broker. LAUNCH brings the client's end of the launch pair of `thread` and, for the
	 * first thread of a session, behind it the broker's end of the init's own pair. Without a thread it is the spare
	 * pair: one for a program that is not asked for yet; and without a descriptor as well, that this is not to be
	 * given to any more: whoever has its end closes it, or has asked for a program with it before.
	 */
	PROCESS_LAUNCH = 32,
	/*
	 * init: it is there, `version`; with a pidfd of itself and, if it is not confined and has a leaf of control
	 * groups, the cgroup.events of that. Again before SYNCED.
	 */
	PROCESS_INITED,
	PROCESS_RUNNING, /* the program of `thread` is about to execute */
	/* it will not: `step`, `error`; with STEP_CGROUP and EOPNOTSUPP `flags` are enum process_controller */
	PROCESS_FAILED,
	PROCESS_EXITED,  /* `status`, as of wait(2), and what was used */
	PROCESS_ORPHAN,  /* `pid` whose parent had ended before has ended: `status` */
	PROCESS_STATE,   /* of `thread`: `flags` is an enum process_phase, and with it what is said at its end */
	PROCESS_SYNCED,
	PROCESS_ENDED,   /* spawner: the init of `session` has ended with `status` */
};

enum start_flags {
	START_KEEP = 1,  /* what it is started with is kept, so that it can run again */
	START_LATER = 2, /* … and not run at once, but told by STATE that it is there; an older image runs it */
	/* Its launch pair is the spare one, and no LAUNCH follows; where that is lost, FAILED with STEP_HELLO. */
	START_SPARE = 4,
	START_WANT_SPARE = 8, /* there is to be a spare pair for the next; an older image knows of none */
};

/* Where a start failed; the words are process_steps[]. */
enum process_step {
	STEP_NONE,
	STEP_HELLO,
	STEP_CREDS,
	STEP_CGROUP,
	STEP_UID,
	STEP_NS,
	STEP_ROOT,
	STEP_BIND,
	STEP_PROC,
	STEP_DEV,
	STEP_CAP,
	STEP_PIVOT,
	STEP_FORK,
	STEP_FDS,
	STEP_PLACE,
	STEP_LIMITS,
	STEP_CAPS,
	STEP_LANDLOCK,
	STEP_SECCOMP,
	STEP_EXEC,
	STEP_N,
};

#define PROCESS_STEP_WORDS                                                                                     \
	{                                                                                                      \
		[STEP_NONE] = "start", [STEP_HELLO] = "hello", [STEP_CREDS] = "creds", [STEP_CGROUP] = "cgroup", \
		[STEP_UID] = "uid", [STEP_NS] = "ns", [STEP_ROOT] = "root", [STEP_BIND] = "bind",              \
		[STEP_PROC] = "proc", [STEP_DEV] = "dev", [STEP_CAP] = "cap", [STEP_PIVOT] = "pivot",          \
		[STEP_FORK] = "fork", [STEP_FDS] = "fds", [STEP_PLACE] = "place", [STEP_LIMITS] = "limits",    \
		[STEP_CAPS] = "caps", [STEP_LANDLOCK] = "landlock", [STEP_SECCOMP] = "seccomp",                \
		[STEP_EXEC] = "exec",                                                                          \
	}

/* Of control groups, those that are not there to keep a limit. None: it would be another one than its parent's. */
enum process_controller {
	CONTROLLER_MEMORY = 1,
	CONTROLLER_PIDS = 2,
	CONTROLLER_CPU = 4,
};

enum process_phase {
	PHASE_STARTING = 1,
	PHASE_RUNNING,
	PHASE_FAILED,
	PHASE_EXITED,
	/* It has ended, and is to run again: the daemon's alone. An init says so of one that has not run yet. */
	PHASE_WAITING,
};

struct process_record {
	uint32_t type;
	uint32_t flags;
	uint64_t thread, session; /* ids of the daemon's; 0: none */
	int32_t error; /* an errno */
	int32_t step;
	int32_t status;
	int32_t signal;
	uint64_t cookie;
	uint32_t pid; /* as the sender sees it: information only */
	uint32_t version;
	uint64_t utime_usec, stime_usec, maxrss_kib;
	uint64_t serial; /* of SYNC and SYNCED; of what is said of a thread, how often it had run before */
	uint64_t reserved;
};

_Static_assert(sizeof(struct process_record) == 96, "as in doc/PROTOCOL");

#define PLAN_GROUPS_MAX 32
#define PLAN_BINDS_MAX 24
#define PLAN_RLIMITS 16 /* by their numbers */
#define PLAN_PATH_BYTES 256
#define PLAN_SESSION_BYTES 1024

enum plan_flags {
	PLAN_CONFINED = 1, /* namespaces of its own; all below but PLAN_NO_PRIVS needs it */
	PLAN_NET = 2,      /* the host's network, instead of none */
	PLAN_PROC = 4,
	PLAN_DEV = 8,
	PLAN_SECCOMP = 16,
	PLAN_LANDLOCK = 32,
	/* 64 was never asked for: that is each program's own, HELLO_OPEN_SOCKETS */
	PLAN_NO_PRIVS = 128, /* no_new_privs without confinement */
};

struct plan_bind {
	char path[240]; /* absolute; it is at the same place inside */
	uint32_t writable;
	uint32_t reserved[3];
};

/* Texts end with a 0, also what is not used. */
struct process_plan {
	uint32_t uid, gid;
	uint32_t n_groups;
	uint32_t groups[PLAN_GROUPS_MAX]; /* supplementary ones; each is larger than the one before */
	uint32_t flags;
	uint32_t n_binds;
	uint32_t rlimits_set; /* a bit for each of those that are set */
	uint64_t rlimits[PLAN_RLIMITS][2]; /* soft, hard */
	uint64_t memory_max, pids_max, cpu_usec; /* of a cgroup; 0: as it is */
	char session[PLAN_SESSION_BYTES]; /* its directory below the mount point, as sessions/a/sessions/b; empty: the root */
	char root[PLAN_PATH_BYTES];       /* a directory instead of an empty one; empty: none */
	char cwd[PLAN_PATH_BYTES];        /* empty: / inside, else as the init's */
	struct plan_bind binds[PLAN_BINDS_MAX];
};

/* --- client and half-started program, over the launch pair --- */

#define HELLO_MAGIC 0x31636170u
#define HELLO_FDS_MAX 4096
#define HELLO_BYTES_MAX (256 * 1024) /* argv and environment, each string with its 0 */
#define HELLO_STRINGS_MAX 4096       /* of each of both */
#define HELLO_PACKET_BYTES 65536
#define HELLO_PACKET_FDS 253

enum hello_flags {
	HELLO_EXEC_FD = 1,    /* the last of the n_fds is the program and is not among those that it gets */
	HELLO_LISTEN_PID = 2, /* the string LISTEN_PID= of the environment is to say the program's pid */
	/*
	 * open(2) of a socket's node for reading and writing gives the program, and what it starts, a connected
	 * socket. An older image refuses the flag, with STEP_HELLO and EBADMSG.
	 */
	HELLO_OPEN_SOCKETS = 4,
};

/*
 * First of all from the client, with SCM_CREDENTIALS, which say whose program it is: the program runs as that uid
 * and gid or not at all. Then a packet of one byte for each supplementary group that it is to have, in their order,
 * with SCM_CREDENTIALS of that uid and the group as gid: it has exactly those of its session's plan, and nobody
 * gets one who could not be of it himself. Then packets of at most HELLO_PACKET_BYTES bytes of argv and environment,
 * with at most HELLO_PACKET_FDS descriptors; when there are no more bytes, packets of one byte with the rest of the
 * descriptors.
 */
struct process_hello {
	uint32_t magic;
	uint32_t n_fds; /* so many come, and the program has exactly these, as 0 to n-1 */
	uint32_t n_bytes;
	uint32_t argc, envc;
	uint32_t flags;
	uint32_t n_groups; /* images of 0.1.0 know no such thing: where there are none it is not sent */
};

#define HELLO_BYTES_FIRST 24 /* all that the first version had */
_Static_assert(offsetof(struct process_hello, n_groups) == HELLO_BYTES_FIRST, "as in doc/PROTOCOL");

/* From the program, once. With step 0 it is about to execute: then the end of the pair is success. */
struct process_answer {
	int32_t step;
	int32_t error;
};
