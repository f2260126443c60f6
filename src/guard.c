/*
 * guard.c
 *	  The trigger that guards the outbox.
 *
 * It lets a person repair what created no group, or have a group taken back, and
 * nothing else.  A
 * row that may have created a group must keep the record that was sent: the
 * next attempt sends the same body, and a lookup compares with it.
 *
 * It fires always.  Where session_replication_role says replica it lets pass
 * what the worker writes, which runs in that role, and what replication brings,
 * and guards only the record that was sent.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cmd_group.h"
#include "command.h"
#include "guard.h"
#include "outbox.h"
#include "protocol.h"
#include "tally.h"

PG_FUNCTION_INFO_V1(im_sql_outbox_guard);

/* What a person may not touch, ever. */
static const char *const internal_columns[] = {
	"id", "row_key", "origin", "claim", "maybe_sent_at",
	"sent_time", "msg_seq"		/* of messages only */
};

/* What a repair starts anew. */
static const char *const result_columns[] = {
	"attempts", "error_code", "error_info", "due_at", "settled_at"
};

/* What a service-assigned GroupId begins with, and a Community's of any kind. */
#define ASSIGNED_PREFIX		"@TGS#"
#define COMMUNITY_PREFIX	"@TGS#_"

static bool bypassed = false;

/* See guard.h. */
void
im_guard_bypass(bool on)
{
	bypassed = on;
}

/* A column of a row, by name. */
static Datum
column(HeapTuple tuple, TupleDesc desc, const char *name, bool *isnull)
{
	int			n = SPI_fnumber(desc, name);

	if (n <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the outbox has no column \"%s\"", name),
				 errhint("Undo what was altered in the outbox.")));
	return heap_getattr(tuple, n, desc, isnull);
}

/* True if a column differs between the two rows. */
static bool
differs(HeapTuple old, HeapTuple new, TupleDesc desc, const char *name)
{
	bool		old_null;
	bool		new_null;
	Datum		old_value = column(old, desc, name, &old_null);
	Datum		new_value = column(new, desc, name, &new_null);
	Form_pg_attribute att = TupleDescAttr(desc, SPI_fnumber(desc, name) - 1);

	if (old_null || new_null)
		return old_null != new_null;
	return !datum_image_eq(old_value, new_value, att->attbyval, att->attlen);
}

/* The status in a row. */
static ImStatus
status_of(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = column(tuple, desc, "status", &isnull);
	ImStatus	status = IM_PENDING;

	if (!isnull)
		(void) im_status_parse(TextDatumGetCString(value), &status);
	return status;
}

/* The id in a row, for messages. */
static long long
id_of(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return (long long) DatumGetInt64(column(tuple, desc, "id", &isnull));
}

/* Internal columns are the extension's own. */
static void
check_internal(const ImCommand *command, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	for (int i = 0; i < (int) lengthof(internal_columns); i++)
		if (SPI_fnumber(desc, internal_columns[i]) > 0 && differs(old, new, desc, internal_columns[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("cannot change column \"%s\" of outbox row %lld", internal_columns[i],
							id_of(old, desc)),
					 errdetail("The column is the extension's own."),
					 errhint("To import the %s anew, insert another row; to take over rows of another database, see im_import_adopt().",
							 command->noun)));
}

/* What to do instead of changing a row, for a HINT; foreign: it is another database's. */
static const char *
instead_of_change(const ImCommand *command, ImStatus status, bool foreign)
{
	if (foreign && status == IM_PENDING)
		return "Change it in the database that it came from. If this one shall send it, call im_import_adopt(), and wait until its outcome is known.";
	switch (status)
	{
		case IM_IMPORTED:
			return command->change_hint;
		case IM_UNDO:
			return "Wait until it is undone; what the worker has not begun can be set back to imported.";
		case IM_IN_DOUBT:
			return command->harmless ?
				"Set its status to pending alone: to send it again does no harm." :
				"Settle the row with im_import_resolve(); im_import_failures says how.";
		default:
			return "Wait until its outcome is known: a row that then is failed or invalid can be changed.";
	}
}

/* While a row is undone its code says what is known of its group: that is the extension's own, too. */
static void
check_undo_code(const ImCommand *command, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	if (status_of(old, desc) != IM_UNDO || status_of(new, desc) != IM_UNDO ||
		!differs(old, new, desc, "error_code"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot change column \"error_code\" of outbox row %lld", id_of(old, desc)),
			 errdetail("The row is being undone, and the column says how far that is."),
			 errhint("%s", instead_of_change(command, IM_UNDO, false))));
}

