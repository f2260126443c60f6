/*
 * queue.c
 *	  One outbox seen from C: claim, settle, recover; the same for every kind.
 *
 * Nothing here waits for a person: rows are taken with SKIP LOCKED, and what
 * cannot be had now is left for later.  The statements stand in statements.c,
 * what the kinds differ in stands in their commands.
 *
 * New rows of a kind without rooms are found by id above a watermark, because
 * the index entries of rows that were just claimed stay behind dead until a
 * vacuum, or as long as somebody holds an old snapshot.  Rows of a room are
 * found through the room.
 *
 * Must not know: HTTP, signatures, shared memory, which calls rows go into.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "batch.h"
#include "cmd_group.h"
#include "encoding.h"
#include "errcodes.h"
#include "queue.h"
#include "record.h"
#include "statements.h"

#define GONE_SHOWN			500	/* deleted rows that a message names */
#define UNDO_ROWS			5000	/* rows that go with their groups in one transaction */
#define UNDO_AGAIN			1000	/* ms after which a busy room is looked at again */
#define SECOND_IS_OVER		2	/* s after a message's time; one is for clocks that differ */
#define ATTEMPTS_MAX		1000000 /* as in ST_MARK; no sum can overflow */

/* Where ours stand in CLAIM_COLUMNS; the record's fields follow. */
enum
{
	COL_ID, COL_ATTEMPTS, COL_MAYBE_SENT_AT, COL_ROW_KEY, COL_CLAIM, COL_EXTRA, COL_FIELDS
};

typedef struct Queue
{
	uint64		generation;		/* of the tables that the rest is about */
	int64		watermark;		/* no new row at or below it, as far as seen */
	ImRecordMap *map;			/* of CLAIM_COLUMNS, for rows of map_desc */
	TupleDesc	map_desc;
	MemoryContext map_ctx;
} Queue;

static Queue queues[IM_KINDS];

/* The queue of a kind, begun anew if its table is another one. */
static Queue *
queue_of(ImKind kind)
{
	Queue	   *queue = &queues[kind];

	if (queue->generation != im_outbox_generation(im_outbox_get()))
	{
		queue->generation = im_outbox_generation(im_outbox_get());
		queue->watermark = PG_INT64_MIN;
	}
	return queue;
}

/* Runs a statement of a kind. */
static uint64
execute(ImKind kind, ImStatement id, Datum *values, const char *nulls, long limit)
{
	return im_statement(im_outbox_schema(im_outbox_get()), kind, id, values, nulls, limit);
}

/* An array of bigint. */
static Datum
int8_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* See queue.h. */
int64
im_queue_watermark(ImKind kind)
{
	return queue_of(kind)->watermark;
}

/* ------------------------------------------------------------------------
 * Adoption, recovery
 */

/* What pending means for a kind. */
static ImStatus
status_in(ImKind kind, ImStatus status)
{
	return status == IM_PENDING ? im_open_status(im_commands[kind]) : status;
}

/* Adopts one sort of open rows; the protocol says what becomes of them. */
static int64
adopt_sort(ImKind kind, ImRepeat repeat, bool foreign, bool own, bool assigned_ids)
{
	const ImStatus open[] = {im_open_status(im_commands[kind]), im_busy_status(im_commands[kind])};
	ImNext		next;
	Datum		args[9];
	char		nulls[] = "         ";
	int64		total = 0;

	im_protocol_adopt(repeat, 0, &next);
	next.status = status_in(kind, next.status);
	args[0] = Int64GetDatum(im_origin());
	args[1] = BoolGetDatum(foreign);
	args[2] = BoolGetDatum(own);
	args[3] = BoolGetDatum(repeat == IM_REPEAT_NEVER);
	args[4] = CStringGetTextDatum(im_status_name(next.status));
	args[5] = Int32GetDatum(IM_CODE_ADOPTED);
	if (next.reason != NULL)
		args[6] = CStringGetTextDatum(next.reason);
	else
		nulls[5] = nulls[6] = 'n';
	args[7] = BoolGetDatum(assigned_ids);
	for (int i = 0; i < (open[0] == open[1] ? 1 : 2); i++)
	{
		int64		n;

		args[8] = CStringGetTextDatum(im_status_name(open[i]));
		n = (int64) execute(kind, ST_ADOPT, args, nulls, 0);
		im_outbox_moved(kind, open[i], next.status, n);
		total += n;
	}
	return total;
}

/* See queue.h. */
int64
im_queue_adopt_all(bool foreign, const ImApp *app)
{
	ImOutbox   *outbox = im_outbox_get();
	bool		own = im_outbox_begin_adoption(outbox);
	bool		assigned = app != NULL && app->assigned_ids;
	Datum		origin = Int64GetDatum(im_origin());
	int64		n = 0;

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		n += adopt_sort(kind, IM_REPEAT_REFUSED, foreign, own, assigned);
		n += adopt_sort(kind, IM_REPEAT_NEVER, foreign, own, assigned);

		/*
		 * After a change of timeline a failed row may have been repaired and
		 * imported in the part of history that was lost: a retry must find
		 * out.
		 */
		if (own)
			execute(kind, ST_DOUBT_CLOSED, &origin, NULL, 0);
	}
	/* Last: only now is the new timeline noted, in the transaction that takes the rows over. */
	im_outbox_end_adoption(outbox);
	return n;
}

/* Recovers one sort of rows; the protocol says what becomes of them. */
static void
recover_sort(ImKind kind, ImRepeat repeat, Datum live)
{
	ImNext		next;
	Datum		args[6];
	char		nulls[] = "      ";
	uint64		n;

	im_protocol_recover(repeat, 1, &next);
	next.status = status_in(kind, next.status);
	args[0] = Int64GetDatum(im_origin());
	args[1] = BoolGetDatum(repeat == IM_REPEAT_NEVER);
	args[2] = CStringGetTextDatum(im_status_name(next.status));
	args[3] = Int32GetDatum(IM_CODE_CRASHED);
	if (next.reason != NULL)
		args[4] = CStringGetTextDatum(next.reason);
	else
		nulls[4] = 'n';
	args[5] = live;
	if (im_commands[kind]->undoes)
		nulls[3] = 'n';			/* it is done again: nothing to tell */
	n = execute(kind, ST_RECOVER, args, nulls, 0);
	/* Triggers do not count what the worker writes: it notes that itself. */
	im_outbox_moved(kind, im_busy_status(im_commands[kind]), next.status, (int64) n);
	if (im_commands[kind]->makes_groups)
		im_outbox_note_groups(im_outbox_get(), (int64) n);	/* each may have created one */
	if (n > 0)
		ereport(LOG,
				(errmsg("im_import: recovered " UINT64_FORMAT " rows whose sender had died, now %s",
						n, im_status_name(next.status)),
				 errdetail("They are rows of %s.", im_commands[kind]->table),
				 next.status == IM_IN_DOUBT ?
				 errhint("Each waits for im_import_resolve(): SELECT * FROM im_import_failures WHERE status = 'in_doubt'.") :
				 errhint("Nothing to do: they are sent again, and nothing is applied twice.")));
}

