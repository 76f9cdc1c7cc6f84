/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the control protocol, and what all of them share. Of struct control the vouch is
 * written by vouch.c and inspection.c, the snapshot by perform.c, what it waits for by wait.c, the rest
 * by accept.c and control.c; of struct controls each group by the module that it is named after.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/index.h"
#include "base/list.h"
#include "base/text.h"
#include "capfsd/control/controls.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"
#include "capfsd/tree/rows.h"

struct adopted;
struct capability;
struct listener;
struct memo;
struct session;

#define CHALLENGE_BYTES 32 /* hexadecimal digits */

/* A reply that could not be sent at once. */
struct parcel {
	uint8_t *data; /* NULL: none */
	size_t n;
	struct charge ram;
	uint64_t pending; /* goes out when this is reaped */
	int fd;		  /* goes with it, -1: none */
};

/* What a client is to prove, and what it has proved. */
struct vouch {
	struct index_link link; /* controls.challenges, while there is a challenge */
	char challenge[CHALLENGE_BYTES + 1];
	uint64_t inspection; /* that is under way, 0: none */
	uint64_t capability; /* 0: not yet */
	bool by_node;        /* it was written onto; a connection says more */
	int error;	     /* of an inspection: why there is none */
};

/* A text that is read in pieces: as it was when the first one was read; or one that is being made. */
struct snapshot {
	struct text text;
	struct charge ram;
	uint64_t node;	 /* number, 0: none */
	uint64_t making; /* for the request of this serial, 0: it is whole */
	struct reading at;
};

struct control {
	struct controls *controls;
	struct session *session; /* that is spoken to */
	struct session *payer;   /* who is served; it pays, and does so in its turns */
	struct capability *capability; /* through which it came; NULL: at its session's own socket */
	struct listener *listener;
	struct list listener_link; /* its clients */
	struct list link;	   /* controls.all */
	struct list pending_link;  /* controls.pending */
	struct list starved_link;  /* controls.starved */
	struct list parked_link;   /* of a program, or an ask, that its request is about … */
	struct list timed_link;	   /* … controls.timed, while that is not for ever */
	uint64_t wait_serial;	   /* of the request that waits until … */
	uint64_t wait_until_usec;
	struct watch watch;
	struct charge charge;
	struct memo *memo;
	struct ucred peer;
	uint64_t serial; /* of the last request that was executed */
	struct parcel parcel;
	struct snapshot snapshot;
	struct vouch vouch;
	int fd;
	bool counted; /* as a connection of CAPABILITY */
	bool performing, ended; /* what it has asked for is being done; that has ended it, and then it goes */
	bool replay; /* PARCEL is for SERIAL, executed by a predecessor, if that is asked again */
};

struct controls {
	struct sockets *sockets;
	struct metrics *metrics; /* for requests, which show them; NULL: none */
	struct programs *programs;
	struct askings *askings;
	/* control.c */
	bool performing; /* the request in REQUEST is being done */
	struct list all;
	struct list pending;	  /* their reply waits for something to be reaped */
	struct list starved;	  /* their reply found no memory or room in flight */
	uint8_t *request, *reply; /* WIRE_CONTROL_MAX bytes each */
	/* vouch.c */
	struct index challenges;
	/* wait.c */
	struct list timed;
	sd_event_source *wait_timer;
	/* ownership.c */
	struct list unsettled;
	bool settled_marked;
	/* manager.c */
	struct watch manager_watch;
	sd_event_source *manager_pause;
	int manager_fd; /* -1: no service manager gave one */
};

/* What that connection has asked for, nobody waits for any more. */
void controls_connection_ended(struct controls *controls, uint64_t cookie);
/* Somebody connected to L, the control of its session, or of a slot to one, or to a thread. Takes FD. */
void control_accepted(struct controls *controls, struct listener *l, int fd);
/* One of a predecessor, with its record, which is taken out of FOUND. */
void control_adopt(struct controls *controls, struct adopted *found);
/* What it has asked for may be its own end, which then comes with the reply. */
struct control *control_free(struct control *c);
/* For core_watch(): C has sent something, or may be sent something, or has ended. */
bool control_on_io(void *data);
/*
 * Says why the conversation is over, to whoever is at the other end of FD. That it cannot be sent is passed over:
 * then the client has gone, or reads nothing.
 */
void control_farewell(struct controls *controls, int fd, int error, const char *reason);
/* Ends C, which is told why, outside of any request. Frees it. */
void control_dismiss(struct control *c, int error, const char *reason);
/* It looks now, unless somebody else's request is being done. May free C. */
void control_look(struct control *c);
/* What C waits for may have come: it looks when it is its turn; FIRST: before all others. */
void control_resume(struct control *c, bool first);
