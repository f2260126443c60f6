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
 * What a turn does, how much it claims and how long it sleeps is decided in
 * plan.c; here the facts are gathered, and what was decided is done.
 *
 * Must not know: signals, SQL text, JSON.
 */
#include "postgres.h"

#include "commands/async.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/inval.h"
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
#include "plan.h"
#include "protocol.h"
#include "queue.h"
#include "sender.h"
#include "text.h"

#define SEC					INT64_C(1000000)
#define SHUTDOWN_GRACE		(1 * SEC)

struct ImDrain
{
	MemoryContext ctx;
	MemoryContext turn_ctx;		/* reset every turn */
	ImSlot	   *slot;
	ImSender   *sender;			/* the dispatch's */
	ImDispatch *dispatch;		/* calls under way, and outcomes to be written */
	ImFlow	   *flow;			/* rooms at work */
	ImPlan		plan;			/* what the turns are planned with */

	ImInstalled installed;
	char		database[NAMEDATALEN];	/* its name, "" before the first look */
	bool		configured;
	ImControl	control;
	char		trouble[IM_REASON_MAX]; /* why not configured */
	uint64		options;		/* generation of them at the last look, 0: none yet */
	uint32		rings;			/* of the doorbell, as last looked after */
	ImSweepMark swept_at;		/* as the last worker left it */
	bool		accounts_came;	/* rows that were refused for want of one may go again ... */
	bool		late_looked_for;	/* ... and those that were refused by then do */
};

/* What one transaction is to do and has done. */
typedef struct Transaction
{
	ImDrain    *drain;
	ImTurn		turn;
	List	   *writing;		/* outcomes to be written */
	List	   *written;
	ImClaim		claims[IM_KINDS];
	bool		wants[IM_KINDS];	/* which of them are to be made */
	int			allowed;		/* calls, of kinds without rooms together */
	bool		table_busy;
	bool		looks_for_new;	/* rows of rooms, if it is time ... */
	bool		looked_for_new; /* ... which it was */
	bool		accounts_came;	/* some were imported since ... */
	bool		late_looked_for;	/* ... such rows were looked for ... */
	bool		late_quiet;		/* ... while nothing was under way */
	char		pause_reason[IM_REASON_MAX];	/* "" if not to be paused */
} Transaction;

static void describe(const ImDrain *drain, const ImPlanFacts *facts, ImReport *report);

/* Rows that the last worker took for sessions, which wait for an answer of somebody. */
static void
ask_again(ImSlot *slot)
{
	im_slot_lock(slot);
	for (int i = 0; i < IM_REQUESTS; i++)
		if (slot->requests[i].state == IM_REQUEST_TAKEN)
			slot->requests[i].state = slot->requests[i].asker >= 0 ? IM_REQUEST_ASKED : IM_REQUEST_FREE;
	im_slot_unlock(slot);
}

/* See drain.h. */
ImDrain *
im_drain_create(MemoryContext ctx, ImSlot *slot)
{
	ImDrain    *drain = MemoryContextAllocZero(ctx, sizeof(ImDrain));
	bool		loose[IM_KINDS];

	for (int kind = 0; kind < IM_KINDS; kind++)
		loose[kind] = !im_commands[kind]->roomed;
	drain->ctx = ctx;
	drain->turn_ctx = AllocSetContextCreate(ctx, "im_import turn", ALLOCSET_DEFAULT_SIZES);
	drain->slot = slot;
	drain->dispatch = im_dispatch_create(ctx, slot, &drain->plan);
	drain->sender = drain->dispatch->sender;
	drain->flow = im_flow_create(ctx);
	drain->dispatch->rooms = drain->flow->rooms;
	drain->swept_at = slot->clean ? slot->swept_at : (ImSweepMark) {0};
	drain->flow->mark.rings = drain->flow->begun.rings = drain->swept_at.rings;
	drain->flow->begun.counts = drain->swept_at.counts;
	drain->installed = IM_INSTALLED;
	/* A worker that did not leave in order may have left rows in sending. */
	im_plan_start(&drain->plan, loose, !slot->clean, im_now_us());
	im_orders_orphaned(slot);
	ask_again(slot);

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
	/* A session that gave up fetches no answer: its place is free at once. */
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

	/*
	 * What surely was not sent is not what a person has ordered.  A group that is to
	 * be undone is asked for and tried again, until it is at an end.
	 */
	im_order_settled(drain->slot, row->order,
					 is_open(row) && (im_commands[row->kind]->undoes || !row->next.suspect_now));
	im_dispatch_free_row(row);
}

