/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The init of a session: it starts its programs, waits for them, and tells its broker; nothing can hold it
 * up.
 */
#pragma once

struct birth;
struct process_hello;

/* HELLO: what the doorman had received for the first program; NULL: there was none. */
void init_main(struct birth *b, const struct process_hello *hello) __attribute__((noreturn));
