/*
 * errcodes.h
 *	  The one table of the service's error codes: class, meaning, advice.
 */
#ifndef IM_ERRCODES_H
#define IM_ERRCODES_H

#include "call.h"

typedef struct ImErrorCode
{
	int32_t		code;
	ImClass		class;
	const char *meaning;		/* one clause, no full stop */
	const char *advice;			/* what the person does now, a sentence */
} ImErrorCode;

/* The table, ordered by code; *n is its length. */
extern const ImErrorCode *im_error_table(int *n);

/*
 * The entry of a code.  Never NULL: an undocumented code gets the entry of
 * its family, whose own code is then not the one asked for, and
 * im_error_documented() says false.  A code of a documented range gets the
 * entry of the range's first code, and im_error_documented() says true.
 */
extern const ImErrorCode *im_error_find(int32_t code);
extern bool im_error_documented(int32_t code);

/* What to do with a row of this kind that has this code, a sentence or more. */
extern const char *im_error_advice(ImKind kind, int32_t code);

/* The SQL spelling of a class: done, exists, row, slow, quota, resign, stop, retry. */
extern const char *im_class_name(ImClass class);

/* Codes that say that a call has too many items, if it has more than one. */
extern bool im_code_is_too_many(int32_t code, int items, int usual);

/* "Too fast" that is said to the whole app, not to one command. */
extern bool im_code_is_app_wide(int32_t code);

#endif							/* IM_ERRCODES_H */
