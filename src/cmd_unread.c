/*
 * cmd_unread.c
 *	  Unread counts: rows of im_unread_outbox, sent by set_unread_msg_num, one a
 *	  call.  The number is absolute, so a second call changes nothing; but every
 *	  import of messages sets it back to 0, so these come last.
 *
 * Source: document 1047/34909.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "rules.h"

#define UNREAD_MAX			INT64CONST(2147483647)

static void check_number(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);

static const ImField fields[] = {
	IM_ROOM_FIELDS(0),
	{.column = "member_account",.sent = "Member_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_USER | IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "unread_msg_num",.sent = "UnreadMsgNum",.kind = IM_VALUE_COUNT,
	.flags = IM_FIELD_REQUIRED | IM_FIELD_ZERO,.check = check_number},
};

static const ImAdvice advice[] = {
	IM_ADVICE_OF_ROOMS,
	{10004, "Most likely the account is no member of the group. Import the membership first, then call im_import_retry(10004)."},
	{0, NULL}
};

const ImCommand im_cmd_unread = {
	.kind = IM_UNREAD,
	.name = "unread",
	.table = "im_unread_outbox",
	.op = IM_OP_SET_UNREAD,
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 1,
	.variant_field = -1,
	.roomed = true,
	.counted = "unread",
	.undone_by = &im_cmd_message,
	.in_turn = "A group's unread counts are set after its messages: the worker keeps that order.",
	.finish = im_check_room,
	.function = "im_set_unread",
	.noun = "unread count",
	.a_noun = "an unread count",
	.advice = advice,
	.change_hint = "It is in the app: change it there.",
	.harmless = true,
	.not_compared = "Unread counts change as people read, and are not compared.",
	.record_hint = "Give the record named columns, at least member_account, unread_msg_num and one of group_source_id and group_id."
};

/* UnreadMsgNum: the service cuts it to the number of the group's messages. */
static void
check_number(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	if (number < 0)
		im_record_problem(enc, psprintf("%s is " INT64_FORMAT ", the least is 0", field->column, number));
	else if (number > UNREAD_MAX)
		im_record_problem(enc, psprintf("%s is " INT64_FORMAT ", the limit is " INT64_FORMAT " (" INT64_FORMAT " over)",
										field->column, number, UNREAD_MAX, number - UNREAD_MAX));
}
