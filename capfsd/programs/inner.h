/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this room share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/index.h"
#include "base/list.h"
#include "capfsd/kinds/program.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"
#include "capfsd/programs/programs.h"
#include "wire/process.h"

#define START_USEC UINT64_C(30000000) /* within which its launch pair must have come */
#define TRIES_MAX 3                   /* for one that others' deaths got in the way of */

/* What is known beside the record of a program that is not over. */
struct running {
	struct programs *programs;
	struct program *program;
	struct init *init;          /* NULL: none has it yet … */
	struct init *above;         /* … and it was asked for at this one; NULL: at the spawner */
	struct list link;           /* programs.asking, while the spawner is to be asked; else init.programs */
	struct index_link connection_link; /* programs.by_connection, while it is … */
	bool indexed;                      /* … there */
	struct list waiters;
	const struct program_record *end; /* with which it may go at once (end_with_waiter()); NULL: none */
	struct list ended_link;     /* programs.ended: its connection has ended, or it has; or programs.untold */
	uint64_t since_usec;        /* it is being started, or was found by this broker */
	uint64_t asked_usec;        /* 0: not yet */
	struct index_link asked_link; /* programs.asked, while it is … */
	bool awaited;                 /* … there */
	unsigned n_tries;
	int launch_fd;              /* -1: none */
	struct charge charge;       /* of its starter, if it has one */
	sd_event_source *timer;     /* of its next run; NULL: it was never waited for */
	bool due;                   /* it is time for that */
	uint32_t n_served;          /* of a command: how often its entrypoint had been when it was asked for … */
	bool is_counted;            /* … by this broker */
	sd_event_source *heart;     /* of the next heartbeat; NULL: none was ever waited for */
	unsigned n_missed;          /* in a row */
	bool known;                 /* an init has named it since this broker is there */
	bool connected;             /* … and its connection is there */
	bool orphaned;
	bool said;                  /* its end is an event already, though it could not be stored */
	/* What could not be sent yet: a signal; PROCESS_PAUSE or PROCESS_RESUME. 0: nothing. */
	int kill;
	enum process_type pause;
};

struct init {
	struct programs *programs;
	struct session *session;
	struct list link;     /* programs.inits */
	struct index_link session_link; /* programs.by_session */
	bool indexed;
	struct list programs_of_it; /* of struct running */
	struct watch watch;
	struct charge charge;
	struct memo *memo;
	uint64_t sync;        /* the serial of a SYNC that was not answered yet; 0: none … */
	bool synced;          /* … and it has been sent */
	struct watch end_watch;
	int fd;
	int spare_fd;         /* the client's end of a launch pair for the next program; -1: none */
	int pidfd;            /* -1: not known (yet) */
	int leaf_fd;          /* cgroup.events of the leaf of one that is not confined; -1: it has none, or not known */
	bool behind;          /* something that it said could not be stored */
	bool unheard;         /* it was not told of an end that is stored, and will say it again */
	bool introduced;      /* it is there, and no longer on the way to it */
	bool ending;          /* it is told to end all, or will be */
	bool told;            /* … and was */
	bool obeying;         /* one of its reports is being taken account of */
};

struct programs {
	struct sockets *sockets;
	const struct programs_ops *ops;
	void *data;
	struct list inits, asking, ended;
	struct list untold; /* have ended, and go when who waits for that knows it */
	struct list leaving; /* of struct registered */
	struct index by_connection, by_session;
	struct index asked; /* of `asking` those that were, by session: at most one of each */
	struct watch spawner_watch;
	struct payer *payer;
	sd_event_source *timer;
	uint64_t next_serial;
	int spawner_fd;
	bool wanted;  /* the keeper was asked for a spawner */
	bool settled; /* what a predecessor left is */
	bool stopped;
};

/* NULL: it is one that has registered itself, too. */
static inline struct running *
running_of(const struct program *p)
{
	return p->record.flags & PROGRAM_REGISTERED ? NULL : (struct running *)(uintptr_t)p->entity.slots[1];
}

/* Of the program that is linked at I in what its session owns. */
static inline struct running *
running_at(struct list *i)
{
	return running_of(program_of(list_entry(i, struct entity, owner_link)));
}

/* How it is asked for. */
static inline uint32_t
start_flags(const struct running *r)
{
	return (r->program->record.flags & PROGRAM_KEPT ? START_KEEP : 0) |
		(r->program->record.flags & PROGRAM_SPARE ? START_SPARE : 0) |
		(r->program->record.entrypoint ? START_LATER : 0);
}

/* --- programs.c --- */

/* An error that the next broker may not meet, if it is one, ends this one. */
void programs_check(struct programs *programs, int e);

/* NULL: no memory. It has no init, and is not asked for. */
struct running *running_new(struct programs *programs, struct program *p);
/* Nobody asks about it any more. */
void running_unindex(struct running *r);
/* Its waiters are told; FIRST: as struct programs_ops has it. */
void running_resume(struct running *r, bool first);
void running_close_launch(struct running *r);
/* What follows from its end, or from that of who asked for it, is done when the model's hooks are over. */
void running_settle_later(struct running *r);

