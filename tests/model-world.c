/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store and the hooks run while allocations are made to fail; so they assert in the plain way,
 * since Check allocates for each of its own.
 */
#include "config.h"

#include "tests/model-world.h"

#undef NDEBUG
#include <assert.h>
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct record {
	struct index_link link;
	struct list staged_link;
	uint64_t key;
	size_t n;
	bool drop;
	uint8_t data[];
};

static struct record *
record_new(uint64_t key, const void *data, size_t n)
{
	struct record *r = malloc(sizeof(*r) + n);

	if (!r)
		return NULL;
	*r = (struct record){.key = key, .n = n, .drop = !data};
	list_init(&r->staged_link);
	if (n > 0)
		memcpy(r->data, data, n);
	return r;
}

static struct record *
record_find(struct stub *s, uint64_t key)
{
	struct index_link *i = index_first(&s->records, index_hash_id(key));

	for (; i; i = index_next(i))
		if (container_of(i, struct record, link)->key == key)
			return container_of(i, struct record, link);
	return NULL;
}

struct stub *
stub_new(void)
{
	struct stub *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(index_reserve(&s->records, 16), 0);
	list_init(&s->staged);
	s->fail_after = UINT64_MAX;
	s->fail_error = -EIO;
	return s;
}

struct stub *
stub_free(struct stub *s)
{
	for (size_t i = 0; i < s->records.size; i++)
		while (s->records.buckets[i]) {
			struct record *r = container_of(s->records.buckets[i], struct record, link);

			index_remove(&s->records, &r->link);
			free(r);
		}
	index_deinit(&s->records);
	free(s);
	return NULL;
}

static bool
stub_fails(struct stub *s)
{
	s->n_calls++;
	if (s->fail_after == UINT64_MAX)
		return false;
	return s->fail_after-- == 0;
}

static int
stub_begin(void *store)
{
	struct stub *s = store;

	assert(!s->active);
	if (stub_fails(s))
		return s->fail_error;
	s->active = true;
	return 0;
}

static int
stub_stage(struct stub *s, uint64_t key, const void *data, size_t n)
{
	struct record *r;

	assert(s->active);
	if (stub_fails(s))
		return s->fail_error;
	r = record_new(key, data, n);
	if (!r)
		return -ENOMEM;
	list_append(&s->staged, &r->staged_link);
	return 0;
}

static int
stub_put(void *store, uint64_t key, const void *data, size_t n)
{
	struct stub *s = store;

	if (s->full && !record_find(s, key))
		return -ENOSPC;
	return stub_stage(s, key, data, n);
}

static int
stub_drop(void *store, uint64_t key)
{
	return stub_stage(store, key, NULL, 0);
}

static void
stub_abort(void *store)
{
	struct stub *s = store;

	list_for_each_safe (i, &s->staged)
		free(list_entry(i, struct record, staged_link));
	list_init(&s->staged);
	s->active = false;
}

static void
apply(struct stub *s, struct record *r)
{
	struct record *old = record_find(s, r->key);

	assert(!r->drop || old);
	if (old) {
		index_remove(&s->records, &old->link);
		free(old);
	}
	if (r->drop)
		free(r);
	else
		index_add(&s->records, &r->link, index_hash_id(r->key));
}

static int
stub_commit(void *store)
{
	struct stub *s = store;

	assert(s->active);
	if (stub_fails(s)) {
		stub_abort(s);
		return s->fail_error;
	}
	while (!list_empty(&s->staged)) {
		struct record *r = list_entry(s->staged.next, struct record, staged_link);

		list_unlink(&r->staged_link);
		apply(s, r);
	}
	s->active = false;
	s->n_commits++;
	return 0;
}

const struct store_ops stub_store_ops = {
	.begin = stub_begin,
	.put = stub_put,
	.drop = stub_drop,
	.commit = stub_commit,
	.abort = stub_abort,
};

void
stub_set(struct stub *s, uint64_t key, const void *data, size_t n)
{
	struct record *r = record_new(key, data, n);

	ck_assert_ptr_nonnull(r);
	apply(s, r);
}

