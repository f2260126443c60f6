/*
 * ask.c
 *	  Questions about rows, a few calls at a time, until each has an answer.
 *
 * A refusal that every call would meet ends it, and so does silence, after a few
 * tries.  A call that is refused for one row's sake is split until the row is
 * found; too many rows in a call are fewer from then on.
 *
 * Must not know: SQL, what a kind of row is compared by.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"

#include "ask.h"
#include "compat.h"
#include "encoding.h"
#include "errcodes.h"
#include "operation.h"
#include "session.h"

#define CALLS_AT_ONCE		16
#define TRIES				5	/* without a usable answer */
#define GIVE_UPS			12	/* questions that are split for that, without one that is answered */
#define BAD_PARAMETER		10004	/* the service's word for what it does not know */

/* See ask.h. */
void
im_ask_connect(ImAsk *ask)
{
	ImProblem	problem = {0};
	const ImApp *app;

	ask->sender = im_session_sender(ask->slot, &problem);
	if (ask->sender == NULL)
		im_app_raise(&problem);
	app = im_sender_app(ask->sender);
	if (ask->sdkappid != 0 && (ask->sdkappid != app->sdkappid || ask->address != im_sender_address(app)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the server's app has changed while the service was asked"),
				 errdetail("It began with sdkappid " INT64_FORMAT ", and the server says " INT64_FORMAT " now, or another address.",
						   ask->sdkappid, app->sdkappid),
				 errhint("CALL it again: it then asks the app that the server names now, from the beginning.")));
	ask->sdkappid = app->sdkappid;
	ask->address = im_sender_address(app);
}

/* See ask.h. */
void
im_ask_begin(ImAsk *ask, const ImQuestion *question)
{
	ask->proven = false;
	ask->batch = question->batch;
}

/* See ask.h. */
void
im_ask_raise(const ImAsk *ask, const ImCall *call)
{
	int32		code = call->verdict.code != 0 ? call->verdict.code : IM_CODE_UNREADABLE;
	const ImErrorCode *entry = im_error_find(code);

	ereport(ERROR,
			(errcode(call->verdict.outcome == IM_OUT_STOP ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE :
					 ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("could not ask the service what it has: error code %d, %s",
					(int) code, entry->meaning),
			 call->reply.info[0] ?
			 errdetail("The service or the connection says: %s", im_text_from_utf8(call->reply.info)) : 0,
			 errhint("%s", ask->again)));
}

/* Sleeps between two tries, longer each time. */
static void
nap(int tries)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 500L << tries, im_wait_event_network());
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* True for a definite refusal of just this call. */
static bool
is_refused(const ImCall *call)
{
	return call->found == IM_FOUND_UNREADABLE && call->verdict.answered && call->reply.readable &&
		im_error_find(call->reply.code)->class == IM_CLASS_ROW;
}

/* How many rows of a call may have this one among them. */
static int
room_for(const ImAsk *ask, const ImQuestion *question, const ImRow *row)
{
	int			n = Min(ask->batch, question->batch);

	return row->check.company > 0 ? Min(n, row->check.company) : n;
}

/* Makes calls for the first rows; returns how many calls, *n is how many rows. */
static int
make_calls(const ImAsk *ask, const ImQuestion *question, ImRow **rows, int nrows, ImCall *calls, int *n)
{
	int			most = ask->proven ? CALLS_AT_ONCE : 1;
	int			ncalls = 0;

	memset(calls, 0, sizeof(ImCall) * CALLS_AT_ONCE);
	for (*n = 0; *n < nrows; (*n)++)
	{
		ImRow	   *row = rows[*n];
		ImCall	   *call = ncalls > 0 ? &calls[ncalls - 1] : NULL;

		if (call != NULL && call->nrows < room_for(ask, question, row) &&
			call->nrows < room_for(ask, question, call->rows[0]) && question->joins(call, row))
		{
			call->nrows++;
			continue;
		}
		/* Until one call was answered it flies alone. */
		if (ncalls == most)
			break;
		call = &calls[ncalls++];
		call->op = question->op;
		call->rows = &rows[*n];
		call->nrows = 1;
		call->read_below = row->check.below;
	}
	/* After all rows have their place: a request names them all. */
	for (int i = 0; i < ncalls; i++)
		im_question_compose(&calls[i], ask->basic);
	return ncalls;
}

/* All rows of a call have this answer. */
static void
answer_all(ImCall *call, ImFound found)
{
	for (int i = 0; i < call->nrows; i++)
		call->rows[i]->check.found = found;
}

/* All rows of a call are asked for again. */
static void
ask_again(ImCall *call)
{
	for (int i = 0; i < call->nrows; i++)
		call->rows[i]->check.again = true;
}

/* A call that is refused for one row's sake, or because they are too many. */
static void
split(ImAsk *ask, const ImQuestion *question, ImCall *call)
{
	if (call->nrows == 1)
		return;					/* it stays unreadable */
	if (im_code_is_too_many(call->reply.code, call->nrows, question->batch))
		ask->batch = Max(call->nrows / 2, 1);
	for (int i = 0; i < call->nrows; i++)
		call->rows[i]->check.company = Max(call->nrows / 2, 1);
	ask_again(call);
}

