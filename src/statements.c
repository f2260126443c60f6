/*
 * statements.c
 *	  Every SQL statement on the extension's tables.
 *
 * None may wait for a person: rows are taken with SKIP LOCKED, and no stronger
 * than our UPDATEs need it, so that a foreign key on an outbox holds nothing up.  None may be
 * planned into a scan of the outbox, which grows to millions of rows: they go
 * through the partial indexes, and the worker plans with sequential scans and
 * hash joins disabled (see worker_settings in worker.c).  Its plans are kept,
 * and made anew when the table grows: what was best for a few rows may read
 * millions.
 *
 * Operators have no schema here: whoever runs a statement must have locked the
 * search_path before (im_outbox_enter()), but for the plain INSERT, DELETE and
 * TRUNCATE of the tally, which hold none and so may run from a trigger.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "command.h"
#include "problem.h"
#include "protocol.h"
#include "statements.h"

#define MAX_PARAMS			14

typedef struct Statement
{
	const char *sql;			/* with words in braces, see expand() */
	int			nargs;
	Oid			argtypes[MAX_PARAMS];
} Statement;

/* What a claim reads of a row: what is ours, and the record by its own names. */
#define CLAIM_COLUMNS "o.id, o.attempts, o.maybe_sent_at, o.row_key, o.claim, {extra} AS extra, {columns}"
#define OUTBOX	"{schema}.{table}"

/* The room of a row; must be spelled as the index has it. */
#define ROOM_OF(i) \
	"(CASE WHEN " i ".group_source_id IS NOT NULL AND " i ".group_id IS NULL THEN '+' || " i ".group_source_id" \
	" WHEN " i ".group_id IS NOT NULL AND " i ".group_source_id IS NULL THEN '=' || " i ".group_id" \
	" ELSE '' END)"
#define ROOM	ROOM_OF("i")

/*
 * Said once more of the row that a claim has locked: somebody may have given it
 * to another room since the claim's snapshot.
 */
#define STILL_IN_ROOM	" AND " ROOM_OF("o") " COLLATE \"C\" = r.room"

/*
 * Rows of rooms are found by their phase, which is one while they are pending
 * and sending: so a claim touches no index.  A condition on status alone finds
 * no index of theirs.
 */
#define OPEN_PHASE	"phase IN ('o', 'u')"
#define OPEN(i)		i "." OPEN_PHASE

/* The rows of a room, r, of which nobody knows whether they were applied; open at its end. */
#define UNKNOWN_OF_ROOM \
	"(SELECT i.id, i.send_time FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = r.room" \
	" AND i.phase = 'u' ORDER BY i.send_time, i.id"

/* The latest time of a room's rows in doubt, of whatever database: such a message may be there. */
#define DOUBTED_OF_ROOM \
	"(SELECT pg_catalog.max(i.sent_time) FROM " OUTBOX " i" \
	" WHERE i.origin = ANY (ARRAY(SELECT DISTINCT y.origin FROM " TALLY " y))" \
	" AND " ROOM " COLLATE \"C\" = s.room AND i.phase = 'd')"

/*
 * True if a new account above $4 is not sent yet.  In one statement with the rows
 * that wait for accounts: whoever sees a row sees the accounts of its transaction.
 */
#define ACCOUNTS_OPEN \
	"EXISTS (SELECT FROM {schema}.im_account_outbox n" \
	" WHERE n.origin = $1 AND n.id > $4 AND n.status = 'pending' AND n.due_at IS NULL)"

/*
 * A row of a group is passed over as long as its user is on the way.  No account is
 * that of NULL: so a kind without a user waits for none.  status || '': see IS_PENDING().
 */
#define USER_IS_OPEN(user) \
	"EXISTS (SELECT FROM {schema}.im_account_outbox n" \
	" WHERE n.user_id = " user " COLLATE \"default\"" \
	" AND n.origin = $1 AND n.status || '' IN ('pending', 'sending'))"

/* What stands between is there once for each kind whose rows belong to a group. */
#define EACH	"{each"			/* then what stands between two of them, and a brace */
#define END		"{end}"

/* A group, g, has no open row, of whatever database. */
#define NONE_OPEN \
	EACH "} AND NOT EXISTS (SELECT FROM " OUTBOX " i WHERE " OPEN("i") \
	" AND i.origin = ANY (ARRAY(SELECT DISTINCT y.origin FROM " TALLY " y))" \
	" AND " ROOM " COLLATE \"C\" = '+' || g.source_id)" END

/* The group of a row is taken back, or is to be. */
#define UNDOING(o)	o ".status IN ('undo', 'undone')"

/*
 * When a group without create_time was made, at the latest.  settled_at alone is
 * written again when it is not taken back after all.
 */
#define MADE_AT	"LEAST(COALESCE(g.settled_at, g.sent_at), g.sent_at + '10 minutes'::pg_catalog.interval)"

/* A row that goes with its group. */
#define IN_GROUP(i)	i ".phase IN ('i', 'd')"

/*
 * The group of a room, w.room, if it is there and the room is not held: k.  w.room is
 * of the default collation, as the keys of the groups are: "C" would find no index.
 */
#define GROUP_OF_ROOM \
	" LEFT JOIN LATERAL (" \
	/* create_time by way of JSON: somebody may have made it a number of seconds. */ \
	"SELECT g.group_id, pg_catalog.floor(COALESCE(CASE pg_catalog.jsonb_typeof(t.made) WHEN 'number' THEN (t.made #>> ARRAY[]::text[])::numeric" \
	" ELSE EXTRACT(epoch FROM (t.made #>> ARRAY[]::text[])::timestamp with time zone) END, EXTRACT(epoch FROM " MADE_AT ")))::bigint AS created" \
	" FROM {schema}.im_group_outbox g, LATERAL pg_catalog.to_jsonb(g.create_time) AS t (made)" \
	" WHERE pg_catalog.left(w.room, 1) = '+'" \
	" AND g.source_id = pg_catalog.substr(w.room, 2) AND g.status = 'imported'" \
	" UNION ALL SELECT pg_catalog.substr(w.room, 2), 0 WHERE pg_catalog.left(w.room, 1) = '='" \
	/* A GroupId may be that of a row of ours, too, which is to be made first; few are being sent. */ \
	" AND NOT EXISTS (SELECT FROM {schema}.im_group_outbox u WHERE u.group_id = pg_catalog.substr(w.room, 2) AND " UNDOING("u") ")" \
	" AND NOT EXISTS (SELECT FROM {schema}.im_group_outbox u WHERE u.group_id = pg_catalog.substr(w.room, 2)" \
	" AND pg_catalog.left(u.group_id, 64) = pg_catalog.left(pg_catalog.substr(w.room, 2), 64)" \
	" AND u.status = 'pending')" \
	" AND pg_catalog.substr(w.room, 2) NOT IN (SELECT u.group_id FROM {schema}.im_group_outbox u" \
	" WHERE u.status = 'sending' AND u.group_id IS NOT NULL)" \
	") k ON NOT EXISTS (SELECT FROM {schema}._im_room_state s WHERE s.room = w.room AND s.held IS NOT NULL)"

/* In one of the rooms r.rooms something is under way now. */
#define FLYING \
	EACH " OR }EXISTS (SELECT FROM " OUTBOX " i WHERE i.origin = $2 AND " ROOM " COLLATE \"C\" = ANY (r.rooms)" \
	" AND " OPEN("i") " AND i.status = 'sending')" END

/* Rows of the rooms $2 that go with their groups. */
#define LEFT_OF_ROOMS \
	EACH " UNION ALL }SELECT FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = ANY ($2) AND " IN_GROUP("i") END

/* Imported rows, i, of a room, by the keys of their outbox, whose collation is not that of a room. */
#define DONE_OF_SOURCE(r) \
	"pg_catalog.left(" r ".room, 1) = '+' AND i.group_source_id = pg_catalog.substr(" r ".room, 2) COLLATE \"default\"" \
	" AND i.group_id IS NULL AND i.origin = $1 AND i.status = 'imported'"
