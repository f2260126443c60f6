/*
 * dispatch.c
 *	  From claimed rows to calls, and from answers to what becomes of each row.
 *
 *		rows  ──►  calls  ──►  sender  ──►  answers  ──►  outcomes
 *		             ▲                         │
 *		             └── halves, single calls, lookups, sent again
 *
 * A row is in exactly one of these places: in a call that is queued or flying
 * (then the call is in live), or judged and waiting to be written (outcomes).
 *
 * What becomes of the rows of a call is decided in batch.c and protocol.c; here
 * the calls are made and sent.
 *
 * Must not know: SQL, signals, when the next claim is.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "batch.h"
#include "compat.h"
#include "dispatch.h"
#include "errcodes.h"
#include "failpoint.h"
#include "operation.h"
#include "outbox.h"
#include "protocol.h"
#include "record.h"
#include "text.h"

#define CHECK_BATCH			100 /* accounts in one account_check, as documented */
#define BINS				64	/* calls to which a row may still be added */

/* See dispatch.h. */
ImDispatch *
im_dispatch_create(MemoryContext ctx, ImSlot *slot, const ImPlan *plan)
{
	ImDispatch *dispatch = MemoryContextAllocZero(ctx, sizeof(ImDispatch));

	dispatch->ctx = ctx;
	dispatch->calls_ctx = AllocSetContextCreate(ctx, "im_import calls", ALLOCSET_DEFAULT_SIZES);
	dispatch->slot = slot;
	dispatch->plan = plan;
	dispatch->sender = im_sender_create(ctx, slot, true);
	return dispatch;
}

/* See dispatch.h. */
int
im_dispatch_open(const ImDispatch *dispatch)
{
	return dispatch->nrows + list_length(dispatch->outcomes);
}

/* See dispatch.h. */
int64 *
im_dispatch_claims(const ImDispatch *dispatch, ImKind kind, int *n)
{
	int64	   *claims = palloc(sizeof(int64) * (im_dispatch_open(dispatch) + 1));
	ListCell   *lc;

	*n = 0;
	for (int i = 0; i < dispatch->ncalls; i++)
		for (int j = 0; j < dispatch->live[i]->nrows; j++)
			if (dispatch->live[i]->rows[j]->kind == kind)
				claims[(*n)++] = dispatch->live[i]->rows[j]->claim;
	foreach(lc, dispatch->outcomes)
	{
		const ImRow *row = lfirst(lc);

		if (row->kind == kind)
			claims[(*n)++] = row->claim;
	}
	return claims;
}

/* See dispatch.h. */
int
im_dispatch_batch(const ImDispatch *dispatch, ImKind kind)
{
	int			batch = im_app_batch(im_sender_app(dispatch->sender), kind);
	int			known = dispatch->slot->batch[kind];	/* others only forget it */

	return known > 0 ? Min(known, batch) : batch;
}

/* A judged row waits to be written back. */
static void
keep_outcome(ImDispatch *dispatch, ImRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(dispatch->ctx);

	/* It outlives the turn: it waits for a transaction that commits. */
	if (dispatch->outcomes == NIL)
		dispatch->outcomes_since = im_now_us();
	row->judged_at = GetCurrentTimestamp();
	/* A doubt may be dated by this time: the clocks are compared. */
	im_steady_note(&dispatch->slot->steady, row->judged_at, im_now_us());
	dispatch->outcomes = lappend(dispatch->outcomes, row);
	MemoryContextSwitchTo(old);
}

/* ------------------------------------------------------------------------
 * Calls
 */

/* Counts a row of a live call, or counts it off. */
static void
count_row(ImDispatch *dispatch, const ImRow *row, int by)
{
	dispatch->nrows += by;
	dispatch->nrows_of[row->kind] += by;
}

/* Notes a call that is in the sender's hands. */
static void
add_live(ImDispatch *dispatch, ImCall *call)
{
	if (dispatch->ncalls == dispatch->room)
	{
		dispatch->room = Max(dispatch->room * 2, 64);
		dispatch->live = dispatch->live == NULL ?
			MemoryContextAlloc(dispatch->ctx, sizeof(ImCall *) * dispatch->room) :
			repalloc(dispatch->live, sizeof(ImCall *) * dispatch->room);
	}
	call->place = dispatch->ncalls;
	dispatch->live[dispatch->ncalls++] = call;
	for (int i = 0; i < call->nrows; i++)
		count_row(dispatch, call->rows[i], 1);
}

