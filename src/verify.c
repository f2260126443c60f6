/*
 * verify.c
 *	  im_import_verify(): is what we imported really there, as we sent it?
 *
 * What each kind of row is asked for, and how its answer is compared, say the
 * kinds' checkups (command.h); here is what they have in common.  Ids of the
 * rows that are to be compared are listed once, in the order in which they go
 * into questions; then the rows are read some at a time, asked for a few calls
 * at a time within the database's rate limits, and the results are kept in
 * im_import_verified.
 *
 * A transaction writes the last results and reads the next rows; none is doing
 * anything, and no snapshot is held, while the service is asked.  What is
 * written stays, so whoever cancels goes on where it was.
 *
 * Nothing here changes the app or a row of an outbox, except im_import_forget(),
 * which deletes what is done with.
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

#include "ask.h"
#include "command.h"
#include "compat.h"
#include "encoding.h"
#include "queue.h"
#include "reply.h"
#include "statements.h"
#include "steer.h"
#include "text.h"

PG_FUNCTION_INFO_V1(im_sql_verify);
PG_FUNCTION_INFO_V1(im_sql_forget);

#define SEC					INT64_C(1000000)
#define READ_AT_ONCE		2000	/* rows of one transaction */
#define NOTICE_EVERY		(5 * SEC)
#define FORGET_AT_ONCE		10000

/* Results of a kind, by ImFound. */
typedef int64 Counts[IM_FOUND_ABSENT + 1];

/* One im_import_verify(). */
typedef struct Verify
{
	ImOutbox   *outbox;
	ImAsk		ask;
	MemoryContext list_ctx;		/* of ids; reset for each kind */
	MemoryContext ctx;			/* of rows and calls; reset for each chunk */
	TimestampTz checked_before;
	bool		deep;
	const ImCommand *only;		/* this kind; NULL: all */
	int64		left;			/* rows that may still be checked */
	int			kind;			/* at work; -1: none yet */
	int			rooms;			/* as ask.batch, of the question about rooms */
	int64	   *ids;			/* of this kind, to be checked ... */
	int64		nids;
	int64		nread;			/* ... of which so many were read */
	List	   *rows;			/* of ImRow: being checked */
	TimestampTz read_at;		/* no later than they were read */
	Counts		counts[IM_OUTBOXES];
	int64		told_at;
} Verify;

/* What im_import_verified.result says. */
static const char *const results[] = {
	[IM_FOUND_UNREADABLE] = "unreadable",
	[IM_FOUND_SAME] = "matched",
	[IM_FOUND_OTHER] = "differs",
	[IM_FOUND_ABSENT] = "missing"
};

/* Rows with a result, of all kinds. */
static int64
count_of(const Verify *verify, ImFound found)
{
	int64		n = 0;

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		n += verify->counts[kind][found];
	return n;
}

/* Rows checked so far. */
static int64
checked(const Verify *verify)
{
	int64		n = 0;

	for (int i = 0; i <= IM_FOUND_ABSENT; i++)
		n += count_of(verify, (ImFound) i);
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
put_keys(StringInfo buf, const ImRow *row)
{
	ImExtras	extras;
	char		name[IM_INFO_MAX + 1];

	if (row->check.custom == 0)
		return;
	im_reply_extras(row->item, row->item_len, &extras);
	for (int i = 0; i < extras.nkeys; i++)
	{
		if (!(row->check.custom & (UINT64_C(1) << i)))
			continue;
		name[0] = '.';
		im_text_clean(extras.keys[i].p, extras.keys[i].len, name + 1, sizeof(name) - 1);
		put_element(buf, im_field_column(IM_FIELD_CUSTOM), im_text_from_utf8(name));
	}
}

/* The columns that differ, as the text of an array; NULL if none do. */
static Datum
fields_text(const ImRow *row, bool *isnull)
{
	StringInfoData buf;

	*isnull = row->check.differs == 0 && row->check.custom == 0;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&buf);
	for (int i = 0; i < 32; i++)
		if (row->check.differs & (UINT32_C(1) << i))
			put_element(&buf, im_commands[row->kind]->checkup->column(i), "");
	put_keys(&buf, row);
	appendStringInfoChar(&buf, '}');
	return CStringGetTextDatum(buf.data);
}

