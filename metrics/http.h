/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* As much of HTTP/1.1 (RFC 9112) as a server of one text needs, and strictly that. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_BYTES_MAX 8192 /* of a request's head */

struct http_request {
	bool head;	  /* HEAD: no body in the answer */
	bool openmetrics; /* Accept names application/openmetrics-text */
};

/*
 * The head of a request, as far as it has come. Only what a reader of PATH needs is good.
 * Returns: 0 when more is to come, else the status of the answer; 200: *RET is set.
 */
int http_parse(const char *data, size_t n, const char *path, struct http_request *ret);

/* "Not Found" */
const char *http_reason(int status);
