/*
 * plan.c
 *	  What a turn of the worker does, how much it claims, how long it sleeps.
 *
 * The surprising rules: what is claimed when the server dies must be taken for
 * sent, so no more is claimed than the rate lets us send; and nobody wakes a
 * worker that could claim more, so then it does not sleep at all.
 *
 * Must not know: PostgreSQL, the clock, lists of rows, who obeys.
 */
#include "plan.h"

#include <limits.h>
#include <string.h>

#define MS					INT64_C(1000)
#define SEC					INT64_C(1000000)

#define FLUSH_COUNT			250 /* outcomes are written when so many wait ... */
#define FLUSH_AFTER			(50 * MS)	/* ... or the first waits so long */
#define LOOK_EVERY			(1 * SEC)	/* at options and pause, doorbell or not */
#define RESCAN_EVERY		(5 * SEC)	/* for ids that were committed late */
#define RESCAN_SHARE		50	/* of our time at most 1/50 for that */
#define RESCAN_CHEAP		(5 * MS)	/* can be made with each claim */
#define PUT_OFF				(25 * MS)	/* what can wait until a call has left */
#define LINGER				(3 * SEC)	/* connected with nothing to do */
#define STAY_AT_LEAST		(4 * SEC)	/* since the start, see worker.c */
#define RETRY_FIRST			(1 * SEC)	/* after a failed transaction */
#define RETRY_MAX			(30 * SEC)
#define BUSY_AGAIN			(200 * MS)	/* try a locked table again after this ... */
#define LOCKED_AGAIN		(200 * MS)	/* ... and a locked row */
#define RECOVER_AGAIN		(5 * SEC)	/* when a dead row was locked */
#define CLAIM_AHEAD			0.1 /* seconds of work claimed beyond the slots */
#define CLAIM_AHEAD_MAX		400
#define DUE_MAX				(600 * SEC)	/* no back-off is longer */
#define ROWS_MAX			4000	/* claimed at one time, of all kinds */
#define POLL_EVERY			(30 * SEC)
#define POLL_PAUSED			(600 * SEC) /* only for what no doorbell tells */
#define START_EVERY			(5 * SEC)	/* no database gets more workers than that */
#define ASK_AFTER			(10 * SEC)	/* rows wait no longer for others to be asked about ... */
#define ASK_SOON			(2 * SEC)	/* ... if these are only to be claimed */
#define COUNT_PATIENCE		10	/* looks without a chance to count */

static int64_t
smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Every kind is to be looked for from its true minimum. */
static void
rescan_all(ImPlan *plan)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		plan->rescan[kind] = true;
}

/* Rows may have come, of any kind. */
static void
make_hungry(ImPlan *plan)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		plan->hungry[kind] = plan->loose[kind];
}

/* See plan.h. */
void
im_plan_start(ImPlan *plan, const bool loose[IM_KINDS], bool dirty, int64_t now)
{
	memset(plan, 0, sizeof(*plan));
	memcpy(plan->loose, loose, sizeof(plan->loose));
	rescan_all(plan);
	make_hungry(plan);
	plan->dirty = dirty;
	plan->idle_since = plan->started_at = now;
}

/* See plan.h. */
void
im_plan_owe_recovery(ImPlan *plan)
{
	plan->dirty = true;
	plan->recover_at = 0;
}

/* So long a look from the true minimum must be ago before the next one. */
static int64_t
rest_of_rescan(const ImPlan *plan)
{
	return larger(plan->rescan_cost * RESCAN_SHARE, 0);
}

/* See plan.h. */
bool
im_plan_looks_below(const ImPlan *plan)
{
	return plan->rescan_owed && plan->rescan_cost < RESCAN_CHEAP;
}

/* See plan.h. */
void
im_plan_wake(ImPlan *plan, bool rang, int64_t now)
{
	if (rang)
		make_hungry(plan);
	/* A repaired row may lie below the watermark: its ring must not be lost. */
	plan->rescan_owed = plan->rescan_owed || rang;
	/* Too soon after the last one: such a look has its price. */
	if (now - plan->rescanned_at < rest_of_rescan(plan))
		return;
	if (plan->rescan_owed || now - plan->rescanned_at >= RESCAN_EVERY)
	{
		rescan_all(plan);
		make_hungry(plan);
	}
}

