/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In place of libFuzzer: runs the fuzzer over the files that are named, each named before it is
 * run. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "fuzz/fuzz.h"

#define FILE_BYTES_MAX (1 << 20)

static int
run_file(const char *name)
{
	cleanup_fclose FILE *file = fopen(name, "re");
	cleanup_free uint8_t *buffer = malloc(FILE_BYTES_MAX), *data = NULL;
	size_t n;

	if (!file || !buffer) {
		perror(name);
		return EXIT_FAILURE;
	}
	n = fread(buffer, 1, FILE_BYTES_MAX, file);
	/* In a block of its own, so that a read beyond the end is seen; never NULL. */
	data = malloc(n > 0 ? n : 1);
	if (!data || ferror(file)) {
		perror(name);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < n; i++)
		data[i] = buffer[i];
	fprintf(stderr, "%s: %zu bytes\n", name, n);
	LLVMFuzzerTestOneInput(data, n);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (run_file(argv[i]) != EXIT_SUCCESS)
			return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
