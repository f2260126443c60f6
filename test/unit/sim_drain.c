/*
 * sim_drain.c
 *	  The worker of the model: drain.c and sender.c, without PostgreSQL.
 *
 * Functions bear the names they have there, and do the same in the same order.
 * What is added are the places where fate may strike: strike() ends the
 * worker, or its server, in the midst of what it does.
 */
#include <limits.h>
#include <setjmp.h>
#include <string.h>

#include "sim.h"

#define FLUSH_COUNT			50
#define FLUSH_AFTER			(50 * MS)
#define LOOK_EVERY			(1 * SEC)
#define RESCAN_EVERY		(5 * SEC)
#define LINGER				(3 * SEC)
#define RETRY_FIRST			(1 * SEC)
#define RETRY_MAX			(30 * SEC)
#define LOCKED_AGAIN		(200 * MS)
#define RECOVER_AGAIN		(5 * SEC)
#define SHUTDOWN_GRACE		(1 * SEC)
#define DUE_MAX				(600 * SEC)
#define POLL_EVERY			(30 * SEC)

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/* What one transaction is to do and has done. */
typedef struct Transaction
{
	bool		look;
	SimList		writing;
	SimList		written;
	int			want;
	SimList		calls;
	bool		short_scan;
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

/* How many rows the next transaction should claim. */
static int
rows_wanted(const SimCopy *copy, int allowed)
{
	const SimDrain *drain = &copy->drain;
	double		ahead = copy->rate * (copy->assigned_ids ? 0.02 : 0.1);
	int			target = copy->max_in_flight + (int) Min(ahead, 200.0);
	int			want;

	if (!drain->hungry || allowed <= 0 || drain->paused)
		return 0;
	if (ahead + 1 < copy->max_in_flight)
		target = Min((int) ahead + 1 + drain->flying.n, copy->max_in_flight + 200);
	want = Min(target - drain->live.n, allowed);
	if (want * 4 < target && drain->queue.n > 0)
		return 0;
	return Max(want, 0);
}

/* Reads pause and fence. */
static void
look_around(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;

	drain->paused = copy->table.paused;
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
note_next_due(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;
	int64_t		due = sim_next_due(copy);
	int64_t		delay = Max(due - sim_wall(world, copy), 0);

	drain->next_due = 0;
	if (due == 0)
		return;
	/* No due time is so far away; the clock was set back: see ST_CAP_DUE. */
	if (delay > DUE_MAX)
		drain->dirty = true;
	drain->next_due = world->now + Min(delay, DUE_MAX) + MS;
}

/* What runs inside a transaction. */
static void
transact(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;

	im_steady_note(&copy->slot.steady, sim_wall(world, copy), world->now);
	if (tx->look)
		look_around(world, copy);
	if (tx->pause)
		copy->table.paused = true;
	tx->table_busy = copy->table_locked_until > world->now;
	if (tx->table_busy)
	{
		COVER(TABLE_BUSY);
		return;
	}
	sim_settle(world, copy, &tx->writing, &tx->written);
	if (drain->fenced)
		return;
	if (drain->dirty && world->now >= drain->recover_at)
	{
		drain->dirty = !sim_recover(world, copy);
		drain->recover_at = world->now + RECOVER_AGAIN;
		drain->hungry = true;
	}
	if (tx->want > 0)
	{
		tx->short_scan = sim_claim(world, copy, tx->want, &tx->calls);
		if (drain->rescan)
			drain->rescanned_at = world->now;
		drain->rescan = false;
	}
	if (tx->short_scan)
		note_next_due(world, copy);
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
	if (drain->careful)
		rotate_outcomes(drain);
	drain->dirty = true;
	drain->recover_at = 0;
	drain->rescan = true;
	drain->careful = true;
	drain->retry_delay = drain->retry_delay == 0 ? RETRY_FIRST : Min(drain->retry_delay * 2, RETRY_MAX);
	drain->retry_at = world->now + drain->retry_delay;
}

/* Hands freshly claimed calls to the sender; their claim is committed. */
static void
launch_claimed(SimDrain *drain, const SimList *calls)
{
	for (int i = 0; i < calls->n; i++)
	{
		sim_list_add(&drain->live, calls->at[i], false);
		sim_list_add(&drain->queue, calls->at[i], false);
	}
}

/* The transaction committed: everything it did is true now. */
static void
note_success(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	SimDrain   *drain = &copy->drain;

	drain->retry_delay = 0;
	drain->retry_at = 0;
	drain->flush_after = 0;
	if (tx->written.n < tx->writing.n)
	{
		drain->flush_after = world->now + LOCKED_AGAIN;
		if (drain->careful)
			rotate_outcomes(drain);
	}
	for (int i = 0; i < tx->written.n; i++)
	{
		int			n = tx->written.at[i];

		sim_list_remove(&drain->outcomes, n);
		if (drain->calls[n].next.status == IM_PENDING)
			drain->hungry = true;
		drain->used[n] = false;
	}
	if (drain->outcomes.n == 0)
		drain->careful = false;
	if (tx->want > 0 && tx->short_scan && tx->calls.n == 0)
		drain->hungry = false;
	launch_claimed(drain, &tx->calls);
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

	if (tx->look)
		copy->drain.looked_at = world->now;
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
	if (fate != 0)
		note_failure(world, copy, tx);
	else if (tx->table_busy)
		copy->drain.retry_at = world->now + 200 * MS;
	else
		note_success(world, copy, tx);
}

/* True if outcomes should be written now. */
static bool
must_flush(const SimDrain *drain, int64_t now)
{
	if (drain->outcomes.n == 0 || now < drain->flush_after)
		return false;
	return drain->careful || drain->outcomes.n >= FLUSH_COUNT || drain->live.n == 0 ||
		now - drain->outcomes_since >= FLUSH_AFTER;
}

/* Nine of ten rows refused for one reason: a person should look first. */
static void
check_same_refusal(SimWorld *world, SimCopy *copy, Transaction *tx)
{
	if (im_breaker_same_refusal(&copy->slot.breaker) == 0)
		return;
	im_breaker_reset(&copy->slot.breaker, world->now);
	tx->pause = true;
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(SimWorld *world, SimCopy *copy, bool rang, int allowed)
{
	SimDrain   *drain = &copy->drain;
	Transaction tx = {0};
	int64_t		now = world->now;
	bool		flush = must_flush(drain, now);

	tx.look = rang || now - drain->looked_at >= LOOK_EVERY;
	check_same_refusal(world, copy, &tx);
	if (drain->retry_at > now && !rang)
		return;
	if (drain->next_due != 0 && now >= drain->next_due)
	{
		drain->hungry = true;
		drain->next_due = 0;	/* or there is no sleep while nothing may go */
	}
	if (!drain->fenced)
		tx.want = rows_wanted(copy, allowed);
	flush = flush || (drain->outcomes.n > 0 && tx.want > 0 && now >= drain->flush_after);
	if (flush && drain->careful)
		sim_list_add(&tx.writing, drain->outcomes.at[0], false);
	else if (flush)
		tx.writing = drain->outcomes;
	if (flush)
		strike(world, copy, SIM_CRASH_BEFORE_SETTLE);
	if (tx.look || flush || tx.want > 0 || tx.pause ||
		(drain->dirty && now >= drain->recover_at))
		run_transaction(world, copy, &tx);
}

/* ------------------------------------------------------------------------
 * Sender: verdicts
 */

/* Draws the conclusions for the signature from one verdict. */
static void
note_signature(SimDrain *drain, uint32_t serial, const ImVerdict *verdict)
{
	if (verdict->outcome == IM_OUT_RESIGN || verdict->outcome == IM_OUT_STOP)
	{
		if (serial == drain->sig_serial)
			drain->signed_now = false;
		if (verdict->outcome == IM_OUT_RESIGN && serial > drain->refused_serial)
			drain->refused_serial = serial;
	}
	else if (verdict->answered)
		drain->refused_serial = 0;
}

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
		.resigned = drain->refused_serial != 0 && drain->serials[n] > drain->refused_serial
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
	note_signature(drain, drain->serials[n], &call->verdict);
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
	sim_coverage.breaker[breaker->state]++;
	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_limiter_slow(&copy->slot.limiter, world->now);
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
	sim_list_add(&drain->queue, n, true);
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
}

/* Queued calls go back to their rows as if never claimed. */
static void
release_queued(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;

	while (drain->queue.n > 0)
	{
		int			n = drain->queue.at[0];

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

	drain->serials[n] = drain->sig_serial;
	drain->calls[n].begun_at = world->now;
	sim_list_add(&drain->flying, n, false);
	sim_send(world, copy, n);
	strike(world, copy, SIM_CRASH_AFTER_SEND);
}

/* Starts queued calls. Returns when to try again, in us, or -1. */
static int64_t
pump(SimWorld *world, SimCopy *copy, int allowed)
{
	SimDrain   *drain = &copy->drain;

	if (!drain->signed_now)
	{
		drain->signed_now = true;	/* im_sender_configure() */
		drain->sig_serial++;
	}
	while (drain->queue.n > 0 && allowed > 0 && drain->flying.n < copy->max_in_flight)
	{
		int64_t		wait = im_limiter_take(&copy->slot.limiter, true, world->now);
		int			n = drain->queue.at[0];

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

/* How many calls may start now. */
static int
calls_allowed(const SimWorld *world, const SimCopy *copy)
{
	if (copy->drain.fenced)
		return 0;
	return im_breaker_allows(&copy->slot.breaker, copy->drain.flying.n, world->now);
}

/* Unsent calls do not stay claimed while nothing may be sent. */
static void
release_if_held(SimWorld *world, SimCopy *copy, int allowed)
{
	SimDrain   *drain = &copy->drain;
	bool		closed = copy->slot.breaker.state == IM_BREAKER_CLOSED;

	if (drain->queue.n == 0)
		return;
	if (drain->fenced || (allowed == 0 && !closed) ||
		(allowed == 1 && drain->queue.n > 1 && !closed) || drain->paused)
		release_queued(world, copy);
}

/* How long to sleep at most; pump says when it can go on. */
static int64_t
time_to_sleep(SimWorld *world, SimCopy *copy, int64_t pump_at, int allowed)
{
	SimDrain   *drain = &copy->drain;
	int64_t		now = world->now;
	int64_t		probe = im_breaker_wait(&copy->slot.breaker, now);
	int64_t		sleep = LOOK_EVERY;

	if (drain->retry_at <= now && drain->queue.n == 0 && !drain->fenced &&
		rows_wanted(copy, allowed) > 0)
		return 0;
	if (pump_at >= 0)
		sleep = Min(sleep, pump_at);
	if (probe > 0)
		sleep = Min(sleep, probe);
	/* Nothing is written or claimed before retry_at. */
	if (drain->outcomes.n > 0)
		sleep = Min(sleep, Max(Max(drain->outcomes_since + FLUSH_AFTER,
								   Max(drain->flush_after, drain->retry_at)) - now, 0));
	if (drain->next_due != 0)
		sleep = Min(sleep, Max(Max(drain->next_due, drain->retry_at) - now, 0));
	if (drain->retry_at > now)
		sleep = Min(Max(sleep, MS), drain->retry_at - now);
	return sleep;
}

/* True if describe() would call the drain running. */
static bool
is_running(const SimCopy *copy)
{
	const SimDrain *drain = &copy->drain;

	if (drain->fenced || drain->paused || copy->slot.breaker.state != IM_BREAKER_CLOSED)
		return false;
	return drain->live.n + drain->outcomes.n > 0 || drain->hungry;
}

/* Nothing can be done for a while: sets the alarm and leaves. */
static bool
leave_or_stay(SimWorld *world, SimCopy *copy)
{
	SimDrain   *drain = &copy->drain;
	SimSlot    *slot = &copy->slot;
	int64_t		now = world->now;
	bool		quiet = drain->live.n + drain->outcomes.n == 0 && !slot->ring &&
		!is_running(copy) && drain->retry_at <= now;

	if (quiet && drain->next_due != 0 && drain->next_due - now < LINGER && !drain->fenced &&
		!drain->paused)
		quiet = false;
	if (!quiet)
		drain->idle_since = now;
	if (!quiet || now - drain->idle_since < (drain->worked ? LINGER : 0))
		return false;
	slot->wake_at = 0;
	if (!drain->fenced && slot->breaker.state != IM_BREAKER_CLOSED)
		slot->wake_at = now + Max(im_breaker_wait(&slot->breaker, now), 1);
	else if (!drain->fenced && !drain->paused)
		slot->wake_at = drain->next_due;
	slot->clean = !drain->dirty;
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
	if (rang)
		copy->drain.hungry = true;
	if (rang || world->now - copy->drain.rescanned_at >= RESCAN_EVERY)
		copy->drain.rescan = copy->drain.hungry = true;
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
	release_queued(world, copy);
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
	int64_t		pump_at;
	int64_t		sleep;
	int			allowed;

	if (drain->looked_at == 0)
	{
		Transaction first = {.look = true};

		run_transaction(world, copy, &first);
	}
	settle_and_claim(world, copy, rang, calls_allowed(world, copy));
	allowed = calls_allowed(world, copy);
	release_if_held(world, copy, allowed);
	pump_at = pump(world, copy, allowed);
	if (leave_or_stay(world, copy))
		return;
	sleep = time_to_sleep(world, copy, pump_at, allowed);
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
	release_queued(world, copy);
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
	SimDrain   *drain = &copy->drain;

	memset(drain->used, 0, sizeof(drain->used));
	memset(&drain->live, 0, sizeof(SimDrain) - offsetof(SimDrain, live));
	drain->hungry = drain->rescan = true;
	drain->dirty = !copy->slot.clean;
	drain->changes = copy->slot.changes;
	drain->idle_since = drain->wake_at = world->now;
	copy->running = true;
	copy->polled_at = world->now;
	copy->slot.wake_at = 0;
	TRACE(world, "copy %d: worker starts", copy->number);
}
