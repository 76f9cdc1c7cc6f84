/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the processes of programs: how they are asked for at the spawner and at the inits of sessions,
 * and what those say of them (wire/process.h). A session with programs has one init, whose socket stays open in
 * the holder's table when a broker dies, so that each broker goes on where the one before it was; the
 * connection to the spawner is made anew.
 *
 * It owns these sockets, and the ends of launch pairs until a client has its own. It never reads what a client
 * wrote, and no descriptor of a client's passes here. What is known of a program stands in the model
 * (kinds/program.h), and changes before an init is told that it is known: so nothing is lost with a broker.
 * control/ calls it, and is told by struct programs_ops; broker/ joins it to the keeper.
 *
 *	programs	all of them, the spawner, what a predecessor left
 *	init		the init of one session: what is asked of it, and what it says
 *	again		when one that has ended runs once more
 *	heart		those that have to say that they are well
 *	report		what has become of a program, in the model
 *	registered	threads of processes that were not started by the daemon
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct change;
struct program;
struct program_record;
struct programs;
struct session;
struct sockets;

struct programs_ops {
	/*
	 * Something has become of what this one, of programs_wait(), waits for; it stays in that list until it looks.
	 * FIRST: it is the end of a program, which whoever waits for it is told before anybody can read of it in a log.
	 */
	void (*resume)(void *data, struct list *waiter, bool first);
	/*
	 * Nobody but this one waits for a program that has ended (programs_end()) and was asked for by CONNECTION. If that
	 * is who waits it may take the end, by which the program goes, before this returns; else it is told as all are.
	 */
	void (*end)(void *data, struct list *waiter, uint64_t connection);
	/* The broker is to ask the keeper for a connection to the spawner. */
	void (*want_spawner)(void *data);
};

/* SOCKETS outlive it. Returns: 0 or -errno. */
int programs_new(struct sockets *sockets, struct programs **ret);
void programs_set_ops(struct programs *programs, const struct programs_ops *ops, void *data);
/* The inits and their programs stay, for the next broker. May be NULL. Returns: NULL. */
struct programs *programs_free(struct programs *programs);
/* All of them end, for good. */
void programs_stop(struct programs *programs);

/* The keeper's reply: a connection to the spawner, or -1: there is none to be had. Takes FD. */
void programs_set_spawner(struct programs *programs, int fd);

/* Has S an init, so that one process less is needed for the next program? */
bool programs_has_init(const struct programs *programs, const struct session *s);
/*
 * The client's end of the launch pair of S's next program, which is the caller's from here on; -1: there is none in
 * advance. Or it was not given to anybody: takes FD.
 */
int programs_take_spare(struct programs *programs, const struct session *s);
void programs_return_spare(struct programs *programs, const struct session *s, int fd);
/* A new one is in the model: it is asked for. */
void programs_start(struct programs *programs, struct program *p);
/* The one that the request SERIAL of this connection has made. NULL: none. */
struct program *programs_find(struct programs *programs, uint64_t connection, uint64_t serial);
/* The client's end of P's launch pair, which is the caller's from here on; -1: it is not there (yet). */
int programs_take_launch(struct program *p);
/* It was not given to anybody. Takes FD. */
void programs_return_launch(struct program *p, int fd);
/* P has failed, and who asked for it is told: it goes. Returns: 0 or -errno. */
int programs_forget(struct program *p);
/*
 * WAITER is in a list of P's until something becomes of that, or it is unlinked. Returns: false: there was no
 * memory for P.
 */
bool programs_wait(struct program *p, struct list *waiter);
/*
 * How P has ended, which is not stored yet: whoever takes it stages that, and P's end with it. NULL: it has not, or not
 * for who asked for it alone.
 */
const struct program_record *programs_end(const struct program *p);
/* Returns: 0 or -errno. */
int programs_stage_end(struct change *ch, const struct program *p);
/*
 * P has ended, and who asked for it is told. Others wait for it: then it goes when these are told, too. Stages that
 * nobody else asks about it. Returns: 0 or -ENOMEM.
 */
bool programs_is_awaited(const struct program *p);
int programs_stage_told(struct change *ch, struct program *p);
/* … and that is committed. */
void programs_told(struct program *p);

/* The control connection with this cookie is there, as before a broker died; or it has ended. */
void programs_connection_found(struct programs *programs, uint64_t connection);
void programs_connection_ended(struct programs *programs, uint64_t connection);

/*
 * A thread that registers itself, yet without a program in the model, and the end of a pair on which it is to speak,
 * which is the caller's. Returns: 0 or -errno: -EOPNOTSUPP, this kernel cannot say who speaks there.
 */
#define REGISTERED_SOCKETS 2 /* what it costs beside its thread: its pair and its process are a descriptor each */
struct registered;
int registered_new(struct programs *programs, struct registered **ret, int *ret_fd);
/* Stages what a later broker knows it by. Returns: 0 or -ENOMEM. */
int registered_stage(struct registered *r, struct change *ch, const struct program *p);
/* P is in the model: R is its. */
void registered_publish(struct registered *r, struct program *p);
/* There will be none. May be NULL. Returns: NULL. */
struct registered *registered_free(struct registered *r);

/*
 * Who has heard from its program that it runs shall find that it does: what inits have said of this
 * connection's programs is heard now. Returns: false: others have to be told of that before this connection is
 * told anything.
 */
bool programs_catch_up(struct programs *programs, uint64_t connection);

/* The model's hooks of these names. */
struct entity;
int programs_commanded(struct program *p, unsigned type, uint64_t value);
void programs_well(struct program *p);
void programs_changed(struct programs *programs, const struct entity *e);
void programs_gone(struct programs *programs, const struct entity *e);
