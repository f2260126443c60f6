/*
 * verify.c
 *	  im_import_verify(): is what we imported really there, as we sent it?
 *
 * Asks get_group_info for fifty groups a call and a few calls at a time,
 * within the database's rate limit, and keeps the results in
 * im_import_verified.  A transaction writes the last results and reads the
 * next rows; none is doing anything, and no snapshot is held, while the
 * service is asked.  What is written stays, so whoever cancels goes on where
 * it was.
 *
 * Nothing here changes a group or a row of the outbox, except
 * im_import_forget(), which deletes what is done with.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "encoding.h"
#include "errcodes.h"
#include "cmd_group.h"
#include "queue.h"
#include "reply.h"
#include "session.h"
#include "statements.h"
#include "steer.h"
#include "text.h"

PG_FUNCTION_INFO_V1(im_sql_verify);
PG_FUNCTION_INFO_V1(im_sql_forget);

#define SEC					INT64_C(1000000)
#define CALLS_AT_ONCE		8
#define TRIES				5	/* of a call without a usable answer */
#define NOTICE_EVERY		(5 * SEC)
#define FORGET_AT_ONCE		10000
#define BAD_PARAMETER		10004	/* the service's word for what it does not know */

/* One im_import_verify(). */
typedef struct Verify
{
	ImOutbox   *outbox;
	ImSlot	   *slot;
	ImSender   *sender;
	MemoryContext ctx;			/* of rows and calls; reset for each chunk */
	TimestampTz checked_before;
	int64		left;			/* rows that may still be checked */
	int64		last;			/* id of the last row that was read */
	bool		proven;			/* the service took a call: more may fly */
	bool		basic;			/* it refused to tell more than every lookup asks */
	List	   *rows;			/* of ImRow: being checked */
	ImCheck    *checks;			/* one for each row */
	ImCall	   *calls;
	int			ncalls;
	int64		counts[IM_FOUND_ABSENT + 1];
	int64		told_at;
} Verify;

/* What im_import_verified.result says. */
static const char *const results[] = {
	[IM_FOUND_UNREADABLE] = "unreadable",
	[IM_FOUND_SAME] = "matched",
	[IM_FOUND_OTHER] = "differs",
	[IM_FOUND_ABSENT] = "missing"
};

/* Rows checked so far. */
static int64
checked(const Verify *verify)
{
	int64		n = 0;

	for (int i = 0; i <= IM_FOUND_ABSENT; i++)
		n += verify->counts[i];
	return n;
}

/* Appends an element to the text of an array; text need not be clean. */
static void
put_element(StringInfo buf, const char *column, const char *text)
{
	appendStringInfo(buf, "%c\"%s", buf->len > 0 ? ',' : '{', column);
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *p);
	}
	appendStringInfoChar(buf, '"');
}

/* Appends app_defined_data.KEY for each key that differs. */
static void
put_keys(StringInfo buf, const ImCheck *check)
{
	ImExtras	extras;
	char		name[IM_INFO_MAX + 1];

	im_reply_extras(check->sent, check->sent_len, &extras);
	for (int i = 0; i < extras.nkeys; i++)
	{
		if (!(check->custom & (UINT64_C(1) << i)))
			continue;
		name[0] = '.';
		im_text_clean(extras.keys[i].p, extras.keys[i].len, name + 1, sizeof(name) - 1);
		put_element(buf, im_field_column(IM_FIELD_CUSTOM), im_text_from_utf8(name));
	}
}

/* The columns that differ, as the text of an array; NULL if none do. */
static Datum
fields_text(const ImCheck *check, bool *isnull)
{
	StringInfoData buf;

	*isnull = check->differs == 0;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&buf);
	for (int i = 0; i < IM_FIELD_CUSTOM; i++)
		if (check->differs & (UINT32_C(1) << i))
			put_element(&buf, im_field_column(i), "");
	put_keys(&buf, check);
	appendStringInfoChar(&buf, '}');
	return CStringGetTextDatum(buf.data);
}

