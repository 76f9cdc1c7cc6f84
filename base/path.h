/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths as text: nothing is looked up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Are the N bytes at PATH an absolute path without `.`, `..`, empty components and a slash at its end? */
bool path_is_clean(const char *path, size_t n);

/* Is PATH that directory, or below it? */
bool path_is_below(const char *path, const char *directory);

/* The name that systemd would give a unit for PATH, without its suffix: "/srv/a" is "srv-a". NULL: no memory. */
char *path_escape(const char *path);
