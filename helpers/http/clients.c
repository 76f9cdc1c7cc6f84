/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "helpers/http/configuration.h"

#define WAIT_USEC (UINT64_C(10) * 1000000)
#define RETRY_USEC 20000
/* How soon one is looked at again whose client has ended its side: more and more seldom. */
#define LOOK_FIRST_USEC 20000
#define LOOK_MAX_USEC 640000

#define LIMITS_USEC 1000000 /* so soon it is seen that there are limits where there were none */

struct tenant {
	struct list link;
	uint64_t n;
	char label[];
};

struct client {
	struct source source;
	struct list link;
	struct clients *all;
	struct slot *slot;
	struct tenant *tenant;
	uint64_t since_usec; /* … it waits */
	uint64_t next_usec, look_usec; /* of a half: the next look, and what lies between two */
	uint64_t capability;
	uint32_t page_index; /* where its requests would be counted, or 0 */
	uint64_t inode;
	int there; /* where HAProxy has it; -1: not known */
	bool taken;
};

static struct tenant *
tenant_get(struct clients *c, const char *label)
{
	struct tenant *t;

	list_for_each_safe (i, &c->tenants) {
		t = list_entry(i, struct tenant, link);
		if (strcmp(t->label, label) == 0)
			return t;
	}
	t = calloc(1, sizeof(*t) + strlen(label) + 1);
	if (!t)
		return NULL;
	strcpy(t->label, label);
	list_append(&c->tenants, &t->link);
	return t;
}

static void
tenant_put(struct tenant *t)
{
	if (t->n > 0)
		return;
	list_unlink(&t->link);
	free(t);
}

/* Of a capability without limits, which may get some. */
static bool
is_uncounted(const struct client *one)
{
	return one->page_index && one->slot->listener == LISTENER_FREE;
}

/* The memory stays until the round is over. */
static void
client_end(struct client *one)
{
	struct clients *c = one->all;

	loop_remove(c->loop, &one->source);
	if (one->taken)
		fd_close(take_fd(one->source.fd)); /* what is on its way is another one's affair */
	else
		capc_raw_close(take_fd(one->source.fd));
	one->slot->n_clients--;
	c->n_uncounted -= is_uncounted(one);
	one->tenant->n--;
	tenant_put(one->tenant);
	list_unlink(&one->link);
	list_append(&c->dead, &one->link);
	c->n--;
	if (c->n < c->max)
		service_resume(c->service);
}

static void
client_run(struct source *source, uint32_t events)
{
	struct client *one = (struct client *)source; /* its first member */
	struct clients *c = one->all;

	if (events & (EPOLLHUP | EPOLLERR) || loop_modify(c->loop, source, 0) < 0) {
		client_end(one);
		return;
	}
	list_unlink(&one->link);
	list_append(&c->halves, &one->link);
	one->look_usec = LOOK_FIRST_USEC;
	one->next_usec = c->loop->now_usec + one->look_usec;
}

static void
client_refuse(struct client *one, const char *why)
{
	message_limited(&one->all->limit, one->all->loop->now_usec, "%s: the connection is closed: %s",
		one->tenant->label, why);
	client_end(one);
}

/* Returns: false, when it must be tried again. */
static bool
client_pass(struct client *one)
{
	struct clients *c = one->all;
	int e = engine_pass(c->slots->engine, one->slot->listener, one->source.fd);

	if (e == -EAGAIN && c->loop->now_usec - one->since_usec < WAIT_USEC)
		return false;
	if (e == 0)
		e = loop_add(c->loop, &one->source, EPOLLRDHUP);
	if (e < 0) {
		client_refuse(one, e == -EAGAIN ? "HAProxy takes no more" : error_name(e));
		return true;
	}
	list_unlink(&one->link);
	list_append(&c->open, &one->link);
	return true;
}

static void
turn_away(struct clients *c, int fd, const char *label, const char *why)
{
	message_limited(&c->limit, c->loop->now_usec, "%s: refused: %s", label, why);
	capc_raw_close(fd);
}

/* Returns: NULL, *RET_WHY says why. */
static struct client *
client_new(struct clients *c, int fd, const struct capc_caller *caller, const char **ret_why)
{
	struct tenant *tenant = tenant_get(c, caller->label);
	struct client *one = tenant ? calloc(1, sizeof(*one)) : NULL;
	struct slot *slot = NULL;
	struct stat st;

	*ret_why = "there is no memory";
	if (one && tenant->n >= CLIENTS_SHARE(c->max))
		*ret_why = "its session has as many connections as it may";
	else if (one && fstat(fd, &st) == 0)
		slot = slots_get(c->slots, caller, c->loop->now_usec, ret_why);
	if (!slot) {
		if (tenant)
			tenant_put(tenant);
		free(one);
		return NULL;
	}
	/* HAProxy reads bytes alone; whatever else came would end there. */
	(void)fd_refuse_descriptors(fd);
	*one = (struct client){.source = {.fd = fd, .run = client_run}, .all = c, .slot = slot,
		.tenant = tenant, .since_usec = c->loop->now_usec, .inode = st.st_ino, .there = -1,
		.capability = caller->capability, .page_index = caller->page_index};
	/* Who asks for what is not known of each, but of all where they are one. */
	if (slot->n_clients == 0)
		slot->uid = caller->uid;
	else if (slot->uid != caller->uid)
		slot->uid = (uid_t)-1;
	slot->n_clients++;
	c->n_uncounted += is_uncounted(one);
	tenant->n++;
	c->n++;
	return one;
}

