# SPDX-License-Identifier: LGPL-2.1-or-later
# What the daemon and the library both speak.
noinst_LTLIBRARIES += wire/libwire.la
wire_libwire_la_SOURCES = wire/pages.h wire/process.h wire/register.h wire/wire.c wire/wire.h