/* Why the record of a row cannot be changed, for a DETAIL. */
static const char *
why_frozen(const ImCommand *command, ImStatus status, bool foreign)
{
	if (status == IM_UNDO)
		return "The row's group may still exist; its record must stay what was sent.";
	if (status == IM_IMPORTED)
		return psprintf("The row is imported, so its %s exists; its record must stay what was sent.",
						command->noun);
	if (foreign && status == IM_PENDING)
		return psprintf("The row came from another database, which may already have created %s; its record must stay what was sent.",
						command->a_noun);
	return psprintf("The row is %s and may already have created %s; its record must stay what was sent.",
					im_status_name(status), command->a_noun);
}

/* What may have been sent must stay what it was. */
static void
check_record(const ImCommand *command, HeapTuple old, HeapTuple new, TupleDesc desc, ImStatus status)
{
	bool		never_sent;
	bool		isnull;
	bool		foreign = DatumGetInt64(column(old, desc, "origin", &isnull)) != im_origin();

	(void) column(old, desc, "maybe_sent_at", &never_sent);

	if (status == IM_UNDONE)
		return;					/* nothing of it is there any more */
	/* An open row of another database may have been sent there. */
	if (status == IM_PENDING && foreign)
		never_sent = false;
	if (never_sent && status != IM_SENDING && status != IM_IMPORTED && status != IM_IN_DOUBT && status != IM_UNDO)
		return;
	for (int i = 0; i < command->nfields; i++)
		if (differs(old, new, desc, command->fields[i].column))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot change column \"%s\" of outbox row %lld",
							command->fields[i].column, id_of(old, desc)),
					 errdetail("%s", why_frozen(command, status, foreign)),
					 errhint("%s", instead_of_change(command, status, foreign))));
}

/* True if im_import_verify() found that the app does not have this row. */
static bool
is_missing(HeapTuple old, TupleDesc desc)
{
	ImOutbox   *outbox = im_outbox_get();
	bool		isnull;
	Datum		row_key = column(old, desc, "row_key", &isnull);
	Datum		settled_at = column(old, desc, "settled_at", &isnull);
	bool		missing;
	ImRights	saved;

	if (im_outbox_look(outbox) != IM_INSTALLED)
		return false;
	/* Somebody inserted it as imported: whatever was found is newer. */
	if (isnull)
		settled_at = TimestampTzGetDatum(DT_NOBEGIN);
	im_outbox_enter(&saved);
	missing = im_outbox_is_missing(outbox, row_key, settled_at);
	im_outbox_leave(&saved);
	return missing;
}

/* Raises unless a person may have this row's group disbanded. */
static void
check_undo(const ImCommand *command, HeapTuple old, TupleDesc desc, ImStatus from)
{
	bool		isnull;
	bool		foreign = DatumGetInt64(column(old, desc, "origin", &isnull)) != im_origin();

	if (command->makes_groups && from == IM_IMPORTED && !foreign)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot undo outbox row %lld", id_of(old, desc)),
			 !command->makes_groups ? errdetail("It is %s, which goes with its group.", command->a_noun) :
			 foreign && from == IM_IMPORTED ? errdetail("Another database has imported it.") :
			 errdetail("It is %s, and only imported groups can be undone.", im_status_name(from)),
			 !command->makes_groups ? errhint("Undo the group: UPDATE im_group_outbox SET status = 'undo' WHERE ...; its rows become undone with it.") :
			 foreign && from == IM_IMPORTED ? errhint("Undo it there, or disband the group in the app's console.") :
			 errhint("Give a condition: UPDATE im_group_outbox SET status = 'undo' WHERE status = 'imported' AND ....")));
}

/* True if the worker has not yet begun with a row that is to be undone. */
static bool
is_untouched(HeapTuple old, TupleDesc desc)
{
	bool		unclaimed;
	bool		never_sent;

	(void) column(old, desc, "claim", &unclaimed);
	(void) column(old, desc, "maybe_sent_at", &never_sent);
	return unclaimed && never_sent;
}