static int
compare_records(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	return (x->key > y->key) - (x->key < y->key);
}

int
stub_scan(struct stub *s, int (*each)(void *data, uint64_t key, const void *record, size_t n),
	void *data)
{
	cleanup_free struct record **sorted = calloc(s->records.n + 1, sizeof(*sorted));
	size_t n = 0;
	int r = 0;

	ck_assert_ptr_nonnull(sorted);
	for (size_t i = 0; i < s->records.size; i++)
		for (struct index_link *l = s->records.buckets[i]; l; l = l->next)
			sorted[n++] = container_of(l, struct record, link);
	qsort(sorted, n, sizeof(*sorted), compare_records);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = each(data, sorted[i]->key, sorted[i]->data, sorted[i]->n);
	return r;
}

static uint64_t now_usec = 1000 * MINUTE_USEC;

void
world_set_now(uint64_t usec)
{
	now_usec = usec;
}

uint64_t
world_now(void)
{
	return now_usec;
}

static void
on_changed(void *data, struct entity *e)
{
	assert(e->linked);
	((struct world *)data)->told.n_changed++;
}

static void
on_gone(void *data, struct entity *e)
{
	struct told *told = &((struct world *)data)->told;

	assert(!e->linked);
	told->n_gone++;
	told->last_gone = e->id;
}

static void
on_restricted(void *data, struct capability *c)
{
	struct told *told = &((struct world *)data)->told;

	assert(c->entity.linked);
	told->n_restricted++;
	told->last_restricted = c->entity.id;
}

static void
on_logged(void *data, struct session *s)
{
	assert(s->entity.linked);
	((struct world *)data)->told.n_logged++;
}

static const struct model_hooks hooks = {
	.changed = on_changed,
	.gone = on_gone,
	.restricted = on_restricted,
	.logged = on_logged,
};

static void
make_model(struct world *w)
{
	ck_assert_int_eq(model_new(&stub_store_ops, w->store, &w->model), 0);
	w->model->hooks = &hooks;
	w->model->hooks_data = w;
	w->model->now_usec = world_now;
}

void
world_init(struct world *w)
{
	*w = (struct world){
		.store = stub_new(),
		.limit = {{1 << 20, 1 << 20, 1 << 20, UINT64_C(1) << 32, 1 << 20}},
	};
	make_model(w);
	ck_assert_int_eq(model_create_root(w->model, 0, 0, SESSION_MODE_ROOT, &w->limit), 0);
	model_check(w->model);
}

void
world_deinit(struct world *w)
{
	w->model = model_free(w->model);
	w->store = stub_free(w->store);
}

static int
load_one(void *data, uint64_t key, const void *record, size_t n)
{
	struct world *w = data;

	if (STORE_KEY_SPACE(key) > STORE_EVENT && STORE_KEY_SPACE(key) != STORE_LATER)
		return 0;
	return model_load(w->model, key, record, n);
}

int
world_restart(struct world *w)
{
	int r;

	w->model = model_free(w->model);
	make_model(w);
	r = stub_scan(w->store, load_one, w);
	return r < 0 ? r : model_load_done(w->model);
}

void
world_reap(struct world *w)
{
	int r;

	do
		r = model_reap(w->model, 64);
	while (r > 0);
	ck_assert_int_eq(r, 0);
	model_check(w->model);
}

static void
describe_capability(struct text *t, const struct capability *c)
{
	const struct capability_record *r = &c->record;

	text_addf(t, "%" PRIu64 " capability %s in %" PRIu64 " object %" PRIu64 " parent %" PRIu64
		     " since %" PRIu64 " expires %" PRIu64 " calls %" PRIu64 "/%" PRIu64
		     " conns %" PRIu64 " rate %" PRIu64 " upto %" PRIu64 " rights %u by %u mode %o flags %u"
		     " children %" PRIu32 " depth %u\n",
		c->entity.id, c->entity.name, r->session, r->target, r->parent, r->since_usec,
		r->expires_usec, r->calls_used, r->calls_limit, r->conns_limit, r->rate_limit,
		r->revoked_upto,
		r->rights, r->by_uid, r->mode, r->flags, c->n_children, c->entity.depth);
	text_addf(t, "  methods %u", r->n_methods);
	for (unsigned i = 0; i < METHODS_MAX; i++)
		text_addf(t, " %u-%u", r->methods[i].first, r->methods[i].last);
	text_addf(t, " page %u.%u marks %u", r->page_attachment, r->page_index, r->marks);
	text_add(t, list_empty(&c->caveats) ? "" : " ");
	caveats_show(c, " & ", t);
	text_add(t, "\n");
	for (struct alias *a = alias_next(c, 0); a; a = alias_next(c, a->entity.id))
		text_addf(t, "  alias %" PRIu64 " %s\n", a->entity.id, a->entity.name);
}

