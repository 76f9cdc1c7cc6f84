/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkdir(2), rmdir(2), link(2), unlink(2), rename(2), chmod(2) and chown(2). libfuse calls these; what they mean the
 * tree knows. Here the tree gets its words, and the kernel its reply. Nothing is kept between two
 * of them.
 *
 * Each begins with fs_replay(): the kernel sends again what a dead broker did not reply to, and
 * what was committed must not be done twice.
 */
#include "config.h"

#include "capfsd/fs/edits.h"

#include <errno.h>
#include <string.h>

#include "capfsd/fs/nodes.h"
#include "capfsd/fs/replies.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/*
 * The node that is to be changed, or in which something is made or removed. In the hidden directory
 * of the binder nothing of it is allowed, since names are made there by bind(2) alone.
 * Returns: false when the kernel has its reply.
 */
static bool
find_node(struct fs *fs, fuse_req_t req, fuse_ino_t ino, struct node *ret)
{
	if (fs_replay(fs, req))
		return false;
	if (tree_node(fs->model, ino, ret))
		return true;
	fuse_reply_err(req, ino == FS_BIND_DIR ? EPERM : ESTALE);
	return false;
}

/*
 * The mode's upper bits are cut off, as the kernel gives the file type with them. What is not to be
 * changed is -1, which is no owner and no mode.
 */
void
fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	const int owner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE;
	struct fs *fs = fuse_req_userdata(req);
	struct fs_edit edit;
	struct node node;
	int e;

	if (!find_node(fs, req, ino, &node))
		return;
	/* Sizes and times are what they are: truncation is accepted and means nothing. */
	if (!(to_set & owner)) {
		fs_reply_attributes(fs, req, node);
		return;
	}
	fs_edit_begin(&edit, fs, req, 0);
	edit.reply.number = ino;
	e = tree_set_owner(&edit.request, node, to_set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1,
		to_set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1,
		to_set & FUSE_SET_ATTR_MODE ? st->st_mode & 07777 : (mode_t)-1);
	fs_edit_end(&edit, e);
}

/*
 * MODE is not used: what owner and mode a new session has the verb decides, alike for both fronts.
 */
void
fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_edit edit;
	struct node at;
	int e;

	if (!find_node(fs, req, parent, &at))
		return;
	/* What stands there is made by link(2). */
	if (at.row->children == ENTITY_ALIAS) {
		fuse_reply_err(req, EPERM);
		return;
	}
	fs_edit_begin(&edit, fs, req, 0);
	e = tree_create(&edit.request, at, name, strlen(name), "", 0);
	fs_edit_end(&edit, e);
}

/* Closing a session takes a while: the reply waits until all of it is gone (replies.c). */
static void
remove_name(struct fs *fs, fuse_req_t req, struct node at, const char *name)
{
	struct fs_edit edit;
	int e;

	fs_edit_begin(&edit, fs, req, 0);
	e = tree_remove(&edit.request, at, name, strlen(name));
	fs_edit_end(&edit, e);
}

void
fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node at;

	if (find_node(fs, req, parent, &at))
		remove_name(fs, req, at, name);
}

/*
 * Of all nodes the socket of a slot can have more names, and they stand in the `as` of that slot: there they
 * are found, with its mode, and go with it. EPERM, as of file systems that have no links.
 */
void
fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_edit edit;
	struct node at;
	int e;

	if (!find_node(fs, req, parent, &at))
		return;
	if (at.row->children != ENTITY_ALIAS ||
		tree_number(tree_slot_socket(capability_of(at.entity))) != ino) {
		fuse_reply_err(req, EPERM);
		return;
	}
	fs_edit_begin(&edit, fs, req, 0);
	edit.reply.number = ino;
	e = tree_link(&edit.request, at, name, strlen(name));
	fs_edit_end(&edit, e);
}

void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct node at;

	/*
	 * ENOENT makes the kernel forget the name as well, but leaves the inode its link, which the
	 * visible name needs: success would count it down, and outdate the look-up that is parked.
	 */
	if (parent == FS_BIND_DIR) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (!find_node(fs, req, parent, &at))
		return;
	if (at.row->children == ENTITY_ALIAS)
		remove_name(fs, req, at, name);
	else
		fuse_reply_err(req, EPERM);
}

/* NOREPLACE is what is done anyway: a name that is taken is never replaced. */
void
fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct fs *fs = fuse_req_userdata(req);
	struct fs_edit edit;
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
	fs_edit_begin(&edit, fs, req, 0);
	e = tree_rename(&edit.request, at, name, strlen(name), to, new_name, strlen(new_name));
	fs_edit_end(&edit, e);
}
