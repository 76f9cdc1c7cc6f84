/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking and asking, by the tables of rows.c. Both fronts call it, and nobody else. It
 * keeps nothing: a node is made of an entity and a row whenever somebody asks, so there is nothing
 * to free, and none can be left over from an entity that has ended.
 *
 * It never changes the model itself. What a front asks for becomes an operation of a verb, with the
 * node that was asked; verb_run() checks, commits, and tells the refusal where the node stands.
 *
 * An entity that has ended is not shown, even while it is still being taken apart, since nothing
 * can be done with it any more. It is found by number all the same until it is gone: open files and
 * the kernel may still name it, and get what its verbs say.
 */
#include "config.h"

#include "capfsd/tree/tree.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/kinds/alias.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/verbs.h"

struct node
tree_object_socket(struct object *o)
{
	return (struct node){&o->entity, &rows_of(ENTITY_OBJECT).rows[1]};
}

/*
 * Where a server accepts by itself all slots of an object share one socket, whose node is the
 * object's: one listener has one inode. A slot that cannot be called keeps a node of its own, that
 * nobody ever listens at, so that connect(2) there is refused and does not reach the shared one.
 */
struct node
tree_file(struct entity *e, const struct row *row)
{
	struct capability *c = capability_of(e);

	if (e->kind == ENTITY_CAPABILITY && row->type == ROW_SOCKET &&
		capability_service(c).listens && capability_is_live(c) &&
		capability_connects(c))
		return tree_object_socket(capability_object(c));
	return (struct node){e, row};
}

struct node
tree_slot_socket(struct capability *c)
{
	return tree_file(&c->entity, &rows_of(ENTITY_CAPABILITY).rows[3]);
}

struct node
tree_entity(struct entity *e)
{
	return (struct node){e, rows_of(e->kind).rows};
}

/* What NAME is in the directory AT, which lists entities. NULL: it is not shown there. */
static struct entity *
find_child(struct model *m, struct node at, const char *name, size_t n)
{
	struct entity *e;
	struct alias *a;

	if (at.row->children != ENTITY_ALIAS) {
		e = entity_find_name(m, at.entity->id, at.row->children, name, n);
		if (!e && at.row->others)
			e = entity_find_name(m, at.entity->id, at.row->others, name, n);
		return e && entity_is_shown(e) ? e : NULL;
	}
	/* Also of what the slot was derived from, which lives if the slot does. */
	a = entity_is_shown(at.entity) ? alias_find(capability_of(at.entity), name, n) : NULL;
	return a ? &a->entity : NULL;
}

struct node
tree_session(struct session *s)
{
	return tree_entity(&s->entity);
}

struct session *
tree_session_of(struct node node)
{
	return entity_session(node.entity);
}

/* Ids are never used again, so that a number that the kernel still has never means another node. */
uint64_t
tree_number(struct node node)
{
	return (uint64_t)node.row->number << 48 | node.entity->id;
}

/*
 * The kernel and the store hand in numbers of any age, and a hostile client of the mount any number
 * at all: so row and entity are looked up anew each time, and nothing of the number is believed.
 */
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

uint64_t
tree_rows(enum entity_kind kind, enum row_type type)
{
	struct rows rows = rows_of(kind);
	uint64_t set = 0;

	for (size_t i = 0; i < rows.n; i++)
		if (rows.rows[i].type == type)
			set |= UINT64_C(1) << i;
	return set;
}

/* Has it a text or a list of its own, or is it a socket, which may have one more name? */
static bool
row_shows(const struct row *row)
{
	return row->read || row->read_piece || row->children || row->type == ROW_SOCKET;
}

uint64_t
tree_showing_rows(enum entity_kind kind)
{
	struct rows rows = rows_of(kind);
	uint64_t set = 0;

	for (size_t i = 0; i < rows.n; i++)
		if (row_shows(&rows.rows[i]))
			set |= UINT64_C(1) << i;
	return set;
}

uint64_t
tree_all_rows(enum entity_kind kind)
{
	return (UINT64_C(1) << rows_of(kind).n) - 1;
}

/*
 * Names are entities where the directory lists such, and rows where it does not. An entity that is
 * ending is not found, though its name may be taken until it is gone.
 */
int
tree_lookup(struct model *m, struct node at, const char *name, size_t n, struct node *ret)
{
	struct rows rows = rows_of(at.entity->kind);
	struct entity *e;

	if (at.row->type != ROW_DIRECTORY)
		return ENOTDIR;
	if (at.row->children) {
		e = find_child(m, at, name, n);
		if (!e)
			return ENOENT;
		*ret = e->kind == ENTITY_ALIAS ? tree_slot_socket(capability_of(at.entity))
					       : tree_entity(e);
		return 0;
	}
	for (size_t i = 1; i < rows.n; i++)
		if (strlen(rows.rows[i].name) == n && memcmp(rows.rows[i].name, name, n) == 0 &&
			row_exists(&rows.rows[i], at.entity)) {
			*ret = tree_file(at.entity, &rows.rows[i]);
			return 0;
		}
	return ENOENT;
}

