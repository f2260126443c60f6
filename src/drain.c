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
#include "dispatch.h"
#include "drain.h"
#include "encoding.h"
#include "failpoint.h"
#include "flow.h"
#include "outbox.h"
#include "protocol.h"
#include "queue.h"
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
#define ROWS_MAX			4000	/* claimed at one time, of all kinds */
#define SHUTDOWN_GRACE		(1 * SEC)
#define COUNT_PATIENCE		10	/* looks without a chance to count */

struct ImDrain
{
	MemoryContext ctx;
	MemoryContext turn_ctx;		/* reset every turn */
	ImSlot	   *slot;
	ImSender   *sender;			/* the dispatch's */
	ImDispatch *dispatch;		/* calls under way, and outcomes to be written */
	ImFlow	   *flow;			/* rooms at work */
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

	bool		hungry[IM_KINDS];	/* there may be rows to claim, of kinds without rooms */
	bool		rescan[IM_KINDS];	/* look for them from the true minimum */
	bool		rescan_owed;	/* somebody rang since the last such look */
	int64		rescanned_at;
	int64		rescan_cost;
	int64		next_due[IM_KINDS]; /* monotonic; 0: no retry waits */
	bool		dirty;			/* recovery is due ... */
	int64		recover_at;		/* ... not before this */
	int64		retry_at;		/* after a failed transaction */
	int64		retry_delay;
	bool		careful;		/* write outcomes one by one */

	int			uncounted;		/* looks since the counts were right */

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
	ImClaim		claims[IM_KINDS];
	bool		wants[IM_KINDS];	/* which of them are to be made */
	bool		sweep;			/* look for rooms */
	bool		swept;
	bool		table_busy;
	char		pause_reason[IM_REASON_MAX];	/* "" if not to be paused */
} Transaction;

static void describe(const ImDrain *drain, ImReport *report);

/* Rows may have come, of any kind. */
static void
be_hungry(ImDrain *drain)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		drain->hungry[kind] = !im_commands[kind]->roomed;
}

/* Every kind is to be looked for from its true minimum. */
static void
rescan_all(ImDrain *drain)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		drain->rescan[kind] = true;
}

/* See drain.h. */
ImDrain *
im_drain_create(MemoryContext ctx, ImSlot *slot)
{
	ImDrain    *drain = MemoryContextAllocZero(ctx, sizeof(ImDrain));

	drain->ctx = ctx;
	drain->turn_ctx = AllocSetContextCreate(ctx, "im_import turn", ALLOCSET_DEFAULT_SIZES);
	drain->slot = slot;
	drain->dispatch = im_dispatch_create(ctx, slot);
	drain->sender = drain->dispatch->sender;
	drain->flow = im_flow_create(ctx);
	drain->installed = IM_INSTALLED;
	rescan_all(drain);
	be_hungry(drain);
	drain->dirty = !slot->clean;
	drain->idle_since = drain->started_at = im_now_us();
	im_orders_orphaned(slot);

	/* Key or plan may have expired meanwhile: one call finds out, not many. */
	im_slot_lock(slot);
	slot->breaker.proven = false;
	im_slot_unlock(slot);
	return drain;
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

/* ------------------------------------------------------------------------
 * Sessions that wait for their row
 */

/* Ends a request: from here on it is the session's again. */
static void
answer_request(ImSlot *slot, int i, ImRequestResult result, const ImRow *row, const char *info)
{
	ImRequest  *request = &slot->requests[i];

	im_slot_lock(slot);
	request->result = result;
	if (row != NULL)
	{
		request->status = row->next.status;
		request->code = row->verdict.code;
		strlcpy(request->group_id, row->group_id[0] ? row->group_id : row->said_id,
				sizeof(request->group_id));
	}
	copy_text(request->info, sizeof(request->info), info);
	request->state = request->asker >= 0 ? IM_REQUEST_DONE : IM_REQUEST_FREE;
	if (request->asker >= 0)
		SetLatch(im_latch_of(request->asker));
	im_slot_unlock(slot);
}

/* True if the row is not at an end. */
static bool
is_open(const ImRow *row)
{
	return row->next.status == im_open_status(im_commands[row->kind]);
}

/* A row is written: tell who waits for it, and forget it. */
static void
finish_row(ImDrain *drain, ImRow *row)
{
	const char *info = row->info;

	if (row->problems != NULL && row->verdict.code == 0)
	{
		row->verdict.code = row->problem_code;
		info = row->problems;
	}
	else if (row->next.reason != NULL)
		info = row->next.reason;
	if (row->request >= 0)
		answer_request(drain->slot, row->request, IM_RESULT_SETTLED, row, info);

	/* What surely was not sent is not what a person has ordered. */
	im_order_settled(drain->slot, row->order,
					 is_open(row) && !row->next.suspect_now);
	im_dispatch_free_row(row);
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
		one->kind = request->kind;
		one->id = request->id;
		one->request = i;
		memcpy(one->row_key, request->row_key, sizeof(one->row_key));
		asked = lappend(asked, one);
	}
	im_slot_unlock(slot);
	return asked;
}

