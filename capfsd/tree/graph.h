/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `graph.dot`: a session and what is below it in the language of graphviz. Sessions are clusters in
 * clusters, objects and slots are nodes; one sort of arrow tells who may call what, the other what was
 * derived from what. Only its names and classes are for programs; the rest is for people's eyes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define GRAPH_NODES_MAX 65536 /* then comes "// ... more" */

struct entity;
struct reading;
struct request;
struct text;

/* Adds a piece to T, and moves AT on. Returns: is there more? */
bool graph_read(struct request *r, struct entity *e, struct reading *at, struct text *t);

/*
 * Appends what stands between the quotes of a label: nothing in it ends the string, is one of
 * graphviz's escapes or one of HTML's entities. Control characters become blanks, line feeds stay; a backslash
 * becomes U+2216, which looks like it: in tooltips graphviz takes two of them for the begin of an escape all the same.
 */
void graph_quote(struct text *t, const char *s, size_t n);
