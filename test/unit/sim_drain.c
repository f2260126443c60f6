/*
 * sim_drain.c
 *	  The worker of the model: drain.c and sender.c, without PostgreSQL.
 *
 * What a turn does and how long it sleeps is decided by plan.c, as in the
 * extension: here are the facts, and what was decided is done.  Functions bear
 * the names they have there.  What is added are the places where fate may
 * strike: strike() ends the worker, or its server, in the midst of what it does.
 */
#include <limits.h>
#include <setjmp.h>
#include <string.h>

#include "sim.h"

#define SHUTDOWN_GRACE		(1 * SEC)
#define LOOKUP_BATCH		3	/* here a row has a request of its own, but they go together */

#define Max(a, b)			((a) > (b) ? (a) : (b))

/* What one transaction is to do and has done. */
typedef struct Transaction
{
	ImTurn		turn;
	SimList		writing;
	SimList		written;
	int			want;
	SimList		calls;
	bool		short_scan;
	int			nsettled;
	bool		table_busy;
	bool		pause;
} Transaction;

/* Where a worker that is struck down ends; set by sim_turn(). */
static jmp_buf grave;

/* ------------------------------------------------------------------------
 * Lists and calls
 */

/* Puts a call at the beginning or the end of a list. */
void
sim_list_add(SimList *list, int call, bool first)
{
	if (first)
		memmove(list->at + 1, list->at, list->n);
	list->at[first ? 0 : list->n] = (uint8_t) call;
	list->n++;
}

/* Takes a call out of a list; false if it is not there. */
bool
sim_list_remove(SimList *list, int call)
{
	for (int i = 0; i < list->n; i++)
	{
		if (list->at[i] != call)
			continue;
		memmove(list->at + i, list->at + i + 1, list->n - i - 1);
		list->n--;
		return true;
	}
	return false;
}

/* A blank call; -1 if there is no room. */
int
sim_new_call(SimDrain *drain)
{
	for (int i = 0; i < MAX_CALLS; i++)
	{
		if (drain->used[i])
			continue;
		drain->used[i] = true;
		drain->waits[i] = false;
		memset(&drain->calls[i], 0, sizeof(SimCall));
		drain->calls[i].op = IM_OP_IMPORT_GROUP;
		return i;
	}
	return -1;
}

/* Ends the worker in the midst of what it does. */
void
sim_crash(SimWorld *world, SimCopy *copy, bool server)
{
	TRACE(world, "copy %d: %s dies", copy->number, server ? "server" : "worker");
	sim_orphan(world, copy);
	copy->running = false;
	copy->incarnation++;
	copy->launch_at = world->now + sim_between(world, 1 * MS, 2 * SEC);
	copy->slot.ring = true;
	if (!server)
	{
		COVER(CRASH_WORKER);
		return;
	}
	/* Shared memory is new; the limiter starts empty. */
	COVER(CRASH_SERVER);
	memset(&copy->slot, 0, sizeof(copy->slot));
	copy->slot.ring = true;
	im_breaker_init(&copy->slot.breaker);
	copy->starts_at = copy->launch_at;
	im_limiter_init(&copy->slot.limiter, copy->rate, copy->starts_at);
}

/* Fate may strike here. */
static void
strike(SimWorld *world, SimCopy *copy, SimCover where)
{
	if (!sim_chance(world, world->bad_crash))
		return;
	sim_coverage.met[where]++;
	sim_crash(world, copy, sim_chance(world, 500));
	longjmp(grave, 1);
}

/* ------------------------------------------------------------------------
 * Claim and settle
 */

/* True if nothing but the service keeps us from sending. */
static bool
may_send(const SimDrain *drain)
{
	return !drain->fenced;
}

/* Gathers what plan.c decides by. */
static void
gather(const SimWorld *world, const SimCopy *copy, ImPlanFacts *facts)
{
	const SimDrain *drain = &copy->drain;

	memset(facts, 0, sizeof(*facts));
	facts->now = world->now;
	facts->may_send = may_send(drain);
	facts->paused = drain->paused;
	facts->max_in_flight = copy->max_in_flight;
	facts->assigned_ids = copy->assigned_ids;
	facts->kinds[IM_GROUP] = (ImPlanKind)
	{
		.makes_groups = true,.batch = 1,.rate = copy->rate,
			.open = drain->queue.n + drain->flying.n,.flying = drain->flying.n,.nrows = drain->live.n
	};
	facts->nrows = drain->live.n;
	facts->outcomes = drain->outcomes.n;
	facts->outcomes_since = drain->outcomes_since;
	facts->queued = drain->queue.n;
	facts->in_flight = drain->flying.n;
	facts->breaker = &copy->slot.breaker;
	facts->beneath = drain->beneath;
	facts->ring = copy->slot.ring;
	facts->worked = drain->worked;
}

