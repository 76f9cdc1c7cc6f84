/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system calls that each process of the daemon has left. Each acts on the calling process, for good, and
 * needs no_new_privs or CAP_SYS_ADMIN. Return: 0 or -errno, upon which the caller must end.
 */
#pragma once

/*
 * The broker: what it takes to use the descriptors that it has and gets; nothing that opens, connects,
 * executes, or sends a signal to others.
 */
int filter_broker(void);

/* The binder, where it stands on the mount, and its inspectors, who need much less. */
int filter_binder(void);
int filter_inspector(void);

/*
 * The keeper, the holder, and whatever these become or fork: not what neither this version nor another
 * has a use for.
 */
int filter_family(void);
