# SPDX-License-Identifier: LGPL-2.1-or-later
# Everything but main.c is a library of its own, so that the tests can link it.
noinst_LTLIBRARIES += capctl/libcapctl.la
capctl_libcapctl_la_SOURCES = \
	capctl/apply/apply.h \
	capctl/apply/arguments.c capctl/apply/arguments.h \
	capctl/apply/cmd-apply.c \
	capctl/apply/entry.c \
	capctl/apply/plan.c capctl/apply/plan.h \
	capctl/apply/wire.c \
	capctl/commands/cmd-args.c \
	capctl/commands/cmd-ask.c \
	capctl/commands/cmd-adjust.c \
	capctl/commands/cmd-delegate.c \
	capctl/commands/cmd-events.c \
	capctl/commands/cmd-graph.c \
	capctl/commands/cmd-policy.c \
	capctl/commands/cmd-serve.c \
	capctl/commands/cmd-session.c \
	capctl/commands/cmd-show.c \
	capctl/commands/cmd-posted.c \
	capctl/commands/cmd-types.c \
	capctl/commands/cmd-tree.c \
	capctl/checkpoint/cmd-checkpoint.c \
	capctl/checkpoint/file.c capctl/checkpoint/file.h \
	capctl/checkpoint/restore.c capctl/checkpoint/restore.h \
	capctl/checkpoint/slots.c capctl/checkpoint/slots.h \
	capctl/commands/cmd-visit.c \
	capctl/command.c capctl/command.h \
	capctl/names.c capctl/names.h \
	capctl/options.c capctl/options.h \
	capctl/owner.c capctl/owner.h \
	capctl/run/child.c capctl/run/child.h \
	capctl/run/cmd-run.c capctl/run/run.h \
	capctl/run/cmd-shell.c \
	capctl/run/file.c capctl/run/file.h \
	capctl/run/find.c \
	capctl/run/forward.c capctl/run/forward.h \
	capctl/run/profile.c capctl/run/profile.h \
	capctl/run/resolve.c capctl/run/resolve.h \
	capctl/run/settle.c capctl/run/settle.h \
	capctl/run/start.c capctl/run/start.h \
	capctl/run/table.c capctl/run/table.h \
	capctl/run/tree.c capctl/run/tree.h \
	capctl/run/words.c capctl/run/words.h \
	capctl/supervisor.c capctl/supervisor.h \
	capctl/value.c capctl/value.h \
	capctl/why/access.c \
	capctl/why/cmd-why.c \
	capctl/why/missing.c \
	capctl/why/remedy.c \
	capctl/why/why.h
capctl_libcapctl_la_CPPFLAGS = $(AM_CPPFLAGS) -DPROFILES='"$(pkgdatadir)/profiles"'
capctl_libcapctl_la_LIBADD = libcap-client/libcap-client.la base/libbase.la

# The page as a string, which the command prints with the picture in it.
nodist_capctl_libcapctl_la_SOURCES = capctl/commands/graph-page.h
BUILT_SOURCES += capctl/commands/graph-page.h
CLEANFILES += capctl/commands/graph-page.h
EXTRA_DIST += capctl/commands/graph.html
capctl/commands/graph-page.h: capctl/commands/graph.html
	$(AM_V_GEN)$(MKDIR_P) capctl/commands && { echo 'static const char graph_page[] ='; \
		$(SED) 's/[\\"]/\\&/g; s/.*/"&\\n"/' $(srcdir)/capctl/commands/graph.html; echo ';'; } >$@.tmp && mv $@.tmp $@

bin_PROGRAMS += capctl/capctl
capctl_capctl_SOURCES = capctl/main.c
capctl_capctl_LDADD = capctl/libcapctl.la
