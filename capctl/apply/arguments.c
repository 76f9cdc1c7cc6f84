/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/apply/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/index.h"
#include "capctl/command.h"

#define SEED UINT64_C(0x6361706374) /* the same in each process: it is found again */

void
arguments_digest(struct entry *e, const void *data, size_t n)
{
	e->hash = index_hash(SEED ^ e->hash, data, n);
	snprintf(e->digest, sizeof(e->digest), PLAN_TITLE "%016" PRIx64, e->hash);
}

/* --- its part of the text --- */

/* The bytes of the character at P, and whether a line ends behind it, as YAML counts lines. */
static size_t
character(const unsigned char *p, size_t n, bool *ret_break)
{
	size_t n_bytes = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n_bytes > n)
		n_bytes = n;
	*ret_break =
		p[0] == '\n' || p[0] == '\r' || (n_bytes == 2 && memcmp(p, "\xc2\x85", 2) == 0) ||
		(n_bytes == 3 &&
			(memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0));
	return p[0] == '\r' && n > 1 && p[1] == '\n' ? 2 : n_bytes;
}

static size_t
offset_of(const struct text *t, size_t line, size_t column)
{
	size_t at = 0, here = 1, there = 1;

	while (at < t->n && (here < line || (here == line && there < column))) {
		bool is_break;

		at += character((unsigned char *)t->data + at, t->n - at, &is_break);
		there = is_break ? 1 : there + 1;
		here += is_break;
	}
	return at;
}

/* Where it stands in the file it stands in its own text, too, so that all places are those of the
 * file. */
static int
cut(const struct plan *p, struct entry *e, const char *path)
{
	const struct text *t = &p->tree.text;
	struct text *own = &e->tree.text;
	struct capc_place place;
	size_t begin, end;
	int r = capc_args_place(p->args, path, &place);

	if (r < 0)
		return r;
	begin = offset_of(t, place.line, place.column);
	end = offset_of(t, place.end_line, place.end_column);
	for (size_t line = 1; line < place.line; line++)
		text_add(own, "\n");
	for (size_t column = 1; column < place.column; column++)
		text_add(own, " ");
	text_add_n(own, t->data + begin, end - begin);
	text_add(own, "\n");
	arguments_digest(e, t->data + begin, end - begin);
	return text_done(own);
}

/* --- what it names --- */

static int
refuse(char **ret_reason, const char *reason)
{
	*ret_reason = strdup(reason);
	return -EINVAL;
}

static int
check_leaf(const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data)
{
	struct entry *e = data;

	*ret = (struct capc_value){.type = CAPC_NULL};
	if (strcmp(tag, "cap") != 0)
		return 0;
	for (size_t i = 0; i < e->n_uses; i++)
		if (strcmp(e->uses[i].name, text) == 0) {
			e->has_connections = true;
			return 0;
		}
	return refuse(ret_reason,
		strpbrk(text, " \t") ? "limits stand at 'cap'" : "'cap' gives it no such slot");
}

int
arguments_read(struct plan *p, struct entry *e)
{
	cleanup_free char *reason = NULL;
	cleanup_text struct text path = {};
	capc_args *args;
	int r;

	text_addf(&path, "%s.args", e->path);
	r = text_done(&path);
	if (r == 0)
		r = cut(p, e, path.data);
	if (r == 0)
		r = capc_args_parse_yaml(e->tree.text.data, e->tree.text.n, p->tree.name,
			CAPC_ARGS_DRY, check_leaf, e, &args, &reason);
	if (r < 0)
		return complain(r, reason, "%s", e->session.data);
	capc_args_free(args);
	e->tree.name = p->tree.name;
	e->tree.root = "";
	return 0;
}
