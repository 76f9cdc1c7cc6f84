/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run inside a confined session it tries all ways out of it that are known, and prints one line for each that
 * is open, to descriptor 0; 1 is a terminal that belongs to somebody else, 2 a file that was opened only to
 * be read. Words: the pid of a process outside, the name of an abstract socket and the path of a file that
 * are there. Exits with the number of those that are open, or with 99 when something that has to work inside
 * does not.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int n_open;

static void
tried(const char *way, long r)
{
	if (r < 0)
		return;
	n_open++;
	dprintf(0, "%s\n", way);
}

#define TRY(way, call) tried((way), (long)(call))
#define TRY_CALL(name, ...) tried(#name, syscall(SYS_##name, __VA_ARGS__))

/* What has to work, or a way is closed only because nothing works. */
static void
must(int works, const char *what)
{
	if (works)
		return;
	dprintf(0, "does not work: %s (%s)\n", what, strerror(errno));
	_exit(99);
}

static int
connect_unix(const char *name, size_t n)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(a.sun_path, name, n);
	return connect(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

/* In a process of its own, as it would change ours. Returns: 0, -1. */
static int
in_child(int (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(f() < 0);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void
try_files(const char *path)
{
	char text[600];

	TRY("file of the host", open(path, O_RDONLY));
	snprintf(text, sizeof(text), "/cap/../../../../..%s", path);
	TRY("file of the host by /cap/..", open(text, O_RDONLY));
	snprintf(text, sizeof(text), "/proc/1/root%s", path);
	TRY("file of the host by the root of init", open(text, O_RDONLY));
	TRY("other session", open("/cap/../other/label", O_RDONLY));
	TRY("other session by the tree", open("/cap/sessions/../../other/label", O_RDONLY));
	TRY("write to /", open("/new", O_CREAT | O_WRONLY, 0600));
	TRY("write below /usr", open("/usr/new", O_CREAT | O_WRONLY, 0600));
	TRY("read-only file by /proc", open("/proc/self/fd/2", O_RDWR));
	TRY("device", mknod("/tmp/device", S_IFBLK | 0600, makedev(8, 0)));
	TRY("kernel's settings", open("/proc/sys/kernel/core_pattern", O_WRONLY));
	TRY("kernel's commands", open("/proc/sysrq-trigger", O_WRONLY));
}

static void
try_sockets(const char *abstract)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(22), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char name[108] = {};
	static const int families[] = {
		AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, AF_KEY, AF_BLUETOOTH, AF_TIPC, AF_XDP};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	strncpy(name + 1, abstract, sizeof(name) - 2);
	TRY("abstract socket", connect_unix(name, strlen(abstract) + 1));
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		TRY("socket family", socket(families[i], SOCK_RAW, 0));
	TRY("socket family with high bits", syscall(SYS_socket, AF_NETLINK | 1L << 32, SOCK_RAW, 0));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == ECONNREFUSED)
		tried("network of the host", 0);
}

static void
try_processes(pid_t outside)
{
	char bytes[8];
	struct iovec local = {bytes, sizeof(bytes)}, remote = {(void *)&n_open, sizeof(bytes)};
	struct rlimit limit = {64, 64};
	struct sched_param idle = {};
	uint64_t cpus[16] = {1};
	static const char *const files[] = {
		"mem", "environ", "maps", "exe", "root", "cwd", "fd", "ns/mnt", "ns/pid"};
	int pidfd = (int)syscall(SYS_pidfd_open, 1, 0), n = 0;

	TRY("signal to a process outside", kill(outside, 0));
	for (pid_t pid = 2; pid < 40000; pid++)
		n += pid != getpid() && kill(pid, 0) == 0;
	TRY("signal to anybody", n > 0 ? 0 : -1);
	TRY("ptrace of init", ptrace(PTRACE_SEIZE, 1, 0, 0));
	TRY("memory of init", process_vm_readv(1, &local, 1, &remote, 1, 0));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[40];

		snprintf(path, sizeof(path), "/proc/1/%s", files[i]);
		TRY(path, open(path, O_RDONLY));
	}
	TRY_CALL(pidfd_getfd, pidfd, 3, 0);
	TRY("namespaces of init", setns(pidfd, CLONE_NEWNS | CLONE_NEWPID));
	TRY_CALL(prlimit64, 1, RLIMIT_NOFILE, &limit, NULL);
	TRY_CALL(prlimit64, 1L << 32 | 1, RLIMIT_NOFILE, &limit, NULL);
	TRY_CALL(sched_setscheduler, 1, SCHED_IDLE, &idle);
	TRY_CALL(sched_setparam, 1, &idle);
	TRY_CALL(sched_setaffinity, 1, sizeof(cpus), cpus);
	TRY_CALL(setpriority, PRIO_PROCESS, 1, 19);
	TRY_CALL(setpriority, PRIO_PGRP, 1, 19);
	TRY_CALL(setpriority, PRIO_USER, 0, 19);
	TRY_CALL(ioprio_set, 1, 1, 3 << 13);
	TRY_CALL(ioprio_set, 3, 0, 3 << 13);
	/* None of them ends it, or we would not be here. */
	kill(1, SIGTERM);
	kill(1, SIGKILL);
	kill(1, SIGSTOP);
	kill(1, SIGSEGV);
}

