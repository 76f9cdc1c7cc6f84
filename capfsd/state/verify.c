/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a store is looked at before it is trusted; verify.h says why. The parent reads only the two
 * meta pages, and never maps anything. All else is read by a child, which may die of it, and tells
 * the parent one number by its exit status.
 *
 * LMDB's own layout is known here and in btree.c, and nowhere else. What does not look like LMDB
 * 0.9 is refused.
 */
#include "config.h"

#include "capfsd/state/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/state/crc.h"
#include "capfsd/state/btree.h"
#include "capfsd/state/state.h"

#define LMDB_MAGIC 0xbeefc0de
#define LMDB_FORMAT 1
#define LMDB_FREE_DBI 0 /* the list of free pages is itself a database, the first one */
#define LMDB_N_METAS 2

/* The head of a meta page as LMDB 0.9 writes it; there are two, at pages 0 and 1. */
struct lmdb_meta {
	size_t page_number;
	uint16_t unused, page_flags;
	uint32_t bounds;
	uint32_t magic, format;
	void *address;
	size_t map_size;
	struct lmdb_db dbs[2];
	size_t last_page;
	size_t txn_id;
};

/* Exit statuses of the child that walks the store; unlike those of a library that gives up. */
enum walk_exit {
	WALK_GOOD = 100,
	WALK_VERSION,
	WALK_NO_HEADER,
	WALK_SHORT,
	WALK_COUNT,
	WALK_ORDER,
	WALK_TREE,
	WALK_FREE,
	WALK_N,
};

static const char *const walk_reasons[WALK_N - WALK_GOOD] = {
	[WALK_VERSION - WALK_GOOD] = "it was written by a newer capfsd",
	[WALK_NO_HEADER - WALK_GOOD] = "its header is missing or damaged",
	[WALK_SHORT - WALK_GOOD] = "it is shorter than its header says",
	[WALK_COUNT - WALK_GOOD] = "the number of its records is not what its header says",
	[WALK_ORDER - WALK_GOOD] = "its keys are not in order",
	[WALK_TREE - WALK_GOOD] = "its pages are damaged",
	[WALK_FREE - WALK_GOOD] = "its list of free pages is damaged",
};

/* The key belongs to it: a record under a wrong key is wrong. */
uint32_t
state_crc(const struct crc *crc, uint64_t key, const void *data, size_t n)
{
	return crc_sum(crc, crc_sum(crc, 0, &key, sizeof(key)), data, n);
}

/*
 * Without syncing, which would cost every command a disk's time, and without a lock file, as there
 * is one process; reading transactions belong to no thread, so that one may be open while another
 * is begun.
 */
int
state_env_open(const char *path, size_t size_max_bytes, MDB_env **ret)
{
	MDB_env *env;
	int r = mdb_env_create(&env);

	if (r != 0)
		return r;
	r = mdb_env_set_mapsize(env, size_max_bytes);
	if (r == 0)
		r = mdb_env_open(
			env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK | MDB_NOTLS, 0600);
	if (r != 0) {
		mdb_env_close(env);
		return r;
	}
	*ret = env;
	return 0;
}

int
state_dbi_open(MDB_txn *txn, MDB_dbi *ret)
{
	return mdb_dbi_open(txn, NULL, MDB_INTEGERKEY | MDB_CREATE, ret);
}

/*
 * The list is a database, whose records begin with their number of pages. Its keys must ascend, or
 * a damaged list could be walked for ever.
 */
int
state_free_pages(MDB_txn *txn, uint64_t *ret_n)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t n = 0;
	size_t id, before = 0, here;
	int r;

	r = mdb_cursor_open(txn, LMDB_FREE_DBI, &cursor);
	if (r != 0)
		return r;
	while ((r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		if (key.mv_size != sizeof(id) || value.mv_size < sizeof(here))
			break;
		memcpy(&id, key.mv_data, sizeof(id));
		memcpy(&here, value.mv_data, sizeof(here));
		if (id <= before || here >= value.mv_size / sizeof(here))
			break;
		before = id;
		n += here;
	}
	mdb_cursor_close(cursor);
	if (r != MDB_NOTFOUND)
		return r ? r : MDB_CORRUPTED;
	*ret_n = n;
	return 0;
}

/*
 * Is the header there, and of which version? One of a newer version may be longer, and begins in
 * the same way.
 */
static enum walk_exit
walk_header(MDB_txn *txn, MDB_dbi dbi, struct state_header *ret)
{
	uint64_t key = STATE_KEY_HEADER;
	MDB_val k = {.mv_data = &key, .mv_size = sizeof(key)}, value;
	struct crc crc;
	uint32_t sum;

	if (mdb_get(txn, dbi, &k, &value) != 0 || value.mv_size < STATE_CRC_BYTES + sizeof(*ret))
		return WALK_NO_HEADER;
	crc_init(&crc);
	memcpy(&sum, value.mv_data, STATE_CRC_BYTES);
	if (sum != state_crc(&crc, key, (char *)value.mv_data + STATE_CRC_BYTES,
			   value.mv_size - STATE_CRC_BYTES))
		return WALK_NO_HEADER;
	memcpy(ret, (char *)value.mv_data + STATE_CRC_BYTES, sizeof(*ret));
	if (ret->magic != STATE_MAGIC)
		return WALK_NO_HEADER;
	return ret->version > STATE_VERSION ? WALK_VERSION : WALK_GOOD;
}

