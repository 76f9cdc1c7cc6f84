/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A text into a tree, event by event: what is refused is refused where it stands, before what is
 * behind it was read. There are no aliases, with which a short text would be a long one.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "args/leaf.h"
#include "args/scalar.h"
#include "args/tree.h"
#include "base/error.h"
#include "base/fd.h"

#define YAML_TAG "tag:yaml.org,2002:"

struct reader {
	yaml_parser_t yaml;
	const char *text, *name;
	size_t n;
	struct capc_args *args;
	bool dry;
	capc_args_resolver *resolve;
	void *data;
	struct text reason;
	yaml_mark_t end; /* of what was read */
};

/* --- reasons --- */

/* Words of the text stand in reasons, which are one line, and come on terminals. */
static void
hide_controls(char *s, size_t n)
{
	unsigned char *p = (unsigned char *)s;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			p[i] = '?';
		else if (p[i] == 0xc2 && i + 1 < n && p[i + 1] < 0xa0)
			p[i] = p[i + 1] = '?';
	}
}

/* Lines and columns as people count them. A column is a character. */
static int
refuse(struct reader *r, const yaml_mark_t *mark, int error, const char *format, ...)
{
	va_list args;

	text_reset(&r->reason);
	text_addf(&r->reason, "%s:%zu:%zu: ", r->name, mark->line + 1, mark->column + 1);
	va_start(args, format);
	text_vaddf(&r->reason, format, args);
	va_end(args);
	if (text_done(&r->reason) == 0)
		hide_controls(r->reason.data, r->reason.n);
	return error;
}

