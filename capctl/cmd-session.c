/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl session create, session close, transfer-quota. */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/number.h"
#include "capctl/command.h"

/* A server whose entrypoint was ended needs this long at most to be noticed. */

struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* -1: unchanged, like the other two */
};

static int
parse_id(const char *word, size_t n, unsigned *ret)
{
	uint64_t id;

	if (number_parse(word, n, false, &id) < 0 || id >= UINT32_MAX)
		return -EINVAL;
	*ret = (unsigned)id;
	return 0;
}

/* USER or USER:GROUP, by name or number; a user's own group goes with the user. */
static int
parse_owner(const char *word, struct owner *ret)
{
	size_t n = strcspn(word, ":");
	cleanup_free char *user = strndup(word, n);
	const char *group = word[n] ? word + n + 1 : NULL;
	const struct passwd *pw;
	const struct group *gr;

	if (!user)
		return complain(ENOMEM, NULL, "--owner");
	pw = getpwnam(user);
	if (pw) {
		ret->uid = pw->pw_uid;
		ret->gid = pw->pw_gid;
	} else if (parse_id(user, n, &ret->uid) < 0) {
		return complain_usage("there is no user '%s'", user);
	}
	if (!group)
		return 0;
	gr = getgrnam(group);
	if (gr)
		ret->gid = gr->gr_gid;
	else if (parse_id(group, strlen(group), &ret->gid) < 0)
		return complain_usage("there is no group '%s'", group);
	return 0;
}

static int
parse_mode(const char *word, struct owner *ret)
{
	char *end;
	unsigned long mode = strtoul(word, &end, 8);

	if (*word < '0' || *word > '7' || *end || mode > 0777)
		return complain_usage("'%s' is not an octal mode", word);
	ret->mode = (mode_t)mode;
	return 0;
}

/* By the file system: the kernel's rules decide who may. Returns: 0 or -errno. */
static int
set_owner(const char *root, const char *node, const struct owner *o)
{
	cleanup_text struct text path = {};

	text_addf(&path, "%s/%s", root, node);
	if (text_done(&path) < 0)
		return -ENOMEM;
	/* The mode first: after chown(2) only root may. */
	if (o->mode != (mode_t)-1 && chmod(path.data, o->mode) < 0)
		return -errno;
	if ((o->uid != (uid_t)-1 || o->gid != (gid_t)-1) && chown(path.data, o->uid, o->gid) < 0)
		return -errno;
	return 0;
}

static int
create(struct context *x, const char *node, const char *name, const char *quota,
	const struct owner *owner)
{
	cleanup_free char *reason = NULL;
	cleanup_free char *ignored = NULL;
	int e = context_create(x, node, quota, &reason);

	if (e < 0)
		return complain(e, reason, "session create %s", name);
	e = set_owner(x->place.root, node, owner);
	if (e == 0)
		return STATUS_DONE;
	/* All or nothing: a session with the wrong owner is in nobody's interest. */
	complain(e, NULL, "session create %s: owner and mode", name);
	if (context_remove(x, node, &ignored) < 0)
		fprintf(stderr, "capctl: session create %s: the session is left behind\n", name);
	return STATUS_FAILED;
}

static int
run_create(struct context *x, int argc, char **argv)
{
	struct owner owner = {(uid_t)-1, (gid_t)-1, (mode_t)-1};
	cleanup_text struct text node = {};
	cleanup_text struct text quota = {};
	int status = STATUS_DONE;

	if (x->options.owner)
		status = parse_owner(x->options.owner, &owner);
	if (status == STATUS_DONE && x->options.mode)
		status = parse_mode(x->options.mode, &owner);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status == STATUS_DONE)
		status = command_words(&quota, argv + 1, argc - 1);
	if (status != STATUS_DONE)
		return status;
	if (!*argv[0] || session_node(argv[0], &node) < 0)
		return complain_usage("'%s' cannot be the name of a session", argv[0]);
	if (text_done(&node) < 0 || text_done(&quota) < 0)
		return complain(ENOMEM, NULL, "session create");
	status = context_open(x);
	if (status != STATUS_DONE)
		return status;
	return create(x, node.data, argv[0], quota.data ? quota.data : "", &owner);
}

const struct command command_session_create = {
	.name = "session create",
	.arguments = "NAME [--owner=USER[:GROUP]] [--mode=MODE] [KIND=N…]",
	.summary = "make a child session, with a first donation of quota",
	.options = OPTION_OWNER | OPTION_MODE,
	.n_min = 1,
	.n_max = -1,
	.run = run_create,
};

/* "sessions/app/sessions/db" as the library wants it: "app/db". */
static void
add_session_name(struct text *t, const char *node)
{
	bool is_name = false;

	for (; *node; is_name = !is_name) {
		size_t n = strcspn(node, "/");

		if (is_name)
			text_addf(t, "%s%.*s", t->n > 0 ? "/" : "", (int)n, node);
		node += n + (node[n] == '/');
	}
}

static int
run_close(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_text struct text name = {};
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	if (!*argv[0] || session_node(argv[0], &node) < 0)
		return complain_usage("'%s' cannot be the name of a session", argv[0]);
	add_session_name(&name, node.data);
	if (text_done(&node) < 0 || text_done(&name) < 0)
		return complain(ENOMEM, NULL, "session close");
	e = capc_session_close(x->session, name.data,
		options_have(&x->options, OPTION_ALL) ? CAPC_CLOSE_ALL : 0);
	if (e == 0)
		return STATUS_DONE;
	return complain(e, capc_session_reason(x->session), "session close %s", argv[0]);
}

const struct command command_session_close = {
	.name = "session close",
	.arguments = "NAME [--all]",
	.summary = "close a child session; --all ends its servers and its own children first",
	.options = OPTION_ALL,
	.n_min = 1,
	.n_max = 1,
	.run = run_close,
};

static int
run_transfer_quota(struct context *x, int argc, char **argv)
{
	const struct options *o = &x->options;
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	int status = STATUS_DONE;

	if (o->to && o->from)
		return complain_usage("transfer-quota takes one of --to, --from");
	if (o->to || o->from)
		status = command_word(&how, o->to ? "to" : "from", o->to ? o->to : o->from);
	if (status == STATUS_DONE)
		status = command_words(&how, argv, argc);
	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "transfer-quota %s", how.data ? how.data : "");
	if (text_done(&how) < 0 || text_done(&what) < 0)
		return complain(ENOMEM, NULL, "transfer-quota");
	return context_write(
		x, node.data ? node.data : "", "transfer_quota", how.data, false, what.data);
}

const struct command command_transfer_quota = {
	.name = "transfer-quota",
	.arguments = "--to=SESSION|--from=SESSION KIND=N…",
	.summary = "move quota between a session and its child",
	.options = OPTION_TO | OPTION_FROM,
	.n_min = 1,
	.n_max = -1,
	.run = run_transfer_quota,
};
