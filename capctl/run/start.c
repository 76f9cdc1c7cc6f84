/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/run/forward.h"
#include "capctl/run/resolve.h"
#include "capctl/run/run.h"
#include "capctl/run/table.h"

void
start_deinit(struct start *s)
{
	reserve_release(&s->reserve);
	run_tree_deinit(s->tree);
	run_file_deinit(&s->file);
}

/* --- before anything is opened here --- */

/* Else one of our own would be taken for it. */
static int
open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < STANDARD);
	if (fd < 0)
		return complain(errno, NULL, "/dev/null");
	close(fd);
	return 0;
}

static int
check_fd(int fd, const char *label)
{
	struct statx st;

	if (fcntl(fd, F_GETFD) < 0)
		return complain(EBADF, "there is no such descriptor", "%s: %d", label, fd);
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 && S_ISDIR(st.stx_mode))
		return complain(EISDIR, "a directory is not given to a program: it leads to all that is around it",
			"%s", label);
	return 0;
}

int
start_check_fds(const struct run_words *w)
{
	static const char *const standard[] = {"stdin", "stdout", "stderr"};
	int status = open_standard();

	for (int i = 0; i < STANDARD && status == 0; i++)
		status = check_fd(i, standard[i]);
	for (size_t i = 0; i < w->n_given && status == 0; i++)
		if (!w->given[i].slot)
			status = check_fd(w->given[i].fd, w->given[i].label);
	return status;
}

/* --- what it gets --- */

static int
open_slot(struct context *x, const struct run_given *g, uint64_t timeout, struct table *t)
{
	cleanup_text struct text node = {};
	int status = context_node(x, "caps", g->slot, &node), fd;

	if (status != 0)
		return status;
	if (node_kind(node.data) != NODE_SLOT)
		return complain_usage("'%s' is not a slot", g->slot);
	fd = run_open_slot(x, node.data, timeout);
	if (fd < 0) {
		run_complain_slot(x, fd, g->slot);
		return STATUS_CANNOT;
	}
	return table_add(t, fd, g->label ? g->label : node_name(node.data));
}

static int
add_null(struct table *t, const char *label)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? complain(errno, NULL, "/dev/null") : table_add(t, fd, label);
}

/*
 * It is opened by whoever starts the program, which may have laid something there: a link to what only we may
 * change, a pipe that nobody reads.
 */
static int
add_output(const struct start *s, struct table *t, const char *label)
{
	int fd = open(s->output,
		O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
	struct stat st;

	if (fd < 0)
		return complain(errno, NULL, "%s", s->output);
	if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)) ||
		fd_set_nonblock(fd, false) < 0) {
		close(fd);
		return complain(EINVAL, "an output is a file", "%s", s->output);
	}
	return table_add(t, fd, label);
}

/* Who reads a detached program's name from a pipe would wait for the program's end, too. */
static int
add_standard(const struct start *s, struct table *t, int i)
{
	static const char *const standard[] = {"stdin", "stdout", "stderr"};

	if (s->output && i != STDIN_FILENO)
		return add_output(s, t, standard[i]);
	if (s->words->detach && i != STDERR_FILENO)
		return add_null(t, standard[i]);
	return table_add(t, i, standard[i]);
}

static int
fill(struct context *x, const struct start *s, struct table *t)
{
	const struct run_words *w = s->words;
	int status = 0;

	for (int i = 0; i < STANDARD && status == 0; i++)
		status = add_standard(s, t, i);
	for (size_t i = 0; i < w->n_given && status == 0; i++) {
		const struct run_given *g = &w->given[i];

		if (!g->slot)
			status = table_add(t, g->fd, g->label);
		else if (!w->is_new)
			status = open_slot(x, g, w->timeout_usec, t);
	}
	return status;
}

/* Behind all that: the tree's descriptors, and the tree. */
static int
add_tree(struct context *x, struct start *s, struct table *t)
{
	struct resolving g = {.context = x,
		.session = s->session,
		.child = s->child,
		.timeout_usec = s->words->timeout_usec};
	struct run_tree *tree = s->tree;
	int status;

	reserve_release(&s->reserve);
	status = run_tree_open(tree, run_resolve, &g, (int)t->n);

	for (size_t i = 0; status == 0 && i < capc_args_n_fds(tree->given); i++) {
		const char *label;
		int fd = capc_args_fd(tree->given, i, &label);

		status = table_lend(t, fd, *label ? label : "arg");
	}
	return status ? status : table_lend(t, tree->memfd, "args");
}

/* --- starting it --- */

int
start_status(int error, const char *step)
{
	return error == ENOENT && strcmp(step, "exec") == 0 ? STATUS_NO_FILE : STATUS_CANNOT;
}

/* "step exec: there is no such program": what failed stands before the error, why behind it. */
static int
complain_start(int r, const char *reason, const char *program)
{
	int n = 0;
	char step[16] = "";

	if (!reason || sscanf(reason, "step %15[a-z0-9]%n", step, &n) != 1) {
		complain(r, reason, "%s", program);
		return STATUS_CANNOT;
	}
	reason += n;
	complain(r, strncmp(reason, ": ", 2) == 0 ? reason + 2 : NULL, "%s: step %s", program, step);
	return start_status(abs(r), step);
}

