/*
 * steer.c
 *	  The SQL functions and procedures with which a person steers the import.
 *
 * All of them act on the table as the extension's owner (who may call them is
 * decided by GRANT) and ring the worker at commit.  The two procedures wait
 * without holding a snapshot: they commit between two looks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "app.h"
#include "command.h"
#include "compat.h"
#include "encoding.h"
#include "guard.h"
#include "outbox.h"
#include "queue.h"
#include "protocol.h"
#include "shared.h"
#include "steer.h"
#include "tally.h"
#include "text.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(im_sql_pause);
PG_FUNCTION_INFO_V1(im_sql_resume);
PG_FUNCTION_INFO_V1(im_sql_adopt);
PG_FUNCTION_INFO_V1(im_sql_retry);
PG_FUNCTION_INFO_V1(im_sql_resolve);
PG_FUNCTION_INFO_V1(im_sql_set_rate);
PG_FUNCTION_INFO_V1(im_sql_drain);
PG_FUNCTION_INFO_V1(im_sql_wait);

#define SEC					INT64_C(1000000)
#define LOOK_MS				200
#define MISSING				"missing"	/* as in im_import_verified.result */
#define NOTICE_EVERY		(5 * SEC)
#define START_PATIENCE		(10 * SEC)	/* for what keeps us waiting to show */

/* See steer.h. */
ImOutbox *
im_require_outbox(void)
{
	ImOutbox   *outbox = im_outbox_get();

	if (im_outbox_look(outbox) != IM_INSTALLED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the extension im_import in this database is not of the library's version"),
				 errhint("Run ALTER EXTENSION im_import UPDATE; if that changes nothing, a package was upgraded under the running server: restart it.")));
	return outbox;
}

/* See steer.h. */
ImSlot *
im_require_slot(void)
{
	ImSlot	   *slot;

	im_shared_require();
	slot = im_slot_mine();
	if (slot == NULL)
		im_shared_full();
	return slot;
}

/* Stores or clears a pause. */
static void
set_pause(bool paused, const char *reason)
{
	ImOutbox   *outbox;
	char	   *who = GetUserNameFromId(GetUserId(), false);
	ImRights	saved;

	/* A standby has no timeline of its own yet. */
	PreventCommandDuringRecovery(paused ? "im_import_pause()" : "im_import_resume()");
	outbox = im_require_outbox();
	im_outbox_enter(&saved);
	im_outbox_pause(outbox, paused, who, reason);
	/* A person who resumes wants held rooms tried again, too. */
	if (!paused)
		im_queue_release_rooms();
	im_outbox_leave(&saved);
}

/* im_import_pause(reason) */
Datum
im_sql_pause(PG_FUNCTION_ARGS)
{
	set_pause(true, PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	im_ring_at_commit(false);
	ereport(NOTICE,
			(errmsg("the import is paused when this transaction commits"),
			 errdetail("Calls that are under way end. Rows can still be inserted, and wait.")));
	PG_RETURN_VOID();
}

/* im_import_resume() */
Datum
im_sql_resume(PG_FUNCTION_ARGS)
{
	set_pause(false, NULL);
	/* As after a change of options: what was refused before is tried again. */
	im_ring_at_commit(true);
	ereport(NOTICE,
			(errmsg("the import goes on when this transaction commits")));
	PG_RETURN_VOID();
}

/* im_import_adopt() */
Datum
im_sql_adopt(PG_FUNCTION_ARGS)
{
	ImProblem	problem = {0};
	ImApp	   *app;
	ImRights	saved;
	volatile int64 n = 0;

	PreventCommandDuringRecovery("im_import_adopt()");
	(void) im_require_outbox();
	app = im_app_load(CurrentMemoryContext, &problem);
	if (app == NULL)
		im_app_raise(&problem);
	im_outbox_enter(&saved);
	/* Off again however this ends: it guards against persons, not against us. */
	im_guard_bypass(true);
	PG_TRY();
	{
		n = im_queue_adopt_all(true, app);
		/* In the same transaction: rows and server change hands together. */
		im_app_note_home(NULL, im_origin(), true);
	}
	PG_FINALLY();
	{
		im_guard_bypass(false);
	}
	PG_END_TRY();
	im_outbox_leave(&saved);
	im_app_free(app);
	im_ring_at_commit(true);
	PG_RETURN_INT64(n);
}

/* The kind of that name, or an ERROR. */
static const ImCommand *
require_kind(const char *name)
{
	const ImCommand *command = im_command_find(name);

	if (command == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no rows of kind \"%s\"", name),
				 errhint("The kinds are %s.", im_command_names(false))));
	return command;
}

