/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/tree/tree.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/tree/info.h"
#include "capfsd/tree/metrics.h"
#include "capfsd/verbs/verbs.h"

/* A row's number is its index: bits 48-55 of node numbers, so rows are only ever appended. */
enum session_row {
	ROW_SESSION_SELF,
	ROW_SESSION_CAPS,
	ROW_SESSION_ENTRYPOINTS,
	ROW_SESSION_THREADS,
	ROW_SESSION_SESSIONS,
	ROW_SESSION_README,
	ROW_SESSION_VERSION,
	ROW_SESSION_METRICS,
	ROW_SESSION_LABEL,
	ROW_SESSION_STATE,
	ROW_SESSION_QUOTA,
	ROW_SESSION_TRANSFER_QUOTA,
	ROW_SESSION_EVENTS,
	ROW_SESSION_CONTROL,
	N_SESSION_ROWS,
};

/* The own directory of every other kind is row 0, and its files stand in it. */
#define ROW(n) .number = (n)

static const struct row session_rows[] = {
	{NULL, ROW_DIRECTORY, ROW(ROW_SESSION_SELF)},
	{"caps", ROW_DIRECTORY, ROW(ROW_SESSION_CAPS), .children = ENTITY_CAPABILITY},
	{"entrypoints", ROW_DIRECTORY, ROW(ROW_SESSION_ENTRYPOINTS), .children = ENTITY_ENTRYPOINT},
	{"threads", ROW_DIRECTORY, ROW(ROW_SESSION_THREADS), .children = ENTITY_THREAD},
	{"sessions", ROW_DIRECTORY, ROW(ROW_SESSION_SESSIONS), .children = ENTITY_SESSION},
	{"README", ROW_INFO, ROW(ROW_SESSION_README), .root_only = true, .mode = 0444,
		.read = info_readme},
	{"version", ROW_INFO, ROW(ROW_SESSION_VERSION), .root_only = true, .mode = 0444,
		.read = info_version},
	{"metrics", ROW_INFO, ROW(ROW_SESSION_METRICS), .root_only = true, .restless = true,
		.sizeless = true, .read = info_metrics},
	{"label", ROW_INFO, ROW(ROW_SESSION_LABEL), .read = info_label},
	{"state", ROW_INFO, ROW(ROW_SESSION_STATE), .read = info_state},
	{"quota", ROW_INFO, ROW(ROW_SESSION_QUOTA), .read = info_quota},
	{"transfer_quota", ROW_COMMAND, ROW(ROW_SESSION_TRANSFER_QUOTA),
		.read = usage_transfer_quota, .write = verb_transfer_quota,
		.verb = "transfer_quota"},
	{"events", ROW_LOG, ROW(ROW_SESSION_EVENTS)},
	{"control", ROW_SOCKET, ROW(ROW_SESSION_CONTROL)},
};

static const struct row capability_rows[] = {
	{NULL, ROW_DIRECTORY, ROW(0)},
	{"info", ROW_INFO, ROW(1), .read = info_capability},
	{"holders", ROW_INFO, ROW(2), .sizeless = true, .read = info_holders},
	{"socket", ROW_SOCKET, ROW(3)},
	{"grant", ROW_COMMAND, ROW(4), .read = usage_grant, .write = verb_grant, .verb = "grant"},
	{"reduce", ROW_COMMAND, ROW(5), .read = usage_reduce, .write = verb_reduce,
		.verb = "reduce"},
	{"revoke", ROW_COMMAND, ROW(6), .read = usage_revoke, .write = verb_revoke,
		.verb = "revoke"},
	{"replicate", ROW_COMMAND, ROW(7), .read = usage_replicate, .write = verb_replicate,
		.verb = "replicate"},
	{"transfer", ROW_COMMAND, ROW(8), .read = usage_transfer, .write = verb_transfer,
		.verb = "transfer"},
	{"call", ROW_CALL, ROW(9), .read = usage_call, .verb = "call"},
};

