/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's requests: read as they come, put in line (pending.c), and served one after the other.
 * The next is served only after the last was answered or parked, and after all that an earlier broker
 * had was read again, which is what makes one record of a reply enough for all of them.
 *
 * What nobody waits for is served when it is read. It is small, and an interrupt must come before what
 * it is meant for.
 */
#include "config.h"

#include "capfsd/fs/serve.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "capfsd/fs/calls.h"
#include "capfsd/fs/commands.h"
#include "capfsd/fs/pending.h"
#include "capfsd/fs/replies.h"
#include "capfsd/fs/service.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/messages.h"

/* So many looks find nothing before the loop sleeps: a wake-up costs more than a few of these. */
#define DRAIN_TRIES 5
#define TAKE_MAX 128 /* requests are read between two turns, which takes no longer than a few of these */
#define RESENT (UINT64_C(1) << 63)

/*
 * What the kernel's requests are called in `metrics`. All that have no name are counted together, as
 * no program that is known asks for them.
 */
static const char *const opcodes[COUNTERS_FUSE] = {
	[0] = "other",
	[FUSE_LOOKUP] = "lookup",
	[FUSE_FORGET] = "forget",
	[FUSE_BATCH_FORGET] = "batch_forget",
	[FUSE_GETATTR] = "getattr",
	[FUSE_SETATTR] = "setattr",
	[FUSE_MKDIR] = "mkdir",
	[FUSE_RMDIR] = "rmdir",
	[FUSE_RENAME] = "rename",
	[FUSE_RENAME2] = "rename2",
	[FUSE_MKNOD] = "mknod",
	[FUSE_UNLINK] = "unlink",
	[FUSE_SYMLINK] = "symlink",
	[FUSE_LINK] = "link",
	[FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",
	[FUSE_RELEASEDIR] = "releasedir",
	[FUSE_STATFS] = "statfs",
	[FUSE_SETXATTR] = "setxattr",
	[FUSE_GETXATTR] = "getxattr",
	[FUSE_OPEN] = "open",
	[FUSE_READ] = "read",
	[FUSE_WRITE] = "write",
	[FUSE_RELEASE] = "release",
	[FUSE_FLUSH] = "flush",
	[FUSE_POLL] = "poll",
	[FUSE_INTERRUPT] = "interrupt",
};

const char *
fs_opcode_name(size_t opcode)
{
	return opcode < COUNTERS_FUSE ? opcodes[opcode] : NULL;
}

/*
 * These are no requests of anybody, as nobody waits for them. They are not entered in the page
 * either: the kernel does not send them again, so no second broker could die of one.
 */
static bool
has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT &&
		opcode != FUSE_DESTROY;
}

/* What is written behind a piece that nobody took must not be a command by itself. */
static void
lose_piece(struct fs *fs, const char *request, size_t n, int error)
{
	struct fuse_write_in in;

	if (fs_header(request)->opcode != FUSE_WRITE ||
		n < sizeof(struct fuse_in_header) + sizeof(in))
		return;
	memcpy(&in, request + sizeof(struct fuse_in_header), sizeof(in));
	fs_command_lost(fs, fs_header(request)->nodeid, in.fh, error);
}

void
fs_refuse(struct fs *fs, const char *request, size_t n, int error)
{
	uint64_t unique = fs_header(request)->unique;

	lose_piece(fs, request, n, error);
	fs_service_refuse(unique, error);
	fs_service_end(fs, unique);
}

static void
answer_poisoned(struct fs *fs, const char *request, size_t n)
{
	const struct fuse_in_header *in = fs_header(request);

	log_event(LOG_ERR,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_REQUEST_POISONED},
			{"CAPFS_REQUEST", NULL, BOOT_REQUEST_FUSE(in->unique)},
			{"CAPFS_OPCODE", NULL, in->opcode}, {"CAPFS_UID", NULL, in->uid}),
		"request %#llx (opcode %u, uid %u) ended two brokers and is refused",
		(unsigned long long)BOOT_REQUEST_FUSE(in->unique), in->opcode, in->uid);
	fs_refuse(fs, request, n, EIO);
}

/*
 * The kernel's own number of this poll, which libfuse keeps to itself: by it alone can a later
 * broker wake whoever polls.
 */
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
process(struct fs *fs, const void *request, size_t n)
{
	/* libfuse only reads it. */
	struct fuse_buf buf = {.size = n, .mem = (void *)(uintptr_t)request};

	fuse_session_process_buf(fs->session, &buf);
}

/* As the kernel said it while libfuse did not know of UNIQUE yet: it keeps that in mind. */
static void
tell_interrupted(struct fs *fs, uint64_t unique)
{
	const struct {
		struct fuse_in_header header;
		struct fuse_interrupt_in body;
	} interrupt = {
		.header = {.len = sizeof(interrupt), .opcode = FUSE_INTERRUPT},
		.body = {.unique = unique},
	};

	process(fs, &interrupt, sizeof(interrupt));
}

