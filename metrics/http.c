/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "metrics/http.h"

#include <string.h>
#include <strings.h>

struct span {
	const char *p;
	size_t n;
};

/* The fields that matter, counted as they come. */
struct head {
	struct http_request request;
	unsigned n_hosts;
	bool has_body;
};

const char *
http_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 431:
		return "Request Header Fields Too Large";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Service Unavailable";
	}
}

static bool
span_is(struct span s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static bool
span_is_name(struct span s, const char *name)
{
	return s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0;
}

static bool
is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
			return false;
	}
	return s.n > 0;
}

/* Visible characters only; in values of fields blanks as well, and what is not ASCII. */
static bool
is_clean(struct span s, bool value)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == 0x7f || c < ' ' ? !value || c != '\t' : !value && (c == ' ' || c > 0x7f))
			return false;
	}
	return true;
}

/* Takes what stands before END off the front of *REST. */
static bool
cut(struct span *rest, const char *end, struct span *ret)
{
	const char *at = memmem(rest->p, rest->n, end, strlen(end));

	if (!at)
		return false;
	*ret = (struct span){rest->p, (size_t)(at - rest->p)};
	rest->n -= ret->n + strlen(end);
	rest->p = at + strlen(end);
	return true;
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Is TYPE one of those in the list of an Accept field? */
static bool
accepts(struct span list, const char *type)
{
	while (list.n > 0) {
		struct span one, name;

		if (!cut(&list, ",", &one)) {
			one = list;
			list.n = 0;
		}
		if (!cut(&one, ";", &name))
			name = one;
		if (span_is_name(trim(name), type))
			return true;
	}
	return false;
}

/* Returns: 200 or 400. */
static int
parse_field(struct head *h, struct span line)
{
	struct span name, value;

	if (!cut(&line, ":", &name) || !is_token(name) || !is_clean(line, true))
		return 400;
	value = trim(line);
	if (span_is_name(name, "Host"))
		h->n_hosts++;
	else if (span_is_name(name, "Transfer-Encoding"))
		h->has_body = true;
	else if (span_is_name(name, "Content-Length"))
		h->has_body = h->has_body || !span_is(value, "0");
	else if (span_is_name(name, "Accept"))
		h->request.openmetrics =
			h->request.openmetrics || accepts(value, "application/openmetrics-text");
	return 200;
}

/* "HTTP/1.1". Returns: 200, 400, 505; *RET_OLD: it is 1.0. */
static int
parse_version(struct span s, bool *ret_old)
{
	if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || s.p[5] < '0' || s.p[5] > '9' ||
		s.p[6] != '.' || s.p[7] < '0' || s.p[7] > '9')
		return 400;
	*ret_old = s.p[7] == '0';
	return s.p[5] == '1' ? 200 : 505;
}

/* Whether TARGET is PATH, whatever its query. */
static bool
is_path(struct span target, const char *path)
{
	struct span before;

	if (!cut(&target, "?", &before))
		before = target;
	return span_is(before, path);
}

/* HEAD ends with its last line's end. What is wrong by itself comes before what is not served. */
static int
parse_head(struct span head, const char *path, struct http_request *ret)
{
	struct head h = {};
	struct span line, method, target;
	bool old = false;
	int version;

	if (!cut(&head, "\r\n", &line) || !cut(&line, " ", &method) || !cut(&line, " ", &target))
		return 400;
	if (!is_token(method) || !is_clean(target, false) || target.n == 0 || target.p[0] != '/')
		return 400;
	version = parse_version(line, &old);
	if (version == 400)
		return 400;
	while (cut(&head, "\r\n", &line))
		if (parse_field(&h, line) != 200)
			return 400;
	if (h.has_body || h.n_hosts > 1 || (h.n_hosts == 0 && !old))
		return 400;
	if (version != 200)
		return version;
	h.request.head = span_is(method, "HEAD");
	if (!h.request.head && !span_is(method, "GET"))
		return 405;
	if (!is_path(target, path))
		return 404;
	*ret = h.request;
	return 200;
}

int
http_parse(const char *data, size_t n, const char *path, struct http_request *ret)
{
	const char *end = memmem(data, n, "\r\n\r\n", 4), *line = memchr(data, '\n', n);

	/* Who ends lines in another way would wait for an answer, and we for the end. */
	if (line && (line == data || line[-1] != '\r'))
		return 400;
	if (end && (size_t)(end - data) + 4 <= HTTP_BYTES_MAX)
		return parse_head((struct span){data, (size_t)(end - data) + 2}, path, ret);
	return n >= HTTP_BYTES_MAX ? 431 : 0;
}
