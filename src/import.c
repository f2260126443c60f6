/*
 * import.c
 *	  im_import_group(record): one group now, in the caller's session.
 *
 * A plain record is sent from here, beside the worker and within the same
 * rate limit.  This is the one place where a transaction is open during the
 * network: it is the caller's, who asked for it.  It may still be rolled back
 * while the group stays, so a refusal is an answer and not an ERROR: earlier
 * groups of the same statement exist already.
 *
 * A record that carries an outbox row's id and row_key is that row.  It is
 * not sent from here: the database's one sender is asked to take it first.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "app.h"
#include "batch.h"
#include "compat.h"
#include "encoding.h"
#include "errcodes.h"
#include "functions.h"
#include "record.h"
#include "outbox.h"
#include "sender.h"
#include "session.h"
#include "shared.h"
#include "steer.h"

#define SEC					INT64_C(1000000)
#define POLL_MS				500
#define WORKER_PATIENCE		(20 * SEC)	/* for a worker to take a request */
#define MANY_CALLS			1000	/* in one transaction: say what is made for it */

/* The service's reply, or what stands for one. */
typedef struct Answer
{
	int32		code;
	const char *info;			/* server encoding */
	const char *group_id;		/* or NULL */
} Answer;

/* ------------------------------------------------------------------------
 * The answer
 */

/* Adds a key to an object under construction. */
static void
push_key(ImJsonb *state, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	im_jsonb_push(state, WJB_KEY, &value);
}

/* Adds a string member. */
static void
push_text(ImJsonb *state, const char *key, const char *text)
{
	JsonbValue	value;

	push_key(state, key);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	im_jsonb_push(state, WJB_VALUE, &value);
}

/* The answer as jsonb, in the members of the service's reply. */
static Jsonb *
answer_jsonb(const Answer *answer)
{
	ImJsonb		state = {0};
	JsonbValue	value;

	im_jsonb_push(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "ActionStatus", answer->code == 0 ? "OK" : "FAIL");
	push_text(&state, "ErrorInfo", answer->info ? answer->info : "");
	push_key(&state, "ErrorCode");
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(answer->code);
	im_jsonb_push(&state, WJB_VALUE, &value);
	if (answer->group_id != NULL && answer->group_id[0] != '\0')
		push_text(&state, "GroupId", answer->group_id);
	im_jsonb_push(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/* ------------------------------------------------------------------------
 * A plain record
 */

/* This session's sender, or an ERROR. */
static ImSender *
require_sender(ImSlot *slot)
{
	ImProblem	problem = {0};
	ImSender   *sender = im_session_sender(slot, &problem);

	if (sender == NULL)
		im_app_raise(&problem);
	if (im_origin_elsewhere())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing is sent from this database: its server was made in another one"),
				 errdetail("It is a copy: a restored dump, a template, or an upgraded cluster."),
				 errhint("If this database shall send to the app, and the other one shall not, SELECT im_import_adopt().")));
	return sender;
}

/* Sends one call and waits for its verdict. */
static void
exchange(ImSender *sender, ImCall *call)
{
	im_session_exchange(sender, &call, 1);
}

/* Words for a row of which the service said nothing that could be read. */
static char *
explain(const ImCommand *command, const ImRow *row)
{
	const ImErrorCode *entry = im_error_find(row->verdict.code);

	return psprintf("%s%s%s; the %s %s", entry->meaning, row->info[0] ? ": " : "",
					im_text_from_utf8(row->info), command->noun,
					row->verdict.outcome == IM_OUT_UNKNOWN ? "may exist" : "was not created");
}

/* The verdict as an answer. */
static Jsonb *
answer_of_row(const ImCommand *command, const ImRow *row)
{
	Answer		answer = {.code = row->verdict.code};

	if (row->verdict.code < 0)
		answer.info = explain(command, row);
	else
		answer.info = im_text_from_utf8(row->info);
	if (command->makes_groups)
		answer.group_id = row->said_id[0] || row->verdict.code > 0 ? row->said_id :
			im_text_from_utf8(row->group_id);
	return answer_jsonb(&answer);
}

