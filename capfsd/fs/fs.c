/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/fs/fs.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "capfsd/fs/private.h"
#include "capfsd/process/messages.h"

#define REQUESTS_MAX 256 /* served in one round, before sockets have their turn */
#define DRAIN_TRIES 5
#define RESENT (UINT64_C(1) << 63)

static void
refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void
refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

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

const struct fuse_lowlevel_ops fs_operations = {
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
	.link = refuse_link,
	.opendir = fs_opendir,
	.readdir = fs_readdir,
	.statfs = fs_statfs,
	.open = fs_open,
	.read = fs_file_read,
	.write = fs_file_write,
	.release = fs_release,
	.poll = fs_poll,
};

int
fs_new(struct model *m, struct state *state, const struct boot *boot,
	const struct fs_sockets *sockets, void *sockets_data, struct fs **ret)
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
	fs->sockets = sockets;
	fs->sockets_data = sockets_data;
	list_init(&fs->all_files);
	list_init(&fs->lookups);
	list_init(&fs->reaping);
	list_init(&fs->reads);
	fs->read_usec = FS_READ_USEC;
	fs->buffer_size = 131072 + 8192;
	fs->buffer = aligned_alloc(4096, fs->buffer_size);
	fs->session = fuse_session_new(&args, &fs_operations, sizeof(fs_operations), fs);
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
	fs->calls = calls;
	fs->calls_data = data;
}

void
fs_set_metrics(struct fs *fs, struct metrics *metrics)
{
	fs->metrics = metrics;
}

/* The descriptor is the holder's too, and stays open: libfuse would close it with its session. */
struct fs *
fs_free(struct fs *fs)
{
	if (!fs)
		return NULL;
	list_for_each_safe (i, &fs->lookups)
		free(list_entry(i, struct fs_waiter, link));
	list_for_each_safe (i, &fs->reaping)
		free(list_entry(i, struct fs_waiter, link));
	fs_files_free(fs);
	free(fs->buffer);
	free(fs);
	return NULL;
}

/* These are no requests of anybody: they have no answer. */
static bool
has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT &&
		opcode != FUSE_DESTROY;
}

static void
answer_poisoned(struct fs *fs, const struct fuse_in_header *in)
{
	log_event(LOG_ERR,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_REQUEST_POISONED},
			{"CAPFS_REQUEST", NULL, BOOT_REQUEST_FUSE(in->unique)},
			{"CAPFS_OPCODE", NULL, in->opcode}, {"CAPFS_UID", NULL, in->uid}),
		"request %#llx (opcode %u, uid %u) ended two brokers and is refused",
		(unsigned long long)BOOT_REQUEST_FUSE(in->unique), in->opcode, in->uid);
	fs_service_refuse(in->unique, EIO);
	fs_service_end(fs, in->unique);
}

/* libfuse keeps it to itself. */
static uint64_t
poll_number(const char *request, size_t n)
{
	struct fuse_poll_in in;

	if (n < sizeof(struct fuse_in_header) + sizeof(in))
		return 0;
	memcpy(&in, request + sizeof(struct fuse_in_header), sizeof(in));
	return in.kh;
}

static void
serve(struct fs *fs, size_t n)
{
	const struct fuse_in_header *in = (const struct fuse_in_header *)(const void *)fs->buffer;
	struct counters *counters = fs->model->counters;
	struct fuse_buf buf = {.size = n, .mem = fs->buffer};

	if (n < sizeof(*in))
		return;
	fs->current = (struct fs_current){
		.unique = BOOT_REQUEST_FUSE(in->unique),
		.poll = in->opcode == FUSE_POLL ? poll_number(fs->buffer, n) : 0,
		.opcode = in->opcode,
		.resent = in->unique & RESENT,
	};
	if (!has_answer(in->opcode)) {
		fuse_session_process_buf(fs->session, &buf);
	} else if (fs_service_begin(fs, in->unique) < 0) {
		fs_service_refuse(in->unique, ENOMEM);
	} else if (boot_page_enter(fs->boot->page, fs->current.unique)) {
		fuse_session_process_buf(fs->session, &buf);
		boot_page_leave(fs->boot->page);
	} else {
		counters->poisoned++;
		answer_poisoned(fs, in);
	}
	counters_add(counters->fuse, in->opcode);
	counters->served[FRONT_FUSE]++;
	fs_calls_interrupted(fs);
}