#define DONE_OF_GROUP(r) \
	"pg_catalog.left(" r ".room, 1) = '=' AND i.group_id = pg_catalog.substr(" r ".room, 2) COLLATE \"default\"" \
	" AND i.group_source_id IS NULL AND i.origin = $1 AND i.status = 'imported'"

#define TALLY	"{schema}._im_tally"
#define SUM(column) "COALESCE(pg_catalog.sum(" column "), 0)::bigint"
#define COUNT(status) "pg_catalog.count(*) FILTER (WHERE status = '" status "')"

/* Rows by identity, $1 and $2: after TRUNCATE ... RESTART IDENTITY an id means another. */
#define ROW_LIST \
	"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS v (id, row_key)"

/*
 * Looked at once more in a row that was found by its id.  Said so that no index
 * of open rows is proven to fit: when they were analysed before a load, or before
 * an undo, these seem to be empty, and all that is open would be read for each row.
 */
#define IS_PENDING(row)	row ".status || '' = 'pending'"

/* Codes of a row that is refused because an account is missing; -12: IM_CODE_ITEM, of a member. */
#define NO_ACCOUNT	"-12, 10019, 20003, 30003, 70107, 90003, 90008, 90012, 90048"

/* The group that was read, and no other one by now. */
#define STILL_THAT_GROUP \
	"g.id = ANY ($1) AND g.row_key = ANY ($3) AND g.status = 'imported' AND (g.settled_at >= $4) IS NOT TRUE"

/* The last comparison says of an imported row that the app does not have it. */
#define MISSING(o) \
	"EXISTS (SELECT FROM {schema}.im_import_verified v" \
	" WHERE v.row_key = " o ".row_key AND v.result = 'missing' AND (v.checked_at < " o ".settled_at) IS NOT TRUE)"

/*
 * A fingerprint of the triggers of the outboxes, $2: disabling and enabling them, as a
 * restore does, leaves other row versions behind.  $3 is '', or changes with each
 * crash of the server that emptied a table which somebody has set UNLOGGED.
 */
#define TRIGGERS \
	"SELECT $3 || pg_catalog.string_agg(pg_catalog.concat_ws(' ', tgname, tgenabled, xmin), ',' ORDER BY tgrelid, tgname)" \
	" FROM pg_catalog.pg_trigger WHERE tgrelid = ANY ($2)"

/*
 * True if one of the outboxes, $2, was emptied after our snapshot was taken: the
 * table is seen empty then, but its counts are those of before.
 */
#define EMPTIED_SINCE \
	"EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = ANY ($2)" \
	" AND c.relfilenode <> pg_catalog.pg_relation_filenode(c.oid))"

