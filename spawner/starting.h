/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes on in a half-started program, and in the starter of one that can run again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "spawner/program.h"
#include "wire/process.h"

#define STARTING_PID_BYTES 40

/* The memory that an init has in common with it. */
struct program_arena {
	struct program_arena *next;
	struct program *owner;
	int tid; /* cleared by the kernel when the process has other memory, or none */
	/* what the program begins with */
	const struct programs *all;
	uint64_t thread, session;
	pid_t init;
	int launch, reports, openers;
	bool has_hello;
	struct process_hello hello;
	bool is_later; /* nothing runs before it is asked for */
	uint32_t run; /* of one that is kept: how often it is to have run again; a futex, on which its starter waits */
	/* what it says of itself */
	int step, error;
	bool runs;
	bool waits; /* of one that is_later: all is there */
	pid_t child; /* of a starter's: its process, written by the kernel before that runs; 0: there is none */
	/* what it needs on its way */
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HELLO_PACKET_FDS * sizeof(int))];
	char listen_pid[STARTING_PID_BYTES];
	char *argv[HELLO_STRINGS_MAX + 1], *env[HELLO_STRINGS_MAX + 1];
	char bytes[HELLO_BYTES_MAX];
};

/* In a process that shares its memory with the init, or has a copy of it. P: the arena. Does not return. */
int starting_main(void *p);

/* In a process with a copy of the init's memory, which stays. */
void starting_keep(struct program_arena *a) __attribute__((noreturn));