/* Reads pause and fence. */
static void
look_around(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;

	bool		was_paused = drain->paused;

	drain->paused = copy->table.paused;
	drain->plan.just_paused = drain->paused && !was_paused;
	drain->fenced = sim_fenced(copy);
	if (drain->fenced && copy->continues)
	{
		COVER(COPY_CONTINUED);
		(void) sim_adopt(world, copy, false);
		drain->fenced = false;
	}
}

/* Finds out when the next retry is due, once there is nothing else. */
static void
note_next_due(SimWorld *world, SimCopy *copy, bool claimed)
{
	SimDrain   *drain = &copy->drain;
	int64_t		due = sim_next_due(copy);
	int64_t		delay = due == 0 ? -1 : Max(due - sim_wall(world, copy), 0);
	bool		passed_over = due == 0 && drain->live.n == 0 && !claimed && sim_has_open(world, copy);

	im_plan_next_due(&drain->plan, IM_GROUP, delay, passed_over, world->now);
}

/* What the claim found, for the plan. */
static ImPlanFound
found_by(const Transaction *tx)
{
	return (ImPlanFound)
	{
		.want = tx->want,.short_scan = tx->short_scan,.nrows = tx->calls.n,.nsettled = tx->nsettled
	};
}

/* Makes the claim. */
static void
claim(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;
	ImPlanFound found;

	tx->short_scan = sim_claim(world, copy, tx->want, &tx->calls, &tx->nsettled);
	if (tx->short_scan)
		note_next_due(world, copy, tx->calls.n > 0);
	found = found_by(tx);
	if (im_plan_found(&drain->plan, IM_GROUP, &found))
		im_plan_rescanned(&drain->plan, world->now, world->now);
}

/* What runs inside a transaction. */
static void
transact(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;

	im_steady_note(&copy->slot.steady, sim_wall(world, copy), world->now);
	if (tx->turn.look)
		look_around(world, copy);
	if (tx->pause)
	{
		copy->table.paused = drain->paused = drain->plan.just_paused = true;
		tx->want = 0;
	}
	tx->table_busy = copy->table_locked_until > world->now;
	if (tx->table_busy)
	{
		COVER(TABLE_BUSY);
		return;
	}
	sim_settle(world, copy, &tx->writing, &tx->written);
	if (drain->fenced)
		return;
	if (im_plan_recovers(&drain->plan, world->now))
		im_plan_recovered(&drain->plan, sim_recover(world, copy), world->now);
	if (tx->want > 0)
		claim(world, copy, tx);
}

/* The outcome that was tried alone goes to the end of the line. */
static void
rotate_outcomes(SimDrain *drain)
{
	int			first = drain->outcomes.at[0];

	if (drain->outcomes.n < 2)
		return;
	COVER(CAREFUL);
	sim_list_remove(&drain->outcomes, first);
	sim_list_add(&drain->outcomes, first, false);
}

/* The transaction failed: what it claimed was never sent, what it wrote may stand. */
static void
note_failure(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;

	for (int i = 0; i < tx->calls.n; i++)
		drain->used[tx->calls.at[i]] = false;
	if (im_plan_failed(&drain->plan, world->now))
		rotate_outcomes(drain);
}

/* The lookups that wait go, unless more may come soon. */
static void
ask_or_wait(SimWorld *world, SimDrain *drain)
{
	int			nrows = 0;
	int			coming = 0;

	for (int i = 0; i < drain->queue.n; i++)
		nrows += drain->waits[drain->queue.at[i]] ? 1 : 0;
	for (int i = 0; i < drain->live.n; i++)
	{
		const SimCall *call = &drain->calls[drain->live.at[i]];

		coming += call->op == IM_OP_IMPORT_GROUP && call->life.maybe_sent ? 1 : 0;
	}
	if (nrows == 0 || !im_plan_asks(&drain->plan, IM_GROUP, nrows, LOOKUP_BATCH, coming, world->now - drain->asking_since))
		return;
	if (nrows > 1)
		COVER(ASKED_TOGETHER);
	if (nrows == LOOKUP_BATCH)
		COVER(ASKED_FULL);
	memset(drain->waits, 0, sizeof(drain->waits));
}

