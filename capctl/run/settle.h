/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Words for a session of a program's own, that come from several places: what a profile says, and behind it what
 * the command line adds. What is a list grows, anything else is as the last one has it.
 */
#pragma once

#include "capctl/run/words.h"

#include "base/text.h"

/* Of --quota and --confine; nothing was said: "". Complain to stderr. Return: 0, or STATUS_USAGE. */
int run_quota(const struct run_words *w, struct text *ret);
int run_confinement(const struct run_words *w, struct text *ret);

/*
 * Appends the limits of a slot, with a blank before each: TEXT has them with commas or blanks in between, as in
 * "calls=200,rights=call,fds,expires=30m". A caveat ends where one of ENDS does, or with its quotes.
 * Returns: 0 or -EINVAL; says nothing.
 */
int run_limits(const char *text, const char *ends, struct text *ret);

#define LIMITS_END_OPTION ","  /* of --cap, whose caveats may have blanks without quotes */
#define LIMITS_END_LEAF ", \t\n" /* of a leaf */