/* Who dies of a request leaves its number in the page; one that two have died of is refused. */
bool
fs_serve(struct fs *fs, const char *request, size_t n, bool interrupted, uint64_t *place)
{
	const struct fuse_in_header *in = fs_header(request);
	struct counters *counters = fs->model->counters;

	fs->current = (struct fs_current){
		.unique = BOOT_REQUEST_FUSE(in->unique),
		.poll = in->opcode == FUSE_POLL ? poll_number(request, n) : 0,
		.place = *place,
		.opcode = in->opcode,
		.resent = in->unique & RESENT,
	};
	if (interrupted)
		tell_interrupted(fs, in->unique);
	if (!has_answer(in->opcode)) {
		process(fs, request, n);
	} else if (boot_page_enter(fs->boot->page, fs->current.unique)) {
		process(fs, request, n);
		boot_page_leave(fs->boot->page);
	} else {
		counters->poisoned++;
		answer_poisoned(fs, request, n);
	}
	*place = fs->current.place;
	if (fs->current.unfinished)
		return true;
	counters_add(counters->fuse, in->opcode);
	counters->served[FRONT_FUSE]++;
	fs_calls_interrupted(fs);
	return false;
}

/* What is being interrupted; 0 where that is not what it is. */
static uint64_t
interrupts(const char *request, size_t n)
{
	const struct fuse_in_header *in = fs_header(request);
	struct fuse_interrupt_in body;

	if (in->opcode != FUSE_INTERRUPT || n < sizeof(*in) + sizeof(body))
		return 0;
	memcpy(&body, request + sizeof(*in), sizeof(body));
	return body.unique;
}

/*
 * A change that was committed and not answered has its reply in the one record that all changes share
 * (replies.c): before another change is made, whoever asked for that one must have it.
 */
static bool
must_not_wait(struct fs *fs, const struct fuse_in_header *in)
{
	return !has_answer(in->opcode) || fs->no_resend ||
		(in->unique & RESENT && fs_replies_last(fs, BOOT_REQUEST_FUSE(in->unique)));
}

/* Returns: was it served at once? */
static bool
put_in_line(struct fs *fs, const char *request, size_t n)
{
	const struct fuse_in_header *in = fs_header(request);
	uint64_t interrupted = interrupts(request, n);

	if (interrupted && fs_pending_interrupt(fs, interrupted))
		return false;
	if (has_answer(in->opcode) && fs_service_begin(fs, in->unique) < 0) {
		fs_refuse(fs, request, n, ENOMEM);
		return false;
	}
	if (must_not_wait(fs, in)) {
		uint64_t place = 0;

		while (fs_serve(fs, request, n, false, &place))
			;
		return has_answer(in->opcode);
	}
	if (fs_pending_add(fs, request, n) < 0)
		fs_refuse(fs, request, n, ENOMEM);
	return false;
}

/* Where the kernel sends nothing again, nobody reads what is not served at once. */
static bool
takes_more(const struct fs *fs, unsigned n)
{
	if (fs->no_resend)
		return n == 0;
	return fs->resending || (n < TAKE_MAX && !fs_pending_full(fs));
}

/*
 * Reads what there is, up to a bound, since those who are in line wait meanwhile. But first all that an
 * earlier broker had, which the kernel sends again before anything else: only then is it known what must
 * not wait. Running out of requests is no error; that the mount is gone is one of its own. Returns: how
 * many were served at once, -errno.
 */
static int
take_in(struct fs *fs)
{
	int served = 0;

	for (unsigned n = 0; takes_more(fs, n); n++) {
		const struct fuse_in_header *in = fs_header(fs->buffer);
		ssize_t size = read(BOOT_FD_FUSE, fs->buffer, fs->buffer_size);

		if (size < 0 && errno == EAGAIN) {
			fs->resending = false;
			break;
		}
		/* ENOENT: the request was interrupted before it could be read. */
		if (size < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (size < 0)
			return errno == ENODEV ? -ENODEV : error_trace(-errno);
		if (size == 0)
			return -ENODEV;
		if ((size_t)size < sizeof(*in))
			continue;
		fs->resending = fs->resending && (in->unique & RESENT || !has_answer(in->opcode));
		served += put_in_line(fs, fs->buffer, (size_t)size);
	}
	return served;
}

/*
 * A client's next request is often there before one look at all sockets would be over, so an eager
 * broker looks again. After a turn's time the loop's other sources have theirs.
 */
int
fs_drain(struct fs *fs, bool eager)
{
	const uint64_t end = clock_nsec(CLOCK_MONOTONIC) + TURN_NSEC;
	unsigned tries = eager ? 0 : DRAIN_TRIES - 1;
	int n = 0;

	while (n == 0 || clock_nsec(CLOCK_MONOTONIC) < end) {
		int r = take_in(fs);

		if (r < 0)
			return r;
		n += r;
		if (!turns_empty(fs->turns)) {
			turns_take(fs->turns);
			n++;
		} else if (r == 0 && ++tries >= DRAIN_TRIES) {
			break;
		}
	}
	return n;
}
