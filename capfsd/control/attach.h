/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two operations that give a descriptor. Return: as perform(). */
#pragma once

struct exchange;

int perform_attach(struct exchange *x);
int perform_open(struct exchange *x);
