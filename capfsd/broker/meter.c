/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shares measured time among the requests that were served in it. It owns the numbers of struct
 * meter and reads no clock: the loop knows the time anyway, and one more call for each request
 * would cost more than it tells.
 */
#include "config.h"

#include "capfsd/broker/meter.h"

#include <string.h>

#include "capfsd/tree/metrics.h"

void
meter_init(struct meter *m, struct counters *c)
{
	*m = (struct meter){.counters = c};
	/* What a predecessor served and did not live to measure is not ours. */
	memcpy(m->served, c->served, sizeof(m->served));
}

/*
 * Marked before the next event is waited for, noted when its time is known: a request is never
 * charged with the sleep after it.
 */
void
meter_mark(struct meter *m)
{
	for (int front = 0; front < N_FRONTS; front++) {
		m->n[front] = m->counters->served[front] - m->served[front];
		m->served[front] = m->counters->served[front];
	}
}

/*
 * A share each, as nobody has looked at the clock in between: sums are right, and single times are
 * means of a round. A clock that stands still gives 0.
 */
void
meter_note(struct meter *m, uint64_t now_usec)
{
	uint64_t passed = now_usec > m->since_usec ? now_usec - m->since_usec : 0, sum = 0;

	m->since_usec = now_usec;
	for (int front = 0; front < N_FRONTS; front++)
		sum += m->n[front];
	if (sum == 0)
		return;
	for (int front = 0; front < N_FRONTS; front++)
		if (m->n[front] > 0)
			metrics_took(m->counters, front, m->n[front], passed / sum);
}