/* The request for one row alone, with the command that says most about it. */
static void
fill_call(ImCall *call, ImRow **rows, const ImCommand *command, const ImItem *item,
		  const ImApp *app)
{
	StringInfoData body;
	const char *json = item->json.data;
	size_t		len = (size_t) item->json.len;

	initStringInfo(&body);
	call->command = command;
	call->op = command->single_op != IM_OP_NONE ? command->single_op : command->op;
	call->rows = rows;
	call->nrows = 1;
	if (call->op != command->op)
		appendBinaryStringInfo(&body, json, (int) len);
	else
		im_record_request(&body, command, item->key,
						  im_batch_extra(command, app->recent_contact, item->group_id),
						  &json, &len, 1);
	call->body = body.data;
	call->body_len = (size_t) body.len;
}

/* The GroupId of a record that names its group by source_id; NULL: it does not, or has one. */
static const char *
group_of(const ImRecord *record, char **source_id)
{
	ImOutbox   *outbox;
	ImRights	saved;
	char	   *group_id;

	*source_id = NULL;
	if (!record->command->roomed ||
		im_record_text(record->map, record->values, record->nulls, "group_id") != NULL)
		return NULL;
	*source_id = im_record_text(record->map, record->values, record->nulls, "group_source_id");
	if (*source_id == NULL)
		return NULL;
	outbox = im_require_outbox();
	im_outbox_enter(&saved);
	group_id = im_outbox_group_of(outbox, *source_id);
	im_outbox_leave(&saved);
	return group_id != NULL ? im_text_as_utf8(group_id) : NULL;
}

/* Imports a record that is no outbox row. */
static Jsonb *
import_record(ImSlot *slot, const ImRecord *record)
{
	const ImCommand *command = record->command;
	ImSender   *sender = require_sender(slot);
	const ImApp *app = im_sender_app(sender);
	ImEncoding	encoding = {
		.limits = app->text_limits,
		.random = pg_prng_uint32(&pg_global_prng_state),
		.message_bytes = app->message_bytes
	};
	ImCall		call = {0};
	ImRow		row = {.kind = command->kind,.request = -1};
	ImRow	   *rows[1] = {&row};
	ImItem		item;
	char	   *source_id;

	encoding.group_id = group_of(record, &source_id);
	im_record_encode(record->map, record->values, record->nulls, &encoding, &item);
	if (item.problems == NIL && source_id != NULL && encoding.group_id == NULL)
	{
		item.problems = list_make1(psprintf("no group with the source_id \"%s\" is imported", source_id));
		item.problem_code = 10010;
	}
	if (item.problems != NIL)
	{
		Answer		answer = {item.problem_code, im_item_problem_text(&item), NULL};

		return answer_jsonb(&answer);
	}
	strlcpy(row.group_id, item.group_id, sizeof(row.group_id));
	row.name = item.name;
	/* Without an id a second request would make a second group. */
	row.life.repeat = command->makes_groups && item.group_id[0] == '\0' ? IM_REPEAT_NEVER :
		IM_REPEAT_REFUSED;
	fill_call(&call, rows, command, &item, app);
	exchange(sender, &call);

	/* An old signature, and nothing that would be made twice: safe to send once more. */
	if (call.verdict.outcome == IM_OUT_RESIGN && row.life.repeat != IM_REPEAT_NEVER)
		exchange(require_sender(slot), &call);
	im_session_note(slot, &call);
	return answer_of_row(command, &row);
}

/* ------------------------------------------------------------------------
 * An outbox row
 */

/* A request of ours in the slot, so that an ERROR can withdraw it. */
typedef struct Asking
{
	ImSlot	   *slot;
	ImKind		kind;
	int64		id;				/* of the row */
	int			request;
	uint32		ticket;
} Asking;

/* Gives the request back, whatever became of it. */
static void
withdraw(int code, Datum arg)
{
	Asking	   *asking = (Asking *) DatumGetPointer(arg);
	ImRequest  *request = &asking->slot->requests[asking->request];

	im_slot_lock(asking->slot);
	/* The place may be another session's by now: only ours is given back. */
	if (request->ticket == asking->ticket)
	{
		request->asker = -1;
		/* Once it is taken the worker still writes to it, and frees it then. */
		if (request->state != IM_REQUEST_TAKEN)
			request->state = IM_REQUEST_FREE;
	}
	im_slot_unlock(asking->slot);
}

