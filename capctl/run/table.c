/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capctl/command.h"

#define LABEL_BYTES_MAX 255

static void
close_own(int fd)
{
	if (fd >= STANDARD)
		close(fd);
}

void
table_deinit(struct table *t)
{
	for (size_t i = 0; i < t->n_owned; i++)
		close_own(t->fds[i]);
	for (size_t i = 0; i < t->n; i++)
		free(t->labels[i]);
	free(t->fds);
	free(t->labels);
	*t = (struct table){};
}

static int
reserve(struct table *t)
{
	size_t size = t->size ? t->size * 2 : 16;
	char **labels;
	int *fds;

	if (t->n < t->size)
		return 0;
	fds = reallocarray(t->fds, size, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	t->fds = fds;
	labels = reallocarray(t->labels, size, sizeof(*labels));
	if (!labels)
		return -ENOMEM;
	t->labels = labels;
	t->size = size;
	return 0;
}

static int
append(struct table *t, int fd, const char *label)
{
	char *copy = strdup(label);

	if (!copy || reserve(t) < 0) {
		free(copy);
		return complain(ENOMEM, NULL, "%s", label);
	}
	t->fds[t->n] = fd;
	t->labels[t->n++] = copy;
	return 0;
}

int
table_add(struct table *t, int fd, const char *label)
{
	int status;

	assert(t->n == t->n_owned);
	status = append(t, fd, label);
	if (status == 0)
		t->n_owned++;
	else
		close_own(fd);
	return status;
}

/* Lists of names have ':' in between, and shells split them at blanks. */
static void
make_label(char *label)
{
	size_t n = strlen(label);

	for (char *p = label; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == ':' || *p == 127)
			*p = '_';
	if (n <= LABEL_BYTES_MAX)
		return;
	/* No part of a character stays. */
	for (n = LABEL_BYTES_MAX; n > 0 && ((unsigned char)label[n] & 0xc0) == 0x80; n--)
		;
	label[n] = '\0';
}

int
table_lend(struct table *t, int fd, const char *label)
{
	int status = append(t, fd, label);

	if (status == 0)
		make_label(t->labels[t->n - 1]);
	return status;
}

void
reserve_release(struct reserve *r)
{
	while (r->n > 0)
		close(r->fds[--r->n]);
}

int
reserve_fds(struct reserve *r)
{
	int fd;

	/* The lowest that is free, each time. */
	while (r->n < RESERVED_FDS && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
		if (fd >= RESERVED_FDS) {
			close(fd);
			return 0;
		}
		r->fds[r->n++] = fd;
	}
	return r->n == RESERVED_FDS ? 0 : complain(errno, NULL, "/dev/null");
}
