/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread of a process that the daemon has not started asks to be shown as one of a session. As perform(). */
#pragma once

struct exchange;

int perform_register(struct exchange *x);
