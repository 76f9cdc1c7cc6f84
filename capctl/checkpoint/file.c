/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/checkpoint/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/sum.h"
#include "capctl/names.h"

#define BEGIN "capfs-checkpoint "
#define FORM "1\n"
#define END "end sum="
#define LINES_MAX 4000000

/* --- words --- */

static const char *const key_names[N_FILE_KEYS] = {
#define X(name) [KEY_##name] = #name,
	FILE_KEYS(X)
#undef X
};

static bool
is_number(const char *s)
{
	uint64_t n;

	return number_parse(s, strlen(s), false, &n) == 0;
}

static bool
is_badge(const char *s)
{
	return strncmp(s, "0x", 2) == 0 && s[2] && strspn(s + 2, "0123456789abcdef") == strlen(s + 2) &&
		strlen(s) <= 18;
}

static bool
is_mode(const char *s)
{
	return *s && strspn(s, "01234567") == strlen(s) && strtoul(s, NULL, 8) <= 0777;
}

static bool
is_name(const char *s)
{
	return name_is_valid(s, strlen(s));
}

/* Names with slashes between them: none leads up, and none is empty. */
static bool
is_label(const char *s)
{
	for (size_t n;; s += n + 1) {
		n = strcspn(s, "/");
		if (!name_is_valid(s, n))
			return false;
		if (!s[n])
			return true;
	}
}

static bool
is_path(const char *s)
{
	return strcmp(s, ".") == 0 || is_label(s);
}

static bool
is_word(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz-,") == strlen(s);
}

static bool
is_methods(const char *s)
{
	return strcmp(s, "none") == 0 || (*s && strspn(s, "0123456789-,") == strlen(s));
}

static bool
is_time(const char *s)
{
	return strlen(s) == strlen("2026-01-31T12:00:00Z") && strspn(s, "0123456789-:TZ") == strlen(s);
}

