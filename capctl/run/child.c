/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "capctl/owner.h"
#include "capctl/run/resolve.h"
#include "capctl/run/run.h"
#include "capctl/run/settle.h"

#define NAMES_MAX 10000
#define BASE_BYTES_MAX 40

void
child_deinit(struct child *c)
{
	for (size_t i = 0; i < c->n_grants; i++)
		free(c->grants[i].slot);
	free(c->grants);
	free(c->name);
	text_deinit(&c->node);
	text_deinit(&c->session);
	*c = (struct child){};
}

int
child_close(struct child *c, struct context *x)
{
	int r;

	if (!c->is_made)
		return 0;
	r = capc_session_close(x->session, c->session.data, CAPC_CLOSE_ALL);
	c->is_made = false;
	if (r == 0 || r == -ENOENT)
		return 0;
	complain(r, capc_session_reason(x->session), "the session %s is left behind", c->name);
	return STATUS_CANNOT;
}

/* --- its name --- */

/* PROGRAM, as far as it can be a name, and a number. */
static int
name_after(const char *program, unsigned n, char **ret)
{
	cleanup_text struct text t = {};
	const char *base = node_name(program);
	size_t n_base = strlen(base);

	text_add_n(&t, base, n_base < BASE_BYTES_MAX ? n_base : BASE_BYTES_MAX);
	for (size_t i = 0; i < t.n; i++)
		if (!name_is_valid(&t.data[i], 1) && (i == 0 || t.data[i] != '.'))
			t.data[i] = '_';
	text_addf(&t, "-%u", n);
	if (text_done(&t) < 0)
		return -ENOMEM;
	free(*ret);
	*ret = text_take(&t);
	return 0;
}

static int
set_node(struct child *c)
{
	text_reset(&c->node);
	text_reset(&c->session);
	text_add(&c->node, c->parent);
	node_append(&c->node, "sessions");
	node_append(&c->node, c->name);
	if (text_done(&c->node) < 0)
		return -ENOMEM;
	session_name(c->node.data, &c->session);
	return text_done(&c->session);
}

/* --- making it --- */

static int
create(struct child *c, struct context *x, const char *quota)
{
	cleanup_free char *reason = NULL;
	int r = set_node(c);

	if (r == 0)
		r = context_create(x, c->node.data, quota, &reason);
	if (r == -EEXIST)
		return r;
	c->is_made = r == 0;
	return r < 0 ? complain(r, reason, "session %s", c->name) : 0;
}

static int
create_named(struct child *c, struct context *x, const char *name, const char *program, const char *quota)
{
	int status = -EEXIST;

	if (name) {
		c->name = strdup(name);
		status = c->name ? create(c, x, quota) : -ENOMEM;
	}
	for (unsigned n = 1; !name && status == -EEXIST && n <= NAMES_MAX; n++) {
		status = name_after(program, n, &c->name);
		if (status == 0)
			status = create(c, x, quota);
	}
	if (status < 0)
		complain(status, NULL, "session %s", c->name ? c->name : "");
	return status ? STATUS_CANNOT : 0;
}

/*
 * By the file system, too: where one of the same name was closed a moment ago the kernel may still lead there, and
 * who only holds on to what it finds, as to make it a program's /cap, would hold on to that. Where the file system
 * is not to be seen from here nobody is misled.
 */
static void
see(const struct child *c, const struct context *x)
{
	cleanup_text struct text path = {};
	struct statx st;

	text_addf(&path, "%s/%s", x->place.root, c->node.data);
	if (text_done(&path) == 0)
		(void)!statx(AT_FDCWD, path.data, AT_STATX_FORCE_SYNC, STATX_INO, &st);
}

static int
own(struct child *c, struct context *x, const struct owner *owner)
{
	int r = owner_set(x->place.root, c->node.data, owner);

	if (r == 0)
		return 0;
	complain(r, NULL, "session %s: owner", c->name);
	return STATUS_CANNOT;
}

