# SPDX-License-Identifier: LGPL-2.1-or-later
# Three kinds of tests, all run by `make check`:
#
#	unit_tests		programs with Check, left out where that is missing; they need no privilege
#				and no mount
#	script_tests		scripts that need no more than the unit tests do, and not Check
#	integration_tests	scripts that drive the built daemon on a mount of its own; they print
#				TAP and exit with 77 where a mount cannot be made
#
# A new unit test is one line in unit_tests and its _SOURCES and _LDADD.
unit_tests = \
	tests/test-alias \
	tests/test-anchors \
	tests/test-caveats \
	tests/test-glob \
	tests/test-model \
	tests/test-invariants \
	tests/test-objects \
	tests/test-quota \
	tests/test-visits \
	tests/test-change \
	tests/test-records \
	tests/test-scale \
	tests/test-full \
	tests/test-event \
	tests/test-ring \
	tests/test-fs \
	tests/test-halves \
	tests/test-pending \
	tests/test-sizes \
	tests/test-call-files \
	tests/test-property \
	tests/test-wire \
	tests/test-activate \
	tests/test-client \
	tests/test-pager \
	tests/test-spawn-client \
	tests/test-spawn-failures \
	tests/test-thread-client \
	tests/test-session \
	tests/test-open \
	tests/test-call \
	tests/test-payload \
	tests/test-server \
	tests/test-observe \
	tests/test-serve-calls \
	tests/test-origin \
	tests/test-credit \
	tests/test-flow \
	tests/test-loop \
	tests/test-plain \
	tests/test-server-dies \
	tests/test-workers \
	tests/test-serve-descriptors \
	tests/test-serve-payload \
	tests/test-limits \
	tests/test-threads \
	tests/test-adjust \
	tests/test-split \
	tests/test-share \
	tests/test-share-again \
	tests/test-how \
	tests/test-ops \
	tests/test-originate \
	tests/test-ties \
	tests/test-started \
	tests/test-reach \
	tests/test-reached \
	tests/test-asking \
	tests/test-policy \
	tests/test-tree \
	tests/test-checkpoint \
	tests/test-checkpoint-file \
	tests/test-graph \
	tests/test-lists \
	tests/test-delegate \
	tests/test-manual \
	tests/test-args \
	tests/test-args-memory \
	tests/test-args-paths \
	tests/test-args-yaml \
	tests/test-capctl \
	tests/test-run \
	tests/test-run-words \
	tests/test-control \
	tests/test-delegated \
	tests/test-deciding \
	tests/test-confine \
	tests/test-programs \
	tests/test-programs-crash \
	tests/test-spare \
	tests/test-registered \
	tests/test-vouch \
	tests/test-filter \
	tests/test-conversation \
	tests/test-disposal \
	tests/test-import \
	tests/test-sockets \
	tests/test-binding \
	tests/test-listeners \
	tests/test-places \
	tests/test-queue \
	tests/test-revoke \
	tests/test-why \
	tests/test-ownership \
	tests/test-inspection \
	tests/test-posted \
	tests/test-pages \
	tests/test-child \
	tests/test-holder \
	tests/test-http \
	tests/test-log \
	tests/test-metrics \
	tests/test-minder \
	tests/test-proxy-header \
	tests/test-relay \
	tests/test-relay-edges \
	tests/test-relay-ends \
	tests/test-state \
	tests/test-damage \
	tests/test-succession \
	tests/test-turns \
	tests/test-watch \
	tests/test-kept \
	tests/test-leaves \
	tests/test-spawner \
	tests/test-spawner-broker \
	tests/test-spawner-confined \
	tests/test-spawner-groups \
	tests/test-spawner-hostile \
	tests/test-spawner-kills \
	tests/test-upgrade
script_tests = \
	tests/test-corpus.sh \
	tests/test-header.sh \
	tests/test-http-rules.sh \
	tests/test-rooms.sh \
	tests/test-symbols.sh \
	tests/test-units.sh
