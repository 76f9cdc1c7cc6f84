/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the holder becomes another binary and keeps its table: descriptors stay open under their
 * numbers, which is all that the next program finds them by. It owns nothing. The page of the
 * brokers goes along as a copy in the succession. Called by the holder alone, while no broker
 * lives.
 */
#include "config.h"

#include "capfsd/holder/become.h"

#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/holder/holder.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/journal.h"
#include "capfsd/process/succession.h"

/*
 * All descriptors of the table are closed on exec from birth, so that none of them leaks into any
 * program: they are made to stay for this one. The binary itself is left out, as nobody needs it
 * once it runs.
 */
static int
set_inherited(bool on, int binary)
{
	cleanup_free int *fds = NULL;
	size_t n;
	int r = fd_list(&fds, &n);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (fds[i] > STDERR_FILENO && fds[i] != binary)
			r = fd_set_cloexec(fds[i], !on);
	return r;
}

/* When execve(2) fails all are closed on exec again, and the holder goes on with this binary. */
int
become_binary(const struct boot *boot, int binary, uint32_t generation)
{
	char *const argv[] = {(char[]){HOLDER_TITLE}, NULL};
	struct succession succession = {
		.role = SUCCESSION_HOLDER,
		.self = getpid(),
		.parent = getppid(),
		.generation = generation,
	};
	cleanup_close int fd = -1;
	int r;

	if (journal_get_mount())
		snprintf(succession.mountpoint, sizeof(succession.mountpoint), "%s", journal_get_mount());
	fd = succession_write(&succession, boot);
	r = fd < 0 ? fd : set_inherited(true, binary);
	if (r == 0)
		r = succession_exec(binary, fd, SUCCESSION_HOLDER, argv);
	set_inherited(false, binary);
	return r;
}
