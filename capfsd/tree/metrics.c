/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of `metrics`: that of Prometheus, which its tools read from files, with the units and the
 * "# EOF" of OpenMetrics 1.0, and by its rules: the lines of a family stand together, its name ends
 * in its unit, a counter's in _total. Where OpenMetrics leaves the _total out, in TYPE and HELP, no
 * text is right for both, and promtool complains; helpers/capfs-metrics.c makes that one.
 *
 * Its length is bounded by tables and by METRICS_SESSIONS_MAX, and the time that it takes by
 * QUOTA_SEARCHED: where there are more sessions the search goes on with the next text, with the
 * largest of those that were found before.
 */
#include "config.h"

#include "capfsd/tree/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/ops/request.h"
#include "capfsd/verbs/verbs.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Where a request came from is a label of its series, and so these words are never changed: a
 * dashboard would lose what it has collected so far.
 */
static const char *const front_names[N_FRONTS] = {
	[FRONT_FUSE] = "fuse",
	[FRONT_CONTROL] = "control",
	[FRONT_SOCKET] = "socket",
};

/* As the seconds are written by all others, since series are told apart by that. */
static const struct {
	uint32_t usec;
	const char *seconds;
} bounds[COUNTERS_BUCKETS] = {
	{10, "1e-05"},
	{20, "2e-05"},
	{50, "5e-05"},
	{100, "0.0001"},
	{200, "0.0002"},
	{500, "0.0005"},
	{1000, "0.001"},
	{2000, "0.002"},
	{5000, "0.005"},
	{10000, "0.01"},
	{50000, "0.05"},
	{100000, "0.1"},
	{1000000, "1.0"},
};

/*
 * One look at the clock is made for a whole round of requests, not for each: looking costs as much
 * as the shortest of them take. So N of them get the mean. What is longer than the last bound is in
 * no bucket, but in the number and the sum, from which "+Inf" is written.
 */
void
metrics_took(struct counters *c, enum front front, uint64_t n, uint64_t each_usec)
{
	struct durations *d = &c->durations[front];
	unsigned i = 0;

	while (i < COUNTERS_BUCKETS && each_usec > bounds[i].usec)
		i++;
	if (i < COUNTERS_BUCKETS)
		d->buckets[i] += n;
	d->n += n;
	d->sum_usec += n * each_usec;
}

/* What comes before the samples of one name. UNIT may be NULL: then the family counts things. */
static void
add_family(struct text *t, const char *name, const char *type, const char *unit, const char *help)
{
	text_addf(t, "# TYPE capfs_%s %s\n", name, type);
	if (unit)
		text_addf(t, "# UNIT capfs_%s %s\n", name, unit);
	text_addf(t, "# HELP capfs_%s %s\n", name, help);
}

static void
add_gauge(struct text *t, const char *name, const char *unit, const char *help, uint64_t value)
{
	add_family(t, name, "gauge", unit, help);
	text_addf(t, "capfs_%s %" PRIu64 "\n", name, value);
}

static void
add_counter(struct text *t, const char *name, const char *help, uint64_t value)
{
	add_family(t, name, "counter", NULL, help);
	text_addf(t, "capfs_%s %" PRIu64 "\n", name, value);
}

/*
 * One sample for each that has a name. LABELS: those before the last one's value. Numbers without a
 * name are those of verbs and requests that this version does not have.
 */
static void
add_samples(struct text *t, const char *name, const char *labels, const char *const *names,
	const uint64_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (names[i])
			text_addf(t, "capfs_%s{%s=\"%s\"} %" PRIu64 "\n", name, labels, names[i],
				values[i]);
}