/* True if that request's row is among those of a claim. */
static bool
was_claimed(const ImClaim *claim, int request)
{
	ListCell   *lc;

	foreach(lc, claim->rows)
		if (((ImRow *) lfirst(lc))->request == request)
			return true;
	foreach(lc, claim->settled)
		if (((ImRow *) lfirst(lc))->request == request)
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
	left = app->groups_per_day - im_outbox_groups_today(im_outbox_get()) -
		drain->dispatch->nrows_of[IM_GROUP];
	return left < 0 ? 0 : (int) Min(left, INT_MAX);
}

/* How many calls of a kind to have claimed: the slots, and a little work ahead. */
static int
claim_target(const ImDrain *drain, const ImCommand *command)
{
	const ImApp *app = im_sender_app(drain->sender);
	double		seconds = command->makes_groups && app->assigned_ids ? CLAIM_AHEAD / 5 : CLAIM_AHEAD;
	double		ahead = im_app_rate(app, command->op) * seconds;

	/*
	 * Do not claim more than the rate lets us send: after a crash every
	 * claimed row has to be treated as possibly sent.
	 */
	if (ahead + 1 < app->max_in_flight)
		return Min((int) ahead + 1 + im_sender_flying(drain->sender, command->op),
				   app->max_in_flight + CLAIM_AHEAD_MAX);
	return app->max_in_flight + (int) Min(ahead, CLAIM_AHEAD_MAX);
}

/* How many calls of a kind the next transaction should claim rows for. */
static int
calls_wanted(const ImDrain *drain, const ImCommand *command, int allowed)
{
	int			target = claim_target(drain, command);
	int			open = im_sender_open(drain->sender, command->op);
	int			want = Min(target - open, allowed);

	if (im_dispatch_open(drain->dispatch) >= ROWS_MAX)
		return 0;
	/* A few at a time would cost a commit each: what may queue is half sent first. */
	if (want * 2 < target - im_sender_flying(drain->sender, command->op) &&
		open > im_sender_flying(drain->sender, command->op))
		return 0;
	return Max(want, 0);
}

/* Rows that im_import_drain() may still send. */
static int64
rows_ordered(const ImDrain *drain)
{
	int64		ordered;

	im_slot_lock(drain->slot);
	ordered = im_orders_left(drain->slot);
	im_slot_unlock(drain->slot);
	return ordered;
}

/* How many rows of a kind without rooms the next transaction should claim. */
static int
rows_wanted(const ImDrain *drain, ImKind kind, int allowed)
{
	const ImCommand *command = im_commands[kind];
	int			want;

	if (!drain->hungry[kind] || allowed <= 0)
		return 0;
	want = calls_wanted(drain, command, allowed) * im_dispatch_batch(drain->dispatch, kind);
	want = Min(want, ROWS_MAX - im_dispatch_open(drain->dispatch));
	if (command->makes_groups)
		want = Min(want, budget_of_day(drain));
	/* What an order counts are groups; what they need goes with them. */
	if (drain->control.paused)
		want = (int) Min((int64) want, command->makes_groups || command->undoes ? rows_ordered(drain) :
						 rows_ordered(drain) > 0 ? ROWS_MAX : 0);
	/* It is spent on those that are to be undone first. */
	if (drain->control.paused && command->makes_groups && drain->hungry[IM_UNDO_GROUP])
		want = 0;
	return Max(want, 0);
}

/* True if accounts are on their way, or wait for their time. */
static bool
accounts_busy(const ImDrain *drain)
{
	ListCell   *lc;

	if (drain->next_due[IM_ACCOUNT] != 0 || drain->dispatch->nrows_of[IM_ACCOUNT] > 0)
		return true;
	foreach(lc, drain->dispatch->outcomes)
	{
		if (((ImRow *) lfirst(lc))->kind == IM_ACCOUNT)
			return true;
	}
	return false;
}