/* See plan.h. */
int
im_plan_allowed(const ImPlanFacts *facts)
{
	/* Asked to end while a claim waited for its standby: it may not be durable. */
	if (!facts->may_send || facts->ending)
		return 0;
	return im_breaker_allows(facts->breaker, facts->in_flight, facts->now);
}

/* See plan.h. */
int
im_plan_claims_allowed(const ImPlanFacts *facts)
{
	int			allowed = im_plan_allowed(facts);

	if (facts->breaker->state == IM_BREAKER_CLOSED)
		return allowed;
	/* While the service is only tried, a call that is queued is the one that tries it. */
	return (int) larger(allowed - facts->queued, 0);
}

/* True if rows may be claimed, apart from what the service says. */
static bool
may_claim(const ImPlanFacts *facts)
{
	return !facts->paused || facts->ordered > 0;
}

/* Rows that are not yet written back. */
static int
open_rows(const ImPlanFacts *facts)
{
	return facts->nrows + facts->outcomes;
}

/* ------------------------------------------------------------------------
 * How much to claim
 */

/* Groups that may still be created today; INT_MAX without a budget. */
static int
budget_of_day(const ImPlanFacts *facts)
{
	int64_t		left;

	if (facts->groups_per_day == 0)
		return INT_MAX;
	/* What is judged is counted, if it may have created a group. */
	left = facts->groups_per_day - facts->groups_today - facts->kinds[IM_GROUP].nrows;
	return left < 0 ? 0 : (int) smaller(left, INT_MAX);
}

/* How many calls of a kind to have claimed: the slots, and a little work ahead. */
static int
claim_target(const ImPlanFacts *facts, const ImPlanKind *kind)
{
	double		seconds = kind->makes_groups && facts->assigned_ids ? CLAIM_AHEAD / 5 : CLAIM_AHEAD;
	double		ahead = kind->rate * seconds;

	/*
	 * Do not claim more than the rate lets us send: after a crash every
	 * claimed row has to be treated as possibly sent.
	 */
	if (ahead + 1 < facts->max_in_flight)
		return (int) smaller((int) ahead + 1 + kind->flying, facts->max_in_flight + CLAIM_AHEAD_MAX);
	return facts->max_in_flight + (int) (ahead < CLAIM_AHEAD_MAX ? ahead : CLAIM_AHEAD_MAX);
}

/* See plan.h. */
int
im_plan_calls(const ImPlanFacts *facts, ImKind kind, int allowed)
{
	const ImPlanKind *its = &facts->kinds[kind];
	int			target = claim_target(facts, its);
	int			want = (int) smaller(target - its->open, allowed);

	if (open_rows(facts) >= ROWS_MAX)
		return 0;
	/* A few at a time would cost a commit each: what may queue is half sent first. */
	if (want * 2 < target - its->flying && its->open > its->flying)
		return 0;
	return (int) larger(want, 0);
}

/* True if a room is at work because of an order. */
static bool
rooms_ordered(const ImPlanFacts *facts)
{
	return facts->rooms != NULL && im_rooms_ordered(facts->rooms) > 0;
}

/* True if rows that are to be undone are under way, or wait for their time. */
static bool
undo_open(const ImPlan *plan, const ImPlanFacts *facts)
{
	const ImPlanKind *its = &facts->kinds[IM_UNDO_GROUP];

	return plan->hungry[IM_UNDO_GROUP] || plan->next_due[IM_UNDO_GROUP] != 0 || its->nrows > 0 ||
		its->judged > 0;
}

