/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Look-up, attributes, directories. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/number.h"
#include "capfsd/fs/private.h"
#include "libcap-client/wire.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

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

static struct timespec
time_of(uint64_t nsec)
{
	return (struct timespec){
		.tv_sec = (time_t)(nsec / 1000000000), .tv_nsec = (long)(nsec % 1000000000)};
}

static int
node_attributes(struct fs *fs, struct node node, struct stat *ret)
{
	struct request r = {.model = fs->model, .metrics = fs->metrics};
	struct node_stat st;
	int e = tree_stat(&r, node, &st);

	request_deinit(&r);
	if (e < 0)
		return e;
	*ret = (struct stat){
		.st_ino = tree_number(node),
		.st_mode = st.mode,
		.st_nlink = st.nlink,
		.st_uid = st.uid,
		.st_gid = st.gid,
		.st_size = (off_t)st.size,
		.st_blocks = (blkcnt_t)((st.size + 511) / 512),
		.st_blksize = 4096,
		.st_mtim = time_of(st.mtime_nsec),
		.st_ctim = time_of(st.mtime_nsec),
		.st_atim = time_of(st.mtime_nsec),
	};
	return 0;
}

static struct stat
bind_dir_attributes(const struct fs *fs)
{
	return (struct stat){
		.st_ino = FS_BIND_DIR,
		.st_mode = S_IFDIR | 0700,
		.st_nlink = 2,
		.st_uid = fs->boot->daemon_uid,
	};
}

/* What the kernel caches it must be told about later: the row is remembered in the entity. */
void
fs_reply_node(struct fs *fs, fuse_req_t req, struct node node, bool cached)
{
	struct fuse_entry_param entry = {
		.ino = tree_number(node),
		.generation = 1,
		.attr_timeout = node.row->restless ? 0 : FS_TIMEOUT_SECONDS,
		.entry_timeout = cached ? FS_TIMEOUT_SECONDS : 0,
	};
	int e = node_attributes(fs, node, &entry.attr);

	if (e < 0) {
		fuse_reply_err(req, -e);
		return;
	}
	node.entity->cached |= 1u << node.row->number;
	if (node.row->type == ROW_SOCKET && cached) {
		fs->sockets_cached = true;
		if (fs->no_epochs)
			entry.entry_timeout = FS_SOCKET_TIMEOUT_SECONDS;
	}
	fuse_reply_entry(req, &entry);
}

void
fs_reply_attributes(struct fs *fs, fuse_req_t req, struct node node)
{
	struct stat st;
	int e = node_attributes(fs, node, &st);

	if (e < 0) {
		fuse_reply_err(req, -e);
		return;
	}
	node.entity->cached |= 1u << node.row->number;
	fuse_reply_attr(req, &st, node.row->restless ? 0 : FS_TIMEOUT_SECONDS);
}

static bool
socket_ready(struct fs *fs, struct node node)
{
	return node.row->type != ROW_SOCKET ||
		fs->sockets->ready(fs->sockets_data, node.entity);
}

/* Waits for the socket's listener; whoever comes second waits for the same one. */
static void
park_lookup(struct fs *fs, fuse_req_t req, struct node node)
{
	struct fs_waiter *w = calloc(1, sizeof(*w));
	bool first = true;
	struct timespec t;

	if (!w) {
		fs_reply_node(fs, req, node, false);
		return;
	}
	list_for_each (i, &fs->lookups)
		first &= list_entry(i, struct fs_waiter, link)->entity != node.entity->id;
	clock_gettime(CLOCK_MONOTONIC, &t);
	w->request = req;
	w->entity = node.entity->id;
	w->number = tree_number(node);
	w->deadline_usec =
		(uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 + FS_LOOKUP_USEC;
	list_append(&fs->lookups, &w->link);
	if (first)
		fs->sockets->want(fs->sockets_data, node.entity);
}

static void
lookup_bind_dir(struct fs *fs, fuse_req_t req)
{
	struct fuse_entry_param entry = {
		.ino = FS_BIND_DIR,
		.generation = 1,
		.attr = bind_dir_attributes(fs),
		.attr_timeout = FS_TIMEOUT_SECONDS,
		.entry_timeout = FS_TIMEOUT_SECONDS,
	};

	fuse_reply_entry(req, &entry);
}

void
fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node at, node;
	int e;

	/* A name in the hidden directory exists only between bind(2) and unlink(2), in the kernel. */
	if (parent == FS_BIND_DIR) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (parent == FUSE_ROOT_ID && strcmp(name, fs->boot->bind_dir) == 0) {
		lookup_bind_dir(fs, req);
		return;
	}
	if (!tree_node(fs->model, parent, &at)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (strcmp(name, "..") == 0) {
		fs_reply_node(fs, req, tree_parent(at), true);
		return;
	}
	e = strcmp(name, ".") == 0 ? (node = at, 0)
				   : tree_lookup(fs->model, at, name, strlen(name), &node);
	if (e)
		fuse_reply_err(req, e);
	else if (socket_ready(fs, node))
		fs_reply_node(fs, req, node, true);
	else
		park_lookup(fs, req, node);
}

static void
forget_one(struct fs *fs, fuse_ino_t ino)
{
	struct node node;

	if (tree_node(fs->model, ino, &node) && node.row->type == ROW_SOCKET)
		fs->sockets->forgotten(fs->sockets_data, node.entity->id);
}

void
fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget_one(fuse_req_userdata(req), ino);
	fuse_reply_none(req);
}

