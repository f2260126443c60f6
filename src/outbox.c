/*
 * outbox.c
 *	  The outbox seen from C: claim, settle, recover, adopt.
 *
 * Nothing here waits for a person: the table is locked conditionally, rows
 * with SKIP LOCKED, and what cannot be had now is left for later.  The
 * statements themselves stand in statements.c.
 *
 * New rows are found by id above a watermark, because the index entries of
 * rows that were just claimed stay behind dead until a vacuum, or as long as
 * somebody holds an old snapshot.
 *
 * Must not know: HTTP, signatures, shared memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cmd_group.h"
#include "encoding.h"
#include "errcodes.h"
#include "outbox.h"
#include "protocol.h"
#include "statements.h"
#include "tally.h"
#include "text.h"

#define TABLE_NAME			"im_group_outbox"
#define GONE_SHOWN			500	/* deleted rows that a message names */
#define ATTEMPTS_MAX		1000000 /* as in ST_MARK; no sum can overflow */

/* Where ours stand in CLAIM_COLUMNS. */
enum
{
	COL_ID, COL_ATTEMPTS, COL_MAYBE_SENT_AT, COL_ROW_KEY, COL_CLAIM, COL_GROUP_ID
};

struct ImOutbox
{
	ImInstalled installed;		/* as of the last look */
	Oid			schema;			/* of the extension */
	Oid			relid;
	Oid			owner;
	int64		watermark;		/* no new row at or below it, as far as seen */
	bool		is_sender;		/* this process is the worker */
	ImTally		difference;		/* of the current transaction, worker only */
	int64		created;		/* groups not yet in im_import_days ... */
	int64		writing;		/* ... of which the current transaction writes */
	int64		groups_today;	/* those included; see im_outbox_groups_today() */
	ImRecordMap *map;			/* of CLAIM_COLUMNS, for rows of map_desc */
	TupleDesc	map_desc;
	MemoryContext map_ctx;
};

/* See outbox.h. */
ImOutbox *
im_outbox_get(void)
{
	static ImOutbox *outbox = NULL;

	if (outbox == NULL)
		outbox = MemoryContextAllocZero(TopMemoryContext, sizeof(ImOutbox));
	return outbox;
}

/* See outbox.h. */
void
im_outbox_become_sender(void)
{
	im_outbox_get()->is_sender = true;
}

/* See outbox.h. */
bool
im_outbox_is_sender(void)
{
	return im_outbox_get()->is_sender;
}

/* Notes for the tally that n of our rows went from one status to another. */
static void
moved(ImOutbox *outbox, ImStatus from, ImStatus to, int64 n)
{
	outbox->difference.by_status[from] -= n;
	outbox->difference.by_status[to] += n;
}

/* See outbox.h. */
ImInstalled
im_outbox_look(ImOutbox *outbox)
{
	ImExtension extension;
	Oid			relid;

	outbox->installed = IM_INSTALLED_NOT;
	if (!im_extension_read(&extension))
		return outbox->installed;
	relid = get_relname_relid(TABLE_NAME, extension.schema);
	outbox->installed = extension.known && OidIsValid(relid) ? IM_INSTALLED : IM_INSTALLED_OTHER;
	if (outbox->installed != IM_INSTALLED)
		return outbox->installed;
	if (extension.schema != outbox->schema || relid != outbox->relid)
		outbox->watermark = PG_INT64_MIN;
	outbox->schema = extension.schema;
	outbox->relid = relid;
	outbox->owner = extension.owner;
	return outbox->installed;
}

/* See outbox.h. */
ImInstalled
im_outbox_installed(const ImOutbox *outbox)
{
	return outbox->installed;
}

/* See outbox.h. */
Oid
im_outbox_schema(const ImOutbox *outbox)
{
	return outbox->schema;
}

