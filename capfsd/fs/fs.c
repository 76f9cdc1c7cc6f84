/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the front is made of, and the model's hooks. broker/ calls what is here, with fs.h as all it
 * knows.
 *
 * /dev/fuse belongs to all brokers of the mount: it stays open in the holder, and is never closed
 * or shut down here. Whatever this broker has not replied to when it ends, the kernel sends to the
 * next.
 *
 * Notifications to the kernel take no lock that a client could hold. One that waited for an inode's
 * lock would wait for whoever holds that, and who may be waiting for a reply of this thread.
 */
#include "config.h"

#include "capfsd/fs/fs.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#include "base/clock.h"
#include "capfsd/fs/cache.h"
#include "capfsd/fs/calls.h"
#include "capfsd/fs/edits.h"
#include "capfsd/fs/nodes.h"
#include "capfsd/fs/opening.h"
#include "capfsd/fs/pending.h"
#include "capfsd/fs/replies.h"
#include "capfsd/fs/takeover.h"
#include "capfsd/process/fds.h"

/* EPERM, as of other file systems that have none; after ENOSYS nobody would ask again. */
static void
refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

/*
 * libfuse fills in defaults of its own, and must count on nothing that the kernel was not told: the
 * reply went out once, by the keeper, before there was a broker.
 */
static void
on_init(void *data, struct fuse_conn_info *conn)
{
	const struct fs *fs = data;
	struct fuse_init_out granted;

	/* Only what the keeper has told the kernel. */
	memcpy(&granted, fs->boot->init.reply + sizeof(struct fuse_out_header), sizeof(granted));
	conn->max_write = granted.max_write;
	conn->max_readahead = granted.max_readahead;
	conn->max_background = granted.max_background;
	conn->congestion_threshold = granted.congestion_threshold;
}

static const struct fuse_lowlevel_ops operations = {
	.init = on_init,
	.lookup = fs_lookup,
	.forget = fs_forget,
	.forget_multi = fs_forget_multi,
	.getattr = fs_getattr,
	.setattr = fs_setattr,
	.setxattr = fs_setxattr,
	.mkdir = fs_mkdir,
	.rmdir = fs_rmdir,
	.rename = fs_rename,
	.mknod = fs_mknod,
	.unlink = fs_unlink,
	.symlink = refuse_symlink,
	.link = fs_link,
	.opendir = fs_opendir,
	.readdir = fs_readdir,
	.statfs = fs_statfs,
	.open = fs_open,
	.read = fs_file_read,
	.write = fs_file_write,
	.release = fs_release,
	.poll = fs_poll,
};

/*
 * The kernel gives no request into a buffer that could not hold the largest of all: a write of 128
 * KiB with what stands before it.
 */
int
fs_new(struct model *m, struct state *state, const struct boot *boot,
	struct turns *turns, const struct fs_sockets *sockets, void *sockets_data, struct fs **ret)
{
	const struct fuse_custom_io io = {.writev = fs_writev, .read = fs_read};
	char *argv[] = {(char[]){"capfsd"}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return -ENOMEM;
	fs->model = m;
	fs->state = state;
	fs->boot = boot;
	fs->turns = turns;
	fs->sockets = sockets;
	fs->sockets_data = sockets_data;
	list_init(&fs->all_pending);
	list_init(&fs->openings);
	kept_init(&fs->kept);
	list_init(&fs->all_files);
	list_init(&fs->polled);
	list_init(&fs->lookups);
	list_init(&fs->reaping);
	list_init(&fs->reads);
	fs->read_usec = FS_READ_USEC;
	fs->interrupted_usec = FS_INTERRUPTED_USEC;
	fs_cache_begin(fs);
	fs->buffer_size = 131072 + 8192;
	fs->buffer = aligned_alloc(4096, fs->buffer_size);
	fs->session = fuse_session_new(&args, &operations, sizeof(operations), fs);
	r = fs->buffer && fs->session ? fuse_session_custom_io(fs->session, &io, BOOT_FD_FUSE)
				      : -ENOMEM;
	if (r < 0) {
		fs_free(fs);
		return r;
	}
	*ret = fs;
	return 0;
}

void
fs_set_calls(struct fs *fs, const struct calls *calls, void *data)
{
	fs->calls = (struct fs_calls){calls, data};
}

void
fs_set_asks(struct fs *fs, const struct calls *asks, void *data)
{
	fs->asks = (struct fs_calls){asks, data};
}

void
fs_set_metrics(struct fs *fs, struct metrics *metrics)
{
	fs->metrics = metrics;
}

/*
 * Nothing is sent to anybody here: what waits is for the next broker. The descriptor is the
 * holder's too, and stays open: libfuse would close it with its session, and so the session is not
 * destroyed.
 */
struct fs *
fs_free(struct fs *fs)
{
	if (!fs)
		return NULL;
	fs_pending_free(fs);
	fs_openings_free(fs);
	kept_deinit(&fs->kept);
	fs_lookups_free(fs);
	fs_replies_free(fs);
	fs_files_free(fs);
	free(fs->buffer);
	free(fs);
	return NULL;
}

uint64_t
fs_now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

/* Who asks is who the kernel says: what a client claims of itself is nowhere looked at. */
void
fs_request_init(struct fs *fs, fuse_req_t req, struct request *r)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	*r = (struct request){
		.model = fs->model,
		.metrics = fs->metrics,
		.uid = ctx->uid,
		.gid = ctx->gid,
		.pid = ctx->pid,
		.data = fs,
	};
}

