/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages of an attached server that counts calls (wire/pages.h): which capability has
 * which entry, and what it may. They are made when the first connection comes that needs them, and
 * last as long as the attachment.
 *
 * `granted` is written here and never read back: all of it follows from the model, and a new broker
 * writes all of it again before it serves anybody, whatever its predecessor was about to write.
 * `used` is the server's, and read by counts.c; but where an entry begins is written here, before
 * the server knows of it. A server that writes to either deceives itself alone; and neither can
 * shrink, so that no access of ours is a SIGBUS.
 *
 * An index is given in the transaction that offers the first connection through a capability, to it
 * and all its ancestors, and is free again when the capability is gone. Then it waits behind
 * others, so that a server that is just looking at it does not meet another capability there.
 */
#include "config.h"

#include "capfsd/sockets/pages.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/spares.h"
#include "capfsd/model/change.h"
#include "capfsd/sockets/channel.h"
#include "wire/pages.h"
#include "wire/wire.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

_Static_assert(METHODS_MAX == PAGES_METHODS, "each range has its place");
_Static_assert(LIMIT_NONE == PAGES_NO_LIMIT, "as there");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as the pages are");

/*
 * Unless all is only forgotten, systemd is to forget its copy as well: nothing hangs these up, so
 * they would stay there.
 */
struct pages *
pages_free(struct pages *p)
{
	if (!p)
		return NULL;
	if (p->granted)
		munmap(p->granted, PAGES_GRANTED_BYTES);
	if (p->endpoint->pages == p)
		p->endpoint->pages = NULL;
	core_landed(p->sockets, p->n_inflight);
	if (!p->sockets->forgetting) {
		if (p->identity)
			spares_pages(p->sockets->spares, p->identity, NULL);
		fd_close(p->granted_fd);
		fd_close(p->used_fd);
	}
	charge_deinit(&p->ram);
	free(p->slots);
	free(p);
	return NULL;
}

CLEANUP_DEFINE(struct pages *, pages_free)

/*
 * Sealed before anybody else has it: a file that could shrink would be a SIGBUS for whoever maps
 * it.
 */
static int
page_new(const char *name, size_t n)
{
	cleanup_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)n) < 0 ||
		fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return take_fd(fd);
}

/*
 * By what stands in it. A server can make another file with the same identity, and have it here at
 * the very moment when a broker dies: it has then pages that it alone believes, for its own
 * objects.
 */
bool
page_identify(int fd, unsigned *ret_kind, uint64_t *ret_identity)
{
	static const struct {
		size_t n, offset;
	} kinds[] = {
		{PAGES_GRANTED_BYTES, offsetof(struct granted_header, identity)},
		{PAGES_USED_BYTES, 0},
	};
	int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);
	off_t n;

	if (seals < 0 || (seals & SEALS) != SEALS || (flags & O_ACCMODE) != O_RDWR)
		return false;
	n = lseek(fd, 0, SEEK_END);
	for (unsigned i = 0; i < 2; i++)
		if (n == (off_t)kinds[i].n) {
			*ret_kind = i;
			return pread(fd, ret_identity, sizeof(*ret_identity),
				       (off_t)kinds[i].offset) == sizeof(*ret_identity);
		}
	return false;
}

/*
 * MAP_NORESERVE, as the file is as large as the most that there can be, and nearly all of it a
 * hole. Takes both descriptors on success.
 */
static int
pages_map(struct sockets *sockets, struct endpoint *endpoint, int granted_fd, int used_fd,
	struct pages **ret)
{
	cleanup(pages_free_p) struct pages *p = calloc(1, sizeof(*p));
	void *map;

