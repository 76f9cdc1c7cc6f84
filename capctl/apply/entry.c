/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One session of the file: its keys become the words that `capctl run` takes. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/apply/arguments.h"
#include "capctl/apply/plan.h"
#include "capctl/command.h"
#include "capctl/owner.h"
#include "capctl/run/settle.h"
#include "capctl/run/start.h"

void
entry_free(struct entry *e)
{
	for (size_t i = 0; i < e->n_argv; i++)
		free(e->argv[i]);
	for (size_t i = 0; i < e->n_program; i++)
		free(e->program[i]);
	for (size_t i = 0; i < e->n_uses; i++)
		free(e->uses[i].name);
	free(e->uses);
	run_words_deinit(&e->words);
	profile_deinit(&e->profile);
	run_tree_deinit(&e->tree);
	text_deinit(&e->node);
	text_deinit(&e->session);
	free(e->argv);
	free(e->program);
	free(e->profile_place);
	free(e->output);
	free(e->place);
	free(e->path);
	free(e->name);
	free(e);
}

/* --- where it is --- */

static int
set_names(struct plan *p, struct entry *e, const char *key)
{
	const char *above = p->context->place.session;
	cleanup_text struct text name = {};

	if (e->parent && *e->parent->name)
		text_addf(&name, "%s/", e->parent->name);
	text_add(&name, e->parent ? key : "");
	if (e->parent)
		text_add(&e->node, e->parent->node.data);
	else if (above && session_node(above, &e->node) < 0)
		return complain_usage("'%s' is not the name of a session", above);
	node_append(&e->node, "sessions");
	node_append(&e->node, key);
	if (text_done(&name) < 0 || text_done(&e->node) < 0)
		return plan_no_memory();
	session_name(e->node.data, &e->session);
	e->name = text_take(&name);
	return text_done(&e->session) < 0 ? plan_no_memory() : 0;
}

static int
add_entry(struct plan *p, struct entry *e)
{
	size_t size = p->size ? p->size * 2 : 16;
	struct entry **all;

	if (p->n == p->size) {
		all = reallocarray(p->all, size, sizeof(struct entry *));
		if (!all)
			return -ENOMEM;
		p->all = all;
		p->size = size;
	}
	p->all[p->n++] = e;
	return 0;
}

int
entry_read(struct plan *p, struct entry *parent, const char *path, const char *key,
	const struct capc_value *v)
{
	struct entry *e;

	if (!name_is_valid(key, strlen(key)))
		return plan_refuse(p, path, "'%s' cannot be the name of a session", key);
	if (v->type != CAPC_MAP)
		return plan_refuse(p, path, "a session is a map");
	e = calloc(1, sizeof(*e));
	if (!e || add_entry(p, e) < 0) {
		free(e);
		return plan_no_memory();
	}
	e->parent = parent;
	e->tree = (struct run_tree){.memfd = -1};
	e->path = strdup(path);
	e->place = plan_place(p, path);
	return e->path && e->place ? set_names(p, e, key) : plan_no_memory();
}

/* --- its keys --- */

struct taker {
	struct plan *plan;
	struct entry *entry;
	const char *key; /* of the option whose values these are */
};

/* Takes WORD, in any case; behind it stands NULL. */
static int
add_word(struct entry *e, char *word)
{
	char **argv;

	if (word && e->n_argv + 1 >= e->size_argv) {
		size_t size = e->size_argv ? e->size_argv * 2 : 16;

		argv = reallocarray(e->argv, size, sizeof(*argv));
		if (!argv) {
			free(word);
			return plan_no_memory();
		}
		e->argv = argv;
		e->size_argv = size;
	}
	if (!word)
		return plan_no_memory();
	e->argv[e->n_argv++] = word;
	e->argv[e->n_argv] = NULL;
	return 0;
}

static int
take_string(struct taker *t, const char *path, const struct capc_value *v, char **ret)
{
	if (v->type != CAPC_STRING)
		return plan_refuse(t->plan, path, "this is no string: it may want quotes");
	if (memchr(v->string.data, 0, v->string.n))
		return plan_refuse(t->plan, path, "there is a NUL in this string");
	*ret = strndup(v->string.data, v->string.n);
	return *ret ? 0 : plan_no_memory();
}

static int
check_given(const struct run_words *w)
{
	cleanup_text struct text t = {};

	for (size_t i = 0; i < w->n_given; i++)
		if (w->given[i].limits && run_limits(w->given[i].limits, LIMITS_END_OPTION, &t) < 0)
			return complain_usage("'%s' are no limits", w->given[i].limits);
	return 0;
}

