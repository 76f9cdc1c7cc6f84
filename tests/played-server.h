/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An entrypoint whose daemon and clients the test plays; what all tests of the serving side begin with. */
#pragma once

#include "tests/played-daemon.h"

extern struct played d;
extern capc_entrypoint *e;
extern int channel; /* the daemon's end */
extern uint8_t buffer[WIRE_CALL_MAX];

/* For tcase_add_checked_fixture(). */
void server_setup(void);
void server_teardown(void);

/* A handler: the reply is the call. DATA is an unsigned that counts, or NULL. */
void echo(capc_request *r, struct capc_msg *m, void *data);
