/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables of files, one for each kind of entity. They are constant and own nothing; tree.c walks
 * by them, and the fronts see single rows through struct node.
 *
 * Adding a file is adding a row, at the end of its table: the number of a row is part of the
 * numbers of nodes, which the kernel and stored records keep over a restart. A row that was moved
 * would make an open file mean another one after an upgrade, and a command that was written to
 * `reduce` arrive at `revoke`. For the same reason a number is never given again when its file is
 * gone.
 */
#include "config.h"

#include "capfsd/tree/rows.h"

#include <sys/stat.h>

#include "capfsd/tree/checkpoint.h"
#include "capfsd/tree/graph.h"
#include "capfsd/kinds/asking/rules.h"
#include "capfsd/tree/info.h"
#include "capfsd/tree/lists.h"
#include "capfsd/tree/metrics.h"
#include "capfsd/tree/walk.h"
#include "capfsd/tree/why.h"
#include "capfsd/verbs/verbs.h"

#define ROW(index, word, what, ...)                                                                \
	[index] = {.number = (index), .name = (word), .type = (what), __VA_ARGS__}

/* Row 0 of each kind is its own directory, in which its files stand. */
static const struct row session_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, ),
	ROW(1, "caps", ROW_DIRECTORY, .children = ENTITY_CAPABILITY),
	ROW(2, "entrypoints", ROW_DIRECTORY, .children = ENTITY_ENTRYPOINT),
	ROW(3, "threads", ROW_DIRECTORY, .children = ENTITY_THREAD, .others = ENTITY_PROGRAM),
	ROW(4, "sessions", ROW_DIRECTORY, .children = ENTITY_SESSION),
	ROW(5, "README", ROW_INFO, .root_only = true, .mode = 0444, .read = info_readme),
	ROW(6, "version", ROW_INFO, .root_only = true, .mode = 0444, .read = info_version),
	ROW(7, "metrics", ROW_INFO, .root_only = true, .restless = info_metrics_restless,
		.read = info_metrics),
	ROW(8, "label", ROW_INFO, .read = info_label),
	ROW(9, "state", ROW_INFO, .read = info_state),
	ROW(10, "quota", ROW_INFO, .read = info_quota),
	ROW(11, "transfer_quota", ROW_COMMAND, .verb = &verb_transfer_quota),
	ROW(12, "events", ROW_LOG, ),
	ROW(13, "control", ROW_SOCKET, ),
	ROW(14, "confine", ROW_COMMAND, .read = info_confine, .verb = &verb_confine),
	ROW(22, "originate", ROW_COMMAND, .verb = &verb_originate),
	ROW(15, "faults", ROW_LOG, .view = EVENTS_FAULTS),
	ROW(16, "graph.dot", ROW_INFO, .restless = walk_restless, .read_piece = graph_read),
	ROW(17, "request", ROW_ASK, .verb = &verb_request),
	ROW(18, "requests", ROW_COMMAND, .restless = list_requests_restless, .read_piece = list_requests,
		.verb = &verb_requests),
	ROW(19, "policy", ROW_COMMAND, .read = info_policy, .verb = &verb_policy, .bytes_max = RULES_BYTES_MAX),
	ROW(20, "share", ROW_COMMAND, .verb = &verb_share_all),
	ROW(21, "checkpoint", ROW_INFO, .restless = walk_restless, .read_piece = checkpoint_read),
	ROW(23, "visits", ROW_DIRECTORY, .children = ENTITY_VISIT),
	ROW(24, "yield", ROW_ASK, .restless = list_requests_restless, .read = info_yield, .verb = &verb_yield),
};

static const struct row capability_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, ),
	ROW(1, "info", ROW_INFO, .restless = info_capability_restless, .read = info_capability),
	ROW(2, "holders", ROW_INFO, .restless = list_holders_restless, .read_piece = list_holders),
	ROW(3, "socket", ROW_SOCKET, ),
	ROW(4, "grant", ROW_COMMAND, .verb = &verb_grant),
	ROW(5, "reduce", ROW_COMMAND, .verb = &verb_reduce),
	ROW(6, "revoke", ROW_COMMAND, .verb = &verb_revoke),
	ROW(7, "replicate", ROW_COMMAND, .verb = &verb_replicate),
	ROW(8, "transfer", ROW_COMMAND, .verb = &verb_transfer),
	ROW(9, "call", ROW_CALL, .verb = &verb_call),
	ROW(10, "as", ROW_DIRECTORY, .children = ENTITY_ALIAS),
	ROW(11, "adjust", ROW_COMMAND, .verb = &verb_adjust),
	ROW(12, "split", ROW_COMMAND, .verb = &verb_split),
	ROW(13, "share", ROW_COMMAND, .verb = &verb_share),
	ROW(14, "visit", ROW_COMMAND, .read = info_slot_visit, .verb = &verb_visit),
	ROW(15, "why", ROW_INFO, .restless = why_restless, .read = why_read),
};