/* How many rows of a kind without rooms to claim, apart from accounts that are open. */
static int
rows_wanted(const ImPlan *plan, const ImPlanFacts *facts, ImKind kind, int allowed)
{
	const ImPlanKind *its = &facts->kinds[kind];
	int64_t		want;

	if (!plan->hungry[kind] || allowed <= 0)
		return 0;
	want = (int64_t) im_plan_calls(facts, kind, allowed) * its->batch;
	want = smaller(want, ROWS_MAX - open_rows(facts));
	if (its->makes_groups)
		want = smaller(want, budget_of_day(facts));
	/* What an order counts are groups; the accounts that their rooms need go with them. */
	if (facts->paused && (its->makes_groups || its->undoes ||
						  (facts->ordered <= 0 && !(kind == IM_ACCOUNT && rooms_ordered(facts)))))
		want = smaller(want, facts->ordered);
	/* It is spent on those that are to be undone first: what was put off gets it back. */
	if (facts->paused && its->makes_groups && undo_open(plan, facts))
		want = 0;
	/* What was put off may be disbanded already: no other group in its stead. */
	if (facts->paused && its->undoes && plan->next_due[kind] != 0)
		want = 0;
	return (int) larger(want, 0);
}

/* True if accounts are on their way, or wait for their time. */
static bool
accounts_busy(const ImPlan *plan, const ImPlanFacts *facts)
{
	return plan->next_due[IM_ACCOUNT] != 0 || facts->kinds[IM_ACCOUNT].nrows > 0 ||
		facts->kinds[IM_ACCOUNT].judged > 0;
}

/* See plan.h. */
int
im_plan_locked(const ImPlan *plan, const ImPlanFacts *facts)
{
	if (facts->nrows > 0 || facts->outcomes > 0)
		return -1;
	for (int kind = 0; kind < IM_KINDS; kind++)
		/* What waits for accounts is passed over, too. */
		if (plan->locked[kind] == 2 && !(facts->kinds[kind].after_accounts && accounts_busy(plan, facts)))
			return kind;
	return -1;
}

/* See plan.h. */
bool
im_plan_accounts_open(const ImPlan *plan, const ImPlanFacts *facts)
{
	return plan->hungry[IM_ACCOUNT] || accounts_busy(plan, facts);
}

/* See plan.h. */
int
im_plan_rows(const ImPlan *plan, const ImPlanFacts *facts, ImKind kind, int allowed)
{
	/* What surely has to wait must not use up the one call that tries the service. */
	if (facts->kinds[kind].after_accounts && accounts_busy(plan, facts))
		return 0;
	return rows_wanted(plan, facts, kind, allowed);
}

/* ------------------------------------------------------------------------
 * The transaction: settle and claim
 */

/* Retries that are due now make their kinds hungry. */
static void
note_due(ImPlan *plan, int64_t now)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		if (plan->next_due[kind] != 0 && now >= plan->next_due[kind])
		{
			plan->hungry[kind] = plan->rescan_owed = true;
			plan->next_due[kind] = 0;	/* or there is no sleep while nothing may go */
		}
}

/* An order is spent on rooms after all accounts, and after what is to be undone. */
static bool
may_sweep(const ImPlan *plan, const ImPlanFacts *facts)
{
	return !facts->paused ||
		!(undo_open(plan, facts) || im_plan_accounts_open(plan, facts));
}

/* See plan.h. */
bool
im_plan_turn(ImPlan *plan, const ImPlanFacts *facts, bool rang, ImTurn *turn)
{
	/* A ring may mean other options: the look is not put off. */
	turn->look = rang || facts->now - plan->looked_at >= LOOK_EVERY || facts->reconfigure;
	turn->count = rang || plan->put_off_at != 0 || facts->now - plan->counted_at >= LOOK_EVERY;
	/* Soon after a failure or a locked table nothing is tried, unless somebody rings. */
	if (plan->retry_at > facts->now && !rang)
		return false;
	note_due(plan, facts->now);
	turn->sweep = facts->may_send && may_claim(facts) && facts->sweep_due != 0 &&
		facts->now >= facts->sweep_due && may_sweep(plan, facts);
	return true;
}

/* True if outcomes should be written now; claim: a transaction is made anyway. */
static bool
must_flush(const ImPlan *plan, const ImPlanFacts *facts, bool claim)
{
	/* A row that is locked is not tried again in each turn. */
	if (facts->outcomes == 0 || facts->now < plan->flush_after)
		return false;
	/* A claim commits anyway; with nothing under way there is nothing to wait for. */
	return claim || plan->careful || facts->outcomes >= FLUSH_COUNT || facts->nrows == 0 ||
		facts->now - facts->outcomes_since >= FLUSH_AFTER;
}