/* See outbox.h. */
void
im_outbox_enter(ImRights *saved)
{
	MemoryContext caller = CurrentMemoryContext;

	GetUserIdAndSecContext(&saved->user, &saved->context);
	saved->guc_level = NewGUCNestLevel();
	if (!im_outbox_is_sender())	/* the worker's own is locked for good */
		(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(im_outbox_get()->owner,
						   saved->context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* What is made here is the caller's, not to go with SPI_finish(). */
	MemoryContextSwitchTo(caller);
}

/* See outbox.h. */
void
im_outbox_leave(const ImRights *saved)
{
	SPI_finish();
	SetUserIdAndSecContext(saved->user, saved->context);
	AtEOXact_GUC(false, saved->guc_level);
}

/* The body of im_outbox_run() that may raise. */
static void
run_transaction(void (*fn) (void *arg), void *arg)
{
	ImOutbox   *outbox = im_outbox_get();
	MemoryContext caller = CurrentMemoryContext;
	ImRights	saved;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(caller);
	if (im_outbox_look(outbox) == IM_INSTALLED)
	{
		im_outbox_enter(&saved);
		memset(&outbox->difference, 0, sizeof(outbox->difference));
		outbox->writing = 0;
		fn(arg);
		if (outbox->is_sender)
			im_tally_add(outbox->schema, im_origin(), &outbox->difference);
		im_outbox_leave(&saved);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	outbox->created -= outbox->writing;
	outbox->writing = 0;
	pgstat_report_stat(false);
}

/* See outbox.h. */
bool
im_outbox_run(void (*fn) (void *arg), void *arg, char **failed)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		run_transaction(fn, arg);
	}
	PG_CATCH();
	{
		/* Cancel nothing here: the outcomes in memory must survive. */
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(caller);
		if (failed != NULL)
		{
			ErrorData  *edata = CopyErrorData();

			*failed = pstrdup(edata->message ? edata->message : "unknown error");
			FreeErrorData(edata);
		}
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return ok;
}

/* See outbox.h. */
bool
im_outbox_keep_count(ImOutbox *outbox, bool insist)
{
	ImTally		all;
	int64		foreign_open;

	/* The outbox before the tally, as a TRUNCATE takes them; and no waiting. */
	if (!ConditionalLockRelationOid(outbox->relid, AccessShareLock) ||
		!ConditionalLockRelationOid(get_relname_relid("im_import_tally", outbox->schema),
									RowExclusiveLock))
		return false;

	if (im_tally_read(outbox->schema, &all, &foreign_open))
	{
		im_tally_fold(outbox->schema);
		return true;
	}
	if (insist)
		LockRelationOid(outbox->relid, ShareLock);
	else if (!ConditionalLockRelationOid(outbox->relid, ShareLock))
		return false;
	im_tally_recount(outbox->schema);
	return true;
}

/* See outbox.h. */
bool
im_outbox_try_lock(ImOutbox *outbox)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(outbox->relid, RowExclusiveLock))
		return false;
	rel = try_table_open(outbox->relid, NoLock);
	if (rel == NULL)
		return false;			/* dropped just now */
	im_check_columns(RelationGetDescr(rel), TABLE_NAME);
	im_statements_grown(RelationGetNumberOfBlocks(rel));
	table_close(rel, NoLock);
	return true;
}

/* Runs a statement on this outbox; see im_statement(). */
static uint64
execute(ImOutbox *outbox, ImStatement id, Datum *values, const char *nulls, long limit)
{
	return im_statement(outbox->schema, id, values, nulls, limit);
}

/* An array of bigint. */
static Datum
int8_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* ------------------------------------------------------------------------
 * Control, fence
 */

/* Reads the last result, a row of im_import_control. */
static void
take_control(ImControl *control)
{
	bool		isnull;
	Datum		value;

	control->moved = !RecoveryInProgress() &&
		DatumGetInt64(im_statement_value(0, 1, &isnull)) != (int64) GetWALInsertionTimeLine();
	im_statement_value(0, 2, &isnull);
	control->paused = !isnull;
	if (control->paused)
	{
		char	   *by = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
		char	   *why = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4);

		why = psprintf("paused by %s%s%s", by ? by : "somebody", why ? ": " : "", why ? why : "");
		why = im_text_as_utf8(why);
		im_text_clean(why, strlen(why), control->reason, sizeof(control->reason));
	}
	value = im_statement_value(0, 5, &isnull);
	control->groups_today = isnull ? 0 : DatumGetInt64(value);
}

/* Whether a person must first say that this copy of the database may send. */
static void
judge_fence(ImControl *control)
{
	control->fence_reason = "";
	if (im_origin_elsewhere())
		control->fence_reason = "the server was made in another database, of which this one is a copy "
			"(a restored dump, a template, an upgraded cluster): if the other one sends no more, SELECT im_import_adopt()";
	else if (control->moved)
		control->fence_reason = "this server's timeline has changed (promotion, or a restored backup): "
			"if no other copy sends, SELECT im_import_adopt()";
	control->fenced = control->fence_reason[0] != '\0';
}

/* See outbox.h. */
void
im_outbox_control(ImOutbox *outbox, const ImApp *app, ImControl *control)
{
	Datum		args[2] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};

	if (!im_outbox_read_control(outbox, control))
		execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	if (control->moved && app != NULL && app->continue_after_promotion)
	{
		im_outbox_adopt(outbox, false, app);
		control->moved = false;
		judge_fence(control);
	}
	outbox->groups_today = control->groups_today + outbox->created;
}

/* See outbox.h. */
void
im_outbox_pause(ImOutbox *outbox, bool paused, const char *by, const char *reason)
{
	Datum		args[4] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};
	char		nulls[4] = {' ', ' ', ' ', reason ? ' ' : 'n'};

	execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	args[1] = BoolGetDatum(paused);
	args[2] = CStringGetTextDatum(by);
	args[3] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	execute(outbox, ST_CONTROL_PAUSE, args, nulls, 0);
}