	if (!p)
		return -ENOMEM;
	p->sockets = sockets;
	p->granted_fd = p->used_fd = -1;
	p->endpoint = endpoint;
	p->attachment = endpoint->entrypoint->record.attachment;
	map = mmap(NULL, PAGES_GRANTED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		granted_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	p->granted = map;
	p->granted_fd = granted_fd;
	p->used_fd = used_fd;
	*ret = take_ptr(p);
	return 0;
}

/*
 * Room for the entries below N; the server's session pays, as its objects are what is counted.
 * Returns: 0, -EDQUOT, -ENOMEM, -errno.
 */
static int
pages_reserve(struct pages *p, struct session *s, uint32_t n)
{
	uint32_t n_slots = pages_slots(n);
	struct charge more = {};
	struct page_slot *slots;

	if (n <= p->n_slots)
		return 0;
	/* Without this a write to the map could be a SIGBUS. */
	if (fallocate(p->granted_fd, 0, (off_t)(p->n_slots * sizeof(struct granted_entry)),
		    (off_t)((n_slots - p->n_slots) * sizeof(struct granted_entry))) < 0)
		return -errno;
	slots = realloc(p->slots, n_slots * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	p->slots = slots;
	if (charge_init(&more, s, QUOTA_RAM, (n_slots - p->n_slots) * PAGES_SLOT_BYTES))
		return -EDQUOT;
	charge_merge(&p->ram, &more);
	memset(&slots[p->n_slots], 0, (n_slots - p->n_slots) * sizeof(*slots));
	p->n_slots = n_slots;
	return 0;
}

/* Nobody else has the file yet, so that the order of these does not matter. */
static void
pages_write_header(struct pages *p, uint64_t identity)
{
	struct granted_header *header = (struct granted_header *)p->granted;

	header->zero = 0;
	header->version = PAGES_VERSION;
	header->n_entries = PAGES_ENTRIES;
	header->identity = identity;
	header->magic = PAGES_MAGIC;
}

/*
 * The identity is random, so that nobody can have made a file beforehand that is taken for these.
 */
static int
pages_new(struct channel *channel)
{
	struct sockets *sockets = channel->sockets;
	cleanup(pages_free_p) struct pages *p = NULL;
	cleanup_close int granted = -1, used = -1;
	uint64_t identity;
	int r;

	granted = page_new("capfs-granted", PAGES_GRANTED_BYTES);
	used = page_new("capfs-used", PAGES_USED_BYTES);
	if (granted < 0 || used < 0)
		return granted < 0 ? granted : used;
	r = pages_map(sockets, channel->endpoint, granted, used, &p);
	if (r < 0)
		return r;
	granted = used = -1;
	r = pages_reserve(p, channel->entrypoint->session, 1);
	if (r == 0 && getrandom(&identity, sizeof(identity), 0) != sizeof(identity))
		r = -EIO;
	if (r == 0 && pwrite(p->used_fd, &identity, sizeof(identity), 0) != sizeof(identity))
		r = -ENOSPC;
	if (r < 0)
		return r;
	pages_write_header(p, identity);
	p->identity = identity;
	spares_pages(sockets->spares, identity, (int[]){p->granted_fd, p->used_fd});
	/* Stored with the connection for which they are made, before anything of it is sent. */
	channel_set_pages(channel, identity);
	channel->endpoint->pages = take_ptr(p);
	return 0;
}

/*
 * This reads and does not map: the file is the server's, and what it does there must not become a
 * signal here.
 */
bool
pages_used(const struct pages *p, uint32_t index, struct used_entry *entries, uint32_t n)
{
	ssize_t bytes = (ssize_t)(n * sizeof(*entries));

	return pread(p->used_fd, entries, (size_t)bytes,
		       (off_t)(index * sizeof(*entries))) == bytes;
}

/* A server can write any number here: what no rate can mean is as good as nothing. */
uint64_t
pages_until(uint64_t at_usec, uint64_t now_usec)
{
	if (at_usec <= now_usec || at_usec - now_usec >= 2 * PAGES_SECOND_USEC)
		return 0;
	return at_usec - now_usec;
}

/* The clocks differ: what is left of the rate is the same. */
static uint64_t
rate_at(const struct pages *p, const struct capability_record *r)
{
	uint64_t missing = 0;

	if (r->rate_limit != LIMIT_NONE)
		missing = pages_until(r->rate_at_usec, p->sockets->model->now_usec());
	return missing ? clock_usec(CLOCK_MONOTONIC) + missing : 0;
}

/*
 * What was used before it had this entry, which nobody looks at yet: written before the server
 * hears of it. Returns: 0, -errno.
 */
static int
used_begin(const struct pages *p, uint32_t index, const struct capability_record *r)
{
	const struct used_entry used = {.calls = r->calls_used, .rate_at = rate_at(p, r)};
	ssize_t n = pwrite(p->used_fd, &used, sizeof(used), (off_t)(index * sizeof(used)));

	if (n < 0)
		return -errno;
	return n == sizeof(used) ? 0 : -ENOSPC;
}

/* At the end of the line, where it waits as long as possible (QUARANTINE). */
static void
index_free(struct pages *p, uint32_t index)
{
	p->slots[index] = (struct page_slot){};
	if (p->n_free++ == 0)
		p->first_free = index;
	else
		p->slots[p->last_free].next = index;
	p->last_free = index;
}

/* Indexes that are picked for the change under way, and given when it is committed. */
struct pick {
	uint32_t n_free, next_free, n_fresh;
};

/*
 * Those never given come first, and freed ones when more than QUARANTINE of them wait or nothing
 * else is left. Returns: 0 when there is none.
 */
static uint32_t
pick_index(const struct pages *p, struct pick *pick)
{
	uint32_t index;

	if (p->n_free - pick->n_free > PAGES_QUARANTINE ||
		p->n_given + pick->n_fresh + 1 >= PAGES_ENTRIES) {
		if (p->n_free == pick->n_free)
			return 0;
		index = pick->n_free++ > 0 ? pick->next_free : p->first_free;
		pick->next_free = p->slots[index].next;
		return index;
	}
	return p->n_given + ++pick->n_fresh;
}

/* The next one that was picked: it is C's now. */
static void
index_give(struct pages *p, struct capability *c)
{
	uint32_t index = c->record.page_index;

	if (index > p->n_given) {
		assert(index == p->n_given + 1);
		p->n_given = index;
	} else {
		assert(index == p->first_free && p->n_free > 0);
		p->first_free = p->slots[index].next;
		p->n_free--;
	}
	p->slots[index] = (struct page_slot){.capability = c};
}

/*
 * The pages of whoever serves C now: C may have an index in those of an earlier server, which
 * pages_have() tells.
 */
static struct pages *
pages_of(const struct capability *c)
{
	return endpoint_pages(capability_entrypoint(c));
}

bool
pages_have(const struct pages *p, const struct capability *c)
{
	uint32_t index = c->record.page_index;

	return c->record.page_attachment == p->attachment && index > 0 && index < p->n_slots &&
	       p->slots[index].capability == c;
}

/* What is reserved and written here may stay if the change fails: nobody knows of it. */
static int
stage_one(struct pages *p, struct change *ch, struct capability *c, struct pick *pick)
{
	struct capability_record *record;
	uint32_t index = pick_index(p, pick);
	int r;

	if (!index)
		return -EDQUOT;
	r = pages_reserve(p, capability_entrypoint(c)->session, index + 1);
	if (r < 0)
		return r;
	r = used_begin(p, index, &c->record);
	if (r < 0)
		return r;
	record = change_edit(ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record->page_attachment = p->attachment;
	record->page_index = index;
	return 0;
}

/* Up to the first ancestor that has an entry: all above it have one too. */
int
pages_stage(struct channel *channel, struct change *ch, struct capability *c)
{
	struct pick pick = {};
	struct pages *p;
	int r = channel->endpoint->pages ? 0 : pages_new(channel);

	p = channel->endpoint->pages;
	for (; r == 0 && c && !pages_have(p, c); c = c->parent)
		r = stage_one(p, ch, c, &pick);
	return r;
}

/* One word at a time, and none of them torn: servers read while we write. */
static void
put(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/*
 * Words that belong together: a reader begins again when it meets an odd number, or another one. What was
 * adjusted may have more of one and less of another, and nobody may take the larger of both.
 */
static void
write_limits(struct pages *p, struct granted_entry *g, const struct capability_record *r)
{
	put(&g->sequence, ++p->sequence * 2 + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	put(&g->rights, record_rights(r));
	put(&g->calls_limit, r->calls_limit);
	put(&g->rate, r->rate_limit);
	for (uint32_t i = 0; i < PAGES_METHODS; i++) {
		/* Behind the last there are empty ones. */
		uint64_t range = i < r->n_methods
			? r->methods[i].first | (uint64_t)r->methods[i].last << 32
			: 1;

		put(&g->methods[i], r->n_methods == 0 ? (uint64_t)UINT32_MAX << 32 : range);
	}
	__atomic_store_n(&g->sequence, p->sequence * 2, __ATOMIC_RELEASE);
}

/*
 * It has ended, or what it may is as its record says. There is no other's id in the entry: that was
 * cleared before the index was free. When a new broker writes it again it may be in use.
 */
static void
write_entry(struct pages *p, const struct capability *c)
{
	const struct capability_record *r = &c->record;
	struct granted_entry *g = &p->granted[r->page_index];

	if (capability_is_doomed(c)) {
		__atomic_store_n(&g->capability, 0, __ATOMIC_SEQ_CST);
		return;
	}
	put(&g->revoked_upto, r->revoked_upto);
	write_limits(p, g, r);
	if (!p->slots[r->page_index].written) {
		put(&g->parent, r->parent);
		put(&g->parent_index, c->parent ? c->parent->record.page_index : 0);
		p->slots[r->page_index].written = true;
	}
	__atomic_store_n(&g->capability, c->entity.id, __ATOMIC_SEQ_CST);
}

/*
 * It comes after the commit: until then the entry is nobody's, and no server is told of a
 * capability that may never have been stored.
 */
void
pages_publish(struct channel *channel, struct capability *c)
{
	struct pages *p = channel->endpoint->pages;

	if (!capability_counts_calls(c))
		return;
	for (struct capability *i = c; i && !pages_have(p, i); i = i->parent) {
		index_give(p, i);
		write_entry(p, i);
	}
}

/*
 * It is written into shared memory, so that a revocation holds at the next call without any
 * message.
 */
void
pages_restrict(struct capability *c)
{
	struct pages *p = pages_of(c);

	if (p && pages_have(p, c))
		write_entry(p, c);
}

/* Cleared before the index is free, so that no server takes the next one's entry for this one. */
void
pages_forget(struct capability *c)
{
	struct pages *p = pages_of(c);

	if (!p || !pages_have(p, c))
		return;
	__atomic_store_n(&p->granted[c->record.page_index].capability, 0, __ATOMIC_SEQ_CST);
	index_free(p, c->record.page_index);
}

/* In the same socket as the connections, so that they come first without anybody waiting for it. */
int
pages_send(struct channel *channel)
{
	struct pages *p = channel->endpoint->pages;
	uint8_t message[16];
	int fds[2] = {p->granted_fd, p->used_fd};
	int n = wire_pages_encode(message, sizeof(message));
	ssize_t sent;

	if (p->sent)
		return 0;
	sent = msg_send(channel->fd, message, (size_t)n, fds, 2, MSG_DONTWAIT);
	if (sent < 0)
		return (int)sent;
	p->sent = true;
	p->n_inflight = 2;
	core_fly(p->sockets, p->n_inflight);
	return 0;
}

/* Servers take in order, so that the pages before it have arrived. */
void
pages_taken(struct channel *channel)
{
	struct pages *p = channel->endpoint->pages;

	if (!p)
		return;
	core_landed(p->sockets, p->n_inflight);
	p->n_inflight = 0;
}

/*
 * The entry that C's record speaks of is C's. Two with one entry are a damaged store: one would
 * count what the other calls.
 */
static int
adopt_one(struct pages *p, struct session *s, struct capability *c)
{
	uint32_t index = c->record.page_index;
	int r;

	if (c->record.page_attachment != p->attachment || index == 0 || index >= PAGES_ENTRIES)
		return 0;
	r = pages_reserve(p, s, index + 1);
	if (r < 0)
		return r;
	if (p->slots[index].capability)
		return -EBADMSG;
	p->slots[index].capability = c;
	if (index > p->n_given)
		p->n_given = index;
	return 0;
}

static int
adopt_object(struct pages *p, struct object *o)
{
	list_for_each (i, &o->origins) {
		struct capability *top = list_entry(i, struct capability, origin_link);

		for (struct capability *c = top; c; c = capability_next_below(top, c)) {
			int r = adopt_one(p, o->entrypoint->session, c);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/*
 * What no record speaks of was given by a broker that died before its commit, or is of what has
 * ended.
 */
static void
adopt_entries(struct pages *p)
{
	for (uint32_t i = 1; i <= p->n_given; i++) {
		struct capability *c = p->slots[i].capability;

		if (!c) {
			__atomic_store_n(&p->granted[i].capability, 0, __ATOMIC_SEQ_CST);
			index_free(p, i);
			continue;
		}
		write_entry(p, c);
	}
}

int
pages_adopt(struct sockets *sockets, struct endpoint *endpoint, int granted_fd, int used_fd)
{
	cleanup(pages_free_p) struct pages *p = NULL;
	struct entrypoint *e = endpoint->entrypoint;
	int r = pages_map(sockets, endpoint, granted_fd, used_fd, &p);

	if (r < 0)
		return r;
	r = pages_reserve(p, e->session, 1);
	list_for_each (i, &e->objects)
		if (r == 0)
			r = adopt_object(p, list_entry(i, struct object, entity.owner_link));
	if (r < 0) {
		p->granted_fd = p->used_fd = -1;
		return r;
	}
	adopt_entries(p);
	page_identify(granted_fd, &(unsigned){0}, &p->identity);
	endpoint->pages = take_ptr(p);
	return 0;
}