/* Puts a request into the slot; false if all places are taken. */
static bool
place_request(Asking *asking, const unsigned char *row_key)
{
	ImSlot	   *slot = asking->slot;
	bool		placed = false;

	im_slot_lock(slot);
	for (int i = 0; i < IM_REQUESTS && !placed; i++)
	{
		ImRequest  *request = &slot->requests[i];

		if (request->state != IM_REQUEST_FREE)
			continue;
		request->state = IM_REQUEST_ASKED;
		request->asker = im_my_proc_number();
		request->ticket = ++slot->next_ticket;
		request->asked_at = slot->asked_at = im_now_us();
		request->kind = asking->kind;
		request->id = asking->id;
		memcpy(request->row_key, row_key, sizeof(request->row_key));
		asking->request = i;
		asking->ticket = request->ticket;
		placed = true;
	}
	im_slot_unlock(slot);
	return placed;
}

/* Sleeps until the latch is set, or a moment has passed. */
static void
nap(void)
{
	CHECK_FOR_INTERRUPTS();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
					 im_wait_event_sender());
	ResetLatch(MyLatch);
}

/* Nobody takes the request: no worker, or no room for one. */
static void
raise_if_nobody_comes(const Asking *asking, int64 since)
{
	if (im_now_us() - since < WORKER_PATIENCE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("no worker took outbox row %lld", (long long) asking->id),
			 errdetail("The row stays as it is, and is sent as soon as a worker runs."),
			 asking->slot->no_start ?
			 errhint("Raise max_worker_processes and restart the server: it has no room for a background worker.") :
			 errhint("SELECT * FROM im_import_doctor() WHERE NOT ok says what to mend; see also the server log.")));
}

/* Waits until the sender has answered; the result is copied to *answer. */
static void
await_answer(const Asking *asking, ImRequest *answer)
{
	ImRequest  *request = &asking->slot->requests[asking->request];
	int64		since = im_now_us();

	for (;;)
	{
		im_slot_lock(asking->slot);
		memcpy(answer, request, sizeof(*answer));
		im_slot_unlock(asking->slot);
		if (answer->state == IM_REQUEST_DONE)
			return;
		/* A worker that has taken it is waited for, however long that takes. */
		if (answer->state == IM_REQUEST_ASKED)
			raise_if_nobody_comes(asking, since);
		else
			since = im_now_us();
		nap();
	}
}

/* Asks the database's sender to send this row now. */
static void
ask_sender(ImSlot *slot, ImKind kind, int64 id, const unsigned char *row_key, ImRequest *answer)
{
	Asking		asking = {.slot = slot,.kind = kind,.id = id};

	while (!place_request(&asking, row_key))
		nap();
	PG_ENSURE_ERROR_CLEANUP(withdraw, PointerGetDatum(&asking));
	{
		im_ring(slot, true);
		await_answer(&asking, answer);
	}
	PG_END_ENSURE_ERROR_CLEANUP(withdraw, PointerGetDatum(&asking));
	/* Without an ERROR the macro does not call it. */
	withdraw(0, PointerGetDatum(&asking));
}

/* The row as this transaction sees it; raises if it cannot be handed over. */
static void
read_row(const ImCommand *command, int64 id, const unsigned char *row_key, ImOutboxRow *row)
{
	ImOutbox   *outbox = im_require_outbox();
	ImRights	saved;
	bool		found;

	im_outbox_enter(&saved);
	found = im_outbox_row(outbox, command->kind, id, row_key, row);
	im_outbox_leave(&saved);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no outbox row %lld with this row_key", (long long) id),
				 errhint("A record with columns id and row_key is taken for that row; leave them out to import a group of your own.")));
	if (command->in_turn != NULL && row->status == IM_PENDING)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("outbox row %lld cannot be sent out of its turn", (long long) id),
				 errdetail("%s", command->in_turn),
				 errhint("Let the worker send it; CALL im_import_wait() returns when it is done.")));
	if (row->uncommitted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("outbox row %lld was written by the current transaction", (long long) id),
				 errhint("Commit first: the worker sends only committed rows.")));
	if (row->status == IM_SENDING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("outbox row %lld is being sent", (long long) id),
				 errhint("Its outcome will stand in %s within seconds.", command->table)));
}