/* By itself, as its place is known now. */
static int
check_option(const char *option)
{
	cleanup(run_words_deinit) struct run_words w = {};
	cleanup_free char *copy = strdup(option);
	cleanup_text struct text quota = {}, confinement = {};
	struct owner owner = OWNER_UNCHANGED;
	char name[] = "apply", is_new[] = "--new";
	char *argv[] = {name, is_new, copy, NULL};
	int status = 0;

	if (!copy)
		return plan_no_memory();
	if (run_words_parse(&w, 3, argv) < 0)
		return STATUS_USAGE;
	if (w.uid)
		status = owner_parse(w.uid, &owner);
	if (status == 0)
		status = run_quota(&w, &quota);
	if (status == 0)
		status = run_confinement(&w, &confinement);
	return status ? status : check_given(&w);
}

static int
take_option(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct taker *t = data;
	cleanup_free char *value = NULL, *place = NULL;
	cleanup_text struct text option = {};
	int status = 0;

	if (v->type == CAPC_INT)
		text_addf(&option, "--%s=%" PRId64, t->key, v->integer);
	else
		status = take_string(t, path, v, &value);
	if (status != 0)
		return status;
	if (value)
		text_addf(&option, "--%s=%s", t->key, value);
	place = plan_place(t->plan, path);
	if (!place || text_done(&option) < 0)
		return plan_no_memory();
	complain_at(place);
	status = check_option(option.data);
	complain_at(NULL);
	if (status == 0 && strcmp(t->key, "profile") == 0) {
		free(t->entry->profile_place);
		t->entry->profile_place = take_ptr(place);
	}
	return status ? STATUS_FAILED : add_word(t->entry, text_take(&option));
}

/* One, or a sequence of them. */
static int
take_options(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	struct taker below = {t->plan, t->entry, key};
	int r;

	if (v->type != CAPC_SEQUENCE)
		return take_option(path, NULL, v, &below);
	r = capc_args_each(t->plan->args, path, take_option, &below);
	return r < 0 ? plan_no_memory() : r;
}

static int
take_clear_env(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	if (v->type != CAPC_BOOL)
		return plan_refuse(t->plan, path, "it is true or false");
	return v->boolean ? add_word(t->entry, strdup("--clear-env")) : 0;
}

static int
take_program_word(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct taker *t = data;
	int status = take_string(t, path, v, &t->entry->program[t->entry->n_program]);

	if (status == 0)
		t->entry->n_program++;
	return status;
}

static int
take_program(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	if (v->type != CAPC_SEQUENCE || v->n_items == 0)
		return plan_refuse(t->plan, path, "it is a sequence of words, the program first");
	t->entry->has_program = true;
	t->entry->program = calloc(v->n_items + 1, sizeof(char *));
	return t->entry->program ? capc_args_each(t->plan->args, path, take_program_word, t)
				 : plan_no_memory();
}

static int
take_variable(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct taker *t = data;
	cleanup_free char *value = NULL;
	cleanup_text struct text option = {};
	int status = take_string(t, path, v, &value);

	if (status != 0)
		return status;
	if (strchr(key, '='))
		return plan_refuse(t->plan, path, "a key of the environment has no '='");
	text_addf(&option, "--env=%s=%s", key, value);
	return text_done(&option) < 0 ? plan_no_memory() : add_word(t->entry, text_take(&option));
}

static int
take_env(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	if (v->type != CAPC_MAP)
		return plan_refuse(t->plan, path, "it is a map of strings");
	return capc_args_each(t->plan->args, path, take_variable, t);
}

static int
take_output(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	int status = take_string(t, path, v, &t->entry->output);

	if (status == 0)
		arguments_digest(t->entry, t->entry->output, strlen(t->entry->output) + 1);
	return status;
}

/* It is read once it is known what the session is granted. */
static int
take_args(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	if (v->type != CAPC_MAP)
		return plan_refuse(t->plan, path, "it is a map");
	t->entry->has_args = true;
	return 0;
}

static int
take_session(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct taker *t = data;

	return entry_read(t->plan, t->entry, path, key, v);
}

static int
take_sessions(struct taker *t, const char *path, const char *key, const struct capc_value *v)
{
	if (v->type != CAPC_MAP)
		return plan_refuse(t->plan, path, "it is a map of sessions");
	t->entry->has_sessions = true;
	return capc_args_each(t->plan->args, path, take_session, t);
}

static const struct {
	const char *key;
	int (*take)(struct taker *t, const char *path, const char *key, const struct capc_value *v);
	bool of_sessions; /* also where there is no program */
} keys[] = {
	{"program", take_program},
	{"sessions", take_sessions, true},
	{"quota", take_options, true},
	{"profile", take_options},
	{"confine", take_options},
	{"workspace", take_options},
	{"uid", take_options},
	{"cap", take_options},
	{"clear-env", take_clear_env},
	{"timeout", take_options},
	{"restart", take_options},
	{"serve", take_options},
	{"heartbeat", take_options},
	{"env", take_env},
	{"output", take_output},
	{"args", take_args},
};