/* A client's next request is often there before one look at all sockets would be over. */
int
fs_drain(struct fs *fs, bool eager)
{
	unsigned tries = eager ? 0 : DRAIN_TRIES - 1;
	int served = 0;

	while (served < REQUESTS_MAX) {
		ssize_t n = read(BOOT_FD_FUSE, fs->buffer, fs->buffer_size);

		if (n < 0 && errno == EAGAIN) {
			if (++tries < DRAIN_TRIES)
				continue;
			break;
		}
		/* ENOENT: the request was interrupted before it could be read. */
		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n < 0)
			return errno == ENODEV ? -ENODEV : error_trace(-errno);
		if (n == 0)
			return -ENODEV;
		serve(fs, (size_t)n);
		served++;
	}
	return served;
}

uint64_t
fs_now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
answer_lookup(struct fs *fs, struct fs_waiter *w, bool cached)
{
	struct node node;

	list_unlink(&w->link);
	if (tree_node(fs->model, w->number, &node))
		fs_reply_node(fs, w->request, node, cached);
	else
		fuse_reply_err(w->request, ENOENT);
	free(w);
}

static void
invalidate_rows(struct fs *fs, struct entity *e, uint32_t rows)
{
	rows &= e->cached & ((1u << FS_ROWS_MAX) - 1);
	e->cached &= ~rows;
	for (uint64_t row = 0; rows; row++, rows >>= 1)
		if (rows & 1)
			fuse_lowlevel_notify_inval_inode(fs->session, row << 48 | e->id, -1, 0);
}

void
fs_socket_done(struct fs *fs, struct entity *e, int error)
{
	list_for_each_safe (i, &fs->lookups) {
		struct fs_waiter *w = list_entry(i, struct fs_waiter, link);

		if (w->entity == e->id)
			answer_lookup(fs, w, !error);
	}
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
	list_for_each_safe (i, &fs->lookups) {
		struct fs_waiter *w = list_entry(i, struct fs_waiter, link);

		if (w->deadline_usec <= now)
			answer_lookup(fs, w, false);
	}
	fs_calls_timeouts(fs, now);
}

/* Both kinds are in order of their deadlines. */
uint64_t
fs_deadline(const struct fs *fs)
{
	struct list *first = list_first(&fs->lookups);
	uint64_t read = fs_calls_deadline(fs), lookup = UINT64_MAX;

	if (first)
		lookup = list_entry(first, struct fs_waiter, link)->deadline_usec;
	return lookup < read ? lookup : read;
}

/*
 * A socket's entry must go from the cache, since connect(2) would find no listener, and not ask. Its
 * attributes are no way: that connect(2) has walked the path when it would be told ESTALE.
 */
void
fs_socket_invalidate(struct fs *fs, struct entity *e)
{
	if (!fs->sockets_cached)
		return;
	fs->sockets_cached = false;
	fs_next_epoch(fs);
}

void
fs_changed(struct fs *fs, struct entity *e)
{
	if (e->cached)
		invalidate_rows(fs, e, UINT32_MAX);
}

void
fs_used(struct fs *fs, struct entity *e)
{
	if (e->cached)
		invalidate_rows(fs, e, tree_rows(e->kind, ROW_INFO));
}

void
fs_gone(struct fs *fs, struct entity *e)
{
	fs_changed(fs, e);
	list_for_each_safe (i, &fs->lookups) {
		struct fs_waiter *w = list_entry(i, struct fs_waiter, link);

		if (w->entity != e->id)
			continue;
		list_unlink(&w->link);
		fuse_reply_err(w->request, ENOENT);
		free(w);
	}
	if (e->kind == ENTITY_SESSION)
		fs_files_gone(fs, container_of(e, struct session, entity));
}

void
fs_logged(struct fs *fs, struct session *s)
{
	if (s->entity.cached)
		invalidate_rows(fs, &s->entity,
			tree_rows(ENTITY_SESSION, ROW_LOG) | tree_rows(ENTITY_SESSION, ROW_INFO));
	fs_files_logged(fs, s);
}
