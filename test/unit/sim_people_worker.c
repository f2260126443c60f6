/*
 * sim_people_worker.c
 *	  The worker: its turn, its calls, what follows from an answer.  As drain.c,
 *	  dispatch.c, sender.c and flow.c do it; nothing here decides.
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "sim_people.h"

/* What one transaction is to do and has done. */
typedef struct Transaction
{
	ImTurn		turn;
	bool		pause;
	bool		wants[IM_KINDS];
	int			want;			/* accounts */
	ImRoom	   *picked[IM_KINDS][GROUPS + 1];
	ImRoomLook	looks[IM_KINDS][GROUPS + 1];
	int			npicked[IM_KINDS];
	ImPlanFound found[IM_KINDS];
	ImRow	   *rows[IM_KINDS][ROWS];
	int			nrows[IM_KINDS];
	bool		written[ROWS];	/* of the outcomes, by their place */
	bool		swept;
} Transaction;

static jmp_buf grave;			/* where a turn goes in which the worker dies */
static Call calls[CALLS];
static int	ncalls;				/* of them in use, or free again */
static Call *free_calls;

/* The worker may die at any moment; this is one. */
static void
strike(World *w, LifeMet *where)
{
	if (w->crash == 0 || w->now >= w->calm_at || !chance(w, w->crash))
		return;
	where->n++;
	die(w, chance(w, 400));
	longjmp(grave, 1);
}

/* ------------------------------------------------------------------------
 * Calls
 */

static Call *
make_call(World *w, ImOp op, ImKind kind)
{
	Call	   *call = free_calls;

	if (call != NULL)
		free_calls = call->next;
	else if (ncalls < CALLS)
		call = &calls[ncalls++];
	else
	{
		violate(w, "calls without end");
		longjmp(grave, 1);
	}
	memset(&call->call, 0, sizeof(call->call));
	call->next = NULL;
	call->call.op = op;
	call->call.command = im_commands[kind];
	call->call.rows = call->rows;
	return call;
}

static void
free_call(Call *call)
{
	call->next = free_calls;
	free_calls = call;
}

static void
add_row(Call *call, ImRow *row)
{
	call->rows[call->call.nrows++] = row;
}

/* Notes a call that is in the sender's hands, and queues it. */
static void
send_call(World *w, Call *call, bool urgent)
{
	ImOp		op = call->call.op;
	Call	  **end = &w->head[op];

	call->call.place = w->nlive;
	w->live[w->nlive++] = call;
	w->nrows_of[call->call.command->kind] += call->call.nrows;
	while (!urgent && *end != NULL)
		end = &(*end)->next;
	call->next = *end;
	*end = call;
	w->queued[op]++;
	w->nqueued++;
}

/* The sender has given a call back; its rows are left to the caller. */
static void
remove_live(World *w, Call *call)
{
	Call	   *last = w->live[--w->nlive];

	w->live[call->call.place] = last;
	last->call.place = call->call.place;
	w->nrows_of[call->call.command->kind] -= call->call.nrows;
	if (call == w->explaining)
		w->explaining = NULL;
}

/* Takes a call out of its queue. */
static void
unqueue(World *w, Call *call)
{
	Call	  **link = &w->head[call->call.op];

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	w->queued[call->call.op]--;
	w->nqueued--;
}

/* Rows that one call takes now. */
static int
batch_of(const World *w, ImKind kind)
{
	int			known = w->known_most[kind];

	return known > 0 && known < w->per_call[kind] ? known : w->per_call[kind];
}

/* A judged row waits to be written back. */
static void
keep_outcome(World *w, ImRow *row)
{
	if (w->noutcomes == 0)
		w->outcomes_since = w->now;
	row->judged_at = w->now;
	im_steady_note(&w->steady, w->now, w->now);
	w->outcomes[w->noutcomes++] = row;
}

/* ---- questions why rows were refused ---- */

/* True if more of the kind may be refused soon. */
static bool
more_to_explain(const World *w, const ImCommand *command)
{
	for (int i = 0; i < w->nlive; i++)
		if (w->live[i]->call.op == command->op)
			return true;
	return im_plan_room_comes(&w->plan, w->rooms, command->kind, w->now);
}

/* The question that waits for more rows goes, unless more may come soon. */
static void
explain_or_wait(World *w)
{
	Call	   *call = w->explaining;

	if (call == NULL || !im_plan_explains(call->call.nrows, call->call.command->explain_batch,
										  more_to_explain(w, call->call.command), w->now - w->explaining_since))
		return;
	w->explaining = NULL;
	call->call.waits = false;
}