static const struct row entrypoint_rows[] = {
	{NULL, ROW_DIRECTORY, ROW(0)},
	{"info", ROW_INFO, ROW(1), .read = info_entrypoint},
	{"objects", ROW_COMMAND, ROW(2), .sizeless = true, .read = info_objects,
		.write = verb_objects, .verb = "object"},
};

static const struct row thread_rows[] = {
	{NULL, ROW_DIRECTORY, ROW(0)},
	{"info", ROW_INFO, ROW(1), .read = info_thread},
};

/* An object has no directory: where its entrypoint listens, the slots have its socket in theirs. */
static const struct row object_rows[] = {
	{NULL, ROW_DIRECTORY, ROW(0)},
	{"socket", ROW_SOCKET, ROW(1), .mode = 0666},
};

/* Directories in which entities of a kind are listed, by the session's row. */
static const uint8_t place_of_kind[ENTITY_N_KINDS] = {
	[ENTITY_SESSION] = ROW_SESSION_SESSIONS,
	[ENTITY_CAPABILITY] = ROW_SESSION_CAPS,
	[ENTITY_ENTRYPOINT] = ROW_SESSION_ENTRYPOINTS,
	[ENTITY_THREAD] = ROW_SESSION_THREADS,
};

/* Cookies of entities stand above those of rows. */
#define COOKIE_ENTITIES 256

struct rows {
	const struct row *rows;
	size_t n;
};

static struct rows
rows_of(enum entity_kind kind)
{
	static const struct rows tables[ENTITY_N_KINDS] = {
		[ENTITY_SESSION] = {session_rows, N_SESSION_ROWS},
		[ENTITY_CAPABILITY] = {capability_rows,
			sizeof(capability_rows) / sizeof(capability_rows[0])},
		[ENTITY_ENTRYPOINT] = {entrypoint_rows,
			sizeof(entrypoint_rows) / sizeof(entrypoint_rows[0])},
		[ENTITY_OBJECT] = {object_rows, sizeof(object_rows) / sizeof(object_rows[0])},
		[ENTITY_THREAD] = {thread_rows, sizeof(thread_rows) / sizeof(thread_rows[0])},
	};

	_Static_assert(sizeof(session_rows) / sizeof(session_rows[0]) == N_SESSION_ROWS, "rows");
	return tables[kind];
}

static bool
row_exists(const struct row *row, const struct entity *e)
{
	if (e->kind == ENTITY_OBJECT)
		return row->number != 0;
	return !row->root_only || e->id == 1;
}

struct node
tree_object_socket(struct object *o)
{
	return (struct node){&o->entity, &object_rows[1]};
}

/* A slot that cannot be called has a socket of its own, that nobody ever listens at. */
static struct node
node_of(struct entity *e, const struct row *row)
{
	struct capability *c = capability_of(e);

	if (e->kind == ENTITY_CAPABILITY && row->type == ROW_SOCKET &&
		entrypoint_listens(capability_entrypoint(c)) && capability_is_live(c) &&
		(capability_rights(c) & RIGHT_CALL))
		return tree_object_socket(capability_object(c));
	return (struct node){e, row};
}

struct node
tree_session(struct session *s)
{
	return (struct node){&s->entity, &session_rows[ROW_SESSION_SELF]};
}

struct session *
tree_session_of(struct node node)
{
	return entity_session(node.entity);
}

uint64_t
tree_number(struct node node)
{
	return (uint64_t)node.row->number << 48 | node.entity->id;
}

bool
tree_node(struct model *m, uint64_t number, struct node *ret)
{
	struct entity *e = entity_find(m, number & ((UINT64_C(1) << 48) - 1));
	uint64_t row = number >> 48;

	if (!e || row >= rows_of(e->kind).n || !row_exists(&rows_of(e->kind).rows[row], e))
		return false;
	*ret = (struct node){e, &rows_of(e->kind).rows[row]};
	return true;
}

