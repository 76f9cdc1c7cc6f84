/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file's text is made when it is opened, so that a reader who takes it in pieces gets pieces of one
 * text; and when somebody asks for its size. One that is long is made in pieces itself, between which
 * others have their turns, and the request is answered when it is whole.
 *
 * It is charged as it grows: else a crowd that opens long texts at once would have the memory of all of
 * them before anybody pays.
 *
 * Who copies by sendfile(2) or maps a file gets no more of it than the size that the kernel was told last,
 * and sees no error. So that is never less than what anybody still has to read. It is what stat(2) has
 * told, too: open(2) asks for the attributes where they are not cached, and then gives just that text
 * of which the size was told, though it be another one by now.
 */
#include "config.h"

#include "capfsd/fs/opening.h"

#include <errno.h>
#include <stdlib.h>

#include "capfsd/fs/calls.h"
#include "capfsd/fs/nodes.h"

struct fs_opening {
	struct turn turn;
	struct list link; /* fs.openings */
	struct fs *fs;
	fuse_req_t req;
	/* Answers, now that the text is whole. */
	void (*end)(struct fs_opening *o, struct node node);
	struct fuse_file_info fi; /* of an open(2) */
	struct reading at;
	struct text text;
	size_t n_left_out; /* of what was in the text already, and is only counted */
	struct charge charge;
	uint64_t number, unique, since_usec;
	bool in_pieces, interrupted;
};

/*
 * Direct I/O keeps the kernel from caching pages of a text that was made for this one reader. What
 * could not be charged is not opened; a `call` for writing is opened in its own way.
 */
static void
open_file(struct fs *fs, fuse_req_t req, struct node node, struct fuse_file_info *fi, struct text *text)
{
	struct fs_file *f;
	int e;

	fi->fh = fs_file_handle(fs, node.row->type == ROW_INFO ? text->n : 0);
	fi->direct_io = 1;
	e = fs_file_new(fs, fi->fh, node, text, &f);
	if (e) {
		fuse_reply_err(req, e);
		return;
	}
	f->opener = fuse_req_ctx(req)->pid;
	/* Interrupted before it was answered: the kernel will not release what it has not opened. */
	e = f->calls && fs_file_is_writable(fi) ? fs_call_reply_open(req, fi) : fuse_reply_open(req, fi);
	if (e == -ENOENT)
		fs_file_free(fs, f);
}

static void
end_open(struct fs_opening *o, struct node node)
{
	open_file(o->fs, o->req, node, &o->fi, &o->text);
}

static uint64_t
longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What changes without notice, or while it is being made, is not cached: nobody would tell. */
static void
end_size(struct fs_opening *o, struct node node)
{
	const size_t n = o->n_left_out + o->text.n;
	struct fs_size size = {.cached = !o->in_pieces && !tree_is_restless(node)};
	uint64_t longest;

	if (size.cached || o->n_left_out > 0)
		kept_drop(&o->fs->kept, tree_number(node));
	else
		kept_put(&o->fs->kept, tree_number(node), fs_now_usec(), &o->text);
	fs_files_longest(o->fs, tree_number(node), NULL, 0, &longest);
	size.cached &= longest <= n;
	size.n = longer(longest, n);
	fs_reply_stat(o->fs, o->req, node, size);
}

static void
opening_free(struct fs_opening *o)
{
	turn_leave(&o->turn);
	list_unlink(&o->link);
	charge_deinit(&o->charge);
	text_deinit(&o->text);
	free(o);
}

static void
opening_refuse(struct fs_opening *o, int error)
{
	fuse_reply_err(o->req, error);
	opening_free(o);
}

/* Returns: 0, or a positive errno. */
static int
opening_charge(struct fs_opening *o, struct session *s)
{
	size_t ram = FS_FILE_RAM + o->text.n;

	charge_deinit(&o->charge);
	return ram > UINT32_MAX || charge_init(&o->charge, s, QUOTA_RAM, (uint32_t)ram) ? EDQUOT : 0;
}

/*
 * One piece more. Who asks for nothing but the size is not refused for want of memory that is only needed
 * meanwhile. Returns: 0: it is whole; EAGAIN: not yet; a positive errno.
 */
static int
opening_make(struct fs_opening *o, struct node node)
{
	struct request r;
	bool more;

	fs_request_init(o->fs, o->req, &r);
	more = tree_read_piece(&r, node, &o->at, &o->text);
	request_deinit(&r);
	if (text_done(&o->text) < 0)
		return ENOMEM;
	if (!more)
		return 0;
	o->in_pieces = true;
	/* It was begun anew. */
	if (o->at.n_lines == 0)
		o->n_left_out = 0;
	if (opening_charge(o, tree_session_of(node)) == 0)
		return EAGAIN;
	if (o->end == end_open)
		return EDQUOT;
	o->n_left_out += o->text.n;
	text_deinit(&o->text);
	return EAGAIN;
}

