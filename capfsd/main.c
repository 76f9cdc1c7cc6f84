/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line, and what the machine says about limits and users; then the keeper. It owns the
 * options and nothing that outlives them: whatever it finds out goes into struct keeper_config, and
 * from there to all processes. It also is where execve(2) of an upgrade, or of its trial, arrives.
 * Nothing here serves anybody.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "capfsd/broker/try.h"
#include "capfsd/ops/grammar.h"
#include "capfsd/process/confine.h"
#include "capfsd/start/directory.h"
#include "capfsd/start/fdstore.h"
#include "capfsd/start/features.h"
#include "capfsd/process/succession.h"
#include "capfsd/process/journal.h"
#include "capfsd/holder/holder.h"
#include "capfsd/keeper/keeper.h"
#include "capfsd/minder/minder.h"
#include "capfsd/start/place.h"

#define EXIT_USAGE 2
#define QUOTA_THREADS_DEFAULT 4096
#define RAM_SHARE 8 /* of the machine's memory, for the root session */
#define RAM_PER_CAP 1024
#define STORE_SHARE 8 /* of systemd's store that stays free: see limit_to_store() */

static const char *arg_mountpoint = "/cap";
static const char *arg_run_dir;
static const char *arg_state_dir;
static struct minder_config arg_spawner = {.path = LIBEXECDIR "/capfs-spawner"};
static bool arg_volatile, arg_discard_damaged;
static int arg_log_level = LOG_INFO;
static bool arg_audit, arg_check;
static uint32_t arg_quota_given; /* a bit for each kind */
static struct quota arg_quota;

