/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands. Shells, languages and tools cut what they write where they like, and half a command may be
 * one by itself: without the limits that its writer was about to give. So what could go on is kept
 * with the open file, until its newline comes or nobody has the file open any more. By then close(2)
 * has returned, and the session's events tell what came of it. A FLUSH is no sign: each process that
 * inherited the file sends one when it ends.
 *
 * What is kept is stored with the reply of its write, and goes with the commit of the command: whichever
 * broker gets the rest knows all that was there before, or does nothing. Where a piece was refused the
 * open file takes nothing more, since what follows would be the rest of something.
 */
#include "config.h"

#include "capfsd/fs/commands.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/fs/records.h"
#include "capfsd/fs/replies.h"
#include "capfsd/ops/refusals.h"

/*
 * As capfs(5) says it; the control protocol has the same bound, so that both take the same
 * commands.
 */
#define COMMAND_BYTES_MAX 4095

/* A write: beside its reply, what it leaves with the open file is stored. */
struct writing {
	struct fs_edit edit;
	struct fs_file *file;
	bool staged; /* that the half is gone */
};

void
fs_half_deinit(struct fs_half *h)
{
	charge_deinit(&h->charge);
	text_deinit(&h->text);
}

/* How much may be written at once. */
static size_t
bytes_max(struct node node)
{
	return node.row->bytes_max ? node.row->bytes_max : COMMAND_BYTES_MAX;
}

/*
 * What no command has shows that this is none, whatever follows: it is refused at once, as what is
 * complete is done at once. So is what is written where nothing is taken.
 */
static bool
could_go_on(struct node node, const struct fs_piece *piece)
{
	if (node.row->type != ROW_COMMAND)
		return false;
	if (node.row->bytes_max)
		return piece->n > 0 && piece->data[piece->n - 1] != '\n';
	for (size_t i = 0; i < piece->n; i++)
		if (piece->data[i] < ' ' || piece->data[i] > '~')
			return false;
	return piece->n > 0;
}

static struct fs_half_record
make_record(const struct fs *fs, uint64_t number, const struct fs_half *h)
{
	return (struct fs_half_record){
		.instance = fs->boot->instance,
		.number = number,
		.end = h->end,
		.uid = h->uid,
		.error = (uint32_t)h->error,
	};
}

/*
 * A piece was not taken. It is stored before anybody is told, so that the next broker does not take what
 * follows either. Who was interrupted may write the same piece again, and else has written half a
 * command.
 */
static void
mark(struct fs *fs, uint64_t number, uint64_t fh, struct fs_half *h, int error)
{
	struct change *ch = change_begin(fs->model);
	struct fs_half_record record;

	if (error != EINTR)
		fs_half_deinit(h);
	h->error = error;
	h->stored = true;
	record = make_record(fs, number, h);
	error_trace(change_finish(ch, fs_half_note(ch, fh, &record, &h->text)));
}

static void
lose(struct fs_file *f, int error)
{
	mark(f->fs, f->number, f->fh, &f->half, error);
}

static void
restore(struct fs *fs, uint64_t number, uint64_t fh, struct fs_half *h)
{
	struct fs_half_record record = {};
	struct node node;

	h->stored = fs_half_find(fs, fh, number, &record, &h->text);
	h->end = record.end;
	h->uid = record.uid;
	h->error = (int)record.error;
	if (text_done(&h->text) < 0)
		h->error = ENOMEM;
	/* Whether it was to replace what is there, or to be added, is not known any more. */
	if (h->text.n > 0 && tree_node(fs->model, number, &node) && node.row->bytes_max)
		h->error = EIO;
	/* The piece that was written when the broker died is sent by nobody again. */
	if (h->stored && fs->no_resend && !h->error)
		h->error = EIO;
}

