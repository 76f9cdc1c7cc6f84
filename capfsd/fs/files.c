/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files. An informing file's text is made when it is opened; a command's result stays with the
 * open file that was written to; a log is read by offset. Each is charged to the session in whose
 * tree it stands, and goes with that. libfuse calls what is here; what is written goes to commands.c,
 * and what has to do with a `call` to calls.c.
 *
 * A broker that takes over knows none of the handles that the kernel has. It makes the file again
 * when it is met: from what was stored with the command that was written, or as it is now. So no
 * open file fails for a restart alone; at worst its text is a newer one.
 */
#include "config.h"

#include "capfsd/fs/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/fs/calls.h"
#include "capfsd/fs/commands.h"
#include "capfsd/fs/polls.h"
#include "capfsd/fs/records.h"
#include "capfsd/fs/replies.h"

/*
 * What fits into the bits of a handle above FS_HANDLE_BITS. A text that is longer has this length,
 * and is not cut when the file is restored.
 */
#define FH_LENGTH_MAX ((UINT64_C(1) << 24) - 1)
#define LONGEST_OF 1024 /* some microseconds */

struct fs_file *
fs_file_find(struct fs *fs, uint64_t fh)
{
	struct index_link *l = index_first(&fs->files, index_hash_id(fh));

	for (; l; l = index_next(l)) {
		struct fs_file *f = container_of(l, struct fs_file, link);

		if (f->fh == fh)
			return f;
	}
	return NULL;
}

/*
 * A handle that comes with another node than it was made for is none of ours: what was stored for
 * the one file is not given to a reader of the other.
 */
static struct fs_file *
file_find(struct fs *fs, uint64_t fh, uint64_t number)
{
	struct fs_file *f = fs_file_find(fs, fh);

	return f && f->number == number ? f : NULL;
}

/*
 * The kernel may still hold it: its next request finds a node that is gone, or restores the file.
 * Reads that wait are left without a reply, which the caller has given them if they are to have
 * one.
 */
void
fs_file_free(struct fs *fs, struct fs_file *f)
{
	index_remove(&fs->files, &f->link);
	index_remove(&fs->files_by_number, &f->number_link);
	list_unlink(&f->all);
	fs_poll_end(fs, f);
	fs_call_end_reads(f, 0);
	fs_half_deinit(&f->half);
	charge_deinit(&f->charge);
	text_deinit(&f->text);
	free(f);
}

/*
 * fstat(2) comes without a handle. It is seldom another thread that asks than the one that opened the file,
 * and nothing but a number depends on it. Where more than so many have the same file open not all of them are
 * looked at.
 */
bool
fs_files_longest(const struct fs *fs, uint64_t number, const struct fuse_file_info *fi, pid_t pid,
	uint64_t *ret_length)
{
	struct index_link *i = index_first(&fs->files_by_number, index_hash_id(number));
	uint64_t length = 0;
	bool has = false;

	for (unsigned n = 0; i && n < LONGEST_OF; i = index_next(i), n++) {
		const struct fs_file *f = container_of(i, struct fs_file, number_link);
		bool own = (pid && f->opener == pid) || (fi && f->fh == fi->fh);

		if (f->number != number || (f->ended && !own))
			continue;
		has |= own;
		if (f->base + f->text.n > length)
			length = f->base + f->text.n;
	}
	*ret_length = length;
	return has;
}

/* TEXT is charged with the file, so that a session that opens many large texts pays for them. */
int
fs_file_new(struct fs *fs, uint64_t fh, struct node node, struct text *text, struct fs_file **ret)
{
	struct fs_file *f = calloc(1, sizeof(*f));
	size_t ram = FS_FILE_RAM + text->n;

	if (!f)
		return ENOMEM;
	f->session = tree_session_of(node);
	if (ram > UINT32_MAX || charge_init(&f->charge, f->session, QUOTA_RAM, (uint32_t)ram) > 0) {
		free(f);
		return EDQUOT;
	}
	f->fh = fh;
	f->number = tree_number(node);
	f->fs = fs;
	f->log = node.row->type == ROW_LOG;
	f->view = node.row->view;
	f->calls = fs_calls_of(fs, node.row->type);
	list_init(&f->reads);
	if (index_reserve(&fs->files, 1) < 0 || index_reserve(&fs->files_by_number, 1) < 0) {
		charge_deinit(&f->charge);
		free(f);
		return ENOMEM;
	}
	(void)index_add(&fs->files, &f->link, index_hash_id(fh));
	(void)index_add(&fs->files_by_number, &f->number_link, index_hash_id(f->number));
	list_append(&fs->all_files, &f->all);
	f->text = *text;
	*text = (struct text){};
	*ret = f;
	return 0;
}

