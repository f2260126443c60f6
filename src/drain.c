/*
 * drain.c
 *	  Claim, send, settle: the outbox emptied through the sender.
 *
 *		claim()  ──►  send()  ──►  settle()
 *		 tx 1         no tx         tx 2
 *
 * The path of one row: transact() claims it and commits; launch_claimed()
 * hands it to the sender; collect() takes the verdict and asks the protocol
 * what follows; the next transact() writes that back, together with the next
 * claim.  So the pipe is refilled continuously, and a row costs half a
 * commit.  No transaction is open while anything is on the network.
 *
 * A call is in exactly one of these places: queued or flying in the sender
 * (then it is in drain->live), or judged and waiting to be written
 * (drain->outcomes).  If a transaction fails, nothing is known of it: its
 * claims are dropped unsent and recovery looks at the table again.
 *
 * Must not know: signals, SQL text, JSON.
 */
#include "postgres.h"

#include <limits.h>

#include "commands/async.h"
#include "commands/dbcommands.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "drain.h"
#include "encoding.h"
#include "errcodes.h"
#include "failpoint.h"
#include "outbox.h"
#include "protocol.h"
#include "sender.h"
#include "text.h"

#define MS					INT64_C(1000)
#define SEC					INT64_C(1000000)

#define FLUSH_COUNT			250 /* outcomes are written when so many wait ... */
#define FLUSH_AFTER			(50 * MS)	/* ... or the first waits so long */
#define LOOK_EVERY			(1 * SEC)	/* at options and pause, doorbell or not */
#define RESCAN_EVERY		(5 * SEC)	/* for ids that were committed late */
#define RESCAN_SHARE		50	/* of our time at most 1/50 for that */
#define LINGER				(3 * SEC)	/* connected with nothing to do */
#define STAY_AT_LEAST		(4 * SEC)	/* since the start, see worker.c */
#define RETRY_FIRST			(1 * SEC)	/* after a failed transaction */
#define RETRY_MAX			(30 * SEC)
#define LOCKED_AGAIN		(200 * MS)	/* try a locked row again after this */
#define RECOVER_AGAIN		(5 * SEC)	/* when a dead row was locked */
#define CLAIM_AHEAD			0.1 /* seconds of work claimed beyond the slots */
#define CLAIM_AHEAD_MAX		400
#define DUE_MAX				(600 * SEC)	/* no back-off is longer */
#define SHUTDOWN_GRACE		(1 * SEC)
#define COUNT_PATIENCE		10	/* looks without a chance to count */

struct ImDrain
{
	MemoryContext ctx;
	MemoryContext calls_ctx;	/* the calls and their bodies */
	MemoryContext turn_ctx;		/* reset every turn */
	ImSlot	   *slot;
	ImSender   *sender;

	ImCall	  **live;			/* calls in the sender, in no order */
	int			nlive;
	int			live_room;
	List	   *outcomes;		/* calls to be written back */
	int64		outcomes_since;
	int64		flush_after;	/* somebody locks an outcome's row: not before */

	ImInstalled installed;
	char		database[NAMEDATALEN];	/* its name, "" before the first look */
	bool		configured;
	ImControl	control;
	char		trouble[IM_REASON_MAX]; /* why not configured */
	uint64		options;		/* generation of them at the last look, 0: none yet */
	uint32		rings;			/* of the doorbell, as last looked after */
	bool		just_paused;	/* what is queued was claimed before the pause */
	int64		looked_at;
	int64		counted_at;

	bool		hungry;			/* there may be rows to claim */
	bool		rescan;			/* look for them from the true minimum */
	bool		rescan_owed;	/* somebody rang since the last such look */
	int64		rescanned_at;
	int64		rescan_cost;
	int64		next_due;		/* monotonic; 0: no retry waits */
	bool		dirty;			/* recovery is due ... */
	int64		recover_at;		/* ... not before this */
	int64		retry_at;		/* after a failed transaction */
	int64		retry_delay;
	bool		careful;		/* write outcomes one by one */

	int			uncounted;		/* looks since the counts were right */

	bool		worked;			/* something was sent since the start */
	int64		idle_since;
	int64		started_at;
};

/* What one transaction is to do and has done. */
typedef struct Transaction
{
	ImDrain    *drain;
	bool		look;			/* options, pause, fence */
	bool		count;			/* counts, and what is shown of them */
	List	   *writing;		/* outcomes to be written */
	List	   *written;
	ImClaim		claim;
	bool		table_busy;
	char		pause_reason[IM_REASON_MAX];	/* "" if not to be paused */
} Transaction;

static void describe(const ImDrain *drain, ImReport *report);

/* See drain.h. */
ImDrain *
im_drain_create(MemoryContext ctx, ImSlot *slot)
{
	ImDrain    *drain = MemoryContextAllocZero(ctx, sizeof(ImDrain));

	drain->ctx = ctx;
	drain->calls_ctx = AllocSetContextCreate(ctx, "im_import calls", ALLOCSET_DEFAULT_SIZES);
	drain->turn_ctx = AllocSetContextCreate(ctx, "im_import turn", ALLOCSET_DEFAULT_SIZES);
	drain->slot = slot;
	drain->sender = im_sender_create(ctx, slot, true);
	drain->installed = IM_INSTALLED;
	drain->hungry = drain->rescan = true;
	drain->dirty = !slot->clean;
	drain->idle_since = drain->started_at = im_now_us();
	im_orders_orphaned(slot);

	/* Key or plan may have expired meanwhile: one call finds out, not many. */
	im_slot_lock(slot);
	slot->breaker.proven = false;
	im_slot_unlock(slot);
	return drain;
}

/* Calls that are not yet written back. */
static int
open_calls(const ImDrain *drain)
{
	return drain->nlive + list_length(drain->outcomes);
}