/* Adopts one kind of open rows; the protocol says what becomes of them. */
static int64
adopt_kind(ImOutbox *outbox, ImIdKind id_kind, bool foreign, bool own, bool assigned_ids)
{
	ImNext		next;
	static const ImStatus open[] = {IM_PENDING, IM_SENDING};
	Datum		args[9];
	char		nulls[] = "         ";
	int64		total = 0;

	im_protocol_adopt(id_kind, 0, &next);
	args[0] = Int64GetDatum(im_origin());
	args[1] = BoolGetDatum(foreign);
	args[2] = BoolGetDatum(own);
	args[3] = BoolGetDatum(id_kind == IM_ID_ASSIGNED);
	args[4] = CStringGetTextDatum(im_status_name(next.status));
	args[5] = Int32GetDatum(IM_CODE_ADOPTED);
	if (next.reason != NULL)
		args[6] = CStringGetTextDatum(next.reason);
	else
		nulls[5] = nulls[6] = 'n';
	args[7] = BoolGetDatum(assigned_ids);
	for (int i = 0; i < (int) lengthof(open); i++)
	{
		int64		n;

		args[8] = CStringGetTextDatum(im_status_name(open[i]));
		n = (int64) execute(outbox, ST_ADOPT, args, nulls, 0);
		moved(outbox, open[i], next.status, n);
		total += n;
	}
	return total;
}

/* See outbox.h. */
int64
im_outbox_adopt(ImOutbox *outbox, bool foreign, const ImApp *app)
{
	Datum		args[2] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};
	bool		assigned = app != NULL && app->assigned_ids;
	bool		own = false;
	bool		isnull;
	int64		n;

	execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	execute(outbox, ST_CONTROL, args, NULL, 1);
	own = DatumGetInt64(im_statement_value(0, 1, &isnull)) != DatumGetInt64(args[1]);
	n = adopt_kind(outbox, IM_ID_OWN, foreign, own, assigned);
	n += adopt_kind(outbox, IM_ID_ASSIGNED, foreign, own, assigned);

	/*
	 * After a change of timeline a failed row may have been repaired and
	 * imported in the part of history that was lost: a retry must find out.
	 */
	if (own)
		execute(outbox, ST_DOUBT_CLOSED, args, NULL, 0);
	execute(outbox, ST_CONTROL_TIMELINE, args, NULL, 0);
	return n;
}

/* ------------------------------------------------------------------------
 * Recovery
 */

/* Recovers one kind of rows; the protocol says what becomes of them. */
static void
recover_kind(ImOutbox *outbox, ImIdKind id_kind, Datum live)
{
	ImNext		next;
	Datum		args[6];
	char		nulls[] = "      ";
	uint64		n;

	im_protocol_recover(id_kind, 1, &next);
	args[0] = Int64GetDatum(im_origin());
	args[1] = BoolGetDatum(id_kind == IM_ID_ASSIGNED);
	args[2] = CStringGetTextDatum(im_status_name(next.status));
	args[3] = Int32GetDatum(IM_CODE_CRASHED);
	if (next.reason != NULL)
		args[4] = CStringGetTextDatum(next.reason);
	else
		nulls[4] = 'n';
	args[5] = live;
	n = execute(outbox, ST_RECOVER, args, nulls, 0);
	moved(outbox, IM_SENDING, next.status, (int64) n);
	outbox->created += (int64) n;	/* each may have created a group */
	outbox->groups_today += (int64) n;
	if (n > 0)
		ereport(LOG,
				(errmsg("im_import: recovered " UINT64_FORMAT " rows whose sender had died, now %s",
						n, im_status_name(next.status)),
				 next.status == IM_IN_DOUBT ?
				 errhint("Each waits for im_import_resolve(): SELECT * FROM im_import_failures WHERE status = 'in_doubt'.") :
				 errhint("Nothing to do: they are sent again under the same GroupId.")));
}

/* See outbox.h. */
bool
im_outbox_recover(ImOutbox *outbox, List *live)
{
	Datum	   *claims = palloc(sizeof(Datum) * (list_length(live) + 1));
	Datum		args[2];
	int			n = 0;
	ListCell   *lc;

	/*
	 * By claim, not by row: an old outcome of a row that was claimed again in
	 * a transaction of unknown end must not shield it.
	 */
	foreach(lc, live)
		claims[n++] = Int64GetDatum(((ImCall *) lfirst(lc))->claim);
	args[0] = Int64GetDatum(im_origin());
	args[1] = int8_array(claims, n);

	recover_kind(outbox, IM_ID_OWN, args[1]);
	recover_kind(outbox, IM_ID_ASSIGNED, args[1]);
	execute(outbox, ST_CAP_DUE, args, NULL, 0);
	return execute(outbox, ST_ANY_DEAD, args, NULL, 1) == 0;
}

/* ------------------------------------------------------------------------
 * Claim
 */