uint32_t
tree_rows(enum entity_kind kind, enum row_type type)
{
	struct rows rows = rows_of(kind);
	uint32_t mask = 0;

	for (size_t i = 0; i < rows.n; i++)
		if (rows.rows[i].type == type)
			mask |= 1u << i;
	return mask;
}

/* The list of DIR's entities; NULL when it lists none. */
static struct list *
children_of(struct node dir)
{
	struct session *s = session_of(dir.entity);

	switch (dir.row->children) {
	case ENTITY_SESSION:
		return &s->sessions;
	case ENTITY_CAPABILITY:
		return &s->slots;
	case ENTITY_ENTRYPOINT:
		return &s->entrypoints;
	case ENTITY_THREAD:
		return &s->threads;
	default:
		return NULL;
	}
}

int
tree_lookup(struct model *m, struct node at, const char *name, size_t n, struct node *ret)
{
	struct rows rows = rows_of(at.entity->kind);
	struct entity *e;

	if (at.row->type != ROW_DIRECTORY)
		return ENOTDIR;
	if (at.row->children) {
		e = entity_find_name(m, at.entity->id, at.row->children, name, n);
		if (!e || !entity_is_shown(e))
			return ENOENT;
		*ret = (struct node){e, &rows_of(e->kind).rows[0]};
		return 0;
	}
	for (size_t i = 1; i < rows.n; i++)
		if (strlen(rows.rows[i].name) == n && memcmp(rows.rows[i].name, name, n) == 0 &&
			row_exists(&rows.rows[i], at.entity)) {
			*ret = node_of(at.entity, &rows.rows[i]);
			return 0;
		}
	return ENOENT;
}

int
tree_walk(struct model *m, struct node at, const char *path, size_t n, struct node *ret)
{
	const char *end = path + n;
	int e;

	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n_name = slash ? (size_t)(slash - path) : (size_t)(end - path);

		if (n_name > NAME_BYTES_MAX)
			return ENAMETOOLONG;
		if (n_name > 0) {
			e = tree_lookup(m, at, path, n_name, &at);
			if (e)
				return e;
		}
		path += n_name + (slash != NULL);
	}
	*ret = at;
	return 0;
}

struct node
tree_parent(struct node node)
{
	struct session *s = entity_session(node.entity);

	if (node.entity->kind == ENTITY_OBJECT)
		return (struct node){&object_of(node.entity)
						->entrypoint->entity,
			entrypoint_rows};
	if (node.row->number != 0)
		return (struct node){node.entity, rows_of(node.entity->kind).rows};
	if (node.entity->kind == ENTITY_SESSION && s->parent)
		s = s->parent;
	else if (node.entity->kind == ENTITY_SESSION)
		return node;
	return (struct node){&s->entity, &session_rows[place_of_kind[node.entity->kind]]};
}

static int
list_rows(struct node at, uint64_t cookie, tree_each *each, void *data)
{
	struct rows rows = rows_of(at.entity->kind);

	for (uint64_t i = cookie + 1; i < rows.n; i++)
		if (row_exists(&rows.rows[i], at.entity) &&
			!each(data, rows.rows[i].name, node_of(at.entity, &rows.rows[i]), i))
			return 0;
	return 0;
}

int
tree_list(struct model *m, struct node at, uint64_t cookie, tree_each *each, void *data)
{
	struct list *children;
	struct entity *e;

	if (at.row->type != ROW_DIRECTORY)
		return ENOTDIR;
	if (!at.row->children)
		return list_rows(at, cookie, each, data);
	children = children_of(at);
	e = entity_next(m, children, cookie > COOKIE_ENTITIES ? cookie - COOKIE_ENTITIES : 0);
	while (e) {
		struct node node = {e, &rows_of(e->kind).rows[0]};

		if (entity_is_shown(e) && !each(data, e->name, node, e->id + COOKIE_ENTITIES))
			break;
		e = e->owner_link.next == children
			? NULL
			: list_entry(e->owner_link.next, struct entity, owner_link);
	}
	return 0;
}