/*
 * Rows of a kind that the app does not have back to pending; *left: those that
 * cannot be sent again.
 */
static int64
retry_missing(ImKind kind, int64 *left)
{
	volatile int64 n = 0;

	/* Rows in order go back with columns that the guard keeps from persons. */
	im_guard_bypass(im_commands[kind]->ordered);
	PG_TRY();
	{
		n = im_queue_retry_missing(kind, left);
	}
	PG_FINALLY();
	{
		im_guard_bypass(false);
	}
	PG_END_TRY();
	return n;
}

/* What im_import_retry() is about, and what it did. */
typedef struct Retry
{
	const int32 *code;			/* NULL: any */
	const char *status;			/* NULL: failed and invalid */
	bool		missing;		/* imported rows that the app does not have */
	const ImCommand *only;		/* NULL: all kinds */
	int64		n[IM_OUTBOXES];
	int64		total;
	int64		left;			/* messages that cannot be sent again */
} Retry;

/* Raises unless there are such rows to be retried. */
static void
check_retry(const Retry *retry)
{
	ImStatus	status = IM_FAILED;

	if (retry->status != NULL && !retry->missing &&
		(!im_status_parse(retry->status, &status) ||
		 (status != IM_FAILED && status != IM_INVALID && status != IM_IN_DOUBT && status != IM_UNDONE)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of status \"%s\" cannot be retried", retry->status),
				 errhint("Give failed, invalid or undone, in_doubt for kinds of rows that can be sent again without harm, or missing for imported rows that the app does not have, as im_import_verify() found; settle a row in doubt with im_import_resolve().")));
	if ((retry->missing || status == IM_UNDONE) && retry->code != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of status \"%s\" are of no error code", retry->status),
				 errhint("Leave error_code out: SELECT im_import_retry(status => '%s').", retry->status)));
}

/* Rows in doubt of the kinds that are meant: there are some, or may be. */
static bool
any_in_doubt(const Retry *retry)
{
	ImTallies	tallies;

	if (!im_tally_read(im_outbox_schema(im_outbox_get()), &tallies))
		return true;
	return retry->only == NULL ? tallies.all.by_status[IM_IN_DOUBT] > 0 :
		tallies.of[retry->only->kind].by_status[IM_IN_DOUBT] > 0;
}

/* Sets the rows of all kinds that are meant to pending. */
static void
retry_kinds(Retry *retry)
{
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		if (retry->only != NULL && im_commands[kind] != retry->only)
			continue;
		retry->n[kind] = retry->missing ? retry_missing((ImKind) kind, &retry->left) :
			im_queue_retry((ImKind) kind, retry->code, retry->status);
		retry->total += retry->n[kind];
	}
	if (retry->total == 0 && retry->status != NULL && strcmp(retry->status, im_status_name(IM_IN_DOUBT)) == 0 &&
		any_in_doubt(retry))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rows of status \"%s\" cannot be retried", retry->status),
				 errdetail("There is none of a kind that can be sent again without harm."),
				 errhint("Settle each with im_import_resolve(): im_import_failures has the statements.")));
}

