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

#include "common/jsonapi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "appdata.h"
#include "compat.h"

/* How deep JSON may be nested; what the API wants has two levels. */
#define JSON_DEPTH			32
/* What the service's console allows, in bytes. */
#define KEY_MAX				16
#define VALUE_MAX			512
/* So much of a key is quoted in a message, in bytes. */
#define QUOTE_MAX			60

/* A token as it stands in the JSON text. */
typedef struct ImToken
{
	const char *start;			/* NULL: none seen */
	size_t		len;
} ImToken;

/* The text on its way into the array. */
typedef struct ImReader
{
	JsonLexContext *lex;
	ImAppData  *data;
	bool		want_warnings;
	int			entries;
} ImReader;

/* ---- JSON ---- */

/* True if brackets are nested no deeper than JSON_DEPTH. */
static bool
is_shallow(const char *s, size_t len)
{
	bool		in_string = false;
	int			depth = 0;
	size_t		i;

	for (i = 0; i < len && depth <= JSON_DEPTH; i++)
	{
		if (s[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += s[i] == '\\' ? 1 : 0;
		else if (s[i] == '{' || s[i] == '[')
			depth++;
		else if (s[i] == '}' || s[i] == ']')
			depth--;
	}
	return depth <= JSON_DEPTH;
}

/* See appdata.h. */
bool
im_json_valid(char *utf8, size_t len)
{
	/* first the depth: the parser raises when the stack is used up */
	return is_shallow(utf8, len) &&
		pg_parse_json(im_json_lexer(utf8, (int) len, PG_UTF8), &nullSemAction) == JSON_SUCCESS;
}

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

/* Steps to the next token; what cannot be read ends every loop here. */
static JsonTokenType
next_token(ImReader *r)
{
	if (json_lex(r->lex) != JSON_SUCCESS)
		return JSON_TOKEN_INVALID;
	return r->lex->token_type;
}

/* The current token. */
static ImToken
this_token(ImReader *r)
{
	ImToken		token;

	token.start = r->lex->token_start;
	token.len = (size_t) (r->lex->token_terminator - r->lex->token_start);
	return token;
}

/*
 * A string token for a message, cut between characters.  A database that is
 * not UTF8 may lack its characters: they become question marks.
 */
static char *
quote_token(ImToken token)
{
	int			len = (int) token.len - 2;
	int			cut = pg_encoding_mbcliplen(PG_UTF8, token.start + 1, len, QUOTE_MAX);
	char	   *text = psprintf("\"%.*s%s\"", cut, token.start + 1, cut < len ? "..." : "");
	char	   *p;

	for (p = text; *p != '\0'; p++)
		if (*p == 0x7f || (IS_HIGHBIT_SET(*p) && GetDatabaseEncoding() != PG_UTF8))
			*p = '?';
	return text;
}

/* ---- what the console would say ---- */

/* How many bytes of UTF-8 the \uXXXX at p stands for; *skip is its length. */
static size_t
unicode_escape_bytes(const char *p, const char *end, size_t *skip)
{
	char		hex[5] = {0};
	unsigned long unit;

	memcpy(hex, p + 2, 4);
	unit = strtoul(hex, NULL, 16);
	*skip = 6;
	if (unit >= 0xD800 && unit < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u')
	{
		*skip = 12;
		return 4;
	}
	return unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
}

/* How many bytes of UTF-8 a token's text stands for, without its marks. */
static size_t
string_bytes(ImToken token)
{
	const char *p = token.start + 1;
	const char *end = token.start + token.len - 1;
	size_t		bytes = 0;
	size_t		skip;

	for (; p < end; p += skip)
	{
		skip = *p == '\\' ? 2 : 1;
		if (*p == '\\' && p[1] == 'u')
			bytes += unicode_escape_bytes(p, end, &skip);
		else
			bytes++;
	}
	return bytes;
}

/* True if a key is of [A-Za-z0-9_] and does not begin with a digit. */
static bool
is_plain_key(ImToken token)
{
	size_t		i;

	for (i = 1; i + 1 < token.len; i++)
	{
		char		c = token.start[i];

		if (IS_HIGHBIT_SET(c) || (!isalnum((unsigned char) c) && c != '_'))
			return false;
	}
	return token.len > 2 && !isdigit((unsigned char) token.start[1]);
}

/*
 * Counts an entry and says what is unusual about it.  Never a refusal: the
 * import page's own sample has a key that breaks the console's rules.
 */
static void
check_entry(ImReader *r, ImToken key, ImToken value)
{
	List	  **warnings = &r->data->warnings;
	size_t		key_bytes;
	size_t		value_bytes;

	r->entries++;
	if (!r->want_warnings)
		return;
	key_bytes = string_bytes(key);
	value_bytes = string_bytes(value);
	if (key_bytes > KEY_MAX)
		*warnings = lappend(*warnings, psprintf("has a key of %zu bytes, the limit is %d (%zu over): %s",
												key_bytes, KEY_MAX, key_bytes - KEY_MAX,
												quote_token(key)));
	if (!is_plain_key(key))
		*warnings = lappend(*warnings, psprintf("has a key with other characters than A-Z, a-z, 0-9 and _, or that begins with a digit: %s",
												quote_token(key)));
	if (value_bytes > VALUE_MAX)
		*warnings = lappend(*warnings, psprintf("has a value of %zu bytes, the limit is %d (%zu over), for key %s",
												value_bytes, VALUE_MAX, value_bytes - VALUE_MAX,
												quote_token(key)));
}

/* ---- the API's own form ---- */

/* Where a member of an entry belongs, or NULL if an entry has no such one. */
static ImToken *
pair_slot(ImToken name, ImToken *key, ImToken *value)
{
	if (name.len == 5 && memcmp(name.start, "\"Key\"", 5) == 0)
		return key;
	if (name.len == 7 && memcmp(name.start, "\"Value\"", 7) == 0)
		return value;
	return NULL;
}

/* Reads one {"Key": ..., "Value": ...} behind its brace; false if it is not. */
static bool
read_pair(ImReader *r)
{
	ImToken		key = {NULL, 0};
	ImToken		value = {NULL, 0};
	ImToken    *slot;
	JsonTokenType token;

	while ((token = next_token(r)) != JSON_TOKEN_OBJECT_END)
	{
		if (token == JSON_TOKEN_COMMA)
			continue;
		if (token != JSON_TOKEN_STRING)
			return false;
		slot = pair_slot(this_token(r), &key, &value);
		if (slot == NULL || slot->start != NULL ||
			next_token(r) != JSON_TOKEN_COLON || next_token(r) != JSON_TOKEN_STRING)
			return false;
		*slot = this_token(r);
	}
	if (key.start == NULL || value.start == NULL)
		return false;
	check_entry(r, key, value);
	return true;
}

/* The array travels as it is written; false if it is not of pairs. */
static bool
read_array(ImReader *r)
{
	const char *start = r->lex->token_start;
	JsonTokenType token;

	while ((token = next_token(r)) != JSON_TOKEN_ARRAY_END)
	{
		if (token == JSON_TOKEN_COMMA)
			continue;
		if (token != JSON_TOKEN_OBJECT_START || !read_pair(r))
			return false;
	}
	appendBinaryStringInfo(&r->data->json, start, (int) (r->lex->token_terminator - start));
	return true;
}

/* ---- the plain form ---- */

/* Appends an entry; numbers and booleans become strings of their text. */
static void
put_entry(ImReader *r, ImToken key, ImToken value, bool is_string)
{
	StringInfo	json = &r->data->json;
	const char *mark = is_string ? "" : "\"";

	appendStringInfoString(json, r->entries > 1 ? ",{\"Key\":" : "{\"Key\":");
	appendBinaryStringInfo(json, key.start, (int) key.len);
	appendStringInfo(json, ",\"Value\":%s", mark);
	appendBinaryStringInfo(json, value.start, (int) value.len);
	appendStringInfo(json, "%s}", mark);
}

/* Turns one member into an entry; null is left out, nested values are wrong. */
static bool
read_member(ImReader *r, ImToken key)
{
	JsonTokenType token = next_token(r);
	ImToken		value = this_token(r);

	switch (token)
	{
		case JSON_TOKEN_NULL:
			return true;
		case JSON_TOKEN_STRING:
			check_entry(r, key, value);
			put_entry(r, key, value, true);
			return true;
		case JSON_TOKEN_NUMBER:
		case JSON_TOKEN_TRUE:
		case JSON_TOKEN_FALSE:
			check_entry(r, key, value);
			put_entry(r, key, value, false);
			return true;
		default:
			r->data->wrong = psprintf("has a nested value for key %s, only strings, numbers and booleans can be sent",
									  quote_token(key));
			return false;
	}
}

/* A plain object becomes an array of its members. */
static bool
read_object(ImReader *r)
{
	JsonTokenType token;

	appendStringInfoChar(&r->data->json, '[');
	while ((token = next_token(r)) != JSON_TOKEN_OBJECT_END)
	{
		ImToken		key = this_token(r);

		if (token == JSON_TOKEN_COMMA)
			continue;
		if (token != JSON_TOKEN_STRING || next_token(r) != JSON_TOKEN_COLON ||
			!read_member(r, key))
			return false;
	}
	appendStringInfoChar(&r->data->json, ']');
	return true;
}

/* Reads the whole value; false if it has none of the shapes we know. */
static bool
read_value(ImReader *r)
{
	switch (next_token(r))
	{
		case JSON_TOKEN_ARRAY_START:
			return read_array(r);
		case JSON_TOKEN_OBJECT_START:
			return read_object(r);
		case JSON_TOKEN_NULL:
			return true;
		default:
			return false;
	}
}

/* See appdata.h. */
void
im_appdata_read(char *utf8, size_t len, bool want_warnings, ImAppData *data)
{
	ImReader	r = {NULL, data, want_warnings, 0};

	memset(data, 0, sizeof(ImAppData));
	initStringInfo(&data->json);
	if (!im_json_valid(utf8, len))
		data->wrong = "is not JSON, or nested too deeply";
	else
	{
		r.lex = im_json_lexer(utf8, (int) len, PG_UTF8);
		if (!read_value(&r) && data->wrong == NULL)
			data->wrong = "must be a JSON array of objects with a string \"Key\" and a string \"Value\", or one plain JSON object";
	}
	/* an empty array or object is left out */
	if (r.entries == 0)
		resetStringInfo(&data->json);
}
