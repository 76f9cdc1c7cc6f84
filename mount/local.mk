# SPDX-License-Identifier: LGPL-2.1-or-later
# What mount(8) runs for the type fuse.capfs; it looks in /sbin.
mounthelper_PROGRAMS = mount/mount.fuse.capfs
mount_mount_fuse_capfs_SOURCES = mount/mount.c mount/options.c mount/options.h \
	capfsd/process/mounts.c capfsd/process/mounts.h
mount_mount_fuse_capfs_CPPFLAGS = $(AM_CPPFLAGS) -DSBINDIR='"$(sbindir)"'
mount_mount_fuse_capfs_LDADD = base/libbase.la
