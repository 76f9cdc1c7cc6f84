/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store's records, whatever they are: the model refuses them, or is a good one, in which all that
 * was ending or has expired can be ended, and so can everything else.
 *
 * The input is a list of: space (1 byte), id (2), length (2), the record. They are given in order
 * of keys, as a store does; others are left out.
 */
#include "config.h"

#include <errno.h>

#include "base/text.h"
#include "capfsd/tree/tree.h"
#include "fuzz/fuzz.h"
#include "fuzz/store.h"

#define SPACE_LARGE 0x80 /* the id has 8 bytes */

/* Returns: as model_load() does for the first that does not fit, and model_load_done(). */
static int
load(struct model *m, struct fuzz_input *in)
{
	uint64_t last = 0;
	int r = 0;

	while (r == 0 && in->p < in->end) {
		unsigned space = (unsigned)fuzz_take(in, 1);
		uint64_t id = fuzz_take(in, space & SPACE_LARGE ? 8 : 2);
		size_t n = (size_t)fuzz_take(in, 2);
		const void *record = fuzz_take_bytes(in, &n);
		uint64_t key = STORE_KEY(space & 0x7f, STORE_KEY_ID(id));

		if (key > last)
			r = model_load(m, key, record, n);
		last = key > last ? key : last;
	}
	return r == 0 ? model_load_done(m) : r;
}

static void
read_node(struct model *m, struct node node)
{
	struct request r = {.model = m};
	struct node_stat stat;
	struct text t = {};

	tree_stat(node, &stat);
	tree_read(&r, node, &t);
	FUZZ_CHECK(text_done(&t) == 0);
	text_deinit(&t);
	request_deinit(&r);
}

struct walk {
	struct model *model;
	unsigned depth;
};

static bool
walk_entry(void *data, const char *name, struct node node, uint64_t cookie)
{
	struct walk *w = data;
	uint64_t at = 0;
	struct node same;

	FUZZ_CHECK(tree_node(w->model, tree_number(node), &same));
	FUZZ_CHECK(same.entity == node.entity && same.row == node.row);
	read_node(w->model, node);
	if (node.row->type != ROW_DIRECTORY)
		return true;
	FUZZ_CHECK(++w->depth < 3 * SESSION_DEPTH_MAX);
	for (bool more = true; more;)
		FUZZ_CHECK(tree_list(w->model, node, &at, walk_entry, w, &more) == 0);
	w->depth--;
	return true;
}

static void
read_all(struct model *m)
{
	struct walk w = {.model = m};
	uint64_t at = events_start(m->root);
	char buffer[4096];

	walk_entry(&w, "", tree_session(m->root), 0);
	events_read(m->root, EVENTS_ALL, &at, buffer, sizeof(buffer));
}

/* What a session has is ended by what its owner would write. */
static void
end_all(struct model *m)
{
	while (!list_empty(&m->root->owned[ENTITY_ENTRYPOINT])) {
		struct change *ch = change_begin(m);

		FUZZ_CHECK(entrypoint_end(ch, list_entry(list_first(&m->root->owned[ENTITY_ENTRYPOINT]),
						      struct entrypoint, entity.owner_link)) == 0);
		FUZZ_CHECK(change_commit(ch) == 0);
		model_check(m);
		fuzz_reap(m, 3);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct quota limit = {.n = {64, 64, 64, 1 << 20, 64}};
	struct fuzz_input in = {data, data + n};
	struct model *m;
	uint64_t next;
	int r;

	FUZZ_CHECK(model_new(&fuzz_store_ops, NULL, &m) == 0);
	m->now_usec = fuzz_now;
	r = load(m, &in);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	if (r == 0) {
		model_check(m);
		read_all(m);
		FUZZ_CHECK(model_set_root_limit(m, &limit) == 0);
		model_check(m);
		FUZZ_CHECK(expiry_run(m, &next) == 0);
		fuzz_reap(m, 2);
		read_all(m);
		end_all(m);
	}
	model_free(m);
	return 0;
}
