/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl run: a program in a session, with what it is given, for as long as it runs. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "capctl/command.h"
#include "capctl/run/forward.h"
#include "capctl/run/profile.h"
#include "capctl/run/run.h"
#include "capctl/run/start.h"

/* --- how it ended --- */

static int
status_of(const struct capc_exit *e, const char *program)
{
	if (e->error) {
		complain(e->error, NULL, "%s: step %s", program, e->step);
		return start_status(e->error, e->step);
	}
	return WIFSIGNALED(e->status) ? STATUS_SIGNAL + WTERMSIG(e->status) : WEXITSTATUS(e->status);
}

static int
wait_for(struct context *x, capc_thread *t, const struct start *s)
{
	const char *program = s->argv[0];
	struct capc_exit e;
	int r = forward_wait(x->session, t, start_restart(s), &e);

	if (r == 0)
		return status_of(&e, program);
	complain(r, capc_session_reason(x->session), "%s: it was started, how it ended is not known", program);
	return STATUS_LOST;
}

static int
start_and_wait(struct context *x, struct start *s)
{
	capc_thread *t;
	int status = start_program(x, s, &t);

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

static int
run_program(struct context *x, struct start *s)
{
	cleanup_text struct text session = {}, program = {};
	const struct run_words *w = s->words;
	const char *name = w->name ? w->name : s->file.name, *place = w->session ? w->session : s->file.session;
	bool elsewhere = place && *place == '@';
	char *first = s->argv[0];
	int status;

	if (place && !elsewhere)
		x->place.session = place;
	if (elsewhere && w->is_new)
		return complain_usage("--new makes a session below one that is below, and not below '%s'", place);
	/* The words first, since they are ours to get right. */
	if (context_session(x, &session) != 0)
		return STATUS_USAGE;
	if (name && !name_is_valid(name, strlen(name)))
		return complain_usage("'%s' cannot be the name of a program", name);
	if (session.data && node_kind(session.data) != NODE_SESSION)
		return complain_usage("'%s' is not a session", session.data);
	s->session = elsewhere ? place : session.data ? session.data : "";
	status = start_find(s->argv, &program);
	if (status == 0 && (start_check_fds(w) != 0 || (s->tree->name && reserve_fds(&s->reserve) != 0) ||
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
		status = start_check_fds(w) != 0 ? STATUS_CANNOT
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
	.by_path = true,
	.arguments = "[--session=SESSION] [--new | --profile=NAME] [--cap SLOT[=NAME][,LIMIT…]]… [--fd NAME=N]… [OPTION…] [--] PROGRAM|FILE.yaml [ARGUMENT…]",
	.summary = "run a program in a session, with capabilities and descriptors",
	.own_options = true,
	.n_max = -1,
	.run = run_run,
};
