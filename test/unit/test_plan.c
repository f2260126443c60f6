/*
 * test_plan.c
 *	  When accounts that were committed late are looked for before what waits
 *	  for accounts is claimed, that they go with an order of a drain, and what is
 *	  to be undone before all else.  The simulators live the rest of plan.c.
 */
#include <string.h>

#include "plan.h"
#include "tap.h"

#define MS			INT64_C(1000)
#define SEC			INT64_C(1000000)

static const bool loose[IM_KINDS] = {true};

/* A plan that has looked from the minimum just now, which took so long. */
static void
begin(ImPlan *plan, int64_t cost, int64_t now)
{
	const ImPlanFound found = {.want = 10,.short_scan = true};

	im_plan_start(plan, loose, false, now - cost);
	(void) im_plan_found(plan, IM_ACCOUNT, &found);
	im_plan_rescanned(plan, now - cost, now);
	im_plan_claimed(plan, IM_ACCOUNT, &found);
}

/* While paused: an order is spent on a room only after all accounts, which go with it. */
static void
test_order(int64_t now)
{
	ImBreaker	breaker;
	ImRooms    *rooms = im_rooms_create();
	ImPlanFacts facts = {
		.now = now,.may_send = true,.paused = true,.ordered = 1,.max_in_flight = 8,
		.breaker = &breaker,.rooms = rooms,.sweep_due = 1
	};
	ImPlan		plan;
	ImTurn		turn = {0};

	im_breaker_init(&breaker);
	facts.kinds[IM_ACCOUNT].rate = 100;
	facts.kinds[IM_ACCOUNT].batch = 100;
	im_plan_start(&plan, loose, false, now);
	(void) im_plan_turn(&plan, &facts, true, &turn);
	ok(!turn.sweep, "paused: no room is looked for while accounts are open");
	facts.ordered = 0;
	is_int(im_plan_rows(&plan, &facts, IM_ACCOUNT, 8), 0, "no order, no room of one: no account goes");
	im_rooms_add(rooms, "+r", "g", 0)->ordered = true;
	ok(im_plan_rows(&plan, &facts, IM_ACCOUNT, 8) > 0, "the accounts of a room that was ordered go");
	im_rooms_free(rooms);
}

/* What one more turn's transaction would do at a time, with so many rows claimed and outcomes to write. */
static ImTurn
turn_at(ImPlan *plan, ImPlanFacts *facts, int64_t at, int nrows, int outcomes, bool claim)
{
	ImTurn		turn = {0};

	facts->now = facts->outcomes_since = at;
	facts->nrows = nrows;
	facts->outcomes = outcomes;
	(void) im_plan_turn(plan, facts, false, &turn);
	(void) im_plan_transaction(plan, facts, claim, false, &turn);
	im_plan_begun(plan, &turn, at);
	return turn;
}

/* With nothing under way rows go first; count and rooms follow, in time. */
static void
test_put_off(int64_t now)
{
	ImBreaker	breaker;
	ImPlanFacts facts = {.may_send = true,.max_in_flight = 8,.breaker = &breaker,.sweep_due = 1};
	ImPlan		plan;
	ImTurn		turn;

	im_breaker_init(&breaker);
	im_plan_start(&plan, loose, false, now);
	turn = turn_at(&plan, &facts, now, 0, 0, true);
	ok(!turn.count && !turn.sweep, "rows that come go before the count and the rooms");
	facts.nrows = 1;
	ok(im_plan_sleep(&plan, &facts, -1, 0) > 1000, "which wait for them");
	turn = turn_at(&plan, &facts, now + 1000, 1, 0, true);
	ok(!turn.count && !turn.sweep, "while a call is made");
	turn = turn_at(&plan, &facts, now + 2000, 0, 1, false);
	ok(turn.count && turn.sweep && turn.write == 1, "they come with the outcome");
	turn = turn_at(&plan, &facts, now + 3000, 0, 0, true);
	ok(!turn.sweep, "the next rows go first, too");
	turn = turn_at(&plan, &facts, now + 103000, 1, 0, false);
	ok(turn.count && turn.sweep, "a call without an answer holds them up for a moment only");
	(void) turn_at(&plan, &facts, now + 200000, 0, 0, true);
	ok(im_plan_sleep(&plan, &facts, -1, 0) == 0, "with nothing claimed they are due at once");
	turn = turn_at(&plan, &facts, now + 200001, 0, 0, true);
	ok(turn.count && turn.sweep, "once put off, they are not again");
	(void) im_plan_turn(&plan, &facts, false, &turn);
	facts.paused = true;
	facts.ordered = 1;
	turn.count = true;
	(void) im_plan_transaction(&plan, &facts, true, false, &turn);
	ok(turn.count, "in a pause nothing is put off");
}

