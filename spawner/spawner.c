/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The spawner makes inits for the sessions of any number of daemons, and waits for them; all else is between
 * these and their brokers. It opens nothing that a client names, and has no descriptor of a client's. It has
 * no state: another one takes its place, while those that were made go on. What it leaves, where a directory of
 * control groups was delegated to it, is found there by the next one (cgroup/leaves.h).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/notify.h"
#include "base/number.h"
#include "base/path.h"
#include "spawner/cgroup/leaves.h"
#include "spawner/channel.h"
#include "spawner/self.h"
#include "spawner/inits.h"

#define EXIT_USAGE 2
#define LISTENER 3 /* as sd_listen_fds(3) has it */
#define CONNECTIONS_MAX 64
#define END_MSEC 300 /* for what ends with the daemon, so that its leaves go */
#define RECORDS_A_TURN 16 /* of one of them, before the others have theirs */

struct connection {
	struct list link;
	struct channel channel;
	struct birthplace place;
	bool is_attached; /* it has said whose it is */
};

struct spawner {
	struct list connections;
	size_t n_connections;
	int listener, signal_fd;
	bool root; /* programs may be root's */
	bool has_children, ends;
	const char *cgroup; /* NULL: one is looked for */
	struct leaves leaves;
	struct inits inits;
	struct restrict_filters filters;
};

/* --- connections ----------------------------------------------------------------------------------- */

static int
add(struct spawner *s, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || s->n_connections == CONNECTIONS_MAX) {
		free(c);
		close(fd);
		return -ENOMEM;
	}
	channel_init(&c->channel, fd);
	c->place = (struct birthplace){
		.privileged = geteuid() == 0,
		.scope = {.uid = geteuid(), .gid = getegid(), .others = geteuid() == 0, .root = s->root},
		.proc_fd = -1,
		.filters = &s->filters,
	};
	list_append(&s->connections, &c->link);
	s->n_connections++;
	return 0;
}

/* Its inits go on: they have pairs of their own. */
static void
drop(struct spawner *s, struct connection *c)
{
	inits_leave(&s->inits, &c->channel);
	channel_deinit(&c->channel);
	list_unlink(&c->link);
	s->n_connections--;
	free(c);
}

/* Whoever is root, or we, could do all that as well. */
static void
accept_one(struct spawner *s)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
		(peer.uid == 0 || peer.uid == geteuid()))
		add(s, fd);
	else
		close(fd);
}

/* The first record is a keeper's, and from then on a broker speaks, who has no say in where the mount is. */
static int
attach(struct connection *c, const struct channel_packet *p)
{
	const char *path = (const char *)p->rest;

	if (p->record.type != PROCESS_ATTACH || p->n_rest == 0 || path[p->n_rest - 1] ||
		p->n_rest > PATH_MAX || strlen(path) + 1 != p->n_rest || !path_is_clean(path, p->n_rest - 1))
		return -EPROTO;
	memcpy(c->place.mount, path, p->n_rest);
	c->is_attached = true;
	return 0;
}

static int
handle(struct spawner *s, struct connection *c, const struct channel_packet *p)
{
	const struct process_record *r = &p->record;

	if (!c->is_attached)
		return attach(c, p);
	if (r->type == PROCESS_START && r->session != 0)
		inits_start(&s->inits, &c->place, &c->channel, r, p->rest, p->n_rest);
	else if (r->type == PROCESS_END)
		inits_end(&s->inits, &c->channel, r->session);
	else if (r->type == PROCESS_SYNC)
		inits_tell(&s->inits, &c->channel, r->serial);
	return 0;
}

/* Returns: 0, -errno: it has ended, or begins with something else than is ours to do. */
static int
receive(struct spawner *s, struct connection *c)
{
	static struct channel_packet packet;
	int r = 0;

	for (int n = 0; r == 0 && n < RECORDS_A_TURN && c->channel.n_unsent == 0; n++) {
		r = channel_receive(&c->channel, &packet);
		if (r == CHANNEL_E_EMPTY)
			return 0;
		if (r == CHANNEL_E_BAD)
			r = c->is_attached ? 0 : -EPROTO;
		else if (r == 0)
			r = handle(s, c, &packet);
	}
	return r;
}

/* --- children -------------------------------------------------------------------------------------- */

static void
kill_orphan(void *context, pid_t pid)
{
	const struct spawner *s = context;

	/* In this order: who is coming is known by its number before that ends. */
	if (!inits_are_coming(&s->inits) && !inits_have(&s->inits, pid))
		kill(pid, SIGKILL);
}

/*
 * Who is our child and no init has lost its own, and its session with it. Each one that is killed may leave
 * others, for whom we come here again.
 */
static void
reap(struct spawner *s)
{
	struct signalfd_siginfo info;
	bool any = false;
	int status;
	pid_t pid;

	while (read(s->signal_fd, &info, sizeof(info)) > 0)
		if (info.ssi_signo == SIGTERM)
			s->ends = true;
	for (; (pid = waitpid(-1, &status, WNOHANG)) > 0; any = true)
		inits_reaped(&s->inits, pid, status);
	s->has_children = pid == 0;
	if (any && s->has_children)
		(void)self_for_each_child(-1, kill_orphan, s);
}

