/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Root's part of a session: all that a privileged spawner does for somebody else, in a process of its own,
 * which the client or the mount may hold up.
 */
#pragma once

struct birth;

/* Waits for the client's HELLO; then it is, or has made, an init of the user who said that. */
void doorman_main(struct birth *b) __attribute__((noreturn));
