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
 * The pace is a little below the limit.  Who was told to wait and comes late,
 * because of a coarse timer or a commit that took its time, may catch up on so
 * much of a second, at twice the pace; what is later is lost.
 */
#define IM_LIMITER_PACE		0.9965
#define IM_LIMITER_CATCH_UP	0.05

/*
 * Whatever was caught up on, no sliding second sees more grants than the limit
 * (a limit with a fraction: the next whole number).  Grants are counted in cells
 * of time; these cover the last second and a cell.
 */
#define IM_LIMITER_CELL_US	2500
#define IM_LIMITER_CELLS	401

typedef struct ImLimiter
{
	double		limit;			/* configured calls per second */
	double		rate;			/* current calls per second, <= limit */
	double		next;			/* time of the next grant by the pace, us */
	double		quick;			/* no grant before this, catching up or not, us */
	int64_t		grown_at;		/* rate was last raised at */
	int64_t		refused_at;		/* last refusal as too fast */
	double		knee;			/* rate where the service began to refuse, or 0 */
	int64_t		knee_at;		/* it was last seen there */
	bool		again;			/* the refusal that began the count was there, too */
	int64_t		judged_at;		/* a count last ended, and may have cut the rate */
	bool		counting;		/* refusals are counted, since ... */
	int64_t		counted_at;		/* ... the first one, which is not among them */
	int32_t		counted;		/* grants since then */
	int32_t		refused;		/* refusals since then */
	int64_t		session_until;	/* a session waits for a grant, as far as known */
	bool		worker_last;	/* the last grant was the worker's */
	bool		wanted;			/* somebody was told to wait, and is not caught up with */
	int64_t		cell;			/* number of the present cell of time */
	int32_t		cells[IM_LIMITER_CELLS];	/* grants by cell modulo their number */
	int64_t		recent;			/* sum of them */
} ImLimiter;

/*
 * Starts empty: the first grant is one interval from now, and later by what may
 * have been caught up on until a moment ago, before a crash.
 */
extern void im_limiter_init(ImLimiter *limiter, double limit, int64_t now);

/* The rate by now, also if nobody has asked for a grant for a while. */
extern double im_limiter_rate(const ImLimiter *limiter, int64_t now);

/* Another limit, effective at once; keeps the current slow-down in proportion. */
extern void im_limiter_set(ImLimiter *limiter, double limit, int64_t now);

/*
 * Asks for one call now.  Returns 0 if it may go, else how many microseconds
 * to wait before asking again.  A session that was told to wait gets one of the
 * next two grants: the worker leaves it every other one.
 */
extern int64_t im_limiter_take(ImLimiter *limiter, bool worker, int64_t now);

/*
 * Somebody would ask if all connections were not busy: it counts as having been
 * told to wait.
 */
extern void im_limiter_want(ImLimiter *limiter);

/*
 * A call that was granted at that time leaves only now, because it had to make
 * a connection first.  It is counted now: the service sees it now, together
 * with those that were granted since then.  One that takes longer than a second
 * to connect is forgotten meanwhile, and may come on top of the limit.
 */
extern void im_limiter_late(ImLimiter *limiter, int64_t granted, int64_t now);

/*
 * The service said "too fast", to a call that was granted at that time.  The
 * rate falls in proportion to what is refused: by one per cent for a lone
 * refusal, by a third after a second in which half was refused, never below one
 * call a second (or the limit, if that is less).  It recovers within seconds;
 * but where many refusals began, it stays for a while and goes on slowly.  A
 * call that was granted before the last cut by a share tells of a rate that is
 * gone: it costs nothing more.
 */
extern void im_limiter_slow(ImLimiter *limiter, int64_t granted, int64_t now);

#endif							/* IM_LIMITER_H */
