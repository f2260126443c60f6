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

/* What to do with a row that has this code; a list of them ends without advice. */
typedef struct ImAdvice
{
	int32_t		code;
	const char *advice;			/* a sentence or more */
} ImAdvice;

#define IM_NEEDS_ACCOUNT	"Import the account first, by a row of im_account_outbox; then call im_import_retry() with this code."

/*
 * What to do with a row of a kind that has this code.  own: what its command says,
 * or NULL; groups: its rows are groups, for which the table is made.
 */
extern const char *im_error_advice(const ImAdvice *own, bool groups, int32_t code);

/* The SQL spelling of a class: done, exists, row, slow, quota, resign, stop, retry. */
extern const char *im_class_name(ImClass class);

/* Codes that say that a call has too many items, if it has more than one. */
extern bool im_code_is_too_many(int32_t code, int items, int usual);

/* "Too fast" that is said to the whole app, not to one command. */
extern bool im_code_is_app_wide(int32_t code);

#endif							/* IM_ERRCODES_H */