static const Statement statements[NSTATEMENTS] = {
	[ST_CLAIM_NEW] = {
		"SELECT " CLAIM_COLUMNS " FROM " OUTBOX " o"
		" WHERE origin = $1 AND id > $2 AND status = '{open}' AND due_at IS NULL{free}"
		" AND ({at_once} OR NOT " ACCOUNTS_OPEN ")"
		" ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
	4, {INT8OID, INT8OID, INT8OID, INT8OID}},
	[ST_CLAIM_DUE] = {
		"SELECT " CLAIM_COLUMNS " FROM " OUTBOX " o"
		" WHERE origin = $1 AND due_at <= pg_catalog.now()"
		" AND status = '{open}' AND due_at IS NOT NULL{free}"
		" ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
	2, {INT8OID, INT8OID}},
	[ST_CLAIM_ASKED] = {
		"SELECT " CLAIM_COLUMNS " FROM " OUTBOX " o"
		" WHERE id = $2 AND row_key = $3 AND origin = $1 AND status = 'pending'"
		" FOR NO KEY UPDATE SKIP LOCKED",
	3, {INT8OID, INT8OID, UUIDOID}},
	[ST_MARK] = {
		"UPDATE " OUTBOX " o SET status = '{busy}', attempts = LEAST(o.attempts, 1000000) + 1,"
		" {claimed}claim = $4, sent_at = {sent_at}, due_at = NULL,"
		" maybe_sent_at = CASE WHEN v.sends THEN pg_catalog.now() ELSE o.maybe_sent_at END"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($5))"
		" AS v (id, word, sends, number)"
		" WHERE o.id = v.id",
	5, {INT8ARRAYOID, TEXTARRAYOID, BOOLARRAYOID, INT8OID, INT8ARRAYOID}},
	[ST_LOCKABLE] = {
		"SELECT o.row_key FROM " OUTBOX " o JOIN " ROW_LIST " ON o.id = v.id AND o.row_key = v.row_key"
		" FOR NO KEY UPDATE OF o SKIP LOCKED",
	2, {INT8ARRAYOID, UUIDARRAYOID}},
	[ST_EXISTING] = {
		"SELECT o.row_key FROM " OUTBOX " o JOIN " ROW_LIST " ON o.id = v.id AND o.row_key = v.row_key",
	2, {INT8ARRAYOID, UUIDARRAYOID}},
	[ST_SETTLE] = {
		"UPDATE " OUTBOX " o SET status = v.status, attempts = v.attempts,"
		" {settled}"
		" error_code = CASE WHEN v.status = '{done}' THEN NULL ELSE COALESCE(v.code, o.error_code) END,"
		/* Words without a code explain what the code that stands there led to. */
		" error_info = CASE WHEN v.status = '{done}' THEN NULL"
		/* What the service said of it before may be why it cannot be sent now. */
		" WHEN v.status = 'invalid' AND o.error_code > 0 AND o.error_info IS NOT NULL"
		" AND pg_catalog.strpos(v.info, o.error_info) = 0 THEN v.info || '" IM_SAID_BEFORE "'"
		" || o.error_code || ' ' || pg_catalog.replace(o.error_info, '; ', ', ') || ')'"
		" WHEN v.code IS NOT NULL OR v.info IS NULL OR o.error_info IS NULL THEN COALESCE(v.info, o.error_info)"
		" WHEN pg_catalog.strpos(o.error_info, v.info) > 0 THEN o.error_info"
		" ELSE o.error_info || '; ' || v.info END,"
		" due_at = v.due_at, maybe_sent_at = v.maybe_sent_at, claim = NULL,"
		" settled_at = CASE WHEN v.status = '{open}' THEN NULL ELSE pg_catalog.now() END"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		" pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),"
		" pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11))"
		" AS v (id, claim, status, attempts, word, code, info, due_at, maybe_sent_at, row_key, number)"
		" WHERE o.id = v.id AND o.row_key = v.row_key"
		" AND o.claim IS NOT DISTINCT FROM v.claim RETURNING o.status, o.row_key",
	11, {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID,
	INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID, INT8ARRAYOID}},
	[ST_COUNT_DAY] = {
		"INSERT INTO {schema}._im_days AS d (origin, day, groups)"
		" VALUES ($1, (pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date, $2)"
		" ON CONFLICT (origin, day) DO UPDATE SET groups = d.groups + EXCLUDED.groups",
	2, {INT8OID, INT8OID}},
	[ST_RECOVER] = {
		"UPDATE " OUTBOX " SET status = $3, maybe_sent_at = pg_catalog.now(), claim = NULL,"
		" due_at = CASE WHEN $3 = '{open}' THEN pg_catalog.now() END,"
		" settled_at = CASE WHEN $3 = '{open}' THEN NULL ELSE pg_catalog.now() END,"
		" error_code = $4, error_info = $5"
		" WHERE id = ANY (ARRAY(SELECT id FROM " OUTBOX
		" WHERE {dead} AND origin = $1 AND ({unnamed}) = $2"
		" AND (claim IS NULL OR NOT claim = ANY ($6)) FOR NO KEY UPDATE SKIP LOCKED))",
	6, {INT8OID, BOOLOID, TEXTOID, INT4OID, TEXTOID, INT8ARRAYOID}},
	[ST_ANY_DEAD] = {
		"SELECT FROM " OUTBOX
		" WHERE {dead} AND origin = $1 AND (claim IS NULL OR NOT claim = ANY ($2)) LIMIT 1",
	2, {INT8OID, INT8ARRAYOID}},
	[ST_CAP_DUE] = {
		"UPDATE " OUTBOX " SET due_at = pg_catalog.now()"
		" WHERE id = ANY (ARRAY(SELECT id FROM " OUTBOX
		" WHERE origin = $1 AND {phase}status = '{open}' AND due_at IS NOT NULL"
		" AND due_at > pg_catalog.now() + '10 minutes'::pg_catalog.interval FOR NO KEY UPDATE SKIP LOCKED))",
	1, {INT8OID}},
	[ST_NEXT_DUE] = {
		"SELECT due_at FROM " OUTBOX
		" WHERE origin = $1 AND {phase}status = '{open}' AND due_at IS NOT NULL"
		" ORDER BY due_at LIMIT 1",
	1, {INT8OID}},
	[ST_HAS_OPEN] = {
		"SELECT FROM " OUTBOX " WHERE origin = $1 AND status = '{open}' AND due_at IS NULL"
		" UNION ALL SELECT FROM " OUTBOX " WHERE origin = $1 AND status = '{open}' AND due_at IS NOT NULL"
		" UNION ALL SELECT FROM " OUTBOX " WHERE {dead} AND origin = $1 LIMIT 1",
	1, {INT8OID}},
	/* Through the index on id, from its end. */
	[ST_HIGHEST] = {"SELECT pg_catalog.max(id) FROM " OUTBOX, 0, {0}},
	[ST_ADOPT] = {
		"UPDATE " OUTBOX " SET {timeless}origin = $1, status = $5, attempts = 0, claim = NULL,"
		" maybe_sent_at = pg_catalog.now(), due_at = NULL, error_code = $6, error_info = $7,"
		" settled_at = CASE WHEN $5 = '{open}' THEN NULL ELSE pg_catalog.now() END"
		" WHERE status = $9"
		" AND ((origin <> $1 AND $2) OR (origin = $1 AND $3))"
		" AND ({unnamed} AND ($8 OR status = 'sending')) = $4",
	9, {INT8OID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, INT4OID, TEXTOID, BOOLOID, TEXTOID}},
	[ST_DOUBT_CLOSED] = {
		"UPDATE " OUTBOX " SET {timeless}maybe_sent_at = pg_catalog.now()"
		" WHERE origin = $1 AND {attention} AND status IN ('failed', 'invalid', 'in_doubt')",
	1, {INT8OID}},
	[ST_TALLY_SUM] = {
		"SELECT kind, " SUM("pending") ", " SUM("sending") ", " SUM("imported") ", " SUM("failed") ", "
		SUM("invalid") ", " SUM("in_doubt") ", " SUM("undo") ", " SUM("undone") ","
		" COALESCE(pg_catalog.sum(pending + sending + undo) FILTER (WHERE origin <> $1), 0)::bigint,"
		" COALESCE(pg_catalog.bool_or(dirty), false) OR NOT EXISTS"
		" (SELECT FROM {schema}._im_control c WHERE c.triggers = (" TRIGGERS "))"
		" OR " EMPTIED_SINCE
		" FROM " TALLY " GROUP BY ROLLUP (kind)",
	3, {INT8OID, OIDARRAYOID, TEXTOID}},
	[ST_TALLY_CLEAR] = {
		"DELETE FROM " TALLY,
	0, {0}},
	[ST_TALLY_EMPTIED] = {
		"DELETE FROM " TALLY " WHERE kind OPERATOR(pg_catalog.=) '{kind}'",
	0, {0}},
	/* What was compared with the app, of rows that are gone. */
	[ST_CHECK_EMPTIED] = {
		"DELETE FROM {schema}.im_import_verified WHERE kind OPERATOR(pg_catalog.=) '{kind}'",
	0, {0}},
	[ST_CHECK_GONE] = {
		"DELETE FROM {schema}.im_import_verified WHERE row_key OPERATOR(pg_catalog.=) ANY ($1)",
	1, {UUIDARRAYOID}},
	/* What rows that are gone have set may stand in the app.  Nobody's UPDATE: the worker must not wait. */
	[ST_ROOMS_LEFT_OVER] = {
		"INSERT INTO {schema}._im_left_over (room) SELECT DISTINCT v.room FROM pg_catalog.unnest($1) AS v (room)"
		" ON CONFLICT (room) DO NOTHING",
	1, {TEXTARRAYOID}},
	[ST_ALL_LEFT_OVER] = {
		"INSERT INTO {schema}._im_left_over (room) VALUES ('*') ON CONFLICT (room) DO NOTHING",
	0, {0}},
	/* Groups were made: what is known of rooms of these keys is of others, which are gone. */
	[ST_ROOMS_GONE] = {
		"WITH l AS (DELETE FROM {schema}._im_left_over WHERE room = ANY ($1))"
		" DELETE FROM {schema}._im_room_state WHERE room = ANY ($1) RETURNING room",
	1, {TEXTARRAYOID}},
	[ST_TALLY_RECOUNT] = {
		"INSERT INTO " TALLY " (kind, origin, pending, sending, imported, failed, invalid, in_doubt, undo, undone)"
		" SELECT '{kind}', origin, " COUNT("pending") ", " COUNT("sending") ", " COUNT("imported") ", "
		COUNT("failed") ", " COUNT("invalid") ", " COUNT("in_doubt") ", " COUNT("undo") ", " COUNT("undone") " FROM " OUTBOX " GROUP BY origin",
	0, {0}},
	[ST_TALLY_COUNTED] = {
		"UPDATE {schema}._im_control SET triggers = (" TRIGGERS ") WHERE origin = $1",
	3, {INT8OID, OIDARRAYOID, TEXTOID}},
	[ST_TALLY_MANY] = {
		"SELECT FROM " TALLY " OFFSET $1 LIMIT 1",
	1, {INT8OID}},
	[ST_TALLY_FOLD] = {
		"WITH gone AS (DELETE FROM " TALLY " RETURNING *)"
		" INSERT INTO " TALLY " (kind, origin, pending, sending, imported, failed, invalid, in_doubt, undo, undone, dirty)"
		" SELECT kind, origin, pg_catalog.sum(pending), pg_catalog.sum(sending), pg_catalog.sum(imported),"
		" pg_catalog.sum(failed), pg_catalog.sum(invalid), pg_catalog.sum(in_doubt),"
		" pg_catalog.sum(undo), pg_catalog.sum(undone),"
		" pg_catalog.bool_or(dirty) FROM gone GROUP BY kind, origin",
	0, {0}},
	[ST_TALLY_DIRTY] = {
		"INSERT INTO " TALLY " (kind, origin, dirty) VALUES ('', 0, true)",
	0, {0}},
	[ST_OLDEST] = {
		"SELECT enqueued_at FROM " OUTBOX
		" WHERE origin = $1 AND id > $2 AND status = 'pending' AND due_at IS NULL ORDER BY id LIMIT 1",
	2, {INT8OID, INT8OID}},
	[ST_CONTROL] = {
		"SELECT timeline, paused_at, paused_by, pause_reason,"
		" (SELECT groups FROM {schema}._im_days d WHERE d.origin = $1"
		" AND d.day = (pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date)"
		" FROM {schema}._im_control WHERE origin = $1",
	1, {INT8OID}},
	[ST_CONTROL_NEW] = {
		"INSERT INTO {schema}._im_control (origin, timeline) VALUES ($1, $2)"
		" ON CONFLICT (origin) DO NOTHING",
	2, {INT8OID, INT8OID}},
	[ST_CONTROL_TIMELINE] = {
		"UPDATE {schema}._im_control SET timeline = $2 WHERE origin = $1",
	2, {INT8OID, INT8OID}},
	[ST_CONTROL_PAUSE] = {
		"UPDATE {schema}._im_control SET paused_at = CASE WHEN $2 THEN pg_catalog.now() END,"
		" paused_by = CASE WHEN $2 THEN $3 END, pause_reason = CASE WHEN $2 THEN $4 END"
		" WHERE origin = $1",
	4, {INT8OID, BOOLOID, TEXTOID, TEXTOID}},
	[ST_RETRY] = {
		"UPDATE " OUTBOX " SET status = 'pending'"
		" WHERE {attention} AND status IN ('failed', 'invalid', 'in_doubt')"
		" AND ($1 IS NULL OR error_code = $1) AND status = ANY ($2)",
	2, {INT4OID, TEXTARRAYOID}},
	[ST_RETRY_MISSING] = {
		"UPDATE " OUTBOX " o SET status = 'pending' WHERE o.status = 'imported' AND " MISSING("o"),
	0, {0}},
	[ST_RETRY_UNDONE] = {
		"UPDATE " OUTBOX " SET status = 'pending' WHERE status = 'undone'",
	0, {0}},
	/*
	 * Rows that were refused because an account was missing, and whose account came
	 * later.  Sent once more they are newer than it, so none goes round and round.
	 */
	[ST_RETRY_LATE] = {
		"UPDATE " OUTBOX " SET status = 'pending', attempts = 0, error_code = NULL, error_info = NULL,"
		" due_at = NULL, settled_at = NULL WHERE id = ANY (ARRAY(SELECT o.id FROM " OUTBOX " o"
		" WHERE {attention} AND o.status = 'failed' AND o.origin = $1 AND o.error_code IN (" NO_ACCOUNT ")"
		" AND EXISTS (SELECT FROM {schema}.im_account_outbox a WHERE a.user_id IN ({users})"
		" AND a.status || '' = 'imported' AND a.settled_at > o.sent_at) FOR NO KEY UPDATE SKIP LOCKED))",
	1, {INT8OID}},
	/* Until the transaction ends no claim goes on in these rooms. */
	[ST_RETRY_LOCK] = {
		"SELECT FROM {schema}._im_room_state s WHERE s.room IN (SELECT " ROOM " COLLATE \"C\" FROM " OUTBOX " i"
		" WHERE i.status = 'imported' AND " MISSING("i") ") ORDER BY s.room FOR UPDATE",
	0, {0}},
	/*
	 * Rows that go in order: only those behind all that are there, and only where
	 * none is on its way.  What was known of their rooms is what is there.
	 */
	[ST_RETRY_TAIL] = {
		"WITH gone AS MATERIALIZED (SELECT i.id, " ROOM " AS room, i.sent_time FROM " OUTBOX " i"
		" WHERE i.status = 'imported' AND " MISSING("i") "),"
		" rooms AS MATERIALIZED (SELECT DISTINCT g.room FROM gone g),"
		" there AS MATERIALIZED (SELECT r.room, pg_catalog.max(i.sent_time) AS newest_time, pg_catalog.max(i.msg_seq) AS newest_seq"
		" FROM " OUTBOX " i JOIN rooms r ON r.room = " ROOM " WHERE i.status = 'imported' AND NOT " MISSING("i") " GROUP BY r.room),"
		" busy AS MATERIALIZED (SELECT r.room FROM " OUTBOX " i JOIN rooms r ON r.room = " ROOM
		" WHERE " OPEN("i") " AND (i.status = 'sending' OR i.maybe_sent_at IS NOT NULL)),"
		" back AS (UPDATE " OUTBOX " o SET status = 'pending', attempts = 0, error_code = NULL, error_info = NULL,"
		" due_at = NULL, settled_at = NULL, maybe_sent_at = NULL, claim = NULL, sent_time = NULL, msg_seq = NULL, origin = $1"
		" FROM gone g LEFT JOIN there t ON t.room = g.room"
		" WHERE o.id = g.id AND (t.newest_time IS NULL OR g.sent_time > t.newest_time"
		/* Never sent: somebody inserted it as imported. */
		" OR g.sent_time IS NULL)"
		" AND g.room NOT IN (SELECT b.room FROM busy b) RETURNING g.room, g.sent_time),"
		" counted AS (SELECT b.room, pg_catalog.count(b.sent_time) AS n FROM back b GROUP BY b.room),"
		" known AS (UPDATE {schema}._im_room_state s SET {counted} = GREATEST(s.{counted} - c.n, 0),"
		" newest_time = GREATEST(t.newest_time, " DOUBTED_OF_ROOM "), settled_time = t.newest_time, newest_seq = t.newest_seq"
		" FROM counted c LEFT JOIN there t ON t.room = c.room WHERE s.room = c.room)"
		" SELECT (SELECT pg_catalog.count(*) FROM back), (SELECT pg_catalog.count(*) FROM gone)",
	1, {INT8OID}},
	[ST_IS_MISSING] = {
		"SELECT FROM {schema}.im_import_verified WHERE row_key = $1 AND result = 'missing'"
		" AND (checked_at < $2) IS NOT TRUE",
	2, {UUIDOID, TIMESTAMPTZOID}},
	[ST_RESOLVE] = {
		"UPDATE " OUTBOX " SET status = $2, {resolved}"
		" maybe_sent_at = NULL, claim = NULL, attempts = 0, due_at = NULL,"
		" error_code = NULL, error_info = NULL,"
		" settled_at = CASE WHEN $2 <> 'pending' THEN pg_catalog.now() END"
		" WHERE id = $1 AND status = 'in_doubt'",
	4, {INT8OID, TEXTOID, TEXTOID, INT8OID}},
	[ST_RESOLVED_ROOM] = {
		"UPDATE {schema}._im_room_state s SET {counted} = s.{counted} + 1,"
		" newest_time = GREATEST(s.newest_time, i.sent_time), settled_time = GREATEST(s.settled_time, i.sent_time),"
		" newest_seq = GREATEST(s.newest_seq, i.msg_seq) FROM " OUTBOX " i WHERE i.id = $1 AND s.room = " ROOM " COLLATE \"C\"",
	1, {INT8OID}},
	/* Until the transaction ends no claim goes on in this room, as with ST_RETRY_LOCK. */
	[ST_RESOLVED_LOCK] = {
		"SELECT s.room FROM {schema}._im_room_state s WHERE s.room = (SELECT " ROOM " COLLATE \"C\" FROM " OUTBOX " i"
		" WHERE i.id = $1) FOR UPDATE",
	1, {INT8OID}},
	[ST_ROW] = {
		"SELECT status, {named}, error_code, error_info, xmin FROM " OUTBOX
		" WHERE id = $1 AND row_key = $2",
	2, {INT8OID, UUIDOID}},
	/* All at once: no index has rows that are done in the order in which they are asked for. */
	[ST_CHECK_LIST] = {
		"SELECT pg_catalog.array_agg(a.id) FROM (SELECT i.id FROM " OUTBOX " i"
		" WHERE i.status = 'imported' AND {askable} AND COALESCE("
		"(SELECT v.result = 'unreadable' OR v.checked_at < $1 OR (v.checked_at < i.settled_at) IS TRUE"
		" OR ($2 AND (NOT v.deep OR v.deep_at < $1))"
		" FROM {schema}.im_import_verified v WHERE v.row_key = i.row_key), true) ORDER BY {place} LIMIT $3) a",
	3, {TIMESTAMPTZOID, BOOLOID, INT8OID}},
	[ST_CHECK_ROWS] = {
		"SELECT " CLAIM_COLUMNS " FROM pg_catalog.unnest($1) WITH ORDINALITY AS v (id, n)"
		" JOIN " OUTBOX " o ON o.id = v.id AND o.status = 'imported' ORDER BY v.n",
	1, {INT8ARRAYOID}},
	/* The same of rows that belong to a group, with what is known of its messages. */
	[ST_CHECK_ROOMS] = {
		"SELECT " CLAIM_COLUMNS ", k.group_id AS said_group, {number} AS said_number, s.messages AS said_messages,"
		" s.newest_seq AS said_newest_seq, s.settled_time AS said_newest_time"
		" FROM pg_catalog.unnest($1) WITH ORDINALITY AS v (id, n)"
		" JOIN " OUTBOX " o ON o.id = v.id AND o.status = 'imported'"
		" JOIN LATERAL (SELECT g.group_id, '+' || g.source_id AS room FROM {schema}.im_group_outbox g"
		" WHERE g.source_id = o.group_source_id AND o.group_id IS NULL AND g.status = 'imported'"
		" UNION ALL SELECT o.group_id, '=' || o.group_id WHERE o.group_source_id IS NULL) k ON k.group_id IS NOT NULL"
		" LEFT JOIN {schema}._im_room_state s ON s.room = k.room COLLATE \"C\""
		" ORDER BY v.n",
	1, {INT8ARRAYOID}},
	/*
	 * A count, or no answer, does not take back what was found of the row itself.
	 * Returns the rows whose difference stays so.
	 */
	[ST_CHECK_WRITE] = {
		"WITH written AS (INSERT INTO {schema}.im_import_verified AS v (kind, row_key, id, checked_at, result, fields, deep, deep_at, sdkappid)"
		" SELECT DISTINCT ON (n.row_key) '{kind}', n.row_key, n.id, pg_catalog.now(), n.result, n.fields::text[], n.deep,"
		" CASE WHEN n.deep THEN pg_catalog.now() END, $6"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		" pg_catalog.unnest($4), pg_catalog.unnest($5)) AS n (id, result, fields, row_key, deep)"
		/* Meanwhile somebody may have taken it back, deleted it, or sent it again. */
		" JOIN " OUTBOX " o ON o.id = n.id AND o.row_key = n.row_key AND o.status = 'imported' AND (o.settled_at >= $7) IS NOT TRUE"
		" ON CONFLICT (row_key) DO UPDATE SET kind = EXCLUDED.kind, id = EXCLUDED.id, checked_at = EXCLUDED.checked_at,"
		" (result, fields, deep, deep_at) = (SELECT CASE WHEN k.kept THEN v.result ELSE EXCLUDED.result END,"
		" CASE WHEN k.kept THEN v.fields ELSE EXCLUDED.fields END, k.kept OR EXCLUDED.deep,"
		" CASE WHEN k.kept THEN v.deep_at ELSE EXCLUDED.deep_at END"
		" FROM (SELECT v.deep AND v.sdkappid = EXCLUDED.sdkappid"
		" AND (v.result IN ('differs', 'missing') AND (NOT EXCLUDED.deep OR EXCLUDED.result = 'unreadable')"
		" OR v.result = 'matched' AND NOT EXCLUDED.deep)"
		" AND NOT EXISTS (SELECT FROM " OUTBOX " o WHERE o.id = EXCLUDED.id AND v.checked_at < o.settled_at) AS kept OFFSET 0) k),"
		" sdkappid = EXCLUDED.sdkappid RETURNING v.id, v.result, v.deep_at)"
		" SELECT w.id, w.result FROM written w WHERE w.result IN ('differs', 'missing') AND w.deep_at < pg_catalog.now()",
	7, {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, UUIDARRAYOID, BOOLARRAYOID, INT8OID, TIMESTAMPTZOID}},
	/*
	 * A group that is not there has no rows: none of them needs to be asked for.  The
	 * group may have been made anew since it was read, $4, and so may they.
	 */
	[ST_CHECK_GROUP_GONE] = {
		"INSERT INTO {schema}.im_import_verified AS v (kind, row_key, id, checked_at, result, deep_at, sdkappid)"
		" SELECT '{kind}', i.row_key, i.id, pg_catalog.now(), 'missing', pg_catalog.now(), $2"
		" FROM (SELECT '+' || g.source_id AS room FROM {schema}.im_group_outbox g WHERE " STILL_THAT_GROUP
		" UNION SELECT '=' || g.group_id FROM {schema}.im_group_outbox g WHERE " STILL_THAT_GROUP ") r"
		" JOIN " OUTBOX " i ON " ROOM " COLLATE \"C\" = r.room AND " IN_GROUP("i") " AND i.status = 'imported'"
		" AND (i.settled_at >= $4) IS NOT TRUE"
		" ON CONFLICT (row_key) DO UPDATE SET kind = EXCLUDED.kind, id = EXCLUDED.id, checked_at = EXCLUDED.checked_at,"
		" result = EXCLUDED.result, fields = NULL, deep = true, deep_at = EXCLUDED.deep_at, sdkappid = EXCLUDED.sdkappid",
	4, {INT8ARRAYOID, INT8OID, UUIDARRAYOID, TIMESTAMPTZOID}},
	[ST_CHECK_OTHER_APP] = {
		"DELETE FROM {schema}.im_import_verified WHERE sdkappid <> $1",
	1, {INT8OID}},
	[ST_CLAIM_ROOMS] = {
		"SELECT " CLAIM_COLUMNS ", r.n, 0::bigint, {left_over}"
		" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS r (room, after, n),"
		" LATERAL (SELECT i.id FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = r.room"
		" AND " OPEN("i") " AND i.status = 'pending' AND i.id > r.after AND (i.due_at IS NULL OR i.due_at <= pg_catalog.now())"
		" AND NOT " USER_IS_OPEN("{user of i}")
		" ORDER BY i.id LIMIT $4) a JOIN " OUTBOX " o ON o.id = a.id"
		" WHERE " IS_PENDING("o") STILL_IN_ROOM " ORDER BY r.n, o.id FOR NO KEY UPDATE OF o SKIP LOCKED",
	4, {INT8OID, TEXTARRAYOID, INT8ARRAYOID, INT8OID}},
	[ST_CLAIM_ORDERED] = {
		"SELECT " CLAIM_COLUMNS ", r.n, a.rank,"
		" (SELECT s.newest_time FROM {schema}._im_room_state s WHERE s.room = r.room)"
		" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS r (room, after, n),"
		" LATERAL (SELECT f.id, f.send_time, pg_catalog.row_number() OVER (ORDER BY f.send_time, f.id) AS rank"
		/* What may be there already is looked up before anything is sent after it. */
		" FROM (" UNKNOWN_OF_ROOM " LIMIT $4) UNION ALL"
		" (SELECT i.id, i.send_time FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = r.room"
		" AND " OPEN("i") " AND NOT EXISTS " UNKNOWN_OF_ROOM " LIMIT 1)"
		" ORDER BY i.send_time, i.id LIMIT $4)) f) a"
		" JOIN " OUTBOX " o ON o.id = a.id"
		" WHERE " IS_PENDING("o") " AND (o.due_at IS NULL OR o.due_at <= pg_catalog.now())"
		STILL_IN_ROOM " AND o.send_time IS NOT DISTINCT FROM a.send_time"
		/* It holds those behind it, as one that is locked does. */
		" AND NOT " USER_IS_OPEN("{user of o}")
		" ORDER BY r.n, a.rank FOR NO KEY UPDATE OF o SKIP LOCKED",
	4, {INT8OID, TEXTARRAYOID, INT8ARRAYOID, INT8OID}},
	[ST_ROOM_OPEN] = {
		"SELECT r.n, (SELECT COALESCE(i.due_at, pg_catalog.now()) FROM " OUTBOX " i"
		" WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = r.room"
		" AND " OPEN("i") " ORDER BY {first} LIMIT 1)"
		" FROM pg_catalog.unnest($2) WITH ORDINALITY AS r (room, n)",
	2, {INT8OID, TEXTARRAYOID}},
	/* A group's row may have been deleted, and loaded anew with another GroupId. */
	[ST_OTHER_GROUP] = {
		"SELECT r.n, (SELECT g.group_id FROM {schema}.im_group_outbox g"
		" WHERE g.source_id = pg_catalog.substr(r.room, 2) AND g.status = 'imported')"
		" FROM pg_catalog.unnest($1) WITH ORDINALITY AS r (room, n)"
		" WHERE pg_catalog.left(r.room, 1) = '+'",
	1, {TEXTARRAYOID}},
	[ST_SWEEP] = {
		"WITH RECURSIVE w (room, n) AS ("
		"(SELECT " ROOM ", 1 FROM " OUTBOX " i WHERE i.origin = $1 AND " OPEN("i") " AND i.status = 'pending'"
		" AND " ROOM " COLLATE \"C\" > $2 ORDER BY " ROOM " COLLATE \"C\" LIMIT 1)"
		" UNION ALL SELECT (SELECT " ROOM " FROM " OUTBOX " i WHERE i.origin = $1 AND " OPEN("i") " AND i.status = 'pending'"
		" AND " ROOM " COLLATE \"C\" > w.room ORDER BY " ROOM " COLLATE \"C\" LIMIT 1), w.n + 1"
		" FROM w WHERE w.room IS NOT NULL AND w.n < $3)"
		" SELECT w.room, k.group_id, k.created, CASE WHEN k.group_id IS NULL THEN"
		" (SELECT pg_catalog.count(*) FROM (SELECT FROM " OUTBOX " i WHERE i.origin = $1 AND " OPEN("i") " AND i.status = 'pending'"
		" AND " ROOM " COLLATE \"C\" = w.room LIMIT 100000) c) ELSE 0 END"
		" FROM w" GROUP_OF_ROOM
		" WHERE w.room IS NOT NULL",
	3, {INT8OID, TEXTOID, INT8OID}},
	/* Of the first rows above an id the rooms whose groups are there.  So many are read, whatever they are. */
	[ST_NEWCOMERS] = {
		"WITH w AS MATERIALIZED (SELECT DISTINCT " ROOM " AS room FROM (SELECT i.* FROM " OUTBOX " i"
		" WHERE i.id > $2 ORDER BY i.id LIMIT $3) i WHERE i.origin = $1 AND i.status = 'pending')"
		" SELECT w.room, k.group_id, k.created, 0::bigint FROM w" GROUP_OF_ROOM
		" WHERE k.group_id IS NOT NULL",
	3, {INT8OID, INT8OID, INT8OID}},
	[ST_ROOM_NOTE] = {
		"WITH v AS MATERIALIZED (SELECT * FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
		" pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8))"
		" AS v (room, newest_time, settled_time, newest_seq, held, " EACH ", }{counted}" END ")),"
		/* Most are there: an UPDATE writes less to the log than an INSERT that finds them. */
		" u AS (UPDATE {schema}._im_room_state s SET"
		" newest_time = GREATEST(s.newest_time, v.newest_time),"
		" settled_time = GREATEST(s.settled_time, v.settled_time),"
		" newest_seq = GREATEST(s.newest_seq, v.newest_seq),"
		" " EACH ", }{counted} = s.{counted} + v.{counted}" END ", held = COALESCE(v.held, s.held)"
		" FROM v WHERE s.room = v.room COLLATE \"C\" RETURNING s.room)"
		" INSERT INTO {schema}._im_room_state AS s (room, newest_time, settled_time, newest_seq, held, " EACH ", }{counted}" END ")"
		" SELECT v.room, v.newest_time, v.settled_time, v.newest_seq, v.held, " EACH ", }v.{counted}" END
		" FROM v WHERE v.room COLLATE \"C\" NOT IN (SELECT u.room FROM u)"
		" ON CONFLICT (room) DO UPDATE SET"
		" newest_time = GREATEST(s.newest_time, EXCLUDED.newest_time),"
		" settled_time = GREATEST(s.settled_time, EXCLUDED.settled_time),"
		" newest_seq = GREATEST(s.newest_seq, EXCLUDED.newest_seq),"
		" held = COALESCE(EXCLUDED.held, s.held), " EACH ", }{counted} = s.{counted} + EXCLUDED.{counted}" END,
	5 + IM_STAGES, {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
	/* of each stage */ INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID}},
	/* What is in the group, or may be: a time that was claimed and surely not used is free again. */
	[ST_ROOM_LOWER] = {
		"UPDATE {schema}._im_room_state s SET newest_time = GREATEST(s.settled_time,"
		" (SELECT pg_catalog.max(i.sent_time) FROM " OUTBOX " i WHERE i.origin = $1"
		" AND " ROOM " COLLATE \"C\" = s.room AND " OPEN("i") " AND i.maybe_sent_at IS NOT NULL),"
		" " DOUBTED_OF_ROOM ")"
		" WHERE s.room = ANY ($2)",
	2, {INT8OID, TEXTARRAYOID}},
	/* Rooms of which rows are claimed that undo those of this kind. */
	[ST_AGAIN_ROOMS] = {
		"SELECT s.room FROM {schema}._im_room_state s WHERE s.room = ANY ($1) AND s.{counted} > 0",
	1, {TEXTARRAYOID}},
	[ST_SEND_AGAIN] = {
		"UPDATE " OUTBOX " SET status = 'pending', attempts = 0, due_at = NULL, settled_at = NULL, maybe_sent_at = NULL"
		" WHERE id = ANY (ARRAY(SELECT o.id FROM " OUTBOX " o WHERE o.id = ANY (ARRAY("
		"SELECT i.id FROM pg_catalog.unnest($2) AS r (room), " OUTBOX " i WHERE " DONE_OF_SOURCE("r")
		" UNION ALL SELECT i.id FROM pg_catalog.unnest($2) AS r (room), " OUTBOX " i WHERE " DONE_OF_GROUP("r")
		")) AND o.status || '' = 'imported' FOR NO KEY UPDATE SKIP LOCKED))",
	2, {INT8OID, TEXTARRAYOID}},
	/* Where somebody had a row locked, the next message tries again. */
	[ST_AGAIN_DONE] = {
		"UPDATE {schema}._im_room_state s SET {counted} = 0 WHERE s.room = ANY ($2)"
		" AND NOT EXISTS (SELECT FROM " OUTBOX " i WHERE " DONE_OF_SOURCE("s") ")"
		" AND NOT EXISTS (SELECT FROM " OUTBOX " i WHERE " DONE_OF_GROUP("s") ")",
	2, {INT8OID, TEXTARRAYOID}},
	/* The group to which a row of a room belongs. */
	[ST_ROOM_OF] = {
		"SELECT g.group_id, pg_catalog.floor(EXTRACT(epoch FROM COALESCE(g.create_time, " MADE_AT ")))::bigint"
		" FROM " OUTBOX " i JOIN {schema}.im_group_outbox g ON g.source_id = i.group_source_id AND g.status = 'imported'"
		" WHERE i.id = $1 AND i.row_key = $2 AND i.group_id IS NULL"
		" UNION ALL SELECT i.group_id, 0 FROM " OUTBOX " i"
		" WHERE i.id = $1 AND i.row_key = $2 AND i.group_source_id IS NULL AND i.group_id IS NOT NULL"
		" AND NOT EXISTS (SELECT FROM {schema}.im_group_outbox u WHERE u.group_id = i.group_id AND " UNDOING("u") ")",
	2, {INT8OID, UUIDOID}},
	/* The GroupId of the group that was imported from a source. */
	[ST_GROUP_OF] = {
		"SELECT g.group_id FROM {schema}.im_group_outbox g"
		" WHERE g.source_id = $1 AND g.status = 'imported' AND g.group_id IS NOT NULL",
	1, {TEXTOID}},
	[ST_ROOM_RELEASE] = {
		"UPDATE {schema}._im_room_state SET held = NULL WHERE held IS NOT NULL",
	0, {0}},
	/*
	 * Of each of these groups how many messages were imported by rows, with which
	 * numbers, whether any row of it is under way, and whether it has topics, whose
	 * messages cannot be counted.  Of a group that is gone, $3, or that has to wait
	 * nothing is counted: that would be done again and again.
	 */
	[ST_UNDO_LOOK] = {
		"SELECT GREATEST(m.n, (SELECT pg_catalog.sum(s.messages) FROM {schema}._im_room_state s WHERE s.room = ANY (r.rooms)))::bigint,"
		" COALESCE(m.least, 0), COALESCE(m.most, 0), m.n = m.numbered AND m.most - m.least + 1 = m.n,"
		" r.busy, o.support_topic IS TRUE, v.n, r.gone"
		" FROM pg_catalog.unnest($1) WITH ORDINALITY AS v (id, n) JOIN " OUTBOX " o ON o.id = v.id,"
		" LATERAL (SELECT r.rooms, (o.error_code = $3) IS TRUE AS gone, " FLYING " AS busy"
		" FROM (SELECT ARRAY['+' || o.source_id, '=' || o.group_id] COLLATE \"C\") AS r (rooms) OFFSET 0) r,"
		" LATERAL (SELECT pg_catalog.count(*) AS n, pg_catalog.count(i.msg_seq) AS numbered, pg_catalog.min(i.msg_seq) AS least,"
		" pg_catalog.max(i.msg_seq) AS most FROM {schema}.im_message_outbox i"
		" WHERE NOT r.gone AND NOT r.busy AND " ROOM " COLLATE \"C\" = ANY (r.rooms) AND " IN_GROUP("i") " AND i.status = 'imported') m",
	3, {INT8ARRAYOID, INT8OID, INT4OID}},
	/* Rows of rooms whose group is gone; what somebody locks is left for later. */
	[ST_UNDO_ROWS] = {
		"WITH s AS (SELECT i.id, i.row_key, i.status FROM " OUTBOX " i WHERE i.origin = $1"
		" AND " ROOM " COLLATE \"C\" = ANY ($2) AND " IN_GROUP("i") " LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED),"
		" checked AS (DELETE FROM {schema}.im_import_verified v USING s WHERE v.row_key = s.row_key)"
		" UPDATE " OUTBOX " o SET status = 'undone', error_code = NULL, error_info = NULL, due_at = NULL,"
		" maybe_sent_at = NULL, claim = NULL, settled_at = pg_catalog.now()"
		" FROM s WHERE o.id = s.id RETURNING s.status",
	3, {INT8OID, TEXTARRAYOID, INT8OID}},
	[ST_UNDO_LEFT] = {
		LEFT_OF_ROOMS " LIMIT 1",
	2, {INT8OID, TEXTARRAYOID}},
	/*
	 * Open rows of such rooms that were maybe applied, up to $4: with the group that is
	 * gone, too.  Into the next one they go in their order, not before all others.  A
	 * time that is still to come, because the clock was set back, counts from now on.
	 */
	[ST_UNDO_DOUBTS] = {
		"UPDATE " OUTBOX " SET {timeless}maybe_sent_at = CASE WHEN maybe_sent_at > $4 THEN pg_catalog.now() END, due_at = NULL,"
		" attempts = 0, error_code = NULL, error_info = NULL WHERE id = ANY (ARRAY("
		"SELECT i.id FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = ANY ($2) AND i.phase = 'u'"
		" AND (i.maybe_sent_at <= $4 OR i.maybe_sent_at > pg_catalog.now()) LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED))",
	4, {INT8OID, TEXTARRAYOID, INT8OID, TIMESTAMPTZOID}},
	[ST_UNDO_DOUBTED] = {
		"SELECT FROM " OUTBOX " i WHERE i.origin = $1 AND " ROOM " COLLATE \"C\" = ANY ($2) AND i.phase = 'u' LIMIT 1",
	2, {INT8OID, TEXTARRAYOID}},
	/* What was known of a room begins anew, and so does the time of its messages. */
	[ST_UNDO_ROOM] = {
		"WITH checked AS (DELETE FROM {schema}.im_import_verified WHERE row_key = $2)"
		" DELETE FROM {schema}._im_room_state WHERE room = ANY ($1)",
	2, {TEXTARRAYOID, UUIDOID}},
	[ST_FORGET] = {
		"WITH gone AS (DELETE FROM " OUTBOX " WHERE status = 'imported' AND id = ANY (ARRAY("
		"SELECT g.id FROM {schema}.im_group_outbox g WHERE g.id > $2 AND g.status = 'imported' AND g.settled_at < $1"
		NONE_OPEN
		" ORDER BY g.id LIMIT $3 FOR UPDATE OF g SKIP LOCKED)) RETURNING id, row_key),"
		" checks AS (DELETE FROM {schema}.im_import_verified WHERE row_key IN (SELECT row_key FROM gone))"
		" SELECT pg_catalog.count(*), pg_catalog.max(id) FROM gone",
	3, {TIMESTAMPTZOID, INT8OID, INT8OID}},
	/* An audit that was left, if the service may still know where. */
	[ST_AUDIT_STATE] = {
		"SELECT a.next, a.listed FROM {schema}._im_audit a WHERE a.origin = $1 AND a.sdkappid = $2"
		" AND a.finished_at IS NULL AND a.started_at > pg_catalog.now() - '1 day'::pg_catalog.interval",
	2, {INT8OID, INT8OID}},
	[ST_AUDIT_CLEAR] = {
		"DELETE FROM {schema}._im_listed",
	0, {0}},
	[ST_AUDIT_BEGIN] = {
		"INSERT INTO {schema}._im_audit AS a (origin, sdkappid, started_at) VALUES ($1, $2, pg_catalog.now())"
		" ON CONFLICT (origin) DO UPDATE SET sdkappid = EXCLUDED.sdkappid, started_at = EXCLUDED.started_at,"
		" finished_at = NULL, next = 0, listed = 0",
	2, {INT8OID, INT8OID}},
	[ST_AUDIT_PAGE] = {
		"WITH new AS (INSERT INTO {schema}._im_listed (group_id) SELECT DISTINCT v.group_id"
		" FROM pg_catalog.unnest($2) AS v (group_id) ON CONFLICT (group_id) DO NOTHING RETURNING 1)"
		" UPDATE {schema}._im_audit SET next = $3, listed = listed + (SELECT pg_catalog.count(*) FROM new)"
		" WHERE origin = $1 AND next = $4 AND sdkappid = $5 AND finished_at IS NULL RETURNING listed",
	5, {INT8OID, TEXTARRAYOID, INT8OID, INT8OID, INT8OID}},
	[ST_GHOSTS_CLEAR] = {
		"DELETE FROM {schema}.im_import_ghosts",
	0, {0}},
	[ST_GHOSTS] = {
		"INSERT INTO {schema}.im_import_ghosts (what, group_id, id, source_id, found_at)"
		" SELECT 'no row', l.group_id, NULL, NULL, pg_catalog.now() FROM {schema}._im_listed l"
		" WHERE NOT EXISTS (SELECT FROM {schema}.im_group_outbox g WHERE g.group_id = l.group_id)"
		" AND NOT EXISTS (SELECT FROM {schema}._im_room_state s WHERE s.room = ('=' || l.group_id) COLLATE \"C\")"
		" UNION ALL SELECT DISTINCT ON (g.group_id) 'not listed', g.group_id, g.id, g.source_id, pg_catalog.now()"
		" FROM {schema}.im_group_outbox g, {schema}._im_audit a"
		" WHERE a.origin = $1 AND g.status = 'imported' AND g.group_id IS NOT NULL AND (g.settled_at >= a.started_at) IS NOT TRUE"
		" AND NOT EXISTS (SELECT FROM {schema}._im_listed l WHERE l.group_id = g.group_id)",
	1, {INT8OID}},
	[ST_AUDIT_END] = {
		"UPDATE {schema}._im_audit SET finished_at = pg_catalog.now() WHERE origin = $1 RETURNING"
		" (SELECT pg_catalog.count(*) FROM {schema}.im_import_ghosts h WHERE h.what = 'no row'),"
		" (SELECT pg_catalog.count(*) FROM {schema}.im_import_ghosts h WHERE h.what = 'not listed')",
	1, {INT8OID}},
};

