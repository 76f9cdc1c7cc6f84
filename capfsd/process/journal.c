/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's log, written to systemd's journal by its native protocol. It owns standard input,
 * which is the journal's socket where there is a journal, and sets the sink of base/log. Processes
 * that are forked inherit both; a binary that takes over opens it anew. Nothing here ever blocks or
 * waits: a process that serves clients must not stand still because nobody reads its log.
 */
#include "config.h"

#include "capfsd/process/journal.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static const char *journal_mount;

/* What is still free of a buffer; P NULL: it was too small. */
struct room {
	char *p, *end;
};

/*
 * After the first that does not fit nothing is written any more, so that callers need to look only
 * once.
 */
static void
put(struct room *r, const void *data, size_t n)
{
	if (!r->p || n > (size_t)(r->end - r->p)) {
		r->p = NULL;
		return;
	}
	memcpy(r->p, data, n);
	r->p += n;
}

/*
 * Values hold names that clients have chosen. One with a line feed is written behind its length, as
 * the protocol has it, so that no client can add a field of its own to our messages.
 */
static void
put_field(struct room *r, const char *name, const char *value)
{
	size_t n = strlen(value);
	uint64_t length = htole64(n);

	put(r, name, strlen(name));
	if (memchr(value, '\n', n)) {
		put(r, "\n", 1);
		put(r, &length, sizeof(length));
	} else {
		put(r, "=", 1);
	}
	put(r, value, n);
	put(r, "\n", 1);
}

static void
put_number(struct room *r, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	put_field(r, name, text);
}

size_t
journal_encode(
	int level, const struct log_field *fields, const char *message, char *buffer, size_t size)
{
	struct room r = {buffer, buffer + size};

	put_field(&r, "MESSAGE", message);
	put_number(&r, "PRIORITY", (uint64_t)level);
	put_field(&r, "SYSLOG_IDENTIFIER", "capfsd");
	if (journal_mount)
		put_field(&r, "CAPFS_MOUNT", journal_mount);
	for (; fields && fields->name; fields++)
		if (fields->text)
			put_field(&r, fields->name, fields->text);
		else
			put_number(&r, fields->name, fields->number);
	return r.p ? (size_t)(r.p - buffer) : 0;
}

/*
 * What cannot be sent as a datagram, because it is too long or the journal's queue is full, is not
 * taken: then base/log writes it to stderr, which is the journal, too, without the fields.
 */
static bool
journal_sink(int level, const struct log_field *fields, const char *message)
{
	char buffer[JOURNAL_BYTES_MAX];
	size_t n = journal_encode(level, fields, message, buffer, sizeof(buffer));

	return n > 0 && send(STDIN_FILENO, buffer, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

void
journal_set_mount(const char *path)
{
	journal_mount = path;
}

const char *
journal_get_mount(void)
{
	return journal_mount;
}

/*
 * A pipe or a terminal that nobody reads blocks whoever writes. O_NONBLOCK belongs to the open
 * file, which we share with whoever started us: set there, it would break their shell. So we open
 * it once more, and have an open file of our own. Where that is not allowed, stderr stays as it is.
 * libfuse writes there, too.
 */
static void
protect_stderr(mode_t mode)
{
	cleanup_close int fd = -1;

	if (!S_ISFIFO(mode) && !(S_ISCHR(mode) && isatty(STDERR_FILENO)))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
}

/*
 * $JOURNAL_STREAM is inherited by all children of a service, also by those whose stderr somebody
 * has redirected. It counts only if it tells of this very file.
 */
static bool
is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
	return stream && strcmp(stream, wanted) == 0;
}

void
journal_open(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	cleanup_close int fd = -1;
	struct stat st;

	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	protect_stderr(st.st_mode);
	if (!is_journal(&st))
		return;
	log_set_prefix(true);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return;
	/*
	 * Only when it has the number that all processes will find it under; else stderr is the
	 * way.
	 */
	if (dup2(fd, STDIN_FILENO) == STDIN_FILENO)
		log_set_sink(journal_sink);
}
