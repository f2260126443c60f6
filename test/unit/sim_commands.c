/*
 * sim_commands.c
 *	  The commands of people, as they ship, without a server.
 *
 * A command is data, which the simulators run through; its functions encode records
 * and compose requests.  These are not called here, and neither is what they call.
 */
#include "postgres.h"

#include <stdlib.h>

#include "elements.h"
#include "rules.h"

const ImCommand *const im_commands[IM_KINDS] = {
	[IM_ACCOUNT] = &im_cmd_account,
	[IM_FRIEND] = &im_cmd_friend,
	[IM_DIALOG] = &im_cmd_dialog,
	[IM_MEMBER] = &im_cmd_member,
};

/* See command.h. */
bool
im_joins_any(const ImCall *call, const ImRow *row)
{
	return true;
}

/* See command.h. */
bool
im_joins_key(const ImCall *call, const ImRow *row)
{
	return strcmp(call->rows[0]->key, row->key) == 0;
}

#define NOT_CALLED(type, function, ...) \
	type function(__VA_ARGS__) \
	{ \
		abort(); \
	}
#define NO_CHECK(function) \
	NOT_CALLED(void, function, ImEncoder *enc, const ImField *field, const ImText *text, int64 number)

NOT_CALLED(void, appendStringInfoString, StringInfo str, const char *s)
NOT_CALLED(void, appendStringInfoChar, StringInfo str, char ch)
NOT_CALLED(void, appendStringInfo, StringInfo str, const char *fmt,...)
NOT_CALLED(void, escape_json, StringInfo buf, const char *str)
NOT_CALLED(char *, psprintf, const char *fmt,...)
NOT_CALLED(void, im_put_text, StringInfo body, const char *member, const char *text)
NOT_CALLED(void, im_put_list, StringInfo body, const char *member, const ImCall *call, bool groups)
NOT_CALLED(void, im_record_string, ImEncoder *enc, const char *key, const char *utf8)
NOT_CALLED(void, im_record_number, ImEncoder *enc, const char *key, int64 number)
NOT_CALLED(bool, im_record_has, const ImEncoder *enc, const char *column)
NOT_CALLED(void, im_check_room, ImEncoder *enc)
NOT_CALLED(void, im_check_one_body, ImEncoder *enc)
NOT_CALLED(const char *, im_differs_column, int differs)
NO_CHECK(im_check_user_id)
NO_CHECK(im_check_group_id)
NO_CHECK(im_check_text)
NO_CHECK(im_check_dialog_body)
