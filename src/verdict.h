/*
 * verdict.h
 *	  What came back of a call: the verdict on it, and on each of its rows.
 *
 * Pure: sender.c and the simulators have the bytes, and here is read what they
 * say.  What follows from that is decided in batch.c and protocol.c.
 */
#ifndef IM_VERDICT_H
#define IM_VERDICT_H

#include "command.h"
#include "protocol.h"

/* True for a call whose row becomes a group. */
extern bool im_verdict_makes_group(const ImCall *call);

/*
 * The answer to a question, with its reader: whether it is there is noted in
 * call->found.  own_codes: its entries have codes, and the answer's means nothing.
 */
extern void im_verdict_read(ImCall *call, ImReader read, bool own_codes, const char *body, size_t len,
							ImListEntry *entries, int max);

/*
 * Judges the call by call->reply, call->found, and what its sender says in the
 * exchange (sent, http_status, failure, resigned), of which the rest is filled in.
 */
extern void im_verdict_judge(ImCall *call, ImExchange *exchange);

/*
 * Reads what the answer says of each row.  Rows that it does not speak of, and
 * those of a call that failed as a whole, have the call's verdict.  False if it
 * says "done" and nothing can be read of any row: that is no answer.
 */
extern bool im_verdict_rows(ImCall *call, const ImExchange *exchange, const char *body, size_t len,
							ImListEntry *entries, int max);

#endif							/* IM_VERDICT_H */