int
start_place(struct context *x, const char *node, struct text *t)
{
	cleanup_text struct text confinement = {};
	char root[PATH_MAX];
	int r = context_read(x, node, "confine", &confinement);

	if (r < 0)
		return r;
	if (confinement.n > 0 && strcmp(confinement.data, "none\n") != 0)
		text_add(t, "CAPFS=/cap");
	else
		text_addf(t, "CAPFS=%s%s%s", realpath(x->place.root, root) ? root : x->place.root,
			*node ? "/" : "", node);
	return text_done(t);
}

/* First of all where its session is, in PLACE or NULL; then what the file says, then what was said here. */
static char **
environment(const struct start *s, char *place, const struct table *t, char buffer[32])
{
	struct run_words all = *s->words;
	size_t n = 0;
	char **ret;

	all.env = calloc(s->file.n_env + s->words->n_env + 2, sizeof(*all.env));
	if (!all.env)
		return NULL;
	if (place)
		all.env[n++] = place;
	for (size_t i = 0; i < s->file.n_env; i++)
		all.env[n++] = s->file.env[i];
	for (size_t i = 0; i < s->words->n_env; i++)
		all.env[n++] = s->words->env[i];
	if (s->tree->name) {
		snprintf(buffer, 32, "CAP_ARGS_FD=%zu", t->n - 1);
		all.env[n++] = buffer;
	}
	all.n_env = n;
	ret = run_words_environment(&all, environ);
	free(all.env);
	return ret;
}

const char *
start_serve(const struct start *s)
{
	return s->words->serve ? s->words->serve : s->file.serve;
}

unsigned
start_restart(const struct start *s)
{
	unsigned restart = s->words->restart ? s->words->restart : s->file.restart;

	return restart || !start_serve(s) ? restart : CAPC_SPAWN_RESTART_ALWAYS;
}

/* NAME[,WORD...]. The words are separated by blanks in what the daemon reads. Returns: 0 or -ENOMEM. */
static int
split_serve(const struct start *s, struct text *name, struct text *how)
{
	const char *serve = start_serve(s);
	size_t n = serve ? strcspn(serve, ",") : 0;

	text_add_n(name, serve ? serve : "", n);
	text_add(how, serve && serve[n] ? serve + n + 1 : "");
	for (size_t i = 0; i < how->n && !how->failed; i++)
		if (how->data[i] == ',')
			how->data[i] = ' ';
	return text_done(name) < 0 || text_done(how) < 0 ? -ENOMEM : 0;
}

bool
start_is_elsewhere(const struct start *s)
{
	return s->session[0] == '@';
}

int
start_program(struct context *x, struct start *s, capc_thread **ret)
{
	cleanup(table_deinit) struct table table = {};
	cleanup_free char **env = NULL, *reason = NULL;
	cleanup_text struct text place = {}, name = {}, serves = {}, how = {};
	const struct run_words *w = s->words;
	struct capc_spawn p = {.size = sizeof(p)};
	struct run_heartbeat heartbeat;
	char tree[32];
	int r = fill(x, s, &table);

	if (r == 0 && s->tree->name)
		r = add_tree(x, s, &table);
	if (r != 0)
		return r == STATUS_USAGE ? STATUS_USAGE : STATUS_CANNOT;
	r = s->child ? start_place(x, s->session, &place) : 0;
	if (r < 0) {
		complain(r, capc_session_reason(x->session), "run");
		return STATUS_CANNOT;
	}
	env = environment(s, place.data, &table, tree);
	if (start_is_elsewhere(s))
		text_add(&name, s->session);
	else
		session_name(s->session, &name);
	if (!env || text_done(&name) < 0 || split_serve(s, &serves, &how) < 0) {
		complain(ENOMEM, NULL, "run");
		return STATUS_CANNOT;
	}
	p.session = name.data;
	p.name = w->name ? w->name : s->file.name;
	p.argv = s->argv;
	p.envp = env;
	p.fds = table.fds;
	p.labels = (const char *const *)table.labels;
	p.n_fds = table.n;
	p.groups = w->groups;
	p.n_groups = w->n_groups;
	p.flags = CAPC_SPAWN_LISTEN | (w->die_with || (start_is_elsewhere(s) && !w->detach) ? CAPC_SPAWN_DIE_WITH : 0) |
		(w->detach ? CAPC_SPAWN_DETACHED : 0) | (w->open_sockets ? CAPC_SPAWN_OPEN_SOCKETS : 0) |
		start_restart(s);
	p.serves = start_serve(s) ? serves.data : NULL;
	p.serves_how = how.n > 0 ? how.data : NULL;
	heartbeat = w->heartbeat.sec ? w->heartbeat : s->file.heartbeat;
	p.heartbeat_sec = heartbeat.sec;
	p.heartbeat_max = heartbeat.max;
	if (forward_kept())
		return complain_usage("signal %d: it was not started", forward_kept()), STATUS_SIGNAL + forward_kept();
	r = capc_spawn(x->session, &p, w->timeout_usec, ret, &reason);
	if (r == -EPERM && s->child && !w->uid && geteuid() == 0)
		return complain_start(r, "step start: programs are not root's, --uid says whose", s->argv[0]);
	if (r < 0)
		return complain_start(r, reason, s->argv[0]);
	run_tree_keep(s->tree);
	return 0;
}

/* As it is given to the program, too. */
int
start_find(char **argv, struct text *ret)
{
	int r = run_find(argv[0], getenv("PATH"), ret);

	if (r == 0) {
		argv[0] = ret->data;
		return 0;
	}
	complain(r, r == -ENOENT ? "it is in no directory of PATH" : NULL, "%s", argv[0]);
	return r == -ENOENT ? STATUS_NO_FILE : STATUS_CANNOT;
}
