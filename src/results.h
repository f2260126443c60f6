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
 * of its rows.  entries is room for max of the answer's items.  False if it says
 * nothing of any row.
 */
extern bool im_results_read(ImCall *call, const char *body, size_t len,
							ImListEntry *entries, int max);

/*
 * The answer of group_msg_get_simple: looks for each row, a message that is known
 * by Random, time and sender, and fills nread and what follows it in the call.
 * False if the answer cannot be read.
 */
extern bool im_results_find(ImCall *call, const char *body, size_t len,
							ImListEntry *entries, int max);

/*
 * Answers to what compares rows with the app.  Each fills the check of the call's
 * rows: found, and what belongs to it.  What an answer does not tell is
 * IM_FOUND_UNREADABLE.  False if it cannot be read at all.
 */
extern bool im_results_accounts(ImCall *call, const char *body, size_t len,
								ImListEntry *entries, int max);
extern bool im_results_friends(ImCall *call, const char *body, size_t len,
							   ImListEntry *entries, int max);
extern bool im_results_members(ImCall *call, const char *body, size_t len,
							   ImListEntry *entries, int max);
extern bool im_results_dialog(ImCall *call, const char *body, size_t len,
							  ImListEntry *entries, int max);

/*
 * A group's messages from call->read_below downwards, newest first.  A row of
 * which they do not decide is to be asked for again.
 */
extern bool im_results_messages(ImCall *call, const char *body, size_t len,
								ImListEntry *entries, int max);

/* get_group_info about the messages of many groups, one row of each. */
extern bool im_results_counts(ImCall *call, const char *body, size_t len,
							  ImListEntry *entries, int max);

/* A page of get_appid_group_list, into call->page. */
extern bool im_results_page(ImCall *call, const char *body, size_t len,
							ImListEntry *entries, int max);

#endif							/* IM_RESULTS_H */
