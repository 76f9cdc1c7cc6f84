/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the holder: the process that keeps the table of descriptors over the deaths of brokers.
 *
 * It owns the table, the page that it shares with its brokers, and the broker that is running: it starts
 * one, watches whether it turns its loop, and starts the next one when it has ended. For an upgrade it
 * becomes another binary, of which only the keeper can say which. It reads no client's bytes, looks at no
 * descriptor but the keeper's, never opens the state, and never gives up as long as the state can be used.
 *
 * holder_main() is called by the child that the keeper makes for it (keeper/children.c), holder_resume()
 * by main() where execve(2) has made this program of a holder. Nobody else calls into this room.
 */
#pragma once

struct boot;

/* Returns: the exit status, one of enum broker_exit. */
int holder_main(struct boot *boot);

/* The same; FD is the succession that the holder of before has written. */
int holder_resume(int fd, int argc, char *argv[]);
