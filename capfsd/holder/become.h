/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The holder becomes another binary, with its pid and the whole of its table. Only while no broker lives,
 * and only a binary that orders_receive() has brought.
 */
#pragma once

#include <stdint.h>

struct boot;

/* GENERATION is that of the boot block from then on. Returns only if it cannot be done: -errno. */
int become_binary(const struct boot *boot, int binary, uint32_t generation);
