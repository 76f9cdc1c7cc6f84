# SPDX-License-Identifier: LGPL-2.1-or-later
# Built, so that they stay right, and run by tests; their sources are installed. They use the library alone, as it is installed: they
# find nothing else of this tree, and `make installcheck` builds them by pkg-config.
noinst_PROGRAMS += \
	examples/count \
	examples/echo-client \
	examples/echo-server \
	examples/gate \
	examples/import \
	examples/log-service \
	examples/loop \
	examples/loops/loop-epoll \
	examples/loops/loop-sd-event \
	examples/pages/pages-fetcher \
	examples/pages/pages-front \
	examples/pages/pages-worker \
	examples/pass \
	examples/notes \
	examples/pager \
	examples/pool \
	examples/reattach \
	examples/sealed \
	examples/switchboard/switch \
	examples/switchboard/switchboard \
	examples/workers
examples_cppflags = -I$(top_srcdir)/libcap-client
examples_echo_client_CPPFLAGS = $(examples_cppflags)
examples_echo_client_LDADD = libcap-client/libcap-client.la
examples_echo_server_CPPFLAGS = $(examples_cppflags)
examples_echo_server_LDADD = libcap-client/libcap-client.la
examples_count_CPPFLAGS = $(examples_cppflags)
examples_count_LDADD = libcap-client/libcap-client.la
examples_gate_CPPFLAGS = $(examples_cppflags)
examples_gate_LDADD = libcap-client/libcap-client.la
examples_import_CPPFLAGS = $(examples_cppflags)
examples_import_LDADD = libcap-client/libcap-client.la
examples_loop_CPPFLAGS = $(examples_cppflags)
examples_loop_LDADD = libcap-client/libcap-client.la
examples_reattach_CPPFLAGS = $(examples_cppflags)
examples_reattach_LDADD = libcap-client/libcap-client.la
examples_log_service_CPPFLAGS = $(examples_cppflags)
examples_log_service_LDADD = libcap-client/libcap-client.la
loops_lines = examples/loops/lines.c examples/loops/lines.h
examples_loops_loop_epoll_SOURCES = examples/loops/loop-epoll.c $(loops_lines)
examples_loops_loop_epoll_CPPFLAGS = $(examples_cppflags)
examples_loops_loop_epoll_LDADD = libcap-client/libcap-client.la
examples_loops_loop_sd_event_SOURCES = examples/loops/loop-sd-event.c $(loops_lines)
examples_loops_loop_sd_event_CPPFLAGS = $(examples_cppflags) $(SYSTEMD_CFLAGS)
examples_loops_loop_sd_event_LDADD = libcap-client/libcap-client.la $(SYSTEMD_LIBS)
if HAVE_GLIB
noinst_PROGRAMS += examples/loops/loop-glib
endif
examples_loops_loop_glib_SOURCES = examples/loops/loop-glib.c $(loops_lines)
examples_loops_loop_glib_CPPFLAGS = $(examples_cppflags) $(GLIB_CFLAGS)
examples_loops_loop_glib_LDADD = libcap-client/libcap-client.la $(GLIB_LIBS)
examples_notes_CPPFLAGS = $(examples_cppflags)
examples_notes_LDADD = libcap-client/libcap-client.la
examples_pager_CPPFLAGS = $(examples_cppflags)
examples_pager_LDADD = libcap-client/libcap-client.la
examples_pool_CPPFLAGS = $(examples_cppflags)
examples_pool_LDADD = libcap-client/libcap-client.la
examples_workers_CPPFLAGS = $(examples_cppflags)
examples_workers_LDADD = libcap-client/libcap-client.la
examples_sealed_CPPFLAGS = $(examples_cppflags)
examples_sealed_LDADD = libcap-client/libcap-client.la
examples_pass_CPPFLAGS = $(examples_cppflags)
examples_pass_LDADD = libcap-client/libcap-client.la
examples_pages_pages_fetcher_SOURCES = examples/pages/fetcher.c
examples_pages_pages_fetcher_CPPFLAGS = $(examples_cppflags)
examples_pages_pages_fetcher_LDADD = libcap-client/libcap-client.la
examples_pages_pages_front_SOURCES = examples/pages/front.c
examples_pages_pages_front_CPPFLAGS = $(examples_cppflags)
examples_pages_pages_front_LDADD = libcap-client/libcap-client.la
examples_pages_pages_worker_SOURCES = examples/pages/worker.c
examples_pages_pages_worker_CPPFLAGS = $(examples_cppflags)
examples_pages_pages_worker_LDADD = libcap-client/libcap-client.la
switchboard_labels = examples/switchboard/labels.c examples/switchboard/labels.h examples/switchboard/switchboard.h
examples_switchboard_switch_SOURCES = examples/switchboard/switch.c $(switchboard_labels)
examples_switchboard_switch_CPPFLAGS = $(examples_cppflags)
examples_switchboard_switch_LDADD = libcap-client/libcap-client.la
examples_switchboard_switchboard_SOURCES = examples/switchboard/switchboard.c $(switchboard_labels)
examples_switchboard_switchboard_CPPFLAGS = $(examples_cppflags)
examples_switchboard_switchboard_LDADD = libcap-client/libcap-client.la

# As sources, in examples/ beside the other documentation.
examplesdir = $(docdir)
nobase_dist_examples_DATA = \
	examples/count.c \
	examples/echo-client.c \
	examples/echo-server.c \
	examples/gate.c \
	examples/import.c \
	examples/log-service.c \
	examples/loop.c \
	examples/loops/loop-glib.c \
	examples/loops/loop-sd-event.c \
	$(loops_lines) \
	examples/loops/loop-epoll.c \
	examples/notes.c \
	examples/pager.c \
	examples/pass.c \
	examples/pool.c \
	examples/workers.c \
	examples/reattach.c \
	examples/sealed.c \
	examples/pages/fetcher.c \
	examples/pages/front.c \
	examples/pages/pages.yaml \
	examples/pages/worker.c \
	examples/agent/agent \
	examples/docker/docker \
	$(switchboard_labels) \
	examples/switchboard/README \
	examples/switchboard/switch.c \
	examples/switchboard/switchboard.c

installcheck-local:
	@examples=$(DESTDIR)$(docdir)/examples; \
	for program in $$examples/*.c $$examples/pages/*.c $$examples/switchboard/switch*.c $$examples/loops/loop-epoll.c; do \
		case $$program in */switchboard.c|*/switch.c) more=$$examples/switchboard/labels.c;; \
			*/loop-epoll.c) more=$$examples/loops/lines.c;; *) more=;; esac; \
		$(CC) $(AM_CFLAGS) $(CFLAGS) $$program $$more -o examples/installed \
			`PKG_CONFIG_PATH=$(DESTDIR)$(pkgconfigdir) $(PKG_CONFIG) --cflags --libs cap-client` || exit 1; \
	done
	@rm -f examples/installed
