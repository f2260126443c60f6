/*
 * test_state.c
 *	  What the state says: a person who pauses, resumes, drains, changes options
 *	  and keys, before a service that refuses, is silent or out of quota, on a
 *	  server whose processes die.
 *
 * 200,000 random lives of one breaker, one pause, one key file and one worker,
 * which the launcher starts.  After each step the state that the shipping code
 * shows must be true, and its cure safe; no worker comes too soon or for nothing,
 * and a drain sends exactly what it was asked for.
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
	int			sent;			/* calls begun ... */
	int			sent_paused;	/* ... under a pause ... */
	int			let_through;	/* ... and how many may have been */
	bool		readable;		/* the key file can be used ... */
	bool		configured;		/* ... as the worker saw it last */
	bool		worker;			/* there is one */
	bool		ring;
	bool		urgent;
	int64_t		wake_at;
	bool		owed;			/* ... to an order, whose session may be gone by then */
	int64_t		polled_at;
	int64_t		started_at;		/* of the last worker, as far as the launcher knows */
	ImReport	said;			/* what is published */
	ImPlan		plan;			/* of the worker */
	const char *wrong;			/* what was seen on the way, or NULL */
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

/* What is shown. */
static void
ask(const World *world, ImReport *report)
{
	ImFacts		facts = {.preloaded = true, .configured = world->configured, .trouble = "the key file",
		.breaker = &world->breaker, .paused = world->paused, .pause_reason = "paused by p",
	.ordered = world->ordered, .busy = true};

	im_state_of(&facts, world->now, report);
}

