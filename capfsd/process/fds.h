/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The numbers under which holder and brokers have their descriptors. They are the same in each broker and
 * in each binary that takes over, so they never change.
 *
 * They are arranged for the holder as it is born (holder/start.c); everything from
 * BOOT_FD_FIRST_FREE on is what brokers have opened, and is recognised by what it is, not by its
 * number.
 */
#pragma once

enum boot_fd {
	BOOT_FD_FUSE = 3,   /* /dev/fuse, non-blocking, INIT answered by the keeper */
	BOOT_FD_KEEPER = 4, /* SEQPACKET pair to the keeper */
	BOOT_FD_BINDER = 5, /* SEQPACKET pair to the binder; replaced when that dies */
	BOOT_FD_LOCK = 6,   /* the flock'ed file of the run directory, locked with this table */
	BOOT_FD_FIRST_FREE = 7, /* the service manager's listener, when there is one */
	BOOT_FD_FIRST_STORED = 8, /* from here on, what an earlier daemon has left */
};
