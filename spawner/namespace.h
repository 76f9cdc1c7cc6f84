/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Namespaces of a confined session, from their clone3(2) to the init that has nothing outside them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct birth;
struct process_plan;

/*
 * fork(2) into the namespaces of a session, and into the control group CGROUP; -1: its own. With RET_PID the child is a sibling of this process, and its
 * pid stands there before it runs. Returns: as fork(2).
 */
pid_t namespace_fork(const struct process_plan *plan, int cgroup, uint32_t *ret_pid);

/*
 * That PROCESS of a /proc, at PROC or, -1, at its usual place, has its plan's user and groups, and nobody there can
 * change groups. Returns: 0 or -errno.
 */
int namespace_write_maps(int proc, const char *process, const struct process_plan *plan);

/*
 * The child goes on: it has the user and group of its plan, a root of its own and no capabilities; or it
 * fails, for all to know. Own: it was made by a process of the same user. Given: it has its groups and maps
 * already, and TREE, which is closed, is a mount of the session's directory.
 */
void namespace_enter_own(struct birth *b);
void namespace_enter_given(struct birth *b, int tree);
