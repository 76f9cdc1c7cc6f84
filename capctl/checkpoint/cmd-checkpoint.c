/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl checkpoint, restore. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/checkpoint/restore.h"

/* Nobody finds half a file, and what was there stays until the new one is whole. */
static int
write_file(const char *name, const char *data, size_t n)
{
	cleanup_text struct text draft = {};
	int fd, e = 0;

	text_addf(&draft, "%s.XXXXXX", name);
	if (text_done(&draft) < 0)
		return -ENOMEM;
	fd = mkostemp(draft.data, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (n > 0 && e == 0) {
		ssize_t r = write(fd, data, n);

		if (r < 0)
			e = -errno;
		else
			data += r, n -= (size_t)r;
	}
	if (e == 0 && fsync(fd) < 0)
		e = -errno;
	if (close(fd) < 0 && e == 0)
		e = -errno;
	if (e == 0 && rename(draft.data, name) < 0)
		e = -errno;
	if (e < 0)
		unlink(draft.data);
	return e;
}

/* What is read is what would be restored: a checkpoint that is none is known now. */
static int
check(const struct text *t, bool tell)
{
	cleanup_text struct text why = {};
	struct file file;
	char *copy = strndup(t->data, t->n);
	int e = copy ? file_parse(copy, t->n, &file, &why) : -ENOMEM;

	if (e < 0)
		return complain(e, why.data, "checkpoint");
	for (size_t i = 0; tell && i < file.n; i++)
		if (file.lines[i].kind == FILE_LEFT)
			restore_tell_left(&file.lines[i]);
	file_deinit(&file);
	return STATUS_DONE;
}

static int
run_checkpoint(struct context *x, int argc, char **argv)
{
	bool out = strcmp(argv[1], "-") == 0;
	cleanup_text struct text node = {}, text = {};
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	if (strcmp(argv[0], ".") != 0 && session_node(argv[0], &node) < 0)
		return complain_usage("'%s' cannot be the name of a session", argv[0]);
	e = context_read(x, node.data ? node.data : "", "checkpoint", &text);
	if (e < 0)
		return complain(e, capc_session_reason(x->session), "checkpoint %s", argv[0]);
	status = check(&text, !out);
	if (status == STATUS_DONE && out)
		fputs(text.data, stdout);
	if (status != STATUS_DONE || out)
		return status;
	e = write_file(argv[1], text.data, text.n);
	return e < 0 ? complain(e, NULL, "checkpoint: %s", argv[1]) : STATUS_DONE;
}

const struct command command_checkpoint = {
	.name = "checkpoint",
	.arguments = "SESSION|. FILE|-",
	.summary = "write what is needed to make a session and those below it again",
	.n_min = 2,
	.n_max = 2,
	.run = run_checkpoint,
};

#define FILE_BYTES_MAX (256 << 20)

static int
read_file(const char *name, struct text *t)
{
	bool in = strcmp(name, "-") == 0;
	FILE *f = in ? stdin : fopen(name, "re");
	char buffer[65536];
	size_t n;
	int e = 0;

	if (!f)
		return -errno;
	while (t->n <= FILE_BYTES_MAX && (n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		text_add_n(t, buffer, n);
	if (ferror(f))
		e = -EIO;
	else if (t->n > FILE_BYTES_MAX)
		e = -EFBIG;
	if (!in)
		fclose(f);
	return e < 0 ? e : text_done(t);
}

static const char *
last_name(const char *label)
{
	const char *slash = strrchr(label, '/');

	return slash ? slash + 1 : label;
}

static int
restore(struct context *x, const struct file *file, int argc, char **argv)
{
	cleanup_text struct text node = {}, quota = {};
	const char *name = argc > 1 ? argv[1] : last_name(file->of);
	int status;

	/* What is there already has its quota. */
	if (strcmp(name, ".") == 0 && argc == 2)
		name = NULL;
	if (name && !name_is_valid(name, strlen(name)))
		return complain_usage("'%s' cannot be the name of a session", name);
	status = argc > 2 ? command_words(&quota, argv + 2, argc - 2) : STATUS_DONE;
	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	return restore_run(&(struct restore){
		.context = x, .file = file, .at = node.data ? node.data : "", .name = name, .quota = quota.data});
}

static int
run_restore(struct context *x, int argc, char **argv)
{
	cleanup_text struct text text = {}, why = {};
	struct file file;
	size_t n;
	int e = read_file(argv[0], &text), status;

	if (e < 0)
		return complain(e, NULL, "restore: %s", argv[0]);
	n = text.n;
	e = n > 0 ? file_parse(text_take(&text), n, &file, &why) : -EBADMSG;
	if (e < 0)
		return complain(e, why.data ? why.data : "it is empty", "restore: %s", argv[0]);
	status = restore(x, &file, argc, argv);
	file_deinit(&file);
	return status;
}

const struct command command_restore = {
	.name = "restore",
	.by_path = true,
	.arguments = "FILE|- [NAME [KIND=N…]|.]",
	.summary = "make a session of a checkpoint, here or for another daemon",
	.n_min = 1,
	.n_max = -1,
	.run = run_restore,
};
