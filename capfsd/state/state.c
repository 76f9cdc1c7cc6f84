/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store keeps a reserve: pages at the end of the file that are taken before they are needed.
 * While it cannot be kept, new records are refused, but what ends something still finds room: a
 * full store must not stop a revocation. The file's length with its reserve stands in the header,
 * so that a file which was cut off is known by that.
 *
 * One process at a time has the store open for writing, the broker; there is no lock (verify.c
 * opens it so), and none is needed. Nothing is synced but at a stop, for what a killed process has
 * written is there; only a machine that loses its power may find a store of before, or a damaged one.
 * What a record means is the model's and the fronts' to know.
 */
#include "config.h"

#include "capfsd/state/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/state/crc.h"
#include "capfsd/state/inner.h"
#include "capfsd/state/verify.h"

#define STATE_FILE "state.mdb"
#define RESERVE_PAGES 32
#define DAMAGED_MAX 1000
#define COPY_BYTES (1 << 24) /* with one system call */
#define PATH_BYTES 64

/*
 * A limit of the file system, a quota of the user or a map that is used up: all of them are a full
 * store, which clients outlive. What LMDB alone knows an error for is damage.
 */
int
state_error(int r)
{
	switch (r) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case EDQUOT:
	case EFBIG:
		return -ENOSPC;
	default:
		return r > 0 ? -r : -EBADMSG;
	}
}

static void
copies_free(struct state *s)
{
	while (s->copies) {
		struct copy *c = s->copies;

		s->copies = c->next;
		free(c);
	}
}

struct state *
state_free(struct state *s)
{
	if (!s)
		return NULL;
	if (s->txn)
		mdb_txn_abort(s->txn);
	if (s->env)
		mdb_env_close(s->env);
	copies_free(s);
	free(s->buffer);
	free(s->dir);
	fd_close(s->dir_fd);
	free(s);
	return NULL;
}

CLEANUP_DEFINE(struct state *, state_free)

/*
 * Once: all that is done there is done by the descriptor, whatever its name leads to by then. A directory of
 * somebody else's, or one that others can enter, may have been put in its place.
 */
static int
open_directory(const char *dir)
{
	cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_trace(-errno);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return error_trace(-EPERM);
	return take_fd(fd);
}

void
state_tell(struct state *s, uint64_t *storing)
{
	s->storing = storing;
}

bool
state_is_new(const struct state *s)
{
	return s->new;
}

/*
 * Says in *RET_REASON what is wrong and where. The store stays as it was found: it may be the only copy of
 * what somebody had, and as long as it is there no daemon begins with an empty tree in its place.
 */
int
state_damaged(const struct state *s, const char *why, char **ret_reason)
{
	int n = s->dir ? asprintf(ret_reason, "the state in %s/" STATE_FILE " is damaged: %s", s->dir, why)
		       : asprintf(ret_reason, "the copy of the state is damaged: %s", why);

	return n < 0 ? -ENOMEM : STATE_E_DAMAGED;
}

/*
 * Under the first free name, never over an older one, since each may be the only evidence; where there
 * are too many of them a person has to look.
 */
int
state_set_aside(const char *dir, char **ret_name)
{
	cleanup_close int fd = open_directory(dir);

	if (fd < 0)
		return fd;
	for (unsigned n = 1; n <= DAMAGED_MAX; n++) {
		cleanup_free char *to = NULL;

		if (asprintf(&to, "state.damaged-%u", n) < 0)
			return -ENOMEM;
		if (renameat2(fd, STATE_FILE, fd, to, RENAME_NOREPLACE) == 0) {
			*ret_name = take_ptr(to);
			return 0;
		}
		if (errno != EEXIST)
			return error_trace(-errno);
	}
	return error_trace(-EEXIST);
}

/*
 * Makes room for a record of N bytes and its CRC in the buffer. It only grows, a page at a time, as
 * most records are small and of the same sizes again and again.
 */
int
state_buffer_reserve(struct state *s, size_t n)
{
	void *grown;

	if (n > UINT32_MAX / 2)
		return -EMSGSIZE;
	n += STATE_CRC_BYTES;
	if (n <= s->buffer_size)
		return 0;
	n = (n + 4095) & ~(size_t)4095;
	grown = realloc(s->buffer, n);
	if (!grown)
		return -ENOMEM;
	s->buffer = grown;
	s->buffer_size = n;
	return 0;
}

