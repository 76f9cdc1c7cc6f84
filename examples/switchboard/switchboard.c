/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	switchboard NAME
 *
 * Clients and servers meet by labels: see README. One thread, which never waits for any of them: a server that does
 * not answer keeps those who wait for it, and nobody else.
 *
 * What a caller may say is bounded by its capability: the labels of the `only=` that it was granted with are labels of
 * each of its calls, which no word of the caller's own can contradict.
 */
#include "switchboard.h"

#include <cap-client.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "labels.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define SERVERS_MAX 1024
#define WAITING_MAX 4096
#define EACH_MAX 256 /* servers, and waiting clients, of one capability */
#define DECIDED_MAX 16 /* servers that are looked at for the label that would decide */

/* Who waits for a server to take the connection. */
struct client {
	capc_request *request; /* NULL: it has given up */
	uint64_t capability;
	struct labels labels; /* of the connection */
	struct client *next;
};

struct server {
	int fd; /* of its channel */
	uint64_t capability;
	struct labels labels;
	struct client *first, **last; /* the first one is offered, where `end` is open */
	int end;		      /* the client's, of the connection that is offered; or -1 */
};

static struct server *servers[SERVERS_MAX];
static size_t n_servers, n_waiting;

/*
 * Whether descriptors may be sent to FD. Where they may not, nobody has us close what is theirs, which can take as
 * long as they like. A kernel before 6.16 knows no such thing.
 */
static void
pass_rights(int fd, int on)
{
	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on));
}

static void
close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- Clients, and the servers that they wait for --------------------------------------------- */

/* M is its answer; NULL: it is refused. */
static void
client_end(struct server *s, const struct capc_msg *m, int error, const char *reason)
{
	struct client *c = s->first;

	s->first = c->next;
	if (!s->first)
		s->last = &s->first;
	n_waiting--;
	if (c->request && m)
		capc_reply(c->request, m);
	else if (c->request)
		capc_reply_error(c->request, error, reason);
	free(c);
	close_end(&s->end);
}

static int
send_end(int channel, const struct labels *labels, int fd)
{
	char text[LABELS_TEXT_BYTES];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = {text, labels_format(labels, text)};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(channel, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/*
 * Offers the server the connection of who has waited longest; one at a time, so that no more than one descriptor a
 * server is in flight, whoever does not answer. Nothing can lie in the client's end until it is the client's.
 */
static int
offer(struct server *s)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pass_rights(pair[0], 0);
	r = send_end(s->fd, &s->first->labels, pair[1]);
	close(pair[1]);
	s->end = pair[0];
	if (r < 0)
		close_end(&s->end);
	return r;
}

static void
offer_next(struct server *s)
{
	while (s->first && s->end < 0) {
		int r = s->first->request ? offer(s) : -ECANCELED;

		if (r < 0)
			client_end(s, NULL, r, "the connection could not be offered");
	}
}

static void
hand_over(struct server *s)
{
	char text[LABELS_TEXT_BYTES];
	size_t n = labels_format(&s->first->labels, text);

	pass_rights(s->end, 1);
	client_end(s, &(struct capc_msg){.data = text, .n_data = n, .fds = &s->end, .n_fds = 1}, 0, NULL);
}

/* Those that have given up leave, but for the one that is offered, whom the server still answers. */
static void
drop_cancelled(struct server *s)
{
	for (struct client **i = &s->first, *c; (c = *i);) {
		if (c->request && capc_cancelled(c->request)) {
			capc_reply_error(c->request, ECANCELED, NULL);
			c->request = NULL;
			if (c == s->first && s->end >= 0)
				shutdown(s->end, SHUT_RDWR);
		}
		if (c->request || (c == s->first && s->end >= 0)) {
			i = &c->next;
			continue;
		}
		*i = c->next;
		if (!c->next)
			s->last = i;
		n_waiting--;
		free(c);
	}
}

static void
server_end(size_t i)
{
	struct server *s = servers[i];

	while (s->first)
		client_end(s, NULL, ECONNRESET, "the server has ended");
	servers[i] = servers[--n_servers];
	close(s->fd);
	free(s);
}

/* Returns: 0, or -errno: it has ended, or speaks otherwise. */
static int
server_answered(struct server *s)
{
	const size_t n_refused = strlen(SWITCHBOARD_REFUSED);
	char text[SWITCHBOARD_REASON_BYTES];
	ssize_t n = recv(s->fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0 || s->end < 0)
		return -EPROTO;
	text[n] = '\0';
	if (strcmp(text, SWITCHBOARD_TAKEN) == 0)
		hand_over(s);
	else if (strncmp(text, SWITCHBOARD_REFUSED, n_refused) == 0)
		client_end(s, NULL, ECONNREFUSED, text + n_refused);
	else
		return -EPROTO;
	return 0;
}

/* ---- Who matches ---------------------------------------------------------------------------- */

/* The next one behind I, which begins with -1; NULL: none. */
static struct server *
next_match(const struct labels *l, ssize_t *i)
{
	while (++*i < (ssize_t)n_servers)
		if (!labels_contradict(&servers[*i]->labels, l))
			return servers[*i];
	return NULL;
}

/* How many of N, from I on, have their own value where LABEL has another, each value counted once. */
static size_t
count_values(struct server **some, size_t n, const char *label, bool *ret_lacking)
{
	size_t count = 0;

	*ret_lacking = false;
	for (size_t i = 0; i < n; i++) {
		const char *value = labels_value(&some[i]->labels, label);
		bool again = false;

		for (size_t k = 0; value && k < i; k++) {
			const char *other = labels_value(&some[k]->labels, label);

			again |= other && strcmp(other, value) == 0;
		}
		count += value && !again;
		*ret_lacking |= !value;
	}
	return count;
}

/* The one that tells most of them apart, and that the caller has not said. NULL: none. */
static const char *
deciding_label(struct server **some, size_t n, const struct labels *said)
{
	const char *best = NULL;
	size_t best_count = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < some[i]->labels.n; k++) {
			const char *label = some[i]->labels.label[k];
			bool lacking;
			size_t count = count_values(some, n, label, &lacking);

			if (labels_value(said, label) || (count < 2 && !lacking))
				continue;
			if (count > best_count) {
				best = label;
				best_count = count;
			}
		}
	return best;
}