/* By the model's own counts, which cost nothing to read. */
static void
add_sizes(struct text *t, const struct model *m)
{
	static const struct {
		enum entity_kind kind;
		const char *name, *help;
	} kinds[] = {
		{ENTITY_SESSION, "sessions", "Sessions, the root included."},
		{ENTITY_CAPABILITY, "capabilities", "Slots in all sessions."},
		{ENTITY_ENTRYPOINT, "entrypoints", "Entrypoints, served or detached."},
		{ENTITY_OBJECT, "objects", "Objects of all entrypoints."},
		{ENTITY_THREAD, "threads", "Threads that serve."},
		{ENTITY_PROGRAM, "programs", "Programs that were started, run, or are still asked about."},
	};

	for (size_t i = 0; i < N_OF(kinds); i++)
		add_gauge(t, kinds[i].name, NULL, kinds[i].help, m->n[kinds[i].kind]);
}

/* What is measured is measured once for each text, and not when nobody reads. */
static void
add_broker(struct text *t, struct metrics *m)
{
	if (m->measure)
		m->measure(m, m->data);
	add_gauge(t, "connections", NULL, "Connections that are open.", m->connections);
	add_gauge(t, "listeners", NULL, "Sockets that are bound, or are to be again.", m->listeners);
	add_gauge(t, "brokers", NULL, "Brokers started for this mount.", m->n_brokers);
	add_counter(t, "broker_restarts_total", "Brokers that took over from one that died.",
		m->n_brokers > 0 ? m->n_brokers - 1 : 0);
	if (!m->measure)
		return;
	add_gauge(t, "store_used_bytes", "bytes", "The state: pages with records.", m->store_used);
	add_gauge(t, "store_file_bytes", "bytes", "The state: length of its file.", m->store_file);
	add_gauge(t, "store_limit_bytes", "bytes",
		"The state: how long its file may become; its file system may be full before.",
		m->store_limit);
	if (m->memory)
		add_gauge(t, "broker_resident_memory_bytes", "bytes",
			"Memory of the broker, the state's pages included.", m->memory);
}

/* The same where a front gives the names. Nothing where there is none, as in some tests. */
static void
add_named(struct text *t, const char *name, const char *labels, metrics_name *name_of,
	const uint64_t *values, size_t n)
{
	for (size_t i = 0; name_of && i < n; i++) {
		const char *value = name_of(i);

		if (value)
			text_addf(t, "capfs_%s{%s=\"%s\"} %" PRIu64 "\n", name, labels, value,
				values[i]);
	}
}

/* The counters of verbs stand in two places, since one of them could not grow. */
static void
add_verbs(struct text *t, const char *name, const uint64_t *first, const uint64_t *more)
{
	add_samples(t, name, "operation", verb_names, first, COUNTERS_VERBS);
	add_samples(
		t, name, "operation", verb_names + COUNTERS_VERBS, more, VERB_N - COUNTERS_VERBS);
}

/*
 * Every sample of a family stands below its head before the next begins: a parser that meets one
 * later takes the whole text for broken. So the fronts are asked here for their names, and do not
 * write their own.
 */
static void
add_requests(struct text *t, const struct model *model, const struct metrics *m)
{
	const struct counters *c = model->counters;

	add_family(t, "requests_total", "counter", NULL,
		"Requests of the kernel and of control clients.");
	if (m) {
		add_named(t, "requests_total", "front=\"fuse\",operation", m->fuse_name, c->fuse,
			COUNTERS_FUSE);
		add_named(t, "requests_total", "front=\"control\",operation", m->control_name,
			c->control, COUNTERS_CONTROL);
	}
	add_family(t, "operations_total", "counter", NULL,
		"Operations on sessions and capabilities that were done, from both fronts.");
	add_verbs(t, "operations_total", c->done, model->more->done);
	add_family(t, "operation_refusals_total", "counter", NULL, "Operations that were refused.");
	add_verbs(t, "operation_refusals_total", c->refused, model->more->refused);
	add_family(t, "refusals_total", "counter", NULL,
		"The same refusals by error; those that there have been.");
	for (int error = 1; error < COUNTERS_ERRNO; error++)
		if (c->errors[error])
			text_addf(t, "capfs_refusals_total{error=\"%s\"} %" PRIu64 "\n",
				error_name(error), c->errors[error]);
	if (c->errors[0])
		text_addf(t, "capfs_refusals_total{error=\"other\"} %" PRIu64 "\n", c->errors[0]);
}

