/*
 * cmd_friend.c
 *	  Friends: rows of im_friend_outbox, sent by friend_import, many of one user
 *	  a call.  A row is one direction; a second call changes nothing.
 *
 * The service answers 30008 to two calls that write one user's friends at once,
 * so a user has one call in flight.  Who is a friend already is 0 or 30015: which
 * code stands for it is not documented, so friend_check is asked after a code that
 * is not documented either.
 *
 * Source: document 1047/34903; of friend_check 1047/34907.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "rules.h"

#define SOURCE_PREFIX		"AddSource_Type_"
#define GROUPS_MAX			32
#define GROUP_NAME_MAX		30

#define CHECK_BATCH			1000	/* friends in one friend_check, as documented */

#define ALL_FRIENDS			"The plan does not allow the user more friends or lists. Raise it, then call im_import_retry() with this code; or leave the rows as they are."

static void finish(ImEncoder *enc);
static void check_source(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);

static const ImField fields[] = {
	{.column = "user_id",.sent = "From_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_KEY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "friend_id",.sent = "To_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "remark",.sent = "Remark",.kind = IM_VALUE_TEXT,.limit = {96, 96}},
	{.column = "add_source",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY,
	.check = check_source},
	{.column = "group_names",.sent = "GroupName",.kind = IM_VALUE_TEXTS,
	.limit = {GROUP_NAME_MAX, GROUP_NAME_MAX},.most = GROUPS_MAX},
	{.column = "add_time",.sent = "AddTime",.kind = IM_VALUE_TIME},
};

static const ImAdvice advice[] = {
	{30010, ALL_FRIENDS},
	{30011, ALL_FRIENDS},
	{30012, ALL_FRIENDS},
	{30013, ALL_FRIENDS},
	{30014, ALL_FRIENDS},
	{0, NULL}
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_FRIENDS,.batch = CHECK_BATCH,.absent = {30003},
	.joins = im_joins_key},
};

const ImCommand im_cmd_friend = {
	.kind = IM_FRIEND,
	.name = "friend",
	.table = "im_friend_outbox",
	.op = IM_OP_IMPORT_FRIENDS,
	.list = "AddFriendItem",
	.answer = {.list = "ResultItem",.id = "To_Account",.code = "ResultCode",.info = "ResultInfo"},
	.code_there = 30015,
	.explain_op = IM_OP_CHECK_FRIENDS,
	.there_is_done = true,
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 1000,
	.variant_field = -1,
	.after_accounts = true,
	.finish = finish,
	.function = "im_import_friend",
	.noun = "friendship",
	.a_noun = "a friendship",
	.advice = advice,
	.change_hint = "It is in the app: change it there. What im_import_verify() calls missing can be sent again.",
	.serial = true,
	.harmless = true,
	.checkup = &checkup,
	.sql = {.place = "i.user_id COLLATE \"C\", i.id",.users = "o.user_id, o.friend_id"},
	.record_hint = "Give the record named columns, at least user_id and friend_id."
};

/* AddSource: the prefix may be left out. */
static void
check_source(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	bool		has_prefix = strncmp(text->utf8, SOURCE_PREFIX, strlen(SOURCE_PREFIX)) == 0;

	im_record_string(enc, "AddSource", has_prefix ? text->utf8 :
					 psprintf(SOURCE_PREFIX "%s", text->utf8));
}

/* AddSource is required by the service. */
static void
finish(ImEncoder *enc)
{
	if (!im_record_has(enc, "add_source"))
		im_record_string(enc, "AddSource", SOURCE_PREFIX "Import");
}

/* friend_check: whom the user has as a friend. */
void
im_friend_ask(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfoChar(body, '{');
	im_put_text(body, "From_Account", call->rows[0]->key);
	appendStringInfoString(body, ",\"CheckType\":\"CheckResult_Type_Single\",");
	im_put_list(body, "To_Account", call, false);
	appendStringInfoChar(body, '}');
}
