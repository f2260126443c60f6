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

#include "command.h"
#include "encoding.h"
#include "outbox.h"
#include "protocol.h"
#include "statements.h"
#include "tally.h"
#include "text.h"

struct ImOutbox
{
	ImInstalled installed;		/* as of the last look */
	Oid			schema;			/* of the extension */
	Oid			relid[IM_OUTBOXES];
	Oid			owner;
	uint64		generation;		/* counts the times that tables were others */
	ImTally		difference[IM_OUTBOXES];	/* of the current transaction, worker only */
	int64		created;		/* groups not yet in _im_days ... */
	int64		writing;		/* ... of which the current transaction writes */
	int64		groups_today;	/* those included; see im_outbox_groups_today() */
	char		blocker[NAMEDATALEN + 100]; /* see im_outbox_blocker() */
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
im_outbox_moved(ImKind kind, ImStatus from, ImStatus to, int64 n)
{
	ImTally    *difference = &im_outbox_get()->difference[im_outbox_of(kind)];

	difference->by_status[from] -= n;
	difference->by_status[to] += n;
}

/* Finds the outboxes; false if one is not there. */
static bool
find_tables(ImOutbox *outbox, Oid schema)
{
	bool		same = schema == outbox->schema;
	bool		all = true;

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		Oid			relid = get_relname_relid(im_commands[kind]->table, schema);

		same = same && relid == outbox->relid[kind];
		all = all && OidIsValid(relid);
		outbox->relid[kind] = relid;
	}
	if (!same)
		outbox->generation++;
	outbox->schema = schema;
	return all;
}

/* See outbox.h. */
ImInstalled
im_outbox_look(ImOutbox *outbox)
{
	ImExtension extension;

	outbox->installed = IM_INSTALLED_NOT;
	if (!im_extension_read(&extension))
		return outbox->installed;
	outbox->installed = extension.known && find_tables(outbox, extension.schema) ?
		IM_INSTALLED : IM_INSTALLED_OTHER;
	outbox->owner = extension.owner;
	return outbox->installed;
}

/* See outbox.h. */
uint64
im_outbox_generation(const ImOutbox *outbox)
{
	return outbox->generation;
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
	if (!im_tally_is_own())	/* the worker's own is locked for good */
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
	/* In each transaction: the extension may come and go. */
	if (im_outbox_look(outbox) == IM_INSTALLED)
	{
		im_outbox_enter(&saved);
		/* Anew in each transaction: what a rollback undid must not be counted. */
		memset(outbox->difference, 0, sizeof(outbox->difference));
		outbox->writing = 0;
		fn(arg);
		/* Together with the rows: counts and rows commit as one. */
		for (int kind = 0; kind < IM_OUTBOXES && im_tally_is_own(); kind++)
			im_tally_add(outbox->schema, kind, im_origin(), &outbox->difference[kind]);
		im_outbox_leave(&saved);
	}
	/* The owner's rights are given back by now: a commit must not run with them. */
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* Only now: what a rollback undid has still to be written. */
	outbox->created -= outbox->writing;
	outbox->writing = 0;
	/* Without this autovacuum would not hear of our dead rows. */
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

/* Locks all outboxes, without waiting unless insist; false if one cannot be had. */
static bool
lock_tables(ImOutbox *outbox, LOCKMODE mode, bool insist)
{
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		if (insist)
			LockRelationOid(outbox->relid[kind], mode);
		else if (!ConditionalLockRelationOid(outbox->relid[kind], mode))
			return false;
	return true;
}

/* See outbox.h. */
bool
im_outbox_keep_count(ImOutbox *outbox, bool insist)
{
	ImTallies	all;

	/* The outboxes before the tally, as a TRUNCATE takes them; and no waiting. */
	if (!lock_tables(outbox, AccessShareLock, false) ||
		!ConditionalLockRelationOid(get_relname_relid("_im_tally", outbox->schema),
									RowExclusiveLock))
		return false;

	if (im_tally_read(outbox->schema, &all))
	{
		im_tally_fold(outbox->schema);
		return true;
	}
	/* No writer may come between the count and its commit. */
	if (!lock_tables(outbox, ShareLock, insist))
		return false;
	im_tally_recount(outbox->schema);
	return true;
}

/* Notes who has locked the table of a kind. */
static void
note_blocker(ImOutbox *outbox, ImKind kind)
{
	const char *table = im_commands[kind]->table;
	VirtualTransactionId *holders;
	LOCKTAG		tag;
	int			pid = 0;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, outbox->relid[kind]);
	holders = GetLockConflicts(&tag, RowExclusiveLock, NULL);
	if (!VirtualTransactionIdIsValid(*holders))
		return;					/* nobody any more */
	for (; pid == 0 && VirtualTransactionIdIsValid(*holders); holders++)
		pid = im_pid_of(holders);
	if (pid != 0)
		snprintf(outbox->blocker, sizeof(outbox->blocker), "process %d has locked table %s", pid, table);
	else
		snprintf(outbox->blocker, sizeof(outbox->blocker), "a prepared transaction has locked table %s", table);
}

/* See outbox.h. */
const char *
im_outbox_blocker(const ImOutbox *outbox)
{
	return outbox->blocker;
}

