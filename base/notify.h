/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager's side of sd_notify(3), for who starts a child and waits for its READY=1. The name of
 * the socket is one that everybody can find and send to: only the child's own word is given out, and no
 * descriptor is taken, as what is closed here may have us sleep.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Listens, and says where in $NOTIFY_SOCKET. Returns: the socket, which does not block; -errno. */
int notify_listen(void);

/*
 * What CHILD has said, with a NUL behind it, in TEXT of SIZE bytes; what is longer is cut off. Returns: its
 * length, 0: nothing came, or it was somebody else's.
 */
size_t notify_receive(int fd, pid_t child, char *text, size_t size);

/* Is READY=1 a line of TEXT? */
bool notify_is_ready(const char *text);
