/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting a program. The daemon makes a half-started one in the session that was asked for, and gives one end
 * of a pair to it; all that the program is to have is said over that (launch.h).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/number.h"
#include "libcap-client/programs/launch.h"
#include "libcap-client/programs/thread.h"

#define RESTARTS (CAPC_SPAWN_RESTART | CAPC_SPAWN_RESTART_ALWAYS)
#define FLAGS                                                                             \
	(CAPC_SPAWN_DIE_WITH | CAPC_SPAWN_LISTEN | CAPC_SPAWN_DETACHED | CAPC_SPAWN_EXEC_FD | \
		CAPC_SPAWN_OPEN_SOCKETS | RESTARTS)
#define LISTEN_FIRST 3 /* of sd_listen_fds(3) */
#define LABEL_MAX 255  /* … and of its names */
#define LABELS_MAX 30000 /* bytes that the daemon is told of them; a request has 32768 */
#define UNKNOWN "unknown"

/* --- what is said --- */

/* The first version of the structure ended here. */
#define SIZE_MIN (offsetof(struct capc_spawn, flags) + sizeof(unsigned))

/* What a later version has added may be missing, and what this one does not know may not be asked for. */
static int
take_request(const struct capc_spawn *p, struct capc_spawn *ret)
{
	const char *bytes = (const char *)p;

	if (p->size < SIZE_MIN)
		return -EINVAL;
	for (size_t i = sizeof(*ret); i < p->size; i++)
		if (bytes[i])
			return -EOPNOTSUPP;
	*ret = (struct capc_spawn){};
	memcpy(ret, p, p->size < sizeof(*ret) ? p->size : sizeof(*ret));
	return 0;
}

static bool
is_label(const char *label)
{
	size_t n = strlen(label);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)label[i] < ' ' || label[i] == 127 || label[i] == ':')
			return false;
	return n > 0 && n <= LABEL_MAX;
}

static int
check_request(const struct capc_spawn *p)
{
	if (p->flags & ~(unsigned)FLAGS || !p->argv || !p->argv[0] || (p->flags & RESTARTS) == RESTARTS ||
		(p->serves_how && !p->serves) || (p->heartbeat_max && !p->heartbeat_sec))
		return -EINVAL;
	if (p->n_fds > HELLO_FDS_MAX)
		return -E2BIG;
	for (size_t i = 0; p->labels && i < p->n_fds; i++)
		if (p->labels[i] && !is_label(p->labels[i]))
			return -EINVAL;
	/* So that nothing is begun for them. */
	for (size_t i = 0; i < p->n_fds; i++)
		if (fcntl(p->fds[i], F_GETFD) < 0)
			return -EBADF;
	return p->flags & CAPC_SPAWN_EXEC_FD && fcntl(p->exec_fd, F_GETFD) < 0 ? -EBADF : 0;
}

static int
compare_groups(const void *a, const void *b)
{
	gid_t one = *(const gid_t *)a, other = *(const gid_t *)b;

	return one < other ? -1 : one > other;
}

