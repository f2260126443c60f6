/*
 * session.h
 *	  A session's own way to the service, beside the worker's and within the
 *	  same rate limit.
 *
 * For what touches no outbox row: im_import_group() of a plain record, and
 * questions that change nothing.
 */
#ifndef IM_SESSION_H
#define IM_SESSION_H

#include "postgres.h"

#include "call.h"
#include "sender.h"
#include "shared.h"

/*
 * This session's sender, kept with its connections for the next use, with the
 * options as they are now.  NULL and *problem if they cannot be used.  Needs a
 * transaction.  A call that an ERROR left in it is dropped.
 */
extern ImSender *im_session_sender(ImSlot *slot, ImProblem *problem);

/*
 * Makes calls, all at once as far as options and limiter allow, and waits for
 * their verdicts.  As interruptible as any query: an ERROR leaves nothing
 * behind in the sender.  Needs a transaction, in case that a UserSig must be
 * made, but no snapshot.
 */
extern void im_session_exchange(ImSender *sender, ImCall **calls, int ncalls);

/* Lets the limiter and the breaker learn from a verdict. */
extern void im_session_note(ImSlot *slot, const ImCall *call);

#endif							/* IM_SESSION_H */
