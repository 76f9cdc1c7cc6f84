/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes and reads what a binary leaves to the one that takes its place, and starts that. The
 * writer may be a program of any other version, so nothing that is read is believed before its
 * seals, its lengths and all its ends were looked at; the blocks are raw structs, which grow at
 * their ends only. The memfd is the caller's. Used by keeper, holder and trial for upgrades, and by
 * start/fdstore.c for a mount that is left to a later daemon.
 */
#include "config.h"

#include "capfsd/process/succession.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/number.h"
#include "capfsd/process/journal.h"

#define MAGIC UINT64_C(0x7265766f646e6168) /* "handover", never to be changed */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define BLOCK_BYTES_MAX 65536
#define ARGUMENT "--take-over="
#define ARGUMENT_BYTES 48

enum block {
	BLOCK_SUCCESSION,
	BLOCK_BOOT,
	BLOCK_PAGE,
	BLOCK_N,
};

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t n[BLOCK_N]; /* bytes of each block, which follow in this order */
};

/*
 * Binaries of before have all up to there at these places. If a member were added before it,
 * counters and the numbers of requests would be mixed up in an upgrade, without a word.
 */
_Static_assert(offsetof(struct boot_page, more) == 12784, "the page grows at its end only");
_Static_assert(sizeof(struct boot_page) <= BLOCK_BYTES_MAX, "no binary takes a larger page");

static const char *const role_names[] = {
	[SUCCESSION_TRY] = "try",
	[SUCCESSION_HOLDER] = "holder",
	[SUCCESSION_KEEPER] = "keeper",
};

static int
write_all(int fd, const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t written = write(fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		p += written;
		n -= (size_t)written;
	}
	return 0;
}

/*
 * It is sealed when it is complete: whoever has a descriptor of it can then read, but not change it
 * between the check and the use. Pointers are left out, as they mean nothing in another program.
 */
int
succession_write(const struct succession *h, const struct boot *boot)
{
	cleanup_close int fd = memfd_create("capfsd-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct header header = {.magic = MAGIC, .version = SUCCESSION_VERSION};
	struct boot copy = *boot;
	int r;

	if (fd < 0)
		return -errno;
	copy.page = NULL;
	copy.title = NULL;
	copy.n_title = 0;
	header.n[BLOCK_SUCCESSION] = sizeof(*h);
	header.n[BLOCK_BOOT] = sizeof(copy);
	header.n[BLOCK_PAGE] = boot->page ? sizeof(*boot->page) : 0;
	r = write_all(fd, &header, sizeof(header));
	if (r == 0)
		r = write_all(fd, h, header.n[BLOCK_SUCCESSION]);
	if (r == 0)
		r = write_all(fd, &copy, header.n[BLOCK_BOOT]);
	if (r == 0)
		r = write_all(fd, boot->page, header.n[BLOCK_PAGE]);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	return r < 0 ? error_trace(r) : take_fd(fd);
}

/*
 * One block of N bytes at *AT into a struct of SIZE bytes, which may be of another version: what
 * this one does not know at the end is skipped, what the other did not have is 0.
 */
static int
read_block(int fd, off_t *at, uint32_t n, void *ret, size_t size)
{
	size_t part = n < size ? n : size;

	memset(ret, 0, size);
	if (pread(fd, ret, part, *at) != (ssize_t)part)
		return -EINVAL;
	*at += (off_t)n;
	return 0;
}

/*
 * Without all seals its writer could change it while we read. Its length must be the sum of what it
 * announces, so that no block can end early.
 */
static int
read_header(int fd, struct header *ret)
{
	uint64_t sum = sizeof(*ret);
	struct stat st;

	if (fcntl(fd, F_GET_SEALS) != SEALS || fstat(fd, &st) < 0)
		return -EINVAL;
	if (pread(fd, ret, sizeof(*ret), 0) != sizeof(*ret) || ret->magic != MAGIC)
		return -EINVAL;
	if (ret->version != SUCCESSION_VERSION)
		return -EPROTO;
	for (int i = 0; i < BLOCK_N; i++) {
		if (ret->n[i] > BLOCK_BYTES_MAX)
			return -EPROTO;
		sum += ret->n[i];
	}
	return (uint64_t)st.st_size == sum ? 0 : -EINVAL;
}

/*
 * Whatever has a length or an end in it, has it: the rest of the daemon uses these members as they
 * are.
 */
static bool
is_sound(const struct succession *h, const struct boot *boot)
{
	return boot->init.n_request <= sizeof(boot->init.request) &&
		boot->init.n_reply <= sizeof(boot->init.reply) &&
		memchr(boot->bind_dir, '\0', sizeof(boot->bind_dir)) &&
		memchr(boot->run_dir, '\0', sizeof(boot->run_dir)) &&
		memchr(h->binary, '\0', sizeof(h->binary)) &&
		memchr(h->mountpoint, '\0', sizeof(h->mountpoint)) &&
		memchr(h->device, '\0', sizeof(h->device));
}

/*
 * A descriptor that is not open makes the upgrade fail here, while the old binary can still go on.
 */
int
succession_pass(const struct succession *h, bool on)
{
	const int fds[] = {h->lock_fd, h->state_fd, h->fuse_fd, h->peer_fd, h->program_fd, h->activation_fd,
		h->minder ? h->minder_fd : -1, h->minder ? h->spawner_fd : -1};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(fds) / sizeof(fds[0]); i++)
		r = fds[i] < 0 ? 0 : fd_set_cloexec(fds[i], !on);
	return r;
}