StaticAssertDecl(IM_STAGES == 3, "ST_ROOM_NOTE has a parameter for each stage");

/* Prepared for the schema of this name: it can be renamed. */
static SPIPlanPtr plans[IM_KINDS][NSTATEMENTS];
static NameData plans_schema;

/* Forgets the plans of a kind. */
static void
forget(ImKind kind)
{
	for (int i = 0; i < NSTATEMENTS; i++)
	{
		if (plans[kind][i] != NULL)
			SPI_freeplan(plans[kind][i]);
		plans[kind][i] = NULL;
	}
}

/* See statements.h. */
void
im_statements_grown(ImKind kind, BlockNumber pages)
{
	static BlockNumber known[IM_OUTBOXES];

	known[kind] = Min(known[kind], pages);	/* what shrinks a table invalidates its plans */
	if (pages / 2 <= known[kind])
		return;
	/* Those of all kinds: the statements of one look into the tables of others. */
	for (int k = 0; k < IM_KINDS; k++)
		forget(k);
	known[kind] = pages;
}

/* The columns of a kind's record. */
static void
put_columns(StringInfo sql, const ImCommand *command)
{
	for (int i = 0; i < command->nfields; i++)
		appendStringInfo(sql, "%so.%s", i > 0 ? ", " : "", command->fields[i].column);
}

