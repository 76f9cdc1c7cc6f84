/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why nothing is done twice: each change commits the reply of the request that asked for it. The
 * kernel sends again what was not answered, marked; such a request is looked up in the store first.
 *
 * One record is enough for all requests that are answered at once, since the next is served only
 * after the last was answered; a broker that takes over answers that one first, whatever the order in
 * which the kernel sends again what is not answered. Those that wait for reaping have a record each.
 */
#include "config.h"

#include "capfsd/fs/replies.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/fs/nodes.h"
#include "capfsd/fs/records.h"

#define LAST_KEY STORE_KEY(STORE_REPLY, 1)
#define REFUSED 0 /* no request of the kernel has this number */

/* A reply that waits for what is being reaped. */
struct waiting {
	struct list link; /* fs.reaping */
	fuse_req_t req;
	struct fs_reply reply;
};

/*
 * A reply that waits for reaping outlives the next requests, and so has a key of its own; all
 * others share one, which the next of them overwrites. So the store does not grow with what was
 * asked.
 */
static uint64_t
reply_key(const struct fs_reply *reply)
{
	if (!reply->pending)
		return LAST_KEY;
	return STORE_KEY(STORE_REPLY, UINT64_C(1) << 48 | (reply->unique & ((UINT64_C(1) << 48) - 1)));
}

/* The reply of request UNIQUE. The number alone is not enough: they begin anew with each mount. */
static bool
find_reply(struct fs *fs, uint64_t key, uint64_t unique, struct fs_reply *ret)
{
	const void *data;
	size_t n;

	if (state_get(fs->state, key, &data, &n) < 0 || n != sizeof(*ret))
		return false;
	memcpy(ret, data, sizeof(*ret));
	return ret->instance == fs->boot->instance && ret->unique == unique;
}

bool
fs_replies_last(struct fs *fs, uint64_t unique)
{
	struct fs_reply reply;

	return find_reply(fs, LAST_KEY, unique, &reply);
}

/* Attributes and entries are as they are now: the kernel asks for what is true, not for what was. */
static void
send(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	struct node node;

	switch (reply->opcode) {
	case REFUSED:
		fuse_reply_err(req, (int)reply->size);
		break;
	case FUSE_WRITE:
		fuse_reply_write(req, reply->size);
		break;
	case FUSE_MKDIR:
	case FUSE_LINK:
	case FUSE_SETATTR:
		if (!tree_node(fs->model, reply->number, &node))
			fuse_reply_err(req, ESTALE);
		else if (reply->opcode != FUSE_SETATTR)
			fs_reply_node(fs, req, node, fs_is_ready(fs, node));
		else
			fs_reply_attributes(fs, req, node);
		break;
	default:
		fuse_reply_err(req, 0);
	}
}

/* rmdir(2) returns when what it has ended is gone, so that its name can be used again at once. */
static void
wait_for_reaping(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w) {
		/* It is committed and will be done: that much can be said. */
		send(fs, req, reply);
		return;
	}
	w->req = req;
	w->reply = *reply;
	list_append(&fs->reaping, &w->link);
}

/* What was sent needs no record; if it stays, nobody asks for it until the mount ends. */
static void
send_or_wait(struct fs *fs, fuse_req_t req, const struct fs_reply *reply)
{
	if (reply->pending && model_is_ending(fs->model, reply->pending)) {
		wait_for_reaping(fs, req, reply);
		return;
	}
	send(fs, req, reply);
	if (reply->pending)
		fs_record_drop(fs, reply_key(reply));
}

/*
 * First the last one that was committed, then one that waits. Only what the kernel marks as sent
 * again is looked up, since numbers of the others are new and this is done for every request that
 * changes anything.
 */
bool
fs_replay(struct fs *fs, fuse_req_t req)
{
	struct fs_reply reply = {.unique = fs->current.unique, .pending = 1};

	if (!fs->current.resent)
		return false;
	if (find_reply(fs, LAST_KEY, fs->current.unique, &reply)) {
		send(fs, req, &reply);
		return true;
	}
	reply = (struct fs_reply){.unique = fs->current.unique, .pending = 1};
	if (!find_reply(fs, reply_key(&reply), fs->current.unique, &reply))
		return false;
	send_or_wait(fs, req, &reply);
	return true;
}

/* The note of every edit: its reply is stored in the transaction of what it does. */
static int
note(struct request *r, struct change *ch)
{
	struct fs_edit *edit = r->data;
	struct fs_reply *reply = &edit->reply;
	int e;

	reply->pending = r->pending;
	/* What is asked of others has no node. */
	if (r->made && r->made->kind != ENTITY_ASK)
		reply->number = tree_number(tree_entity(r->made));
	e = change_note(ch, reply_key(reply), reply, sizeof(*reply));
	return e == 0 && edit->more ? edit->more(edit, ch) : e;
}

/* EDIT is the data of its own request, so it must stay where it is until fs_edit_end(). */
void
fs_edit_begin(struct fs_edit *edit, struct fs *fs, fuse_req_t req, size_t size)
{
	*edit = (struct fs_edit){
		.fs = fs,
		.req = req,
		.reply =
			{
				.instance = fs->boot->instance,
				.unique = fs->current.unique,
				.opcode = fs->current.opcode,
				.size = (uint32_t)size,
			},
	};
	fs_request_init(fs, req, &edit->request);
	edit->request.note = note;
	edit->request.data = edit;
}

int
fs_edit_note(struct fs_edit *edit, struct change *ch)
{
	struct fs_reply reply = edit->reply;

	reply.pending = 0;
	if (edit->request.error) {
		reply.opcode = REFUSED;
		reply.size = (uint32_t)edit->request.error;
	}
	return change_note(ch, LAST_KEY, &reply, sizeof(reply));
}

/* Nobody but the broker's loop can end the broker; a failed store shows there again. */
void
fs_edit_end(struct fs_edit *edit, int result)
{
	struct request *r = &edit->request;

	if (result < 0 && !r->error)
		r->error = EIO;
	if (r->error)
		fuse_reply_err(edit->req, r->error);
	else
		send_or_wait(edit->fs, edit->req, &edit->reply);
	request_deinit(r);
}

/*
 * Those whose subject is gone by now get their reply, and the store loses it after that: dropped
 * first, a crash in between would have the request done a second time.
 */
void
fs_reaped(struct fs *fs)
{
	list_for_each_safe (i, &fs->reaping) {
		struct waiting *w = list_entry(i, struct waiting, link);

		if (model_is_ending(fs->model, w->reply.pending))
			continue;
		list_unlink(&w->link);
		send(fs, w->req, &w->reply);
		fs_record_drop(fs, reply_key(&w->reply));
		free(w);
	}
}

/* Not replied to: the next broker finds them in the store when the kernel sends them again. */
void
fs_replies_free(struct fs *fs)
{
	list_for_each_safe (i, &fs->reaping)
		free(list_entry(i, struct waiting, link));
}
