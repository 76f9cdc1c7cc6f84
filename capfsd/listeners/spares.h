/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies of sockets and pages that systemd keeps, so that they outlive the whole daemon. This
 * module knows no socket of ours from another: it sends what it is given, and never closes it.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

struct boot;
struct spares;

/* *RET is NULL when nothing is to be kept, which all that follows take. Returns: 0 or -errno. */
int spares_new(sd_event *event, const struct boot *boot, struct spares **ret);
struct spares *spares_free(struct spares *spares);

/* FD is a socket that lives on: it is sent some time, if it does then. */
void spares_add(struct spares *spares, int fd);
/*
 * FD is never sent: descriptors are left in its queue, and who closes the last copy of it closes these, which may
 * take for ever.
 */
void spares_never(int fd);
/* FDS are the pages IDENTITY, kept at once; NULL: forgotten. */
void spares_pages(struct spares *spares, uint64_t identity, const int fds[2]);
/* Sends what waits, and waits for a moment until systemd has it. */
void spares_now(struct spares *spares);
