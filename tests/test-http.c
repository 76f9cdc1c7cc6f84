/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The head of an HTTP request: what is served, and what is refused by which status. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/http.h"
#include "tests/fixture.h"

/* In memory of exactly that length, so that a sanitizer sees a look behind the end. */
static int
parse_n(const char *text, size_t n, struct http_request *ret)
{
	char *copy = malloc(n > 0 ? n : 1);
	int status;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, n);
	status = http_parse(copy, n, "/metrics", ret);
	free(copy);
	return status;
}

static int
parse(const char *text)
{
	struct http_request request = {};

	return parse_n(text, strlen(text), &request);
}

#define HOST "Host: x\r\n"

START_TEST(a_request_is_known_when_its_head_is_whole)
{
	const char *text = "GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: a b\r\n\r\n";
	struct http_request request = {};

	for (size_t n = 0; n < strlen(text); n++)
		ck_assert_int_eq(parse_n(text, n, &request), 0);
	ck_assert_int_eq(parse_n(text, strlen(text), &request), 200);
	ck_assert(!request.head && !request.openmetrics);
}
END_TEST

START_TEST(what_is_served)
{
	static const char *const good[] = {
		"GET /metrics HTTP/1.1\r\n" HOST "\r\n",
		"GET /metrics?x=1&y HTTP/1.1\r\n" HOST "\r\n",
		"GET /metrics HTTP/1.0\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nhOST:x\r\n\r\nand what follows",
		"HEAD /metrics HTTP/1.1\r\n" HOST "\r\n",
		"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
		"GET /metrics HTTP/1.1\r\n" HOST "X:\t \r\nY: \xc3\xa9\r\n\r\n",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(parse(good[i]) == 200, "refused: %s", good[i]);
}
END_TEST

START_TEST(what_is_refused)
{
	static const struct {
		int status;
		const char *text;
	} bad[] = {
		{400, "\r\n\r\n"},
		{400, "\n"},
		{400, "GET /metrics HTTP/1.1\n" HOST "\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST "X: y\n\r\n\r\n"},
		{400, "GET\r\n\r\n"},
		{400, "GET /metrics\r\n\r\n"},
		{400, "GET  /metrics HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /metrics  HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /metrics HTTP/1.1 \r\n" HOST "\r\n"},
		{400, "GET /metrics http/1.1\r\n" HOST "\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST HOST "\r\n"},
		{400, "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST " folded\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST ": x\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST "X\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n"},
		{400, "GET /metrics HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
		{400, "G@T /metrics HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http://x/metrics HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /metrics\t HTTP/1.1\r\n" HOST "\r\n"},
		{404, "GET / HTTP/1.1\r\n" HOST "\r\n"},
		{404, "GET /metrics/ HTTP/1.1\r\n" HOST "\r\n"},
		{404, "GET /metric HTTP/1.1\r\n" HOST "\r\n"},
		{405, "POST /metrics HTTP/1.1\r\n" HOST "\r\n"},
		{405, "get /metrics HTTP/1.1\r\n" HOST "\r\n"},
		{505, "GET /metrics HTTP/2.0\r\n" HOST "\r\n"},
	};
	static const char zero[] = "GET /metrics?\0 HTTP/1.1\r\n" HOST "\r\n";
	struct http_request request;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse(bad[i].text) == bad[i].status, "%d, not %d: %s",
			parse(bad[i].text), bad[i].status, bad[i].text);
	ck_assert_int_eq(parse_n(zero, sizeof(zero) - 1, &request), 400);
}
END_TEST

START_TEST(a_head_has_a_bound)
{
	static const char start[] = "GET /metrics HTTP/1.1\r\n" HOST "X: ";
	char text[HTTP_BYTES_MAX + 16];
	struct http_request request;

	memset(text, 'x', sizeof(text));
	memcpy(text, start, strlen(start));
	ck_assert_int_eq(parse_n(text, HTTP_BYTES_MAX - 1, &request), 0);
	ck_assert_int_eq(parse_n(text, HTTP_BYTES_MAX, &request), 431);
	memcpy(text + HTTP_BYTES_MAX - 3, "\r\n\r\n", 4);
	ck_assert_int_eq(parse_n(text, HTTP_BYTES_MAX + 1, &request), 431);
	memcpy(text + HTTP_BYTES_MAX - 4, "\r\n\r\n", 4);
	ck_assert_int_eq(parse_n(text, HTTP_BYTES_MAX, &request), 200);
}
END_TEST

START_TEST(openmetrics_is_given_to_who_asks)
{
	static const struct {
		bool wanted;
		const char *accept;
	} fields[] = {
		{true, "application/openmetrics-text"},
		{true, "Application/OpenMetrics-Text; version=1.0.0"},
		{true, "text/plain;version=0.0.4;q=0.5 ,\tapplication/openmetrics-text;q=0.75,*/*"},
		{false, "application/openmetrics-textual"},
		{false, "text/plain; x=application/openmetrics-text"},
		{false, "*/*"},
		{false, ""},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct http_request request = {};
		char text[256];

		snprintf(text, sizeof(text), "HEAD /metrics HTTP/1.1\r\n" HOST "Accept: %s\r\n\r\n",
			fields[i].accept);
		ck_assert_int_eq(parse_n(text, strlen(text), &request), 200);
		ck_assert_msg(request.openmetrics == fields[i].wanted, "%s", fields[i].accept);
		ck_assert(request.head);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("http");
	TCase *tc = fixture_case(s, "http", 10);

	tcase_add_test(tc, a_request_is_known_when_its_head_is_whole);
	tcase_add_test(tc, what_is_served);
	tcase_add_test(tc, what_is_refused);
	tcase_add_test(tc, a_head_has_a_bound);
	tcase_add_test(tc, openmetrics_is_given_to_who_asks);
	return fixture_main(s);
}
