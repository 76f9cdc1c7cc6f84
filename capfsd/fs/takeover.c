/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a broker takes the connection over from its predecessor, and what passes between libfuse and
 * the kernel. libfuse must see INIT, which the kernel sends once; the kernel must forget what a
 * dead broker could not take back, and send again what that did not answer.
 *
 * The order is fixed. Records of other mounts go before anything is sent again, or a request could
 * meet the reply to another one; caches are invalidated before it too, since what the kernel is
 * given after that is true.
 */
#include "config.h"

#include "capfsd/fs/takeover.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/fs/cache.h"
#include "capfsd/fs/polls.h"
#include "capfsd/fs/records.h"
#include "capfsd/fs/service.h"
#include "capfsd/process/fds.h"

#define NOTIFY_RESEND 7
#define NOTIFY_INC_EPOCH 8

ssize_t
fs_read(int fd, void *buffer, size_t size, void *data)
{
	return read(fd, buffer, size);
}

/*
 * Everything that libfuse sends passes here. While INIT is replayed nothing may reach the kernel,
 * which has its reply since the mount was made, and would take a second for a reply to something
 * else.
 */
ssize_t
fs_writev(int fd, struct iovec *iov, int count, void *data)
{
	struct fs *fs = data;
	ssize_t n = 0;

	if (!fs->replaying) {
		const struct fuse_out_header *out = iov[0].iov_base;

		n = writev(fd, iov, count);
		fs_service_end(fs, out->unique);
		return n;
	}
	fs->n_init_reply = 0;
	for (int i = 0; i < count; i++) {
		size_t part = iov[i].iov_len, room = sizeof(fs->init_reply) - fs->n_init_reply;

		n += (ssize_t)part;
		part = part < room ? part : room;
		memcpy(fs->init_reply + fs->n_init_reply, iov[i].iov_base, part);
		fs->n_init_reply += part;
	}
	return n;
}

/*
 * Does libfuse count on nothing that the kernel was not told? An update of the library may want
 * more than the keeper agreed to; served on that ground, requests would be misread. Then this
 * broker does not begin.
 */
static bool
init_agrees(const struct fs *fs)
{
	const struct boot_init *init = &fs->boot->init;
	struct fuse_init_out ours, theirs;
	const size_t n = sizeof(struct fuse_out_header) + sizeof(ours);

	if (fs->n_init_reply < n || init->n_reply < n)
		return false;
	memcpy(&ours, fs->init_reply + sizeof(struct fuse_out_header), sizeof(ours));
	memcpy(&theirs, init->reply + sizeof(struct fuse_out_header), sizeof(theirs));
	log_message(LOG_DEBUG, "INIT: minor %u/%u max_write %u/%u flags %x/%x", ours.minor, theirs.minor,
		ours.max_write, theirs.max_write, ours.flags, theirs.flags);
	return ours.major == theirs.major && ours.minor == theirs.minor &&
		ours.max_write == theirs.max_write && !(ours.flags & ~theirs.flags);
}

/* A message to the kernel by itself, as libfuse has no words for either of the two. */
static int
notify(int code)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = code};

	return write(BOOT_FD_FUSE, &out, sizeof(out)) < 0 ? -errno : 0;
}

/*
 * The first refusal tells that this kernel has none; socket names, and attributes that came with a name, then
 * expire after a second instead.
 */
void
fs_next_epoch(struct fs *fs)
{
	if (!fs->no_epochs && notify(NOTIFY_INC_EPOCH) == -EINVAL) {
		log_message(LOG_INFO, "this kernel cannot invalidate all entries at once");
		fs->no_epochs = true;
	}
}

/*
 * What was committed by a broker that died before it could invalidate. Dentries are checked anew
 * after the epoch has moved; attributes of a session may also be held without a path.
 */
static void
invalidate_all(struct fs *fs)
{
	struct session *root = fs->model->root;
	const struct node own = tree_session(root);

	fs_next_epoch(fs);
	/*
	 * Not the root's own directory: attributes that somebody waits for would be taken for older
	 * than this, and a new mount has none to go by (EACCES). It has no entries that come and go,
	 * and chmod(2) brings its own reply.
	 */
	fs_cache_take(fs, &root->entity, UINT64_C(1) << own.row->number);
	for (struct session *s = root; s; s = session_next_below(root, s))
		fs_changed(fs, &s->entity);
	fs_cache_note(fs, own);
}

int
fs_replay_init(struct fs *fs)
{
	const struct boot_init *init = &fs->boot->init;
	struct fuse_buf buf = {.size = init->n_request, .mem = fs->buffer};

	memcpy(fs->buffer, init->request, init->n_request);
	fs->replaying = true;
	fuse_session_process_buf(fs->session, &buf);
	fs->replaying = false;
	return init_agrees(fs) ? 0 : -EPROTO;
}

int
fs_take_over(struct fs *fs)
{
	int r;

	r = fs_replay_init(fs);
	if (r == 0)
		r = fs_records_begin(fs);
	if (r < 0)
		return r;
	invalidate_all(fs);
	fs_polls_wake(fs);
	r = fs->no_resend ? -EINVAL : notify(NOTIFY_RESEND);
	fs->resending = r == 0;
	if (r == -EINVAL) {
		fs->no_resend = true;
		fs_service_give_up(fs);
		return 0;
	}
	return r == -ENOENT ? 0 : r;
}