/* The user that a row of a group needs, or NULL. */
static const char *
user_of(const ImCommand *command, char row)
{
	for (int i = 0; i < command->nfields; i++)
		if (command->fields[i].flags & IM_FIELD_USER)
			return psprintf("%c.%s::text", row, command->fields[i].column);
	return "NULL::text";
}

/* What a command says, or what is so for most. */
static const char *
said_or(const char *said, const char *usual)
{
	return said != NULL ? said : usual;
}

/* What a word in braces stands for. */
static void
put_word(StringInfo sql, const char *word, size_t len, const char *schema, const ImCommand *command)
{
	const struct
	{
		const char *word;
		const char *text;
	}			words[] = {
		{"schema", schema},
		{"table", command->table},
		{"kind", command->name},
		{"counted", said_or(command->counted, "")},
		{"extra", said_or(command->sql.extra, "NULL::text")},
		{"claimed", said_or(command->sql.claimed, "")},
		{"settled", said_or(command->sql.settled, "")},
		{"named", said_or(command->sql.named, "NULL::text")},
		{"unnamed", said_or(command->sql.unnamed, "false")},
		{"first", command->ordered ? command->sql.order : "i.due_at NULLS FIRST"},
		{"open", im_status_name(im_open_status(command))},
		{"busy", im_status_name(im_busy_status(command))},
		{"done", im_status_name(im_done_status(command))},
		/* What is to be undone keeps its status while it is claimed, and when it was sent. */
		{"free", command->undoes ? " AND claim IS NULL" : ""},
		{"at_once", command->after_accounts ? "false" : "true"},
		{"user of i", user_of(command, 'i')},
		{"user of o", user_of(command, 'o')},
		/* Only of a kind of which a 0 need not be sent; a bigint, as in ST_CLAIM_ORDERED. */
		{"left_over", im_command_has(command, IM_FIELD_ZERO) ?
			psprintf("(SELECT 1::bigint FROM %s._im_left_over l WHERE l.room IN (r.room, '*') LIMIT 1)", schema) :
			"NULL::bigint"},
		/* Another claim, which is lost, may have sent it with another time. */
		{"timeless", command->ordered ? "sent_time = NULL, " : ""},
		{"dead", command->undoes ? "status = 'undo' AND due_at IS NULL AND claim IS NOT NULL" :
			command->roomed ? OPEN_PHASE " AND status = 'sending'" : "status = 'sending'"},
		{"phase", command->roomed ? OPEN_PHASE " AND " : ""},
		{"attention", command->roomed ? "phase IN ('f', 'd')" : "true"},
		{"sent_at", command->undoes ? "o.sent_at" : "pg_catalog.now()"},
		{"number", said_or(command->sql.number, "NULL::bigint")},
		{"resolved", said_or(command->sql.resolved, "")},
		{"askable", said_or(command->sql.askable, "true")},
		{"users", said_or(command->sql.users, "NULL::text")},
		{"place", said_or(command->sql.place, "i.id")},
	};

	if (len == strlen("columns") && strncmp(word, "columns", len) == 0)
		put_columns(sql, command);
	for (int i = 0; i < (int) lengthof(words); i++)
		if (len == strlen(words[i].word) && strncmp(word, words[i].word, len) == 0)
			appendStringInfoString(sql, words[i].text);
}

