/*
 * test_limiter.c
 *	  The pace: never above the limit, and hardly below it.
 */
#include <math.h>
#include <string.h>

#include "limiter.h"
#include "tap.h"

#define SEC			INT64_C(1000000)
#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define MAX_GRANTS	400000

static int64_t grants[MAX_GRANTS];
static int	ngrants;
static uint64_t seed;

/* A number from 0 to n - 1. */
static int64_t
below(int64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return n <= 0 ? 0 : (int64_t) ((seed >> 33) % (uint64_t) n);
}

/* The most grants in any sliding second, from grant number first on. */
static int
most_in_a_second(int first)
{
	int			most = 0;

	for (int i = first, j = first; i < ngrants; i++)
	{
		while (grants[i] - grants[j] >= SEC)
			j++;
		if (i - j + 1 > most)
			most = i - j + 1;
	}
	return most;
}

/* A busy worker whose timers are up to late us late, for so many seconds. */
static int64_t
run(ImLimiter *limiter, int64_t now, int seconds, int64_t late)
{
	int64_t		end = now + seconds * SEC;

	while (now < end && ngrants < MAX_GRANTS)
	{
		int64_t		wait = im_limiter_take(limiter, true, now);

		if (wait == 0)
			grants[ngrants++] = now;
		else
			now += wait + below(late + 1);
	}
	return now;
}

/* Many limits, many kinds of lateness: never above, and with good timers near. */
static void
test_pace(void)
{
	static const double limits[] = {0.1, 0.5, 1, 2, 2.5, 3, 7, 10, 50, 99, 100, 200, 500, 1000, 5000};
	static const int64_t lates[] = {0, 100, 1000, 3000, 10000, 100000, 1500000};

	for (int i = 0; i < COUNT(limits); i++)
		for (int j = 0; j < COUNT(lates); j++)
		{
			int			seconds = limits[i] < 5 ? 1000 : 40;
			ImLimiter	limiter;
			double		got;
			double		least;

			ngrants = 0;
			im_limiter_init(&limiter, limits[i], SEC);
			run(&limiter, SEC, seconds, lates[j]);
			ok(most_in_a_second(0) <= (int) ceil(limits[i]),
			   "limit %g, up to %d us late: never more", limits[i], (int) lates[j]);
			got = ngrants / (limits[i] * seconds);
			/* The first grant of all comes late by what may be caught up on. */
			least = (lates[j] <= 3000 ? 0.996 : 0.994) - IM_LIMITER_CATCH_UP / seconds - 1.0 / (limits[i] * seconds);
			if (lates[j] <= 10000 && !ok(got >= least, "limit %g, up to %d us late: at least %.4f of it",
										 limits[i], (int) lates[j], least))
				diag("got %.4f of it", got);
		}
}

/* Idle for long, then all at once: no burst was saved up. */
static void
test_idle(void)
{
	ImLimiter	limiter;
	int64_t		now = SEC;

	ngrants = 0;
	im_limiter_init(&limiter, 100, now);
	for (int i = 0; i < 50; i++)
	{
		now = run(&limiter, now, 1, 500);
		now += below(20 * SEC);
	}
	ok(most_in_a_second(0) <= 100, "idleness earns no burst");

	/* Nobody was told to wait, then somebody was. */
	im_limiter_init(&limiter, 100, now);
	now += 10 * SEC;
	is_int(im_limiter_take(&limiter, true, now), 0, "a call after idleness");
	ok(im_limiter_take(&limiter, true, now) > 5000, "and no second one at once");
	now += 30000;
	is_int(im_limiter_take(&limiter, true, now), 0, "who is told to wait, and is late by more than one");
	is_int(im_limiter_take(&limiter, true, now), 0, "catches up on it");

	/* As does who had no connection free. */
	im_limiter_init(&limiter, 100, now);
	now += 10 * SEC;
	is_int(im_limiter_take(&limiter, true, now), 0, "a call, and no connection for a second one");
	im_limiter_want(&limiter);
	now += 30000;
	is_int(im_limiter_take(&limiter, true, now), 0, "then there is one");
	is_int(im_limiter_take(&limiter, true, now), 0, "and it catches up");
}

