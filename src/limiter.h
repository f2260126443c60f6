/*
 * limiter.h
 *	  How fast we may call: one evenly paced stream of calls.
 *
 * Pure: works on a plain struct and a clock that the caller reads, so that a
 * simulation can run it.  Knows nothing of shared memory or of who calls; the
 * caller serialises access.  Times are microseconds of a monotonic clock.
 */
#ifndef IM_LIMITER_H
#define IM_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The pace is a little below the limit, and a grant may come so much of a
 * second late without the next one moving.  Both together keep every sliding
 * second at or below the limit: it sees at most
 * floor((1 + LAG) * PACE * limit) + 1 grants.  What is left between PACE and
 * 1 - LAG is for calls that reach the service unevenly.
 */
#define IM_LIMITER_PACE		0.9965
#define IM_LIMITER_LAG		0.0015

typedef struct ImLimiter
{
	double		limit;			/* configured calls per second */
	double		rate;			/* current calls per second, <= limit */
	double		next;			/* earliest time of the next grant, us */
	int64_t		cut_at;			/* last time the service made us slow down */
	int64_t		grown_at;		/* rate was last raised at */
	int64_t		session_until;	/* a session waits for a grant, as far as known */
	bool		worker_last;	/* the last grant was the worker's */
} ImLimiter;

/* Starts empty: the first grant is one interval from now, not now. */
extern void im_limiter_init(ImLimiter *limiter, double limit, int64_t now);

/* Another limit, effective at once; keeps the current slow-down in proportion. */
extern void im_limiter_set(ImLimiter *limiter, double limit, int64_t now);

/*
 * Asks for one call now.  Returns 0 if it may go, else how many microseconds
 * to wait before asking again.  A session that was told to wait gets one of the
 * next two grants: the worker leaves it every other one.
 */
extern int64_t im_limiter_take(ImLimiter *limiter, bool worker, int64_t now);

/*
 * The service said "too fast": the rate falls to 0.7 of itself, at most once
 * a second and not below one call a second (or the limit, if that is less).
 * It grows again by 1 % of the limit a second.
 */
extern void im_limiter_slow(ImLimiter *limiter, int64_t now);

#endif							/* IM_LIMITER_H */
