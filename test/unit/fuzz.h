/*
 * fuzz.h
 *	  What the fuzzers share: the entry that libFuzzer calls, and the check
 *	  that makes it keep an input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called for every input; its bytes have no terminator.  Returns 0. */
extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, so that libFuzzer reports the input, if it is not so. */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

#endif							/* FUZZ_H */
