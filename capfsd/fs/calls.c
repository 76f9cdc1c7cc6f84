/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files of caps/SLOT/call, and of `request`: a write is a request to the object, reads give the reply and its
 * end. It owns the reads that wait, and is called by files.c for what the kernel asks and by the
 * loop for what has come. The conversation itself belongs to conversation/, or to asking/, behind struct calls.
 *
 * Only a READ waits, never a WRITE, and only behind one: the kernel would have every other writer
 * of the node wait with it, unkillably. That a READ holds up no other it owes to FOPEN_STREAM,
 * which also makes offsets of no account.
 *
 * Every read that waits has a deadline and can be interrupted. So a service that never replies
 * costs its readers that time, and their session some memory, and nobody else anything.
 */
#include "config.h"

#include "capfsd/fs/calls.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/fs/replies.h"

/* Charged for each read that waits: somewhat more than the struct, for what libfuse keeps of it. */
#define READ_RAM 256

/* A READ that waits for the service. */
struct fs_read {
	struct list link;      /* fs.reads, in order of their deadlines */
	struct list file_link; /* fs_file.reads */
	struct fs_file *file;
	fuse_req_t request;
	struct charge charge;
	uint64_t unique, deadline_usec;
	size_t size;
	bool interrupted;
};

const struct fs_calls *
fs_calls_of(const struct fs *fs, enum row_type type)
{
	const struct fs_calls *calls = type == ROW_CALL ? &fs->calls : type == ROW_ASK ? &fs->asks : NULL;

	return calls && calls->ops ? calls : NULL;
}

bool
fs_calls_exist(const struct fs *fs, uint64_t fh)
{
	return (fs->calls.ops && fs->calls.ops->exists(fs->calls.data, fh)) ||
		(fs->asks.ops && fs->asks.ops->exists(fs->asks.data, fh));
}

void
fs_calls_end(const struct fs *fs, uint64_t fh)
{
	if (fs->calls.ops)
		fs->calls.ops->end(fs->calls.data, fh);
	if (fs->asks.ops)
		fs->asks.ops->end(fs->asks.data, fh);
}

/* Without FOPEN_STREAM the kernel would let one READ of the file wait for the end of another. */
int
fs_call_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	/* libfuse has no word for the latter. */
	const struct fuse_open_out out = {
		.fh = fi->fh, .open_flags = FOPEN_DIRECT_IO | FOPEN_STREAM};

	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void
read_free(struct fs_read *w)
{
	list_unlink(&w->link);
	list_unlink(&w->file_link);
	charge_deinit(&w->charge);
	free(w);
}

/* An error is all that its reader gets, and then nothing of it waits any more. */
static void
read_refuse(struct fs_read *w, int error)
{
	fuse_reply_err(w->request, error);
	read_free(w);
}

/* Who wrote nothing reads the usage, or why the write was refused. */
static void
reply_text(fuse_req_t req, struct fs_file *f, size_t size)
{
	size_t left = f->read_end < f->text.n ? f->text.n - (size_t)f->read_end : 0;

	if (size > left)
		size = left;
	fuse_reply_buf(req, size > 0 ? f->text.data + f->read_end : NULL, size);
	f->read_end += size;
}

/*
 * Replies to a READ, which may have just come or have waited, with what there is. Memory for it is
 * taken anew each time and not while it waits: a reader can ask for much, and then never get it.
 * Returns: false: it must wait.
 */
static bool
answer(struct fs *fs, fuse_req_t req, struct fs_file *f, struct call_read *read)
{
	struct request r;
	struct node node;
	int e;

	if (!tree_node(fs->model, f->number, &node)) {
		fuse_reply_err(req, ESTALE);
		return true;
	}
	read->buffer = malloc(read->size ? read->size : 1);
	if (!read->buffer) {
		fuse_reply_err(req, ENOMEM);
		return true;
	}
	fs_request_init(fs, req, &r);
	e = f->calls->ops->read(f->calls->data, &r, node, read);
	if (e < 0 && !r.error)
		r.error = EIO;
	if (e == CALL_E_NONE)
		reply_text(req, f, read->size);
	else if (r.error)
		fuse_reply_err(req, r.error);
	else if (e != CALL_E_WAIT)
		fuse_reply_buf(req, read->buffer, read->n);
	if (r.error)
		tree_refused(&r, node);
	request_deinit(&r);
	free(read->buffer);
	return e != CALL_E_WAIT;
}

/*
 * This runs inside libfuse, which holds the request: to reply here would free it under libfuse's
 * hands, so it is only marked, and gets its reply when the request that is being served is done
 * with.
 */
static void
on_interrupt(fuse_req_t req, void *data)
{
	struct fs_read *w = data;

	w->interrupted = true;
	/* Before all others, so that nobody looks for it. */
	list_unlink(&w->link);
	list_append(w->file->fs->reads.next, &w->link);
}

/*
 * The list is in order of deadlines, so that only the first need be looked at. The place is looked
 * for from the end: but for those of a predecessor, which keep the one they had, its deadline is
 * the last.
 */
static void
read_link(struct fs *fs, struct fs_read *w)
{
	struct list *before = &fs->reads;

	while (before->prev != &fs->reads &&
		list_entry(before->prev, struct fs_read, link)->deadline_usec > w->deadline_usec)
		before = before->prev;
	list_append(before, &w->link);
}

/*
 * It is charged to the file's session: reads that wait are memory that somebody holds. The deadline
 * is asked for, since a READ that is sent again may have one from before.
 */
