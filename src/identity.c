/*
 * identity.c
 *	  Which database this is, and whether the app's server was made in it.
 *
 * A database is known by the cluster's system identifier, its oid, and random
 * bits that CREATE EXTENSION makes and pg_dump leaves out.  The first two tell
 * it from a copy beside it or elsewhere; the last from a dump of itself that
 * was restored into it.  A copy of the data directory has all three: what
 * tells that one is the timeline, see outbox.c.
 *
 * The origin is the default of a column, asked for with each row of a bulk
 * INSERT, so it is kept for the process's life, until the table that holds the
 * random bits goes or is made anew.
 *
 * Must not know: rows, statements, shared memory.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "app.h"
#include "identity.h"

PG_FUNCTION_INFO_V1(im_sql_origin);
PG_FUNCTION_INFO_V1(im_sql_server_made);

#define KNOWN_VERSION		"1.0"

/* What im_origin() has found, and the table that it was read from. */
static int64 origin = 0;
static bool origin_known = false;
static Oid	origin_relid = InvalidOid;
static uint64 forgotten = 0;	/* counts what forget_origin() did */

/* A column that C reads by its type. */
typedef struct FixedColumn
{
	const char *name;
	Oid			type;
	Oid			other_type;		/* of the same layout, or InvalidOid */
} FixedColumn;

static const FixedColumn fixed_columns[] = {
	{"id", INT8OID, InvalidOid},
	{"status", TEXTOID, VARCHAROID},
	{"attempts", INT4OID, InvalidOid},
	{"error_code", INT4OID, InvalidOid},
	{"error_info", TEXTOID, VARCHAROID},
	{"due_at", TIMESTAMPTZOID, InvalidOid},
	{"settled_at", TIMESTAMPTZOID, InvalidOid},
	{"enqueued_at", TIMESTAMPTZOID, InvalidOid},
	{"row_key", UUIDOID, InvalidOid},
	{"origin", INT8OID, InvalidOid},
	{"claim", INT8OID, InvalidOid},
	{"maybe_sent_at", TIMESTAMPTZOID, InvalidOid},
	{"group_id", TEXTOID, VARCHAROID},
	{"sent_time", INT8OID, InvalidOid},
	{"msg_seq", INT8OID, InvalidOid},
	{"identity", UUIDOID, InvalidOid},
};

/* See identity.h. */
bool
im_extension_read(ImExtension *extension)
{
	Oid			oid = get_extension_oid("im_import", true);
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	if (!OidIsValid(oid))
		return false;
	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(oid));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(rel), &isnull);

		extension->schema = form->extnamespace;
		extension->owner = form->extowner;
		extension->known = !isnull && strcmp(TextDatumGetCString(version), KNOWN_VERSION) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* See identity.h. */
void
im_check_columns(TupleDesc desc, const char *name)
{
	for (int a = 0; a < desc->natts; a++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, a);

		for (int i = 0; i < (int) lengthof(fixed_columns) && !att->attisdropped; i++)
		{
			const FixedColumn *fixed = &fixed_columns[i];

			if (att->atttypid != fixed->type && att->atttypid != fixed->other_type &&
				strcmp(NameStr(att->attname), fixed->name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("column \"%s\" of %s is of type %s, the extension made it %s",
								fixed->name, name, format_type_be(att->atttypid),
								format_type_be(fixed->type)),
						 errhint("Give it its type back: ALTER TABLE ... ALTER COLUMN %s TYPE %s.",
								 fixed->name, format_type_be(fixed->type))));
		}
	}
}

/* ------------------------------------------------------------------------
 * The origin
 */

/* The table of the random bits may be another one. */
static void
forget_origin(Datum arg, Oid relid)
{
	if (OidIsValid(relid) && relid != origin_relid)
		return;
	origin_known = false;
	/* Counted, so that a read that is under way is not kept. */
	forgotten++;
}

/* Reads the random bits; false if somebody took them away. */
static bool
read_identity(Oid relid, pg_uuid_t *identity)
{
	Relation	rel = table_open(relid, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;
	Datum		value = (Datum) 0;
	int			column = get_attnum(relid, "identity");

	im_check_columns(RelationGetDescr(rel), "_im_identity");
	/* Whatever snapshot the caller has: what counts is where we are now. */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && column > 0)
		value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
	if (!isnull)
		memcpy(identity, DatumGetUUIDP(value), sizeof(*identity));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull;
}

/* See identity.h. */
int64
im_origin(void)
{
	static bool registered = false;
	struct
	{
		uint64		system;
		uint64		database;
		pg_uuid_t	identity;
	}			parts;
	ImExtension extension;
	uint64		before;

	if (origin_known)
		return origin;
	/* Before the first read, so that no change after it is missed. */
	if (!registered)
		CacheRegisterRelcacheCallback(forget_origin, (Datum) 0);
	registered = true;

	memset(&parts, 0, sizeof(parts));
	parts.system = GetSystemIdentifier();
	parts.database = MyDatabaseId;
	origin_relid = im_extension_read(&extension) ?
		get_relname_relid("_im_identity", extension.schema) : InvalidOid;

	/* Without the bits it is yet another database, whose rows are none of its. */
	before = forgotten;
	if (OidIsValid(origin_relid))
		(void) read_identity(origin_relid, &parts.identity);
	origin = (int64) hash_bytes_extended((unsigned char *) &parts, sizeof(parts), 0);
	/* Forgotten while it was read: right for now, but not to be kept. */
	origin_known = OidIsValid(origin_relid) && before == forgotten;
	return origin;
}

/* im_origin(): which database this is. */
Datum
im_sql_origin(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(im_origin());
}

/* See identity.h. */
bool
im_origin_elsewhere(void)
{
	int64		home;

	return im_app_home(&home) && home != im_origin();
}

/* At the end of CREATE SERVER: notes in which database that was. */
Datum
im_sql_server_made(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_im_server_made() must be called as an event trigger")));
	/* Only where it is made: a server that is altered keeps its home. */
	if (IsA(trigger->parsetree, CreateForeignServerStmt))
		im_app_note_home(((CreateForeignServerStmt *) trigger->parsetree)->servername,
						 im_origin(), false);
	PG_RETURN_NULL();
}
