/*
 * command.c
 *	  The table of commands, and the rules of fields that several share.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "command.h"
#include "glyph.h"
#include "record.h"
#include "text.h"

/* See command.h. */
const ImCommand *const im_commands[IM_KINDS] = {
	[IM_ACCOUNT] = &im_cmd_account,
	[IM_FRIEND] = &im_cmd_friend,
	[IM_DIALOG] = &im_cmd_dialog,
	[IM_GROUP] = &im_cmd_group,
	[IM_MEMBER] = &im_cmd_member,
	[IM_MESSAGE] = &im_cmd_message,
	[IM_UNREAD] = &im_cmd_unread,
	[IM_UNDO_GROUP] = &im_cmd_undo,
};

/* See command.h. */
const ImCommand *
im_command_find(const char *name)
{
	for (int i = 0; i < IM_OUTBOXES; i++)
		if (pg_strcasecmp(im_commands[i]->name, name) == 0)
			return im_commands[i];
	return NULL;
}

/* See command.h. */
const ImCommand *
im_command_of_table(const char *table)
{
	for (int i = 0; i < IM_OUTBOXES; i++)
		if (strcmp(im_commands[i]->table, table) == 0)
			return im_commands[i];
	return NULL;
}

/* See command.h. */
char *
im_command_names(bool compared)
{
	StringInfoData names;
	const char *last = NULL;

	initStringInfo(&names);
	for (int i = 0; i < IM_OUTBOXES; i++)
	{
		if (compared && im_commands[i]->checkup == NULL)
			continue;
		if (last != NULL)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", last);
		last = im_commands[i]->name;
	}
	appendStringInfo(&names, "%s%s", names.len > 0 ? " and " : "", last != NULL ? last : "");
	return names.data;
}

/* UserID: what every tls-sig-api calls safe; others may be refused. */
void
im_check_user_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	const char *p;

	for (p = text->utf8; isalnum((unsigned char) *p) || *p == '_' || *p == '-'; p++)
		if (IS_HIGHBIT_SET(*p))
			break;
	if (*p != '\0')
		im_record_warning(enc, psprintf("%s has characters other than A-Z, a-z, 0-9, _ and -: %s",
										field->column, im_record_quote(text)));
}

/* GroupId: printable ASCII. Remembers it in the item. */
void
im_check_group_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	if (!im_text_is_printable(text->utf8, text->len))
		im_record_problem(enc, psprintf("%s has a character outside printable ASCII (0x20 to 0x7e): %s",
										field->column, im_record_quote(text)));
	if (text->len <= IM_GROUP_ID_MAX)
		memcpy(enc->item->group_id, text->utf8, text->len + 1);
}

/* See command.h. */
void
im_check_room(ImEncoder *enc)
{
	bool		by_source = im_record_has(enc, "group_source_id");
	bool		by_id = im_record_has(enc, "group_id");

	if (by_source && by_id)
		im_record_problem(enc, "group_source_id and group_id are both given: leave one of the two NULL");
	else if (!by_source && !by_id)
		im_record_problem(enc, "group_source_id or group_id is required, both are NULL");
}

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
	return call->rows[0]->key != NULL && row->key != NULL && strcmp(call->rows[0]->key, row->key) == 0;
}

/* See command.h. */
const char *
im_differs_column(int differs)
{
	static const char *const columns[] = {
		[IM_DIFFERS_ROLE] = "role",
		[IM_DIFFERS_SENDER] = "from_account",
		[IM_DIFFERS_TIME] = "send_time",
		[IM_DIFFERS_TEXT] = "text",
		[IM_DIFFERS_BODY] = "body"
	};

	return columns[differs];
}

/* Warns of what people would not see, or not as it was meant. */
static void
check_look(ImEncoder *enc, const ImField *field, const ImText *text, bool lines)
{
	ImLook		look;

	if (!enc->encoding->warnings || text->len == 0)
		return;
	look = im_glyph_look(text->utf8, text->len, lines);
	if (!look.visible)
		im_record_warning(enc, psprintf("%s has no visible character: %s",
										field->column, im_record_quote(text)));
	if (look.control)
		im_record_warning(enc, psprintf("%s has a control character: %s",
										field->column, im_record_quote(text)));
	if (look.direction)
		im_record_warning(enc, psprintf("%s has a character that turns the direction of writing: %s",
										field->column, im_record_quote(text)));
}

/* A text of one line. */
void
im_check_line(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	check_look(enc, field, text, false);
}

/* A text that may have several lines. */
void
im_check_lines(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	check_look(enc, field, text, true);
}
