/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Look-up, attributes, directories. libfuse calls these; they change nothing in the model. It owns
 * the look-ups that wait for a listener.
 *
 * The kernel caches names and attributes for a day, and is told when they change. Names of sockets
 * are different: connect(2) asks nobody once the name is cached, so one is given to the kernel only
 * when somebody listens there, and a look-up waits for that. It waits FS_LOOKUP_USEC at most, since
 * whoever does ls(1) is held up by it: after that the name is given without being cached, and connect(2) is
 * refused. So it is longer than it takes to replace a binder, on a busy machine too.
 */
#include "config.h"

#include "capfsd/fs/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/number.h"
#include "capfsd/fs/cache.h"
#include "capfsd/fs/opening.h"
#include "wire/wire.h"

#define TIMEOUT_SECONDS 86400.0      /* what the kernel caches is invalidated, not expired */
#define NO_EPOCH_SECONDS 1.0 /* where the kernel has no epochs: of socket entries, and of what comes with a name */

/* A look-up that waits for a listener. */
struct fs_lookup {
	struct list link; /* fs.lookups */
	fuse_req_t req;
	uint64_t entity, number;
	uint64_t since_usec, deadline_usec; /* CLOCK_MONOTONIC */
};

static struct timespec
time_of(uint64_t nsec)
{
	return (struct timespec){
		.tv_sec = (time_t)(nsec / 1000000000), .tv_nsec = (long)(nsec % 1000000000)};
}

/* The three times are one: that of the last change. Who read what is not recorded. */
static struct stat
node_attributes(struct node node, uint64_t length)
{
	struct node_stat st;

	tree_stat(node, &st);
	st.size += length;
	return (struct stat){
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

/*
 * What is cached without being noted would never be invalidated; so it is noted here, for every
 * reply that contains a node, but where the kernel asks again for its size.
 */
void
fs_reply_node(struct fs *fs, fuse_req_t req, struct node node, bool cached)
{
	struct fuse_entry_param entry = {
		.ino = tree_number(node),
		.generation = 1,
		.entry_timeout = cached ? TIMEOUT_SECONDS : 0,
	};
	struct fs_size size;
	int e = fs_size_at_once(fs, node, &size);

	if (e) {
		fuse_reply_err(req, e);
		return;
	}
	entry.attr = node_attributes(node, size.n);
	if (size.cached) {
		entry.attr_timeout = fs->no_epochs ? NO_EPOCH_SECONDS : TIMEOUT_SECONDS;
		fs_cache_note(fs, node);
	}
	if (node.row->type == ROW_SOCKET && cached && fs->no_epochs)
		entry.entry_timeout = NO_EPOCH_SECONDS;
	fs->names_given = true;
	fuse_reply_entry(req, &entry);
}

/* The same without a name: the kernel may have the inode by an open file, long after its name. */
void
fs_reply_stat(struct fs *fs, fuse_req_t req, struct node node, struct fs_size size)
{
	struct stat st = node_attributes(node, size.n);

	if (size.cached)
		fs_cache_note(fs, node);
	fuse_reply_attr(req, &st, size.cached ? TIMEOUT_SECONDS : 0);
}

void
fs_reply_attributes(struct fs *fs, fuse_req_t req, struct node node)
{
	struct fs_size size;
	int e = fs_size_at_once(fs, node, &size);

	if (e)
		fuse_reply_err(req, e);
	else
		fs_reply_stat(fs, req, node, size);
}

/* Everything but a socket is ready as soon as it is there. */
bool
fs_is_ready(struct fs *fs, struct node node)
{
	return node.row->type != ROW_SOCKET ||
		fs->sockets->ready(fs->sockets_data, node.entity);
}

/*
 * Whoever may have been killed is let go soon, with a name that is not cached: it then comes before those that
 * wait for longer.
 */
static void
on_interrupt(fuse_req_t req, void *data)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_lookup *w = data;
	uint64_t soon = w->since_usec + fs->interrupted_usec;

	if (soon >= w->deadline_usec)
		return;
	w->deadline_usec = soon;
	list_unlink(&w->link);
	list_append(fs->lookups.next, &w->link);
}

/* Waits for the socket's listener; whoever comes second waits for the same one. */
static void
park_lookup(struct fs *fs, fuse_req_t req, struct node node)
{
	struct fs_lookup *w = calloc(1, sizeof(*w));
	bool first = true;

	if (!w) {
		fs_reply_node(fs, req, node, false);
		return;
	}
	list_for_each (i, &fs->lookups)
		first &= list_entry(i, struct fs_lookup, link)->entity != node.entity->id;
	w->req = req;
	w->entity = node.entity->id;
	w->number = tree_number(node);
	w->since_usec = fs_now_usec();
	w->deadline_usec = w->since_usec + FS_LOOKUP_USEC;
	list_append(&fs->lookups, &w->link);
	fuse_req_interrupt_func(req, on_interrupt, w);
	if (first)
		fs->sockets->want(fs->sockets_data, node.entity);
}

/* The node is found anew by its number: it may have ended while the look-up waited. */
static void
lookup_end(struct fs *fs, struct fs_lookup *w, bool cached)
{
	struct node node;

	list_unlink(&w->link);
	if (tree_node(fs->model, w->number, &node))
		fs_reply_node(fs, w->req, node, cached);
	else
		fuse_reply_err(w->req, ENOENT);
	free(w);
}

/*
 * Without a listener the name is still shown, for ls(1) and stat(1): only it is not cached, so that
 * the next connect(2) asks again.
 */
void
fs_lookups_done(struct fs *fs, const struct entity *e, int error)
{
	list_for_each_safe (i, &fs->lookups) {
		struct fs_lookup *w = list_entry(i, struct fs_lookup, link);

		if (w->entity == e->id)
			lookup_end(fs, w, !error);
	}
}

/*
 * What is gone has no name, and whoever waited for it must hear that now: nobody else will tell
 * them.
 */
void
fs_lookups_gone(struct fs *fs, const struct entity *e)
{
	list_for_each_safe (i, &fs->lookups) {
		struct fs_lookup *w = list_entry(i, struct fs_lookup, link);

		if (w->entity != e->id)
			continue;
		list_unlink(&w->link);
		fuse_reply_err(w->req, ENOENT);
		free(w);
	}
}

/*
 * The binder may be stuck or gone; a look-up that hangs would hang every path that leads through
 * it.
 */
void
fs_lookups_timeouts(struct fs *fs, uint64_t now_usec)
{
	list_for_each_safe (i, &fs->lookups) {
		struct fs_lookup *w = list_entry(i, struct fs_lookup, link);

		if (w->deadline_usec <= now_usec)
			lookup_end(fs, w, false);
	}
}

uint64_t
fs_lookups_deadline(const struct fs *fs)
{
	struct list *first = list_first(&fs->lookups);

	return first ? list_entry(first, struct fs_lookup, link)->deadline_usec : UINT64_MAX;
}

void
fs_lookups_free(struct fs *fs)
{
	list_for_each_safe (i, &fs->lookups)
		free(list_entry(i, struct fs_lookup, link));
}

static void
lookup_bind_dir(struct fs *fs, fuse_req_t req)
{
	struct fuse_entry_param entry = {
		.ino = FS_BIND_DIR,
		.generation = 1,
		.attr = bind_dir_attributes(fs),
		.attr_timeout = TIMEOUT_SECONDS,
		.entry_timeout = TIMEOUT_SECONDS,
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
	else if (fs_is_ready(fs, node))
		fs_reply_node(fs, req, node, true);
	else
		park_lookup(fs, req, node);
}

/* Of all nodes only sockets cost something while the kernel remembers them. */
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

		fuse_reply_attr(req, &st, TIMEOUT_SECONDS);
	} else if (!tree_node(fs->model, ino, &node)) {
		/* The kernel looks the name up again, and then learns what there is now. */
		fuse_reply_err(req, ESTALE);
	} else if (tree_has_text(node)) {
		fs_size_tell(fs, req, node, fi);
	} else {
		fs_reply_attributes(fs, req, node);
	}
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
		*ret = tree_object_socket(object_of(e));
		return true;
	}
	if (!tree_node(fs->model, id & ((UINT64_C(1) << 48) - 1), &at))
		return false;
	e = at.entity;
	if (object == 0)
		return e->kind == ENTITY_SESSION &&
			tree_lookup(fs->model, at, "control", 7, ret) == 0;
	return e->kind == ENTITY_CAPABILITY &&
		capability_of(e)->record.target == object &&
		tree_lookup(fs->model, at, "socket", 6, ret) == 0;
}

