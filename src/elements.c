/*
 * elements.c
 *	  MsgBody: what a message may be made of.
 *
 * A body travels as it was written: nothing is decoded.  Only its outer form is
 * looked at, an array of objects with MsgType and MsgContent, and the types
 * that the command takes.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "elements.h"
#include "json.h"
#include "text.h"

typedef struct ElementType
{
	const char *name;
	bool		group;			/* import_group_msg takes it */
} ElementType;

static const ElementType types[] = {
	{"TIMTextElem", true},
	{"TIMFaceElem", true},
	{"TIMLocationElem", true},
	{"TIMCustomElem", true},
	{"TIMSoundElem", false},
	{"TIMImageElem", false},
	{"TIMFileElem", false},
	{"TIMVideoFileElem", false},
};

/* What one element says of itself. */
typedef struct Element
{
	ImJsonValue type;
	ImJsonValue content;
} Element;

/* Adds the member MsgBody, and looks at its length. */
static void
put_body(ImEncoder *enc, const ImField *field, const char *json, size_t len)
{
	size_t		limit = (size_t) enc->encoding->message_bytes;

	im_record_member(enc, "MsgBody", json, len);
	if (limit > 0 && len > limit)
		im_record_problem(enc, psprintf("%s as MsgBody is %zu bytes, the limit is %zu (%zu over)",
										field->column, len, limit, len - limit));
}

/* See elements.h. */
void
im_check_text(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "[{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{\"Text\":");
	escape_json(&json, text->utf8);
	appendStringInfoString(&json, "}}]");
	put_body(enc, field, json.data, json.len);
}

/* Reads the members of one element. */
static void
read_element(const ImJsonValue *object, Element *element)
{
	ImJsonScan	scan = im_json_within(object);
	ImJsonText	name;
	ImJsonValue value;

	memset(element, 0, sizeof(*element));
	if (!im_json_enter(&scan, '{'))
		return;
	while (im_json_next_member(&scan, &name))
	{
		im_json_value(&scan, &value);
		if (im_json_is(&name, "MsgType"))
			element->type = value;
		else if (im_json_is(&name, "MsgContent"))
			element->content = value;
	}
}

/* What is wrong with an element, a clause; or NULL. */
static const char *
judge_element(const Element *element, bool group)
{
	char		shown[64];

	if (element->type.kind != IM_JSON_STRING)
		return "has an element without MsgType";
	if (element->content.kind != IM_JSON_OBJECT)
		return "has an element without MsgContent";
	for (int i = 0; i < (int) lengthof(types); i++)
		if (im_json_is(&element->type.text, types[i].name))
			return types[i].group || !group ? NULL :
				psprintf("has a %s, which cannot be imported into a group: send a TIMCustomElem, or a text with a link",
						 types[i].name);
	/* It is the row's own text: only what can be shown of it. */
	(void) im_json_clean(element->type.text, shown, sizeof(shown));
	im_text_mask(shown);
	return psprintf("has an element of the unknown type \"%s\"", shown);
}

/* Looks at all elements; adds the body. */
static void
check_body(ImEncoder *enc, const ImField *field, const ImText *text, bool group)
{
	ImJsonScan	scan = im_json_begin(text->utf8, text->len);
	const char *wrong = NULL;
	int			n = 0;

	/* Sent as it was written, so that all of it must be good JSON. */
	if (!im_json_valid(text->utf8, text->len))
		wrong = "is no JSON";
	else if (im_json_peek(&scan) != '[')
		wrong = "is not an array of elements";
	else if (im_json_enter(&scan, '['))
	{
		/* One that is wrong is enough: they are mended together. */
		while (wrong == NULL && im_json_next_item(&scan, ']'))
		{
			ImJsonValue object;
			Element		element;

			im_json_value(&scan, &object);
			n++;
			if (object.kind != IM_JSON_OBJECT)
				wrong = "has an element that is no object";
			else
			{
				read_element(&object, &element);
				wrong = judge_element(&element, group);
			}
		}
		if (n == 0)
			wrong = "has no element";
	}
	if (wrong != NULL)
		im_record_problem(enc, psprintf("%s %s: %s", field->column, wrong, im_record_quote(text)));
	else
		put_body(enc, field, text->utf8, text->len);
}

/* See elements.h. */
void
im_check_group_body(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	check_body(enc, field, text, true);
}

/* See elements.h. */
void
im_check_dialog_body(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	check_body(enc, field, text, false);
}

/* See elements.h. */
void
im_check_one_body(ImEncoder *enc)
{
	bool		text = im_record_has(enc, "text");
	bool		body = im_record_has(enc, "body");

	if (text && body)
		im_record_problem(enc, "text and body are both given: leave one of the two NULL");
	else if (!text && !body)
		im_record_problem(enc, "text or body is required, both are NULL");
}
