/*
 * breaker.c
 *	  When the whole drain must wait.
 *
 * A service that refuses a key locks out who keeps knocking (70050), so a
 * drain starts with a single call and widens only when that was answered: a
 * wrong key costs one refused call, not a hundred.
 *
 * Must not know: rows, SQL, HTTP, shared memory.
 */
#include "breaker.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SEC					INT64_C(1000000)
#define INFO_SHOWN			160 /* bytes of the service's text in a description */
#define STOP_FIRST			(60 * SEC)
#define STOP_MAX			(600 * SEC)
#define QUOTA_PATIENCE		(60 * SEC)
#define QUOTA_PROBE			(600 * SEC)
#define SILENT_FIRST		(1 * SEC)
#define SILENT_MAX			(30 * SEC)
#define ASKED_MAX			600 /* seconds that Retry-After is believed */

/* See breaker.h. */
void
im_breaker_init(ImBreaker *breaker)
{
	memset(breaker, 0, sizeof(*breaker));
}

/* See breaker.h. */
void
im_breaker_reset(ImBreaker *breaker, int64_t now)
{
	if (breaker->state != IM_BREAKER_CLOSED)
		breaker->since = now;
	breaker->state = IM_BREAKER_CLOSED;
	breaker->proven = false;
	breaker->code = 0;
	breaker->probe_at = now;
	breaker->probe_delay = 0;
	breaker->misses = 0;
	breaker->quota_since = breaker->quota_at = 0;
	breaker->ncodes = 0;
	breaker->at = 0;
}

/* See breaker.h. */
int
im_breaker_allows(const ImBreaker *breaker, int in_flight, int64_t now)
{
	if (breaker->state == IM_BREAKER_CLOSED && breaker->proven && breaker->misses == 0)
		return INT_MAX;
	/* It may be the beginning of the end: a few more calls tell. */
	if (breaker->state == IM_BREAKER_CLOSED && breaker->proven)
		return in_flight < IM_BREAKER_FEW ? IM_BREAKER_FEW - in_flight : 0;
	/* Not proven, or open: one call finds out, alone. */
	if (in_flight > 0)
		return 0;
	if (breaker->state != IM_BREAKER_CLOSED && now < breaker->probe_at)
		return 0;
	return 1;
}

/* See breaker.h. */
bool
im_breaker_owes(const ImBreaker *breaker, int64_t asked_at)
{
	return breaker->state != IM_BREAKER_CLOSED && asked_at > breaker->tried_at;
}

/* See breaker.h. */
void
im_breaker_ask(ImBreaker *breaker, int64_t asked_at, int64_t now)
{
	if (im_breaker_owes(breaker, asked_at) && breaker->probe_at > now)
		breaker->probe_at = now;
}

/* See breaker.h. */
int64_t
im_breaker_wait(const ImBreaker *breaker, int64_t now)
{
	if (breaker->state == IM_BREAKER_CLOSED || now >= breaker->probe_at)
		return 0;
	return breaker->probe_at - now;
}

/* Opens the breaker, or after a failed probe keeps it open for longer. */
static void
trip(ImBreaker *breaker, ImBreakerState state, int64_t first, int64_t max,
	 const ImVerdict *verdict, const char *info, int64_t now)
{
	if (breaker->state != state)
	{
		breaker->state = state;
		breaker->since = now;
		breaker->probe_delay = 0;
	}
	/* Late answers of calls that were under way do not lengthen the wait. */
	else if (now < breaker->probe_at)
		return;

	breaker->code = verdict->code;
	breaker->http_status = verdict->http_status;
	breaker->retry_after = 0;
	strncpy(breaker->info, info, IM_INFO_MAX);
	breaker->info[IM_INFO_MAX] = '\0';
	breaker->probe_delay = breaker->probe_delay == 0 ? first : breaker->probe_delay * 2;
	if (breaker->probe_delay > max)
		breaker->probe_delay = max;
	breaker->probe_at = now + breaker->probe_delay;
	breaker->proven = false;
}

/* The service took a call and said something about it. */
static void
close_breaker(ImBreaker *breaker, int64_t now)
{
	if (breaker->state != IM_BREAKER_CLOSED)
	{
		breaker->state = IM_BREAKER_CLOSED;
		breaker->since = now;
		breaker->probe_delay = 0;
	}
	breaker->proven = true;
	breaker->code = 0;
}

