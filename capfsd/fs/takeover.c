/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a broker takes the connection over, and why nothing is done twice: each change commits the
 * answer of the request that asked for it. The kernel sends again what was not answered, marked;
 * such a request is looked up in the store first.
 *
 * One record is enough for all requests that are answered at once, since the next request is read
 * only after the last was answered. Those that wait for reaping have a record each.
 */
#include "config.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/fs/private.h"

#define NOTIFY_RESEND 7
#define NOTIFY_INC_EPOCH 8

ssize_t
fs_read(int fd, void *buffer, size_t size, void *data)
{
	return read(fd, buffer, size);
}

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

/* Does libfuse count on nothing that the kernel was not told? */
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

static int
notify(int code)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = code};

	return write(BOOT_FD_FUSE, &out, sizeof(out)) < 0 ? -errno : 0;
}

void
fs_next_epoch(struct fs *fs)
{
	if (!fs->no_epochs && notify(NOTIFY_INC_EPOCH) == -EINVAL) {
		log_message(LOG_INFO, "this kernel cannot invalidate all entries at once");
		fs->no_epochs = true;
	}
}

/* The kernel has entries of a day's age, and nothing but a change ends them. */
static void
expect_cached(struct fs *fs)
{
	for (size_t i = 0; i < fs->model->by_id.size; i++)
		for (struct index_link *l = fs->model->by_id.buckets[i]; l; l = l->next)
			container_of(l, struct entity, id_link)->cached = UINT32_MAX;
}

/* Pollers ask again when they are woken, and then this broker knows them. */
static void
wake_pollers(struct fs *fs)
{
	for (size_t i = 0; i < BOOT_POLLS_MAX; i++) {
		struct {
			struct fuse_out_header header;
			struct fuse_notify_poll_wakeup_out poll;
		} out = {
			.header = {.len = sizeof(out), .error = FUSE_NOTIFY_POLL},
			.poll = {.kh = fs->boot->page->polls[i]},
		};

		/* One that was closed meanwhile is unknown: no harm. */
		if (out.poll.kh && write(BOOT_FD_FUSE, &out, sizeof(out)) < 0)
			log_message(LOG_DEBUG, "a poller of before cannot be woken: %m");
		fs->boot->page->polls[i] = 0;
	}
}

/*
 * What was committed by a broker that died before it could invalidate. Dentries are checked anew
 * after the epoch has moved; attributes of a session may also be held without a path.
 */
static void
invalidate_all(struct fs *fs)
{
	fs_next_epoch(fs);
	if (fs->no_epochs)
		expect_cached(fs);
	for (struct session *s = fs->model->root; s;) {
		struct session *next = NULL;

		/*
		 * Not the root's own directory: attributes that somebody waits for would be taken
		 * for older than this, and a new mount has none to go by (EACCES). It has no entries
		 * that come and go, and chmod(2) brings its own answer.
		 */
		s->entity.cached = s->parent ? UINT32_MAX : ~1u;
		fs_changed(fs, &s->entity);
		s->entity.cached |= !s->parent;
		/* Depth-first through the tree of sessions. */
		if (!list_empty(&s->owned[ENTITY_SESSION]))
			next = list_entry(s->owned[ENTITY_SESSION].next, struct session, entity.owner_link);
		while (!next && s->parent) {
			if (s->entity.owner_link.next != &s->parent->owned[ENTITY_SESSION])
				next = list_entry(s->entity.owner_link.next, struct session,
					entity.owner_link);
			s = s->parent;
		}
		s = next;
	}
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
	wake_pollers(fs);
	r = fs->no_resend ? -EINVAL : notify(NOTIFY_RESEND);
	if (r == -EINVAL) {
		fs->no_resend = true;
		fs_service_give_up(fs);
		return 0;
	}
	return r == -ENOENT ? 0 : r;
}

static uint64_t
reply_key(const struct fs_reply *reply)
{
	if (!reply->pending)
		return FS_REPLY_LAST;
	return STORE_KEY(STORE_REPLY, UINT64_C(1) << 48 | (reply->unique & ((UINT64_C(1) << 48) - 1)));
}

int
fs_note(struct fs *fs, struct change *ch, const struct fs_reply *reply)
{
	return change_note(ch, reply_key(reply), reply, sizeof(*reply));
}

static bool
find_reply(struct fs *fs, uint64_t key, struct fs_reply *ret)
{
	const void *data;
	size_t n;

	if (state_get(fs->state, key, &data, &n) < 0 || n != sizeof(*ret))
		return false;
	memcpy(ret, data, sizeof(*ret));
	return ret->instance == fs->boot->instance && ret->unique == fs->current.unique;
}

void
fs_reply_send(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	struct node node;

	switch (reply->opcode) {
	case FUSE_WRITE:
		fuse_reply_write(req, reply->size);
		break;
	case FUSE_MKDIR:
	case FUSE_SETATTR:
		if (!tree_node(fs->model, reply->number, &node))
			fuse_reply_err(req, ESTALE);
		else if (reply->opcode == FUSE_MKDIR)
			fs_reply_node(fs, req, node, true);
		else
			fs_reply_attributes(fs, req, node);
		break;
	default:
		fuse_reply_err(req, 0);
	}
}

/* Answers when what REPLY waits for is gone. */
static void
wait_for_reaping(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	struct fs_waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		/* It is committed and will be done: that much can be said. */
		fs_reply_send(fs, req, reply);
		return;
	}
	w->request = req;
	w->reply = *reply;
	list_append(&fs->reaping, &w->link);
}

/* What was sent needs no record; if it stays, nobody asks for it until the mount ends. */
static void
answer_or_wait(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	if (reply->pending && model_is_ending(fs->model, reply->pending)) {
		wait_for_reaping(fs, req, reply);
		return;
	}
	fs_reply_send(fs, req, reply);
	if (reply->pending)
		fs_record_drop(fs, reply_key(reply));
}

bool
fs_replay(struct fs *fs, fuse_req_t req)
{
	struct fs_reply reply = {.unique = fs->current.unique, .pending = 1};

	if (!fs->current.resent)
		return false;
	if (find_reply(fs, FS_REPLY_LAST, &reply)) {
		fs_reply_send(fs, req, &reply);
		return true;
	}
	reply = (struct fs_reply){.unique = fs->current.unique, .pending = 1};
	if (!find_reply(fs, reply_key(&reply), &reply))
		return false;
	answer_or_wait(fs, req, &reply);
	return true;
}

void
fs_finish(struct fs *fs, fuse_req_t req, struct request *r, const struct fs_reply *reply)
{
	if (r->error)
		fuse_reply_err(req, r->error);
	else
		answer_or_wait(fs, req, reply);
}

void
fs_reaped(struct fs *fs)
{
	list_for_each_safe (i, &fs->reaping) {
		struct fs_waiter *w = list_entry(i, struct fs_waiter, link);

		if (model_is_ending(fs->model, w->reply.pending))
			continue;
		list_unlink(&w->link);
		fs_reply_send(fs, w->request, &w->reply);
		fs_record_drop(fs, reply_key(&w->reply));
		free(w);
	}
}
