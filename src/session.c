/*
 * session.c
 *	  A session's own way to the service, beside the worker's.
 *
 * Must not know: the outbox, what an answer means for a row.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "errcodes.h"
#include "session.h"

#define MS					INT64_C(1000)
#define POLL_MS				500

/* See session.h. */
ImSender *
im_session_sender(ImSlot *slot, ImProblem *problem)
{
	static ImSender *sender = NULL;
	static ImSlot *its_slot = NULL;
	static uint32 generation = 0;

	/* The rate of a slot that is another database's would be none of ours. */
	if (sender == NULL || its_slot != slot || !im_slot_is_mine(slot, generation))
	{
		its_slot = slot;
		generation = slot->generation;
		sender = im_sender_create(AllocSetContextCreate(TopMemoryContext, "im_import session",
														ALLOCSET_DEFAULT_SIZES),
								  slot, false);
	}
	/* What an ERROR left behind must not be waited for. */
	im_sender_abandon(sender);
	return im_sender_configure(sender, problem) ? sender : NULL;
}

/*
 * Calls are queued and nothing flies: the service refused the UserSig.  Makes
 * a new one, or raises.  The second one in a row that is refused is a stop.
 */
static void
renew_signature(ImSender *sender)
{
	ImProblem	problem = {0};

	if (!im_sender_configure(sender, &problem))
		im_app_raise(&problem);
}

/* Pumps and sleeps until so many calls are answered. */
static void
wait_for_answers(ImSender *sender, int left)
{
	while (left > 0)
	{
		int64		wait;

		CHECK_FOR_INTERRUPTS();
		wait = im_sender_pump(sender, left);
		if (wait < 0 && im_sender_in_flight(sender) == 0 && im_sender_queued(sender) > 0)
		{
			renew_signature(sender);
			wait = im_sender_pump(sender, left);
		}
		im_sender_wait(sender, wait >= 0 ? (long) ((wait + MS - 1) / MS) : POLL_MS);
		while (im_sender_next(sender) != NULL)
			left--;
		/* Not after the last answer: the latch may be set for our caller. */
		if (left > 0)
			ResetLatch(MyLatch);
	}
}

/* See session.h. */
void
im_session_exchange(ImSender *sender, ImCall **calls, int ncalls)
{
	for (int i = 0; i < ncalls; i++)
		im_sender_add(sender, calls[i], false);
	PG_TRY();
	{
		wait_for_answers(sender, ncalls);
	}
	PG_CATCH();
	{
		/* The calls go with their memory context; the sender must not know them. */
		im_sender_abandon(sender);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* True if the service has taken a call and decided about it. */
static bool
service_spoke(const ImVerdict *verdict)
{
	return verdict->outcome == IM_OUT_DONE || verdict->outcome == IM_OUT_EXISTS ||
		verdict->outcome == IM_OUT_REFUSED;
}

/* See session.h. */
void
im_session_note(ImSlot *slot, const ImCall *call)
{
	bool		cured = false;

	im_slot_lock(slot);
	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_slot_slow(slot, call->op, call->begun_at, im_code_is_app_wide(call->verdict.code));
	/* "Come back in so many seconds" is said to all who call: the worker waits, too. */
	else if (call->verdict.retry_after > 0 && call->begun_at >= slot->changed_at)
		im_breaker_note(&slot->breaker, &call->verdict, true, call->reply.info, call->begun_at, im_now_us());
	/* What held the import up is over: this call shows it. */
	else if (service_spoke(&call->verdict) && call->begun_at > slot->breaker.tried_at &&
			 (slot->breaker.state == IM_BREAKER_STOPPED ||
			  slot->breaker.state == IM_BREAKER_UNREACHABLE))
	{
		im_breaker_reset(&slot->breaker, im_now_us());
		cured = true;
	}
	im_slot_unlock(slot);
	/* After the lock is given back, which ringing takes. */
	if (cured)
		im_ring(slot, true);
}
