/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/birth.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spawner/raw.h"

#define KEPT_MAX 6

void
birth_begin(struct birth *b, const int *more, size_t n)
{
	int kept[KEPT_MAX] = {b->launch, b->reports, b->place->proc_fd};

	if (n > 0)
		memcpy(kept + 3, more, n * sizeof(*more));
	raw_close_all_but(kept, 3 + n);
}

/* Nothing was sent before this, so that there is room for it. */
void
birth_fail(const struct birth *b, int step, int error)
{
	const struct process_record failed = {
		.type = PROCESS_FAILED,
		.thread = b->thread,
		.session = b->session,
		.step = step,
		.error = error,
		.version = PROCESS_VERSION,
	};
	const struct process_answer answer = {.step = step, .error = error};

	send(b->reports, &failed, sizeof(failed), MSG_NOSIGNAL | MSG_DONTWAIT);
	send(b->launch, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(EXIT_FAILURE);
}
