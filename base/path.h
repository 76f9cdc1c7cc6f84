/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names that are made of paths. */
#pragma once

/* The name that systemd would give a unit for PATH, without its suffix: "/srv/a" is "srv-a". NULL: no memory. */
char *path_escape(const char *path);