static int
take_key(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct taker *t = data;
	struct capc_value sessions;
	bool is_group = capc_args_get(t->plan->args, t->key, &sessions) == 0;
	int r;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].key, key) != 0)
			continue;
		if (is_group && !keys[i].of_sessions)
			return plan_refuse(t->plan, path,
				"a session that has others has nothing else but a quota");
		r = keys[i].take(t, path, key, v);
		return r < 0 ? plan_no_memory() : r;
	}
	return plan_refuse(t->plan, path,
		"it is none of program, sessions, quota, profile, confine, workspace, uid, cap, "
		"clear-env, timeout, restart, serve, heartbeat, env, output, args");
}

static int
take_keys(struct plan *p, struct entry *e)
{
	cleanup_text struct text sessions = {};
	struct taker t = {.plan = p, .entry = e};
	int r;

	text_addf(&sessions, "%s.sessions", e->path);
	if (text_done(&sessions) < 0)
		return plan_no_memory();
	t.key = sessions.data;
	r = capc_args_each(p->args, e->path, take_key, &t);
	if (r != 0)
		return r < 0 ? plan_no_memory() : r;
	if (!e->has_program && !e->has_sessions)
		return plan_refuse(p, e->path, "a session has a program, or others below it");
	return 0;
}

/* --- what they say together --- */

/* What is granted has a name that the file gives, so that it is found again. */
static int
take_uses(struct plan *p, struct entry *e)
{
	e->uses = calloc(e->words.n_given + 1, sizeof(*e->uses));
	if (!e->uses)
		return plan_no_memory();
	for (size_t i = 0; i < e->words.n_given; i++) {
		const struct run_given *g = &e->words.given[i];
		const char *colon = strrchr(g->slot, ':');
		const char *name = g->label ? g->label : node_name(colon ? colon + 1 : g->slot);
		struct use *u = &e->uses[e->n_uses];

		for (size_t j = 0; j < e->n_uses; j++)
			if (strcmp(e->uses[j].name, name) == 0)
				return plan_refuse(p, e->path, "two slots are called '%s'", name);
		if (!name_is_valid(name, strlen(name)))
			return plan_refuse(p, e->path, "'%s' cannot be the name of a slot", name);
		u->given = g;
		u->name = strdup(name);
		if (!u->name)
			return plan_no_memory();
		e->n_uses++;
	}
	return 0;
}

/* The command line, with the profile's words. */
static int
finish_words(struct entry *e)
{
	int argc = (int)e->n_argv;
	char **argv = e->argv;
	const char *profile = run_words_profile(argc, argv);

	if (profile) {
		complain_at(e->profile_place);
		if (profile_read(&e->profile, profile, argc, argv) != 0)
			return STATUS_FAILED;
		argc = e->profile.argc;
		argv = e->profile.argv;
	}
	complain_at(e->place);
	for (int i = 0; i < argc; i++)
		arguments_digest(e, argv[i], strlen(argv[i]) + 1);
	return run_words_parse(&e->words, argc, argv) < 0 ? STATUS_FAILED : check_given(&e->words);
}

static int
find_program(struct entry *e)
{
	cleanup_text struct text path = {};
	char *first = e->program[0];
	int status = start_find(e->program, &path);

	if (status != 0)
		return status;
	free(first);
	e->program[0] = text_take(&path);
	for (size_t i = 0; i < e->n_program; i++)
		arguments_digest(e, e->program[i], strlen(e->program[i]) + 1);
	return 0;
}

static int
finish_program(struct plan *p, struct entry *e)
{
	int status;

	status = finish_words(e);
	if (status == 0 && e->has_program)
		status = find_program(e);
	complain_at(NULL);
	return status ? STATUS_FAILED : take_uses(p, e);
}

int
entry_finish(struct plan *p, struct entry *e)
{
	static const char *const begin[] = {"apply", "--detach"};
	cleanup_text struct text is_new = {};
	int status = 0;

	text_addf(&is_new, "--new=%s", node_name(e->node.data));
	if (text_done(&is_new) < 0)
		return plan_no_memory();
	for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]) && status == 0; i++)
		status = add_word(e, strdup(begin[i]));
	if (status == 0)
		status = add_word(e, text_take(&is_new));
	if (status == 0)
		status = take_keys(p, e);
	if (status == 0)
		status = finish_program(p, e);
	if (status == 0 && e->has_args)
		status = arguments_read(p, e);
	e->words.name = e->digest;
	return status;
}
