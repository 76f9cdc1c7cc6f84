/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each operation of the control protocol does. */
#pragma once

struct control;
struct exchange;

/* Does what is asked; the reply stands in X. Returns: 0, -errno for what ends the daemon. */
int perform(struct exchange *x);
/* The reply is on its way: a snapshot whose last piece it was is dropped. */
void perform_done(struct exchange *x);
/* C ends. */
void perform_forget(struct control *c);
