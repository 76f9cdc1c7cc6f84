# SPDX-License-Identifier: LGPL-2.1-or-later
# The model and the operations are a library of their own, so that tests link them without FUSE,
# sd-event or sockets; the rest of the daemon is another, so that main.c stays thin.
noinst_LTLIBRARIES += capfsd/libmodel.la capfsd/libdaemon.la
capfsd_libmodel_la_SOURCES = \
	capfsd/model/capability.c capfsd/model/capability.h \
	capfsd/model/change.c capfsd/model/change.h \
	capfsd/model/check.c \
	capfsd/model/counters.h \
	capfsd/model/derive.c \
	capfsd/model/entity.c capfsd/model/entity.h \
	capfsd/model/entrypoint.c capfsd/model/entrypoint.h \
	capfsd/model/event.c capfsd/model/event.h \
	capfsd/model/expiry.c \
	capfsd/model/load.c \
	capfsd/model/methods.c capfsd/model/methods.h \
	capfsd/model/model.c capfsd/model/model.h \
	capfsd/model/private.h \
	capfsd/model/quota.c capfsd/model/quota.h \
	capfsd/model/reap.c \
	capfsd/model/session.c capfsd/model/session.h \
	capfsd/model/touch.c \
	capfsd/ops/account.c \
	capfsd/ops/call.h \
	capfsd/ops/delegate.c \
	capfsd/ops/grammar.c capfsd/ops/grammar.h \
	capfsd/ops/import.c \
	capfsd/ops/info.c capfsd/ops/info.h \
	capfsd/ops/metrics.c capfsd/ops/metrics.h \
	capfsd/ops/refusals.c capfsd/ops/refusals.h \
	capfsd/ops/request.c capfsd/ops/request.h \
	capfsd/ops/serve.c \
	capfsd/ops/tree.c capfsd/ops/tree.h \
	capfsd/ops/verbs.h
capfsd_libmodel_la_LIBADD = base/libbase.la

capfsd_libdaemon_la_SOURCES = \
	capfsd/boot.h \
	capfsd/activation.c capfsd/activation.h \
	capfsd/binder.c \
	capfsd/broker.c \
	capfsd/confine.c capfsd/confine.h \
	capfsd/fdstore.c capfsd/fdstore.h \
	capfsd/features.c capfsd/features.h \
	capfsd/fronts.c capfsd/fronts.h \
	capfsd/handover.c capfsd/handover.h \
	capfsd/holder.c \
	capfsd/inspector.c \
	capfsd/journal.c capfsd/journal.h \
	capfsd/messages.h \
	capfsd/meter.c capfsd/meter.h \
	capfsd/loading.c capfsd/loading.h \
	capfsd/mounts.c capfsd/mounts.h \
	capfsd/place.c capfsd/place.h \
	capfsd/try.c \
	capfsd/fs/fs.c capfsd/fs/fs.h capfsd/fs/private.h \
	capfsd/fs/calls.c capfsd/fs/nodes.c capfsd/fs/files.c capfsd/fs/records.c \
	capfsd/fs/service.c capfsd/fs/takeover.c \
	capfsd/ipc/activation.c \
	capfsd/ipc/adopt.c \
	capfsd/ipc/attach.c \
	capfsd/ipc/binding.c \
	capfsd/ipc/call.c \
	capfsd/ipc/channel.c \
	capfsd/ipc/connection.c \
	capfsd/ipc/control.c \
	capfsd/ipc/counts.c \
	capfsd/ipc/hold.c \
	capfsd/ipc/inspect.c \
	capfsd/ipc/ipc.c capfsd/ipc/ipc.h capfsd/ipc/private.h \
	capfsd/ipc/keep.c \
	capfsd/ipc/lend.c \
	capfsd/ipc/listener.c \
	capfsd/ipc/memos.c \
	capfsd/ipc/pages.c \
	capfsd/ipc/perform.c \
	capfsd/ipc/reply.c \
	capfsd/ipc/vouch.c \
	capfsd/keeper/family.c \
	capfsd/keeper/init.c capfsd/keeper/init.h \
	capfsd/keeper/keeper.c capfsd/keeper/keeper.h capfsd/keeper/private.h \
	capfsd/keeper/mount.c capfsd/keeper/mount.h \
	capfsd/keeper/upgrade.c \
	capfsd/keeper/watchdog.c \
	capfsd/keeper/children.c capfsd/keeper/children.h \
	capfsd/state/crc.c capfsd/state/crc.h \
	capfsd/state/inspect.c capfsd/state/inspect.h \
	capfsd/state/pages.c capfsd/state/pages.h \
	capfsd/state/state.c capfsd/state/state.h
capfsd_libdaemon_la_CPPFLAGS = $(AM_CPPFLAGS) -DMOUNTHELPERDIR='"$(mounthelperdir)"'
capfsd_libdaemon_la_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(SYSTEMD_CFLAGS) $(SECCOMP_CFLAGS) $(LMDB_CFLAGS)
capfsd_libdaemon_la_LIBADD = capfsd/libmodel.la libcap-client/libwire.la base/libbase.la \
	$(FUSE_LIBS) $(SYSTEMD_LIBS) $(SECCOMP_LIBS) $(LMDB_LIBS)

sbin_PROGRAMS += capfsd/capfsd
capfsd_capfsd_SOURCES = capfsd/main.c
capfsd_capfsd_LDADD = capfsd/libdaemon.la

# What journalctl -x says; systemd looks in its own prefix only.
catalogdir = $(prefix)/lib/systemd/catalog
dist_catalog_DATA = capfsd/capfsd.catalog