/* The first grant is one interval after the start. */
static void
test_starts_empty(void)
{
	ImLimiter	limiter;

	im_limiter_init(&limiter, 10, 7 * SEC);
	ok(im_limiter_take(&limiter, true, 7 * SEC) > 0, "nothing at once");
	ok(im_limiter_take(&limiter, true, 7 * SEC + 99999) > 0, "nor just before");
	is_int(im_limiter_take(&limiter, true, 7 * SEC + 150400), 0, "but after one interval, and what may be caught up on");

	/* However often it is restarted. */
	ngrants = 0;
	seed = 3;
	for (int64_t now = SEC; now < 200 * SEC;)
	{
		im_limiter_init(&limiter, 10, now);
		now = run(&limiter, now, 1, 1000) + below(300000);
	}
	ok(most_in_a_second(0) <= 10, "restarts do not raise the rate");
}

/* So many refusals out of so many calls in the second from now on. */
static int64_t
refusing_second(ImLimiter *limiter, int64_t now, int calls, int refused)
{
	int64_t		at = now;

	for (int i = 0; i < calls; i++)
	{
		at = at > now + i * SEC / calls ? at : now + i * SEC / calls;
		while (im_limiter_take(limiter, true, at) != 0)
			at += 100;
		if (i % (calls / refused) == 0)
			im_limiter_slow(limiter, at, at);
	}
	return at > now + SEC ? at : now + SEC;
}

/* In proportion to what was refused, and soon up again. */
static void
test_slow_down(void)
{
	ImLimiter	limiter;
	int64_t		now = 100 * SEC;

	im_limiter_init(&limiter, 100, now);
	now += SEC;
	im_limiter_slow(&limiter, now, now);
	ok(limiter.rate >= 98 && limiter.rate <= 99, "a lone refusal costs a per cent or two");
	ok(im_limiter_rate(&limiter, now) <= 99, "and is told");
	ok(im_limiter_rate(&limiter, now + 60 * SEC) == 100, "but not when it is over, though nobody asked for a grant since");
	ok(limiter.rate <= 99, "telling changes nothing");
	(void) im_limiter_take(&limiter, true, now + 5 * SEC);
	ok(limiter.rate > 99.3, "and is forgotten within seconds");
	(void) im_limiter_take(&limiter, true, now + 60 * SEC);
	ok(limiter.rate == 100, "wholly in the end, and never above the limit");

	im_limiter_init(&limiter, 100, now);
	now = refusing_second(&limiter, now + SEC, 100, 50) + SEC / 10;
	(void) im_limiter_take(&limiter, true, now);
	ok(limiter.rate > 64 && limiter.rate < 70, "a second in which half was refused costs a third (%.1f)", limiter.rate);
	(void) im_limiter_take(&limiter, true, now + 5 * SEC);
	ok(limiter.rate < 70, "which is remembered and approached slowly (%.1f)", limiter.rate);
	(void) im_limiter_take(&limiter, true, now + 60 * SEC);
	ok(limiter.rate == 100, "for a while");

	im_limiter_init(&limiter, 100, now);
	for (int i = 0; i < 60; i++)
		now = refusing_second(&limiter, now, 20, 20);
	ok(limiter.rate >= 1 && limiter.rate < 3, "all refused for long: down to almost nothing (%.1f)", limiter.rate);

	im_limiter_init(&limiter, 3, now);
	for (int i = 1; i < 400; i++)
		im_limiter_slow(&limiter, now + i * SEC, now + i * SEC);
	ok(limiter.rate >= 1 && limiter.rate < 1.5, "not below one a second");
	im_limiter_init(&limiter, 0.5, now);
	im_limiter_slow(&limiter, now + SEC, now + SEC);
	ok(limiter.rate == 0.5, "nor below a limit that is lower");

	ngrants = 0;
	im_limiter_init(&limiter, 100, now);
	now = run(&limiter, now, 5, 500);
	im_limiter_slow(&limiter, now, now);
	ngrants = 0;
	run(&limiter, now, 1, 500);
	ok(ngrants <= 99, "the slow-down is effective at once");
}

/* ----------------------------------------------------------------------------
 * Services that count, at the end of a network with some jitter
 */

typedef enum Kind
{
	FIXED_WINDOWS,				/* of a second */
	SLIDING_WINDOW,				/* the last second before each call */
	TOKEN_BUCKET				/* of ten tokens */
} Kind;

#define FLYING_MAX		4096
#define TOKENS			10.0

typedef struct Service
{
	Kind		kind;
	double		limit;
	double		noise;			/* share of the calls that are refused for nothing */
	double		jitter;			/* us, of the way there */
	int64_t		window;			/* number of the present window ... */
	int			count;			/* ... and what it let through */
	int64_t		taken[1024];	/* times of the last calls that were let through */
	uint64_t	ntaken;
	double		tokens;
	int64_t		filled_at;
} Service;