integration_tests = \
	tests/it-activation.sh \
	tests/it-adding.sh \
	tests/it-adjust.sh \
	tests/it-why.sh \
	tests/it-agent.sh \
	tests/it-alias.sh \
	tests/it-delegated.sh \
	tests/it-signals.sh \
	tests/it-posted.sh \
	tests/it-caveats.sh \
	tests/it-apply.sh \
	tests/it-asking.sh \
	tests/it-at-slot.sh \
	tests/it-args.sh \
	tests/it-attributes.sh \
	tests/it-aside.sh \
	tests/it-backoff.sh \
	tests/it-call.sh \
	tests/it-capctl.sh \
	tests/it-cgroup.sh \
	tests/it-checkpoint.sh \
	tests/it-commands.sh \
	tests/it-how.sh \
	tests/it-damage.sh \
	tests/it-deputy.sh \
	tests/it-docker.sh \
	tests/it-events.sh \
	tests/it-faults.sh \
	tests/it-examples.sh \
	tests/it-loops.sh \
	tests/it-disposal.sh \
	tests/it-fdstore.sh \
	tests/it-backlog.sh \
	tests/it-floods.sh \
	tests/it-groups.sh \
	tests/it-growth.sh \
	tests/it-heartbeat.sh \
	tests/it-hostile.sh \
	tests/it-hybrid.sh \
	tests/it-http-calls.sh \
	tests/it-http.sh \
	tests/it-identity.sh \
	tests/it-import.sh \
	tests/it-kill-points.sh \
	tests/it-limits.sh \
	tests/it-listen.sh \
	tests/it-journal.sh \
	tests/it-listing.sh \
	tests/it-passing.sh \
	tests/it-peers.sh \
	tests/it-man.sh \
	tests/it-metrics.sh \
	tests/it-on-demand.sh \
	tests/it-open-sockets.sh \
	tests/it-mount.sh \
	tests/it-permissions.sh \
	tests/it-persist.sh \
	tests/it-policy.sh \
	tests/it-pictures.sh \
	tests/it-proxy.sh \
	tests/it-readme.sh \
	tests/it-recipes.sh \
	tests/it-recovery.sh \
	tests/it-refusal.sh \
	tests/it-references.sh \
	tests/it-serve.sh \
	tests/it-share.sh \
	tests/it-sessions.sh \
	tests/it-sizes.sh \
	tests/it-sockets.sh \
	tests/it-switchboard.sh \
	tests/it-programs.sh \
	tests/it-protocol.sh \
	tests/it-restart.sh \
	tests/it-spawn-kills.sh \
	tests/it-spawner.sh \
	tests/it-systemd.sh \
	tests/it-takeover.sh \
	tests/it-turns.sh \
	tests/it-unmodified.sh \
	tests/it-upgrade.sh \
	tests/it-pager.sh \
	tests/it-visits.sh \
	tests/it-upgrade-from.sh \
	tests/it-upgrade-programs.sh \
	tests/it-web.sh \
	tests/it-writes.sh \
	tests/it-watchdog.sh \
	tests/it-wedge.sh \
	tests/it-wedged.sh

# Programs that the scripts use.
test_tools = \
	tests/args-run \
	tests/call-service \
	tests/limited \
	tests/caller \
	tests/keeping \
	tests/http-rules \
	tests/hybrid \
	tests/inject \
	tests/direct \
	tests/hostile-file \
	tests/bomb \
	tests/fd-bomb \
	tests/hostile-fs \
	tests/importing \
	tests/signals \
	tests/posted \
	tests/speak \
	tests/broken-daemon \
	tests/hostile-broker \
	tests/hang \
	tests/it-recovery \
	tests/kill-early \
	tests/kill-points \
	tests/mass \
	tests/opens \
	tests/storm \
	tests/passing \
	tests/played-spawner \
	tests/probe \
	tests/exec-fd \
	tests/spawn-storm \
	tests/spawned \
	tests/ways-out