static int
new_user(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS);
}

static int
new_user_by_clone(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

static int
new_user_by_clone3(void)
{
	struct clone_args a = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

static void
try_namespaces(void)
{
	TRY("user namespace by unshare", in_child(new_user));
	TRY("user namespace by clone", in_child(new_user_by_clone));
	TRY("user namespace by clone3", in_child(new_user_by_clone3));
	TRY("chroot", chroot("/tmp"));
	TRY_CALL(pivot_root, "/tmp", "/tmp");
	TRY_CALL(umount2, "/cap", 2);
	TRY_CALL(umount2, "/", 2);
	TRY_CALL(mount, "x", "/tmp", "tmpfs", 0, NULL);
	TRY_CALL(mount, "none", "/usr", NULL, 4096 | 32, NULL);
	TRY_CALL(open_tree, AT_FDCWD, "/cap", 1);
	TRY_CALL(fsopen, "tmpfs", 0);
	TRY_CALL(fspick, AT_FDCWD, "/", 0);
	TRY_CALL(mount_setattr, AT_FDCWD, "/", 0, (uint64_t[4]){0, 1}, 32);
}

static void
try_kernel(void)
{
	char bytes[256] = {};
	struct file_handle *handle = (void *)bytes;

	handle->handle_bytes = 8;
	handle->handle_type = 1;
	TRY("file by its handle", open_by_handle_at(open("/usr", O_RDONLY), handle, O_RDONLY));
	memset(bytes, 0, sizeof(bytes));
	TRY_CALL(io_uring_setup, 4, bytes);
	TRY_CALL(userfaultfd, 1);
	TRY_CALL(bpf, 0, bytes, 64);
	((uint32_t *)(void *)bytes)[1] = 128;
	TRY_CALL(perf_event_open, bytes, 0, -1, -1, 0);
	TRY_CALL(keyctl, 0, -3, 1);
	TRY_CALL(add_key, "user", "x", "y", 1, -3);
	TRY_CALL(request_key, "user", "x", NULL, -3);
	TRY_CALL(swapon, "/tmp/x", 0);
	TRY_CALL(syslog, 3, bytes, 10);
	TRY_CALL(init_module, bytes, 10, "");
	TRY("root", setuid(0));
	TRY("groups", syscall(SYS_setgroups, 0, NULL));
	TRY("shared memory of the host", shmget(0x63617073, 4096, 0));
#ifdef __x86_64__
	TRY("x32", syscall(0x40000000 | SYS_getpid));
#endif
}

static void
try_terminal(void)
{
	char c = '#';

	must(isatty(1), "terminal");
	TRY("TIOCSTI", ioctl(1, TIOCSTI, &c));
	TRY("TIOCSTI with high bits", syscall(SYS_ioctl, 1, TIOCSTI | 1UL << 32, &c));
	TRY("TIOCLINUX", ioctl(1, 0x541C, &c));
	TRY("TIOCSCTTY", ioctl(1, TIOCSCTTY, 1));
	TRY("/dev/tty", open("/dev/tty", O_RDWR));
}

static void
check_inside(void)
{
	int pair[2], status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(7);
	must(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7, "fork");
	must(open("/usr/bin", O_RDONLY | O_DIRECTORY) >= 0, "/usr");
	must(open("/tmp/new", O_CREAT | O_WRONLY, 0600) >= 0, "/tmp");
	must(open("/dev/null", O_RDWR) >= 0, "/dev/null");
	must(open("/dev/ptmx", O_RDWR) >= 0, "/dev/ptmx");
	must(open("/proc/self/status", O_RDONLY) >= 0, "/proc");
	must(open("/cap/label", O_RDONLY) >= 0, "/cap");
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "socketpair");
	must(open("/proc/1/status", O_RDONLY) >= 0, "/proc/1");
}

int
main(int argc, char *argv[])
{
	if (argc < 4)
		return 99;
	check_inside();
	try_files(argv[3]);
	try_sockets(argv[2]);
	try_processes(atoi(argv[1]));
	try_namespaces();
	try_kernel();
	try_terminal();
	return n_open;
}