/* True if rows are open that groups and friends wait for, as far as is known. */
static bool
accounts_open(const ImDrain *drain)
{
	return drain->hungry[IM_ACCOUNT] || accounts_busy(drain);
}

/* True if there may be rows to claim for some kind. */
static bool
is_hungry(const ImDrain *drain)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		if (drain->hungry[kind])
			return true;
	return im_rooms_wait(drain->flow->rooms, drain->control.paused, im_now_us()) == 0;
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
	drain->configured = im_sender_configure(drain->sender, &problem);
	note_changes(drain);
	if (!drain->configured)
		copy_text(drain->trouble, sizeof(drain->trouble),
				  im_text_as_utf8(psprintf("%s%s%s", problem.message, problem.hint ? ". " : "",
										  problem.hint ? problem.hint : "")));
	im_outbox_control(im_outbox_get(), &drain->control);
	if (drain->control.moved && drain->configured &&
		im_sender_app(drain->sender)->continue_after_promotion)
	{
		(void) im_queue_adopt_all(false, im_sender_app(drain->sender));
		im_outbox_control(im_outbox_get(), &drain->control);
	}
	drain->just_paused = drain->control.paused && !was_paused;
	forget_dead_orders(drain->slot);
	if (!im_orders_any(drain->slot))
		im_rooms_forget_orders(drain->flow->rooms);
}

/* Recovery of rows whose sender died, ours included after a lost claim. */
static void
recover_rows(ImDrain *drain)
{
	drain->dirty = false;
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		int			n;
		int64	   *claims = im_dispatch_claims(drain->dispatch, kind, &n);

		if (!im_queue_recover(kind, claims, n))
			drain->dirty = true;
	}
	drain->recover_at = im_now_us() + RECOVER_AGAIN;
	be_hungry(drain);
	im_flow_owe_sweep(drain->flow);
}

/* Finds out when the next retry of a kind is due, once there is nothing else. */
static void
note_next_due(ImDrain *drain, ImKind kind, bool claimed)
{
	TimestampTz due = im_queue_next_due(kind);
	int64		delay;

	drain->next_due[kind] = 0;
	if (due == 0)
	{
		/* Rows that somebody locks were passed over: look again soon. */
		if (drain->dispatch->nrows_of[kind] == 0 && !claimed && im_queue_has_open(kind))
			drain->next_due[kind] = im_now_us() + RESCAN_EVERY;
		return;
	}
	delay = Max((int64) (due - GetCurrentTimestamp()), 0);
	drain->next_due[kind] = im_now_us() + Min(delay, DUE_MAX) + MS;
	if (delay > DUE_MAX)
		drain->dirty = true;	/* the clock was set back: recovery caps it */
}

/* True if a claim found all that there is of its kind, and that is nothing. */
static bool
found_nothing(const ImClaim *claim)
{
	return claim->short_scan && claim->rows == NIL && claim->settled == NIL;
}

/* Makes one claim. */
static void
claim_rows(ImDrain *drain, ImClaim *claim)
{
	claim->app = im_sender_app(drain->sender);
	claim->ctx = drain->dispatch->calls_ctx;
	claim->steady = &drain->slot->steady;
	claim->rescan = drain->rescan[claim->kind];
	im_queue_claim(claim);
	if (claim->want > 0 && claim->short_scan)
		note_next_due(drain, claim->kind, claim->rows != NIL);
}

/*
 * Makes all claims, in the order of the kinds: what waits for accounts is not
 * claimed before none of them is open.
 */
static void
claim_all(ImDrain *drain, Transaction *tx)
{
	int64		start = im_now_us();
	bool		rescanned = false;
	bool		accounts = accounts_open(drain);

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		ImClaim    *claim = &tx->claims[kind];

		if (!tx->wants[kind])
			continue;
		if (im_commands[kind]->after_accounts && accounts)
			claim->want = 0;
		claim_rows(drain, claim);
		/* A kind that gets no call now still has to be looked for: later. */
		if (claim->want > 0)
		{
			rescanned = rescanned || drain->rescan[kind];
			drain->rescan[kind] = false;
		}
		if (kind == IM_ACCOUNT && claim->want > 0 && found_nothing(claim) &&
			drain->next_due[kind] == 0 && drain->dispatch->nrows_of[kind] == 0)
			accounts = false;
	}
	if (rescanned)
	{
		drain->rescanned_at = im_now_us();
		drain->rescan_cost = drain->rescanned_at - start;
		drain->rescan_owed = false;
	}
}