/* A refused row, whose question may have rows of other calls in it. */
static void
explain_with_others(World *w, ImRow *row)
{
	const ImCommand *command = im_commands[row->kind];
	Call	   *call = w->explaining;

	met[MET_EXPLAINED].n++;
	if (call == NULL)
	{
		call = make_call(w, command->explain_op, row->kind);
		add_row(call, row);
		call->call.waits = true;
		w->explaining = call;
		w->explaining_since = w->now;
		send_call(w, call, true);
	}
	else
	{
		add_row(call, row);
		w->nrows_of[row->kind]++;
	}
	if (call->call.nrows == command->explain_batch)
		explain_or_wait(w);
}

/* ---- rows to calls ---- */

/* Rows go into calls, and these to the sender. */
static void
place_rows(World *w, ImRow *const *rows, int n)
{
	static ImCall *bins[ROWS];
	static Call *made[ROWS];
	int			nbins = 0;

	for (int i = 0; i < n; i++)
	{
		int			place = im_batch_place(bins, nbins, rows[i], batch_of(w, rows[i]->kind));

		if (place < 0)
		{
			place = nbins++;
			made[place] = make_call(w, im_batch_op(rows[i]), rows[i]->kind);
			bins[place] = &made[place]->call;
		}
		add_row(made[place], rows[i]);
	}
	for (int i = 0; i < nbins; i++)
		send_call(w, made[i], false);
}

/* Sends a row again, alone, with another operation of its command. */
static void
send_alone(World *w, ImRow *row, ImOp op)
{
	Call	   *call = make_call(w, op, row->kind);

	met[MET_ALONE].n++;
	add_row(call, row);
	send_call(w, call, true);
}

/* ------------------------------------------------------------------------
 * Answers
 */

/* A call goes again, in halves. */
static void
split_failed(World *w, Call *call)
{
	ImCall	   *c = &call->call;
	int			fewer = im_batch_fewer(c, batch_of(w, c->command->kind));
	int			first = im_batch_first_half(c);
	Call	   *halves[2];

	if (c->op != c->command->op)
		met[MET_QUESTION_SPLIT].n++;
	else
		met[im_code_is_too_many(c->verdict.code, c->nrows, c->command->batch) ? MET_TOO_MANY : MET_HALVED].n++;
	if (fewer > 0)
		w->known_most[c->command->kind] = fewer;
	for (int h = 0; h < 2; h++)
		halves[h] = make_call(w, c->op, c->command->kind);
	for (int i = 0; i < c->nrows; i++)
		add_row(halves[i >= first], call->rows[i]);
	send_call(w, halves[1], true);
	send_call(w, halves[0], true);
}

/* Limiter and breaker learn from a verdict. Returns whether silence counts. */
static bool
note_verdict(World *w, const ImCall *call)
{
	bool		counts = im_batch_note(call, &w->breaker, 0, w->now);

	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_limiter_slow(&w->limiters[call->op], call->begun_at, w->now);
	return counts;
}

/* Asks the protocol what a row's verdict means. */
static void
judge_row(World *w, const ImCall *call, ImRow *row, bool counts, ImRow **again, int *n)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};

	im_batch_judge(row, &policy, counts, (double) below(w, 1000) / 1000);
	met[MET_ALONE_DONE].n += call->op == IM_OP_IMPORT_ACCOUNT && row->next.status == IM_IMPORTED;
	if (row->next.act == IM_ACT_SEND)
		again[(*n)++] = row;
	else if (row->next.act == IM_ACT_SETTLE)
		keep_outcome(w, row);
	else
		violate(w, "a row is to be looked up, of which a repeat does no harm");
}

/* One call is answered, or not. */
static void
take_call(World *w, Call *call)
{
	ImCall	   *c = &call->call;
	bool		counts = note_verdict(w, c);
	ImFollow	follow = im_batch_follow(c);
	ImRow	   *again[IN_CALL];
	int			nagain = 0;
	ImRow	   *explain[IN_CALL];
	int			nexplain = 0;

	remove_live(w, call);
	if (follow == IM_FOLLOW_HALVES)
		split_failed(w, call);
	if (follow == IM_FOLLOW_EXPLAINED)
		im_batch_explained(c);
	for (int i = 0; follow != IM_FOLLOW_HALVES && i < c->nrows; i++)
		switch (im_batch_route(c, call->rows[i]))
		{
			case IM_ROUTE_ALONE:
				send_alone(w, call->rows[i], c->command->single_op);
				break;
			case IM_ROUTE_EXPLAIN:
				explain[nexplain++] = call->rows[i];
				break;
			case IM_ROUTE_JUDGE:
				judge_row(w, c, call->rows[i], counts, again, &nagain);
				break;
		}
	free_call(call);
	place_rows(w, again, nagain);
	for (int i = 0; i < nexplain; i++)
		explain_with_others(w, explain[i]);
}

