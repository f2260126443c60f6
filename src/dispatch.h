/*
 * dispatch.h
 *	  From claimed rows to calls, and from answers to what becomes of each row.
 *
 * Knows neither SQL nor when to claim.  Rows that are decided wait in outcomes
 * until somebody has written them.
 */
#ifndef IM_DISPATCH_H
#define IM_DISPATCH_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "command.h"
#include "plan.h"
#include "sender.h"

/* A room in which somebody else writes: nothing more is to be sent for it. */
typedef struct ImHeld
{
	struct ImRoom *room;
	char		reason[256];
} ImHeld;

typedef struct ImDispatch
{
	MemoryContext ctx;
	MemoryContext calls_ctx;	/* calls, rows and what belongs to them */
	ImSlot	   *slot;
	ImSender   *sender;
	const ImPlan *plan;
	ImCall	  **live;			/* calls in the sender, in no order */
	int			ncalls;
	int			room;			/* places in live */
	int			nrows;			/* rows of the live calls ... */
	int			nrows_of[IM_KINDS]; /* ... by kind */
	ImCall	   *asking;			/* a lookup in the sender that waits for more rows, or NULL ... */
	int64		asking_since;	/* ... since then, monotonic us */
	ImCall	   *explaining;		/* the same of a question why rows were refused */
	int64		explaining_since;
	const struct ImRooms *rooms;	/* at work */
	List	   *outcomes;		/* rows to be written back */
	int64		outcomes_since; /* monotonic us */
	List	   *held;			/* of ImHeld, to be noted */
	bool		worked;			/* something was answered since the start */
} ImDispatch;

extern ImDispatch *im_dispatch_create(MemoryContext ctx, ImSlot *slot, const ImPlan *plan);

/* Rows of one kind are claimed, and the claim is committed: off they go. */
extern void im_dispatch_rows(ImDispatch *dispatch, List *rows);

/* Takes all answers that have come. */
extern void im_dispatch_collect(ImDispatch *dispatch);

/* What is queued, but the first so many calls, goes back to its rows as if never claimed. */
extern void im_dispatch_release(ImDispatch *dispatch, int kept);

/* What is under way is given up: its outcome is unknown. */
extern void im_dispatch_give_up(ImDispatch *dispatch);

/* Rows that are not yet written back. */
extern int	im_dispatch_open(const ImDispatch *dispatch);

/* The claims of all rows that are not yet written back; *n is their number. */
extern int64 *im_dispatch_claims(const ImDispatch *dispatch, ImKind kind, int *n);

/* Rows that go into one call of a kind now. */
extern int	im_dispatch_batch(const ImDispatch *dispatch, ImKind kind);

extern void im_dispatch_free_row(ImRow *row);

#endif							/* IM_DISPATCH_H */
