/*
 * watch.c
 *	  What is going on: the one place that puts shared memory and the table
 *	  together into a state with a reason.
 *
 * A worker that is connected says itself what it does.  Without one the state
 * is derived here, in the order in which a person would have to mend things.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "app.h"
#include "command.h"
#include "encoding.h"
#include "sender.h"
#include "shared.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(im_sql_status);
PG_FUNCTION_INFO_V1(im_sql_progress);
PG_FUNCTION_INFO_V1(im_sql_stats);
PG_FUNCTION_INFO_V1(im_sql_stats_reset);
PG_FUNCTION_INFO_V1(im_sql_history);

#define SEC					INT64_C(1000000)
#define STALE_RATE			(60 * SEC)	/* a rate this old says nothing ... */
#define KNOWN_RATE			0.15	/* ... nor one that weighs so little: five seconds */
#define WORKER_LATE			(40 * SEC)	/* the launcher polls every 30 s */

/* What was found out apart from the counts. */
typedef struct Findings
{
	ImApp	   *app;
	ImProblem	problem;
	ImControl	control;
	bool		have_slot;
	bool		fresh;			/* the slot's state knows the latest news */
	ImSlot		slot;			/* a copy */
} Findings;

/* See watch.h. */
int64
im_view_open(const ImView *view)
{
	const int64 *n = view->counts.rows.by_status;

	return n[IM_PENDING] + n[IM_SENDING] + n[IM_UNDO];
}

/* See watch.h. */
bool
im_view_stuck(const ImView *view)
{
	return !view->changing && im_state_stuck(view->report.state);
}

/* The kinds' waiting rows and speed, as shared memory has them. */
static void
copy_paces(ImView *view, const ImSlot *slot)
{
	bool		running = slot->settle_weight > 0 && im_now_us() - slot->settle_rate_at < STALE_RATE;

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		const ImCommand *command = im_commands[kind];
		ImPace	   *pace = &view->paces[kind];

		/* As the worker's last look over all rooms found them. */
		pace->unknown = command->roomed && !slot->swept;
		if (slot->swept)
			pace->waiting = Min(slot->waiting[kind], view->counts.tallies.of[kind].by_status[IM_PENDING]);
		if (running && slot->worker_pid != 0)
			pace->rows_per_second = slot->kind_rate[kind] / slot->settle_weight;
		pace->calls_per_second = im_pulse_per_second(&slot->calls_of[command->op]);
		if (command->single_op != IM_OP_NONE && command->single_op != command->op)
			pace->calls_per_second += im_pulse_per_second(&slot->calls_of[command->single_op]);
		if (slot->batch[kind] > 0)
			pace->rows_per_call = Min(slot->batch[kind], pace->rows_per_call);
	}
}

/* What the options say of the kinds. */
static void
copy_limits(ImView *view, const ImApp *app)
{
	view->rate_limit = app->rate_limit;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		view->paces[kind].rate_limit = im_app_rate(app, im_commands[kind]->op);
		view->paces[kind].rows_per_call = im_app_batch(app, kind);
	}
}

/* Copies what shared memory says of this database. */
static void
copy_slot(ImView *view, Findings *found)
{
	ImSlot	   *slot = im_slot_find(MyDatabaseId);

	found->have_slot = slot != NULL;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		view->paces[kind].unknown = im_commands[kind]->roomed;
	if (slot == NULL)
		return;
	/* A copy: nothing is worked out while the lock is held. */
	im_slot_lock(slot);
	/* The counters of the commands stand at its end, and are not looked at. */
	memcpy(&found->slot, slot, offsetof(ImSlot, stats));
	im_slot_unlock(slot);
	view->calls_per_second = im_pulse_per_second(&found->slot.calls);
	view->worker_pid = found->slot.worker_pid;
	view->in_flight = found->slot.in_flight;
	strlcpy(view->last_error, found->slot.last_error, sizeof(view->last_error));
	view->last_error_at = found->slot.last_error_at;
	found->fresh = found->slot.rings_seen == found->slot.rings;
	if (found->slot.worker_pid != 0 && found->slot.settle_weight >= KNOWN_RATE &&
		im_now_us() - found->slot.settle_rate_at < STALE_RATE)
		view->settle_rate = found->slot.settle_rate / found->slot.settle_weight;
	copy_paces(view, &found->slot);
}

