/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	notes NAME
 *
 * Keeps notes for its clients, each of which pays for its own: a client opens a visit at caps/NAME with the ram that
 * it lends, and whatever it writes is charged to that. A call appends to the notes, an empty one reads them. Who
 * wants more lends more; what a client had is freed when its visit ends, however it does. Who lends less than a page
 * is refused, and so is who calls without a visit.
 */
#include <cap-client.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST 4096

struct client {
	uint64_t id; /* of its slot, by which the system names it in each call */
	size_t n;
	char *notes;
	struct client *next;
};

static capc_entrypoint *entrypoint;
static struct client *clients;

static struct client **
find(uint64_t id)
{
	struct client **i = &clients;

	while (*i && (*i)->id != id)
		i = &(*i)->next;
	return i;
}

/* The system keeps the account: it refuses what would be more than was lent. */
static int
charge(uint64_t id, size_t n, bool accept)
{
	capc_how *how;
	int r = capc_how_new(&how);

	if (r < 0)
		return r;
	if (accept)
		capc_how_add(how, "accept", NULL);
	capc_how_add_number(how, "ram", n);
	/* If anything of that was refused, so is the whole. */
	r = capc_visit_answer(entrypoint, id, capc_how_text(how));
	capc_how_free(how);
	return r;
}

static int
append(struct client *c, const struct capc_msg *m)
{
	char *more = realloc(c->notes, c->n + m->n_data);
	int r;

	if (!more)
		return -ENOMEM;
	c->notes = more;
	r = charge(c->id, c->n + m->n_data, false);
	if (r < 0)
		return r;
	memcpy(more + c->n, m->data, m->n_data);
	c->n += m->n_data;
	return 0;
}

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	struct client *c = *find(capc_caller(r)->capability);
	int error;

	(void)data;
	if (!c) {
		capc_reply_error(r, EPERM, "open a visit first");
		return;
	}
	if (m->n_data == 0) {
		capc_reply(r, &(struct capc_msg){.data = c->notes, .n_data = c->n});
		return;
	}
	error = append(c, m);
	if (error < 0)
		capc_reply_error(r, error, error == -EDQUOT ? "lend more ram for it" : NULL);
	else
		capc_reply(r, NULL);
}

/* What a server before this one has kept is gone: nothing of it is used any more. */
static void
begin(const struct capc_visit *v)
{
	struct client *c = calloc(1, sizeof(*c));
	bool asks = v->state == CAPC_VISIT_ASKED;

	if (c && charge(v->capability, 0, asks) == 0) {
		c->id = v->capability;
		c->next = clients;
		clients = c;
		return;
	}
	free(c);
	if (asks)
		capc_visit_answer(entrypoint, v->capability, "refuse");
}

static void
end(uint64_t id)
{
	struct client **i = find(id), *c = *i;

	if (!c)
		return;
	*i = c->next;
	free(c->notes);
	free(c);
}

static void
visit(const struct capc_visit *v, void *data)
{
	(void)data;
	printf("%s %" PRIu64 " %s %s %s\n",
		v->state == CAPC_VISIT_CLOSED          ? "closed"
			: v->state == CAPC_VISIT_UPGRADE ? "upgrade"
			: v->state == CAPC_VISIT_OPEN    ? "found"
							 : "asked",
		v->capability, v->label, v->slot, v->args);
	fflush(stdout);
	if (v->state == CAPC_VISIT_CLOSED)
		end(v->capability);
	else if (capc_visit_quota(v, "ram", "lent") < LEAST)
		capc_visit_answer(entrypoint, v->capability, "refuse");
	else if (v->state == CAPC_VISIT_UPGRADE)
		capc_visit_answer(entrypoint, v->capability, "accept");
	else
		begin(v);
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc_how *how = NULL;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: notes NAME\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[1], CAPC_ATTACH_VISITS, &entrypoint);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	if (r == 0)
		r = capc_object_add(entrypoint, 1, answer, NULL, capc_how_text(how), NULL);
	if (r == 0)
		r = capc_visits(entrypoint, visit, NULL);
	while (r >= 0)
		r = capc_serve(entrypoint, CAPC_FOREVER);
	fprintf(stderr, "notes: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_how_free(how);
	capc_detach(entrypoint);
	capc_session_free(s);
	return EXIT_FAILURE;
}