/* The result that has this word. */
static ImFound
found_of(const char *word)
{
	ImFound		found = IM_FOUND_UNREADABLE;

	for (int i = 0; i < (int) lengthof(results); i++)
		if (strcmp(results[i], word) == 0)
			found = (ImFound) i;
	return found;
}

/* What was written says so of one of the rows at hand, though it was only counted now. */
static void
count_kept(Verify *verify, int64 id, ImFound kept)
{
	ListCell   *lc;

	foreach(lc, verify->rows)
	{
		const ImRow *row = lfirst(lc);

		if (row->id != id)
			continue;
		verify->counts[row->kind][row->check.found]--;
		verify->counts[row->kind][kept]++;
		return;
	}
}

/* Writes results, and counts what an earlier, closer look has found. */
static void
write_arrays(Verify *verify, Datum *args)
{
	uint64		n = im_statement(im_outbox_schema(verify->outbox), (ImKind) verify->kind, ST_CHECK_WRITE, args, NULL, 0);
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
		count_kept(verify, DatumGetInt64(im_statement_value(i, 1, &isnull)),
				   found_of(TextDatumGetCString(im_statement_value(i, 2, &isnull))));
}

/* What belongs to groups that are not there is not there either. */
static void
miss_their_rows(Verify *verify)
{
	Datum	   *ids = palloc(sizeof(Datum) * (list_length(verify->rows) + 1));
	Datum	   *keys = palloc(sizeof(Datum) * (list_length(verify->rows) + 1));
	int			n = 0;
	Datum		args[4];
	ListCell   *lc;

	foreach(lc, verify->rows)
	{
		ImRow	   *row = lfirst(lc);

		if (row->check.found != IM_FOUND_ABSENT)
			continue;
		keys[n] = PointerGetDatum(row->row_key);
		ids[n++] = Int64GetDatum(row->id);
	}
	if (n == 0)
		return;
	args[0] = PointerGetDatum(construct_array(ids, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[1] = Int64GetDatum(verify->ask.sdkappid);
	args[2] = PointerGetDatum(construct_array(keys, n, UUIDOID, sizeof(((ImRow *) NULL)->row_key),
											  false, TYPALIGN_CHAR));
	args[3] = TimestampTzGetDatum(verify->read_at);
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (im_commands[kind]->roomed && im_commands[kind]->checkup != NULL)
			verify->counts[kind][IM_FOUND_ABSENT] +=
				im_statement(im_outbox_schema(verify->outbox), (ImKind) kind, ST_CHECK_GROUP_GONE, args, NULL, 0);
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
	Datum	   *deep = palloc(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (n + 1));
	Datum		args[7];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		ImRow	   *row = list_nth(verify->rows, i);

		ids[i] = Int64GetDatum(row->id);
		keys[i] = PointerGetDatum(row->row_key);
		words[i] = CStringGetTextDatum(results[row->check.found]);
		fields[i] = fields_text(row, &nulls[i]);
		deep[i] = BoolGetDatum(!row->check.by_count);
		verify->counts[row->kind][row->check.found]++;
	}
	args[0] = PointerGetDatum(construct_array(ids, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[1] = PointerGetDatum(construct_array(words, n, TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_md_array(fields, nulls, 1, &n, &lower, TEXTOID, -1, false,
												 TYPALIGN_INT));
	args[3] = PointerGetDatum(construct_array(keys, n, UUIDOID, sizeof(((ImRow *) NULL)->row_key),
											  false, TYPALIGN_CHAR));
	args[4] = PointerGetDatum(construct_array(deep, n, BOOLOID, 1, true, TYPALIGN_CHAR));
	args[5] = Int64GetDatum(verify->ask.sdkappid);
	args[6] = TimestampTzGetDatum(verify->read_at);
	write_arrays(verify, args);
	if (im_commands[verify->kind]->makes_groups)
		miss_their_rows(verify);
}

/* Lists the rows of the next kind that has any; false at the end. */
static bool
list_next_kind(Verify *verify)
{
	MemoryContext old = MemoryContextSwitchTo(verify->list_ctx);

	while (verify->nread == verify->nids && verify->left > 0 && ++verify->kind < IM_OUTBOXES)
	{
		const ImCommand *command = im_commands[verify->kind];

		MemoryContextReset(verify->list_ctx);
		verify->nids = verify->nread = 0;
		if (command->checkup == NULL || (verify->only != NULL && command != verify->only))
			continue;
		verify->ids = im_queue_unchecked(command->kind, verify->checked_before, verify->deep, verify->left,
										 &verify->nids);
		im_ask_begin(&verify->ask, &command->checkup->each);
		verify->rooms = command->checkup->room.batch;
	}
	MemoryContextSwitchTo(old);
	return verify->nread < verify->nids;
}

/* Reads the next rows; NIL at the end. */
static void
read_rows(Verify *verify)
{
	verify->rows = NIL;
	verify->read_at = GetCurrentTimestamp();
	while (verify->rows == NIL && list_next_kind(verify))
	{
		/* Until one was answered, no more rows than one call takes. */
		int			n = (int) Min(verify->ask.proven ? READ_AT_ONCE : im_commands[verify->kind]->checkup->each.batch,
								  verify->nids - verify->nread);

		verify->rows = im_queue_to_check((ImKind) verify->kind, im_sender_app(verify->ask.sender),
										 verify->ids + verify->nread, n, verify->ctx);
		/* By ids: those whose row is no more are done with, too. */
		verify->nread += n;
	}
	verify->left -= list_length(verify->rows);
}

/* What was found in another app says nothing of this one. */
static void
forget_other_app(const Verify *verify)
{
	Datum		app = Int64GetDatum(verify->ask.sdkappid);
	uint64		n = im_statement(im_outbox_schema(verify->outbox), IM_GROUP, ST_CHECK_OTHER_APP, &app, NULL, 0);

	if (n > 0)
		ereport(NOTICE,
				(errmsg("im_import: " UINT64_FORMAT " results were of another app, and are forgotten", n)));
}

/*
 * In one transaction: options, the last results, the next rows.  Works in
 * verify->ctx, which is reset between the results and the rows.
 */
static void
write_and_read(Verify *verify)
{
	MemoryContext old = MemoryContextSwitchTo(verify->ctx);
	ImRights	saved;

	PushActiveSnapshot(GetTransactionSnapshot());
	verify->outbox = im_require_outbox();
	/* Before results are written: they are of the app that was asked. */
	im_ask_connect(&verify->ask);
	im_outbox_enter(&saved);
	if (verify->kind < 0)
		forget_other_app(verify);
	/* Before the context is reset, in which the results stand. */
	write_results(verify);
	MemoryContextReset(verify->ctx);
	read_rows(verify);
	im_outbox_leave(&saved);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
}

/* One row of each room: rows of one stand together. */
static List *
one_of_each_room(List *rows)
{
	List	   *reps = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);

		if (reps == NIL || strcmp(((ImRow *) llast(reps))->group_id, row->group_id) != 0)
			reps = lappend(reps, row);
	}
	return reps;
}

/*
 * Asks about whole rooms; what that does not decide is left, to be asked for row
 * by row.
 */
static List *
ask_rooms(Verify *verify, const ImCheckup *checkup)
{
	List	   *left = NIL;
	ImSeen		room = {0};
	const char *group_id = NULL;
	int			batch = verify->ask.batch;
	ListCell   *lc;

	verify->ask.batch = verify->rooms;
	im_ask(&verify->ask, &checkup->room, one_of_each_room(verify->rows));
	verify->rooms = verify->ask.batch;
	verify->ask.batch = batch;
	foreach(lc, verify->rows)
	{
		ImRow	   *row = lfirst(lc);

		if (group_id == NULL || strcmp(group_id, row->group_id) != 0)
		{
			room = row->check;
			group_id = row->group_id;
		}
		row->check.found = room.found;
		row->check.next_seq = room.next_seq;
		row->check.newest = room.newest;
		/* The group is there, but its numbers are not ours: the row is asked for. */
		if (room.found == IM_FOUND_SAME && !checkup->agrees(row))
			row->check.found = IM_FOUND_UNREADABLE;
		row->check.by_count = row->check.found == IM_FOUND_SAME;
		if (row->check.found == IM_FOUND_UNREADABLE)
			left = lappend(left, row);
	}
	return left;
}

/* Asks the service, until each row has an answer. */
static void
ask(Verify *verify)
{
	const ImCheckup *checkup = im_commands[verify->kind]->checkup;
	MemoryContext old = MemoryContextSwitchTo(verify->ctx);
	List	   *rows = verify->rows;

	if (checkup->room.op != IM_OP_NONE && !verify->deep)
		rows = ask_rooms(verify, checkup);
	im_ask(&verify->ask, &checkup->each, rows);
	MemoryContextSwitchTo(old);
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
					count_of(verify, IM_FOUND_OTHER), count_of(verify, IM_FOUND_ABSENT),
					count_of(verify, IM_FOUND_UNREADABLE))));
}