/* A row waits for others to be asked about with it. */
static void
ask_with_others(SimWorld *world, SimDrain *drain, int n)
{
	bool		first = true;

	for (int i = 0; i < drain->queue.n; i++)
		first = first && !drain->waits[drain->queue.at[i]];
	if (first)
		drain->asking_since = world->now;
	drain->waits[n] = true;
	sim_list_add(&drain->queue, n, false);
	/* Full, it goes at once. */
	ask_or_wait(world, drain);
}

/* Hands freshly claimed calls to the sender; their claim is committed. */
static void
launch_claimed(SimWorld *world, SimDrain *drain, const SimList *calls)
{
	for (int i = 0; i < calls->n; i++)
	{
		int			n = calls->at[i];

		sim_list_add(&drain->live, n, false);
		if (drain->calls[n].op == IM_OP_GET_GROUP_INFO)
			ask_with_others(world, drain, n);
		else
			sim_list_add(&drain->queue, n, false);
	}
	ask_or_wait(world, drain);
}

/* The transaction committed: everything it did is true now. */
static void
note_success(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;

	ImPlanFound found = found_by(tx);

	if (im_plan_wrote(&drain->plan, tx->written.n < tx->writing.n, world->now))
		rotate_outcomes(drain);
	for (int i = 0; i < tx->written.n; i++)
	{
		int			n = tx->written.at[i];

		sim_list_remove(&drain->outcomes, n);
		if (drain->calls[n].next.status == IM_PENDING)
			im_plan_came_back(&drain->plan, IM_GROUP);
		drain->used[n] = false;
	}
	im_plan_succeeded(&drain->plan, drain->outcomes.n);
	im_plan_claimed(&drain->plan, IM_GROUP, &found);
	launch_claimed(world, drain, &tx->calls);
}

/* How a commit ends: 0 as it should, 1 rolled back, 2 done but unknown to us. */
static int
commit_fate(SimWorld *world)
{
	if (sim_chance(world, 20))
	{
		COVER(COMMIT_SLOW);
		world->now += sim_between(world, 1 * MS, 10 * SEC);
	}
	else
		world->now += sim_between(world, 50, 2 * MS);
	if (!sim_chance(world, world->bad_commit))
		return 0;
	return 1 + sim_below(world, 2);
}

/* Runs one transaction with all that is due. */
static void
run_transaction(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimTable	before = copy->table;
	int			fate;

	im_plan_begun(&copy->drain.plan, &tx->turn, world->now);
	transact(world, copy, tx);
	fate = commit_fate(world);
	if (sim_chance(world, world->bad_crash))
	{
		/* Before the commit is durable: as if it had never been. */
		copy->table = before;
		COVER(CRASH_IN_CLAIM);
		sim_crash(world, copy, sim_chance(world, 500));
		longjmp(grave, 1);
	}
	if (fate == 1)
		copy->table = before;
	else
		sim_commit_rows(world, copy, &before, false);
	TRACE(world, "copy %d commits: %s, %d settled, %d claimed", copy->number,
		  fate == 0 ? "done" : fate == 1 ? "rolled back" : "done, but we do not know",
		  tx->written.n, tx->calls.n);
	strike(world, copy, SIM_CRASH_AFTER_COMMIT);
	if (fate == 2 && tx->calls.n > 0)
		COVER(CLAIM_LOST);
	sim_coverage.met[SIM_COMMIT_OK + fate]++;
	if (fate == 0 && tx->pause)
		im_breaker_reset(&copy->slot.breaker, world->now);
	if (fate != 0)
		note_failure(world, copy, tx);
	else if (tx->table_busy)
		im_plan_table_busy(&copy->drain.plan, world->now);
	else
		note_success(world, copy, tx);
}

