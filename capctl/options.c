/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>

struct row {
	const char *name;
	enum option_bit bit;
	char letter; /* 0: it has none */
	bool has_value;
	size_t offset; /* of its value in struct options */
};

#define VALUE(member) true, offsetof(struct options, member)

static const struct row rows[] = {
	{"cap", OPTION_CAP, 'c', VALUE(cap)},
	{"session", OPTION_SESSION, 's', VALUE(session)},
	{"via", OPTION_VIA, 0, VALUE(via)},
	{"help", OPTION_HELP, 'h', false, 0},
	{"version", OPTION_VERSION, 'V', false, 0},
	{"from", OPTION_FROM, 0, VALUE(from)},
	{"to", OPTION_TO, 0, VALUE(to)},
	{"id", OPTION_ID, 0, VALUE(id)},
	{"self", OPTION_SELF, 0, false, 0},
	{"owner", OPTION_OWNER, 0, VALUE(owner)},
	{"mode", OPTION_MODE, 0, VALUE(mode)},
	{"all", OPTION_ALL, 0, false, 0},
	{"follow", OPTION_FOLLOW, 'f', false, 0},
	{"proxy", OPTION_PROXY, 0, VALUE(proxy)},
	{"inetd", OPTION_INETD, 0, false, 0},
	{"once", OPTION_ONCE, 0, false, 0},
	{"wait", OPTION_WAIT, 0, VALUE(wait)},
	{"idle", OPTION_IDLE, 0, VALUE(idle)},
	{"max", OPTION_MAX, 0, VALUE(max)},
	{"socket", OPTION_SOCKET, 0, VALUE(socket)},
	{"listen", OPTION_LISTEN, 0, false, 0},
	{"as", OPTION_AS, 0, VALUE(as)},
	{"hold", OPTION_HOLD, 0, VALUE(hold)},
	{"backlog", OPTION_BACKLOG, 0, VALUE(backlog)},
	{"fds", OPTION_FDS, 0, false, 0},
	{"user", OPTION_USER, 0, VALUE(user)},
	{"as-caller", OPTION_AS_CALLER, 0, false, 0},
	{"lend-root", OPTION_LEND_ROOT, 0, false, 0},
	{"send-proxy", OPTION_SEND_PROXY, 0, false, 0},
	{"step-aside", OPTION_STEP_ASIDE, 0, false, 0},
	{"stop", OPTION_STOP, 0, false, 0},
	{"detach", OPTION_DETACH, 0, false, 0},
	{"svg", OPTION_SVG, 0, false, 0},
	{"html", OPTION_HTML, 0, false, 0},
	{"http", OPTION_HTTP, 0, false, 0},
	{"caveats", OPTION_CAVEATS, 0, false, 0},
	{"check", OPTION_CHECK, 0, false, 0},
	{"wait-backend", OPTION_WAIT_BACKEND, 0, VALUE(wait_backend)},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))
#define LONG_BASE 256 /* above every letter */

static void
make_tables(struct option *longs, char *letters, bool stop)
{
	char *p = letters;

	if (stop)
		*p++ = '+';
	for (size_t i = 0; i < N_ROWS; i++) {
		longs[i] =
			(struct option){rows[i].name, rows[i].has_value, NULL, LONG_BASE + (int)i};
		if (!rows[i].letter)
			continue;
		*p++ = rows[i].letter;
		if (rows[i].has_value)
			*p++ = ':';
	}
	longs[N_ROWS] = (struct option){};
	*p = '\0';
}

static const struct row *
row_find(int c)
{
	if (c >= LONG_BASE)
		return &rows[c - LONG_BASE];
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].letter == c)
			return &rows[i];
	return NULL;
}

static const struct row *
row_of(enum option_bit bit)
{
	const struct row *row = rows;

	while (row->bit != bit)
		row++;
	return row;
}

static const char **
value_of(struct options *o, const struct row *row)
{
	return (const char **)((char *)o + row->offset);
}

const char *
options_name(const struct options *o, enum option_bit bit, const char **ret_value)
{
	const struct row *row = row_of(bit);

	*ret_value = row->has_value ? *value_of((struct options *)(uintptr_t)o, row) : NULL;
	return row->name;
}

void
options_set(struct options *o, enum option_bit bit, const char *value)
{
	o->given |= bit;
	*value_of(o, row_of(bit)) = value;
}

int
options_parse(struct options *o, int argc, char **argv, uint64_t allowed, bool stop)
{
	struct option longs[N_ROWS + 1];
	char letters[2 * N_ROWS + 2];
	int c;

	make_tables(longs, letters, stop);
	optind = 0; /* starts glibc's scanner anew */
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct row *row = c == '?' ? NULL : row_find(c);

		if (!row)
			return -EINVAL;
		if (!(allowed & row->bit)) {
			fprintf(stderr, "capctl: --%s does not belong here\n", row->name);
			return -EINVAL;
		}
		o->given |= row->bit;
		if (row->has_value)
			*value_of(o, row) = optarg;
	}
	return optind;
}