/*
 * The key is a part of the sum, so that a record that is found under another's key is known as
 * damaged.
 */
static int
put_record(struct state *s, uint64_t key, const void *data, size_t n, unsigned flags)
{
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)}, value = {};
	uint32_t sum = state_crc(&s->crc, key, data, n);
	int r = state_buffer_reserve(s, n);

	if (r < 0)
		return r;
	memcpy(s->buffer, &sum, STATE_CRC_BYTES);
	if (n > 0)
		memcpy((char *)s->buffer + STATE_CRC_BYTES, data, n);
	value = (MDB_val){.mv_data = s->buffer, .mv_size = n + STATE_CRC_BYTES};
	return state_error(mdb_put(s->txn, s->dbi, &k, &value, flags));
}

/*
 * Makes the file so long, with pages that are there: a length alone promises nothing on a full file
 * system, where the write would fail just when it is needed.
 */
static bool
extend(struct state *s, uint64_t bytes)
{
	off_t from = (off_t)s->file_bytes, n = (off_t)(bytes - s->file_bytes);
	int fd, r;

	mdb_env_get_fd(s->env, &fd);
	do
		r = fallocate(fd, 0, from, n);
	while (r < 0 && errno == EINTR);
	/* A file system that cannot do it gives the length without the pages. */
	if (r < 0 && errno == EOPNOTSUPP)
		r = ftruncate(fd, (off_t)bytes);
	if (r == 0)
		s->file_bytes = bytes;
	return r == 0;
}

/*
 * Keeps the reserve behind the last page in use, or remembers that there is none. Ahead of each
 * transaction, since pages that are used by one are missing for the next. Twice the reserve is
 * taken at once, so that the file does not grow with every transaction.
 */
static void
reserve(struct state *s)
{
	MDB_envinfo info;
	uint64_t wanted, n_free;
	MDB_txn *txn;

	mdb_env_info(s->env, &info);
	wanted = ((uint64_t)info.me_last_pgno + 1 + RESERVE_PAGES) * s->page_bytes;
	s->full = false;
	if (wanted > info.me_mapsize)
		s->full = true;
	else if (wanted > s->file_bytes && !extend(s, wanted + RESERVE_PAGES * s->page_bytes))
		s->full = true;
	/* What was given back inside the file is as good; LMDB shows its list to readers only. */
	if (s->full && mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) == 0) {
		if (state_free_pages(txn, &n_free) == 0 && n_free >= RESERVE_PAGES)
			s->full = false;
		mdb_txn_abort(txn);
	}
}

static void
set_storing(struct state *s, uint64_t storing)
{
	if (s->storing)
		__atomic_store_n(s->storing, storing, __ATOMIC_SEQ_CST);
}

/* What state_get() gave out is freed here, as its callers were told. */
static int
state_begin(void *store)
{
	struct state *s = store;
	int r;

	assert(!s->txn);
	copies_free(s);
	set_storing(s, 1);
	reserve(s);
	r = mdb_txn_begin(s->env, NULL, 0, &s->txn);
	if (r == 0)
		return 0;
	set_storing(s, 0);
	return error_trace(state_error(r));
}

/*
 * A full store refuses what is new and takes what replaces something: that is how an end is marked.
 */
static int
state_put(void *store, uint64_t key, const void *data, size_t n)
{
	struct state *s = store;
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)}, present;

	assert(s->txn && key != STATE_KEY_HEADER);
	if (s->full && mdb_get(s->txn, s->dbi, &k, &present) == MDB_NOTFOUND)
		return -ENOSPC;
	return error_trace(put_record(s, key, data, n, 0));
}

/* What goes together often has keys that follow each other, and the next one is found from the last. */
static int
state_drop(void *store, uint64_t key)
{
	struct state *s = store;
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)};
	int r = 0;

	assert(s->txn && key != STATE_KEY_HEADER);
	if (!s->dropping)
		r = mdb_cursor_open(s->txn, s->dbi, &s->dropping);
	if (r == 0)
		r = mdb_cursor_get(s->dropping, &k, NULL, MDB_SET);
	if (r == 0)
		r = mdb_cursor_del(s->dropping, 0);
	return error_trace(state_error(r));
}

