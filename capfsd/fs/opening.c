/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file's text is made when it is opened, so that a reader who takes it in pieces gets pieces of one
 * text. One that is long is made in pieces itself, between which others have their turns, and its
 * open(2) is answered when it is whole.
 *
 * It is charged as it grows: else a crowd that opens long texts at once would have the memory of all of
 * them before anybody pays.
 */
#include "config.h"

#include "capfsd/fs/opening.h"

#include <errno.h>
#include <stdlib.h>

#include "capfsd/fs/calls.h"

struct fs_opening {
	struct turn turn;
	struct list link; /* fs.openings */
	struct fs *fs;
	fuse_req_t req;
	struct fuse_file_info fi;
	struct reading at;
	struct text text;
	struct charge charge;
	uint64_t number, unique, since_usec;
	bool interrupted;
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
	/* Interrupted before it was answered: the kernel will not release what it has not opened. */
	e = f->call && fs_file_is_writable(fi) ? fs_call_reply_open(req, fi) : fuse_reply_open(req, fi);
	if (e == -ENOENT)
		fs_file_free(fs, f);
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

/* One piece more. Returns: 0: it is whole; EAGAIN: not yet; a positive errno. */
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
	return opening_charge(o, tree_session_of(node)) ? EDQUOT : EAGAIN;
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
	open_file(o->fs, o->req, node, &o->fi, &o->text);
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
opening_begin(struct fs_opening *o, struct node node, const struct fuse_file_info *fi)
{
	o->fi = *fi;
	o->number = tree_number(node);
	o->unique = o->fs->current.unique;
	o->since_usec = fs_now_usec();
	list_append(&o->fs->openings, &o->link);
	turn_init(&o->turn, &tree_session_of(node)->payer, opening_take);
	turn_ready(o->fs->turns, &o->turn);
	fuse_req_interrupt_func(o->req, on_interrupt, o);
}

void
fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_opening first = {.fs = fs, .req = req}, *o;
	struct node node;
	int e = 0;

	if (!tree_node(fs->model, ino, &node)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (node.row->type != ROW_LOG)
		e = opening_make(&first, node);
	if (e == EAGAIN) {
		o = malloc(sizeof(*o));
		e = o ? EAGAIN : ENOMEM;
	}
	if (e == 0) {
		open_file(fs, req, node, fi, &first.text);
	} else if (e == EAGAIN) {
		*o = first;
		opening_begin(o, node, fi);
		return;
	} else {
		fuse_reply_err(req, e);
	}
	charge_deinit(&first.charge);
	text_deinit(&first.text);
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
