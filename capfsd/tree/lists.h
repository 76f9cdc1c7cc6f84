/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Texts with a line for each of what may be a million. They are made in pieces, between which others
 * are served (struct reading, rows.h), and end after LISTS_LINES_MAX lines with "... more".
 */
#pragma once

#include <stdbool.h>

#define LISTS_LINES_MAX 4096
#define LISTS_PIECE_LINES 24 /* some tens of microseconds */

struct entity;
struct reading;
struct request;
struct text;

/* All add to T, and move AT on. Return: is there more? */
bool list_holders(struct request *r, struct entity *e, struct reading *at, struct text *t);
bool list_objects(struct request *r, struct entity *e, struct reading *at, struct text *t);
bool list_requests(struct request *r, struct entity *e, struct reading *at, struct text *t);

/* May that text change without notice? */
bool list_holders_restless(const struct entity *e);
bool list_requests_restless(const struct entity *e);