static const char *const log_levels[] = {
	[LOG_EMERG] = "emerg",
	[LOG_ALERT] = "alert",
	[LOG_CRIT] = "crit",
	[LOG_ERR] = "err",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static void
print_help(void)
{
	puts("Usage: capfsd [OPTION]... [MOUNTPOINT]\n"
	     "Serves capabilities on MOUNTPOINT (default /cap), in the foreground.\n"
	     "\n"
	     "  --run-dir=DIR        where the lock is (default: $RUNTIME_DIRECTORY, else\n"
	     "                       /run/capfsd for root, $XDG_RUNTIME_DIR/capfsd for a user)\n"
	     "  --state-dir=DIR      where the state is (default: state in $STATE_DIRECTORY, else\n"
	     "                       in capfsd/MOUNTPOINT in /var/lib or $XDG_STATE_HOME)\n"
	     "  --volatile           the state is in the run directory, and gone with that\n"
	     "  --discard-damaged-state\n"
	     "                       put a damaged state aside and begin with an empty tree\n"
	     "  --quota=KIND=N,...   of the root session; KIND is caps, sockets, threads, ram or\n"
	     "                       inflight, N may end in K, M, G or T\n"
	     "  --spawner=PATH       the program that starts those of sessions\n"
	     "  --cgroup=DIR         a directory of control groups for sessions\n"
	     "  --audit              write all events to the journal, too\n"
	     "  --log-level=LEVEL    err, warning, notice, info (default), debug\n"
	     "  --check              say what this machine has of what capfsd uses, and exit\n"
	     "  --version            print the version and exit\n"
	     "  --help               print this and exit");
}

static int
complain(const char *what)
{
	fprintf(stderr, "capfsd: %s\n", what);
	return -EINVAL;
}

/* By name or by number, as syslog(3) counts them, since administrators write both. */
static int
parse_log_level(const char *s)
{
	for (int i = 0; i <= LOG_DEBUG; i++)
		if (strcmp(s, log_levels[i]) == 0 || (s[0] == '0' + i && !s[1])) {
			arg_log_level = i;
			return 0;
		}
	fprintf(stderr, "capfsd: --log-level: no level '%s'\n", s);
	return -EINVAL;
}

/*
 * "caps=1000,ram=64M": by the same parser that reads the quota of sessions, so that a number means
 * the same in both places, and so that what is fuzzed is what runs.
 */
static int
parse_quota(const char *s)
{
	cleanup_text struct text reason = {};

	if (quota_parse(s, &arg_quota, &arg_quota_given, &reason) == 0)
		return 0;
	fprintf(stderr, "capfsd: --quota: %s\n", reason.data ? reason.data : "no memory");
	return -EINVAL;
}

enum option_value {
	OPTION_RUN_DIR = 256,
	OPTION_STATE_DIR,
	OPTION_VOLATILE,
	OPTION_DISCARD_DAMAGED,
	OPTION_QUOTA,
	OPTION_SPAWNER,
	OPTION_CGROUP,
	OPTION_AUDIT,
	OPTION_LOG_LEVEL,
	OPTION_CHECK,
	OPTION_VERSION,
};

static const struct option options[] = {
	{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
	{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
	{"volatile", no_argument, NULL, OPTION_VOLATILE},
	{"discard-damaged-state", no_argument, NULL, OPTION_DISCARD_DAMAGED},
	{"quota", required_argument, NULL, OPTION_QUOTA},
	{"spawner", required_argument, NULL, OPTION_SPAWNER},
	{"cgroup", required_argument, NULL, OPTION_CGROUP},
	{"audit", no_argument, NULL, OPTION_AUDIT},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, 'h'},
	{},
};

/* Returns: 1 to go on, 0 when everything is done, -EINVAL. */
static int
parse_option(int option)
{
	switch (option) {
	case OPTION_RUN_DIR:
		arg_run_dir = optarg;
		return 1;
	case OPTION_STATE_DIR:
		arg_state_dir = optarg;
		return 1;
	case OPTION_VOLATILE:
		arg_volatile = true;
		return 1;
	case OPTION_DISCARD_DAMAGED:
		arg_discard_damaged = true;
		return 1;
	case OPTION_QUOTA:
		return parse_quota(optarg) < 0 ? -EINVAL : 1;
	case OPTION_SPAWNER:
		arg_spawner.path = optarg;
		return optarg[0] == '/' ? 1 : complain("--spawner: not an absolute path");
	case OPTION_CGROUP:
		arg_spawner.cgroup = optarg;
		return optarg[0] == '/' ? 1 : complain("--cgroup: not an absolute path");
	case OPTION_AUDIT:
		arg_audit = true;
		return 1;
	case OPTION_LOG_LEVEL:
		return parse_log_level(optarg) < 0 ? -EINVAL : 1;
	case OPTION_CHECK:
		arg_check = true;
		return 1;
	case OPTION_VERSION:
		puts(PACKAGE_STRING);
		return 0;
	case 'h':
		print_help();
		return 0;
	default:
		return -EINVAL;
	}
}

static int
parse_arguments(int argc, char *argv[])
{
	int option, r;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		r = parse_option(option);
		if (r <= 0)
			return r;
	}
	if (optind < argc)
		arg_mountpoint = argv[optind++];
	if (optind < argc)
		return complain("more than one mount point");
	if (arg_volatile && arg_state_dir)
		return complain("--volatile and --state-dir exclude each other");
	return 1;
}

/*
 * Whoever started us may have closed some of 0-2. A descriptor that is opened later would then get
 * such a number, and what a library prints on stderr would be written into it, into /dev/fuse at
 * worst. Standard input becomes /dev/null in any case: the daemon has no other use for it than the
 * journal's socket.
 */
static int
sanitize_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
	if (fd < 0)
		return -errno;
	dup2(fd, STDIN_FILENO);
	close(fd);
	return 0;
}

/*
 * Every connection costs descriptors, and the soft limit is low only for programs that still use
 * select(2). Where it cannot be raised we go on with what there is: the quota that is computed from
 * it fits.
 */
static uint64_t
raise_descriptors(void)
{
	struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur;
}

/*
 * The root session may give away what the machine can bear, and all other sessions live on parts of
 * that. So a client meets a refusal that says which quota is used up, where otherwise accept(2) or
 * malloc(3) would fail for everybody. What the command line names goes before.
 */
