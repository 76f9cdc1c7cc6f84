/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl run: a program in a session, with what it is given, for as long as it runs. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/command.h"
#include "capctl/run/child.h"
#include "capctl/run/file.h"
#include "capctl/run/forward.h"
#include "capctl/run/profile.h"
#include "capctl/run/resolve.h"
#include "capctl/run/run.h"
#include "capctl/run/table.h"
#include "capctl/run/words.h"

/* What is to be started. */
struct start {
	const struct run_words *words;
	const char *session; /* its node, "" for ours */
	char **argv;
	struct run_tree *tree; /* without a name: there is none */
	struct run_file file;  /* without words: there is none */
	struct child *child;   /* the session, if it was made for the program, else NULL */
	struct reserve reserve; /* while there is a tree to be opened */
};

static void
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

static int
check_fds(const struct run_words *w)
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
	if (fd < 0)
		return complain(fd, capc_session_reason(x->session), "%s", g->slot);
	return table_add(t, fd, g->label ? g->label : node_name(node.data));
}

/* Who reads a detached program's name from a pipe would wait for the program's end, too. */
static int
add_null(struct table *t, const char *label)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? complain(errno, NULL, "/dev/null") : table_add(t, fd, label);
}

static int
fill(struct context *x, const struct run_words *w, struct table *t)
{
	static const char *const standard[] = {"stdin", "stdout", "stderr"};
	int status = 0;

	for (int i = 0; i < STANDARD && status == 0; i++)
		status = w->detach && i != STDERR_FILENO ? add_null(t, standard[i]) : table_add(t, i, standard[i]);
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

/* The session that NODE is, as the library calls it: "app/db" for sessions/app/sessions/db. */
static int
session_name(const char *node, struct text *ret)
{
	while (*node) {
		size_t n;

		node += strlen("sessions/");
		n = strcspn(node, "/");
		text_addf(ret, "%s%.*s", ret->n > 0 ? "/" : "", (int)n, node);
		node += n + (node[n] == '/');
	}
	return text_done(ret);
}

/* --- how it began and ended --- */

static int
status_of_failure(int error, const char *step)
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
	return status_of_failure(abs(r), step);
}

static int
status_of(const struct capc_exit *e, const char *program)
{
	if (e->error) {
		complain(e->error, NULL, "%s: step %s", program, e->step);
		return status_of_failure(e->error, e->step);
	}
	return WIFSIGNALED(e->status) ? STATUS_SIGNAL + WTERMSIG(e->status) : WEXITSTATUS(e->status);
}

static unsigned
restart_of(const struct start *s)
{
	return s->words->restart ? s->words->restart : s->file.restart;
}

static int
wait_for(struct context *x, capc_thread *t, const struct start *s)
{
	const char *session = s->session, *program = s->argv[0];
	cleanup_text struct text node = {};
	struct capc_exit e;
	struct forward f;
	int forwarding, r;

	text_addf(&node, "%s%sthreads/%s", session, *session ? "/" : "", capc_thread_id(t));
	r = text_done(&node);
	forwarding = r < 0 ? r : forward_start(&f, x->options.cap, node.data, restart_of(s));
	if (forwarding < 0)
		complain(forwarding, NULL, "%s: signals are not passed on", program);
	r = capc_thread_wait(t, CAPC_FOREVER, &e);
	if (forwarding == 0)
		forward_end(&f);
	if (r < 0) {
		complain(r, capc_session_reason(x->session), "%s: it was started, how it ended is not known",
			program);
		return STATUS_LOST;
	}
	return status_of(&e, program);
}