/* Turns the sender's answer into ours. */
static Jsonb *
answer_of_request(const ImCommand *command, int64 id, const ImRequest *request)
{
	Answer		answer = {.code = request->code};

	if (request->result == IM_RESULT_NOT_CLAIMABLE)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("outbox row %lld could not be taken", (long long) id),
				 errdetail("It is locked, in flight, no longer pending, or came from another database."),
				 errhint("If its status in %s is pending, call again when nobody has it locked; rows of another database wait for im_import_adopt(), and what belongs to a group for the group.",
						 command->table)));
	if (request->result == IM_RESULT_STOPPED)
		ereport(ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("outbox row %lld cannot be sent now: %s", (long long) id,
						im_text_from_utf8(request->info)),
				 errdetail("The row stays as it is, and is sent when the import goes on."),
				 errhint("SELECT * FROM im_import_doctor() WHERE NOT ok says what to mend.")));
	if (request->status == IM_IMPORTED)
		answer.code = 0;
	else if (answer.code == 0)
		answer.code = IM_CODE_NOT_SENT;
	answer.info = request->status == IM_IMPORTED ? "" : im_text_from_utf8(request->info);
	if (request->status == IM_PENDING)
		answer.info = psprintf("%s%sthe row stays pending and will be sent again",
							   answer.info, request->info[0] ? "; " : "");
	answer.group_id = im_text_from_utf8(request->group_id);
	return answer_jsonb(&answer);
}

/* Imports an outbox row through the worker. */
static Jsonb *
import_row(ImSlot *slot, const ImCommand *command, int64 id, const unsigned char *row_key)
{
	ImOutboxRow row;
	ImRequest	request;

	read_row(command, id, row_key, &row);
	if (row.status != IM_PENDING)
	{
		Answer		answer = {row.code, row.info, row.group_id};

		return answer_jsonb(&answer);
	}
	ask_sender(slot, command->kind, id, row_key, &request);
	/* It may have ended meanwhile, for another session or under a worker that is gone. */
	if (request.result == IM_RESULT_NOT_CLAIMABLE)
	{
		read_row(command, id, row_key, &row);
		if (row.status != IM_PENDING)
		{
			Answer		answer = {row.code, row.info, row.group_id};

			return answer_jsonb(&answer);
		}
	}
	return answer_of_request(command, id, &request);
}

/* ------------------------------------------------------------------------ */

/* Where this must not be called: what the service has applied cannot be rolled back. */
static void
check_context(const ImCommand *command)
{
	PreventCommandDuringRecovery(psprintf("%s()", command->function));
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot call %s() within a security-restricted operation", command->function),
				 errhint("Call it in a statement of its own, not in an index, a view that is refreshed, or the like.")));
	im_shared_require();
}

/*
 * A person who imports by the thousand in one transaction waits for each, and
 * has what was imported but nothing noted of it if it fails: said once.
 */
static void
count_call(const ImCommand *command)
{
	static LocalTransactionId transaction = InvalidLocalTransactionId;
	static int	calls = 0;

	if (transaction != im_my_transaction())
		calls = 0;
	transaction = im_my_transaction();
	if (++calls != MANY_CALLS)
		return;
	ereport(NOTICE,
			(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
			 errmsg("%s() was called %d times in this transaction", command->function, calls),
			 errdetail("Each call waits for the service's answer, and if the transaction fails, the %ss stay and their answers are lost.",
					   command->noun),
			 errhint("For many %ss use INSERT INTO %s: the worker sends them while nobody waits, keeps every outcome, and goes on after a crash.",
					 command->noun, command->table)));
}

/* One record of a kind. */
static Datum
import_one(FunctionCallInfo fcinfo, const ImCommand *command)
{
	const unsigned char *row_key;
	ImRecord   *record;
	ImSlot	   *slot;
	int64		id;

	check_context(command);
	record = im_record_arg(fcinfo, 0, command);
	slot = im_slot_mine();
	if (slot == NULL)
		im_shared_full();
	count_call(command);
	if (im_record_is_row(record, &id, &row_key))
		PG_RETURN_JSONB_P(import_row(slot, command, id, row_key));
	/* Before the call, which may not be undone; once for a statement. */
	if (!record->told)
		im_record_tell_unsent(record->map);
	record->told = true;
	PG_RETURN_JSONB_P(import_record(slot, record));
}

/* im_import_account(record) and its like return jsonb. */
#define IM_KIND(kind, name, function) \
PG_FUNCTION_INFO_V1(function); \
Datum \
function(PG_FUNCTION_ARGS) \
{ \
	return import_one(fcinfo, &im_cmd_##name); \
}
#include "commandlist.h"