/* In their order, each once. The array belongs to the caller (free). */
static int
make_groups(const struct capc_spawn *p, gid_t **ret, uint32_t *ret_n)
{
	gid_t *groups;
	uint32_t n = 0;

	if (p->n_groups > PLAN_GROUPS_MAX)
		return -E2BIG;
	groups = calloc(p->n_groups + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	if (p->n_groups > 0)
		memcpy(groups, p->groups, p->n_groups * sizeof(*groups));
	qsort(groups, p->n_groups, sizeof(*groups), compare_groups);
	for (size_t i = 0; i < p->n_groups; i++)
		if (n == 0 || groups[n - 1] != groups[i])
			groups[n++] = groups[i];
	*ret = groups;
	*ret_n = n;
	return 0;
}

/* One string with its 0. */
static void
add_string(struct text *t, const char *s, uint32_t *n)
{
	text_add_n(t, s, strlen(s) + 1);
	++*n;
}

/* What is too much is seen before all of it was copied. */
static int
add_strings(struct text *t, char *const *strings, bool (*leave_out)(const char *), uint32_t *n)
{
	for (; strings && *strings; strings++) {
		if (leave_out && leave_out(*strings))
			continue;
		if (*n == HELLO_STRINGS_MAX || t->n > HELLO_BYTES_MAX)
			return -E2BIG;
		add_string(t, *strings, n);
	}
	return 0;
}

static bool
is_one_of(const char *variable, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* What somebody else was told of his own heart. */
static bool
is_heartbeat(const char *variable)
{
	static const char *const names[] = {HEARTBEAT_THREAD "=", HEARTBEAT_SECONDS "="};

	return is_one_of(variable, names, sizeof(names) / sizeof(names[0]));
}

/* … or of his own descriptors. */
static bool
is_listen(const char *variable)
{
	static const char *const names[] = {
		"LISTEN_FDS=", "LISTEN_FDNAMES=", "LISTEN_PID=", "LISTEN_PIDFDID="};

	return is_one_of(variable, names, sizeof(names) / sizeof(names[0])) || is_heartbeat(variable);
}

/* As systemd would tell it: what 3 and so on are called. Of none nothing is said. */
static int
add_listen(const struct capc_spawn *p, struct text *t, struct process_hello *hello)
{
	cleanup_text struct text s = {};

	if (p->n_fds <= LISTEN_FIRST)
		return 0;
	text_addf(&s, "LISTEN_FDS=%zu", p->n_fds - LISTEN_FIRST);
	text_add_n(&s, "", 1);
	text_add(&s, "LISTEN_FDNAMES=");
	for (size_t i = LISTEN_FIRST; i < p->n_fds; i++)
		text_addf(&s, "%s%s", i > LISTEN_FIRST ? ":" : "",
			p->labels && p->labels[i] ? p->labels[i] : UNKNOWN);
	text_add_n(&s, "", 1);
	if (text_done(&s) < 0)
		return -ENOMEM;
	if (hello->envc + 3 > HELLO_STRINGS_MAX)
		return -E2BIG;
	text_add_n(t, s.data, s.n);
	hello->envc += 2;
	/* The program alone knows its number, and writes it there. */
	add_string(t, "LISTEN_PID=", &hello->envc);
	hello->flags |= HELLO_LISTEN_PID;
	return 0;
}

static int
make_hello(const struct capc_spawn *p, struct text *bytes, struct process_hello *ret)
{
	struct process_hello hello = {.magic = HELLO_MAGIC, .n_fds = (uint32_t)p->n_fds};
	bool listens = p->flags & CAPC_SPAWN_LISTEN;
	int r = add_strings(bytes, p->argv, NULL, &hello.argc);

	if (r == 0)
		r = add_strings(bytes, p->envp, listens ? is_listen : is_heartbeat, &hello.envc);
	if (r == 0 && listens)
		r = add_listen(p, bytes, &hello);
	if (r < 0)
		return r;
	if (text_done(bytes) < 0)
		return -ENOMEM;
	if (bytes->n > HELLO_BYTES_MAX)
		return -E2BIG;
	if (p->flags & CAPC_SPAWN_EXEC_FD) {
		hello.flags |= HELLO_EXEC_FD;
		hello.n_fds++;
	}
	if (p->flags & CAPC_SPAWN_OPEN_SOCKETS)
		hello.flags |= HELLO_OPEN_SOCKETS;
	hello.n_bytes = (uint32_t)bytes->n;
	*ret = hello;
	return 0;
}

/* Which of the session's threads it is, is known once the daemon has it. */
static int
add_heartbeat(const struct capc_spawn *p, const struct capc_thread *t, struct text *bytes, struct process_hello *hello)
{
	if (!p->heartbeat_sec)
		return 0;
	if (hello->envc + 2 > HELLO_STRINGS_MAX)
		return -E2BIG;
	text_addf(bytes, HEARTBEAT_THREAD "=%s", t->id);
	text_add_n(bytes, "", 1);
	text_addf(bytes, HEARTBEAT_SECONDS "=%u", p->heartbeat_sec);
	text_add_n(bytes, "", 1);
	if (text_done(bytes) < 0)
		return -ENOMEM;
	hello->envc += 2;
	hello->n_bytes = (uint32_t)bytes->n;
	return bytes->n > HELLO_BYTES_MAX ? -E2BIG : 0;
}

/* The program itself goes behind what it gets. The array belongs to the caller (free). */
static int
make_fds(const struct capc_spawn *p, int **ret, size_t *ret_n)
{
	int *fds = calloc(p->n_fds + 1, sizeof(*fds));
	size_t n = p->n_fds;

	if (!fds)
		return -ENOMEM;
	if (n > 0)
		memcpy(fds, p->fds, n * sizeof(*fds));
	if (p->flags & CAPC_SPAWN_EXEC_FD)
		fds[n++] = p->exec_fd;
	*ret = fds;
	*ret_n = n;
	return 0;
}

/* --- the daemon's part --- */

/* With what the daemon does not show replaced; without them where they would not fit. */
static void
add_labels(const struct capc_spawn *p, struct text *t)
{
	static const char shown[] = WIRE_LABEL_CHARACTERS;
	size_t n = 0;

	for (size_t i = 0; p->labels && i < p->n_fds; i++)
		n += strlen(p->labels[i] ? p->labels[i] : "") + 2;
	if (n == 0 || n > LABELS_MAX)
		return;
	for (size_t i = 0; i < p->n_fds; i++) {
		const char *label = p->labels[i] && *p->labels[i] ? p->labels[i] : "-";

		text_add(t, i == 0 ? " labels=" : ",");
		for (; *label; label++)
			text_add_n(t, memchr(shown, *label, sizeof(shown) - 1) ? label : "_", 1);
	}
}

static int
make_request(const struct capc_spawn *p, struct text *node, struct text *command)
{
	int r;

	session_node_add(node, p->session ? p->session : "");
	text_addf(node, "%sthreads", node->n > 0 ? "/" : "");
	text_addf(command, "descriptors=%zu", p->n_fds);
	r = command_add(command, "name", p->name);
	if (r < 0)
		return r;
	add_labels(p, command);
	if (p->flags & CAPC_SPAWN_DIE_WITH)
		text_add(command, " die");
	if (!(p->flags & CAPC_SPAWN_DETACHED))
		text_add(command, " keep");
	if (p->flags & RESTARTS)
		text_addf(command, " restart=%s", p->flags & CAPC_SPAWN_RESTART ? "on-failure" : "always");
	r = command_add(command, "serves", p->serves);
	if (r < 0)
		return r;
	if (p->serves_how)
		text_addf(command, " %s", p->serves_how);
	if (p->heartbeat_sec)
		text_addf(command, " heartbeat=%u", p->heartbeat_sec);
	if (p->heartbeat_sec && p->heartbeat_max)
		text_addf(command, ":%u", p->heartbeat_max);
	return text_done(node) < 0 || text_done(command) < 0 ? -ENOMEM : 0;
}

/* The id behind KEY. Returns: 0, -EBADMSG. */
static int
id_of(const char *text, const char *key, uint32_t *ret)
{
	uint64_t value;
	size_t n;
	const char *word = result_find(text, key, &n);

	if (!word || number_parse(word, n, false, &value) < 0 || value >= UINT32_MAX)
		return -EBADMSG;
	*ret = (uint32_t)value;
	return 0;
}

/* "thread=7.3 uid=1000 gid=1000" */
static int
parse_launch(struct capc_session *s, const char *threads, const char *text, struct launch *l,
	struct capc_thread **ret)
{
	cleanup_free char *id = NULL;
	uint32_t uid, gid;
	size_t n;
	const char *word = result_find(text, "thread=", &n);

	if (!word || id_of(text, "uid=", &uid) < 0 || id_of(text, "gid=", &gid) < 0)
		return -EBADMSG;
	id = strndup(word, n);
	if (!id)
		return -ENOMEM;
	l->uid = uid;
	l->gid = gid;
	return thread_new(s, threads, id, ret);
}

static int
ask(struct capc_session *s, const struct capc_spawn *p, uint64_t deadline, struct launch *l, int *ret_fd,
	struct capc_thread **ret)
{
	cleanup_text struct text node = {}, command = {};
	cleanup_free char *text = NULL;
	cleanup_close int fd = -1;
	struct wire_reply reply;
	int r = make_request(p, &node, &command);

	if (r == 0)
		r = session_do_fd_reply(s, WIRE_SPAWN, node.data, command.data, deadline, &reply, &fd);
	if (r < 0)
		return r;
	text = strndup(reply.text, reply.n_text);
	if (!text)
		return -ENOMEM;
	if (socket_type(fd) != SOCK_SEQPACKET)
		return -EBADMSG;
	r = parse_launch(s, node.data, text, l, ret);
	if (r == 0)
		*ret_fd = take_fd(fd);
	return r;
}

/* --- why not --- */

static const struct hint {
	enum process_step step;
	int error;
	const char *text;
} hints[] = {
	{STEP_CREDS, EPERM, "the groups that were named for it are not those of its session"},
	{STEP_FDS, EMFILE, "it may not have so many descriptors"},
	{STEP_FDS, EBADMSG, "descriptors were lost on the way"},
	{STEP_PLACE, EISDIR, "a directory is not given to a program: it is a way up to all that its owner sees"},
	{STEP_SECCOMP, EBUSY, "somebody else is asked about its system calls already"},
	{STEP_SECCOMP, EOPNOTSUPP, "open(2) of sockets needs Linux 5.19, and kernel.yama.ptrace_scope to be 0"},
	{STEP_EXEC, ENOENT, "there is no such program in its session, or not what interprets it"},
	{STEP_EXEC, EACCES, "it may not be executed there"},
	{STEP_EXEC, ENOEXEC, "it is no program of this machine, and no script that begins with #!"},
	{STEP_EXEC, E2BIG, "arguments and environment are too long for the kernel"},
	{STEP_NONE, ECONNRESET, "it ended before it was started"},
};

static void
explain(struct capc_session *s, int step, int error)
{
	const char *name = launch_step_name(step), *hint = NULL;
	cleanup_text struct text t = {};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if ((int)hints[i].step == step && hints[i].error == error)
			hint = hints[i].text;
	if (name)
		text_addf(&t, "step %s", name);
	else
		text_addf(&t, "step %d", step);
	if (hint)
		text_addf(&t, ": %s", hint);
	if (text_done(&t) == 0)
		session_refused(s, t.data);
}

static void
explain_user(struct capc_session *s, const struct launch *l)
{
	cleanup_text struct text t = {};

	text_addf(&t, "programs of the session run as uid %u, gid %u%s, and only root may start them for others",
		(unsigned)l->uid, (unsigned)l->gid, l->hello.n_groups > 0 ? " and groups" : "");
	if (text_done(&t) == 0)
		session_refused(s, t.data);
}

/* The launch failed with R at STEP: nothing is to be left of it. Returns: why, for the caller. */
static int
give_up(struct capc_session *s, const struct capc_spawn *p, const struct launch *l, struct capc_thread *t,
	int step, int r)
{
	bool known = step >= 0;

	/* A handle that nobody else has: what is kept for it would stay as long as the connection. */
	if (!known || !(p->flags & CAPC_SPAWN_DETACHED))
		thread_abandon(t, !known);
	session_begin(s);
	if (known && step == STEP_EXEC && r == -ENOENT && p->flags & CAPC_SPAWN_EXEC_FD) {
		/* The kernel has closed it before the interpreter could have opened it. */
		r = -ENOEXEC;
		session_refused(s, "step exec: a script cannot be executed by its descriptor");
	} else if (step == STEP_HELLO && r == -EBADMSG && p->flags & CAPC_SPAWN_OPEN_SOCKETS) {
		r = -EOPNOTSUPP;
		session_refused(s, "step hello: what starts programs there is older than open(2) of sockets");
	} else if (known) {
		explain(s, step, -r);
	} else if (r == -EPERM) {
		explain_user(s, l);
	}
	return r;
}

static int
spawn(struct capc_session *s, const struct capc_spawn *p, uint64_t deadline, struct capc_thread **ret)
{
	cleanup_text struct text bytes = {};
	cleanup_free int *fds = NULL;
	cleanup_free gid_t *groups = NULL;
	struct capc_thread *t;
	struct launch l = {};
	int fd = -1, step, r;

	r = check_request(p);
	if (r == 0)
		r = make_hello(p, &bytes, &l.hello);
	if (r == 0)
		r = make_fds(p, &fds, &l.n_fds);
	if (r == 0)
		r = make_groups(p, &groups, &l.hello.n_groups);
	if (r < 0)
		return r;
	l.fds = fds;
	l.groups = groups;
	r = ask(s, p, deadline, &l, &fd, &t);
	if (r < 0)
		return r;
	step = -1;
	r = add_heartbeat(p, t, &bytes, &l.hello);
	l.bytes = bytes.data;
	if (r == 0)
		r = launch_run(fd, &l, deadline, &step);
	/* Before anything else is asked: it may be waiting for the rest. */
	close(fd);
	if (r < 0) {
		r = give_up(s, p, &l, t, step, r);
		capc_thread_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int
capc_spawn(struct capc_session *s, const struct capc_spawn *p, uint64_t timeout, struct capc_thread **ret,
	char **ret_reason)
{
	struct capc_spawn request;
	int r;

	session_begin(s);
	r = take_request(p, &request);
	if (r == 0)
		r = spawn(s, &request, deadline_after(timeout), ret);
	if (ret_reason)
		*ret_reason = r < 0 && *capc_session_reason(s) ? strdup(capc_session_reason(s)) : NULL;
	return r;
}
