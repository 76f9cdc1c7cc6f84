/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in service, on kernels that cannot send requests again (Linux before 6.9): their numbers stand
 * in the page that the holder keeps, from when they are read until they are answered. The next broker
 * knows no more of them than that, and answers EIO: whoever waits there must not wait for ever, and
 * what was asked for may have been done or not.
 *
 * Newer kernels cost nothing of this.
 */
#include "config.h"

#include "capfsd/fs/service.h"

#include <errno.h>
#include <linux/fuse.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/process/fds.h"

/*
 * Numbers ascend by two: those that are in service together are apart, so that the first look
 * mostly finds the place. NULL: there is none such, or the page is full.
 */
static uint64_t *
find_place(struct fs *fs, uint64_t unique, uint64_t wanted)
{
	uint64_t *served = fs->boot->page->served;

	/* Numbers ascend by two: those that are in service together are apart. */
	for (size_t i = 0; i < BOOT_SERVED_MAX; i++) {
		uint64_t *place = &served[(unique / 2 + i) % BOOT_SERVED_MAX];

		if (*place == wanted)
			return place;
	}
	return NULL;
}

int
fs_service_begin(struct fs *fs, uint64_t unique)
{
	uint64_t *place;

	if (!fs->no_resend)
		return 0;
	place = find_place(fs, unique, 0);
	if (!place)
		return -ENOMEM;
	__atomic_store_n(place, unique, __ATOMIC_SEQ_CST);
	return 0;
}

/*
 * After the reply was written: cleared before it, a crash in between would leave somebody waiting
 * of whom nobody knows. The other way round a second reply meets a number that the kernel no longer
 * has, and is dropped.
 */
void
fs_service_end(struct fs *fs, uint64_t unique)
{
	uint64_t *place = fs->no_resend && unique ? find_place(fs, unique, unique) : NULL;

	if (place)
		__atomic_store_n(place, 0, __ATOMIC_SEQ_CST);
}

void
fs_service_refuse(uint64_t unique, int error)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = -error, .unique = unique};

	/* One that was answered or interrupted is gone: nobody to tell. */
	if (write(BOOT_FD_FUSE, &out, sizeof(out)) < 0)
		return;
}

void
fs_service_give_up(struct fs *fs)
{
	unsigned n = 0;

	for (size_t i = 0; i < BOOT_SERVED_MAX; i++) {
		uint64_t unique = fs->boot->page->served[i];

		if (!unique)
			continue;
		fs_service_refuse(unique, EIO);
		fs->boot->page->served[i] = 0;
		n++;
	}
	if (n > 0)
		log_message(LOG_WARNING, "this kernel cannot send requests again: %u that were in "
			"service are answered EIO", n);
}
