/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request is copied out of the one buffer that is large enough for all of them, so that what waits
 * takes what it needs. Whoever asks waits in the kernel meanwhile, and can be killed there only when
 * it has a reply: so one that was interrupted long ago is not done any more.
 */
#include "config.h"

#include "capfsd/fs/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/fs/serve.h"

struct fs_pending {
	struct turn turn;
	struct index_link link; /* fs.pending, by its number */
	struct list all;	/* fs.all_pending */
	struct fs *fs;
	uint64_t unique, since_usec;
	uint64_t place; /* of fs_serve() */
	bool interrupted;
	size_t n;
	_Alignas(uint64_t) char request[];
};

bool
fs_pending_full(const struct fs *fs)
{
	return fs->n_pending >= FS_PENDING_MAX || fs->n_pending_bytes >= FS_PENDING_BYTES_MAX;
}

static void
pending_unlink(struct fs_pending *p)
{
	index_remove(&p->fs->pending, &p->link);
	list_unlink(&p->all);
	p->fs->n_pending--;
	p->fs->n_pending_bytes -= p->n;
}

static bool
pending_take(struct turn *turn)
{
	struct fs_pending *p = container_of(turn, struct fs_pending, turn);

	if (fs_was_killed(p->fs, p->interrupted, p->since_usec))
		fs_refuse(p->fs, p->request, p->n, EINTR);
	else if (fs_serve(p->fs, p->request, p->n, p->interrupted, &p->place))
		return true;
	pending_unlink(p);
	free(p);
	return false;
}

/*
 * Of whose share it goes: theirs in whose tree it asks, whoever asks. The binder's go by themselves, as
 * all who connect for the first time wait for it.
 */
static struct payer *
find_payer(struct fs *fs, uint64_t number)
{
	struct session *s = fs->model->root;
	struct node node;

	if (number == FS_BIND_DIR)
		return &fs->binder;
	if (tree_node(fs->model, number, &node))
		s = tree_session_of(node);
	return &s->payer;
}

int
fs_pending_add(struct fs *fs, const char *request, size_t n)
{
	const struct fuse_in_header *in = fs_header(request);
	struct fs_pending *p = malloc(sizeof(*p) + n);

	if (!p)
		return -ENOMEM;
	*p = (struct fs_pending){
		.fs = fs,
		.unique = BOOT_REQUEST_FUSE(in->unique),
		.since_usec = fs_now_usec(),
		.n = n,
	};
	if (index_add(&fs->pending, &p->link, index_hash_id(p->unique)) < 0) {
		free(p);
		return -ENOMEM;
	}
	memcpy(p->request, request, n);
	list_append(&fs->all_pending, &p->all);
	fs->n_pending++;
	fs->n_pending_bytes += n;
	turn_init(&p->turn, find_payer(fs, in->nodeid), pending_take);
	turn_ready(fs->turns, &p->turn);
	return 0;
}

bool
fs_pending_interrupt(struct fs *fs, uint64_t unique)
{
	struct index_link *l = index_first(&fs->pending, index_hash_id(BOOT_REQUEST_FUSE(unique)));

	for (; l; l = index_next(l)) {
		struct fs_pending *p = container_of(l, struct fs_pending, link);

		if (p->unique != BOOT_REQUEST_FUSE(unique))
			continue;
		p->interrupted = true;
		return true;
	}
	return false;
}

void
fs_pending_gone(struct fs *fs, struct session *s)
{
	if (payer_is_idle(&s->payer))
		return;
	list_for_each_safe (i, &s->payer.waiting) {
		struct turn *turn = list_entry(i, struct turn, link);
		struct fs_pending *p = container_of(turn, struct fs_pending, turn);

		if (turn->take != pending_take)
			continue;
		turn_leave(&p->turn);
		p->turn.payer = &fs->model->root->payer;
		turn_ready(fs->turns, &p->turn);
	}
}

void
fs_pending_free(struct fs *fs)
{
	list_for_each_safe (i, &fs->all_pending) {
		struct fs_pending *p = list_entry(i, struct fs_pending, all);

		turn_leave(&p->turn);
		pending_unlink(p);
		free(p);
	}
	index_deinit(&fs->pending);
}
