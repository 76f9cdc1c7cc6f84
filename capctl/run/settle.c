/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/settle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "capctl/command.h"

#define BLANKS " \t\n"
#define SETTINGS_MAX 32

/* --- KEY=VALUE words --- */

struct setting {
	const char *key; /* N_KEY bytes of the first word that has it */
	size_t n_key;
	struct text value;
};

struct settings {
	struct setting all[SETTINGS_MAX];
	size_t n;
};

static void
settings_deinit(struct settings *s)
{
	for (size_t i = 0; i < s->n; i++)
		text_deinit(&s->all[i].value);
}

static bool
is_key(const struct setting *s, const char *key)
{
	return strlen(key) == s->n_key && memcmp(s->key, key, s->n_key) == 0;
}

static struct setting *
reach(struct settings *s, const char *key, size_t n)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].n_key == n && memcmp(s->all[i].key, key, n) == 0)
			return &s->all[i];
	if (s->n == SETTINGS_MAX)
		return NULL;
	s->all[s->n] = (struct setting){.key = key, .n_key = n};
	return &s->all[s->n++];
}

/* Of paths those with a '?' are left out where they are not. */
static int
add_items(struct text *list, const char *items, size_t n)
{
	const char *end = items + n;

	while (items < end) {
		const char *comma = memchr(items, ',', (size_t)(end - items)), *stop = comma ? comma : end;
		bool optional = *items == '?';
		cleanup_free char *item = strndup(items + optional, (size_t)(stop - items) - optional);
		struct stat st;

		if (!item)
			return -ENOMEM;
		if (!optional || stat(item, &st) == 0)
			text_addf(list, "%s%s", list->n > 0 ? "," : "", item);
		items = stop + 1;
	}
	return 0;
}

static int
settle_word(struct settings *s, const char *option, const char *word, size_t n)
{
	const char *equals = memchr(word, '=', n), *value;
	struct setting *one;
	size_t n_value;

	if (!equals || equals == word || equals + 1 == word + n)
		return complain_usage("--%s takes words KEY=VALUE, not '%.*s'", option, (int)n, word);
	one = reach(s, word, (size_t)(equals - word));
	if (!one)
		return complain_usage("--%s: there are more than %d keys", option, SETTINGS_MAX);
	value = equals + 1;
	n_value = n - (size_t)(value - word);
	if (is_key(one, "ro") || is_key(one, "rw") || is_key(one, "rlimits"))
		return add_items(&one->value, value, n_value);
	text_reset(&one->value);
	text_add_n(&one->value, value, n_value);
	return 0;
}

static int
settle_words(struct settings *s, const char *option, const char *words)
{
	int status = 0;

	for (words += strspn(words, BLANKS); *words && status == 0; words += strspn(words, BLANKS)) {
		size_t n = strcspn(words, BLANKS);

		status = settle_word(s, option, words, n);
		words += n;
	}
	return status;
}

static int
settled(const struct settings *s, struct text *ret)
{
	bool failed = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct setting *one = &s->all[i];

		failed |= text_done(&one->value) < 0;
		if (one->value.n > 0)
			text_addf(ret, "%s%.*s=%s", ret->n > 0 ? " " : "", (int)one->n_key, one->key,
				one->value.data);
	}
	if (!ret->data)
		text_add(ret, "");
	return failed || text_done(ret) < 0 ? complain(ENOMEM, NULL, "run") : 0;
}

/* So that nothing is begun for it: the daemon would refuse it when half is done. */
static int
check_quota(const struct setting *one)
{
	static const char *const kinds[] = {"caps", "sockets", "threads", "ram", "inflight"};
	const char *value = one->value.data;
	size_t n = strspn(value, "0123456789");

	if (n == 0 || strspn(value + n, "KMG") != strlen(value + n) || strlen(value + n) > 1)
		return complain_usage("--quota: %.*s=%s is no number", (int)one->n_key, one->key, value);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i]) == one->n_key && memcmp(kinds[i], one->key, one->n_key) == 0)
			return 0;
	return complain_usage("--quota: there is no kind '%.*s'", (int)one->n_key, one->key);
}