/* What happened in a while. */
typedef struct Tally
{
	double		passed;			/* calls a second that were let through */
	double		refused;		/* share of all calls */
} Tally;

/* A call on its way: to the service, and then back. */
typedef struct Flying
{
	int64_t		granted;
	int64_t		arrives;
	int64_t		answered;		/* 0: not yet there */
	bool		refused;
} Flying;

/* The world that a limiter lives in. */
typedef struct World
{
	ImLimiter	limiter;
	Service		service;
	int64_t		now;
	int64_t		ask_at;
	int64_t		phase;			/* of the fixed windows */
	int64_t		far;			/* us, of the way there and back, beside the jitter */
	Flying		flying[FLYING_MAX];
	int			nflying;
	int			passed;
	int			refused;
} World;

static World world;

/* Whether the service takes a call that arrives now. */
static bool
admits(Service *service, int64_t now)
{
	int			limit = (int) service->limit;
	int64_t		window = (now + world.phase) / SEC;

	if ((double) below(1000000) < service->noise * 1000000)
		return false;
	switch (service->kind)
	{
		case FIXED_WINDOWS:
			if (window != service->window)
				service->count = 0;
			service->window = window;
			return service->count < limit && ++service->count > 0;
		case SLIDING_WINDOW:
			if (service->ntaken >= (uint64_t) limit &&
				now - service->taken[(service->ntaken - (uint64_t) limit) % COUNT(service->taken)] < SEC)
				return false;
			service->taken[service->ntaken++ % COUNT(service->taken)] = now;
			return true;
		default:
			service->tokens = fmin(TOKENS, service->tokens + (double) (now - service->filled_at) * service->limit / SEC);
			service->filled_at = now;
			if (service->tokens < 1)
				return false;
			service->tokens--;
			return true;
	}
}

/* Calls that arrive or are answered by now, in the order of their times. */
static void
move_calls(void)
{
	for (;;)
	{
		Flying	   *next = NULL;
		int64_t		at = world.now + 1;

		for (int i = 0; i < world.nflying; i++)
		{
			Flying	   *call = &world.flying[i];
			int64_t		due = call->answered ? call->answered : call->arrives;

			if (due >= at)
				continue;
			at = due;
			next = call;
		}
		if (next == NULL)
			return;
		if (next->answered == 0)
		{
			next->refused = !admits(&world.service, next->arrives);
			next->answered = next->arrives + world.far * 2 / 3 + 10000 + below(10000);
			continue;
		}
		if (next->refused)
			im_limiter_slow(&world.limiter, next->granted, next->answered);
		world.refused += next->refused;
		world.passed += !next->refused;
		*next = world.flying[--world.nflying];
	}
}

/* A worker with more than enough to do, for so long. */
static Tally
busy(double seconds)
{
	int64_t		end = world.now + (int64_t) (seconds * SEC);
	Tally		tally;

	world.passed = world.refused = 0;
	for (; world.now < end; world.now += 250)
	{
		int64_t		wait;

		move_calls();
		if (world.now < world.ask_at)
			continue;
		wait = im_limiter_take(&world.limiter, true, world.now);
		world.ask_at = world.now + wait;
		if (wait != 0)
			continue;
		grants[ngrants++] = world.now;
		if (world.nflying < FLYING_MAX)
			world.flying[world.nflying++] = (Flying) {
				.granted = world.now,
				.arrives = world.now + world.far / 3 + 5000 + below((int64_t) world.service.jitter)
			};
	}
	tally.passed = world.passed / seconds;
	tally.refused = (double) world.refused / (world.passed + world.refused);
	return tally;
}

/* A new world: a limiter of 200 calls a second, and such a service, so far away. */
static int64_t far_away;

static void
begin(Kind kind, double limit, double noise, int number)
{
	seed = (uint64_t) number;
	memset(&world, 0, sizeof(world));
	world.service = (Service) {.kind = kind, .limit = limit, .noise = noise, .jitter = 10000, .tokens = TOKENS};
	world.now = 100 * SEC;
	world.phase = below(SEC);
	world.far = far_away;
	ngrants = 0;
	im_limiter_init(&world.limiter, 200, world.now);
}

