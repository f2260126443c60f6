/*
 * breaker.h
 *	  When the whole drain must wait: refused for all, out of quota, or no
 *	  answer that decides anything.
 *
 * Pure, like limiter: a plain struct and the caller's monotonic clock in
 * microseconds.  The one sender of a database writes it; a session whose own
 * call was answered resets it, and notes that the service asked all to wait.
 */
#ifndef IM_BREAKER_H
#define IM_BREAKER_H

#include "call.h"

#define IM_BREAKER_WINDOW	200 /* answers that are looked at together ... */
#define IM_BREAKER_SAME		180 /* ... and how many with one code are too many */
#define IM_BREAKER_MISSES	16	/* calls in a row without a verdict */
#define IM_BREAKER_FEW		8	/* calls that may fly after one of them */

typedef enum ImBreakerState
{
	IM_BREAKER_CLOSED,			/* calls flow */
	IM_BREAKER_STOPPED,			/* a refusal that every row would meet */
	IM_BREAKER_QUOTA,			/* no more new groups now */
	IM_BREAKER_UNREACHABLE		/* no answers, or none that decides anything */
} ImBreakerState;

typedef struct ImBreaker
{
	ImBreakerState state;
	bool		proven;			/* the service took a call since the last
								 * reset: more than one may fly */
	int32_t		code;			/* why it is not closed */
	int			http_status;	/* of the answer that opened it, 0: none */
	int32_t		retry_after;	/* seconds that it asked for, 0: none */
	char		info[IM_INFO_MAX + 1];
	int64_t		since;			/* of the state */
	int64_t		probe_at;		/* next probe, if not closed */
	int64_t		probe_delay;
	int64_t		tried_at;		/* begin of the last call that opened it or
								 * kept it open */
	int			misses;			/* calls in a row without a verdict */
	int64_t		quota_since;	/* first quota refusal without a success
								 * since, or 0 */
	int64_t		quota_at;		/* the last one, or 0 */
	int32_t		codes[IM_BREAKER_WINDOW];	/* last answers, 0 for success */
	int			ncodes;
	int			at;				/* next place in codes */
} ImBreaker;

extern void im_breaker_init(ImBreaker *breaker);

/*
 * The cause may be gone (options changed, a person resumed): closed, and one
 * call finds out.  What is remembered of refused rows is forgotten.
 */
extern void im_breaker_reset(ImBreaker *breaker, int64_t now);

/*
 * True if somebody who asked at asked_at has no answer yet: the breaker is
 * open, and no call that began later was refused.
 */
extern bool im_breaker_owes(const ImBreaker *breaker, int64_t asked_at);

/* Whoever asked then wants to know it now: the next probe is due at once. */
extern void im_breaker_ask(ImBreaker *breaker, int64_t asked_at, int64_t now);

/*
 * How many more calls may start now, with in_flight under way: any number
 * (INT_MAX), a few after one without a verdict, one to find out, or none.
 */
extern int	im_breaker_allows(const ImBreaker *breaker, int in_flight, int64_t now);

/* Microseconds until a probe is due; 0 if one is, or if closed. */
extern int64_t im_breaker_wait(const ImBreaker *breaker, int64_t now);

/*
 * True if the service takes no new groups, as of the last minute.  Rows of other
 * kinds may go on meanwhile: then it is no state of the breaker.
 */
extern bool im_breaker_meets_quota(const ImBreaker *breaker, int64_t now);

/*
 * Takes note of one exchange, which began at begun.  info is the reply's
 * ErrorInfo.  again: the row met no verdict before, so that an answer of the
 * service itself says more of the row than of the service.
 */
extern void im_breaker_note(ImBreaker *breaker, const ImVerdict *verdict, bool again,
							const char *info, int64_t begun, int64_t now);

/*
 * May the miss that was noted last be held against its row?  Not while the
 * service is unreachable, nor while it has yet to take a first call: then only
 * one call flies, and one row after the other would pay for an outage.
 */
extern bool im_breaker_counts(const ImBreaker *breaker, const ImVerdict *verdict);

/*
 * Why the breaker is not closed, in words; "" if it is.  probes: it is tried
 * again by itself, and when.  The service's text may be cut within a character:
 * clean it before it is shown.
 */
extern void im_breaker_describe(const ImBreaker *breaker, bool probes, int64_t now,
								char *out, size_t size);

/*
 * An answer that is about rows: the code with which it refused them, 0 if it did
 * not.  See im_batch_note(), which knows what is such an answer.
 */
extern void im_breaker_answered(ImBreaker *breaker, int32_t code);

/*
 * The code with which at least IM_BREAKER_SAME of the last IM_BREAKER_WINDOW
 * answers refused their rows, or 0.
 */
extern int32_t im_breaker_same_refusal(const ImBreaker *breaker);

#endif							/* IM_BREAKER_H */
