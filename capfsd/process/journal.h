/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's log in systemd's journal, by its native protocol. Not by libsystemd's sd_journal_send():
 * that waits for a journal that does not read, and opens its socket when it likes, under a number that
 * the next broker would take for a client's.
 */
#pragma once

#include <stddef.h>

#include "base/log.h"

#define JOURNAL_BYTES_MAX 4096 /* of a message with its fields */

/*
 * From here on stderr never blocks us; where it is the journal ($JOURNAL_STREAM says so), messages go
 * there with their fields. The socket for that is standard input, of which the daemon has no other
 * use: so all its processes have it, confined or not, under a number that nothing else gets.
 */
void journal_open(void);

/* The mount point, for the field CAPFS_MOUNT of all messages; NULL: none. Not copied. */
void journal_set_mount(const char *path);
const char *journal_get_mount(void);

/* One message as a datagram of the protocol. Returns: its length, 0 when it is longer than SIZE. */
size_t journal_encode(int level, const struct log_field *fields, const char *message, char *buffer,
	size_t size);