/* The changes of status that a person can make: a repair, and to have it undone. */
static void
check_status(const ImCommand *command, HeapTuple old, TupleDesc desc, ImStatus from, ImStatus to)
{
	if (to == IM_UNDO)
	{
		check_undo(command, old, desc, from);
		return;
	}
	/* Untouched: no request to disband the group can have been made. */
	if (from == IM_UNDO && to == IM_IMPORTED && is_untouched(old, desc))
		return;
	/* What is sent again must surely not be there, or do no harm if it is. */
	if (to == IM_PENDING && (from == IM_FAILED || from == IM_INVALID || from == IM_UNDONE ||
							 (from == IM_IN_DOUBT && command->harmless) ||
							 (from == IM_IMPORTED && !command->ordered && is_missing(old, desc))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot change the status of outbox row %lld from %s to %s",
					id_of(old, desc), im_status_name(from), im_status_name(to)),
			 from == IM_IN_DOUBT || from == IM_IMPORTED || from == IM_UNDO ?
			 errhint("%s", instead_of_change(command, from, false)) :
			 errhint("Only failed, invalid and undone rows can be set, to pending; a row that shall not be sent can be deleted.")));
}

/* True if the row's group_id is the one that was generated for it. */
static bool
is_generated(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = column(tuple, desc, "group_id", &isnull);
	char		generated[IM_GROUP_ID_MAX + 1];
	pg_uuid_t  *key;
	char	   *group_id;

	if (isnull)
		return false;
	group_id = TextDatumGetCString(value);
	key = DatumGetUUIDP(column(tuple, desc, "row_key", &isnull));
	/* The type may have been changed: an id of either sort is ours. */
	for (int community = 0; community <= 1; community++)
	{
		im_group_generate_id(key->data, community, generated);
		if (strcmp(group_id, generated) == 0)
			return true;
	}
	return false;
}

/* True if the service chose the row's group_id, so that it cannot be sent again. */
static bool
is_assigned(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = column(tuple, desc, "group_id", &isnull);
	char	   *group_id = isnull ? "" : TextDatumGetCString(value);

	return strncmp(group_id, ASSIGNED_PREFIX, strlen(ASSIGNED_PREFIX)) == 0 &&
		strncmp(group_id, COMMUNITY_PREFIX, strlen(COMMUNITY_PREFIX)) != 0;
}

/* A row that is written anew, one column after the other. */
typedef struct Anew
{
	TupleDesc	desc;
	int			n;
	int			columns[lengthof(result_columns) + 8];
	Datum		values[lengthof(result_columns) + 8];
	bool		nulls[lengthof(result_columns) + 8];
} Anew;

/* Notes a column's new value. */
static void
set_column(Anew *anew, const char *name, Datum value, bool isnull)
{
	anew->columns[anew->n] = SPI_fnumber(anew->desc, name);
	anew->values[anew->n] = value;
	anew->nulls[anew->n++] = isnull;
}

/*
 * A request to disband the group, or one to make it, may still be under way: not
 * before it must be dead.  True if the row has to wait for that.
 */
static bool
wait_for_requests(Anew *anew, HeapTuple row)
{
	bool		never_sent;
	TimestampTz at = DatumGetTimestampTz(column(row, anew->desc, "maybe_sent_at", &never_sent)) +
		IM_ZOMBIE_MS * INT64CONST(1000);

	if (never_sent)
		return false;
	/* When the row is due they must be dead: it begins without a doubt. */
	set_column(anew, "maybe_sent_at", (Datum) 0, true);
	if (at <= GetCurrentTimestamp())
		return false;
	set_column(anew, "due_at", TimestampTzGetDatum(at), false);
	return true;
}

/* A row whose group is to be disbanded, or after all is not. */
static HeapTuple
start_undo(HeapTuple new, TupleDesc desc, ImStatus to)
{
	Anew		anew = {.desc = desc};

	set_column(&anew, "attempts", Int32GetDatum(0), false);
	set_column(&anew, "error_code", (Datum) 0, true);
	set_column(&anew, "error_info", (Datum) 0, true);
	set_column(&anew, "settled_at", TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()), to == IM_UNDO);
	if (to == IM_UNDO)
		(void) wait_for_requests(&anew, new);
	else
		set_column(&anew, "due_at", (Datum) 0, true);
	return heap_modify_tuple_by_cols(new, desc, anew.n, anew.columns, anew.values, anew.nulls);
}

/* 128 random bits, as _im_row_key() has them. */
static Datum
new_row_key(void)
{
	pg_uuid_t  *key = palloc(sizeof(pg_uuid_t));

	if (!pg_strong_random(key->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random row key"),
				 errhint("The system has no randomness: try again.")));
	return UUIDPGetDatum(key);
}

