/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Can this binary go on with what another one does? Asked before that is stopped, in a process of
 * the daemon's user: it reads the succession, loads a copy of the state, and replays INIT. Its exit
 * status is what the keeper learns. It has neither /dev/fuse nor the store, so that a binary that
 * does something else, or dies half-way, harms nothing. try_start() is called by the upgrade, in
 * the keeper; try_main() by main().
 */
#include "config.h"

#include "capfsd/broker/try.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/broker/loading.h"
#include "capfsd/fs/fs.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/records.h"
#include "capfsd/process/succession.h"

#define COPY_MSEC 30000 /* half of what the upgrade gives to the whole trial */

/*
 * The broker's copy of the state. It comes when the broker has time for it, or never, if that has
 * died: then the upgrade can be tried again. Returns: the memfd, -errno.
 */
static int
receive_copy(int socket)
{
	struct pollfd p = {.fd = socket, .events = POLLIN};
	size_t n_fds;
	char byte;
	int fd, r;

	do
		r = poll(&p, 1, COPY_MSEC);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return -ETIMEDOUT;
	if (msg_receive(socket, &byte, 1, &fd, 1, &n_fds, MSG_DONTWAIT) != 1 || n_fds != 1)
		return -EBADMSG;
	return fd;
}

/*
 * All that a broker does before it serves, and that can fail for another version: a record that it
 * does not know, an INIT that it would reply to in another way. Returns: 0, BROKER_EXIT_REFUSED,
 * -errno.
 */
static int
try_state(const struct boot *boot, int copy)
{
	struct state *state = NULL;
	struct model *model = NULL;
	struct fs *fs = NULL;
	int r;

	r = loading_copy(boot, copy, &state, &model);
	if (r == 0)
		r = fs_new(model, state, boot, NULL, NULL, NULL, &fs);
	if (r == 0)
		r = fs_replay_init(fs);
	if (r == -EPROTO) {
		log_message(LOG_ERR, "the kernel is served in another version's way");
		return BROKER_EXIT_REFUSED;
	}
	return r;
}

int
try_main(int fd)
{
	static struct boot_page page;
	static struct succession succession;
	static struct boot boot;
	cleanup_close int copy = -1;
	int r;

	/*
	 * First of all: execve(2) has made us dumpable, and the copy has everybody's rights in it.
	 */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return BROKER_EXIT_REFUSED;
	r = succession_read(fd, SUCCESSION_TRY, &succession, &boot, &page);
	/* Its number is the one of /dev/fuse elsewhere, where nothing of ours may be. */
	if (r == 0 && fd != BOOT_FD_FUSE)
		r = -EINVAL;
	if (r < 0) {
		log_message(LOG_ERR, "cannot take over: %s",
			r == -EPROTO ? "the running version hands over in another way"
				     : strerror(-r));
		return BROKER_EXIT_REFUSED;
	}
	succession_log(&succession, &boot);
	close(fd);
	/* The number is taken by something harmless: what libfuse does with it reaches nobody. */
	if (open("/dev/null", O_RDWR | O_CLOEXEC) != BOOT_FD_FUSE)
		return BROKER_EXIT_REFUSED;
	copy = receive_copy(BOOT_FD_KEEPER);
	r = copy < 0 ? copy : try_state(&boot, copy);
	if (r < 0)
		log_message(LOG_ERR, "cannot take over: %s", strerror(-r));
	return r == 0 ? TRY_EXIT_GOOD : BROKER_EXIT_REFUSED;
}

/*
 * The program is not trusted with anything before it has run: it gets a socket, the succession, and
 * the daemon's user, where the keeper itself may be root.
 */
static void __attribute__((noreturn))
run(const struct boot *boot, int binary, int succession, int socket_fd, pid_t parent)
{
	const int wanted[] = {succession, socket_fd, binary};
	const int first = STDERR_FILENO + 1;
	char *const argv[] = {(char[]){"capfs-try"}, NULL};
	int r;

	child_reset_signals();
	r = child_arrange(wanted, 3, NULL, 0);
	if (r == 0)
		r = confine_drop(boot, parent);
	if (r == 0)
		r = fd_set_cloexec(first + 1, false);
	if (r == 0)
		r = succession_exec(first + 2, first, SUCCESSION_TRY, argv);
	log_message(LOG_ERR, "cannot try the installed binary: %s", strerror(-r));
	_exit(EXIT_FAILURE);
}

/*
 * The child has the only other end of the socket: when it ends, a broker that comes too late just
 * fails to send.
 */
pid_t
try_start(const struct boot *boot, const char *mountpoint, int binary, int *ret_socket)
{
	static struct succession succession;
	cleanup_close int fd = -1;
	pid_t parent = getpid(), pid;
	int socket;

	succession = (struct succession){.role = SUCCESSION_TRY};
	snprintf(succession.mountpoint, sizeof(succession.mountpoint), "%s", mountpoint);
	fd = succession_write(&succession, boot);
	if (fd < 0)
		return fd;
	pid = child_fork(SOCK_SEQPACKET, &socket);
	if (pid == 0)
		run(boot, binary, fd, socket, parent);
	if (pid > 0)
		*ret_socket = socket;
	return pid;
}