void
fs_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < n; i++)
		forget_one(fuse_req_userdata(req), forgets[i].ino);
	fuse_reply_none(req);
}

void
fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node node;

	if (ino == FS_BIND_DIR) {
		struct stat st = bind_dir_attributes(fs);

		fuse_reply_attr(req, &st, FS_TIMEOUT_SECONDS);
	} else if (!tree_node(fs->model, ino, &node)) {
		/* The kernel looks the name up again, and then learns what there is now. */
		fuse_reply_err(req, ESTALE);
	} else {
		fs_reply_attributes(fs, req, node);
	}
}

/* What the request's note needs: the request's answer is committed with its change. */
struct noted {
	struct fs *fs;
	struct fs_reply reply;
};

static int
note_reply(struct request *r, struct change *ch)
{
	struct noted *noted = r->data;

	noted->reply.pending = r->pending;
	if (r->made)
		noted->reply.number = tree_number(tree_entity(r->made));
	return fs_note(noted->fs, ch, &noted->reply);
}

static void
noted_init(struct noted *noted, struct fs *fs, fuse_req_t req, struct request *r)
{
	fs_request_init(fs, req, r);
	*noted = (struct noted){
		.fs = fs,
		.reply = fs_reply_begin(fs, 0),
	};
	r->note = note_reply;
	r->data = noted;
}

/* Nobody but the broker's loop can end the broker; a failed store shows there again. */
static void
finish(struct fs *fs, fuse_req_t req, struct request *r, const struct noted *noted, int e)
{
	if (e < 0 && !r->error)
		r->error = EIO;
	fs_finish(fs, req, r, &noted->reply);
	request_deinit(r);
}

void
fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	const int owner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE;
	struct fs *fs = fuse_req_userdata(req);
	struct noted noted;
	struct request r;
	struct node node;
	int e;

	if (fs_replay(fs, req))
		return;
	if (!tree_node(fs->model, ino, &node)) {
		fuse_reply_err(req, ino == FS_BIND_DIR ? EPERM : ESTALE);
		return;
	}
	/* Sizes and times are what they are: truncation is accepted and means nothing. */
	if (!(to_set & owner)) {
		fs_reply_attributes(fs, req, node);
		return;
	}
	noted_init(&noted, fs, req, &r);
	noted.reply.number = ino;
	e = tree_set_owner(&r, node, to_set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1,
		to_set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1,
		to_set & FUSE_SET_ATTR_MODE ? st->st_mode & 07777 : (mode_t)-1);
	finish(fs, req, &r, &noted, e);
}

/*
 * No node has attributes. But this one can be written wherever connect(2) is allowed, and even onto
 * what somebody has nothing but a descriptor of: see capfsd/control/vouch.c.
 */
void
fs_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t n, int flags)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node node;

	/* Not ENOSYS: the kernel would never ask again. */
	if (strcmp(name, WIRE_VOUCH_ATTRIBUTE) != 0)
		fuse_reply_err(req, EOPNOTSUPP);
	else if (!tree_node(fs->model, ino, &node))
		fuse_reply_err(req, ino == FS_BIND_DIR ? EPERM : ESTALE);
	else if (node.row->type != ROW_SOCKET || node.entity->kind != ENTITY_CAPABILITY)
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_err(req, fs->sockets->vouch(fs->sockets_data, node.entity, value, n));
}

void
fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs *fs = fuse_req_userdata(req);
	struct noted noted;
	struct request r;
	struct node at;
	int e;

	if (fs_replay(fs, req))
		return;
	if (!tree_node(fs->model, parent, &at)) {
		fuse_reply_err(req, parent == FS_BIND_DIR ? EPERM : ESTALE);
		return;
	}
	noted_init(&noted, fs, req, &r);
	e = tree_create(&r, at, name, strlen(name), "", 0);
	finish(fs, req, &r, &noted, e);
}