/*
 * What was refused is told apart by why, since a limit that is reached and a daemon without memory
 * call for different people.
 */
static void
add_connections(struct text *t, const struct counters *c, const struct metrics *m)
{
	add_counter(t, "connections_offered_total",
		"Connections that were let in, for their servers.", c->offered);
	add_counter(t, "connections_taken_total", "Connections that a server has taken.", c->taken);
	add_family(t, "connections_refused_total", "counter", NULL,
		"Connections that were not let in: the capability, its limits, quota.");
	if (m)
		add_named(t, "connections_refused_total", "reason", m->connect_name,
			c->connects_refused, COUNTERS_REASONS);
	add_counter(t, "poisoned_requests_total", "Requests refused as brokers had died of them.",
		c->poisoned);
	add_counter(t, "events_total", "Events logged.", c->events);
	add_counter(t, "events_lost_total", "Events dropped without memory.", c->events_lost);
	add_counter(t, "log_lines_lost_total",
		"Lines of the log of holder and broker that nobody took at once, or that were too many.",
		c->lines_lost);
}

/* "0.00001": no binary fraction is rounded on the way. */
static void
add_seconds(struct text *t, uint64_t usec)
{
	text_addf(t, "%" PRIu64 ".%06" PRIu64, usec / 1000000, usec % 1000000);
}

/*
 * Buckets are kept each for itself and summed up here, since a histogram in this format counts in
 * each bucket all that is shorter as well.
 */
static void
add_durations(struct text *t, const struct counters *c)
{
	const char *name = "capfs_service_seconds";

	add_family(t, "service_seconds", "histogram", "seconds",
		"Time of the broker for a request, without waits: the mean of those that it found "
		"at once.");
	for (int front = 0; front < N_FRONTS; front++) {
		const struct durations *d = &c->durations[front];
		const char *f = front_names[front];
		uint64_t n = 0;

		for (size_t i = 0; i < COUNTERS_BUCKETS; i++) {
			n += d->buckets[i];
			text_addf(t, "%s_bucket{front=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, f,
				bounds[i].seconds, n);
		}
		text_addf(t, "%s_bucket{front=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, f, d->n);
		text_addf(t, "%s_sum{front=\"%s\"} ", name, f);
		add_seconds(t, d->sum_usec);
		text_addf(t, "\n%s_count{front=\"%s\"} %" PRIu64 "\n", name, f, d->n);
	}
}

/*
 * The largest share that S uses of what the root has, over all kinds: bytes and sockets cannot be
 * added up, and whoever is about to exhaust a single kind is a large consumer.
 */
static double
part_of_root(const struct session *s, const struct session *root)
{
	double share = 0;

	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		uint64_t of = root->record.limit.n[i];
		double part = of > 0 ? (double)s->used.n[i] / (double)of : 0;

		if (part > share)
			share = part;
	}
	return share;
}

/* Sessions by their shares, the largest first; the root stands before them. */
struct consumers {
	struct session *sessions[METRICS_SESSIONS_MAX];
	double shares[METRICS_SESSIONS_MAX];
	unsigned n;
};

/*
 * The root has the first place for good, which is why the search for one stops before it. One that
 * was found before comes again by the search, and is passed over: a series that stood there twice
 * would make the whole text invalid.
 */
static void
consumers_add(struct consumers *c, struct session *s, double share)
{
	unsigned i;

	if (c->n == METRICS_SESSIONS_MAX && share <= c->shares[c->n - 1])
		return;
	for (i = 0; i < c->n; i++)
		if (c->sessions[i] == s)
			return;
	if (c->n < METRICS_SESSIONS_MAX)
		c->n++;
	for (i = c->n - 1; i > 1 && c->shares[i - 1] < share; i--) {
		c->sessions[i] = c->sessions[i - 1];
		c->shares[i] = c->shares[i - 1];
	}
	c->sessions[i] = s;
	c->shares[i] = share;
}

/*
 * What is remembered from one text to the next is ids and not pointers, since a session may have
 * ended in between.
 */
