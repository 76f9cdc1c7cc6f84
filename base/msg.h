/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages with descriptors: the only place that touches cmsg. Whatever a peer sends, either all
 * of its descriptors are handed over, CLOEXEC, or none is left open.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MSG_FDS_MAX 253 /* SCM_MAX_FD of the kernel */

/*
 * Sends N bytes with N_FDS descriptors (which stay the caller's) as one message, MSG_NOSIGNAL.
 * FLAGS are those of sendmsg(2), such as MSG_DONTWAIT.
 * Returns: the number of bytes sent, or -errno: -EAGAIN, -EPIPE, -ETOOMANYREFS (too many
 * descriptors of this user in flight), -EMSGSIZE.
 */
ssize_t msg_send(int fd, const void *data, size_t n, const int *fds, size_t n_fds, int flags);

/*
 * Sends N bytes without descriptors, with the credentials of this process, as the kernel lets it state them:
 * another UID or GID than its own needs CAP_SETUID or CAP_SETGID.
 * Returns: as msg_send(); -EPERM, -EINVAL (there is no such uid or gid in this user namespace).
 */
ssize_t msg_send_as(int fd, const void *data, size_t n, uid_t uid, gid_t gid, int flags);

/*
 * Receives one message of at most SIZE bytes and FDS_MAX descriptors, all CLOEXEC.
 * FLAGS are those of recvmsg(2); with MSG_PEEK no descriptor is taken and *RET_N_FDS tells 1 when
 * the message carries any.
 * Returns: the number of bytes, 0 at the end, or -errno: -EAGAIN, -EMSGSIZE (the message was
 * longer), -EBADMSG (more descriptors than FDS_MAX, or some were lost; all are closed). With FDS_MAX 0
 * this process never has them.
 */
ssize_t msg_receive(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	int flags);

/*
 * As msg_receive(), but a message of which descriptors were lost is not: *RET_LOST, and it has none.
 */
ssize_t msg_receive_lossy(int fd, void *data, size_t size, int *ret_fds, size_t fds_max,
	size_t *ret_n_fds, bool *ret_lost, int flags);

/* Who has sent a message, as the kernel tells. */
struct msg_sender {
	pid_t pid; /* 0: nobody that it could tell */
	uid_t uid;
	gid_t gid;
	int pidfd; /* -1: likewise, or none was asked for; else the caller's */
};

/* The same, with a pidfd of who has sent it, *RET_PIDFD, of which -1 is none: where msg_ask_pidfd() has asked. */
ssize_t msg_receive_lossy_from(int fd, void *data, size_t size, int *ret_fds, size_t fds_max,
	size_t *ret_n_fds, bool *ret_lost, int *ret_pidfd, int flags);
/* Asks for it, or no longer; where the kernel has none nothing comes of it. */
void msg_ask_pidfd(int fd, bool on);

/* As msg_receive(), on a socket of which msg_ask_sender() was called before the message was sent. */
ssize_t msg_receive_from(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	struct msg_sender *ret, int flags);
/* With PIDFD, a pidfd too, where the kernel (6.5) has it. Returns: 0 or -errno. */
int msg_ask_sender(int fd, bool pidfd);

/*
 * As msg_receive() with MSG_DONTWAIT on a SEQPACKET socket, but -EMFILE when there is no room for
 * the descriptors: then the message stays where it is.
 */
ssize_t msg_receive_whole(int fd, void *data, size_t size, int *ret_fds, size_t fds_max,
	size_t *ret_n_fds);

/*
 * Takes one message, whatever it is, without waiting for one. Its descriptors stay open until this process
 * ends, as there is no saying how long it takes to close them.
 */
void msg_take(int fd);

/*
 * A peek at this SEQPACKET socket gave nothing: is that its end, and not an empty message?
 */
bool msg_is_end(int fd);

/*
 * Takes and discards whatever is queued at a socket that was shut down, descriptors too.
 */
void msg_discard_all(int fd);