/* Notes a call that is in the sender's hands. */
static void
add_live(ImDrain *drain, ImCall *call)
{
	if (drain->nlive == drain->live_room)
	{
		drain->live_room = Max(drain->live_room * 2, 64);
		drain->live = drain->live == NULL ?
			MemoryContextAlloc(drain->ctx, sizeof(ImCall *) * drain->live_room) :
			repalloc(drain->live, sizeof(ImCall *) * drain->live_room);
	}
	call->place = drain->nlive;
	drain->live[drain->nlive++] = call;
}

/* The sender has given a call back. */
static void
remove_live(ImDrain *drain, ImCall *call)
{
	ImCall	   *last = drain->live[--drain->nlive];

	drain->live[call->place] = last;
	last->place = call->place;
}

/*
 * Copies UTF-8 text, cut between characters and free of control characters;
 * text of another encoding loses what is not ASCII.
 */
static void
copy_text(char *out, size_t size, const char *text)
{
	im_text_clean(text, strlen(text), out, size);
}

/* Frees a call that is done with. */
static void
free_call(ImCall *call)
{
	if (call->body != NULL)
		pfree(call->body);
	if (call->problems != NULL)
		pfree(call->problems);
	pfree(call);
}

/* ------------------------------------------------------------------------
 * Sessions that wait for their row
 */

/* Ends a request: from here on it is the session's again. */
static void
answer_request(ImSlot *slot, int i, ImRequestResult result, const ImCall *call, const char *info)
{
	ImRequest  *request = &slot->requests[i];

	im_slot_lock(slot);
	request->result = result;
	if (call != NULL)
	{
		request->status = call->next.status;
		request->code = call->verdict.code;
		strlcpy(request->group_id,
				call->group_id[0] ? call->group_id : call->reply.group_id,
				sizeof(request->group_id));
	}
	copy_text(request->info, sizeof(request->info), info);
	request->state = request->asker >= 0 ? IM_REQUEST_DONE : IM_REQUEST_FREE;
	if (request->asker >= 0)
		SetLatch(im_latch_of(request->asker));
	im_slot_unlock(slot);
}

/* A call is written: tell who waits for it, and forget it. */
static void
finish_call(ImDrain *drain, ImCall *call)
{
	const char *info = call->reply.info;

	if (call->problems != NULL && call->verdict.code == 0)
	{
		call->verdict.code = call->problem_code;
		info = call->problems;
	}
	else if (call->next.reason != NULL)
		info = call->next.reason;
	if (call->request >= 0)
		answer_request(drain->slot, call->request, IM_RESULT_SETTLED, call, info);

	/* What surely was not sent is not what a person has ordered. */
	im_order_settled(drain->slot, call->order,
					 call->next.status == IM_PENDING && !call->next.suspect_now);
	free_call(call);
}

/* Collects the rows that sessions ask for. */
static List *
asked_rows(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	List	   *asked = NIL;

	im_slot_lock(slot);
	for (int i = 0; i < IM_REQUESTS; i++)
	{
		ImRequest  *request = &slot->requests[i];
		ImAsked    *one;

		if (request->state != IM_REQUEST_ASKED)
			continue;
		one = palloc(sizeof(ImAsked));
		one->id = request->id;
		one->request = i;
		memcpy(one->row_key, request->row_key, sizeof(one->row_key));
		asked = lappend(asked, one);
	}
	im_slot_unlock(slot);
	return asked;
}

/* True if that request's row is among the calls of a claim. */
static bool
was_claimed(const ImClaim *claim, int request)
{
	ListCell   *lc;

	foreach(lc, claim->calls)
		if (((ImCall *) lfirst(lc))->request == request)
			return true;
	foreach(lc, claim->settled)
		if (((ImCall *) lfirst(lc))->request == request)
			return true;
	return false;
}

/* Tells sessions at once whose row could not be claimed. */
static void
answer_unclaimed(ImDrain *drain, const ImClaim *claim)
{
	ListCell   *lc;

	foreach(lc, claim->asked)
	{
		ImAsked    *asked = lfirst(lc);

		if (was_claimed(claim, asked->request))
		{
			im_slot_lock(drain->slot);
			drain->slot->requests[asked->request].state = IM_REQUEST_TAKEN;
			im_slot_unlock(drain->slot);
		}
		else
			answer_request(drain->slot, asked->request, IM_RESULT_NOT_CLAIMABLE, NULL, "");
	}
}

/* Nothing can be sent now, or nothing could when it was tried for them. */
static void
refuse_requests(ImDrain *drain, bool all, const char *why)
{
	ListCell   *lc;

	foreach(lc, asked_rows(drain))
	{
		const ImAsked *asked = lfirst(lc);

		if (all || !im_breaker_owes(&drain->slot->breaker,
									drain->slot->requests[asked->request].asked_at))
			answer_request(drain->slot, asked->request, IM_RESULT_STOPPED, NULL, why);
	}
}

/* ------------------------------------------------------------------------
 * How much to claim
 */

/* Groups that may still be created today; INT_MAX without a budget. */
static int
budget_of_day(const ImDrain *drain)
{
	const ImApp *app = im_sender_app(drain->sender);
	int64		left;

	if (app->groups_per_day == 0)
		return INT_MAX;
	/* What is judged is counted, if it may have created a group. */
	left = app->groups_per_day - im_outbox_groups_today(im_outbox_get()) - drain->nlive;
	return left < 0 ? 0 : (int) Min(left, INT_MAX);
}

