/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first word of a client, by raw.h: the kernel says with it whose program it is to be. */
#pragma once

#include <sys/socket.h>

#include "wire/process.h"

#define HELLO_SEC 30 /* that a client has from the begin until all has come */

/*
 * A launch pair. The first end is the program's, where the kernel says of each message who has sent it; from the
 * begin, as it notes that when a message is sent. Returns: 0 or -errno, and the caller closes what is not -1.
 */
int hello_pair(int ret_pair[2]);

/* Ends this process when the client takes longer, with SIGALRM. */
void hello_set_deadline(unsigned sec);

/*
 * Waits for it on FD, and for the groups behind it, where SO_PASSCRED was on before anybody could send, and is off
 * from here on: with each packet that credentials come with, some descriptors would not. Returns: 0, an errno;
 * *RET_STEP, where.
 */
int hello_receive(int fd, const struct process_plan *plan, struct process_hello *ret, int *ret_step);

/*
 * The same for root, who takes nothing from that queue: the last reference to a descriptor that a client has put
 * there goes with the message, and its file may then take as long as it likes. Waits for HELLO_SEC, or until
 * the socket OTHER has no other end; for the groups, which come right behind it, until the deadline, which is set
 * then. Returns: likewise, ETIMEDOUT.
 */
int hello_peek(int fd, int other, const struct process_plan *plan, int *ret_step);
