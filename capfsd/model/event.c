/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a line is written, and into which logs it goes, also when it comes from the store. What a line
 * is stands in line.h, what a log keeps in ring.h.
 *
 * Anybody may log, and nothing may depend on it: an event is lost rather than that something fails
 * because of it.
 */
#include "config.h"

#include "capfsd/model/event.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "capfsd/model/line.h"
#include "capfsd/model/model.h"
#include "capfsd/model/ring.h"
#include "capfsd/model/touch.h"

/*
 * Together less than a line, so that a reason has some room still. A valid name is never cut; what
 * somebody has written where a name should stand may be.
 */
#define LABEL_SHOWN_MAX 96
#define VALUE_SHOWN_MAX 80
#define BODY_END_MAX (EVENT_BYTES_MAX - 16) /* behind it " ×999999999" and the end of the line */
#define COUNT_MAX 999999999

/* --- writing a line --- */

/*
 * What a terminal might act upon is escaped, as names and commands are chosen by clients and an
 * administrator reads the log in a terminal; what is not ASCII, so that nobody writes our ×; and the
 * backslash, so that it can be read back.
 */
static bool
is_plain(unsigned char c)
{
	return c >= ' ' && c <= '~' && c != '\\';
}

static void
add_escaped(struct text *t, unsigned char c)
{
	text_addf(t, "\\x%02x", c);
}

void
event_field(struct text *t, const char *key, const char *value, size_t n)
{
	size_t start;

	text_addf(t, " %s=", key);
	start = t->n;
	for (size_t i = 0; i < n && t->n - start < VALUE_SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)value[i];

		if (is_plain(c) && !strchr(" =\"", c))
			text_add_n(t, &value[i], 1);
		else
			add_escaped(t, c);
	}
}

/* A label is as long as its owners like; no name begins with a dot, so this one is nobody's. */
void
event_label(const struct session *s, struct text *t)
{
	static const char cut[] = "init/.../";
	cleanup_text struct text label = {};
	const char *end;

	session_label(s, &label);
	if (text_done(&label) < 0) {
		t->failed = true;
		return;
	}
	if (label.n <= LABEL_SHOWN_MAX) {
		text_add_n(t, label.data, label.n);
		return;
	}
	end = strchr(label.data + label.n - (LABEL_SHOWN_MAX - sizeof(cut)), '/');
	text_addf(t, "%s%s", cut, end ? end + 1 : s->entity.name);
}

/*
 * Do the last bytes before an '=' read as the name of a field that says whose an event is? They are
 * sought in logs, and a reason that has them would be found as well.
 */
static bool
is_ours(const char *text, size_t n)
{
	static const char *const keys[] = {"session", "slot", "entrypoint", "uid", "e"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t k = strlen(keys[i]);

		if (n >= k && memcmp(text + n - k, keys[i], k) == 0 &&
			(n == k || text[n - k - 1] == ' '))
			return true;
	}
	return false;
}

/* Up to where the body may go, in whole escapes. */
static void
add_text(struct text *t, const char *text, size_t n, size_t max)
{
	for (size_t i = 0; i < n && t->n + 4 <= max; i++) {
		unsigned char c = (unsigned char)text[i];

		if (is_plain(c) && !(c == '=' && is_ours(text, i)))
			text_add_n(t, &text[i], 1);
		else
			add_escaped(t, c);
	}
}

/* The number tells a reader whether lines are missing in between, which the time of day cannot. */
static void
add_head(struct text *t, uint64_t now_usec, uint64_t number)
{
	time_t seconds = (time_t)(now_usec / 1000000);
	char buffer[32] = "?";
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(buffer, sizeof(buffer), "%Y-%m-%dT%H:%M:%SZ", &tm);
	text_addf(t, "%s e=%" PRIu64 " ", buffer, number);
}

/* All that is the same when it happens again. */
static void
add_body(struct text *t, const struct session *s, const struct event *e)
{
	text_addf(t, "%s%s session=", e->error ? "refused " : "", e->verb);
	event_label(e->about ? e->about : s, t);
	if (e->fields && e->fields->n > 0)
		text_add_n(t, e->fields->data, e->fields->n);
	t->failed |= e->fields && e->fields->failed;
	if (e->error)
		text_addf(t, " %s:", error_name(e->error));
	if (e->n_text > 0) {
		text_add(t, " ");
		add_text(t, e->text, e->n_text, BODY_END_MAX);
	}
	/* Never: whoever adds a field looks that all of them together leave room for a reason. */
	if (t->n > BODY_END_MAX)
		t->n = BODY_END_MAX;
}

static void
add_end(struct text *t, uint32_t count)
{
	if (count > 1)
		text_addf(t, " \xc3\x97%" PRIu32, count);
	text_add(t, "\n");
}

/* --- logging --- */

static void
tell_logged(struct model *m, struct session *s, const struct event_told *told)
{
	uint64_t stamp = model_stamp(m);

	if (m->hooks && m->hooks->told)
		m->hooks->told(m->hooks_data, told);

	for (; s; s = s->parent) {
		s->logged_nsec = stamp;
		if (m->hooks && m->hooks->logged)
			m->hooks->logged(m->hooks_data, s);
	}
}

/*
 * Whose is a line of this depth in the log of DEPTH, whose child on the way to the line's is BELOW? Who has come
 * through a slot counts as if below the session where it happened.
 */
