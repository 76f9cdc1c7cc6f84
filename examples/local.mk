# SPDX-License-Identifier: LGPL-2.1-or-later
# Built, so that they stay right; not installed. They use the library alone.
noinst_PROGRAMS += examples/echo-client examples/echo-server
examples_echo_client_SOURCES = examples/echo-client.c
examples_echo_client_LDADD = libcap-client/libcap-client.la
examples_echo_server_SOURCES = examples/echo-server.c
examples_echo_server_LDADD = libcap-client/libcap-client.la