static void
explain_ambiguity(const struct labels *l, char *text, size_t size)
{
	struct server *some[DECIDED_MAX], *s;
	const char *label;
	size_t n = 0, length, all = 0;
	bool lacking;

	for (ssize_t i = -1; (s = next_match(l, &i)); all++)
		if (n < DECIDED_MAX)
			some[n++] = s;
	label = deciding_label(some, n, l);
	if (!label) {
		snprintf(text, size, "%zu servers match, and no further label decides", all);
		return;
	}
	length = (size_t)snprintf(text, size, "%zu servers match, the label '%.*s' decides:", all,
		(int)(strchr(label, '=') - label), label);
	for (size_t i = 0; i < n && length < size; i++) {
		bool ignored;
		const char *value = labels_value(&some[i]->labels, label);

		/* The first one of each value. */
		if (value && (i == 0 || count_values(some, i + 1, label, &ignored) > count_values(some, i, label, &ignored)))
			length += (size_t)snprintf(text + length, size - length, " %s", value);
	}
	count_values(some, n, label, &lacking);
	if (lacking && length < size)
		snprintf(text + length, size - length, " or any other");
}

/* ---- Calls ---------------------------------------------------------------------------------- */

/* Caveats of one group, of which the caller has to have one. */
struct group {
	struct labels *labels; /* the caller's, as far as they are known */
	struct labels fit;     /* a caveat's that does not contradict them */
	size_t n_fit;          /* so many do not; */
	bool said;             /* but the caller has said these */
	bool begun;
	unsigned number;
};

static int
end_group(struct group *g)
{
	if (!g->begun)
		return 0;
	return (g->said || g->n_fit == 1) && labels_unite(g->labels, &g->fit) == 0 ? 0 : -EPERM;
}

/* One that is no labels allows nothing. */
static int
add_caveat(unsigned number, const char *text, void *data)
{
	struct group *g = data;
	struct labels l = {};
	bool said;

	if (!g->begun || number != g->number) {
		int error = end_group(g);

		if (error < 0)
			return error;
		*g = (struct group){.labels = g->labels, .begun = true, .number = number};
	}
	if (labels_add(&l, text, strlen(text)) < 0 || l.n == 0 || labels_contradict(&l, g->labels))
		return 0;
	said = labels_contain(g->labels, &l);
	g->n_fit++;
	if (said || !g->said)
		g->fit = l;
	g->said |= said;
	return 0;
}

/* What the caller says, and what its capability says, which is never passed over. */
static int
labels_of(const capc_request *r, const struct capc_msg *m, struct labels *ret, const char **ret_reason)
{
	struct group g = {.labels = ret};
	int error = labels_add(ret, m->data, m->n_data);

	*ret_reason = error == -EEXIST ? "a key has two values"
		: error == -E2BIG      ? "too many labels, or too long ones"
				       : "no labels: key=value, with blanks between";
	if (error < 0)
		return error == -EEXIST ? -EPERM : error;
	*ret_reason = "the capability has other labels, or alternatives of which one is to be said";
	error = capc_caveats(capc_caller(r), add_caveat, &g);
	return error < 0 ? error : end_group(&g);
}

static void
list(capc_request *r, const struct labels *l)
{
	char text[LABELS_TEXT_BYTES], *all = NULL;
	struct server *s;
	size_t n = 0;
	FILE *f = open_memstream(&all, &n);

	for (ssize_t i = -1; f && (s = next_match(l, &i));) {
		labels_format(&s->labels, text);
		fprintf(f, "%s\n", text);
	}
	if (!f || fclose(f) != 0)
		capc_reply_error(r, ENOMEM, NULL);
	else
		capc_reply(r, &(struct capc_msg){.data = all, .n_data = n});
	free(all);
}