/* All names are asked for again. */
static void
forget_names(struct fs *fs)
{
	if (!fs->names_given)
		return;
	fs->names_given = false;
	fs_next_epoch(fs);
}

/*
 * Those of ROWS that the kernel may have: it asks for them again. Others cost nothing, which
 * matters, as one change can touch a million entities that nobody has ever looked at.
 *
 * An inode that the kernel does not have may be on its way: who looked it up has our reply, and has not run since. He
 * would keep it for a day; but his name is of an older epoch then, and leads nobody there.
 */
static void
invalidate_rows(struct fs *fs, struct entity *e, uint64_t rows)
{
	rows = fs_cache_take(fs, e, rows);
	for (uint64_t row = 0; rows; row++, rows >>= 1)
		if (rows & 1 && fuse_lowlevel_notify_inval_inode(fs->session, row << 48 | e->id, -1, 0) == -ENOENT)
			forget_names(fs);
}

void
fs_socket_done(struct fs *fs, struct entity *e, int error)
{
	fs_lookups_done(fs, e, error);
}

void
fs_timeouts(struct fs *fs)
{
	uint64_t now, deadline = fs_deadline(fs);

	if (deadline == UINT64_MAX)
		return;
	now = fs_now_usec();
	if (deadline > now)
		return;
	fs_lookups_timeouts(fs, now);
	fs_calls_timeouts(fs, now);
}

uint64_t
fs_deadline(const struct fs *fs)
{
	uint64_t read = fs_calls_deadline(fs), lookup = fs_lookups_deadline(fs);

	return lookup < read ? lookup : read;
}

/*
 * A socket's entry must go from the cache, since connect(2) would find no listener, and not ask. Its
 * attributes are no way: that connect(2) has walked the path when it would be told ESTALE. Nor do they
 * tell whether the kernel has the entry: they may have been invalidated since, by which that stays.
 */
void
fs_socket_invalidate(struct fs *fs, struct entity *e)
{
	if (fs_cache_names_socket(fs, e))
		forget_names(fs);
}

/*
 * The kernel says so when it is told to forget the attributes. Nothing but a look-up gives it the node, so one
 * that it does not have is asked for no more until then.
 */
bool
fs_socket_is_known(struct fs *fs, struct entity *e)
{
	uint64_t row = 0, rows = tree_rows(e->kind, ROW_SOCKET);

	if (!rows || !fs_cache_names_socket(fs, e))
		return false;
	while (!(rows >> row & 1))
		row++;
	if (fuse_lowlevel_notify_inval_inode(fs->session, (fuse_ino_t)(row << 48 | e->id), -1, 0) != -ENOENT)
		return true;
	fs_cache_drop_socket(fs, e);
	return false;
}

/*
 * What a session owns has its owner and mode, unless it has some of its own, and the kernel lets people in
 * by what it has been told.
 */
static void
invalidate_owned(struct fs *fs, struct session *s)
{
	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		if (kind != ENTITY_SESSION)
			list_for_each (i, &s->owned[kind])
				invalidate_rows(
					fs, list_entry(i, struct entity, owner_link), UINT64_MAX);
}

void
fs_changed(struct fs *fs, struct entity *e)
{
	struct session *s = e->kind == ENTITY_SESSION ? session_of(e) : NULL;

	invalidate_rows(fs, e, UINT64_MAX);
	if (!s || s->record.owner_changed == s->owner_told)
		return;
	s->owner_told = s->record.owner_changed;
	if (s->owner_told)
		invalidate_owned(fs, s);
}

/* Texts and lists change, and the attributes of all else are as they were: nobody on a path through it asks again. */
void
fs_shown(struct fs *fs, struct entity *e)
{
	if (fs_cache_has(fs, e))
		invalidate_rows(fs, e, tree_showing_rows(e->kind));
}

/* Numbers in texts change often, attributes do not: only the files that show numbers are told. */
void
fs_used(struct fs *fs, struct entity *e)
{
	if (fs_cache_has(fs, e))
		invalidate_rows(fs, e, tree_rows(e->kind, ROW_INFO));
}

/* Told while E is still there: after this nobody can find it by its number. */
void
fs_gone(struct fs *fs, struct entity *e)
{
	fs_changed(fs, e);
	fs_lookups_gone(fs, e);
	if (e->kind == ENTITY_ALIAS)
		/* Its socket stays, here and in all that was derived from its slot. */
		forget_names(fs);
	if (e->kind != ENTITY_SESSION)
		return;
	fs_pending_gone(fs, session_of(e));
	fs_openings_gone(fs, session_of(e));
	fs_files_gone(fs, session_of(e));
}

void
fs_logged(struct fs *fs, struct session *s)
{
	if (fs_cache_has(fs, &s->entity))
		invalidate_rows(fs, &s->entity,
			tree_rows(ENTITY_SESSION, ROW_LOG) | tree_rows(ENTITY_SESSION, ROW_INFO));
	fs_files_logged(fs, s);
}
