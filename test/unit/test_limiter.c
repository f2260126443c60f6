/*
 * test_limiter.c
 *	  The pace: never above the limit, and hardly below it.
 */
#include <math.h>

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

/* Down to 0.7 at most once a second, and slowly up again. */
static void
test_slow_down(void)
{
	ImLimiter	limiter;
	int64_t		now = 100 * SEC;

	im_limiter_init(&limiter, 100, now);
	im_limiter_slow(&limiter, now);
	ok(fabs(limiter.rate - 70) < 1e-9, "x 0.7");
	im_limiter_slow(&limiter, now + SEC - 1);
	ok(limiter.rate > 70 && limiter.rate < 71.1, "not again within a second");
	im_limiter_slow(&limiter, now + SEC);
	ok(fabs(limiter.rate - 71 * 0.7) < 0.01, "again after a second");
	for (int i = 2; i < 60; i++)
		im_limiter_slow(&limiter, now + i * SEC);
	ok(limiter.rate >= 1 && limiter.rate < 3.4, "many times: to where growth holds it");
	now += 60 * SEC;
	(void) im_limiter_take(&limiter, true, now + 10 * SEC);
	ok(limiter.rate > 11 && limiter.rate < 15, "+ 1 %% of the limit a second");
	(void) im_limiter_take(&limiter, true, now + 200 * SEC);
	ok(limiter.rate == 100, "and never above the limit");

	im_limiter_init(&limiter, 3, now);
	for (int i = 1; i < 20; i++)
		im_limiter_slow(&limiter, now + i * SEC);
	ok(limiter.rate == 1, "not below one a second");
	im_limiter_init(&limiter, 0.5, now);
	im_limiter_slow(&limiter, now + SEC);
	ok(limiter.rate == 0.5, "nor below a limit that is lower");

	ngrants = 0;
	im_limiter_init(&limiter, 100, now);
	now = run(&limiter, now, 5, 500);
	im_limiter_slow(&limiter, now);
	ngrants = 0;
	run(&limiter, now, 1, 500);
	ok(ngrants <= 71 && ngrants >= 66, "the slow-down is effective at once");
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
	im_limiter_slow(&limiter, now);
	im_limiter_set(&limiter, 200, now);
	ok(fabs(limiter.rate - 140) < 1e-9, "a slow-down is kept in proportion");
	im_limiter_set(&limiter, 200, now);
	ok(fabs(limiter.rate - 140) < 1e-9, "the same limit changes nothing");
	im_limiter_set(&limiter, 1, now);
	ok(limiter.rate == 1, "not below one a second");
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