/* True if a request's row is among those. */
static bool
is_asked(const List *asked, const ImRequest *request)
{
	ListCell   *lc;

	foreach(lc, asked)
	{
		const ImAsked *one = lfirst(lc);

		if (one->kind == request->kind && one->id == request->id &&
			memcmp(one->row_key, request->row_key, sizeof(one->row_key)) == 0)
			return true;
	}
	return false;
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

		/* Two that ask for one row wait for each other: it must not be claimed twice. */
		if (request->state != IM_REQUEST_ASKED || is_asked(asked, request))
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

		/* A session that asked after the last refusal gets a trial of its own. */
		if (all || !im_breaker_owes(&drain->slot->breaker,
									drain->slot->requests[asked->request].asked_at))
			answer_request(drain->slot, asked->request, IM_RESULT_STOPPED, NULL, why);
	}
}

/* ------------------------------------------------------------------------
 * The facts
 */

/* True if calls may be started at all, apart from the breaker. */
static bool
may_send(const ImDrain *drain)
{
	return drain->installed == IM_INSTALLED && drain->configured && !drain->control.fenced;
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

/* Microseconds until the day of groups_per_day ends, at midnight UTC. */
static int64
time_to_midnight(void)
{
	return USECS_PER_DAY - GetCurrentTimestamp() % USECS_PER_DAY;
}

/* What is so of one kind. */
static void
gather_kind(const ImDrain *drain, const ImApp *app, ImKind kind, ImPlanKind *its)
{
	const ImCommand *command = im_commands[kind];

	its->roomed = command->roomed;
	its->makes_groups = command->makes_groups;
	its->undoes = command->undoes;
	its->after_accounts = command->after_accounts;
	its->batch = im_dispatch_batch(drain->dispatch, kind);
	its->rate = im_app_rate(app, command->op);
	its->open = im_sender_open(drain->sender, command->op);
	its->flying = im_sender_flying(drain->sender, command->op);
	if (command->undoes)
	{
		/* Each is asked for first; that must not be long before it is disbanded. */
		its->open += im_sender_open(drain->sender, command->lookup_op);
		its->flying += im_sender_flying(drain->sender, command->lookup_op);
	}
	its->nrows = drain->dispatch->nrows_of[kind];
}

/* Gathers what plan.c decides by; the slot must not be locked. */
static void
gather(const ImDrain *drain, ImPlanFacts *facts)
{
	const ImApp *app = im_sender_app(drain->sender);
	const ImDispatch *dispatch = drain->dispatch;
	const ImFlow *flow = drain->flow;
	ListCell   *lc;

	memset(facts, 0, sizeof(*facts));
	facts->now = im_now_us();
	facts->may_send = may_send(drain);
	facts->ending = ProcDiePending;
	facts->reconfigure = drain->configured && im_sender_wants_configure(drain->sender);
	facts->paused = drain->control.paused;
	facts->ordered = facts->paused ? rows_ordered(drain) : 0;
	facts->nrows = dispatch->nrows;
	facts->outcomes = list_length(dispatch->outcomes);
	facts->outcomes_since = dispatch->outcomes_since;
	foreach(lc, dispatch->outcomes)
		facts->kinds[((ImRow *) lfirst(lc))->kind].judged++;
	facts->queued = im_sender_queued(drain->sender);
	facts->in_flight = im_sender_in_flight(drain->sender);
	facts->rooms = flow->rooms;
	facts->finding = flow->sweep_owed || flow->sweeping || flow->stale;
	facts->sweep_due = im_flow_sweep_due(flow);
	facts->breaker = &drain->slot->breaker;
	facts->beneath = drain->slot->report.beneath;
	facts->ring = drain->slot->ring;
	facts->worked = dispatch->worked;
	facts->midnight = time_to_midnight();
	if (app == NULL)
		return;					/* never configured: nothing is claimed */
	facts->max_in_flight = app->max_in_flight;
	facts->assigned_ids = app->assigned_ids;
	facts->groups_per_day = app->groups_per_day;
	facts->groups_today = im_outbox_groups_today(im_outbox_get());
	for (int kind = 0; kind < IM_KINDS; kind++)
		gather_kind(drain, app, kind, &facts->kinds[kind]);
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

		/* Copied: the list of processes is searched without the slot's lock. */
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
note_changes(ImDrain *drain, uint64 options)
{
	ImSlot	   *slot = drain->slot;
	const ImApp *app = im_sender_app(drain->sender);
	const char *file = app != NULL && app->secret_key_file != NULL ? app->secret_key_file : "";
	uint64		stamp = file[0] != '\0' ? im_app_key_stamp() : 0;
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

/* Reads the options; notes what is wrong with them. */
static void
read_options(ImDrain *drain)
{
	ImProblem	problem = {0};
	uint64		options = im_app_generation();	/* what comes while they are read is newer */

	drain->configured = im_sender_configure(drain->sender, &problem);
	note_changes(drain, options);
	if (!drain->configured)
		copy_text(drain->trouble, sizeof(drain->trouble),
				  im_text_as_utf8(psprintf("%s%s%s", problem.message, problem.hint ? ". " : "",
										  problem.hint ? problem.hint : "")));
}

/*
 * Rows are judged by the options that were committed before them: those may have
 * come since the look, and the claim sees rows that came since then, too.  False
 * if there are none to judge by.
 */
static bool
options_current(ImDrain *drain)
{
	AcceptInvalidationMessages();
	if (drain->options != im_app_generation())
		read_options(drain);
	return drain->configured;
}

/* Reads options and pause; notes what keeps us from sending. */
static void
look_around(ImDrain *drain)
{
	bool		was_paused = drain->control.paused;
	char	   *name = get_database_name(MyDatabaseId);

	strlcpy(drain->database, name != NULL ? name : "", sizeof(drain->database));
	read_options(drain);
	im_outbox_control(im_outbox_get(), &drain->control);
	/* The option speaks for a person; rows of other databases still wait for one. */
	if (drain->control.moved && drain->configured &&
		im_sender_app(drain->sender)->continue_after_promotion)
	{
		(void) im_queue_adopt_all(false, im_sender_app(drain->sender));
		/* Once more: the adoption has noted the timeline, which lifts that fence. */
		im_outbox_control(im_outbox_get(), &drain->control);
	}
	drain->plan.just_paused = drain->control.paused && !was_paused;
	drain->plan.paused = drain->control.paused;
	forget_dead_orders(drain->slot);
	/* Without an order no room may go while the import is paused. */
	if (!im_orders_any(drain->slot))
		im_rooms_forget_orders(drain->flow->rooms);
}

/* Recovery of rows whose sender died, ours included after a lost claim. */
static void
recover_rows(ImDrain *drain)
{
	bool		all = true;
	ImTallies	tallies;
	bool		counted = im_tally_read(im_outbox_schema(im_outbox_get()), &tallies);

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		/* Dead rows of a room are found by a look at all that is open: not in vain. */
		bool		none = counted && im_commands[kind]->roomed &&
			tallies.of[kind].by_status[IM_SENDING] == 0;
		int			n;
		int64	   *claims = im_dispatch_claims(drain->dispatch, kind, &n);

		/* Claims that we still have are spared: their calls fly, or wait to be written. */
		all = im_queue_recover(kind, !none, claims, n) && all;
	}
	im_plan_recovered(&drain->plan, all, im_now_us());
	/* Rows that came back may belong to rooms that are not at work. */
	im_flow_owe_sweep(drain->flow);
}

/* Finds out when the next retry of a kind is due, once there is nothing else. */
static void
note_next_due(ImDrain *drain, ImKind kind, bool claimed)
{
	TimestampTz due = im_queue_next_due(kind);
	int64		delay = due == 0 ? -1 : Max((int64) (due - GetCurrentTimestamp()), 0);
	bool		passed_over = due == 0 && drain->dispatch->nrows_of[kind] == 0 && !claimed &&
		im_queue_has_open(kind);

	im_plan_next_due(&drain->plan, kind, delay, passed_over, im_now_us());
}

/* What a claim found, for the plan. */
static ImPlanFound
found_by(const ImClaim *claim)
{
	return (ImPlanFound)
	{
		.want = claim->want,.short_scan = claim->short_scan,.nrows = list_length(claim->rows),
			.nsettled = list_length(claim->settled)
	};
}

/* Makes one claim. */
static void
claim_rows(ImDrain *drain, ImClaim *claim)
{
	if (!options_current(drain))
	{
		claim->want = claim->nrooms = 0;	/* not looked for: nothing is known of them */
		return;
	}
	claim->app = im_sender_app(drain->sender);
	claim->ctx = drain->dispatch->calls_ctx;
	claim->steady = &drain->slot->steady;
	claim->rescan = drain->plan.rescan[claim->kind];
	claim->all_accounts = im_plan_looks_below(&drain->plan);
	im_queue_claim(claim);
	if (claim->want > 0 && claim->short_scan)
		note_next_due(drain, claim->kind, claim->rows != NIL);
}

/* Calls that so many rows need. */
static int
calls_for(int nrows, int batch)
{
	return (nrows + batch - 1) / batch;
}

/*
 * Makes all claims, in the order of the kinds: what waits for accounts is not
 * claimed before none of them is open.  Each statement has a snapshot of its own,
 * so those kinds look for accounts once more, in the statement that finds their
 * rows (ACCOUNTS_OPEN): a load of both may have committed a moment ago.
 */
static void
claim_all(ImDrain *drain, Transaction *tx)
{
	int64		start = im_now_us();
	bool		rescanned = false;
	bool		accounts;
	ImPlanFacts facts;

	gather(drain, &facts);
	accounts = im_plan_accounts_open(&drain->plan, &facts);
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		ImClaim    *claim = &tx->claims[kind];
		ImPlanFound found;

		if (!tx->wants[kind])
			continue;
		/* Rows that a session asks for are claimed all the same. */
		if (im_commands[kind]->after_accounts && accounts)
			claim->want = 0;
		if (im_commands[kind]->after_accounts)
			IM_FAILPOINT("after_accounts");
		/* What one kind does not need is the next one's. */
		if (calls_for(claim->want, facts.kinds[kind].batch) > tx->allowed)
			claim->want = tx->allowed * facts.kinds[kind].batch;
		claim_rows(drain, claim);
		if (!im_commands[kind]->roomed)
			tx->allowed -= Min(tx->allowed, calls_for(list_length(claim->rows), facts.kinds[kind].batch));
		found = found_by(claim);
		rescanned = im_plan_found(&drain->plan, kind, &found) || rescanned;
		if (im_plan_accounts_over(&drain->plan, &facts, kind, &found))
			accounts = false;
	}
	if (rescanned)
		im_plan_rescanned(&drain->plan, start, im_now_us());
}

/* Notes in the rooms' table what is claimed and what was written. */
static void
note_rooms(ImDrain *drain, Transaction *tx)
{
	ImRoomNote *notes;
	int			n;

	notes = im_flow_notes(tx->claims, tx->written, drain->dispatch->held, &n);
	im_queue_note_rooms(notes, n);
}

/*
 * Exact counts for im_import_status; after many vain tries it insists.  False
 * if the tally cannot be had without waiting, or is not right now.
 */
static bool
keep_count(ImDrain *drain)
{
	bool		insist = im_plan_insists(&drain->plan, drain->dispatch->nrows);

	if (!im_outbox_keep_count(im_outbox_get(), insist))
		return false;
	drain->plan.uncounted = 0;
	return true;
}

/* A number made of the counts of groups, and of what belongs to them; not 0. */
static uint64
counts_of_rooms(const ImTallies *tallies)
{
	uint64		sum = 1;

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (im_commands[kind]->roomed || im_commands[kind]->makes_groups)
			sum = hash_bytes_extended((const unsigned char *) &tallies->of[kind], sizeof(ImTally), sum);
	return Max(sum, 1);
}

/*
 * Tells pg_stat_activity how far the import is, and why it waits.  Only with a
 * count, about once a second, because it reads the tally.
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
	ImPlanFacts facts;

	if (!im_tally_read(im_outbox_schema(im_outbox_get()), &tallies))
		return;					/* being counted */
	drain->flow->mark.counts = counts_of_rooms(&tallies);
	rows = tallies.all;
	/* Without open rows of rooms an imported group need not come to work. */
	drain->flow->dependents = false;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (im_commands[kind]->roomed && tallies.of[kind].by_status[IM_PENDING] > 0)
			drain->flow->dependents = true;
	gather(drain, &facts);
	describe(drain, &facts, &report);
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
		im_queue_settle(kind, &tx->drain->slot->steady, &rows, &tx->written);
		locked = list_concat(locked, rows);
	}
	tx->writing = locked;
}

