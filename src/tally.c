/*
 * tally.c
 *	  How many rows of each status there are, without counting them.
 *
 * Every statement that changes the outbox adds one row of differences to
 * _im_tally in its own transaction: by the triggers below, or by the
 * worker itself, which fires none.  The sum is exact in every snapshot, after
 * a rollback to a savepoint, in a prepared transaction, after a crash.  No
 * row is hot, so inserters do not wait for each other.
 *
 * Rows that come past the triggers leave a trace: a logical replication
 * worker fires im_outbox_unseen, and who disables triggers (pg_restore
 * --disable-triggers) changes the triggers' catalog rows, of which a
 * fingerprint is kept from the last recount.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "command.h"
#include "identity.h"
#include "protocol.h"
#include "shared.h"
#include "statements.h"
#include "tally.h"

PG_FUNCTION_INFO_V1(im_sql_outbox_tally);
PG_FUNCTION_INFO_V1(im_sql_outbox_unseen);
PG_FUNCTION_INFO_V1(im_sql_internal_local);

/* Rows of differences are folded when there are more than so many. */
#define FOLD_AT		500

/* So many deleted rows are looked for at once among those that were compared. */
#define KEYS_AT_ONCE	10000

/* Columns of the tally: kind, origin, the statuses in the order of ImStatus, dirty. */
#define TALLY_COLUMNS	(IM_STATUSES + 3)

/* im_sql_outbox_unseen() is writing its mark. */
static bool marking = false;

