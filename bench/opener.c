/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What bench-open starts, in two ways: opens and closes a file so often for each letter from 0, for reading ('r') or
 * for both ('w'), and says there how many nanoseconds each has taken.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	int n = argc == 3 ? atoi(argv[2]) : 0;
	char letter;

	while (n > 0 && read(0, &letter, 1) == 1) {
		struct timespec start, end;
		double nsec;

		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int i = 0; i < n; i++) {
			int fd = open(argv[1], letter == 'r' ? O_RDONLY : O_RDWR);

			if (fd < 0)
				return 1;
			close(fd);
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		nsec = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / n;
		if (write(0, &nsec, sizeof(nsec)) != sizeof(nsec))
			return 1;
	}
	return 0;
}
