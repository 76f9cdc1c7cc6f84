/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in service, on kernels that cannot send requests again (Linux before 6.9). It owns the
 * numbers in the page that holder and brokers share; on newer kernels it does nothing at all.
 */
#pragma once

#include "capfsd/fs/front.h"

/* A request was read. Returns: 0, -ENOMEM: it cannot be served. */
int fs_service_begin(struct fs *fs, uint64_t unique);
/* It was answered. */
void fs_service_end(struct fs *fs, uint64_t unique);
/* Answers UNIQUE with ERROR, past libfuse. */
void fs_service_refuse(uint64_t unique, int error);
/* Answers what a predecessor had in service, for good. */
void fs_service_give_up(struct fs *fs);