/* The sender has given a call back; its rows are left to the caller. */
static void
remove_live(ImDispatch *dispatch, ImCall *call)
{
	ImCall	   *last = dispatch->live[--dispatch->ncalls];

	dispatch->live[call->place] = last;
	last->place = call->place;
	for (int i = 0; i < call->nrows; i++)
		count_row(dispatch, call->rows[i], -1);
	if (call == dispatch->asking)
		dispatch->asking = NULL;
	if (call == dispatch->explaining)
		dispatch->explaining = NULL;
}

/* A call with room for so many rows. */
static ImCall *
make_call(ImDispatch *dispatch, ImOp op, ImKind kind, int room)
{
	ImCall	   *call = MemoryContextAllocZero(dispatch->calls_ctx, sizeof(ImCall));

	call->op = op;
	call->command = im_commands[kind];
	call->rows = MemoryContextAlloc(dispatch->calls_ctx, sizeof(ImRow *) * room);
	return call;
}

/* Frees a call, but none of its rows. */
static void
free_call(ImCall *call)
{
	if (call->body != NULL)
		pfree(call->body);
	pfree(call->rows);
	pfree(call);
}

/* See dispatch.h. */
void
im_dispatch_free_row(ImRow *row)
{
	char	   *owned[] = {row->room_key, row->key, row->name, row->item, row->problems};

	for (int i = 0; i < (int) lengthof(owned); i++)
		if (owned[i] != NULL)
			pfree(owned[i]);
	pfree(row);
}

/* The request of a call that imports its rows. */
static void
compose_import(ImCall *call, const ImApp *app)
{
	const char **items = palloc(sizeof(char *) * call->nrows);
	size_t	   *lengths = palloc(sizeof(size_t) * call->nrows);
	StringInfoData body;

	for (int i = 0; i < call->nrows; i++)
	{
		items[i] = call->rows[i]->item;
		lengths[i] = call->rows[i]->item_len;
	}
	initStringInfo(&body);
	if (call->command->compose != NULL)
		call->command->compose(&body, call);
	else if (call->op != call->command->op) /* the command for a single one: the item is all */
		appendBinaryStringInfo(&body, items[0], (int) lengths[0]);
	else
		im_record_request(&body, call->command, call->rows[0]->key,
						  im_batch_extra(call->command, app->recent_contact, call->rows[0]->group_id),
						  items, lengths, call->nrows);
	pfree(items);
	pfree(lengths);
	call->body = body.data;
	call->body_len = (size_t) body.len;
}

/* Writes the request. */
static void
compose(ImDispatch *dispatch, ImCall *call)
{
	MemoryContext old = MemoryContextSwitchTo(dispatch->calls_ctx);

	/* A lookup asks for no more than every app must tell. */
	if (im_op_asks(call->op))
		im_question_compose(call, true);
	else
		compose_import(call, im_sender_app(dispatch->sender));
	MemoryContextSwitchTo(old);
}

/* Hands a call to the sender. */
static void
send_call(ImDispatch *dispatch, ImCall *call, bool urgent)
{
	if (!call->waits)
		compose(dispatch, call);
	/* Noted before it is queued: recovery must not miss its claims. */
	add_live(dispatch, call);
	im_sender_add(dispatch->sender, call, urgent);
}

/* ---- lookups of many rows ---- */

/* Rows that may have been sent and go again: they may have to be looked up next. */
static int
coming_rows(const ImDispatch *dispatch, const ImCommand *command)
{
	int			n = 0;

	for (int i = 0; i < dispatch->ncalls; i++)
	{
		const ImCall *call = dispatch->live[i];

		for (int j = 0; j < call->nrows && call->op == command->op; j++)
			n += call->rows[j]->life.maybe_sent ? 1 : 0;
	}
	return n;
}

/* The lookup that waits for more rows goes, unless more may come soon. */
static void
ask_or_wait(ImDispatch *dispatch)
{
	ImCall	   *call = dispatch->asking;

	if (call == NULL ||
		!im_plan_asks(dispatch->plan, call->command->kind, call->nrows, call->command->lookup_batch,
					  coming_rows(dispatch, call->command), im_now_us() - dispatch->asking_since))
		return;
	dispatch->asking = NULL;
	compose(dispatch, call);
	call->waits = false;
}