/* Count and rooms wait for rows that were claimed before them, if it is not for long. */
static int64_t
put_off_until(const ImPlan *plan, const ImPlanFacts *facts)
{
	return plan->put_off_at != 0 && facts->nrows > 0 ? plan->put_off_at + PUT_OFF : 0;
}

/*
 * With nothing under way, rows that come are sent first: a connection that is made
 * needs us several times.  Count and rooms come with the outcomes, or soon; they are
 * put off once, or rows that end at their claim would put them off for ever.
 */
static void
put_off(ImPlan *plan, const ImPlanFacts *facts, bool claim, ImTurn *turn)
{
	bool		first = plan->put_off_at == 0 && claim && !facts->paused && open_rows(facts) == 0;

	if (!turn->count && !turn->sweep)
		return;
	if (first)
		plan->put_off_at = facts->now;
	if (first || (turn->write == 0 && facts->now < put_off_until(plan, facts)))
		turn->count = turn->sweep = false;
	else if (turn->count)
		plan->put_off_at = 0;
}

/* See plan.h. */
bool
im_plan_transaction(ImPlan *plan, const ImPlanFacts *facts, bool claim, bool pause, ImTurn *turn)
{
	/* After a failure one at a time: a poisonous one must not hold the rest. */
	if (must_flush(plan, facts, claim))
		turn->write = plan->careful ? 1 : facts->outcomes;
	put_off(plan, facts, claim, turn);
	return turn->look || turn->count || turn->write > 0 || claim || turn->sweep || pause ||
		im_plan_recovers(plan, facts->now);
}

/* See plan.h. */
void
im_plan_begun(ImPlan *plan, const ImTurn *turn, int64_t now)
{
	if (turn->look)
		plan->looked_at = now;
	if (turn->count)
		plan->counted_at = now;
}

/* See plan.h. */
bool
im_plan_insists(ImPlan *plan, int nrows)
{
	bool		insists = plan->uncounted >= COUNT_PATIENCE && nrows == 0;

	if (plan->uncounted > 2 * COUNT_PATIENCE)
		plan->uncounted = 0;	/* an insisting one has failed: be patient again */
	plan->uncounted++;
	return insists;
}

/* See plan.h. */
bool
im_plan_recovers(const ImPlan *plan, int64_t now)
{
	return plan->dirty && now >= plan->recover_at;
}

/* See plan.h. */
void
im_plan_recovered(ImPlan *plan, bool all, int64_t now)
{
	/* What was locked is still dead: recovery stays owed. */
	plan->dirty = !all;
	plan->recover_at = now + RECOVER_AGAIN;
	make_hungry(plan);
}

/* See plan.h. */
bool
im_plan_accounts_over(const ImPlan *plan, const ImPlanFacts *facts, ImKind kind, const ImPlanFound *found)
{
	return kind == IM_ACCOUNT && found->want > 0 && found->short_scan && found->nrows == 0 && found->nsettled == 0 &&
		plan->next_due[IM_ACCOUNT] == 0 && facts->kinds[IM_ACCOUNT].nrows == 0;
}

/* See plan.h. */
void
im_plan_next_due(ImPlan *plan, ImKind kind, int64_t delay, bool passed_over, int64_t now)
{
	plan->next_due[kind] = 0;
	plan->locked[kind] = delay == 0 || (delay < 0 && passed_over) ? (int) smaller(plan->locked[kind] + 1, 2) : 0;
	/* Rows that somebody locks were passed over: look again soon. */
	if (delay < 0 && passed_over)
		plan->next_due[kind] = now + RESCAN_EVERY;
	if (delay < 0)
		return;
	/* Due already, and yet not claimed: somebody has it locked. */
	plan->next_due[kind] = now + (delay == 0 ? LOCKED_AGAIN : smaller(delay, DUE_MAX) + MS);
	if (delay > DUE_MAX)
		plan->dirty = true;		/* the clock was set back: recovery caps it */
}