/* How many of the written outcomes are of accounts; *imported: some of those are there now. */
static int
accounts_written(const Transaction *tx, bool *imported)
{
	ListCell   *lc;
	int			n = 0;

	*imported = false;
	foreach(lc, tx->written)
	{
		const ImRow *row = lfirst(lc);

		if (row->kind != IM_ACCOUNT)
			continue;
		n++;
		*imported = *imported || row->verdict.outcome == IM_OUT_DONE;
	}
	return n;
}

/*
 * A row may have been refused for want of an account that another load brought a
 * moment later, since order must not matter: when the accounts are through, it goes
 * again.  Once more when nothing is under way: then nobody's refusal is still to come.
 */
static void
retry_late(Transaction *tx)
{
	ImDrain    *drain = tx->drain;
	ImPlanFacts facts;
	bool		imported;
	int			written = accounts_written(tx, &imported);
	int64		n = 0;

	tx->accounts_came = drain->accounts_came || imported;
	tx->late_looked_for = drain->late_looked_for && !imported;
	if (!tx->accounts_came)
		return;
	gather(drain, &facts);
	if (facts.kinds[IM_ACCOUNT].nrows > 0 || facts.kinds[IM_ACCOUNT].judged > written)
		return;
	tx->late_quiet = facts.nrows == 0 && facts.outcomes == list_length(tx->written);
	if (tx->late_looked_for && !tx->late_quiet)
		return;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		n += im_queue_retry_late(kind);
	if (n > 0)
		im_ring_at_commit(false);
	tx->late_looked_for = true;
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

	/* First: pause, fence and options decide about all that follows. */
	if (tx->turn.look)
		look_around(drain);
	if (tx->pause_reason[0] != '\0')
	{
		/* From here on, not from the next look on. */
		im_outbox_pause(outbox, true, "im_import", tx->pause_reason);
		(void) im_outbox_read_control(outbox, &drain->control);
		drain->plan.just_paused = true;
		memset(tx->wants, 0, sizeof(tx->wants));
		tx->turn.sweep = false;
	}
	/* Without waiting: while somebody alters a table, this turn does nothing more. */
	tx->table_busy = !im_outbox_try_lock(outbox);
	if (tx->table_busy)
		return;
	/* Before rows are written: see im_outbox_keep_count(). */
	if (tx->turn.count && keep_count(drain))
		show_activity(drain);
	/* Outcomes are written under a pause and a fence, too. */
	settle_all(tx);
	retry_late(tx);
	/* Not each time: the day's row would be updated many times a second. */
	if (tx->turn.count || drain->dispatch->nrows == 0)
		im_outbox_write_day(outbox);
	if (!drain->configured || drain->control.fenced)
	{
		memset(tx->wants, 0, sizeof(tx->wants));
		tx->turn.sweep = false;
		note_rooms(drain, tx);
		return;
	}
	/* Before the claim: what is recovered is due at once, and may be claimed below. */
	if (im_plan_recovers(&drain->plan, im_now_us()))
		recover_rows(drain);
	claim_all(drain, tx);
	/* After it: what was set to undo before the claim of it is not found any more. */
	if (tx->turn.sweep)
		im_flow_sweep(drain->flow, drain->dispatch->nrows == 0 && !im_rooms_busy(drain->flow->rooms));
	/* After the claim, which knows in which rooms what is about to be sent. */
	for (int kind = IM_FIRST_STAGE; kind <= IM_LAST_STAGE; kind++)
		if (im_commands[kind]->undone_by != NULL)
			im_queue_send_again(kind, &tx->claims[im_commands[kind]->undone_by->kind]);
	note_rooms(drain, tx);
	/* After it: what is held now is not found.  In a pause a room needs an order. */
	tx->looked_for_new = tx->looks_for_new && !drain->control.paused && im_flow_new_due(drain->flow, has_claimed(tx));
	if (tx->looked_for_new)
		im_flow_look_for_new(drain->flow, drain->slot->newest);
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

	/* Never handed to the sender: these can go, recovery looks at the table. */
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		foreach(lc, tx->claims[kind].rows)
			im_dispatch_free_row(lfirst(lc));
		foreach(lc, tx->claims[kind].settled)
			im_dispatch_free_row(lfirst(lc));
	}
	/* Rooms found by a transaction that failed are forgotten, and looked for again. */
	drain->flow->found = drain->flow->newcomers = NIL;
	im_flow_owe_sweep(drain->flow);
	/* Tried alone and failed: another one is tried next. */
	if (im_plan_failed(&drain->plan, im_now_us()))
		rotate_outcomes(drain);
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

	/* An order pays for its rows only now that the claim is committed. */
	foreach(lc, claim->rows)
		((ImRow *) lfirst(lc))->order = order_for(drain, lfirst(lc));
	/* Rooms count these rows before any of them can come back. */
	im_flow_claimed(drain->flow, claim);
	if (drain->flow->far_due)
		im_plan_owe_recovery(&drain->plan); /* it caps due times */
	drain->flow->far_due = false;
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
		/* As in finish_written(). */
		if (im_commands[claim->kind]->undoes && is_open(row))
			im_plan_put_off(&drain->plan, row->kind, row->next.delay_ms * (SEC / 1000), im_now_us());
		/* Its rows wait now, and are counted as such. */
		if (im_commands[claim->kind]->undoes && !is_open(row))
			im_flow_owe_sweep(drain->flow);
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
	/* It is the room that is waited for: nobody may see neither. */
	im_slot_lock(drain->slot);
	drain->slot->ordered_rooms++;
	im_slot_unlock(drain->slot);
	im_order_settled(drain->slot, order, false);
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

	if (im_plan_wrote(&drain->plan, tx->writing != NIL, im_now_us()))
		rotate_outcomes(drain);
	/* While careful only the first one was tried: the others stay. */
	if (tx->written == NIL)
		left = drain->dispatch->outcomes;
	else if (drain->plan.careful)
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
	int			imported[IM_KINDS] = {0};
	int			failed[IM_KINDS] = {0};
	ListCell   *lc;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);
		ImStatus	status = row->next.status;

		imported[row->kind] += status == IM_IMPORTED;
		failed[row->kind] += status == IM_FAILED || status == IM_INVALID || status == IM_IN_DOUBT;
	}
	/* What takes rows back is not among them. */
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		im_slot_settled(slot, kind, imported[kind], failed[kind]);
}