/* How many calls to have claimed: the slots, and a little work ahead. */
static int
claim_target(const ImDrain *drain)
{
	const ImApp *app = im_sender_app(drain->sender);
	double		seconds = app->assigned_ids ? CLAIM_AHEAD / 5 : CLAIM_AHEAD;
	double		ahead = app->rate_limit * seconds;

	/*
	 * Slots that the limiter never fills must not be filled by claims: what
	 * is claimed when we die must be taken for sent.
	 */
	if (ahead + 1 < app->max_in_flight)
		return Min((int) ahead + 1 + im_sender_in_flight(drain->sender),
				   app->max_in_flight + CLAIM_AHEAD_MAX);
	return app->max_in_flight + (int) Min(ahead, CLAIM_AHEAD_MAX);
}

/* How many rows the next transaction should claim in the outbox's order. */
static int
rows_wanted(ImDrain *drain, int allowed)
{
	int			target;
	int			want;
	int64		budget;

	if (!drain->hungry || allowed <= 0)
		return 0;
	target = claim_target(drain);
	want = target - drain->nlive;
	want = Min(want, allowed);
	want = Min(want, budget_of_day(drain));
	im_slot_lock(drain->slot);
	budget = im_orders_left(drain->slot);
	im_slot_unlock(drain->slot);
	if (drain->control.paused)
		want = (int) Min((int64) want, budget);

	/* A few at a time would cost a commit each: what may queue is half sent first. */
	if (want * 2 < target - im_sender_in_flight(drain->sender) && im_sender_queued(drain->sender) > 0)
		return 0;
	return Max(want, 0);
}

/* ------------------------------------------------------------------------
 * The transaction: settle and claim
 */

/* Sessions that died without a word take their orders with them. */
static void
forget_dead_orders(ImSlot *slot)
{
	for (int i = 0; i < IM_ORDERS; i++)
	{
		ImOrder		order;

		im_slot_lock(slot);
		order = slot->orders[i];
		im_slot_unlock(slot);
		if (order.pid != 0 && BackendPidGetProc(order.pid) == NULL)
			im_order_withdraw(slot, i, order.ticket);
	}
}

/*
 * Options or key are others than at the last look: what was refused before
 * means nothing.  The doorbell tells of most changes, but it rings before the
 * new options can be read, and for a file that changes nobody rings.
 */
static void
note_changes(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	const ImApp *app = im_sender_app(drain->sender);
	const char *file = app != NULL && app->secret_key_file != NULL ? app->secret_key_file : "";
	uint64		stamp = file[0] != '\0' ? im_app_key_stamp() : 0;
	uint64		options = im_app_generation();
	bool		changed = drain->options != 0 && drain->options != options;

	im_slot_lock(slot);
	if (strcmp(slot->key_file, file) != 0 || slot->key_stamp != stamp)
	{
		changed = true;
		strlcpy(slot->key_file, file, sizeof(slot->key_file));
		slot->key_stamp = stamp;
	}
	if (changed)
	{
		slot->changed_at = im_now_us();
		im_breaker_reset(&slot->breaker, im_now_us());
	}
	im_slot_unlock(slot);
	drain->options = options;
}

/* Reads options and pause; notes what keeps us from sending. */
static void
look_around(ImDrain *drain)
{
	bool		was_paused = drain->control.paused;
	ImProblem	problem = {0};
	char	   *name = get_database_name(MyDatabaseId);

	strlcpy(drain->database, name != NULL ? name : "", sizeof(drain->database));
	forget_dead_orders(drain->slot);
	drain->configured = im_sender_configure(drain->sender, &problem);
	note_changes(drain);
	if (!drain->configured)
		copy_text(drain->trouble, sizeof(drain->trouble),
				  im_text_as_utf8(psprintf("%s%s%s", problem.message, problem.hint ? ". " : "",
										  problem.hint ? problem.hint : "")));
	im_outbox_control(im_outbox_get(),
					  drain->configured ? im_sender_app(drain->sender) : NULL, &drain->control);
	drain->just_paused = drain->control.paused && !was_paused;
}

/* Recovery of rows whose sender died, ours included after a lost claim. */
static void
recover_rows(ImDrain *drain)
{
	List	   *ours = list_copy(drain->outcomes);

	for (int i = 0; i < drain->nlive; i++)
		ours = lappend(ours, drain->live[i]);
	drain->dirty = !im_outbox_recover(im_outbox_get(), ours);
	drain->recover_at = im_now_us() + RECOVER_AGAIN;
	drain->hungry = true;
}

/* Claims, and measures what a scan from the true minimum costs. */
static void
claim_rows(ImDrain *drain, ImClaim *claim)
{
	int64		start = im_now_us();

	claim->app = im_sender_app(drain->sender);
	claim->ctx = drain->calls_ctx;
	claim->steady = &drain->slot->steady;
	claim->rescan = drain->rescan;
	im_outbox_claim(im_outbox_get(), claim);
	if (claim->want > 0 && claim->rescan)
	{
		drain->rescanned_at = im_now_us();
		drain->rescan_cost = drain->rescanned_at - start;
		drain->rescan = false;
		drain->rescan_owed = false;
	}
}

/* Finds out when the next retry is due, once there is nothing else. */
static void
note_next_due(ImDrain *drain, bool claimed)
{
	TimestampTz due = im_outbox_next_due(im_outbox_get());
	int64		delay;

	drain->next_due = 0;
	if (due == 0)
	{
		/* Rows that somebody locks were passed over: look again soon. */
		if (drain->nlive == 0 && !claimed && im_outbox_has_open(im_outbox_get()))
			drain->next_due = im_now_us() + RESCAN_EVERY;
		return;
	}
	delay = Max((int64) (due - GetCurrentTimestamp()), 0);
	drain->next_due = im_now_us() + Min(delay, DUE_MAX) + MS;
	if (delay > DUE_MAX)
		drain->dirty = true;	/* the clock was set back: recovery caps it */
}

/*
 * Exact counts for im_import_status; after many vain tries it insists.  False
 * if the tally cannot be had without waiting, or is not right now.
 */