static uint64_t
owner_in(uint32_t depth, uint32_t by_depth, uint64_t below)
{
	if (depth == by_depth)
		return RING_OWN;
	return depth < by_depth ? below : RING_ABOVE;
}

/*
 * The reference that LINE came with keeps it while it is put into the logs, any of which may have no
 * room for it.
 */
static void
enter(struct model *m, struct session *s, struct line *line)
{
	uint32_t n_places = 0;
	uint64_t below = RING_THROUGH;

	list_append(&m->event_queue, &line->link);
	for (struct session *i = s; i; i = i->parent) {
		struct line_place *place = &line->places[n_places++];
		uint64_t end = ring_push(i, line,
			owner_in(i->entity.depth, line->by_depth, below));

		below = i->entity.id;
		/* Without memory for a log the line has no place in it. */
		if (end > 0)
			*place = (struct line_place){i->entity.id, end};
		else
			m->counters->events_lost++;
	}
	line_mark(line, n_places);
	line_unref(m, line);
}

/* A refusal that was told before is forgotten there. Returns: how often it was. */
static uint32_t
forget_same(struct session *s, const char *body, size_t n)
{
	const struct line *old = ring_find(s, body, n);
	uint32_t count;
	uint64_t number;

	if (!old)
		return 0;
	count = old->count;
	number = old->number;
	for (; s; s = s->parent)
		ring_remove(s, number);
	return count < COUNT_MAX ? count : COUNT_MAX - 1;
}

static struct line *
line_make(struct model *m, const struct session *s, const struct text *t)
{
	uint32_t n_places = s->entity.depth + 1;
	struct line *line = line_new(m->header.next_event, n_places + line_mark_places(n_places),
		(uint32_t)t->n);

	if (!line)
		return NULL;
	memcpy(line_text(line), t->data, t->n);
	line_parse(line);
	return line;
}

/* Only somebody above has lines in a log that are not due to where it happened. */
static struct session *
whose(struct session *s, const struct event *e)
{
	struct session *by = s;

	while (by && by != e->by)
		by = by->parent;
	return by ? by : s;
}

/*
 * The number is used up only when there is memory for the line, so that a gap in a log is a line
 * that was there and is gone.
 */
void
event_log(struct model *m, struct session *s, const struct event *e)
{
	struct session *by = whose(s, e);
	cleanup_text struct text t = {};
	struct line *line = NULL;
	struct event_told told;
	uint32_t count = 1;
	size_t head, n_body;

	add_head(&t, m->now_usec(), m->header.next_event);
	head = t.n;
	add_body(&t, s, e);
	n_body = t.n - head;
	if (e->error && text_done(&t) == 0)
		count += forget_same(s, t.data + head, n_body);
	add_end(&t, count);
	if (text_done(&t) == 0)
		line = line_make(m, s, &t);
	if (!line) {
		m->counters->events_lost++;
		return;
	}
	line->keep = (uint8_t)(e->error ? EVENT_REFUSAL : e->keep);
	line->by_depth = (uint8_t)(by->entity.depth + (e->through && by == s));
	m->counters->events++;
	m->header.next_event++;
	told = (struct event_told){
		t.data + head, n_body, line->number, count, e->error != 0, by};
	enter(m, s, line);
	tell_logged(m, s, &told);
}

/* --- loading --- */

/*
 * LINE comes back to the log of one session. Lines come in the order of their numbers, so an end
 * that lies before what the log has already is damage. A gap is none: lines between are gone. A
 * session that is gone is passed over, as its ancestors have the line still.
 */
static int
restore_place(struct model *m, struct line *line, const struct line_place *place, uint64_t owner)
{
	struct entity *e = place->session ? entity_find(m, place->session) : NULL;
	uint32_t n = line->header.n_text;
	int r;

	if (!e || e->kind != ENTITY_SESSION)
		return 0;
	if (place->end < n)
		return -EBADMSG;
	r = ring_skip(session_of(e), place->end - n);
	if (r < 0)
		return r;
	ring_push(session_of(e), line, owner);
	return 0;
}

static int
restore_places(struct model *m, struct line *line)
{
	uint32_t n = line_unmark(line);
	uint64_t below = RING_THROUGH;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		r = restore_place(m, line, &line->places[i],
			owner_in(n - 1 - i, line->by_depth, below));
		below = line->places[i].session;
	}
	return r;
}

/*
 * The lengths are compared with each other before any of them is used. The line's own reference is
 * dropped at the end, so that one that belongs to no log any more is queued to be deleted.
 */
int
event_load(struct model *m, uint64_t number, const void *data, size_t n)
{
	struct line_header header;
	struct line *line;
	int r;

	if (n < sizeof(header) || number >= m->header.next_event)
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.n_text == 0 || header.n_text > EVENT_BYTES_MAX ||
		header.n_places > SESSION_DEPTH_MAX + 1 ||
		n != sizeof(header) + header.n_places * sizeof(struct line_place) + header.n_text)
		return -EBADMSG;
	line = line_new(number, header.n_places, header.n_text);
	if (!line)
		return -ENOMEM;
	memcpy(line->places, (const char *)data + sizeof(header), n - sizeof(header));
	line->stored = true;
	line_parse(line);
	r = restore_places(m, line);
	line_unref(m, line);
	return r < 0 ? error_trace(r) : 0;
}
