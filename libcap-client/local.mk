# SPDX-License-Identifier: LGPL-2.1-or-later
# All of the library with its inner functions, for what tests these.
noinst_LTLIBRARIES += libcap-client/libinner.la
libcap_client_libinner_la_SOURCES = \
	libcap-client/activate.c \
	libcap-client/asking/asking.c libcap-client/asking/pager.h \
	libcap-client/buffer.c \
	libcap-client/buffer.h \
	libcap-client/calling/call.c libcap-client/calling/calling.h \
	libcap-client/calling/dispatch.c \
	libcap-client/calling/flow.c \
	libcap-client/calling/handle.c \
	libcap-client/calling/link.c \
	libcap-client/cap-client.h \
	libcap-client/server/caveats.c \
	libcap-client/server/channel.c \
	libcap-client/server/connection.c \
	libcap-client/server/plain.c \
	libcap-client/delegation/delegate.c \
	libcap-client/delegation/how.c \
	libcap-client/frame.c libcap-client/frame.h \
	libcap-client/io.c \
	libcap-client/limits.c libcap-client/limits.h \
	libcap-client/message.c \
	libcap-client/server/glob.c libcap-client/server/glob.h \
	libcap-client/server/objects.c \
	libcap-client/nodes.c \
	libcap-client/observe/observe.c libcap-client/observe/observe.h \
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
libcap_client_libcap_client_la_LDFLAGS = $(AM_LDFLAGS) -shared \
	-version-info $(CAP_CLIENT_VERSION_INFO) \
	-Wl,--version-script=$(top_srcdir)/libcap-client/libcap-client.sym
EXTRA_libcap_client_libcap_client_la_DEPENDENCIES = libcap-client/libcap-client.sym
EXTRA_DIST += libcap-client/libcap-client.sym

# The static library, with --enable-static, else for a test alone. Archives have no symbol file: of many objects
# each name that one has for another would meet the names of the program, text_copy() or fd_close(). So it is one
# object, of what the exported functions need, and all other names are local to that.
static_library = libcap-client/libcap-client.a
if STATIC_LIBRARY
staticlibdir = $(libdir)
staticlib_DATA = $(static_library)
else
if HAVE_OBJCOPY
check_DATA = $(static_library)
endif
endif
CLEANFILES += $(static_library) libcap-client/static-all.o libcap-client/static.o libcap-client/static.names
list_exported = $(SED) -n 's/^\t\(capc_[a-z_0-9]*\);$$/\1/p' $(srcdir)/libcap-client/libcap-client.sym
libcap-client/libcap-client.a: libcap-client/libinner.la libcap-client/libcap-client.sym
	$(AM_V_GEN)$(list_exported) >libcap-client/static.names
	$(AM_V_at)$(CC) $(CFLAGS) -r -nostdlib $(RELOCATABLE_FLAGS) -o libcap-client/static-all.o \
		`$(SED) 's/^/-Wl,-u,/' libcap-client/static.names` libcap-client/.libs/libinner.a
	$(AM_V_at)$(OBJCOPY) --keep-global-symbols=libcap-client/static.names \
		libcap-client/static-all.o libcap-client/static.o
	$(AM_V_at)rm -f $@
	$(AM_V_at)$(AR) cr $@ libcap-client/static.o
	$(AM_V_at)$(RANLIB) $@

# The linker finds a library in a new place through its cache, which is root's. Whoever installs into a
# tree of their own, or has no ldconfig, goes without.
install-exec-hook:
	@if test -z "$(DESTDIR)" && test "`id -u`" -eq 0; then PATH="$$PATH:/sbin:/usr/sbin" ldconfig || :; fi