static int
confine(struct child *c, struct context *x, const char *words)
{
	if (!*words)
		return 0;
	return context_write(x, c->node.data, "confine", words, false, "confine") ? STATUS_CANNOT : 0;
}

/* --- what it is granted --- */

int
child_grant(struct child *c, struct context *x, const char *node, const char *how, char **ret_slot)
{
	return capc_grant(x->session, node, c->name, how, ret_slot);
}

const char *
child_slot(const struct child *c, const char *word)
{
	for (size_t i = 0; i < c->n_grants; i++)
		if (strcmp(c->grants[i].word, word) == 0)
			return c->grants[i].slot;
	return NULL;
}

/* Of the session that the new one is below, since it is named from there. */
static int
slot_node(const struct child *c, struct context *x, const char *word, struct text *ret)
{
	cleanup_text struct text caps = {};
	int status = context_node(x, "caps", word, ret);

	if (status != 0)
		return status;
	text_add(&caps, c->parent);
	node_append(&caps, "caps/");
	if (text_done(&caps) < 0)
		return complain(ENOMEM, NULL, "%s", word);
	if (strncmp(ret->data, caps.data, caps.n) != 0 || node_kind(ret->data) != NODE_SLOT)
		return complain_usage("'%s' is not a slot of the session that the new one is made in", word);
	return 0;
}

static int
grant(struct child *c, struct context *x, const struct run_given *g)
{
	cleanup_text struct text node = {}, how = {};
	struct child_grant *made = &c->grants[c->n_grants];
	int status = slot_node(c, x, g->slot, &node), r;

	if (status != 0)
		return status;
	if (g->label && word_append(&how, "as", g->label) < 0)
		return complain_usage("--cap=%s: '%s' is no name", g->slot, g->label);
	if (g->limits && run_limits(g->limits, LIMITS_END_OPTION, &how) < 0)
		return complain_usage("--cap=%s: '%s' are no limits", g->slot, g->limits);
	r = text_done(&how);
	if (r == 0)
		r = child_grant(c, x, node.data, how.data, &made->slot);
	if (r == -ENOENT)
		run_complain_slot(x, r, g->slot);
	else if (r < 0)
		complain(r, capc_session_reason(x->session), "grant %s to %s", g->slot, c->name);
	if (r < 0)
		return STATUS_CANNOT;
	made->word = g->slot;
	c->n_grants++;
	return 0;
}

static int
grant_all(struct child *c, struct context *x, const struct run_words *w)
{
	int status = 0;

	c->grants = calloc(w->n_given + 1, sizeof(*c->grants));
	if (!c->grants)
		return complain(ENOMEM, NULL, "run");
	for (size_t i = 0; i < w->n_given && status == 0; i++)
		if (w->given[i].slot)
			status = grant(c, x, &w->given[i]);
	return status;
}

int
child_make(struct child *c, struct context *x, const struct run_words *w, const char *parent, const char *program)
{
	struct owner owner = OWNER_UNCHANGED;
	cleanup_text struct text quota = {}, confinement = {};
	int status = w->uid ? owner_parse(w->uid, &owner) : 0;

	/* A user that has a number only is of the group of that number. */
	if (owner.uid != (uid_t)-1 && owner.gid == (gid_t)-1)
		owner.gid = (gid_t)owner.uid;
	*c = (struct child){.parent = parent};
	if (status == 0)
		status = run_quota(w, &quota);
	if (status == 0)
		status = run_confinement(w, &confinement);
	if (status != 0)
		return status == STATUS_USAGE ? status : STATUS_CANNOT;
	status = create_named(c, x, w->new_name, program, quota.data);
	if (status == 0) {
		see(c, x);
		status = own(c, x, &owner);
	}
	if (status == 0)
		status = confine(c, x, confinement.data);
	if (status == 0)
		status = grant_all(c, x, w);
	if (status != 0)
		child_close(c, x);
	return status;
}