/* Takes all answers that have come. */
static void
collect(World *w)
{
	for (int i = 0; i < w->nrequests; i++)
	{
		Request    *request = &w->requests[i];
		Call	   *call = request->call;

		if (!request->used || call == NULL || request->answers_at > w->now)
			continue;
		request->call = NULL;
		w->flying[call->call.op]--;
		w->nflying--;
		w->worked = true;
		read_answer(w, call, request);
		take_call(w, call);
	}
	explain_or_wait(w);
}

/* ------------------------------------------------------------------------
 * The facts
 */

/* Gathers what plan.c decides by. */
static void
gather(const World *w, ImPlanFacts *facts)
{
	memset(facts, 0, sizeof(*facts));
	facts->now = w->now;
	facts->may_send = true;
	facts->paused = w->knows_pause;
	facts->max_in_flight = w->max_in_flight;
	facts->outcomes = w->noutcomes;
	facts->outcomes_since = w->outcomes_since;
	facts->queued = w->nqueued;
	facts->in_flight = w->nflying;
	facts->rooms = w->rooms;
	facts->finding = w->sweep_owed;
	facts->sweep_due = w->sweep_owed ? 1 : 0;
	facts->breaker = &w->breaker;
	facts->beneath = w->beneath;
	facts->ring = w->ring;
	facts->worked = w->worked;
	facts->midnight = 3600 * SEC;
	for (int i = 0; i < w->noutcomes; i++)
		facts->kinds[w->outcomes[i]->kind].judged++;
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		ImPlanKind *its = &facts->kinds[kind];

		its->roomed = kind >= (int) IM_FIRST_STAGE && kind <= (int) IM_LAST_STAGE;
		its->batch = im_commands[kind] != NULL ? batch_of(w, kind) : 1;
		its->rate = 200;
		if (im_commands[kind] == NULL)
			continue;
		its->open = w->queued[im_commands[kind]->op] + w->flying[im_commands[kind]->op];
		its->flying = w->flying[im_commands[kind]->op];
		its->rate = w->limiters[im_commands[kind]->op].limit;
		its->nrows = w->nrows_of[kind];
		facts->nrows += its->nrows;
	}
}

/* ------------------------------------------------------------------------
 * The transaction
 */

/* Finds out when the next retry is due, once there is nothing else. */
static void
note_next_due(World *w, ImKind kind, bool claimed)
{
	int64_t		delay = next_due(w, kind);
	bool		passed_over = delay == -2 && w->nrows_of[kind] == 0 && !claimed;

	im_plan_next_due(&w->plan, kind, delay < 0 ? -1 : delay, passed_over, w->now);
}

/* Claims rows of all kinds. */
static void
claim_all(World *w, Transaction *tx)
{
	ImPlanFound *found = &tx->found[IM_ACCOUNT];

	if (tx->wants[IM_ACCOUNT])
	{
		found->want = tx->want;
		take_accounts(w, tx->want, w->plan.rescan[IM_ACCOUNT], &found->short_scan,
					  tx->rows[IM_ACCOUNT], &tx->nrows[IM_ACCOUNT], &found->nsettled);
		found->nrows = tx->nrows[IM_ACCOUNT];
		if (found->want > 0 && found->short_scan)
			note_next_due(w, IM_ACCOUNT, found->nrows > 0);
		if (im_plan_found(&w->plan, IM_ACCOUNT, found))
			im_plan_rescanned(&w->plan, w->now, w->now);
	}
	for (int kind = IM_FIRST_STAGE; kind <= (int) IM_LAST_STAGE; kind++)
		for (int i = 0; i < tx->npicked[kind]; i++)
			if (kind == IM_MEMBER && tx->picked[kind][i]->key[0] != '\0')
				take_members(w, tx->picked[kind][i], batch_of(w, kind), &tx->looks[kind][i], tx->rows[kind], &tx->nrows[kind]);
}