/* --- asking.c --- */

/* It is to be asked for (again). */
void programs_ask(struct running *r);
/* It is in no list, and asked for nowhere. */
void asking_leave(struct running *r);
/* Asks for those that can be asked for. */
void programs_pump(struct programs *programs);
/* The one of that id that was asked for at ABOVE, NULL: at the spawner, and has not come; NULL: none. */
struct running *asking_find(struct programs *programs, const struct init *above, uint64_t id);
/* It has, with an init for its session; or it will not. Takes what it uses. Returns: 0 or -errno. */
int asking_launched(struct programs *programs, struct running *r, int *launch_fd, int *init_fd);
int asking_failed(struct programs *programs, struct running *r, const struct process_record *record);
/* An init for that session, made by ABOVE or the spawner, is gone. */
void asking_ended(struct programs *programs, const struct init *above, uint64_t session);
void asking_lost(struct programs *programs, const struct init *above);
/* Returns: 0 or -errno. */
int asking_init(struct programs *programs);
void asking_stop(struct programs *programs);
void asking_deinit(struct programs *programs);

/* --- init.c --- */

/* Of what the spawner gave: the socket FD, taken on success. MEMO likewise. Returns: 0, EDQUOT, -errno. */
int init_new(struct programs *programs, struct session *s, int fd, struct memo *memo, struct init **ret);
struct init *init_find(struct programs *programs, const struct session *s);
/* One that a predecessor left, for struct endpoint_ops; DATA is struct programs. */
struct change;
struct adopted;
bool init_adopt(void *data, struct adopted *found);
/* Sends what there is to be sent. */
void init_pump(struct init *i);
/* The spare pair is to be given to nobody. */
void init_close_spare(struct init *i);
/* Takes what it has said, without waiting for the loop. I may be gone after it. */
void init_look(struct init *i);
/* Has it say all once more. */
void init_sync(struct init *i);
/* All of its processes are gone. Frees it. */
void init_lost(struct init *i);
struct init *init_free(struct init *i);
/* The end of that one is stored. */
void init_acknowledge(struct init *i, uint64_t thread);
/* Returns: 0, or -errno: -EAGAIN. */
int init_tell(struct init *i, enum process_type type, const struct running *r, int32_t signal, uint64_t cookie);

/* --- again.c --- */

/* What it is started with is kept, which the session pays for. */
void again_keep(struct running *r);
/* Is one that has ended as RECORD says, by this REPORT, to run again? RECORD then says when. */
bool again_is_wanted(const struct running *r, const struct process_record *report, struct program_record *record);
/* It waits for that. Returns: 0 or -errno. */
int again_wait(struct running *r);
/* Does it, and is that over? */
bool again_is_due(const struct running *r);
/* It is asked for. */
void again_asked(struct running *r);
/* Of a command that has run since it was asked for: has it not served? */
bool again_was_useless(const struct running *r);
void again_deinit(struct running *r);

/* --- heart.c --- */

/* It runs, and has to say that it is well if it was started so. Returns: 0 or -errno. */
int heart_start(struct running *r);
/* It does not run. */
void heart_stop(struct running *r);
void heart_deinit(struct running *r);

/* --- report.c --- */

/* What an init says of one of its programs is stored; only then it may forget. Returns: 0 or -errno. */
int report_running(struct running *r, pid_t pid);
/* All that it is started with is there, for when it is needed. */
int report_kept(struct running *r);
int report_end(struct running *r, const struct process_record *record);
/* One that was to run again is not to, for good. */
int report_given_up(struct running *r);
/* It cannot be started. */
int report_failed(struct running *r, enum process_step step, int error);
/* … and these are MISSING for that: enum process_controller. */
int report_missing(struct running *r, enum process_step step, int error, uint32_t missing);
/* Nobody waits for it (any more), and it is over: it goes. */
int report_drop(struct running *r);
/* So do those whom all that waited have looked at by now. Returns: 0 or -errno. */
int report_told(struct programs *programs);
/* Stages what a fault does beside being told, if RECORD is the end of P by one. Returns: 0 or -ENOMEM. */
int report_alarm(struct change *ch, const struct program *p, const struct program_record *record);
/*
 * The event of an end that RECORD says, with which it is to be stored. AGAIN: it will run again.
 */
void report_tell(const struct program *p, const struct program_record *record, bool again);

/* --- registered.c --- */

extern const struct endpoint_ops registered_ops;

/* Those that are to end do. */
void registered_leave(struct programs *programs);
/* S is being closed. */
void registered_changed(struct programs *programs, const struct session *s);
/* P goes. */
void registered_gone(const struct program *p);
/* P was found; unless its pair was as well, it is over. Returns: 0 or -errno. */
int registered_lost(struct programs *programs, struct program *p);
