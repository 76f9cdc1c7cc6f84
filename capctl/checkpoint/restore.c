/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions first, then entrypoints and objects, then slots in the order of their ids, so that each finds what it is
 * derived from. A slot that has others below it must be able to grant, which it may not have in the end: so they are
 * made with all that their source has, and reduced at the end, the last one first. Owners come last, as what has
 * been given away cannot be worked on.
 */
#include "config.h"

#include "capctl/checkpoint/restore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "capctl/checkpoint/slots.h"
#include "capctl/owner.h"

void
restore_node(const struct restore *r, const char *path, struct text *t)
{
	text_add(t, r->at);
	if (r->name)
		session_node(r->name, t);
	if (strcmp(path, ".") != 0)
		session_node(path, t);
}

int
restore_write(const struct restore *r, const char *node, const char *file, const char *text, char **ret_answer)
{
	cleanup_text struct text path = {};

	text_add(&path, node ? node : "");
	node_append(&path, file);
	*ret_answer = NULL;
	if (text_done(&path) < 0)
		return -ENOMEM;
	return capc_write(r->context->session, path.data, text, ret_answer, TIMEOUT_USEC);
}

void
restore_left(const struct file_line *l, const char *what, const char *name, const char *why)
{
	printf("left path=%s what=%s name=%s why=%s\n", l->value[KEY_path], what, name, why);
}

static int
failed(const struct file_line *l, int error, const char *reason)
{
	return complain(error, reason, "restore: line %u", l->number);
}

/* --- sessions, entrypoints, objects --- */

static int
make_session(const struct restore *r, const struct file_line *l)
{
	static const enum file_key kinds[] = {KEY_caps, KEY_sockets, KEY_threads, KEY_ram, KEY_inflight};
	cleanup_text struct text node = {}, quota = {};
	cleanup_free char *reason = NULL;
	int e;

	restore_node(r, l->value[KEY_path], &node);
	if (strcmp(l->value[KEY_path], ".") == 0 && r->quota)
		text_add(&quota, r->quota);
	else
		text_addf(&quota, "caps=%s sockets=%s threads=%s ram=%s inflight=%s", l->value[kinds[0]],
			l->value[kinds[1]], l->value[kinds[2]], l->value[kinds[3]], l->value[kinds[4]]);
	e = text_done(&node) < 0 || text_done(&quota) < 0 ? -ENOMEM : context_create(r->context, node.data, quota.data, &reason);
	return e < 0 ? failed(l, e, reason) : STATUS_DONE;
}

static int
confine(const struct restore *r, const struct file_line *l)
{
	cleanup_text struct text node = {};
	cleanup_free char *answer = NULL;
	int e;

	restore_node(r, l->value[KEY_path], &node);
	e = text_done(&node) < 0 ? -ENOMEM : restore_write(r, node.data, "confine", l->rest, &answer);
	return e < 0 ? failed(l, e, answer) : STATUS_DONE;
}

static int
attach(capc_session *session, const struct file_line *l, capc_entrypoint **ret)
{
	capc_how *how;
	int e = capc_how_new(&how);

	if (e < 0)
		return e;
	capc_how_add(how, "mode", l->value[KEY_mode]);
	capc_how_add(how, "fds", l->value[KEY_fds]);
	capc_how_add(how, "caveats", l->value[KEY_caveats]);
	if (l->value[KEY_counts])
		capc_how_add(how, "counts", l->value[KEY_counts]);
	if (strcmp(l->value[KEY_hold], "0") != 0)
		capc_how_add(how, "hold", l->value[KEY_hold]);
	if (strcmp(l->value[KEY_backlog], "0") != 0)
		capc_how_add(how, "backlog", l->value[KEY_backlog]);
	/* If anything of that was refused, so is the whole. */
	e = capc_attach_how(session, l->value[KEY_name], capc_how_text(how), ret);
	capc_how_free(how);
	return e;
}