static struct session *
find_session_by_id(struct model *m, uint64_t id)
{
	struct entity *e = id ? entity_find(m, id) : NULL;

	return e && e->kind == ENTITY_SESSION ? session_of(e) : NULL;
}

/*
 * Not all sessions are looked at in one text, since that would hold up everybody who is served by
 * the same thread. Those that were large before are looked at first, and so stay while they are
 * large; the search goes on where it ended, and by and by meets all.
 */
static void
consumers_find(struct consumers *c, struct model *model, struct metrics *m)
{
	struct session *root = model->root, *s = NULL;

	consumers_add(c, root, 1);
	for (unsigned i = 0; m && i < m->n_largest; i++) {
		s = find_session_by_id(model, m->largest[i]);
		if (s)
			consumers_add(c, s, part_of_root(s, root));
	}
	s = m ? find_session_by_id(model, m->searched_upto) : NULL;
	s = session_next_below(root, s ? s : root);
	for (unsigned n = 0; s && n < QUOTA_SEARCHED; n++, s = session_next_below(root, s)) {
		consumers_add(c, s, part_of_root(s, root));
		if (m)
			m->searched_upto = s->entity.id;
	}
	if (!m)
		return;
	if (!s)
		m->searched_upto = 0;
	for (m->n_largest = 0; m->n_largest < c->n; m->n_largest++)
		m->largest[m->n_largest] = c->sessions[m->n_largest]->entity.id;
}

/* Labels have no characters that would need to be escaped: names are of a few only. */
static void
add_part(
	struct text *t, const char *name, const struct session *s, const char *part, uint64_t value)
{
	text_addf(t, "capfs_%s{session=\"", name);
	session_label(s, t);
	text_addf(t, "\",part=\"%s\"} %" PRIu64 "\n", part, value);
}

/* Sums over all series of a kind are what the whole tree uses: the rest is one series, too. */
static void
add_quota(struct text *t, struct model *model, struct metrics *m)
{
	static const char *const names[QUOTA_N_KINDS] = {
		[QUOTA_CAPS] = "session_caps",
		[QUOTA_SOCKETS] = "session_sockets",
		[QUOTA_THREADS] = "session_threads",
		[QUOTA_RAM] = "session_ram_bytes",
		[QUOTA_INFLIGHT] = "session_inflight",
	};
	struct consumers c = {};

	consumers_find(&c, model, m);
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++) {
		uint64_t others = model->used.n[kind];

		add_family(t, names[kind], "gauge", kind == QUOTA_RAM ? "bytes" : NULL,
			"Quota of the root and of the 63 sessions with the largest shares in use; "
			"what all others use is that of " METRICS_OTHERS ".");
		for (unsigned i = 0; i < c.n; i++) {
			const struct session *s = c.sessions[i];

			add_part(t, names[kind], s, "limit", s->record.limit.n[kind]);
			add_part(t, names[kind], s, "used", s->used.n[kind]);
			add_part(t, names[kind], s, "lent", s->lent.n[kind]);
			others -= s->used.n[kind];
		}
		text_addf(t, "capfs_%s{session=\"" METRICS_OTHERS "\",part=\"used\"} %" PRIu64 "\n",
			names[kind], others);
	}
}

void
info_metrics(struct request *r, struct entity *e, struct text *t)
{
	struct model *m = r->model;
	const struct counters *c = m->counters;

	add_family(t, "build_info", "gauge", NULL, "The version of the daemon; always 1.");
	text_add(t, "capfs_build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
	add_family(t, "start_time_seconds", "gauge", "seconds",
		"When the counters began, since 1970; they go on when a broker dies.");
	text_add(t, "capfs_start_time_seconds ");
	add_seconds(t, c->since_usec);
	text_add(t, "\n");
	add_sizes(t, m);
	if (r->metrics)
		add_broker(t, r->metrics);
	add_requests(t, m, r->metrics);
	add_connections(t, c, r->metrics);
	add_durations(t, c);
	add_quota(t, m, r->metrics);
	text_add(t, "# EOF\n");
}

/* Each look at it is counted in it. */
bool
info_metrics_restless(const struct entity *e)
{
	return true;
}