/* See breaker.h. */
void
im_breaker_answered(ImBreaker *breaker, int32_t code)
{
	breaker->codes[breaker->at] = code;
	breaker->at = (breaker->at + 1) % IM_BREAKER_WINDOW;
	if (breaker->ncodes < IM_BREAKER_WINDOW)
		breaker->ncodes++;
}

/* True if the service itself spoke: what it said may be about this row only. */
static bool
is_own_words(const ImVerdict *verdict)
{
	return verdict->answered && verdict->http_status == 200 && verdict->code > 0;
}

/*
 * One more call without a verdict: no answer, a gateway's, one that cannot be
 * read, "try again".  A few in a row, and it is the service as a whole.
 */
static void
note_miss(ImBreaker *breaker, const ImVerdict *verdict, bool again, const char *info, int64_t now)
{
	/* While stopped or out of quota a lost probe changes only its own time. */
	if (breaker->state == IM_BREAKER_STOPPED || breaker->state == IM_BREAKER_QUOTA)
	{
		/* There is no delay after a reset; a probe must not chase the next. */
		if (now >= breaker->probe_at)
			breaker->probe_at = now + (breaker->probe_delay > 0 ? breaker->probe_delay : SILENT_MAX);
		return;
	}
	/* Not its first try, and the service speaks: that is about the row. */
	if (again && is_own_words(verdict) && breaker->state == IM_BREAKER_CLOSED)
		return;
	if (breaker->misses < INT_MAX)
		breaker->misses++;
	/* An answer that came late does not make the next probes free. */
	if (breaker->misses >= IM_BREAKER_MISSES || breaker->state == IM_BREAKER_UNREACHABLE)
		trip(breaker, IM_BREAKER_UNREACHABLE, SILENT_FIRST, SILENT_MAX, verdict, info, now);
}

/* "Come back in so many seconds" is said to all who call, not to one row. */
static void
note_retry_after(ImBreaker *breaker, const ImVerdict *verdict, const char *info, int64_t now)
{
	int32_t		seconds = verdict->retry_after < ASKED_MAX ? verdict->retry_after : ASKED_MAX;
	int64_t		until = now + seconds * SEC;

	if (breaker->state == IM_BREAKER_STOPPED || breaker->state == IM_BREAKER_QUOTA)
		return;
	trip(breaker, IM_BREAKER_UNREACHABLE, SILENT_FIRST, SILENT_MAX, verdict, info, now);
	/* Said here, because trip() changes nothing while a probe is still to come. */
	breaker->code = verdict->code;
	breaker->http_status = verdict->http_status;
	breaker->retry_after = seconds;
	if (breaker->probe_at < until)
		breaker->probe_at = until;
}

/* See breaker.h. */
bool
im_breaker_meets_quota(const ImBreaker *breaker, int64_t now)
{
	return breaker->quota_since != 0 ||
		(breaker->quota_at != 0 && now - breaker->quota_at < QUOTA_PATIENCE);
}

/* The service refuses new groups: slow at first, in the end a state. */
static void
note_quota(ImBreaker *breaker, const ImVerdict *verdict, const char *info, int64_t now)
{
	/* Late answers from before a stop are no answer to its probe. */
	if (breaker->state != IM_BREAKER_CLOSED && breaker->state != IM_BREAKER_QUOTA &&
		now < breaker->probe_at)
		return;
	if (breaker->quota_since == 0)
		breaker->quota_since = now;
	breaker->quota_at = now;
	/* For the first minute only the pace falls; after that it is a state. */
	if (now - breaker->quota_since >= QUOTA_PATIENCE || breaker->state == IM_BREAKER_QUOTA)
		trip(breaker, IM_BREAKER_QUOTA, QUOTA_PROBE, QUOTA_PROBE, verdict, info, now);
	else
		close_breaker(breaker, now);
}