/*
 * A service that calls a parameter wrong may not know what we asked for beyond
 * the rest: the question is put without that.
 */
static void
ask_less(ImAsk *ask, ImCall *call)
{
	if (!ask->basic)
		ereport(NOTICE,
				(errmsg("im_import: the service does not tell support_topic and app_defined_data: they are not compared")));
	ask->basic = true;
	ask_again(call);
}

/* Takes what an answer says; false if it says nothing. */
static bool
take_answer(ImAsk *ask, const ImQuestion *question, ImCall *call, bool basic)
{
	if (call->found != IM_FOUND_UNREADABLE)
		return true;
	if (call->verdict.outcome == IM_OUT_STOP)
		im_ask_raise(ask, call);
	if (!is_refused(call))
	{
		ask_again(call);
		return false;
	}
	if (call->reply.code == question->absent[0] || call->reply.code == question->absent[1])
		answer_all(call, IM_FOUND_ABSENT);
	else if (question->has_basic && !basic && call->reply.code == BAD_PARAMETER)
		ask_less(ask, call);
	else if (question->has_newer_names && !call->rows[0]->check.newer_names)
		call->rows[0]->check.newer_names = call->rows[0]->check.again = true;
	else
		split(ask, question, call);
	return true;
}

/* Makes calls and takes their answers; returns how many said something. */
static int
exchange(ImAsk *ask, const ImQuestion *question, ImCall *calls, int ncalls)
{
	ImCall	   *flying[CALLS_AT_ONCE];
	/* As it was when these were asked: an answer may change it. */
	bool		basic = ask->basic;
	int			answered = 0;

	for (int i = 0; i < ncalls; i++)
	{
		flying[i] = &calls[i];
		for (int j = 0; j < calls[i].nrows; j++)
		{
			calls[i].rows[j]->check.found = IM_FOUND_UNREADABLE;
			calls[i].rows[j]->check.again = false;
		}
	}
	im_session_exchange(ask->sender, flying, ncalls);
	for (int i = 0; i < ncalls; i++)
		im_session_note(ask->slot, &calls[i]);
	for (int i = 0; i < ncalls; i++)
		answered += take_answer(ask, question, &calls[i], basic) ? 1 : 0;
	ask->proven = ask->proven || answered > 0;
	return answered;
}

/*
 * The service answers, but again and again not to these: who is to blame is found
 * as for a refusal.  False if it does not answer at all, or wants to be left alone.
 */
static bool
give_up(ImAsk *ask, const ImQuestion *question, ImCall *calls, int ncalls)
{
	for (int i = 0; i < ncalls; i++)
		if (!calls[i].reply.readable || calls[i].verdict.outcome != IM_OUT_UNREADABLE)
			return false;
	for (int i = 0; i < ncalls; i++)
		if (calls[i].nrows == 1)
			calls[i].rows[0]->check.again = false;	/* it stays unreadable */
		else
			split(ask, question, &calls[i]);
	return true;
}

/* The rows that are to be asked for again go before those that were not yet. */
static int
keep_open(ImRow **rows, int nasked, int nrows)
{
	int			n = 0;

	/* In place: what goes into one question stays together. */
	for (int i = 0; i < nrows; i++)
		if (i >= nasked || rows[i]->check.again)
			rows[n++] = rows[i];
	return n;
}

/* See ask.h. */
void
im_ask(ImAsk *ask, const ImQuestion *question, List *list)
{
	ImRow	  **rows = palloc(sizeof(ImRow *) * (list_length(list) + 1));
	ImCall	   *calls = palloc(sizeof(ImCall) * CALLS_AT_ONCE);
	int			nrows = 0;
	int			tries = 0;
	int			give_ups = 0;
	ListCell   *lc;

	foreach(lc, list)
		rows[nrows++] = lfirst(lc);
	while (nrows > 0)
	{
		int			nasked;
		int			ncalls = make_calls(ask, question, rows, nrows, calls, &nasked);

		if (exchange(ask, question, calls, ncalls) > 0)
			tries = give_ups = 0;
		else if (++tries < TRIES)
			nap(tries);
		else if (++give_ups > GIVE_UPS || !give_up(ask, question, calls, ncalls))
			im_ask_raise(ask, &calls[0]);
		else
			tries = 0;
		nrows = keep_open(rows, nasked, nrows);
	}
}

/* See ask.h. */
bool
im_ask_once(ImAsk *ask, ImCall *call)
{
	im_question_compose(call, ask->basic);
	for (int tries = 1;; tries++)
	{
		im_session_exchange(ask->sender, &call, 1);
		im_session_note(ask->slot, call);
		if (call->found != IM_FOUND_UNREADABLE)
			return true;
		/* Too large an answer comes again: our caller asks for less. */
		if (is_refused(call) || call->verdict.code == IM_CODE_TOO_BIG)
			return false;
		if (call->verdict.outcome == IM_OUT_STOP || tries == TRIES)
			im_ask_raise(ask, call);
		nap(tries);
	}
}
