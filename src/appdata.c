/*
 * appdata.c
 *	  AppDefinedData: from the user's JSON to the API's array of Key and Value.
 *
 * Must not know records, columns or where the text goes.
 *
 * The surprising rule: nothing is decoded.  A value may be binary, written
 * as \u0000, which PostgreSQL's text and jsonb cannot hold; so tokens are
 * copied as they stand, and lengths are counted without unescaping.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "appdata.h"
#include "json.h"
#include "text.h"

/* What the service's console allows, in bytes. */
#define KEY_MAX				16
#define VALUE_MAX			512
/* So much of a key is quoted in a message, in bytes. */
#define QUOTE_MAX			60

/* The text on its way into the array. */
typedef struct ImReader
{
	ImAppData  *data;
	bool		want_warnings;
	int			entries;
} ImReader;

/* How many bytes a scalar's text has at least, without its marks. */
static size_t
scalar_bytes(const JsonbValue *value)
{
	char	   *digits;
	size_t		bytes;

	if (value->type == jbvString)
		return (size_t) value->val.string.len;
	if (value->type != jbvNumeric)
		return 0;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	bytes = strlen(digits);
	pfree(digits);
	return bytes;
}

/* See appdata.h. */
bool
im_jsonb_within(Datum jsonb, size_t max)
{
	Jsonb	   *plain = DatumGetJsonbP(jsonb);
	JsonbIterator *iterator = JsonbIteratorInit(&plain->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	size_t		bytes = 0;

	/* stops at the first number too many: the rest is not made text at all */
	while (bytes <= max && (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			bytes += scalar_bytes(&value);
	return bytes <= max;
}

/*
 * A string's text for a message, as it is written, cut between characters.  A
 * database that is not UTF8 may lack its characters: they become question
 * marks.
 */
static char *
quote_text(const ImJsonText *said)
{
	int			len = (int) (said->end - said->p);
	int			cut = pg_encoding_mbcliplen(PG_UTF8, said->p, len, QUOTE_MAX);
	char	   *text = psprintf("\"%.*s%s\"", cut, said->p, cut < len ? "..." : "");

	for (char *p = text; *p != '\0'; p++)
		if (*p == 0x7f)
			*p = '?';
	if (GetDatabaseEncoding() != PG_UTF8)
		im_text_mask(text);
	return text;
}

/* ---- what the console would say ---- */

/* How many bytes of UTF-8 a string's text stands for. */
static size_t
text_bytes(ImJsonText text)
{
	size_t		bytes = 0;

	while (text.p < text.end)
	{
		uint32		c = im_json_take(&text);

		bytes += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	}
	return bytes;
}

/* True if a key is of [A-Za-z0-9_] and does not begin with a digit. */
static bool
is_plain_key(const ImJsonText *key)
{
	for (const char *p = key->p; p < key->end; p++)
		if (IS_HIGHBIT_SET(*p) || (!isalnum((unsigned char) *p) && *p != '_'))
			return false;
	return key->p < key->end && !im_text_is_digit(*key->p);
}

/*
 * Counts an entry and says what is unusual about it.  Never a refusal: the
 * import page's own sample has a key that breaks the console's rules.
 */
static void
check_entry(ImReader *r, const ImJsonText *key, const ImJsonText *value)
{
	List	  **warnings = &r->data->warnings;
	size_t		key_bytes;
	size_t		value_bytes;

	r->entries++;
	if (!r->want_warnings)
		return;
	key_bytes = text_bytes(*key);
	value_bytes = text_bytes(*value);
	if (key_bytes > KEY_MAX)
		*warnings = lappend(*warnings, psprintf("has a key of %zu bytes, the limit is %d (%zu over): %s",
												key_bytes, KEY_MAX, key_bytes - KEY_MAX,
												quote_text(key)));
	if (!is_plain_key(key))
		*warnings = lappend(*warnings, psprintf("has a key with other characters than A-Z, a-z, 0-9 and _, or that begins with a digit: %s",
												quote_text(key)));
	if (value_bytes > VALUE_MAX)
		*warnings = lappend(*warnings, psprintf("has a value of %zu bytes, the limit is %d (%zu over), for key %s",
												value_bytes, VALUE_MAX, value_bytes - VALUE_MAX,
												quote_text(key)));
}

/* ---- the API's own form ---- */

/* Reads one {"Key": ..., "Value": ...}; false if it is not. */
static bool
read_pair(ImReader *r, ImJsonScan *scan)
{
	ImJsonText	name;
	ImJsonValue key = {0};
	ImJsonValue value = {0};

	if (!im_json_enter(scan, '{'))
		return false;
	while (im_json_next_member(scan, &name))
	{
		ImJsonValue *member = im_json_is(&name, "Key") ? &key :
			im_json_is(&name, "Value") ? &value : NULL;

		/* each once, and nothing else */
		if (member == NULL || member->kind != IM_JSON_NONE)
			return false;
		im_json_value(scan, member);
	}
	if (key.kind != IM_JSON_STRING || value.kind != IM_JSON_STRING)
		return false;
	check_entry(r, &key.text, &value.text);
	return true;
}

/* The array travels as it is written; false if it is not of pairs. */
static bool
read_array(ImReader *r, const ImJsonValue *array)
{
	ImJsonScan	scan = im_json_within(array);

	im_json_enter(&scan, '[');
	while (im_json_next_item(&scan, ']'))
		if (!read_pair(r, &scan))
			return false;
	appendBinaryStringInfo(&r->data->json, array->text.p, (int) (array->text.end - array->text.p));
	return true;
}

/* ---- the plain form ---- */

/* Appends an entry; numbers and booleans become strings of their text. */
static void
put_entry(ImReader *r, const ImJsonText *key, const ImJsonText *value)
{
	StringInfo	json = &r->data->json;

	appendStringInfoString(json, r->entries > 1 ? ",{\"Key\":\"" : "{\"Key\":\"");
	appendBinaryStringInfo(json, key->p, (int) (key->end - key->p));
	appendStringInfoString(json, "\",\"Value\":\"");
	appendBinaryStringInfo(json, value->p, (int) (value->end - value->p));
	appendStringInfoString(json, "\"}");
}

/* Turns one member into an entry; null is left out, nested values are wrong. */
static bool
read_member(ImReader *r, const ImJsonText *key, const ImJsonValue *value)
{
	if (value->kind == IM_JSON_ARRAY || value->kind == IM_JSON_OBJECT)
	{
		r->data->wrong = psprintf("has a nested value for key %s, only strings, numbers and booleans can be sent",
								  quote_text(key));
		return false;
	}
	if (value->kind == IM_JSON_LITERAL && im_json_is(&value->text, "null"))
		return true;
	check_entry(r, key, &value->text);
	put_entry(r, key, &value->text);
	return true;
}

/* A plain object becomes an array of its members. */
static bool
read_object(ImReader *r, const ImJsonValue *object)
{
	ImJsonScan	scan = im_json_within(object);
	ImJsonText	key;
	ImJsonValue value;

	appendStringInfoChar(&r->data->json, '[');
	im_json_enter(&scan, '{');
	while (im_json_next_member(&scan, &key))
	{
		im_json_value(&scan, &value);
		if (!read_member(r, &key, &value))
			return false;
	}
	appendStringInfoChar(&r->data->json, ']');
	return true;
}

/* Reads the whole value; false if it has none of the shapes we know. */
static bool
read_value(ImReader *r, const ImJsonValue *value)
{
	if (value->kind == IM_JSON_ARRAY)
		return read_array(r, value);
	if (value->kind == IM_JSON_OBJECT)
		return read_object(r, value);
	return value->kind == IM_JSON_LITERAL && im_json_is(&value->text, "null");
}

/* See appdata.h. */
void
im_appdata_read(const char *utf8, size_t len, bool want_warnings, ImAppData *data)
{
	ImReader	r = {data, want_warnings, 0};
	ImJsonScan	scan = im_json_begin(utf8, len);
	ImJsonValue value;

	memset(data, 0, sizeof(ImAppData));
	initStringInfo(&data->json);
	scan.strict = true;
	im_json_value(&scan, &value);
	if (!im_json_at_end(&scan))
		data->wrong = "is not JSON, or nested too deeply";
	else if (!read_value(&r, &value) && data->wrong == NULL)
		data->wrong = "must be a JSON array of objects with a string \"Key\" and a string \"Value\", or one plain JSON object";
	/* an empty array or object is left out */
	if (r.entries == 0)
		resetStringInfo(&data->json);
}
