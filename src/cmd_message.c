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
 * Source: document 1047/34968.
 */
#include "postgres.h"

#include "elements.h"
#include "record.h"

static void finish(ImEncoder *enc);

static const ImField fields[] = {
	IM_ROOM_FIELDS(IM_FIELD_KEY),
	{.column = "from_account",.sent = "From_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "send_time",.sent = "SendTime",.kind = IM_VALUE_TIME,
	.flags = IM_FIELD_REQUIRED | IM_FIELD_MOVED},
	{.column = "text",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY,
	.check = im_check_text},
	{.column = "body",.kind = IM_VALUE_JSON,.flags = IM_FIELD_UNSENT,.check = im_check_group_body},
};

const ImCommand im_cmd_message = {
	.kind = IM_MESSAGE,
	.name = "message",
	.table = "im_message_outbox",
	.op = IM_OP_IMPORT_MESSAGES,
	.lookup_op = IM_OP_GET_MESSAGES,
	.explain_op = IM_OP_GET_MESSAGES,
	.refused_because = "the service gives no reason: the message's time must be later than the group's creation and its newest message, and before now; the sender must exist; 80002 is a message that is too long",
	.contact_flag = true,
	.list = "MsgList",
	.answer = {.list = "ImportMsgResult",.result = "Result",.seq = "MsgSeq",.time = "MsgTime"},
	.result_done = {0, 0},
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 7,
	.ordered = true,
	.variant_field = -1,
	.roomed = true,
	.finish = finish,
	.function = "im_import_message",
	.noun = "message",
	.a_noun = "a message",
	.change_hint = "It is in the app: change it there.",
	.sql = {
		.extra = "o.sent_time",
		.claimed = "sent_time = v.number, ",
		.settled = "msg_seq = COALESCE(v.number, o.msg_seq),",
		.named = "NULL::text",
		.unnamed = "false",
		.order = "i.send_time, i.id"
	},
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
