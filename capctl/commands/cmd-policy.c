/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl policy: what the children of a session get by asking alone. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/command.h"

/* More than a policy may have, so that the daemon says so. */
#define BYTES_MAX (1 << 20)

/* What is in FILE, "-": what comes in, of at most BYTES_MAX. Returns: 0 or -errno. */
static int
read_file(const char *file, struct text *t)
{
	cleanup_close int fd = strcmp(file, "-") == 0 ? fd_dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
	char buffer[4096];
	ssize_t n = 1;

	if (fd < 0)
		return strcmp(file, "-") == 0 ? fd : -errno;
	text_add(t, "");
	while (n > 0 && t->n <= BYTES_MAX) {
		n = read(fd, buffer, sizeof(buffer));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && memchr(buffer, '\0', (size_t)n))
			return -EINVAL;
		text_add_n(t, buffer, n > 0 ? (size_t)n : 0);
		if (n < 0)
			n = 1;
	}
	/* A line that is not ended would wait for its end. */
	if (t->n > 0 && t->data[t->n - 1] != '\n')
		text_add(t, "\n");
	return text_done(t);
}

/* One that is larger than a message of the control protocol is: in one write, and the answer on the same open file. */
static int
write_file(const char *path, const struct text *t, char **ret_answer)
{
	cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
	char buffer[1024];
	ssize_t n, written;
	int e = 0;

	if (fd < 0)
		return -errno;
	written = write(fd, t->data, t->n);
	if (written < 0)
		e = -errno;
	n = pread(fd, buffer, sizeof(buffer) - 1, written > 0 ? written : 0);
	*ret_answer = n > 0 ? strndup(buffer, (size_t)n) : NULL;
	return e < 0 || (size_t)written == t->n ? e : -EMSGSIZE;
}

static int
set(struct context *x, const char *node, const struct text *t, char **ret_answer)
{
	cleanup_text struct text path = {};
	int e;

	if (options_have(&x->options, OPTION_CHECK))
		return capc_check(x->session, node, t->data, ret_answer, TIMEOUT_USEC);
	e = capc_write(x->session, node, t->data, ret_answer, TIMEOUT_USEC);
	if (e != -EMSGSIZE)
		return e;
	free(take_ptr(*ret_answer));
	text_addf(&path, "%s/%s", x->place.root, node);
	return text_done(&path) < 0 ? -ENOMEM : write_file(path.data, t, ret_answer);
}

static int
show(struct context *x, const char *node)
{
	cleanup_free char *text = NULL;
	int e = capc_read(x->session, node, &text, TIMEOUT_USEC);

	if (e < 0)
		return complain(e, capc_session_reason(x->session), "policy");
	fputs(text, stdout);
	return STATUS_DONE;
}

static int
run_policy(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, t = {};
	cleanup_free char *answer = NULL;
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	node_append(&node, "policy");
	if (text_done(&node) < 0)
		return complain(ENOMEM, NULL, "policy");
	if (argc == 0 && !options_have(&x->options, OPTION_CHECK))
		return show(x, node.data);
	e = read_file(argc > 0 ? argv[0] : "-", &t);
	if (e < 0)
		return complain(e, NULL, "%s", argc > 0 ? argv[0] : "-");
	e = set(x, node.data, &t, &answer);
	if (e < 0)
		return complain(e, answer, "policy");
	if (answer)
		printf("%.*s\n", (int)strcspn(answer, "\n"), answer);
	return STATUS_DONE;
}

const struct command command_policy = {
	.name = "policy",
	.arguments = "[--check] [FILE|-]",
	.summary = "print what children get by asking alone, or say it anew; --check only looks for mistakes",
	.options = OPTION_CHECK,
	.n_max = 1,
	.run = run_policy,
};
