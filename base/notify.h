/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sd_notify(3) without libsystemd; and the service manager's side of it, for who starts a child and waits for
 * its READY=1. The name of that socket is one that everybody can find and send to: only the child's own word is given out, and no
 * descriptor is taken, as what is closed here may have us sleep.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* Where PATH, a $NOTIFY_SOCKET, leads; a name that begins with "@" is abstract. Returns: 0, -ENAMETOOLONG. */
int notify_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_n);

/*
 * Tells the service manager at $NOTIFY_SOCKET, as sd_notify(3) does; without one it does nothing.
 * Returns: 0 or -errno.
 */
int notify(const char *state);

/* Listens, and says where in $NOTIFY_SOCKET. Returns: the socket, which does not block; -errno. */
int notify_listen(void);

/*
 * What CHILD has said, with a NUL behind it, in TEXT of SIZE bytes; what is longer is cut off. Returns: its
 * length, 0: nothing came, or it was somebody else's.
 */
size_t notify_receive(int fd, pid_t child, char *text, size_t size);

/* Is READY=1 a line of TEXT? */
bool notify_is_ready(const char *text);