/* The results kind by kind, for a DETAIL. */
static char *
by_kind(const Verify *verify)
{
	static const ImFound order[] = {IM_FOUND_SAME, IM_FOUND_OTHER, IM_FOUND_ABSENT, IM_FOUND_UNREADABLE};
	StringInfoData buf;

	initStringInfo(&buf);
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		const int64 *counts = verify->counts[kind];
		const char *comma = "";

		if (counts[0] + counts[1] + counts[2] + counts[3] == 0)
			continue;
		appendStringInfo(&buf, "%s%s: ", buf.len > 0 ? "; " : "", im_commands[kind]->name);
		for (int i = 0; i < (int) lengthof(order); i++)
			if (counts[order[i]] > 0)
			{
				appendStringInfo(&buf, "%s" INT64_FORMAT " %s", comma, counts[order[i]], results[order[i]]);
				comma = ", ";
			}
	}
	if (buf.len > 0)
		appendStringInfoChar(&buf, '.');
	return buf.data;
}

/* Says what came of it, as an ERROR if the caller wants that of a difference. */
static void
conclude(const Verify *verify, bool raise)
{
	bool		good = checked(verify) == count_of(verify, IM_FOUND_SAME);
	char	   *kinds = by_kind(verify);

	ereport(raise && !good ? ERROR : NOTICE,
			(errcode(raise && !good ? ERRCODE_DATA_EXCEPTION : ERRCODE_SUCCESSFUL_COMPLETION),
			 errmsg("im_import: " INT64_FORMAT " rows checked: " INT64_FORMAT " matched, "
					INT64_FORMAT " differ, " INT64_FORMAT " missing, " INT64_FORMAT " unreadable",
					checked(verify), count_of(verify, IM_FOUND_SAME), count_of(verify, IM_FOUND_OTHER),
					count_of(verify, IM_FOUND_ABSENT), count_of(verify, IM_FOUND_UNREADABLE)),
			 kinds[0] != '\0' ? errdetail("%s", kinds) : 0,
			 good ? 0 :
			 errhint("See im_import_verify_summary, and im_import_verified for each row.")));
}

