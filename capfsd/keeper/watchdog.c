/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the broker turn its loop? It is asked now and then, and has until the next question to answer;
 * then the holder, whose child it is, ends it and starts another. What it was executing is noted, so
 * that a request which makes two brokers hang is refused to the third.
 *
 * Whether the keeper turns its own is asked by systemd.
 */
#include "config.h"

#include <signal.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/error.h"
#include "capfsd/keeper/private.h"

#define PING_MSEC 10000
#define LOADING_MSEC 120000 /* a broker reads a million capabilities in a few seconds */

void
watchdog_init(struct keeper *k)
{
	uint64_t usec = 0;

	k->ping_msec = PING_MSEC;
	if (sd_watchdog_enabled(0, &usec) <= 0 || usec < 2000)
		return;
	k->beat_msec = usec / 2000;
	k->beat_at = keeper_now_msec();
	if (k->beat_msec < k->ping_msec)
		k->ping_msec = k->beat_msec;
}

void
watchdog_loading(struct keeper *k)
{
	k->pinged = true;
	k->ping_at = keeper_now_msec() + LOADING_MSEC;
}

void
watchdog_on_record(struct keeper *k, const struct keeper_record *record)
{
	if (record->type == KEEPER_LOADING) {
		watchdog_loading(k);
	} else if (record->type == KEEPER_READY || record->type == KEEPER_PONG) {
		k->pinged = false;
		k->ping_at = keeper_now_msec() + k->ping_msec;
	}
}

uint64_t
watchdog_at(const struct keeper *k)
{
	return keeper_earlier(k->beat_at, upgrade_lets_speak(k) ? k->ping_at : 0);
}

static void
ask_broker(struct keeper *k)
{
	if (!k->pinged) {
		/* Where the queue is full it owes enough answers. */
		keeper_tell(k, KEEPER_PING, -1);
		k->pinged = true;
	} else if (k->holder) {
		log_message(LOG_ERR, "the broker does not answer, another will be started");
		kill(k->holder, HOLDER_SIGNAL_HANGS);
	}
	k->ping_at = keeper_now_msec() + k->ping_msec;
}

void
watchdog_on_time(struct keeper *k)
{
	uint64_t now = keeper_now_msec();

	if (k->beat_at && now >= k->beat_at) {
		sd_notify(0, "WATCHDOG=1");
		k->beat_at = now + k->beat_msec;
	}
	if (k->ping_at && now >= k->ping_at && upgrade_lets_speak(k) && !k->stop_at)
		ask_broker(k);
}
