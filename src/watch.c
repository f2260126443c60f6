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
#include "encoding.h"
#include "shared.h"
#include "text.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(im_sql_status);
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

/* Sets a state with its reason. */
static void
set(ImView *view, ImState state, const char *reason)
{
	view->state = state;
	strlcpy(view->reason, reason, sizeof(view->reason));
}

/* See watch.h. */
int64
im_view_open(const ImView *view)
{
	return view->counts.rows.by_status[IM_PENDING] + view->counts.rows.by_status[IM_SENDING];
}

/* See watch.h. */
bool
im_view_stuck(const ImView *view)
{
	if (view->changing)
		return false;
	switch (view->state)
	{
		case IM_STATE_PAUSED:
		case IM_STATE_STOPPED:
		case IM_STATE_FENCED:
		case IM_STATE_NO_WORKER:
		case IM_STATE_NOT_CONFIGURED:
		case IM_STATE_NOT_PRELOADED:
			return true;
		default:
			return false;
	}
}

/* Copies what shared memory says of this database. */
static void
copy_slot(ImView *view, Findings *found)
{
	ImSlot	   *slot = im_slot_find(MyDatabaseId);

	found->have_slot = slot != NULL;
	if (slot == NULL)
		return;
	im_slot_lock(slot);
	memcpy(&found->slot, slot, sizeof(ImSlot));
	im_slot_unlock(slot);
	view->calls_per_second = im_slot_calls_per_second(&found->slot);
	view->worker_pid = found->slot.worker_pid;
	view->in_flight = found->slot.in_flight;
	view->drain_budget = found->slot.drain_budget;
	strlcpy(view->last_error, found->slot.last_error, sizeof(view->last_error));
	found->fresh = found->slot.rings_seen == found->slot.rings;
	if (found->slot.worker_pid != 0 && found->slot.settle_weight >= KNOWN_RATE &&
		im_now_us() - found->slot.settle_rate_at < STALE_RATE)
		view->settle_rate = found->slot.settle_rate / found->slot.settle_weight;
}

/* Open rows of this database, nobody at work: what keeps them waiting? */
static void
explain_waiting(ImView *view, const Findings *found)
{
	TimestampTz oldest = view->counts.oldest_pending;

	if (RecoveryInProgress())
		set(view, IM_STATE_NO_WORKER, "this server is a standby; the primary sends");
	else if (!im_launcher_runs())
		set(view, IM_STATE_NO_WORKER, "the launcher does not run: raise max_worker_processes and restart");
	else if (found->have_slot && found->slot.no_start)
		set(view, IM_STATE_NO_WORKER, "no background worker could be started: raise max_worker_processes and restart the server");
	else if (found->have_slot && found->slot.wake_at > im_now_us())
		set(view, found->slot.state == IM_STATE_QUOTA ? IM_STATE_QUOTA : IM_STATE_RUNNING,
			found->slot.state == IM_STATE_QUOTA ? found->slot.reason : "waiting for the next retry");
	else if (oldest != 0 && GetCurrentTimestamp() - oldest > WORKER_LATE && !found->have_slot)
		set(view, IM_STATE_NO_WORKER, "no worker came to this database: see \"im_import\" in the server log, and im_import_doctor()");
	else
		set(view, IM_STATE_RUNNING, "a worker is being started");
}

/* Rows of another origin only: they wait for a person. */
static void
explain_foreign(ImView *view)
{
	view->state = IM_STATE_FENCED;
	snprintf(view->reason, sizeof(view->reason),
			 INT64_FORMAT " open rows came from another database and are not sent: if that one will not send them, SELECT im_import_adopt()",
			 view->counts.foreign_open);
}