static void
describe_entrypoint(struct text *t, const struct entrypoint *ep)
{
	text_addf(t, "%" PRIu64 " entrypoint %s thread %" PRIu64 " flags %u\n", ep->entity.id,
		ep->entity.name, ep->record.thread, ep->record.flags);
	list_for_each (i, &ep->objects) {
		const struct object *o = list_entry(i, struct object, entity.owner_link);

		text_addf(t, "%" PRIu64 " object %s badge %" PRIu64 " socket %u flags %u\n",
			o->entity.id, o->entity.name, o->record.badge, o->record.socket,
			o->record.flags);
	}
}

static void
log_note(struct model *m, struct session *s, int error, const char *format, va_list args)
{
	cleanup_text struct text t = {};
	struct event event = {.verb = "note", .error = error, .keep = EVENT_USUAL};

	text_vaddf(&t, format, args);
	event.text = t.data;
	event.n_text = t.n;
	event_log(m, s, &event);
}

void
log_text(struct model *m, struct session *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_note(m, s, 0, format, args);
	va_end(args);
}

void
log_refusal(struct model *m, struct session *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_note(m, s, EPERM, format, args);
	va_end(args);
}

static void
describe_visit(struct text *t, const struct visit *v)
{
	text_addf(t, "visit %s ", v->entity.name);
	for (size_t i = 0; i < sizeof(v->record); i++)
		text_addf(t, i + 1 < sizeof(v->record) ? "%02x" : "%02x\n", ((const uint8_t *)&v->record)[i]);
}

static void
describe_session(struct text *t, const struct session *s)
{
	char line[EVENT_BYTES_MAX];

	text_addf(t, "%" PRIu64 " session ", s->entity.id);
	session_label(s, t);
	text_addf(t, " state %u mode %o owner %u:%u threads %" PRIu64 "\n", s->record.state,
		s->record.mode, s->record.uid, s->record.gid, s->record.threads_made);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		text_addf(t, "  %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			quota_kind_name(i), s->record.limit.n[i], s->used.n[i], s->lent.n[i],
			s->record.donation.n[i]);
	list_for_each (i, &s->owned[ENTITY_CAPABILITY])
		describe_capability(t, list_entry(i, struct capability, entity.owner_link));
	list_for_each (i, &s->owned[ENTITY_ENTRYPOINT])
		describe_entrypoint(t, list_entry(i, struct entrypoint, entity.owner_link));
	list_for_each (i, &s->owned[ENTITY_THREAD])
		text_addf(t, "thread %s\n", list_entry(i, struct entity, owner_link)->name);
	list_for_each (i, &s->owned[ENTITY_VISIT])
		describe_visit(t, visit_of(list_entry(i, struct entity, owner_link)));
	text_addf(t, "events %" PRIu64 "-%" PRIu64 "\n", events_start(s), events_end(s));
	for (uint64_t at = events_start(s); at < events_end(s);)
		text_add_n(t, line, events_read(s, EVENTS_ALL, &at, line, sizeof(line)));
	text_addf(t, "faults %s\n", events_has_more(s, EVENTS_FAULTS, 0) ? "" : "none");
	for (uint64_t at = 0; events_has_more(s, EVENTS_FAULTS, at);)
		text_add_n(t, line, events_read(s, EVENTS_FAULTS, &at, line, sizeof(line)));
}

