/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/peer.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define ANSWER_MSEC 1000

struct question {
	struct nlmsghdr header;
	struct unix_diag_req request;
};

union answer {
	struct nlmsghdr header;
	char bytes[4096];
};

/* The inode of the peer, which is 0 once nobody holds that socket any more. */
static enum peer_state
read_answer(const union answer *a, size_t n)
{
	const struct nlmsghdr *header = &a->header;
	const struct unix_diag_msg *found;
	const struct rtattr *attribute;
	size_t left;

	if (!NLMSG_OK(header, n) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		header->nlmsg_len < NLMSG_LENGTH(sizeof(*found)))
		return PEER_UNKNOWN;
	found = NLMSG_DATA(header);
	left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*found));
	attribute = (const struct rtattr *)(found + 1);
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		__u32 inode;

		if (attribute->rta_type != UNIX_DIAG_PEER || RTA_PAYLOAD(attribute) < sizeof(inode))
			continue;
		memcpy(&inode, RTA_DATA(attribute), sizeof(inode));
		return inode ? PEER_OPEN : PEER_CLOSED;
	}
	/* A connected socket without a peer to name: it is gone. */
	return PEER_CLOSED;
}

enum peer_state
peer_state(int fd)
{
	struct question q = {
		.header =
			{
				.nlmsg_len = sizeof(q),
				.nlmsg_type = SOCK_DIAG_BY_FAMILY,
				.nlmsg_flags = NLM_F_REQUEST,
			},
		.request =
			{
				.sdiag_family = AF_UNIX,
				.udiag_states = ~0U,
				.udiag_show = UDIAG_SHOW_PEER,
				.udiag_cookie = {~0U, ~0U},
			},
	};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	cleanup_close int netlink = -1;
	struct pollfd poll_fd;
	union answer a;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return PEER_UNKNOWN;
	q.request.udiag_ino = (__u32)st.st_ino;
	netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (netlink < 0 || sendto(netlink, &q, sizeof(q), 0, (struct sockaddr *)&kernel,
				   sizeof(kernel)) != (ssize_t)sizeof(q))
		return PEER_UNKNOWN;
	poll_fd = (struct pollfd){.fd = netlink, .events = POLLIN};
	if (poll(&poll_fd, 1, ANSWER_MSEC) != 1)
		return PEER_UNKNOWN;
	n = recv(netlink, &a, sizeof(a), MSG_DONTWAIT);
	return n > 0 ? read_answer(&a, (size_t)n) : PEER_UNKNOWN;
}
