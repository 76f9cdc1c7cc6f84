/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `checkpoint`: what is needed to make a session and all below it again, elsewhere or here, a line for each thing
 * (capfs-checkpoint(5)). It is the state of one moment though it is made in pieces: where something was
 * changed meanwhile it is begun anew, and in the end says that it is torn.
 */
#pragma once

#include <stdbool.h>

struct entity;
struct reading;
struct request;
struct text;

/* Adds a piece to T, and moves AT on. Returns: is there more? */
bool checkpoint_read(struct request *r, struct entity *e, struct reading *at, struct text *t);