static bool
keep_count(ImDrain *drain)
{
	bool		insist = drain->uncounted >= COUNT_PATIENCE && drain->nlive == 0;

	if (drain->uncounted > 2 * COUNT_PATIENCE)
		drain->uncounted = 0;	/* an insisting one has failed: be patient again */
	drain->uncounted++;
	if (!im_outbox_keep_count(im_outbox_get(), insist))
		return false;
	drain->uncounted = 0;
	return true;
}

/*
 * Tells pg_stat_activity how far the import is, and why it waits.  Only with a
 * look, once a second, because it reads the tally.
 */
static void
show_activity(const ImDrain *drain)
{
	char		line[IM_REASON_MAX + 128];
	ImReport	report;
	int64		foreign_open;
	int64		total = 0;
	int64		open;
	ImTally		rows;

	if (!im_tally_read(im_outbox_schema(im_outbox_get()), &rows, &foreign_open))
		return;					/* being counted */
	describe(drain, &report);
	for (int i = 0; i < IM_STATUSES; i++)
		total += rows.by_status[i];
	open = rows.by_status[IM_PENDING] + rows.by_status[IM_SENDING];
	snprintf(line, sizeof(line), "im_import: " INT64_FORMAT " of " INT64_FORMAT " rows, %s%s%s",
			 total - open, total, im_state_name(report.state), report.reason[0] ? ": " : "",
			 im_text_from_utf8(report.reason));
	pgstat_report_activity(report.state == IM_STATE_RUNNING ? STATE_RUNNING : STATE_IDLE, line);
}

/* What im_outbox_run() runs. */
static void
transact(void *arg)
{
	Transaction *tx = arg;
	ImDrain    *drain = tx->drain;
	ImOutbox   *outbox = im_outbox_get();

	if (tx->look)
		look_around(drain);
	if (tx->pause_reason[0] != '\0')
	{
		/* From here on, not from the next look on. */
		im_outbox_pause(outbox, true, "im_import", tx->pause_reason);
		(void) im_outbox_read_control(outbox, &drain->control);
		drain->just_paused = true;
		tx->claim.want = 0;
	}
	tx->table_busy = !im_outbox_try_lock(outbox);
	if (tx->table_busy)
		return;
	if (tx->count && keep_count(drain))
		show_activity(drain);
	im_outbox_settle(outbox, &tx->writing, &tx->written);
	if (tx->count || drain->nlive == 0)
		im_outbox_write_day(outbox);
	if (!drain->configured || drain->control.fenced)
		return;
	if (drain->dirty && im_now_us() >= drain->recover_at)
		recover_rows(drain);
	if (tx->claim.want > 0 || tx->claim.asked != NIL)
		claim_rows(drain, &tx->claim);
	if (tx->claim.short_scan)
		note_next_due(drain, tx->claim.calls != NIL);
	if (tx->claim.calls != NIL)
		IM_FAILPOINT("claim_before_commit");
	if (tx->written != NIL)
		IM_FAILPOINT("settle_before_commit");
}

/* The outcome that was tried alone goes to the end of the line. */
static void
rotate_outcomes(ImDrain *drain)
{
	MemoryContext old;
	ImCall	   *first;

	if (list_length(drain->outcomes) < 2)
		return;
	first = linitial(drain->outcomes);
	old = MemoryContextSwitchTo(drain->ctx);
	drain->outcomes = lappend(list_delete_first(drain->outcomes), first);
	MemoryContextSwitchTo(old);
}

/* The transaction failed: what it claimed was never sent, what it wrote may stand. */
static void
note_failure(ImDrain *drain, Transaction *tx, const char *error)
{
	ListCell   *lc;

	foreach(lc, tx->claim.calls)
		free_call(lfirst(lc));
	foreach(lc, tx->claim.settled)
		free_call(lfirst(lc));
	if (drain->careful)
		rotate_outcomes(drain);
	drain->dirty = true;
	drain->recover_at = 0;
	drain->rescan = true;
	drain->careful = true;
	drain->retry_delay = drain->retry_delay == 0 ? RETRY_FIRST : Min(drain->retry_delay * 2, RETRY_MAX);
	drain->retry_at = im_now_us() + drain->retry_delay;
	im_slot_lock(drain->slot);
	copy_text(drain->slot->last_error, sizeof(drain->slot->last_error), error ? error : "");
	drain->slot->last_error_at = GetCurrentTimestamp();
	im_slot_unlock(drain->slot);
}

/* Hands freshly claimed calls to the sender; their claim is committed. */
static void
launch_claimed(ImDrain *drain, ImClaim *claim)
{
	ListCell   *lc;

	foreach(lc, claim->calls)
	{
		ImCall	   *call = lfirst(lc);

		call->order = call->request < 0 ? im_order_take(drain->slot) : 0;
		add_live(drain, call);
		im_sender_add(drain->sender, call, call->request >= 0);
	}
	foreach(lc, claim->settled)
	{
		ImCall	   *call = lfirst(lc);

		call->order = call->request < 0 ? im_order_take(drain->slot) : 0;
		finish_call(drain, call);
	}
}

/*
 * Notes how fast rows are settled.  The rate decays over about half a minute;
 * divided by its weight it is the mean since the start, as long as that is
 * shorter ago.
 */
static void
note_progress(ImSlot *slot, int n)
{
	int64		now = im_now_us();
	double		passed;

	im_slot_lock(slot);
	passed = (double) (now - slot->settle_rate_at) / SEC;
	if (slot->settle_rate_at != 0 && passed > 0)
	{
		double		keep = Max(1.0 - passed / 30.0, 0.0);

		slot->settle_rate = slot->settle_rate * keep + (n / passed) * (1.0 - keep);
		slot->settle_weight = slot->settle_weight * keep + (1.0 - keep);
		slot->settle_rate_at = now;
	}
	im_slot_unlock(slot);
}