check_PROGRAMS += $(test_tools)
check_LTLIBRARIES =
if HAVE_CHECK
TESTS += $(unit_tests)
check_PROGRAMS += $(unit_tests)
check_LTLIBRARIES += tests/libfixture.la
endif
TESTS += $(script_tests) $(integration_tests)
EXTRA_DIST += tests/cap-client.symbols tests/protocol-client.py tests/protocol-server.py $(script_tests) $(integration_tests) tests/harness.sh tests/containers.sh tests/manager.sh tests/namespace.sh tests/run-test

TEST_EXTENSIONS = .sh
LOG_COMPILER = $(SHELL) $(srcdir)/tests/run-test
SH_LOG_COMPILER = $(SHELL) $(srcdir)/tests/run-test
AM_TESTS_ENVIRONMENT = \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	CC='$(CC)'; export CC; CXX='$(CXX)'; export CXX;

tests_libfixture_la_SOURCES = tests/fixture.c tests/fixture.h
tests_libfixture_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_libfixture_la_LIBADD = base/libbase.la $(CHECK_LIBS)

# Its own broker_main() comes before the library's.
tests_broken_daemon_SOURCES = tests/broken-daemon.c
tests_broken_daemon_LDADD = capfsd/libdaemon.la
# The daemon, with a word before and after its filter.
tests_hostile_broker_SOURCES = tests/hostile-broker.c capfsd/main.c
tests_hostile_broker_LDADD = capfsd/libdaemon.la
tests_hostile_broker_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=filter_broker
tests_hang_SOURCES = tests/hang.c
tests_hang_LDADD = base/libbase.la
tests_opens_SOURCES = tests/opens.c
tests_opens_LDADD = -lpthread
tests_kill_early_SOURCES = tests/kill-early.c
tests_kill_early_LDADD = base/libbase.la
tests_probe_SOURCES = tests/probe.c tests/probe-socket.c tests/probe.h
tests_probe_LDADD = base/libbase.la
tests_played_spawner_SOURCES = tests/played-spawner.c
tests_played_spawner_LDADD = base/libbase.la
tests_args_run_SOURCES = tests/args-run.c
tests_args_run_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_limited_SOURCES = tests/limited.c
tests_limited_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_call_service_SOURCES = tests/call-service.c
tests_call_service_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_direct_SOURCES = tests/direct.c
tests_direct_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_inject_SOURCES = tests/inject.c
tests_inject_LDADD = libcap-client/libcap-client.la
tests_hybrid_SOURCES = tests/hybrid.c
tests_hybrid_LDADD = libcap-client/libcap-client.la -lpthread
tests_caller_SOURCES = tests/caller.c
tests_caller_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_keeping_SOURCES = tests/keeping.c
tests_keeping_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_mass_SOURCES = tests/mass.c
tests_mass_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_storm_SOURCES = tests/storm.c
tests_storm_LDADD = wire/libwire.la base/libbase.la
tests_passing_SOURCES = tests/passing.c
tests_passing_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_signals_SOURCES = tests/signals.c
tests_signals_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_posted_SOURCES = tests/posted.c
tests_posted_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_speak_SOURCES = tests/speak.c
tests_speak_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_importing_SOURCES = tests/importing.c
tests_importing_LDADD = libcap-client/libcap-client.la wire/libwire.la base/libbase.la
tests_bomb_SOURCES = tests/bomb.c
tests_fd_bomb_SOURCES = tests/fd-bomb.c
tests_fd_bomb_LDADD = base/libbase.la
tests_exec_fd_SOURCES = tests/exec-fd.c
tests_exec_fd_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_spawn_storm_SOURCES = tests/spawn-storm.c tests/storm-victims.c tests/storm-victims.h
tests_spawn_storm_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_spawned_SOURCES = tests/spawned.c
tests_ways_out_SOURCES = tests/ways-out.c

tests_hostile_file_SOURCES = tests/hostile-file.c
tests_hostile_file_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
tests_hostile_file_LDADD = $(FUSE_LIBS) base/libbase.la
tests_hostile_fs_SOURCES = tests/hostile-fs.c
tests_hostile_fs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
tests_hostile_fs_LDADD = $(FUSE_LIBS)
tests_kill_points_SOURCES = tests/kill-points.c
tests_kill_points_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_it_recovery_SOURCES = tests/it-recovery.c tests/it-work.c tests/it-work.h
tests_it_recovery_LDADD = libcap-client/libcap-client.la base/libbase.la

