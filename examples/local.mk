# SPDX-License-Identifier: LGPL-2.1-or-later
# Built, so that they stay right; not installed. They use the library alone, as it is installed: they
# find nothing else of this tree, and `make installcheck` builds them by pkg-config.
noinst_PROGRAMS += examples/echo-client examples/echo-server
examples_cppflags = -I$(top_srcdir)/libcap-client
examples_echo_client_SOURCES = examples/echo-client.c
examples_echo_client_CPPFLAGS = $(examples_cppflags)
examples_echo_client_LDADD = libcap-client/libcap-client.la
examples_echo_server_SOURCES = examples/echo-server.c
examples_echo_server_CPPFLAGS = $(examples_cppflags)
examples_echo_server_LDADD = libcap-client/libcap-client.la

installcheck-local:
	@for program in $(srcdir)/examples/*.c; do \
		$(CC) $(AM_CFLAGS) $(CFLAGS) $$program -o examples/installed \
			`PKG_CONFIG_PATH=$(DESTDIR)$(pkgconfigdir) $(PKG_CONFIG) --cflags --libs cap-client` || exit 1; \
	done
	@rm -f examples/installed