/* See plan.h. */
bool
im_plan_found(ImPlan *plan, ImKind kind, const ImPlanFound *found)
{
	bool		rescanned = found->want > 0 && plan->rescan[kind];

	/* A kind that gets no call now still has to be looked for: later. */
	if (found->want > 0)
		plan->rescan[kind] = false;
	return rescanned;
}

/* See plan.h. */
void
im_plan_rescanned(ImPlan *plan, int64_t start, int64_t now)
{
	plan->rescanned_at = now;
	plan->rescan_cost = now - start;
	plan->rescan_owed = false;
}

/* See plan.h. */
bool
im_plan_failed(ImPlan *plan, int64_t now)
{
	bool		rotate = plan->careful;

	/* What it claimed was never sent, what it wrote may stand. */
	im_plan_owe_recovery(plan);
	/* The claim that was lost has moved the watermark past its rows. */
	rescan_all(plan);
	/* One outcome may be the cause: from now on each is tried alone. */
	plan->careful = true;
	plan->retry_delay = plan->retry_delay == 0 ? RETRY_FIRST : smaller(plan->retry_delay * 2, RETRY_MAX);
	plan->retry_at = now + plan->retry_delay;
	return rotate;
}

/* See plan.h. */
void
im_plan_table_busy(ImPlan *plan, int64_t now)
{
	plan->retry_at = now + BUSY_AGAIN;
}

/* See plan.h. */
bool
im_plan_wrote(ImPlan *plan, bool locked, int64_t now)
{
	plan->flush_after = locked ? now + LOCKED_AGAIN : 0;
	return locked && plan->careful;
}

/* See plan.h. */
void
im_plan_succeeded(ImPlan *plan, int outcomes)
{
	plan->retry_delay = 0;
	plan->retry_at = 0;
	/* The last one was written: none is poisonous. */
	if (outcomes == 0)
		plan->careful = false;
}

/* See plan.h. */
void
im_plan_came_back(ImPlan *plan, ImKind kind)
{
	plan->hungry[kind] = plan->loose[kind];
}

/* See plan.h. */
void
im_plan_put_off(ImPlan *plan, ImKind kind, int64_t delay, int64_t now)
{
	if (delay > 0)
		plan->next_due[kind] = larger(plan->next_due[kind], now + smaller(delay, DUE_MAX) + MS);
}

/* See plan.h. */
void
im_plan_through(ImPlan *plan, ImKind kind)
{
	/* An account that was locked meanwhile is below the watermark: others would not wait for it. */
	if (kind != IM_ACCOUNT)
		return;
	plan->hungry[kind] = plan->loose[kind];
	plan->rescan[kind] = true;
	/* One look from the minimum pays the debt of all: then it is one of all. */
	if (plan->rescan_owed)
		rescan_all(plan);
}

/* See plan.h. */
void
im_plan_claimed(ImPlan *plan, ImKind kind, const ImPlanFound *found)
{
	if (found->want > 0 && found->short_scan && found->nrows == 0)
		plan->hungry[kind] = false;
}

/* See plan.h. */
bool
im_plan_asks(const ImPlan *plan, ImKind kind, int nrows, int most, int coming, int64_t waited)
{
	/* After a crash they are refused one after the other: one question will do for many. */
	if (nrows >= most || waited >= ASK_AFTER)
		return true;
	/* The first of them goes alone, to try the service; then the others are claimed. */
	return coming == 0 && (!plan->hungry[kind] || waited >= ASK_SOON);
}

/* See plan.h. */
bool
im_plan_explains(int nrows, int most, bool coming, int64_t waited)
{
	/* Whole rooms may wait for it, but not for long. */
	return nrows >= most || !coming || waited >= ASK_AFTER;
}

/* See plan.h. */
bool
im_plan_room_comes(const ImPlan *plan, const ImRooms *rooms, ImKind kind, int64_t now)
{
	return im_rooms_wait_at(rooms, kind, plan->paused, now) == 0;
}

/* ------------------------------------------------------------------------
 * Waiting, leaving
 */