static void
default_quota(struct quota *ret)
{
	uint64_t descriptors = raise_descriptors();
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	ret->n[QUOTA_SOCKETS] = descriptors / 4 * 3;
	ret->n[QUOTA_INFLIGHT] = descriptors / 4;
	ret->n[QUOTA_THREADS] = QUOTA_THREADS_DEFAULT;
	ret->n[QUOTA_RAM] = memory / RAM_SHARE;
	ret->n[QUOTA_CAPS] = ret->n[QUOTA_RAM] / RAM_PER_CAP;
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
		if (arg_quota_given & 1u << kind)
			ret->n[kind] = arg_quota.n[kind];
}

/*
 * Each socket needs a place in systemd's store, where a few more are for those that have ended but
 * are not yet forgotten. A socket that finds no place there would be lost when systemd starts the
 * next daemon, so quota does not promise it either. Only who asked for more is told of it.
 */
static void
limit_to_store(struct boot *boot)
{
	uint64_t max = fdstore_max(), *sockets = &boot->root_quota.n[QUOTA_SOCKETS];

	boot->store_max = (uint32_t)(max < UINT32_MAX ? max : UINT32_MAX);
	if (max == 0 || *sockets <= max - max / STORE_SHARE)
		return;
	*sockets = max - max / STORE_SHARE;
	if (arg_quota_given & 1u << QUOTA_SOCKETS)
		log_message(LOG_WARNING, "systemd keeps %ju descriptors: sockets=%ju",
			(uintmax_t)max, (uintmax_t)*sockets);
}

/*
 * The user that everything but the keeper runs as. Root must be told apart from it: a broker that a
 * client has taken over would else have all of root's files. Who starts us as an ordinary user gets
 * all as that user.
 */
static int
find_user(struct boot *boot)
{
	const struct passwd *pw;

	boot->privileged = geteuid() == 0;
	boot->owner_uid = geteuid();
	boot->owner_gid = getegid();
	boot->daemon_uid = geteuid();
	boot->daemon_gid = getegid();
	if (!boot->privileged)
		return 0;
	pw = getpwnam("capfs");
	if (!pw) {
		log_message(LOG_ERR, "no user 'capfs': useradd --system --no-create-home "
				     "--shell /usr/sbin/nologin capfs");
		return -ENOENT;
	}
	if (pw->pw_uid == 0 || pw->pw_gid == 0) {
		log_message(LOG_ERR, "the user 'capfs' must not be root or of root's group");
		return -EPERM;
	}
	boot->daemon_uid = pw->pw_uid;
	boot->daemon_gid = pw->pw_gid;
	return 0;
}

/* boot->run_dir is the full name of the state's own directory. */
static int
name_state(struct boot *boot, const char *directory, const char *name)
{
	int n = snprintf(boot->run_dir, sizeof(boot->run_dir), "%s%s", directory, name);

	if (n >= 0 && (size_t)n < sizeof(boot->run_dir))
		return 0;
	log_message(LOG_ERR, "the state directory's name is too long: give --state-dir");
	return -ENAMETOOLONG;
}

/*
 * What systemd has kept of a daemon whose state was in the run directory refers to that state. It is
 * served from there for once, as the connections would be lost with it.
 */
static bool
is_kept_in(const struct keeper_config *config, const char *run_dir)
{
	const char *kept = config->stored->boot.run_dir;
	size_t n = strlen(run_dir);

	return config->stored->found && !arg_state_dir && strncmp(kept, run_dir, n) == 0 &&
		strcmp(kept + n, "/state") == 0;
}

/* On a disk, so that it outlives a stop and a reboot, unless the command line says otherwise. */
static int
prepare_state(struct keeper_config *config, int run_fd, const char *run_dir)
{
	struct boot *boot = &config->boot;
	cleanup_free char *path = NULL;
	cleanup_close int disk = -1;
	int r;

	if (arg_state_dir) {
		r = name_state(boot, arg_state_dir, "");
		return r < 0 ? r : place_state(AT_FDCWD, arg_state_dir, boot, &config->held.state_fd);
	}
	if (arg_volatile || is_kept_in(config, run_dir)) {
		r = name_state(boot, run_dir, "/state");
		return r < 0 ? r : place_state(run_fd, "state", boot, &config->held.state_fd);
	}
	disk = directory_disk(boot, config->held.mountpoint, &path);
	r = disk < 0 ? disk : name_state(boot, path, "/state");
	return r < 0 ? r : place_state(disk, "state", boot, &config->held.state_fd);
}