/* The service counts as we do, and then refuses one per cent for nothing, too. */
static void
test_same_limit(Kind kind, const char *name, int number)
{
	Tally		all;

	begin(kind, 200, 0, number);
	all = busy(60);
	ok(all.passed >= 195 && all.refused <= 0.005, "%s, %d: %.1f a second, %.2f %% refused",
	   name, number, all.passed, all.refused * 100);
	ok(most_in_a_second(0) <= 200, "and never above the limit");

	begin(kind, 200, 0.01, number);
	all = busy(60);
	ok(all.passed >= 180, "%s, %d: with 1 %% for nothing, %.1f a second", name, number, all.passed);
	ok(most_in_a_second(0) <= 200, "and never above the limit");
}

/* It allows less than we are told. */
static void
test_lower_limit(Kind kind, const char *name, int number)
{
	static const struct
	{
		double		limit;
		double		noise;
		double		least;		/* calls a second that get through */
		double		most;		/* share that is refused */
	}			cases[] = {{100, 0, 90, 0.02}, {100, 0.01, 60, 0.03}, {20, 0, 16, 0.10}};

	for (int i = 0; i < COUNT(cases); i++)
	{
		Tally		all;

		begin(kind, cases[i].limit, cases[i].noise, number);
		(void) busy(30);
		all = busy(90);
		ok(all.passed >= cases[i].least && all.refused <= cases[i].most,
		   "%s, %d: with a limit of %g and %g for nothing, %.1f a second, %.2f %% refused", name, number,
		   cases[i].limit, cases[i].noise, all.passed, all.refused * 100);
	}
}

/* Its limit is halved under way, and later what it was. */
static void
test_halving(Kind kind, const char *name, int number)
{
	Tally		all;
	int			within;

	begin(kind, 200, 0, number);
	(void) busy(20 + (double) below(1000) / 1000);
	world.service.limit = 100;
	/* What is far away is heard of later, and each second's count waits for it. */
	within = far_away == 0 ? 3 : 6;
	(void) busy(within);
	all = busy(1);
	ok(all.passed / (1 - all.refused) <= 110 && all.passed >= 80,
	   "%s, %d: a halving is followed within %d s (%.0f, %.0f %% refused)",
	   name, number, within, all.passed, all.refused * 100);
	(void) busy(20);
	all = busy(10);
	ok(all.passed >= 90 && all.refused <= 0.04, "its limit is found (%.1f, %.2f %%)",
	   all.passed, all.refused * 100);
	world.service.limit = 200;
	(void) busy(45);
	all = busy(10);
	ok(all.passed >= 190 && all.refused <= 0.01, "and so is its end (%.1f, %.2f %%)",
	   all.passed, all.refused * 100);
}

/* All of that, with as many kinds of luck. */
static void
test_services(void)
{
	static const char *const names[] = {"fixed windows", "a sliding window", "a token bucket"};

	for (Kind kind = FIXED_WINDOWS; kind <= TOKEN_BUCKET; kind++)
		for (int number = 1; number <= 20; number++)
		{
			/* Another continent, or a busy service: answers come late. */
			far_away = number % 4 == 0 ? 600000 : 0;
			test_same_limit(kind, names[kind], number);
			test_lower_limit(kind, names[kind], number);
			test_halving(kind, names[kind], number);
		}
	far_away = 0;
}

/* A session's calls beside a worker that takes all it can. */
static void
contend(double limit, int64_t worker_late, int64_t session_late)
{
	ImLimiter	limiter;
	int64_t		worker_at = SEC;
	int64_t		session_at = SEC;
	int64_t		asked = SEC;
	int			between = 0;	/* grants of the worker since the session asked */
	int			worst = 0;
	int			got = 0;

	ngrants = 0;
	im_limiter_init(&limiter, limit, SEC);
	while (got < 200 && ngrants < 20000)
	{
		bool		worker = worker_at <= session_at;
		int64_t		now = worker ? worker_at : session_at;
		int64_t		wait = im_limiter_take(&limiter, worker, now);

		if (wait == 0)
			grants[ngrants++] = now;
		if (worker)
		{
			worker_at = now + (wait ? wait + below(worker_late + 1) : 0);
			between += wait == 0 && asked <= now;
		}
		else if (wait > 0)
			session_at = now + wait + below(session_late + 1);
		else
		{
			got++;
			if (between > worst)
				worst = between;
			between = 0;
			asked = session_at = now + below((int64_t) (5 * SEC / limit));
		}
	}
	if (!ok(got == 200 && worst <= 3, "limit %g: sessions up to %d us late are not starved",
			limit, (int) session_late))
		diag("%d calls, up to %d of the worker in between", got, worst);
	ok(most_in_a_second(0) <= (int) ceil(limit), "limit %g: together not above it", limit);
}