/* What was written is done with. */
static void
finish_written(ImDrain *drain, Transaction *tx)
{
	ListCell   *lc;

	note_history(drain->slot, tx->written);
	/* Out of the list before the rows are freed below. */
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

		/* A row of a room comes back through its room. */
		if (is_open(row) && row->room == NULL)
			im_plan_came_back(&drain->plan, row->kind);
		/* An order goes back to it, and waits for it: see finish_row(). */
		if (is_open(row) && im_commands[row->kind]->undoes)
			im_plan_put_off(&drain->plan, row->kind, row->next.delay_ms * (SEC / 1000), im_now_us());
		if (drain->dispatch->nrows_of[row->kind] == 0)
			im_plan_through(&drain->plan, row->kind);
		finish_row(drain, row);
	}
	im_plan_succeeded(&drain->plan, list_length(drain->dispatch->outcomes));
}

/* The transaction committed: everything it did is true now. */
static void
note_success(ImDrain *drain, Transaction *tx)
{
	finish_written(drain, tx);
	drain->accounts_came = tx->accounts_came && !tx->late_quiet;
	drain->late_looked_for = tx->late_looked_for;
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		ImClaim    *claim = &tx->claims[kind];
		ImPlanFound found = found_by(claim);

		note_history(drain->slot, claim->settled);
		im_plan_claimed(&drain->plan, kind, &found);
		/* Before the rows are handed on: those that ended are freed then. */
		answer_unclaimed(drain, claim);
		if (tx->wants[kind])
			launch_claimed(drain, claim);
	}
	if (tx->looked_for_new)
		im_flow_take_new(drain->flow);
	/* Groups first: an order that they were claimed for is not a room's. */
	if (tx->turn.sweep && im_flow_swept(drain->flow, drain->control.paused, take_room_order, drain))
	{
		im_slot_lock(drain->slot);
		memcpy(drain->slot->waiting, drain->flow->waiting, sizeof(drain->slot->waiting));
		drain->slot->swept = true;
		im_slot_unlock(drain->slot);
	}
}