/* True if rows of the two look alike: the query is the same, types may not be. */
static bool
same_types(TupleDesc a, TupleDesc b)
{
	if (a->natts != b->natts)
		return false;
	for (int i = 0; i < a->natts; i++)
		if (TupleDescAttr(a, i)->atttypid != TupleDescAttr(b, i)->atttypid)
			return false;
	return true;
}

/*
 * Where the fields stand in the rows of a claim query, found once for each
 * descriptor: a column may be given another type while we live.
 */
static const ImRecordMap *
map_of(ImOutbox *outbox, TupleDesc desc)
{
	MemoryContext old;

	if (outbox->map != NULL && same_types(outbox->map_desc, desc))
		return outbox->map;
	outbox->map = NULL;
	if (outbox->map_ctx == NULL)
		outbox->map_ctx = AllocSetContextCreate(TopMemoryContext, "im_import columns",
												ALLOCSET_SMALL_SIZES);
	im_check_columns(desc, TABLE_NAME);
	MemoryContextReset(outbox->map_ctx);
	old = MemoryContextSwitchTo(outbox->map_ctx);
	outbox->map_desc = CreateTupleDescCopy(desc);
	outbox->map = im_record_map(&im_cmd_group, desc);
	MemoryContextSwitchTo(old);
	return outbox->map;
}

/* Copies what record.c has encoded into the call, in the calls' context. */
static void
keep_item(ImCall *call, const ImItem *item, MemoryContext ctx)
{
	strlcpy(call->group_id, item->group_id, sizeof(call->group_id));
	call->body = MemoryContextAlloc(ctx, item->json.len + 1);
	memcpy(call->body, item->json.data, item->json.len + 1);
	call->body_len = item->json.len;
	if (item->problems != NIL)
	{
		call->problems = MemoryContextStrdup(ctx, im_text_as_utf8(im_item_problem_text(item)));
		call->problem_code = item->problem_code;
	}
}

/* Monotonic time in microseconds. */
static int64
mono_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* Fills a new call's row: what the protocol must know to decide. */
static void
keep_row(ImCall *call, const Datum *values, const bool *nulls, const ImApp *app,
		 ImSteady *steady)
{
	call->id = DatumGetInt64(values[COL_ID]);
	memcpy(call->row_key, DatumGetUUIDP(values[COL_ROW_KEY])->data, UUID_LEN);
	call->request = -1;
	call->op = IM_OP_IMPORT_GROUP;
	call->row.attempts = Min(DatumGetInt32(values[COL_ATTEMPTS]), ATTEMPTS_MAX) + 1;
	call->claim = nulls[COL_CLAIM] ? 0 : DatumGetInt64(values[COL_CLAIM]);
	call->row.maybe_sent = !nulls[COL_MAYBE_SENT_AT];
	if (call->row.maybe_sent)
	{
		call->suspect_at = DatumGetTimestampTz(values[COL_MAYBE_SENT_AT]);
		call->row.suspect_ms = im_steady_age_ms(steady, call->suspect_at, GetCurrentTimestamp(),
												mono_us());
	}
	call->row.id_kind = nulls[COL_GROUP_ID] && app->assigned_ids ? IM_ID_ASSIGNED : IM_ID_OWN;
}

/* One row of a claim query becomes a call with its first decision. */
static ImCall *
make_call(ImOutbox *outbox, ImClaim *claim, HeapTuple tuple, TupleDesc desc)
{
	const ImRecordMap *map = map_of(outbox, desc);
	ImPolicy	policy = {.max_attempts = claim->app->max_attempts};
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];
	char		generated[IM_GROUP_ID_MAX + 1];
	ImEncoding	encoding = {.limits = claim->app->text_limits};
	ImItem		item;
	ImCall	   *call = MemoryContextAllocZero(claim->ctx, sizeof(ImCall));
	bool		generate;

	heap_deform_tuple(tuple, desc, values, nulls);
	keep_row(call, values, nulls, claim->app, claim->steady);
	generate = nulls[COL_GROUP_ID] && call->row.id_kind == IM_ID_OWN;
	if (generate)
		im_group_generate_id(DatumGetUUIDP(values[COL_ROW_KEY])->data,
							 im_group_is_community(map, values, nulls), generated);
	encoding.group_id = generate ? generated : NULL;
	im_record_encode(map, values, nulls, &encoding, &item);
	keep_item(call, &item, claim->ctx);
	im_protocol_claim(&call->row, call->problems != NULL, &policy, &call->next);
	return call;
}

