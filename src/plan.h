/*
 * plan.h
 *	  What a turn of the worker does, how much it claims, how long it sleeps.
 *
 * Pure: facts in, decisions out.  drain.c gathers the facts and obeys; so does
 * the simulator, a million times, with a clock of its own.  What is decided here
 * is decided nowhere else.
 *
 * Times are monotonic microseconds; as a point in time 0 is "none".
 */
#ifndef IM_PLAN_H
#define IM_PLAN_H

#include "breaker.h"
#include "call.h"
#include "rooms.h"
#include "state.h"

/* What the worker remembers from one turn to the next. */
typedef struct ImPlan
{
	bool		loose[IM_KINDS];	/* claimed row by row, not by room */
	bool		hungry[IM_KINDS];	/* there may be loose rows to claim */
	bool		rescan[IM_KINDS];	/* look for them from the true minimum */
	bool		rescan_owed;	/* somebody rang since the last such look */
	int64_t		rescanned_at;
	int64_t		rescan_cost;
	int64_t		next_due[IM_KINDS]; /* 0: no retry waits */
	int			locked[IM_KINDS];	/* looks in a row, up to two, that found rows and could
									 * claim none: somebody has them locked */
	bool		dirty;			/* recovery is due ... */
	int64_t		recover_at;		/* ... not before this */
	int64_t		retry_at;		/* nothing is tried before */
	int64_t		retry_delay;	/* after a failed transaction; 0: it was none */
	bool		careful;		/* write outcomes one by one */
	int64_t		flush_after;	/* somebody locks an outcome's row: not before */
	bool		just_paused;	/* what is queued was claimed before the pause */
	bool		paused;			/* only rooms of an order go */
	int64_t		looked_at;		/* at options and pause; 0: never yet */
	int64_t		counted_at;
	int64_t		put_off_at;		/* count and rooms, so that rows went first; 0: they were not */
	int			uncounted;		/* looks since the counts were right */
	int64_t		idle_since;
	int64_t		started_at;
} ImPlan;

/* What is so of one kind of rows; zeros: there are none of it. */
typedef struct ImPlanKind
{
	bool		roomed;			/* see ImCommand */
	bool		makes_groups;
	bool		undoes;
	bool		after_accounts;
	int			batch;			/* rows that go into one call now */
	double		rate;			/* calls a second */
	int			open;			/* calls of its operation, queued or under way ... */
	int			flying;			/* ... of which so many are under way */
	int			nrows;			/* its rows in calls */
	int			judged;			/* its rows to be written back */
} ImPlanKind;

/* What is so now. */
typedef struct ImPlanFacts
{
	int64_t		now;
	bool		may_send;		/* configured, installed, not fenced */
	bool		ending;			/* the worker is asked to end */
	bool		reconfigure;	/* the sender wants to read its options */
	bool		paused;
	int64_t		ordered;		/* rows that may go although it is paused */
	int			max_in_flight;
	bool		assigned_ids;
	int64_t		groups_per_day; /* 0: no budget */
	int64_t		groups_today;
	ImPlanKind	kinds[IM_KINDS];
	int			nrows;			/* in calls, of all kinds */
	int			outcomes;		/* rows to be written back ... */
	int64_t		outcomes_since; /* ... the first since then */
	int			queued;			/* calls that have not started */
	int			in_flight;
	const ImRooms *rooms;		/* at work; NULL: none */
	bool		finding;		/* a look for more rooms is owed or under way */
	int64_t		sweep_due;		/* its next part; 0: none */
	const ImBreaker *breaker;
	ImState		beneath;		/* the state without the pause, as last published */
	bool		ring;			/* somebody has rung meanwhile */
	bool		worked;			/* something was answered since the start */
	int64_t		midnight;		/* so long until the next day of groups_per_day */
} ImPlanFacts;

/* What a turn's transaction is to do. */
typedef struct ImTurn
{
	bool		look;			/* at options, pause and fence */
	bool		count;			/* rows, and show the counts */
	bool		sweep;			/* look for rooms */
	int			write;			/* so many of the first outcomes */
} ImTurn;

/* What a claim of one kind found. */
typedef struct ImPlanFound
{
	int			want;			/* rows that were wanted, apart from rooms */
	bool		short_scan;		/* there were fewer */
	int			nrows;			/* to be sent or looked up */
	int			nsettled;		/* ended at the claim */
} ImPlanFound;

/* The worker starts; dirty: the last one did not end in order. */
extern void im_plan_start(ImPlan *plan, const bool loose[IM_KINDS], bool dirty, int64_t now);

/* Rows of dead senders are to be looked for at once. */
extern void im_plan_owe_recovery(ImPlan *plan);

/*
 * True if accounts that were committed late are to be looked for below the
 * watermark, before what waits for accounts is claimed.
 */
extern bool im_plan_looks_below(const ImPlan *plan);

/* The turn begins; rang: the doorbell has rung. */
extern void im_plan_wake(ImPlan *plan, bool rang, int64_t now);

/* How many calls may start now. */
extern int	im_plan_allowed(const ImPlanFacts *facts);

/* For how many calls rows may be claimed. */
extern int	im_plan_claims_allowed(const ImPlanFacts *facts);

/* ---- what the transaction does ---- */

/* Begins to plan it; false: nothing is to be tried yet. */
extern bool im_plan_turn(ImPlan *plan, const ImPlanFacts *facts, bool rang, ImTurn *turn);

/* How many calls of a roomed kind to claim rows for. */
extern int	im_plan_calls(const ImPlanFacts *facts, ImKind kind, int allowed);

