# SPDX-License-Identifier: LGPL-2.1-or-later
# All of the library with its inner functions, for what tests these.
noinst_LTLIBRARIES += libcap-client/libinner.la
libcap_client_libinner_la_SOURCES = \
	libcap-client/activate.c \
	libcap-client/asking/asking.c libcap-client/asking/pager.h \
	libcap-client/buffer.c \
	libcap-client/buffer.h \
	libcap-client/call.c \
	libcap-client/cap-client.h \
	libcap-client/server/caveats.c \
	libcap-client/server/connection.c \
	libcap-client/delegation/delegate.c \
	libcap-client/delegation/how.c \
	libcap-client/frame.c libcap-client/frame.h \
	libcap-client/io.c \
	libcap-client/limits.c libcap-client/limits.h \
	libcap-client/message.c \
	libcap-client/server/glob.c libcap-client/server/glob.h \
	libcap-client/server/objects.c \
	libcap-client/pass.c \
	libcap-client/posted.c \
	libcap-client/private.h \
	libcap-client/programs/launch.c libcap-client/programs/launch.h \
	libcap-client/programs/register.c \
	libcap-client/programs/spawn.c \
	libcap-client/programs/thread.c libcap-client/programs/thread.h \
	libcap-client/server/request.c \
	libcap-client/server/server.c \
	libcap-client/server/serving.h \
	libcap-client/session.c \
	libcap-client/signals.c \
	libcap-client/through.c \
	libcap-client/server/timer.c \
	libcap-client/server/visited.c libcap-client/server/visited.h \
	libcap-client/visit.c \
	libcap-client/window.c \
	$(args_sources)
libcap_client_libinner_la_CFLAGS = $(AM_CFLAGS) $(CBOR_CFLAGS) $(YAML_CFLAGS)
libcap_client_libinner_la_LIBADD = wire/libwire.la base/libbase.la $(CBOR_LIBS) $(YAML_LIBS)

lib_LTLIBRARIES += libcap-client/libcap-client.la
include_HEADERS += libcap-client/cap-client.h
pkgconfig_DATA += libcap-client/cap-client.pc
libcap_client_libcap_client_la_SOURCES =
libcap_client_libcap_client_la_LIBADD = libcap-client/libinner.la
libcap_client_libcap_client_la_LDFLAGS = $(AM_LDFLAGS) \
	-version-info $(CAP_CLIENT_VERSION_INFO) \
	-Wl,--version-script=$(top_srcdir)/libcap-client/libcap-client.sym
EXTRA_libcap_client_libcap_client_la_DEPENDENCIES = libcap-client/libcap-client.sym
EXTRA_DIST += libcap-client/libcap-client.sym

# The linker finds a library in a new place through its cache, which is root's. Whoever installs into a
# tree of their own, or has no ldconfig, goes without.
install-exec-hook:
	@if test -z "$(DESTDIR)" && test "`id -u`" -eq 0; then PATH="$$PATH:/sbin:/usr/sbin" ldconfig || :; fi
