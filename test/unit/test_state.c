/*
 * test_state.c
 *	  What the state says: a person who pauses, resumes, drains, changes options
 *	  and keys, before a service that refuses, is silent or out of quota.
 *
 * 200,000 random lives of one breaker and one pause.  After each step the state
 * that the shipping code shows must be true, and its cure safe.
 */
#include <limits.h>
#include <string.h>

#include "plan.h"
#include "state.h"
#include "tap.h"

#define SEC			INT64_C(1000000)
#define LIVES		200000
#define STEPS		24

static uint64_t seed;

static int
below(int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (int) ((seed >> 16) % (uint64_t) n);
}

/* What is so in the world. */
typedef struct World
{
	ImBreaker	breaker;
	bool		paused;
	int64_t		ordered;
	int64_t		asked_at;
	int64_t		changed_at;
	int			condition;		/* of the service */
	int64_t		now;
	int			flying;
	int64_t		begun;			/* of the call that flies ... */
	int			meets;			/* ... and the condition that it met */
	int			sent_paused;	/* calls begun under a pause ... */
	int			let_through;	/* ... and how many may have been */
} World;

/* How the service answers in each condition. */
static const ImVerdict answers[] = {
	{.outcome = IM_OUT_DONE, .answered = true, .http_status = 200},
	{.outcome = IM_OUT_STOP, .code = 70009, .answered = true, .http_status = 200},
	{.outcome = IM_OUT_QUOTA, .code = 10006, .answered = true, .http_status = 200},
	{.outcome = IM_OUT_UNKNOWN, .code = IM_CODE_HTTP, .answered = true, .http_status = 502},
	{.outcome = IM_OUT_NOT_SENT, .code = IM_CODE_NOT_SENT},
	{.outcome = IM_OUT_UNKNOWN, .code = IM_CODE_HTTP, .answered = true, .http_status = 429, .retry_after = 7}
};

#define CONDITIONS	((int) (sizeof(answers) / sizeof(answers[0])))

static const char *
wrong(World *world)
{
	ImFacts		facts = {.preloaded = true, .configured = true, .breaker = &world->breaker,
		.paused = world->paused, .pause_reason = "paused by p", .ordered = world->ordered,
	.busy = true};
	ImReport	report;
	const char *cure;

	im_state_of(&facts, world->now, &report);
	cure = im_state_cure(&report);
	if (world->paused != (report.state == IM_STATE_PAUSED))
		return "the pause is not shown, or one that is not";
	if (report.beneath != im_state_of_breaker(world->breaker.state))
		return "what is beneath is not what the service said";
	if (!world->paused && report.beneath != report.state)
		return "something is beneath no pause";
	if (world->paused && strncmp(report.reason, "paused by p", 11) != 0)
		return "the pause's reason is not shown";
	if (world->paused && report.beneath == IM_STATE_STOPPED && strstr(report.reason, "stopped: ") == NULL)
		return "the stop is not in the reason";
	if (world->paused && report.beneath == IM_STATE_STOPPED &&
		(cure == NULL || strstr(cure, "im_import_resume") != NULL || strstr(report.reason, "im_import_resume") != NULL))
		return "the cure of a stop ends the pause";
	if (world->paused && world->ordered == 0 && strstr(report.reason, "next probe") != NULL)
		return "a probe is promised that does not come";
	if (world->breaker.state == IM_BREAKER_CLOSED && strstr(report.reason, "the service") != NULL)
		return "a cause that is gone is in the reason";
	if (world->breaker.state != IM_BREAKER_CLOSED && world->changed_at > world->breaker.tried_at)
		return "a refusal of before a change counts";
	if (world->sent_paused > world->let_through)
		return "more was sent under a pause than was ordered";
	return NULL;
}

/* The call that flies is answered. */
static void
answer(World *world)
{
	const ImVerdict *verdict = &answers[world->meets];

	if (world->flying == 0)
		return;
	world->flying = 0;
	if (world->begun >= world->changed_at || verdict->outcome == IM_OUT_DONE)
		im_breaker_note(&world->breaker, verdict, false, "", world->begun, world->now);
}

/* A turn of a sender with a single call. */
static void
send_one(World *world)
{
	im_breaker_ask(&world->breaker, world->asked_at, world->now);
	if (world->flying > 0 || (world->paused && world->ordered == 0) ||
		im_breaker_allows(&world->breaker, world->flying, world->now) <= 0)
		return;
	world->flying = 1;
	world->begun = world->now;
	world->meets = world->condition;
	world->sent_paused += world->paused;
	if (world->ordered > 0)
		world->ordered--;
}