/* Says how many of which kind, and what stays. */
static void
tell_retry(const Retry *retry)
{
	StringInfoData kinds;

	initStringInfo(&kinds);
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (retry->n[kind] > 0)
			appendStringInfo(&kinds, "%s%s: " INT64_FORMAT, kinds.len > 0 ? ", " : "", im_commands[kind]->name, retry->n[kind]);
	if (kinds.len > 0)
		appendStringInfoChar(&kinds, '.');
	if (retry->left > 0)
		appendStringInfo(&kinds, "%s" INT64_FORMAT " missing messages stay as they are: newer messages of their groups are there, or are being sent, and the service takes none that is older than the newest.",
						 kinds.len > 0 ? " " : "", retry->left);
	ereport(NOTICE,
			(errmsg(INT64_FORMAT " rows are pending again", retry->total),
			 kinds.len > 0 ? errdetail("%s", kinds.data) : 0,
			 retry->left == 0 ? 0 :
			 errhint("Insert them as new rows with a later send_time if they must be there, at the end of their groups.")));
}

/* im_import_retry(error_code, status, kind) */
Datum
im_sql_retry(PG_FUNCTION_ARGS)
{
	int32		code = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	Retry		retry = {.code = PG_ARGISNULL(0) ? NULL : &code};
	ImRights	saved;

	retry.status = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	retry.missing = retry.status != NULL && strcmp(retry.status, MISSING) == 0;
	retry.only = PG_ARGISNULL(2) ? NULL : require_kind(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	check_retry(&retry);
	(void) im_require_outbox();
	im_outbox_enter(&saved);
	retry_kinds(&retry);
	im_outbox_leave(&saved);
	im_ring_at_commit(false);
	tell_retry(&retry);
	PG_RETURN_INT64(retry.total);
}

/* Raises if text cannot be a GroupId of the service. */
static void
check_group_id(const char *group_id)
{
	size_t		len = strlen(group_id);

	if (len == 0 || len > 48 || !im_text_is_printable(group_id, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is no GroupId", group_id),
				 errhint("A GroupId is 1 to 48 bytes of printable ASCII.")));
}

/* The kind that im_import_resolve() is about, and whether what it found fits. */
static const ImCommand *
check_found(const char *kind, const char *group_id, int64 msg_seq)
{
	const ImCommand *command = require_kind(kind);

	if (group_id != NULL)
		check_group_id(group_id);
	if ((group_id != NULL && !command->makes_groups) || (msg_seq != 0 && !command->ordered) || msg_seq < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a row of kind \"%s\" cannot be settled with that", command->name),
				 command->harmless ?
				 errhint("Give neither group_id nor msg_seq: the row is sent again, which does no harm.") :
				 errhint("Give the group_id of a group or the msg_seq of a message as the app has it, or neither to send the row again.")));
	return command;
}

/* im_import_resolve(id, group_id, kind, msg_seq) */
Datum
im_sql_resolve(PG_FUNCTION_ARGS)
{
	char	   *group_id = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		msg_seq = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	const ImCommand *command = check_found(PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2)),
										   group_id, msg_seq);
	bool		found = false;
	ImRights	saved;

	(void) im_require_outbox();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("id must not be null"),
				 errhint("Give the id of a row in doubt; they stand in im_import_failures.")));
	im_outbox_enter(&saved);
	im_guard_bypass(true);
	PG_TRY();
	{
		found = im_queue_resolve(command->kind, PG_GETARG_INT64(0), group_id, msg_seq);
	}
	PG_FINALLY();
	{
		im_guard_bypass(false);
	}
	PG_END_TRY();
	im_outbox_leave(&saved);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no outbox row %lld in doubt", (long long) PG_GETARG_INT64(0)),
				 errhint("Somebody may have settled it: SELECT status FROM %s WHERE id = %lld. Rows in doubt stand in im_import_failures, each with its kind.",
						 command->table, (long long) PG_GETARG_INT64(0))));
	im_ring_at_commit(false);
	PG_RETURN_VOID();
}