store_world = tests/store-world.c tests/store-world.h
tests_test_state_SOURCES = tests/test-state.c $(store_world)
tests_test_state_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_state_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_damage_SOURCES = tests/test-damage.c $(store_world)
tests_test_damage_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_damage_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_succession_SOURCES = tests/test-succession.c
tests_test_succession_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_succession_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_upgrade_SOURCES = tests/test-upgrade.c
tests_test_upgrade_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_upgrade_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_holder_SOURCES = tests/test-holder.c
tests_test_holder_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_holder_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_minder_SOURCES = tests/test-minder.c
tests_test_minder_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_minder_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_full_SOURCES = tests/test-full.c
tests_test_full_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_full_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_capctl_SOURCES = tests/test-capctl.c
tests_test_capctl_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_capctl_LDADD = tests/libfixture.la capctl/libcapctl.la

tests_test_checkpoint_file_SOURCES = tests/test-checkpoint-file.c
tests_test_checkpoint_file_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_checkpoint_file_LDADD = tests/libfixture.la capctl/libcapctl.la

ops_world = tests/ops-world.c tests/ops-world.h
tests_test_adjust_SOURCES = tests/test-adjust.c $(ops_world)
tests_test_adjust_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_adjust_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_split_SOURCES = tests/test-split.c $(ops_world)
tests_test_split_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_split_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_share_SOURCES = tests/test-share.c $(ops_world)
tests_test_share_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_share_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_how_SOURCES = tests/test-how.c $(ops_world)
tests_test_how_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_how_LDADD = tests/libfixture.la libcap-client/libcap-client.la capfsd/libmodel.la
tests_test_ops_SOURCES = tests/test-ops.c $(ops_world)
tests_test_ops_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_ops_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_reach_SOURCES = tests/test-reach.c $(ops_world)
tests_test_reach_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_reach_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_reached_SOURCES = tests/test-reached.c $(ops_world)
tests_test_reached_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_reached_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_originate_SOURCES = tests/test-originate.c $(ops_world)
tests_test_originate_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_originate_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_checkpoint_SOURCES = tests/test-checkpoint.c $(ops_world)
tests_test_checkpoint_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_checkpoint_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_graph_SOURCES = tests/test-graph.c $(ops_world)
tests_test_graph_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_graph_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_asking_SOURCES = tests/test-asking.c $(ops_world)
tests_test_asking_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_asking_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_policy_SOURCES = tests/test-policy.c $(ops_world)
tests_test_policy_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_policy_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_lists_SOURCES = tests/test-lists.c $(ops_world)
tests_test_lists_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_lists_LDADD = tests/libfixture.la capfsd/libmodel.la

tests_test_tree_SOURCES = tests/test-tree.c $(ops_world)
tests_test_tree_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_tree_LDADD = tests/libfixture.la capfsd/libmodel.la
tests_test_delegate_SOURCES = tests/test-delegate.c $(ops_world)
tests_test_delegate_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_delegate_LDADD = tests/libfixture.la capfsd/libmodel.la

# The pages against the rows, of which some stand in control/.
tests_test_manual_SOURCES = tests/test-manual.c $(ops_world)
tests_test_manual_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_manual_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_child_SOURCES = tests/test-child.c tests/peers.c tests/peers.h
tests_test_child_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_child_LDADD = tests/libfixture.la helpers/libhelper.la