/* Writes the results of the rows at hand. */
static void
write_results(Verify *verify)
{
	int			n = list_length(verify->rows);
	int			lower = 1;
	Datum	   *ids = palloc(sizeof(Datum) * (n + 1));
	Datum	   *keys = palloc(sizeof(Datum) * (n + 1));
	Datum	   *words = palloc(sizeof(Datum) * (n + 1));
	Datum	   *fields = palloc(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (n + 1));
	Datum		args[4];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		const ImCheck *check = &verify->checks[i];
		ImRow	   *row = list_nth(verify->rows, i);

		ids[i] = Int64GetDatum(row->id);
		keys[i] = PointerGetDatum(row->row_key);
		words[i] = CStringGetTextDatum(results[check->found]);
		fields[i] = fields_text(check, &nulls[i]);
		verify->counts[check->found]++;
	}
	args[0] = PointerGetDatum(construct_array(ids, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[1] = PointerGetDatum(construct_array(words, n, TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_md_array(fields, nulls, 1, &n, &lower, TEXTOID, -1, false,
												 TYPALIGN_INT));
	args[3] = PointerGetDatum(construct_array(keys, n, UUIDOID, sizeof(((ImRow *) NULL)->row_key),
											  false, TYPALIGN_CHAR));
	im_statement(im_outbox_schema(verify->outbox), IM_GROUP, ST_CHECK_WRITE, args, NULL, 0);
}

/* Makes room for the calls of the rows at hand. */
static void
make_calls(Verify *verify)
{
	int			n = list_length(verify->rows);

	verify->checks = palloc0(sizeof(ImCheck) * (n + 1));
	verify->calls = palloc0(sizeof(ImCall) * CALLS_AT_ONCE);
	verify->ncalls = 0;
	for (int i = 0; i < n; i++)
	{
		const ImRow *row = list_nth(verify->rows, i);
		ImCheck    *check = &verify->checks[i];
		ImCall	   *call = &verify->calls[i / IM_CHECK_MAX];

		check->group_id = row->group_id;
		check->sent = row->item;
		check->sent_len = row->item_len;
		if (i % IM_CHECK_MAX == 0)
		{
			call->op = IM_OP_CHECK_GROUPS;
			call->checks = check;
			verify->ncalls++;
		}
		call->nchecks++;
	}
}

/* Appends the keys to a list of those of other rows, each but once. */
static List *
add_keys(List *keys, const ImExtras *extras)
{
	for (int i = 0; i < extras->nkeys; i++)
	{
		char	   *key = pnstrdup(extras->keys[i].p, extras->keys[i].len);
		ListCell   *lc;

		foreach(lc, keys)
			if (strcmp(lfirst(lc), key) == 0)
				break;
		if (lc == NULL)
			keys = lappend(keys, key);
	}
	return keys;
}

/*
 * Asks for what rows of this call have beyond what every lookup asks for.
 * Only then: the documents do not say that SupportTopic may be asked for, and
 * a service that does not know it must not refuse the other calls.
 */
static void
ask_for_extras(StringInfo body, const ImCall *call)
{
	List	   *keys = NIL;
	bool		topic = false;
	ListCell   *lc;

	for (int i = 0; i < call->nchecks; i++)
	{
		ImExtras	extras;

		im_reply_extras(call->checks[i].sent, call->checks[i].sent_len, &extras);
		topic |= extras.topic;
		keys = add_keys(keys, &extras);
	}
	/* im_group_check_body() ends a list, the filter and the request */
	Assert(body->len > 3 && strcmp(body->data + body->len - 3, "]}}") == 0);
	body->len -= 3;
	appendStringInfoString(body, topic ? ",\"SupportTopic\"]" : "]");
	foreach(lc, keys)
		appendStringInfo(body, "%s\"%s\"", foreach_current_index(lc) == 0 ?
						 ",\"AppDefinedDataFilter_Group\":[" : ",", (char *) lfirst(lc));
	appendStringInfoString(body, keys != NIL ? "]}}" : "}}");
}

/* Composes a body, which stays the same for every try. */
static void
make_body(const Verify *verify, ImCall *call)
{
	StringInfoData body;

	initStringInfo(&body);
	im_group_check_body(&body, call->checks, call->nchecks);
	if (!verify->basic)
		ask_for_extras(&body, call);
	call->body = body.data;
	call->body_len = body.len;
}

/*
 * In one transaction: options, the last results, the next rows.  Works in
 * verify->ctx, which is reset between the results and the rows.
 */
static void
write_and_read(Verify *verify)
{
	int			want = verify->proven ? IM_CHECK_MAX * CALLS_AT_ONCE : IM_CHECK_MAX;
	MemoryContext old = MemoryContextSwitchTo(verify->ctx);
	ImProblem	problem = {0};
	ImRights	saved;

	PushActiveSnapshot(GetTransactionSnapshot());
	verify->outbox = im_require_outbox();
	verify->sender = im_session_sender(verify->slot, &problem);
	if (verify->sender == NULL)
		im_app_raise(&problem);
	im_outbox_enter(&saved);
	write_results(verify);
	MemoryContextReset(verify->ctx);
	verify->rows = im_queue_unchecked(im_sender_app(verify->sender), verify->last, verify->checked_before,
									  (int) Min(want, verify->left), verify->ctx);
	im_outbox_leave(&saved);
	PopActiveSnapshot();
	if (verify->rows != NIL)
		verify->last = ((ImRow *) llast(verify->rows))->id;
	verify->left -= list_length(verify->rows);
	make_calls(verify);
	for (int i = 0; i < verify->ncalls; i++)
		make_body(verify, &verify->calls[i]);
	MemoryContextSwitchTo(old);
}

/* The service refuses, or does not answer: what is checked stays. */
static void
raise_unanswered(const ImCall *call)
{
	const ImErrorCode *entry = im_error_find(call->verdict.code);

	ereport(ERROR,
			(errcode(call->verdict.outcome == IM_OUT_STOP ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE :
					 ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("could not ask the service for groups: error code %d, %s",
					(int) call->verdict.code, entry->meaning),
			 call->reply.info[0] ?
			 errdetail("The service or the connection says: %s", im_text_from_utf8(call->reply.info)) : 0,
			 errhint("What was checked is kept: CALL im_import_verify() again, and it goes on from there. im_import_doctor() tries the connection.")));
}

/* Sleeps between two tries, longer each time. */
static void
nap(int tries)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 500L << tries, im_wait_event_network());
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Collects the calls that still want an answer; raises for a refusal of all. */
static int
unanswered(Verify *verify, ImCall **open)
{
	int			n = 0;

	for (int i = 0; i < verify->ncalls; i++)
	{
		ImCall	   *call = &verify->calls[i];

		if (call->found != IM_FOUND_UNREADABLE)
			continue;
		if (call->verdict.outcome == IM_OUT_STOP)
			raise_unanswered(call);
		open[n++] = call;
	}
	return n;
}

/*
 * A service that calls a parameter wrong may not know what we asked for beyond
 * the rest: the calls are made again without that.
 */
static void
ask_less(Verify *verify, ImCall **open, int n)
{
	MemoryContext old = MemoryContextSwitchTo(verify->ctx);
	bool		refused = false;

	for (int i = 0; i < n; i++)
		refused |= open[i]->reply.readable && open[i]->reply.code == BAD_PARAMETER;
	if (refused && !verify->basic)
	{
		verify->basic = true;
		ereport(NOTICE,
				(errmsg("im_import: the service does not tell support_topic and app_defined_data: they are not compared")));
	}
	for (int i = 0; refused && i < n; i++)
		make_body(verify, open[i]);
	MemoryContextSwitchTo(old);
}

/* Asks the service, until each call has an answer. */
static void
ask(Verify *verify)
{
	ImCall	   *open[CALLS_AT_ONCE];
	int			n;

	for (int tries = 0; (n = unanswered(verify, open)) > 0; tries++)
	{
		if (tries == TRIES)
			raise_unanswered(open[0]);
		if (tries > 0)
		{
			ask_less(verify, open, n);
			nap(tries);
		}
		im_session_exchange(verify->sender, open, n);
		for (int i = 0; i < n; i++)
			im_session_note(verify->slot, open[i]);
	}
	verify->proven = true;
}

/* Tells how far it is, not too often. */
static void
tell(Verify *verify)
{
	int64		now = im_now_us();

	if (now - verify->told_at < NOTICE_EVERY)
		return;
	verify->told_at = now;
	ereport(NOTICE,
			(errmsg("im_import: " INT64_FORMAT " rows checked, " INT64_FORMAT " differ, "
					INT64_FORMAT " missing, " INT64_FORMAT " unreadable", checked(verify),
					verify->counts[IM_FOUND_OTHER], verify->counts[IM_FOUND_ABSENT],
					verify->counts[IM_FOUND_UNREADABLE])));
}

/* Says what came of it, as an ERROR if the caller wants that of a difference. */
static void
conclude(const Verify *verify, bool raise)
{
	bool		good = checked(verify) == verify->counts[IM_FOUND_SAME];

	ereport(raise && !good ? ERROR : NOTICE,
			(errcode(raise && !good ? ERRCODE_DATA_EXCEPTION : ERRCODE_SUCCESSFUL_COMPLETION),
			 errmsg("im_import: " INT64_FORMAT " rows checked: " INT64_FORMAT " matched, "
					INT64_FORMAT " differ, " INT64_FORMAT " missing, " INT64_FORMAT " unreadable",
					checked(verify), verify->counts[IM_FOUND_SAME], verify->counts[IM_FOUND_OTHER],
					verify->counts[IM_FOUND_ABSENT], verify->counts[IM_FOUND_UNREADABLE]),
			 good ? 0 :
			 errhint("See im_import_verify_summary, and im_import_verified for each row.")));
}

/* The arguments, as far as they concern which rows. */
static void
set_up(Verify *verify, FunctionCallInfo fcinfo)
{
	verify->slot = im_require_slot();
	verify->left = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	if (verify->left <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be at least 1"),
				 errhint("Leave it out to check every imported row.")));
	verify->checked_before = DT_NOBEGIN;
	if (!PG_ARGISNULL(1))
		verify->checked_before =
			DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													TimestampTzGetDatum(GetCurrentTimestamp()),
													PG_GETARG_DATUM(1)));
	verify->told_at = im_now_us();
	verify->ctx = AllocSetContextCreate(PortalContext, "im_import verify", ALLOCSET_DEFAULT_SIZES);
}