/* Open rows of this database, nobody at work: why does no worker come? NULL: one does. */
static const char *
why_no_worker(const ImView *view, const Findings *found)
{
	TimestampTz oldest = view->counts.oldest_pending;

	if (RecoveryInProgress())
		return "this server is a standby; the primary sends";
	if (!im_launcher_runs())
		return "the launcher does not run: raise max_worker_processes and restart";
	if (found->have_slot && found->slot.no_start)
		return "no background worker could be started: raise max_worker_processes and restart the server";
	if (oldest != 0 && GetCurrentTimestamp() - oldest > WORKER_LATE && !found->have_slot)
		return "no worker came to this database: see \"im_import\" in the server log, and im_import_doctor()";
	return NULL;
}

/* Adds what shared memory says to the facts. */
static void
add_slot_facts(const ImView *view, const Findings *found, ImFacts *facts)
{
	const ImSlot *slot = &found->slot;
	const ImReport *said = &slot->report;
	bool		works = found->fresh && slot->worker_pid != 0;

	if (facts->configured && found->fresh && said->beneath == IM_STATE_NOT_CONFIGURED)
	{
		facts->configured = false;
		facts->trouble = said->reason;
	}
	facts->breaker = &slot->breaker;
	facts->ordered = im_orders_left(slot);
	facts->rate = im_limiter_rate(&slot->limiters[IM_OP_IMPORT_GROUP], im_now_us());
	if (!facts->busy || facts->counting)
		return;
	if (works && said->beneath != IM_STATE_IDLE)
		facts->said = said;
	/* Gone until midnight: the budget is spent, and nobody is at work. */
	else if (!works && slot->wake_at > im_now_us() && said->beneath == IM_STATE_QUOTA &&
			 slot->breaker.state == IM_BREAKER_CLOSED)
		facts->said = said;
	/* Gone until it looks again: what it waits for is still so. */
	else if (!works && slot->wake_at > im_now_us() && said->beneath == IM_STATE_RUNNING && said->reason[0] != '\0')
		facts->wait = said->reason;
	else if (!works)
		facts->wait = slot->wake_at > im_now_us() ? "waiting for the next retry" : "a worker is being started";
}

/* Whether the last word is not yet spoken: news to be looked at, or a trial under way. */
static bool
is_changing(const Findings *found, const ImFacts *facts)
{
	const ImBreaker *breaker = facts->breaker;

	if (breaker == NULL || breaker->state == IM_BREAKER_CLOSED)
		return facts->ordered > 0 && !found->fresh;
	return !found->fresh || found->slot.in_flight > 0 ||
		(facts->ordered > 0 && im_breaker_owes(breaker, found->slot.asked_at)) ||
		(!facts->paused && im_breaker_wait(breaker, im_now_us()) == 0);
}

/*
 * Rows that wait for a group, as the worker's last look over all rooms found
 * them.  That is the last word only once the worker has nothing to do.
 */
static void
count_waiting(ImView *view, const Findings *found)
{
	if (!found->have_slot || !found->fresh ||
		found->slot.report.beneath == IM_STATE_RUNNING || !found->slot.swept)
		return;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		view->waiting += view->paces[kind].waiting;
}

/* See watch.h. */
int64
im_view_moving(const ImView *view)
{
	return im_view_open(view) - view->waiting;
}

/* The state, from the most fundamental trouble to none. */
static void
derive_state(ImView *view, const Findings *found)
{
	int64		own = im_view_moving(view) - view->counts.foreign_open;
	ImFacts		facts = {
		.preloaded = im_shared_available(),
		.configured = found->app != NULL,
		.paused = found->control.paused,
		.pause_reason = found->control.reason,
		.busy = own > 0,
		.foreign_open = view->counts.foreign_open,
		.waiting = view->waiting
	};

	if (found->app == NULL)
		facts.trouble = im_text_as_utf8(psprintf("%s. %s", found->problem.message,
												found->problem.hint ? found->problem.hint : ""));
	if (found->control.fenced)
		facts.fence = found->control.fence_reason;
	/* Where no worker can come, nobody is counting. */
	facts.counting = !view->counts.exact && !(found->have_slot && found->slot.no_start) &&
		!RecoveryInProgress();
	if (found->have_slot)
		add_slot_facts(view, found, &facts);
	if (own > 0 && facts.said == NULL && !(found->have_slot && found->fresh && found->slot.worker_pid != 0))
		facts.no_worker = why_no_worker(view, found);
	if (own > 0 && facts.wait == NULL && !found->have_slot)
		facts.wait = "a worker is being started";
	im_state_of(&facts, im_now_us(), &view->report);
	view->changing = is_changing(found, &facts);
}

