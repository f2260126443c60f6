/*
 * limiter.c
 *	  How fast we may call: one evenly paced stream of calls.
 *
 * Grants lie on a grid of one interval.  A caller that comes late, because a
 * timer is coarse or the machine is busy, moves the grid only by what it is
 * later than IM_LIMITER_LAG of a second: so timer granularity costs no
 * throughput, and idleness earns no burst.  Counting calls per window instead
 * would allow twice the limit around a window's edge.
 *
 * Must not know: shared memory, locks, who calls, any clock of its own.
 */
#include "limiter.h"

#define US_PER_SEC	1000000.0
#define CUT			0.7			/* of the rate, per slow-down */
#define GROWTH		0.01		/* of the limit, per second */
#define SESSION_LATE 5000		/* us that a waiting session may wake late */

/* Lowest rate that a slow-down leaves. */
static double
lowest(const ImLimiter *limiter)
{
	return limiter->limit < 1.0 ? limiter->limit : 1.0;
}

/* Microseconds between two grants at the current rate. */
static double
interval(const ImLimiter *limiter)
{
	return US_PER_SEC / (limiter->rate * IM_LIMITER_PACE);
}

/* See limiter.h. */
void
im_limiter_init(ImLimiter *limiter, double limit, int64_t now)
{
	limiter->limit = limit;
	limiter->rate = limit;
	limiter->cut_at = 0;
	limiter->grown_at = now;
	limiter->session_until = 0;
	limiter->worker_last = false;
	limiter->next = (double) now + interval(limiter);
}

/* See limiter.h. */
void
im_limiter_set(ImLimiter *limiter, double limit, int64_t now)
{
	double		old = interval(limiter);

	if (limit == limiter->limit)
		return;
	limiter->rate *= limit / limiter->limit;
	limiter->limit = limit;
	if (limiter->rate < lowest(limiter))
		limiter->rate = lowest(limiter);

	/* A wait that began at a lower rate must not last that long. */
	if (limiter->next > (double) now + interval(limiter) && interval(limiter) < old)
		limiter->next = (double) now + interval(limiter);
}

/* Microseconds to wait, at most an hour: the caller asks again anyway. */
static int64_t
wait_until(double next, int64_t now)
{
	double		wait = next - (double) now;

	return wait < 3600 * US_PER_SEC ? (int64_t) wait + 1 : (int64_t) (3600 * US_PER_SEC);
}

/* Lets the rate recover for the time that has passed. */
static void
grow(ImLimiter *limiter, int64_t now)
{
	double		passed = (double) (now - limiter->grown_at) / US_PER_SEC;

	limiter->grown_at = now;
	if (limiter->rate >= limiter->limit || passed <= 0)
		return;
	limiter->rate += passed * GROWTH * limiter->limit;
	if (limiter->rate > limiter->limit)
		limiter->rate = limiter->limit;
}

/* See limiter.h. */
int64_t
im_limiter_take(ImLimiter *limiter, bool worker, int64_t now)
{
	double		lag = IM_LIMITER_LAG * US_PER_SEC;
	double		step;

	grow(limiter, now);
	step = interval(limiter);
	if ((double) now < limiter->next)
	{
		if (!worker)
			limiter->session_until = now + wait_until(limiter->next + step, now) + SESSION_LATE;
		return wait_until(limiter->next, now);
	}

	/*
	 * A session's single call must not starve behind a busy worker, even if
	 * the session wakes later.
	 */
	if (worker && limiter->worker_last && now < limiter->session_until &&
		(double) now < limiter->next + SESSION_LATE)
		return (int64_t) (step < 1000.0 ? step : 1000.0) + 1;

	if ((double) now - limiter->next > lag)
		limiter->next = (double) now - lag;
	limiter->next += step;
	limiter->worker_last = worker;
	if (!worker)
		limiter->session_until = 0;
	return 0;
}

/* See limiter.h. */
void
im_limiter_slow(ImLimiter *limiter, int64_t now)
{
	grow(limiter, now);
	if (limiter->cut_at != 0 && now - limiter->cut_at < (int64_t) US_PER_SEC)
		return;
	limiter->cut_at = now;
	limiter->rate *= CUT;
	if (limiter->rate < lowest(limiter))
		limiter->rate = lowest(limiter);
	if (limiter->next < (double) now + interval(limiter))
		limiter->next = (double) now + interval(limiter);
}