/*
 * Is what an earlier daemon has left what this one would serve? If not, it is given up: its
 * connections refer to capabilities in a state that this daemon never opens, so nobody could check
 * or end them.
 */
static bool
stored_fits(const struct keeper_config *config)
{
	struct fdstore *s = config->stored;

	if (s->found && (strcmp(s->succession.mountpoint, config->held.mountpoint) != 0 ||
				strcmp(s->boot.run_dir, config->boot.run_dir) != 0)) {
		log_message(LOG_NOTICE, "what systemd has kept is of another mount");
		fdstore_forget();
		fdstore_deinit(s, true);
		s->found = false;
	}
	return s->found;
}

/*
 * Everything that must be there before anything is started. The locks come before the mount point,
 * since a mount that looks dead may be taken away only by who has made sure that no other daemon is
 * about to serve it. Both locks are kept until the end. The minder comes last, and before all that its
 * programs are not to inherit.
 */
static int
prepare(struct keeper_config *config, int argc, char *argv[])
{
	cleanup_free char *run_dir = NULL;
	cleanup_close int run = -1;
	int r;

	r = find_user(&config->boot);
	if (r == 0)
		r = run = directory_run(&config->boot, arg_run_dir, &run_dir);
	if (r >= 0)
		r = place_lock(run, run_dir, &config->held.lock_fd);
	if (r == 0)
		r = place_mountpoint(arg_mountpoint, config->held.mountpoint);
	if (r == 0)
		r = prepare_state(config, run, run_dir);
	if (r == 0 && !stored_fits(config))
		r = place_clear(config->held.mountpoint, config->boot.privileged);
	if (r == 0)
		r = minder_start(run, &arg_spawner, argc, argv, &config->held);
	return r;
}

/*
 * This program as another one starts it in its own place, in an upgrade. Whoever types the internal
 * option has no succession to show, and is refused by the reader of that, or here.
 */
static int
take_over(enum succession_role role, int fd, int argc, char *argv[])
{
	switch (role) {
	case SUCCESSION_TRY:
		return try_main(fd);
	case SUCCESSION_HOLDER:
		return holder_resume(fd, argc, argv);
	case SUCCESSION_KEEPER:
		return keeper_resume(fd, argc, argv);
	default:
		fprintf(stderr, "capfsd: this option is not for you\n");
		return EXIT_USAGE;
	}
}

int
main(int argc, char *argv[])
{
	struct fdstore stored;
	struct keeper_config config = {
		.held = {SUCCESSION_NO_FDS},
		.argv = argv,
		.stored = &stored,
	};
	int r, succession_fd = -1;

	if (argc < 1)
		return EXIT_USAGE;
	r = succession_argument(&argc, argv, &succession_fd);
	/*
	 * Such a process ends as those that the keeper forks, without atexit(3): it has nothing to
	 * free one by one, and what it holds may be shared with others.
	 */
	if (r != 0)
		_exit(take_over(r, succession_fd, argc, argv));
	/* Before anything else is opened: all that systemd has not passed on is closed by it. */
	r = fdstore_receive(&stored, config.boot.activation);
	config.held.activation_fd = take_fd(stored.activation_fd);
	if (r == 0)
		r = sanitize_fds();
	if (r < 0)
		return EXIT_FAILURE;
	r = parse_arguments(argc, argv);
	if (r <= 0)
		return r == 0 ? EXIT_SUCCESS : EXIT_USAGE;
	if (arg_check)
		return features_print();
	log_set_max_level(arg_log_level);
	journal_open();
	config.boot.log_level = arg_log_level;
	config.boot.audit = arg_audit;
	config.boot.discard_damaged = arg_discard_damaged;
	if (prepare(&config, argc, argv) < 0)
		return EXIT_FAILURE;
	journal_set_mount(config.held.mountpoint);
	default_quota(&config.boot.root_quota);
	limit_to_store(&config.boot);
	/* Last, as the options point into what will be overwritten with names of processes. */
	confine_argv(&config.boot, argc, argv);
	return keeper_run(&config);
}