static void
step(World *world)
{
	world->now += 1 + below(3) * below((int) (20 * SEC));
	switch (below(8))
	{
		case 0:
			world->paused = true;
			break;
		case 1:
			world->paused = false;
			im_breaker_reset(&world->breaker, world->now);
			world->changed_at = world->now;
			break;
		case 2:
			world->ordered = 1 + below(5);
			world->let_through += (int) world->ordered;
			world->asked_at = world->now;
			break;
		case 3:					/* options or key */
			im_breaker_reset(&world->breaker, world->now);
			world->changed_at = world->now;
			break;
		case 4:
			world->condition = below(CONDITIONS);
			break;
		case 5:
			world->ordered = 0;	/* the session dies */
			break;
		case 6:
			answer(world);
			break;
		default:
			send_one(world);
	}
}

static void
test_lives(void)
{
	for (int life = 0; life < LIVES; life++)
	{
		World		world = {.now = 1000 * SEC};

		seed = (uint64_t) life * UINT64_C(0x9E3779B97F4A7C15) + 1;
		im_breaker_init(&world.breaker);
		for (int i = 0; i < STEPS; i++)
		{
			const char *what;

			step(&world);
			what = wrong(&world);
			if (what != NULL)
			{
				ok(false, "life %d, step %d: %s", life, i, what);
				return;
			}
		}
	}
	ok(true, "%d lives", LIVES);
}

/* The breaker is closed, and the worker has not said so yet. */
static void
test_said(void)
{
	ImBreaker	breaker;
	ImReport	said = {.state = IM_STATE_STOPPED, .beneath = IM_STATE_STOPPED, .reason = "old"};
	ImFacts		facts = {.preloaded = true, .configured = true, .breaker = &breaker, .busy = true, .said = &said};
	ImReport	report;

	im_breaker_init(&breaker);
	im_state_of(&facts, 0, &report);
	is_int(report.beneath, IM_STATE_RUNNING, "what a worker said of a stop that is over");
	is_str(report.reason, "", "nor its reason");
	said.state = said.beneath = IM_STATE_QUOTA;
	im_state_of(&facts, 0, &report);
	is_int(report.state, IM_STATE_QUOTA, "a day's budget only the worker knows");
	is_str(report.reason, "old", "with its reason");
}

/* Each state has a name, and what is stuck has a cure. */
static void
test_table(void)
{
	for (int i = IM_STATE_IDLE; i <= IM_STATE_NOT_PRELOADED; i++)
	{
		ImReport	report = {.state = (ImState) i, .beneath = (ImState) i};

		ok(im_state_name((ImState) i) != NULL, "state %d has a name", i);
		ok(!im_state_stuck((ImState) i) || im_state_cure(&report) != NULL, "%s: a cure", im_state_name((ImState) i));
		ok(!im_state_stuck((ImState) i) || im_state_held_up((ImState) i), "%s: stuck is held up", im_state_name((ImState) i));
	}
}

/* Paused and stopped: no worker stays, and none is woken for a probe that nobody ordered. */
static void
test_alarm(void)
{
	ImBreaker	breaker;
	ImPlan		plan = {0};
	ImPlanFacts facts = {.may_send = true,.breaker = &breaker,.beneath = IM_STATE_STOPPED,.max_in_flight = 1};

	im_breaker_init(&breaker);
	im_breaker_note(&breaker, &answers[1], false, "", 1, 1);
	/* Longer than the longest time between two probes. */
	for (int at = 5; at < 1200; at += 5)
	{
		facts.now = at * SEC;
		facts.paused = true;
		facts.ordered = 0;
		if (!ok(im_plan_alarm(&plan, &facts) == 0, "paused and stopped for %d s: no alarm", at))
			break;
		ok(im_plan_leaves(&plan, &facts), "and the worker leaves");
		facts.ordered = 1;
		ok(im_plan_alarm(&plan, &facts) > facts.now, "with an order there is one");
		facts.paused = false;
		facts.ordered = 0;
		ok(im_plan_alarm(&plan, &facts) > facts.now, "and without the pause");
	}
}

int
main(void)
{
	test_table();
	test_said();
	test_lives();
	test_alarm();
	return tap_done();
}