static const char *put_each(StringInfo sql, const char *text, const char *schema);

/* A part of a statement for a kind. */
static void
put_part(StringInfo sql, const char *text, const char *end, const char *schema, const ImCommand *command)
{
	while (text < end)
	{
		const char *brace = *text == '{' ? strchr(text, '}') : NULL;

		if (brace == NULL)
			appendStringInfoChar(sql, *text++);
		else if (strncmp(text, EACH, strlen(EACH)) == 0)
			text = put_each(sql, text, schema);
		else
		{
			put_word(sql, text + 1, (size_t) (brace - text - 1), schema, command);
			text = brace + 1;
		}
	}
}

/* A part that is there for each kind whose rows belong to a group; returns what follows it. */
static const char *
put_each(StringInfo sql, const char *text, const char *schema)
{
	const char *between = text + strlen(EACH);
	const char *part = strchr(between, '}') + 1;
	const char *end = strstr(part, END);
	bool		first = true;

	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		if (!im_commands[kind]->roomed)
			continue;
		if (!first)
			appendBinaryStringInfo(sql, between, (int) (part - 1 - between));
		put_part(sql, part, end, schema, im_commands[kind]);
		first = false;
	}
	return end + strlen(END);
}

/* A statement's text for a kind. */
static char *
expand(const char *text, const char *schema, const ImCommand *command)
{
	StringInfoData sql;

	initStringInfo(&sql);
	put_part(&sql, text, text + strlen(text), schema, command);
	return sql.data;
}