/* Nine of ten rows refused for one reason: a person should look first. */
static void
check_same_refusal(const SimCopy *copy, Transaction *tx)
{
	tx->pause = im_breaker_same_refusal(&copy->slot.breaker) != 0;
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(SimWorld *world, SimCopy *copy, bool rang)
{
	SimDrain   *drain = &copy->drain;
	Transaction tx = {0};
	ImPlanFacts facts;

	gather(world, copy, &facts);
	if (!im_plan_turn(&drain->plan, &facts, rang, &tx.turn))
		return;
	check_same_refusal(copy, &tx);
	if (facts.may_send)
		tx.want = im_plan_rows(&drain->plan, &facts, IM_GROUP, im_plan_claims_allowed(&facts));
	if (!im_plan_transaction(&drain->plan, &facts, tx.want > 0, tx.pause, &tx.turn))
		return;
	for (int i = 0; i < tx.turn.write; i++)
		sim_list_add(&tx.writing, drain->outcomes.at[i], false);
	if (tx.writing.n > 0)
		strike(world, copy, SIM_CRASH_BEFORE_SETTLE);
	run_transaction(world, copy, &tx);
}

/* ------------------------------------------------------------------------
 * Sender: verdicts
 */

/* Judges what came back of a flight. */
static void
judge(SimDrain *drain, int n, const SimRequest *request)
{
	SimCall	   *call = &drain->calls[n];
	ImExchange	exchange = {
		.op = call->op,
		.sent = request->sent,
		.http_status = request->http_status,
		.failure = request->failure,
		.reply = &call->reply,
		.found = request->found,
		.group_id = call->group_id,
		.resigned = im_signature_resigned(&drain->signatures, drain->serials[n])
	};

	call->reply.readable = request->readable;
	call->reply.code = request->code;
	(void) sim_group_text(request->said_id, call->reply.group_id);
	if (request->said_id != 0 && drain->groups[n] == 0)
		drain->groups[n] = request->said_id;
	exchange.class = im_error_find(request->code)->class;
	exchange.documented = im_error_documented(request->code);
	im_judge(&exchange, &call->verdict);
	if (exchange.resigned && call->verdict.outcome == IM_OUT_STOP)
		COVER(SAID_RESIGN_TWICE);
	if (im_signature_note(&drain->signatures, drain->serials[n], &call->verdict))
		drain->signed_now = false;
}

/* A judged call waits to be written back. */
static void
keep_outcome(SimWorld *world, SimCopy *copy, int n)
{
	SimDrain   *drain = &copy->drain;

	if (drain->outcomes.n == 0)
		drain->outcomes_since = world->now;
	drain->calls[n].judged_at = sim_wall(world, copy);
	im_steady_note(&copy->slot.steady, drain->calls[n].judged_at, world->now);
	sim_list_remove(&drain->live, n);
	sim_list_add(&drain->outcomes, n, false);
}

/* Limiter and breaker learn from a verdict. Returns whether silence counts. */
static bool
note_verdict(SimWorld *world, SimCopy *copy, const SimCall *call)
{
	ImBreaker  *breaker = &copy->slot.breaker;

	sim_coverage.outcomes[call->verdict.outcome]++;
	im_breaker_note(breaker, &call->verdict, call->life.maybe_sent || call->life.attempts > 1, "",
					call->begun_at, world->now);
	if (call->verdict.outcome == IM_OUT_REFUSED || call->verdict.outcome == IM_OUT_DONE)
		im_breaker_answered(breaker, call->verdict.code);
	sim_coverage.breaker[breaker->state]++;
	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_limiter_slow(&copy->slot.limiter, call->begun_at, world->now);
	return im_breaker_counts(breaker, &call->verdict);
}

/* Asks the protocol what a verdict means and does it. */
static void
judge_call(SimWorld *world, SimCopy *copy, int n, bool counts)
{
	SimDrain   *drain = &copy->drain;
	SimCall	   *call = &drain->calls[n];
	ImPolicy	policy = {.max_attempts = copy->max_attempts};
	double		jitter = (double) (sim_random(world) >> 11) / 9007199254740992.0;

	im_protocol_judge(&call->life, &call->verdict, &policy, counts, jitter, &call->next);
	TRACE(world, "copy %d judges row %d: outcome %d, code %d: %s", copy->number, drain->keys[n],
		  (int) call->verdict.outcome, (int) call->verdict.code,
		  call->next.act == IM_ACT_LOOKUP ? "look up" : im_status_name(call->next.status));
	if (call->next.act != IM_ACT_LOOKUP)
	{
		keep_outcome(world, copy, n);
		return;
	}
	call->life.why = call->next.why;
	sim_coverage.whys[call->life.why]++;
	call->op = IM_OP_GET_GROUP_INFO;
	ask_with_others(world, drain, n);
}

/* Takes all answers that have come. */
static void
collect(SimWorld *world, SimCopy *copy)
{
	SimRequest *request;

	while ((request = sim_answer(world, copy)) != NULL)
	{
		int			n = request->call;

		request->call = -1;
		sim_list_remove(&copy->drain.flying, n);
		copy->drain.worked = true;
		judge(&copy->drain, n, request);
		judge_call(world, copy, n, note_verdict(world, copy, &copy->drain.calls[n]));
	}
	ask_or_wait(world, &copy->drain);
}

/* The queued call that goes back first: the last question, or else the last call. */
static int
take_back(SimDrain *drain)
{
	int			n = drain->queue.at[drain->queue.n - 1];

	for (int i = 0; i < drain->queue.n; i++)
		if (drain->calls[drain->queue.at[i]].op == IM_OP_GET_GROUP_INFO)
			n = drain->queue.at[i];
	return n;
}

/* Queued calls, but the first so many, go back to their rows as if never claimed. */
static void
release_queued(SimWorld *world, SimCopy *copy, int kept)
{
	SimDrain   *drain = &copy->drain;

	while (drain->queue.n > kept)
	{
		int			n = take_back(drain);

		COVER(RELEASED);
		sim_list_remove(&drain->queue, n);
		memset(&drain->calls[n].verdict, 0, sizeof(ImVerdict));
		drain->calls[n].verdict.outcome = IM_OUT_NOT_SENT;
		judge_call(world, copy, n, false);
	}
}

/* ------------------------------------------------------------------------
 * Sender: the way out
 */

/* Hands one call to the network. */
static void
launch(SimWorld *world, SimCopy *copy, int n)
{
	SimDrain   *drain = &copy->drain;

	drain->serials[n] = drain->signatures.newest;
	drain->calls[n].begun_at = world->now;
	sim_list_add(&drain->flying, n, false);
	if (drain->paused && drain->calls[n].op == IM_OP_IMPORT_GROUP)
		sim_violate(world, "a group goes out although the worker knows of the pause");
	sim_send(world, copy, n);
	strike(world, copy, SIM_CRASH_AFTER_SEND);
}

/* The next call that may start, or -1. */
static int
next_to_start(const SimDrain *drain)
{
	for (int i = 0; i < drain->queue.n; i++)
		if (!drain->waits[drain->queue.at[i]])
			return drain->queue.at[i];
	return -1;
}

/* Starts queued calls. Returns when to try again, in us, or -1. */
static int64_t
pump(SimWorld *world, SimCopy *copy, int allowed)
{
	SimDrain   *drain = &copy->drain;

	if (!drain->signed_now)
	{
		drain->signed_now = true;	/* im_sender_configure() */
		drain->signatures.newest++;
	}
	while (next_to_start(drain) >= 0 && allowed > 0 && drain->flying.n < copy->max_in_flight)
	{
		int64_t		wait = im_limiter_take(&copy->slot.limiter, true, world->now);
		int			n = next_to_start(drain);

		if (wait > 0)
			return wait;
		sim_check_grant(world, copy);
		sim_list_remove(&drain->queue, n);
		allowed--;
		launch(world, copy, n);
	}
	return -1;
}

/* ------------------------------------------------------------------------
 * The turn
 */

/* What the drain is doing, as the views would show it. */
static void
describe(SimWorld *world, SimCopy *copy, const ImPlanFacts *known)
{
	const SimDrain *drain = &copy->drain;
	ImReport	report;
	ImFacts		facts = {
		.preloaded = true,
		.configured = true,
		.fence = drain->fenced ? "fenced" : NULL,
		.breaker = &copy->slot.breaker,
		.paused = drain->paused,
		.busy = im_plan_busy(&drain->plan, known)
	};

	im_state_of(&facts, world->now, &report);
	copy->drain.beneath = report.beneath;
}

/* If nothing can be done for a while, sets the alarm and leaves. */
static bool
leave_or_stay(SimWorld *world, SimCopy *copy, ImPlanFacts *facts)
{
	SimDrain   *drain = &copy->drain;
	SimSlot    *slot = &copy->slot;

	describe(world, copy, facts);
	facts->beneath = drain->beneath;
	if (!im_plan_leaves(&drain->plan, facts))
		return false;
	slot->wake_at = im_plan_alarm(&drain->plan, facts);
	slot->clean = !drain->plan.dirty;
	copy->running = false;
	copy->incarnation++;
	COVER(WORKER_LEFT);
	TRACE(world, "copy %d: worker leaves", copy->number);
	return true;
}

/* Reads the doorbell. Returns true if it rang. */
static bool
answer_doorbell(SimWorld *world, SimCopy *copy)
{
	SimSlot    *slot = &copy->slot;
	bool		rang = slot->ring;

	slot->ring = false;
	slot->clean = false;
	if (slot->changes != copy->drain.changes)
	{
		copy->drain.changes = slot->changes;
		im_breaker_reset(&slot->breaker, world->now);
		copy->drain.signed_now = false;
	}
	im_plan_wake(&copy->drain.plan, rang, world->now);
	return rang;
}

/* The last transaction of a clean shutdown, and the end. */
static void
finish_shutdown(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;
	Transaction tx = {0};

	while (drain->flying.n > 0)
	{
		int			n = drain->flying.at[0];
		SimRequest	nothing = {.call = n, .sent = true, .failure = IM_CODE_CRASHED};

		COVER(SHUTDOWN_GIVE_UP);
		sim_list_remove(&drain->flying, n);
		judge(drain, n, &nothing);
		judge_call(world, copy, n, false);
	}
	release_queued(world, copy, 0);
	tx.writing = drain->outcomes;
	if (tx.writing.n > 0)
		run_transaction(world, copy, &tx);
	sim_orphan(world, copy);
	copy->slot.ring = true;
	copy->running = false;
	copy->incarnation++;
	COVER(SHUTDOWN);
	TRACE(world, "copy %d: worker ends in order", copy->number);
}

/* The rest of a turn, after what sleeping has brought. */
static void
turn(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;
	bool		rang = answer_doorbell(world, copy);
	ImPlanFacts facts;
	int64_t		pump_at;
	int64_t		sleep;
	int			allowed;

	if (drain->plan.looked_at == 0)
	{
		Transaction first = {.turn = {.look = true,.count = true}};

		run_transaction(world, copy, &first);
	}
	settle_and_claim(world, copy, rang);
	gather(world, copy, &facts);
	allowed = im_plan_allowed(&facts);
	release_queued(world, copy, im_plan_keeps(&drain->plan, &facts, allowed));
	pump_at = pump(world, copy, allowed);
	gather(world, copy, &facts);
	if (leave_or_stay(world, copy, &facts))
		return;
	sleep = im_plan_sleep(&drain->plan, &facts, pump_at, im_plan_claims_allowed(&facts));
	sleep = (sleep + 999) / 1000 * 1000;
	drain->wake_at = world->now + sleep + sim_between(world, 1, 200);
	if (sim_chance(world, 20))
		drain->wake_at += sim_between(world, 0, 3 * MS);
}

/* One turn of a worker that woke up: im_drain_turn(), or its shutdown. */
void
sim_turn(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;

	if (setjmp(grave) != 0)
		return;
	collect(world, copy);
	if (drain->ending_at == 0)
	{
		turn(world, copy);
		return;
	}
	release_queued(world, copy, 0);
	if (drain->flying.n == 0 || world->now >= drain->ending_at)
		finish_shutdown(world, copy);
	else
		drain->wake_at = world->now + 50 * MS;
}

/* Asks a worker to end in order: im_drain_shutdown() follows in its turns. */
void
sim_shut_down(SimWorld *world, SimCopy *copy)
{
	if (!copy->running || copy->drain.ending_at != 0)
		return;
	TRACE(world, "copy %d: worker is asked to end", copy->number);
	copy->drain.ending_at = world->now + SHUTDOWN_GRACE;
	copy->drain.wake_at = world->now;
}

/* The launcher starts a worker, which takes the sender's lock. */
void
sim_start_worker(SimWorld *world, SimCopy *copy)
{
	static const bool loose[IM_KINDS] = {[IM_GROUP] = true};
	SimDrain   *drain = &copy->drain;

	memset(drain->used, 0, sizeof(drain->used));
	memset(&drain->live, 0, sizeof(SimDrain) - offsetof(SimDrain, live));
	drain->changes = copy->slot.changes;
	im_plan_start(&drain->plan, loose, !copy->slot.clean, world->now);
	drain->wake_at = world->now;
	copy->running = true;
	copy->polled_at = world->now;
	copy->slot.wake_at = 0;
	TRACE(world, "copy %d: worker starts", copy->number);
}