/* im_import_set_rate(rate) */
Datum
im_sql_set_rate(PG_FUNCTION_ARGS)
{
	ImProblem	problem = {0};
	ImApp	   *app;
	ImRights	saved;
	char	   *rate = DatumGetCString(DirectFunctionCall1(numeric_out, PG_GETARG_DATUM(0)));
	char	   *sql;

	(void) im_require_outbox();
	app = im_app_load(CurrentMemoryContext, &problem);
	if (app == NULL)
		im_app_raise(&problem);
	sql = psprintf("ALTER SERVER %s OPTIONS (%s rate_limit %s)",
				   quote_identifier(app->server_name),
				   app->rate_limit_given ? "SET" : "ADD", quote_literal_cstr(rate));
	im_outbox_enter(&saved);
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not change the rate");
	im_outbox_leave(&saved);
	im_app_free(app);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * Procedures that wait
 */

/* What a waiting procedure remembers from one look to the next. */
typedef struct Waiting
{
	int64		since;
	int64		told_at;
	int64		told_open;
	int64		done_before;	/* rows that were settled at the first look ... */
	bool		looked;			/* ... which has been */
	int64		deadline;		/* 0: none */
} Waiting;

/* See steer.h. */
bool
im_may_commit(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!((CallContext *) fcinfo->context)->atomic;
}

/* See steer.h. */
void
im_require_nonatomic(FunctionCallInfo fcinfo, const char *name)
{
	if (!im_may_commit(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", name),
				 errhint("CALL it on its own: it must not hold a snapshot while it waits.")));
}

/* Ends the look's transaction, and with it every snapshot, then sleeps. */
static void
commit_and_sleep(void)
{
	/* First: from here on we hold no snapshot. */
	SPI_commit();
	CHECK_FOR_INTERRUPTS();
	/* A client that is gone must not go on sending; it cannot cancel us either. */
	if (MyProcPort != NULL && !pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to client lost")));
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
					 im_wait_event_sender());
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* One look, with a snapshot of its own. */
static void
look(ImView *view)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	im_watch(view);
	PopActiveSnapshot();
}

/* The time left as a person says it, or nothing if it is not known. */
static const char *
time_left(const ImView *view)
{
	double		seconds = view->settle_rate > 0 ? im_view_open(view) / view->settle_rate : 0;

	if (seconds < 1 || seconds > 1e8)
		return "";
	return psprintf(", about %d:%02d:%02d left", (int) seconds / SECS_PER_HOUR,
					(int) seconds / SECS_PER_MINUTE % MINS_PER_HOUR, (int) seconds % SECS_PER_MINUTE);
}

/*
 * Tells how far it is, not too often: of the rows that were open when this call
 * began, and of those that came since.
 */
static void
tell(const ImView *view, Waiting *waiting)
{
	int64		now = im_now_us();
	int64		open = im_view_open(view);
	int64		done;

	if (!waiting->looked)
		waiting->done_before = view->total - open;
	waiting->looked = true;
	if (now - waiting->told_at < NOTICE_EVERY || open == waiting->told_open)
		return;
	waiting->told_at = now;
	waiting->told_open = open;
	/* Rows that others deleted are no steps back. */
	done = Max(view->total - open - waiting->done_before, 0);
	ereport(NOTICE,
			(errmsg("im_import: " INT64_FORMAT " of " INT64_FORMAT " rows done (%.1f %%), %.1f calls per second%s%s%s",
					done, done + open, done + open > 0 ? 100.0 * done / (done + open) : 100.0,
					view->calls_per_second, time_left(view),
					view->report.reason[0] ? "; " : "", im_text_from_utf8(view->report.reason))));
}

/*
 * Raises if nothing will move before somebody does something.  A drain lets
 * rows through a pause, so only what is beneath can hold it up.
 */
static void
raise_if_stuck(const ImView *view, const Waiting *waiting, bool pause_is_fine)
{
	ImState		state = pause_is_fine ? view->report.beneath : view->report.state;
	const char *cure = im_state_cure(&view->report);

	if (view->changing || !im_state_stuck(state))
		return;
	/*
	 * Right after a start or a change the last word is not yet spoken: no worker
	 * has come, or it has not seen the options that this session sees.
	 */
	if ((state == IM_STATE_NO_WORKER || (state == IM_STATE_NOT_CONFIGURED && view->rate_limit > 0)) &&
		im_now_us() - waiting->since < START_PATIENCE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the import cannot go on: %s", im_state_name(state)),
			 errdetail("%s", view->report.reason[0] ? im_text_from_utf8(view->report.reason) : "No reason is known."),
			 errhint("%s Nothing is lost: call again then.", cure != NULL ? cure : "")));
}

