/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of a mount, as mount(8) and fstab(5) have them, and what capfsd is told of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MOUNT_ARGUMENTS_MAX 32

struct mount_options {
	char *argv[MOUNT_ARGUMENTS_MAX]; /* for capfsd; [0] and the mount point are left to the caller */
	size_t n;
	bool run_dir; /* one was given */
};

/*
 * Adds those in TEXT, "quota=caps=100:ram=1M,noauto". SLOPPY: unknown ones are passed over. Complains.
 * Returns: 0, -EINVAL, -ENOMEM.
 */
int mount_options_parse(struct mount_options *o, const char *text, bool sloppy);

/* Adds "--NAME=VALUE", or "--NAME" when VALUE is NULL. Returns: 0, -EINVAL (too many), -ENOMEM. */
int mount_options_add(struct mount_options *o, const char *name, const char *value, size_t n);

void mount_options_deinit(struct mount_options *o);