/* Notes in the rooms' table what is claimed and what was written. */
static void
note_rooms(ImDrain *drain, Transaction *tx)
{
	ImRoomNote *notes;
	int			n;

	notes = im_flow_notes(tx->claims[IM_MESSAGE].rows, tx->written, drain->dispatch->held, &n);
	im_queue_note_rooms(notes, n);
}

/*
 * Exact counts for im_import_status; after many vain tries it insists.  False
 * if the tally cannot be had without waiting, or is not right now.
 */
static bool
keep_count(ImDrain *drain)
{
	bool		insist = drain->uncounted >= COUNT_PATIENCE && drain->dispatch->nrows == 0;

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
	int64		total = 0;
	int64		open;
	ImTallies	tallies;
	ImTally		rows;

	if (!im_tally_read(im_outbox_schema(im_outbox_get()), &tallies))
		return;					/* being counted */
	rows = tallies.all;
	drain->flow->dependents = false;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (im_commands[kind]->roomed && tallies.of[kind].by_status[IM_PENDING] > 0)
			drain->flow->dependents = true;
	describe(drain, &report);
	for (int i = 0; i < IM_STATUSES; i++)
		total += rows.by_status[i];
	open = rows.by_status[IM_PENDING] + rows.by_status[IM_SENDING] + rows.by_status[IM_UNDO];
	snprintf(line, sizeof(line), "im_import: " INT64_FORMAT " of " INT64_FORMAT " rows, %s%s%s",
			 total - open, total, im_state_name(report.state), report.reason[0] ? ": " : "",
			 im_text_from_utf8(report.reason));
	pgstat_report_activity(report.state == IM_STATE_RUNNING ? STATE_RUNNING : STATE_IDLE, line);
}

/* Writes the outcomes back, a kind at a time; what was locked stays in writing. */
static void
settle_all(Transaction *tx)
{
	List	   *locked = NIL;

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		List	   *rows = NIL;
		ListCell   *lc;

		foreach(lc, tx->writing)
			if (((ImRow *) lfirst(lc))->kind == (ImKind) kind)
				rows = lappend(rows, lfirst(lc));
		im_queue_settle(kind, &rows, &tx->written);
		locked = list_concat(locked, rows);
	}
	tx->writing = locked;
}

/* True if rows are to be sent. */
static bool
has_claimed(const Transaction *tx)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		if (tx->claims[kind].rows != NIL)
			return true;
	return false;
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
		memset(tx->wants, 0, sizeof(tx->wants));
		tx->sweep = false;
	}
	tx->table_busy = !im_outbox_try_lock(outbox);
	if (tx->table_busy)
		return;
	if (tx->count && keep_count(drain))
		show_activity(drain);
	settle_all(tx);
	if (tx->count || drain->dispatch->nrows == 0)
		im_outbox_write_day(outbox);
	if (!drain->configured || drain->control.fenced)
	{
		memset(tx->wants, 0, sizeof(tx->wants));
		tx->sweep = false;
		note_rooms(drain, tx);
		return;
	}
	if (drain->dirty && im_now_us() >= drain->recover_at)
		recover_rows(drain);
	if (tx->sweep)
		im_flow_sweep(drain->flow);
	claim_all(drain, tx);
	im_queue_unread_again(&tx->claims[IM_MESSAGE]);
	note_rooms(drain, tx);
	if (has_claimed(tx))
		IM_FAILPOINT("claim_before_commit");
	if (tx->written != NIL)
		IM_FAILPOINT("settle_before_commit");
}

/* The outcome that was tried alone goes to the end of the line. */
static void
rotate_outcomes(ImDrain *drain)
{
	MemoryContext old;
	ImDispatch *dispatch = drain->dispatch;
	ImRow	   *first;

	if (list_length(dispatch->outcomes) < 2)
		return;
	first = linitial(dispatch->outcomes);
	old = MemoryContextSwitchTo(drain->ctx);
	dispatch->outcomes = lappend(list_delete_first(dispatch->outcomes), first);
	MemoryContextSwitchTo(old);
}

