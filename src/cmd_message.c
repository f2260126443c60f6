/*
 * cmd_message.c
 *	  Group messages: rows of im_message_outbox, sent by import_group_msg, a few
 *	  of one group a call, in the order of their times.
 *
 * The service has no key for a message.  It refuses what is not later than the
 * group's newest message, and drops a Random that it has seen within five
 * minutes.  After an unknown outcome the group's newest messages are read back
 * and compared by Random, time and sender.
 *
 * Source: document 1047/34968; of group_msg_get_simple 1047/34971.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "elements.h"
#include "rules.h"

#define READ_BACK_MAX		20	/* messages in one group_msg_get_simple, as documented */

static void finish(ImEncoder *enc);
static bool is_near(const ImCall *call, const ImRow *row);
static bool agrees(const ImRow *row);

static const ImField fields[] = {
	IM_ROOM_FIELDS(IM_FIELD_KEY),
	{.column = "from_account",.sent = "From_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_USER | IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "send_time",.sent = "SendTime",.kind = IM_VALUE_TIME,
	.flags = IM_FIELD_REQUIRED | IM_FIELD_MOVED},
	{.column = "text",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY | IM_FIELD_EITHER,
	.check = im_check_text},
	{.column = "body",.kind = IM_VALUE_JSON,.flags = IM_FIELD_UNSENT,.check = im_check_group_body},
};

static const ImAdvice advice[] = {
	IM_ADVICE_OF_ROOMS,
	IM_ADVICE_OF_TEXTS,
	{10004, "The reason is the time of the message, its sender or its body: error_info says more. Correct the row with an UPDATE that also sets status = 'pending'. If the group has later messages by now, take it back first (status undo) and import it again."},
	{0, NULL}
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_MESSAGES,.batch = READ_BACK_MAX,.absent = {10010, 10015},
	.joins = is_near},
	.room = {.op = IM_OP_COUNT_MESSAGES,.batch = IM_CHECK_MAX,.joins = im_joins_any},
	.agrees = agrees,
	.column = im_differs_column
};

const ImCommand im_cmd_message = {
	.kind = IM_MESSAGE,
	.name = "message",
	.table = "im_message_outbox",
	.op = IM_OP_IMPORT_MESSAGES,
	.lookup_op = IM_OP_GET_MESSAGES,
	.explain_op = IM_OP_GET_MESSAGES,
	.refused_because = "the service gives no reason: the message's time must be later than the group's creation and its newest message, and before now; the sender must exist; 80002 is a message that is too long",
	.blames = "sender",
	.contact_flag = true,
	.list = "MsgList",
	.answer = {.list = "ImportMsgResult",.result = "Result",.seq = "MsgSeq",.time = "MsgTime"},
	.result_done = {0, 0},
	.fields = fields,
	.nfields = lengthof(fields),
	.key_codes = {10010, 10015},
	.batch = 7,
	.ordered = true,
	.variant_field = -1,
	.roomed = true,
	.counted = "messages",
	.in_turn = "A group's messages go in the order of their times: the worker keeps that order.",
	.finish = finish,
	.function = "im_import_message",
	.noun = "message",
	.a_noun = "a message",
	.advice = advice,
	.change_hint = "It is in the app: change it there. What im_import_verify() calls missing im_import_retry(status => 'missing') sends again, where it can.",
	.sql = {
		.extra = "o.sent_time",
		.claimed = "sent_time = NULLIF(v.number, 0), ",
		.settled = "msg_seq = COALESCE(v.number, o.msg_seq), sent_time = COALESCE(v.word::bigint, o.sent_time),",
		.order = "i.send_time, i.id",
		.number = "o.msg_seq",
		/* From the newest on, as they are read. */
		.place = IM_ROOM_ORDER ", i.msg_seq DESC NULLS LAST, i.sent_time DESC, i.id DESC",
		.resolved = "msg_seq = $4,"
	},
	.checkup = &checkup,
	.record_hint = "Give the record named columns, at least from_account, send_time, one of text and body, and one of group_source_id and group_id."
};

/* Random marks the message in the group; it is a function of the row. */
static void
finish(ImEncoder *enc)
{
	im_check_room(enc);
	im_check_one_body(enc);
	im_record_number(enc, "Random", enc->encoding->random);
}

/*
 * True if one page has both: of a row whose number is known it begins there, of
 * others where the page before ended.
 */
static bool
is_near(const ImCall *call, const ImRow *row)
{
	const ImRow *first = call->rows[0];

	if (!im_joins_key(call, row) || (row->seq == 0) != (first->seq == 0))
		return false;
	if (row->seq == 0)
		return row->check.below == first->check.below;
	return row->seq <= first->seq && first->seq - row->seq < READ_BACK_MAX;
}

/* group_msg_get_simple: a group's messages from a number downwards. */
void
im_message_ask(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfoChar(body, '{');
	im_put_text(body, "GroupId", call->rows[0]->group_id);
	appendStringInfo(body, ",\"ReqMsgNumber\":%d", READ_BACK_MAX);
	if (call->read_below > 0)
		appendStringInfo(body, ",\"ReqMsgSeq\":" INT64_FORMAT, call->read_below);
	/* One that was recalled is no longer as it was sent, but it is not missing. */
	if (call->op == IM_OP_CHECK_MESSAGES)
		appendStringInfoString(body, ",\"WithRecalledMsg\":1");
	appendStringInfoChar(body, '}');
}

/* get_group_info: how many messages these groups had, and the time of the newest. */
void
im_message_ask_counts(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfoChar(body, '{');
	im_put_list(body, "GroupIdList", call, true);
	appendStringInfoString(body, ",\"ResponseFilter\":{\"GroupBaseInfoFilter\":[\"NextMsgSeq\",\"LastMsgTime\"]}}");
}

/*
 * True if the group has as many messages as its rows imported, or more, because
 * people write in it; and the newest is the rows', or is later.
 */
static bool
agrees(const ImRow *row)
{
	const ImRoomFacts *facts = row->check.facts;
	int64		stored = row->check.next_seq - 1;

	/* The numbers are those of rows that were sent, which somebody may call this one. */
	if (row->sent_time == 0)
		return false;
	if (facts == NULL || facts->messages == 0 || stored < facts->messages || stored < facts->newest_seq)
		return false;
	if (stored == facts->newest_seq)
		return row->check.newest == facts->newest_time;
	return row->check.newest >= facts->newest_time;
}