/* Takes note of a verdict that decides something. */
static void
note_verdict(ImBreaker *breaker, const ImVerdict *verdict, const char *info, int64_t now)
{
	switch (verdict->outcome)
	{
		case IM_OUT_STOP:
			trip(breaker, IM_BREAKER_STOPPED, STOP_FIRST, STOP_MAX, verdict, info, now);
			return;
		case IM_OUT_QUOTA:
			note_quota(breaker, verdict, info, now);
			return;
		case IM_OUT_RESIGN:
			return;				/* the next call, freshly signed, will tell */
		case IM_OUT_DONE:
			/* A call went through: the quota is not used up. */
			breaker->quota_since = 0;
			break;
		default:
			break;
	}
	/* Late answers from before a stop must not widen the drain again. */
	if (breaker->state == IM_BREAKER_CLOSED || now >= breaker->probe_at)
		close_breaker(breaker, now);
}

/* True if nothing that decides came back. */
static bool
is_miss(const ImVerdict *verdict)
{
	return verdict->outcome == IM_OUT_NOT_SENT || verdict->outcome == IM_OUT_UNKNOWN ||
		verdict->outcome == IM_OUT_UNREADABLE;
}

/* See breaker.h. */
void
im_breaker_note(ImBreaker *breaker, const ImVerdict *verdict, bool again, const char *info,
				int64_t begun, int64_t now)
{
	if (is_miss(verdict))
	{
		note_miss(breaker, verdict, again, info, now);
		if (verdict->retry_after > 0)
			note_retry_after(breaker, verdict, info, now);
	}
	else
	{
		/* A refusal is a verdict, too: the row of misses ends. */
		breaker->misses = 0;
		note_verdict(breaker, verdict, info, now);
	}
	/* Anyone who asked before this call began has an answer now. */
	if (breaker->state != IM_BREAKER_CLOSED && begun > breaker->tried_at)
		breaker->tried_at = begun;
}

/* See breaker.h. */
int32_t
im_breaker_same_refusal(const ImBreaker *breaker)
{
	int			half = IM_BREAKER_WINDOW - IM_BREAKER_SAME + 1;

	if (breaker->ncodes < IM_BREAKER_WINDOW)
		return 0;

	/* A code that fills 90 % is among any half = 21 of them. */
	for (int i = 0; i < half; i++)
	{
		int			n = 0;

		if (breaker->codes[i] == 0)
			continue;
		for (int j = 0; j < IM_BREAKER_WINDOW; j++)
			n += breaker->codes[j] == breaker->codes[i];
		if (n >= IM_BREAKER_SAME)
			return breaker->codes[i];
	}
	return 0;
}

/* See breaker.h. */
bool
im_breaker_counts(const ImBreaker *breaker, const ImVerdict *verdict)
{
	if (breaker->state == IM_BREAKER_UNREACHABLE)
		return false;
	return breaker->proven || breaker->misses <= 1 || is_own_words(verdict);
}

/* What an open breaker means, without the code. */
static void
describe_state(const ImBreaker *breaker, char *out, size_t size)
{
	if (breaker->state == IM_BREAKER_STOPPED)
		snprintf(out, size, "the service refuses every call");
	else if (breaker->state == IM_BREAKER_QUOTA)
		snprintf(out, size, "the service takes no more new groups now");
	else if (breaker->retry_after > 0)
		snprintf(out, size, "the service asks to wait %d s", (int) breaker->retry_after);
	else if (breaker->http_status != 0 && breaker->http_status != 200)
		snprintf(out, size, "the service answers, but only with HTTP %d", breaker->http_status);
	else if (breaker->http_status == 200 && breaker->code > 0)
		snprintf(out, size, "the service answers, but only with error code %d", (int) breaker->code);
	else if (breaker->http_status == 200)
		snprintf(out, size, "the service answers, but nothing that can be used");
	else
		snprintf(out, size, "the service does not answer");
}

/* See breaker.h. */
void
im_breaker_describe(const ImBreaker *breaker, bool probes, int64_t now, char *out, size_t size)
{
	char		what[80];
	char		when[40];

	out[0] = '\0';
	if (breaker->state == IM_BREAKER_CLOSED)
		return;
	describe_state(breaker, what, sizeof(what));
	snprintf(when, sizeof(when), "; next probe in %d s",
			 (int) ((im_breaker_wait(breaker, now) + SEC - 1) / SEC));
	snprintf(out, size, "%s: %d%s%.*s%s", what, (int) breaker->code,
			 breaker->info[0] ? " " : "", INFO_SHOWN, breaker->info, probes ? when : "");
}