/*
 * Slashes more than one are one, as in every path, and "." and ".." are no names: a control client
 * never gets above the session of its own connection, whatever it asks for.
 */
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

/* What ".." is, in listings and where somebody exports the tree over the network. */
struct node
tree_parent(struct node node)
{
	struct session *s = entity_session(node.entity);

	if (node.entity->kind == ENTITY_OBJECT)
		return tree_entity(&object_of(node.entity)->entrypoint->entity);
	if (node.row->number != 0)
		return tree_entity(node.entity);
	if (node.entity->kind == ENTITY_SESSION && s->parent)
		s = s->parent;
	else if (node.entity->kind == ENTITY_SESSION)
		return node;
	return (struct node){&s->entity, rows_place(node.entity->kind)};
}

/* Directories below: what find(1) and others expect of a link count. */
static uint64_t
count_directories(struct node dir)
{
	struct rows rows = rows_of(dir.entity->kind);
	uint64_t n = 0;

	if (dir.row->children == ENTITY_ALIAS)
		return 0;
	if (dir.row->children == ENTITY_VISIT)
		return session_of(dir.entity)->n_visits;
	if (dir.row->children)
		return session_of(dir.entity)->n_owned[dir.row->children] +
		       (dir.row->others ? session_of(dir.entity)->n_owned[dir.row->others] : 0);
	for (size_t i = 1; i < rows.n; i++)
		n += rows.rows[i].type == ROW_DIRECTORY;
	return n;
}

/*
 * To pass a session on the way to others is no way into its slots: there nobody may search who may
 * neither look nor connect. A socket that many slots have in common cannot have the mode of each. So
 * what would keep somebody from connecting keeps them out of the slot's directory: where nobody may
 * write, nobody may search, and without that the shared socket is not reached by this path.
 */
static void
slot_owner(struct node node, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_mode)
{
	struct capability *c = capability_of(node.entity);
	mode_t search;

	capability_owner(c, ret_uid, ret_gid, ret_mode);
	if (node.row->type != ROW_DIRECTORY)
		return;
	search = (*ret_mode & 0222) >> 1;
	if (!capability_service(c).listens)
		search |= (*ret_mode & 0444) >> 2;
	*ret_mode &= 0666 | search;
}

/*
 * Of a file whose text shows something, and of a list, when that changed last; of others when they became what they
 * are. So none moves without the kernel being told to ask for it again.
 */
static uint64_t
mtime(struct node node)
{
	const struct entity *e = node.entity;

	if (node.row->type == ROW_LOG && session_of(e)->logged_nsec > e->changed_nsec)
		return session_of(e)->logged_nsec;
	return row_shows(node.row) ? e->shown_nsec : e->changed_nsec;
}

void
tree_stat(struct node node, struct node_stat *ret)
{
	struct session *s = entity_session(node.entity);
	struct node_stat st = {.uid = s->record.uid, .gid = s->record.gid, .nlink = 1};
	mode_t mode = s->record.mode;

	if (node.entity->kind == ENTITY_CAPABILITY)
		slot_owner(node, &st.uid, &st.gid, &mode);
	st.mode = row_mode(node.row, mode);
	st.mtime_nsec = mtime(node);
	if (node.row->type == ROW_DIRECTORY)
		st.nlink = 2 + count_directories(node);
	else if (node.row->type == ROW_LOG)
		st.size = events_size(s, node.row->view);
	if (node.row->type == ROW_SOCKET && node.entity->kind == ENTITY_CAPABILITY)
		st.nlink += alias_count_own(capability_of(node.entity));
	*ret = st;
}

bool
tree_has_text(struct node node)
{
	return node.row->read_piece || node.row->read || node.row->verb;
}

bool
tree_is_restless(struct node node)
{
	return node.row->restless && node.row->restless(node.entity);
}

bool
tree_read_piece(struct request *r, struct node node, struct reading *at, struct text *t)
{
	if (node.row->read_piece)
		return node.row->read_piece(r, node.entity, at, t);
	if (node.row->read)
		node.row->read(r, node.entity, t);
	else if (node.row->verb)
		verb_usage(node.row->verb, r, node.entity, t);
	return false;
}

void
tree_read(struct request *r, struct node node, struct text *t)
{
	struct reading at = {};

	while (tree_read_piece(r, node, &at, t))
		continue;
}

/*
 * The path is seen from the session in which the node stands, since refusals are told in that
 * session's events, and a path from the root would tell its readers names that they cannot see.
 */
void
tree_path(struct node node, struct text *t)
{
	const struct row *place = rows_place(node.entity->kind);

	/* An object stands in no directory of its session, but belongs to what does. */
	if (node.entity->kind != ENTITY_SESSION && place)
		text_add(t, place->name);
	else if (node.entity->kind != ENTITY_SESSION)
		tree_path(tree_parent(node), t);
	if (node.entity->kind != ENTITY_SESSION)
		text_addf(t, "/%s%s", node.entity->name, node.row->name ? "/" : "");
	if (node.row->name)
		text_add(t, node.row->name);
}