/* Only time in which the import runs counts for the rate; the slot must be locked. */
static void
time_progress(ImSlot *slot)
{
	bool		running = slot->report.state == IM_STATE_RUNNING;

	if (running && slot->settle_rate_at != 0)
		return;
	slot->settle_rate = slot->settle_weight = 0;
	slot->settle_rate_at = running ? im_now_us() : 0;
}

/* Takes what was written out of the outcomes; tx->writing holds what was locked. */
static void
drop_written(ImDrain *drain, Transaction *tx)
{
	MemoryContext old = MemoryContextSwitchTo(drain->ctx);
	List	   *left;

	drain->flush_after = 0;
	if (tx->writing != NIL)
	{
		drain->flush_after = im_now_us() + LOCKED_AGAIN;
		if (drain->careful)
			rotate_outcomes(drain);
	}
	if (tx->written == NIL)
		left = drain->outcomes;
	else if (drain->careful)
		left = list_delete_first(drain->outcomes);
	else
	{
		left = list_copy(tx->writing);
		list_free(drain->outcomes);
	}
	drain->outcomes = left;
	MemoryContextSwitchTo(old);
}

/* Tells the history how the rows of a list of calls ended. */
static void
note_history(ImSlot *slot, const List *calls)
{
	int			imported = 0;
	int			failed = 0;
	ListCell   *lc;

	foreach(lc, calls)
	{
		ImStatus	status = ((ImCall *) lfirst(lc))->next.status;

		imported += status == IM_IMPORTED;
		failed += status == IM_FAILED || status == IM_INVALID || status == IM_IN_DOUBT;
	}
	im_slot_settled(slot, imported, failed);
}

/* The transaction committed: everything it did is true now. */
static void
note_success(ImDrain *drain, Transaction *tx)
{
	ListCell   *lc;

	drain->retry_delay = 0;
	drain->retry_at = 0;
	note_history(drain->slot, tx->written);
	note_history(drain->slot, tx->claim.settled);
	drop_written(drain, tx);
	foreach(lc, tx->written)
	{
		ImCall	   *call = lfirst(lc);

		if (call->next.status == IM_PENDING)
			drain->hungry = true;
		finish_call(drain, call);
	}
	if (drain->outcomes == NIL)
		drain->careful = false;
	if (tx->written != NIL)
		note_progress(drain->slot, list_length(tx->written));
	if (tx->claim.want > 0 && tx->claim.short_scan && tx->claim.ncalls == 0)
		drain->hungry = false;
	answer_unclaimed(drain, &tx->claim);
	launch_claimed(drain, &tx->claim);
}

/* Runs one transaction with all that is due. */
static void
run_transaction(ImDrain *drain, Transaction *tx)
{
	char	   *error = NULL;
	bool		ok;

	tx->drain = drain;
	im_steady_note(&drain->slot->steady, GetCurrentTimestamp(), im_now_us());
	if (tx->look)
		drain->looked_at = im_now_us();
	if (tx->count)
		drain->counted_at = im_now_us();
	ok = im_outbox_run(transact, tx, &error);
	drain->installed = im_outbox_installed(im_outbox_get());
	if (ok && tx->claim.calls != NIL)
		IM_FAILPOINT("claim_after_commit");
	if (ok && tx->written != NIL)
		IM_FAILPOINT("settle_after_commit");
	if (!ok)
		note_failure(drain, tx, error);
	else if (tx->table_busy)
		drain->retry_at = im_now_us() + 200 * MS;
	else
		note_success(drain, tx);
}

/* True if outcomes should be written now. */
static bool
must_flush(const ImDrain *drain, int64 now)
{
	if (drain->outcomes == NIL || now < drain->flush_after)
		return false;
	return drain->careful || list_length(drain->outcomes) >= FLUSH_COUNT ||
		drain->nlive == 0 || now - drain->outcomes_since >= FLUSH_AFTER;
}

/* Which outcomes the next transaction writes. */
static List *
outcomes_to_write(const ImDrain *drain)
{
	/* After a failure one at a time: a poisonous one must not hold the rest. */
	if (drain->careful && drain->outcomes != NIL)
		return list_make1(linitial(drain->outcomes));
	return list_copy(drain->outcomes);
}

/* Nine of ten rows refused for one reason: a person should look first. */
static void
check_same_refusal(ImDrain *drain, Transaction *tx)
{
	int32		code;

	im_slot_lock(drain->slot);
	code = im_breaker_same_refusal(&drain->slot->breaker);
	if (code != 0)
		im_breaker_reset(&drain->slot->breaker, im_now_us());
	im_slot_unlock(drain->slot);
	if (code != 0)
		snprintf(tx->pause_reason, sizeof(tx->pause_reason),
				 "%d of the last %d rows were refused with error code %d; "
				 "see im_import_errors, cure the cause, then im_import_resume()",
				 IM_BREAKER_SAME, IM_BREAKER_WINDOW, code);
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(ImDrain *drain, bool rang, int allowed)
{
	Transaction tx = {0};
	int64		now = im_now_us();
	bool		flush = must_flush(drain, now);

	tx.look = rang || now - drain->looked_at >= LOOK_EVERY ||
		(drain->configured && im_sender_wants_configure(drain->sender));
	tx.count = now - drain->counted_at >= LOOK_EVERY;
	check_same_refusal(drain, &tx);
	if (drain->retry_at > now && !rang)
		return;
	if (drain->next_due != 0 && now >= drain->next_due)
	{
		drain->hungry = drain->rescan_owed = true;
		drain->next_due = 0;
	}
	if (drain->configured && !drain->control.fenced)
	{
		/* While the service is being tried, the others wait for the result. */
		tx.claim.asked = allowed > 0 ? asked_rows(drain) : NIL;
		tx.claim.want = rows_wanted(drain, allowed);
	}
	flush = flush || (drain->outcomes != NIL && tx.claim.want > 0 && now >= drain->flush_after);
	if (flush)
		tx.writing = outcomes_to_write(drain);
	if (tx.look || tx.count || flush || tx.claim.want > 0 || tx.claim.asked != NIL ||
		tx.pause_reason[0] != '\0' || (drain->dirty && now >= drain->recover_at))
		run_transaction(drain, &tx);
}

/* ------------------------------------------------------------------------
 * Verdicts
 */

/* A judged call waits to be written back. */
static void
keep_outcome(ImDrain *drain, ImCall *call)
{
	MemoryContext old = MemoryContextSwitchTo(drain->ctx);

	if (drain->outcomes == NIL)
		drain->outcomes_since = im_now_us();
	call->judged_at = GetCurrentTimestamp();
	im_steady_note(&drain->slot->steady, call->judged_at, im_now_us());
	remove_live(drain, call);
	drain->outcomes = lappend(drain->outcomes, call);
	MemoryContextSwitchTo(old);
}

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
	copy_text(slot->last_error, sizeof(slot->last_error), text);
	slot->last_error_at = GetCurrentTimestamp();
}