/*
 * An undone row starts anew.  What was known of a message in its group is of no
 * use.  A group whose id was generated gets another: row_key is another; one
 * with an id of its own must not be disbanded by a late request.
 */
static void
forget_group(Anew *anew, const ImCommand *command, HeapTuple new, bool own_id)
{
	static const char *const of_group[] = {"sent_time", "msg_seq"};

	for (int i = 0; i < (int) lengthof(of_group); i++)
		if (SPI_fnumber(anew->desc, of_group[i]) > 0)
			set_column(anew, of_group[i], (Datum) 0, true);
	if (!own_id)
		set_column(anew, "maybe_sent_at", (Datum) 0, true);
	else if (wait_for_requests(anew, new))
		set_column(anew, "error_info", CStringGetTextDatum("a request about this group whose answer was lost may still be under way: not before due_at"), false);
	if (command->makes_groups)
		set_column(anew, "row_key", new_row_key(), false);
}

/*
 * A repaired row starts anew, its generated id (which depends on type) too.
 * It is this database's from now on, wherever it came from: who repairs it here
 * wants it sent from here.
 */
static HeapTuple
start_anew(const ImCommand *command, HeapTuple new, TupleDesc desc, ImStatus from)
{
	Anew		anew = {.desc = desc};
	bool		new_id = command->makes_groups &&
		(is_generated(new, desc) || ((from == IM_IMPORTED || from == IM_UNDONE) && is_assigned(new, desc)));

	for (int i = 0; i < (int) lengthof(result_columns); i++)
		set_column(&anew, result_columns[i], (Datum) 0, i > 0);	/* attempts: 0, all others: NULL */
	set_column(&anew, "origin", Int64GetDatum(im_origin()), false);
	if (new_id)
		set_column(&anew, "group_id", (Datum) 0, true);
	if (from == IM_IMPORTED)
		set_column(&anew, "maybe_sent_at", (Datum) 0, true);	/* the app said so */
	if (from == IM_UNDONE)
		forget_group(&anew, command, new, !new_id);
	return heap_modify_tuple_by_cols(new, desc, anew.n, anew.columns, anew.values, anew.nulls);
}

/*
 * True where a superuser says replica, to get past triggers: there only what
 * was sent is guarded.  Functions of ours are the same in every role.
 */
static bool
in_replica_role(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		!InSecurityRestrictedOperation();
}

/*
 * True if replication brings the change, and no person makes it.  Tools beside
 * logical replication write in the same role, but rows of another database.
 */
static bool
is_replicated(HeapTuple old, TupleDesc desc)
{
	bool		isnull;

	if (!in_replica_role())
		return IsLogicalWorker();
	return IsLogicalWorker() || DatumGetInt64(column(old, desc, "origin", &isnull)) != im_origin();
}

/* BEFORE UPDATE, per row. */
Datum
im_sql_outbox_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const ImCommand *command;
	HeapTuple	old;
	HeapTuple	new;
	TupleDesc	desc;
	ImStatus	from;
	ImStatus	to;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_im_outbox_guard() must be called as a trigger before update")));
	old = trigger->tg_trigtuple;
	new = trigger->tg_newtuple;
	/* The worker writes what it knows; functions that bypass it have checked. */
	if (bypassed || im_tally_is_own())
		PG_RETURN_POINTER(new);
	desc = RelationGetDescr(trigger->tg_relation);
	command = im_command_of_table(RelationGetRelationName(trigger->tg_relation));
	if (command == NULL)
		PG_RETURN_POINTER(new);
	/* An altered column could make what follows read any memory. */
	im_check_columns(desc, command->table);
	if (is_replicated(old, desc))
		PG_RETURN_POINTER(new);
	from = status_of(old, desc);
	to = status_of(new, desc);
	/* Before that role is let pass: what was sent is guarded in every role. */
	check_record(command, old, new, desc, from);
	if (in_replica_role())
		PG_RETURN_POINTER(new);
	check_internal(command, old, new, desc);
	check_undo_code(command, old, new, desc);
	/* A change of the record alone; that it may be changed was looked at above. */
	if (from == to)
		PG_RETURN_POINTER(new);
	check_status(command, old, desc, from, to);
	if (to != IM_PENDING)
		PG_RETURN_POINTER(start_undo(new, desc, to));
	PG_RETURN_POINTER(start_anew(command, new, desc, from));
}
