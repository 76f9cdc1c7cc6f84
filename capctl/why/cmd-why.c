/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl why: the daemon says rule by rule whether a connection would get through, by the rules that it asks itself
 * (caps/SLOT/why). Here it gets words, what only a client can know, and commands that make it so.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/why/why.h"

/* The exit status where neither yes nor no can be said. */
#define STATUS_UNKNOWN 2

const char *
next_line(const char **at, size_t *ret_n)
{
	const char *line = *at;

	if (!line || !*line)
		return NULL;
	*ret_n = strcspn(line, "\n");
	*at = line + *ret_n + (line[*ret_n] == '\n');
	return line;
}

bool
rule_find(const char *rules, const char *rule, bool *ret_refused, struct text *ret_details)
{
	size_t n, n_rule = strlen(rule);
	const char *line;

	while ((line = next_line(&rules, &n))) {
		const char *verdict = line + n_rule + 1, *end = line + n;

		if (n <= n_rule || memcmp(line, rule, n_rule) != 0 || line[n_rule] != ' ')
			continue;
		*ret_refused = strncmp(verdict, "refused", strlen("refused")) == 0;
		verdict += *ret_refused ? strlen("refused") : strlen("ok");
		if (verdict < end)
			text_add_n(ret_details, verdict + 1, (size_t)(end - verdict - 1));
		return true;
	}
	return false;
}

void
add_shell_word(const char *word, struct text *t)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+";

	if (*word && !word[strspn(word, plain)]) {
		text_add(t, word);
		return;
	}
	text_add(t, "'");
	for (const char *p = word; *p; p++)
		if (*p == '\'')
			text_add(t, "'\\''");
		else
			text_add_n(t, p, 1);
	text_add(t, "'");
}

void
add_shell_path(const struct why *y, const char *node, struct text *t)
{
	cleanup_text struct text path = {};

	text_addf(&path, "%s%s%s", y->x->place.root, *node ? "/" : "", node);
	if (text_done(&path) < 0)
		t->failed = true;
	else
		add_shell_word(path.data, t);
}

static void
add_command(struct why *y, const char *format, va_list args)
{
	text_vaddf(&y->commands, format, args);
}

void
why_capctl(struct why *y, const char *format, ...)
{
	va_list args;

	text_add(&y->commands, y->commands.n > 0 ? " && capctl " : "capctl ");
	if (y->x->options.cap) {
		text_add(&y->commands, "--cap=");
		add_shell_word(y->x->options.cap, &y->commands);
		text_add(&y->commands, " ");
	}
	va_start(args, format);
	add_command(y, format, args);
	va_end(args);
}

void
why_shell(struct why *y, const char *format, ...)
{
	va_list args;

	if (y->commands.n > 0)
		text_add(&y->commands, " && ");
	va_start(args, format);
	add_command(y, format, args);
	va_end(args);
}

void
why_hint(struct why *y, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vaddf(&y->hints, format, args);
	va_end(args);
	text_add(&y->hints, "\n");
}

static void
add_field(const struct why *y, const char *key, const char *before, struct text *t)
{
	cleanup_text struct text value = {};

	if (field_find(y->info.data, NULL, key, &value) && value.data)
		text_addf(t, "%s%s", before, value.data);
}

/* "init/ci/caps/docker id=31 reaches object 12 of init/docker (served)" */
static void
print_head(const struct why *y)
{
	static const char *const words[][2] = {
		{"yes", "served"}, {"no", "nobody serves"}, {"starting", "its server is being started"},
		{"unreachable", "served, but what is behind its server cannot be reached"}, {"daemon", "by the daemon"},
		{"daemon posted=no", "by the daemon, nothing is posted"}};
	cleanup_text struct text t = {}, served = {};
	bool refused;

	text_addf(&t, "%s/caps/%s", y->label.data, y->name);
	add_field(y, "id", " id=", &t);
	add_field(y, "object", " reaches object ", &t);
	add_field(y, "entrypoint", " of ", &t);
	if (rule_find(y->rules.data, "served", &refused, &served) && served.data)
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strcmp(served.data, words[i][0]) == 0)
				text_addf(&t, " (%s)", words[i][1]);
	if (text_done(&t) == 0)
		printf("%s\n", t.data);
}