/* The window begins anew, or a resumed import would be paused at once. */
static void
forget_refusals(ImDrain *drain)
{
	im_slot_lock(drain->slot);
	im_breaker_reset(&drain->slot->breaker, im_now_us());
	im_slot_unlock(drain->slot);
}

/* Runs one transaction with all that is due. */
static void
run_transaction(ImDrain *drain, Transaction *tx)
{
	char	   *error = NULL;
	bool		ok;

	tx->drain = drain;
	/* A claim dates doubts by the wall clock: its steadiness is noted first. */
	im_steady_note(&drain->slot->steady, GetCurrentTimestamp(), im_now_us());
	/* Noted before it runs: a look that fails is not repeated in each turn. */
	im_plan_begun(&drain->plan, &tx->turn, im_now_us());
	ok = im_outbox_run(transact, tx, &error);
	drain->installed = im_outbox_installed(im_outbox_get());
	/* Not before the commit: a pause that failed is due again in the next turn. */
	if (ok && tx->pause_reason[0] != '\0')
		forget_refusals(drain);
	if (ok && has_claimed(tx))
		IM_FAILPOINT("claim_after_commit");
	if (ok && tx->written != NIL)
		IM_FAILPOINT("settle_after_commit");
	if (!ok)
		note_failure(drain, tx, error);
	else if (tx->table_busy)
		im_plan_table_busy(&drain->plan, im_now_us());
	else
		note_success(drain, tx);
}