static void
park(struct fs *fs, fuse_req_t req, struct fs_file *f, const struct call_read *read)
{
	struct fs_read *w = calloc(1, sizeof(*w));

	if (!w || charge_init(&w->charge, f->session, QUOTA_RAM, READ_RAM)) {
		fuse_reply_err(req, w ? EDQUOT : ENOMEM);
		free(w);
		return;
	}
	w->file = f;
	w->request = req;
	w->unique = read->unique;
	w->size = read->size;
	w->deadline_usec =
		f->calls->ops->wait(f->calls->data, read, fs_now_usec() + fs->read_usec);
	read_link(fs, w);
	list_append(&f->reads, &w->file_link);
	fuse_req_interrupt_func(req, on_interrupt, w);
}

/* What is there is given at once; else the read waits for fs_call_ready(). */
void
fs_call_read(struct fs *fs, fuse_req_t req, struct fs_file *f, size_t size)
{
	struct call_read read = {
		.handle = f->fh,
		.unique = fs->current.unique,
		.resent = fs->current.resent,
		.size = size < FS_READ_BYTES_MAX ? size : FS_READ_BYTES_MAX,
	};

	if (!answer(fs, req, f, &read))
		park(fs, req, f, &read);
}

/*
 * A broker that dies of a reply must not be followed by all others: so this READ stands in the page
 * while it is served, as it did when it came. What was there is put back, since this runs inside
 * other requests as well.
 */
static bool
answer_again(struct fs *fs, struct fs_read *w)
{
	struct call_read read = {.handle = w->file->fh, .unique = w->unique, .size = w->size};
	struct boot_page *page = fs->boot->page;
	uint64_t outer = page->executing;
	bool done = true;

	if (!boot_page_enter(page, w->unique))
		fuse_reply_err(w->request, EIO);
	else
		done = answer(fs, w->request, w->file, &read);
	page->executing = outer;
	return done;
}

void
fs_call_ready(struct fs *fs, uint64_t handle)
{
	struct fs_file *f = fs_file_find(fs, handle);

	if (!f)
		return;
	fs_file_wake(fs, f);
	/* One after the other: who came first gets what comes first. */
	while (!list_empty(&f->reads)) {
		struct fs_read *w = list_entry(list_first(&f->reads), struct fs_read, file_link);

		if (!answer_again(fs, w))
			return;
		read_free(w);
	}
}

/* Why a read ends without the service's doing; then the next request need not wait for the reply. */
static void
give_up(struct fs *fs, struct fs_read *w, int error)
{
	struct request r;
	struct node node;

	w->file->calls->ops->give_up(w->file->calls->data, w->file->fh);
	if (error == ETIMEDOUT && tree_node(fs->model, w->file->number, &node)) {
		fs_request_init(fs, w->request, &r);
		refuse(&r, error, "the service did not answer in time");
		tree_refused(&r, node);
		request_deinit(&r);
	}
	read_refuse(w, error);
}

/* After each request of the kernel, since an interrupt is told in the middle of one. */
void
fs_calls_interrupted(struct fs *fs)
{
	while (!list_empty(&fs->reads)) {
		struct fs_read *w = list_entry(list_first(&fs->reads), struct fs_read, link);

		if (!w->interrupted)
			return;
		give_up(fs, w, EINTR);
	}
}

void
fs_calls_timeouts(struct fs *fs, uint64_t now_usec)
{
	while (!list_empty(&fs->reads)) {
		struct fs_read *w = list_entry(list_first(&fs->reads), struct fs_read, link);

		if (w->deadline_usec > now_usec)
			return;
		give_up(fs, w, ETIMEDOUT);
	}
}

uint64_t
fs_calls_deadline(const struct fs *fs)
{
	struct list *first = list_first(&fs->reads);

	return first ? list_entry(first, struct fs_read, link)->deadline_usec : UINT64_MAX;
}

/*
 * ERROR 0 sends nothing: the kernel still waits, and sends these again to the next broker. A reply
 * here would end what a restart is not to end.
 */
void
fs_call_end_reads(struct fs_file *f, int error)
{
	list_for_each_safe (i, &f->reads) {
		struct fs_read *w = list_entry(i, struct fs_read, file_link);

		if (error)
			read_refuse(w, error);
		else
			read_free(w);
	}
}

/* What reads give until something is asked. */
static void
set_text(struct fs_file *f, struct text *t)
{
	text_deinit(&f->text);
	f->text = *t;
	*t = (struct text){};
	f->read_end = 0;
}

/*
 * A long write may come in pieces from the kernel. After one that is too long the open file takes
 * nothing more, since what follows would be the middle of something.
 */
void
fs_call_write(struct fs *fs, fuse_req_t req, struct node node, struct fs_file *f, const char *data,
	size_t n)
{
	struct fs_edit edit;
	struct request *r = &edit.request;
	int e;

	fs_edit_begin(&edit, fs, req, n);
	if (n > f->calls->ops->bytes_max || f->failed) {
		f->failed = true;
		e = refuse(r, EMSGSIZE, "a request has at most %zu bytes", f->calls->ops->bytes_max);
	} else {
		e = f->calls->ops->write(f->calls->data, r, node, f->fh, data, n);
	}
	if (e < 0 && !r->error)
		r->error = EIO;
	if (r->error) {
		tree_refused(r, node);
		text_add(&r->text, "\n");
	}
	set_text(f, &r->text);
	fs_edit_end(&edit, e);
	/* Those that still wait for a reply that was given up wait for this one now. */
	fs_call_ready(fs, f->fh);
}