/* Where the sender looks for new rows; the least id if there is no sender. */
static int64
watermark_of_sender(void)
{
	ImSlot	   *slot = im_slot_find(MyDatabaseId);
	int64		watermark = PG_INT64_MIN;

	if (slot == NULL)
		return watermark;
	im_slot_lock(slot);
	/* Without a worker it would be that of one that is gone. */
	if (slot->worker_pid != 0)
		watermark = slot->watermark;
	im_slot_unlock(slot);
	return watermark;
}

/* See watch.h. */
void
im_watch(ImView *view)
{
	Findings	found = {0};
	ImOutbox   *outbox = im_outbox_get();
	ImRights	saved;

	memset(view, 0, sizeof(*view));
	if (im_outbox_look(outbox) != IM_INSTALLED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the extension im_import in this database is not of the library's version"),
				 errhint("Run ALTER EXTENSION im_import UPDATE; if that changes nothing, a package was upgraded under the running server: restart it.")));
	im_outbox_enter(&saved);
	/* The table first: what shared memory says is then never older. */
	im_outbox_count(outbox, watermark_of_sender(), &view->counts);
	(void) im_outbox_read_control(outbox, &found.control);
	im_outbox_leave(&saved);
	for (int i = IM_PENDING; i <= IM_UNDONE; i++)
		view->total += view->counts.rows.by_status[i];

	found.app = im_app_load(CurrentMemoryContext, &found.problem);
	/* Before the slot, which may lower what the options say. */
	if (found.app != NULL)
		copy_limits(view, found.app);
	copy_slot(view, &found);
	/* In this order: what waits does not count as moving. */
	count_waiting(view, &found);
	derive_state(view, &found);
	im_app_free(found.app);
}

/* A numeric with two digits. */
static Datum
two_digits(double value)
{
	Datum		numeric = DirectFunctionCall1(float8_numeric, Float8GetDatum(value));

	return DirectFunctionCall2(numeric_round, numeric, Int32GetDatum(2));
}

/* An interval of so many seconds. */
static Datum
seconds_interval(double seconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = (TimeOffset) (rint(seconds) * USECS_PER_SEC);
	return IntervalPGetDatum(interval);
}

/* Columns of _im_status(), in its order. */
enum
{
	S_STATE, S_REASON, S_COUNTS, S_TOTAL = S_COUNTS + IM_UNDONE + 1, S_PERCENT, S_CPS,
	S_RATE, S_ETA, S_FINISH, S_OLDEST, S_LAST_ERROR, S_LAST_ERROR_AT, S_PID, S_COLUMNS
};

/* Percent and time left; no guess before 1 % or 100 rows are done. */
static void
fill_progress(const ImView *view, Datum *values, bool *nulls)
{
	int64		left = im_view_open(view);
	int64		done = view->total - left;
	double		seconds;

	nulls[S_PERCENT] = view->total == 0;
	if (view->total > 0)
		values[S_PERCENT] = two_digits(left == 0 ? 100.0 : floor(10000.0 * done / view->total) / 100.0);
	nulls[S_ETA] = nulls[S_FINISH] = true;
	if (left == 0 || view->settle_rate <= 0 || view->report.state != IM_STATE_RUNNING ||
		(done < 100 && done * 100 < view->total))
		return;
	seconds = left / view->settle_rate;
	if (seconds > 1e9)
		return;
	nulls[S_ETA] = nulls[S_FINISH] = false;
	values[S_ETA] = seconds_interval(seconds);
	values[S_FINISH] = TimestampTzGetDatum(GetCurrentTimestamp() + (TimestampTz) (rint(seconds) * USECS_PER_SEC));
}

