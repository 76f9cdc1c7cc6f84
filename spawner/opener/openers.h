/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The openers of an init's programs. The init keeps a duplicate of what the kernel asks by, so that
 * programs wait for the next opener when one has died, and are not told that there is no open(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

struct programs;

struct openers {
	struct list list;
	int fd;		   /* where programs that are about to execute send their listeners */
	const char *title; /* behind that of the process */
	int proc_fd;	   /* as of struct birthplace */
	struct programs *programs;
};

/* All is the caller's. *RET_FD is the programs' end, and is given to them. Returns: 0 or -errno. */
int openers_init(struct openers *all, const char *title, int proc_fd, struct programs *programs,
	int *ret_fd);

/* Takes what has come, and makes openers for it. */
void openers_receive(struct openers *all);

/* PID has ended. Returns: was it one of ours? */
bool openers_reaped(struct openers *all, pid_t pid, int status);
bool openers_have(const struct openers *all, pid_t pid);

/* Starts those that are to come after others, where their time has come. */
void openers_renew(struct openers *all);
/* When that is, by CLOCK_MONOTONIC; 0: there is none. */
uint64_t openers_due_msec(const struct openers *all);
