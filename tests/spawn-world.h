/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A session whose daemon the test plays, a half-started program, and what is given to that. */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#include "libcap-client/cap-client.h"
#include "tests/played-daemon.h"
#include "tests/played-program.h"

#define FILES 50

extern struct played d;
extern struct played_program program; /* set up before it is answered with */
extern capc_thread *thread;	      /* what spawn() has made … */
extern char *reason;		      /* … or the reason why not */
extern int files[FILES];
extern int table[HELLO_FDS_MAX + 1]; /* of these, in an order that repeats itself late */
extern char *const true_argv[];

/* With the fixture. */
void spawn_setup(void);
void spawn_teardown(void);

/* Forgets the last start. */
void next_program(void);

void become_nobody(void);
void make_files(void);
void close_files(void);

/* The daemon will answer that it has half started the program, for whom it is, or for this user. */
void answer_as(unsigned uid, unsigned gid);
void answer(void);
int spawn(const struct capc_spawn *p, uint64_t timeout);

/* Starts it and expects that it runs. */
void starts(const struct capc_spawn *p);

/* The daemon was told to forget what failed, after it was told to KILL it or not. */
void was_given_up(bool kill);

void remember_table(void);
void table_is_as_before(void);

/* The program got these. */
void has_bytes(const char *bytes, size_t n);
void has_files(size_t n);
