/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy: what the children of a session get by asking alone. All of it is written at once, and understood before
 * any of it counts; what the one before gave and this one would not is ended, and nothing else. The reply waits
 * for that.
 */
#include "config.h"

#include "capfsd/verbs/asking/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/ops/reductions.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/asking/answer.h"
#include "capfsd/verbs/verbs.h"

#define DENY "deny"
#define KEYS_OF_RULES (KEYS_REDUCTIONS & ~KEY_BIT(KEY_IMMUTABLE))

/* The next word of the line; nothing when it has no more. */
static struct word
next_word(struct word *left)
{
	struct word w = {};

	while (left->n > 0 && *left->p == ' ')
		left->p++, left->n--;
	w.p = left->p;
	while (left->n > 0 && *left->p != ' ')
		left->p++, left->n--, w.n++;
	return w;
}

static bool
is_label(const char *p, size_t n)
{
	while (n > 0) {
		const char *slash = memchr(p, '/', n);
		size_t part = slash ? (size_t)(slash - p) : n;

		if (!name_is_valid(p, part) || (slash && part + 1 == n))
			return false;
		p += part + (slash != NULL);
		n -= part + (slash != NULL);
	}
	return true;
}

/* A label, one with a slash and a star behind it, an end behind a star and a slash, or a star alone. */
static bool
is_pattern(const struct word *w)
{
	if (w->n == 0 || w->n > LABEL_BYTES_MAX + 2)
		return false;
	if (w->n == 1 && *w->p == '*')
		return true;
	if (w->n > 2 && memcmp(w->p, "*/", 2) == 0)
		return is_label(w->p + 2, w->n - 2);
	if (w->n > 2 && memcmp(w->p + w->n - 2, "/*", 2) == 0)
		return is_label(w->p, w->n - 2);
	return is_label(w->p, w->n);
}

/* What the line says of a mistake stands in R, which is told with its number. */
static bool
parse_rule(struct request *r, const char *text, struct word line, struct rule *ret)
{
	struct word pattern = next_word(&line), name = next_word(&line), slot = next_word(&line);

	if (!is_pattern(&pattern))
		return refuse(r, EINVAL, "'%.*s' is no label, LABEL/*, */NAME or *", (int)pattern.n, pattern.p);
	if (!name_is_valid(name.p, name.n) || !name_is_valid(slot.p, slot.n))
		return refuse(r, EINVAL, "a rule is PATTERN NAME SLOT [reductions], or PATTERN NAME deny");
	while (line.n > 0 && *line.p == ' ')
		line.p++, line.n--;
	*ret = (struct rule){
		.text = text,
		.pattern = (uint16_t)(pattern.p - text),
		.n_pattern = (uint16_t)pattern.n,
		.name = (uint16_t)(name.p - text),
		.n_name = (uint16_t)name.n,
		.slot = (uint16_t)(slot.p - text),
		.n_slot = (uint16_t)slot.n,
		.words = (uint16_t)(line.p - text),
		.n_words = (uint16_t)line.n,
		.denies = slot.n == strlen(DENY) && memcmp(slot.p, DENY, slot.n) == 0,
	};
	return !ret->denies || line.n == 0 || refuse(r, EINVAL, "nothing stands behind 'deny'");
}

/* The words of a rule, with times from now on. */
static bool
rule_reductions(struct request *r, const struct rule *rule, struct text *only, struct reductions *ret)
{
	struct command command = {};

	*ret = (struct reductions){};
	return rule->n_words == 0 || (command_parse(r, rule->text + rule->words, rule->n_words, KEYS_OF_RULES, &command) &&
					     command_reductions(r, &command, only, ret));
}

static bool
add_rule(struct request *r, struct rules *rules, const struct rule *rule, const struct reductions *how)
{
	const struct rule *same = rules_same(rules, rule);
	int e;

	if (same)
		return refuse(r, EINVAL, "line %" PRIu32 " says already what %.*s gets as %.*s", same->line, (int)rule->n_pattern, rule_pattern(rule), (int)rule->n_name, rule_name(rule));
	e = rules_add(rules, rule, rule->n_words > 0 ? how : NULL);
	if (e == -E2BIG)
		return refuse(r, EINVAL, "a policy has at most %d rules", RULES_MAX);
	return e == 0 || refuse(r, ENOMEM, "the daemon is out of memory");
}

static bool
is_rule(struct word line)
{
	struct word first = next_word(&line);

	return first.n > 0 && *first.p != '#';
}

/*
 * One line. A rule that was KEPT, and whose time is over by now, gives nothing any more, and says so to who asks;
 * it is no reason not to start.
 */