/* See outbox.h. */
bool
im_outbox_try_lock(ImOutbox *outbox)
{
	outbox->blocker[0] = '\0';
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		Relation	rel;

		if (!ConditionalLockRelationOid(outbox->relid[kind], RowExclusiveLock))
		{
			note_blocker(outbox, kind);
			return false;
		}
		rel = try_table_open(outbox->relid[kind], NoLock);
		if (rel == NULL)
			return false;		/* dropped just now */
		/* C reads some columns by their type: checked before any statement does. */
		im_check_columns(RelationGetDescr(rel), im_commands[kind]->table);
		im_statements_grown(kind, RelationGetNumberOfBlocks(rel));
		table_close(rel, NoLock);
	}
	return true;
}

/* See outbox.h. */
bool
im_outbox_rows_free(const ImOutbox *outbox, ImKind kind)
{
	LOCKTAG		tag;
	int			n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, outbox->relid[im_outbox_of(kind)]);
	pfree(GetLockConflicts(&tag, ExclusiveLock, &n));
	return n == 0;
}

/* Runs a statement that is about no kind, or about groups; see im_statement(). */
static uint64
execute(ImOutbox *outbox, ImStatement id, Datum *values, const char *nulls, long limit)
{
	return im_statement(outbox->schema, IM_GROUP, id, values, nulls, limit);
}

/* ------------------------------------------------------------------------
 * Control, fence
 */

/* Reads the last result, a row of _im_control. */
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
im_outbox_control(ImOutbox *outbox, ImControl *control)
{
	Datum		args[2] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};

	if (!im_outbox_read_control(outbox, control))
		execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	outbox->groups_today = control->groups_today + outbox->created;
}

/* See outbox.h. */
void
im_outbox_pause(ImOutbox *outbox, bool paused, const char *by, const char *reason)
{
	Datum		args[4] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};
	char		nulls[4] = {' ', ' ', ' ', reason ? ' ' : 'n'};

	/* The row may not be there: a pause can come before the first worker. */
	execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	args[1] = BoolGetDatum(paused);
	args[2] = CStringGetTextDatum(by);
	args[3] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	execute(outbox, ST_CONTROL_PAUSE, args, nulls, 0);
}

/* See outbox.h. */
bool
im_outbox_begin_adoption(ImOutbox *outbox)
{
	Datum		args[2] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};
	bool		isnull;

	/* Made now, it has the timeline of now: then nothing of ours is taken over. */
	execute(outbox, ST_CONTROL_NEW, args, NULL, 0);
	execute(outbox, ST_CONTROL, args, NULL, 1);
	return DatumGetInt64(im_statement_value(0, 1, &isnull)) != DatumGetInt64(args[1]);
}

/* See outbox.h. */
void
im_outbox_end_adoption(ImOutbox *outbox)
{
	Datum		args[2] = {Int64GetDatum(im_origin()),
	Int64GetDatum((int64) GetWALInsertionTimeLine())};

	execute(outbox, ST_CONTROL_TIMELINE, args, NULL, 0);
}

/* See outbox.h. */
void
im_outbox_note_groups(ImOutbox *outbox, int64 n)
{
	outbox->created += n;
	outbox->groups_today += n;
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

/* ------------------------------------------------------------------------
 * Questions
 */

/* When the oldest new row of a kind was inserted; 0: there is none. */
static TimestampTz
oldest_pending(ImOutbox *outbox, ImKind kind, int64 watermark)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), Int64GetDatum(watermark)};
	bool		isnull;

	if (im_statement(outbox->schema, kind, ST_OLDEST, args, NULL, 1) == 0)
	{
		/* None above it: one that came back may lie below. */
		args[1] = Int64GetDatum(PG_INT64_MIN);
		if (watermark == PG_INT64_MIN ||
			im_statement(outbox->schema, kind, ST_OLDEST, args, NULL, 1) == 0)
			return 0;
	}
	return DatumGetTimestampTz(im_statement_value(0, 1, &isnull));
}

/* See outbox.h. */
void
im_outbox_count(ImOutbox *outbox, int64 watermark, ImCounts *counts)
{
	memset(counts, 0, sizeof(*counts));
	counts->exact = im_tally_read(outbox->schema, &counts->tallies);
	counts->rows = counts->tallies.all;
	counts->foreign_open = counts->tallies.foreign_open;
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		TimestampTz oldest;

		if (im_commands[kind]->roomed ||
			(counts->exact && counts->tallies.of[kind].by_status[IM_PENDING] == 0))
			continue;
		oldest = oldest_pending(outbox, kind, im_commands[kind]->makes_groups ? watermark : PG_INT64_MIN);
		if (oldest != 0 && (counts->oldest_pending == 0 || oldest < counts->oldest_pending))
			counts->oldest_pending = oldest;
	}
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
im_outbox_row(ImOutbox *outbox, ImKind kind, int64 id, const unsigned char *row_key,
			  ImOutboxRow *row)
{
	SPITupleTable *table;
	pg_uuid_t	key;
	Datum		args[2];
	bool		isnull;
	char	   *status;

	memcpy(key.data, row_key, UUID_LEN);
	args[0] = Int64GetDatum(id);
	args[1] = UUIDPGetDatum(&key);
	if (im_statement(outbox->schema, kind, ST_ROW, args, NULL, 1) == 0)
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
char *
im_outbox_group_of(ImOutbox *outbox, const char *source_id)
{
	Datum		arg = CStringGetTextDatum(source_id);

	if (im_statement(outbox->schema, IM_GROUP, ST_GROUP_OF, &arg, NULL, 1) == 0)
		return NULL;
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
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
