/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/ops-world.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
store_begin(void *data)
{
	return 0;
}

static int
store_put(void *data, uint64_t key, const void *record, size_t n)
{
	return ((struct store *)data)->full ? -ENOSPC : 0;
}

static int
store_drop(void *data, uint64_t key)
{
	return 0;
}

static int
store_commit(void *data)
{
	((struct store *)data)->n_commits++;
	return 0;
}

static void
store_abort(void *data)
{
}

static const struct store_ops store_ops = {
	.begin = store_begin,
	.put = store_put,
	.drop = store_drop,
	.commit = store_commit,
	.abort = store_abort,
};

void
world_init(struct world *w)
{
	const struct quota quota = {.n = {1024, 1024, 64, 64 << 20, 256}};

	*w = (struct world){};
	ck_assert_int_eq(model_new(&store_ops, &w->store, &w->model), 0);
	ck_assert_int_eq(
		model_create_root(w->model, 0, 0, SESSION_MODE_ROOT, &quota), 0);
}

void
world_deinit(struct world *w)
{
	request_deinit(&w->request);
	w->model = model_free(w->model);
}

struct request *
ask(struct world *w)
{
	request_deinit(&w->request);
	w->request = (struct request){.model = w->model, .uid = 1000, .gid = 1000};
	return &w->request;
}

struct node
walk(struct world *w, const char *path)
{
	struct node node;

	ck_assert_msg(tree_walk(w->model, tree_session(w->model->root), path, strlen(path), &node) == 0,
		"no node %s", path);
	return node;
}

bool
exists(struct world *w, const char *path)
{
	struct node node;

	return tree_walk(w->model, tree_session(w->model->root), path, strlen(path), &node) == 0;
}

static void
settle(struct world *w)
{
	while (model_reap(w->model, 8) > 0 || share_run(w->model, 8) > 0)
		;
}

int
put(struct world *w, const char *path, const char *text)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_write(r, walk(w, path), text, strlen(text)), 0);
	settle(w);
	model_check(w->model);
	return r->error;
}

int
put_only(struct world *w, const char *path, const char *text)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_write(r, walk(w, path), text, strlen(text)), 0);
	return r->error;
}

int
make(struct world *w, const char *at, const char *name, const char *quota)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_create(r, walk(w, at), name, strlen(name), quota, strlen(quota)), 0);
	model_check(w->model);
	return r->error;
}

int
removed(struct world *w, const char *at, const char *name)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_remove(r, walk(w, at), name, strlen(name)), 0);
	settle(w);
	model_check(w->model);
	return r->error;
}

char *
text_of(struct world *w, const char *path)
{
	struct text t = {};

	tree_read(ask(w), walk(w, path), &t);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

void
expect_line(struct world *w, const char *path, const char *line)
{
	char *text = text_of(w, path);

	ck_assert_msg(strstr(text, line) != NULL, "%s has no '%s':\n%s", path, line, text);
	free(text);
}

void
expect_event(struct world *w, const char *part)
{
	char buffer[4096];
	struct session *s = w->model->root;
	uint64_t at = events_seek(s, EVENTS_ALL, sizeof(buffer) - 1);
	size_t n = events_read(s, EVENTS_ALL, &at, buffer, sizeof(buffer) - 1);

	buffer[n] = '\0';
	ck_assert_msg(strstr(buffer, part) != NULL, "no event '%s' in:\n%s", part, buffer);
}

void
serve(struct world *w)
{
	struct entrypoint *e;
	struct change *ch = change_begin(w->model);

	ck_assert_int_eq(entrypoint_attach(ch, w->model->root, "kv", 2, 0, 1, &e), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	ck_assert_int_eq(put(w, "entrypoints/kv/objects", "key=0 as=kv socket=stream"), 0);
}
