/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/notify.h"
#include "base/number.h"
#include "base/text.h"
#include "helpers/message.h"

#define OPEN_TIMEOUT_USEC (UINT64_C(10) * 1000000)
#define HEALTH_TIMEOUT_USEC 100000
#define RETRY_FIRST_USEC 20000
#define RETRY_MAX_USEC 500000

/* Errors that pass by themselves: the daemon starts, or the other server ends. */
static bool
is_passing(int e)
{
	return e == -ENOENT || e == -ECONNREFUSED || e == -ECONNRESET || e == -ENOTCONN ||
	       e == -EPIPE || e == -EBUSY || e == -ETIMEDOUT;
}

static void
add_if(capc_how *how, bool wanted, const char *key, const char *value)
{
	if (wanted)
		capc_how_add(how, key, value);
}

static int
attach_as(struct service *s, const struct service_options *o, bool counts)
{
	capc_how *how;
	int e = capc_how_new(&how);

	if (e < 0)
		return e;
	add_if(how, counts, "counts", "yes");
	add_if(how, o->aside, "aside", NULL);
	add_if(how, o->caveats, "caveats", "yes");
	add_if(how, o->fds, "fds", "yes");
	add_if(how, o->identity.as_caller, "pidfd", "yes");
	add_if(how, o->once, "once", NULL);
	add_if(how, o->listen, "mode", "listen");
	if (o->hold)
		capc_how_add_number(how, "hold", o->hold);
	if (o->backlog)
		capc_how_add_number(how, "backlog", o->backlog);
	e = capc_attach_how(s->session, o->name, capc_how_text(how), &s->entrypoint);
	capc_how_free(how);
	return e;
}

static int
try_attach(struct service *s, const struct service_options *o)
{
	int e = s->session ? 0 : capc_session_open(NULL, OPEN_TIMEOUT_USEC, &s->session);

	if (e == 0)
		e = attach_as(s, o, o->counts);
	if (e == -EINVAL && o->counts) {
		e = attach_as(s, o, false);
		if (e == 0)
			message("%s: the daemon is an older one: calls= and rate= are of connections", o->name);
	}
	/* A connection that is lost does not come back; the next try makes a new one. */
	if (e == -ENOTCONN || e == -ECONNRESET)
		s->session = capc_session_free(s->session);
	return e;
}

static int
attach(struct service *s, const struct service_options *o)
{
	uint64_t start = loop_clock_usec(), pause_usec = RETRY_FIRST_USEC;
	int e;

	for (;;) {
		uint64_t waited;
		struct timespec t;

		e = try_attach(s, o);
		waited = loop_clock_usec() - start;
		if (e == 0 || !is_passing(e) || waited >= o->wait_usec)
			return e;
		if (pause_usec > o->wait_usec - waited)
			pause_usec = o->wait_usec - waited;
		t = (struct timespec){
			(time_t)(pause_usec / 1000000), (long)(pause_usec % 1000000) * 1000};
		nanosleep(&t, NULL);
		pause_usec = pause_usec * 2 < RETRY_MAX_USEC ? pause_usec * 2 : RETRY_MAX_USEC;
	}
}

/* The daemon's own words when it has any. */
static int
say_refused(const struct service *s, int e, const char *what)
{
	const char *reason = s->session ? capc_session_reason(s->session) : "";

	if (*reason)
		message("%s: %s: %s: %s", s->name, what, error_name(e), reason);
	else if (e == -EBUSY)
		message("%s: %s: EBUSY: it is served by another", s->name, what);
	else if (e == -ENOENT || e == -ECONNREFUSED)
		message("%s: %s: no capfsd answers", s->name, error_name(e));
	else
		message("%s: %s: %s: %s", s->name, what, error_name(e), strerror(-e));
	return e;
}

/* That it is not heard now is no reason to end: whoever does not hear it will see to that. */
static void
heart_run(struct source *source, uint32_t events)
{
	struct service *s = container_of(source, struct service, heart);
	uint64_t n;

	if (read(source->fd, &n, sizeof(n)) == sizeof(n))
		(void)capc_heartbeat(s->session, HEALTH_TIMEOUT_USEC);
}