/* Where something was asked: at a node, or for a name in it. */
struct spot {
	struct node node;
	struct word name; /* nothing: the node itself */
};

static void
write_spot(const struct operation *o, struct text *t)
{
	const struct spot *spot = o->front;
	cleanup_text struct text path = {};

	tree_path(spot->node, &path);
	if (spot->name.p)
		text_addf(&path, "%s%.*s", path.n > 0 ? "/" : "", (int)spot->name.n, spot->name.p);
	text_where(path.data, path.n, t);
	t->failed |= path.failed;
}

/* What both fronts ask of the tree begins with this. SPOT must stay where it is. */
static struct operation
begin(struct request *r, const struct verb *verb, struct spot *spot)
{
	return (struct operation){
		.request = r,
		.verb = verb,
		.subject = spot->node.entity,
		.session = entity_session(spot->node.entity),
		.where = write_spot,
		.front = spot,
	};
}

void
tree_refused(struct request *r, struct node node)
{
	struct spot spot = {tree_entity(node.entity), {}};
	struct operation o = begin(r, node.row->verb ? node.row->verb : &verb_write, &spot);

	verb_finish(&o, 0);
}

/*
 * A shell's echo ends its line, and a program may not: both mean the same command. What takes no
 * commands is refused by a verb too, so that the attempt becomes an event as all others do.
 */
int
tree_write(struct request *r, struct node node, const char *text, size_t n)
{
	bool takes = node.row->verb && node.row->verb->stage;
	struct spot spot = {takes ? tree_entity(node.entity) : node, {}};
	struct operation o = begin(r, takes ? node.row->verb : &verb_write, &spot);

	if (!takes)
		return verb_finish(&o, refuse(r, EACCES, "this node takes no commands"));
	if (n > 0 && text[n - 1] == '\n')
		n--;
	o.text = (struct word){text, n};
	return verb_run(&o);
}

int
tree_create(struct request *r, struct node at, const char *name, size_t n, const char *quota,
	size_t n_quota)
{
	struct spot spot = {at, {name, n}};
	struct operation o = begin(r, &verb_create, &spot);

	if (at.row->children == ENTITY_ALIAS && n_quota == 0)
		return tree_link(r, at, name, n);
	if (at.row->children != ENTITY_SESSION)
		return verb_finish(
			&o, refuse(r, EPERM, "directories are made in sessions/ only"));
	o.name = spot.name;
	o.text = (struct word){quota, n_quota};
	return verb_run(&o);
}

int
tree_link(struct request *r, struct node at, const char *name, size_t n)
{
	struct spot spot = {at, {name, n}};
	struct operation o = begin(r, &verb_alias, &spot);

	o.name = spot.name;
	return verb_run(&o);
}

/*
 * What O is to be done to, by its name in AT, which lists entities. Returns: whether it is there, else
 * refused.
 */
static bool
find_subject(struct operation *o, struct node at, struct word name)
{
	struct request *r = o->request;
	struct entity *e = find_child(r->model, at, name.p, name.n);

	if (!e)
		return refuse(r, ENOENT, "there is no '%.*s'", (int)name.n, name.p);
	if (e->kind == ENTITY_ALIAS && &alias_of(e)->capability->entity != at.entity)
		return refuse(r, EPERM, "%s has '%s' from what it was derived from", at.entity->name,
			e->name);
	o->subject = e;
	return true;
}

/* A directory that is part of its session cannot go while that stays: the rows are the session. */
int
tree_remove(struct request *r, struct node at, const char *name, size_t n)
{
	struct spot spot = {at, {name, n}};
	struct operation o = begin(r, &verb_remove, &spot);

	if (!at.row->children)
		refuse(r, EPERM, "this directory is part of its session");
	else if (find_subject(&o, at, spot.name))
		return verb_run(&o);
	return verb_finish(&o, 0);
}

/*
 * Only within one caps/: moving a slot to another session would be a transfer, which is a verb of
 * its own with rights and quota to check.
 */
int
tree_rename(struct request *r, struct node at, const char *name, size_t n, struct node to,
	const char *new_name, size_t n_new)
{
	struct spot spot = {at, {name, n}};
	struct operation o = begin(r, &verb_rename, &spot);

	o.name = (struct word){new_name, n_new};
	if (at.row != to.row || at.entity != to.entity || at.row->children != ENTITY_CAPABILITY)
		refuse(r, EXDEV, "slots are renamed within their caps/ only");
	else if (find_subject(&o, at, spot.name))
		return verb_run(&o);
	return verb_finish(&o, 0);
}

int
tree_set_owner(struct request *r, struct node node, uid_t uid, gid_t gid, mode_t mode)
{
	struct spot spot = {node, {}};
	struct operation o = begin(r, &verb_chmod, &spot);

	o.owner = (struct owner){uid, gid, mode};
	if (node.row->number == 0)
		return verb_run(&o);
	return verb_finish(
		&o, refuse(r, EPERM, "only sessions and slots have an owner and a mode"));
}