tests_test_kept_SOURCES = tests/test-kept.c
tests_test_kept_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_kept_LDADD = tests/libfixture.la base/libbase.la
tests_test_turns_SOURCES = tests/test-turns.c
tests_test_turns_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SYSTEMD_CFLAGS)
tests_test_turns_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_watch_SOURCES = tests/test-watch.c
tests_test_watch_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SYSTEMD_CFLAGS)
tests_test_watch_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_log_SOURCES = tests/test-log.c
tests_test_log_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_log_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_metrics_SOURCES = tests/test-metrics.c $(model_world)
tests_test_metrics_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_metrics_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_http_SOURCES = tests/test-http.c metrics/http.c metrics/http.h
tests_test_http_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_http_rules_SOURCES = tests/http-rules.c helpers/http/rules.c helpers/http/rules.h
tests_http_rules_LDADD = libcap-client/libcap-client.la base/libbase.la
tests_test_http_LDADD = tests/libfixture.la helpers/libhelper.la

relay_world = tests/relay-world.c tests/relay-world.h
tests_test_relay_SOURCES = tests/test-relay.c $(relay_world)
tests_test_relay_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_relay_LDADD = tests/libfixture.la helpers/libhelper.la
tests_test_relay_edges_SOURCES = tests/test-relay-edges.c $(relay_world)
tests_test_relay_edges_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_relay_edges_LDADD = tests/libfixture.la helpers/libhelper.la
tests_test_relay_ends_SOURCES = tests/test-relay-ends.c tests/peers.c tests/peers.h $(relay_world)
tests_test_relay_ends_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_relay_ends_LDADD = tests/libfixture.la helpers/libhelper.la

# With the daemon's model, whose names of rights the header has.
tests_test_proxy_header_SOURCES = tests/test-proxy-header.c $(relay_world)
tests_test_proxy_header_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_proxy_header_LDADD = tests/libfixture.la helpers/libhelper.la capfsd/libmodel.la

tests_test_wire_SOURCES = tests/test-wire.c
tests_test_wire_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_wire_LDADD = tests/libfixture.la wire/libwire.la base/libbase.la

# These link the library as it is installed: what it does not export cannot be tested by accident.
played_daemon = tests/played-daemon.c tests/played-daemon.h
played_server = tests/played-server.c tests/played-server.h
client_test_ldadd = tests/libfixture.la libcap-client/libcap-client.la wire/libwire.la \
	base/libbase.la
tests_test_activate_SOURCES = tests/test-activate.c $(played_daemon)
tests_test_activate_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_activate_LDADD = $(client_test_ldadd)
tests_test_pager_SOURCES = tests/test-pager.c $(played_daemon)
tests_test_pager_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_pager_LDADD = $(client_test_ldadd)
tests_test_client_SOURCES = tests/test-client.c $(played_daemon)
tests_test_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_client_LDADD = $(client_test_ldadd)
spawn_world = tests/spawn-world.c tests/spawn-world.h tests/played-program.c tests/played-program.h \
	$(played_daemon)
tests_test_spawn_client_SOURCES = tests/test-spawn-client.c $(spawn_world)
tests_test_spawn_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_spawn_client_LDADD = $(client_test_ldadd)
tests_test_spawn_failures_SOURCES = tests/test-spawn-failures.c $(spawn_world)
tests_test_spawn_failures_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_spawn_failures_LDADD = $(client_test_ldadd)
tests_test_thread_client_SOURCES = tests/test-thread-client.c $(spawn_world)
tests_test_thread_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_thread_client_LDADD = $(client_test_ldadd)
tests_test_run_words_SOURCES = tests/test-run-words.c
tests_test_run_words_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_run_words_LDADD = capctl/libcapctl.la $(client_test_ldadd)