/*
 * The last line of the session's events that says so of this slot: "  <- refused 2026-11-28T17:55:53Z (×12)". The
 * line of a refusal that comes again has the time of the last one.
 */
static void
add_recent(struct why *y, const char *error, struct text *t)
{
	cleanup_text struct text events = {}, mine = {}, code = {};
	const char *at, *line, *last = NULL, *count;
	size_t n, n_last = 0;

	if (context_read(y->x, y->session.data ? y->session.data : "", "events", &events) < 0)
		return;
	text_addf(&mine, " session=%s slot=%s ", y->label.data, y->name);
	text_addf(&code, " %s: ", error);
	if (text_done(&mine) < 0 || text_done(&code) < 0)
		return;
	for (at = events.data; (line = next_line(&at, &n));) {
		const char *refused = memmem(line, n, " refused ", 9);

		if (refused && memmem(line, n, mine.data, mine.n) && memmem(line, n, code.data, code.n)) {
			last = line;
			n_last = n;
		}
	}
	if (!last)
		return;
	text_addf(t, ", last %.*s", (int)strcspn(last, " "), last);
	count = memmem(last, n_last, " \u00d7", 3);
	if (count)
		text_addf(t, " (%.*s)", (int)(last + n_last - count - 1), count + 1);
}

/* Every rule that has something to say; " at=…" is for programs. */
static void
print_rules(struct why *y, const char *first, const char *error)
{
	const char *at = y->rules.data, *line;
	size_t n;

	while ((line = next_line(&at, &n))) {
		cleanup_text struct text name = {}, details = {}, mark = {};
		bool refused;
		char *ids;

		text_add_n(&name, line, strcspn(line, " \n"));
		if (text_done(&name) < 0 || !rule_find(line, name.data, &refused, &details) ||
			strcmp(name.data, "refused") == 0)
			continue;
		ids = details.data ? strstr(details.data, "at=") : NULL;
		if (details.data && !ids)
			ids = strstr(details.data, "through=");
		if (ids)
			ids[ids > details.data ? -1 : 0] = '\0';
		if (refused)
			text_add(&mark, "   <- refused here");
		if (refused && strcmp(name.data, first) == 0)
			add_recent(y, error, &mark);
		if (refused || (details.data && *details.data))
			printf("  %-9s %s%s\n", name.data, details.data ? details.data : "", mark.data ? mark.data : "");
	}
}

/* "policy=init line=3": the rule itself, where that can be seen. */
static bool
print_policy(struct why *y)
{
	cleanup_text struct text owner = {}, line = {}, node = {}, policy = {};
	const char *at, *rule = NULL;
	size_t n = 0;

	if (!field_find(y->info.data, NULL, "policy", &owner) || !field_find(y->info.data, NULL, "line", &line))
		return false;
	printf("granted by policy line %s of %s", line.data, owner.data);
	if (label_node(&y->x->place, owner.data, &node) == 0 &&
		context_read(y->x, node.data ? node.data : "", "policy", &policy) == 0) {
		at = policy.data;
		for (unsigned long i = strtoul(line.data, NULL, 10); i > 0; i--)
			rule = next_line(&at, &n);
	}
	if (rule)
		printf(": %.*s", (int)n, rule);
	printf("\n");
	return true;
}

/* Names reach down and never up: what stands above the session that we talk to has none here. */
static const char *
name_of(struct why *y, const char *label)
{
	cleanup_text struct text node = {};

	return label_node(&y->x->place, label, &node) == 0 ? label : "above";
}

/* By what it came here. */
static void
print_given(struct why *y)
{
	cleanup_text struct text parent = {}, by = {}, made = {};

	if (print_policy(y) || !field_find(y->info.data, NULL, "parent", &parent) ||
		!field_find(y->info.data, NULL, "made", &made) || !field_find(y->info.data, NULL, "by", &by))
		return;
	if (strcmp(parent.data, "none") == 0)
		printf("made with its object by %s at %s\n", by.data, made.data);
	else if (strcmp(by.data, "share") == 0)
		printf("shared from %s at %s\n", name_of(y, parent.data), made.data);
	else
		printf("granted from %s by %s at %s\n", name_of(y, parent.data), by.data, made.data);
}

