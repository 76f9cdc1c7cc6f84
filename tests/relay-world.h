/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays without a daemon: the tests hand over one end of a socket pair, keep a duplicate of it as
 * the daemon does, and run the rounds of the loop.
 */
#pragma once

#include <stdbool.h>

#include "helpers/relay.h"
#include "tests/fixture.h"

#define TURNS_MAX 300
#define BLOCK_BYTES 65536

struct world {
	char directory[FIXTURE_PATH];
	char path[FIXTURE_PATH + 16]; /* of the server behind */
	int listener;
	struct loop loop;
	struct service service; /* attached to nothing */
	struct relays relays;
};

extern struct world w;

/* For tcase_add_checked_fixture(). */
void relay_setup(void);
void relay_teardown(void);

/* The server behind. */
void listen_behind(int type, int backlog);
int accept_behind(void);

void start_relays(const struct relays_options *o);

/* One round. */
void turn(void);
/* Runs rounds until FD has something to read, or its end. */
bool turn_until_readable(int fd);

/* A client's end; *RET_KEPT is the daemon's duplicate of the other one. */
int connect_client(int type, int *ret_kept);

/* It comes, after some rounds. */
void assert_end(int fd);
void assert_arrives(int from, int to, const char *text);