void
fs_command_lost(struct fs *fs, uint64_t number, uint64_t fh, int error)
{
	struct fs_file *f = fs_file_find(fs, fh);
	struct fs_half found = {}, *h = f ? &f->half : &found;
	struct node node;

	if (!tree_node(fs->model, number, &node) || node.row->type != ROW_COMMAND)
		return;
	if (f && f->number != number)
		return;
	if (!f)
		restore(fs, number, fh, h);
	if (error != EINTR || (h->text.n > 0 && !h->error))
		mark(fs, number, fh, h, error);
	fs_half_deinit(&found);
}

/* Does the piece belong to what was begun? Two users never write one command together. */
static bool
check(struct request *r, struct node node, const struct fs_half *h, const struct fs_piece *piece)
{
	size_t max = bytes_max(node);

	if (h->error && h->error != EINTR)
		return refuse(r, h->error, "a piece of a command is missing: open the file again");
	if (piece->n > max - h->text.n)
		return refuse(r, EMSGSIZE, "%s has at most %zu bytes", node.row->bytes_max ? "this" : "a command", max);
	/* Else the end of a text would take the place of all of it. */
	if (h->text.n == 0 && node.row->bytes_max && piece->offset > 0 && !piece->appends)
		return refuse(r, EINVAL, "all of it is one write: open the file again");
	if (h->text.n == 0)
		return true;
	if (h->uid != r->uid)
		return refuse(r, EPERM, "another user has begun this command");
	if (h->end != piece->offset && !piece->appends)
		return refuse(r, EINVAL, "a command goes on where it was left");
	return true;
}

static bool
take(struct request *r, struct node node, struct fs_half *h, const struct fs_piece *piece)
{
	if (!check(r, node, h, piece))
		return false;
	text_add_n(&h->text, piece->data, piece->n);
	if (text_done(&h->text) < 0)
		return refuse(r, ENOMEM, "the daemon is out of memory");
	h->appends |= piece->appends;
	h->uid = r->uid;
	h->end = piece->offset + piece->n;
	h->error = 0;
	return true;
}

static int
note_half(struct fs_edit *edit, struct change *ch)
{
	struct fs_file *f = container_of(edit, struct writing, edit)->file;
	const struct fs_half_record record = make_record(edit->fs, f->number, &f->half);

	return fs_half_note(ch, f->fh, &record, &f->half.text);
}

/* Whoever leaves many halves pays for each of their bytes. */
static bool
pay(struct fs_file *f)
{
	charge_deinit(&f->half.charge);
	return charge_init(&f->half.charge, f->session, QUOTA_RAM, (uint32_t)f->half.text.n) == 0;
}

static int
keep(struct writing *w)
{
	struct request *r = &w->edit.request;
	struct fs_file *f = w->file;

	if (!pay(f))
		return refuse_quota(r, f->session, QUOTA_RAM);
	f->half.stored = true;
	w->edit.more = note_half;
	return request_commit(r, change_begin(r->model));
}

/*
 * Stored with the reply of the WRITE: a broker that dies between the command and the read of its
 * result would else leave a reader who knows that something was done, and not what. And the half goes
 * with it, lest the next command begins with this one.
 */
static int
note_result(struct fs_edit *edit, struct change *ch)
{
	struct writing *w = container_of(edit, struct writing, edit);
	const struct fs_open_record record = {
		.instance = edit->fs->boot->instance,
		.number = w->file->number,
		.base = w->file->half.end,
	};
	int e = fs_open_note(ch, w->file->fh, &record, &edit->request.text);

	if (e == 0 && w->file->half.stored)
		e = fs_half_note(ch, w->file->fh, NULL, NULL);
	if (e == 0)
		w->file->stored = w->staged = true;
	return e;
}

/*
 * A refusal commits nothing by itself. Without its reply beside it the half must not go: the last piece,
 * sent again, would be taken for the whole.
 */
