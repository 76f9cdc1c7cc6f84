/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The processes of a daemon and of its sessions, found by names that nobody else's have, and
 * killed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum victim {
	VICTIM_BROKER,
	VICTIM_HOLDER,
	VICTIM_SPAWNER,
	VICTIM_DOORMAN,
	VICTIM_INIT,
	VICTIM_PROGRAM,
	VICTIM_CLIENT,
	VICTIM_N,
};

struct victims {
	pid_t keeper;
	const char *program;   /* what all programs execute, at a path of its own */
	char *const *sessions; /* names, of children of the root */
	size_t n_sessions;
};

pid_t victim_broker(const struct victims *v);
pid_t victim_holder(const struct victims *v);
pid_t victim_spawner(const struct victims *v);
pid_t victim_doorman(const struct victims *v);
/* The init of that session. */
pid_t victim_init(const struct victims *v, size_t session);
/* One that is still its init's image. */
pid_t victim_half_started(const struct victims *v, size_t session);
/* One that has begun; its first argument is *RET_TOKEN. */
pid_t victim_program(const struct victims *v, unsigned long long *ret_token);

/* Unless it has become somebody else by now. Returns: true when it was killed, and has ended. */
bool victim_kill(const struct victims *v, pid_t pid, enum victim what);