tests_test_run_SOURCES = tests/test-run.c tests/played-program.c tests/played-program.h $(played_daemon)
tests_test_run_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_run_LDADD = capctl/libcapctl.la $(client_test_ldadd)
tests_test_session_SOURCES = tests/test-session.c $(played_daemon)
tests_test_session_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_session_LDADD = $(client_test_ldadd)
tests_test_import_SOURCES = tests/test-import.c $(played_daemon)
tests_test_import_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_import_LDADD = $(client_test_ldadd)
tests_test_call_SOURCES = tests/test-call.c $(played_daemon)
tests_test_call_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_call_LDADD = $(client_test_ldadd)
tests_test_open_SOURCES = tests/test-open.c $(played_daemon)
tests_test_open_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_open_LDADD = $(client_test_ldadd)
tests_test_server_SOURCES = tests/test-server.c $(played_server) $(played_daemon)
tests_test_server_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_server_LDADD = $(client_test_ldadd)
args_world = tests/args-world.c tests/args-world.h
tests_test_args_SOURCES = tests/test-args.c $(args_world)
tests_test_args_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_args_LDADD = $(client_test_ldadd) -lm
tests_test_args_memory_SOURCES = tests/test-args-memory.c
tests_test_args_memory_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_args_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc \
	-Wl,--wrap=reallocarray,--wrap=strdup
tests_test_args_memory_LDADD = tests/libfixture.la libcap-client/libinner.la
tests_test_args_paths_SOURCES = tests/test-args-paths.c $(args_world)
tests_test_args_paths_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_args_paths_LDADD = $(client_test_ldadd)
tests_test_args_yaml_SOURCES = tests/test-args-yaml.c $(args_world)
tests_test_args_yaml_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_args_yaml_LDADD = $(client_test_ldadd)
both = tests/both.c tests/both.h $(played_daemon)
tests_test_observe_SOURCES = tests/test-observe.c $(played_server) $(both)
tests_test_observe_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_observe_LDADD = $(client_test_ldadd)
tests_test_serve_calls_SOURCES = tests/test-serve-calls.c $(played_server) $(both)
tests_test_serve_calls_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_serve_calls_LDADD = $(client_test_ldadd)
tests_test_origin_SOURCES = tests/test-origin.c $(played_server) $(both)
tests_test_origin_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_origin_LDADD = $(client_test_ldadd)
tests_test_credit_SOURCES = tests/test-credit.c $(played_server) $(both)
tests_test_credit_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_credit_LDADD = $(client_test_ldadd)
tests_test_flow_SOURCES = tests/test-flow.c $(played_daemon)
tests_test_flow_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_flow_LDADD = $(client_test_ldadd)
tests_test_loop_SOURCES = tests/test-loop.c $(played_daemon)
tests_test_loop_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_loop_LDADD = $(client_test_ldadd)
tests_test_plain_SOURCES = tests/test-plain.c $(played_daemon)
tests_test_plain_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_plain_LDADD = $(client_test_ldadd)
tests_test_server_dies_SOURCES = tests/test-server-dies.c $(played_daemon)
tests_test_server_dies_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_server_dies_LDADD = $(client_test_ldadd)
tests_test_workers_SOURCES = tests/test-workers.c $(played_daemon)
tests_test_workers_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_workers_LDADD = $(client_test_ldadd)
tests_test_serve_descriptors_SOURCES = tests/test-serve-descriptors.c $(played_server) $(both)
tests_test_serve_descriptors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_serve_descriptors_LDADD = $(client_test_ldadd)
foreign = tests/foreign.c tests/foreign.h
tests_test_payload_SOURCES = tests/test-payload.c $(foreign) $(played_daemon)
tests_test_payload_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_payload_LDADD = $(client_test_ldadd)
tests_test_serve_payload_SOURCES = tests/test-serve-payload.c $(foreign) $(both)
tests_test_serve_payload_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_serve_payload_LDADD = $(client_test_ldadd)
tests_test_limits_SOURCES = tests/test-limits.c
tests_test_limits_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_limits_LDADD = tests/libfixture.la libcap-client/libinner.la
tests_test_threads_SOURCES = tests/test-threads.c $(played_daemon)
tests_test_threads_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_threads_LDADD = $(client_test_ldadd)

# The model over a store in memory. In test-change any allocation can be made to fail.
model_world = tests/model-world.c tests/model-world.h
model_libs = tests/libfixture.la capfsd/libmodel.la
model_service = tests/model-service.c tests/model-service.h $(model_world)
tests_test_invariants_SOURCES = tests/test-invariants.c $(model_service)
tests_test_invariants_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_invariants_LDADD = $(model_libs)

