/*
 * cmd_member.c
 *	  Members: rows of im_member_outbox, sent by import_group_member, many of
 *	  one group a call.  A second call changes nothing: who is a member already
 *	  is told apart, and is done.
 *
 * Source: document 1047/34969; of get_role_in_group 269/1626.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "rules.h"

#define ROLES_BATCH			500 /* members in one get_role_in_group, as documented */

static const ImWord roles[] = {
	{"Admin", "Admin", 0},
	{"Member", NULL, 0},		/* is what a member without a role is */
	{NULL, NULL, 0}
};

static const ImField fields[] = {
	IM_ROOM_FIELDS(IM_FIELD_KEY),
	{.column = "member_account",.sent = "Member_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_USER | IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "role",.sent = "Role",.kind = IM_VALUE_WORD,.flags = IM_FIELD_NONEMPTY,
	.words = roles,.allowed = "Admin and Member (leave it NULL for a plain member, and for the owner give the group an owner_account)"},
	{.column = "join_time",.sent = "JoinTime",.kind = IM_VALUE_TIME,.flags = IM_FIELD_JOINED},
};

static const ImAdvice advice[] = {
	IM_ADVICE_OF_ROOMS,
	{10014, "Raise the plan's number of members in a group, then call im_import_retry(10014); or leave the rows as they are."},
	{0, NULL}
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_MEMBERS,.batch = ROLES_BATCH,.absent = {10010, 10015},
	.joins = im_joins_key},
	.column = im_differs_column
};

const ImCommand im_cmd_member = {
	.kind = IM_MEMBER,
	.name = "member",
	.table = "im_member_outbox",
	.op = IM_OP_IMPORT_MEMBERS,
	.explain_op = IM_OP_CHECK_ACCOUNTS,
	.explain_batch = 100,
	.refused_because = "join_time must be later than the group's creation and before now, the role must not be Admin in a Private group, and the group must not be full, nor the member be in as many groups as the plan allows",
	.list = "MemberList",
	.answer = {.list = "MemberList",.id = "Member_Account",.result = "Result"},
	.result_done = {1, 2},
	.fields = fields,
	.nfields = lengthof(fields),
	.key_codes = {10010, 10015},
	.batch = 20,
	.variant_field = -1,
	.roomed = true,
	.counted = "members",
	.finish = im_check_room,
	.function = "im_import_member",
	.noun = "membership",
	.a_noun = "a membership",
	.advice = advice,
	.change_hint = "It is in the app: change it there. What im_import_verify() calls missing can be sent again.",
	.harmless = true,
	.checkup = &checkup,
	.sql = {.place = IM_ROOM_ORDER ", i.id",.users = "o.member_account"},
	.record_hint = "Give the record named columns, at least member_account and one of group_source_id and group_id."
};

/* get_role_in_group: what each of them is in the group, or none. */
void
im_member_ask(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfoChar(body, '{');
	im_put_text(body, "GroupId", call->rows[0]->group_id);
	appendStringInfoChar(body, ',');
	im_put_list(body, "User_Account", call, false);
	appendStringInfoChar(body, '}');
}
