# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_LTLIBRARIES += helpers/libhelper.la
helpers_libhelper_la_SOURCES = \
	helpers/backend.c helpers/backend.h \
	helpers/child.c helpers/child.h \
	helpers/health.c helpers/health.h \
	helpers/identity.c helpers/identity.h \
	helpers/loop.c helpers/loop.h \
	helpers/message.c helpers/message.h \
	helpers/peer.c helpers/peer.h \
	helpers/proxy-header.c helpers/proxy-header.h \
	helpers/relay.c helpers/relay.h \
	helpers/service.c helpers/service.h \
	helpers/side.c helpers/side.h \
	helpers/sockets.c helpers/sockets.h
helpers_libhelper_la_LIBADD = libcap-client/libcap-client.la base/libbase.la

pkglibexec_PROGRAMS += helpers/capfs-relay helpers/capfs-inetd helpers/capfs-listen \
	helpers/capfs-http helpers/capfs-metrics-http
helpers_capfs_relay_SOURCES = helpers/capfs-relay.c
helpers_capfs_relay_LDADD = helpers/libhelper.la
helpers_capfs_inetd_SOURCES = helpers/capfs-inetd.c
helpers_capfs_inetd_LDADD = helpers/libhelper.la
helpers_capfs_listen_SOURCES = helpers/capfs-listen.c
helpers_capfs_listen_LDADD = helpers/libhelper.la
helpers_capfs_http_SOURCES = helpers/http/capfs-http.c \
	helpers/http/clients.c helpers/http/clients.h \
	helpers/http/configuration.c helpers/http/configuration.h \
	helpers/http/counts.c helpers/http/counts.h \
	helpers/http/engine.c helpers/http/engine.h \
	helpers/http/refusals.c helpers/http/refusals.h \
	helpers/http/rules.c helpers/http/rules.h \
	helpers/http/slots.c helpers/http/slots.h \
	helpers/http/upgrades.c helpers/http/upgrades.h \
	libcap-client/limits.c libcap-client/limits.h
helpers_capfs_http_LDADD = helpers/libhelper.la

# Loaded into a program that is not ours: whatever ours are checked by would be missing there.
preloadeddir = $(pkglibexecdir)
preloaded_LTLIBRARIES = helpers/capfs-haproxy.la
helpers_capfs_haproxy_la_SOURCES = helpers/http/counter.c helpers/http/preloaded.c \
	libcap-client/limits.c libcap-client/limits.h base/clock.c base/clock.h
helpers_capfs_haproxy_la_CFLAGS = -Wall -fvisibility=hidden
helpers_capfs_haproxy_la_LDFLAGS = -module -avoid-version -shared
helpers_capfs_metrics_http_SOURCES = metrics/capfs-metrics-http.c metrics/http.c metrics/http.h
helpers_capfs_metrics_http_LDADD = helpers/libhelper.la