/* Twice as often as it has to be. Returns: 0 or -errno. */
static int
heart_start(struct service *s)
{
	uint64_t usec = capc_heartbeat_usec() / 2;
	const struct timespec period = {(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000};

	if (usec == 0)
		return 0;
	s->heart.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->heart.fd < 0 ||
		timerfd_settime(s->heart.fd, 0, &(struct itimerspec){period, period}, NULL) < 0)
		return -errno;
	return loop_add(s->loop, &s->heart, EPOLLIN);
}

/* One round of hand-overs. What the daemon does not take back is its end, or the entrypoint's. */
static void
service_run(struct source *source, uint32_t events)
{
	struct service *s = (struct service *)source; /* its first member */
	int e = capc_serve(s->entrypoint, 0);

	if (e >= 0 || e == -ENOMEM || e == -EMFILE || e == -ENFILE)
		return;
	message("%s: no longer served: the entrypoint or the daemon has ended", s->name);
	loop_end(s->loop, 1);
}

static int
add_object(struct service *s, const struct service_options *o)
{
	capc_how *how;
	int e = capc_how_new(&how);

	if (e < 0)
		return e;
	e = capc_how_add(how, "as", o->slot ? o->slot : o->name);
	if (e == 0)
		e = capc_how_add(how, "socket", o->seqpacket ? "seqpacket" : "stream");
	if (e == 0)
		e = capc_object_add(s->entrypoint, 0, NULL, NULL, capc_how_text(how), NULL);
	capc_how_free(how);
	return e;
}

int
service_init(struct service *s, struct loop *l, const struct service_options *o,
	capc_raw_handler *f, void *data)
{
	int e;

	*s = (struct service){.source = {.fd = -1, .run = service_run},
		.heart = {.fd = -1, .run = heart_run},
		.loop = l,
		.name = o->name,
		.listener = -1};
	e = identity_init(&s->identity, &o->identity);
	if (e < 0)
		return e;
	e = attach(s, o);
	if (e < 0)
		return say_refused(s, e, "attach");
	e = capc_accept_raw(s->entrypoint, f, data);
	if (e < 0)
		return say_refused(s, e, "accept");
	e = add_object(s, o);
	if (e < 0)
		return say_refused(s, e, "object");
	if (o->listen) {
		s->listener = capc_listener(s->entrypoint, 0, OPEN_TIMEOUT_USEC);
		if (s->listener < 0)
			return say_refused(s, s->listener, "listener");
	}
	/* All that takes root here is done. */
	e = identity_take(&s->identity);
	if (e < 0)
		return e;
	s->source.fd = capc_entrypoint_fd(s->entrypoint);
	e = loop_add(l, &s->source, EPOLLIN);
	if (e == 0)
		e = heart_start(s);
	if (e < 0)
		return say_refused(s, e, "epoll");
	if (!o->listen && !o->late)
		service_ready(s);
	return 0;
}

int
service_health(struct service *s, int error)
{
	cleanup_text struct text node = {}, words = {};
	int e;

	text_addf(&node, "entrypoints/%s/health", s->name);
	if (error)
		text_addf(&words, "error=%s", error_name(error));
	else
		text_add(&words, "ok");
	e = text_done(&node) < 0 || text_done(&words) < 0 ? -ENOMEM : 0;
	return e < 0 ? e : capc_write(s->session, node.data, words.data, NULL, HEALTH_TIMEOUT_USEC);
}

/* As the value of a word. */
static void
add_value(struct text *t, const char *p)
{
	for (; *p; p++)
		if (*p > ' ' && *p < 0x7f && *p != '%')
			text_add_n(t, p, 1);
		else
			text_addf(t, "%%%02x", (unsigned)(unsigned char)*p);
}

