/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	log-service BYTES NAME…
 *
 * A log with a capability per client: an object and a slot caps/log-NAME for each NAME, to be granted to
 * whom it is meant for. A call appends a line to the file NAME.log in the current directory, until that
 * has BYTES. Nobody writes to another's log, or says to be another: which object is called, and from
 * which session, is the daemon's word. The key of an object is its place among the arguments, so that
 * after a restart every client has its log again.
 */
#include <cap-client.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static off_t limit;

/* One write(2) a line, so that lines of two servers would not mix either. */
static int
append(const char *name, const char *label, const struct capc_msg *m)
{
	char file[256], line[8192];
	struct stat st;
	int fd, n, r = 0;

	snprintf(file, sizeof(file), "%s.log", name);
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	n = snprintf(line, sizeof(line), "%s: %.*s\n", label, (int)m->n_data,
		(const char *)m->data);
	if (n < 0 || n >= (int)sizeof(line))
		r = EMSGSIZE;
	else if (fstat(fd, &st) < 0)
		r = errno;
	else if (n > limit - st.st_size)
		r = EDQUOT;
	else if (write(fd, line, (size_t)n) != n)
		r = EIO;
	close(fd);
	return r;
}

static void
log_line(capc_request *r, struct capc_msg *m, void *data)
{
	const char *label = capc_caller(r)->label;
	int error = memchr(m->data, '\n', m->n_data) ? EINVAL : append(data, label, m);

	if (error)
		capc_reply_error(r, error, error == EDQUOT ? "the log is full" : "no line was written");
	else
		capc_reply(r, NULL);
}

/* Its slot is log-NAME: whatever the name is, it is that of a slot and nothing else. */
static int
add_log(capc_entrypoint *e, uint64_t key, char *name)
{
	char slot[128];
	capc_how *how;
	int r = capc_how_new(&how);

	if (r < 0)
		return r;
	snprintf(slot, sizeof(slot), "log-%s", name);
	r = capc_how_add(how, "as", slot);
	if (r == 0)
		r = capc_object_add(e, key, log_line, name, capc_how_text(how), NULL);
	capc_how_free(how);
	return r;
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	int r;

	limit = argc > 1 ? atol(argv[1]) : 0;
	if (limit <= 0 || argc < 3) {
		fprintf(stderr, "usage: log-service BYTES NAME...\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, "log", CAPC_ATTACH_FDS, &e);
	for (int i = 2; r == 0 && i < argc; i++)
		r = add_log(e, (uint64_t)i, argv[i]);
	if (r == 0)
		capc_entrypoint_set_max(e, 4096, 0);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "log-service: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_detach(e);
	capc_session_free(s);
	return EXIT_FAILURE;
}