/* The request stands in the page while a piece is made, as it did when it came. */
static bool
opening_take(struct turn *turn)
{
	struct fs_opening *o = container_of(turn, struct fs_opening, turn);
	struct boot_page *page = o->fs->boot->page;
	struct node node;
	int e;

	if (fs_was_killed(o->fs, o->interrupted, o->since_usec))
		e = EINTR;
	else if (!tree_node(o->fs->model, o->number, &node))
		e = ESTALE;
	else if (!boot_page_enter(page, o->unique))
		e = EIO;
	else {
		e = opening_make(o, node);
		boot_page_leave(page);
	}
	if (e == EAGAIN)
		return true;
	if (e) {
		opening_refuse(o, e);
		return false;
	}
	charge_deinit(&o->charge);
	o->end(o, node);
	opening_free(o);
	return false;
}

/* Inside libfuse, which holds the request: it is only marked. */
static void
on_interrupt(fuse_req_t req, void *data)
{
	struct fs_opening *o = data;

	o->interrupted = true;
}

static void
opening_wait(struct fs_opening *o, struct node node)
{
	o->number = tree_number(node);
	o->unique = o->fs->current.unique;
	o->since_usec = fs_now_usec();
	list_append(&o->fs->openings, &o->link);
	turn_init(&o->turn, &tree_session_of(node)->payer, opening_take);
	turn_ready(o->fs->turns, &o->turn);
	fuse_req_interrupt_func(o->req, on_interrupt, o);
}

/* Most texts are whole at once, and nothing needs to be remembered. */
static void
opening_begin(struct fs_opening *first, struct node node)
{
	int e = opening_make(first, node);
	struct fs_opening *o;

	if (e == EAGAIN) {
		o = malloc(sizeof(*o));
		if (o) {
			*o = *first;
			opening_wait(o, node);
			return;
		}
		e = ENOMEM;
	}
	if (e)
		fuse_reply_err(first->req, e);
	else
		first->end(first, node);
	charge_deinit(&first->charge);
	text_deinit(&first->text);
}

void
fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_opening o = {.fs = fs, .req = req, .end = end_open, .fi = *fi};
	struct node node;

	if (!tree_node(fs->model, ino, &node)) {
		fuse_reply_err(req, ESTALE);
	} else if (kept_copy(&fs->kept, ino, fs_now_usec(), &o.text)) {
		open_file(fs, req, node, fi, &o.text);
		text_deinit(&o.text);
	} else {
		opening_begin(&o, node);
	}
}

/*
 * Who has it open asks how much there is to be read: what there would be by now is of no use to him. If he
 * asks since he opens it once more, he gets what there is then.
 */
void
fs_size_tell(struct fs *fs, fuse_req_t req, struct node node, const struct fuse_file_info *fi)
{
	struct fs_opening o = {.fs = fs, .req = req, .end = end_size};
	const uint64_t number = tree_number(node);
	struct fs_size size = {};

	if (!fs_files_longest(fs, number, fi, fuse_req_ctx(req)->pid, &size.n)) {
		opening_begin(&o, node);
		return;
	}
	kept_drop(&fs->kept, number);
	fs_reply_stat(fs, req, node, size);
}

int
fs_size_at_once(struct fs *fs, struct node node, struct fs_size *ret)
{
	struct request r = {.model = fs->model, .metrics = fs->metrics};
	const uint64_t number = tree_number(node);
	cleanup_text struct text t = {};
	struct reading at = {};
	uint64_t longest;
	bool more;

	*ret = (struct fs_size){.cached = true};
	if (!tree_has_text(node))
		return 0;
	more = tree_read_piece(&r, node, &at, &t);
	request_deinit(&r);
	if (text_done(&t) < 0)
		return ENOMEM;
	fs_files_longest(fs, number, NULL, 0, &longest);
	ret->n = longer(longest, longer(t.n, kept_length(&fs->kept, number)));
	ret->cached = !more && ret->n == t.n && !tree_is_restless(node);
	return 0;
}

void
fs_openings_gone(struct fs *fs, struct session *s)
{
	list_for_each_safe (i, &fs->openings) {
		struct fs_opening *o = list_entry(i, struct fs_opening, link);

		if (o->turn.payer == &s->payer)
			opening_refuse(o, ESTALE);
	}
}

void
fs_openings_free(struct fs *fs)
{
	list_for_each_safe (i, &fs->openings)
		opening_free(list_entry(i, struct fs_opening, link));
}
