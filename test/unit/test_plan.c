/*
 * test_plan.c
 *	  When accounts that were committed late are looked for before what waits
 *	  for accounts is claimed.  The simulators live the rest of plan.c.
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
	return tap_done();
}
