# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_LTLIBRARIES += base/libbase.la
base_libbase_la_SOURCES = \
	base/backoff.c base/backoff.h \
	base/cleanup.h \
	base/clock.c base/clock.h \
	base/error.c base/error.h \
	base/fd.c base/fd.h \
	base/index.c base/index.h \
	base/kept.c base/kept.h \
	base/list.h \
	base/log.c base/log.h \
	base/msg.c base/msg.h \
	base/notify.c base/notify.h \
	base/number.c base/number.h \
	base/path.c base/path.h \
	base/sum.h \
	base/text.c base/text.h \
	base/turns.c base/turns.h