/* It is there when somebody has served it, if only for a moment. */
static int
make_entrypoint(const struct restore *r, const struct file_line *l)
{
	cleanup_text struct text path = {}, node = {};
	capc_entrypoint *entrypoint;
	capc_session *session;
	int e;

	restore_node(r, l->value[KEY_path], &node);
	text_addf(&path, "%s/%s", r->context->place.root, node.data ? node.data : "");
	if (text_done(&node) < 0 || text_done(&path) < 0)
		return failed(l, -ENOMEM, NULL);
	e = capc_session_open(path.data, TIMEOUT_USEC, &session);
	if (e < 0)
		return failed(l, e, NULL);
	e = attach(session, l, &entrypoint);
	if (e < 0)
		failed(l, e, capc_session_reason(session));
	else
		capc_detach(entrypoint);
	capc_session_free(session);
	return e < 0 ? STATUS_FAILED : STATUS_DONE;
}

int
restore_object(const struct restore *r, const struct file_line *l, const char *key, const char *value, char **ret_answer)
{
	cleanup_text struct text node = {};
	capc_how *how;
	int e;

	restore_node(r, l->value[KEY_path], &node);
	node_append(&node, "entrypoints");
	node_append(&node, l->value[KEY_entrypoint]);
	*ret_answer = NULL;
	if (text_done(&node) < 0)
		return -ENOMEM;
	e = capc_how_new(&how);
	if (e < 0)
		return e;
	capc_how_add(how, "key", l->value[KEY_key]);
	capc_how_add(how, "socket", l->value[KEY_socket]);
	if (strcmp(l->value[KEY_protocol], "calls") == 0)
		capc_how_add(how, "protocol", "calls");
	capc_how_add(how, key, value);
	e = restore_write(r, node.data, "objects", capc_how_text(how), ret_answer);
	capc_how_free(how);
	return e;
}

/* Its server is told of the old badge when it adds the object again, and whoever reads this is told of both. */
static int
make_object(const struct restore *r, const struct file_line *l)
{
	cleanup_text struct text badge = {};
	cleanup_free char *answer = NULL;
	int e;

	e = restore_object(r, l, "was", l->value[KEY_badge], &answer);
	if (e < 0)
		return failed(l, e, answer);
	field_find(answer, NULL, "badge", &badge);
	printf("badge path=%s entrypoint=%s key=%s old=%s new=%s\n", l->value[KEY_path], l->value[KEY_entrypoint],
		l->value[KEY_key], l->value[KEY_badge], badge.data ? badge.data : "");
	return STATUS_DONE;
}

/* --- what comes last --- */

static int
make_alias(const struct restore *r, const struct file_line *l)
{
	cleanup_text struct text node = {};
	cleanup_free char *reason = NULL;
	int e;

	restore_node(r, l->value[KEY_path], &node);
	node_append(&node, "caps");
	text_addf(&node, "/%s/as/%s", l->value[KEY_slot], l->value[KEY_name]);
	e = text_done(&node) < 0 ? -ENOMEM : context_create(r->context, node.data, "", &reason);
	if (e == -ENOENT) {
		restore_left(l, "alias", l->value[KEY_name], "its slot is not there");
		return STATUS_DONE;
	}
	return e < 0 ? failed(l, e, reason) : STATUS_DONE;
}

/* A label of what was checkpointed becomes that of what it is now: rules are of sessions by their labels. */
static void
add_rule(const struct restore *r, const char *rule, const char *label, struct text *t)
{
	size_t n = strlen(r->file->of);

	if (strncmp(rule, r->file->of, n) == 0 && (rule[n] == '/' || rule[n] == ' '))
		text_add(t, label);
	else
		n = 0;
	text_addf(t, "%s\n", rule + n);
}

