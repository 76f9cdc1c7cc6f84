/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl post, fetch, dataspace: descriptors that the daemon keeps for others, and memory, which is what is
 * mostly posted.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/number.h"
#include "capctl/command.h"

#define READ_BYTES (64 * 1024)

/* The slot of WORD. Returns: an exit status. */
static int
open_slot(struct context *x, const char *word, struct text *ret_node)
{
	int status = context_open(x);

	return status == STATUS_DONE ? context_node(x, "caps", word, ret_node) : status;
}

/* Makes the slot NODE, "sessions/app/caps/NAME", in its session. Returns: an exit status. */
static int
make_slot(struct context *x, const char *node, const char *word)
{
	cleanup_free char *session = strdup(node);
	cleanup_text struct text how = {};
	cleanup_free char *answer = NULL;
	char *name, *caps;

	if (!session)
		return complain(ENOMEM, NULL, "%s", word);
	name = strrchr(session, '/');
	if (!name)
		return complain_usage("'%s' is not the name of a slot", word);
	*name++ = '\0';
	caps = strrchr(session, '/');
	*(caps ? caps : session) = '\0';
	if (command_word(&how, "type", "fd") != STATUS_DONE || command_word(&how, "as", name) != STATUS_DONE)
		return STATUS_USAGE;
	if (text_done(&how) < 0)
		return complain(ENOMEM, NULL, "%s", word);
	return context_ask(x, session, "originate", how.data, word, &answer);
}

/* Into the slot of WORD, which is made if it is not there. What was made for nothing goes again. */
static int
post(struct context *x, const char *word, int fd)
{
	cleanup_text struct text node = {};
	cleanup_free char *reason = NULL;
	bool made = false;
	int e, status = open_slot(x, word, &node);

	if (status != STATUS_DONE)
		return status;
	e = capc_post(x->session, node.data, fd);
	if (e == -ENOENT) {
		status = make_slot(x, node.data, word);
		if (status != STATUS_DONE)
			return status;
		made = true;
		e = capc_post(x->session, node.data, fd);
	}
	if (e == 0)
		return STATUS_DONE;
	status = complain(e, capc_session_reason(x->session), "post %s", word);
	if (made)
		(void)context_remove(x, node.data, &reason);
	return status;
}

static int
run_post(struct context *x, int argc, char **argv)
{
	uint64_t fd = STDIN_FILENO;

	if (argc > 1 && (number_parse(argv[1], strlen(argv[1]), false, &fd) < 0 || fd > INT32_MAX))
		return complain_usage("'%s' is no number of a descriptor", argv[1]);
	return post(x, argv[0], (int)fd);
}

const struct command command_post = {
	.name = "post",
	.arguments = "SLOT [FD]",
	.summary = "leave a descriptor, 0 if it is not said, for others to fetch; makes the slot if it is not there",
	.n_min = 1,
	.n_max = 2,
	.run = run_post,
};

/* What is posted in the slot of WORD. Returns: an exit status. */
static int
fetch(struct context *x, const char *word, int *ret_fd)
{
	cleanup_text struct text node = {};
	int e, status = open_slot(x, word, &node);

	if (status != STATUS_DONE)
		return status;
	e = capc_fetch(x->session, node.data, TIMEOUT_USEC, ret_fd);
	return e < 0 ? complain(e, capc_session_reason(x->session), "fetch %s", word) : STATUS_DONE;
}

static int
run_fetch(struct context *x, int argc, char **argv)
{
	int fd, status = fetch(x, argv[0], &fd);

	if (status != STATUS_DONE)
		return status;
	if (dup2(fd, STDIN_FILENO) < 0)
		return complain(-errno, NULL, "fetch %s", argv[0]);
	execvp(argv[1], argv + 1);
	return complain(-errno, NULL, "%s", argv[1]);
}

const struct command command_fetch = {
	.name = "fetch",
	.arguments = "SLOT [--] PROGRAM [ARGUMENT…]",
	.summary = "execute a program with what is posted there as its standard input",
	.n_min = 2,
	.n_max = -1,
	.run = run_fetch,
};

/* All of the standard input. Returns: 0 or -errno. */
static int
read_all(char **ret, size_t *ret_n)
{
	cleanup_free char *data = NULL;
	size_t n = 0, size = 0;
	ssize_t got;

	do {
		if (size - n < READ_BYTES) {
			char *more = realloc(data, size += size + READ_BYTES);

			if (!more)
				return -ENOMEM;
			data = more;
		}
		got = read(STDIN_FILENO, data + n, size - n);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0)
		return -errno;
	*ret = take_ptr(data);
	*ret_n = n;
	return 0;
}

static int
run_create(struct context *x, int argc, char **argv)
{
	cleanup_free char *data = NULL;
	cleanup_close int fd = -1;
	size_t n = 0;
	int e = read_all(&data, &n);

	if (e == 0)
		e = capc_dataspace_new(data, n, &fd);
	if (e == 0)
		e = capc_dataspace_seal(fd);
	return e < 0 ? complain(e, NULL, "%s", argv[0]) : post(x, argv[0], fd);
}

const struct command command_dataspace_create = {
	.name = "dataspace create",
	.arguments = "SLOT",
	.summary = "post memory with what comes at the standard input, and never changes; makes the slot if it is not there",
	.n_min = 1,
	.n_max = 1,
	.run = run_create,
};

/*
 * Read, and not mapped: who looks at a hole through a mapping fills it, and memory in which nothing is can be as
 * large as whoever has posted it likes.
 */
static int
print_memory(int fd, size_t n)
{
	char piece[READ_BYTES];
	size_t done = 0;

	while (done < n) {
		size_t left = n - done;
		ssize_t got = pread(fd, piece, left < sizeof(piece) ? left : sizeof(piece), (off_t)done);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0 || (got > 0 && fwrite(piece, 1, (size_t)got, stdout) != (size_t)got))
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int
run_cat(struct context *x, int argc, char **argv)
{
	cleanup_close int fd = -1;
	size_t n;
	int e, status = fetch(x, argv[0], &fd);

	if (status != STATUS_DONE)
		return status;
	e = capc_dataspace_size(fd, &n);
	if (e == -EINVAL)
		return complain(e, "what is posted there is no memory of a fixed size", "%s", argv[0]);
	if (e >= 0)
		e = print_memory(fd, n);
	return e < 0 ? complain(e, NULL, "%s", argv[0]) : STATUS_DONE;
}

const struct command command_dataspace_cat = {
	.name = "dataspace cat",
	.arguments = "SLOT",
	.summary = "print what is in the memory that is posted there",
	.n_min = 1,
	.n_max = 1,
	.run = run_cat,
};
