/*
 * tap.h
 *	  A tiny harness: prints "ok N - name" or "not ok N - name" per check, the
 *	  plan at the end, and leaves with 1 if a check failed.
 *
 * One test program is one file with a main() that ends in "return tap_done();".
 * Names are printf formats.  A check says whether it held, so that a failure
 * can be explained: "if (!ok(...)) diag(...);".
 */
#ifndef TAP_H
#define TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	tap_run = 0;
static int	tap_failed = 0;

/* Explains a failure. */
static inline void __attribute__((format(printf, 1, 2)))
diag(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	printf("#   ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

/* The check itself; the macros below hand it the place. */
static inline bool __attribute__((format(printf, 4, 5)))
tap_check(bool held, const char *file, int line, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	printf("%s %d - ", held ? "ok" : "not ok", ++tap_run);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	if (!held)
	{
		tap_failed++;
		diag("at %s line %d", file, line);
	}
	fflush(stdout);
	return held;
}

#define ok(condition, ...) tap_check((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Compares two integers. */
#define is_int(got, expected, ...) \
	do { \
		int64_t		got_ = (got); \
		int64_t		expected_ = (expected); \
		if (!ok(got_ == expected_, __VA_ARGS__)) \
			diag("got %" PRId64 ", expected %" PRId64, got_, expected_); \
	} while (0)

/* Compares two strings. */
#define is_str(got, expected, ...) \
	do { \
		const char *got_ = (got); \
		const char *expected_ = (expected); \
		if (!ok(strcmp(got_, expected_) == 0, __VA_ARGS__)) \
			diag("got \"%s\", expected \"%s\"", got_, expected_); \
	} while (0)

/*
 * A copy of exactly len bytes on the heap, so that the address sanitizer sees
 * a read past the end.  The caller frees it.
 */
static inline char *
exact_copy(const void *data, size_t len)
{
	char	   *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

/* Prints the plan; the exit status of main(). */
static inline int
tap_done(void)
{
	printf("1..%d\n", tap_run);
	if (tap_failed > 0)
		diag("%d of %d checks failed", tap_failed, tap_run);
	return tap_failed > 0 ? 1 : 0;
}

#endif							/* TAP_H */