/* The binder binds a socket under a hidden name, which the kernel makes by mknod. */
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
	bool full;
};

static bool
fill_add(struct fill *f, const char *name, uint64_t number, mode_t mode, uint64_t next)
{
	struct stat st = {.st_ino = number, .st_mode = mode};
	size_t n = fuse_add_direntry(f->req, f->buffer + f->used, f->size - f->used, name, &st,
		(off_t)next);

	f->full = n > f->size - f->used;
	if (!f->full)
		f->used += n;
	return !f->full;
}

/* Two entries, "." and "..", come before those of the tree, and have the first two cookies. */
static bool
fill_node(void *data, const char *name, struct node node, uint64_t cookie)
{
	return fill_add(data, name, tree_number(node), row_format(node.row), cookie + 2);
}

/* An empty reply would be the end: where nothing is to be shown yet it goes on in another turn, and replies then. */
static int
fill_from(struct fill *f, struct fs *fs, struct node at, uint64_t cookie)
{
	struct fs_current *current = &fs->current;
	bool more = false;
	int e;

	if (current->place)
		cookie = current->place;
	e = tree_list(fs->model, at, &cookie, fill_node, f, &more);
	current->unfinished = e == 0 && more && f->used == 0 && !f->full;
	current->place = cookie;
	return e;
}

/*
 * No more than 128 KiB at a time, whatever was asked for: the buffer is memory that a reader of the
 * tree chooses the size of.
 */
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
		e = fill_from(&f, fs, at, offset > 2 ? (uint64_t)offset - 2 : 0);
	if (e)
		fuse_reply_err(req, e);
	else if (fs->current.unfinished)
		fuse_reply_none(req);
	else
		fuse_reply_buf(req, f.buffer, f.used);
	free(f.buffer);
}

/* df(1) shows the slots that there may be as inodes that are free. */
void
fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fuse_req_userdata(req);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_BYTES_MAX};

	for (int kind = 0; kind < ENTITY_N_KINDS; kind++)
		st.f_files += fs->model->n[kind];
	st.f_ffree = st.f_favail = quota_free(fs->model->root, QUOTA_CAPS);
	st.f_files += st.f_ffree;
	fuse_reply_statfs(req, &st);
}