/* Nine of ten rows refused for one reason: a person should look first. */
static void
check_same_refusal(ImDrain *drain, Transaction *tx)
{
	int32		code;

	im_slot_lock(drain->slot);
	code = im_breaker_same_refusal(&drain->slot->breaker);
	im_slot_unlock(drain->slot);
	if (code != 0)
		snprintf(tx->pause_reason, sizeof(tx->pause_reason),
				 "%d of the last %d answers refused their rows with error code %d; "
				 "see im_import_errors, cure the cause, then im_import_resume()",
				 IM_BREAKER_SAME, IM_BREAKER_WINDOW, code);
}

/* Plans the claim of one kind. Returns the calls it may need, at most so many as are allowed. */
static int
plan_kind(ImDrain *drain, Transaction *tx, const ImPlanFacts *facts, ImKind kind, int allowed)
{
	ImClaim    *claim = &tx->claims[kind];
	int			batch = facts->kinds[kind].batch;

	if (facts->kinds[kind].roomed)
		im_flow_pick(drain->flow, claim, im_plan_calls(facts, kind, allowed), batch, facts->paused);
	else
		claim->want = im_plan_rows(&drain->plan, facts, kind, allowed);
	tx->wants[kind] = claim->want > 0 || claim->nrooms > 0 || claim->asked != NIL;
	return claim->nrooms + calls_for(claim->want, batch);
}

