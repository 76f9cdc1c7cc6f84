/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What commands have in common: the connection, nodes, messages. */
#include "config.h"

#include "capctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const char *complaint_place;

void
complain_at(const char *place)
{
	complaint_place = place;
}

static void
begin_complaint(void)
{
	fputs("capctl: ", stderr);
	if (complaint_place)
		fprintf(stderr, "%s: ", complaint_place);
}

int
complain(int error, const char *reason, const char *format, ...)
{
	size_t n = reason ? strcspn(reason, "\n") : 0;
	va_list args;

	/* What was already printed belongs before the complaint about what was not. */
	fflush(stdout);
	begin_complaint();
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (n > 0)
		fprintf(stderr, ": %s: %.*s\n", error_name(error), (int)n, reason);
	else
		fprintf(stderr, ": %s: %s\n", error_name(error), strerror(abs(error)));
	return STATUS_FAILED;
}

int
complain_usage(const char *format, ...)
{
	va_list args;

	begin_complaint();
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return STATUS_USAGE;
}

int
command_usage(const struct command *c, FILE *f)
{
	fprintf(f, "usage: capctl %s %s\n", c->name, c->arguments);
	return STATUS_USAGE;
}

int
command_version(void)
{
	puts("capctl (capfsd) " PACKAGE_VERSION);
	return output_done(STATUS_DONE);
}

int
output_done(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return complain(errno, NULL, "write");
}

/* All that follows is asked of the session that the slot refers to. */
static int
go_through(struct context *x)
{
	cleanup_text struct text node = {};
	capc_session *through;
	const struct place own = {.root = x->place.root};
	int e;

	if (word_node(&own, "caps", x->options.via, &node) < 0)
		return complain_usage("'%s' is not the name of a slot", x->options.via);
	e = text_done(&node) < 0 ? -ENOMEM : capc_session_through(x->session, node.data, TIMEOUT_USEC, &through);
	if (e < 0)
		return complain(e, capc_session_reason(x->session), "%s", x->options.via);
	capc_session_free(x->session);
	x->session = through;
	/* Nothing of the tree that is seen here is there. */
	x->place.root = x->options.via;
	return 0;
}

int
context_open(struct context *x)
{
	int e = capc_session_open(x->options.cap, TIMEOUT_USEC, &x->session);

	if (e < 0)
		return complain(e,
			e == -ENOENT || e == -ECONNREFUSED ? "no capfsd answers there" : NULL, "%s",
			x->place.root);
	if (x->options.via && go_through(x) != 0)
		return STATUS_FAILED;
	e = capc_read(x->session, "label", &x->label, TIMEOUT_USEC);
	if (e < 0)
		return complain(e, capc_session_reason(x->session), "%s", x->place.root);
	x->label[strcspn(x->label, "\n")] = '\0';
	x->place.label = x->label;
	return 0;
}

void
context_deinit(struct context *x)
{
	x->session = capc_session_free(x->session);
	x->place.label = NULL;
	free(take_ptr(x->label));
}

int
context_node(struct context *x, const char *folder, const char *word, struct text *t)
{
	if (word_node(&x->place, folder, word, t) < 0)
		return complain_usage(
			"'%s' is not the name of a node below %s", word, x->place.root);
	return text_done(t) < 0 ? complain(ENOMEM, NULL, "%s", word) : 0;
}

int
context_begin(struct context *x, int status, const char *folder, const char *word, const struct text *how,
	struct text *ret_node)
{
	if (status == STATUS_DONE && text_done(how) < 0)
		status = complain(ENOMEM, NULL, "%s", word);
	if (status == STATUS_DONE)
		status = context_open(x);
	return status == STATUS_DONE ? context_node(x, folder, word, ret_node) : status;
}

int
context_session(struct context *x, struct text *t)
{
	if (x->place.session && session_node(x->place.session, t) < 0)
		return complain_usage("'%s' is not the name of a session", x->place.session);
	return text_done(t) < 0 ? complain(ENOMEM, NULL, "session") : 0;
}

/* NODE/FILE; either may be "". */
static int
join(const char *node, const char *file, struct text *t)
{
	text_add(t, node);
	if (*file)
		node_append(t, file);
	if (!t->data)
		text_add(t, "");
	return text_done(t);
}

int
context_read(struct context *x, const char *node, const char *file, struct text *t)
{
	cleanup_text struct text path = {};
	cleanup_free char *text = NULL;
	int e = join(node, file, &path);

	if (e == 0)
		e = capc_read(x->session, path.data, &text, TIMEOUT_USEC);
	if (e < 0)
		return e;
	text_add(t, text);
	return text_done(t);
}

int
context_ask(struct context *x, const char *node, const char *file, const char *text,
	const char *what, char **ret_answer)
{
	cleanup_text struct text path = {};
	cleanup_free char *answer = NULL;
	int e = join(node, file, &path);

	if (e == 0)
		e = capc_write(x->session, path.data, text, &answer, TIMEOUT_USEC);
	if (e < 0)
		return complain(e, answer, "%s", what);
	*ret_answer = take_ptr(answer);
	return STATUS_DONE;
}

int
context_write(struct context *x, const char *node, const char *file, const char *text, bool print,
	const char *what)
{
	cleanup_free char *answer = NULL;
	int status = context_ask(x, node, file, text, what, &answer);

	if (status == STATUS_DONE && print && answer && *answer)
		printf("%.*s\n", (int)strcspn(answer, "\n"), answer);
	return status;
}

int
command_word(struct text *t, const char *key, const char *word)
{
	return word_append(t, key, word) < 0 ? complain_usage("'%s' is not one word", word) : 0;
}

int
command_words(struct text *t, char *const *words, int n)
{
	int status = 0;

	for (int i = 0; i < n && status == 0; i++)
		status = command_word(t, NULL, words[i]);
	return status;
}

int
context_create(struct context *x, const char *node, const char *text, char **ret_reason)
{
	*ret_reason = NULL;
	return capc_create(x->session, node, text, ret_reason, TIMEOUT_USEC);
}

int
context_remove(struct context *x, const char *node, char **ret_reason)
{
	*ret_reason = NULL;
	return capc_remove(x->session, node, ret_reason, TIMEOUT_USEC);
}

static int
add_name(const char *name, void *data)
{
	struct name_list *l = data;

	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 64;
		char **names = reallocarray(l->names, size, sizeof(*names));

		if (!names)
			return -ENOMEM;
		l->names = names;
		l->size = size;
	}
	l->names[l->n] = strdup(name);
	if (!l->names[l->n])
		return -ENOMEM;
	l->n++;
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

void
name_list_deinit(struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->names[i]);
	free(l->names);
	*l = (struct name_list){};
}

int
context_list(struct context *x, const char *node, const char *folder, struct name_list *ret)
{
	cleanup(name_list_deinit) struct name_list list = {};
	cleanup_text struct text path = {};
	int e = join(node, folder, &path);

	if (e == 0)
		e = capc_list(x->session, path.data, add_name, &list, TIMEOUT_USEC);
	if (e < 0)
		return e;
	if (list.n > 0)
		qsort(list.names, list.n, sizeof(*list.names), compare_names);
	*ret = list;
	list = (struct name_list){};
	return 0;
}
