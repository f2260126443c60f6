/*
 * flow.h
 *	  Which rooms are at work, and how the worker finds the next ones.
 *
 * A room comes to work when its group is imported, or when a sweep over the open
 * rows finds it: rows that were added later, or that a crash or a full list left
 * behind.  Changes of what is remembered are made only after the transaction
 * that they follow from has committed.
 */
#ifndef IM_FLOW_H
#define IM_FLOW_H

#include "postgres.h"

#include "queue.h"
#include "rooms.h"
#include "shared.h"

typedef struct ImFlow
{
	ImRooms    *rooms;
	MemoryContext ctx;
	bool		dependents;		/* there are open rows of members, messages or unread
								 * counts, as far as known */
	bool		stale;			/* rooms came to work since the last sweep began */
	bool		named;			/* the last sweep found rows that wait for a group
								 * which they name by its GroupId */
	bool		far_due;		/* a row is due later than any back-off: the clock was
								 * set back */
	bool		sweep_owed;		/* something may be found that is not at work */
	bool		sweeping;
	ImSweepMark mark;			/* how things stand, as far as known ... */
	ImSweepMark begun;			/* ... and stood when the last sweep began */
	int64		sweep_cost;		/* us that it took */
	ImKind		sweep_kind;
	char	   *sweep_after;	/* key of the last room that was found */
	int64		sweep_at;		/* monotonic us: not before */
	int64		waiting[IM_KINDS];	/* of the sweep under way */
	List	   *found;			/* in this transaction */
	int64		news_at;		/* somebody rang first since the last look for new rows; 0: nobody */
	int64		new_at;			/* the next is made not before */
	List	   *newcomers;		/* rooms that one has found in this transaction */
} ImFlow;

extern ImFlow *im_flow_create(MemoryContext ctx);

/* Rows may have come by any way: sweep over all rooms again. */
extern void im_flow_owe_sweep(ImFlow *flow);

/* When the next part of a sweep is due, monotonic; 0: there is none to make. */
extern int64 im_flow_sweep_due(const ImFlow *flow);

/* Makes it, in a transaction; idle: nothing else is to be done. */
extern void im_flow_sweep(ImFlow *flow, bool idle);

/*
 * Rows may have come: their rooms need not wait for a sweep.  That is all it does:
 * nothing need be found by it.  It is due if claimed rows do not go first, or have
 * for a while.  It looks in a transaction, after the rooms are noted in their table,
 * at rows above newest; and puts their rooms to work when it has committed.
 */
extern void im_flow_news(ImFlow *flow);
extern bool im_flow_new_due(const ImFlow *flow, bool claimed);
extern void im_flow_look_for_new(ImFlow *flow, int64 newest[IM_KINDS]);
extern void im_flow_take_new(ImFlow *flow);

/*
 * A worker begins, or knows more: owes a sweep if things are not as they were
 * when all rooms were looked at, known.
 */
extern void im_flow_compare(ImFlow *flow, const ImSweepMark *known);

/*
 * What the next worker may compare with: how things stood when the last sweep
 * began, if they still do, and no room is at work, which it would not know.
 */
extern ImSweepMark im_flow_mark(const ImFlow *flow);

/*
 * The transaction has committed.  take_order says whether a room may go although
 * the import is paused.  True if a sweep over everything is complete: waiting
 * then says how many open rows have no group to go to.
 */
extern bool im_flow_swept(ImFlow *flow, bool paused, bool (*take_order) (void *arg), void *arg);

/* Picks at most so many rooms at a stage for a claim. */
extern void im_flow_pick(ImFlow *flow, ImClaim *claim, int max, int per_room, bool ordered_only);

/* The claim has committed. */
extern void im_flow_claimed(ImFlow *flow, const ImClaim *claim);

/* Rows were written back, or their claim was undone. */
extern void im_flow_settled(ImFlow *flow, const List *rows);

/* Groups are to be disbanded: nothing more is sent for them. */
extern void im_flow_leave(ImFlow *flow, const List *rows);

/* What there is to note of rooms when rows are claimed, of each kind, and written back. */
extern ImRoomNote *im_flow_notes(const ImClaim claims[IM_KINDS], const List *written, const List *held, int *n);

#endif							/* IM_FLOW_H */