/* Below the length: the broker's epoch and a counter, so that no two brokers give the same. */
uint64_t
fs_file_handle(struct fs *fs, size_t length)
{
	const uint64_t counter = (UINT64_C(1) << FS_COUNTER_BITS) - 1;
	const uint64_t epoch = (UINT64_C(1) << (FS_HANDLE_BITS - FS_COUNTER_BITS)) - 1;
	uint64_t fh;

	if (length > FH_LENGTH_MAX)
		length = FH_LENGTH_MAX;
	/* What is open is paid for, so that there are never as many as there are numbers. */
	do
		fh = (uint64_t)length << FS_HANDLE_BITS | (fs->epoch & epoch) << FS_COUNTER_BITS |
			(++fs->n_opened & counter);
	while (fs_file_find(fs, fh) || fs_calls_exist(fs, fh));
	return fh;
}

/* All at once: whoever had the file open before knows nothing of pieces. */
static int
make_text(struct fs *fs, fuse_req_t req, struct node node, struct text *t)
{
	struct request r;

	if (node.row->type == ROW_LOG)
		return 0;
	fs_request_init(fs, req, &r);
	tree_read(&r, node, t);
	request_deinit(&r);
	return text_done(t);
}

/* A file that an earlier broker opened. Returns: 0, or a positive errno. */
static int
file_restore(struct fs *fs, fuse_req_t req, struct node node, uint64_t fh, struct fs_file **ret)
{
	cleanup_text struct text text = {};
	struct fs_open_record record = {};
	uint64_t length = fh >> FS_HANDLE_BITS;
	bool stored;
	int e;

	stored = node.row->type == ROW_COMMAND &&
		fs_open_find(fs, fh, tree_number(node), &record, &text);
	if (!stored && make_text(fs, req, node, &text) < 0)
		return ENOMEM;
	if (text_done(&text) < 0)
		return ENOMEM;
	/* Its reader was told a length: not a byte more, whatever the text says by now. */
	if (node.row->type == ROW_INFO && text.n > length && length < FH_LENGTH_MAX)
		text.n = length;
	e = fs_file_new(fs, fh, node, &text, ret);
	if (e)
		return e;
	/* What an earlier broker gave to who wrote nothing is not given again. */
	if ((*ret)->calls)
		(*ret)->read_end = (*ret)->text.n;
	(*ret)->base = record.base;
	(*ret)->stored = stored;
	if (node.row->type == ROW_COMMAND)
		fs_command_restore(*ret);
	return 0;
}

/*
 * Who reads on goes on where it was, whatever has gone from the log meanwhile. Who goes elsewhere, as
 * tail(1) does to find the last lines, counts from the end that stat(2) shows, as if what is kept was
 * all there is. So does a reader whom this broker does not know: it was at the end, nearly always.
 */
static void
read_log(struct fs *fs, fuse_req_t req, struct fs_file *f, size_t size, uint64_t offset)
{
	const struct session *s = f->session;
	uint64_t end = events_size(s, f->view);
	char *buffer;
	size_t n;

	error_trace(events_store(fs->model));
	if (offset != f->next || offset == 0)
		f->read_end = events_seek(s, f->view, offset < end ? end - offset : 0);
	if (size > FS_READ_BYTES_MAX)
		size = FS_READ_BYTES_MAX;
	buffer = malloc(size ? size : 1);
	if (!buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	n = events_read(s, f->view, &f->read_end, buffer, size);
	f->next = offset + n;
	fuse_reply_buf(req, buffer, n);
	free(buffer);
}

/*
 * Offsets come from the reader, and may be anything: who goes back below the result reads it from
 * its start, and who is behind its end reads the end.
 */
void
fs_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_file *f = file_find(fs, fi->fh, ino);
	uint64_t at = (uint64_t)offset;
	struct node node;
	int e;

	if (!tree_node(fs->model, ino, &node)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (!f) {
		e = file_restore(fs, req, node, fi->fh, &f);
		if (e) {
			fuse_reply_err(req, e);
			return;
		}
	}
	if (f->log) {
		read_log(fs, req, f, size, at);
		return;
	}
	if (f->calls && fs_file_is_writable(fi)) {
		fs_call_read(fs, req, f, size);
		return;
	}
	/* The result stands behind what was written; who goes back to the start reads it there. */
	if (at < f->base)
		f->base = 0;
	at -= f->base;
	f->ended = at + size >= f->text.n;
	if (at >= f->text.n)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, f->text.data + at, size < f->text.n - at ? size : f->text.n - at);
}