/* See queue.h. */
bool
im_queue_recover(ImKind kind, bool any, const int64 *live, int nlive)
{
	Datum	   *claims = palloc(sizeof(Datum) * (nlive + 1));
	Datum		args[2];

	/*
	 * By claim, not by row: an old outcome of a row that was claimed again in
	 * a transaction of unknown end must not shield it.
	 */
	for (int i = 0; i < nlive; i++)
		claims[i] = Int64GetDatum(live[i]);
	args[0] = Int64GetDatum(im_origin());
	args[1] = int8_array(claims, nlive);

	if (any)
	{
		recover_sort(kind, IM_REPEAT_REFUSED, args[1]);
		recover_sort(kind, IM_REPEAT_NEVER, args[1]);
	}
	/* After the clock was set back due times may lie hours ahead. */
	execute(kind, ST_CAP_DUE, args, NULL, 0);
	/* A row that somebody locks was passed over: then the recovery is not over. */
	return !any || execute(kind, ST_ANY_DEAD, args, NULL, 1) == 0;
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
map_of(ImKind kind, TupleDesc desc)
{
	Queue	   *queue = queue_of(kind);
	MemoryContext old;

	if (queue->map != NULL && same_types(queue->map_desc, desc))
		return queue->map;
	/* Forgotten first: what follows may raise, and must not leave half a map. */
	queue->map = NULL;
	if (queue->map_ctx == NULL)
		queue->map_ctx = AllocSetContextCreate(TopMemoryContext, "im_import columns",
											   ALLOCSET_SMALL_SIZES);
	im_check_columns(desc, im_commands[kind]->table);
	MemoryContextReset(queue->map_ctx);
	old = MemoryContextSwitchTo(queue->map_ctx);
	queue->map_desc = CreateTupleDescCopy(desc);
	queue->map = im_record_map(im_commands[kind], desc);
	MemoryContextSwitchTo(old);
	return queue->map;
}

/* A row of a claim query on its way into an ImRow. */
typedef struct Tuple
{
	const ImCommand *command;
	const ImRecordMap *map;
	ImClaim    *claim;
	ImRoomClaim *room;			/* or NULL */
	TupleDesc	desc;
	Datum		values[MaxTupleAttributeNumber];
	bool		nulls[MaxTupleAttributeNumber];
} Tuple;

/* Copies what record.c has encoded into the row, in the rows' context. */
static void
keep_item(ImRow *row, const ImItem *item, MemoryContext ctx)
{
	strlcpy(row->group_id, item->group_id, sizeof(row->group_id));
	row->key = item->key != NULL ? MemoryContextStrdup(ctx, item->key) : NULL;
	row->name = item->name != NULL ? MemoryContextStrdup(ctx, item->name) : NULL;
	row->item = MemoryContextAlloc(ctx, item->json.len + 1);
	memcpy(row->item, item->json.data, item->json.len + 1);
	row->item_len = item->json.len;
	if (item->problems != NIL)
	{
		row->problems = MemoryContextStrdup(ctx, im_text_as_utf8(im_item_problem_text(item)));
		row->problem_code = item->problem_code;
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

/* What sending this row a second time would do. */
static ImRepeat
repeat_of(const Tuple *tuple, bool has_group_id)
{
	if (tuple->command->undoes)
		return IM_REPEAT_UNDO;
	if (tuple->command->harmless)
		return IM_REPEAT_HARMLESS;
	if (tuple->command->ordered)
		return IM_REPEAT_READ_BACK;
	return !has_group_id && tuple->claim->app->assigned_ids ? IM_REPEAT_NEVER : IM_REPEAT_REFUSED;
}

/* The index of a field's column in a claim's rows, or -1. */
static int
column_of(const ImCommand *command, const char *name)
{
	for (int i = 0; i < command->nfields; i++)
		if (strcmp(command->fields[i].column, name) == 0)
			return COL_FIELDS + i;
	return -1;
}

/* Fills a new row: what the protocol must know to decide. */
static void
keep_row(ImRow *row, const Tuple *tuple)
{
	int			group_id = column_of(tuple->command, "group_id");

	row->kind = tuple->command->kind;
	row->id = DatumGetInt64(tuple->values[COL_ID]);
	memcpy(row->row_key, DatumGetUUIDP(tuple->values[COL_ROW_KEY])->data, UUID_LEN);
	row->request = -1;
	row->life.attempts = Min(DatumGetInt32(tuple->values[COL_ATTEMPTS]), ATTEMPTS_MAX) + 1;
	row->claim = tuple->nulls[COL_CLAIM] ? 0 : DatumGetInt64(tuple->values[COL_CLAIM]);
	row->life.maybe_sent = !tuple->nulls[COL_MAYBE_SENT_AT];
	/* The doubt is dated by the wall clock: its age is never taken for more than is sure. */
	if (row->life.maybe_sent)
	{
		row->suspect_at = DatumGetTimestampTz(tuple->values[COL_MAYBE_SENT_AT]);
		row->life.suspect_ms = im_steady_age_ms(tuple->claim->steady, row->suspect_at,
												GetCurrentTimestamp(), mono_us());
	}
	row->life.repeat = repeat_of(tuple, group_id < 0 || !tuple->nulls[group_id]);
	if (tuple->room != NULL)
		row->room = tuple->room->room;
}

/* A time column of the row as UNIX seconds; 0 if it is NULL or no point in time. */
static int64
seconds_of(const Tuple *tuple, const char *name)
{
	int			i = column_of(tuple->command, name);
	int64		seconds;

	if (i < 0 || tuple->nulls[i] ||
		!im_record_seconds(TupleDescAttr(tuple->desc, i)->atttypid, tuple->values[i], &seconds))
		return 0;
	return seconds;
}

/* What a message's time is made of; of all others nothing. */
static ImTiming
timing_of(const ImRow *row, const Tuple *tuple, int64 newest)
{
	return (ImTiming)
	{
		.own = seconds_of(tuple, "send_time"),
			.newest = newest,
			.created = tuple->room->room->create_time,
			.kept = row->life.maybe_sent && !tuple->nulls[COL_EXTRA] ? DatumGetInt64(tuple->values[COL_EXTRA]) : 0,
			.keep_equal = tuple->claim->app->keep_equal_seconds
	};
}

/* Adds a problem if a message would have to be sent much later than it was written. */
static void
check_shift(const ImRow *row, const Tuple *tuple, const ImTiming *timing, ImItem *item)
{
	int64		most = tuple->claim->app->max_time_shift;
	int64		shift = im_batch_shift(timing, most);

	if (shift == 0)
		return;
	item->problems = lappend(item->problems, psprintf(
		timing->own <= timing->created ?
		"send_time would have to be moved by " INT64_FORMAT " seconds to be later than the group's creation, the limit is " INT64_FORMAT " (option max_time_shift): take the group back (status undo), give it an earlier create_time and import it again" :
		"send_time would have to be moved by " INT64_FORMAT " seconds to be later than the group's newest message, the limit is " INT64_FORMAT " (option max_time_shift): take the group back (status undo) and import it again with all its messages in order, and with a higher max_time_shift if more messages than seconds are at that time",
		shift, most));
	if (item->problem_code == 0)
		item->problem_code = 10004;
}

/*
 * The service takes a message only once its second is over, by its own clock.  One
 * that is to be sent before waits; it takes no time from the next one, and neither
 * does one that ends as invalid.
 */
static void
take_time(ImRow *row, int64 *newest)
{
	int64		now = (int64) timestamptz_to_time_t(GetCurrentTimestamp());
	int64		early = row->sent_time + SECOND_IS_OVER - now;

	if (row->next.act == IM_ACT_SEND && early > 0)
		im_protocol_wait(&row->life, Min(early, IM_WAIT_MAX) * 1000, &row->next);
	else if (row->problems == NULL || row->life.maybe_sent)
		*newest = Max(*newest, row->sent_time);
}

/* The GroupId of a row that has none: generated, or its room's. */
static const char *
group_id_for(const ImRow *row, const Tuple *tuple, char *generated)
{
	int			i = column_of(tuple->command, "group_id");

	if (tuple->command->roomed)
		return tuple->room != NULL ? tuple->room->room->group_id : NULL;
	if (!tuple->command->makes_groups || i < 0 || !tuple->nulls[i] ||
		row->life.repeat != IM_REPEAT_REFUSED)
		return NULL;
	im_group_generate_id(row->row_key,
						 im_group_is_community(tuple->map, tuple->values, tuple->nulls), generated);
	return generated;
}

/* What becomes a room when it is imported, and is none any more when it is undone. */
static void
keep_room_key(ImRow *row, const Tuple *tuple)
{
	if ((!tuple->command->makes_groups && !tuple->command->undoes) || tuple->nulls[COL_EXTRA])
		return;
	row->room_key = MemoryContextStrdup(tuple->claim->ctx,
										psprintf("+%s", TextDatumGetCString(tuple->values[COL_EXTRA])));
	row->create_time = seconds_of(tuple, "create_time");
}

/* True if a group that we imported has what the row says already, see IM_FIELD_ZERO. */
static bool
is_zero_already(const ImRow *row, const Tuple *tuple)
{
	int			left_over = tuple->desc->natts - 1;

	/* What a row that is gone has set may stand there. */
	if (tuple->room != NULL && tuple->room->room->key[0] == '+' && im_command_has(tuple->command, IM_FIELD_ZERO) &&
		!tuple->nulls[left_over] && DatumGetInt64(tuple->values[left_over]) != 0)
		return false;
	if (row->problems != NULL || tuple->room == NULL || tuple->room->room->key[0] != '+')
		return false;
	for (int i = 0; i < tuple->command->nfields; i++)
		if (tuple->command->fields[i].flags & IM_FIELD_ZERO)
			return !tuple->nulls[COL_FIELDS + i] && DatumGetInt64(tuple->values[COL_FIELDS + i]) == 0;
	return false;
}

/* One tuple of a claim query becomes a row with its first decision. */
static ImRow *
make_row(Tuple *tuple, int64 *newest)
{
	ImClaim    *claim = tuple->claim;
	ImPolicy	policy = {.max_attempts = claim->app->max_attempts};
	ImRow	   *row = MemoryContextAllocZero(claim->ctx, sizeof(ImRow));
	char		generated[IM_GROUP_ID_MAX + 1];
	ImEncoding	encoding = {
		.limits = claim->app->text_limits,
		.message_bytes = claim->app->message_bytes
	};
	bool		timed = tuple->command->ordered && tuple->room != NULL;
	ImTiming	timing = {0};
	ImItem		item;

	keep_row(row, tuple);
	keep_room_key(row, tuple);
	row->random = encoding.random = im_batch_random(row->id, row->row_key);
	encoding.id = row->id;
	encoding.group_id = group_id_for(row, tuple, generated);
	if (tuple->room != NULL)
		encoding.group_created = tuple->room->room->create_time;
	/* The time is part of the record: it must stand before that is encoded. */
	if (timed)
	{
		timing = timing_of(row, tuple, *newest);
		encoding.sent_time = row->sent_time = im_batch_time(&timing);
		/* Its claim is lost, as after a restore: it may be there with any later time. */
		if (row->life.maybe_sent && timing.kept == 0)
			row->least_time = timing.own;
	}
	im_record_encode(tuple->map, tuple->values, tuple->nulls, &encoding, &item);
	/* Only now: encoding begins the list of problems. */
	if (timed)
		check_shift(row, tuple, &timing, &item);
	keep_item(row, &item, claim->ctx);
	im_protocol_claim(&row->life, row->problems != NULL, &policy, &row->next);
	if (tuple->command->ordered)
		take_time(row, newest);
	if (is_zero_already(row, tuple))
		im_protocol_judge(&row->life, &(ImVerdict) {.outcome = IM_OUT_SAME}, &policy, false, 0, &row->next);
	return row;
}

/* Reads a line of the last result. */
static void
read_tuple(Tuple *tuple, ImClaim *claim, SPITupleTable *table, uint64 i)
{
	tuple->command = im_commands[claim->kind];
	tuple->claim = claim;
	tuple->room = NULL;
	tuple->desc = table->tupdesc;
	tuple->map = map_of(claim->kind, table->tupdesc);
	heap_deform_tuple(table->vals[i], table->tupdesc, tuple->values, tuple->nulls);
}

/* ---- rows that are compared with the app ---- */

/* See queue.h. */
int64 *
im_queue_unchecked(ImKind kind, TimestampTz checked_before, bool deep, int64 max, int64 *n)
{
	Datum		args[3] = {TimestampTzGetDatum(checked_before), BoolGetDatum(deep), Int64GetDatum(max)};
	int64	   *ids;
	Datum		list;
	bool		isnull;

	execute(kind, ST_CHECK_LIST, args, NULL, 1);
	list = im_statement_value(0, 1, &isnull);
	*n = isnull ? 0 : ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(list)), ARR_DIMS(DatumGetArrayTypeP(list)));
	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (*n + 1));
	if (*n > 0)
		memcpy(ids, ARR_DATA_PTR(DatumGetArrayTypeP(list)), sizeof(int64) * *n);
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

/* Columns behind the record's in ST_CHECK_ROOMS. */
enum
{
	SAID_GROUP_ID, SAID_NUMBER, SAID_MESSAGES, SAID_NEWEST_SEQ, SAID_NEWEST_TIME
};

/* One of them as a number; 0 if it is NULL. */
static int64
said_number(const Tuple *tuple, int column)
{
	int			i = COL_FIELDS + tuple->command->nfields + column;

	return tuple->nulls[i] ? 0 : DatumGetInt64(tuple->values[i]);
}

/* The group of a row, and what is known of its messages. */
static void
keep_room_facts(ImRow *row, const Tuple *tuple, ImRoom *room)
{
	ImRoomFacts *facts = MemoryContextAllocZero(tuple->claim->ctx, sizeof(ImRoomFacts));
	Datum		group_id = tuple->values[COL_FIELDS + tuple->command->nfields];

	strlcpy(room->group_id, im_text_as_utf8(TextDatumGetCString(group_id)), sizeof(room->group_id));
	facts->messages = said_number(tuple, SAID_MESSAGES);
	facts->newest_seq = said_number(tuple, SAID_NEWEST_SEQ);
	facts->newest_time = said_number(tuple, SAID_NEWEST_TIME);
	row->check.facts = facts;
	row->seq = said_number(tuple, SAID_NUMBER);
	row->check.below = row->seq;
}

/* A line becomes a row with what was sent for it. */
static ImRow *
make_checked(Tuple *tuple)
{
	ImClaim    *claim = tuple->claim;
	ImRow	   *row = MemoryContextAllocZero(claim->ctx, sizeof(ImRow));
	ImEncoding	encoding = {.limits = claim->app->text_limits,.message_bytes = claim->app->message_bytes};
	char		generated[IM_GROUP_ID_MAX + 1];
	int			text = column_of(tuple->command, "text");
	ImRoom		room = {.key = ""};
	ImRoomClaim of = {.room = &room};
	ImItem		item;

	if (tuple->command->roomed)
	{
		keep_room_facts(row, tuple, &room);
		tuple->room = &of;
	}
	keep_row(row, tuple);
	/* The room is on this stack: the row must not point to it. */
	row->room = NULL;
	row->check.as_text = text >= 0 && !tuple->nulls[text];
	row->random = encoding.random = im_batch_random(row->id, row->row_key);
	encoding.id = row->id;
	encoding.group_id = group_id_for(row, tuple, generated);
	/* The time that was sent counts, not the one that would be sent now. */
	if (tuple->command->ordered && !tuple->nulls[COL_EXTRA])
		row->sent_time = encoding.sent_time = DatumGetInt64(tuple->values[COL_EXTRA]);
	im_record_encode(tuple->map, tuple->values, tuple->nulls, &encoding, &item);
	keep_item(row, &item, claim->ctx);
	/* Whoever inserts a row as imported may have left out what names it. */
	if (row->name == NULL)
		row->name = MemoryContextStrdup(claim->ctx, "");
	if (row->key == NULL)
		row->key = MemoryContextStrdup(claim->ctx, "");
	return row;
}

/* See queue.h. */
List *
im_queue_to_check(ImKind kind, const ImApp *app, const int64 *ids, int n, MemoryContext ctx)
{
	ImSteady	steady = {0};	/* these rows are imported: no doubt is judged */
	ImClaim		claim = {.kind = kind,.app = app,.ctx = ctx,.steady = &steady};
	MemoryContext old = MemoryContextSwitchTo(ctx);
	Tuple	   *tuple = palloc(sizeof(Tuple));
	Datum	   *list = palloc(sizeof(Datum) * (n + 1));
	List	   *rows = NIL;
	Datum		arg;

	for (int i = 0; i < n; i++)
		list[i] = Int64GetDatum(ids[i]);
	arg = int8_array(list, n);
	n = (int) execute(kind, im_commands[kind]->roomed ? ST_CHECK_ROOMS : ST_CHECK_ROWS, &arg, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		read_tuple(tuple, &claim, SPI_tuptable, i);
		rows = lappend(rows, make_checked(tuple));
	}
	MemoryContextSwitchTo(old);
	return rows;
}

/* Sorts a fresh row: to be sent, to be looked up, or settled here and now. */
static void
place_row(ImClaim *claim, ImRow *row)
{
	if (row->next.act == IM_ACT_LOOKUP)
	{
		row->life.why = row->next.why;
		if (row->group_id[0] == '\0')
		{
			/* No usable id to ask for: only a person can tell. */
			ImVerdict	nothing = {.outcome = IM_OUT_UNREADABLE, .answered = true};
			ImPolicy	last = {.max_attempts = 0};

			im_protocol_judge(&row->life, &nothing, &last, true, 0, &row->next);
		}
	}
	if (row->next.act == IM_ACT_SETTLE)
		claim->settled = lappend(claim->settled, row);
	else
		claim->rows = lappend(claim->rows, row);
}

/*
 * Makes rows of all lines of the last result; room: of a group that is known.
 * Returns the highest id.
 */
static int64
take_rows(ImClaim *claim, int request, ImRoomClaim *room)
{
	SPITupleTable *table = SPI_tuptable;
	uint64		n = SPI_processed;
	Tuple	   *tuple = palloc(sizeof(Tuple));
	int64		last = PG_INT64_MIN;
	int64		newest = 0;

	for (uint64 i = 0; i < n; i++)
	{
		ImRow	   *row;

		read_tuple(tuple, claim, table, i);
		tuple->room = room;
		row = make_row(tuple, &newest);
		if (room != NULL)
			row->room = NULL;	/* the worker's rooms know nothing of it */
		row->request = request;
		last = Max(last, row->id);
		place_row(claim, row);
	}
	SPI_freetuptable(table);
	pfree(tuple);
	return last;
}

/* Finds the group of a row that a session asks for; false if it is not there. */
static bool
find_room(ImKind kind, const ImAsked *asked, pg_uuid_t *key, ImRoom *room)
{
	Datum		args[2] = {Int64GetDatum(asked->id), UUIDPGetDatum(key)};
	bool		isnull;
	bool		found = execute(kind, ST_ROOM_OF, args, NULL, 1) > 0;

	if (found)
	{
		strlcpy(room->group_id, im_text_as_utf8(TextDatumGetCString(im_statement_value(0, 1, &isnull))),
				sizeof(room->group_id));
		room->create_time = DatumGetInt64(im_statement_value(0, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * Claims what sessions asked for, each by its own row.  What belongs to a group
 * is passed over as long as the group is not there.
 */
static void
take_asked(ImClaim *claim)
{
	bool		roomed = im_commands[claim->kind]->roomed;
	ListCell   *lc;

	foreach(lc, claim->asked)
	{
		ImAsked    *asked = lfirst(lc);
		ImRoom		room = {.key = ""};
		ImRoomClaim of = {.room = &room};
		pg_uuid_t	key;
		Datum		args[3];

		memcpy(key.data, asked->row_key, UUID_LEN);
		if (roomed && !find_room(claim->kind, asked, &key, &room))
			continue;
		args[0] = Int64GetDatum(im_origin());
		args[1] = Int64GetDatum(asked->id);
		args[2] = UUIDPGetDatum(&key);
		execute(claim->kind, ST_CLAIM_ASKED, args, NULL, 0);
		take_rows(claim, asked->request, roomed ? &of : NULL);
	}
}

/* The highest id of an outbox now; the least there is if it is empty. */
static int64
highest_id(ImKind kind)
{
	bool		isnull;
	Datum		id;

	execute(kind, ST_HIGHEST, NULL, NULL, 1);
	id = im_statement_value(0, 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return isnull ? PG_INT64_MIN : DatumGetInt64(id);
}

/* Claims in the outbox's own order: due retries, then new rows. */
static void
take_next(ImClaim *claim)
{
	Queue	   *queue = queue_of(claim->kind);
	Datum		args[4] = {Int64GetDatum(im_origin())};
	int			want = claim->want;
	int64		floor = PG_INT64_MIN;
	int64		last;

	/* From the beginning: rows that were repaired or committed late lie below the watermark. */
	if (claim->rescan)
	{
		floor = queue->watermark != PG_INT64_MIN ? queue->watermark : highest_id(claim->kind);
		queue->watermark = PG_INT64_MIN;
	}
	args[1] = Int64GetDatum(want);
	want -= (int) execute(claim->kind, ST_CLAIM_DUE, args, NULL, 0);
	take_rows(claim, -1, NULL);
	if (want <= 0)
		return;

	args[1] = Int64GetDatum(queue->watermark);
	args[2] = Int64GetDatum(want);
	args[3] = Int64GetDatum(claim->all_accounts ? PG_INT64_MIN : queue_of(IM_ACCOUNT)->watermark);
	claim->short_scan = execute(claim->kind, ST_CLAIM_NEW, args, NULL, 0) < (uint64) want;
	last = take_rows(claim, -1, NULL);
	/* All there was is claimed: nothing is left below the old watermark either. */
	if (claim->short_scan)
		last = Max(last, floor);
	/* Ids may be committed out of order; a rescan finds those that came late. */
	if (last > queue->watermark)
		queue->watermark = last;
}

/* ---- rooms ---- */

/* The rooms' keys and where to go on in each, as arguments. */
static void
room_arguments(const ImClaim *claim, Datum *args)
{
	Datum	   *keys = palloc(sizeof(Datum) * claim->nrooms);
	Datum	   *after = palloc(sizeof(Datum) * claim->nrooms);

	for (int i = 0; i < claim->nrooms; i++)
	{
		keys[i] = CStringGetTextDatum(claim->rooms[i].room->key);
		after[i] = Int64GetDatum(claim->rooms[i].room->after);
	}
	args[0] = Int64GetDatum(im_origin());
	args[1] = PointerGetDatum(construct_array(keys, claim->nrooms, TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = int8_array(after, claim->nrooms);
	args[3] = Int64GetDatum(claim->per_room);
}

/* What of a room this claim has met so far. */
typedef struct RoomCursor
{
	int64		next_rank;		/* rows in order: the one that must come now */
	int64		newest;			/* time of the newest message */
	bool		broken;			/* one is missing: the rest must wait */
	bool		only_lookups;	/* its rows are to be looked up: nothing else with them */
	bool		any;
} RoomCursor;

/*
 * True if this line can be taken.  Of rows in order none may be passed over; and
 * what is to be looked up goes alone, before anything is sent after it.
 */
static bool
is_next(const ImClaim *claim, Tuple *tuple, RoomCursor *cursor)
{
	int			rank_column = tuple->desc->natts - 2;

	if (!im_commands[claim->kind]->ordered)
		return true;
	if (!cursor->any && !tuple->nulls[rank_column + 1])
		cursor->newest = DatumGetInt64(tuple->values[rank_column + 1]);
	if (!cursor->any)
		cursor->only_lookups = !tuple->nulls[COL_MAYBE_SENT_AT];
	/* A rank that is missing is locked, being sent or not due: nothing may pass it. */
	cursor->broken = cursor->broken ||
		DatumGetInt64(tuple->values[rank_column]) != ++cursor->next_rank ||
		tuple->nulls[COL_MAYBE_SENT_AT] == cursor->only_lookups;
	cursor->any = true;
	return !cursor->broken;
}

/* Takes one line of a claim of rooms. */
static void
take_room_row(ImClaim *claim, Tuple *tuple, ImRoomClaim *room, RoomCursor *cursor)
{
	ImRow	   *row;

	if (!is_next(claim, tuple, cursor))
		return;
	tuple->room = room;
	row = make_row(tuple, &cursor->newest);
	place_row(claim, row);
	if (row->next.act == IM_ACT_SETTLE)
		room->nsettled++;
	else
		room->nrows++;
	room->last_id = Max(room->last_id, row->id);
	/* A message that must wait for its lookup holds those behind it. */
	if (row->next.act == IM_ACT_SETTLE && row->next.status == IM_PENDING)
		cursor->broken = true;
}

/* Of rooms in which nothing was found: is a row open? */
static void
look_for_open(ImClaim *claim)
{
	Datum	   *keys = palloc(sizeof(Datum) * claim->nrooms);
	int		   *places = palloc(sizeof(int) * claim->nrooms);
	Datum		args[2] = {Int64GetDatum(im_origin())};
	int			n = 0;
	bool		isnull;

	for (int i = 0; i < claim->nrooms; i++)
		if (claim->rooms[i].nrows == 0 && claim->rooms[i].nsettled == 0 && !claim->rooms[i].behind)
		{
			places[n] = i;
			keys[n++] = CStringGetTextDatum(claim->rooms[i].room->key);
		}
	if (n == 0)
		return;
	args[1] = PointerGetDatum(construct_array(keys, n, TEXTOID, -1, false, TYPALIGN_INT));
	n = (int) execute(claim->kind, ST_ROOM_OPEN, args, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		int			place = places[DatumGetInt64(im_statement_value(i, 1, &isnull)) - 1];
		Datum		due = im_statement_value(i, 2, &isnull);

		if (!isnull)
			claim->rooms[place].open_due = DatumGetTimestampTz(due);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The keys of the rooms in which rows were found, *n; places[] says which rooms these are. */
static Datum
found_keys(const ImClaim *claim, const int *lines, int *places, int *n)
{
	Datum	   *keys = palloc(sizeof(Datum) * (claim->nrooms + 1));

	*n = 0;
	for (int i = 0; i < claim->nrooms; i++)
		if (lines[i] > 0)
		{
			places[*n] = i;
			keys[(*n)++] = CStringGetTextDatum(claim->rooms[i].room->key);
		}
	return PointerGetDatum(construct_array(keys, *n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Which of the rooms have open rows of an earlier stage, which came after the
 * room had passed it.  To be asked after the rows were read, never before: then
 * whatever was there before these rows is seen.
 */
static void
look_behind(ImClaim *claim, const int *lines)
{
	int		   *places = palloc(sizeof(int) * (claim->nrooms + 1));
	Datum		args[2] = {Int64GetDatum(im_origin())};
	int			n;
	bool		isnull;

	args[1] = found_keys(claim, lines, places, &n);
	/* Kinds are numbered in the order of the stages: earlier ones are lower. */
	for (int kind = 0; n > 0 && kind < (int) claim->kind; kind++)
	{
		int			found = im_commands[kind]->roomed ? (int) execute(kind, ST_ROOM_OPEN, args, NULL, 0) : -1;

		for (int i = 0; i < found; i++)
		{
			int			place = places[DatumGetInt64(im_statement_value(i, 1, &isnull)) - 1];

			(void) im_statement_value(i, 2, &isnull);
			claim->rooms[place].behind = claim->rooms[place].behind || !isnull;
		}
		if (found >= 0)
			SPI_freetuptable(SPI_tuptable);
	}
}

/*
 * Which of the rooms have another group than the worker knows: nothing of the new
 * group may go to the old one.  To be asked after the rows were read, as above.
 */
static void
look_for_other_group(ImClaim *claim, const int *lines)
{
	int		   *places = palloc(sizeof(int) * (claim->nrooms + 1));
	Datum		args[1];
	int			n;
	bool		isnull;

	args[0] = found_keys(claim, lines, places, &n);
	if (n == 0)
		return;
	n = (int) execute(claim->kind, ST_OTHER_GROUP, args, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		ImRoomClaim *found = &claim->rooms[places[DatumGetInt64(im_statement_value(i, 1, &isnull)) - 1]];
		Datum		group_id = im_statement_value(i, 2, &isnull);

		found->other = isnull ||
			strcmp(im_room_group_id(im_text_as_utf8(TextDatumGetCString(group_id))), found->room->group_id) != 0;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Of which room a line of a claim is. */
static int
room_of_line(SPITupleTable *table, uint64 i)
{
	bool		isnull;

	return (int) DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, table->tupdesc->natts - 2, &isnull)) - 1;
}

/* Claims rows of rooms that are at this kind's stage. */
static void
take_rooms(ImClaim *claim)
{
	bool		ordered = im_commands[claim->kind]->ordered;
	RoomCursor *cursors = palloc0(sizeof(RoomCursor) * claim->nrooms);
	int		   *lines = palloc0(sizeof(int) * claim->nrooms);
	Tuple	   *tuple = palloc(sizeof(Tuple));
	SPITupleTable *table;
	Datum		args[4];
	uint64		n;

	room_arguments(claim, args);
	n = execute(claim->kind, ordered ? ST_CLAIM_ORDERED : ST_CLAIM_ROOMS, args, NULL, 0);
	/* Kept: what follows runs statements, whose results take its place. */
	table = SPI_tuptable;
	for (int i = 0; i < claim->nrooms; i++)
		claim->rooms[i].last_id = PG_INT64_MIN;
	/* Counted before any is taken: which rooms are behind must be known first. */
	for (uint64 i = 0; i < n; i++)
		lines[room_of_line(table, i)]++;
	look_behind(claim, lines);
	look_for_other_group(claim, lines);
	for (uint64 i = 0; i < n; i++)
	{
		int			place = room_of_line(table, i);

		if (claim->rooms[place].behind || claim->rooms[place].other)
			continue;
		read_tuple(tuple, claim, table, i);
		take_room_row(claim, tuple, &claim->rooms[place], &cursors[place]);
	}
	for (int i = 0; i < claim->nrooms; i++)
	{
		/* By lines, not by rows taken: what was passed over may have more behind it. */
		claim->rooms[i].full = lines[i] >= claim->per_room;
		if (cursors[i].any)
			claim->rooms[i].room->newest = cursors[i].newest;
	}
	SPI_freetuptable(table);
	look_for_open(claim);
}

/* ---- writing a claim ---- */

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
mark(ImKind kind, List *rows)
{
	int			n = list_length(rows);
	Datum	   *ids = palloc(sizeof(Datum) * (n + 1));
	Datum	   *words = palloc(sizeof(Datum) * (n + 1));
	bool	   *no_word = palloc(sizeof(bool) * (n + 1));
	Datum	   *sends = palloc(sizeof(Datum) * (n + 1));
	Datum	   *numbers = palloc(sizeof(Datum) * (n + 1));
	int64		token = new_token();
	int			lower = 1;
	Datum		args[5];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		ImRow	   *row = list_nth(rows, i);

		/* The token of this claim: an outcome is written only where it still stands. */
		row->claim = token;
		ids[i] = Int64GetDatum(row->id);
		no_word[i] = row->group_id[0] == '\0';
		words[i] = no_word[i] ? (Datum) 0 : CStringGetTextDatum(im_text_from_utf8(row->group_id));
		/* What is only looked up is not dated anew: nothing is sent for it. */
		sends[i] = BoolGetDatum(row->next.act == IM_ACT_SEND);
		/* What is only looked for, at whatever time, keeps none: it would be looked for then. */
		numbers[i] = Int64GetDatum(row->least_time != 0 && row->next.act != IM_ACT_SEND ? 0 : row->sent_time);
	}
	args[0] = int8_array(ids, n);
	args[1] = PointerGetDatum(construct_md_array(words, no_word, 1, &n, &lower,
												 TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(sends, n, BOOLOID, 1, true, TYPALIGN_CHAR));
	args[3] = Int64GetDatum(token);
	args[4] = int8_array(numbers, n);
	im_outbox_moved(kind, im_open_status(im_commands[kind]), im_busy_status(im_commands[kind]),
					(int64) execute(kind, ST_MARK, args, NULL, 0));
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
	SET_ID, SET_CLAIM, SET_STATUS, SET_ATTEMPTS, SET_WORD, SET_CODE, SET_INFO, SET_DUE,
	SET_MAYBE, SET_ROW_KEY, SET_NUMBER, SET_COLUMNS
};

/* Code and words for the row; false if what stands there shall stay. */
static bool
describe(const ImRow *row, int32 *code, char **info)
{
	const ImNext *next = &row->next;
	const char *said = row->info;

	*code = row->verdict.code;
	if (row->problems != NULL &&
		(row->life.why == IM_WHY_NONE || next->status == IM_INVALID))
	{
		*code = row->problem_code;
		*info = im_text_from_utf8(row->problems);
		return true;
	}
	/* A lookup that finds nothing reports the refusal that led to it. */
	if (row->refusal_code != 0 &&
		(row->verdict.outcome == IM_OUT_ABSENT || row->verdict.outcome == IM_OUT_UNREADABLE))
	{
		*code = row->refusal_code;
		said = row->refusal_info;
	}
	else if (row->verdict.outcome == IM_OUT_ABSENT)
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
fill(Column *columns, int i, ImRow *row)
{
	const ImNext *next = &row->next;
	int32		code;
	char	   *info = NULL;
	bool		says = describe(row, &code, &info);
	bool		assigned = next->status == IM_IMPORTED && row->life.repeat == IM_REPEAT_NEVER;
	/* Its time was not written at the claim. */
	bool		found = next->status == IM_IMPORTED && row->least_time != 0;

	for (int c = 0; c < SET_COLUMNS; c++)
		columns[c].nulls[i] = false;
	columns[SET_ID].values[i] = Int64GetDatum(row->id);
	columns[SET_ROW_KEY].values[i] = PointerGetDatum(row->row_key);
	columns[SET_CLAIM].values[i] = Int64GetDatum(row->claim);
	/* A row that ends at its claim has no token yet: NULL matches NULL. */
	columns[SET_CLAIM].nulls[i] = row->claim == 0;
	columns[SET_STATUS].values[i] = CStringGetTextDatum(im_status_name(next->status));
	columns[SET_ATTEMPTS].values[i] = Int32GetDatum(next->attempts);
	columns[SET_WORD].nulls[i] = !assigned && !found;
	if (assigned)
		columns[SET_WORD].values[i] = CStringGetTextDatum(im_text_from_utf8(row->said_id));
	else if (found)
		columns[SET_WORD].values[i] = CStringGetTextDatum(psprintf(INT64_FORMAT, row->sent_time));
	columns[SET_NUMBER].nulls[i] = row->seq == 0;
	columns[SET_NUMBER].values[i] = Int64GetDatum(row->seq);
	columns[SET_CODE].nulls[i] = !says || code == 0;
	columns[SET_CODE].values[i] = Int32GetDatum(code);
	columns[SET_INFO].nulls[i] = !says;
	if (says)
		columns[SET_INFO].values[i] = CStringGetTextDatum(info);
	columns[SET_DUE].nulls[i] = next->status != im_open_status(im_commands[row->kind]);
	/* From the verdict on, however long the outcome has waited to be written. */
	columns[SET_DUE].values[i] = TimestampTzGetDatum(row->judged_at + next->delay_ms * 1000);
	/* A doubt keeps its date, unless this attempt has made it anew. */
	columns[SET_MAYBE].nulls[i] = !next->maybe_sent;
	columns[SET_MAYBE].values[i] = TimestampTzGetDatum(next->suspect_now ? row->judged_at
													   : row->suspect_at);
}

/* Compares row keys for qsort and bsearch. */
static int
compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* The row keys of the last result, in a column of it, sorted. */
static pg_uuid_t *
keys_found(int n, int column)
{
	pg_uuid_t  *found = palloc(sizeof(pg_uuid_t) * (n + 1));
	bool		isnull;

	for (int i = 0; i < n; i++)
		found[i] = *DatumGetUUIDP(im_statement_value(i, column, &isnull));
	qsort(found, n, sizeof(pg_uuid_t), compare_keys);
	return found;
}

/* Writes outcomes; returns the sorted row keys of those that could be written, *written of them. */
static pg_uuid_t *
write_rows(ImKind kind, List *rows, ImStatus from, int *written)
{
	static const Oid types[SET_COLUMNS] = {INT8OID, INT8OID, TEXTOID, INT4OID, TEXTOID,
	INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID};
	Column		columns[SET_COLUMNS];
	Datum		args[SET_COLUMNS];
	pg_uuid_t  *keys;
	int			n = list_length(rows);
	int			lower = 1;

	for (int c = 0; c < SET_COLUMNS; c++)
	{
		columns[c].values = palloc0(sizeof(Datum) * n);
		columns[c].nulls = palloc(sizeof(bool) * n);
	}
	for (int i = 0; i < n; i++)
		fill(columns, i, list_nth(rows, i));
	for (int c = 0; c < SET_COLUMNS; c++)
	{
		int16		len;
		bool		byval;
		char		align;

		get_typlenbyvalalign(types[c], &len, &byval, &align);
		args[c] = PointerGetDatum(construct_md_array(columns[c].values, columns[c].nulls, 1, &n,
													 &lower, types[c], len, byval, align));
	}
	n = (int) execute(kind, ST_SETTLE, args, NULL, 0);
	for (int i = 0; i < n; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		ImStatus	to;

		if (name != NULL && im_status_parse(name, &to))
			im_outbox_moved(kind, from, to, 1);
	}
	keys = keys_found(n, 2);
	SPI_freetuptable(SPI_tuptable);
	*written = n;
	return keys;
}

/*
 * The row keys that a statement with arrays of ids and row keys returns, sorted.
 * Not ids: two rows may have the same one, one that is gone and the one that has
 * its id now.
 */
static pg_uuid_t *
select_rows(ImKind kind, ImStatement statement, List *rows, int *n)
{
	Datum	   *ids = palloc(sizeof(Datum) * (list_length(rows) + 1));
	Datum	   *keys = palloc(sizeof(Datum) * (list_length(rows) + 1));
	pg_uuid_t  *found;
	Datum		args[2];
	ListCell   *lc;

	*n = 0;
	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);

		ids[*n] = Int64GetDatum(row->id);
		keys[(*n)++] = PointerGetDatum(row->row_key);
	}
	args[0] = int8_array(ids, *n);
	args[1] = PointerGetDatum(construct_array(keys, *n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	*n = (int) execute(kind, statement, args, NULL, 0);
	found = keys_found(*n, 1);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* Splits rows by whether their key is among keys. */
static void
split(List *rows, const pg_uuid_t *keys, int n, List **in, List **out)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);

		if (bsearch(row->row_key, keys, n, sizeof(pg_uuid_t), compare_keys) != NULL)
			*in = lappend(*in, row);
		else
			*out = lappend(*out, row);
	}
}

/* ---- undo ---- */

/* The keys of the rooms that a row's group is. */
static Datum
rooms_of(const ImRow *row)
{
	Datum		keys[2];
	int			n = 0;

	keys[n++] = CStringGetTextDatum(psprintf("=%s", im_text_from_utf8(row->group_id)));
	if (row->room_key != NULL)
		keys[n++] = CStringGetTextDatum(row->room_key);
	return PointerGetDatum(construct_array(keys, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Rows of a room whose group is gone go with it, at most so many. Returns how many. */
static int64
undo_rows(ImKind kind, Datum rooms, int64 most)
{
	Datum		args[3] = {Int64GetDatum(im_origin()), rooms, Int64GetDatum(most)};
	uint64		n = execute(kind, ST_UNDO_ROWS, args, NULL, 0);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		ImStatus	from;

		if (name != NULL && im_status_parse(name, &from))
			im_outbox_moved(kind, from, IM_UNDONE, 1);
	}
	SPI_freetuptable(SPI_tuptable);
	return (int64) n;
}

/*
 * Nobody need ask whether open rows of a room were applied if its group is gone.
 * One whose request may still be under way is left, lest it reach the group that
 * comes next.  True if there is one.
 */
static bool
end_doubts(ImKind kind, Datum rooms, ImSteady *steady, int64 *most)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz dead = now - IM_ZOMBIE_MS * INT64CONST(1000);
	Datum		args[4] = {Int64GetDatum(im_origin()), rooms, Int64GetDatum(*most), TimestampTzGetDatum(dead)};
	bool		left;

	/* A clock that was set cannot tell how long ago that is. */
	if (im_steady_age_ms(steady, dead, now, mono_us()) < IM_ZOMBIE_MS)
		args[3] = TimestampTzGetDatum(DT_NOBEGIN);
	*most -= (int64) execute(kind, ST_UNDO_DOUBTS, args, NULL, 0);
	left = execute(kind, ST_UNDO_DOUBTED, args, NULL, 1) > 0;
	SPI_freetuptable(SPI_tuptable);
	return left;
}

/* True if no row of a group that is gone is left. *most counts down. */
static bool
undo_room(const ImRow *row, ImSteady *steady, int64 *most)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), rooms_of(row)};
	Datum		room[2] = {args[1], PointerGetDatum(row->row_key)};
	bool		left = false;

	/* One limit for all kinds: a large group takes several transactions. */
	for (int kind = 0; kind < IM_OUTBOXES; kind++)
	{
		if (im_commands[kind]->roomed && *most > 0)
			*most -= undo_rows(kind, args[1], *most);
		if (im_commands[kind]->roomed && im_commands[kind]->ordered && *most > 0)
			left = end_doubts(kind, args[1], steady, most) || left;
	}
	/* There may be more; the next time tells. */
	if (*most <= 0)
		return false;
	/* Asked and not reckoned: a row that somebody locks was passed over. */
	left = execute(IM_GROUP, ST_UNDO_LEFT, args, NULL, 1) > 0 || left;
	SPI_freetuptable(SPI_tuptable);
	/* Last of all: the room's state goes once none of its rows needs it. */
	if (!left)
		execute(IM_GROUP, ST_UNDO_ROOM, room, NULL, 0);
	return !left;
}

/*
 * Groups are gone, and so are their members, messages and unread counts.  Where
 * there are many, or somebody locks one, the rest is for later: the row stays
 * undo, and its code says that the service need not be asked again.
 */
static void
undo_rooms(List *rows, ImSteady *steady)
{
	int64		most = UNDO_ROWS;
	ListCell   *lc;

	foreach(lc, rows)
	{
		ImRow	   *row = lfirst(lc);

		if (row->next.status != IM_UNDONE || undo_room(row, steady, &most))
			continue;
		/* At once again if the limit was reached; later if somebody locks a row. */
		row->next.status = IM_UNDO;
		/*
		 * It is gone: nobody may call it imported any more, whatever is said next.  No
		 * request is under way: whoever imports it again waits for none.
		 */
		if (!row->next.maybe_sent)
			row->suspect_at = row->judged_at - IM_ZOMBIE_MS * INT64CONST(1000);
		row->next.maybe_sent = true;
		row->next.delay_ms = most > 0 ? UNDO_AGAIN : 0;
		row->verdict.code = IM_CODE_DISBANDED;
		row->refusal_code = 0;
		row->info[0] = '\0';
		row->next.reason = "the group is disbanded, its rows are being marked";
	}
}

/* Rows that nobody can write to any more: the log is all that is left of them. */
static void
report_gone(const ImCommand *command, List *gone)
{
	StringInfoData which;

	initStringInfo(&which);
	for (int i = 0; i < list_length(gone) && i < GONE_SHOWN; i++)
	{
		const ImRow *row = list_nth(gone, i);

		appendStringInfo(&which, "%srow " INT64_FORMAT " with GroupId \"%s\"", i > 0 ? ", " : "",
						 row->id, im_text_from_utf8(row->group_id));
	}
	ereport(LOG,
			(errmsg("im_import: %d outbox rows were deleted or replaced while they were being sent",
					list_length(gone)),
			 command->makes_groups ?
			 errdetail("Their groups may exist in the app: %s%s.", which.data,
					   list_length(gone) > GONE_SHOWN ? ", ..." : "") :
			 errdetail("They were rows of %s, and may have been applied: %s%s.", command->table, which.data,
					   list_length(gone) > GONE_SHOWN ? ", ..." : ""),
			 command->makes_groups ?
			 errhint("To import such a group anew, insert a row with the same group_id and content.") : 0));
}

/* What was imported of a kind into these rooms goes again. */
static void
send_rooms_again(ImKind kind, Datum rooms)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), rooms};

	im_outbox_moved(kind, IM_IMPORTED, IM_PENDING, (int64) execute(kind, ST_SEND_AGAIN, args, NULL, 0));
	execute(kind, ST_AGAIN_DONE, args, NULL, 0);
}

/*
 * Rows became groups: of rooms of their keys nothing is known yet.  If something
 * was known, the group is there anew, and what its messages undo is not in it.
 */
static void
forget_rooms(List *rows)
{
	Datum	   *rooms = palloc(sizeof(Datum) * (list_length(rows) + 1));
	Datum		arg;
	bool		isnull;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);

		/* One that was there already may be the one of which something is known. */
		if (row->room_key != NULL && row->next.status == IM_IMPORTED &&
			(row->verdict.outcome == IM_OUT_DONE || row->life.maybe_sent))
			rooms[n++] = CStringGetTextDatum(row->room_key);
	}
	if (n == 0)
		return;
	arg = PointerGetDatum(construct_array(rooms, n, TEXTOID, -1, false, TYPALIGN_INT));
	n = (int) execute(IM_GROUP, ST_ROOMS_GONE, &arg, NULL, 0);
	for (int i = 0; i < n; i++)
		rooms[i] = im_statement_value(i, 1, &isnull);
	arg = PointerGetDatum(construct_array(rooms, n, TEXTOID, -1, false, TYPALIGN_INT));
	for (int kind = 0; kind < IM_OUTBOXES && n > 0; kind++)
		if (im_commands[kind]->undone_by != NULL)
			send_rooms_again((ImKind) kind, arg);
}

/* See queue.h. */
void
im_queue_settle(ImKind kind, ImSteady *steady, List **rows, List **done)
{
	List	   *mine = NIL;
	List	   *missing = NIL;
	List	   *locked = NIL;
	List	   *gone = NIL;
	pg_uuid_t  *keys;
	bool		free;
	int			n;

	if (*rows == NIL)
		return;
	free = !im_commands[kind]->undoes && im_outbox_rows_free(im_outbox_get(), kind);
	if (free)
	{
		/*
		 * Nobody can have locked a row.  Whoever locks one in this very
		 * moment lets the update fail by lock_timeout, and what follows then
		 * is careful.
		 */
		keys = write_rows(kind, *rows, im_busy_status(im_commands[kind]), &n);
		split(*rows, keys, n, &mine, &missing);
	}
	else
	{
		/* Locked here without waiting: the update below then waits for nobody. */
		keys = select_rows(kind, ST_LOCKABLE, *rows, &n);
		split(*rows, keys, n, &mine, &missing);
		/* Before the rows are written: a group with rows left must stay undo. */
		if (im_commands[kind]->undoes)
			undo_rooms(mine, steady);
		if (mine != NIL)
			(void) write_rows(kind, mine, im_busy_status(im_commands[kind]), &n);
	}

	/*
	 * What could not be locked is locked by somebody, or gone: a look tells
	 * which.  What could not be written has another token, and is not ours to
	 * write, or is gone.
	 */
	if (missing != NIL)
	{
		keys = select_rows(kind, ST_EXISTING, missing, &n);
		split(missing, keys, n, free ? &mine : &locked, &gone);
	}
	if (gone != NIL)
		report_gone(im_commands[kind], gone);
	if (im_commands[kind]->makes_groups)
		forget_rooms(mine);
	/* Locked ones stay with the caller for later; those that are gone are done with. */
	*rows = locked;
	*done = list_concat(list_concat(*done, mine), gone);
}

/* What ST_UNDO_LOOK says of a group, line i. True if it is to be asked for. */
static bool
look_at_group(ImRow *row, uint64 i)
{
	bool		isnull;

	if (DatumGetBool(im_statement_value(i, 8, &isnull)))
	{
		im_protocol_gone(&row->life, &row->next);
		return false;
	}
	row->owned.messages = DatumGetInt64(im_statement_value(i, 1, &isnull));
	row->owned.least_seq = DatumGetInt64(im_statement_value(i, 2, &isnull));
	row->owned.most_seq = DatumGetInt64(im_statement_value(i, 3, &isnull));
	row->owned.gapless = DatumGetBool(im_statement_value(i, 4, &isnull)) && !isnull;
	/* Rows of the group are under way: it must not go before them. */
	if (DatumGetBool(im_statement_value(i, 5, &isnull)))
		im_protocol_undo_later(&row->life, UNDO_AGAIN, &row->next);
	else if (DatumGetBool(im_statement_value(i, 6, &isnull)))
		im_protocol_keep(&row->life, "not undone: messages in its topics cannot be counted; disband the group in the console", &row->next);
	return row->next.act != IM_ACT_SETTLE;
}

/*
 * Looks at the rooms of groups that are to be disbanded: what was imported into
 * them, and whether something is under way, for which the group has to wait.
 */
static void
look_at_groups(ImClaim *claim)
{
	List	   *rows = claim->rows;
	Datum	   *ids = palloc(sizeof(Datum) * list_length(rows));
	Datum		args[3];
	int			n = 0;
	uint64		found;
	ListCell   *lc;

	foreach(lc, rows)
		ids[n++] = Int64GetDatum(((ImRow *) lfirst(lc))->id);
	args[0] = int8_array(ids, n);
	args[1] = Int64GetDatum(im_origin());
	args[2] = Int32GetDatum(IM_CODE_DISBANDED);
	found = execute(claim->kind, ST_UNDO_LOOK, args, NULL, 0);
	claim->rows = NIL;
	for (uint64 i = 0; i < found; i++)
	{
		bool		isnull;
		ImRow	   *row = list_nth(rows, (int) DatumGetInt64(im_statement_value(i, 7, &isnull)) - 1);

		if (look_at_group(row, i))
			claim->rows = lappend(claim->rows, row);
		else
			claim->settled = lappend(claim->settled, row);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Writes what a claim has decided since the last time: rows that end here,
 * and rows that are ours now.
 */
static void
write_claim(ImClaim *claim)
{
	List	   *settled = list_copy_tail(claim->settled, claim->nsettled);
	ListCell   *lc;
	int			n;

	mark(claim->kind, list_copy_tail(claim->rows, claim->nwritten));
	/* No answer judged these rows: their due times count from now. */
	foreach(lc, settled)
		((ImRow *) lfirst(lc))->judged_at = GetCurrentTimestamp();
	/* Those whose group is gone already: their rows go on being marked. */
	if (im_commands[claim->kind]->undoes)
		undo_rooms(settled, claim->steady);
	if (settled != NIL)
		(void) write_rows(claim->kind, settled, im_open_status(im_commands[claim->kind]), &n);
	claim->nwritten = list_length(claim->rows);
	claim->nsettled = list_length(claim->settled);
}

/* See queue.h. */
void
im_queue_claim(ImClaim *claim)
{
	/* Our own row locks do not hide rows from us: their new status must. */
	if (claim->asked != NIL)
	{
		take_asked(claim);
		write_claim(claim);
	}
	if (claim->nrooms > 0)
		take_rooms(claim);
	else if (claim->want > 0)
		take_next(claim);
	/* Before anything is marked: a group with rows under way is left alone. */
	if (im_commands[claim->kind]->undoes && claim->rows != NIL)
		look_at_groups(claim);
	write_claim(claim);
}

/* ------------------------------------------------------------------------
 * Questions
 */

/* See queue.h. */
TimestampTz
im_queue_next_due(ImKind kind)
{
	Datum		arg = Int64GetDatum(im_origin());
	bool		isnull;

	if (execute(kind, ST_NEXT_DUE, &arg, NULL, 1) == 0)
		return 0;
	return DatumGetTimestampTz(im_statement_value(0, 1, &isnull));
}

/* See queue.h. */
bool
im_queue_has_open(ImKind kind)
{
	Datum		arg = Int64GetDatum(im_origin());

	return execute(kind, ST_HAS_OPEN, &arg, NULL, 1) > 0;
}

/* See queue.h. */
int64
im_queue_retry(ImKind kind, const int32 *error_code, const char *status)
{
	Datum		statuses[2] = {CStringGetTextDatum("failed"), CStringGetTextDatum("invalid")};
	Datum		args[2] = {0};
	char		nulls[2] = {error_code ? ' ' : 'n', ' '};

	/* What is in doubt is for a person to settle, unless to send it does no harm. */
	if (status != NULL && strcmp(status, "in_doubt") == 0 && !im_commands[kind]->harmless)
		return 0;
	if (status != NULL && strcmp(status, im_status_name(IM_UNDONE)) == 0)
		return (int64) execute(kind, ST_RETRY_UNDONE, NULL, NULL, 0);
	if (error_code != NULL)
		args[0] = Int32GetDatum(*error_code);
	if (status != NULL)
		statuses[0] = CStringGetTextDatum(status);
	args[1] = PointerGetDatum(construct_array(statuses, status != NULL ? 1 : 2, TEXTOID, -1, false,
											  TYPALIGN_INT));
	return (int64) execute(kind, ST_RETRY, args, nulls, 0);
}

/* See queue.h. */
int64
im_queue_retry_missing(ImKind kind, int64 *left)
{
	Datum		arg = Int64GetDatum(im_origin());
	bool		isnull;
	int64		n;

	if (im_commands[kind]->checkup == NULL)
		return 0;
	if (!im_commands[kind]->ordered)
		return (int64) execute(kind, ST_RETRY_MISSING, NULL, NULL, 0);
	/* In a statement of its own: what is decided then sees what was claimed until now. */
	execute(kind, ST_RETRY_LOCK, NULL, NULL, 0);
	/* The service takes no message older than the newest: only the tail can go again. */
	execute(kind, ST_RETRY_TAIL, &arg, NULL, 0);
	n = DatumGetInt64(im_statement_value(0, 1, &isnull));
	*left += DatumGetInt64(im_statement_value(0, 2, &isnull)) - n;
	return n;
}

/*
 * A message in doubt is not there, as a person says: its time is free again, for
 * itself and for others of its room.
 */
static void
free_time(ImKind kind, int64 id)
{
	Datum		args[2] = {Int64GetDatum(id)};
	Datum		room;
	bool		isnull;

	/* In a statement of its own: the next one sees what was claimed until now. */
	if (execute(kind, ST_RESOLVED_LOCK, args, NULL, 0) == 0)
		return;
	room = im_statement_value(0, 1, &isnull);
	args[0] = Int64GetDatum(im_origin());
	args[1] = PointerGetDatum(construct_array(&room, 1, TEXTOID, -1, false, TYPALIGN_INT));
	execute(kind, ST_ROOM_LOWER, args, NULL, 0);
}

/* See queue.h. */
bool
im_queue_resolve(ImKind kind, int64 id, const char *group_id, int64 msg_seq)
{
	ImStatus	status = group_id != NULL || msg_seq != 0 ? IM_IMPORTED : IM_PENDING;
	Datum		args[4] = {Int64GetDatum(id), CStringGetTextDatum(im_status_name(status))};
	char		nulls[4] = {' ', ' ', group_id != NULL ? ' ' : 'n', msg_seq != 0 ? ' ' : 'n'};

	if (group_id != NULL)
		args[2] = CStringGetTextDatum(group_id);
	args[3] = Int64GetDatum(msg_seq);
	if (execute(kind, ST_RESOLVE, args, nulls, 0) == 0)
		return false;
	/* The room has to know of it, or the next message could get too early a time. */
	if (status == IM_IMPORTED && im_commands[kind]->ordered)
		execute(kind, ST_RESOLVED_ROOM, args, NULL, 0);
	else if (im_commands[kind]->ordered)
		free_time(kind, id);
	return true;
}

/* ------------------------------------------------------------------------
 * Rooms
 */

/* The rooms that a statement found. */
static List *
found_rooms(uint64 n)
{
	List	   *rooms = NIL;
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		ImFoundRoom *room = palloc0(sizeof(ImFoundRoom));

		room->key = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		room->group_id = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		if (room->group_id != NULL)
			room->group_id = im_text_as_utf8(room->group_id);
		room->create_time = DatumGetInt64(im_statement_value(i, 3, &isnull));
		room->waiting = DatumGetInt64(im_statement_value(i, 4, &isnull));
		rooms = lappend(rooms, room);
	}
	SPI_freetuptable(SPI_tuptable);
	return rooms;
}

/* See queue.h. */
List *
im_queue_sweep(ImKind kind, const char *after, int max)
{
	Datum		args[3] = {Int64GetDatum(im_origin()), CStringGetTextDatum(after), Int64GetDatum(max)};

	return found_rooms(execute(kind, ST_SWEEP, args, NULL, 0));
}

/* See queue.h. */
List *
im_queue_newcomers(ImKind kind, int64 *newest, int max)
{
	Datum		args[3] = {Int64GetDatum(im_origin()), Int64GetDatum(*newest), Int64GetDatum(max)};
	bool		known = *newest != 0;

	/* Before the look: what comes in between is looked for the next time. */
	*newest = highest_id(kind);
	return known ? found_rooms(execute(kind, ST_NEWCOMERS, args, NULL, 0)) : NIL;
}

/* One column of the arrays of ST_ROOM_NOTE; zeros are NULL where that says "nothing". */
static Datum
note_array(const ImRoomNote *notes, int n, size_t offset, bool null_for_zero)
{
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	int			lower = 1;

	for (int i = 0; i < n; i++)
	{
		int64		value = *(const int64 *) ((const char *) &notes[i] + offset);

		values[i] = Int64GetDatum(value);
		nulls[i] = null_for_zero && value == 0;
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, INT8OID, 8,
											  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* See queue.h. */
void
im_queue_note_rooms(const ImRoomNote *notes, int n)
{
	Datum	   *rooms = palloc(sizeof(Datum) * (n + 1));
	Datum	   *held = palloc(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (n + 1));
	int			lower = 1;
	int			nlower = 0;
	Datum		args[5 + IM_STAGES];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		rooms[i] = CStringGetTextDatum(notes[i].room);
		nulls[i] = notes[i].held == NULL;
		held[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(im_text_from_utf8(notes[i].held));
	}
	args[0] = PointerGetDatum(construct_array(rooms, n, TEXTOID, -1, false, TYPALIGN_INT));
	args[1] = note_array(notes, n, offsetof(ImRoomNote, newest_time), true);
	args[2] = note_array(notes, n, offsetof(ImRoomNote, settled_time), true);
	args[3] = note_array(notes, n, offsetof(ImRoomNote, newest_seq), true);
	args[4] = PointerGetDatum(construct_md_array(held, nulls, 1, &n, &lower, TEXTOID, -1, false,
												 TYPALIGN_INT));
	for (int stage = 0; stage < IM_STAGES; stage++)
		args[5 + stage] = note_array(notes, n, offsetof(ImRoomNote, imported) + stage * sizeof(int64), false);
	execute(IM_GROUP, ST_ROOM_NOTE, args, NULL, 0);
	/* After the notes, which would raise the time again. */
	for (int i = 0; i < n; i++)
		if (notes[i].lower)
			rooms[nlower++] = rooms[i];
	if (nlower == 0)
		return;
	args[0] = Int64GetDatum(im_origin());
	args[1] = PointerGetDatum(construct_array(rooms, nlower, TEXTOID, -1, false, TYPALIGN_INT));
	for (int kind = IM_FIRST_STAGE; kind <= IM_LAST_STAGE; kind++)
		if (im_commands[kind]->ordered)
			execute(kind, ST_ROOM_LOWER, args, NULL, 0);
}

/* See queue.h. */
int64
im_queue_retry_late(ImKind kind)
{
	Datum		arg = Int64GetDatum(im_origin());
	int64		n;

	if (im_commands[kind]->sql.users == NULL)
		return 0;
	n = (int64) execute(kind, ST_RETRY_LATE, &arg, NULL, 0);
	im_outbox_moved(kind, IM_FAILED, IM_PENDING, n);
	return n;
}

/* See queue.h. */
void
im_queue_send_again(ImKind kind, const ImClaim *undoing)
{
	Datum	   *rooms = palloc(sizeof(Datum) * (undoing->nrooms + 1));
	Datum		arg;
	bool		isnull;
	int			n = 0;

	for (int i = 0; i < undoing->nrooms; i++)
		if (undoing->rooms[i].nrows > 0)
			rooms[n++] = CStringGetTextDatum(undoing->rooms[i].room->key);
	if (n == 0)
		return;
	arg = PointerGetDatum(construct_array(rooms, n, TEXTOID, -1, false, TYPALIGN_INT));
	n = (int) execute(kind, ST_AGAIN_ROOMS, &arg, NULL, 0);
	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
		rooms[i] = im_statement_value(i, 1, &isnull);
	send_rooms_again(kind, PointerGetDatum(construct_array(rooms, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* See queue.h. */
void
im_queue_release_rooms(void)
{
	execute(IM_GROUP, ST_ROOM_RELEASE, NULL, NULL, 0);
}