/* im_import_verify(max_rows, again, raise_on_difference) */
Datum
im_sql_verify(PG_FUNCTION_ARGS)
{
	bool		raise = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	Verify		verify = {0};

	PreventCommandDuringRecovery("im_import_verify()");
	im_require_nonatomic(fcinfo, "im_import_verify");
	set_up(&verify, fcinfo);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	for (;;)
	{
		write_and_read(&verify);
		SPI_commit();
		CHECK_FOR_INTERRUPTS();
		if (verify.rows == NIL)
			break;
		ask(&verify);
		tell(&verify);
	}
	SPI_finish();
	conclude(&verify, raise);
	PG_RETURN_VOID();
}

/*
 * Deletes the next rows of im_import_forget(), those behind *last, and moves
 * it; returns how many, 0 at the end.  Some thousands, because each
 * statement's triggers keep what it deleted.
 */
static int64
forget_some(Datum before, int64 *last)
{
	Datum		args[3] = {before, Int64GetDatum(*last), Int64GetDatum(FORGET_AT_ONCE)};
	ImOutbox   *outbox;
	ImRights	saved;
	Datum		highest;
	bool		isnull;
	int64		n;

	PushActiveSnapshot(GetTransactionSnapshot());
	outbox = im_require_outbox();
	im_outbox_enter(&saved);
	im_statement(im_outbox_schema(outbox), IM_GROUP, ST_FORGET, args, NULL, 0);
	n = DatumGetInt64(im_statement_value(0, 1, &isnull));
	highest = im_statement_value(0, 2, &isnull);
	if (!isnull)
		*last = DatumGetInt64(highest);
	im_outbox_leave(&saved);
	PopActiveSnapshot();
	return n;
}

