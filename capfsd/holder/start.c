/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the keeper makes a holder: a child with exactly the descriptors that it is to have. It runs
 * in the keeper up to fork(2), and in the child until holder_main(); it owns nothing after that,
 * and reads from nobody.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/holder/holder.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"

/* Only the last one may be missing, as those behind it would get other numbers. */
#define N_FDS (BOOT_FD_FIRST_STORED - BOOT_FD_FUSE)
_Static_assert(N_FDS <= CHILD_FDS_MAX, "child_arrange() has room for them");

/*
 * Descriptors are arranged while the child may still do everything, then privilege goes. A holder
 * that could not drop it must not be, since its brokers would serve clients as root. The boot block
 * is copied, as the page that the holder sets in it is of no concern to the keeper.
 */
static void __attribute__((noreturn))
run(const struct boot *boot, const struct holder_fds *fds, int keeper_fd, pid_t parent)
{
	const int wanted[N_FDS] = {
		[BOOT_FD_FUSE - BOOT_FD_FUSE] = fds->fuse,
		[BOOT_FD_KEEPER - BOOT_FD_FUSE] = keeper_fd,
		[BOOT_FD_BINDER - BOOT_FD_FUSE] = fds->binder,
		[BOOT_FD_LOCK - BOOT_FD_FUSE] = fds->lock,
		[BOOT_FD_FIRST_FREE - BOOT_FD_FUSE] = fds->activation,
	};
	struct boot own = *boot;
	int r;

	child_reset_signals();
	confine_title(boot, HOLDER_TITLE);
	r = child_arrange(wanted, fds->activation < 0 ? N_FDS - 1 : N_FDS, fds->sockets, fds->n_sockets);
	if (r == 0)
		r = confine_drop(boot, parent);
	if (r == 0)
		r = confine_family(&own);
	if (r < 0) {
		log_message(LOG_ERR, "holder: cannot drop privileges: %s", strerror(-r));
		_exit(BROKER_EXIT_RESTART);
	}
	_exit(holder_main(&own));
}

/*
 * The child never returns from here. The keeper's end of the pair does not block it, and hangs up
 * only when neither holder nor broker has the other one: that is how it knows that nobody is at the
 * store any more.
 */
pid_t
holder_start(const struct boot *boot, const struct holder_fds *fds, int *ret_fd)
{
	pid_t parent = getpid(), pid;
	int fd;

	pid = child_fork(SOCK_SEQPACKET | SOCK_NONBLOCK, &fd);
	if (pid == 0)
		run(boot, fds, fd, parent);
	if (pid > 0)
		*ret_fd = fd;
	return pid;
}

bool
holder_end_is_final(int status, int *ret_exit_status)
{
	switch (WIFEXITED(status) ? WEXITSTATUS(status) : BROKER_EXIT_RESTART) {
	case BROKER_EXIT_STOPPED:
	case BROKER_EXIT_UNMOUNTED:
		*ret_exit_status = EXIT_SUCCESS;
		return true;
	case BROKER_EXIT_REFUSED:
		*ret_exit_status = EXIT_FAILURE;
		return true;
	default:
		return false;
	}
}

void
holder_log_end(int status, bool kept)
{
	bool was_ended = WIFSIGNALED(status);
	int number = was_ended ? WTERMSIG(status) : WEXITSTATUS(status);

	log_event(LOG_WARNING,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_HOLDER_LOST},
			{was_ended ? "CAPFS_SIGNAL" : "CAPFS_STATUS", NULL, (uint64_t)number}),
		"the holder %s %d: %s", was_ended ? "was ended by signal" : "ended with status", number,
		kept ? "systemd is to start the daemon again, with what it keeps"
		     : "connections are lost, starting another");
}
