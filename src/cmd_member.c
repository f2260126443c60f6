/*
 * cmd_member.c
 *	  Members: rows of im_member_outbox, sent by import_group_member, many of
 *	  one group a call.  A second call changes nothing: who is a member already
 *	  is told apart, and is done.
 *
 * Source: document 1047/34969.
 */
#include "postgres.h"

#include "record.h"

static const ImWord roles[] = {
	{"Admin", "Admin", 0},
	{"Member", NULL, 0},		/* is what a member without a role is */
	{NULL, NULL, 0}
};

static const ImField fields[] = {
	IM_ROOM_FIELDS(IM_FIELD_KEY),
	{.column = "member_account",.sent = "Member_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "role",.sent = "Role",.kind = IM_VALUE_WORD,.flags = IM_FIELD_NONEMPTY,
	.words = roles,.allowed = "Admin and Member; leave it NULL for a plain member, and for the owner give the group an owner_account"},
	{.column = "join_time",.sent = "JoinTime",.kind = IM_VALUE_TIME},
};

const ImCommand im_cmd_member = {
	.kind = IM_MEMBER,
	.name = "member",
	.table = "im_member_outbox",
	.op = IM_OP_IMPORT_MEMBERS,
	.explain_op = IM_OP_CHECK_ACCOUNTS,
	.refused_because = "join_time must be later than the group's creation and before now, and the group must not be full, nor the member be in as many groups as the plan allows",
	.list = "MemberList",
	.answer = {.list = "MemberList",.id = "Member_Account",.result = "Result"},
	.result_done = {1, 2},
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 20,
	.variant_field = -1,
	.roomed = true,
	.finish = im_check_room,
	.function = "im_import_member",
	.noun = "membership",
	.a_noun = "a membership",
	.change_hint = "It is in the app: change it there.",
	.harmless = true,
	.sql = IM_SQL_PLAIN,
	.record_hint = "Give the record named columns, at least member_account and one of group_source_id and group_id."
};
