# SPDX-License-Identifier: LGPL-2.1-or-later
# The model and what is done with it are a library of their own, so that tests link them without FUSE,
# sd-event or sockets; the rest of the daemon is another, so that main.c stays thin.
noinst_LTLIBRARIES += capfsd/libmodel.la capfsd/libdaemon.la
capfsd_libmodel_la_SOURCES = \
	capfsd/model/change.c \
	capfsd/model/change.h \
	capfsd/model/check.c \
	capfsd/model/check.h \
	capfsd/model/counters.h \
	capfsd/model/entity.c \
	capfsd/model/entity.h \
	capfsd/model/event.c \
	capfsd/model/event.h \
	capfsd/model/kind.h \
	capfsd/model/load.c \
	capfsd/model/model.c \
	capfsd/model/model.h \
	capfsd/model/quota.c \
	capfsd/model/quota.h \
	capfsd/model/reap.c \
	capfsd/model/reap.h \
	capfsd/model/record.c \
	capfsd/model/record.h \
	capfsd/model/session.c \
	capfsd/model/session.h \
	capfsd/model/touch.c \
	capfsd/model/touch.h \
	capfsd/kinds/capability.c \
	capfsd/kinds/capability.h \
	capfsd/kinds/derive.c \
	capfsd/kinds/entrypoint.c \
	capfsd/kinds/entrypoint.h \
	capfsd/kinds/expiry.c \
	capfsd/kinds/expiry.h \
	capfsd/kinds/kinds.c \
	capfsd/kinds/kinds.h \
	capfsd/kinds/limits.c \
	capfsd/kinds/methods.c \
	capfsd/kinds/methods.h \
	capfsd/kinds/object.c \
	capfsd/kinds/object.h \
	capfsd/kinds/rights.c \
	capfsd/kinds/thread.c \
	capfsd/kinds/thread.h \
	capfsd/kinds/type.c \
	capfsd/kinds/type.h \
	capfsd/types/object.c \
	capfsd/types/types.c \
	capfsd/types/types.h \
	capfsd/ops/grammar.c \
	capfsd/ops/grammar.h \
	capfsd/ops/reductions.c \
	capfsd/ops/reductions.h \
	capfsd/ops/refusals.c \
	capfsd/ops/refusals.h \
	capfsd/ops/request.c \
	capfsd/ops/request.h \
	capfsd/ops/texts.c \
	capfsd/ops/texts.h \
	capfsd/ops/usage.c \
	capfsd/ops/usage.h \
	capfsd/ops/verb.c \
	capfsd/ops/verb.h \
	capfsd/verbs/chmod.c \
	capfsd/verbs/create.c \
	capfsd/verbs/grant.c \
	capfsd/verbs/identify.c \
	capfsd/verbs/import.c \
	capfsd/verbs/object.c \
	capfsd/verbs/reduce.c \
	capfsd/verbs/remove.c \
	capfsd/verbs/rename.c \
	capfsd/verbs/replicate.c \
	capfsd/verbs/revoke.c \
	capfsd/verbs/slots.c \
	capfsd/verbs/slots.h \
	capfsd/verbs/transfer.c \
	capfsd/verbs/transfer_quota.c \
	capfsd/verbs/verbs.c \
	capfsd/verbs/verbs.h \
	capfsd/tree/conversations.h \
	capfsd/tree/info.c \
	capfsd/tree/info.h \
	capfsd/tree/metrics.c \
	capfsd/tree/metrics.h \
	capfsd/tree/rows.c \
	capfsd/tree/rows.h \
	capfsd/tree/tree.c \
	capfsd/tree/tree.h
capfsd_libmodel_la_LIBADD = base/libbase.la

