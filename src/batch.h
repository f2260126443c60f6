/*
 * batch.h
 *	  Rows in one call: which go together, and what becomes of each when the
 *	  call is answered, or not.
 *
 * Pure: dispatch.c and the simulator make and send the calls, here is decided
 * which.  What an outcome means for a row by itself is the protocol's.
 */
#ifndef IM_BATCH_H
#define IM_BATCH_H

#include "breaker.h"
#include "command.h"
#include "protocol.h"

/* ---- rows to calls ---- */

/* What a message's time is made of; UNIX seconds. */
typedef struct ImTiming
{
	int64_t		own;			/* of the row; 0: none */
	int64_t		newest;			/* of the message before it; 0: not known */
	int64_t		created;		/* of its group; 0: not known */
	int64_t		kept;			/* with which it may have been sent; 0: it was not */
	bool		keep_equal;		/* option equal_seconds */
} ImTiming;

/*
 * The time with which a message is sent: its own, or as little later as makes it
 * later than the message before it.  What was maybe sent keeps its time.
 */
extern int64_t im_batch_time(const ImTiming *timing);

/* By how many seconds that is too late to be sent, if there is such a limit; 0: it is not. */
extern int64_t im_batch_shift(const ImTiming *timing, int64_t most);

/*
 * The Random of a message row: a permutation of 24 bits of its id and 8 of its
 * row_key (16 bytes, or NULL).  The service takes a Random that its group had in
 * the last five minutes for a repeat.  So neighbours must not share one: no two
 * within 16 million ids do.  Nor must a row of a table that was emptied and counts
 * anew, whose id came before: 255 of 256 do not.
 */
extern uint32_t im_batch_random(int64_t id, const unsigned char *row_key);

#define IM_PLACE_NEW		(-1)	/* in a call of its own, to which others may be added */
#define IM_PLACE_LATER		(-2)	/* one call goes before it: it is given back */

/* The operation with which a row goes on. */
extern ImOp im_batch_op(const ImRow *row);

/* Which of the calls that are being filled takes the row, at most batch a call. */
extern int	im_batch_place(ImCall *const *calls, int ncalls, const ImRow *row, int batch);

/*
 * Members of a request beside its items, each with a comma at its end.  Communities
 * know no RecentContactFlag.
 */
extern const char *im_batch_extra(const ImCommand *command, bool recent_contact, const char *group_id);

/* A row goes back to its outbox as if never claimed. */
extern void im_batch_give_back(ImRow *row, const ImPolicy *policy);

/* ---- a call is answered, or not ---- */

/*
 * What the breaker learns from it: nothing about the options and the key of now if
 * it was sent before they changed, at changed_at (microseconds).  Returns whether
 * a missing answer may be held against its rows.
 */
extern bool im_batch_note(const ImCall *call, ImBreaker *breaker, int64_t changed_at, int64_t now);

/* What follows for the call as a whole. */
typedef enum ImFollow
{
	IM_FOLLOW_ROWS,				/* each of its rows goes its own way: im_batch_route() */
	IM_FOLLOW_EXPLAINED,		/* the same, after im_batch_explained() */
	IM_FOLLOW_HALVES,			/* its rows go again, as two calls: none is blamed yet */
	IM_FOLLOW_PAGE,				/* its only row is asked about once more: another page, or other names */
	IM_FOLLOW_UNDO,				/* im_batch_undo() */
	IM_FOLLOW_MESSAGES			/* im_batch_reads_on(), then im_batch_read() */
} ImFollow;

extern ImFollow im_batch_follow(ImCall *call);

/* ---- a call that goes again in halves ---- */

/* How many rows go into the first one.  In order the others are given back. */
extern int	im_batch_first_half(const ImCall *call);

/*
 * How many rows of the kind go into a call from now on, instead of usual ones; 0:
 * that stays as it is.
 */
extern int	im_batch_fewer(const ImCall *call, int usual);

/* ---- each row of a call ---- */

/* Who finds out what becomes of a row. */
typedef enum ImRoute
{
	IM_ROUTE_JUDGE,				/* the protocol */
	IM_ROUTE_ALONE,				/* the operation for a single row says why */
	IM_ROUTE_EXPLAIN			/* the service is asked why */
} ImRoute;

extern ImRoute im_batch_route(const ImCall *call, ImRow *row);

/* Groups were asked for: each row is judged by what was found of its own. */
extern void im_batch_looked_up(ImCall *call, const ImExchange *exchange);

/* Asks the protocol, and notes in the row what the next call is about. */
extern void im_batch_judge(ImRow *row, const ImPolicy *policy, bool counts, double jitter);

/* Accounts of refused rows were looked at: the refusal gets words. */
extern void im_batch_explained(ImCall *call);

/* ---- a group's messages were read ---- */

/* True if older ones must be read before rows can be called absent: by that call. */
extern bool im_batch_reads_on(const ImCall *call, ImCall *more);

/*
 * Decides the rows that were not found.  Returns one whose group others write in,
 * as its info says, so that nothing more is to be sent to its room; or NULL.
 */
extern ImRow *im_batch_read(ImCall *call);

/* ---- a group is to be disbanded ---- */

/*
 * The service was asked about it.  False if messages must be read first, those
 * below *read_below, or the newest if that is 0.
 */
extern bool im_batch_undo(ImCall *call, int64_t *read_below);

#endif							/* IM_BATCH_H */