/* Limiter and breaker learn from a verdict. Returns whether silence counts. */
static bool
note_verdict(ImDrain *drain, const ImCall *call)
{
	ImSlot	   *slot = drain->slot;
	bool		again = call->row.maybe_sent || call->row.attempts > 1;
	int64		now = im_now_us();
	bool		counts;

	im_slot_lock(slot);
	/* Under other options or another key: it says nothing about those of now. */
	if (call->begun_at >= slot->changed_at || call->verdict.outcome == IM_OUT_DONE)
	{
		im_breaker_note(&slot->breaker, &call->verdict, again, call->reply.info,
						call->begun_at, now);
		note_last_error(slot, call);
	}
	if (call->verdict.outcome == IM_OUT_SLOW || call->verdict.outcome == IM_OUT_QUOTA)
		im_limiter_slow(&slot->limiter, now);
	counts = slot->breaker.state != IM_BREAKER_UNREACHABLE;
	im_slot_unlock(slot);
	return counts;
}

/* Sends the same call again, to ask whose group it is. */
static void
look_up(ImDrain *drain, ImCall *call)
{
	if (call->next.why == IM_WHY_REFUSED || call->next.why == IM_WHY_EXISTS)
	{
		call->refusal_code = call->verdict.code;
		strlcpy(call->refusal_info, call->reply.info, sizeof(call->refusal_info));
	}
	call->row.why = call->next.why;
	call->op = IM_OP_GET_GROUP_INFO;
	im_sender_add(drain->sender, call, true);
}

/* Asks the protocol what a verdict means and does it. */
static void
judge_call(ImDrain *drain, ImCall *call, bool counts)
{
	ImPolicy	policy = {.max_attempts = im_sender_app(drain->sender)->max_attempts};

	if (call->verdict.outcome == IM_OUT_DONE || call->verdict.outcome == IM_OUT_UNKNOWN)
		im_outbox_note_group(im_outbox_get());
	im_protocol_judge(&call->row, &call->verdict, &policy, counts,
					  pg_prng_double(&pg_global_prng_state), &call->next);
	if (call->next.act == IM_ACT_LOOKUP)
		look_up(drain, call);
	else
		keep_outcome(drain, call);
}

/* Takes all answers that have come. */
static void
collect(ImDrain *drain)
{
	ImCall	   *call;

	while ((call = im_sender_next(drain->sender)) != NULL)
	{
		drain->worked = true;
		IM_FAILPOINT("reply_read");
		judge_call(drain, call, note_verdict(drain, call));
	}
}

/* Queued calls go back to their rows as if never claimed. */
static void
release_queued(ImDrain *drain)
{
	ImCall	   *call;

	while ((call = im_sender_take_back(drain->sender)) != NULL)
	{
		memset(&call->verdict, 0, sizeof(call->verdict));
		call->verdict.outcome = IM_OUT_NOT_SENT;
		call->reply.info[0] = '\0';
		judge_call(drain, call, false);
	}
}

/* ------------------------------------------------------------------------
 * State, waiting, leaving
 */

/* What the drain is doing, and why it waits. */
static void
describe(const ImDrain *drain, ImReport *report)
{
	const ImSlot *slot = drain->slot;
	const ImApp *app = im_sender_app(drain->sender);
	ImFacts		facts = {
		.preloaded = true,
		.configured = drain->installed != IM_INSTALLED_OTHER && drain->configured,
		.trouble = drain->trouble,
		.breaker = &slot->breaker,
		.paused = drain->control.paused,
		.pause_reason = drain->control.reason,
		.ordered = im_orders_left(slot),
		.busy = open_calls(drain) > 0 || drain->hungry,
		.failure = drain->retry_delay != 0 ? slot->last_error : NULL,
		.rate = slot->limiter.rate,
		.rate_limit = slot->limiter.limit
	};

	if (drain->installed == IM_INSTALLED_OTHER)
		facts.trouble = "the extension's version is not the library's: "
			"run ALTER EXTENSION im_import UPDATE; if that changes nothing, restart the server";
	if (drain->control.fenced)
		facts.fence = drain->control.fence_reason;
	if (drain->configured && drain->hungry && budget_of_day(drain) == 0)
		facts.day_budget = app->groups_per_day;
	im_state_of(&facts, im_now_us(), report);
}

/* Shows the state to the views; the slot must be locked. */
static void
publish(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;

	describe(drain, &slot->report);
	slot->rings_seen = drain->rings;
	slot->in_flight = im_sender_in_flight(drain->sender);
	slot->watermark = im_outbox_watermark(im_outbox_get());
	time_progress(slot);
}

