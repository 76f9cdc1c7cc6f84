/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the holder: the process that keeps the table of descriptors over the deaths of brokers.
 *
 * It owns the table, the page that it shares with its brokers, and the broker that is running: it starts
 * one, watches whether it turns its loop, and starts the next one when it has ended. For an upgrade it
 * becomes another binary, of which only the keeper can say which. It reads no client's bytes, looks at no
 * descriptor but the keeper's, never opens the state, and never gives up as long as the state can be used.
 *
 * holder_start() is called by the keeper, holder_resume() by main() where execve(2) has made this program
 * of a holder. Nobody else calls into this room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct boot;

#define HOLDER_TITLE "capfs-holder" /* what ps shows */

/* What a holder is born with. All of them stay the caller's. */
struct holder_fds {
	int fuse;
	int lock;
	int activation; /* the service manager's listener, or -1 */
	int binder;     /* the broker's end of the pair to the binder */
	const int *sockets; /* of an earlier daemon: ascending, from BOOT_FD_FIRST_STORED on */
	size_t n_sockets;
};

/* Starts one; *RET_FD is the keeper's end of the pair to it. Returns: its pid, or -errno. */
pid_t holder_start(const struct boot *boot, const struct holder_fds *fds, int *ret_fd);

/*
 * Does this wait status end the daemon, and with which status? The broker has logged why. To start another holder
 * would not help: it was told to stop, nobody can reach it, or it refuses a state that will be the same next time.
 */
bool holder_end_is_final(int status, int *ret_exit_status);

/* Says that one has ended, with this wait status; KEPT: systemd has what it had. */
void holder_log_end(int status, bool kept);

/* What it runs. Returns: the exit status, one of enum broker_exit. */
int holder_main(struct boot *boot);

/* The same; FD is the succession that the holder of before has written. */
int holder_resume(int fd, int argc, char *argv[]);
