/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the sockets that are bound on the mount, and of what there is to know about any socket:
 * records and copies, by which all of them outlive the broker, and the descriptors in flight. Called
 * by the users of sockets (sockets/, control/, conversation/), whom it tells by struct endpoint_ops
 * alone. It reads no byte of anybody, but counts and closes.
 *
 * This is what its modules stand on: the one object that each of them is given, and the loop. It knows
 * none of them: each has its state behind a pointer of its own, and nobody else looks into that.
 * Includes run one way:
 *
 *	record, spares <- core, endpoint <- drain <- memos, listener <- doomed, jobs, inspections <- binding
 *
 * What runs inside a hook of the model must not start a change: records are then dropped later, by
 * struct memo.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "capfsd/listeners/record.h"
#include "capfsd/model/entity.h"

struct adopted;
struct boot;
struct channels;
struct connections;
struct counts;
struct disposal;
struct inspections;
struct jobs;
struct listener;
struct listeners;
struct memo;
struct memos;
struct model;
struct served;
struct session;
struct spares;
struct state;
struct watch;
struct watches;

/*
 * Who uses sockets: what is served at the listeners of one kind of entity, and what becomes of
 * records of one kind of socket. Members that are NULL are skipped. All run from the loop or from a
 * hook of the model; none may free the listener that it is given.
 */
struct endpoint_ops {
	enum entity_kind entity; /* whose listeners are this user's; 0: none */
	enum socket_kind socket; /* whose records are; 0: none */

	/* Somebody connected to L. Takes FD. */
	void (*accepted)(void *data, struct listener *l, int fd);
	/* L has a socket, or ERROR instead. */
	void (*bound)(void *data, struct listener *l, int error);
	/* L ends, and so must one of its clients, if there is any: it leaves L by listener_unlink(). */
	void (*gone)(void *data, struct listener *l);
	/*
	 * What was missing may be there again: descriptors, memory, room in flight, what was
	 * reaped.
	 */
	void (*resume)(void *data);
	/*
	 * A predecessor left this: a socket with a record of kind `socket`, or one without a
	 * record. Takes what it uses out of FOUND. Returns: was it this user's?
	 */
	bool (*adopt)(void *data, struct adopted *found);
};

/* What a predecessor left: a socket, its record, and what belongs to that. */
struct adopted {
	enum socket_kind kind; /* 0: it has no record; then only `fd` is set */
	struct memo *memo;
	int fd;
	int reply_fd;	  /* whose cookie stands in the record, -1: none */
	const char *text; /* what followed the record in the store */
	size_t n_text;
};

/* What the file system is told. */
struct sockets_fs {
	void (*socket_done)(void *data, struct entity *e, int error);
	void (*socket_invalidate)(void *data, struct entity *e);
	/* May somebody connect to E's node without looking its name up? */
	bool (*socket_is_known)(void *data, struct entity *e);
};

#define USERS_MAX 8

struct sockets {
	struct model *model;
	struct state *state;
	const struct boot *boot;
	sd_event *event;
	const struct sockets_fs *fs;
	void *fs_data;

	/* One for each module, whose own it is. */
	struct memos *memos;
	struct spares *spares; /* NULL: nobody keeps copies for us */
	struct disposal *disposal;
	struct listeners *listeners;
	struct inspections *inspections;
	struct jobs *jobs;
	struct channels *channels;
	struct counts *counts;
	struct connections *connections;
	struct served *served;

	/* The rest is core.c's. */
	struct {
		const struct endpoint_ops *ops;
		void *data;
	} users[USERS_MAX];
	unsigned n_users;
	struct list endpoints; /* of struct endpoint */
	struct list draining;  /* drain.c's */
	struct turns *turns;
	struct watches *watches;
	sd_event_source *retry_timer;
	sd_event_source *retire_timer; /* binding.c's */
	/* Descriptors in flight to servers, of which the kernel allows a user only so many. */
	size_t n_inflight, n_inflight_max;
	size_t n_idle_max;     /* listeners without clients that are kept */
	uint64_t logged_usec;  /* of the last complaint about descriptors, memory or the store */
	bool stopped;	       /* nothing new is accepted */
	bool forgetting;       /* descriptors and records stay for the next broker */
};

/* Limits and the retry timer. Returns: 0 or -errno. */
int core_init(struct sockets *sockets);
void core_deinit(struct sockets *sockets);

/* OPS are told of what is theirs, in the order in which they were added. */
void core_add_user(struct sockets *sockets, const struct endpoint_ops *ops, void *data);
void core_remove_user(struct sockets *sockets, const struct endpoint_ops *ops);
/* Gives FOUND to whoever can use it. Returns: did anybody? */
bool core_adopt(struct sockets *sockets, struct adopted *found);
/* Frees the memory of L, but not before its user knows of the client of whom it is being told. */
void core_drop(struct listener *l);
/*
 * Tells the user of the listeners of KIND, of which L is one. Of a client: returns: is L still there? The user may have
 * found that the server has gone.
 */
bool core_tell_accepted(struct sockets *sockets, enum entity_kind kind, struct listener *l, int fd);
void core_tell_bound(struct sockets *sockets, enum entity_kind kind, struct listener *l, int error);
void core_tell_gone(struct sockets *sockets, enum entity_kind kind, struct listener *l);
/* Tells everybody. */
void core_resume(struct sockets *sockets);
/* The same after USEC, unless it is going to be sooner. */
void core_resume_later(struct sockets *sockets, uint64_t usec);

/*
 * Watches the socket FD in the turns of S (watch_add()); systemd may be given a copy of it. Returns:
 * 0 or -errno.
 */
int core_watch(struct sockets *sockets, struct watch *w, struct session *s, int fd,
	uint32_t events, bool (*f)(void *data), void *data);
/* What the binder says of something that is being closed. */
struct binder_result;
void core_disposal_told(struct sockets *sockets, const struct binder_result *result);
/* The session of that id; the root, where it has ended. */
struct session *core_session(const struct sockets *sockets, uint64_t id);
uint64_t core_now(const struct sockets *sockets);
/* As socket_discard(), but when all is only forgotten. Returns: -1. */
int core_close(struct sockets *sockets, int fd, struct session *s);

/* An error that the next broker may not meet: ends the loop. -ENOMEM and -ENOSPC do not. */
void core_fail(struct sockets *sockets, int error);
/* May something that happens all the time be said in the log now? */
bool core_may_complain(struct sockets *sockets);

/* May N more descriptors be sent to servers now? */
bool core_may_fly(const struct sockets *sockets, size_t n);
void core_fly(struct sockets *sockets, size_t n);
/* They were taken, or are gone. */
void core_landed(struct sockets *sockets, size_t n);

/* The capability of that object, or the session when OBJECT is 0. NULL: there is none. */
struct entity *core_named(struct sockets *sockets, uint64_t object, uint64_t capability);

/*
 * Shuts FD down and closes it, or has it closed, where it is not empty, by somebody who may sleep over that:
 * then S pays (capfsd/disposal). Returns: -1.
 */
int socket_discard(struct sockets *sockets, int fd, struct session *s);
/* Returns: 0 or -errno. */
struct ucred;
int socket_peer(int fd, struct ucred *ret);
bool socket_is_listening(int fd);
/* Is it one end of a pair? Its peer credentials are who made that. */
bool socket_is_paired(int fd);
/*
 * Gives F one that has come to the listener FD. Returns: 0; EAGAIN: nobody has; another errno when
 * there is no descriptor or memory to accept with; -errno when it does not listen any more.
 */
int socket_accept_one(int fd, void (*f)(void *data, int client), void *data);