/*
 * Tells the server log of a state that a person may have to act on, and of its
 * end.  Runs outside a transaction, so it cannot convert what a reason quotes.
 */
static void
log_state(const ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	ImState		state = slot->report.state == IM_STATE_RUNNING ? IM_STATE_IDLE : slot->report.state;
	ImState		logged = slot->logged;
	char		reason[IM_REASON_MAX];

	if (state == logged || drain->database[0] == '\0')
		return;
	/* A cause that may be gone is not over before the service has taken a call. */
	if (slot->report.state == IM_STATE_RUNNING && !slot->breaker.proven)
		return;
	slot->logged = state;
	strlcpy(reason, slot->report.reason, sizeof(reason));
	if (GetDatabaseEncoding() != PG_UTF8)
		im_text_mask(reason);
	if (state == IM_STATE_IDLE)
		ereport(LOG,
				(errmsg("im_import: the import in database \"%s\" goes on, it was \"%s\"",
						drain->database, im_state_name(logged))));
	else
		ereport(LOG,
				(errmsg("im_import: the import in database \"%s\" is now \"%s\": %s",
						drain->database, im_state_name(state), reason)));
}

/* What im_outbox_run() runs to tell those who LISTEN. */
static void
notify(void *arg)
{
	Async_Notify("im_import", im_state_name(*(ImState *) arg));
}

/* Tells those who LISTEN im_import of another state; nothing waits for them. */
static void
tell_state(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	ImState		state = slot->report.state;

	if (state == slot->told || drain->looked_at == 0)
		return;
	slot->told = state;
	(void) im_outbox_run(notify, &state, NULL);
}

/* True if calls may be started at all, apart from the breaker. */
static bool
may_send(const ImDrain *drain)
{
	return drain->installed == IM_INSTALLED && drain->configured && !drain->control.fenced;
}

/* True if all that is left to do is a look at the table that would be too soon. */
static bool
waits_to_rescan(const ImDrain *drain)
{
	return drain->rescan_owed && drain->slot->report.beneath == IM_STATE_IDLE;
}

/* How long to sleep at most, in microseconds; pump says when it can go on. */
static int64
time_to_sleep(ImDrain *drain, int64 pump, int allowed)
{
	int64		now = im_now_us();
	int64		probe = im_breaker_wait(&drain->slot->breaker, now);
	int64		sleep = LOOK_EVERY;

	/* There is more to claim, and nobody who would wake us for it. */
	if (drain->retry_at <= now && im_sender_queued(drain->sender) == 0 && may_send(drain) &&
		rows_wanted(drain, allowed) > 0)
		return 0;
	if (pump >= 0)
		sleep = Min(sleep, pump);
	if (probe > 0)
		sleep = Min(sleep, probe);
	if (drain->outcomes != NIL)
		sleep = Min(sleep, Max(Max(drain->outcomes_since + FLUSH_AFTER, drain->flush_after) - now, 0));
	if (drain->next_due != 0)
		sleep = Min(sleep, Max(drain->next_due - now, 0));
	if (waits_to_rescan(drain))
		sleep = Min(sleep, Max(drain->rescanned_at + drain->rescan_cost * RESCAN_SHARE - now, MS));
	if (drain->retry_at > now)
		sleep = Max(Min(LOOK_EVERY, drain->retry_at - now), MS);
	return sleep;
}

/* Microseconds until the day of groups_per_day ends, at midnight UTC. */
static int64
time_to_midnight(void)
{
	return USECS_PER_DAY - GetCurrentTimestamp() % USECS_PER_DAY;
}

/* True if rows may be claimed, apart from what the service says. */
static bool
may_claim(const ImDrain *drain)
{
	return !drain->control.paused || im_orders_left(drain->slot) > 0;
}

/* Notes when a worker should be started again, for the launcher. */
static void
set_alarm(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	int64		now = im_now_us();
	int64		probe = im_breaker_wait(&slot->breaker, now);

	/* While paused a probe would be more than anybody asked for. */
	slot->wake_at = 0;
	if (!may_send(drain) || !may_claim(drain))
		return;
	if (slot->breaker.state != IM_BREAKER_CLOSED)
		slot->wake_at = now + Max(probe, 1);
	else if (slot->report.beneath == IM_STATE_QUOTA)
		slot->wake_at = now + time_to_midnight();
	else
		slot->wake_at = drain->next_due;
}

/* True if there is nothing to do now, nor soon; the slot must be locked. */
static bool
is_quiet(const ImDrain *drain, int64 now)
{
	const ImSlot *slot = drain->slot;

	if (open_calls(drain) > 0 || slot->ring || waits_to_rescan(drain) || drain->retry_at > now)
		return false;
	if (!may_claim(drain))
		return true;
	if (slot->report.beneath == IM_STATE_RUNNING)
		return false;
	return drain->next_due == 0 || drain->next_due - now >= LINGER || !may_send(drain);
}

/* Nothing can be done for a while: sets the alarm and says so. */
static ImStay
leave_or_stay(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	int64		now = im_now_us();
	int64		linger = drain->worked ? LINGER : 0;
	ImStay		stay = IM_STAY;

	im_slot_lock(slot);
	publish(drain);
	if (!is_quiet(drain, now))
		drain->idle_since = now;
	else if (now - drain->idle_since >= linger && now - drain->started_at >= STAY_AT_LEAST)
	{
		set_alarm(drain);
		slot->clean = !drain->dirty;
		slot->worker = -1;
		slot->worker_pid = 0;
		stay = IM_LEAVE;
	}
	im_slot_unlock(slot);
	return stay;
}