/* A row goes into the lookup that waits for more, or begins one. */
static void
ask_with_others(ImDispatch *dispatch, ImRow *row)
{
	ImCall	   *call = dispatch->asking;

	if (call == NULL)
	{
		call = make_call(dispatch, im_batch_op(row), row->kind, im_commands[row->kind]->lookup_batch);
		call->rows[call->nrows++] = row;
		call->waits = true;
		dispatch->asking = call;
		dispatch->asking_since = im_now_us();
		send_call(dispatch, call, false);
	}
	else
	{
		call->rows[call->nrows++] = row;
		count_row(dispatch, row, 1);
	}
	/* Full, it goes at once: there is no place for the next row. */
	if (call->nrows == call->command->lookup_batch)
		ask_or_wait(dispatch);
}

/* True for a row that is looked up with others; not if a session waits for it. */
static bool
asks_with_others(const ImDispatch *dispatch, const ImRow *row)
{
	return row->next.act == IM_ACT_LOOKUP && im_commands[row->kind]->lookup_batch > 0 && row->request < 0 &&
		(dispatch->asking == NULL || dispatch->asking->command->kind == row->kind);
}

/* ---- questions why rows were refused ---- */

/* True if more of the kind may be refused soon: some are under way, or their groups. */
static bool
more_to_explain(const ImDispatch *dispatch, const ImCommand *command)
{
	ListCell   *lc;

	for (int i = 0; i < dispatch->ncalls; i++)
	{
		const ImCall *call = dispatch->live[i];

		if (call->op == command->op || call->command->makes_groups)
			return true;
	}
	foreach(lc, dispatch->outcomes)
		if (im_commands[((ImRow *) lfirst(lc))->kind]->makes_groups)
			return true;
	return im_plan_room_comes(dispatch->plan, dispatch->rooms, command->kind, im_now_us());
}

/* The question that waits for more rows goes, unless more may come soon. */
static void
explain_or_wait(ImDispatch *dispatch)
{
	ImCall	   *call = dispatch->explaining;

	if (call == NULL ||
		!im_plan_explains(call->nrows, call->command->explain_batch,
						  more_to_explain(dispatch, call->command), im_now_us() - dispatch->explaining_since))
		return;
	dispatch->explaining = NULL;
	compose(dispatch, call);
	call->waits = false;
}

/* What the options say of a row's life. */
static ImPolicy
policy_of(const ImDispatch *dispatch)
{
	return (ImPolicy)
	{
		.max_attempts = im_sender_app(dispatch->sender)->max_attempts
	};
}

/* A row goes back to its outbox as if never claimed. */
static void
give_row_back(ImDispatch *dispatch, ImRow *row)
{
	ImPolicy	policy = policy_of(dispatch);

	im_batch_give_back(row, &policy);
	keep_outcome(dispatch, row);
}

/* Rows go into calls, and these to the sender. */
static void
place_rows(ImDispatch *dispatch, List *rows)
{
	ImCall	   *bins[BINS];
	int			nbins = 0;
	int			batches[IM_KINDS] = {0};
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);
		int			batch;
		int			place;

		/* Read once: other options may reset it, and a call has place for no more. */
		if (batches[row->kind] == 0)
			batches[row->kind] = im_dispatch_batch(dispatch, row->kind);
		batch = batches[row->kind];
		if (asks_with_others(dispatch, row))
		{
			ask_with_others(dispatch, row);
			continue;
		}
		place = im_batch_place(bins, nbins, row, batch);
		/* Another call of its room goes first: this row must not fly beside it. */
		if (place == IM_PLACE_LATER)
		{
			give_row_back(dispatch, row);
			continue;
		}
		if (place == IM_PLACE_NEW)
		{
			/* No place: the fullest one is most likely the oldest. */
			if (nbins == BINS)
			{
				send_call(dispatch, bins[0], bins[0]->rows[0]->request >= 0);
				memmove(bins, bins + 1, sizeof(ImCall *) * --nbins);
			}
			place = nbins++;
			bins[place] = make_call(dispatch, im_batch_op(row), row->kind, batch);
		}
		bins[place]->rows[bins[place]->nrows++] = row;
	}
	for (int i = 0; i < nbins; i++)
		send_call(dispatch, bins[i], bins[i]->rows[0]->request >= 0);
}

