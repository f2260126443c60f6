/*
 * breaker.h
 *	  When the whole drain must wait: refused for all, out of quota, or no
 *	  answer at all.
 *
 * Pure, like limiter: a plain struct and the caller's monotonic clock in
 * microseconds.  Only the one sender of a database writes it.
 */
#ifndef IM_BREAKER_H
#define IM_BREAKER_H

#include "call.h"

#define IM_BREAKER_WINDOW	200 /* answers that are looked at together ... */
#define IM_BREAKER_SAME		180 /* ... and how many with one code are too many */
#define IM_BREAKER_SILENT	16	/* calls in a row without an answer */

typedef enum ImBreakerState
{
	IM_BREAKER_CLOSED,			/* calls flow */
	IM_BREAKER_STOPPED,			/* a refusal that every row would meet */
	IM_BREAKER_QUOTA,			/* no more new groups now */
	IM_BREAKER_UNREACHABLE		/* no answers */
} ImBreakerState;

typedef struct ImBreaker
{
	ImBreakerState state;
	bool		proven;			/* the service took a call since the last
								 * reset: more than one may fly */
	int32_t		code;			/* why it is not closed */
	char		info[IM_INFO_MAX + 1];
	int64_t		since;			/* of the state */
	int64_t		probe_at;		/* next probe, if not closed */
	int64_t		probe_delay;
	int			silent;			/* calls in a row without an answer */
	int64_t		quota_since;	/* first quota refusal without a success
								 * since, or 0 */
	int32_t		codes[IM_BREAKER_WINDOW];	/* last answers, 0 for success */
	int			ncodes;
	int			at;				/* next place in codes */
} ImBreaker;

extern void im_breaker_init(ImBreaker *breaker);

/*
 * The cause may be gone (options changed, a person resumed): probe at once.
 * What is remembered of refused rows is forgotten.
 */
extern void im_breaker_reset(ImBreaker *breaker, int64_t now);

/*
 * How many more calls may start now, with in_flight under way: any number
 * (INT_MAX), one to find out, or none.
 */
extern int	im_breaker_allows(const ImBreaker *breaker, int in_flight, int64_t now);

/* Microseconds until a probe is due; 0 if one is, or if closed. */
extern int64_t im_breaker_wait(const ImBreaker *breaker, int64_t now);

/* Takes note of one exchange. info is the reply's ErrorInfo. */
extern void im_breaker_note(ImBreaker *breaker, const ImVerdict *verdict,
							const char *info, int64_t now);

/*
 * Why the breaker is not closed, in words; "" if it is.  The service's text may
 * be cut within a character: clean it before it is shown.
 */
extern void im_breaker_describe(const ImBreaker *breaker, int64_t now, char *out, size_t size);

/*
 * The code with which at least IM_BREAKER_SAME of the last IM_BREAKER_WINDOW
 * answers refused their row, or 0.
 */
extern int32_t im_breaker_same_refusal(const ImBreaker *breaker);

#endif							/* IM_BREAKER_H */
