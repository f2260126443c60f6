/*
 * ask.h
 *	  Questions about rows, a few calls at a time, until each has an answer.
 */
#ifndef IM_ASK_H
#define IM_ASK_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "command.h"
#include "compat.h"
#include "sender.h"

/* Who asks, and what was learnt of the service's ways. */
typedef struct ImAsk
{
	ImSlot	   *slot;
	ImSender   *sender;			/* renewed in each transaction, see im_ask_connect() */
	int64		sdkappid;		/* 0: not yet connected */
	uint32		address;		/* of the app */
	const char *again;			/* HINT: what to do after an error */
	bool		proven;			/* the service took a call: more may fly */
	bool		basic;			/* it refused to tell more than every app must */
	int			batch;			/* rows a call, where it took no more; 0: as documented */
} ImAsk;

/*
 * To be called in each transaction, before anything of it is written: options and
 * key may have changed.  Raises if the app itself has, since one answer after the
 * other must be about the same one.
 */
extern void im_ask_connect(ImAsk *ask);

/* From now on questions are of another kind. */
extern void im_ask_begin(ImAsk *ask, const ImQuestion *question);

/*
 * Asks one question for all rows, those that go into one call standing together,
 * and fills their check; what stays unreadable is what the service will not tell
 * of.  Raises if it refuses all, or does not answer.  Works in the current memory
 * context; needs a transaction, but no snapshot.
 */
extern void im_ask(ImAsk *ask, const ImQuestion *question, List *rows);

/* Raises because the service refuses, or does not answer. */
pg_noreturn extern void im_ask_raise(const ImAsk *ask, const ImCall *call);

/*
 * Makes one call, whose request is made, as often as it takes to get an answer:
 * true if the call was read, false if the service refuses just this one, or its
 * answer is too big.
 */
extern bool im_ask_once(ImAsk *ask, ImCall *call);

#endif							/* IM_ASK_H */