/* Prepares a statement at its first use. */
static SPIPlanPtr
plan_of(Oid schema, ImKind kind, ImStatement id)
{
	const Statement *statement = &statements[id];
	char	   *name = get_namespace_name(schema);
	SPIPlanPtr	plan;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("the schema of the extension im_import does not exist any more"),
				 errhint("Somebody dropped it, and the outboxes with it, a moment ago: restore them from a backup if that was a mistake.")));
	if (strcmp(name, NameStr(plans_schema)) != 0)
		for (int k = 0; k < IM_KINDS; k++)
			forget(k);
	namestrcpy(&plans_schema, name);
	if (plans[kind][id] != NULL)
		return plans[kind][id];
	plan = SPI_prepare(expand(statement->sql, quote_identifier(name), im_commands[kind]),
					   statement->nargs, (Oid *) statement->argtypes);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	plans[kind][id] = plan;
	return plan;
}

/* Ends a statement: SPI leaves us in a context that SPI_finish() frees. */
static uint64
executed(MemoryContext caller, int result)
{
	MemoryContextSwitchTo(caller);
	if (result < 0)
		elog(ERROR, "SPI could not execute a plan: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* See statements.h. */
uint64
im_statement(Oid schema, ImKind kind, ImStatement id, Datum *values, const char *nulls, long limit)
{
	MemoryContext caller = CurrentMemoryContext;

	return executed(caller, SPI_execute_plan(plan_of(schema, kind, id), values, nulls, false, limit));
}

/* See statements.h. */
uint64
im_statement_latest(Oid schema, ImKind kind, ImStatement id, Datum *values)
{
	MemoryContext caller = CurrentMemoryContext;

	return executed(caller, SPI_execute_snapshot(plan_of(schema, kind, id), values, NULL, GetLatestSnapshot(),
												 InvalidSnapshot, false, true, 0));
}

/* See statements.h. */
Datum
im_statement_value(uint64 i, int n, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, n, isnull);
}