/* The transaction failed: what it claimed was never sent, what it wrote may stand. */
static void
note_failure(ImDrain *drain, Transaction *tx, const char *error)
{
	ListCell   *lc;

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		foreach(lc, tx->claims[kind].rows)
			im_dispatch_free_row(lfirst(lc));
		foreach(lc, tx->claims[kind].settled)
			im_dispatch_free_row(lfirst(lc));
	}
	drain->flow->found = NIL;
	im_flow_owe_sweep(drain->flow);
	if (drain->careful)
		rotate_outcomes(drain);
	drain->dirty = true;
	drain->recover_at = 0;
	rescan_all(drain);
	drain->careful = true;
	drain->retry_delay = drain->retry_delay == 0 ? RETRY_FIRST : Min(drain->retry_delay * 2, RETRY_MAX);
	drain->retry_at = im_now_us() + drain->retry_delay;
	im_slot_lock(drain->slot);
	copy_text(drain->slot->last_error, sizeof(drain->slot->last_error), error ? error : "");
	drain->slot->last_error_at = GetCurrentTimestamp();
	im_slot_unlock(drain->slot);
}

/* True if the row counts for an im_import_drain(), which then has one less to go. */
static uint32
order_for(ImDrain *drain, const ImRow *row)
{
	if (row->request >= 0 || !(im_commands[row->kind]->makes_groups || im_commands[row->kind]->undoes))
		return 0;
	return im_order_take(drain->slot);
}

/* Hands freshly claimed rows on; their claim is committed. */
static void
launch_claimed(ImDrain *drain, ImClaim *claim)
{
	ListCell   *lc;

	foreach(lc, claim->rows)
		((ImRow *) lfirst(lc))->order = order_for(drain, lfirst(lc));
	im_flow_claimed(drain->flow, claim);
	if (im_commands[claim->kind]->undoes)
	{
		im_flow_leave(drain->flow, claim->rows);
		im_flow_leave(drain->flow, claim->settled);
	}
	im_dispatch_rows(drain->dispatch, claim->rows);
	foreach(lc, claim->settled)
	{
		ImRow	   *row = lfirst(lc);

		row->order = order_for(drain, row);
		finish_row(drain, row);
	}
}

/* For im_flow_swept(): may a room go although the import is paused? */
static bool
take_room_order(void *arg)
{
	ImDrain    *drain = arg;
	uint32		order = im_order_take(drain->slot);

	if (order == 0)
		return false;
	im_order_settled(drain->slot, order, false);	/* it is the room that is waited for */
	return true;
}

/*
 * Notes how fast rows are settled.  The rate decays over about half a minute;
 * divided by its weight it is the mean since the start, as long as that is
 * shorter ago.
 */
static void
note_progress(ImSlot *slot, const List *rows)
{
	int64		now = im_now_us();
	int			settled[IM_KINDS] = {0};
	ListCell   *lc;
	double		passed;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);

		settled[row->kind] += !is_open(row);
	}

	im_slot_lock(slot);
	passed = (double) (now - slot->settle_rate_at) / SEC;
	if (slot->settle_rate_at != 0 && passed > 0)
	{
		double		keep = Max(1.0 - passed / 30.0, 0.0);

		slot->settle_rate = slot->settle_rate * keep + (list_length(rows) / passed) * (1.0 - keep);
		for (int kind = 0; kind < IM_KINDS; kind++)
			slot->kind_rate[kind] = slot->kind_rate[kind] * keep + (settled[kind] / passed) * (1.0 - keep);
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
	memset(slot->kind_rate, 0, sizeof(slot->kind_rate));
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
		left = drain->dispatch->outcomes;
	else if (drain->careful)
		left = list_delete_first(drain->dispatch->outcomes);
	else
	{
		left = list_copy(tx->writing);
		list_free(drain->dispatch->outcomes);
	}
	drain->dispatch->outcomes = left;
	MemoryContextSwitchTo(old);
}

/* Tells the history how rows ended. */
static void
note_history(ImSlot *slot, const List *rows)
{
	int			imported = 0;
	int			failed = 0;
	ListCell   *lc;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);
		ImStatus	status = row->next.status;

		if (im_commands[row->kind]->undoes)
			continue;
		imported += status == IM_IMPORTED;
		failed += status == IM_FAILED || status == IM_INVALID || status == IM_IN_DOUBT;
	}
	im_slot_settled(slot, imported, failed);
}

/* What was written is done with. */
static void
finish_written(ImDrain *drain, Transaction *tx)
{
	ListCell   *lc;

	note_history(drain->slot, tx->written);
	drop_written(drain, tx);
	im_flow_settled(drain->flow, tx->written);
	im_slot_lock(drain->slot);
	drain->slot->ordered_rooms = im_rooms_ordered(drain->flow->rooms);
	im_slot_unlock(drain->slot);
	if (drain->dispatch->held != NIL)
		im_flow_owe_sweep(drain->flow);	/* what waits is more than it was */
	list_free_deep(drain->dispatch->held);
	drain->dispatch->held = NIL;
	if (tx->written != NIL)
		note_progress(drain->slot, tx->written);
	foreach(lc, tx->written)
	{
		ImRow	   *row = lfirst(lc);

		if (is_open(row) && row->room == NULL)
			drain->hungry[row->kind] = !im_commands[row->kind]->roomed;
		finish_row(drain, row);
	}
	if (drain->dispatch->outcomes == NIL)
		drain->careful = false;
}