/* The outboxes in that schema, as an argument. */
static Datum
outbox_oids(Oid schema)
{
	Datum		oids[IM_OUTBOXES];

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		oids[kind] = ObjectIdGetDatum(get_relname_relid(im_commands[kind]->table, schema));
	return PointerGetDatum(construct_array(oids, IM_OUTBOXES, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* True if a crash leaves the table what it was. */
static bool
is_logged(Oid schema, const char *table)
{
	return get_rel_persistence(get_relname_relid(table, schema)) == RELPERSISTENCE_PERMANENT;
}

/*
 * What the fingerprint of the triggers begins with: a crash empties an unlogged
 * table, and shared memory is then made anew.
 */
static Datum
crash_mark(Oid schema)
{
	bool		logged = is_logged(schema, "_im_tally");

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		logged = logged && is_logged(schema, im_commands[kind]->table);
	return CStringGetTextDatum(logged ? "" : psprintf(UINT64_FORMAT " ", im_shared_mark()));
}

/*
 * Inserts a row into the tally without SQL, which would cost a single-row
 * INSERT into the outbox half as much again.  Indexes and triggers are served,
 * privileges are not asked: nothing here is the caller's.
 */
static void
insert_row(Relation rel, const Datum *values, const bool *nulls)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TupleTableSlot *slot = table_slot_create(rel, &estate->es_tupleTable);

	InitResultRelInfo(target, rel, 0, NULL, 0);
	ExecOpenIndices(target, false);
	memcpy(slot->tts_values, values, sizeof(Datum) * TALLY_COLUMNS);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * TALLY_COLUMNS);
	ExecStoreVirtualTuple(slot);
	ExecSimpleRelationInsert(target, estate, slot);
	ExecCloseIndices(target);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
}

/* True if the tally's columns are what insert_row() fills. */
static bool
is_as_made(TupleDesc desc)
{
	if (desc->natts != TALLY_COLUMNS)
		return false;
	for (int i = 0; i < TALLY_COLUMNS; i++)
		if (TupleDescAttr(desc, i)->atttypid != (i == 0 ? TEXTOID :
												 i == TALLY_COLUMNS - 1 ? BOOLOID : INT8OID))
			return false;
	return true;
}

/* This process is the sender. */
static bool is_own = false;

/* See tally.h. */
void
im_tally_become_own(void)
{
	is_own = true;
}

/* See tally.h. */
bool
im_tally_is_own(void)
{
	return is_own;
}

/* See tally.h. */
void
im_tally_add(Oid schema, ImKind kind, int64 origin, const ImTally *difference)
{
	Datum		values[TALLY_COLUMNS];
	bool		nulls[TALLY_COLUMNS] = {false};
	bool		any = false;
	Relation	rel;

	for (int i = 0; i < IM_STATUSES; i++)
	{
		values[i + 2] = Int64GetDatum(difference->by_status[i]);
		any = any || difference->by_status[i] != 0;
	}
	if (!any)
		return;
	values[0] = CStringGetTextDatum(im_commands[kind]->name);
	values[1] = Int64GetDatum(origin);
	values[TALLY_COLUMNS - 1] = BoolGetDatum(false);
	rel = table_open(get_relname_relid("_im_tally", schema), RowExclusiveLock);
	if (!is_as_made(RelationGetDescr(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"_im_tally\" is not as the extension made it"),
				 errhint("Undo what was altered in it.")));
	insert_row(rel, values, nulls);
	/* The lock is kept until the commit. */
	table_close(rel, NoLock);
}

/* Reads line i of the last result: the sums of a kind, or of all for NULL. */
static bool
take_sums(uint64 i, ImTallies *tallies)
{
	char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	const ImCommand *command = name != NULL ? im_command_find(name) : NULL;
	ImTally    *tally = name == NULL ? &tallies->all : command != NULL ? &tallies->of[command->kind] : NULL;
	bool		sane = true;
	bool		isnull;

	for (int status = 0; tally != NULL && status < IM_STATUSES; status++)
	{
		tally->by_status[status] = DatumGetInt64(im_statement_value(i, status + 2, &isnull));
		sane = sane && tally->by_status[status] >= 0;
	}
	if (name != NULL)
		return sane;
	tallies->foreign_open = DatumGetInt64(im_statement_value(i, IM_STATUSES + 2, &isnull));
	return sane && !DatumGetBool(im_statement_value(i, IM_STATUSES + 3, &isnull));
}

/* See tally.h. */
bool
im_tally_read(Oid schema, ImTallies *tallies)
{
	Datum		args[3] = {Int64GetDatum(im_origin()), outbox_oids(schema), crash_mark(schema)};
	bool		right = true;
	uint64		n;

	memset(tallies, 0, sizeof(*tallies));
	n = im_statement(schema, IM_GROUP, ST_TALLY_SUM, args, NULL, 0);
	/* Each line is read, even if one before it was wrong. */
	for (uint64 i = 0; i < n; i++)
		right = take_sums(i, tallies) && right;
	return right;
}

/* See tally.h. */
void
im_tally_recount(Oid schema)
{
	Datum		args[3] = {Int64GetDatum(im_origin()), outbox_oids(schema), crash_mark(schema)};
	int			level = NewGUCNestLevel();

	/* Here a scan of the table is right, and the worker has it disabled. */
	(void) set_config_option("enable_seqscan", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	im_statement(schema, IM_GROUP, ST_TALLY_CLEAR, NULL, NULL, 0);
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
		im_statement(schema, kind, ST_TALLY_RECOUNT, NULL, NULL, 0);
	/* Last: these counts hold as long as the triggers are what they are now. */
	im_statement(schema, IM_GROUP, ST_TALLY_COUNTED, args, NULL, 0);
	AtEOXact_GUC(true, level);
}

/* See tally.h. */
void
im_tally_fold(Oid schema)
{
	Datum		arg = Int64GetDatum(FOLD_AT);

	if (im_statement(schema, IM_GROUP, ST_TALLY_MANY, &arg, NULL, 1) > 0)
		im_statement(schema, IM_GROUP, ST_TALLY_FOLD, NULL, NULL, 0);
}

/* ------------------------------------------------------------------------
 * Triggers
 */

/* Differences of one statement; more than one origin is rare. */
typedef struct Differences
{
	int			n;
	int			room;
	int64	   *origins;
	ImTally    *tallies;
} Differences;

/* The tally of an origin within the differences. */
static ImTally *
tally_of(Differences *diff, int64 origin)
{
	for (int i = diff->n - 1; i >= 0; i--)
		if (diff->origins[i] == origin)
			return &diff->tallies[i];
	if (diff->n == diff->room)
	{
		int			room = Max(diff->room * 2, 4);

		diff->origins = diff->room ? repalloc(diff->origins, sizeof(int64) * room) :
			palloc(sizeof(int64) * room);
		diff->tallies = diff->room ? repalloc(diff->tallies, sizeof(ImTally) * room) :
			palloc(sizeof(ImTally) * room);
		diff->room = room;
	}
	diff->origins[diff->n] = origin;
	memset(&diff->tallies[diff->n], 0, sizeof(ImTally));
	return &diff->tallies[diff->n++];
}

/* Status of a row in a transition table. */
static ImStatus
status_in(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);
	text	   *word = isnull ? NULL : DatumGetTextPP(value);
	char		name[16];
	ImStatus	status = IM_PENDING;

	/* What nearly all rows of a large INSERT have. */
	if (word == NULL || (VARSIZE_ANY_EXHDR(word) == strlen("pending") &&
						 memcmp(VARDATA_ANY(word), "pending", strlen("pending")) == 0))
		return status;
	text_to_cstring_buffer(word, name, sizeof(name));
	(void) im_status_parse(name, &status);
	return status;
}

/* Adds the rows of a transition table, times sign. */
static void
add_rows(Differences *diff, const ImCommand *command, Tuplestorestate *rows, TupleDesc desc,
		 int sign)
{
	TupleTableSlot *slot;
	int			status_column = SPI_fnumber(desc, "status");
	int			origin_column = SPI_fnumber(desc, "origin");

	if (rows == NULL)
		return;
	if (status_column <= 0 || origin_column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the outbox lacks column \"status\" or \"origin\""),
				 errhint("Undo what was altered in the table %s.", command->table)));
	im_check_columns(desc, command->table);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool		isnull;
		int64		origin = DatumGetInt64(slot_getattr(slot, origin_column, &isnull));

		tally_of(diff, origin)->by_status[status_in(slot, status_column)] += sign;
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Only what this outbox has imported can be taken back: a row that is inserted
 * with that wish could name anybody's group.  A restored dump may bring such
 * rows; they are another database's, and wait to be adopted.
 */