/* See plan.h. */
int
im_plan_keeps(ImPlan *plan, const ImPlanFacts *facts, int allowed)
{
	bool		held = plan->just_paused;

	/* Under a pause a budget or a session's request claims, and is to be sent. */
	plan->just_paused = false;
	/* Unsent calls do not stay claimed while nothing may be sent ... */
	if (!facts->may_send || held)
		return 0;
	/* ... but one goes that tries the service. */
	return facts->breaker->state == IM_BREAKER_CLOSED ? INT_MAX : allowed;
}

/* Microseconds until a room's turn comes; 0: now; -1: none waits. */
static int64_t
rooms_wait(const ImPlanFacts *facts)
{
	return facts->rooms == NULL ? -1 : im_rooms_wait(facts->rooms, facts->paused, facts->now);
}

/* True if there may be rows to claim for some kind. */
static bool
is_hungry(const ImPlan *plan, const ImPlanFacts *facts)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		if (plan->hungry[kind])
			return true;
	return rooms_wait(facts) == 0;
}

/* See plan.h. */
bool
im_plan_busy(const ImPlan *plan, const ImPlanFacts *facts)
{
	return open_rows(facts) > 0 || facts->finding || is_hungry(plan, facts) || im_plan_locked(plan, facts) >= 0;
}

/* See plan.h. */
bool
im_plan_day_is_spent(const ImPlan *plan, const ImPlanFacts *facts)
{
	return plan->hungry[IM_GROUP] && budget_of_day(facts) == 0;
}

/* True if all that is left to do is a look at the table that would be too soon. */
static bool
waits_to_rescan(const ImPlan *plan, const ImPlanFacts *facts)
{
	return plan->rescan_owed && facts->beneath == IM_STATE_IDLE;
}

/* True if the next transaction would claim rows. */
static bool
could_claim(const ImPlan *plan, const ImPlanFacts *facts, int allowed)
{
	bool		room_waits = rooms_wait(facts) == 0;
	bool		accounts = im_plan_accounts_open(plan, facts);

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		const ImPlanKind *its = &facts->kinds[kind];

		if (its->open > its->flying)
			continue;			/* some are queued: they go first */
		if (its->roomed ? room_waits && im_plan_calls(facts, kind, allowed) > 0 &&
			im_rooms_wait_at(facts->rooms, kind, facts->paused, facts->now) == 0 :
			rows_wanted(plan, facts, kind, allowed) > 0 && !(its->after_accounts && accounts))
			return true;
	}
	return false;
}

/* When the earliest retry is due that is not found through a room; 0: none. */
static int64_t
earliest_due(const ImPlan *plan)
{
	int64_t		due = 0;

	for (int kind = 0; kind < IM_KINDS; kind++)
		if (plan->next_due[kind] != 0 && (due == 0 || plan->next_due[kind] < due))
			due = plan->next_due[kind];
	return due;
}

/* When a room's turn comes, or the next part of a sweep; 0: never. */
static int64_t
next_in_rooms(const ImPlan *plan, const ImPlanFacts *facts)
{
	int64_t		wait = rooms_wait(facts);
	int64_t		at = wait >= 0 ? facts->now + wait : 0;
	int64_t		sweep = may_sweep(plan, facts) ? facts->sweep_due : 0;

	if (sweep != 0)
		sweep = larger(sweep, put_off_until(plan, facts));
	if (sweep != 0 && (at == 0 || sweep < at))
		at = larger(sweep, facts->now + 1);
	return at;
}