static bool
forget(struct writing *w)
{
	struct change *ch = change_begin(w->edit.fs->model);

	if (fs_edit_note(&w->edit, ch) < 0 || fs_half_note(ch, w->file->fh, NULL, NULL) < 0) {
		change_abort(ch);
		return false;
	}
	return change_commit(ch) == 0;
}

/* What stands behind the end of a line would be the beginning of another one. */
static int
run(struct writing *w, struct node node)
{
	struct request *r = &w->edit.request;
	struct fs_half *h = &w->file->half;
	bool open_end = node.row->type == ROW_COMMAND && h->text.n > 0 &&
		h->text.data[h->text.n - 1] != '\n';
	int e;

	w->edit.more = note_result;
	r->appends = h->appends;
	h->appends = false;
	e = tree_write(r, node, h->text.data, h->text.n);
	fs_half_deinit(h);
	if (h->stored && (r->error || !w->staged) && !forget(w))
		lose(w->file, r->error ? r->error : EIO);
	else
		h->stored = false;
	if (open_end)
		lose(w->file, EINVAL);
	return e;
}

/*
 * The result replaces what the file had, also when the command was refused: whoever writes and then
 * reads sees what came of this command, and never of the one before. Of half a command nothing came.
 */
static void
set_result(struct fs_file *f, struct text *result, uint64_t end)
{
	text_deinit(&f->text);
	f->text = *result;
	*result = (struct text){};
	f->base = end;
}

void
fs_command_write(struct fs *fs, fuse_req_t req, struct node node, struct fs_file *f,
	const struct fs_piece *piece)
{
	struct writing w = {.file = f};
	struct request *r = &w.edit.request;
	bool half = could_go_on(node, piece), taken;
	int e = 0;

	fs_edit_begin(&w.edit, fs, req, piece->n);
	taken = take(r, node, &f->half, piece);
	if (taken)
		e = half ? keep(&w) : run(&w, node);
	if (r->error && (half || !taken)) {
		/* Each time: there may have been no room to store it before. */
		lose(f, r->error);
		tree_refused(r, node);
	}
	if (r->error || !half)
		text_add(&r->text, "\n");
	set_result(f, &r->text, piece->offset + piece->n);
	fs_edit_end(&w.edit, e);
}

void
fs_command_restore(struct fs_file *f)
{
	struct fs_half *h = &f->half;

	restore(f->fs, f->number, f->fh, h);
	if (h->text.n == 0)
		return;
	set_result(f, &(struct text){}, h->end);
	if (!pay(f))
		lose(f, EDQUOT);
}

/* The note of a command that is done when its file is closed: no other broker does it again. */
static int
note_closed(struct request *r, struct change *ch)
{
	const uint64_t *fh = r->data;

	return fs_half_note(ch, *fh, NULL, NULL);
}

/* Who wrote a blank was about to go on, and most likely was killed: that is half a command. */
static bool
is_whole(struct request *r, const struct fs_half *h)
{
	if (h->error)
		return refuse(r, h->error, "the last piece of the command is missing");
	return h->text.data[h->text.n - 1] != ' ' ||
		refuse(r, EINVAL, "the file was closed behind a blank, where a command goes on");
}

void
fs_command_close(struct fs *fs, fuse_req_t req, uint64_t number, uint64_t fh, struct fs_file *f)
{
	struct fs_half found = {}, *h = f ? &f->half : &found;
	struct request r;
	struct node node;

	if (!f)
		restore(fs, number, fh, h);
	if (h->text.n > 0 && tree_node(fs->model, number, &node)) {
		fs_request_init(fs, req, &r);
		r.appends = h->appends;
		r.uid = h->uid; /* the kernel does not say who closed it last */
		r.note = note_closed;
		r.data = &fh;
		if (is_whole(&r, h))
			error_trace(tree_write(&r, node, h->text.data, h->text.n));
		else
			tree_refused(&r, node);
		request_deinit(&r);
	}
	if (h->stored)
		fs_half_drop(fs, fh);
	fs_half_deinit(h);
}
