/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reply to FUSE_INIT. It owns nothing, and is a function of the request alone. Brokers have
 * libfuse reply to the same request later, and refuse to serve where that comes out differently:
 * the kernel would be served in another way than it was told.
 *
 * The flags are chosen for a tree whose directories are served by one process that must never find
 * a directory locked by a look-up that it has parked (PARALLEL_DIROPS), whose listings the kernel
 * may cache (NO_OPENDIR_SUPPORT, checked by mtime: AUTO_INVAL_DATA), and whose nodes nobody may
 * open by a handle, beside all paths (NO_EXPORT_SUPPORT).
 */
#include "config.h"

#include "capfsd/mount/init.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <string.h>

#ifndef FUSE_NO_EXPORT_SUPPORT
#define FUSE_NO_EXPORT_SUPPORT (UINT64_C(1) << 38)
#endif

#define INIT_MINOR 31 /* what libfuse 3.14 speaks */
#define INIT_MAX_WRITE 131072
#define INIT_FLAGS                                                                                 \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_AUTO_INVAL_DATA |          \
		FUSE_ASYNC_DIO | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | FUSE_NO_OPENDIR_SUPPORT | \
		FUSE_INIT_EXT)

/*
 * Older kernels send a shorter request, so that all behind what was received reads as 0: a flag
 * that is not there. Only flags that the kernel has offered may be in the reply.
 */
int
fuse_init_answer(const void *request, size_t n, void *reply, size_t size)
{
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} out = {};
	struct fuse_in_header header;
	struct fuse_init_in in = {};

	if (n < sizeof(header) + offsetof(struct fuse_init_in, flags2))
		return -EBADMSG;
	memcpy(&header, request, sizeof(header));
	n -= sizeof(header);
	memcpy(&in, (const char *)request + sizeof(header), n < sizeof(in) ? n : sizeof(in));
	if (header.opcode != FUSE_INIT)
		return -EBADMSG;
	if (in.major != FUSE_KERNEL_VERSION || in.minor < INIT_MINOR)
		return -EPROTO;
	if (size < sizeof(out))
		return -EMSGSIZE;
	out.header.len = sizeof(out);
	out.header.unique = header.unique;
	out.init.major = FUSE_KERNEL_VERSION;
	out.init.minor = INIT_MINOR;
	out.init.max_readahead = in.max_readahead;
	out.init.flags = INIT_FLAGS & in.flags;
	if (in.flags & FUSE_INIT_EXT)
		out.init.flags2 = in.flags2 & (uint32_t)(FUSE_NO_EXPORT_SUPPORT >> 32);
	out.init.max_background = 64;
	out.init.congestion_threshold = 48;
	out.init.max_write = INIT_MAX_WRITE;
	out.init.max_pages = INIT_MAX_WRITE / 4096;
	out.init.time_gran = 1;
	memcpy(reply, &out, sizeof(out));
	return sizeof(out);
}