/* Reads the doorbell. Returns true if it rang. */
static bool
answer_doorbell(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	bool		rang;

	im_slot_lock(slot);
	rang = slot->ring;
	slot->ring = slot->urgent = false;
	drain->rings = slot->rings;
	if (slot->recover)
	{
		drain->dirty = true;
		drain->recover_at = 0;
	}
	slot->recover = false;
	slot->clean = false;
	im_breaker_ask(&slot->breaker, slot->asked_at, im_now_us());
	if (slot->changes != slot->changes_seen)
	{
		/* Another key, another region: the old refusal means nothing. */
		slot->changes_seen = slot->changes;
		im_breaker_reset(&slot->breaker, im_now_us());
		im_sender_forget_signature(drain->sender);
	}
	im_slot_unlock(slot);
	if (rang)
		drain->hungry = true;
	return rang;
}

/* Decides whether the next claim starts from the true minimum. */
static void
plan_rescan(ImDrain *drain, bool rang)
{
	int64		now = im_now_us();
	int64		rest = Max(drain->rescan_cost * RESCAN_SHARE, 0);

	/* A repaired row may lie below the watermark: its ring must not be lost. */
	drain->rescan_owed = drain->rescan_owed || rang;
	if (now - drain->rescanned_at < rest)
		return;
	if (drain->rescan_owed || now - drain->rescanned_at >= RESCAN_EVERY)
	{
		drain->rescan = true;
		drain->hungry = true;
	}
}

/* Nothing is known yet: reads options, pause and fence before anything else. */
static void
first_look(ImDrain *drain)
{
	Transaction tx = {.look = true, .count = true};

	run_transaction(drain, &tx);
}

/*
 * Sessions must not wait for a row that cannot be sent.  While the import is
 * held up the service is tried for them, once for all who asked before.
 */
static void
refuse_if_hopeless(ImDrain *drain)
{
	bool		closed = drain->slot->breaker.state == IM_BREAKER_CLOSED;
	ImReport	report;

	if (may_send(drain) && (closed || im_sender_in_flight(drain->sender) > 0))
		return;
	describe(drain, &report);
	refuse_requests(drain, !may_send(drain), report.reason);
}

/* How many calls may start now. */
static int
calls_allowed(ImDrain *drain)
{
	int			allowed;

	/* Asked to end while a claim waited for its standby: it may not be durable. */
	if (!may_send(drain) || ProcDiePending)
		return 0;
	im_slot_lock(drain->slot);
	allowed = im_breaker_allows(&drain->slot->breaker, im_sender_in_flight(drain->sender),
								im_now_us());
	im_slot_unlock(drain->slot);
	return allowed;
}

/* Unsent calls do not stay claimed while nothing may be sent. */
static void
release_if_held(ImDrain *drain, int allowed)
{
	bool		held = drain->just_paused;
	bool		closed = drain->slot->breaker.state == IM_BREAKER_CLOSED;

	/* Under a pause a budget or a session's request claims, and is to be sent. */
	drain->just_paused = false;
	if (im_sender_queued(drain->sender) == 0)
		return;
	if (!may_send(drain) || (allowed == 0 && !closed) ||
		(allowed == 1 && im_sender_queued(drain->sender) > 1 && !closed) || held)
		release_queued(drain);
}

/* Sleeps; without a configuration there is no network to wait for. */
static void
sleep_until_something(ImDrain *drain, int64 us)
{
	long		ms = (long) ((us + 999) / 1000);

	if (im_sender_app(drain->sender) != NULL)
		im_sender_wait(drain->sender, ms);
	else
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, im_wait_event_sender());
}

/* The extension was dropped: what we know of its rows has no place any more. */
static ImStay
give_up_table(ImDrain *drain)
{
	if (open_calls(drain) > 0)
		ereport(LOG,
				(errmsg("im_import: the extension was dropped while %d rows were being sent; their groups may exist",
						open_calls(drain)),
				 errhint("Rows with a group_id of their own can be inserted and sent again: the group is then recognised. Groups without one must be looked for in the app.")));
	return IM_LEAVE_FOR_GOOD;
}

/* See drain.h. */
ImStay
im_drain_turn(ImDrain *drain)
{
	MemoryContext old;
	bool		rang = answer_doorbell(drain);
	ImStay		stay = IM_STAY;
	int64		pump;
	int			allowed;

	MemoryContextReset(drain->turn_ctx);
	old = MemoryContextSwitchTo(drain->turn_ctx);
	plan_rescan(drain, rang);
	if (drain->looked_at == 0)
		first_look(drain);
	refuse_if_hopeless(drain);
	settle_and_claim(drain, rang, calls_allowed(drain));
	allowed = calls_allowed(drain);
	release_if_held(drain, allowed);
	pump = im_sender_pump(drain->sender, allowed);

	if (drain->installed == IM_INSTALLED_NOT)
		stay = give_up_table(drain);
	else
	{
		stay = leave_or_stay(drain);
		log_state(drain);
		tell_state(drain);
	}
	if (stay == IM_STAY)
	{
		sleep_until_something(drain, time_to_sleep(drain, pump, allowed));
		collect(drain);
	}
	MemoryContextSwitchTo(old);
	return stay;
}

/* See drain.h. */
void
im_drain_shutdown(ImDrain *drain)
{
	int64		end = im_now_us() + SHUTDOWN_GRACE;
	Transaction tx = {0};
	ImCall	   *call;

	release_queued(drain);
	while (im_sender_in_flight(drain->sender) > 0 && im_now_us() < end)
	{
		ResetLatch(MyLatch);
		im_sender_wait(drain->sender, 50);
		collect(drain);
		release_queued(drain);
	}
	while ((call = im_sender_give_up(drain->sender)) != NULL)
		judge_call(drain, call, false);
	release_queued(drain);

	/* A standby that is gone must not hold up the shutdown. */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	MemoryContextReset(drain->turn_ctx);
	MemoryContextSwitchTo(drain->turn_ctx);
	tx.writing = list_copy(drain->outcomes);
	if (tx.writing != NIL)
		run_transaction(drain, &tx);
}
