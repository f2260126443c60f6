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
 * A refusal as too fast may be chance (answers that come bunched, a busy
 * service) or a limit that is lower than ours.  The first costs one per cent at
 * once; how many follow it within a second decides about more.  Chance goes on
 * at every rate, so growing back in proportion to what is missing finds its
 * balance close to the limit.  A limit shows by a share of refusals that chance
 * does not make: then the rate that goes through is remembered, and only a slow
 * creep leads beyond it.
 *
 * Must not know: shared memory, locks, who calls, any clock of its own.
 */
#include <math.h>
#include <string.h>

#include "limiter.h"

#define US_PER_SEC	1000000.0
#define FIRST_CUT	0.99		/* of the rate: what one refusal leaves */
#define COUNTED_US	1000000		/* refusals are counted so long after a first one ... */
#define COUNTED_MIN	20			/* ... and at least for so many calls ... */
#define COUNTED_MAX	20000000	/* ... but no longer than that, us */
#define MANY		0.04		/* a share of refusals that is no chance */
#define MORE		0.02		/* nor is this where they began before */
#define PULL		0.2			/* of what is missing to the limit, regained per second */
#define CREEP		0.002		/* of a remembered rate per second, at first ... */
#define CREEP_US	4000000.0	/* ... and doubled after such a time without a refusal */
#define REMEMBER_US	20000000	/* so long is a rate remembered */
#define AGAIN		0.98		/* of it: a refusal there is one more of the same */
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
	/* A slow-down stays in proportion; what is remembered was of the old limit. */
	limiter->rate *= limit / limiter->limit;
	limiter->limit = limit;
	limiter->knee = 0;
	if (limiter->rate < lowest(limiter))
		limiter->rate = lowest(limiter);

	/* A wait that began at a lower rate must not last that long. */
	if (limiter->next > (double) now + interval(limiter) && interval(limiter) < old)
		limiter->next = (double) now + interval(limiter);
	/* The second bound must not keep what the first one lets go. */
	limiter->quick = fmin(limiter->quick, limiter->next);
}

/* Microseconds to wait, at most an hour: the caller asks again anyway. */
static int64_t
wait_until(double next, int64_t now)
{
	double		wait = next - (double) now;

	return wait < 3600 * US_PER_SEC ? (int64_t) wait + 1 : (int64_t) (3600 * US_PER_SEC);
}

/* Multiplies the rate, from now on. */
static void
cut(ImLimiter *limiter, double left, int64_t now)
{
	limiter->rate = fmax(limiter->rate * left, lowest(limiter));
	/* The next grant was planned at the old rate. */
	limiter->next = fmax(limiter->next, (double) now + interval(limiter));
}

/*
 * The refusals after a first one have been counted.  A share of a half leaves
 * two thirds of the rate, so that a few seconds find a limit of any size; a
 * small share leaves what went through.
 */
static void
judge_refusals(ImLimiter *limiter, int64_t now)
{
	double		share = (double) limiter->refused / (limiter->counted > 0 ? limiter->counted : 1);
	double		left = 1 / (1 + fmin(share, 1));

	limiter->counting = false;
	limiter->judged_at = now;
	/* One per cent was cut at once: only the rest of it is due. */
	if (left < FIRST_CUT)
		cut(limiter, left / FIRST_CUT, now);
	if (share < (limiter->again ? MORE : MANY))
		return;
	/* Few more than chance: what is remembered moves only half-way. */
	limiter->knee = share < MANY ? (limiter->knee + limiter->rate) / 2 : limiter->rate;
	limiter->knee_at = now;
}

/* Ends the count of refusals when it is time. */
static void
end_count(ImLimiter *limiter, int64_t now)
{
	int64_t		since = now - limiter->counted_at;

	if (limiter->counting && since >= COUNTED_US &&
		(limiter->counted >= COUNTED_MIN || since >= COUNTED_MAX))
		judge_refusals(limiter, now);
	if (limiter->knee > 0 && now - limiter->knee_at >= REMEMBER_US)
		limiter->knee = 0;
}

/*
 * Lets the rate recover for the time that has passed: quickly up to the limit or
 * to what is remembered, and from there slowly, but the faster the longer
 * nothing was refused.
 */
static void
grow(ImLimiter *limiter, int64_t now)
{
	double		passed = (double) (now - limiter->grown_at) / US_PER_SEC;
	double		quiet = (double) (now - limiter->refused_at) / CREEP_US;
	double		goal;

	/* First: the end of a count may cut the rate that is to grow. */
	end_count(limiter, now);
	/* Also if nothing grows: time at the limit earns nothing for later. */
	limiter->grown_at = now;
	if (limiter->rate >= limiter->limit || passed <= 0)
		return;
	goal = limiter->knee > 0 ? limiter->knee : limiter->limit;
	if (limiter->rate < goal)
		limiter->rate += (goal - limiter->rate) * fmin(PULL * passed, 1);
	if (limiter->knee > 0)
	{
		limiter->rate += limiter->knee * CREEP * (1 + quiet * quiet) * passed;
		limiter->knee = fmax(limiter->knee, limiter->rate);
	}
	if (limiter->rate > limiter->limit * 0.9999)
	{
		limiter->rate = limiter->limit;
		limiter->knee = 0;
	}
}

/* See limiter.h. */
double
im_limiter_rate(const ImLimiter *limiter, int64_t now)
{
	ImLimiter	copy = *limiter;

	grow(&copy, now);
	return copy.rate;
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
	if (limiter->counting)
		limiter->counted++;
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

	/* Rate and window must be those of now before anything is granted. */
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
	/* Moved from the cell of its grant, if that is still remembered. */
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
im_limiter_slow(ImLimiter *limiter, int64_t granted, int64_t now)
{
	/* Grown up to now first: the cut is of the rate that was refused. */
	grow(limiter, now);
	limiter->refused_at = now;
	/* Answers that come late would cut twice for one and the same rate. */
	if (granted < limiter->judged_at)
		return;
	/* The first one has cut already: the share decides about the rest. */
	if (limiter->counting)
	{
		limiter->refused++;
		return;
	}
	/* Judged before the cut, which would hide at which rate it was. */
	limiter->again = limiter->knee > 0 && limiter->rate >= limiter->knee * AGAIN;
	if (limiter->again)
		limiter->knee_at = now;
	limiter->counting = true;
	limiter->counted_at = now;
	limiter->counted = 0;
	limiter->refused = 0;
	cut(limiter, FIRST_CUT, now);
}