/* Deletes them all; with commits, what is deleted stays so if it is cancelled. */
static int64
forget_all(Datum before, bool commits)
{
	int64		last = PG_INT64_MIN;
	int64		total = 0;
	int64		told_at = im_now_us();
	int64		n;

	while ((n = forget_some(before, &last)) > 0)
	{
		total += n;
		if (commits)
			SPI_commit();
		CHECK_FOR_INTERRUPTS();
		if (im_now_us() - told_at < NOTICE_EVERY)
			continue;
		told_at = im_now_us();
		ereport(NOTICE, (errmsg("im_import: " INT64_FORMAT " rows forgotten", total)));
	}
	return total;
}

/*
 * im_import_forget(before): deletes imported rows settled before a time, and
 * commits now and then, unless it is called inside a transaction block: there
 * it is part of that.
 */
Datum
im_sql_forget(PG_FUNCTION_ARGS)
{
	bool		commits = im_may_commit(fcinfo);
	bool		isnull = false;
	TupleDesc	desc;
	Datum		total;

	PreventCommandDuringRecovery("im_import_forget()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the time before which rows are forgotten must not be NULL"),
				 errhint("CALL im_import_forget(now() - interval '30 days') deletes what was imported longer ago.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	SPI_connect_ext(commits ? SPI_OPT_NONATOMIC : 0);
	total = Int64GetDatum(forget_all(PG_GETARG_DATUM(0), commits));
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &total, &isnull)));
}