int
run_quota(const struct run_words *w, struct text *ret)
{
	cleanup(settings_deinit) struct settings s = {};
	int status = 0;

	for (size_t i = 0; i < w->n_quota && status == 0; i++)
		status = settle_words(&s, "quota", w->quota[i]);
	for (size_t i = 0; i < s.n && status == 0; i++)
		if (text_done(&s.all[i].value) == 0 && s.all[i].value.n > 0)
			status = check_quota(&s.all[i]);
	return status ? status : settled(&s, ret);
}

/* A directory that the program may write to, and begins in unless it is said otherwise. */
static int
workspace(const char *directory, struct text *ret)
{
	char path[PATH_MAX];
	struct stat st;

	if (!realpath(directory, path) || stat(path, &st) < 0)
		return complain(errno, NULL, "--workspace=%s", directory);
	if (!S_ISDIR(st.st_mode))
		return complain(ENOTDIR, NULL, "--workspace=%s", directory);
	if (strpbrk(path, "," BLANKS) || strcmp(path, "/") == 0)
		return complain_usage("'%s' cannot be a workspace: it is /, or has a blank or a comma", path);
	text_addf(ret, "rw=%s cwd=%s", path, path);
	return text_done(ret) < 0 ? complain(ENOMEM, NULL, "run") : 0;
}

int
run_confinement(const struct run_words *w, struct text *ret)
{
	cleanup(settings_deinit) struct settings s = {};
	cleanup_text struct text words = {}, groups = {};
	int status = w->workspace ? workspace(w->workspace, &words) : 0;

	if (status == 0 && w->workspace)
		status = settle_words(&s, "workspace", words.data);
	for (size_t i = 0; i < w->n_confine && status == 0; i++)
		status = settle_words(&s, "confine", w->confine[i]);
	/* Who names them for the program means the session that is made for it. */
	for (size_t i = 0; i < w->n_groups; i++)
		text_addf(&groups, "%s%u", i == 0 ? "groups=" : ",", (unsigned)w->groups[i]);
	if (status == 0 && text_done(&groups) < 0)
		return complain(ENOMEM, NULL, "run");
	if (status == 0 && groups.n > 0)
		status = settle_words(&s, "groups", groups.data);
	return status ? status : settled(&s, ret);
}

/* --- limits --- */

/* The end of what stands in quotes from TEXT on; NULL: there is none. */
static const char *
quotes_end(const char *text)
{
	for (text++; *text && *text != '"'; text++)
		if (*text == '\\' && text[1])
			text++;
	return *text ? text + 1 : NULL;
}

/* The caveat at *TEXT, behind which that stands then. */
static int
add_only(const char **text, const char *ends, struct text *ret)
{
	const char *value = *text, *end = *value == '"' ? quotes_end(value) : value + strcspn(value, ends);

	if (!end || end == value)
		return -EINVAL;
	text_add(ret, " only=");
	if (*value == '"')
		text_add_n(ret, value, (size_t)(end - value));
	else
		text_add_quoted(ret, value, (size_t)(end - value));
	*text = end;
	return 0;
}

int
run_limits(const char *text, const char *ends, struct text *ret)
{
	static const char only[] = "only=";
	bool is_list = false;
	int r = 0;

	for (text += strspn(text, "," BLANKS); *text && r == 0; text += strspn(text, "," BLANKS)) {
		size_t n = strcspn(text, "," BLANKS);
		bool is_immutable = n == strlen("immutable") && memcmp(text, "immutable", n) == 0;
		bool is_word = memchr(text, '=', n) || is_immutable;

		if (strncmp(text, only, strlen(only)) == 0) {
			text += strlen(only);
			r = add_only(&text, ends, ret);
			is_list = false;
			continue;
		}
		if (!is_word && !is_list)
			return -EINVAL;
		/* What is no word of its own goes on with the list before it. */
		text_add(ret, is_word ? " " : ",");
		text_add_n(ret, text, n);
		if (is_word)
			is_list = !is_immutable;
		text += n;
	}
	return r == 0 ? text_done(ret) : r;
}
