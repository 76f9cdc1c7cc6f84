/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of caps/SLOT/why: every rule that a connection through the slot passes (passage.h), and how that ends. */
#pragma once

#include <stdbool.h>

struct entity;
struct request;
struct text;

void why_read(struct request *r, struct entity *e, struct text *t);
/* Always: what it depends on, quota, time, who waits, changes without a word to it. */
bool why_restless(const struct entity *e);
