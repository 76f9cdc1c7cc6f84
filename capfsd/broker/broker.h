/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the broker: the one process that knows the model, serves the tree and speaks to
 * clients.
 *
 * It owns the loop: everything that happens in the daemon happens in one of its rounds, and nothing
 * else here waits. It joins the store to the model and the model to the fronts, takes over what the
 * broker before it left in the table, and ends by leaving all of it to the next. It has no
 * privilege, opens no file once it serves, and frees nothing at its end. broker_main() is called by
 * the holder, in the child that shares its table; nobody below includes anything of this room.
 */
#pragma once

struct boot;

/* Returns: the exit status, one of enum broker_exit. */
int broker_main(const struct boot *boot);