/* See dispatch.h. */
void
im_dispatch_rows(ImDispatch *dispatch, List *rows)
{
	place_rows(dispatch, rows);
	ask_or_wait(dispatch);
	explain_or_wait(dispatch);
}

/* ------------------------------------------------------------------------
 * Verdicts
 */

/* What im_import_status shows as the last error; the slot must be locked. */
static void
note_last_error(ImSlot *slot, const ImCall *call)
{
	char		text[IM_INFO_MAX + 32];

	if (call->verdict.outcome == IM_OUT_DONE || call->verdict.outcome == IM_OUT_EXISTS ||
		call->verdict.code == 0)
		return;
	snprintf(text, sizeof(text), "%d: %s", call->verdict.code,
			 call->reply.info[0] ? call->reply.info : im_error_find(call->verdict.code)->meaning);
	im_text_clean(text, strlen(text), slot->last_error, sizeof(slot->last_error));
	slot->last_error_at = GetCurrentTimestamp();
}

/* Limiter and breaker learn from a verdict. Returns whether silence counts. */
static bool
note_verdict(ImDispatch *dispatch, const ImCall *call)
{
	ImSlot	   *slot = dispatch->slot;
	bool		counts;

	im_slot_lock(slot);
	counts = im_batch_note(call, &slot->breaker, slot->changed_at, im_now_us());
	if (call->begun_at >= slot->changed_at || call->verdict.outcome == IM_OUT_DONE)
		note_last_error(slot, call);
	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_slot_slow(slot, call->op, call->begun_at, im_code_is_app_wide(call->verdict.code));
	im_slot_unlock(slot);
	return counts;
}

/* Sends a row again, alone, with another operation of its command. */
static void
send_alone(ImDispatch *dispatch, ImRow *row, ImOp op)
{
	ImCall	   *call = make_call(dispatch, op, row->kind, 1);

	call->rows[call->nrows++] = row;
	send_call(dispatch, call, true);
}

/* What follows for the rows of one call, in their order. */
typedef struct Followers
{
	List	   *look_up;		/* the service is to be asked for them */
	List	   *send;			/* to be sent (again) */
	List	   *explain;		/* refused without a reason: one may be found */
} Followers;

/* Asks the protocol what a row's verdict means. */
static void
judge_row(ImDispatch *dispatch, ImRow *row, bool counts, Followers *followers)
{
	const ImCommand *command = im_commands[row->kind];
	ImPolicy	policy = policy_of(dispatch);

	/* What may have made a group counts for the day, whatever follows. */
	if (command->makes_groups &&
		(row->verdict.outcome == IM_OUT_DONE || row->verdict.outcome == IM_OUT_UNKNOWN))
		im_outbox_note_groups(im_outbox_get(), 1);
	im_batch_judge(row, &policy, counts, pg_prng_double(&pg_global_prng_state));
	if (row->next.act == IM_ACT_LOOKUP)
		followers->look_up = lappend(followers->look_up, row);
	else if (row->next.act == IM_ACT_SEND)
		followers->send = lappend(followers->send, row);
	else
		keep_outcome(dispatch, row);
}

/* Refused rows, whose question may have rows of other calls in it. */
static void
explain_with_others(ImDispatch *dispatch, List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);
		const ImCommand *command = im_commands[row->kind];
		ImCall	   *call = dispatch->explaining;

		if (call == NULL)
		{
			call = make_call(dispatch, command->explain_op, row->kind, command->explain_batch);
			call->rows[call->nrows++] = row;
			call->waits = true;
			dispatch->explaining = call;
			dispatch->explaining_since = im_now_us();
			send_call(dispatch, call, true);
		}
		else
		{
			call->rows[call->nrows++] = row;
			count_row(dispatch, row, 1);
		}
		/* Full, it goes at once: there is no place for the next row. */
		if (call->nrows == command->explain_batch)
			explain_or_wait(dispatch);
	}
}

