/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	sealed ROOT|- serve NAME	serves caps/NAME: every call comes back
 *	sealed ROOT|- call SLOT TEXT	calls it, and prints what comes back
 *
 * A program that has its session and nothing else. It opens the control socket of ROOT, or has inherited
 * one as descriptor 3 ("-"), and then takes from itself socket(2), bind(2), listen(2), connect(2)
 * and open(2), by all their ways: the library needs none of them, since every descriptor comes from the daemon.
 */
#include <cap-client.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define INHERITED_FD 3

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "add the architecture: its system calls have numbers of their own"
#endif
#define OTHER_ABI 0x40000000 /* numbers of x32, on x86-64 */

#define DENY(name)                                                                                 \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)

static int
seal(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OTHER_ABI, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		DENY(socket),
		DENY(socketpair),
		DENY(bind),
		DENY(listen),
		DENY(connect),
		DENY(openat),
		DENY(openat2),
		DENY(open_by_handle_at),
		DENY(io_uring_setup),
#ifdef SYS_open
		DENY(open),
		DENY(creat),
#endif
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

static void
echo(capc_request *r, struct capc_msg *m, void *data)
{
	(void)data;
	capc_reply(r, m);
}

static int
serve(capc_session *s, const char *name)
{
	capc_entrypoint *e;
	capc_how *how = NULL;
	int r = capc_attach(s, name, 0, &e);

	if (r < 0)
		return r;
	r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", name);
	if (r == 0)
		r = capc_object_add(e, 1, echo, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	capc_how_free(how);
	capc_detach(e);
	return r;
}

static int
call(capc_session *s, const char *slot, const char *text)
{
	struct capc_msg m = {.data = text, .n_data = strlen(text)};
	capc *c;
	int r = capc_open(s, slot, CAPC_TIMEOUT_USEC, &c);

	if (r < 0)
		return r;
	r = capc_call(c, &m, &m, CAPC_TIMEOUT_USEC);
	if (r == 0)
		puts(m.data);
	capc_msg_clear(&m);
	capc_free(c);
	return r;
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	int r;

	if (argc < 4) {
		fprintf(stderr, "usage: sealed ROOT|- serve NAME | call SLOT TEXT\n");
		return 2;
	}
	r = strcmp(argv[1], "-") ? capc_session_open(argv[1], CAPC_TIMEOUT_USEC, &s)
				 : capc_session_from_fd(INHERITED_FD, &s);
	if (r == 0)
		r = seal();
	if (r == 0)
		r = argc == 5 && !strcmp(argv[2], "call") ? call(s, argv[3], argv[4])
							  : serve(s, argv[3]);
	if (r < 0)
		fprintf(stderr, "sealed: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
