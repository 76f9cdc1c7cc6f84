/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two halves of the probe share: see probe.c. */
#pragma once

#include <stdint.h>

/* A connected socket to the node at PATH, of whichever type it has. Returns: it, or -errno. */
int probe_connect(const char *path);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t probe_now_msec(void);

/* Commands of probe-socket.c; they get their own arguments and give the exit status. */
int probe_ask(int argc, char **argv);
int probe_flood(int argc, char **argv);
int probe_inherit(int argc, char **argv);
int probe_linger(int argc, char **argv);
int probe_poll(int argc, char **argv);
int probe_serve(int argc, char **argv);
int probe_keep(int argc, char **argv);
int probe_fuzz(int argc, char **argv);