/* Refused rows of one call, whose accounts, or they themselves, are to be looked at, so many a call. */
static void
explain(ImDispatch *dispatch, List *rows)
{
	ImCall	   *call = NULL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);

		if (call == NULL)
			call = make_call(dispatch, im_commands[row->kind]->explain_op, row->kind, CHECK_BATCH);
		call->rows[call->nrows++] = row;
		if (call->nrows == CHECK_BATCH)
		{
			send_call(dispatch, call, true);
			call = NULL;
		}
	}
	if (call != NULL)
		send_call(dispatch, call, true);
}

/* Does what follows. */
static void
follow(ImDispatch *dispatch, Followers *followers)
{
	place_rows(dispatch, followers->look_up);
	place_rows(dispatch, followers->send);
	if (followers->explain != NIL &&
		im_commands[((ImRow *) linitial(followers->explain))->kind]->explain_batch > 0)
		explain_with_others(dispatch, followers->explain);
	else
		explain(dispatch, followers->explain);
}

/* The rows of a call as two calls, which are sent at once and in order. */
static void
halve(ImDispatch *dispatch, const ImCall *call)
{
	int			first = im_batch_first_half(call);
	ImCall	   *halves[2];

	for (int h = 0; h < 2; h++)
	{
		int			from = h == 0 ? 0 : first;
		int			to = h == 0 ? first : call->nrows;

		halves[h] = make_call(dispatch, call->op, call->command->kind, Max(to - from, 1));
		for (int i = from; i < to; i++)
			halves[h]->rows[halves[h]->nrows++] = call->rows[i];
	}
	/* In order one goes before the other: the second half waits to be judged. */
	if (call->command->ordered)
	{
		for (int i = first; i < call->nrows; i++)
			give_row_back(dispatch, call->rows[i]);
		free_call(halves[1]);
	}
	else
		send_call(dispatch, halves[1], true);
	/* Urgent calls go to the head of the queue: the first half is added last. */
	send_call(dispatch, halves[0], true);
}

/*
 * A call of many rows failed as a whole.  Too many: fewer from now on, and no row
 * is blamed.  Else for one row's sake: it is found by halving.
 */
static void
split_failed(ImDispatch *dispatch, const ImCall *call)
{
	ImKind		kind = call->command->kind;
	int			fewer = im_batch_fewer(call, im_dispatch_batch(dispatch, kind));

	if (fewer > 0)
	{
		ereport(LOG,
				(errmsg("im_import: %d rows of %s in one call are too many for the service (code %d), %d are sent from now on",
						call->nrows, call->command->table, call->verdict.code, fewer)));
		im_slot_lock(dispatch->slot);
		dispatch->slot->batch[kind] = fewer;
		im_slot_unlock(dispatch->slot);
	}
	halve(dispatch, call);
}

/* ---- what was asked ---- */

/* Nothing more is sent for a room in which others write. */
static void
hold_room(ImDispatch *dispatch, const ImRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(dispatch->ctx);
	ImHeld	   *held = palloc0(sizeof(ImHeld));

	held->room = row->room;
	strlcpy(held->reason, row->info, sizeof(held->reason));
	dispatch->held = lappend(dispatch->held, held);
	MemoryContextSwitchTo(old);
}

/*
 * A group's messages were read.  False if more must be read before rows can be
 * called absent: then the next question is under way.
 */
static bool
take_messages(ImDispatch *dispatch, ImCall *call)
{
	ImCall		more = {0};
	const ImRow *held;

	if (im_batch_reads_on(call, &more))
	{
		ImCall	   *next = make_call(dispatch, call->op, call->command->kind, call->nrows);

		memcpy(next->rows, call->rows, sizeof(ImRow *) * call->nrows);
		next->nrows = call->nrows;
		next->read_below = more.read_below;
		next->group_newest = more.group_newest;
		send_call(dispatch, next, true);
		return false;
	}
	held = im_batch_read(call);
	if (held != NULL)
		hold_room(dispatch, held);
	return true;
}

/*
 * The service was asked about a group that is to be disbanded.  False if more
 * must be asked: then the next question is under way.
 */