void
fs_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t n, off_t offset,
	struct fuse_file_info *fi)
{
	const struct fs_piece piece = {data, n, (uint64_t)offset, fi->flags & O_APPEND};
	struct fs *fs = fuse_req_userdata(req);
	struct fs_file *f = file_find(fs, fi->fh, ino);
	struct node node;
	int e;

	if (fs_replay(fs, req))
		return;
	if (!tree_node(fs->model, ino, &node)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (!f) {
		e = file_restore(fs, req, node, fi->fh, &f);
		if (e) {
			fs_command_lost(fs, ino, fi->fh, e);
			fuse_reply_err(req, e);
			return;
		}
	}
	if (f->calls)
		fs_call_write(fs, req, node, f, data, n);
	else
		fs_command_write(fs, req, node, f, &piece);
}

/*
 * The last request of this handle: a command that was begun is whole now, and nobody will read what was
 * stored for its reader, so it goes. It is done whether or not this broker knows the file, since a
 * predecessor may have stored for it.
 */
void
fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_file *f = file_find(fs, fi->fh, ino);
	cleanup_text struct text text = {};
	struct fs_open_record record;

	fs_command_close(fs, req, ino, fi->fh, f);
	/* Not known here: of a predecessor, or of a session that has ended. */
	if (f ? f->stored : fs_open_find(fs, fi->fh, ino, &record, &text))
		fs_open_drop(fs, fi->fh);
	if (f)
		fs_file_free(fs, f);
	/* Whatever file it was: nobody else has its handle. */
	fs_calls_end(fs, fi->fh);
	fuse_reply_err(req, 0);
}

/* The kernel asks again, by a poll of its own, what there is. */
void
fs_file_wake(struct fs *fs, struct fs_file *f)
{
	if (!f->poll)
		return;
	fuse_lowlevel_notify_poll(f->poll);
	fs_poll_end(fs, f);
}

/*
 * A text can always be read, and a command always be written. A log is ready when there is more
 * than was read, a `call` when there is a reply; only for these somebody has to be woken.
 */
void
fs_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *poll)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_file *f = file_find(fs, fi->fh, ino);
	unsigned events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
	bool refused = false;
	struct node node;

	if (!tree_node(fs->model, ino, &node))
		events |= POLLERR | POLLHUP;
	else if (!f && (node.row->type == ROW_LOG || fs_calls_of(fs, node.row->type)) &&
		file_restore(fs, req, node, fi->fh, &f))
		f = NULL;
	if (f && (f->log || f->calls)) {
		if (f->log)
			events = events_has_more(f->session, f->view, f->read_end) ? POLLIN | POLLRDNORM : 0;
		else if (!f->calls->ops->poll(f->calls->data, f->fh))
			events = 0;
		fs_poll_end(fs, f);
		refused = poll && !fs_polls_allow(fs, f->session);
		if (poll && !refused) {
			fs_poll_begin(fs, f, poll);
			poll = NULL;
		}
	}
	if (poll)
		fuse_pollhandle_destroy(poll);
	/* poll(2) returns POLLERR then: one who is not woken must not sleep. */
	if (refused && !events)
		fuse_reply_err(req, EDQUOT);
	else
		fuse_reply_poll(req, events);
}

/*
 * Only those of this session's own log are woken: what happens in a child is told in the child's.
 */
void
fs_files_logged(struct fs *fs, struct session *s)
{
	list_for_each (i, &fs->all_files) {
		struct fs_file *f = list_entry(i, struct fs_file, all);

		if (f->session == s && f->log && events_has_more(s, f->view, f->read_end))
			fs_file_wake(fs, f);
	}
}

/* Their kernel side stays, and reads ESTALE from now on. */
void
fs_files_gone(struct fs *fs, struct session *s)
{
	list_for_each_safe (i, &fs->all_files) {
		struct fs_file *f = list_entry(i, struct fs_file, all);

		if (f->session != s)
			continue;
		fs_call_end_reads(f, ESTALE);
		if (f->poll)
			fuse_lowlevel_notify_poll(f->poll);
		fs_file_free(fs, f);
	}
}

/* Nobody gets a reply: the handles and what waits on them belong to the next broker. */
void
fs_files_free(struct fs *fs)
{
	list_for_each_safe (i, &fs->all_files)
		fs_file_free(fs, list_entry(i, struct fs_file, all));
	index_deinit(&fs->files);
	index_deinit(&fs->files_by_number);
}