static bool
parse_line(struct request *r, struct rules *rules, struct word w, uint32_t line, bool kept)
{
	cleanup_text struct text only = {};
	struct reductions how;
	struct rule rule;

	if (!command_is_printable(r, w.p, w.n))
		return false;
	if (!is_rule(w))
		return true;
	if (!parse_rule(r, rules->text, w, &rule))
		return false;
	rule.line = line;
	if (!rule_reductions(r, &rule, &only, &how)) {
		if (!kept)
			return false;
		how = (struct reductions){.has_calls = true};
	}
	return add_rule(r, rules, &rule, &how);
}

bool
policy_parse(struct request *r, struct rules *rules, bool kept)
{
	struct request of_line = {.model = r->model};
	const char *p = rules->text, *end = p + rules->n_text;
	bool good = true;

	for (uint32_t line = 1; good && p < end; line++) {
		const char *feed = memchr(p, '\n', (size_t)(end - p));
		struct word w = {p, (size_t)((feed ? feed : end) - p)};

		p = feed ? feed + 1 : end;
		good = parse_line(&of_line, rules, w, line, kept);
		if (!good)
			refuse(r, of_line.error, "line %" PRIu32 ": %s", line,
				of_line.text.data ? of_line.text.data : "?");
	}
	request_deinit(&of_line);
	return good;
}

/* Who appends to the file adds to what it has. */
static struct rules *
make_rules(struct operation *o)
{
	struct session *s = session_of(o->subject);
	struct request *r = o->request;
	cleanup_text struct text t = {};
	struct rules *rules;

	if (r->appends)
		policy_text(s, &t);
	if (r->appends && t.n > 0 && t.data[t.n - 1] != '\n')
		text_add(&t, "\n");
	text_add_n(&t, o->text.p, o->text.n);
	if (o->text.n > 0)
		text_add(&t, "\n");
	if (text_done(&t) < 0) {
		refuse(r, ENOMEM, "the daemon is out of memory");
		return NULL;
	}
	if (t.n > RULES_BYTES_MAX) {
		refuse(r, EMSGSIZE, "a policy has at most %d bytes", RULES_BYTES_MAX);
		return NULL;
	}
	rules = rules_new(t.data, t.n);
	if (!rules)
		refuse(r, ENOMEM, "the daemon is out of memory");
	else if (!policy_parse(r, rules, false))
		rules = rules_free(rules);
	return rules;
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	struct request *r = o->request;
	struct rules *rules;
	size_t n;
	int e;

	if (s->record.state != SESSION_RUNNING)
		return refuse(r, EBUSY, "the session is being closed");
	rules = make_rules(o);
	if (!rules)
		return 0;
	n = rules->n;
	e = policy_set(o->change, s, rules, &r->pending);
	if (e) {
		rules_free(rules);
		return e > 0 ? refuse_quota(r, s, QUOTA_RAM) : e;
	}
	text_addf(&r->text, "rules=%zu", n);
	operation_tell(o, s, " rules=%zu uid=%u", n, (unsigned)r->uid);
	return 0;
}

static void
usage(struct request *r, struct entity *e, struct text *t)
{
	text_add(t, "PATTERN NAME SLOT [reductions], or PATTERN NAME deny; a line each, all of them in one write\n");
}

const struct verb verb_policy = {
	VERB_ROW(POLICY, policy),
	.lasting = true,
	.wordless = true,
	.usage = usage,
	.stage = stage,
};

int
policy_give(struct request *r, struct change *ch, const struct asking *asking, const struct rule *rule,
	struct capability **ret)
{
	struct session *parent = asking->session->parent;
	struct capability *source;
	cleanup_text struct text only = {};
	struct reductions given;
	int e;

	*ret = NULL;
	if (rule->denies)
		return refuse(r, EACCES, "policy line %" PRIu32 ": deny", rule->line);
	source = find_slot(r, parent, &(struct word){rule_slot(rule), rule->n_slot});
	if (!source || !rule_reductions(r, rule, &only, &given))
		return 0;
	e = answer_with(r, ch, asking, source, &given, ret);
	if (e < 0 || r->error)
		return e;
	e = ruled_add(ch, *ret, asking->name, asking->n_name);
	return e > 0 ? refuse_quota(r, asking->session, QUOTA_RAM) : e;
}

int
policies_make(struct model *m)
{
	struct request r = {.model = m};
	bool good = true;

	for (struct policy *p = policy_to_make(m, NULL); p && good; p = policy_to_make(m, p)) {
		cleanup_text struct text t = {};

		policy_text(p->session, &t);
		if (text_done(&t) < 0)
			return -ENOMEM;
		p->rules = rules_new(t.data, t.n);
		good = p->rules && policy_parse(&r, p->rules, true);
		policy_charge(p);
	}
	request_deinit(&r);
	return good ? 0 : -EBADMSG;
}