/* The state, from the most fundamental trouble to none. */
static void
derive_state(ImView *view, const Findings *found)
{
	int64		own = im_view_open(view) - view->counts.foreign_open;
	char		reason[IM_REASON_MAX];

	if (!im_shared_available())
		set(view, IM_STATE_NOT_PRELOADED, "add im_import to shared_preload_libraries and restart the server");
	else if (found->app == NULL)
	{
		char	   *text = im_text_as_utf8(psprintf("%s. %s", found->problem.message,
												   found->problem.hint ? found->problem.hint : ""));

		im_text_clean(text, strlen(text), reason, sizeof(reason));
		set(view, IM_STATE_NOT_CONFIGURED, reason);
	}
	else if (!view->counts.exact && !(found->have_slot && found->slot.no_start) && !RecoveryInProgress())
		set(view, IM_STATE_COUNTING, "rows came by a way that no trigger saw; the worker counts them");
	else if (found->have_slot && found->fresh && found->slot.state == IM_STATE_NOT_CONFIGURED)
		set(view, IM_STATE_NOT_CONFIGURED, found->slot.reason);
	else if (found->control.fenced)
		set(view, IM_STATE_FENCED, found->control.fence_reason);
	else if (found->have_slot && found->slot.breaker.state != IM_BREAKER_CLOSED)
	{
		im_breaker_reason(&found->slot.breaker, reason, sizeof(reason));
		view->changing = !found->fresh || found->slot.in_flight > 0 ||
			im_breaker_wait(&found->slot.breaker, im_now_us()) == 0;
		set(view, im_state_of_breaker(found->slot.breaker.state), reason);
	}
	else if (found->control.paused && view->drain_budget == 0)
		set(view, IM_STATE_PAUSED, found->control.reason);
	else if (found->have_slot && found->fresh && found->slot.worker_pid != 0 && own > 0)
		set(view, found->slot.state == IM_STATE_IDLE ? IM_STATE_RUNNING : found->slot.state,
			found->slot.reason);
	else if (own > 0)
		explain_waiting(view, found);
	else if (view->counts.foreign_open > 0)
		explain_foreign(view);
	else
		set(view, IM_STATE_IDLE, "");
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
	im_outbox_count(outbox, watermark_of_sender(), &view->counts);
	(void) im_outbox_read_control(outbox, &found.control);
	im_outbox_leave(&saved);
	for (int i = IM_PENDING; i <= IM_IN_DOUBT; i++)
		view->total += view->counts.rows.by_status[i];

	found.app = im_app_load(CurrentMemoryContext, &found.problem);
	if (found.app != NULL)
		view->rate_limit = found.app->rate_limit;
	copy_slot(view, &found);
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

/* Columns of im_import_status_row(), in its order. */
enum
{
	S_STATE, S_REASON, S_COUNTS, S_TOTAL = S_COUNTS + IM_IN_DOUBT + 1, S_PERCENT, S_CPS,
	S_RATE, S_ETA, S_FINISH, S_OLDEST, S_LAST_ERROR, S_PID, S_COLUMNS
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
	if (left == 0 || view->settle_rate <= 0 || view->state != IM_STATE_RUNNING ||
		(done < 100 && done * 100 < view->total))
		return;
	seconds = left / view->settle_rate;
	if (seconds > 1e9)
		return;
	nulls[S_ETA] = nulls[S_FINISH] = false;
	values[S_ETA] = seconds_interval(seconds);
	values[S_FINISH] = TimestampTzGetDatum(GetCurrentTimestamp() + (TimestampTz) (rint(seconds) * USECS_PER_SEC));
}

/* im_import_status_row(): see the view im_import_status. */
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
	values[S_STATE] = CStringGetTextDatum(im_state_name(view.state));
	nulls[S_REASON] = view.reason[0] == '\0';
	values[S_REASON] = CStringGetTextDatum(im_text_from_utf8(view.reason));
	for (int i = 0; i <= IM_IN_DOUBT; i++)
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
	nulls[S_PID] = view.worker_pid == 0;
	values[S_PID] = Int32GetDatum(view.worker_pid);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ------------------------------------------------------------------------
 * Statistics
 */

/* im_import_stats(): see the view pg_stat_im_import. */
Datum
im_sql_stats(PG_FUNCTION_ARGS)
{
	Datum		values[23] = {0};
	bool		nulls[23] = {0};
	ImSlot	   *slot = im_slot_find(MyDatabaseId);
	ImStats		stats = {0};
	TupleDesc	desc;
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (slot != NULL)
	{
		im_slot_lock(slot);
		stats = slot->stats;
		im_slot_unlock(slot);
	}
	nulls[n] = stats.reset_at == 0;
	values[n++] = TimestampTzGetDatum(stats.reset_at);
	values[n++] = Int64GetDatum(stats.calls);
	values[n++] = Int64GetDatum(stats.lookups);
	for (int i = 0; i < IM_CLASSES; i++)
		values[n++] = Int64GetDatum(stats.replies[i]);
	values[n++] = Int64GetDatum(stats.no_reply);
	values[n++] = Int64GetDatum(stats.retries);
	values[n++] = Float8GetDatum(stats.throttled_us / 1000.0);
	values[n++] = Int64GetDatum(stats.bytes_out);
	values[n++] = Int64GetDatum(stats.bytes_in);
	values[n++] = Int64GetDatum(stats.connections);
	values[n++] = Int64GetDatum(stats.handshakes);
	nulls[n] = nulls[n + 1] = nulls[n + 2] = nulls[n + 3] = stats.calls == 0;
	values[n++] = Float8GetDatum(stats.calls ? stats.latency_sum_us / 1000.0 / stats.calls : 0);
	values[n++] = Float8GetDatum(im_latency_percentile(stats.latency, 0.50));
	values[n++] = Float8GetDatum(im_latency_percentile(stats.latency, 0.95));
	values[n++] = Float8GetDatum(im_latency_percentile(stats.latency, 0.99));
	values[n++] = Int64GetDatum(stats.worker_starts);
	Assert(n == lengthof(values));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* im_import_stats_reset(): counters to zero. */
Datum
im_sql_stats_reset(PG_FUNCTION_ARGS)
{
	ImSlot	   *slot = im_slot_find(MyDatabaseId);

	im_shared_require();
	if (slot != NULL)
	{
		im_slot_lock(slot);
		memset(&slot->stats, 0, sizeof(slot->stats));
		slot->stats.reset_at = GetCurrentTimestamp();
		im_slot_unlock(slot);
	}
	PG_RETURN_VOID();
}

/* im_import_history_rows(): see the view im_import_history. */
Datum
im_sql_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ImSlot	   *slot = im_slot_find(MyDatabaseId);
	ImMinute   *minutes = palloc(sizeof(ImMinute) * IM_MINUTES);
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = slot ? im_slot_history(slot, minutes) : 0;
	for (int i = 0; i < n; i++)
	{
		const ImMinute *minute = &minutes[i];
		Datum		values[7];
		bool		nulls[7] = {false, false, false, false, false, minute->calls == 0, minute->calls == 0};

		values[0] = TimestampTzGetDatum((TimestampTz) minute->minute * USECS_PER_MINUTE);
		values[1] = Int64GetDatum(minute->calls);
		values[2] = Int64GetDatum(minute->imported);
		values[3] = Int64GetDatum(minute->failed);
		values[4] = Float8GetDatum(minute->throttled_ms);
		values[5] = Float8GetDatum(minute->p50);
		values[6] = Float8GetDatum(minute->p99);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
