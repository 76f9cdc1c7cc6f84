/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A binary for an upgrade that passes its trial and then fails, in the way that the file $BROKEN_MODE
 * tells (the environment of the running daemon):
 *
 *	exits	its broker ends at once
 *	hangs	its broker never comes up
 *	refuses	its broker refuses the state
 *	holder	its holder ends at once, as if it had been told to stop
 *	state	it says in its trial that it cannot use the state
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capfsd/broker/broker.h"
#include "capfsd/broker/try.h"
#include "capfsd/holder/holder.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/records.h"
#include "capfsd/process/succession.h"

static bool
mode_is(const char *wanted)
{
	const char *path = getenv("BROKEN_MODE");
	cleanup_fclose FILE *f = path ? fopen(path, "re") : NULL;
	char mode[16] = "";

	return f && fscanf(f, "%15s", mode) == 1 && strcmp(mode, wanted) == 0;
}

/* Instead of the daemon's. */
int
broker_main(const struct boot *boot)
{
	while (mode_is("hangs"))
		pause();
	return mode_is("refuses") ? BROKER_EXIT_REFUSED : BROKER_EXIT_RESTART;
}

int
main(int argc, char **argv)
{
	int fd = -1;

	switch (succession_argument(&argc, argv, &fd)) {
	case SUCCESSION_TRY:
		_exit(mode_is("state") ? BROKER_EXIT_REFUSED : try_main(fd));
	case SUCCESSION_HOLDER:
		_exit(mode_is("holder") ? 0 : holder_resume(fd, argc, argv));
	default:
		return 2;
	}
}
