# SPDX-License-Identifier: LGPL-2.1-or-later
# It is root's, and lives on while the daemon is replaced: nothing of capfsd/, and no library but libseccomp.
noinst_LTLIBRARIES += spawner/libspawner.la
spawner_libspawner_la_SOURCES = wire/process.h \
	spawner/birth.h \
	spawner/cgroup/delegated.c spawner/cgroup/delegated.h \
	spawner/cgroup/leaves.c spawner/cgroup/leaves.h \
	spawner/channel.c spawner/channel.h \
	spawner/doorman.c spawner/doorman.h \
	spawner/hello.c spawner/hello.h \
	spawner/init.c spawner/init.h \
	spawner/inits.c spawner/inits.h \
	spawner/mounts.c spawner/mounts.h \
	spawner/namespace.c spawner/namespace.h \
	spawner/opener/opener.c spawner/opener/opener.h \
	spawner/opener/openers.c spawner/opener/openers.h \
	spawner/plan.c spawner/plan.h \
	spawner/program.c spawner/program.h \
	spawner/raw.h \
	spawner/restrict.c spawner/restrict.h \
	spawner/root.c spawner/root.h \
	spawner/self.c spawner/self.h \
	spawner/starting.c spawner/starting.h \
	spawner/threads.c spawner/threads.h
spawner_libspawner_la_CFLAGS = $(AM_CFLAGS) $(SECCOMP_CFLAGS)
spawner_libspawner_la_LIBADD = base/libbase.la $(SECCOMP_LIBS) -lpthread

pkglibexec_PROGRAMS += spawner/capfs-spawner
spawner_capfs_spawner_SOURCES = spawner/spawner.c
spawner_capfs_spawner_CFLAGS = $(AM_CFLAGS) $(SECCOMP_CFLAGS)
spawner_capfs_spawner_LDADD = spawner/libspawner.la