int
service_refused(struct service *s, uint64_t capability, uid_t uid, const char *error, const char *call)
{
	cleanup_text struct text node = {}, value = {};
	capc_how *words;
	int e = capc_how_new(&words);

	if (e < 0)
		return e;
	text_addf(&node, "entrypoints/%s/refusal", s->name);
	add_value(&value, call);
	e = text_done(&node) < 0 || text_done(&value) < 0 ? -ENOMEM : capc_how_add_number(words, "id", capability);
	if (e == 0 && uid != (uid_t)-1)
		e = capc_how_add_number(words, "uid", uid);
	if (e == 0)
		e = capc_how_add(words, "call", value.n > 0 ? value.data : "");
	/* A daemon of before knows only the one. */
	if (e == 0 && strcmp(error, "EPERM") != 0)
		e = capc_how_add(words, "error", error);
	if (e == 0)
		e = capc_write(s->session, node.data, capc_how_text(words), NULL, HEALTH_TIMEOUT_USEC);
	capc_how_free(words);
	return e;
}

void
service_ready(const struct service *s)
{
	int e = notify("READY=1");

	if (e < 0)
		message("%s: notify: %s", s->name, error_name(e));
}

void
service_deinit(struct service *s)
{
	if (s->loop) {
		loop_remove(s->loop, &s->source);
		loop_remove(s->loop, &s->heart);
		s->heart.fd = fd_close(s->heart.fd);
	}
	s->listener = fd_close(s->listener);
	s->entrypoint = capc_detach(s->entrypoint);
	s->session = capc_session_free(s->session);
	identity_deinit(&s->identity);
}

void
service_pause(struct service *s)
{
	loop_remove(s->loop, &s->source);
}

void
service_resume(struct service *s)
{
	int e;

	if (s->source.added)
		return;
	e = loop_add(s->loop, &s->source, EPOLLIN);
	if (e == 0)
		return;
	message("%s: epoll: %s", s->name, error_name(e));
	loop_end(s->loop, 1);
}

int
parse_count(const char *option, const char *text, uint64_t *ret)
{
	if (number_parse(text, strlen(text), false, ret) == 0 && *ret > 0 && *ret <= INT32_MAX)
		return 0;
	message("--%s=%s is not a number above 0", option, text);
	return -EINVAL;
}

int
parse_seconds(const char *option, const char *text, uint64_t *ret_usec)
{
	size_t n = strcspn(text, "."), n_fraction = text[n] ? strlen(text + n + 1) : 0;
	uint64_t seconds = 0, fraction = 0;

	if (number_parse(text, n, false, &seconds) < 0 || seconds > INT32_MAX || n_fraction > 6 ||
		(text[n] && number_parse(text + n + 1, n_fraction, false, &fraction) < 0)) {
		message("--%s=%s is not a number of seconds", option, text);
		return -EINVAL;
	}
	while (n_fraction++ < 6)
		fraction *= 10;
	*ret_usec = seconds * 1000000 + fraction;
	return 0;
}

int
parse_socket(const char *text, bool *ret_seqpacket)
{
	if (strcmp(text, "stream") != 0 && strcmp(text, "seqpacket") != 0) {
		message("--socket is stream or seqpacket");
		return -EINVAL;
	}
	*ret_seqpacket = text[0] == 's' && text[1] == 'e';
	return 0;
}

int
service_option(int option, const char *program, const char *usage, struct service_options *o)
{
	switch (option) {
	case 'a':
		o->slot = optarg;
		return 0;
	case 'b':
		return parse_count("backlog", optarg, &o->backlog);
	case 'f':
		o->fds = true;
		return 0;
	case 'o':
		o->once = true;
		return 0;
	case 's':
		return parse_socket(optarg, &o->seqpacket);
	case 'u':
		o->identity.user = optarg;
		return 0;
	case 'w':
		return parse_seconds("wait", optarg, &o->wait_usec);
	case 'h':
		fputs(usage, stdout);
		return 1;
	case 'V':
		printf("%s (capfsd) %s\n", program, PACKAGE_VERSION);
		return 1;
	default:
		return -EINVAL;
	}
}

char **
service_command(int argc, char **argv, struct service_options *o)
{
	char **command = argv + optind + 1;

	if (argc - optind < 2)
		return NULL;
	o->name = argv[optind];
	/* getopt does not see a "--" behind NAME. */
	if (strcmp(command[0], "--") == 0)
		command++;
	return *command ? command : NULL;
}
