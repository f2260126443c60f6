/*
 * sender.h
 *	  The one way out: sign, compose, wait for the limiter, POST, judge.
 *
 * Knows nothing of the outbox.  Used by the worker for many calls at once and
 * by im_import_group() for one.
 */
#ifndef IM_SENDER_H
#define IM_SENDER_H

#include "postgres.h"

#include "app.h"
#include "call.h"
#include "shared.h"

typedef struct ImSender ImSender;

/*
 * Makes a sender in ctx, which must outlive it.  worker tells the limiter
 * whether this is the worker or a session.
 */
extern ImSender *im_sender_create(MemoryContext ctx, ImSlot *slot, bool worker);

/*
 * Reads the options if they may have changed, and makes sure that there is a
 * usable UserSig.  False and *problem if the database is not configured.
 * Needs a transaction.  Calls under way go on.
 */
extern bool im_sender_configure(ImSender *sender, ImProblem *problem);

/*
 * True if im_sender_configure() should be called now: there is no signature,
 * or new options wait for the last call under the old ones to land.
 */
extern bool im_sender_wants_configure(const ImSender *sender);

/* A number that tells one address of a service from another, for the slots. */
extern uint32 im_sender_address(const ImApp *app);

/* The options of the last successful im_sender_configure(). */
extern const ImApp *im_sender_app(const ImSender *sender);

/* Queues a call; urgent ones go first.  It must stay until it is returned. */
extern void im_sender_add(ImSender *sender, ImCall *call, bool urgent);

/*
 * Starts queued calls, at most allowed and as many as limiter and slots
 * permit.  Returns in how many microseconds it is worth trying again, or -1
 * if only an answer or a new call can change anything.
 */
extern int64 im_sender_pump(ImSender *sender, int allowed);

/* The command of an operation, as the service names it. */
extern const char *im_sender_command(ImOp op);

/* Sleeps until something happens, see im_http_wait(). */
extern void im_sender_wait(ImSender *sender, long timeout_ms);

/* The next call that was answered, or not, with its verdict; or NULL. */
extern ImCall *im_sender_next(ImSender *sender);

/* Takes the last call that has not started back out of the queue; NULL if none. */
extern ImCall *im_sender_take_back(ImSender *sender);

/*
 * Takes back a call that is under way, its outcome unknown (or known not to
 * have been sent); for a shutdown that will not wait.  NULL if none.
 */
extern ImCall *im_sender_give_up(ImSender *sender);

extern int	im_sender_queued(const ImSender *sender);
extern int	im_sender_in_flight(const ImSender *sender);

/* Calls of one operation that are queued or under way. */
extern int	im_sender_open(const ImSender *sender, ImOp op);

/* ... of which so many are under way. */
extern int	im_sender_flying(const ImSender *sender, ImOp op);

/* Drops calls that an ERROR left behind; their outcome stays unknown. */
extern void im_sender_abandon(ImSender *sender);

/* Forgets the UserSig, so that the next call is signed anew. */
extern void im_sender_forget_signature(ImSender *sender);

#endif							/* IM_SENDER_H */