void
succession_log(const struct succession *h, const struct boot *boot)
{
	log_set_max_level(boot->log_level);
	journal_open();
	if (h->mountpoint[0])
		journal_set_mount(h->mountpoint);
}

int
succession_read(int fd, enum succession_role role, struct succession *ret, struct boot *ret_boot,
	struct boot_page *page)
{
	struct boot_page unused;
	struct header header;
	off_t at = sizeof(header);
	int r;

	r = read_header(fd, &header);
	if (r == 0)
		r = read_block(fd, &at, header.n[BLOCK_SUCCESSION], ret, sizeof(*ret));
	if (r == 0)
		r = read_block(fd, &at, header.n[BLOCK_BOOT], ret_boot, sizeof(*ret_boot));
	if (r == 0)
		r = read_block(fd, &at, header.n[BLOCK_PAGE], page ? page : &unused, sizeof(*page));
	if (r < 0)
		return r;
	ret_boot->page = page;
	ret_boot->title = NULL;
	ret_boot->n_title = 0;
	if (ret->role != role || !is_sound(ret, ret_boot))
		return -EINVAL;
	/* A succession that was meant for another process names descriptors that are not ours. */
	return role == SUCCESSION_TRY || role == SUCCESSION_MOUNT || ret->self == getpid() ? 0 : -EINVAL;
}

/*
 * The binary is a descriptor and no path: what was checked is what runs, whatever is installed
 * meanwhile. When it returns, execve(2) has failed and nothing has changed, so that the caller goes
 * on as it was.
 */
int
succession_exec(int binary, int succession, enum succession_role role, char *const *argv)
{
	char argument[ARGUMENT_BYTES];
	char **arguments;
	size_t n = 0;
	int r;

	while (argv[n])
		n++;
	arguments = calloc(n + 2, sizeof(*arguments));
	if (!arguments)
		return -ENOMEM;
	snprintf(argument, sizeof(argument), ARGUMENT "%s,%d", role_names[role], succession);
	arguments[0] = argv[0];
	arguments[1] = argument;
	memcpy(arguments + 2, argv + 1, (n - 1) * sizeof(*argv));
	r = fd_set_cloexec(succession, false);
	if (r == 0) {
		execveat(binary, "", arguments, environ, AT_EMPTY_PATH);
		r = -errno;
		fd_set_cloexec(succession, true);
	}
	free(arguments);
	return r;
}

/*
 * The argument comes from the command line, where anybody may have written it: only the number of a
 * descriptor that is open, and none of 0-2, is one.
 */
static int
parse_argument(const char *s, int *ret_fd)
{
	for (int role = SUCCESSION_TRY; role <= SUCCESSION_KEEPER; role++) {
		size_t n = strlen(role_names[role]);
		uint64_t fd;

		if (strncmp(s, role_names[role], n) != 0 || s[n] != ',')
			continue;
		s += n + 1;
		if (number_parse(s, strlen(s), false, &fd) < 0 || fd <= STDERR_FILENO ||
			fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0)
			return -EINVAL;
		*ret_fd = (int)fd;
		return role;
	}
	return -EINVAL;
}

/*
 * Takes argv[1] away, also from the memory that ps shows, where the strings lie behind each other.
 * The keeper's arguments are the administrator's: they are passed on again at the next upgrade,
 * which would else find the internal argument of the one before.
 */
static void
hide_argument(int *argc, char *argv[])
{
	char *end = argv[0];
	size_t n = strlen(argv[1]) + 1;
	bool adjoin = true;

	for (int i = 0; i < *argc; i++) {
		adjoin = adjoin && argv[i] == end;
		end += adjoin ? strlen(end) + 1 : 0;
	}
	if (adjoin) {
		memmove(argv[1], argv[1] + n, (size_t)(end - argv[1]) - n);
		memset(end - n, 0, n);
	}
	for (int i = 2; i < *argc; i++)
		argv[i - 1] = argv[i] - (adjoin ? n : 0);
	argv[--*argc] = NULL;
}

/* The arguments of a holder and a trial are made for them and not looked at again, so they stay. */
int
succession_argument(int *argc, char *argv[], int *ret_fd)
{
	int role;

	if (*argc < 2 || strncmp(argv[1], ARGUMENT, strlen(ARGUMENT)) != 0)
		return 0;
	role = parse_argument(argv[1] + strlen(ARGUMENT), ret_fd);
	if (role == SUCCESSION_KEEPER)
		hide_argument(argc, argv);
	return role;
}
