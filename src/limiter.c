/*
 * limiter.c
 *	  How fast we may call: one evenly paced stream of calls.
 *
 * Grants lie on a grid of one interval.  A caller that comes late moves the
 * grid only by what it is later than IM_LIMITER_CATCH_UP of a second: so
 * neither coarse timers nor commits cost throughput.  Only who was told to wait
 * can be late: time in which nobody asked earns no burst.  What may be caught
 * up on is bounded twice: by double the pace, and by the number of grants in
 * the last second, which is counted.
 *
 * Must not know: shared memory, locks, who calls, any clock of its own.
 */
#include <math.h>
#include <string.h>

#include "limiter.h"

#define US_PER_SEC	1000000.0
#define CUT			0.7			/* of the rate, per slow-down */
#define GROWTH		0.01		/* of the limit, per second */
#define AT_ONCE		10000.0		/* us: what coarse timers may bunch */
#define UNASKED		1500.0		/* us: what nobody was told to wait for may be late */
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
	double		late = IM_LIMITER_CATCH_UP * US_PER_SEC;

	memset(limiter, 0, sizeof(*limiter));
	limiter->limit = limit;
	limiter->rate = limit;
	limiter->grown_at = now;
	limiter->next = (double) now + interval(limiter) + late;
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
	limiter->quick = fmin(limiter->quick, limiter->next);
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

/* Forgets the grants of cells that are more than a second old. */
static void
advance(ImLimiter *limiter, int64_t now)
{
	int64_t		cell = now / IM_LIMITER_CELL_US;

	if (cell - limiter->cell >= IM_LIMITER_CELLS || cell < limiter->cell)
	{
		memset(limiter->cells, 0, sizeof(limiter->cells));
		limiter->recent = 0;
		limiter->cell = cell;
	}
	while (limiter->cell < cell)
	{
		int32_t    *oldest = &limiter->cells[++limiter->cell % IM_LIMITER_CELLS];

		limiter->recent -= *oldest;
		*oldest = 0;
	}
}

/* Earliest time of the next grant, now or later. */
static double
earliest(const ImLimiter *limiter, int64_t now)
{
	double		when = fmax(limiter->next, limiter->quick);
	int64_t		next_cell = (now / IM_LIMITER_CELL_US + 1) * IM_LIMITER_CELL_US;

	/* It may be cells until there is room; who asks is told the next one. */
	if ((double) limiter->recent >= ceil(limiter->limit))
		when = fmax(when, (double) next_cell);
	return when;
}

/* Notes one grant. */
static void
grant(ImLimiter *limiter, bool worker, int64_t now)
{
	double		step = interval(limiter);
	double		late = limiter->wanted ? IM_LIMITER_CATCH_UP * US_PER_SEC : UNASKED;

	limiter->next = fmax(limiter->next, (double) now - late) + step;
	limiter->quick = fmax(limiter->quick, (double) now - fmin(late, AT_ONCE)) + step / 2;
	if (limiter->next > (double) now)
		limiter->wanted = false;	/* caught up with */
	limiter->cells[limiter->cell % IM_LIMITER_CELLS]++;
	limiter->recent++;
	limiter->worker_last = worker;
	if (!worker)
		limiter->session_until = 0;
}

/* See limiter.h. */
int64_t
im_limiter_take(ImLimiter *limiter, bool worker, int64_t now)
{
	double		step;
	double		when;

	grow(limiter, now);
	advance(limiter, now);
	step = interval(limiter);
	when = earliest(limiter, now);
	if ((double) now < when)
	{
		limiter->wanted = true;
		if (!worker)
			limiter->session_until = now + wait_until(when + step, now) + SESSION_LATE;
		return wait_until(when, now);
	}

	/*
	 * A session's single call must not starve behind a busy worker, even if
	 * the session wakes later.
	 */
	if (worker && limiter->worker_last && now < limiter->session_until &&
		(double) now < when + SESSION_LATE)
		return (int64_t) (step < 1000.0 ? step : 1000.0) + 1;

	grant(limiter, worker, now);
	return 0;
}

/* See limiter.h. */
void
im_limiter_want(ImLimiter *limiter)
{
	limiter->wanted = true;
}

/* See limiter.h. */
void
im_limiter_late(ImLimiter *limiter, int64_t granted, int64_t now)
{
	int64_t		cell = granted / IM_LIMITER_CELL_US;
	int32_t    *then = &limiter->cells[cell % IM_LIMITER_CELLS];

	advance(limiter, now);
	if (cell > limiter->cell - IM_LIMITER_CELLS && cell <= limiter->cell && *then > 0)
	{
		(*then)--;
		limiter->recent--;
	}
	limiter->cells[limiter->cell % IM_LIMITER_CELLS]++;
	limiter->recent++;
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