static void
check_inserted(const ImCommand *command, const Differences *diff)
{
	for (int i = 0; i < diff->n; i++)
		if (diff->origins[i] == im_origin() && diff->tallies[i].by_status[IM_UNDO] > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot insert rows with status \"undo\" into %s", command->table),
					 errdetail("Only a group that a row of the outbox has imported can be taken back."),
					 errhint("Insert the row as pending; once it is imported: UPDATE im_group_outbox SET status = 'undo' WHERE ....")));
}

/* Who was the user before become_owner(). */
typedef struct Caller
{
	Oid			user;
	int			context;
} Caller;

/*
 * A trigger writes the tally as the table's owner, whoever changes the rows.
 * Only statements without operators: the search_path is the caller's.
 */
static void
become_owner(Relation rel, Caller *caller)
{
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   caller->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* Ends become_owner(). */
static void
become_caller(const Caller *caller)
{
	SPI_finish();
	SetUserIdAndSecContext(caller->user, caller->context);
}

/*
 * Runs a statement; see become_owner() for which.  It sees what is committed by
 * now, as a TRUNCATE does in a transaction of any isolation.
 */
static void
run_plain(Relation rel, ImKind kind, ImStatement statement, Datum *args)
{
	Caller		caller;

	become_owner(rel, &caller);
	im_statement_latest(RelationGetNamespace(rel), kind, statement, args);
	become_caller(&caller);
}

/* Rows that were deleted, some at a time. */
typedef struct Gone
{
	pg_uuid_t	copies[KEYS_AT_ONCE];
	Datum		keys[KEYS_AT_ONCE]; /* of the rows */
	Datum		rooms[KEYS_AT_ONCE];	/* in which they have set something */
	int			n;
	int			nrooms;
} Gone;

/* What im_import_verify() found of these rows goes with them; what they have set stays. */
static void
forget_gone(Relation rel, ImKind kind, Gone *gone)
{
	Datum		arg;

	if (gone->n > 0)
	{
		arg = PointerGetDatum(construct_array(gone->keys, gone->n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
		run_plain(rel, kind, ST_CHECK_GONE, &arg);
		pfree(DatumGetPointer(arg));
	}
	if (gone->nrooms > 0)
	{
		arg = PointerGetDatum(construct_array(gone->rooms, gone->nrooms, TEXTOID, -1, false, TYPALIGN_INT));
		run_plain(rel, kind, ST_ROOMS_LEFT_OVER, &arg);
		pfree(DatumGetPointer(arg));
	}
	for (int i = 0; i < gone->nrooms; i++)
		pfree(DatumGetPointer(gone->rooms[i]));
	gone->n = gone->nrooms = 0;
}

/* Notes the room of a row that has set something in it. */
static void
add_room(Gone *gone, TupleTableSlot *slot, int source_column)
{
	bool		isnull;
	Datum		source = source_column > 0 ? slot_getattr(slot, source_column, &isnull) : (Datum) 0;
	char	   *source_id;
	char	   *room;

	if (source_column <= 0 || isnull)
		return;
	source_id = TextDatumGetCString(source);
	room = psprintf("+%s", source_id);
	gone->rooms[gone->nrooms++] = CStringGetTextDatum(room);
	pfree(room);
	pfree(source_id);
}

/* Of all rows that a statement has deleted; what was never sent was never compared. */
static void
forget_deleted(Relation rel, const ImCommand *command, Tuplestorestate *rows)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	int			status_column = SPI_fnumber(desc, "status");
	int			key_column = SPI_fnumber(desc, "row_key");
	int			source_column = im_command_has(command, IM_FIELD_ZERO) ? SPI_fnumber(desc, "group_source_id") : 0;
	Gone	   *gone = palloc0(sizeof(Gone));

	tuplestore_rescan(rows);
	while (key_column > 0 && tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool		isnull;
		Datum		key = slot_getattr(slot, key_column, &isnull);

		if (isnull || status_in(slot, status_column) == IM_PENDING)
			continue;
		gone->copies[gone->n] = *DatumGetUUIDP(key);
		gone->keys[gone->n] = UUIDPGetDatum(&gone->copies[gone->n]);
		gone->n++;
		add_room(gone, slot, source_column);
		if (gone->n == KEYS_AT_ONCE)
			forget_gone(rel, command->kind, gone);
	}
	forget_gone(rel, command->kind, gone);
	pfree(gone);
	ExecDropSingleTupleTableSlot(slot);
}

/* The command whose outbox a trigger was fired on, or an ERROR. */
static const ImCommand *
command_of(Relation rel)
{
	const ImCommand *command = im_command_of_table(RelationGetRelationName(rel));

	if (command == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" is no outbox", RelationGetRelationName(rel))));
	return command;
}

