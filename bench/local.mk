# SPDX-License-Identifier: LGPL-2.1-or-later
# Built by `make bench`, which prints ratios against a peer in the same run; not part of `make all`.
bench_programs = \
	bench/bench-call \
	bench/bench-connect \
	bench/bench-flood \
	bench/bench-http \
	bench/bench-latency \
	bench/bench-verbs \
	bench/bench-open \
	bench/bench-payload \
	bench/bench-peer-fs \
	bench/bench-relay \
	bench/bench-restart \
	bench/bench-revoke \
	bench/bench-scale \
	bench/bench-socket \
	bench/bench-spawn \
	bench/opener \
	bench/tiny \
	bench/bench-tree
EXTRA_PROGRAMS += $(bench_programs)
EXTRA_DIST += bench/run
CLEANFILES += $(bench_programs)

bench_common = bench/bench.c bench/bench.h
bench_libs = libcap-client/libcap-client.la base/libbase.la

bench_bench_call_SOURCES = bench/bench-call.c $(bench_common)
bench_bench_call_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
bench_bench_call_LDADD = $(bench_libs) $(SYSTEMD_LIBS)
bench_bench_connect_SOURCES = bench/bench-connect.c $(bench_common)
bench_bench_connect_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
bench_bench_connect_LDADD = $(bench_libs) $(SYSTEMD_LIBS)
bench_bench_flood_SOURCES = bench/bench-flood.c $(bench_common)
bench_bench_flood_LDADD = $(bench_libs)
bench_bench_latency_SOURCES = bench/bench-latency.c bench/clients.c bench/clients.h $(bench_common)
bench_bench_latency_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
bench_bench_latency_LDADD = $(bench_libs) $(SYSTEMD_LIBS)
bench_bench_verbs_SOURCES = bench/bench-verbs.c $(bench_common)
bench_bench_verbs_LDADD = $(bench_libs)
bench_bench_open_SOURCES = bench/bench-open.c $(bench_common)
bench_bench_open_LDADD = $(bench_libs)
bench_bench_payload_SOURCES = bench/bench-payload.c $(bench_common)
bench_bench_payload_LDADD = $(bench_libs)
bench_bench_peer_fs_SOURCES = bench/bench-peer-fs.c
bench_bench_peer_fs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
bench_bench_peer_fs_LDADD = $(FUSE_LIBS)
bench_bench_relay_SOURCES = bench/bench-relay.c $(bench_common)
bench_bench_relay_LDADD = $(bench_libs)
bench_bench_http_SOURCES = bench/bench-http.c $(bench_common)
bench_bench_http_LDADD = $(bench_libs)
bench_bench_restart_SOURCES = bench/bench-restart.c $(bench_common)
bench_bench_restart_CFLAGS = $(AM_CFLAGS) $(LMDB_CFLAGS)
bench_bench_restart_LDADD = base/libbase.la $(LMDB_LIBS)
bench_bench_revoke_SOURCES = bench/bench-revoke.c $(bench_common)
bench_bench_revoke_CFLAGS = $(AM_CFLAGS) $(LMDB_CFLAGS)
bench_bench_revoke_LDADD = $(bench_libs) $(LMDB_LIBS)
bench_bench_scale_SOURCES = bench/bench-scale.c $(bench_common)
bench_bench_scale_LDADD = $(bench_libs)
bench_bench_socket_SOURCES = bench/bench-socket.c $(bench_common)
bench_bench_socket_LDADD = $(bench_libs)
bench_bench_spawn_SOURCES = bench/bench-spawn.c $(bench_common)
bench_bench_spawn_LDADD = $(bench_libs)
# Whose own begin is to be the least: libtool would take -static for its libraries alone.
bench_tiny_SOURCES = bench/tiny.c
bench_tiny_LDFLAGS = $(AM_LDFLAGS) -all-static
bench_opener_SOURCES = bench/opener.c
bench_opener_LDFLAGS = $(AM_LDFLAGS) -all-static
bench_bench_tree_SOURCES = bench/bench-tree.c $(bench_common)
bench_bench_tree_LDADD = base/libbase.la

.PHONY: bench
bench: all $(bench_programs) tests/mass$(EXEEXT) tests/probe$(EXEEXT) tests/storm$(EXEEXT)
	top_builddir='$(abs_top_builddir)' top_srcdir='$(abs_top_srcdir)' \
		bash $(srcdir)/bench/run --built