/* Looks for groups that are there, and have rows. */
static void
sweep(World *w)
{
	w->sweep_owed = false;
	for (int g = 0; g < w->ngroups; g++)
	{
		char		key[4] = {'+', (char) ('0' + g), '\0'};
		ImRoom	   *room = im_rooms_find(w->rooms, key);
		bool		open = false;

		for (int i = 0; i < w->nrows && w->made_at[g] <= w->now; i++)
			open = open || (w->rows[i].kind == IM_MEMBER && w->rows[i].group == g && is_visible(w, &w->rows[i]) &&
							w->rows[i].status == IM_PENDING);
		if (!open || w->knows_pause)
			continue;
		if (room != NULL)
			room->revisit = true;
		else
			(void) im_rooms_add(w->rooms, key, key, 0);
	}
}

/* Writes the outcomes; what is locked stays. */
static void
settle_all(World *w, Transaction *tx)
{
	for (int i = 0; i < tx->turn.write; i++)
		tx->written[i] = settle_row(w, w->outcomes[i]);
}

/* What the transaction does. */
static void
transact(World *w, Transaction *tx)
{
	if (tx->turn.look)
		w->plan.paused = w->knows_pause = w->paused;
	if (tx->pause)
	{
		check_pause(w);
		w->plan.paused = w->paused = w->knows_pause = true;
		w->plan.just_paused = true;
		memset(tx->wants, 0, sizeof(tx->wants));
		memset(tx->npicked, 0, sizeof(tx->npicked));
		tx->turn.sweep = false;
	}
	settle_all(w, tx);
	if (im_plan_recovers(&w->plan, w->now))
	{
		im_plan_recovered(&w->plan, recover_rows(w), w->now);
		w->sweep_owed = true;
	}
	claim_all(w, tx);
	tx->swept = tx->turn.sweep;
}

/* Takes what was written out of the outcomes. */
static void
drop_written(World *w, const Transaction *tx)
{
	int			n = 0;
	bool		locked = false;

	for (int i = 0; i < w->noutcomes; i++)
	{
		locked = locked || (i < tx->turn.write && !tx->written[i]);
		if (!tx->written[i])
			w->outcomes[n++] = w->outcomes[i];
	}
	w->noutcomes = n;
	/* The one that was tried alone goes to the end of the line. */
	if (im_plan_wrote(&w->plan, locked, w->now) && n > 1)
	{
		ImRow	   *first = w->outcomes[0];

		memmove(w->outcomes, w->outcomes + 1, sizeof(ImRow *) * (size_t) (n - 1));
		w->outcomes[n - 1] = first;
	}
}

/* What was written is done with. */
static void
finish_written(World *w, const Transaction *tx)
{
	static ImRow *written[ROWS];
	int			n = 0;

	for (int i = 0; i < tx->turn.write; i++)
		if (tx->written[i])
			written[n++] = w->outcomes[i];
	drop_written(w, tx);
	for (int i = 0; i < n; i++)
	{
		ImRow	   *row = written[i];
		bool		again = row->next.status == IM_PENDING;

		if (row->room != NULL)
			im_rooms_settled(w->rooms, row->room, 1, again, again ? w->now + row->next.delay_ms * 1000 : 0);
		else if (again)
			im_plan_came_back(&w->plan, row->kind);
		if (w->nrows_of[row->kind] == 0)
			im_plan_through(&w->plan, row->kind);
		free_row(row);
	}
	im_plan_succeeded(&w->plan, w->noutcomes);
}

/* The transaction committed: everything it did is true now. */
static void
note_success(World *w, Transaction *tx)
{
	finish_written(w, tx);
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		im_plan_claimed(&w->plan, kind, &tx->found[kind]);
		for (int i = 0; i < tx->npicked[kind]; i++)
			if (im_rooms_looked(w->rooms, tx->picked[kind][i], &tx->looks[kind][i], false, w->now))
				im_plan_owe_recovery(&w->plan);
		place_rows(w, tx->rows[kind], tx->nrows[kind]);
	}
	explain_or_wait(w);
	if (tx->swept)
		sweep(w);
}

/* It failed: what it claimed was never sent, what it wrote may stand. */
static void
note_failure(World *w, const Transaction *tx)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		for (int i = 0; i < tx->nrows[kind]; i++)
			free_row(tx->rows[kind][i]);
	w->sweep_owed = true;
	if (im_plan_failed(&w->plan, w->now) && w->noutcomes > 1)
	{
		ImRow	   *first = w->outcomes[0];

		memmove(w->outcomes, w->outcomes + 1, sizeof(ImRow *) * (size_t) (w->noutcomes - 1));
		w->outcomes[w->noutcomes - 1] = first;
	}
}

