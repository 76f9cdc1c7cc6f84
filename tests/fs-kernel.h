/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front of FUSE without a kernel: the test writes raw requests to one end of a pair, a child with
 * store, model and front serves the other. So the child can be killed, and requests can be sent that
 * no kernel sends.
 */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/process/boot.h"
#include "tests/fixture.h"

#define RESENT (UINT64_C(1) << 63)

struct kernel {
	char dir[FIXTURE_PATH];
	struct boot boot;
	int fd, served; /* ours, and the child's end */
	pid_t child;
	uint64_t unique;
	uint32_t pid; /* who asks; 0: we do */
	/* the last answer */
	struct fuse_out_header out;
	char data[140000];
	size_t n;
	unsigned n_polls; /* pollers woken */
	bool old;	  /* it sends nothing again */
	bool impatient;   /* what was interrupted and waits is not done any more */
	bool unreaped;	  /* what has ended stays */
	bool no_sockets;  /* whoever looks one up waits */
};

extern struct kernel k;

/* For tcase_add_checked_fixture(). */
void kernel_setup(void);
void kernel_teardown(void);

/* N are in service: the broker has noted, too, that all others were answered. */
void kernel_settle(unsigned n);

/* The child dies, and the next one comes; one after the other, with time for requests in between. */
void kernel_kill(void);
void kernel_end(void);
void kernel_begin(void);

/* The child stands still, until it is told to go on: requests pile up. */
void kernel_stop(void);
void kernel_continue(void);

/* The child has no memory for texts, until this is called again. */
void kernel_starve(void);

/* The next message that is an answer; notifications are counted only. */
void kernel_receive(void);
void kernel_send(uint32_t opcode, uint64_t node, uint64_t unique, const void *body, size_t n);

/* One request and its answer. Returns: its error, 0 or negative. */
int ask(uint32_t opcode, uint64_t node, const void *body, size_t n);

/* 0: there is none. */
uint64_t look_up(uint64_t parent, const char *name);
uint64_t open_node(uint64_t node);
const char *read_node(uint64_t node, uint64_t fh, uint64_t offset);
/* What a WRITE has behind its header. Returns: its size. */
size_t write_body(char *body, uint64_t fh, const char *text, size_t n);
int write_node(uint64_t node, uint64_t fh, const char *text);
int make_directory(uint64_t parent, const char *name);

/* caps/kv/call. It has no reply to "never" until somebody writes "wake", and refuses "refuse". */
uint64_t find_call(void);
