/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/apply/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/command.h"

void
plan_deinit(struct plan *p)
{
	complain_at(NULL);
	for (size_t i = 0; i < p->n; i++)
		entry_free(p->all[i]);
	free(p->all);
	free(p->order);
	capc_args_free(p->args);
	run_tree_deinit(&p->tree);
}

/* --- what is wrong, with its place --- */

int
plan_no_memory(void)
{
	return complain(ENOMEM, NULL, "apply");
}

char *
plan_place(const struct plan *p, const char *path)
{
	cleanup_text struct text t = {};
	struct capc_place place = {.line = 1, .column = 1};

	/* What is not there is missed where the file begins. */
	(void)!capc_args_place(p->args, path, &place);
	text_addf(&t, "%s:%zu:%zu", p->tree.name, place.line, place.column);
	return text_done(&t) < 0 ? NULL : text_take(&t);
}

int
plan_refuse(const struct plan *p, const char *path, const char *format, ...)
{
	cleanup_free char *place = plan_place(p, path);
	cleanup_text struct text t = {};
	va_list args;

	va_start(args, format);
	text_vaddf(&t, format, args);
	va_end(args);
	if (!place || text_done(&t) < 0)
		return plan_no_memory();
	complain_at(place);
	complain(EINVAL, t.data, "%s", *path ? path : "the file");
	complain_at(NULL);
	return STATUS_FAILED;
}

/* --- the file --- */

static int
take_first(const char *path, const char *key, const struct capc_value *v, void *data)
{
	return entry_read(data, NULL, path, key, v);
}

int
plan_open(struct plan *p, struct context *x, const char *file)
{
	cleanup_free char *reason = NULL;
	struct capc_value v;
	int r, status;

	*p = (struct plan){.context = x};
	status = run_tree_read(&p->tree, file);
	if (status != 0)
		return status;
	r = capc_args_parse_yaml(p->tree.text.data ? p->tree.text.data : "", p->tree.text.n,
		p->tree.name, CAPC_ARGS_DRY, NULL, NULL, &p->args, &reason);
	if (r < 0)
		return complain(r, reason, "apply");
	if (capc_args_get(p->args, "", &v) < 0 || v.type != CAPC_MAP || v.n_items != 1)
		return plan_refuse(p, "", "it is a map of one session, which all others are below");
	r = capc_args_each(p->args, "", take_first, p);
	return r < 0 ? plan_no_memory() : r;
}

/* --- who uses whom --- */

static struct entry *
find(const struct plan *p, const char *name, size_t n)
{
	for (size_t i = 1; i < p->n; i++)
		if (strlen(p->all[i]->name) == n && memcmp(p->all[i]->name, name, n) == 0)
			return p->all[i];
	return NULL;
}

/* SESSION:SLOT is another one's of the file; what has no colon is not the file's. */
static int
find_user(const struct plan *p, struct entry *e, struct use *u)
{
	const char *word = u->given->slot, *colon = strchr(word, ':');

	u->slot = colon ? colon + 1 : word;
	if (!colon)
		return 0;
	u->from = find(p, word, (size_t)(colon - word));
	complain_at(e->place);
	if (!u->from)
		return complain(ENOENT, "no session of the file is called so", "%s: %s",
			e->session.data, word);
	if (!u->from->has_program)
		return complain(
			EINVAL, "that session has no program", "%s: %s", e->session.data, word);
	if (!name_is_valid(u->slot, strlen(u->slot)))
		return complain(EINVAL, "this cannot be the name of a slot", "%s: %s",
			e->session.data, word);
	return 0;
}

enum {
	VISIT_NONE,
	VISIT_BEGUN,
	VISIT_DONE,
};

static int visit(struct plan *p, struct entry *e);

/* Begun, and used by what was begun after it. */
static int
refuse_circle(struct entry *e, const struct use *u)
{
	complain_at(e->place);
	return complain(ELOOP, "each of them would wait for the other one to serve",
		"%s uses %s, which uses it in turn", e->session.data, u->from->session.data);
}

/* As deep as the file has sessions at most; the file is no longer than a tree may be. */
static int
visit_used(struct plan *p, struct entry *e)
{
	int status = 0;

	for (size_t i = 0; i < e->n_uses && status == 0; i++) {
		struct use *u = &e->uses[i];

		if (u->from && u->from->visit == VISIT_BEGUN)
			return refuse_circle(e, u);
		if (u->from)
			status = visit(p, u->from);
	}
	return status;
}

static int
visit(struct plan *p, struct entry *e)
{
	int status;

	if (e->visit != VISIT_NONE)
		return 0;
	e->visit = VISIT_BEGUN;
	status = visit_used(p, e);
	e->visit = VISIT_DONE;
	p->order[p->n_order++] = e;
	return status;
}

static int
sort(struct plan *p)
{
	int status = 0;

	p->order = calloc(p->n, sizeof(*p->order));
	if (!p->order)
		return plan_no_memory();
	for (size_t i = 0; i < p->n && status == 0; i++)
		for (size_t j = 0; j < p->all[i]->n_uses && status == 0; j++)
			status = find_user(p, p->all[i], &p->all[i]->uses[j]);
	for (size_t i = 0; i < p->n && status == 0; i++)
		if (p->all[i]->has_program)
			status = visit(p, p->all[i]);
	complain_at(NULL);
	return status;
}

int
plan_read(struct plan *p)
{
	int status = 0;

	/* Those that are below come behind it, and are read in their turn. */
	for (size_t i = 0; i < p->n && status == 0; i++)
		status = entry_finish(p, p->all[i]);
	return status ? status : sort(p);
}
