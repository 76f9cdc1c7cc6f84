/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	import take NAME		serves caps/NAME: what is passed to it becomes a slot of its session
 *	import give SERVICE SLOT	passes SLOT to the service behind the slot SERVICE, and prints its answer
 *
 * A capability travels in a message, as a descriptor, between sessions neither of which is below the other. Who has
 * got one looks at what it is before it keeps it: what somebody says of it proves nothing.
 */
#include <cap-client.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whose object it is, and what it is called here; -errno. */
static int
take(capc_session *s, int fd, char *text, size_t size)
{
	struct capc_identity id;
	char *slot;
	int r = capc_identify(s, fd, &id);

	if (r < 0 || !id.verified || !(id.rights & CAPC_RIGHT_CALL)) {
		close(fd);
		return r < 0 ? r : -EINVAL;
	}
	/* It takes the descriptor, and derives a slot of the other session's, which must have `grant`. */
	r = capc_import(s, fd, NULL, &slot);
	if (r < 0)
		return r;
	snprintf(text, size, "%s of %s, from %s%s", slot, id.owner, id.holder, r > 0 ? ", as before" : "");
	free(slot);
	return 0;
}

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	char text[2400];
	int error = m->n_fds == 1 ? take(data, capc_msg_take_fd(m, 0), text, sizeof(text)) : -EINVAL;

	if (error < 0)
		capc_reply_error(r, error, capc_session_reason(data));
	else
		capc_reply(r, &(struct capc_msg){.data = text, .n_data = strlen(text)});
}

static int
serve(capc_session *s, const char *name)
{
	capc_entrypoint *e;
	capc_how *how = NULL;
	int r = capc_attach(s, name, CAPC_ATTACH_FDS, &e);

	if (r < 0)
		return r;
	r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", name);
	if (r == 0)
		r = capc_object_add(e, 1, answer, s, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	capc_how_free(how);
	capc_detach(e);
	return r;
}

static int
give(capc_session *s, const char *service, const char *slot)
{
	struct capc_msg reply;
	capc *c;
	int fd = capc_export(s, slot), r;

	if (fd < 0)
		return fd;
	r = capc_open(s, service, CAPC_TIMEOUT_USEC, &c);
	if (r == 0) {
		r = capc_call(c, &(struct capc_msg){.fds = &fd, .n_fds = 1}, &reply, CAPC_TIMEOUT_USEC);
		if (reply.owned)
			printf("%.*s\n", (int)reply.n_data, (const char *)reply.data);
		capc_msg_clear(&reply);
		capc_free(c);
	}
	close(fd);
	return r;
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	int r;

	if (!(argc == 3 && !strcmp(argv[1], "take")) && !(argc == 4 && !strcmp(argv[1], "give"))) {
		fprintf(stderr, "usage: import take NAME|give SERVICE SLOT\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = argc == 3 ? serve(s, argv[2]) : give(s, argv[2], argv[3]);
	if (r < 0)
		fprintf(stderr, "import: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
