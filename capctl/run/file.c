/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "capctl/command.h"
#include "capctl/run/run.h"
#include "capctl/run/words.h"
#include "capctl/value.h"

bool
run_file_is(const char *word)
{
	const char *dot = strrchr(word, '.');

	return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

void
run_file_deinit(struct run_file *f)
{
	for (size_t i = 0; i < f->n_own; i++)
		free(f->argv[i]);
	for (size_t i = 0; i < f->n_env; i++)
		free(f->env[i]);
	free(f->argv);
	free(f->env);
	free(f->session);
	free(f->name);
	free(f->serve);
	*f = (struct run_file){};
}

/* --- what is wrong, with its place --- */

struct taker {
	struct run_file *file;
	const struct run_tree *tree;
	const capc_args *args;
};

/* The line of a key of the top, as it is usually written; else 1. */
static size_t
line_of(const struct text *t, const char *key)
{
	size_t n = strlen(key), line = 1;
	const char *end = t->data + t->n;

	for (const char *p = t->data; p < end; line++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		if ((size_t)(end - p) > n && memcmp(p, key, n) == 0 && strchr(": \t", p[n]))
			return line;
		if (!newline)
			break;
		p = newline + 1;
	}
	return 1;
}

/* PATH begins with a key of the top, and may be all that is said of the place below it. */
static int
refuse(const struct taker *t, const char *path, const char *reason)
{
	cleanup_free char *key = strndup(path, strcspn(path, "."));

	complain(EINVAL, NULL, "%s:%zu:1: %s: %s", t->tree->name, key ? line_of(&t->tree->text, key) : 1, path, reason);
	return STATUS_CANNOT;
}

static int
no_memory(void)
{
	complain(ENOMEM, NULL, "run");
	return STATUS_CANNOT;
}

/* --- what it says --- */

static int
take_string(const struct taker *t, const char *path, const struct capc_value *v, char **ret)
{
	if (v->type != CAPC_STRING)
		return refuse(t, path, "this is no string: it may want quotes");
	if (memchr(v->string.data, 0, v->string.n))
		return refuse(t, path, "there is a NUL in this string");
	free(*ret);
	*ret = strndup(v->string.data, v->string.n);
	return *ret ? 0 : no_memory();
}

static int
take_session(const struct taker *t, const struct capc_value *v)
{
	return take_string(t, "session", v, &t->file->session);
}

static int
take_name(const struct taker *t, const struct capc_value *v)
{
	return take_string(t, "name", v, &t->file->name);
}

static int
take_word(const char *path, const char *key, const struct capc_value *v, void *data)
{
	const struct taker *t = data;

	return take_string(t, path, v, &t->file->argv[t->file->n_own++]);
}

static int
take_program(const struct taker *t, const struct capc_value *v)
{
	if (v->type != CAPC_SEQUENCE || v->n_items == 0)
		return refuse(t, "program", "it is a sequence of words, the program first");
	return capc_args_each(t->args, "program", take_word, (void *)(uintptr_t)t);
}

static int
take_variable(const char *path, const char *key, const struct capc_value *v, void *data)
{
	const struct taker *t = data;
	cleanup_free char *value = NULL;
	cleanup_text struct text variable = {};
	int status;

	if (strchr(key, '='))
		return refuse(t, path, "a key of the environment has no '='");
	status = take_string(t, path, v, &value);
	if (status != 0)
		return status;
	text_addf(&variable, "%s=%s", key, value);
	if (text_done(&variable) < 0)
		return no_memory();
	t->file->env[t->file->n_env++] = text_take(&variable);
	return 0;
}

static int
take_env(const struct taker *t, const struct capc_value *v)
{
	if (v->type != CAPC_MAP)
		return refuse(t, "env", "it is a map of strings");
	t->file->env = calloc(v->n_items + 1, sizeof(*t->file->env));
	if (!t->file->env)
		return no_memory();
	return capc_args_each(t->args, "env", take_variable, (void *)(uintptr_t)t);
}

static int
take_restart(const struct taker *t, const struct capc_value *v)
{
	cleanup_free char *word = NULL;
	int status = take_string(t, "restart", v, &word);

	if (status != 0)
		return status;
	t->file->restart = run_words_restart(word);
	return t->file->restart ? 0 : refuse(t, "restart", "it is on-failure or always");
}

static int
take_serve(const struct taker *t, const struct capc_value *v)
{
	return take_string(t, "serve", v, &t->file->serve);
}

/* 5, or "5:3". */
static int
take_heartbeat(const struct taker *t, const struct capc_value *v)
{
	cleanup_free char *word = NULL;
	char digits[24];
	int status = 0;

	if (v->type == CAPC_INT)
		snprintf(digits, sizeof(digits), "%" PRId64, v->integer);
	else
		status = take_string(t, "heartbeat", v, &word);
	if (status != 0)
		return status;
	return run_words_heartbeat(word ? word : digits, &t->file->heartbeat) < 0
		? refuse(t, "heartbeat", "it is SECONDS or SECONDS:N") : 0;
}

/* That is read when it is opened. */
static int
take_args(const struct taker *t, const struct capc_value *v)
{
	return 0;
}

static const struct {
	const char *key;
	int (*take)(const struct taker *t, const struct capc_value *v);
} keys[] = {
	{"program", take_program},
	{"session", take_session},
	{"name", take_name},
	{"env", take_env},
	{"args", take_args},
	{"restart", take_restart},
	{"serve", take_serve},
	{"heartbeat", take_heartbeat},
};

static int
take_key(const char *path, const char *key, const struct capc_value *v, void *data)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].take(data, v);
	return refuse(data, path, "it is none of program, session, name, env, args, restart, serve, heartbeat");
}

int
run_file_take(struct run_file *f, const struct run_tree *tree, const capc_args *a, char *const *more)
{
	struct taker t = {.file = f, .tree = tree, .args = a};
	struct capc_value v = {};
	size_t n_more = 0, n;
	int status;

	*f = (struct run_file){};
	while (more[n_more])
		n_more++;
	n = capc_args_get(a, "program", &v) == 0 && v.type == CAPC_SEQUENCE ? v.n_items : 0;
	f->argv = calloc(n + n_more + 1, sizeof(*f->argv));
	if (!f->argv)
		return no_memory();
	if (capc_args_get(a, "", &v) < 0 || v.type != CAPC_MAP)
		return refuse(&t, "program", "the file is no map with a program");
	status = capc_args_each(a, "", take_key, &t);
	if (status < 0)
		return no_memory();
	if (status == 0 && f->n_own == 0)
		status = refuse(&t, "program", "there is none");
	for (size_t i = 0; i < n_more; i++)
		f->argv[f->n_own + i] = more[i];
	return status;
}