/* See outbox.h. */
List *
im_outbox_unchecked(ImOutbox *outbox, const ImApp *app, int64 after,
					TimestampTz checked_before, int want, MemoryContext ctx)
{
	ImSteady	steady = {0};	/* these rows are imported: no doubt is judged */
	ImClaim		claim = {.app = app, .ctx = ctx, .steady = &steady};
	Datum		args[3] = {Int64GetDatum(after), TimestampTzGetDatum(checked_before),
	Int64GetDatum(want)};
	MemoryContext old = MemoryContextSwitchTo(ctx);
	uint64		n = im_statement(outbox->schema, ST_CHECK_NEXT, args, NULL, 0);
	List	   *rows = NIL;

	for (uint64 i = 0; i < n; i++)
		rows = lappend(rows, make_call(outbox, &claim, SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	MemoryContextSwitchTo(old);
	return rows;
}

/* Sorts a fresh call: to be sent, to be looked up, or settled here and now. */
static void
place_call(ImClaim *claim, ImCall *call)
{
	if (call->next.act == IM_ACT_LOOKUP)
	{
		call->op = IM_OP_GET_GROUP_INFO;
		call->row.why = call->next.why;
		if (call->group_id[0] == '\0')
		{
			/* No usable id to ask for: only a person can tell. */
			ImVerdict	nothing = {.outcome = IM_OUT_UNREADABLE, .answered = true};
			ImPolicy	last = {.max_attempts = 0};

			im_protocol_judge(&call->row, &nothing, &last, true, 0, &call->next);
		}
	}
	if (call->next.act == IM_ACT_SETTLE)
		claim->settled = lappend(claim->settled, call);
	else
		claim->calls = lappend(claim->calls, call);
}

/* Makes calls of all rows of the last result. Returns the highest id. */
static int64
take_rows(ImOutbox *outbox, ImClaim *claim, int request)
{
	SPITupleTable *table = SPI_tuptable;
	uint64		n = SPI_processed;
	int64		last = PG_INT64_MIN;

	for (uint64 i = 0; i < n; i++)
	{
		ImCall	   *call = make_call(outbox, claim, table->vals[i], table->tupdesc);

		call->request = request;
		last = Max(last, call->id);
		place_call(claim, call);
	}
	SPI_freetuptable(table);
	return last;
}

/* Claims what sessions asked for, each by its own row. */
static void
take_asked(ImOutbox *outbox, ImClaim *claim)
{
	ListCell   *lc;

	foreach(lc, claim->asked)
	{
		ImAsked    *asked = lfirst(lc);
		pg_uuid_t	key;
		Datum		args[3];

		memcpy(key.data, asked->row_key, UUID_LEN);
		args[0] = Int64GetDatum(im_origin());
		args[1] = Int64GetDatum(asked->id);
		args[2] = UUIDPGetDatum(&key);
		execute(outbox, ST_CLAIM_ASKED, args, NULL, 0);
		take_rows(outbox, claim, asked->request);
	}
}

/* Claims in the outbox's own order: due retries, then new rows. */
static void
take_next(ImOutbox *outbox, ImClaim *claim)
{
	Datum		args[3] = {Int64GetDatum(im_origin())};
	int			want = claim->want;
	int64		last;

	args[1] = Int64GetDatum(want);
	want -= (int) execute(outbox, ST_CLAIM_DUE, args, NULL, 0);
	take_rows(outbox, claim, -1);
	if (want <= 0)
		return;

	if (claim->rescan)
		outbox->watermark = PG_INT64_MIN;
	args[1] = Int64GetDatum(outbox->watermark);
	args[2] = Int64GetDatum(want);
	claim->short_scan = execute(outbox, ST_CLAIM_NEW, args, NULL, 0) < (uint64) want;
	last = take_rows(outbox, claim, -1);
	if (last > outbox->watermark)
		outbox->watermark = last;
}

/* A token that no other claim has. */
static int64
new_token(void)
{
	int64		token;

	if (!pg_strong_random(&token, sizeof(token)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random claim token")));
	return token;
}

/* Writes the claim into the rows: from its commit on they are ours. */
static void
mark(ImOutbox *outbox, List *calls)
{
	int			n = list_length(calls);
	Datum	   *ids = palloc(sizeof(Datum) * (n + 1));
	Datum	   *groups = palloc(sizeof(Datum) * (n + 1));
	bool	   *no_group = palloc(sizeof(bool) * (n + 1));
	Datum	   *sends = palloc(sizeof(Datum) * (n + 1));
	int64		token = new_token();
	int			lower = 1;
	Datum		args[4];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		ImCall	   *call = list_nth(calls, i);

		call->claim = token;
		ids[i] = Int64GetDatum(call->id);
		no_group[i] = call->group_id[0] == '\0';
		groups[i] = no_group[i] ? (Datum) 0 : CStringGetTextDatum(im_text_from_utf8(call->group_id));
		sends[i] = BoolGetDatum(call->op == IM_OP_IMPORT_GROUP);
	}
	args[0] = int8_array(ids, n);
	args[1] = PointerGetDatum(construct_md_array(groups, no_group, 1, &n, &lower,
												 TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(sends, n, BOOLOID, 1, true, TYPALIGN_CHAR));
	args[3] = Int64GetDatum(token);
	moved(outbox, IM_PENDING, IM_SENDING, (int64) execute(outbox, ST_MARK, args, NULL, 0));
}

/* ------------------------------------------------------------------------
 * Settle
 */

/* One column of the arrays that ST_SETTLE takes. */
typedef struct Column
{
	Datum	   *values;
	bool	   *nulls;
} Column;

enum
{
	SET_ID, SET_CLAIM, SET_STATUS, SET_ATTEMPTS, SET_GROUP, SET_CODE, SET_INFO, SET_DUE,
	SET_MAYBE, SET_ROW_KEY, SET_COLUMNS
};

/* Code and words for the row; false if what stands there shall stay. */
static bool
describe(const ImCall *call, int32 *code, char **info)
{
	const ImNext *next = &call->next;
	const char *said = call->reply.info;

	*code = call->verdict.code;
	if (call->problems != NULL &&
		(call->row.why == IM_WHY_NONE || next->status == IM_INVALID))
	{
		*code = call->problem_code;
		*info = im_text_from_utf8(call->problems);
		return true;
	}
	/* A lookup that finds nothing reports the refusal that led to it. */
	if (call->refusal_code != 0 &&
		(call->verdict.outcome == IM_OUT_ABSENT || call->verdict.outcome == IM_OUT_UNREADABLE))
	{
		*code = call->refusal_code;
		said = call->refusal_info;
	}
	else if (call->verdict.outcome == IM_OUT_ABSENT)
		said = "";
	if (*code == 0 && next->reason == NULL)
		return false;
	if (said[0] == '\0' && next->reason == NULL)
		said = im_error_find(*code)->meaning;	/* never a code without words */
	if (next->reason == NULL)
		*info = im_text_from_utf8(said);
	else
		*info = psprintf("%s%s%s", said[0] ? im_text_from_utf8(said) : "", said[0] ? "; " : "",
						 next->reason);
	return true;
}

/* Puts one outcome into row i of the arrays. */
static void
fill(Column *columns, int i, ImCall *call)
{
	const ImNext *next = &call->next;
	int32		code;
	char	   *info = NULL;
	bool		says = describe(call, &code, &info);
	bool		assigned = next->status == IM_IMPORTED && call->row.id_kind == IM_ID_ASSIGNED;

	for (int c = 0; c < SET_COLUMNS; c++)
		columns[c].nulls[i] = false;
	columns[SET_ID].values[i] = Int64GetDatum(call->id);
	columns[SET_ROW_KEY].values[i] = PointerGetDatum(call->row_key);
	columns[SET_CLAIM].values[i] = Int64GetDatum(call->claim);
	columns[SET_CLAIM].nulls[i] = call->claim == 0;
	columns[SET_STATUS].values[i] = CStringGetTextDatum(im_status_name(next->status));
	columns[SET_ATTEMPTS].values[i] = Int32GetDatum(next->attempts);
	columns[SET_GROUP].nulls[i] = !assigned;
	if (assigned)
		columns[SET_GROUP].values[i] = CStringGetTextDatum(im_text_from_utf8(call->reply.group_id));
	columns[SET_CODE].nulls[i] = !says || code == 0;
	columns[SET_CODE].values[i] = Int32GetDatum(code);
	columns[SET_INFO].nulls[i] = !says;
	if (says)
		columns[SET_INFO].values[i] = CStringGetTextDatum(info);
	columns[SET_DUE].nulls[i] = next->status != IM_PENDING;
	columns[SET_DUE].values[i] = TimestampTzGetDatum(call->judged_at + next->delay_ms * 1000);
	columns[SET_MAYBE].nulls[i] = !next->maybe_sent;
	columns[SET_MAYBE].values[i] = TimestampTzGetDatum(next->suspect_now ? call->judged_at
													   : call->suspect_at);
}

/* The arrays as arguments of ST_SETTLE. */
static void
write_rows(ImOutbox *outbox, List *calls, ImStatus from)
{
	static const Oid types[SET_COLUMNS] = {INT8OID, INT8OID, TEXTOID, INT4OID, TEXTOID,
	INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID};
	Column		columns[SET_COLUMNS];
	Datum		args[SET_COLUMNS];
	int			n = list_length(calls);
	int			lower = 1;

	for (int c = 0; c < SET_COLUMNS; c++)
	{
		columns[c].values = palloc0(sizeof(Datum) * n);
		columns[c].nulls = palloc(sizeof(bool) * n);
	}
	for (int i = 0; i < n; i++)
		fill(columns, i, list_nth(calls, i));
	for (int c = 0; c < SET_COLUMNS; c++)
	{
		int16		len;
		bool		byval;
		char		align;

		get_typlenbyvalalign(types[c], &len, &byval, &align);
		args[c] = PointerGetDatum(construct_md_array(columns[c].values, columns[c].nulls, 1, &n,
													 &lower, types[c], len, byval, align));
	}
	n = (int) execute(outbox, ST_SETTLE, args, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		ImStatus	to;

		if (name != NULL && im_status_parse(name, &to))
			moved(outbox, from, to, 1);
	}
}

/* See outbox.h. */
void
im_outbox_note_group(ImOutbox *outbox)
{
	outbox->created++;
	outbox->groups_today++;
}

/* See outbox.h. */
int64
im_outbox_groups_today(const ImOutbox *outbox)
{
	return outbox->groups_today;
}

/* See outbox.h. */
void
im_outbox_write_day(ImOutbox *outbox)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), Int64GetDatum(outbox->created)};

	if (outbox->created == 0)
		return;
	execute(outbox, ST_COUNT_DAY, args, NULL, 0);
	outbox->writing = outbox->created;	/* which a rollback forgets */
}

/* Compares row keys for qsort and bsearch. */
static int
compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/*
 * The row keys that a statement with arrays of ids and row keys returns, sorted.
 * Not ids: two calls may have the same one, for a row that is gone and for the
 * one that has its id now.
 */
static pg_uuid_t *
select_rows(ImOutbox *outbox, ImStatement statement, List *calls, int *n)
{
	Datum	   *ids = palloc(sizeof(Datum) * (list_length(calls) + 1));
	Datum	   *keys = palloc(sizeof(Datum) * (list_length(calls) + 1));
	pg_uuid_t  *found;
	Datum		args[2];
	bool		isnull;
	ListCell   *lc;

	*n = 0;
	foreach(lc, calls)
	{
		ImCall	   *call = lfirst(lc);

		ids[*n] = Int64GetDatum(call->id);
		keys[(*n)++] = PointerGetDatum(call->row_key);
	}
	args[0] = int8_array(ids, *n);
	args[1] = PointerGetDatum(construct_array(keys, *n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	*n = (int) execute(outbox, statement, args, NULL, 0);
	found = palloc(sizeof(pg_uuid_t) * (*n + 1));
	for (int i = 0; i < *n; i++)
		found[i] = *DatumGetUUIDP(im_statement_value(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	qsort(found, *n, sizeof(pg_uuid_t), compare_keys);
	return found;
}

/* Splits calls by whether their row's key is among keys. */
static void
split(List *calls, const pg_uuid_t *keys, int n, List **in, List **out)
{
	ListCell   *lc;

	foreach(lc, calls)
	{
		ImCall	   *call = lfirst(lc);

		if (bsearch(call->row_key, keys, n, sizeof(pg_uuid_t), compare_keys) != NULL)
			*in = lappend(*in, call);
		else
			*out = lappend(*out, call);
	}
}

/* Rows that nobody can write to any more: the log is all that is left of them. */
static void
report_gone(List *gone)
{
	StringInfoData which;

	initStringInfo(&which);
	for (int i = 0; i < list_length(gone) && i < GONE_SHOWN; i++)
	{
		const ImCall *call = list_nth(gone, i);
		const char *group_id = call->group_id[0] ? call->group_id : call->reply.group_id;

		appendStringInfo(&which, "%srow " INT64_FORMAT " with GroupId \"%s\"", i > 0 ? ", " : "",
						 call->id, im_text_from_utf8(group_id));
	}
	ereport(LOG,
			(errmsg("im_import: %d outbox rows were deleted or replaced while they were being sent",
					list_length(gone)),
			 errdetail("Their groups may exist in the app: %s%s.", which.data,
					   list_length(gone) > GONE_SHOWN ? ", ..." : ""),
			 errhint("To import such a group anew, insert a row with the same group_id and content.")));
}

/* See outbox.h. */
void
im_outbox_settle(ImOutbox *outbox, List **calls, List **done)
{
	List	   *mine = NIL;
	List	   *missing = NIL;
	List	   *locked = NIL;
	List	   *gone = NIL;
	pg_uuid_t  *keys;
	int			n;

	if (*calls == NIL)
		return;
	keys = select_rows(outbox, ST_LOCKABLE, *calls, &n);
	split(*calls, keys, n, &mine, &missing);
	if (mine != NIL)
		write_rows(outbox, mine, IM_SENDING);
	if (missing != NIL)
	{
		keys = select_rows(outbox, ST_EXISTING, missing, &n);
		split(missing, keys, n, &locked, &gone);
	}
	if (gone != NIL)
		report_gone(gone);
	*calls = locked;
	*done = list_concat(list_concat(*done, mine), gone);
}

/*
 * Writes what a claim has decided since the last time: rows that end here,
 * and rows that are ours now.
 */
static void
write_claim(ImOutbox *outbox, ImClaim *claim)
{
	List	   *settled = list_copy_tail(claim->settled, claim->nsettled);
	ListCell   *lc;

	mark(outbox, list_copy_tail(claim->calls, claim->ncalls));
	foreach(lc, settled)
		((ImCall *) lfirst(lc))->judged_at = GetCurrentTimestamp();
	if (settled != NIL)
		write_rows(outbox, settled, IM_PENDING);
	claim->ncalls = list_length(claim->calls);
	claim->nsettled = list_length(claim->settled);
}

/* See outbox.h. */
void
im_outbox_claim(ImOutbox *outbox, ImClaim *claim)
{
	/* Our own row locks do not hide rows from us: their new status must. */
	take_asked(outbox, claim);
	write_claim(outbox, claim);
	if (claim->want <= 0)
		return;
	take_next(outbox, claim);
	write_claim(outbox, claim);
}

/* ------------------------------------------------------------------------
 * Questions
 */

/* See outbox.h. */
TimestampTz
im_outbox_next_due(ImOutbox *outbox)
{
	Datum		arg = Int64GetDatum(im_origin());
	bool		isnull;

	if (execute(outbox, ST_NEXT_DUE, &arg, NULL, 1) == 0)
		return 0;
	return DatumGetTimestampTz(im_statement_value(0, 1, &isnull));
}

/* See outbox.h. */
bool
im_outbox_has_open(ImOutbox *outbox)
{
	Datum		arg = Int64GetDatum(im_origin());

	return execute(outbox, ST_HAS_OPEN, &arg, NULL, 1) > 0;
}

/* See outbox.h. */
void
im_outbox_count(ImOutbox *outbox, int64 watermark, ImCounts *counts)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), Int64GetDatum(watermark)};
	bool		isnull;

	memset(counts, 0, sizeof(*counts));
	counts->exact = im_tally_read(outbox->schema, &counts->rows, &counts->foreign_open);
	if (counts->exact && counts->rows.by_status[IM_PENDING] == 0)
		return;
	if (execute(outbox, ST_OLDEST, args, NULL, 1) == 0)
	{
		args[1] = Int64GetDatum(PG_INT64_MIN);
		if (watermark == PG_INT64_MIN || execute(outbox, ST_OLDEST, args, NULL, 1) == 0)
			return;
	}
	counts->oldest_pending = DatumGetTimestampTz(im_statement_value(0, 1, &isnull));
}

/* See outbox.h. */
int64
im_outbox_watermark(const ImOutbox *outbox)
{
	return outbox->watermark;
}

/* See outbox.h. */
int64
im_outbox_retry(ImOutbox *outbox, const int32 *error_code, const char *status)
{
	Datum		args[2] = {0};
	char		nulls[2] = {error_code ? ' ' : 'n', status ? ' ' : 'n'};

	if (error_code != NULL)
		args[0] = Int32GetDatum(*error_code);
	if (status != NULL)
		args[1] = CStringGetTextDatum(status);
	return (int64) execute(outbox, ST_RETRY, args, nulls, 0);
}

/* See outbox.h. */
int64
im_outbox_retry_missing(ImOutbox *outbox)
{
	return (int64) execute(outbox, ST_RETRY_MISSING, NULL, NULL, 0);
}

/* See outbox.h. */
bool
im_outbox_is_missing(ImOutbox *outbox, Datum row_key, Datum settled_at)
{
	Datum		args[2] = {row_key, settled_at};

	return execute(outbox, ST_IS_MISSING, args, NULL, 1) > 0;
}

/* See outbox.h. */
bool
im_outbox_resolve(ImOutbox *outbox, int64 id, const char *group_id)
{
	ImStatus	status = group_id ? IM_IMPORTED : IM_PENDING;
	Datum		args[3] = {Int64GetDatum(id), CStringGetTextDatum(im_status_name(status))};
	char		nulls[3] = {' ', ' ', group_id ? ' ' : 'n'};

	if (group_id != NULL)
		args[2] = CStringGetTextDatum(group_id);
	return execute(outbox, ST_RESOLVE, args, nulls, 0) > 0;
}

/* See outbox.h. */
bool
im_outbox_row(ImOutbox *outbox, int64 id, const unsigned char *row_key, ImOutboxRow *row)
{
	SPITupleTable *table;
	pg_uuid_t	key;
	Datum		args[2];
	bool		isnull;
	char	   *status;

	memcpy(key.data, row_key, UUID_LEN);
	args[0] = Int64GetDatum(id);
	args[1] = UUIDPGetDatum(&key);
	if (execute(outbox, ST_ROW, args, NULL, 1) == 0)
		return false;
	table = SPI_tuptable;
	status = SPI_getvalue(table->vals[0], table->tupdesc, 1);
	if (status == NULL || !im_status_parse(status, &row->status))
		return false;
	row->group_id = SPI_getvalue(table->vals[0], table->tupdesc, 2);
	row->code = DatumGetInt32(im_statement_value(0, 3, &isnull));
	row->info = SPI_getvalue(table->vals[0], table->tupdesc, 4);
	row->uncommitted = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(im_statement_value(0, 5, &isnull)));
	return true;
}

/* See outbox.h. */
bool
im_outbox_read_control(ImOutbox *outbox, ImControl *control)
{
	Datum		arg = Int64GetDatum(im_origin());

	bool		found;

	memset(control, 0, sizeof(*control));
	found = execute(outbox, ST_CONTROL, &arg, NULL, 1) > 0;
	if (found)
		take_control(control);
	judge_fence(control);
	return found;
}