/* The transaction committed: everything it did is true now. */
static void
note_success(ImDrain *drain, Transaction *tx)
{
	drain->retry_delay = 0;
	drain->retry_at = 0;
	finish_written(drain, tx);
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		ImClaim    *claim = &tx->claims[kind];

		note_history(drain->slot, claim->settled);
		if (claim->want > 0 && claim->short_scan && claim->nwritten == 0)
			drain->hungry[kind] = false;
		answer_unclaimed(drain, claim);
		if (tx->wants[kind])
			launch_claimed(drain, claim);
	}
	/* Groups first: an order that they were claimed for is not a room's. */
	if (tx->sweep && im_flow_swept(drain->flow, drain->control.paused, take_room_order, drain))
	{
		im_slot_lock(drain->slot);
		memcpy(drain->slot->waiting, drain->flow->waiting, sizeof(drain->slot->waiting));
		drain->slot->swept = true;
		im_slot_unlock(drain->slot);
	}
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
	if (ok && has_claimed(tx))
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
	const ImDispatch *dispatch = drain->dispatch;

	if (dispatch->outcomes == NIL || now < drain->flush_after)
		return false;
	return drain->careful || list_length(dispatch->outcomes) >= FLUSH_COUNT ||
		dispatch->nrows == 0 || now - dispatch->outcomes_since >= FLUSH_AFTER;
}

/* Which outcomes the next transaction writes. */
static List *
outcomes_to_write(const ImDrain *drain)
{
	/* After a failure one at a time: a poisonous one must not hold the rest. */
	if (drain->careful && drain->dispatch->outcomes != NIL)
		return list_make1(linitial(drain->dispatch->outcomes));
	return list_copy(drain->dispatch->outcomes);
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

/* Plans the claim of one kind; *allowed, in calls, counts down. */
static void
plan_kind(ImDrain *drain, Transaction *tx, ImKind kind, int *allowed)
{
	const ImCommand *command = im_commands[kind];
	ImClaim    *claim = &tx->claims[kind];
	int			batch = im_dispatch_batch(drain->dispatch, kind);

	claim->kind = kind;
	if (command->roomed)
		im_flow_pick(drain->flow, claim, calls_wanted(drain, command, *allowed), batch,
					 drain->control.paused);
	/* What surely has to wait must not use up the one call that tries the service. */
	else if (!(command->after_accounts && accounts_busy(drain)))
		claim->want = rows_wanted(drain, kind, *allowed);
	tx->wants[kind] = claim->want > 0 || claim->nrooms > 0 || claim->asked != NIL;
	*allowed -= Min(*allowed, claim->nrooms + (claim->want + batch - 1) / batch);
}

/* Plans all claims; sessions' rows come first. */
static bool
plan_claims(ImDrain *drain, Transaction *tx, int allowed)
{
	bool		any = false;
	ListCell   *lc;

	/* While the service is being tried, the others wait for the result. */
	if (allowed > 0)
		foreach(lc, asked_rows(drain))
		{
			ImAsked    *asked = lfirst(lc);

			tx->claims[asked->kind].asked = lappend(tx->claims[asked->kind].asked, asked);
		}
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		plan_kind(drain, tx, kind, &allowed);
		any = any || tx->wants[kind];
	}
	return any;
}