/*
 * Ascending keys end every loop that a flipped page number can make. The header is one record more
 * than it counts.
 */
static enum walk_exit
walk_cursor(MDB_cursor *cursor, uint64_t n_expected)
{
	uint64_t n = 0, id, before = 0;
	MDB_val key, value;
	int r;

	for (; (r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0; n++) {
		if (key.mv_size != sizeof(id) || value.mv_size < STATE_CRC_BYTES)
			return WALK_TREE;
		memcpy(&id, key.mv_data, sizeof(id));
		if (n > 0 && id <= before)
			return WALK_ORDER;
		/* A length that leads out of the map ends the child here, not the broker later. */
		(void)*((volatile char *)value.mv_data + value.mv_size - 1);
		before = id;
	}
	if (r != MDB_NOTFOUND)
		return WALK_TREE;
	return n == n_expected + 1 ? WALK_GOOD : WALK_COUNT;
}

static enum walk_exit
walk_records(MDB_txn *txn, MDB_dbi dbi, uint64_t n_expected)
{
	MDB_cursor *cursor;
	enum walk_exit r;

	if (mdb_cursor_open(txn, dbi, &cursor) != 0)
		return WALK_TREE;
	r = walk_cursor(cursor, n_expected);
	mdb_cursor_close(cursor);
	return r;
}

/*
 * Takes the pages of one transaction's list, a number of them ahead, in descending order. LMDB
 * gives them out for writing, so one that is in use, or stands there twice, would be overwritten.
 */
static bool
take_free(struct pages *pages, const MDB_val *value)
{
	const uint8_t *list = value->mv_data;
	size_t n, here, before = SIZE_MAX;

	memcpy(&n, list, sizeof(n));
	for (size_t i = 1; i <= n; i++) {
		memcpy(&here, list + i * sizeof(here), sizeof(here));
		if (here >= before || !pages_take(pages, here, 1))
			return false;
		before = here;
	}
	return true;
}

/*
 * After the trees: what is free is in none of them, and is free once. A list under the number of a
 * transaction that is yet to come is damage too.
 */
static enum walk_exit
walk_free(MDB_txn *txn, struct pages *pages)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t n_free;
	bool good = true;
	size_t id = 0;

	if (state_free_pages(txn, &n_free) != 0 ||
		mdb_cursor_open(txn, LMDB_FREE_DBI, &cursor) != 0)
		return WALK_FREE;
	while (good && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		good = take_free(pages, &value);
	}
	mdb_cursor_close(cursor);
	return good && id <= mdb_txn_id(txn) ? WALK_GOOD : WALK_FREE;
}

/*
 * Is each page used by one only? A mapping of its own, as LMDB gives none away. Nothing is freed:
 * the child ends next.
 */
static enum walk_exit
walk_pages(MDB_txn *txn, const char *path, const struct lmdb_meta *meta)
{
	struct pages pages = {.page_bytes = meta->dbs[0].page_bytes, .n = meta->last_page + 1};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	pages.used = calloc(pages.n, 1);
	pages.map = mmap(NULL, pages.n * pages.page_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (!pages.used || pages.map == MAP_FAILED || !pages_take(&pages, 0, LMDB_N_METAS))
		return WALK_TREE;
	if (!pages_take_tree(&pages, &meta->dbs[0]) || !pages_take_tree(&pages, &meta->dbs[1]))
		return WALK_TREE;
	return walk_free(txn, &pages);
}

/*
 * In the order in which each step makes the next one safe to take. Nothing is closed: the child
 * ends next.
 */
static enum walk_exit
walk(const char *path, size_t size_max_bytes, uint64_t file_bytes, const struct lmdb_meta *meta)
{
	struct state_header header;
	enum walk_exit result;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	if (state_env_open(path, size_max_bytes, &env) != 0 ||
		mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 ||
		mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi) != 0)
		return WALK_TREE;
	result = walk_header(txn, dbi, &header);
	if (result == WALK_GOOD && file_bytes < header.file_bytes)
		result = WALK_SHORT;
	if (result == WALK_GOOD)
		result = walk_records(txn, dbi, header.n_records);
	return result == WALK_GOOD ? walk_pages(txn, path, meta) : result;
}

/*
 * The child that walks may die of what it finds: quietly, without a core. It dies with its parent,
 * so that none is left walking, and with the signals' default actions, since the parent's handlers
 * belong to a loop that it does not have. A child that somebody else has killed proves nothing, and
 * is an error; every other death is damage.
 */