/* The kind that an argument names. */
static const ImCommand *
kind_argument(FunctionCallInfo fcinfo, int i)
{
	const ImCommand *command;
	char	   *name;

	if (PG_ARGISNULL(i))
		return NULL;
	name = text_to_cstring(PG_GETARG_TEXT_PP(i));
	command = im_command_find(name);
	if (command == NULL || command->checkup == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of kind \"%s\" cannot be compared with the app", name),
				 errhint("The kinds are %s; leave kind out to compare all of them.%s%s", im_command_names(true),
						 command != NULL ? " " : "", command != NULL ? command->not_compared : "")));
	return command;
}

/* The arguments, as far as they concern which rows. */
static void
set_up(Verify *verify, FunctionCallInfo fcinfo)
{
	verify->ask.slot = im_require_slot();
	verify->ask.again = "What was checked is kept: CALL im_import_verify() again, and it goes on from there. im_import_doctor() tries the connection.";
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
	verify->deep = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	verify->only = kind_argument(fcinfo, 4);
	verify->kind = -1;
	verify->told_at = im_now_us();
	verify->list_ctx = AllocSetContextCreate(PortalContext, "im_import verify list", ALLOCSET_DEFAULT_SIZES);
	verify->ctx = AllocSetContextCreate(PortalContext, "im_import verify", ALLOCSET_DEFAULT_SIZES);
}

/* im_import_verify(max_rows, again, raise_on_difference, deep, kind) */
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
		/* Before the service is asked: what was written stays. */
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
