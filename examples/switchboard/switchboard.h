/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The protocol of the switchboard, which README has in full. */
#pragma once

/* Methods of its calls. The data of each are labels. */
enum switchboard_method {
	SWITCHBOARD_LIST,    /* the labels of the servers that match, a line each */
	SWITCHBOARD_CONNECT, /* the labels of the connection, and its descriptor */
	SWITCHBOARD_SERVE,   /* the labels of the server, and the descriptor of its channel */
};

/* On a channel: a packet is the labels of a connection with its descriptor, and is answered by one of these. */
#define SWITCHBOARD_TAKEN "taken"
#define SWITCHBOARD_REFUSED "refused " /* and why */
#define SWITCHBOARD_REASON_BYTES 256   /* of a whole answer */
