/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The built capfs-spawner, and whoever speaks with it: keeper, broker and client are played by the test. A
 * test that root runs has the spawner as root and once more as a user; programs are never root's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/fixture.h"
#include "wire/process.h"

/* Words for a program. */
#define WORDS(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

#define WORLD_USER 12345 /* whose programs root starts */
#define WORLD_CONFINED (PLAN_CONFINED | PLAN_PROC | PLAN_DEV | PLAN_SECCOMP | PLAN_LANDLOCK)
#define WORLD_MSEC 20000 /* within which all comes, on a slow machine as well */

struct world {
	pid_t pid;
	int fd; /* the broker's end; -1: it has lost it */
	bool privileged;
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* that its clients name */
	uint32_t n_groups;
	uint64_t last_id;
	char directory[FIXTURE_PATH]; /* for all to read; in it `cap`, the tree, and `spawned`, the program */
};

/* A session, as its broker sees it. */
struct played {
	struct world *world;
	int fd, pidfd, launch; /* launch: of the first thread */
	uint64_t session, thread;
};

/*
 * For loop tests: 0 a user's spawner, 1 that and confined sessions; root has 2 and 3 as well, by a spawner of
 * root's.
 */
int world_kinds(void);

/* Where a program of the build tree is. */
const char *world_built(const char *program, char path[static 512]);

void world_begin(struct world *w, bool privileged, const char *option);
/* The spawner ends, with status 0, and leaves no process. */
void world_end(struct world *w);

/* The default: nothing but the user. */
void world_plan(struct world *w, struct process_plan *p, uint32_t flags);
/* /usr and /etc, and where the program is. */
void world_bind(struct world *w, struct process_plan *p);

/* A world with its plan, of a kind of world_kinds(). */
void world_prepare(struct world *w, struct process_plan *p, int kind);

/* Sends what is asked; with a plan, it is for the spawner, or for the init of a session above. */
void broker_ask(int fd, enum process_type type, uint64_t session, uint64_t thread);
void broker_send(int fd, const struct process_record *r, const struct process_plan *p);

/* The next record, with what came along: at most two descriptors, -1 where there is none. False: the end. */
bool broker_receive(int fd, struct process_record *ret, int ret_fds[2]);
/* The next one, which is of TYPE. Orphans do not count. */
struct process_record broker_await(int fd, enum process_type type);

/* Makes a session. False: it was refused; *RET_FAILED, why. */
bool world_make(struct world *w, int above, const struct process_plan *p, struct played *ret,
	struct process_record *ret_failed);
/* The same, which succeeds; its init is there as well, if it does not wait for the client first. */
void world_session(struct world *w, const struct process_plan *p, struct played *ret);
void played_end(struct played *s);
/* The session ends, whose end the spawner tells, and its world with it. */
void world_over(struct played *s);

/* Starts one more thread. Returns: the client's end. */
int played_launch(struct played *s, uint64_t *ret_thread);

/* --- the client --- */

void client_fill(
	struct process_hello *h, char *const *argv, char *const *env, size_t n_fds, char **ret_bytes);
/* As USER, which only root can be if it is not. Returns: 0 or -errno. */
int client_hello(int launch, const struct process_hello *h, uid_t uid, gid_t gid);
/* That it may be of that group. Returns: likewise. */
int client_group(int launch, uid_t uid, gid_t group);
/* All of it, as the world's user. Returns: 0 or -errno. */
int client_send(struct world *w, int launch, char *const *argv, char *const *env, const int *fds,
	size_t n_fds, uint32_t flags);
/* What the program says, or {-1, -1}: the end came first. */
struct process_answer client_receive(int launch);

/* Runs `spawned` with WORDS, which end with NULL; closes LAUNCH. */
void client_run(struct world *w, int launch, const char *const *words, const int *fds, size_t n_fds);

/* The first program of a session runs: its RUNNING was seen. */
void played_run(struct played *s, const char *const *words, const int *fds, size_t n_fds);
/* One more; returns its thread. */
uint64_t played_run_more(struct played *s, const char *const *words, const int *fds, size_t n_fds);

/* R says that a start has failed at STEP with ERROR. */
void check_failure(struct process_record r, int step, int error);

/* What comes from FD next, as text. */
char *await_text(int fd, char *text, size_t size);
/* Until a byte, or the end, comes from FD. Returns: the byte, -1. */
int await_byte(int fd);
/* Until the process of PIDFD is gone. */
void await_end(int pidfd);
void close_all(const int *fds, size_t n);
