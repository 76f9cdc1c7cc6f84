/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The line is the truth: its fields are taken from it, as nobody can forge one there. An entry is sent
 * as all of the log is, at once or not at all, so that a journal that stands still stops nobody.
 *
 * The journal is everybody's, and has a limit of its own for all of capfsd. So each session directly
 * below the root, with all that is below it, may have so many entries in a period, and the root too;
 * of a refusal that comes again and again only each doubling is an entry.
 */
#include "config.h"

#include "capfsd/broker/audit.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/clock.h"
#include "capfsd/model/model.h"
#include "capfsd/process/messages.h"

#define PERIOD_USEC UINT64_C(10000000)
#define ENTRIES_MAX 500 /* in a period */

/* A copy of the N bytes of VALUE behind PREFIX, in the entry; NULL: it has no room. */
static const char *
keep(struct audit_entry *a, const char *prefix, const char *value, size_t n)
{
	char *text = a->text + a->n_text;
	size_t n_prefix = strlen(prefix);

	if (n_prefix + n + 1 > sizeof(a->text) - a->n_text)
		return NULL;
	memcpy(text, prefix, n_prefix);
	memcpy(text + n_prefix, value, n);
	text[n_prefix + n] = '\0';
	a->n_text += n_prefix + n + 1;
	return text;
}

static void
add(struct audit_entry *a, const char *name, const char *value, size_t n)
{
	const char *text = keep(a, "", value, n);

	if (name && text && a->n_fields < AUDIT_FIELDS_MAX - AUDIT_NUMBERS)
		a->fields[a->n_fields++] = (struct log_field){.name = name, .text = text};
}

/* "slot=kv" is CAPFS_SLOT. Keys are of small letters and underscores, or the word is none of ours. */
static bool
add_field(struct audit_entry *a, const char *word, size_t n)
{
	const char *equal = memchr(word, '=', n);
	size_t n_key = equal ? (size_t)(equal - word) : 0;
	char *name;

	if (n_key == 0 || strspn(word, "abcdefghijklmnopqrstuvwxyz_") < n_key)
		return false;
	name = (char *)(uintptr_t)keep(a, "CAPFS_", word, n_key);
	for (char *c = name; c && *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	add(a, name, equal + 1, n - n_key - 1);
	return true;
}

/* Returns: the length of the word at *AT, which moves behind it and its blank. */
static size_t
next_word(const char **at, const char *end)
{
	const char *blank = memchr(*at, ' ', (size_t)(end - *at));
	size_t n = (size_t)((blank ? blank : end) - *at);

	*at += n + (blank ? 1 : 0);
	return n;
}

/* Up to the first word that is no field: the errno of a refusal, whose reason is the message's. */
void
audit_encode(const char *body, size_t n, struct audit_entry *ret)
{
	static const char refused[] = "refused";
	const char *at = body, *end = body + n, *word = at;
	size_t k = next_word(&at, end);
	bool is_refusal = k == sizeof(refused) - 1 && memcmp(word, refused, k) == 0;

	*ret = (struct audit_entry){};
	add(ret, "MESSAGE_ID", MESSAGE_AUDIT, strlen(MESSAGE_AUDIT));
	if (is_refusal) {
		word = at;
		k = next_word(&at, end);
	}
	add(ret, "CAPFS_VERB", word, k);
	do {
		word = at;
		k = next_word(&at, end);
	} while (k > 0 && add_field(ret, word, k));
	if (is_refusal && k > 1 && word[k - 1] == ':')
		add(ret, "CAPFS_ERROR", word, k - 1);
}

/* May this event be an entry? *RET_LEFT_OUT: how many could not, since the last one that could. */
static bool
enter(struct event_rate *rate, uint32_t *ret_left_out)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (rate->n == 0 || now - rate->since_usec >= PERIOD_USEC) {
		*ret_left_out = rate->n_left_out;
		*rate = (struct event_rate){.since_usec = now, .n = 1};
		return true;
	}
	*ret_left_out = 0;
	if (rate->n == ENTRIES_MAX) {
		rate->n_left_out++;
		return false;
	}
	rate->n++;
	return true;
}

/* What it is due to, as far up as there is somebody else beside it. */
static struct session *
payer(struct session *s)
{
	while (s->parent && s->parent->parent)
		s = s->parent;
	return s;
}

static void
add_number(struct audit_entry *a, const char *name, uint64_t number)
{
	a->fields[a->n_fields++] = (struct log_field){.name = name, .number = number};
}

void
audit_event(const struct event_told *told)
{
	char message[EVENT_BYTES_MAX + 32];
	struct audit_entry entry;
	uint32_t left_out;

	if ((told->count & (told->count - 1)) || !enter(&payer(told->by)->audited, &left_out))
		return;
	audit_encode(told->body, told->n_body, &entry);
	add_number(&entry, "CAPFS_EVENT", told->number);
	add_number(&entry, "CAPFS_COUNT", told->count);
	if (left_out > 0)
		add_number(&entry, "CAPFS_LEFT_OUT", left_out);
	snprintf(message, sizeof(message), "%.*s", (int)told->n_body, told->body);
	log_entry(told->refused ? LOG_NOTICE : LOG_INFO, entry.fields, message);
}