static bool
is_printable(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static bool
is_confinement(const char *s)
{
	return *s && is_printable(s);
}

static bool
is_share(const char *s)
{
	return strncmp(s, "with=", 5) == 0 && s[5] && is_printable(s);
}

/* Comments are of any letters. */
static bool
is_policy(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return *s;
}

/* only="TEXT", once or more, with a blank between; in a text a quote or a backslash has a backslash before it. */
static bool
is_caveats(const char *s)
{
	if (!is_printable(s))
		return false;
	for (;; s++) {
		if (strncmp(s, "only=\"", 6) != 0)
			return false;
		for (s += 6; *s != '"'; s++)
			if (!*s || (*s == '\\' && *++s != '"' && *s != '\\'))
				return false;
		if (!*++s)
			return true;
		if (*s != ' ')
			return false;
	}
}

/* What may stand behind a key, whatever kind of line it is in. */
static bool (*const key_checks[N_FILE_KEYS])(const char *) = {
	[KEY_path] = is_path, [KEY_name] = is_name, [KEY_uid] = is_number, [KEY_gid] = is_number,
	[KEY_caps] = is_number, [KEY_sockets] = is_number, [KEY_threads] = is_number, [KEY_ram] = is_number,
	[KEY_inflight] = is_number, [KEY_hold] = is_number, [KEY_backlog] = is_number, [KEY_fds] = is_word,
	[KEY_caveats] = is_word, [KEY_counts] = is_word,
	[KEY_entrypoint] = is_name, [KEY_id] = is_number, [KEY_key] = is_number, [KEY_socket] = is_word,
	[KEY_protocol] = is_word, [KEY_badge] = is_badge, [KEY_type] = is_word, [KEY_parent] = is_number,
	[KEY_object] = is_number, [KEY_from] = is_label, [KEY_rights] = is_word, [KEY_methods] = is_methods,
	[KEY_calls] = is_number, [KEY_used] = is_number, [KEY_conns] = is_number, [KEY_rate] = is_number,
	[KEY_expires] = is_time, [KEY_slot] = is_name, [KEY_what] = is_word, [KEY_n] = is_number,
};

#define K(key) (UINT64_C(1) << KEY_##key)

/* A kind of line: the words that it must have, and those that it may have. Who adds one adds what restores it. */
static const struct kind {
	const char *name;
	uint64_t required, allowed;
	bool (*rest)(const char *); /* what is behind its only word */
} kinds[N_FILE_KINDS] = {
	[FILE_SESSION] = {"session", K(path) | K(uid) | K(gid) | K(mode) | K(caps) | K(sockets) | K(threads) |
					     K(ram) | K(inflight), 0},
	[FILE_CONFINE] = {"confine", K(path), 0, is_confinement},
	[FILE_ONLY] = {"only", K(id), 0, is_caveats},
	[FILE_SHARE] = {"share", K(id), 0, is_share},
	[FILE_POLICY] = {"policy", K(path), 0, is_policy},
	[FILE_ENTRYPOINT] = {"entrypoint", K(path) | K(name) | K(mode) | K(hold) | K(backlog) | K(fds) | K(caveats),
		K(counts)},
	[FILE_OBJECT] = {"object", K(path) | K(entrypoint) | K(id) | K(key) | K(socket) | K(protocol) | K(badge), 0},
	[FILE_SLOT] = {"slot", K(path) | K(name) | K(id) | K(type) | K(rights),
		K(parent) | K(object) | K(from) | K(methods) | K(calls) | K(used) | K(conns) | K(rate) |
			K(expires) | K(uid) | K(gid) | K(mode)},
	[FILE_ALIAS] = {"alias", K(path) | K(slot) | K(name), 0},
	[FILE_LEFT] = {"left", K(path) | K(what) | K(n), K(name)},
};

static int
find_key(const char *word, size_t n)
{
	for (int i = 0; i < N_FILE_KEYS; i++)
		if (strlen(key_names[i]) == n && memcmp(key_names[i], word, n) == 0)
			return i;
	return -1;
}

/* An entrypoint's mode is a word, all others are permissions. */
static bool
value_is_valid(const struct file_line *l, int key)
{
	const char *value = l->value[key];

	if (key == KEY_mode)
		return l->kind == FILE_ENTRYPOINT ? is_word(value) : is_mode(value);
	return key_checks[key](value);
}

static bool
parse_word(struct file_line *l, char *word)
{
	size_t n = strcspn(word, "=");
	int key = word[n] ? find_key(word, n) : -1;

	if (key < 0 || l->value[key])
		return false;
	l->value[key] = word + n + 1;
	return value_is_valid(l, key);
}

/* The words of one line behind its kind. */
static bool
parse_words(struct file_line *l, char *rest)
{
	const struct kind *k = &kinds[l->kind];
	uint64_t given = 0;
	char *word;

	while ((word = strsep(&rest, " "))) {
		if (!parse_word(l, word))
			return false;
		if (k->rest) {
			l->rest = rest;
			break;
		}
	}
	for (int i = 0; i < N_FILE_KEYS; i++)
		given |= l->value[i] ? UINT64_C(1) << i : 0;
	return (given & k->required) == k->required && !(given & ~(k->required | k->allowed)) &&
		(!k->rest || (l->rest && k->rest(l->rest)));
}

/* --- lines --- */

static uint64_t
number(const char *s)
{
	uint64_t n = 0;

	if (s)
		number_parse(s, strlen(s), false, &n);
	return n;
}

static int
parse_line(struct file *f, char *line, unsigned line_number)
{
	struct file_line *l = &f->lines[f->n];
	char *rest = line, *name = strsep(&rest, " ");
	int kind = 0;

	while (kind < N_FILE_KINDS && strcmp(kinds[kind].name, name) != 0)
		kind++;
	if (kind == N_FILE_KINDS || !rest)
		return -EBADMSG;
	*l = (struct file_line){.kind = (enum file_kind)kind, .number = line_number};
	if (!parse_words(l, rest))
		return -EBADMSG;
	l->id = number(l->value[KEY_id]);
	l->source = number(l->value[l->value[KEY_parent] ? KEY_parent : KEY_object]);
	if (!!l->value[KEY_parent] + !!l->value[KEY_object] + !!l->value[KEY_from] > 1 ||
		((l->value[KEY_parent] || l->value[KEY_object]) && l->source == 0))
		return -EBADMSG;
	f->n++;
	return 0;
}

/* Does it belong to a slot before it, whose id it has? */
static bool
is_of_slot(const struct file_line *l)
{
	return l->kind == FILE_ONLY || l->kind == FILE_SHARE;
}

static bool
is_identified(const struct file_line *l)
{
	return l->kind == FILE_OBJECT || l->kind == FILE_SLOT || is_of_slot(l);
}

static int
compare(const void *a, const void *b)
{
	const struct file_line *one = a, *other = b;

	if (is_identified(one) != is_identified(other))
		return is_identified(one) ? 1 : -1;
	if (is_identified(one) && one->id != other->id)
		return one->id < other->id ? -1 : 1;
	return one->number < other->number ? -1 : one->number > other->number;
}

struct file_line *
file_find(const struct file *f, uint64_t id)
{
	size_t low = f->first, high = f->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->lines[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->n && f->lines[low].id == id ? &f->lines[low] : NULL;
}

/* Ids are there once, and whatever is derived comes behind what it is derived from. Returns: the wrong line, or NULL. */
static const struct file_line *
check_ids(struct file *f)
{
	qsort(f->lines, f->n, sizeof(*f->lines), compare);
	while (f->first < f->n && !is_identified(&f->lines[f->first]))
		f->first++;
	for (size_t i = f->first; i < f->n; i++) {
		const struct file_line *l = &f->lines[i], *source;

		bool again = i > f->first && l[-1].id == l->id;

		if (l->id == 0 || again != is_of_slot(l) || (again && l[-1].kind == FILE_OBJECT))
			return l;
		if (l->source == 0)
			continue;
		source = l->source < l->id ? file_find(f, l->source) : NULL;
		if (!source || source->kind != (l->value[KEY_parent] ? FILE_SLOT : FILE_OBJECT))
			return l;
	}
	return NULL;
}

/* The line of the label, "of=LABEL made=… version=…". */
static bool
parse_of(struct file *f, char *line)
{
	char *rest = line, *of = strsep(&rest, " ");

	f->of = strncmp(of, "of=", 3) == 0 ? of + 3 : NULL;
	return f->of && is_label(f->of) && rest;
}

static int
parse_lines(struct file *f, char *text, struct text *why)
{
	unsigned line_number = 1;
	const struct file_line *wrong;
	char *line;
	int e = 0;

	while (e == 0 && text && *text) {
		line = strsep(&text, "\n");
		line_number++;
		if (line_number == 2)
			e = parse_of(f, line) ? 0 : -EBADMSG;
		else
			e = f->n < f->size ? parse_line(f, line, line_number) : -EBADMSG;
	}
	if (e == 0 && (f->n == 0 || f->lines[0].kind != FILE_SESSION || strcmp(f->lines[0].value[KEY_path], ".") != 0)) {
		text_add(why, "it does not begin with its session");
		return -EBADMSG;
	}
	if (e == 0 && (wrong = check_ids(f))) {
		line_number = wrong->number;
		e = -EBADMSG;
	}
	if (e < 0)
		text_addf(why, "line %u is not one of a checkpoint", line_number);
	return e;
}

/* --- all of it --- */

static int
check_begin(const struct file *f, size_t n, struct text *why)
{
	if (n < strlen(BEGIN FORM) || memcmp(f->data, BEGIN, strlen(BEGIN)) != 0) {
		text_add(why, "this is no checkpoint");
		return -EBADMSG;
	}
	if (memcmp(f->data + strlen(BEGIN), FORM, strlen(FORM)) == 0)
		return 0;
	text_add(why, "it was made by another version, in a form that this one does not know");
	return -EOPNOTSUPP;
}

/* The last line must be whole, and the only one of its kind. Cuts it off. */
static int
check_sum(const struct file *f, size_t n, struct text *why)
{
	const size_t n_end = strlen(END) + 16 + 1;
	char wanted[24];

	if (n >= 5 && memcmp(f->data + n - 5, "torn\n", 5) == 0) {
		text_add(why, "something was changed all the time while it was made: make it again, or of parts");
		return -EBUSY;
	}
	if (n < n_end || memcmp(f->data + n - n_end, END, strlen(END)) != 0 || f->data[n - 1] != '\n') {
		text_add(why, "it is cut off: its end is missing");
		return -EBADMSG;
	}
	snprintf(wanted, sizeof(wanted), "%016" PRIx64 "\n", sum_bytes(SUM_BEGIN, f->data, n - n_end));
	if (memcmp(f->data + n - 17, wanted, 17) != 0) {
		text_add(why, "it is damaged: its sum is another one");
		return -EBADMSG;
	}
	f->data[n - n_end] = '\0';
	return 0;
}

static int
make_room(struct file *f)
{
	for (const char *p = f->data; (p = strchr(p, '\n')); p++)
		f->size++;
	f->lines = f->size > LINES_MAX ? NULL : reallocarray(NULL, f->size + 1, sizeof(*f->lines));
	return f->lines ? 0 : -ENOMEM;
}

int
file_parse(char *data, size_t n, struct file *ret, struct text *why)
{
	struct file f = {.data = data};
	int e = check_begin(&f, n, why);

	if (e == 0)
		e = check_sum(&f, n, why);
	if (e == 0 && memchr(f.data, '\0', n - strlen(END) - 17)) {
		text_add(why, "it is not text");
		e = -EBADMSG;
	}
	if (e == 0)
		e = make_room(&f);
	if (e == 0)
		e = parse_lines(&f, f.data + strlen(BEGIN FORM), why);
	if (e == 0)
		*ret = f;
	else
		file_deinit(&f);
	return e;
}

void
file_deinit(struct file *f)
{
	free(f->data);
	free(f->lines);
	*f = (struct file){};
}