capfsd_libdaemon_la_SOURCES = \
	capfsd/process/backoff.c \
	capfsd/process/backoff.h \
	capfsd/process/boot.h \
	capfsd/process/confine.c \
	capfsd/process/confine.h \
	capfsd/process/journal.c \
	capfsd/process/journal.h \
	capfsd/process/loop.c \
	capfsd/process/loop.h \
	capfsd/process/messages.h \
	capfsd/process/mounts.c \
	capfsd/process/mounts.h \
	capfsd/process/succession.c \
	capfsd/process/succession.h \
	capfsd/state/btree.c \
	capfsd/state/btree.h \
	capfsd/state/crc.c \
	capfsd/state/crc.h \
	capfsd/state/state.c \
	capfsd/state/state.h \
	capfsd/state/verify.c \
	capfsd/state/verify.h \
	capfsd/sockets/adopt.c \
	capfsd/sockets/adopt.h \
	capfsd/sockets/binding.c \
	capfsd/sockets/binding.h \
	capfsd/sockets/channel.c \
	capfsd/sockets/channel.h \
	capfsd/sockets/connect.c \
	capfsd/sockets/connect.h \
	capfsd/sockets/connection.c \
	capfsd/sockets/connection.h \
	capfsd/sockets/core.c \
	capfsd/sockets/core.h \
	capfsd/sockets/counts.c \
	capfsd/sockets/counts.h \
	capfsd/sockets/endpoint.h \
	capfsd/sockets/lend.c \
	capfsd/sockets/lend.h \
	capfsd/sockets/listener.c \
	capfsd/sockets/listener.h \
	capfsd/sockets/memos.c \
	capfsd/sockets/memos.h \
	capfsd/sockets/pages.c \
	capfsd/sockets/pages.h \
	capfsd/sockets/queue.c \
	capfsd/sockets/queue.h \
	capfsd/sockets/record.h \
	capfsd/sockets/serve.c \
	capfsd/sockets/serve.h \
	capfsd/sockets/sockets.c \
	capfsd/sockets/sockets.h \
	capfsd/sockets/spares.c \
	capfsd/sockets/spares.h \
	capfsd/control/attach.c \
	capfsd/control/attach.h \
	capfsd/control/control.c \
	capfsd/control/control.h \
	capfsd/control/controls.c \
	capfsd/control/controls.h \
	capfsd/control/exchange.c \
	capfsd/control/exchange.h \
	capfsd/control/inspection.c \
	capfsd/control/inspection.h \
	capfsd/control/manager.c \
	capfsd/control/manager.h \
	capfsd/control/perform.c \
	capfsd/control/perform.h \
	capfsd/control/vouch.c \
	capfsd/control/vouch.h \
	capfsd/conversation/conversation.c \
	capfsd/conversation/call.c \
	capfsd/conversation/call.h \
	capfsd/conversation/conversations.h \
	capfsd/conversation/reply.c \
	capfsd/conversation/reply.h \
	capfsd/fs/calls.c \
	capfsd/fs/files.c \
	capfsd/fs/fs.c \
	capfsd/fs/fs.h \
	capfsd/fs/nodes.c \
	capfsd/fs/opcodes.c \
	capfsd/fs/private.h \
	capfsd/fs/records.c \
	capfsd/fs/service.c \
	capfsd/fs/takeover.c \
	capfsd/broker/broker.c \
	capfsd/broker/fronts.c \
	capfsd/broker/fronts.h \
	capfsd/broker/loading.c \
	capfsd/broker/loading.h \
	capfsd/broker/meter.c \
	capfsd/broker/meter.h \
	capfsd/broker/try.c \
	capfsd/holder/holder.c \
	capfsd/holder/holder.h \
	capfsd/holder/orders.c \
	capfsd/holder/orders.h \
	capfsd/binder/binder.c \
	capfsd/binder/inspector.c \
	capfsd/mount/init.c \
	capfsd/mount/init.h \
	capfsd/mount/mount.c \
	capfsd/mount/mount.h \
	capfsd/start/activation.c \
	capfsd/start/activation.h \
	capfsd/start/fdstore.c \
	capfsd/start/fdstore.h \
	capfsd/start/features.c \
	capfsd/start/features.h \
	capfsd/start/place.c \
	capfsd/start/place.h \
	capfsd/keeper/children.c \
	capfsd/keeper/children.h \
	capfsd/keeper/family.c \
	capfsd/keeper/keeper.c \
	capfsd/keeper/keeper.h \
	capfsd/keeper/private.h \
	capfsd/keeper/upgrade.c \
	capfsd/keeper/watchdog.c
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
