/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program is asked for. Returns: as perform(). */
#pragma once

struct exchange;

int perform_spawn(struct exchange *x);