/* Raises if the caller's time is over. */
static void
raise_if_late(const ImView *view, const Waiting *waiting)
{
	if (waiting->deadline == 0 || im_now_us() < waiting->deadline)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("timeout while " INT64_FORMAT " rows are still open", im_view_open(view)),
			 errhint("The import goes on by itself; call again to wait on, or watch im_import_status.")));
}

/* An order of ours in the slot, so that whatever ends us can withdraw it. */
typedef struct Ordering
{
	ImSlot	   *slot;
	int			place;
	uint32		ticket;
} Ordering;

/* Takes the order back: also if this session is terminated, when no PG_FINALLY runs. */
static void
withdraw(int code, Datum arg)
{
	Ordering   *ordering = (Ordering *) DatumGetPointer(arg);

	im_order_withdraw(ordering->slot, ordering->place, ordering->ticket);
}

/* Orders so many rows; waits while too many others do. */
static void
place_order(Ordering *ordering, int64 rows)
{
	while ((ordering->place = im_order_place(ordering->slot, rows, &ordering->ticket)) < 0)
		commit_and_sleep();
}

/* Waits until the ordered rows have an outcome, or no row is left. */
static void
wait_for_order(const Ordering *ordering, ImView *view)
{
	Waiting		waiting = {.since = im_now_us(), .told_open = -1};

	/* Urgent: an order goes through a pause. */
	im_ring(ordering->slot, true);
	for (;;)
	{
		/* Read before the look, whose snapshot then has what it was spent on. */
		bool		done = im_order_done(ordering->slot, ordering->place);

		look(view);
		if (done || (view->counts.exact && im_view_moving(view) - view->counts.foreign_open == 0))
			break;
		raise_if_stuck(view, &waiting, true);
		tell(view, &waiting);
		commit_and_sleep();
	}
}

/* What is said of rows that were taken back, if there are any. */
static const char *
undone_text(int64 n)
{
	return n > 0 ? psprintf(", " INT64_FORMAT " undone", n) : "";
}

/*
 * Says how the rows ended.  These are differences of counts: what others
 * deleted or set back meanwhile is in them, so none is shown below zero.
 */
static void
tell_result(const ImView *before, const ImView *after)
{
	int64		n[IM_STATUSES];

	for (int i = 0; i < IM_STATUSES; i++)
		n[i] = Max(after->counts.rows.by_status[i] - before->counts.rows.by_status[i], 0);
	ereport(NOTICE,
			(errmsg("im_import: " INT64_FORMAT " rows imported, " INT64_FORMAT " failed, "
					INT64_FORMAT " invalid, " INT64_FORMAT " in doubt%s",
					n[IM_IMPORTED], n[IM_FAILED], n[IM_INVALID], n[IM_IN_DOUBT], undone_text(n[IM_UNDONE])),
			 n[IM_FAILED] + n[IM_INVALID] + n[IM_IN_DOUBT] == 0 ? 0 :
			 errhint("See im_import_errors and im_import_failures.")));
}

