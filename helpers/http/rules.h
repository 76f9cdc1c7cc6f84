/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Caveats as HAProxy compares with them: one regular expression for all that count for a capability.
 *
 * A caveat is a pattern of capc_glob() for "METHOD PATH", as in "GET /images/json", and the path may have an API's
 * version before it that the caveat does not name, "/v1.41". Of each group of caveats one has to allow a request,
 * and what is no pattern allows none.
 *
 * No request makes the comparison slow, whatever the caveats: each wildcard but the last takes the first that
 * fits, for good, as the next one takes all that this could have taken in its place.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct capc_caller;
struct text;

/* Appends what matches "KEY METHOD PATH", the path being decoded and of one line, if the caveats allow it. */
void rules_pattern(const struct capc_caller *caller, uint32_t key, struct text *t);

/* Appends them for who is refused: only='GET /a', 'GET /b' and only='GET /c', of two groups. */
void rules_words(const struct capc_caller *caller, struct text *t);