/* Retries that are due now make their kinds hungry. */
static void
note_due(ImDrain *drain, int64 now)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
		if (drain->next_due[kind] != 0 && now >= drain->next_due[kind])
		{
			drain->hungry[kind] = drain->rescan_owed = true;
			drain->next_due[kind] = 0;
		}
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(ImDrain *drain, bool rang, int allowed)
{
	Transaction tx = {0};
	int64		now = im_now_us();
	bool		flush = must_flush(drain, now);
	bool		claim = false;

	tx.look = rang || now - drain->looked_at >= LOOK_EVERY ||
		(drain->configured && im_sender_wants_configure(drain->sender));
	tx.count = rang || now - drain->counted_at >= LOOK_EVERY;
	check_same_refusal(drain, &tx);
	if (drain->retry_at > now && !rang)
		return;
	note_due(drain, now);
	/* What waits is known exactly only by a look after the last room is done. */
	if (drain->flow->stale && im_dispatch_open(drain->dispatch) == 0 &&
		!im_rooms_busy(drain->flow->rooms))
		im_flow_owe_sweep(drain->flow);
	if (drain->configured && !drain->control.fenced)
	{
		claim = plan_claims(drain, &tx, allowed);
		tx.sweep = im_flow_wants_sweep(drain->flow, now) &&
			(!drain->control.paused || (rows_ordered(drain) > 0 && !drain->hungry[IM_UNDO_GROUP]));
	}
	flush = flush || (drain->dispatch->outcomes != NIL && claim && now >= drain->flush_after);
	if (flush)
		tx.writing = outcomes_to_write(drain);
	if (tx.look || tx.count || flush || claim || tx.sweep || tx.pause_reason[0] != '\0' ||
		(drain->dirty && now >= drain->recover_at))
		run_transaction(drain, &tx);
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
		.busy = im_dispatch_open(drain->dispatch) > 0 || is_hungry(drain) ||
			drain->flow->sweep_owed || drain->flow->sweeping || drain->flow->stale,
		.failure = drain->retry_delay != 0 ? slot->last_error : NULL,
		.lock = im_outbox_blocker(im_outbox_get()),
		.rate = slot->limiters[IM_OP_IMPORT_GROUP].rate,
		.rate_limit = slot->limiters[IM_OP_IMPORT_GROUP].limit
	};

	if (drain->installed == IM_INSTALLED_OTHER)
		facts.trouble = "the extension's version is not the library's: "
			"run ALTER EXTENSION im_import UPDATE; if that changes nothing, restart the server";
	if (drain->control.fenced)
		facts.fence = drain->control.fence_reason;
	if (drain->configured && drain->hungry[IM_GROUP] && budget_of_day(drain) == 0)
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
	slot->watermark = im_queue_watermark(IM_GROUP);
	slot->ordered_rooms = im_rooms_ordered(drain->flow->rooms);
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

/* True if rows may be claimed, apart from what the service says. */
static bool
may_claim(const ImDrain *drain)
{
	return !drain->control.paused || im_orders_left(drain->slot) > 0;
}

/* True if the next transaction would claim rows. */
static bool
could_claim(const ImDrain *drain, int allowed)
{
	bool		room_waits = im_rooms_wait(drain->flow->rooms, drain->control.paused, im_now_us()) == 0;
	bool		accounts = accounts_open(drain);

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		const ImCommand *command = im_commands[kind];

		if (im_sender_open(drain->sender, command->op) > im_sender_flying(drain->sender, command->op))
			continue;			/* some are queued: they go first */
		if (command->roomed ? room_waits && calls_wanted(drain, command, allowed) > 0 &&
			im_rooms_wait_at(drain->flow->rooms, kind, drain->control.paused, im_now_us()) == 0 :
			rows_wanted(drain, kind, allowed) > 0 && !(command->after_accounts && accounts))
			return true;
	}
	return false;
}

/* When the earliest retry is due that is not found through a room; 0: none. */
static int64
earliest_due(const ImDrain *drain)
{
	int64		due = 0;

	for (int kind = 0; kind < IM_KINDS; kind++)
		if (drain->next_due[kind] != 0 && (due == 0 || drain->next_due[kind] < due))
			due = drain->next_due[kind];
	return due;
}

/* When a room's turn comes, or the next part of a sweep; 0: never. */
static int64
next_in_rooms(const ImDrain *drain, int64 now)
{
	const ImFlow *flow = drain->flow;
	int64		wait = im_rooms_wait(flow->rooms, drain->control.paused, now);
	int64		at = wait >= 0 ? now + wait : 0;
	int64		sweep = im_flow_sweep_due(flow);

	if (sweep != 0 && (at == 0 || sweep < at))
		at = Max(sweep, now + 1);
	return at;
}

