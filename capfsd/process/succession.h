/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a process of the daemon tells the binary that it becomes by execve(2): a sealed memfd with
 * blocks of fixed layout. Keeper and holder keep their pids, their children and their descriptors, so
 * numbers mean the same before and after.
 *
 * The other binary may be of another version, older or newer: each block carries its length, and
 * struct boot, struct boot_page and struct succession grow at their ends only; what a shorter block does
 * not have reads as 0. A change that this cannot express raises SUCCESSION_VERSION: the upgrade is then
 * refused before anything is stopped.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/process/boot.h"
#include "capfsd/process/mounts.h"

#define SUCCESSION_VERSION 1

enum succession_role {
	SUCCESSION_TRY = 1,
	SUCCESSION_HOLDER,
	SUCCESSION_KEEPER,
	SUCCESSION_MOUNT, /* about a mount that is left to a later daemon: for no process */
};

struct succession {
	uint32_t role;
	pid_t self;          /* whom it is for; 0: a try, a mount */
	pid_t parent;        /* of a holder: the keeper */
	uint32_t generation; /* how many times a holder was told to become another binary */
	/* of the keeper: */
	int32_t lock_fd;    /* the lock of the run directory */
	int32_t state_fd;   /* the lock of the state directory */
	int32_t fuse_fd;    /* a duplicate: lets a new holder go on where a dead one was */
	int32_t peer_fd;    /* to the broker; hung up when neither holder nor broker is left */
	int32_t program_fd; /* the program that the writer runs, which is the way back */
	pid_t holder, binder;
	char binary[PATH_MAX];     /* where a program was installed when the daemon was started */
	char mountpoint[PATH_MAX]; /* for all: the log tells it */
	char device[MOUNTS_FIELD_BYTES];
	int32_t activation_fd; /* the service manager's listener, or -1 */
	/* of the keeper, by minder/start.c: */
	pid_t minder;       /* 0: none, and the next two mean nothing */
	int32_t minder_fd;  /* the pair to it */
	int32_t spawner_fd; /* the file of the listener that it has */
	uint32_t spawner_missed; /* that there is no spawner was said */
	uint32_t spawner_wanted; /* a broker waits for a connection to it */
};

/* For one that names no descriptors yet, as 0 would be one. */
#define SUCCESSION_NO_FDS                                                                          \
	.lock_fd = -1, .state_fd = -1, .fuse_fd = -1, .peer_fd = -1, .program_fd = -1,             \
	.activation_fd = -1

/*
 * Writes H, BOOT and its page, if it has one. Returns: a memfd, to be kept over execve(2); -errno.
 */
int succession_write(const struct succession *h, const struct boot *boot);

/*
 * Believes nothing that is not a sealed memfd, of this version, and for this process and ROLE.
 * boot->page is PAGE, where PAGE is given, and boot->title is empty. FD stays the caller's.
 * Returns: 0; -EPROTO (another version), -EINVAL (no such thing), another -errno.
 */
int succession_read(int fd, enum succession_role role, struct succession *ret, struct boot *ret_boot,
	struct boot_page *page);

/*
 * The descriptors of a keeper's H stay open over execve(2), or do not; those that are -1 are none.
 * Returns: 0; -errno, also when one of them is not open.
 */
int succession_pass(const struct succession *h, bool on);

/* Logs as the binary of before did. H must stay. */
void succession_log(const struct succession *h, const struct boot *boot);

/*
 * Becomes the program BINARY (a descriptor), in ROLE, with what SUCCESSION says. Both are closed by it.
 * ARGV is what follows the internal argument, argv[0] first. Returns: -errno.
 */
int succession_exec(int binary, int succession, enum succession_role role, char *const *argv);

/*
 * Was this program started by succession_exec()? Then *RET_FD is set, and the internal argument has
 * left ARGV and the memory that ps shows. Returns: the role, 0: no; -EINVAL.
 */
int succession_argument(int *argc, char *argv[], int *ret_fd);