/* Runs one transaction with all that is due. */
static void
run_transaction(World *w, Transaction *tx)
{
	static Row	before[ROWS];
	int			nclaimed;
	int			fate = 0;
	bool		was_paused = w->paused;
	bool		risky = w->now < w->calm_at && w->bad > 0;

	if (risky)
		memcpy(before, w->rows, sizeof(Row) * (size_t) w->nrows);
	im_plan_begun(&w->plan, &tx->turn, w->now);
	transact(w, tx);
	if (fault(w, 3))
		fate = 1 + below(w, 3);
	nclaimed = tx->nrows[IM_ACCOUNT] + tx->nrows[IM_MEMBER];
	/* Before the commit is durable: as if it had never been. */
	if (fate == 1 || fate == 3)
	{
		memcpy(w->rows, before, sizeof(Row) * (size_t) w->nrows);
		w->paused = was_paused;
	}
	if (fate == 3)
	{
		die(w, chance(w, 400));
		longjmp(grave, 1);
	}
	strike(w, &met[nclaimed > 0 ? MET_LOST_CLAIM : MET_CRASHED]);
	met[MET_ROLLED_BACK].n += fate == 1;
	met[MET_COMMIT_UNKNOWN].n += fate == 2;
	if (fate == 0 && tx->pause)
		im_breaker_reset(&w->breaker, w->now);
	if (fate != 0)
		note_failure(w, tx);
	else
		note_success(w, tx);
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(World *w, bool rang)
{
	static Transaction tx;
	ImPlanFacts facts;
	bool		claim = false;
	int			allowed;

	memset(&tx, 0, offsetof(Transaction, rows));
	memset(tx.nrows, 0, sizeof(tx.nrows));
	memset(tx.written, 0, sizeof(tx.written));
	gather(w, &facts);
	if (!im_plan_turn(&w->plan, &facts, rang, &tx.turn))
		return;
	tx.pause = im_breaker_same_refusal(&w->breaker) != 0;
	allowed = im_plan_claims_allowed(&facts);
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		int			batch = facts.kinds[kind].batch;
		int			most = facts.kinds[kind].roomed ? im_plan_calls(&facts, kind, allowed) : 0;

		if (facts.kinds[kind].roomed)
			tx.npicked[kind] = im_rooms_pick(w->rooms, kind, facts.paused, w->now, tx.picked[kind],
											 most < GROUPS + 1 ? most : GROUPS + 1);
		else if (kind == IM_ACCOUNT)
			tx.want = im_plan_rows(&w->plan, &facts, kind, allowed);
		tx.wants[kind] = tx.npicked[kind] > 0 || (kind == IM_ACCOUNT && tx.want > 0);
		claim = claim || tx.wants[kind];
		allowed -= tx.npicked[kind] + (kind == IM_ACCOUNT ? (tx.want + batch - 1) / batch : 0);
		allowed = allowed < 0 ? 0 : allowed;
	}
	if (im_plan_transaction(&w->plan, &facts, claim, tx.pause, &tx.turn))
		run_transaction(w, &tx);
}

/* ------------------------------------------------------------------------
 * The turn
 */

/* The next call of an operation that can start, or NULL. */
static Call *
next_to_start(const World *w, ImOp op)
{
	for (Call *call = w->head[op]; call != NULL; call = call->next)
		if (!call->call.waits)
			return call;
	return NULL;
}

/* Starts queued calls. Returns when to try again, in us, or -1. */
static int64_t
pump(World *w, int allowed)
{
	int64_t		least = -1;

	/* Where connections are scarce each operation is first in its turn. */
	for (int i = 0; i < IM_OPS; i++)
	{
		int			op = (w->first_op + i) % IM_OPS;

		while (w->queued[op] > 0 && allowed > 0 && w->nflying < w->max_in_flight)
		{
			Call	   *call = next_to_start(w, op);
			int64_t		wait = call == NULL ? -1 : im_limiter_take(&w->limiters[op], true, w->now);

			if (wait > 0 && (least < 0 || wait < least))
				least = wait;
			if (call == NULL || wait > 0)
				break;
			unqueue(w, call);
			call->call.begun_at = w->now;
			w->flying[op]++;
			w->nflying++;
			allowed--;
			check_send(w, call);
			send_request(w, call);
			strike(w, &met[MET_CRASHED_SENT]);
		}
	}
	w->first_op = (w->first_op + 1) % IM_OPS;
	return least;
}