/* Where programs find a session that was made for them. */
static char *
place_of_child(const struct context *x, const struct child *c)
{
	cleanup_text struct text place = {};
	char root[PATH_MAX];

	if (c->is_confined)
		return strdup("CAPFS=/cap");
	text_addf(&place, "CAPFS=%s/%s", realpath(x->place.root, root) ? root : x->place.root, c->node.data);
	return text_done(&place) < 0 ? NULL : text_take(&place);
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

static int
start(struct context *x, struct start *s, capc_thread **ret)
{
	cleanup(table_deinit) struct table table = {};
	cleanup_free char **env = NULL, *reason = NULL, *place = NULL;
	cleanup_text struct text name = {};
	const struct run_words *w = s->words;
	struct capc_spawn p = {.size = sizeof(p)};
	char tree[32];
	int r = fill(x, w, &table);

	if (r == 0 && s->tree->name)
		r = add_tree(x, s, &table);
	if (r != 0)
		return r == STATUS_USAGE ? STATUS_USAGE : STATUS_CANNOT;
	place = s->child ? place_of_child(x, s->child) : NULL;
	env = environment(s, place, &table, tree);
	if (!env || (s->child && !place) || session_name(s->session, &name) < 0) {
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
	p.flags = CAPC_SPAWN_LISTEN | (w->die_with ? CAPC_SPAWN_DIE_WITH : 0) |
		(w->detach ? CAPC_SPAWN_DETACHED : 0) | (w->open_sockets ? CAPC_SPAWN_OPEN_SOCKETS : 0) |
		restart_of(s);
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

static int
start_and_wait(struct context *x, struct start *s)
{
	capc_thread *t;
	int status = start(x, s, &t);

	/* The program alone has them now, and others see when it closes them. */
	run_tree_deinit(s->tree);
	if (status != 0)
		return status;
	if (s->words->detach)
		printf("%s%s%s\n", s->child ? s->child->name : "", s->child ? " " : "", capc_thread_id(t));
	else
		status = wait_for(x, t, s);
	capc_thread_free(t);
	return status;
}

/* The session goes with its program. One that goes on without us keeps its own. */
static int
start_in_child(struct context *x, struct start *s)
{
	cleanup(child_deinit) struct child c = {};
	const char *parent = s->session;
	int status;

	forward_keep();
	status = child_make(&c, x, s->words, parent, s->argv[0]);
	if (status != 0)
		return status;
	s->child = &c;
	s->session = c.node.data;
	status = start_and_wait(x, s);
	if (!s->words->detach || status != 0)
		child_close(&c, x);
	s->child = NULL;
	s->session = parent;
	return status;
}

/* --- the command --- */

/* As it is given to the program, too. */
static int
find(char **argv, struct text *ret)
{
	int r = run_find(argv[0], getenv("PATH"), ret);

	if (r == 0) {
		argv[0] = ret->data;
		return 0;
	}
	complain(r, r == -ENOENT ? "it is in no directory of PATH" : NULL, "%s", argv[0]);
	return r == -ENOENT ? STATUS_NO_FILE : STATUS_CANNOT;
}

static int
run_program(struct context *x, struct start *s)
{
	cleanup_text struct text session = {}, program = {};
	const struct run_words *w = s->words;
	const char *name = w->name ? w->name : s->file.name;
	char *first = s->argv[0];
	int status;

	if (w->session || s->file.session)
		x->place.session = w->session ? w->session : s->file.session;
	/* The words first, since they are ours to get right. */
	if (context_session(x, &session) != 0)
		return STATUS_USAGE;
	if (name && !name_is_valid(name, strlen(name)))
		return complain_usage("'%s' cannot be the name of a program", name);
	if (session.data && node_kind(session.data) != NODE_SESSION)
		return complain_usage("'%s' is not a session", session.data);
	s->session = session.data ? session.data : "";
	status = find(s->argv, &program);
	if (status == 0 && (check_fds(w) != 0 || (s->tree->name && reserve_fds(&s->reserve) != 0) ||
				   context_open(x) != 0))
		status = STATUS_CANNOT;
	if (status == 0)
		status = w->is_new ? start_in_child(x, s) : start_and_wait(x, s);
	s->argv[0] = first;
	return status;
}

/* All of the text is checked before anything is asked or made. */
static int
read_tree(struct start *s, const char *file, bool is_program)
{
	capc_args *checked;
	int status = run_tree_read(s->tree, file);

	if (status == 0)
		status = run_tree_check(s->tree, &checked);
	if (status != 0)
		return STATUS_CANNOT;
	if (is_program) {
		s->tree->root = "args";
		status = run_file_take(&s->file, s->tree, checked, s->argv + 1);
		s->argv = s->file.argv;
	}
	capc_args_free(checked);
	return status;
}

static int
run_words(struct context *x, const struct run_words *w, char **argv)
{
	struct run_tree tree = {.memfd = -1};
	cleanup(start_deinit) struct start s = {.words = w, .argv = argv, .tree = &tree};
	bool is_program = !w->ended && run_file_is(argv[0]);
	int status = 0;

	if (is_program && w->args)
		return complain_usage("--args does not go with a file that has a tree of its own");
	/* Else what is opened here could be taken for one of these. */
	if (is_program || w->args)
		status = check_fds(w) != 0 ? STATUS_CANNOT
					   : read_tree(&s, is_program ? argv[0] : w->args, is_program);
	return status ? status : run_program(x, &s);
}

static int
run_parsed(struct context *x, int argc, char **argv)
{
	cleanup(run_words_deinit) struct run_words w;
	int first = run_words_parse(&w, argc, argv);

	if (first < 0)
		return command_usage(&command_run, stderr);
	if (w.help)
		return command_usage(&command_run, stdout), STATUS_DONE;
	if (w.version)
		return command_version();
	if (first == argc)
		return command_usage(&command_run, stderr);
	return run_words(x, &w, argv + first);
}

static int
run_run(struct context *x, int argc, char **argv)
{
	cleanup(profile_deinit) struct profile p = {};
	const char *profile = run_words_profile(argc, argv);

	if (!profile)
		return run_parsed(x, argc, argv);
	if (profile_read(&p, profile, argc, argv) != 0)
		return STATUS_USAGE;
	return run_parsed(x, p.argc, p.argv);
}

const struct command command_run = {
	.name = "run",
	.arguments = "[--session=SESSION] [--new | --profile=NAME] [--cap SLOT[=NAME][,LIMIT…]]… [--fd NAME=N]… [OPTION…] [--] PROGRAM|FILE.yaml [ARGUMENT…]",
	.summary = "run a program in a session, with capabilities and descriptors",
	.own_options = true,
	.n_max = -1,
	.run = run_run,
};
