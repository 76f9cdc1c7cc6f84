/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request of a listener with limits is compared as its server will see it: what means the same is made the
 * same before, also in what is sent on. Everything else is let through unlooked at.
 *
 * A client that has left is not waited for (abortonclose): its request would go on, unlimited. No connection to
 * the server is used for two clients, so that whatever one of them may do to it comes back to it alone. What
 * goes on for long, events and attached terminals, has no time-out; what a request's head takes has one.
 */
#include "config.h"

#include "helpers/http/configuration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/text.h"

#define MAXCONN_MIN 512 /* what --max says below that clients.c keeps by itself */
#define FOREVER "24d" /* nearly what HAProxy's clock can tell */
#define FOREVER_USEC (UINT64_C(24) * 86400 * 1000000)
#define HEAD_SECONDS 30
#define RETRIES 2 /* a second apart */

static const char settings[] =
	"defaults\n"
	"\tmode http\n"
	"\tlog global\n"
	"\toption abortonclose\n"
	"\toption disable-h2-upgrade\n"
	"\toption dontlognull\n"
	"\toption socket-stats\n"
	"\thttp-reuse never\n"
	"\ttimeout connect 5s\n"
	"\ttimeout client " FOREVER "\n"
	"\ttimeout server " FOREVER "\n"
	"\ttimeout tunnel " FOREVER "\n"
	"\tunique-id-format %rt\n";

/* What makes the same of what means the same, where there may be any. */
static const char *const forms[] = {
	"fragment-encode",
	"percent-decode-unreserved strict",
	"path-merge-slashes",
	"path-strip-dot",
	"path-strip-dotdot full",
};

/*
 * What servers may take for a slash, for an end, or for nothing: a path with one of these could mean another one to
 * them than it does here. So could what is a dot or one of these once it is decoded a second time, or as the longer
 * form of a character that UTF-8 forbids. And what ends a line, since it is one that is compared.
 */
#define AMBIGUOUS \
	"%(?:2[fF]|5[cC]|[01][0-9a-fA-F]|7[fF]|25(?:2[eEfF]|5[cC]|[01])|[cC][01])|\\\\|/\\.\\.?(?:;|%3[bB])"

/*
 * What would go by unlooked at behind a request that is allowed, and uncounted: HTTP/2, to which a server may switch a
 * connection by an upgrade.
 */
static const char other_versions[] =
	"\thttp-request del-header Upgrade if { req.hdr(Upgrade) -i -m sub h2 }\n"
	"\thttp-request del-header HTTP2-Settings\n";

/*
 * And whatever a tunnel has. Of a whole URL servers and HAProxy may take other parts for the path, unless there is
 * nothing odd before it. And by some fields servers let a request have another method or path than it has.
 */
static const char never[] =
	"\thttp-request del-header ^x-(http-method(-override)?|method-override|original-ur[il]|rewrite-ur[il])$ -m reg "
	"if !{ var(txn.fits) -m found }\n"
	"\thttp-request set-var(txn.never) bool(true) if { method CONNECT }\n"
	"\thttp-request set-var(txn.never) bool(true) if !{ url -m beg / } "
	"!{ url -m reg '^[hH][tT][tT][pP]://[A-Za-z0-9._-]+(?::[0-9]*)?/' }\n"
	"\thttp-request set-var(txn.never) bool(true) if { path -m reg '" AMBIGUOUS "' }\n";

/*
 * HAProxy takes the upgrade out of a request that has a body, and knows of no 101 then (upgrades.h). What it was to
 * is lost with it, and was not HTTP/2: who wants that says so a second time, in what is left. The body has to be
 * here as a whole before anything is sent: what stayed in HAProxy would be missing.
 */
#define UPGRADE_BODY_MAX "8192"
static const char upgrades[] =
	"backend " CONFIGURATION_UPGRADES "\n"
	"\toption http-server-close\n"
	"\thttp-request wait-for-body time 30s\n"
	"\thttp-request return status 413 content-type application/json string "
	"'{\"message\":\"a request to switch protocols has a body of more than " UPGRADE_BODY_MAX " bytes\"}'\\n "
	"if { req.body_size gt " UPGRADE_BODY_MAX " }\n"
	"\thttp-request set-header Upgrade tcp\n"
	"\thttp-request del-header Expect\n"
	"\thttp-response silent-drop if { res.hdr(" CONFIGURATION_TAKEN ") -m found }\n";

