/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client was passed on by another session: how it proves that, and what it does with it. */
#pragma once

struct control;
struct exchange;

/* Nothing is proved, nor asked for. */
void vouch_drop(struct control *c);

/* Return: as perform(). */
int perform_challenge(struct exchange *x);
int perform_import(struct exchange *x);
int perform_identify(struct exchange *x);