/* Plans all claims; sessions' rows come first. */
static bool
plan_claims(ImDrain *drain, Transaction *tx, const ImPlanFacts *facts, int allowed)
{
	bool		any = false;
	int			wanted = 0;
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
		tx->claims[kind].kind = kind;
		if (!facts->kinds[kind].roomed)
			wanted += plan_kind(drain, tx, facts, kind, allowed);
	}
	/* How many of those are found is not known yet; of rooms it is. */
	tx->allowed = allowed;
	allowed -= Min(allowed, wanted);
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		int			rooms = facts->kinds[kind].roomed ? plan_kind(drain, tx, facts, kind, allowed) : 0;

		allowed -= rooms;
		tx->allowed -= rooms;
		any = any || tx->wants[kind];
	}
	return any;
}

/* How many calls may start now (im_plan_allowed), or have rows claimed for them. */
static int
ask_plan(ImDrain *drain, const ImPlanFacts *facts, int (*allowed) (const ImPlanFacts *))
{
	int			n;

	/* Its facts have a pointer to the breaker, which is in the slot. */
	im_slot_lock(drain->slot);
	n = allowed(facts);
	im_slot_unlock(drain->slot);
	return n;
}

/* Decides what the turn's transaction does, and runs it if there is anything. */
static void
settle_and_claim(ImDrain *drain, bool rang)
{
	Transaction tx = {0};
	ImPlanFacts facts;
	bool		claim = false;

	/* What waits is known exactly only by a look after the last room is done. */
	if (drain->flow->stale && im_dispatch_open(drain->dispatch) == 0 &&
		!im_rooms_busy(drain->flow->rooms))
		im_flow_owe_sweep(drain->flow);
	gather(drain, &facts);
	if (!im_plan_turn(&drain->plan, &facts, rang, &tx.turn))
		return;
	check_same_refusal(drain, &tx);
	if (facts.may_send)
		claim = plan_claims(drain, &tx, &facts, ask_plan(drain, &facts, im_plan_claims_allowed));
	if (!im_plan_transaction(&drain->plan, &facts, claim, tx.pause_reason[0] != '\0', &tx.turn))
		return;
	/* A copy: what is locked stays in it, and the outcomes stay whole until the commit. */
	tx.writing = list_truncate(list_copy(drain->dispatch->outcomes), tx.turn.write);
	tx.looks_for_new = true;
	run_transaction(drain, &tx);
}

/* ------------------------------------------------------------------------
 * State, waiting, leaving
 */

/* Whose lock the worker waits for, "" if it does not. */
static const char *
blocker_of(const ImDrain *drain, const ImPlanFacts *known)
{
	const char *table = im_outbox_blocker(im_outbox_get());
	int			kind = im_plan_locked(&drain->plan, known);

	if (table[0] != '\0' || kind < 0)
		return table;
	return psprintf("another transaction has locked rows of %s", im_commands[kind]->table);
}

/* What the drain is doing, and why it waits. */
static void
describe(const ImDrain *drain, const ImPlanFacts *known, ImReport *report)
{
	const ImSlot *slot = drain->slot;
	ImFacts		facts = {
		.preloaded = true,
		.configured = drain->installed != IM_INSTALLED_OTHER && drain->configured,
		.trouble = drain->trouble,
		.breaker = &slot->breaker,
		.paused = drain->control.paused,
		.pause_reason = drain->control.reason,
		.ordered = im_orders_left(slot),
		.busy = im_plan_busy(&drain->plan, known),
		.failure = drain->plan.retry_delay != 0 ? slot->last_error : NULL,
		.lock = blocker_of(drain, known),
		.rate = im_limiter_rate(&slot->limiters[IM_OP_IMPORT_GROUP], im_now_us()),
		.rate_limit = slot->limiters[IM_OP_IMPORT_GROUP].limit
	};

	if (drain->installed == IM_INSTALLED_OTHER)
		facts.trouble = "the extension's version is not the library's: "
			"run ALTER EXTENSION im_import UPDATE; if that changes nothing, restart the server";
	if (drain->control.fenced)
		facts.fence = drain->control.fence_reason;
	if (drain->configured && im_plan_day_is_spent(&drain->plan, known))
		facts.day_budget = known->groups_per_day;
	im_state_of(&facts, im_now_us(), report);
}

/* Shows the state to the views; the slot must be locked. */
static void
publish(ImDrain *drain, const ImPlanFacts *facts)
{
	ImSlot	   *slot = drain->slot;

	describe(drain, facts, &slot->report);
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

	if (state == slot->told || drain->plan.looked_at == 0)
		return;
	/* Noted first: a NOTIFY that fails is not tried again in each turn. */
	slot->told = state;
	(void) im_outbox_run(notify, &state, NULL);
}

