/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls of a process that shares its memory with the one that made it, until it executes: errno would
 * be the other's as well, so nothing of the C library's is called there that sets it.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAW_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RAW_SANITIZED 1
#endif
#endif

/*
 * Sanitizers keep books about memory that a second process would spoil: there, and where we cannot, it is
 * copied.
 */
#if !defined(RAW_SANITIZED) && (defined(__x86_64__) || defined(__aarch64__))
#define RAW_SHARES_MEMORY 1
#else
#define RAW_SHARES_MEMORY 0
#endif

/* Up to six arguments, numbers or pointers. Returns: what the kernel does, -errno for errors. */
#define raw(...) RAW_PICK(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define RAW_PICK(n, a, b, c, d, e, f, ...) \
	raw_call((long)(n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline long
raw_call(long n, long a, long b, long c, long d, long e, long f)
{
#if RAW_SHARES_MEMORY && defined(__x86_64__)
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
#elif RAW_SHARES_MEMORY && defined(__aarch64__)
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
	long r = syscall(n, a, b, c, d, e, f);

	return r < 0 ? -errno : r;
#endif
}

/* Closes all but the N of FDS, which it sorts; those that are -1 do not count. */
static inline void
raw_close_all_but(int *fds, size_t n)
{
	unsigned next = 0;

	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && fds[j] < fds[j - 1]; j--) {
			int other = fds[j];

			fds[j] = fds[j - 1];
			fds[j - 1] = other;
		}
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < 0)
			continue;
		if ((unsigned)fds[i] > next)
			raw(SYS_close_range, next, fds[i] - 1, 0);
		next = (unsigned)fds[i] + 1;
	}
	raw(SYS_close_range, next, ~0U, 0);
}