/* All of the session's at once, when it comes to the first line: a policy takes the place of what was there. */
static int
set_policy(const struct restore *r, const struct file_line *l)
{
	cleanup_text struct text node = {}, top = {}, label = {}, rules = {};
	cleanup_free char *answer = NULL;
	int e;

	if (l > r->file->lines && l[-1].kind == FILE_POLICY && strcmp(l[-1].value[KEY_path], l->value[KEY_path]) == 0)
		return STATUS_DONE;
	restore_node(r, ".", &top);
	if (text_done(&top) < 0)
		return failed(l, -ENOMEM, NULL);
	session_label(&r->context->place, top.data ? top.data : "", &label);
	if (text_done(&label) < 0)
		return failed(l, -ENOMEM, NULL);
	for (const struct file_line *i = l; i < r->file->lines + r->file->n && i->kind == FILE_POLICY &&
		strcmp(i->value[KEY_path], l->value[KEY_path]) == 0; i++)
		add_rule(r, i->rest, label.data, &rules);
	restore_node(r, l->value[KEY_path], &node);
	if (text_done(&rules) < 0 || text_done(&node) < 0)
		return failed(l, -ENOMEM, NULL);
	e = restore_write(r, node.data, "policy", rules.data, &answer);
	return e < 0 ? failed(l, e, answer) : STATUS_DONE;
}

/* Only root may give something to others; what cannot be given stays the restorer's. */
static int
set_owner(const struct restore *r, const struct file_line *l)
{
	struct owner owner = OWNER_UNCHANGED;
	cleanup_text struct text node = {};
	int e;

	/* A session that was there is its owner's. */
	if (!l->value[KEY_mode] || (!r->name && l->kind == FILE_SESSION && strcmp(l->value[KEY_path], ".") == 0))
		return STATUS_DONE;
	restore_node(r, l->value[KEY_path], &node);
	if (l->kind == FILE_SLOT) {
		node_append(&node, "caps");
		node_append(&node, l->value[KEY_name]);
	}
	if (text_done(&node) < 0)
		return failed(l, -ENOMEM, NULL);
	owner.uid = (uid_t)strtoul(l->value[KEY_uid], NULL, 10);
	owner.gid = (gid_t)strtoul(l->value[KEY_gid], NULL, 10);
	owner.mode = (mode_t)strtoul(l->value[KEY_mode], NULL, 8);
	e = owner_set(r->context->place.root, node.data, &owner);
	if (e == -EPERM) {
		restore_left(l, "owner", l->kind == FILE_SLOT ? l->value[KEY_name] : l->value[KEY_path], "only root gives it away");
		return STATUS_DONE;
	}
	return e < 0 ? failed(l, e, "owner and mode") : STATUS_DONE;
}

/* The file says already what was not carried into it. */
void
restore_tell_left(const struct file_line *l)
{
	printf("left path=%s what=%s%s%s n=%s\n", l->value[KEY_path], l->value[KEY_what],
		l->value[KEY_name] ? " name=" : "", l->value[KEY_name] ? l->value[KEY_name] : "", l->value[KEY_n]);
}

static int
tell_left(const struct restore *r, const struct file_line *l)
{
	restore_tell_left(l);
	return STATUS_DONE;
}

/* --- all of it --- */

/* Lines of KIND, one after the other. */
static int
each(const struct restore *r, enum file_kind kind, int (*make)(const struct restore *r, const struct file_line *l))
{
	int status = STATUS_DONE;

	for (size_t i = 0; i < r->file->n && status == STATUS_DONE; i++)
		if (r->file->lines[i].kind == kind)
			status = make(r, &r->file->lines[i]);
	return status;
}

/* The deepest first: who has no right to go into a session cannot change what is below. */
static int
set_owners(const struct restore *r, struct slots *slots)
{
	int status = STATUS_DONE;

	for (size_t i = r->file->first; i < r->file->n && status == STATUS_DONE; i++)
		if (r->file->lines[i].kind == FILE_SLOT && slots_have(slots, &r->file->lines[i]))
			status = set_owner(r, &r->file->lines[i]);
	for (size_t i = r->file->first; i > 0 && status == STATUS_DONE; i--)
		if (r->file->lines[i - 1].kind == FILE_SESSION)
			status = set_owner(r, &r->file->lines[i - 1]);
	return status;
}

