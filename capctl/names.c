/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/names.h"

#include <errno.h>
#include <string.h>

#define NAME_BYTES_MAX 64

bool
name_is_valid(const char *name, size_t n)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (n == 0 || n > NAME_BYTES_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!memchr(letters, name[i], sizeof(letters) - 1))
			return false;
	return true;
}

static void
append_name(struct text *t, const char *name, size_t n)
{
	if (t->n > 0)
		text_add(t, "/");
	text_add_n(t, name, n);
}

void
node_append(struct text *t, const char *name)
{
	append_name(t, name, strlen(name));
}

/* The N bytes at SESSION, names separated by '/'. */
static int
append_sessions(const char *session, size_t n, struct text *t)
{
	const char *end = session + n;

	while (session < end) {
		const char *slash = memchr(session, '/', (size_t)(end - session));
		size_t n_name = slash ? (size_t)(slash - session) : (size_t)(end - session);

		if (!name_is_valid(session, n_name) || (slash && slash + 1 == end))
			return -EINVAL;
		append_name(t, "sessions", 8);
		append_name(t, session, n_name);
		session += n_name + (slash != NULL);
	}
	return 0;
}

/* Appends the names of a path, without empty ones; ".." leads nowhere here and is refused. */
static int
append_path(const char *path, struct text *t)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n > 0 && !name_is_valid(path, n))
			return -EINVAL;
		if (n > 0)
			append_name(t, path, n);
		path += n + (path[n] == '/');
	}
	return 0;
}

int
session_node(const char *session, struct text *t)
{
	if (strncmp(session, "sessions/", 9) == 0)
		return append_path(session, t);
	return append_sessions(session, strlen(session), t);
}

void
session_name(const char *node, struct text *t)
{
	bool is_name = false;

	for (; *node; is_name = !is_name) {
		size_t n = strcspn(node, "/");

		if (is_name)
			append_name(t, node, n);
		node += n + (node[n] == '/');
	}
	if (!t->data)
		text_add(t, "");
}

/* What follows PREFIX in PATH, both paths; NULL when PATH is not below it. */
static const char *
path_below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	while (n > 0 && prefix[n - 1] == '/')
		n--;
	if (strncmp(path, prefix, n) != 0 || (path[n] && path[n] != '/'))
		return NULL;
	return path + n + (path[n] == '/');
}

/* Is the name of N bytes that of a directory in which a session's entities are listed? */
static bool
is_folder(const char *name, size_t n)
{
	return (n == 4 && memcmp(name, "caps", 4) == 0) ||
	       (n == 11 && memcmp(name, "entrypoints", 11) == 0) ||
	       (n == 7 && memcmp(name, "threads", 7) == 0);
}

/*
 * What the daemon writes behind the label of its session: "app/db/caps/kv", "caps/kv", "app/db".
 * Sessions may be called "caps" too, so it is the place that tells: the last but one.
 */
static int
append_labelled(const char *rest, struct text *t)
{
	const char *name = strrchr(rest, '/'), *folder = name;
	int e;

	if (!name)
		return append_sessions(rest, strlen(rest), t);
	while (folder > rest && folder[-1] != '/')
		folder--;
	if (!is_folder(folder, (size_t)(name - folder)))
		return append_sessions(rest, strlen(rest), t);
	e = append_sessions(rest, folder > rest ? (size_t)(folder - rest - 1) : 0, t);
	return e < 0 ? e : append_path(folder, t);
}

static int
append_from_session(const struct place *place, const char *path, struct text *t)
{
	int e = place->session ? session_node(place->session, t) : 0;

	return e < 0 ? e : append_path(path, t);
}

int
word_node(const struct place *place, const char *folder, const char *word, struct text *t)
{
	const char *rest, *colon = strchr(word, ':');
	int e;

	if (word[0] == '/') {
		rest = path_below(word, place->root);
		return rest ? append_path(rest, t) : -EINVAL;
	}
	if (colon) {
		e = session_node(place->session ? place->session : "", t);
		if (e == 0)
			e = append_sessions(word, (size_t)(colon - word), t);
		if (e < 0 || !name_is_valid(colon + 1, strlen(colon + 1)))
			return -EINVAL;
		node_append(t, "caps");
		node_append(t, colon + 1);
		return 0;
	}
	rest = place->label && strchr(word, '/') ? path_below(word, place->label) : NULL;
	if (rest)
		return append_labelled(rest, t);
	if (strchr(word, '/'))
		return append_from_session(place, word, t);
	if (!name_is_valid(word, strlen(word)))
		return -EINVAL;
	e = append_from_session(place, folder, t);
	if (e == 0)
		node_append(t, word);
	return e;
}

int
label_node(const struct place *place, const char *label, struct text *t)
{
	const char *rest = path_below(label, place->label);

	return rest ? append_labelled(rest, t) : -ENOENT;
}

void
session_label(const struct place *place, const char *node, struct text *t)
{
	text_add(t, place->label);
	session_name(node, t);
}

const char *
node_name(const char *node)
{
	const char *slash = strrchr(node, '/');

	return slash ? slash + 1 : node;
}

enum node_kind
node_kind(const char *node)
{
	const char *rest = path_below(node, "sessions");
	size_t n;

	if (!*node)
		return NODE_SESSION;
	if (rest && *rest) {
		rest += strcspn(rest, "/");
		return node_kind(*rest ? rest + 1 : rest);
	}
	n = strcspn(node, "/");
	if (!node[n] || strchr(node + n + 1, '/'))
		return NODE_OTHER;
	if (n == 4 && memcmp(node, "caps", 4) == 0)
		return NODE_SLOT;
	if (n == 11 && memcmp(node, "entrypoints", 11) == 0)
		return NODE_ENTRYPOINT;
	if (n == 7 && memcmp(node, "threads", 7) == 0)
		return NODE_THREAD;
	return NODE_OTHER;
}

/* Does the line of N bytes begin with the bare word? */
static bool
line_begins(const char *p, size_t n, const char *word)
{
	size_t n_word = strlen(word);

	return n > n_word && memcmp(p, word, n_word) == 0 && p[n_word] == ' ';
}

static bool
field_in_line(const char *p, size_t n, const char *key, struct text *ret)
{
	const char *end = p + n;
	size_t n_key = strlen(key);

	while (p < end) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));
		size_t n_word = blank ? (size_t)(blank - p) : (size_t)(end - p);

		if (n_word > n_key && memcmp(p, key, n_key) == 0 && p[n_key] == '=') {
			text_add_n(ret, p + n_key + 1, n_word - n_key - 1);
			return true;
		}
		p += n_word + 1;
	}
	return false;
}

bool
field_find(const char *text, const char *line, const char *key, struct text *ret)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if ((!line || line_begins(text, n, line)) && field_in_line(text, n, key, ret))
			return true;
		text += n + (text[n] == '\n');
	}
	return false;
}

int
word_append(struct text *t, const char *key, const char *word)
{
	static const char only[] = "only=";

	/* The one value that may be more than a word; a key is never that of a caveat. */
	if (!key && strncmp(word, only, strlen(only)) == 0) {
		text_addf(t, "%s%s", t->n > 0 ? " " : "", only);
		text_add_quoted(t, word + strlen(only), strlen(word) - strlen(only));
		return 0;
	}
	if (!*word || word[strcspn(word, " \t\r\n")])
		return -EINVAL;
	text_addf(t, "%s%s%s%s", t->n > 0 ? " " : "", key ? key : "", key ? "=" : "", word);
	return 0;
}