static bool
take_undo(ImDispatch *dispatch, ImCall *call)
{
	int64		read_below = 0;
	ImCall	   *read;

	if (im_batch_undo(call, &read_below))
		return true;
	read = make_call(dispatch, IM_OP_GET_MESSAGES, call->command->kind, 1);
	read->rows[read->nrows++] = call->rows[0];
	read->read_below = read_below;
	send_call(dispatch, read, true);
	return false;
}

/* Does what follows for the call as a whole; false if its rows were handed on by that. */
static bool
follow_call(ImDispatch *dispatch, ImCall *call)
{
	switch (im_batch_follow(call))
	{
		case IM_FOLLOW_HALVES:
			split_failed(dispatch, call);
			return false;
		case IM_FOLLOW_PAGE:
			send_alone(dispatch, call->rows[0], call->op);
			return false;
		case IM_FOLLOW_UNDO:
			return take_undo(dispatch, call);
		case IM_FOLLOW_MESSAGES:
			return take_messages(dispatch, call);
		case IM_FOLLOW_EXPLAINED:
			im_batch_explained(call);
			return true;
		case IM_FOLLOW_ROWS:
			break;
	}
	return true;
}

/* Each row of an answered call goes its own way. */
static void
route_rows(ImDispatch *dispatch, ImCall *call, bool counts, Followers *followers)
{
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		switch (im_batch_route(call, row))
		{
			case IM_ROUTE_ALONE:
				send_alone(dispatch, row, call->command->single_op);
				break;
			case IM_ROUTE_EXPLAIN:
				followers->explain = lappend(followers->explain, row);
				break;
			case IM_ROUTE_JUDGE:
				judge_row(dispatch, row, counts, followers);
				break;
		}
	}
}

/* One call is answered, or not. */
static void
take_call(ImDispatch *dispatch, ImCall *call)
{
	bool		counts = note_verdict(dispatch, call);
	Followers	followers = {0};

	/* First: its rows go into other calls, or wait to be written. */
	remove_live(dispatch, call);
	if (follow_call(dispatch, call))
		route_rows(dispatch, call, counts, &followers);
	free_call(call);
	follow(dispatch, &followers);
}

/* See dispatch.h. */
void
im_dispatch_collect(ImDispatch *dispatch)
{
	ImCall	   *call;

	while ((call = im_sender_next(dispatch->sender)) != NULL)
	{
		dispatch->worked = true;
		IM_FAILPOINT("reply_read");
		take_call(dispatch, call);
	}
	ask_or_wait(dispatch);
	explain_or_wait(dispatch);
}

/* Judges the rows of a call that was taken back, whatever the protocol wants next. */
static void
give_back(ImDispatch *dispatch, ImCall *call)
{
	ImPolicy	policy = policy_of(dispatch);

	remove_live(dispatch, call);
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		/* The request may have arrived: the group counts for the day. */
		if (im_commands[row->kind]->makes_groups && row->verdict.outcome == IM_OUT_UNKNOWN)
			im_outbox_note_groups(im_outbox_get(), 1);
		/* Nothing is held against the row: we have not waited for its answer. */
		im_protocol_judge(&row->life, &row->verdict, &policy, false,
						  pg_prng_double(&pg_global_prng_state), &row->next);
		keep_outcome(dispatch, row);
	}
	free_call(call);
}

/* See dispatch.h. */
void
im_dispatch_release(ImDispatch *dispatch, int kept)
{
	List	   *calls = NIL;
	ListCell   *lc;

	/* The last ones are taken, but given back in their order, in which they are due again. */
	while (im_sender_queued(dispatch->sender) > kept)
		calls = lcons(im_sender_take_back(dispatch->sender), calls);
	foreach(lc, calls)
	{
		ImCall	   *call = lfirst(lc);

		/* Nothing of an earlier exchange may stick to what never left. */
		for (int i = 0; i < call->nrows; i++)
		{
			memset(&call->rows[i]->verdict, 0, sizeof(ImVerdict));
			call->rows[i]->verdict.outcome = IM_OUT_NOT_SENT;
			call->rows[i]->info[0] = '\0';
		}
		give_back(dispatch, call);
	}
	list_free(calls);
}

/* See dispatch.h. */
void
im_dispatch_give_up(ImDispatch *dispatch)
{
	ImCall	   *call;

	while ((call = im_sender_give_up(dispatch->sender)) != NULL)
		give_back(dispatch, call);
}
