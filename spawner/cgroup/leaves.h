/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of control groups: a leaf for each session whose init the spawner makes, in the directory that was
 * delegated to it. Whoever is in it cannot leave it, as it belongs to the spawner's user, and all in it can be killed
 * at once; what is made by such an init is in the same leaf.
 *
 * A leaf is found by its name, and goes when nobody is in it any more, by what the kernel says of that; so a
 * spawner finds those of one before it as well. Nothing here waits for anybody.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

struct process_plan;

struct leaves {
	int directory; /* -1: none was delegated … */
	int error;     /* … or the one that was named cannot be used, which all are told then */
	int changes;   /* inotify(7): what becomes of them */
	int fd;	       /* epoll(7): there is something for leaves_look() */
	uint64_t n_made;
	struct list list;
};

/* Of a new leaf; the descriptors are the caller's. */
struct leaf_made {
	uint64_t number;
	int directory;
	int kill;   /* to end all who are in it; -1: before Linux 5.14 */
	int events; /* says whether anybody is */
};

/*
 * In the directory that is given by PATH, as delegated_open() has it; takes up those that are there. Returns: 0, also where none was;
 * -errno, which all are told who would have been in PATH.
 */
int leaves_init(struct leaves *all, const char *path);
/* What is empty, or is so within MSEC, goes. */
void leaves_deinit(struct leaves *all, int msec);

/*
 * Makes one with the limits of PLAN. Returns: 0: all of RET is -1 where there are no control groups; -EOPNOTSUPP:
 * *RET_MISSING, enum process_controller, are not there for that; -errno.
 */
int leaves_make(struct leaves *all, const struct process_plan *plan, struct leaf_made *ret, uint32_t *ret_missing);
void leaf_made_close(struct leaf_made *m);

/* It is PID that the others of LEAF end with, also for a later spawner. */
void leaves_note(struct leaves *all, uint64_t number, pid_t pid);
/* Nobody was ever in it. 0 is none. */
void leaves_drop(struct leaves *all, uint64_t number);
/* Its init is gone, and so is everybody else in it; then it goes. 0 is none. */
void leaves_end(struct leaves *all, uint64_t number);
void leaves_look(struct leaves *all);

/* VALUE for FILE of the leaf at DIRECTORY, if it has CONTROLLER. Returns: 0, -EOPNOTSUPP, -errno. */
int leaf_limit(int directory, const char *controller, const char *file, uint64_t value);
