/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front of sockets without FUSE: a store, a model and a loop as a broker has them, while the
 * test itself is the binder, the clients, the servers, and the kernel that looks nodes up.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/fd.h"
#include "capfsd/asking/asking.h"
#include "capfsd/control/controls.h"
#include "capfsd/conversation/conversations.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/process/boot.h"
#include "capfsd/programs/programs.h"
#include "capfsd/sockets/sockets.h"
#include "tests/fixture.h"
#include "wire/wire.h"

#define WORLD_FDS_MAX 1024

struct world {
	char dir[FIXTURE_PATH];
	struct boot boot;
	struct boot_page page;
	struct state *state;
	struct model *model;
	struct sockets *sockets;
	struct askings *askings;
	struct controls *controls;
	struct programs *programs;
	unsigned n_spawners_wanted;
	struct conversations *conversations;
	sd_event *event;
	struct turns turns;
	int binder;	  /* the binder's end, -1: there is none */
	int binder_end;   /* the broker's, which the next broker finds under the same number */
	bool binder_lazy; /* it lets jobs lie */
	const char *attach; /* with these words servers do; NULL: none */
	bool deaf;	  /* the broker hears of no change, as one that dies of the commit */
	unsigned n_bound;
	/* What the file system was told. */
	uint64_t done_id;
	int done_error;
	unsigned n_done, n_invalidated;
	uint64_t invalidated_id;
	uint64_t known_id; /* whose node the kernel is to have */
	unsigned n_ready; /* a `call` can be read */
	/* Descriptors that are the test's own, and those that it started with: no broker's. */
	int own[WORLD_FDS_MAX];
	size_t n_own;
	int *base;
	size_t n_base;
};

/* What a server was handed. */
struct handed {
	struct wire_handover m;
	char label[WIRE_LABEL_MAX + 1];
	int fd;
	size_t n_fds; /* that one, and perhaps its pidfd */
};

/* What a control client was answered. */
struct answered {
	struct wire_reply m;
	char text[WIRE_TEXT_MAX + 1];
	int fd;
};

void world_init(struct world *w);
void world_deinit(struct world *w);
/* Shuts everything down for good, as the end of the daemon does. */
void world_stop(struct world *w);

/* Lets everything happen that is due, the binder's work and reaping too. */
void world_settle(struct world *w);
void world_settle_for(struct world *w, uint64_t usec);

/* A broker dies, and the next one comes. */
void world_kill(struct world *w);
void world_start(struct world *w);
void world_restart(struct world *w);

/* A new binder. */
void world_binder(struct world *w);

/* Takes FD out of what a broker leaves to the next. Returns: FD. */
int world_own(struct world *w, int fd);
/* Closes what the test had. Returns: -1. */
int world_close(struct world *w, int fd);

/* Where the listener of E is. */
void world_address(struct world *w, const struct entity *e, struct sockaddr_un *ret);

/* Looks the node up, as the kernel would. Returns: the errno, 0: it can be connected to. */
int world_want(struct world *w, struct entity *e);
/* connect(2). Returns: the socket, -errno. */
int world_connect(struct world *w, struct entity *e);

/* A control connection of S. */
int world_control(struct world *w, struct session *s);
void world_send(int fd, enum wire_op op, uint64_t serial, const char *path, const char *text);
/* Returns: false: nothing has come. */
bool world_reply(struct world *w, int fd, struct answered *ret);
/* Asks and waits. Returns: the reply's errno. */
int world_ask(struct world *w, int fd, enum wire_op op, const char *path, const char *text,
	struct answered *ret);

/* Serves entrypoints/NAME with one object of key 7, in slot caps/NAME. Returns: the channel. */
int world_serve(struct world *w, int control, const char *name, const char *socket);
/* The same, with one that speaks the library's protocol. */
int world_serve_calls(struct world *w, int control, const char *name);
/* Receives pages: `granted`, `used`. Returns: false: something else comes, or nothing. */
bool world_pages(struct world *w, int channel, int ret_fds[2]);
/* Receives a hand-over. Returns: false: there is none. */
bool world_handed(struct world *w, int channel, struct handed *ret);
void world_take(struct world *w, int channel, uint64_t serial);

struct capability *world_slot(struct world *w, struct session *s, const char *name);
/* Is the other end gone? Reads nothing but the end. */
bool world_is_over(int fd);
bool world_has_event(struct world *w, const char *text);
/* Can this kernel refuse descriptors where nobody wants any? */
static inline bool
world_bars_descriptors(void)
{
	int pair[2], r;

	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	r = fd_refuse_descriptors(pair[0]);
	close(pair[0]);
	close(pair[1]);
	ck_assert(r == 0 || r == -ENOPROTOOPT);
	return r == 0;
}
