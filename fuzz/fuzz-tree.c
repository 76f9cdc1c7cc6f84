/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands to the nodes of a tree that has sessions, a served entrypoint and slots. A line of the
 * input is "PATH TEXT", which is written there; "+PATH NAME QUOTA" makes, "-PATH NAME" removes,
 * "=PATH NAME NEW" renames, "." reaps. After each the model is a good one.
 */
#include "config.h"

#include <string.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/tree/tree.h"
#include "fuzz/fuzz.h"
#include "fuzz/store.h"

#define LINES_MAX 64

/* Takes what stands before the first END off REST, which goes on behind it. */
static struct word
take_word(struct word *rest, char end)
{
	const char *p = memchr(rest->p, end, rest->n);
	struct word word = {rest->p, p ? (size_t)(p - rest->p) : rest->n};

	rest->p += word.n + (p != NULL);
	rest->n -= word.n + (p != NULL);
	return word;
}

static bool
walk(struct model *m, struct word path, struct node *ret)
{
	int r = tree_walk(m, tree_session(m->root), path.p, path.n, ret);

	FUZZ_CHECK(r >= 0);
	return r == 0;
}

/* Returns: false where the tree has no such node. */
static bool
run_line(struct request *r, struct word rest)
{
	char what = strchr("+-=", *rest.p) ? *rest.p : '\0';
	struct word path, name;
	struct node node;
	int done;

	rest.p += what != '\0';
	rest.n -= what != '\0';
	path = take_word(&rest, ' ');
	if (!walk(r->model, path, &node))
		return false;
	if (!what) {
		FUZZ_CHECK(tree_write(r, node, rest.p, rest.n) == 0);
		return true;
	}
	name = take_word(&rest, ' ');
	if (what == '+')
		done = tree_create(r, node, name.p, name.n, rest.p, rest.n);
	else if (what == '-')
		done = tree_remove(r, node, name.p, name.n);
	else
		done = tree_rename(r, node, name.p, name.n, node, rest.p, rest.n);
	FUZZ_CHECK(done == 0);
	return true;
}

static void
run(struct model *m, struct word line)
{
	struct request r = {.model = m, .uid = 1000, .gid = 1000};

	if (line.n == 1 && *line.p == '.') {
		fuzz_reap(m, 2);
	} else if (line.n > 0 && run_line(&r, line)) {
		FUZZ_CHECK(r.error >= 0 && text_done(&r.text) == 0);
		FUZZ_CHECK(!r.error || r.text.n > 0);
		model_check(m);
	}
	request_deinit(&r);
}

static void
run_text(struct model *m, const char *text)
{
	run(m, (struct word){text, strlen(text)});
}

static struct model *
make_model(void)
{
	const struct quota quota = {.n = {1024, 1024, 64, 64 << 20, 256}};
	struct entrypoint *e;
	struct change *ch;
	struct model *m;

	FUZZ_CHECK(model_new(&fuzz_store_ops, NULL, &m) == 0);
	m->now_usec = fuzz_now;
	FUZZ_CHECK(model_create_root(m, 0, 0, SESSION_MODE_ROOT, &quota) == 0);
	ch = change_begin(m);
	FUZZ_CHECK(entrypoint_attach(ch, m->root, "kv", 2, 0, 1, &e) == 0);
	FUZZ_CHECK(change_commit(ch) == 0);
	run_text(m, "entrypoints/kv/objects key=0 as=kv socket=stream");
	run_text(m, "+sessions app caps=8 ram=64K");
	run_text(m, "caps/kv/grant to=app conns=4 rights=call,grant");
	return m;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct word rest = {(const char *)data, n};
	struct model *m = make_model();

	for (int i = 0; i < LINES_MAX && rest.n > 0; i++)
		run(m, take_word(&rest, '\n'));
	fuzz_reap(m, 3);
	model_free(m);
	return 0;
}