/* Directories below: what find(1) and others expect of a link count. */
static uint64_t
count_directories(struct node dir)
{
	const struct session *s = session_of(dir.entity);

	if (dir.entity->kind != ENTITY_SESSION)
		return 0;
	switch (dir.row->children) {
	case ENTITY_SESSION:
		return s->n_sessions;
	case ENTITY_CAPABILITY:
		return s->n_slots;
	case ENTITY_ENTRYPOINT:
		return s->n_entrypoints;
	case ENTITY_THREAD:
		return s->n_threads;
	default:
		return 4;
	}
}

static mode_t
node_mode(struct node node, mode_t mode)
{
	if (node.row->mode)
		return (node.row->type == ROW_SOCKET ? S_IFSOCK : S_IFREG) | node.row->mode;
	switch (node.row->type) {
	case ROW_DIRECTORY:
		return S_IFDIR | mode;
	case ROW_SOCKET:
		return S_IFSOCK | (mode & 0666);
	case ROW_COMMAND:
	case ROW_CALL:
		return S_IFREG | (mode & 0666);
	default:
		return S_IFREG | (mode & 0444);
	}
}

static uint64_t
node_size(struct request *r, struct node node, struct text *t)
{
	if (node.row->type == ROW_LOG)
		return events_end(entity_session(node.entity));
	if (node.row->read && !node.row->sizeless)
		tree_read(r, node, t);
	return t->n;
}

/*
 * A socket that many slots have in common cannot have the mode of each. So what would keep somebody
 * from connecting keeps them out of the slot's directory.
 */
static void
slot_owner(struct node node, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_mode)
{
	struct capability *c = capability_of(node.entity);

	capability_owner(c, ret_uid, ret_gid, ret_mode);
	if (node.row->type == ROW_DIRECTORY && entrypoint_listens(capability_entrypoint(c)))
		*ret_mode &= 0666 | (*ret_mode & 0222) >> 1;
}

int
tree_stat(struct request *r, struct node node, struct node_stat *ret)
{
	cleanup_text struct text t = {};
	struct session *s = entity_session(node.entity);
	struct node_stat st = {.uid = s->record.uid, .gid = s->record.gid, .nlink = 1};
	mode_t mode = s->record.mode;

	if (node.entity->kind == ENTITY_CAPABILITY)
		slot_owner(node, &st.uid, &st.gid, &mode);
	st.mode = node_mode(node, mode);
	st.mtime_nsec = node.entity->changed_nsec;
	if (node.row->type == ROW_DIRECTORY)
		st.nlink = 2 + count_directories(node);
	else
		st.size = node_size(r, node, &t);
	*ret = st;
	return text_done(&t);
}

void
tree_read(struct request *r, struct node node, struct text *t)
{
	if (node.row->read)
		node.row->read(r, node.entity, t);
}

void
tree_path(struct node node, struct text *t)
{
	if (node.entity->kind != ENTITY_SESSION) {
		const struct row *place = &session_rows[place_of_kind[node.entity->kind]];

		text_addf(t, "%s/%s%s", place->name, node.entity->name, node.row->name ? "/" : "");
	}
	if (node.row->name)
		text_add(t, node.row->name);
}

/*
 * A refusal becomes an event of the session in whose tree it was asked, since a shell's echo has
 * closed its file by the time one wants to read the reason. What the kernel asks for by itself
 * (lookups) is none.
 */