/* --- the loop -------------------------------------------------------------------------------------- */

static size_t
prepare(const struct spawner *s, struct pollfd *p)
{
	size_t n = 0;

	p[n++] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = s->listener, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = s->leaves.fd, .events = POLLIN};
	list_for_each(link, &s->connections) {
		const struct connection *c = list_entry(link, struct connection, link);

		p[n++] = (struct pollfd){.fd = c->channel.fd, .events = channel_events(&c->channel)};
	}
	return n;
}

static void
turn(struct spawner *s)
{
	struct pollfd p[CONNECTIONS_MAX + 3];
	size_t n = 3;

	poll(p, prepare(s, p), -1);
	list_for_each_safe(link, &s->connections) {
		struct connection *c = list_entry(link, struct connection, link);

		if (!p[n++].revents)
			continue;
		channel_flush(&c->channel);
		if (receive(s, c) < 0)
			drop(s, c);
	}
	if (p[1].revents)
		accept_one(s);
	reap(s);
	leaves_look(&s->leaves);
}

/* A keeper's ends when it is of use to nobody; it still waits for those that it made, which go on. */
static bool
is_wanted(const struct spawner *s)
{
	return !s->ends && (s->listener >= 0 || s->n_connections > 0 || s->has_children);
}

/* --- the begin ------------------------------------------------------------------------------------- */

/* Reads what sd_listen_fds(3) reads. Returns: is there one? */
static bool
has_listener(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	uint64_t wanted, count;

	return pid && n && number_parse(pid, strlen(pid), false, &wanted) == 0 &&
	       wanted == (uint64_t)getpid() && number_parse(n, strlen(n), false, &count) == 0 && count >= 1;
}

static void
reset_signals(void)
{
	sigset_t set;

	for (int n = 1; n < NSIG; n++)
		signal(n, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

static int
spawner_init(struct spawner *s)
{
	sigset_t set;
	int r;

	reset_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signal_fd < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	self_adopt();
	r = restrict_make_filters(&s->filters);
	return r < 0 ? r : inits_init(&s->inits, geteuid() == 0, &s->leaves);
}

static void
print_help(void)
{
	puts("Usage: capfs-spawner [OPTION]...\n"
	     "Makes the processes of sessions for capfsd, which starts it, or systemd with a socket.\n"
	     "\n"
	     "  --fd=N        a connection that it was started with; can be given more than once\n"
	     "  --cgroup=DIR  a directory of control groups that was delegated to it; own: the one that\n"
	     "                it is in; without it, that if systemd says that it was delegated\n"
	     "  --allow-root  programs may run as root, if root starts them\n"
	     "  --version     print the version and exit\n"
	     "  --help        print this and exit");
}

static int
add_inherited(struct spawner *s, const char *number)
{
	uint64_t fd;

	if (number_parse(number, strlen(number), false, &fd) < 0 || fd > INT_MAX ||
		fd_set_cloexec((int)fd, true) < 0 || add(s, (int)fd) < 0) {
		fprintf(stderr, "capfs-spawner: --fd: not a connection: '%s'\n", number);
		return -EINVAL;
	}
	return 0;
}

/* Returns: -1: go on, else the exit status. */
static int
parse_options(struct spawner *s, int argc, char *argv[])
{
	static const struct option options[] = {
		{"fd", required_argument, NULL, 'f'},
		{"cgroup", required_argument, NULL, 'c'},
		{"allow-root", no_argument, NULL, 'r'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{},
	};

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;)
		switch (o) {
		case 'f':
			if (add_inherited(s, optarg) < 0)
				return EXIT_USAGE;
			break;
		case 'c':
			s->cgroup = optarg;
			break;
		case 'r':
			s->root = true;
			break;
		case 'v':
			puts("capfs-spawner " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			print_help();
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "capfs-spawner: no argument is expected: '%s'\n", argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

int
main(int argc, char *argv[])
{
	static struct spawner s = {.listener = -1};
	int r;

	list_init(&s.connections);
	r = parse_options(&s, argc, argv);
	if (r >= 0)
		return r;
	if (has_listener()) {
		s.listener = LISTENER;
		fd_set_cloexec(LISTENER, true);
	}
	if (!is_wanted(&s)) {
		fprintf(stderr, "capfs-spawner: neither --fd nor a socket of systemd's\n");
		return EXIT_USAGE;
	}
	r = spawner_init(&s);
	if (r < 0) {
		fprintf(stderr, "capfs-spawner: %s\n", error_name(r));
		return EXIT_FAILURE;
	}
	r = leaves_init(&s.leaves, s.cgroup);
	if (r < 0)
		fprintf(stderr, "capfs-spawner: no control groups: %s: %s\n", s.cgroup ? s.cgroup : "own",
			error_name(r));
	(void)notify("READY=1");
	self_init(argc, argv);
	while (is_wanted(&s))
		turn(&s);
	leaves_deinit(&s.leaves, END_MSEC);
	return EXIT_SUCCESS;
}