static const struct {
	unsigned status;
	const char *message;
} errors[] = {
	{400, "this is no HTTP request"},
	{408, "the request took too long to come"},
	{500, "the filter has failed"},
	{502, "the server has answered something else than HTTP"},
	{503, "the server is not there"},
	{504, "the server does not answer"},
};

int
configuration_check(const char *server)
{
	struct sockaddr_un address;

	if (strlen(server) >= sizeof(address.sun_path) - 1)
		return -ENAMETOOLONG;
	for (const char *p = server; *p; p++)
		if (*p == '\'' || (unsigned char)*p < ' ')
			return -EINVAL;
	return 0;
}

void
configuration_file(int fd, char ret[CONFIGURATION_FILE_BYTES])
{
	snprintf(ret, CONFIGURATION_FILE_BYTES, "/proc/self/fd/%d", fd);
}

static void
add_errors(struct text *t)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		text_addf(t, "\thttp-error status %u content-type application/json string '{\"message\":\"%s\"}'\\n\n",
			errors[i].status, errors[i].message);
}

/* What a listener's capability may ask: then txn.fits is there. */
static void
add_comparison(const struct configuration *c, struct text *t)
{
	char patterns[CONFIGURATION_FILE_BYTES], words[CONFIGURATION_FILE_BYTES];

	configuration_file(c->patterns, patterns);
	configuration_file(c->words, words);
	text_addf(t, "\thttp-request set-var(txn.fits) bool(true) if { so_id,map(%s) -m str " CONFIGURATION_ALL " }\n",
		words);
	text_add(t, "\thttp-request set-var(txn.odd) bool(true) if { url -m reg '[%#]|//|/[.]' } "
		    "!{ var(txn.fits) -m found }\n");
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		text_addf(t, "\thttp-request normalize-uri %s if { var(txn.odd) -m found }\n", forms[i]);
	/* Decoded, once, as servers do: in what is sent on, all that has to be encoded stays so. */
	text_add(t, "\thttp-request set-var-fmt(txn.compared) \"%[so_id] %[method] %[path,url_dec]\"\n");
	text_add(t, never);
	text_addf(t, "\thttp-request set-var(txn.fits) bool(true) if { var(txn.compared) -m reg -f %s } "
		     "!{ var(txn.never) -m found }\n", patterns);
}

/* What fits is counted, where it is to be, and then allowed; else txn.count is there, the reason. */
static void
add_counting(const struct configuration *c, struct text *t)
{
	char entries[CONFIGURATION_FILE_BYTES];

	configuration_file(c->entries, entries);
	text_addf(t, "\thttp-request allow if { var(txn.fits) -m found } { so_id,map(%s) -m str -- "
		     CONFIGURATION_NONE " }\n", entries);
	text_addf(t, "\thttp-request set-var(txn.count) so_id,map(%s),lua.capfs_count if { var(txn.fits) -m found }\n",
		entries);
	text_add(t, "\thttp-request allow if { var(txn.count) -m str ok }\n");
}

/* Both are told by the log, each with its errno. */
static void
add_refusals(const struct configuration *c, struct text *t)
{
	char names[CONFIGURATION_FILE_BYTES], words[CONFIGURATION_FILE_BYTES];

	configuration_file(c->names, names);
	configuration_file(c->words, words);
	text_add(t, "\thttp-request set-log-level info\n"
		    "\thttp-request set-var-fmt(txn.asked) \"%[method] %[path]\"\n"
		    "\thttp-request set-var(txn.why) str(EDQUOT) if { var(txn.fits) -m found }\n");
	text_addf(t, "\thttp-request return status 429 content-type application/json lf-string "
		     "'{\"message\":\"%%[so_id,map(%s),json(utf8s)]: %%[var(txn.asked),json(utf8s)]: "
		     "%%[var(txn.count)]\"}'\\n if { var(txn.fits) -m found }\n", names);
	text_add(t, "\thttp-request set-var(txn.why) str(EPERM)\n");
	text_addf(t, "\thttp-request return status 403 content-type application/json lf-string "
		     "'{\"message\":\"%%[so_id,map(%s),json(utf8s)]: %%[var(txn.asked),json(utf8s)] is outside "
		     "%%[so_id,map(%s),json(utf8s)]\"}'\\n\n", names, words);
}

