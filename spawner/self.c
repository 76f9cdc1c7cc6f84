/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/self.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of the arguments, and of the environment behind them: there is one for a process, as there is one title. */
static char *room;
static size_t n_room;

void
self_init(int argc, char *argv[])
{
	char *end = argv[0];

	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	for (char **e = environ; *e == end; e++)
		end += strlen(*e) + 1;
	room = argv[0];
	n_room = (size_t)(end - argv[0]);
}

void
self_title(const char *name, const char *rest)
{
	prctl(PR_SET_NAME, name, 0, 0, 0);
	if (n_room == 0)
		return;
	memset(room, 0, n_room);
	snprintf(room, n_room, "%s %s", name, rest);
}

void
self_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* The kernel says EINVAL of capabilities that it does not have. */
int
self_bound(void)
{
	for (int capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno;
	return 0;
}

int
self_for_each_child(int proc, void (*f)(void *context, pid_t pid), void *context)
{
	const char *path = proc < 0 ? "/proc/thread-self/children" : "thread-self/children";
	cleanup_close int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	cleanup_fclose FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!list)
		return -errno;
	take_fd(fd);
	while (fscanf(list, "%d", &pid) == 1)
		f(context, (pid_t)pid);
	return 0;
}
