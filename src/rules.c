/*
 * rules.c
 *	  What several commands share: rules of fields, and parts of questions.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/json.h"

#include "glyph.h"
#include "rules.h"
#include "text.h"

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

/* See rules.h. */
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

/* See rules.h. */
void
im_put_text(StringInfo body, const char *member, const char *text)
{
	appendStringInfo(body, "\"%s\":", member);
	escape_json(body, text);
}

/* See rules.h. */
void
im_put_list(StringInfo body, const char *member, const ImCall *call, bool groups)
{
	appendStringInfo(body, "\"%s\":[", member);
	for (int i = 0; i < call->nrows; i++)
	{
		if (i > 0)
			appendStringInfoChar(body, ',');
		escape_json(body, groups ? call->rows[i]->group_id : call->rows[i]->name);
	}
	appendStringInfoChar(body, ']');
}
