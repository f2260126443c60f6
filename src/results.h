/*
 * results.h
 *	  What an answer about many rows says of each.
 *
 * Pure, like answer.h: it never throws.
 */
#ifndef IM_RESULTS_H
#define IM_RESULTS_H

#include "answer.h"
#include "call.h"

/*
 * The call was answered with ErrorCode 0: fills verdict, info and seq of each
 * of its rows.  entries is room for max of the answer's items.
 */
extern void im_results_read(ImCall *call, const char *body, size_t len,
							ImListEntry *entries, int max);

/*
 * The answer of group_msg_get_simple: looks for each row, a message that is known
 * by Random, time and sender, and fills nread and what follows it in the call.
 * False if the answer cannot be read.
 */
extern bool im_results_find(ImCall *call, const char *body, size_t len,
							ImListEntry *entries, int max);

/* The answer of account_check: fills account of each row. */
extern void im_results_accounts(ImCall *call, const char *body, size_t len,
								ImListEntry *entries, int max);

#endif							/* IM_RESULTS_H */