/* How long to sleep at most, in microseconds; pump says when it can go on. */
static int64
time_to_sleep(ImDrain *drain, int64 pump, int allowed)
{
	int64		now = im_now_us();
	int64		probe = im_breaker_wait(&drain->slot->breaker, now);
	int64		due = earliest_due(drain);
	int64		rooms = next_in_rooms(drain, now);
	int64		sleep = LOOK_EVERY;

	/* There is more to claim, and nobody who would wake us for it. */
	if (drain->retry_at <= now && may_send(drain) && could_claim(drain, allowed))
		return 0;
	if (pump >= 0)
		sleep = Min(sleep, pump);
	if (probe > 0)
		sleep = Min(sleep, probe);
	if (drain->dispatch->outcomes != NIL)
		sleep = Min(sleep, Max(Max(drain->dispatch->outcomes_since + FLUSH_AFTER,
								   drain->flush_after) - now, 0));
	if (due != 0)
		sleep = Min(sleep, Max(due - now, 0));
	if (rooms > now && may_send(drain) && may_claim(drain))
		sleep = Min(sleep, rooms - now);
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
	{
		int64		due = earliest_due(drain);
		int64		rooms = next_in_rooms(drain, now);

		slot->wake_at = due == 0 || (rooms != 0 && rooms < due) ? rooms : due;
	}
}

/* True if there is nothing to do now, nor soon; the slot must be locked. */
static bool
is_quiet(const ImDrain *drain, int64 now)
{
	const ImSlot *slot = drain->slot;
	int64		due = earliest_due(drain);
	int64		rooms = next_in_rooms(drain, now);

	if (im_dispatch_open(drain->dispatch) > 0 || slot->ring || waits_to_rescan(drain) || drain->retry_at > now)
		return false;
	if (!may_claim(drain))
		return true;
	if (!may_send(drain))
		return true;
	/* Whatever is due, nothing goes before the next probe. */
	if (slot->breaker.state != IM_BREAKER_CLOSED)
		return im_breaker_wait(&slot->breaker, now) >= LINGER;
	if (slot->report.beneath == IM_STATE_RUNNING)
		return false;
	return (due == 0 || due - now >= LINGER) && (rooms == 0 || rooms - now >= LINGER);
}

/* Nothing can be done for a while: sets the alarm and says so. */
static ImStay
leave_or_stay(ImDrain *drain)
{
	ImSlot	   *slot = drain->slot;
	int64		now = im_now_us();
	int64		linger = drain->dispatch->worked ? LINGER : 0;
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
	{
		be_hungry(drain);
		im_flow_owe_sweep(drain->flow);
	}
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
		rescan_all(drain);
		be_hungry(drain);
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

/*
 * For how many calls rows may be claimed.  While the service is only tried, a
 * call that is queued is the one that tries it.
 */
static int
claims_allowed(ImDrain *drain)
{
	int			allowed = calls_allowed(drain);

	if (drain->slot->breaker.state == IM_BREAKER_CLOSED)
		return allowed;
	return Max(allowed - im_sender_queued(drain->sender), 0);
}

/* Unsent calls do not stay claimed while nothing may be sent; but one goes that tries the service. */
static void
release_if_held(ImDrain *drain, int allowed)
{
	bool		held = drain->just_paused;
	bool		closed = drain->slot->breaker.state == IM_BREAKER_CLOSED;

	/* Under a pause a budget or a session's request claims, and is to be sent. */
	drain->just_paused = false;
	if (im_sender_queued(drain->sender) == 0)
		return;
	if (!may_send(drain) || held)
		im_dispatch_release(drain->dispatch, 0);
	else if (!closed)
		im_dispatch_release(drain->dispatch, allowed);
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
	if (im_dispatch_open(drain->dispatch) > 0)
		ereport(LOG,
				(errmsg("im_import: the extension was dropped while %d rows were being sent; their groups may exist",
						im_dispatch_open(drain->dispatch)),
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
	settle_and_claim(drain, rang, claims_allowed(drain));
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
		sleep_until_something(drain, time_to_sleep(drain, pump, claims_allowed(drain)));
		im_dispatch_collect(drain->dispatch);
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

	im_dispatch_release(drain->dispatch, 0);
	while (im_sender_in_flight(drain->sender) > 0 && im_now_us() < end)
	{
		ResetLatch(MyLatch);
		im_sender_wait(drain->sender, 50);
		im_dispatch_collect(drain->dispatch);
		im_dispatch_release(drain->dispatch, 0);
	}
	im_dispatch_give_up(drain->dispatch);
	im_dispatch_release(drain->dispatch, 0);

	/* A standby that is gone must not hold up the shutdown. */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	MemoryContextReset(drain->turn_ctx);
	MemoryContextSwitchTo(drain->turn_ctx);
	tx.writing = list_copy(drain->dispatch->outcomes);
	if (tx.writing != NIL)
		run_transaction(drain, &tx);
}