static int
print_end(struct why *y, bool is_open)
{
	if (text_done(&y->commands) < 0 || text_done(&y->hints) < 0)
		return complain(ENOMEM, NULL, "why");
	if (is_open)
		printf("open\n");
	if (y->commands.n > 0)
		printf("To make it so: %s\n", y->commands.data);
	if (y->hints.n > 0)
		fputs(y->hints.data, stdout);
	return is_open ? STATUS_DONE : STATUS_FAILED;
}

/* The slot is there. */
static int
explain(struct why *y)
{
	cleanup_text struct text first = {};
	const char *last = strstr(y->rules.data, "\nrefused "), *error = "";
	bool refused = last;
	int may;

	print_head(y);
	if (refused) {
		last += strlen("\nrefused ");
		text_add_n(&first, last, strcspn(last, " \n"));
		error = last + first.n + (last[first.n] == ' ');
		((char *)(uintptr_t)error)[strcspn(error, "\n")] = '\0';
	}
	if (refused && text_done(&first) < 0)
		return complain(ENOMEM, NULL, "why");
	may = why_access(y, y->x->options.user);
	if (may == -EINVAL)
		return STATUS_UNKNOWN;
	print_rules(y, refused ? first.data : "", error);
	print_given(y);
	why_remedies(y);
	if (!refused && may < 0) {
		printf("open, if the mode bits allow it\n");
		return STATUS_UNKNOWN;
	}
	return print_end(y, !refused && may > 0);
}

/* SESSION and SLOT, or a SLOT as other commands take it. */
static int
find(struct why *y, int argc, char **argv)
{
	struct context *x = y->x;
	const char *slash;
	int status = argc == 2 ? context_session(x, &y->node) : STATUS_DONE;

	if (argc == 2 && status == STATUS_DONE) {
		if (*argv[0] && strcmp(argv[0], ".") != 0 && session_node(argv[0], &y->node) < 0)
			return complain_usage("'%s' is not the name of a session", argv[0]);
		if (!name_is_valid(argv[1], strlen(argv[1])))
			return complain_usage("'%s' is not the name of a slot", argv[1]);
		node_append(&y->node, "caps");
		node_append(&y->node, argv[1]);
	} else if (status == STATUS_DONE) {
		status = context_node(x, "caps", argv[0], &y->node);
	}
	if (status != STATUS_DONE)
		return status;
	if (text_done(&y->node) < 0)
		return complain(ENOMEM, NULL, "why");
	if (node_kind(y->node.data) != NODE_SLOT)
		return complain_usage("'%s' is not the name of a slot", argv[argc - 1]);
	y->name = node_name(y->node.data);
	slash = y->name - strlen("caps/");
	if (slash > y->node.data)
		text_add_n(&y->session, y->node.data, (size_t)(slash - y->node.data - 1));
	session_label(&x->place, y->session.data ? y->session.data : "", &y->label);
	return text_done(&y->session) < 0 || text_done(&y->label) < 0 ? complain(ENOMEM, NULL, "why") : STATUS_DONE;
}

static int
why(struct why *y, int argc, char **argv)
{
	int e, status = context_open(y->x);

	if (status == STATUS_DONE)
		status = find(y, argc, argv);
	if (status != STATUS_DONE)
		return STATUS_UNKNOWN;
	e = context_read(y->x, y->node.data, "why", &y->rules);
	if (e == 0)
		e = context_read(y->x, y->node.data, "info", &y->info);
	if (e == 0)
		return explain(y);
	if (e == -ENOENT) {
		status = why_missing(y);
		return status == STATUS_FAILED ? print_end(y, false) : status;
	}
	complain(e, capc_session_reason(y->x->session), "why %s", y->node.data);
	return STATUS_UNKNOWN;
}

static int
run(struct context *x, int argc, char **argv)
{
	struct why y = {.x = x};
	int status = why(&y, argc, argv);
	struct text *texts[] = {&y.node, &y.session, &y.label, &y.from, &y.source, &y.rules, &y.info, &y.commands, &y.hints};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		text_deinit(texts[i]);
	return status;
}

const struct command command_why = {
	.name = "why",
	.arguments = "[SESSION] SLOT [--user=USER[:GROUP]]",
	.summary = "say rule by rule why a slot can or cannot be reached, and what would make it so",
	.options = OPTION_USER,
	.n_min = 1,
	.n_max = 2,
	.run = run,
};