/* Calls that have not started, but so many, go back to their rows as if never claimed. */
static void
release_queued(World *w, int kept)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};

	while (w->nqueued > kept)
	{
		int			op = IM_OPS - 1;
		Call	   *call;

		while (w->queued[op] == 0)
			op--;
		for (call = w->head[op]; call->next != NULL; call = call->next)
			;
		unqueue(w, call);
		remove_live(w, call);
		for (int i = 0; i < call->call.nrows; i++)
		{
			im_batch_give_back(call->rows[i], &policy);
			keep_outcome(w, call->rows[i]);
		}
		free_call(call);
	}
}

/* What the drain is doing, as the views would show it. */
static void
describe(World *w, const ImPlanFacts *known)
{
	ImReport	report;
	ImFacts		facts = {
		.preloaded = true,.configured = true,.breaker = &w->breaker,.paused = w->knows_pause,
		.busy = im_plan_busy(&w->plan, known)
	};

	im_state_of(&facts, w->now, &report);
	w->beneath = report.beneath;
}

/* If nothing can be done for a while, sets the alarm and leaves. */
static bool
leave_or_stay(World *w, ImPlanFacts *facts)
{
	describe(w, facts);
	facts->beneath = w->beneath;
	if (!im_plan_leaves(&w->plan, facts))
		return false;
	w->wake_at = im_plan_alarm(&w->plan, facts);
	w->clean = !w->plan.dirty;
	met[MET_LEFT].n++;
	trace(w, "the worker leaves");
	forget_worker(w);
	return true;
}

/* One turn of a worker that woke up. */
void
turn(World *w)
{
	ImPlanFacts facts;
	int64_t		pumped;
	int64_t		sleep;
	int			allowed;
	bool		rang;

	if (setjmp(grave) != 0)
		return;
	collect(w);
	strike(w, &met[MET_CRASHED]);
	rang = w->ring;
	w->ring = w->clean = false;
	w->sweep_owed = w->sweep_owed || rang;
	im_plan_wake(&w->plan, rang, w->now);
	settle_and_claim(w, rang);
	gather(w, &facts);
	allowed = im_plan_allowed(&facts);
	release_queued(w, im_plan_keeps(&w->plan, &facts, allowed));
	pumped = pump(w, allowed);
	gather(w, &facts);
	if (leave_or_stay(w, &facts))
		return;
	sleep = im_plan_sleep(&w->plan, &facts, pumped, im_plan_claims_allowed(&facts));
	w->turns_at = w->now + (sleep + 999) / 1000 * 1000 + 1;
}

/* The launcher starts a worker: nothing is known of what another one did. */
void
start_worker(World *w)
{
	static const bool loose[IM_KINDS] = {[IM_ACCOUNT] = true};

	forget_worker(w);
	im_plan_start(&w->plan, loose, !w->clean, w->now);
	w->plan.paused = w->knows_pause = w->paused;
	w->rooms = im_rooms_create();
	w->running = true;
	w->sweep_owed = true;
	w->wake_at = 0;
	w->polled_at = w->turns_at = w->now;
	w->breaker.proven = false;
	im_steady_note(&w->steady, w->now, w->now);
	trace(w, "a worker starts");
}

/* What a worker had in its memory is gone; what it sent travels on. */
void
forget_worker(World *w)
{
	orphan_requests(w);
	if (w->rooms != NULL)
		im_rooms_free(w->rooms);
	memset(&w->running, 0, sizeof(World) - offsetof(World, running) - (sizeof(World) - offsetof(World, imports)));
	w->starts_at = w->now;
	free_calls = NULL;
	ncalls = 0;
	free_rows();
}

/* The worker dies, or its whole server. */
void
die(World *w, bool server)
{
	trace(w, "%s dies", server ? "the server" : "the worker");
	forget_worker(w);
	w->starts_at = w->now + (chance(w, 300) ? below(w, 400) * SEC : below(w, 5000) * MS);
	w->ring = true;
	if (!server)
		return;
	w->clean = false;
	memset(w->known_most, 0, sizeof(w->known_most));
	memset(&w->steady, 0, sizeof(w->steady));
	im_breaker_init(&w->breaker);
	for (int op = 0; op < IM_OPS; op++)
		if (w->limiters[op].limit > 0)
			im_limiter_init(&w->limiters[op], w->limiters[op].limit, w->now);
}