/* AFTER INSERT, UPDATE, DELETE or TRUNCATE, per statement. */
Datum
im_sql_outbox_tally(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Differences diff = {0};
	const ImCommand *command;
	TupleDesc	desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_im_outbox_tally() must be called as a trigger of an outbox")));
	command = command_of(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		/* The kind's counts go, too; older snapshots are told by EMPTIED_SINCE. */
		run_plain(trigger->tg_relation, command->kind, ST_TALLY_EMPTIED, NULL);
		run_plain(trigger->tg_relation, command->kind, ST_CHECK_EMPTIED, NULL);
		if (im_command_has(command, IM_FIELD_ZERO))
			run_plain(trigger->tg_relation, command->kind, ST_ALL_LEFT_OVER, NULL);
		im_ring_at_commit(false);
		PG_RETURN_POINTER(NULL);
	}
	desc = RelationGetDescr(trigger->tg_relation);
	add_rows(&diff, command, trigger->tg_newtable, desc, 1);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		check_inserted(command, &diff);
	add_rows(&diff, command, trigger->tg_oldtable, desc, -1);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && trigger->tg_oldtable != NULL)
		forget_deleted(trigger->tg_relation, command, trigger->tg_oldtable);
	for (int i = 0; i < diff.n; i++)
	{
		im_tally_add(RelationGetNamespace(trigger->tg_relation), command->kind, diff.origins[i],
					 &diff.tallies[i]);
		if (diff.tallies[i].by_status[IM_SENDING] > 0)
			im_recover_at_commit(); /* written by a person, sent by nobody */
	}
	/* At commit: a worker that wakes earlier sees nothing of it. */
	if (diff.n > 0)
		im_ring_at_commit(false);
	PG_RETURN_POINTER(NULL);
}

/*
 * BEFORE INSERT, UPDATE or DELETE per row, or TRUNCATE, where replication writes: the
 * others do not fire there.  One dirty mark in a transaction is enough.  The
 * worker, which writes in the same role, keeps the tally itself.
 */
Datum
im_sql_outbox_unseen(PG_FUNCTION_ARGS)
{
	static TransactionId marked = InvalidTransactionId;
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const ImCommand *command;
	HeapTuple	row;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_im_outbox_unseen() must be called as a trigger of an outbox")));
	command = command_of(trigger->tg_relation);
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;

	/* ALTER TABLE … ENABLE TRIGGER ALL makes it fire where the others do, too. */
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA ||
		im_tally_is_own() || marked == GetTopTransactionId())
		PG_RETURN_POINTER(row);
	/* Tells im_sql_internal_local() to let the mark through. */
	marking = true;
	PG_TRY();
	{
		run_plain(trigger->tg_relation, command->kind, ST_TALLY_DIRTY, NULL);
	}
	PG_FINALLY();
	{
		marking = false;
	}
	PG_END_TRY();
	/* A subtransaction may be rolled back, and its mark with it. */
	if (!IsSubTransaction())
		marked = GetTopTransactionId();
	im_ring_at_commit(false);
	PG_RETURN_POINTER(row);
}

/*
 * BEFORE INSERT, UPDATE or DELETE on an internal table, per row, where
 * replication writes: what another server notes of itself is not about us.
 */
Datum
im_sql_internal_local(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_im_local() must be called as a trigger before a change of a row")));
	/*
	 * A function of ours that a person calls where session_replication_role
	 * says replica runs with the owner's rights, and is not replication.
	 */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		!im_tally_is_own() && !marking &&
		(IsLogicalWorker() || !InSecurityRestrictedOperation()))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
					  : trigger->tg_trigtuple);
}