/*
 * The first calls make connections, and leave late by up to so much (less than
 * a second): the service does not see more than the limit for that.
 */
static void
test_late(double limit, int calls, int64_t late)
{
	ImLimiter	limiter;
	int64_t		due[100] = {0}; /* when a late call leaves ... */
	int64_t		granted[100];	/* ... and when it was granted */
	int			begun = 0;

	ngrants = 0;
	im_limiter_init(&limiter, limit, SEC);
	for (int64_t now = SEC; now < 5 * SEC; now += 500)
	{
		for (int i = 0; i < begun; i++)
			if (due[i] != 0 && due[i] <= now)
			{
				im_limiter_late(&limiter, granted[i], now);
				grants[ngrants++] = now;
				due[i] = 0;
			}
		if (im_limiter_take(&limiter, true, now) != 0)
			continue;
		if (begun == calls)
			grants[ngrants++] = now;
		else
		{
			granted[begun] = now;
			due[begun++] = now + late / 2 + below(late / 2);
		}
	}
	ok(most_in_a_second(0) <= (int) limit, "limit %g: %d calls up to %d us late are counted when they leave",
	   limit, calls, (int) late);
	ok(ngrants >= 0.99 * (4 * limit - calls), "and cost no more than themselves");
}

/* Another limit at run time. */
static void
test_changes(void)
{
	ImLimiter	limiter;
	int64_t		now = SEC;

	ngrants = 0;
	im_limiter_init(&limiter, 0.01, now);
	im_limiter_set(&limiter, 100, now);
	ok(im_limiter_take(&limiter, true, now) <= 11000, "a long wait ends when the limit is raised");
	im_limiter_set(&limiter, 0.01, now);
	now += 200 * SEC;
	is_int(im_limiter_take(&limiter, true, now), 0, "a call at a very low limit");
	im_limiter_set(&limiter, 100, now);
	ok(im_limiter_take(&limiter, true, now) <= 11000, "and after it no long wait either");
	now = run(&limiter, now, 5, 500);
	im_limiter_set(&limiter, 10, now);
	ngrants = 0;
	run(&limiter, now, 20, 500);
	ok(most_in_a_second(0) <= 10, "a lower limit counts at once");

	im_limiter_init(&limiter, 100, now);
	im_limiter_slow(&limiter, now, now);
	im_limiter_set(&limiter, 200, now);
	ok(fabs(limiter.rate - 198) < 1e-9, "a slow-down is kept in proportion");
	im_limiter_set(&limiter, 200, now);
	ok(fabs(limiter.rate - 198) < 1e-9, "the same limit changes nothing");
	im_limiter_set(&limiter, 1, now);
	ok(limiter.rate == 1, "nor below one a second");
}

/* A host that has been up for long. */
static void
test_large_clock(void)
{
	static const int64_t starts[] = {INT64_C(1) << 40, INT64_C(1) << 50, INT64_C(1) << 52};

	for (int i = 0; i < COUNT(starts); i++)
	{
		ImLimiter	limiter;

		ngrants = 0;
		im_limiter_init(&limiter, 200, starts[i]);
		run(&limiter, starts[i], 10, 1000);
		ok(most_in_a_second(0) <= 200 && ngrants >= 1979, "clock at 2^%d us", i == 0 ? 40 : 48 + 2 * i);
		is_int(im_limiter_take(&limiter, true, starts[i] + (INT64_C(1) << 50)), 0,
			   "and 35 years later");
		ok(im_limiter_take(&limiter, false, starts[i] + (INT64_C(1) << 50)) <= SEC,
		   "without a debt or a treasure");
	}
}

int
main(void)
{
	seed = 1;
	test_pace();
	test_idle();
	test_starts_empty();
	test_slow_down();
	test_services();
	contend(2, 100, 100);
	contend(10, 0, 2000);
	contend(10, 1000, 4000);
	contend(100, 500, 3000);
	contend(200, 1000, 1000);
	contend(1000, 1000, 1000);
	test_late(50, 3, 50000);
	test_late(200, 12, 150000);
	test_late(200, 64, 900000);
	test_late(1000, 100, 30000);
	test_changes();
	test_large_clock();
	return tap_done();
}
