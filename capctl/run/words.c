/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/words.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "capctl/command.h"

#define TIMEOUT_MAX 1000000000 /* seconds */

enum {
	WORD_CAP = 256,
	WORD_FD,
	WORD_ENV,
	WORD_CLEAR_ENV,
	WORD_DETACH,
	WORD_NAME,
	WORD_DIE_WITH,
	WORD_TIMEOUT,
	WORD_ARGS,
	WORD_NEW,
	WORD_PROFILE,
	WORD_WORKSPACE,
	WORD_UID,
	WORD_GROUPS,
	WORD_CONFINE,
	WORD_QUOTA,
	WORD_RESTART,
	WORD_OPEN_SOCKETS,
	WORD_SERVE,
	WORD_HEARTBEAT,
};

static const struct option options[] = {
	{"session", required_argument, NULL, 's'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"cap", required_argument, NULL, WORD_CAP},
	{"fd", required_argument, NULL, WORD_FD},
	{"env", required_argument, NULL, WORD_ENV},
	{"clear-env", no_argument, NULL, WORD_CLEAR_ENV},
	{"detach", no_argument, NULL, WORD_DETACH},
	{"name", required_argument, NULL, WORD_NAME},
	{"die-with", no_argument, NULL, WORD_DIE_WITH},
	{"timeout", required_argument, NULL, WORD_TIMEOUT},
	{"args", required_argument, NULL, WORD_ARGS},
	{"new", optional_argument, NULL, WORD_NEW},
	{"profile", required_argument, NULL, WORD_PROFILE},
	{"workspace", required_argument, NULL, WORD_WORKSPACE},
	{"uid", required_argument, NULL, WORD_UID},
	{"groups", required_argument, NULL, WORD_GROUPS},
	{"confine", required_argument, NULL, WORD_CONFINE},
	{"quota", required_argument, NULL, WORD_QUOTA},
	{"restart", required_argument, NULL, WORD_RESTART},
	{"open-sockets", no_argument, NULL, WORD_OPEN_SOCKETS},
	{"serve", required_argument, NULL, WORD_SERVE},
	{"heartbeat", required_argument, NULL, WORD_HEARTBEAT},
	{},
};

/* What stands before the '=' of WORD stays there. Returns: what stands behind it, or NULL. */
static char *
cut(char *word)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	return value;
}

/* As others will look for it. */
static int
check_label(const char *label)
{
	if (name_is_valid(label, strlen(label)))
		return 0;
	complain_usage("'%s' cannot be the name of a descriptor", label);
	return -EINVAL;
}

/* SLOT[=NAME][,LIMIT...] */
static int
add_slot(struct run_words *w, char *word)
{
	struct run_given *g = &w->given[w->n_given++];
	char *comma = strchr(word, ',');

	g->fd = -1;
	if (comma) {
		*comma = '\0';
		g->limits = comma + 1;
	}
	g->slot = word;
	g->label = cut(word);
	return g->label ? check_label(g->label) : 0;
}

/* NAME=N */
static int
add_fd(struct run_words *w, char *word)
{
	struct run_given *g = &w->given[w->n_given++];
	char *value = cut(word);
	uint64_t n;

	if (!value || number_parse(value, strlen(value), false, &n) < 0 || n > INT_MAX) {
		complain_usage("--fd takes NAME=N, a number of a descriptor");
		return -EINVAL;
	}
	g->label = word;
	g->fd = (int)n;
	return check_label(g->label);
}

static int
add_env(struct run_words *w, char *word)
{
	if (!strchr(word, '=') || word[0] == '=') {
		complain_usage("--env takes KEY=VALUE, not '%s'", word);
		return -EINVAL;
	}
	w->env[w->n_env++] = word;
	return 0;
}

static int
set_timeout(struct run_words *w, const char *word)
{
	uint64_t n;

	if (number_parse(word, strlen(word), false, &n) < 0 || n == 0 || n > TIMEOUT_MAX) {
		complain_usage("--timeout takes a number of seconds, not '%s'", word);
		return -EINVAL;
	}
	w->timeout_usec = n * 1000000;
	return 0;
}

unsigned
run_words_restart(const char *word)
{
	if (strcmp(word, "on-failure") == 0)
		return CAPC_SPAWN_RESTART;
	return strcmp(word, "always") == 0 ? CAPC_SPAWN_RESTART_ALWAYS : 0;
}

int
run_words_heartbeat(const char *word, struct run_heartbeat *ret)
{
	const char *colon = strchr(word, ':');
	size_t n = colon ? (size_t)(colon - word) : strlen(word);
	uint64_t sec, max = 0;

	if (number_parse(word, n, false, &sec) < 0 || sec < 1 || sec > UINT16_MAX)
		return -EINVAL;
	if (colon && (number_parse(colon + 1, strlen(colon + 1), false, &max) < 0 || max < 1 || max > UINT8_MAX))
		return -EINVAL;
	*ret = (struct run_heartbeat){(unsigned)sec, (unsigned)max};
	return 0;
}

static int
set_new_name(struct run_words *w, const char *name)
{
	w->is_new = true;
	if (name && !name_is_valid(name, strlen(name))) {
		complain_usage("'%s' cannot be the name of a session", name);
		return -EINVAL;
	}
	w->new_name = name;
	return 0;
}