/* While paused: an order is spent on what is to be undone, until that is at an end. */
static void
test_undo(int64_t now)
{
	static const bool both[IM_KINDS] = {[IM_GROUP] = true,[IM_UNDO_GROUP] = true};
	const ImPlanFound nothing = {.want = 10,.short_scan = true};
	ImBreaker	breaker;
	ImPlanFacts facts = {
		.now = now,.may_send = true,.paused = true,.ordered = 5,.max_in_flight = 8,
		.breaker = &breaker,.sweep_due = 1
	};
	ImPlan		plan;
	ImTurn		turn = {0};

	im_breaker_init(&breaker);
	for (int kind = 0; kind < IM_KINDS; kind++)
		facts.kinds[kind] = (ImPlanKind) {.rate = 200,.batch = 1,.makes_groups = kind == IM_GROUP,.undoes = kind == IM_UNDO_GROUP};
	im_plan_start(&plan, both, false, now);
	ok(im_plan_rows(&plan, &facts, IM_UNDO_GROUP, 8) > 0, "paused: an order is spent on what is to be undone");
	is_int(im_plan_rows(&plan, &facts, IM_GROUP, 8), 0, "and on no group before");
	im_plan_put_off(&plan, IM_UNDO_GROUP, 3 * SEC, now);
	im_plan_put_off(&plan, IM_UNDO_GROUP, SEC, now);
	im_plan_claimed(&plan, IM_UNDO_GROUP, &nothing);
	is_int(im_plan_rows(&plan, &facts, IM_GROUP, 8), 0, "nor while one was put off");
	is_int(im_plan_rows(&plan, &facts, IM_UNDO_GROUP, 8), 0, "in whose stead no other goes");
	(void) im_plan_turn(&plan, &facts, true, &turn);
	ok(!turn.sweep, "and no room is looked for");
	facts.now += 2 * SEC;
	(void) im_plan_turn(&plan, &facts, true, &turn);
	is_int(im_plan_rows(&plan, &facts, IM_UNDO_GROUP, 8), 0, "until all are due that were put off");
	facts.now += 2 * SEC;
	(void) im_plan_turn(&plan, &facts, true, &turn);
	ok(im_plan_rows(&plan, &facts, IM_UNDO_GROUP, 8) > 0, "then they go");
	im_plan_claimed(&plan, IM_UNDO_GROUP, &nothing);
	facts.kinds[IM_UNDO_GROUP].nrows = 1;
	is_int(im_plan_rows(&plan, &facts, IM_GROUP, 8), 0, "no group while one is under way");
	facts.kinds[IM_UNDO_GROUP].nrows = 0;
	facts.kinds[IM_UNDO_GROUP].judged = 1;
	is_int(im_plan_rows(&plan, &facts, IM_GROUP, 8), 0, "nor while one is to be written");
	facts.kinds[IM_UNDO_GROUP].judged = 0;
	ok(im_plan_rows(&plan, &facts, IM_GROUP, 8) > 0, "then the rest of the order goes to groups");
	(void) im_plan_turn(&plan, &facts, true, &turn);
	ok(turn.sweep, "and to rooms");
}

/* A question why rows were refused waits for rooms that go, and for no others. */
static void
test_explains(int64_t now)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *room = im_rooms_add(rooms, "+r", "g", 0);
	ImPlan		plan;

	im_plan_start(&plan, loose, false, now);
	ok(im_plan_room_comes(&plan, rooms, IM_MEMBER, now), "members of a room may be refused soon");
	ok(!im_plan_room_comes(&plan, rooms, IM_MESSAGE, now), "but none of its messages");
	plan.paused = true;
	ok(!im_plan_room_comes(&plan, rooms, IM_MEMBER, now), "paused: no room goes, and none is waited for");
	room->ordered = true;
	ok(im_plan_room_comes(&plan, rooms, IM_MEMBER, now), "but one of an order");
	im_rooms_free(rooms);
}

int
main(void)
{
	const int64_t now = 1000 * SEC;
	ImPlan		plan;

	begin(&plan, 2 * MS, now);
	ok(!im_plan_looks_below(&plan), "nobody rang: nothing can have come below the watermark");
	im_plan_wake(&plan, true, now + 50 * MS);
	ok(!plan.rescan[IM_ACCOUNT], "a ring so soon after a look from the minimum: the next one is put off");
	ok(im_plan_looks_below(&plan), "... and claims look for accounts themselves");
	ok(im_plan_accounts_open(&plan, &(ImPlanFacts) {0}), "... after a claim of accounts");
	im_plan_wake(&plan, false, now + 101 * MS);
	ok(plan.rescan[IM_ACCOUNT], "then that look is made");
	im_plan_rescanned(&plan, now + 101 * MS, now + 103 * MS);
	ok(!im_plan_looks_below(&plan), "... and nothing more is looked for");

	begin(&plan, 500 * MS, now);
	im_plan_wake(&plan, true, now + 50 * MS);
	ok(!im_plan_looks_below(&plan), "where a look from the minimum is dear, claims do not make it");
	test_order(now);
	test_undo(now);
	test_put_off(now);
	test_explains(now);
	return tap_done();
}
