/*
 * problem.h
 *	  Lines that say what is wrong with a record, read again: where one ends,
 *	  and of which kind it is, so that equal problems can be counted.
 *
 * Knows the grammar of such lines, not who writes them nor of what.  All code
 * that makes a problem keeps to it:
 *
 *	- a value is quoted with im_problem_quote()'s marks: "..." in which \ stands
 *	  before " and \;
 *	- it stands at the end behind a colon (": \"...\""), or before ", allowed ",
 *	  or behind " for key ";
 *	- a size over its limit is "N UNIT, the limit is M (K over)", one under it
 *	  " is N, the least is M"; a time that is off is " is N seconds in the future"
 *	  or " moved by N seconds";
 *	- what the service said of the row before stands at the very end, from
 *	  IM_SAID_BEFORE on;
 *	- several problems of one record are joined by "; ", which no line has
 *	  outside of quotes.
 *
 * No dependencies: the fuzzer links it without a server.
 */
#ifndef IM_PROBLEM_H
#define IM_PROBLEM_H

#include <stddef.h>

/* What follows, up to the end of the text, is of one row: what it was told before. */
#define IM_SAID_BEFORE		" (before, the service said: "

/* By so much a kind can be longer than its problem, in bytes. */
#define IM_PROBLEM_GROWTH	64

/* The length of the first of the problems that a text joins. */
extern size_t im_problem_length(const char *text, size_t len);

/*
 * Writes the kind of a problem, which is the problem without what differs from
 * row to row, and returns its length.  out has len + IM_PROBLEM_GROWTH bytes;
 * no terminator is written.
 */
extern size_t im_problem_kind(const char *text, size_t len, char *out);

#endif							/* IM_PROBLEM_H */