/* The place of a byte. */
static yaml_mark_t
mark_of(const struct reader *r, size_t offset)
{
	yaml_mark_t mark = {};

	for (size_t i = 0; i < offset && i < r->n; i++) {
		if (r->text[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else {
			mark.column += ((unsigned char)r->text[i] & 0xc0) != 0x80;
		}
	}
	return mark;
}

static int
refuse_yaml(struct reader *r)
{
	yaml_mark_t mark = r->yaml.problem_mark;

	if (r->yaml.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (r->yaml.error != YAML_READER_ERROR)
		return refuse(r, &mark, -EINVAL, "%s%s%s", r->yaml.problem,
			r->yaml.context ? " " : "", r->yaml.context ? r->yaml.context : "");
	mark = mark_of(r, r->yaml.problem_offset);
	if (strstr(r->yaml.problem, "UTF-8") || strstr(r->yaml.problem, "Unicode"))
		return refuse(r, &mark, -EILSEQ, "this is no UTF-8");
	return refuse(r, &mark, -EINVAL, "%s", r->yaml.problem);
}

/* Why a value could not be added or set. */
static int
refuse_value(struct reader *r, const yaml_mark_t *mark, int error)
{
	if (error == -E2BIG)
		return refuse(r, mark, error, "a tree has %s", r->args->bound);
	return error == -ENOMEM ? error : refuse(r, mark, error, "%s", error_name(error));
}

static int
next_event(struct reader *r, yaml_event_t *ret)
{
	if (!yaml_parser_parse(&r->yaml, ret))
		return refuse_yaml(r);
	/* What has no characters of its own, as the end of a block, stands where something else begins. */
	if (ret->end_mark.index > ret->start_mark.index)
		r->end = ret->end_mark;
	return 0;
}

static void
event_deinit(yaml_event_t *e)
{
	yaml_event_delete(e);
}

#define cleanup_event cleanup(event_deinit)

static int
check_anchor(struct reader *r, const yaml_event_t *e)
{
	bool has_anchor = (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
			  (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
			  (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor);

	if (e->type == YAML_ALIAS_EVENT || has_anchor)
		return refuse(r, &e->start_mark, -EINVAL, "anchors and aliases are not taken");
	return 0;
}

/* --- scalars --- */

static const char *
tag_text(const yaml_char_t *tag)
{
	return (const char *)tag;
}

/* The name of a tag of YAML's own, "str", or NULL. */
static const char *
core_tag(const char *tag)
{
	size_t n = strlen(YAML_TAG);

	return strncmp(tag, YAML_TAG, n) == 0 ? tag + n : NULL;
}

static int
refuse_tag(struct reader *r, const yaml_event_t *e, const char *tag, const char *what)
{
	const char *name = core_tag(tag);

	return refuse(r, &e->start_mark, -EINVAL, "the tag %s%s is not for %s", name ? "!!" : "",
		name ? name : tag, what);
}

static int
read_scalar(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	const char *s = (const char *)e->data.scalar.value, *tag = tag_text(e->data.scalar.tag);
	bool is_plain =
		e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	cleanup_scalar struct scalar scalar = {};
	size_t n = e->data.scalar.length;
	int error;

	if (!tag && is_plain)
		error = scalar_plain(s, n, &scalar);
	else if (!tag || strcmp(tag, "!") == 0)
		error = scalar_tagged("str", s, n, &scalar);
	else if (core_tag(tag))
		error = scalar_tagged(core_tag(tag), s, n, &scalar);
	else
		error = -ENOENT;
	if (error == -ENOENT)
		return refuse_tag(r, e, tag, "a scalar");
	if (error == -ERANGE)
		return refuse(r, &e->start_mark, error, "this number is too large");
	if (error == -EINVAL)
		return refuse(r, &e->start_mark, error, "this is no !!%s", core_tag(tag));
	if (error == 0)
		error = args_put(node, &scalar.value, true);
	return error < 0 ? refuse_value(r, &e->start_mark, error) : 0;
}

/* --- leaves --- */

/*
 * Gives the tree a descriptor, which it takes in any case. Where this process has none of 0 to 2, what it
 * opens takes their place: the program would find that as its standard input.
 */
static int
put_fd(struct reader *r, const yaml_mark_t *mark, struct args_node *node, int fd, int source)
{
	int error;

	if (fd >= 0 && fd <= STDERR_FILENO) {
		fd = args_fd_up(fd);
		if (fd < 0)
			return refuse_value(r, mark, fd);
	}
	error = args_put_fd(r->args, node, fd, source);
	if (error == 0)
		return 0;
	fd_close(fd);
	return refuse_value(r, mark, error);
}

/* What the tree itself has open is not the caller's, and cannot be meant. */
static int
read_fd(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	const char *s = (const char *)e->data.scalar.value;
	cleanup_text struct text reason = {};
	struct args_fd *known;
	int fd = leaf_fd_number(s), copy, error = 0;

	if (!r->dry)
		error = leaf_find_fd(s, &reason, &fd);
	if (error == 0 && args_find_fd(r->args, fd))
		error = leaf_refuse(&reason, -EBADF, "the descriptor %s is not open", s);
	if (error == 0 && !r->dry)
		error = leaf_check_type(fd, &reason, s);
	if (error < 0)
		return refuse(r, &e->start_mark, error, "%s", reason.data);
	known = args_find_source(r->args, fd);
	if (known) {
		args_share_fd(node, known);
		return 0;
	}
	if (r->dry)
		return put_fd(r, &e->start_mark, node, -1, fd);
	copy = fd_dup(fd);
	return copy < 0 ? refuse(r, &e->start_mark, copy, "the descriptor %s: %s", s,
				  error_name(copy))
			: put_fd(r, &e->start_mark, node, copy, fd);
}

/* What the resolver gave. */
static int
put_resolved(
	struct reader *r, const yaml_event_t *e, struct args_node *node, const struct capc_value *v)
{
	int error;

	if (v->type == CAPC_FD)
		return v->fd < 0 ? refuse_value(r, &e->start_mark, -EBADF)
				 : put_fd(r, &e->start_mark, node, v->fd, -1);
	error = args_set_scalar(node, v);
	return error < 0 ? refuse_value(r, &e->start_mark, error) : 0;
}

static int
read_resolved(struct reader *r, const yaml_event_t *e, const char *tag, struct args_node *node)
{
	const char *s = (const char *)e->data.scalar.value;
	cleanup_free char *reason = NULL;
	struct capc_value v = {};
	int error;

	if (!r->resolve && r->dry)
		return put_fd(r, &e->start_mark, node, -1, -1);
	if (!r->resolve)
		return refuse(r, &e->start_mark, -EOPNOTSUPP,
			"there is nothing here that resolves !%s", tag);
	error = r->resolve(tag, s, &v, &reason, r->data);
	if (error < 0)
		return refuse(r, &e->start_mark, error, "!%s%s%s: %s", tag, *s ? " " : "", s,
			reason ? reason : error_name(error));
	return put_resolved(r, e, node, &v);
}

static int
open_leaf(struct reader *r, const yaml_mark_t *mark, const struct leaf *l, struct args_node *node)
{
	leaf_opener *opener = strcmp(l->tag, "file") == 0 ? leaf_open_file : leaf_open_socket;
	cleanup_free char *made = NULL;
	int fd, error = opener(l, &fd, &made);

	if (error < 0)
		return error == -ENOMEM ? error : refuse(r, mark, error, "%s", l->reason->data);
	error = put_fd(r, mark, node, fd, -1);
	if (error == 0)
		node->fd->made = take_ptr(made);
	else if (made)
		unlink(made);
	return error;
}

/* "!file PATH". */
static int
read_file(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	cleanup_text struct text reason = {};
	cleanup_leaf struct leaf l = {.tag = "file", .dry = r->dry, .reason = &reason};
	int error = leaf_add(&l, "path", (const char *)e->data.scalar.value);

	return error < 0 ? error : open_leaf(r, &e->start_mark, &l, node);
}

/* A scalar with a tag of ours, or any other. */
static int
read_leaf(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	const char *tag = tag_text(e->data.scalar.tag);
	bool has_nul = strlen((const char *)e->data.scalar.value) != e->data.scalar.length;

	if (!tag || (strcmp(tag, "!fd") != 0 && strcmp(tag, "!file") != 0 &&
			    strcmp(tag, "!cap") != 0 && strcmp(tag, "!session") != 0))
		return read_scalar(r, e, node);
	if (has_nul)
		return refuse(r, &e->start_mark, -EINVAL, "there is a NUL in this %s", tag);
	if (strcmp(tag, "!fd") == 0)
		return read_fd(r, e, node);
	if (strcmp(tag, "!file") == 0)
		return read_file(r, e, node);
	return read_resolved(r, e, tag + 1, node);
}

static int
read_option(struct reader *r, struct leaf *l, const yaml_event_t *key)
{
	cleanup_event yaml_event_t value = {};
	int error = next_event(r, &value);

	if (error == 0)
		error = check_anchor(r, &value);
	if (error < 0)
		return error;
	if (key->type != YAML_SCALAR_EVENT || value.type != YAML_SCALAR_EVENT ||
		key->data.scalar.tag || value.data.scalar.tag)
		return refuse(r, &key->start_mark, -EINVAL, "the options of !%s are words", l->tag);
	if (strlen((char *)value.data.scalar.value) != value.data.scalar.length)
		return refuse(r, &value.start_mark, -EINVAL, "there is a NUL in this !%s", l->tag);
	error = leaf_add(l, (char *)key->data.scalar.value, (char *)value.data.scalar.value);
	return error == 0 || error == -ENOMEM
		       ? error
		       : refuse(r, &key->start_mark, error, "%s", l->reason->data);
}

/* "!file {path: …}" */
static int
read_options(struct reader *r, const yaml_event_t *e, const char *tag, struct args_node *node)
{
	cleanup_text struct text reason = {};
	cleanup_leaf struct leaf l = {.tag = tag, .dry = r->dry, .reason = &reason};

	for (;;) {
		cleanup_event yaml_event_t key = {};
		int error = next_event(r, &key);

		if (error == 0)
			error = check_anchor(r, &key);
		if (error < 0)
			return error;
		if (key.type == YAML_MAPPING_END_EVENT)
			return open_leaf(r, &e->start_mark, &l, node);
		error = read_option(r, &l, &key);
		if (error < 0)
			return error;
	}
}

/* --- sequences and maps --- */

static int read_value(struct reader *r, const yaml_event_t *e, struct args_node *node);

static int
add_node(struct reader *r, const yaml_event_t *e, struct args_node *parent, const yaml_event_t *key,
	struct args_node **ret)
{
	const yaml_event_t *at = key ? key : e;
	const char *name = key ? (char *)key->data.scalar.value : NULL;
	int error = args_add(r->args, parent, name, key ? key->data.scalar.length : 0, true, ret);

	if (error == -EEXIST)
		return refuse(r, &at->start_mark, error, "the key '%s' comes twice", name);
	if (error == -EILSEQ)
		return refuse(r, &at->start_mark, error,
			"a key has 1 to 255 bytes without control characters");
	return error < 0 ? refuse_value(r, &at->start_mark, error) : 0;
}

/* Keys are words as they stand, so that `no: 1` and `1: no` have one that is found under this name.
 */
static int
check_key(struct reader *r, const yaml_event_t *key)
{
	const char *tag = key->type == YAML_SCALAR_EVENT ? tag_text(key->data.scalar.tag) : NULL;
	int error = check_anchor(r, key);

	if (error < 0)
		return error;
	if (key->type != YAML_SCALAR_EVENT ||
		(tag && strcmp(tag, "!") != 0 && strcmp(tag, YAML_TAG "str") != 0))
		return refuse(r, &key->start_mark, -EINVAL, "a key is a word");
	return 0;
}

static int
read_item(
	struct reader *r, const yaml_event_t *e, struct args_node *parent, const yaml_event_t *key)
{
	struct args_node *node;
	int error = add_node(r, e, parent, key, &node);

	return error < 0 ? error : read_value(r, e, node);
}

static int
read_sequence(struct reader *r, struct args_node *node)
{
	for (;;) {
		cleanup_event yaml_event_t e = {};
		int error = next_event(r, &e);

		if (error < 0 || e.type == YAML_SEQUENCE_END_EVENT)
			return error;
		error = read_item(r, &e, node, NULL);
		if (error < 0)
			return error;
	}
}

static int
read_map(struct reader *r, struct args_node *node)
{
	for (;;) {
		cleanup_event yaml_event_t key = {}, e = {};
		int error = next_event(r, &key);

		if (error < 0 || key.type == YAML_MAPPING_END_EVENT)
			return error;
		error = check_key(r, &key);
		if (error == 0)
			error = next_event(r, &e);
		if (error == 0)
			error = read_item(r, &e, node, &key);
		if (error < 0)
			return error;
	}
}

static int
read_collection(struct reader *r, const yaml_event_t *e, enum capc_type type, const char *tag,
	const char *own_tag, struct args_node *node)
{
	const char *what = type == CAPC_MAP ? "a map" : "a sequence";

	if (tag && strcmp(tag, "!") != 0 && strcmp(tag, own_tag) != 0)
		return refuse_tag(r, e, tag, what);
	node->value = (struct capc_value){.type = type};
	return type == CAPC_MAP ? read_map(r, node) : read_sequence(r, node);
}

/* At most as many are under way as a tree has levels: add_node() sees to it. */
static int
read_node(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	const char *tag;
	int error = check_anchor(r, e);

	if (error < 0)
		return error;
	if (e->type == YAML_SCALAR_EVENT)
		return read_leaf(r, e, node);
	if (e->type == YAML_SEQUENCE_START_EVENT)
		return read_collection(r, e, CAPC_SEQUENCE, tag_text(e->data.sequence_start.tag),
			YAML_TAG "seq", node);
	tag = tag_text(e->data.mapping_start.tag);
	if (tag && (strcmp(tag, "!file") == 0 || strcmp(tag, "!socket") == 0))
		return read_options(r, e, tag + 1, node);
	return read_collection(r, e, CAPC_MAP, tag, YAML_TAG "map", node);
}

static int
read_value(struct reader *r, const yaml_event_t *e, struct args_node *node)
{
	int error = read_node(r, e, node);

	if (error == 0)
		node->place = (struct capc_place){
			.line = e->start_mark.line + 1,
			.column = e->start_mark.column + 1,
			.end_line = r->end.line + 1,
			.end_column = r->end.column + 1,
		};
	return error;
}

/* --- the text --- */

/* Reads the next event, which is of that type, or the text is not as we take it. */
static int
expect(struct reader *r, yaml_event_type_t type, const char *why_not)
{
	cleanup_event yaml_event_t e = {};
	int error = next_event(r, &e);

	if (error == 0 && e.type != type)
		return refuse(r, &e.start_mark, -EINVAL, "%s", why_not);
	return error;
}

static int
read_text(struct reader *r)
{
	cleanup_event yaml_event_t e = {};
	int error = expect(r, YAML_STREAM_START_EVENT, "");

	if (error == 0)
		error = expect(r, YAML_DOCUMENT_START_EVENT, "there is nothing in it");
	if (error == 0)
		error = next_event(r, &e);
	if (error == 0)
		error = read_value(r, &e, r->args->root);
	if (error == 0)
		error = expect(r, YAML_DOCUMENT_END_EVENT, "");
	if (error == 0)
		error = expect(r, YAML_STREAM_END_EVENT, "a second document begins here");
	return error;
}

static int
parse(struct reader *r)
{
	yaml_mark_t begin = {};
	int error;

	r->args = args_make(ARGS_MADE);
	if (!r->args || !yaml_parser_initialize(&r->yaml))
		return -ENOMEM;
	/* No other encoding is looked for. */
	yaml_parser_set_encoding(&r->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->yaml, (const unsigned char *)r->text, r->n);
	error = r->n > CAPC_ARGS_BYTES_MAX
			? refuse(r, &begin, -E2BIG, "a text has at most 1048576 bytes")
			: read_text(r);
	yaml_parser_delete(&r->yaml);
	return error;
}

int
capc_args_parse_yaml(const char *text, size_t n, const char *name, unsigned flags,
	capc_args_resolver *resolve, void *data, capc_args **ret, char **ret_reason)
{
	struct reader r = {.text = text ? text : "",
		.n = n,
		.name = name,
		.dry = flags & CAPC_ARGS_DRY,
		.resolve = resolve,
		.data = data};
	int error = flags & ~(unsigned)CAPC_ARGS_DRY ? -EINVAL : parse(&r);
	cleanup_args struct capc_args *a = take_ptr(r.args);

	if (ret_reason)
		*ret_reason = error < 0 && r.reason.n > 0 && text_done(&r.reason) == 0
				      ? text_take(&r.reason)
				      : NULL;
	text_deinit(&r.reason);
	if (error < 0)
		return error;
	*ret = take_ptr(a);
	return 0;
}
