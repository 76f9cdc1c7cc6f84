/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mount.fuse.capfs, which mount(8) runs for a capfs: starts capfsd, and returns when the mount answers, or with capfsd's own words when it does
 * not come up. From then on a process of its own passes what capfsd says on to the system's log.
 *
 * Where there is no terminal to be freed from, the daemon stays in its caller's process group: by this
 * group an automount point knows the ones whom it must not keep waiting for the mount that they make.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/notify.h"
#include "base/path.h"
#include "capfsd/process/mounts.h"
#include "mount/options.h"

#define START_MSEC 90000
#define UID_NOBODY 65534

/* What mount(8) says about its exit status. */
enum status {
	STATUS_DONE = 0,
	STATUS_USAGE = 1,
	STATUS_SYSTEM = 2,
	STATUS_FAILED = 32,
};

struct arguments {
	struct mount_options options;
	bool fake;
	char *source, *mountpoint;
};

struct start {
	int notify_fd, log_fd, signal_fd;
	pid_t pid;
};

static int
fail(const char *what)
{
	fprintf(stderr, "mount.fuse.capfs: %s: %s\n", what, strerror(errno));
	return STATUS_SYSTEM;
}

static int
make_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
free_from_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return;
	close(fd);
	setsid();
}

static void __attribute__((noreturn))
run_daemon(char **argv, int log_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	free_from_terminal();
	umask(022);
	if (chdir("/") == 0 && dup2(null, STDIN_FILENO) == 0 &&
		dup2(null, STDOUT_FILENO) == STDOUT_FILENO &&
		dup2(log_fd, STDERR_FILENO) == STDERR_FILENO)
		execv(argv[0], argv);
	dprintf(log_fd, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static bool
is_ready(const struct start *s)
{
	char text[512];

	return notify_receive(s->notify_fd, s->pid, text, sizeof(text)) > 0 && notify_is_ready(text);
}

/* Copies what the daemon has said. Returns: false when nobody is left to say anything. */
static bool
copy_log(int log_fd)
{
	char text[4096];
	ssize_t n = read(log_fd, text, sizeof(text));

	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		return true;
	return n > 0 || (n < 0 && errno == EINTR);
}

static int
wait_until_ready(const struct start *s)
{
	struct pollfd p[] = {
		{.fd = s->log_fd, .events = POLLIN},
		{.fd = s->notify_fd, .events = POLLIN},
		{.fd = s->signal_fd, .events = POLLIN},
	};

	for (;;) {
		int n = poll(p, 3, START_MSEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || p[2].revents) {
			fprintf(stderr, "mount.fuse.capfs: %s\n",
				n ? "given up" : "capfsd does not get ready");
			break;
		}
		if ((p[1].revents & POLLIN) && is_ready(s))
			return STATUS_DONE;
		if (p[0].revents && !copy_log(s->log_fd))
			break;
	}
	kill(s->pid, SIGTERM);
	waitpid(s->pid, NULL, 0);
	return STATUS_FAILED;
}

/* Passes lines on until the daemon has ended, with no more rights than that takes. */
static void __attribute__((noreturn))
run_logger(int log_fd)
{
	FILE *f = fdopen(log_fd, "r");
	char line[1100];

	prctl(PR_SET_NAME, "capfs-log");
	free_from_terminal();
	signal(SIGPIPE, SIG_IGN);
	openlog("capfsd", LOG_NDELAY, LOG_DAEMON);
	if (!f || chdir("/") < 0)
		_exit(1);
	if (geteuid() == 0 &&
		(setresgid(UID_NOBODY, UID_NOBODY, UID_NOBODY) < 0 ||
			setresuid(UID_NOBODY, UID_NOBODY, UID_NOBODY) < 0))
		_exit(1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	while (fgets(line, sizeof(line), f))
		syslog(LOG_NOTICE, "%s", strncmp(line, "capfsd: ", 8) == 0 ? line + 8 : line);
	_exit(0);
}

/* What this process had from its caller, who may wait for the end of one of them. */
static int
start_logger(struct start *s)
{
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return pid < 0 ? fail("fork") : STATUS_DONE;
	null = open("/dev/null", O_RDWR);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (dup3(s->log_fd, STDERR_FILENO + 1, O_CLOEXEC) < 0 && s->log_fd != STDERR_FILENO + 1)
		_exit(1);
	closefrom(STDERR_FILENO + 2);
	run_logger(STDERR_FILENO + 1);
}

static int
start_daemon(char **argv)
{
	cleanup_close int notify = -1, log = -1, daemons_log = -1, signals = -1;
	struct start s;
	int ends[2], status;

	notify = notify_listen();
	signals = make_signals();
	if (notify < 0 || signals < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return fail("start");
	log = ends[0];
	daemons_log = ends[1];
	/* A log that is stuck must not stop the daemon. */
	if (fd_set_nonblock(daemons_log, true) < 0)
		return fail("start");
	/* Its own is a pipe. */
	unsetenv("JOURNAL_STREAM");
	s = (struct start){.notify_fd = notify, .log_fd = log, .signal_fd = signals, .pid = fork()};
	if (s.pid < 0)
		return fail("fork");
	if (s.pid == 0)
		run_daemon(argv, daemons_log);
	daemons_log = fd_close(daemons_log);
	status = wait_until_ready(&s);
	return status == STATUS_DONE ? start_logger(&s) : status;
}

/* /run/capfsd/NAME, as the units have it, so that each mount point has its own. */
static int
add_run_dir(struct mount_options *o, const char *mountpoint)
{
	const char *top = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	cleanup_free char *name = path_escape(mountpoint), *path = NULL, *parent = NULL;

	if (!top || !*top) {
		fprintf(stderr, "mount.fuse.capfs: give run-dir=, or set XDG_RUNTIME_DIR\n");
		return -EINVAL;
	}
	if (!name || asprintf(&parent, "%s/capfsd", top) < 0 ||
		asprintf(&path, "%s/%s", parent, name) < 0)
		return -ENOMEM;
	if (mkdir(parent, 0755) < 0 && errno != EEXIST) {
		fprintf(stderr, "mount.fuse.capfs: %s: %s\n", parent, strerror(errno));
		return -errno;
	}
	return mount_options_add(o, "run-dir", path, strlen(path));
}

/* What a dead daemon has left answers nothing, and capfsd takes it away. */
static bool
is_served(const char *mountpoint)
{
	char device[MOUNTS_FIELD_BYTES], type[MOUNTS_FIELD_BYTES];
	struct statfs s;

	if (mounts_top(mountpoint, device, type) < 0 || strcmp(type, "fuse.capfs") != 0 ||
		statfs(mountpoint, &s) < 0)
		return false;
	fprintf(stderr, "mount.fuse.capfs: %s is already a capfs\n", mountpoint);
	return true;
}

static int
do_mount(struct arguments *a)
{
	struct mount_options *o = &a->options;
	const char *mountpoint = a->mountpoint;
	const char *program = secure_getenv("CAPFSD");
	char *argv[MOUNT_ARGUMENTS_MAX + 4] = {0};
	char canonical[PATH_MAX];

	/* realpath(3) would ask whoever serves what is mounted there now. */
	if (mountpoint[0] != '/' && !realpath(mountpoint, canonical))
		return fail(mountpoint);
	if (mountpoint[0] != '/')
		mountpoint = canonical;
	if (is_served(mountpoint))
		return STATUS_FAILED;
	if (!o->run_dir && add_run_dir(o, mountpoint) < 0)
		return STATUS_SYSTEM;
	/* Those of a service from which mount(8) is called are that service's. */
	if (setenv("CAPFSD_SOURCE", a->source, 1) < 0 || unsetenv("STATE_DIRECTORY") < 0)
		return fail("setenv");
	argv[0] = (char *)(program ? program : SBINDIR "/capfsd");
	memcpy(argv + 1, o->argv, o->n * sizeof(argv[0]));
	argv[o->n + 1] = (char *)"--";
	argv[o->n + 2] = (char *)mountpoint;
	return start_daemon(argv);
}

static int
print_usage(FILE *f)
{
	fputs("usage: mount.fuse.capfs none MOUNTPOINT [-fnsv] [-o OPTION,...]\n", f);
	return f == stdout ? STATUS_DONE : STATUS_USAGE;
}

/* Returns: 0, or STATUS_USAGE, having said why; -1 when all is done. */
static int
parse(int argc, char **argv, struct arguments *a)
{
	const char *text = "";
	bool sloppy = false;
	int c;

	/* -n, -r, -v, -N and -t change nothing here. */
	while ((c = getopt(argc, argv, "fhno:rsvN:t:")) != -1)
		switch (c) {
		case 'f':
			a->fake = true;
			break;
		case 'h':
			print_usage(stdout);
			return -1;
		case 'o':
			text = optarg;
			break;
		case 's':
			sloppy = true;
			break;
		case '?':
			return print_usage(stderr);
		}
	if (argc - optind != 2)
		return print_usage(stderr);
	a->source = argv[optind];
	a->mountpoint = argv[optind + 1];
	return mount_options_parse(&a->options, text, sloppy) < 0 ? STATUS_USAGE : STATUS_DONE;
}

int
main(int argc, char **argv)
{
	struct arguments a = {};
	int status = parse(argc, argv, &a);

	if (status == STATUS_DONE && !a.fake)
		status = do_mount(&a);
	mount_options_deinit(&a.options);
	return status < 0 ? STATUS_DONE : status;
}