static const struct row entrypoint_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, ),
	ROW(1, "info", ROW_INFO, .read = info_entrypoint),
	ROW(2, "objects", ROW_COMMAND, .read_piece = list_objects, .verb = &verb_object),
	ROW(3, "health", ROW_COMMAND, .verb = &verb_health),
	ROW(4, "refusal", ROW_COMMAND, .verb = &verb_refusal),
};

static const struct row thread_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, ),
	ROW(1, "info", ROW_INFO, .read = info_thread),
};

static const struct row program_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, .rights = RIGHT_WAIT),
	ROW(1, "info", ROW_INFO, .rights = RIGHT_WAIT, .read = info_program),
	ROW(2, "ctl", ROW_COMMAND, .rights = RIGHT_KILL | RIGHT_PAUSE | RIGHT_AFFINITY | RIGHT_SIGNAL,
		.verb = &verb_ctl),
	ROW(3, "fds", ROW_INFO, .read = info_program_fds),
};

static const struct row visit_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, ),
	ROW(1, "info", ROW_INFO, .read = info_visit),
	ROW(2, "answer", ROW_COMMAND, .verb = &verb_answer),
};

/* Where its entrypoint listens, the slots have its socket in their directories. */
static const struct row object_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, .hidden = true),
	ROW(1, "socket", ROW_SOCKET, .mode = 0666),
};

/* It is a name of its slot's socket, and has no node. */
static const struct row alias_rows[] = {
	ROW(0, NULL, ROW_DIRECTORY, .hidden = true),
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define TABLE(array) {array, N_OF(array)}
/*
 * A front remembers rows as bits of one word. A row beyond those would be shown, and never be
 * invalidated: readers would see what was true when they looked first.
 */
#define FITS(array) _Static_assert(N_OF(array) <= TREE_ROWS_MAX, #array ": a set has no more bits")

FITS(session_rows);
FITS(capability_rows);
FITS(entrypoint_rows);
FITS(thread_rows);
FITS(object_rows);
FITS(alias_rows);
FITS(program_rows);
FITS(visit_rows);

struct rows
rows_of(enum entity_kind kind)
{
	static const struct rows tables[ENTITY_N_KINDS] = {
		[ENTITY_SESSION] = TABLE(session_rows),
		[ENTITY_CAPABILITY] = TABLE(capability_rows),
		[ENTITY_ENTRYPOINT] = TABLE(entrypoint_rows),
		[ENTITY_OBJECT] = TABLE(object_rows),
		[ENTITY_THREAD] = TABLE(thread_rows),
		[ENTITY_ALIAS] = TABLE(alias_rows),
		[ENTITY_PROGRAM] = TABLE(program_rows),
		[ENTITY_VISIT] = TABLE(visit_rows),
	};

	return tables[kind];
}

/* Some files are only in the root session, whose id is always 1. */
bool
row_exists(const struct row *row, const struct entity *e)
{
	return !row->hidden && (!row->root_only || e->id == 1);
}

/*
 * What all files of a type are. A file that cannot be written has no bit that says so, whatever the
 * mode of its owner is, and only a directory has bits for searching.
 */
static const struct {
	mode_t format;
	mode_t mask; /* of the owner's mode */
} types[N_ROW_TYPES] = {
	[ROW_DIRECTORY] = {S_IFDIR, 07777},
	[ROW_INFO] = {S_IFREG, 0444},
	[ROW_COMMAND] = {S_IFREG, 0666},
	[ROW_LOG] = {S_IFREG, 0444},
	[ROW_SOCKET] = {S_IFSOCK, 0666},
	[ROW_CALL] = {S_IFREG, 0666},
	[ROW_ASK] = {S_IFREG, 0666},
};

mode_t
row_format(const struct row *row)
{
	return types[row->type].format;
}

mode_t
row_mode(const struct row *row, mode_t owner)
{
	return row_format(row) | (row->mode ? row->mode : owner & types[row->type].mask);
}

/*
 * Found by what the directories of a session list, so that there is no second table that says where
 * a kind stands. An object is in none: it is seen by its slots, and by `objects` of its entrypoint.
 */
const struct row *
rows_place(enum entity_kind kind)
{
	for (size_t i = 0; i < N_OF(session_rows); i++)
		if (session_rows[i].children == kind || session_rows[i].others == kind)
			return &session_rows[i];
	return NULL;
}