/* How many rows of another kind to claim. */
extern int	im_plan_rows(const ImPlan *plan, const ImPlanFacts *facts, ImKind kind, int allowed);

/*
 * Ends to plan it.  claim: rows are to be claimed; pause: the import is to be
 * paused.  False if there is nothing to do.
 */
extern bool im_plan_transaction(ImPlan *plan, const ImPlanFacts *facts, bool claim,
								bool pause, ImTurn *turn);

/* ---- within it ---- */

/* It begins. */
extern void im_plan_begun(ImPlan *plan, const ImTurn *turn, int64_t now);

/* True if the count is to be had even if others have to wait for it. */
extern bool im_plan_insists(ImPlan *plan, int nrows);

/* True if rows of dead senders are to be looked for. */
extern bool im_plan_recovers(const ImPlan *plan, int64_t now);

/* They were; all: none of them was locked. */
extern void im_plan_recovered(ImPlan *plan, bool all, int64_t now);

/* True if accounts may be open, for which other kinds wait. */
extern bool im_plan_accounts_open(const ImPlan *plan, const ImPlanFacts *facts);

/* The claim of a kind found this; true: it was that of accounts, and none is open. */
extern bool im_plan_accounts_over(const ImPlan *plan, const ImPlanFacts *facts, ImKind kind,
								  const ImPlanFound *found);

/*
 * All that is due of a kind was claimed.  The next retry is due in delay by the
 * wall clock; -1: none waits.  passed_over: rows are open that were not found.
 */
extern void im_plan_next_due(ImPlan *plan, ImKind kind, int64_t delay, bool passed_over, int64_t now);

/* A kind whose rows alone are open, and locked by somebody; -1: there is none. */
extern int	im_plan_locked(const ImPlan *plan, const ImPlanFacts *facts);

/* A claim was made; true: from the true minimum. */
extern bool im_plan_found(ImPlan *plan, ImKind kind, const ImPlanFound *found);

/* All were, and some of them from the true minimum. */
extern void im_plan_rescanned(ImPlan *plan, int64_t start, int64_t now);

/* ---- after it ---- */

/* It failed; true: the first outcome goes to the end of the line. */
extern bool im_plan_failed(ImPlan *plan, int64_t now);

/* A table was locked: nothing was done. */
extern void im_plan_table_busy(ImPlan *plan, int64_t now);

/* Outcomes were written, but for locked ones; true: as above. */
extern bool im_plan_wrote(ImPlan *plan, bool locked, int64_t now);

/* It committed, and so many outcomes are left. */
extern void im_plan_succeeded(ImPlan *plan, int outcomes);

/* The last row of a kind that was on its way is written. */
extern void im_plan_through(ImPlan *plan, ImKind kind);

/* A loose row is pending again. */
extern void im_plan_came_back(ImPlan *plan, ImKind kind);

/* One was put off; the next look waits for all that were. */
extern void im_plan_put_off(ImPlan *plan, ImKind kind, int64_t delay, int64_t now);

/* What a claim that is committed had found. */
extern void im_plan_claimed(ImPlan *plan, ImKind kind, const ImPlanFound *found);

/* ---- the rest of the turn ---- */

/* So many of the calls that have not started stay; the others go back to their rows. */
extern int	im_plan_keeps(ImPlan *plan, const ImPlanFacts *facts, int allowed);

/* True if there is work, as far as is known. */
extern bool im_plan_busy(const ImPlan *plan, const ImPlanFacts *facts);

/* True if groups wait only because the day's budget is used up. */
extern bool im_plan_day_is_spent(const ImPlan *plan, const ImPlanFacts *facts);

/* True if there is nothing to do for a while, and the worker goes home ... */
extern bool im_plan_leaves(ImPlan *plan, const ImPlanFacts *facts);

/* ... until then; 0: until somebody rings. */
extern int64_t im_plan_alarm(const ImPlan *plan, const ImPlanFacts *facts);

/* How long to sleep at most; pump says when the sender can go on, or -1. */
extern int64_t im_plan_sleep(const ImPlan *plan, const ImPlanFacts *facts, int64_t pump, int allowed);

/*
 * So many rows of a kind wait to be asked about in one call that takes most, the
 * first of them for waited us; coming: rows on their way that may have to be asked
 * about, too.  True if the call goes now.
 */
extern bool im_plan_asks(const ImPlan *plan, ImKind kind, int nrows, int most, int coming,
						 int64_t waited);

/*
 * The same of a question why so many rows were refused; coming: more of them may be
 * soon.
 */
extern bool im_plan_explains(int nrows, int most, bool coming, int64_t waited);

/* True if a room's rows of the kind are to be claimed now. */
extern bool im_plan_room_comes(const ImPlan *plan, const ImRooms *rooms, ImKind kind, int64_t now);

/* ---- the launcher ---- */

/* What the launcher knows of a database that has no worker. */
typedef struct ImStart
{
	int64_t		now;
	int64_t		polled_at;		/* a worker was last started */
	int64_t		wake_at;		/* an alarm, 0: none */
	bool		ring;			/* somebody has rung ... */
	bool		urgent;			/* ... for more than new rows */
	bool		vacant;			/* the extension is not there, as far as known */
	ImState		state;			/* as last published */
} ImStart;

/* True if a worker is to come. */
extern bool im_plan_calls_worker(const ImStart *start);

/* Not before this time; started_at: the last one's, 0: there was none. */
extern int64_t im_plan_start_from(int64_t started_at);

#endif							/* IM_PLAN_H */
