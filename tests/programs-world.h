/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The session `app` of a world, whose spawner and init are played. */
#pragma once

#include "tests/sockets-web.h"
#include "wire/process.h"

extern struct session *app;
extern int control, spawner, init; /* -1: there is none */
extern int played_room;		   /* bytes that an init leaves unread; 0: as many as usual */

void played_pair(int ret[2]);
struct quota played_used(void);
/* app has a uid and a quota; its control client is there, and neither spawner nor init. */
void played_begin(void);
/* app again, after a restart. */
void played_find(void);
/* A spawner. */
void played_come(void);
/* What was said at FD; 0: nothing. */
uint32_t played_said(int fd, struct process_record *ret, struct process_plan *ret_plan);
void played_tell(int fd, const struct process_record *record, const int *fds, size_t n);
void played_report(int fd, enum process_type type, uint64_t thread, int first, int second);
/* A process of its own says this, and goes on; its end. */
pid_t played_say(int fd, const struct process_record *record);
void played_end(pid_t pid);
/* Gives the first program's ends, of `init` too. Returns: the program's end of the launch pair. */
int played_launch_first(uint64_t thread);
int played_launch_next(uint64_t thread);
void played_ask(enum wire_op op, const char *path, uint64_t offset, const char *text);
bool played_is_answered(void);
const char *played_info(const char *thread);
/* A program that runs; its id is ID. Returns: its name. */
const char *played_run(const char *words, uint64_t *id);