/* Shows what is so; if nothing can be done for a while, sets the alarm and leaves. */
static ImStay
leave_or_stay(ImDrain *drain, ImPlanFacts *facts)
{
	ImSlot	   *slot = drain->slot;
	ImStay		stay = IM_STAY;

	/* Under one lock: anyone who rings finds a worker that looks again, or none. */
	im_slot_lock(slot);
	publish(drain, facts);
	/* Read anew: a ring since the turn began keeps us here. */
	facts->beneath = slot->report.beneath;
	facts->ring = slot->ring;
	if (im_plan_leaves(&drain->plan, facts))
	{
		slot->wake_at = im_plan_alarm(&drain->plan, facts);
		/* The next worker need not look for dead rows if we know of none. */
		slot->clean = !drain->plan.dirty;
		/* Nor look over the rooms again, if nothing has changed since we did. */
		slot->swept_at = im_flow_mark(drain->flow);
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
	bool		rang_anew;
	bool		rang;

	im_slot_lock(slot);
	rang = slot->ring;
	/* Silenced before we look at the table: what rings from now on is news. */
	slot->ring = slot->urgent = false;
	drain->rings = slot->rings;
	rang_anew = drain->flow->mark.rings != slot->all_rings;
	drain->flow->mark.rings = slot->all_rings;
	if (slot->recover)
		im_plan_owe_recovery(&drain->plan);
	slot->recover = false;
	/* A crash from here on leaves it false: the next worker then recovers. */
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
	/* A ring does not tell the kind: new rows may belong to any room. */
	if (rang_anew)
	{
		im_flow_owe_sweep(drain->flow);
		im_flow_news(drain->flow);
	}
	im_plan_wake(&drain->plan, rang, im_now_us());
	return rang;
}

/* Nothing is known yet: reads options, pause and fence before anything else. */
static void
first_look(ImDrain *drain)
{
	/* The count only for what is compared with it: rows that rang are not to wait for it. */
	Transaction tx = {.turn = {.look = true,.count = !drain->flow->sweep_owed}};

	run_transaction(drain, &tx);
	/* What the last worker has looked at is known, if it left in order and nothing came since. */
	if (tx.turn.count)
		im_flow_compare(drain->flow, &drain->swept_at);
}

/*
 * Sessions must not wait for a row that cannot be sent.  While the import is
 * held up the service is tried for them, once for all who asked before.
 */
static void
refuse_if_hopeless(ImDrain *drain)
{
	bool		closed = drain->slot->breaker.state == IM_BREAKER_CLOSED;
	ImPlanFacts facts;
	ImReport	report;

	/* A call under way may be the trial: its answer decides. */
	if (may_send(drain) && (closed || im_sender_in_flight(drain->sender) > 0))
		return;
	gather(drain, &facts);
	describe(drain, &facts, &report);
	refuse_requests(drain, !may_send(drain), report.reason);
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
	ImPlanFacts facts;
	int64		pump;
	int			allowed;

	MemoryContextReset(drain->turn_ctx);
	old = MemoryContextSwitchTo(drain->turn_ctx);
	if (drain->plan.looked_at == 0)
		first_look(drain);
	/* Before the claim: sessions whose row cannot go hear of it now. */
	refuse_if_hopeless(drain);
	settle_and_claim(drain, rang);

	gather(drain, &facts);
	allowed = ask_plan(drain, &facts, im_plan_allowed);
	/* Given back before the pump: what may not go must not start. */
	im_dispatch_release(drain->dispatch, im_plan_keeps(&drain->plan, &facts, allowed));
	pump = im_sender_pump(drain->sender, allowed);

	if (drain->installed == IM_INSTALLED_NOT)
		stay = give_up_table(drain);
	else
	{
		/* And once more: the pump has started calls. */
		gather(drain, &facts);
		stay = leave_or_stay(drain, &facts);
		log_state(drain);
		tell_state(drain);
	}
	if (stay == IM_STAY)
	{
		facts.now = im_now_us();
		sleep_until_something(drain, im_plan_sleep(&drain->plan, &facts, pump,
												   ask_plan(drain, &facts, im_plan_claims_allowed)));
		/* Judged now; the next turn's transaction writes it. */
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

	/* What has not left goes back as if never claimed; what flies gets a moment. */
	im_dispatch_release(drain->dispatch, 0);
	while (im_sender_in_flight(drain->sender) > 0 && im_now_us() < end)
	{
		ResetLatch(MyLatch);
		im_sender_wait(drain->sender, 50);
		im_dispatch_collect(drain->dispatch);
		/* An answer may lead to another call: that one does not leave any more. */
		im_dispatch_release(drain->dispatch, 0);
	}
	/* What still flies is given up: whether it arrived is not known. */
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