tests_test_model_SOURCES = tests/test-model.c $(model_service)
tests_test_model_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_model_LDADD = $(model_libs)
tests_test_ties_SOURCES = tests/test-ties.c $(model_service)
tests_test_ties_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_ties_LDADD = $(model_libs)
tests_test_anchors_SOURCES = tests/test-anchors.c $(model_service)
tests_test_anchors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_anchors_LDADD = $(model_libs)
tests_test_objects_SOURCES = tests/test-objects.c $(model_service)
tests_test_objects_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_objects_LDADD = $(model_libs)
tests_test_quota_SOURCES = tests/test-quota.c $(model_world)
tests_test_quota_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_quota_LDADD = $(model_libs)
tests_test_share_again_SOURCES = tests/test-share-again.c $(model_service)
tests_test_share_again_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_share_again_LDADD = $(model_libs)

tests_test_visits_SOURCES = tests/test-visits.c $(model_service)
tests_test_visits_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_visits_LDADD = $(model_libs)
tests_test_ring_SOURCES = tests/test-ring.c $(model_world)
tests_test_ring_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_ring_LDADD = $(model_libs)

tests_test_event_SOURCES = tests/test-event.c $(model_world)
tests_test_event_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_event_LDADD = $(model_libs)
populated = tests/populated.c tests/populated.h $(model_world)
tests_test_change_SOURCES = tests/test-change.c $(populated)
tests_test_change_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_change_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=strndup
tests_test_change_LDADD = $(model_libs)
tests_test_caveats_SOURCES = tests/test-caveats.c $(populated)
tests_test_caveats_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_caveats_LDADD = $(model_libs)
tests_test_glob_SOURCES = tests/test-glob.c
tests_test_glob_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_glob_LDADD = tests/libfixture.la $(client_test_ldadd)
tests_test_alias_SOURCES = tests/test-alias.c $(populated)
tests_test_alias_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_alias_LDADD = $(model_libs)
tests_test_records_SOURCES = tests/test-records.c $(populated)
tests_test_records_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_records_LDADD = $(model_libs)
tests_test_scale_SOURCES = tests/test-scale.c $(populated)
tests_test_scale_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_scale_LDADD = $(model_libs)
tests_test_property_SOURCES = tests/test-property.c tests/property.h tests/property-accounts.c tests/property-rest.c \
	tests/property-asks.c tests/property-caps.c tests/property-policies.c \
	tests/property-shares.c tests/property-signals.c tests/property-ties.c tests/property-visits.c tests/reference.c tests/reference.h $(model_world)
tests_test_property_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_property_LDADD = $(model_libs)

