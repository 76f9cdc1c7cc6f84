/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	count FILE		prints how many lines, words and bytes a regular FILE has
 *	count --serve NAME	does so for whoever holds the slot caps/NAME
 *
 * An existing program turned into a service. What was added stands between the two marks: thirty lines.
 * Whoever calls passes an open descriptor, so the service needs no right to any file of its callers.
 */
#include <cap-client.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
count(int fd, char *text, size_t size)
{
	unsigned long lines = 0, words = 0, bytes = 0;
	char buffer[4096], before = ' ';
	struct stat st;
	ssize_t n;

	/* A pipe, for one, would have everybody wait for whoever fills it. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		bytes += (unsigned long)n;
		for (ssize_t i = 0; i < n; i++) {
			lines += buffer[i] == '\n';
			words += isspace((unsigned char)before) && !isspace((unsigned char)buffer[i]);
			before = buffer[i];
		}
	}
	return n < 0 ? -errno : snprintf(text, size, "%lu %lu %lu", lines, words, bytes);
}

/* --- added --- */

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	char text[80];
	int n = m->n_fds == 1 ? count(m->fds[0], text, sizeof(text)) : -EINVAL;

	(void)data;
	if (n < 0)
		capc_reply_error(r, n, "it takes one descriptor, of a file");
	else
		capc_reply(r, &(struct capc_msg){.data = text, .n_data = (size_t)n});
}

static int
serve(const char *name)
{
	capc_session *s;
	capc_entrypoint *e = NULL;
	capc_how *how = NULL;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);

	if (r == 0)
		r = capc_attach(s, name, CAPC_ATTACH_FDS, &e);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", name);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	capc_how_free(how);
	fprintf(stderr, "count: %s\n", strerror(-r));
	return 1;
}
/* --- */

int
main(int argc, char **argv)
{
	char text[80];
	int fd, n;

	if (argc == 3 && !strcmp(argv[1], "--serve"))
		return serve(argv[2]);
	fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	n = fd < 0 ? -errno : count(fd, text, sizeof(text));
	if (n < 0)
		fprintf(stderr, "count: %s\n", strerror(-n));
	else
		puts(text);
	return n < 0;
}