/* All but the session itself, which is to be closed again when this fails. */
static int
fill(const struct restore *r, struct slots *slots)
{
	int status = each(r, FILE_ENTRYPOINT, make_entrypoint);

	if (status == STATUS_DONE)
		status = each(r, FILE_OBJECT, make_object);
	if (status == STATUS_DONE)
		status = slots_make(slots);
	if (status == STATUS_DONE)
		status = each(r, FILE_ALIAS, make_alias);
	if (status == STATUS_DONE)
		status = each(r, FILE_POLICY, set_policy);
	if (status == STATUS_DONE)
		status = each(r, FILE_CONFINE, confine);
	if (status == STATUS_DONE)
		status = set_owners(r, slots);
	if (status == STATUS_DONE)
		status = each(r, FILE_LEFT, tell_left);
	return status;
}

/* Folders of what a session is filled with, in the order in which that can be taken away. */
static const char *const folders[] = {"caps", "entrypoints", "sessions"};

/* Returns: an exit status; ENOTEMPTY: what is there could not be told from what is restored. */
static int
check_empty(const struct restore *r)
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		cleanup(name_list_deinit) struct name_list list = {};
		int e = context_list(r->context, r->at, folders[i], &list);

		if (e < 0)
			return complain(e, NULL, "restore: %s", folders[i]);
		if (list.n > 0)
			return complain(ENOTEMPTY, "the session has something already", "restore: %s/%s", folders[i],
				list.names[0]);
	}
	return STATUS_DONE;
}

/* Returns: is it gone? */
static bool
take_away(const struct restore *r, const char *folder, const char *name)
{
	cleanup_text struct text node = {}, session = {};
	cleanup_free char *reason = NULL;

	text_add(&node, r->at);
	node_append(&node, folder);
	node_append(&node, name);
	if (text_done(&node) < 0)
		return false;
	if (strcmp(folder, "sessions") != 0)
		return context_remove(r->context, node.data, &reason) == 0;
	session_name(node.data, &session);
	return text_done(&session) == 0 && capc_session_close(r->context->session, session.data, CAPC_CLOSE_ALL) == 0;
}

static void
undo_in_place(const struct restore *r)
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		cleanup(name_list_deinit) struct name_list list = {};

		if (context_list(r->context, r->at, folders[i], &list) < 0)
			continue;
		for (size_t k = 0; k < list.n; k++)
			if (!take_away(r, folders[i], list.names[k]))
				fprintf(stderr, "capctl: restore: %s/%s is left behind\n", folders[i], list.names[k]);
	}
}

static void
undo(const struct restore *r)
{
	cleanup_text struct text node = {}, name = {};

	restore_node(r, ".", &node);
	if (text_done(&node) == 0)
		session_name(node.data, &name);
	if (text_done(&name) < 0 || capc_session_close(r->context->session, name.data, CAPC_CLOSE_ALL) < 0)
		fprintf(stderr, "capctl: restore: the session %s is left behind\n", r->name);
}

int
restore_run(const struct restore *r)
{
	struct slots slots = {.restore = r};
	int status = r->name ? make_session(r, &r->file->lines[0]) : check_empty(r);

	if (status != STATUS_DONE)
		return status;
	for (size_t i = 1; i < r->file->n && status == STATUS_DONE; i++)
		if (r->file->lines[i].kind == FILE_SESSION)
			status = make_session(r, &r->file->lines[i]);
	if (status == STATUS_DONE)
		status = fill(r, &slots);
	slots_deinit(&slots);
	if (status != STATUS_DONE && r->name)
		undo(r);
	else if (status != STATUS_DONE)
		undo_in_place(r);
	return status;
}