char *
world_describe(const struct world *w)
{
	struct text t = {};
	struct entity *e;

	for (uint64_t id = 1; id < w->model->header.next_id; id++) {
		e = entity_find(w->model, id);
		if (e && e->kind == ENTITY_SESSION)
			describe_session(&t, container_of(e, struct session, entity));
	}
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

int
finish(struct change *ch, int answer)
{
	if (answer)
		change_abort(ch);
	else
		ck_assert_int_eq(change_commit(ch), 0);
	ck_assert_int_ge(answer, 0);
	return answer;
}

int
try_session(struct world *w, struct session *parent, const char *name, const struct quota *donation,
	struct session **ret, enum quota_kind *ret_kind)
{
	struct change *ch = change_begin(w->model);

	return finish(ch, session_create(ch, parent, name, strlen(name), 1000, 1000, donation, ret,
				  ret_kind));
}

struct session *
make_session(struct world *w, struct session *parent, const char *name,
	const struct quota *donation)
{
	struct session *s = NULL;
	enum quota_kind kind;
	struct quota usual;

	session_default_donation(parent, &usual);
	ck_assert_int_eq(
		try_session(w, parent, name, donation ? donation : &usual, &s, &kind), 0);
	return s;
}

int
try_attach(struct world *w, struct session *s, const char *name, uint32_t flags,
	struct entrypoint **ret)
{
	struct change *ch = change_begin(w->model);

	return finish(ch, entrypoint_attach(ch, s, name, strlen(name), flags, 4711, ret));
}

struct entrypoint *
make_entrypoint(struct world *w, struct session *s, const char *name)
{
	struct entrypoint *ep = NULL;

	ck_assert_int_eq(try_attach(w, s, name, 0, &ep), 0);
	return ep;
}

struct capability *
make_origin(struct world *w, struct entrypoint *ep, uint64_t key, const char *name)
{
	struct change *ch = change_begin(w->model);
	struct capability *c = NULL;
	struct object *o;

	ck_assert_int_eq(object_add(ch, ep, key, OBJECT_STREAM, OBJECT_PLAIN, &o), 0);
	ck_assert_int_eq(capability_originate(ch, TYPE_OBJECT, &o->entity, ep->session, name, strlen(name), RIGHTS_OBJECT,
				 0, &c),
		0);
	ck_assert_int_eq(change_commit(ch), 0);
	return c;
}

int
try_grant(struct world *w, struct capability *source, struct session *to, const char *name,
	const struct reductions *how, struct capability **ret)
{
	static const struct reductions none;
	struct change *ch = change_begin(w->model);

	return finish(ch, capability_grant(ch, source, to, name, name ? strlen(name) : 0,
				  how ? how : &none, 1000, ret));
}

struct capability *
make_grant(struct world *w, struct capability *source, struct session *to, const char *name,
	const struct reductions *how)
{
	struct capability *c = NULL;

	ck_assert_int_eq(try_grant(w, source, to, name, how, &c), 0);
	return c;
}

int
try_reduce(struct world *w, struct capability *c, const struct reductions *how)
{
	struct change *ch = change_begin(w->model);

	return finish(ch, capability_reduce(ch, c, how));
}

void
end_capability(struct world *w, struct capability *c)
{
	struct change *ch = change_begin(w->model);

	ck_assert_int_eq(finish(ch, capability_end(ch, c)), 0);
}

int
try_transfer(struct world *w, struct session *from, struct session *to, const struct quota *amount,
	enum quota_kind *ret_kind)
{
	struct change *ch = change_begin(w->model);
	int r = session_transfer_quota(ch, from, to, amount, ret_kind);

	if (r < 0) {
		change_abort(ch);
		return r;
	}
	return finish(ch, r);
}

int
try_connect(struct world *w, struct capability *c)
{
	struct change *ch = change_begin(w->model);
	int r = finish(ch, capability_connect(ch, c));

	if (r == 0)
		capability_connected(c);
	return r;
}

int
try_close(struct world *w, struct session *s)
{
	struct change *ch = change_begin(w->model);

	return finish(ch, session_close(ch, s));
}