/* The end of a transaction of LMDB's is that of its cursors. */
static MDB_txn *
take_txn(struct state *s)
{
	s->dropping = NULL;
	return take_ptr(s->txn);
}

/* Safe without a transaction, since a commit that failed has ended it already. */
static void
state_abort(void *store)
{
	struct state *s = store;

	if (s->txn)
		mdb_txn_abort(take_txn(s));
	set_storing(s, 0);
}

/*
 * LMDB calls a write that the file system cut short EIO. Whether that is a full file system, which
 * clients are told, or a broken disk, which ends the daemon, its free space tells.
 */
static int
commit_error(struct state *s, int r)
{
	struct statvfs vfs;
	int fd;

	if (r != EIO || mdb_env_get_fd(s->env, &fd) != 0 || fstatvfs(fd, &vfs) < 0)
		return state_error(r);
	return vfs.f_bavail * vfs.f_frsize < RESERVE_PAGES * s->page_bytes ? -ENOSPC : -EIO;
}

/*
 * The header is written when what it says has changed. The number of records is LMDB's own, so that
 * it cannot drift away from the truth; the header itself is one of them as soon as it is there.
 * What is remembered of it follows a commit that succeeded, so that the next one writes it again.
 */
static int
state_commit(void *store)
{
	struct state *s = store;
	struct state_header header = s->header;
	MDB_stat stat;
	int r;

	assert(s->txn);
	r = state_error(mdb_stat(s->txn, s->dbi, &stat));
	if (r < 0)
		goto fail;
	header.n_records = stat.ms_entries - (s->header.magic != 0);
	header.magic = STATE_MAGIC;
	header.file_bytes = s->file_bytes;
	if (memcmp(&header, &s->header, sizeof(header)) != 0) {
		r = put_record(s, STATE_KEY_HEADER, &header, sizeof(header), 0);
		if (r < 0)
			goto fail;
	}
	/* Frees the transaction, also when it fails. */
	r = mdb_txn_commit(take_txn(s));
	set_storing(s, 0);
	if (r != 0)
		return error_trace(commit_error(s, r));
	s->header = header;
	return 0;
fail:
	state_abort(s);
	return error_trace(r);
}

const struct store_ops state_store_ops = {
	.begin = state_begin,
	.put = state_put,
	.drop = state_drop,
	.commit = state_commit,
	.abort = state_abort,
};

/* LMDB takes only paths: this one leads to FILE by the descriptor of its directory. */
static void
path_of(const struct state *s, const char *file, char ret[PATH_BYTES])
{
	snprintf(ret, PATH_BYTES, "/proc/self/fd/%d/%s", s->dir_fd, file);
}

/*
 * A new store gets its name when its header is committed, so that a store without one is never a
 * beginning that was interrupted. What such a beginning has left is removed first.
 */
static int
create(struct state *s)
{
	char temporary[PATH_BYTES];
	int r;

	if (unlinkat(s->dir_fd, STATE_FILE ".new", 0) < 0 && errno != ENOENT)
		return error_trace(-errno);
	path_of(s, STATE_FILE ".new", temporary);
	if (getrandom(&s->header.instance, sizeof(s->header.instance), 0) < 0)
		return error_trace(-errno);
	s->header.version = STATE_VERSION;
	r = state_env_open(temporary, s->size_max_bytes, &s->env);
	if (r == 0)
		r = mdb_txn_begin(s->env, NULL, 0, &s->txn);
	if (r == 0)
		r = state_dbi_open(s->txn, &s->dbi);
	if (r != 0)
		return error_trace(state_error(r));
	r = state_commit(s);
	if (r < 0)
		return r;
	s->new = true;
	r = renameat(s->dir_fd, STATE_FILE ".new", s->dir_fd, STATE_FILE);
	return r < 0 ? error_trace(-errno) : 0;
}

/*
 * Opens what the inspection found good. The transaction is committed though it writes nothing,
 * since LMDB forgets the handle of the database otherwise.
 */
