/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	hostile-file MOUNTPOINT PATH stream|seqpacket [BYTE]
 *
 * A file system whose one file nobody can close: it is cached for writing back, and no WRITE is ever answered,
 * so that who drops the last reference to it sleeps, deaf to SIGKILL, until this process ends. The file goes
 * to the socket PATH, with BYTE or "x", where it is left. "sent" or the errno is printed; it ends with its standard input.
 */
#define FUSE_USE_VERSION 35

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/msg.h"

#define HOSTILE_FILE 2
#define HOSTILE_BYTES 65536
#define FOREVER 1e6

static void
attributes(fuse_ino_t ino, struct stat *ret)
{
	*ret = (struct stat){.st_ino = ino, .st_nlink = 1, .st_uid = getuid()};
	ret->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666;
	ret->st_size = ino == FUSE_ROOT_ID ? 0 : HOSTILE_BYTES;
}

static void
hostile_init(void *data, struct fuse_conn_info *connection)
{
	connection->want |= FUSE_CAP_WRITEBACK_CACHE;
}

static void
hostile_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {
		.ino = HOSTILE_FILE, .attr_timeout = FOREVER, .entry_timeout = FOREVER};

	attributes(HOSTILE_FILE, &e.attr);
	fuse_reply_entry(req, &e);
}

static void
hostile_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	attributes(ino, &st);
	fuse_reply_attr(req, &st, FOREVER);
}

static void
hostile_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
	hostile_getattr(req, ino, fi);
}

static void
hostile_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void
hostile_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t offset, struct fuse_file_info *fi)
{
	static const char zeros[HOSTILE_BYTES];

	fuse_reply_buf(req, zeros, n < HOSTILE_BYTES ? n : HOSTILE_BYTES);
}

static void
hostile_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t offset, struct fuse_file_info *fi)
{
	/* Never answered. */
}

static void
hostile_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

static const struct fuse_lowlevel_ops operations = {
	.init = hostile_init,
	.lookup = hostile_lookup,
	.getattr = hostile_getattr,
	.setattr = hostile_setattr,
	.open = hostile_open,
	.read = hostile_read,
	.write = hostile_write,
	.flush = hostile_flush,
};

static void
die(const char *what)
{
	fprintf(stderr, "hostile-file: %s: %s\n", what, error_name(errno));
	exit(2);
}

static int
connect_to(const char *path, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), dir;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	/* However long the path is. */
	dir = open(path, O_PATH | O_CLOEXEC);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(path);
	return fd;
}

/* Sends the file while it is clean, has it there alone, and makes it dirty by another descriptor. */
static void
leave(const char *mountpoint, int to, const char *byte)
{
	char path[4096], *map;
	int sent, other;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/file", mountpoint);
	sent = open(path, O_RDWR | O_CLOEXEC);
	other = open(path, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, HOSTILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	if (sent < 0 || map == MAP_FAILED)
		die(path);
	n = msg_send(to, byte, 1, &sent, 1, 0);
	close(sent);
	*(volatile char *)map = 1;
	/* Who waits for that knows it by another message. */
	(void)msg_send(to, "y", 1, NULL, 0, MSG_DONTWAIT);
	puts(n == 1 ? "sent" : error_name((int)-n));
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	char *fuse_argv[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
	struct fuse_session *se;
	pid_t server;
	int fd;

	if (argc != 4 && argc != 5) {
		fprintf(stderr, "usage: hostile-file MOUNTPOINT PATH stream|seqpacket [BYTE]\n");
		return 2;
	}
	se = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!se || fuse_session_mount(se, argv[1]) != 0)
		die(argv[1]);
	server = fork();
	if (server == 0) {
		fuse_session_loop(se);
		_exit(0);
	}
	close(fuse_session_fd(se));
	fd = connect_to(argv[2], strcmp(argv[3], "stream") == 0 ? SOCK_STREAM : SOCK_SEQPACKET);
	leave(argv[1], fd, argc > 4 ? argv[4] : "x");
	while (read(STDIN_FILENO, &(char){0}, 1) > 0)
		;
	/* Without its server nothing is left to wait for. */
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	_exit(0);
}