/* What makes a session of the program's own. */
static int
take_of_new(struct run_words *w, int c, char *value)
{
	switch (c) {
	case WORD_NEW:
		return set_new_name(w, value);
	case WORD_PROFILE:
		w->profile = value;
		w->is_new = true;
		return 0;
	case WORD_WORKSPACE:
		w->workspace = value;
		w->is_new = true;
		return 0;
	case WORD_UID:
		w->uid = value;
		return 0;
	case WORD_CONFINE:
		w->confine[w->n_confine++] = value;
		return 0;
	case WORD_QUOTA:
		w->quota[w->n_quota++] = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static int
take(struct run_words *w, int c, char *value)
{
	switch (c) {
	case 's':
		w->session = value;
		return 0;
	case 'h':
		w->help = true;
		return 0;
	case 'V':
		w->version = true;
		return 0;
	case WORD_CAP:
		return add_slot(w, value);
	case WORD_FD:
		return add_fd(w, value);
	case WORD_ENV:
		return add_env(w, value);
	case WORD_CLEAR_ENV:
		w->clear_env = true;
		return 0;
	case WORD_DETACH:
		w->detach = true;
		return 0;
	case WORD_NAME:
		w->name = value;
		return 0;
	case WORD_GROUPS:
		return owner_parse_groups(value, w->groups, &w->n_groups) ? -EINVAL : 0;
	case WORD_DIE_WITH:
		w->die_with = true;
		return 0;
	case WORD_OPEN_SOCKETS:
		w->open_sockets = true;
		return 0;
	case WORD_TIMEOUT:
		return set_timeout(w, value);
	case WORD_RESTART:
		w->restart = run_words_restart(value);
		if (w->restart)
			return 0;
		complain_usage("--restart takes on-failure or always, not '%s'", value);
		return -EINVAL;
	case WORD_HEARTBEAT:
		if (run_words_heartbeat(value, &w->heartbeat) == 0)
			return 0;
		complain_usage("--heartbeat takes SECONDS[:N], not '%s'", value);
		return -EINVAL;
	case WORD_SERVE:
		w->serve = value;
		return 0;
	case WORD_ARGS:
		w->args = value;
		return 0;
	default:
		return take_of_new(w, c, value);
	}
}

static int
check_together(const struct run_words *w)
{
	if (w->detach && w->die_with) {
		complain_usage("--die-with does not go with --detach: capctl is gone at once");
		return -EINVAL;
	}
	if (!w->is_new && (w->uid || w->n_confine > 0 || w->n_quota > 0)) {
		complain_usage("--uid, --confine and --quota are of a session of the program's own: --new");
		return -EINVAL;
	}
	for (size_t i = 0; i < w->n_given && !w->is_new; i++)
		if (w->given[i].limits) {
			complain_usage("--cap=%s: limits are of a session of the program's own: --new",
				w->given[i].slot);
			return -EINVAL;
		}
	return 0;
}

const char *
run_words_profile(int argc, char **argv)
{
	const char *profile = NULL;
	int c, said = opterr;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+s:hV", options, NULL)) != -1 && c != '?')
		if (c == WORD_PROFILE)
			profile = optarg;
	opterr = said;
	return profile;
}

int
run_words_parse(struct run_words *w, int argc, char **argv)
{
	int c, r = 0;

	*w = (struct run_words){.timeout_usec = CAPC_TIMEOUT_USEC};
	/* There are no more of them than words. */
	w->given = calloc((size_t)argc, sizeof(*w->given));
	w->env = calloc((size_t)argc, sizeof(*w->env));
	w->confine = calloc((size_t)argc, sizeof(*w->confine));
	w->quota = calloc((size_t)argc, sizeof(*w->quota));
	if (!w->given || !w->env || !w->confine || !w->quota) {
		complain(ENOMEM, NULL, "run");
		return -EINVAL;
	}
	optind = 0; /* starts glibc's scanner anew */
	while (r == 0 && (c = getopt_long(argc, argv, "+s:hV", options, NULL)) != -1)
		r = take(w, c, optarg);
	if (r == 0 && !w->help && !w->version)
		r = check_together(w);
	w->ended = optind > 1 && strcmp(argv[optind - 1], "--") == 0;
	return r < 0 ? r : optind;
}

void
run_words_deinit(struct run_words *w)
{
	free(w->given);
	free(w->env);
	free(w->confine);
	free(w->quota);
}

/* Puts VARIABLE in the place of one with the same key, if there is such a one. Returns: how many there are. */
static size_t
put(char **all, size_t n, char *variable)
{
	size_t n_key = strcspn(variable, "=") + 1;

	for (size_t i = 0; i < n; i++)
		if (strncmp(all[i], variable, n_key) == 0) {
			all[i] = variable;
			return n;
		}
	all[n] = variable;
	return n + 1;
}

char **
run_words_environment(const struct run_words *w, char *const *inherited)
{
	size_t n = 0, n_inherited = 0;
	char **all;

	while (!w->clear_env && inherited[n_inherited])
		n_inherited++;
	all = calloc(n_inherited + w->n_env + 1, sizeof(*all));
	if (!all)
		return NULL;
	for (size_t i = 0; i < n_inherited; i++)
		if (strncmp(inherited[i], "CAP_ARGS_FD=", strlen("CAP_ARGS_FD=")) != 0)
			all[n++] = inherited[i];
	for (size_t i = 0; i < w->n_env; i++)
		n = put(all, n, w->env[i]);
	return all;
}