void
clients_add(struct clients *c, int fd, const struct capc_caller *caller)
{
	const char *why;
	struct client *one = client_new(c, fd, caller, &why);

	if (!one) {
		turn_away(c, fd, caller->label, why);
		return;
	}
	list_append(&c->waiting, &one->link);
	if (c->n >= c->max)
		service_pause(c->service);
	client_pass(one);
}

/* In their order, as far as there is room at each one's listener. */
static void
pass_waiting(struct clients *c)
{
	list_for_each_safe (i, &c->waiting)
		client_pass(list_entry(i, struct client, link));
}

static void
look_at_halves(struct clients *c)
{
	uint64_t now = c->loop->now_usec;

	list_for_each_safe (i, &c->halves) {
		struct client *one = list_entry(i, struct client, link);

		if (now < one->next_usec)
			continue;
		if (!engine_has(c->slots->engine, one->slot->listener, one->inode, &one->there)) {
			client_end(one);
			continue;
		}
		if (one->look_usec < LOOK_MAX_USEC)
			one->look_usec *= 2;
		one->next_usec = now + one->look_usec;
	}
}

/* Who asks through it would not be counted: it is made anew by who goes on. */
static void
look_for_limits(struct clients *c)
{
	struct list *const lists[] = {&c->waiting, &c->open, &c->halves};

	if (c->n_uncounted == 0 || c->loop->now_usec < c->limits_usec)
		return;
	c->limits_usec = c->loop->now_usec + LIMITS_USEC;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i]) {
			struct client *one = list_entry(j, struct client, link);

			if (is_uncounted(one) && counts_hold(c->slots->counts, one->capability, one->page_index))
				client_end(one);
		}
}

static void
free_dead(struct clients *c)
{
	list_for_each_safe (i, &c->dead) {
		list_unlink(i);
		free(list_entry(i, struct client, link));
	}
}

void
clients_tend(struct clients *c)
{
	pass_waiting(c);
	look_at_halves(c);
	look_for_limits(c);
	free_dead(c);
}

int
clients_take(struct clients *c, uint64_t inode, const char **ret_label)
{
	list_for_each_safe (i, &c->open) {
		struct client *one = list_entry(i, struct client, link);
		int fd;

		if (one->inode != inode)
			continue;
		fd = fd_dup(one->source.fd);
		if (fd < 0)
			return fd;
		if (loop_modify(c->loop, &one->source, 0) < 0)
			return fd_close(fd), -ENOMEM;
		one->taken = true;
		list_unlink(&one->link);
		list_append(&c->taken, &one->link);
		*ret_label = one->tenant->label;
		return fd;
	}
	return -ENOENT;
}

uint64_t
clients_timeout(const struct clients *c)
{
	uint64_t now = c->loop->now_usec, timeout = list_empty(&c->waiting) ? UINT64_MAX : RETRY_USEC;

	if (c->n_uncounted > 0 && timeout > LIMITS_USEC)
		timeout = c->limits_usec > now ? c->limits_usec - now : 0;
	for (const struct list *i = c->halves.next; i != &c->halves; i = i->next) {
		uint64_t next = list_entry((struct list *)(uintptr_t)i, struct client, link)->next_usec;
		uint64_t left = next > now ? next - now : 0;

		timeout = left < timeout ? left : timeout;
	}
	return timeout;
}

void
clients_init(struct clients *c, struct loop *l, struct service *s, struct slots *slots, uint64_t max)
{
	*c = (struct clients){.loop = l, .service = s, .slots = slots, .max = max};
	list_init(&c->waiting);
	list_init(&c->open);
	list_init(&c->halves);
	list_init(&c->taken);
	list_init(&c->dead);
	list_init(&c->tenants);
}

void
clients_deinit(struct clients *c)
{
	struct list *const lists[] = {&c->waiting, &c->open, &c->halves, &c->taken};

	if (!c->loop)
		return;
	c->max = 0; /* nothing more is taken */
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i])
			client_end(list_entry(j, struct client, link));
	free_dead(c);
}
