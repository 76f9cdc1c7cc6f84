/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who keeps a connection when its session gets another owner, group or mode. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct controls;
struct entity;
struct session;

/*
 * While that is still to be found out (session_record.owner_changed): may PEER of FD have its
 * connection to S? Else always.
 */
bool ownership_allows(struct controls *controls, const struct session *s, int fd,
	const struct ucred *peer);
/* For the model's hook of that name: ends the clients that may not any more. */
void ownership_changed(struct controls *controls, const struct entity *e);
/* What a hook may not do: judges who is in the backlog, and has the store know that all is done. */
void ownership_settle(struct controls *controls);
void ownership_deinit(struct controls *controls);