static size_t
count_waiting(uint64_t capability)
{
	size_t n = 0;

	for (size_t i = 0; i < n_servers; i++)
		for (const struct client *c = servers[i]->first; c; c = c->next)
			n += c->capability == capability;
	return n;
}

/* Returns: NULL where R was refused. */
static struct client *
client_new(capc_request *r, const struct labels *l, const struct server *s)
{
	uint64_t capability = capc_caller(r)->capability;
	struct client *c;

	if (n_waiting == WAITING_MAX || count_waiting(capability) >= EACH_MAX) {
		capc_reply_error(r, EDQUOT, "too many wait for servers");
		return NULL;
	}
	c = malloc(sizeof(*c));
	if (!c) {
		capc_reply_error(r, ENOMEM, NULL);
		return NULL;
	}
	*c = (struct client){.request = r, .capability = capability, .labels = *l};
	if (labels_unite(&c->labels, &s->labels) < 0) {
		capc_reply_error(r, E2BIG, "both together have too many labels");
		free(c);
		return NULL;
	}
	return c;
}

static void
connect_client(capc_request *r, const struct labels *l)
{
	ssize_t i = -1, k;
	struct server *s = next_match(l, &i);
	struct client *c;

	k = i;
	if (!s) {
		capc_reply_error(r, ENOENT, "no server matches");
	} else if (next_match(l, &k)) {
		char text[1024];

		explain_ambiguity(l, text, sizeof(text));
		capc_reply_error(r, ENOTUNIQ, text);
	} else if ((c = client_new(r, l, s))) {
		n_waiting++;
		*s->last = c;
		s->last = &c->next;
		offer_next(s);
	}
}

/* Two of the same labels could never be told apart. */
static int
check_server(uint64_t capability, const struct labels *l, const char **ret_reason)
{
	size_t n = 0;

	*ret_reason = "a server has just these labels";
	for (size_t i = 0; i < n_servers; i++) {
		if (labels_equal(&servers[i]->labels, l))
			return -EEXIST;
		n += servers[i]->capability == capability;
	}
	*ret_reason = "too many servers";
	return n_servers == SERVERS_MAX || n >= EACH_MAX ? -EDQUOT : 0;
}

static void
add_server(capc_request *r, const struct labels *l)
{
	uint64_t capability = capc_caller(r)->capability;
	char text[LABELS_TEXT_BYTES];
	const char *reason;
	struct server *s;
	int pair[2], error = check_server(capability, l, &reason);

	if (error < 0) {
		capc_reply_error(r, error, reason);
		return;
	}
	s = malloc(sizeof(*s));
	if (!s || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		capc_reply_error(r, s ? errno : ENOMEM, NULL);
		free(s);
		return;
	}
	pass_rights(pair[0], 0);
	*s = (struct server){.fd = pair[0], .capability = capability, .labels = *l, .end = -1};
	s->last = &s->first;
	servers[n_servers++] = s;
	capc_reply(r, &(struct capc_msg){.data = text, .n_data = labels_format(l, text), .fds = &pair[1], .n_fds = 1});
	close(pair[1]);
}

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	struct labels l = {};
	const char *reason;
	int error = labels_of(r, m, &l, &reason);

	(void)data;
	if (error < 0)
		capc_reply_error(r, error, reason);
	else if (m->code == SWITCHBOARD_LIST)
		list(r, &l);
	else if (m->code == SWITCHBOARD_CONNECT)
		connect_client(r, &l);
	else if (m->code == SWITCHBOARD_SERVE)
		add_server(r, &l);
	else
		capc_reply_error(r, ENOSYS, "no such method");
}

/* ---- All together --------------------------------------------------------------------------- */

/* One round: whatever has come for the entrypoint, and from servers, whose places change from the last on only. */
static int
turn(capc_entrypoint *e, struct pollfd *polled)
{
	size_t n = n_servers;
	int r = 0;

	polled[0] = (struct pollfd){.fd = capc_entrypoint_fd(e), .events = POLLIN};
	for (size_t i = 0; i < n; i++)
		polled[i + 1] = (struct pollfd){.fd = servers[i]->fd, .events = POLLIN};
	if (poll(polled, n + 1, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	for (size_t i = n; i-- > 0;)
		if (polled[i + 1].revents && server_answered(servers[i]) < 0)
			server_end(i);
	if (polled[0].revents)
		r = capc_serve(e, 0);
	for (size_t i = 0; i < n_servers; i++) {
		drop_cancelled(servers[i]);
		offer_next(servers[i]);
	}
	return r;
}

int
main(int argc, char **argv)
{
	static struct pollfd polled[SERVERS_MAX + 1];
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	capc_how *how = NULL;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: switchboard NAME\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach_how(s, argv[1], "caveats=yes", &e);
	if (r == 0)
		capc_entrypoint_set_max(e, LABELS_TEXT_BYTES, 0);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = turn(e, polled);
	fprintf(stderr, "switchboard: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_how_free(how);
	capc_detach(e);
	capc_session_free(s);
	return EXIT_FAILURE;
}
