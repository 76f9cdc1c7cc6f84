/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that opens sockets' nodes for a program that asked for it, and for what that starts:
 * a filter has the kernel ask here before open(2) for reading and writing. It has the program's
 * user, namespaces and root and nothing that the program has not, so that nothing can be had by it
 * that could not be had by connect(2); and it is none of those that may not be held up.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdint.h>

#define OPENER_WORKERS_MAX 32 /* as many opens may wait for somebody before others have to */

/*
 * What was asked and is not answered; id 0: nothing. Shared with the init and with who comes after
 * this one, who answers it then: the kernel does not ask twice.
 */
struct opener_page {
	struct opener_asked {
		struct seccomp_notif notif;
		uint64_t socket; /* the inode of what the program is being given, which it may have by now; 0: of nothing */
	} asked[OPENER_WORKERS_MAX];
};

/* PROC: a /proc of our namespaces. Ends when no program is left that could ask. */
void opener_main(int listener, int proc, struct opener_page *page) __attribute__((noreturn));