static int
finish_named(struct request *r, struct node node, const char *name, size_t n, const char *verb,
	int result)
{
	cleanup_text struct text path = {};

	if (result == 0)
		metrics_asked(r->model->counters, verb, r->error);
	if (result < 0 || !r->error)
		return result;
	tree_path(node, &path);
	/* No longer than one that there can be, so that what follows has its place in the line. */
	if (name)
		text_addf(&path, "%s%.*s", path.n > 0 ? "/" : "",
			(int)(n < NAME_BYTES_MAX ? n : NAME_BYTES_MAX), name);
	event_log(r->model, entity_session(node.entity), "refused %s %s%suid=%u %s: %.*s", verb,
		path.data ? path.data : "", path.n > 0 ? " " : "", (unsigned)r->uid,
		error_name(r->error), (int)r->text.n, r->text.data ? r->text.data : "");
	return result;
}

static int
tree_finish(struct request *r, struct node node, const char *verb, int result)
{
	return finish_named(r, node, NULL, 0, verb, result);
}

void
tree_refused(struct request *r, struct node node)
{
	struct node self = {node.entity, rows_of(node.entity->kind).rows};

	tree_finish(r, self, node.row->verb, 0);
}

int
tree_write(struct request *r, struct node node, const char *text, size_t n)
{
	struct node self = {node.entity, rows_of(node.entity->kind).rows};

	if (!node.row->write)
		return tree_finish(r, node, "write",
			refuse(r, EACCES, "this node takes no commands"));
	if (n > 0 && text[n - 1] == '\n')
		n--;
	return tree_finish(r, self, node.row->verb, node.row->write(r, node.entity, text, n));
}

int
tree_create(struct request *r, struct node at, const char *name, size_t n, const char *quota,
	size_t n_quota, struct node *ret)
{
	struct session *parent = session_of(at.entity), *s = NULL;
	int e;

	if (at.row->children == ENTITY_SESSION)
		e = verb_session_create(r, parent, name, n, quota, n_quota, &s);
	else
		e = refuse(r, EPERM, "directories are made in sessions/ only");
	e = finish_named(r, at, name, n, "create", e);
	if (e == 0 && !r->error)
		*ret = tree_session(s);
	return e;
}

static int
remove_entity(struct request *r, struct node node)
{
	switch ((enum entity_kind)node.entity->kind) {
	case ENTITY_SESSION:
		return verb_session_close(r, session_of(node.entity));
	case ENTITY_CAPABILITY:
		return verb_drop(r, capability_of(node.entity));
	case ENTITY_ENTRYPOINT:
		return verb_entrypoint_end(r, entrypoint_of(node.entity));
	default:
		return refuse(r, EPERM, "a thread lasts as long as it serves");
	}
}

int
tree_remove(struct request *r, struct node at, const char *name, size_t n)
{
	struct node node;
	int e;

	if (!at.row->children)
		e = refuse(r, EPERM, "this directory is part of its session");
	else if ((e = tree_lookup(r->model, at, name, n, &node)) > 0)
		e = refuse(r, e, "there is no '%.*s'", (int)n, name);
	else
		e = remove_entity(r, node);
	return finish_named(r, at, name, n, "remove", e);
}

int
tree_rename(struct request *r, struct node at, const char *name, size_t n, struct node to,
	const char *new_name, size_t n_new)
{
	struct node node;
	int e;

	if (at.row != to.row || at.entity != to.entity || at.row->children != ENTITY_CAPABILITY)
		e = refuse(r, EXDEV, "slots are renamed within their caps/ only");
	else if ((e = tree_lookup(r->model, at, name, n, &node)) > 0)
		e = refuse(r, e, "there is no '%.*s'", (int)n, name);
	else
		e = verb_rename(r, capability_of(node.entity), new_name, n_new);
	return finish_named(r, at, name, n, "rename", e);
}

int
tree_set_owner(struct request *r, struct node node, uid_t uid, gid_t gid, mode_t mode)
{
	bool own = node.row->number == 0 && (node.entity->kind == ENTITY_SESSION ||
						    node.entity->kind == ENTITY_CAPABILITY);

	return tree_finish(r, node, "chmod",
		own ? verb_set_owner(r, node.entity, uid, gid, mode)
		    : refuse(r, EPERM, "only sessions and slots have an owner and a mode"));
}