void
fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct noted noted;
	struct request r;
	struct node at;
	int e;

	if (fs_replay(fs, req))
		return;
	if (!tree_node(fs->model, parent, &at)) {
		fuse_reply_err(req, parent == FS_BIND_DIR ? EPERM : ESTALE);
		return;
	}
	noted_init(&noted, fs, req, &r);
	e = tree_remove(&r, at, name, strlen(name));
	finish(fs, req, &r, &noted, e);
}

void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct fs *fs = fuse_req_userdata(req);
	struct noted noted;
	struct request r;
	struct node at, to;
	int e;

	if (fs_replay(fs, req))
		return;
	if (flags & ~(unsigned)RENAME_NOREPLACE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (!tree_node(fs->model, parent, &at) || !tree_node(fs->model, new_parent, &to)) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	noted_init(&noted, fs, req, &r);
	e = tree_rename(&r, at, name, strlen(name), to, new_name, strlen(new_name));
	finish(fs, req, &r, &noted, e);
}

/*
 * The socket that "OBJECT.CAPABILITY" names; object 0 is the daemon's own: a session's control;
 * capability 0 is the object's, which its server gets.
 */
static bool
find_bound(struct fs *fs, const char *name, struct node *ret)
{
	const char *dot = strchr(name, '.');
	uint64_t object, id;
	struct entity *e;
	struct node at;

	if (!dot || number_parse(name, (size_t)(dot - name), false, &object) < 0 ||
		number_parse(dot + 1, strlen(dot + 1), false, &id) < 0)
		return false;
	if (id == 0) {
		e = entity_find(fs->model, object);
		if (!e || e->kind != ENTITY_OBJECT)
			return false;
		*ret = tree_object_socket(container_of(e, struct object, entity));
		return true;
	}
	if (!tree_node(fs->model, id & ((UINT64_C(1) << 48) - 1), &at))
		return false;
	e = at.entity;
	if (object == 0)
		return e->kind == ENTITY_SESSION &&
			tree_lookup(fs->model, at, "control", 7, ret) == 0;
	return e->kind == ENTITY_CAPABILITY &&
		container_of(e, struct capability, entity)->record.target == object &&
		tree_lookup(fs->model, at, "socket", 6, ret) == 0;
}

void
fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node node;

	if (parent != FS_BIND_DIR || !S_ISSOCK(mode))
		fuse_reply_err(req, EPERM);
	else if (!find_bound(fs, name, &node))
		fuse_reply_err(req, ENOENT);
	else
		/* Cached, so that the unlink(2) that follows needs no look-up. */
		fs_reply_node(fs, req, node, true);
}

void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	/*
	 * ENOENT makes the kernel forget the name as well, but leaves the inode its link, which the
	 * visible name needs: success would count it down, and outdate the look-up that is parked.
	 */
	fuse_reply_err(req, parent == FS_BIND_DIR ? ENOENT : EPERM);
}

/* None of the directories has a state of its own when it is open; the kernel asks once. */
void
fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

struct fill {
	fuse_req_t req;
	char *buffer;
	size_t size, used;
};

static bool
fill_add(struct fill *f, const char *name, uint64_t number, mode_t mode, uint64_t next)
{
	struct stat st = {.st_ino = number, .st_mode = mode};
	size_t n = fuse_add_direntry(f->req, f->buffer + f->used, f->size - f->used, name, &st,
		(off_t)next);

	if (n > f->size - f->used)
		return false;
	f->used += n;
	return true;
}

static bool
fill_node(void *data, const char *name, struct node node, uint64_t cookie)
{
	mode_t mode = node.row->type == ROW_DIRECTORY ? S_IFDIR
		: node.row->type == ROW_SOCKET	      ? S_IFSOCK
						      : S_IFREG;

	return fill_add(data, name, tree_number(node), mode, cookie + 2);
}

void
fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fill f = {.req = req, .size = size < 131072 ? size : 131072};
	struct node at;
	int e = 0;

	if (ino == FS_BIND_DIR) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (!tree_node(fs->model, ino, &at)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	f.buffer = malloc(f.size ? f.size : 1);
	if (!f.buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if ((offset > 0 || fill_add(&f, ".", ino, S_IFDIR, 1)) &&
		(offset > 1 || fill_add(&f, "..", tree_number(tree_parent(at)), S_IFDIR, 2)))
		e = tree_list(fs->model, at, offset > 2 ? (uint64_t)offset - 2 : 0, fill_node, &f);
	if (e)
		fuse_reply_err(req, e);
	else
		fuse_reply_buf(req, f.buffer, f.used);
	free(f.buffer);
}

void
fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fuse_req_userdata(req);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_BYTES_MAX};

	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		st.f_files += fs->model->n[kind];
	st.f_ffree = st.f_favail = quota_free(fs->model->root, QUOTA_CAPS);
	fuse_reply_statfs(req, &st);
}