sockets_world = tests/sockets-servers.c tests/sockets-world.c tests/sockets-world.h
sockets_web = tests/sockets-web.c tests/sockets-web.h $(sockets_world)
tests_test_disposal_SOURCES = tests/test-disposal.c $(sockets_web)
tests_test_disposal_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_disposal_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_sockets_SOURCES = tests/test-sockets.c $(sockets_web)
tests_test_sockets_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sockets_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_binding_SOURCES = tests/test-binding.c $(sockets_web)
tests_test_binding_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_binding_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_listeners_SOURCES = tests/test-listeners.c $(sockets_web)
tests_test_listeners_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_listeners_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_ownership_SOURCES = tests/test-ownership.c $(sockets_web)
tests_test_ownership_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_ownership_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_posted_SOURCES = tests/test-posted.c $(sockets_web)
tests_test_posted_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_posted_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_inspection_SOURCES = tests/test-inspection.c $(sockets_web)
tests_test_inspection_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_inspection_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_places_SOURCES = tests/test-places.c $(sockets_web)
tests_test_places_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_places_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_why_SOURCES = tests/test-why.c $(sockets_web)
tests_test_why_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_why_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_revoke_SOURCES = tests/test-revoke.c $(sockets_web)
tests_test_revoke_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SYSTEMD_CFLAGS)
tests_test_revoke_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_queue_SOURCES = tests/test-queue.c $(sockets_web)
tests_test_queue_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_queue_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_pages_SOURCES = tests/test-pages.c $(sockets_world)
tests_test_pages_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_pages_LDADD = tests/libfixture.la capfsd/libdaemon.la
fs_kernel = tests/fs-kernel.c tests/fs-kernel.h
tests_test_sizes_SOURCES = tests/test-sizes.c $(fs_kernel)
tests_test_sizes_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
tests_test_sizes_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_test_sizes_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_pending_SOURCES = tests/test-pending.c $(fs_kernel)
tests_test_pending_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
tests_test_pending_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_test_pending_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_halves_SOURCES = tests/test-halves.c $(fs_kernel)
tests_test_halves_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
tests_test_halves_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_test_halves_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_fs_SOURCES = tests/test-fs.c $(fs_kernel)
tests_test_fs_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
tests_test_fs_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_test_fs_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_call_files_SOURCES = tests/test-call-files.c $(fs_kernel)
tests_test_call_files_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
tests_test_call_files_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_test_call_files_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_vouch_SOURCES = tests/test-vouch.c $(sockets_web)
tests_test_vouch_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_vouch_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_filter_SOURCES = tests/test-filter.c
tests_test_filter_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_filter_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_confine_SOURCES = tests/test-confine.c tests/programs-world.c tests/programs-world.h $(sockets_web)
tests_test_confine_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_confine_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_started_SOURCES = tests/test-started.c tests/programs-world.c tests/programs-world.h $(sockets_web)
tests_test_started_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_started_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_programs_SOURCES = tests/test-programs.c tests/programs-world.c tests/programs-world.h $(sockets_web)
tests_test_programs_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_programs_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_registered_SOURCES = tests/test-registered.c tests/programs-world.c tests/programs-world.h $(sockets_web)
tests_test_registered_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_registered_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_programs_crash_SOURCES = tests/test-programs-crash.c tests/programs-world.c tests/programs-world.h \
	$(sockets_web)
tests_test_programs_crash_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_programs_crash_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_spare_SOURCES = tests/test-spare.c tests/programs-world.c tests/programs-world.h $(sockets_web)
tests_test_spare_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spare_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_deciding_SOURCES = tests/test-deciding.c $(sockets_web)
tests_test_deciding_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_deciding_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_control_SOURCES = tests/test-control.c $(sockets_web)
tests_test_control_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_control_LDADD = tests/libfixture.la capfsd/libdaemon.la
tests_test_delegated_SOURCES = tests/test-delegated.c $(sockets_web)
tests_test_delegated_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_delegated_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_conversation_SOURCES = tests/test-conversation.c $(sockets_world)
tests_test_conversation_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_conversation_LDADD = tests/libfixture.la capfsd/libdaemon.la

tests_test_leaves_SOURCES = tests/test-leaves.c
tests_test_leaves_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_leaves_LDADD = tests/libfixture.la spawner/libspawner.la

spawner_world = tests/spawner-world.c tests/spawner-world.h
tests_test_spawner_SOURCES = tests/test-spawner.c $(spawner_world)
tests_test_spawner_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_LDADD = tests/libfixture.la
tests_test_spawner_broker_SOURCES = tests/test-spawner-broker.c $(spawner_world)
tests_test_spawner_broker_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_broker_LDADD = tests/libfixture.la
tests_test_spawner_confined_SOURCES = tests/test-spawner-confined.c $(spawner_world)
tests_test_spawner_confined_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_confined_LDADD = tests/libfixture.la
tests_test_spawner_groups_SOURCES = tests/test-spawner-groups.c $(spawner_world)
tests_test_spawner_groups_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_groups_LDADD = tests/libfixture.la
tests_test_spawner_hostile_SOURCES = tests/test-spawner-hostile.c $(spawner_world)
tests_test_spawner_hostile_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_hostile_LDADD = tests/libfixture.la
tests_test_spawner_kills_SOURCES = tests/test-spawner-kills.c $(spawner_world)
tests_test_spawner_kills_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_spawner_kills_LDADD = tests/libfixture.la
