/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events in the journal, when capfsd was started with --audit: an entry for each, whose fields are
 * those of its line. It owns nothing but a count in each session directly below the root.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct event_told;

#define AUDIT_FIELDS_MAX 18
#define AUDIT_NUMBERS 3 /* of these have no text: the event's number, its count, and what was left out */
#define AUDIT_BYTES_MAX 1024

/* One entry. The fields are in `text`, and end with an empty one. */
struct audit_entry {
	struct log_field fields[AUDIT_FIELDS_MAX + 1];
	char text[AUDIT_BYTES_MAX];
	size_t n_fields, n_text;
};

/* What BODY ("refused grant session=init/b slot=kv uid=0 EPERM: no") says, as fields. */
void audit_encode(const char *body, size_t n, struct audit_entry *ret);

/* For the model's hook. */
void audit_event(const struct event_told *told);