static const char *
wrong(World *world)
{
	ImReport	report;
	const char *cure;

	ask(world, &report);
	cure = im_state_cure(&report);
	if (world->wrong != NULL)
		return world->wrong;
	if (world->paused != (report.state == IM_STATE_PAUSED))
		return "the pause is not shown, or one that is not";
	if ((report.beneath == IM_STATE_NOT_CONFIGURED) != !world->configured)
		return "a key that cannot be used is not shown, or one that can";
	if (world->configured && report.beneath != im_state_of_breaker(world->breaker.state))
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

/* Somebody rings for the worker, or for the launcher. */
static void
ring(World *world, bool urgent)
{
	world->ring = true;
	world->urgent = world->urgent || urgent;
}

/* Options or key are others now. */
static void
changed(World *world)
{
	im_breaker_reset(&world->breaker, world->now);
	world->changed_at = world->now;
	ring(world, true);
}

/* What the worker's plan is told; there are always more groups to send. */
static ImPlanFacts
facts_of(const World *world)
{
	ImPlanFacts facts = {.now = world->now, .may_send = world->configured, .paused = world->paused,
		.ordered = world->ordered, .max_in_flight = 1, .nrows = world->flying, .in_flight = world->flying,
		.breaker = &world->breaker, .beneath = world->said.beneath, .ring = world->ring,
	.kinds[IM_GROUP] = {.makes_groups = true, .batch = 1, .rate = 200}};

	facts.kinds[IM_GROUP].open = facts.kinds[IM_GROUP].flying = facts.kinds[IM_GROUP].nrows = world->flying;
	return facts;
}

/* A call begins. */
static void
send_one(World *world)
{
	if (!world->configured)
		world->wrong = "a call without a key";
	world->flying = 1;
	world->begun = world->now;
	world->meets = world->condition;
	world->sent++;
	world->sent_paused += world->paused;
	if (world->ordered > 0)
		world->ordered--;
}

/* A turn of the worker, if there is one. */
static void
turn(World *world)
{
	ImPlanFacts facts;

	if (!world->worker)
		return;
	world->ring = world->urgent = false;
	im_breaker_ask(&world->breaker, world->asked_at, world->now);
	if (world->readable != world->configured)
	{
		world->configured = world->readable;
		im_breaker_reset(&world->breaker, world->now);
		world->changed_at = world->now;
	}
	world->plan.hungry[IM_GROUP] = true;
	facts = facts_of(world);
	if (im_plan_rows(&world->plan, &facts, IM_GROUP, im_plan_claims_allowed(&facts)) > 0)
		send_one(world);
	ask(world, &world->said);
	facts = facts_of(world);
	if (!im_plan_leaves(&world->plan, &facts))
		return;
	world->wake_at = im_plan_alarm(&world->plan, &facts);
	world->owed = world->ordered > 0;
	world->worker = false;
}

/* A look of the launcher. */
static void
launch(World *world)
{
	bool		loose[IM_KINDS] = {false};
	ImStart		start;

	if (world->worker)
		return;
	/* The file is looked at while the import is held up and nobody else looks. */
	if (im_state_held_up(world->said.state) && world->readable != world->configured)
		changed(world);
	start = (ImStart) {.now = world->now, .polled_at = world->polled_at, .wake_at = world->wake_at,
		.ring = world->ring, .urgent = world->urgent, .state = world->said.state};
	if (world->now < im_plan_start_from(world->started_at) || !im_plan_calls_worker(&start))
		return;
	if (world->started_at != 0 && world->now - world->started_at < 5 * SEC)
		world->wrong = "two workers within five seconds";
	/* A pause rings itself: who paused has been told when nobody rings any more. */
	if (world->paused && world->ordered == 0 && !world->owed && !(world->ring && world->urgent) &&
		world->now - world->polled_at < 600 * SEC)
		world->wrong = "a worker for nothing, under a pause";
	world->worker = true;
	world->started_at = world->polled_at = world->now;
	world->wake_at = 0;
	world->breaker.proven = false;
	im_plan_start(&world->plan, loose, false, world->now);
}

/* Nobody answers any more for what was under way. */
static void
die(World *world, bool server)
{
	world->flying = 0;
	world->worker = false;
	ring(world, false);
	if (!server)
		return;
	/* The pause is on disk; what is in shared memory is gone, and so are the sessions. */
	im_breaker_init(&world->breaker);
	world->ordered = 0;
	world->asked_at = 0;
	world->wake_at = world->started_at = 0;
	world->polled_at = world->now;
	memset(&world->said, 0, sizeof(world->said));
	world->urgent = true;		/* one look at every database */
}

/* An order is given. */
static void
drain(World *world, int rows)
{
	world->ordered = rows;
	world->let_through += rows;
	world->asked_at = world->now;
	ring(world, true);
}

/* Under a pause, with all that was wrong cured, a drain sends so many and comes to its end. */
static void
drains_exactly(World *world, int rows)
{
	int			sent;

	world->paused = true;
	world->condition = 0;
	if (!world->readable)
		changed(world);
	world->readable = true;
	world->now += SEC;
	answer(world);
	sent = world->sent;
	drain(world, rows);
	for (int second = 0; second < 30 && (world->ordered > 0 || world->flying > 0); second++)
	{
		world->now += SEC;
		launch(world);
		turn(world);
		answer(world);
	}
	if (world->ordered > 0 || world->flying > 0)
		world->wrong = "a drain does not come to its end";
	else if (world->sent - sent != rows)
		world->wrong = "a drain sent more or less than it was asked for";
}

static void
step(World *world)
{
	world->now += 1 + below(3) * below((int) (20 * SEC));
	switch (below(13))
	{
		case 0:
			world->paused = true;
			ring(world, true);
			break;
		case 1:
			world->paused = false;
			im_breaker_reset(&world->breaker, world->now);
			world->changed_at = world->now;
			ring(world, true);
			break;
		case 2:
			drain(world, 1 + below(5));
			break;
		case 3:
			changed(world);
			break;
		case 4:
			world->condition = below(CONDITIONS);
			break;
		case 5:
			world->ordered = 0; /* the session dies */
			break;
		case 6:
			answer(world);
			break;
		case 7:
			world->readable = !world->readable;
			break;
		case 8:
			die(world, below(3) == 0);
			break;
		case 9:
			ring(world, false); /* new rows */
			break;
		case 10:
			if (below(4) == 0)
				drains_exactly(world, 1 + below(5));
			break;
		default:
			break;
	}
	launch(world);
	turn(world);
}

static void
test_lives(void)
{
	for (int life = 0; life < LIVES; life++)
	{
		World		world = {.now = 1000 * SEC, .readable = true, .configured = true, .polled_at = 1000 * SEC};

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

/* Groups are refused for the quota, and rows of other kinds go on. */
static void
test_quota_beside(void)
{
	ImBreaker	breaker;
	ImFacts		facts = {.preloaded = true, .configured = true, .breaker = &breaker, .busy = true, .rate = 50, .rate_limit = 100};
	const ImVerdict refused = {.outcome = IM_OUT_QUOTA, .code = 10006, .answered = true, .http_status = 200};
	const ImVerdict done = {.outcome = IM_OUT_DONE, .answered = true, .http_status = 200};
	ImReport	report;

	im_breaker_init(&breaker);
	im_breaker_note(&breaker, &refused, false, "", SEC, SEC);
	im_breaker_note(&breaker, &done, false, "", SEC, SEC);
	im_state_of(&facts, 2 * SEC, &report);
	is_int(report.state, IM_STATE_RUNNING, "no new groups, but other rows: it runs");
	ok(strstr(report.reason, "10006") != NULL, "and says why it is slow");
	im_state_of(&facts, 90 * SEC, &report);
	ok(strstr(report.reason, "10006") == NULL, "no more when no group was refused for a minute");
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
	test_quota_beside();
	test_lives();
	test_alarm();
	return tap_done();
}