/* See plan.h. */
int64_t
im_plan_sleep(const ImPlan *plan, const ImPlanFacts *facts, int64_t pump, int allowed)
{
	int64_t		now = facts->now;
	int64_t		probe = im_breaker_wait(facts->breaker, now);
	int64_t		due = earliest_due(plan);
	int64_t		rooms = next_in_rooms(plan, facts);
	int64_t		sleep = LOOK_EVERY;

	/* There is more to claim, and nobody who would wake us for it. */
	if (plan->retry_at <= now && facts->may_send && could_claim(plan, facts, allowed))
		return 0;
	if (plan->put_off_at != 0)
		sleep = smaller(sleep, larger(put_off_until(plan, facts) - now, 0));
	if (pump >= 0)
		sleep = smaller(sleep, pump);
	if (probe > 0)
		sleep = smaller(sleep, probe);
	if (facts->outcomes > 0)
		sleep = smaller(sleep, larger(larger(facts->outcomes_since + FLUSH_AFTER, plan->flush_after) - now, 0));
	if (due != 0)
		sleep = smaller(sleep, larger(due - now, 0));
	if (rooms > now && facts->may_send && may_claim(facts))
		sleep = smaller(sleep, rooms - now);
	/* While paused no sweep is made, but the room of an order has its time. */
	if (rooms_wait(facts) > 0 && facts->may_send)
		sleep = smaller(sleep, rooms_wait(facts));
	if (waits_to_rescan(plan, facts))
		sleep = smaller(sleep, larger(plan->rescanned_at + rest_of_rescan(plan) - now, MS));
	/* Nothing is written or claimed before retry_at. */
	if (plan->retry_at > now)
		sleep = larger(smaller(LOOK_EVERY, plan->retry_at - now), MS);
	return sleep;
}

/* See plan.h. */
int64_t
im_plan_alarm(const ImPlan *plan, const ImPlanFacts *facts)
{
	int64_t		due = earliest_due(plan);
	int64_t		rooms = next_in_rooms(plan, facts);

	/* While paused a probe would be more than anybody asked for. */
	if (!facts->may_send || !may_claim(facts))
		return 0;
	/* While the breaker is open nothing goes before the probe, whatever is due. */
	if (facts->breaker->state != IM_BREAKER_CLOSED)
		return facts->now + larger(im_breaker_wait(facts->breaker, facts->now), 1);
	if (facts->beneath == IM_STATE_QUOTA)
		return facts->now + facts->midnight;
	return due == 0 || (rooms != 0 && rooms < due) ? rooms : due;
}

/* True if there is nothing to do now, nor soon. */
static bool
is_quiet(const ImPlan *plan, const ImPlanFacts *facts)
{
	int64_t		now = facts->now;
	int64_t		due = earliest_due(plan);
	int64_t		rooms = next_in_rooms(plan, facts);

	if (open_rows(facts) > 0 || facts->ring || waits_to_rescan(plan, facts) || plan->retry_at > now)
		return false;
	if (!facts->may_send)
		return true;
	/* While paused, a room waits for its turn that was paid for: the next worker would not know of it. */
	if (facts->paused && rooms_wait(facts) >= 0)
		return false;
	if (!may_claim(facts))
		return true;
	/* Whatever is due, nothing goes before the next probe. */
	if (facts->breaker->state != IM_BREAKER_CLOSED)
		return im_breaker_wait(facts->breaker, now) >= LINGER;
	if (facts->beneath == IM_STATE_RUNNING)
		return false;
	return (due == 0 || due - now >= LINGER) && (rooms == 0 || rooms - now >= LINGER);
}

/* See plan.h. */
bool
im_plan_leaves(ImPlan *plan, const ImPlanFacts *facts)
{
	int64_t		linger = facts->worked ? LINGER : 0;

	if (!is_quiet(plan, facts))
	{
		plan->idle_since = facts->now;
		return false;
	}
	/* News in the first seconds find us here: no second worker would come so soon. */
	return facts->now - plan->idle_since >= linger && facts->now - plan->started_at >= STAY_AT_LEAST;
}

/* ------------------------------------------------------------------------
 * The launcher
 */

/* See plan.h. */
bool
im_plan_calls_worker(const ImStart *start)
{
	/* While a person has to act first, only an urgent ring calls for a worker. */
	if (start->ring && (start->urgent || !im_state_held_up(start->state)))
		return true;
	if (start->vacant)
		return false;
	if (start->wake_at != 0 && start->now >= start->wake_at)
		return true;
	return start->now - start->polled_at >= (start->state == IM_STATE_PAUSED ? POLL_PAUSED : POLL_EVERY);
}

/* See plan.h. */
int64_t
im_plan_start_from(int64_t started_at)
{
	return started_at == 0 ? 0 : started_at + START_EVERY;
}
