/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room process/ is what all processes of the daemon share: the numbers of descriptors (fds.h), the page of
 * holder and brokers (page.h), what they say to each other (records.h), what they take from themselves
 * (confine.h, filter.h), how one binary becomes another (succession.h), how a child is born, watched and ended
 * (child.h, watch.h), and the log (journal.h, messages.h). Every room above may include it; it starts nothing by
 * itself and owns no state.
 *
 * The boot block: what the keeper decides once for a mount, and all processes of the daemon are born with.
 * Only the keeper and main() fill it; everybody else reads. It goes from one binary to the next
 * (succession.h), and with the mount to a later daemon (start/fdstore.h): it grows at its end only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/quota.h"
#include "capfsd/process/page.h"

#define BOOT_INIT_BYTES_MAX 256

/* FUSE_INIT as the keeper read it, and its reply. Each broker replays the first. */
struct boot_init {
	uint32_t n_request, n_reply;
	uint8_t request[BOOT_INIT_BYTES_MAX];
	uint8_t reply[BOOT_INIT_BYTES_MAX];
};

/*
 * An instance of a mount: new with each mount(2), the same for all brokers that serve it. As the
 * page, it grows at its end only.
 */
struct boot {
	struct boot_init init;
	uint64_t instance;       /* random */
	char device[32];         /* "MAJOR:MINOR" of the mount, as stat(2) tells it of its nodes */
	char bind_dir[40];       /* the hidden directory in the root: ".bind-" and 128 random bits */
	char run_dir[256];       /* the state's own directory; opened by the broker */
	char *title;             /* the memory of argv, for the name that ps shows */
	size_t n_title;
	struct quota root_quota;
	uid_t owner_uid;         /* owner of the root session */
	gid_t owner_gid;
	uid_t daemon_uid;        /* of binder, holder and broker */
	gid_t daemon_gid;
	bool privileged;         /* started as root: drop, confine, seccomp */
	int log_level;
	struct boot_page *page;  /* set by the holder */
	char activation[108];    /* the name of the service manager's listener, "": none */
	uint32_t generation;     /* how many times the holder has become another binary */
	uint32_t store_max;      /* descriptors that systemd keeps for us; 0: it does not */
	bool resumed;            /* a state was served before: it must be there */
	uint64_t audit;          /* events go to the journal, too; wide enough to lie behind what older ones write */
	uint64_t filtered;       /* the family's filter is loaded (filter.h), and stays over execve(2) */
	uint64_t discard_damaged; /* 1: --discard-damaged-state; not a bool, which could be padding of before */
};