static int
walk_in_child(const char *path, size_t size_max_bytes, uint64_t file_bytes,
	const struct lmdb_meta *meta, const char **ret_reason)
{
	pid_t parent = getpid(), child = fork();
	int status, result;

	if (child < 0)
		return error_trace(-errno);
	if (child == 0) {
		int null;

		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(WALK_N);
		setrlimit(RLIMIT_CORE, &(struct rlimit){});
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (null >= 0)
			dup2(null, STDERR_FILENO);
		for (int s = 1; s < NSIG; s++)
			signal(s, SIG_DFL);
		_exit(walk(path, size_max_bytes, file_bytes, meta));
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return error_trace(-errno);
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM))
		return error_trace(-EINTR);
	result = WIFEXITED(status) ? WEXITSTATUS(status) : WALK_TREE;
	if (result == WALK_GOOD)
		return 0;
	if (result < WALK_GOOD || result >= WALK_N)
		result = WALK_TREE;
	*ret_reason = walk_reasons[result - WALK_GOOD];
	return result == WALK_VERSION ? STATE_E_VERSION : STATE_E_DAMAGED;
}

/* Transactions take turns with the two pages, so each page has the odd or the even ones. */
static bool
meta_is_good(const struct lmdb_meta *m, unsigned page)
{
	return m->magic == LMDB_MAGIC && m->format == LMDB_FORMAT && m->page_number == page &&
	       (m->txn_id == 0 || (m->txn_id & 1) == page);
}

/* Flags make LMDB treat the whole store in another way; of those of the list some are its own. */
static bool
flags_are_good(const struct lmdb_meta *m)
{
	return (m->dbs[0].flags & ~(unsigned)MDB_NOSUBDIR) == MDB_INTEGERKEY &&
		m->dbs[1].flags == MDB_INTEGERKEY;
}

/*
 * Reads both meta pages. The transactions that they name are neighbours, each in its own place,
 * and the younger tells how long the file must be.
 */
static int
read_metas(int fd, uint64_t *ret_bytes, struct lmdb_meta *ret)
{
	struct lmdb_meta metas[2], *young;
	uint32_t page_bytes;

	if (pread(fd, &metas[0], sizeof(metas[0]), 0) != sizeof(metas[0]))
		return STATE_E_DAMAGED;
	page_bytes = metas[0].dbs[0].page_bytes;
	if (page_bytes < 512 || page_bytes > 1 << 20 || (page_bytes & (page_bytes - 1)))
		return STATE_E_DAMAGED;
	if (pread(fd, &metas[1], sizeof(metas[1]), page_bytes) != sizeof(metas[1]))
		return STATE_E_DAMAGED;
	if (!meta_is_good(&metas[0], 0) || !meta_is_good(&metas[1], 1))
		return STATE_E_DAMAGED;
	young = &metas[metas[0].txn_id < metas[1].txn_id];
	if (young->txn_id > 0 && !flags_are_good(young))
		return STATE_E_DAMAGED;
	if (young->txn_id > 1 && metas[0].txn_id + metas[1].txn_id != 2 * young->txn_id - 1)
		return STATE_E_DAMAGED;
	if (__builtin_mul_overflow((uint64_t)young->last_page + 1, page_bytes, ret_bytes))
		return STATE_E_DAMAGED;
	*ret = *young;
	ret->dbs[0].page_bytes = page_bytes;
	return 0;
}

/*
 * A file without any byte is damage as well: taken for a new store it would cost everybody all they
 * had. The flags keep a link from being followed.
 */
int
state_inspect(const char *path, int flags, size_t size_max_bytes, const char **ret_reason)
{
	cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC | flags);
	struct lmdb_meta meta;
	uint64_t bytes;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_trace(-errno);
	if (!S_ISREG(st.st_mode) || st.st_size == 0) {
		*ret_reason = st.st_size == 0 ? "it is empty" : "it is no regular file";
		return STATE_E_DAMAGED;
	}
	if (read_metas(fd, &bytes, &meta) != 0) {
		*ret_reason = "its first pages are damaged or cut off";
		return STATE_E_DAMAGED;
	}
	if ((uint64_t)st.st_size < bytes) {
		/*
		 * LMDB does not write a last page that a transaction took and did not need, so
		 * a file may be a little short by right. With its full length nothing in it is
		 * beyond the end, and the walk tells whether what is missing was in use.
		 */
		if (bytes > size_max_bytes) {
			*ret_reason = "it is shorter than its first pages say";
			return STATE_E_DAMAGED;
		}
		if (ftruncate(fd, (off_t)bytes) < 0)
			return error_trace(-errno);
	}
	r = walk_in_child(path, size_max_bytes, (uint64_t)st.st_size, &meta, ret_reason);
	/* As it was found, so that whoever looks at it the next time sees the same. */
	if (r != 0 && ftruncate(fd, st.st_size) < 0)
		return error_trace(-errno);
	return r;
}
