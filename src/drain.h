/*
 * drain.h
 *	  Claim, send, settle: the outbox emptied through the sender.
 */
#ifndef IM_DRAIN_H
#define IM_DRAIN_H

#include "postgres.h"

#include "shared.h"

typedef struct ImDrain ImDrain;

/* Why the worker may go home. */
typedef enum ImStay
{
	IM_STAY,					/* call im_drain_turn() again */
	IM_LEAVE,					/* nothing to do before slot->wake_at */
	IM_LEAVE_FOR_GOOD			/* the extension is not in this database */
} ImStay;

extern ImDrain *im_drain_create(MemoryContext ctx, ImSlot *slot);

/*
 * One turn: look at the doorbell, write outcomes back, claim, start calls,
 * sleep until something happens, judge what came.  The caller resets the
 * latch before and checks for interrupts.
 */
extern ImStay im_drain_turn(ImDrain *drain);

/*
 * The server shuts down or somebody terminates us: what was not sent goes
 * back, what is under way gets a moment, and everything is written.
 */
extern void im_drain_shutdown(ImDrain *drain);

#endif							/* IM_DRAIN_H */
