/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/storm-victims.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PIDS_MAX 4096
#define END_MSEC_MAX 10000

/* Its words are separated by spaces then; of one that has ended there are none. */
static void
read_words(pid_t pid, char *words, size_t size)
{
	char path[64];
	cleanup_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, words, size - 1);
	if (n < 0)
		n = 0;
	words[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (!words[i])
			words[i] = ' ';
	while (n > 0 && words[n - 1] == ' ')
		words[--n] = '\0';
}

/* Returns: its parent, 0: it is none, or only waits for that to look. */
static pid_t
read_parent(pid_t pid, char name[64])
{
	char path[64], state = 'Z';
	cleanup_fclose FILE *f = NULL;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d (%63[^)]) %c %d", name, &state, &parent) != 3)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : parent;
}

static pid_t
child_named(pid_t parent, const char *wanted)
{
	char path[64], name[64];
	cleanup_fclose FILE *f = NULL;
	int pid;

	if (parent <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		if (read_parent(pid, name) == parent && strcmp(name, wanted) == 0)
			return pid;
	return 0;
}

pid_t
victim_holder(const struct victims *v)
{
	return child_named(v->keeper, "capfs-holder");
}

pid_t
victim_broker(const struct victims *v)
{
	return child_named(victim_holder(v), "capfs-broker");
}

pid_t
victim_spawner(const struct victims *v)
{
	return child_named(child_named(v->keeper, "capfs-minder"), "capfs-spawner");
}

pid_t
victim_doorman(const struct victims *v)
{
	return child_named(victim_spawner(v), "capfs-doorman");
}

/* Those whose words begin with START. Returns: how many. */
static size_t
find_all(const char *start, pid_t *pids)
{
	cleanup_closedir DIR *d = opendir("/proc");
	struct dirent *e;
	char words[512];
	size_t n = 0;

	while (d && n < PIDS_MAX && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		read_words((pid_t)atoi(e->d_name), words, sizeof(words));
		if (strncmp(words, start, strlen(start)) == 0)
			pids[n++] = (pid_t)atoi(e->d_name);
	}
	return n;
}

static bool
has(const pid_t *pids, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* A program has its init's memory, and title, until it executes. */
static pid_t
find_titled(const struct victims *v, size_t session, bool child)
{
	pid_t pids[PIDS_MAX];
	char title[128], name[64];
	size_t n;

	snprintf(title, sizeof(title), "capfs-init sessions/%s", v->sessions[session]);
	n = find_all(title, pids);
	for (size_t i = 0; i < n; i++) {
		pid_t parent = read_parent(pids[i], name);

		if (parent && has(pids, n, parent) == child)
			return pids[i];
	}
	return 0;
}

pid_t
victim_init(const struct victims *v, size_t session)
{
	return find_titled(v, session, false);
}

pid_t
victim_half_started(const struct victims *v, size_t session)
{
	return find_titled(v, session, true);
}

pid_t
victim_program(const struct victims *v, unsigned long long *ret_token)
{
	pid_t pids[PIDS_MAX], pid;
	char start[512], words[512];
	size_t n;

	snprintf(start, sizeof(start), "%s mark ", v->program);
	n = find_all(start, pids);
	if (n == 0)
		return 0;
	pid = pids[(size_t)random() % n];
	read_words(pid, words, sizeof(words));
	return strncmp(words, start, strlen(start)) == 0 &&
			       sscanf(words + strlen(start), "%llu", ret_token) == 1
		       ? pid
		       : 0;
}

static bool
is_still(const struct victims *v, pid_t pid, enum victim what)
{
	static const char *const names[VICTIM_N] = {
		"capfs-broker", "capfs-holder", "capfs-spawner", "capfs-doorman", "capfs-init"};
	char name[64] = "", words[512];

	if (!read_parent(pid, name))
		return false;
	if (what != VICTIM_PROGRAM)
		return what == VICTIM_CLIENT || strcmp(name, names[what]) == 0;
	read_words(pid, words, sizeof(words));
	return strncmp(words, v->program, strlen(v->program)) == 0 ||
	       strcmp(name, "capfs-init") == 0;
}

bool
victim_kill(const struct victims *v, pid_t pid, enum victim what)
{
	cleanup_close int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd < 0 || !is_still(v, pid, what) ||
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
		return false;
	poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, END_MSEC_MAX);
	return true;
}