/* _im_status(): see the view im_import_status. */
Datum
im_sql_status(PG_FUNCTION_ARGS)
{
	Datum		values[S_COLUMNS] = {0};
	bool		nulls[S_COLUMNS] = {0};
	TupleDesc	desc;
	ImView		view;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	im_watch(&view);
	values[S_STATE] = CStringGetTextDatum(im_state_name(view.report.state));
	nulls[S_REASON] = view.report.reason[0] == '\0';
	values[S_REASON] = CStringGetTextDatum(im_text_from_utf8(view.report.reason));
	for (int i = 0; i <= IM_UNDONE; i++)
		values[S_COUNTS + i] = Int64GetDatum(view.counts.rows.by_status[i]);
	values[S_TOTAL] = Int64GetDatum(view.total);
	fill_progress(&view, values, nulls);
	values[S_CPS] = two_digits(view.calls_per_second);
	nulls[S_RATE] = view.rate_limit == 0;
	values[S_RATE] = two_digits(view.rate_limit);
	nulls[S_OLDEST] = view.counts.oldest_pending == 0;
	values[S_OLDEST] = TimestampTzGetDatum(view.counts.oldest_pending);
	nulls[S_LAST_ERROR] = view.last_error[0] == '\0';
	values[S_LAST_ERROR] = CStringGetTextDatum(im_text_from_utf8(view.last_error));
	nulls[S_LAST_ERROR_AT] = view.last_error_at == 0;
	values[S_LAST_ERROR_AT] = TimestampTzGetDatum(view.last_error_at);
	nulls[S_PID] = view.worker_pid == 0;
	values[S_PID] = Int32GetDatum(view.worker_pid);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Columns of _im_progress(), in its order. */
enum
{
	P_KIND, P_TOTAL, P_PENDING, P_WAITING, P_SENDING, P_IMPORTED, P_FAILED, P_INVALID, P_IN_DOUBT,
	P_UNDONE, P_PERCENT, P_ROWS_PS, P_CALLS_PS, P_RATE, P_ROWS_PC, P_ETA, P_COLUMNS
};

/* Seconds until a kind's rows have their outcome; -1: not known, or there are none. */
static double
seconds_left(const ImView *view, ImKind kind, int64 done)
{
	const ImPace *pace = &view->paces[kind];
	const ImTally *groups = &view->counts.tallies.of[IM_GROUP];
	const int64 *n = view->counts.tallies.of[kind].by_status;
	int64		left = n[IM_PENDING] + n[IM_SENDING];

	/* What waits for a group goes on if that is still to come. */
	if (groups->by_status[IM_PENDING] + groups->by_status[IM_SENDING] == 0)
		left -= pace->waiting;
	if (left <= 0 || pace->rows_per_second <= 0 || view->settle_rate <= 0 ||
		view->report.state != IM_STATE_RUNNING || (done < 100 && done * 100 < done + left))
		return -1;
	return left / pace->rows_per_second;
}

/* The row of one kind. */
static void
fill_kind(const ImView *view, ImKind kind, Datum *values, bool *nulls)
{
	const ImPace *pace = &view->paces[kind];
	const int64 *n = view->counts.tallies.of[kind].by_status;
	int64		left = n[IM_PENDING] + n[IM_SENDING] + n[IM_UNDO];
	int64		done = n[IM_IMPORTED] + n[IM_FAILED] + n[IM_INVALID] + n[IM_IN_DOUBT] + n[IM_UNDONE];
	double		seconds = seconds_left(view, kind, done);

	values[P_KIND] = CStringGetTextDatum(im_commands[kind]->name);
	values[P_TOTAL] = Int64GetDatum(left + done);
	values[P_PENDING] = Int64GetDatum(n[IM_PENDING] + n[IM_UNDO]);
	nulls[P_WAITING] = pace->unknown && n[IM_PENDING] > 0;
	values[P_WAITING] = Int64GetDatum(pace->waiting);
	for (int i = IM_SENDING; i <= IM_IN_DOUBT; i++)
		values[P_SENDING + i - IM_SENDING] = Int64GetDatum(n[i]);
	values[P_UNDONE] = Int64GetDatum(n[IM_UNDONE]);
	nulls[P_PERCENT] = left + done == 0;
	if (left + done > 0)
		values[P_PERCENT] = two_digits(left == 0 ? 100.0 : floor(10000.0 * done / (left + done)) / 100.0);
	values[P_ROWS_PS] = two_digits(pace->rows_per_second);
	values[P_CALLS_PS] = two_digits(pace->calls_per_second);
	nulls[P_RATE] = nulls[P_ROWS_PC] = pace->rows_per_call == 0;
	values[P_RATE] = two_digits(pace->rate_limit);
	values[P_ROWS_PC] = Int32GetDatum(pace->rows_per_call);
	nulls[P_ETA] = seconds < 0 || seconds > 1e9;
	if (!nulls[P_ETA])
		values[P_ETA] = seconds_interval(seconds);
}

/* _im_progress(): see the view im_import_progress. */
Datum
im_sql_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ImView		view;

	InitMaterializedSRF(fcinfo, 0);
	im_watch(&view);
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		Datum		values[P_COLUMNS] = {0};
		bool		nulls[P_COLUMNS] = {0};

		fill_kind(&view, kind, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * Statistics
 */

/* Latencies of a command, milliseconds; NULL before its first call. */
static int
put_latencies(Datum *values, bool *nulls, const ImStats *stats)
{
	static const double shares[] = {0.50, 0.95, 0.99};

	for (int i = 0; i <= lengthof(shares); i++)
		nulls[i] = stats->calls == 0;
	values[0] = Float8GetDatum(stats->calls ? stats->latency_sum_us / 1000.0 / stats->calls : 0);
	for (int i = 0; i < lengthof(shares); i++)
		values[i + 1] = Float8GetDatum(im_latency_percentile(stats->latency, shares[i]));
	return lengthof(shares) + 1;
}

/* One row of the view. */
static void
put_stats(ReturnSetInfo *result, ImOp op, const ImSlot *slot)
{
	const ImStats *stats = &slot->stats[op];
	Datum		values[24] = {0};
	bool		nulls[24] = {0};
	int			n = 0;

	values[n++] = CStringGetTextDatum(im_sender_command(op));
	nulls[n] = slot->stats_reset_at == 0;
	values[n++] = TimestampTzGetDatum(slot->stats_reset_at);
	values[n++] = Int64GetDatum(stats->calls);
	values[n++] = Int64GetDatum(stats->lookups);
	for (int i = 0; i < IM_CLASSES; i++)
		values[n++] = Int64GetDatum(stats->replies[i]);
	values[n++] = Int64GetDatum(stats->no_reply);
	values[n++] = Int64GetDatum(stats->retries);
	values[n++] = Float8GetDatum(stats->throttled_us / 1000.0);
	values[n++] = Int64GetDatum(stats->bytes_out);
	values[n++] = Int64GetDatum(stats->bytes_in);
	values[n++] = Int64GetDatum(stats->connections);
	values[n++] = Int64GetDatum(stats->handshakes);
	n += put_latencies(&values[n], &nulls[n], stats);
	values[n++] = Int64GetDatum(slot->worker_starts);
	Assert(n == lengthof(values));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* _im_stats(): see the view pg_stat_im_import. */
Datum
im_sql_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ImSlot	   *slot = im_slot_find(MyDatabaseId);
	ImSlot	   *copy = palloc0(sizeof(ImSlot));

	InitMaterializedSRF(fcinfo, 0);
	if (slot != NULL)
	{
		im_slot_lock(slot);
		memcpy(copy, slot, sizeof(ImSlot));
		im_slot_unlock(slot);
	}
	for (int op = IM_OP_NONE + 1; op < IM_OPS; op++)
		if (im_op_limiter(op) == (ImOp) op)
			put_stats(result, op, copy);
	return (Datum) 0;
}

/* im_import_stats_reset(): counters to zero. */
Datum
im_sql_stats_reset(PG_FUNCTION_ARGS)
{
	ImSlot	   *slot = im_slot_find(MyDatabaseId);

	im_shared_require();
	if (slot != NULL)
		im_slot_reset_stats(slot);
	PG_RETURN_VOID();
}

/* The minutes of one kind. */
static void
put_history(ReturnSetInfo *result, ImKind kind, const ImMinute *minutes, int n)
{
	for (int i = 0; i < n; i++)
	{
		const ImMinute *minute = &minutes[i];
		Datum		values[8];
		bool		nulls[8] = {false, false, false, false, false, false, minute->calls == 0, minute->calls == 0};

		values[0] = TimestampTzGetDatum((TimestampTz) minute->minute * USECS_PER_MINUTE);
		values[1] = CStringGetTextDatum(im_commands[kind]->name);
		values[2] = Int64GetDatum(minute->calls);
		values[3] = Int64GetDatum(minute->imported);
		values[4] = Int64GetDatum(minute->failed);
		values[5] = Float8GetDatum(minute->throttled_ms);
		values[6] = Float8GetDatum(minute->p50);
		values[7] = Float8GetDatum(minute->p99);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* _im_history(): see the view im_import_history. */
Datum
im_sql_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ImSlot	   *slot = im_slot_find(MyDatabaseId);
	ImMinute   *minutes = palloc(sizeof(ImMinute) * IM_MINUTES);

	InitMaterializedSRF(fcinfo, 0);
	for (int kind = 0; slot != NULL && kind < IM_OUTBOXES; kind++)
		put_history(result, kind, minutes, im_slot_history(slot, kind, minutes));
	return (Datum) 0;
}
