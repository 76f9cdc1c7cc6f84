/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Those who poll. The kernel wakes one for a number that it gave with the poll, and sends no poll
 * again by itself: so the numbers stand in the page that all brokers share, and whoever takes over
 * wakes them all. Who has no place there would sleep for ever after a broker's death. So nobody
 * polls without a place, and no session takes those of the others (quota_share_left()).
 */
#include "config.h"

#include "capfsd/fs/polls.h"

#include <assert.h>
#include <linux/fuse.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "capfsd/fs/files.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/page.h"

#define PLACES_MIN 16 /* of a session, however deep it is */

/* Binaries of before knew the first part only. */
static uint64_t *
place_of(const struct fs *fs, size_t i)
{
	struct boot_page *page = fs->boot->page;

	return i < BOOT_POLLS_MAX ? &page->polls[i] : &page->more_polls[i - BOOT_POLLS_MAX];
}

static size_t
count_below(const void *data, const struct session *top)
{
	const struct fs *fs = data;
	size_t n = 0;

	list_for_each (i, &fs->polled)
		n += quota_is_below(list_entry(i, struct fs_file, poll_link)->session, top);
	return n;
}

/* The root is allowed all, and so there is always a place. */
bool
fs_polls_allow(const struct fs *fs, const struct session *s)
{
	return quota_share_left(s, BOOT_ALL_POLLS, PLACES_MIN, count_below, fs);
}

void
fs_poll_begin(struct fs *fs, struct fs_file *f, struct fuse_pollhandle *poll)
{
	f->poll = poll;
	f->poll_number = fs->current.poll;
	list_append(&fs->polled, &f->poll_link);
	for (size_t i = 0; i < BOOT_ALL_POLLS; i++)
		if (!*place_of(fs, i)) {
			f->poll_place = i;
			*place_of(fs, i) = f->poll_number;
			return;
		}
	assert(false);
}

/* Each poll is woken once; the kernel then makes a new one, with a handle of its own. */
void
fs_poll_end(struct fs *fs, struct fs_file *f)
{
	if (!f->poll)
		return;
	fuse_pollhandle_destroy(f->poll);
	f->poll = NULL;
	list_unlink(&f->poll_link);
	*place_of(fs, f->poll_place) = 0;
}

/* Pollers ask again when they are woken, and then this broker knows them. */
void
fs_polls_wake(struct fs *fs)
{
	for (size_t i = 0; i < BOOT_ALL_POLLS; i++) {
		struct {
			struct fuse_out_header header;
			struct fuse_notify_poll_wakeup_out poll;
		} out = {
			.header = {.len = sizeof(out), .error = FUSE_NOTIFY_POLL},
			.poll = {.kh = *place_of(fs, i)},
		};

		/* One that was closed meanwhile is unknown: no harm. */
		if (out.poll.kh && write(BOOT_FD_FUSE, &out, sizeof(out)) < 0)
			log_message(LOG_DEBUG, "a poller of before cannot be woken: %m");
		*place_of(fs, i) = 0;
	}
}