static void
add_rules(const struct configuration *c, struct text *t)
{
	text_add(t, "\tlog-format \"%[so_id] %[var(txn.why)] %[var(txn.asked)]\"\n"
		    "\thttp-request set-log-level silent\n");
	text_addf(t, "\thttp-request allow if { so_id %d }\n", LISTENER_FREE);
	text_add(t, other_versions);
	add_comparison(c, t);
	add_counting(c, t);
	add_refusals(c, t);
}

/* What is loaded as a library of Lua is there already, since it is the same file. */
void
configuration_script(int preloaded, int pages, struct text *t)
{
	char file[CONFIGURATION_FILE_BYTES];

	configuration_file(preloaded, file);
	text_addf(t, "local count = assert(package.loadlib('%s', 'capfs_count'))\n"
		     "core.register_converters('capfs_count', function(entry) return count(entry, %d) end)\n",
		file, pages);
}

void
configuration_write(const struct configuration *c, struct text *t)
{
	uint64_t waits = c->wait_usec / 1000000, share = CLIENTS_SHARE(c->max);
	char script[CONFIGURATION_FILE_BYTES];

	text_add(t, "global\n\texpose-experimental-directives\n\tnbthread 1\n");
	/* It has room for as many descriptors as that asks for, and gets its listeners among them. */
	text_addf(t, "\tmaxconn %" PRIu64 "\n", c->max > MAXCONN_MIN ? c->max : MAXCONN_MIN);
	text_addf(t, "\tstats socket sockpair@%d level admin\n", c->commands);
	text_addf(t, "\tlog fd@%d len 4096 format raw local0\n", c->log);
	configuration_file(c->script, script);
	text_addf(t, "\tlua-load %s\n", script);
	text_add(t, settings);
	text_addf(t, "\ttimeout http-request %ds\n", HEAD_SECONDS);
	if (c->idle_usec && c->idle_usec < FOREVER_USEC)
		text_addf(t, "\ttimeout http-keep-alive %" PRIu64 "ms\n", (c->idle_usec + 999) / 1000);
	else
		text_add(t, "\ttimeout http-keep-alive " FOREVER "\n");
	text_addf(t, "\tretries %" PRIu64 "\n", waits > RETRIES ? waits : RETRIES);
	add_errors(t);
	/*
	 * It counts there what it keeps when a client has gone, an upgraded connection to a silent server. Those who
	 * may do all have one listener together, and leave the others as much as one has.
	 */
	text_add(t, "frontend clients\n");
	for (size_t i = 0; i < c->n_listeners; i++)
		text_addf(t, "\tbind sockpair@%d id %zu maxconn %" PRIu64 "\n", c->listeners[i],
			i + LISTENER_FREE, i == 0 ? c->max - share + 1 : share);
	add_rules(c, t);
	text_add(t, "\tacl payload req.hdr(Content-Length) -m int gt 0\n"
		    "\tacl payload req.hdr(Transfer-Encoding) -m found\n"
		    "\tuse_backend " CONFIGURATION_UPGRADES " if { req.hdr(Connection) -i upgrade } payload "
		    "!{ req.hdr(Connection) -i http2-settings }\n"
		    "\tdefault_backend server\nbackend server\n");
	text_addf(t, "\tserver server 'unix@%s'\n", c->server);
	text_add(t, upgrades);
	text_addf(t, "\tserver us sockpair@%d send-proxy-v2 proxy-v2-options unique-id\n", c->upgrades);
}