/* im_import_drain(max_rows) */
Datum
im_sql_drain(PG_FUNCTION_ARGS)
{
	int64		rows = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	Ordering	ordering = {.slot = im_require_slot()};
	ImView		before;
	ImView		after;

	im_require_nonatomic(fcinfo, "im_import_drain");
	if (rows <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be at least 1"),
				 errhint("Give the number of groups to let through. Without it all pending rows are sent, also while paused.")));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/* Looked at before the order is placed: the result is the difference. */
	look(&before);
	SPI_commit();
	place_order(&ordering, rows);
	PG_ENSURE_ERROR_CLEANUP(withdraw, PointerGetDatum(&ordering));
	{
		wait_for_order(&ordering, &after);
	}
	PG_END_ENSURE_ERROR_CLEANUP(withdraw, PointerGetDatum(&ordering));
	/* Without an ERROR the macro does not call it. */
	withdraw(0, PointerGetDatum(&ordering));
	SPI_finish();
	tell_result(&before, &after);
	PG_RETURN_VOID();
}

/* Raises if rows ended badly, so that a script stops. */
static void
raise_if_failed(const ImView *view)
{
	const int64 *n = view->counts.rows.by_status;

	if (n[IM_FAILED] + n[IM_INVALID] + n[IM_IN_DOUBT] == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("not all rows were imported: " INT64_FORMAT " failed, " INT64_FORMAT " invalid, "
					INT64_FORMAT " in doubt", n[IM_FAILED], n[IM_INVALID], n[IM_IN_DOUBT]),
			 errhint("See im_import_errors and im_import_failures.")));
}

/* Says how all rows ended. */
static void
tell_end(const ImView *view)
{
	const int64 *n = view->counts.rows.by_status;

	if (view->waiting > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("im_import: " INT64_FORMAT " rows wait for groups that are not imported", view->waiting),
				 errdetail("Their group is failed, invalid, in doubt or undone, or no row of im_group_outbox has their group_source_id as its source_id; or people already write in it (im_import_resume() has it tried again)."),
				 errhint("Repair or insert the groups, and their rows go on by themselves; im_import_plan() names the first ones.")));

	ereport(NOTICE,
			(errmsg("im_import: no row %s: " INT64_FORMAT " imported, " INT64_FORMAT " failed, "
					INT64_FORMAT " invalid, " INT64_FORMAT " in doubt%s",
					view->waiting > 0 ? "moves any more" : "is open",
					n[IM_IMPORTED], n[IM_FAILED], n[IM_INVALID], n[IM_IN_DOUBT], undone_text(n[IM_UNDONE])),
			 n[IM_FAILED] + n[IM_INVALID] + n[IM_IN_DOUBT] == 0 ? 0 :
			 errhint("See im_import_errors and im_import_failures.")));
}

/* im_import_wait(timeout, raise_on_failure) */
Datum
im_sql_wait(PG_FUNCTION_ARGS)
{
	Waiting		waiting = {.since = im_now_us(), .told_open = -1};
	bool		raise = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	ImView		view;

	(void) im_require_slot();
	im_require_nonatomic(fcinfo, "im_import_wait");
	if (!PG_ARGISNULL(0))
	{
		Interval   *timeout = PG_GETARG_INTERVAL_P(0);

		waiting.deadline = waiting.since + timeout->time +
			(timeout->day + timeout->month * INT64_C(30)) * USECS_PER_DAY;
	}
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	for (;;)
	{
		look(&view);
		if (view.counts.exact && im_view_moving(&view) == 0)
			break;
		raise_if_stuck(&view, &waiting, false);
		raise_if_late(&view, &waiting);
		tell(&view, &waiting);
		commit_and_sleep();
	}
	SPI_finish();
	if (raise)
		raise_if_failed(&view);
	tell_end(&view);
	PG_RETURN_VOID();
}