static int
open_existing(struct state *s, const char *path)
{
	uint64_t key = STATE_KEY_HEADER;
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)}, value;
	MDB_txn *txn;
	int r;

	r = state_env_open(path, s->size_max_bytes, &s->env);
	if (r == 0)
		r = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (r != 0)
		return error_trace(state_error(r));
	r = state_dbi_open(txn, &s->dbi);
	if (r == 0)
		r = mdb_get(txn, s->dbi, &k, &value);
	if (r == 0 && state_record_is_good(s, key, &value) && value.mv_size >= sizeof(s->header))
		memcpy(&s->header, value.mv_data, sizeof(s->header));
	if (r != 0) {
		mdb_txn_abort(txn);
		return error_trace(state_error(r));
	}
	r = mdb_txn_commit(txn);
	if (r != 0)
		return error_trace(state_error(r));
	s->new = s->header.n_records == 0;
	return s->header.magic == STATE_MAGIC ? 0 : error_trace(-EBADMSG);
}

/*
 * A damaged store is refused before LMDB has written to it; one of a newer version is for the capfsd
 * that wrote it. Both are left as they are. Returns: 0, STATE_E_*; -errno.
 */
static int
inspect_and_open(struct state *s, const char *path, int flags, char **ret_reason)
{
	const char *why;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return error_trace(-errno);
	r = state_inspect(path, flags, s->size_max_bytes, &why);
	if (r == STATE_E_DAMAGED)
		return state_damaged(s, why, ret_reason);
	if (r == STATE_E_VERSION && asprintf(ret_reason, "the state in %s cannot be used: %s",
					    s->dir ? s->dir : "the copy", why) < 0)
		return -ENOMEM;
	if (r != 0)
		return r;
	s->file_bytes = (uint64_t)st.st_size;
	return open_existing(s, path);
}

/*
 * A link is not followed: the directory is the daemon's alone, and whoever put one there must not choose
 * the file.
 */
static int
open_store(struct state *s, char **ret_reason)
{
	char path[PATH_BYTES];
	struct stat st;

	s->dir_fd = open_directory(s->dir);
	if (s->dir_fd < 0)
		return s->dir_fd;
	path_of(s, STATE_FILE, path);
	if (fstatat(s->dir_fd, STATE_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return inspect_and_open(s, path, O_NOFOLLOW, ret_reason);
	return errno == ENOENT ? create(s) : error_trace(-errno);
}

/* By the name of its descriptor, as LMDB takes only paths. */
static int
open_copy(struct state *s, int fd, char **ret_reason)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return inspect_and_open(s, path, 0, ret_reason);
}

/*
 * DIR's, or without one the copy FD. LMDB asks for a size of whole pages. What was opened in vain
 * is closed by the cleanup.
 */
static int
open_any(const char *dir, int fd, size_t size_max_bytes, struct state **ret, char **ret_reason)
{
	cleanup(state_free_p) struct state *s = calloc(1, sizeof(*s));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	MDB_stat stat;
	int r;

	if (!s)
		return -ENOMEM;
	*ret_reason = NULL;
	s->dir_fd = -1;
	crc_init(&s->crc);
	s->size_max_bytes = (size_max_bytes + page - 1) & ~(page - 1);
	s->dir = dir ? strdup(dir) : NULL;
	if (dir && !s->dir)
		return -ENOMEM;
	r = dir ? open_store(s, ret_reason) : open_copy(s, fd, ret_reason);
	if (r != 0)
		return r;
	mdb_env_stat(s->env, &stat);
	s->page_bytes = stat.ms_psize;
	*ret = take_ptr(s);
	return 0;
}

int
state_sync(struct state *s)
{
	assert(!s->txn);
	return state_error(mdb_env_sync(s->env, 1));
}

int
state_open(const char *dir, size_t size_max_bytes, struct state **ret, char **ret_reason)
{
	return open_any(dir, -1, size_max_bytes, ret, ret_reason);
}

int
state_open_copy(int fd, size_t size_max_bytes, struct state **ret, char **ret_reason)
{
	return open_any(NULL, fd, size_max_bytes, ret, ret_reason);
}

/*
 * Between two transactions the file is what the last one made of it. Not by LMDB, which stats it.
 * The broker goes on after this, while a successor is tried on the copy.
 */
int
state_copy(struct state *s)
{
	cleanup_close int copy = memfd_create("capfsd-state", MFD_CLOEXEC);
	off_t at = 0;
	ssize_t n;
	int fd;

	assert(!s->txn);
	if (copy < 0)
		return -errno;
	mdb_env_get_fd(s->env, &fd);
	do
		n = sendfile(copy, fd, &at, COPY_BYTES);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? error_trace(-errno) : take_fd(copy);
}
