/*
 * record.c
 *	  From a record's columns to what the service is sent for it, and
 *	  everything that is wrong with the record on the way: for any kind of row,
 *	  as its command's fields[] says.
 *
 * This file must not know any one command, curl, SPI or the outbox.
 *
 * The surprising rule: what a record holds never raises an ERROR.  A poisonous
 * row must not stop its neighbours, so a value that cannot be converted, is no
 * JSON or is a gigabyte long is a line in the list of problems.  Sizes are
 * therefore looked at before a value is detoasted, converted or parsed.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/detoast.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "appdata.h"
#include "compat.h"
#include "encoding.h"
#include "glyph.h"
#include "names.h"
#include "record.h"
#include "utf8.h"

/* A text field over this is not even quoted from, let alone sent. */
#define TEXT_MAX			(64 * 1024)
/* The longest body that we are willing to send, and app_defined_data. */
#define BODY_MAX			(1024 * 1024)
/* So much of a value is quoted in a problem, in characters. */
#define QUOTE_CHARS			40
/* Seconds after 1970 that are no sensible date: the year 5138. */
#define SECONDS_MAX			INT64CONST(100000000000)

typedef enum ImSourceKind
{
	SOURCE_ABSENT,				/* no such column */
	SOURCE_TEXT,				/* text and varchar: read in place */
	SOURCE_PADDED,				/* character(n): trailing blanks do not count */
	SOURCE_OUTPUT,				/* the type's output function */
	SOURCE_UNUSABLE				/* arrays, composites, bytea and the like */
} ImSourceKind;

/* Where a field's value comes from, looked up once for many records. */
typedef struct ImSource
{
	ImSourceKind kind;
	int			index;			/* in values[] */
	Oid			column_type;	/* as declared, for messages */
	Oid			type;			/* below any domains */
	bool		varlena;
	FmgrInfo   *output;			/* SOURCE_OUTPUT only */
} ImSource;

struct ImRecordMap
{
	const ImCommand *command;
	Oid			conversion;		/* database encoding to UTF-8 */
	List	   *unsent;			/* of char *: warnings of columns that are no
								 * field */
	ImSource	source[FLEXIBLE_ARRAY_MEMBER];	/* by place in fields[] */
};

/* ---- problems ---- */

/* True if a character, len bytes of the encoding at s, does not show. */
static bool
is_hidden(int encoding, const char *s, int len)
{
	uint32_t	character;

	return encoding == PG_UTF8 && len > 1 &&
		im_utf8_decode(s, (size_t) len, &character) > 0 &&
		(im_utf8_is_control(character) || im_glyph_is_hidden(character));
}

/*
 * Appends one character of a quoted value, len bytes of the encoding; len 0 or
 * less means a byte that is no character.  What problem.h reads again, and
 * what would not show, is escaped.
 */
static void
quote_char(StringInfo buf, int encoding, const char *s, int len)
{
	unsigned char c = (unsigned char) *s;

	if (len < 1)
		appendStringInfo(buf, "\\x%02X", c);
	else if (c == '\n')
		appendStringInfoString(buf, "\\n");
	else if (c == '\t')
		appendStringInfoString(buf, "\\t");
	else if (c < 0x20 || c == 0x7f)
		appendStringInfo(buf, "\\x%02X", c);
	else if (c == '"' || c == '\\')
		appendStringInfo(buf, "\\%c", c);
	else if (is_hidden(encoding, s, len))
		appendStringInfo(buf, "\\u%04X", (unsigned int) utf8_to_unicode((const unsigned char *) s));
	else
		appendBinaryStringInfo(buf, s, len);
}

/*
 * A value for a message: quoted, what does not show and stray bytes escaped,
 * cut between characters.  The text is in the server encoding, where
 * SQL_ASCII is taken for UTF-8, as everywhere here.
 */
static char *
quote(const char *s, size_t len)
{
	int			encoding = GetDatabaseEncoding();
	StringInfoData buf;
	int			chars;

	if (encoding == PG_SQL_ASCII)
		encoding = PG_UTF8;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '"');
	/* By characters: a message must not end in the midst of one. */
	for (chars = 0; len > 0 && chars < QUOTE_CHARS; chars++)
	{
		int			n = pg_encoding_verifymbchar(encoding, s, (int) Min(len, 16));

		quote_char(&buf, encoding, s, n);
		s += Max(n, 1);
		len -= Max(n, 1);
	}
	if (len > 0)
		appendStringInfoString(&buf, "...");
	appendStringInfoChar(&buf, '"');
	return buf.data;
}

/* See record.h. */
char *
im_record_quote(const ImText *text)
{
	return quote(text->server, text->server_len);
}

/* See record.h. */
void
im_record_problem(ImEncoder *enc, const char *message)
{
	enc->item->problems = lappend(enc->item->problems, unconstify(char *, message));
	/* A rule that knows a better code sets it after this. */
	if (enc->item->problem_code == 0)
		enc->item->problem_code = 10004;
}

/* See record.h. */
void
im_record_warning(ImEncoder *enc, const char *message)
{
	if (enc->encoding->warnings)
		enc->item->problems = lappend(enc->item->problems, psprintf("warning: %s", message));
}

/* ---- reading values ---- */

/* The value as text, without the blanks that only fill it up. */
static void
make_text(const ImSource *source, Datum value, ImText *text)
{
	if (source->kind == SOURCE_OUTPUT)
		text->server = OutputFunctionCall(source->output, value);
	else
		text->server = text_to_cstring((struct varlena *) DatumGetPointer(value));
	text->server_len = strlen(text->server);
	if (source->kind == SOURCE_PADDED)
		while (text->server_len > 0 && text->server[text->server_len - 1] == ' ')
			text->server[--text->server_len] = '\0';
}

/*
 * Reads a value as a C string of the server encoding.  False, with a problem,
 * if its type has no text we could send, or if it has more than max bytes: a
 * value of a gigabyte is refused by its header, without reading it.
 */
static bool
read_server(ImEncoder *enc, const ImField *field, const ImSource *source,
			Datum value, size_t max, ImText *text)
{
	text->server_len = source->varlena ? toast_raw_datum_size(value) - VARHDRSZ : 0;
	if (source->kind == SOURCE_UNUSABLE)
	{
		im_record_problem(enc, psprintf("%s has type %s, which cannot be sent", field->column,
							  format_type_be(source->column_type)));
		return false;
	}
	if (text->server_len <= max)
	{
		/* a small jsonb can be gigabytes of digits */
		if (source->type == JSONBOID && !im_jsonb_within(value, max))
		{
			im_record_problem(enc, psprintf("%s as text is over the limit of %zu bytes",
								  field->column, max));
			return false;
		}
		make_text(source, value, text);
	}
	if (text->server_len <= max)
		return true;
	/* What is said is the field's own limit, not the one that saves memory. */
	if (field->limit[enc->encoding->limits] > 0)
		max = (size_t) field->limit[enc->encoding->limits];
	im_record_problem(enc, psprintf("%s is %zu bytes, the limit is %zu (%zu over)", field->column,
						  text->server_len, max, text->server_len - max));
	return false;
}

/* Reads a value as UTF-8; false, with a problem, if that is not possible. */
static bool
read_utf8(ImEncoder *enc, const ImField *field, const ImSource *source,
		  Datum value, size_t max, ImText *text)
{
	if (!read_server(enc, field, source, value, max, text))
		return false;
	text->utf8 = im_text_to_utf8(enc->map->conversion, text->server, text->server_len,
								  &text->len);
	if (text->utf8 == NULL)
	{
		im_record_problem(enc, psprintf(OidIsValid(enc->map->conversion) ?
							  "%s has a character without counterpart in UTF-8: %s" :
							  "%s is not valid UTF-8: %s",
							  field->column, im_record_quote(text)));
		return false;
	}
	return true;
}

/*
 * Parses a decimal number whose fraction, if any, is dropped and reported.
 * False if s is anything else or does not fit.
 */
static bool
parse_number(const char *s, int64 *whole, bool *fraction)
{
	char	   *end;

	*fraction = false;
	if (!isdigit((unsigned char) s[*s == '-' ? 1 : 0]))
		return false;
	/* What does not fit is told by errno alone. */
	errno = 0;
	*whole = strtoi64(s, &end, 10);
	if (errno != 0)
		return false;
	if (*end == '.')
		while (isdigit((unsigned char) *++end))
			*fraction |= *end != '0';
	return *end == '\0';
}

/* ---- writing the body ---- */

/* Begins a member: comma, key, colon. */
static void
put_key(ImEncoder *enc, const char *key)
{
	StringInfo	json = &enc->item->json;

	if (json->len > 1)
		appendStringInfoChar(json, ',');
	appendStringInfo(json, "\"%s\":", key);
}

/* See record.h. */
void
im_record_string(ImEncoder *enc, const char *key, const char *utf8)
{
	put_key(enc, key);
	escape_json(&enc->item->json, utf8);
}

/* See record.h. */
void
im_record_number(ImEncoder *enc, const char *key, int64 number)
{
	put_key(enc, key);
	appendStringInfo(&enc->item->json, INT64_FORMAT, number);
}

/* See record.h. */
void
im_record_member(ImEncoder *enc, const char *key, const char *json, size_t len)
{
	put_key(enc, key);
	appendBinaryStringInfo(&enc->item->json, json, (int) len);
}

/* A field's string: into the item, or to where its flags say. */
static void
put_string(ImEncoder *enc, const ImField *field, const char *utf8)
{
	/* An id may be sent as well as kept; a key of the call is not part of the item. */
	if (field->flags & IM_FIELD_ID)
		enc->item->name = pstrdup(utf8);
	if (field->flags & IM_FIELD_KEY)
		enc->item->key = pstrdup(utf8);
	else if (!(field->flags & IM_FIELD_UNSENT))
		im_record_string(enc, field->sent, utf8);
}

/* ---- text fields ---- */

/* Checks a text field's length and rules, and sends it either way. */
static void
finish_text(ImEncoder *enc, const ImField *field, const ImText *text)
{
	size_t		limit = (size_t) field->limit[enc->encoding->limits];

	if (limit > 0 && text->len > limit)
		im_record_problem(enc, psprintf("%s is %zu bytes of UTF-8, the limit is %zu (%zu over): %s",
							  field->column, text->len, limit, text->len - limit,
							  im_record_quote(text)));
	if (text->len == 0 && (field->flags & IM_FIELD_NONEMPTY))
		im_record_problem(enc, psprintf(field->flags & (IM_FIELD_REQUIRED | IM_FIELD_EITHER) ? "%s is empty" :
										"%s is empty: use NULL to leave it out", field->column));
	else if (field->check != NULL)
		field->check(enc, field, text, 0);
	/* Also with a problem: all of them are to be found in one go. */
	put_string(enc, field, text->utf8);
}

/* Name, Introduction and the like. */
static void
encode_text(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;

	if (read_utf8(enc, field, source, value, TEXT_MAX, &text))
		finish_text(enc, field, &text);
}

/* ---- one of a few words ---- */

/* The entry for what a column says, or NULL. */
static const ImWord *
find_word(const ImField *field, const char *name)
{
	for (const ImWord *word = field->words; word->name != NULL; word++)
		if (pg_strcasecmp(word->name, name) == 0)
			return word;
	return NULL;
}

/* A group's type and the like: sent in the documented spelling. */
static void
encode_word(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	const ImWord *word;
	ImText		text;

	if (!read_utf8(enc, field, source, value, TEXT_MAX, &text))
		return;
	word = find_word(field, text.utf8);
	if (word == NULL)
		im_record_problem(enc, psprintf("%s is %s, allowed are %s", field->column,
										im_record_quote(&text), field->allowed));
	/* A word that stands for the default is left out. */
	if (word == NULL || word->sent != NULL)
		put_string(enc, field, word != NULL ? word->sent : text.utf8);
	if (field->check != NULL)
		field->check(enc, field, &text, 0);
}

/* ---- numbers and times ---- */

/* MaxMemberCount and the like; what is too much or too little the check says. */
static void
encode_count(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;
	int64		count;
	bool		fraction;

	if (!read_server(enc, field, source, value, TEXT_MAX, &text))
		return;
	if (!parse_number(text.server, &count, &fraction) || fraction)
	{
		im_record_problem(enc, psprintf("%s is not a whole number: %s", field->column,
										im_record_quote(&text)));
		return;
	}
	if (field->check != NULL)
		field->check(enc, field, NULL, count);
	im_record_number(enc, field->sent, count);
}

/* True for the types that hold a point in time. */
static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

/*
 * A point in time as UNIX seconds, its fraction cut off; timestamp and date
 * are of the session's time zone.  False if it is infinite.
 */
static bool
time_seconds(Oid type, Datum value, int64 *seconds)
{
	TimestampTz t;
	bool		overflow = false;

	if (type == DATEOID)
		t = im_time_of_date(DatumGetDateADT(value), &overflow);
	else if (type == TIMESTAMPOID && !TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value)))
		t = im_time_of_timestamp(DatumGetTimestamp(value), &overflow);
	else
		t = DatumGetTimestampTz(value);
	if (overflow || TIMESTAMP_NOT_FINITE(t))
		return false;
	/* the server's own cut is towards the year 2000: earlier times would become later */
	if (t % USECS_PER_SEC < 0)
		t -= USECS_PER_SEC;
	*seconds = (int64) timestamptz_to_time_t(t);
	return true;
}

/* See record.h. */
bool
im_record_seconds(Oid type, Datum value, int64 *seconds)
{
	Oid			output;
	bool		varlena;
	bool		fraction;

	if (is_time_type(type))
		return time_seconds(type, value, seconds);
	getTypeOutputInfo(type, &output, &varlena);
	return parse_number(OidOutputFunctionCall(output, value), seconds, &fraction);
}

/* Adds a problem that ends with the value; only now is a time made text. */
static void
time_problem(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value,
			 const char *what)
{
	ImText		text;

	if (read_server(enc, field, source, value, TEXT_MAX, &text))
		im_record_problem(enc, psprintf("%s %s: %s", field->column, what,
							  im_record_quote(&text)));
}

/*
 * Says what is wrong with a creation time, or NULL.  One that is hardly ahead
 * becomes now: the machines' clocks are never quite the same.
 */
static const char *
judge_time(int64 *creation)
{
	int64		now = (int64) timestamptz_to_time_t(GetCurrentTimestamp());
	int64		seconds = *creation;

	if (seconds > now && seconds - now <= IM_TIME_AHEAD)
		*creation = seconds = now;
	if (seconds <= 0)
		return "is not after 1970-01-01 00:00:00 UTC";
	if (seconds > SECONDS_MAX)
		return "is far in the future, is it in milliseconds? Seconds are expected";
	if (seconds > now)
		return psprintf("is " INT64_FORMAT " seconds in the future", seconds - now);
	return NULL;
}

/*
 * Makes a time one that the service takes for a member: whoever joined in the
 * second in which the group was made joined after it.  False if that is now: it
 * is left out, which says the same.
 */
static bool
fit_joined(const ImEncoder *enc, int64 *seconds)
{
	if (*seconds == enc->encoding->group_created)
		(*seconds)++;
	return *seconds < (int64) timestamptz_to_time_t(GetCurrentTimestamp()) - 1;
}

/* CreateTime: a point in time, or seconds as a number. */
static void
encode_time(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	const char *wrong = NULL;
	ImText		text;
	int64		seconds;
	bool		fraction;

	if (is_time_type(source->type))
	{
		if (!time_seconds(source->type, value, &seconds))
			wrong = "is not a point in time";
	}
	else if (!read_server(enc, field, source, value, TEXT_MAX, &text))
		return;
	else if (!parse_number(text.server, &seconds, &fraction))
		wrong = "is neither a timestamp nor a number of seconds";
	if (wrong == NULL)
	{
		int64		given = seconds;

		wrong = judge_time(&seconds);
		/* The service knows the item by it: it must not depend on when it is sent. */
		if (field->flags & IM_FIELD_EXACT)
			seconds = given;
		if ((field->flags & IM_FIELD_MOVED) && enc->encoding->sent_time != 0)
			seconds = enc->encoding->sent_time;
		if (!(field->flags & IM_FIELD_JOINED) || fit_joined(enc, &seconds))
			im_record_number(enc, field->sent, seconds);
	}
	if (wrong != NULL)
		time_problem(enc, field, source, value, wrong);
}

/* SupportTopic and the like: sent as 0 or 1. */
static void
encode_flag(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;
	bool		flag;

	if (!read_server(enc, field, source, value, TEXT_MAX, &text))
		return;
	if (!parse_bool(text.server, &flag))
	{
		im_record_problem(enc, psprintf("%s is neither a boolean nor 0 or 1: %s", field->column,
										im_record_quote(&text)));
		return;
	}
	if (field->check != NULL)
		field->check(enc, field, &text, flag);
	im_record_number(enc, field->sent, flag ? 1 : 0);
}

/* AppDefinedData, see appdata.c. */
static void
encode_custom(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImAppData	data;
	ImText		text;
	ListCell   *lc;

	if (!read_utf8(enc, field, source, value, BODY_MAX, &text))
		return;
	im_appdata_read(text.utf8, text.len, enc->encoding->warnings, &data);
	if (data.wrong != NULL)
	{
		im_record_problem(enc, psprintf("%s %s: %s", field->column, data.wrong,
							  im_record_quote(&text)));
		return;
	}
	foreach(lc, data.warnings)
		im_record_warning(enc, psprintf("%s %s", field->column, (char *) lfirst(lc)));
	if (data.json.len > 0)
		im_record_member(enc, field->sent, data.json.data, data.json.len);
}

/* A message's body: the check reads it, and adds what is sent. */
static void
encode_json(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;

	if (read_utf8(enc, field, source, value, BODY_MAX, &text))
		field->check(enc, field, &text, 0);
}

/* One element of an array of strings, which is server text. */
static void
encode_element(ImEncoder *enc, const ImField *field, Datum value, StringInfo list)
{
	size_t		limit = (size_t) field->limit[enc->encoding->limits];
	ImText		element;

	element.server = TextDatumGetCString(value);
	element.server_len = strlen(element.server);
	element.utf8 = im_text_to_utf8(enc->map->conversion, element.server, element.server_len, &element.len);
	if (element.utf8 == NULL)
		im_record_problem(enc, psprintf("%s has an element that is no valid text: %s",
										field->column, im_record_quote(&element)));
	else if (element.len == 0)
		im_record_problem(enc, psprintf("%s has an element that is empty", field->column));
	else if (element.len > limit)
		im_record_problem(enc, psprintf("%s has an element of %zu bytes of UTF-8, the limit is %zu (%zu over): %s",
										field->column, element.len, limit, element.len - limit,
										im_record_quote(&element)));
	/* One that cannot be sent is a problem of the row, which then is not sent. */
	if (list->len > 1)
		appendStringInfoChar(list, ',');
	if (element.utf8 != NULL)
		escape_json(list, element.utf8);
}

/* GroupName of a friend: an array of strings. */
static void
encode_texts(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	StringInfoData list;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (source->type != TEXTARRAYOID || toast_raw_datum_size(value) > TEXT_MAX)
	{
		im_record_problem(enc, psprintf("%s must be an array of text, of at most %d elements",
										field->column, field->most));
		return;
	}
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &n);
	if (n > field->most)
		im_record_problem(enc, psprintf("%s has %d elements, the limit is %d (%d over)",
										field->column, n, field->most, n - field->most));
	initStringInfo(&list);
	appendStringInfoChar(&list, '[');
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			encode_element(enc, field, values[i], &list);
	appendStringInfoChar(&list, ']');
	if (list.len > 2)
		im_record_member(enc, field->sent, list.data, (size_t) list.len);
}

typedef void (*Encode) (ImEncoder *enc, const ImField *field, const ImSource *source, Datum value);

static const Encode encoders[] = {
	[IM_VALUE_TEXT] = encode_text,
	[IM_VALUE_WORD] = encode_word,
	[IM_VALUE_COUNT] = encode_count,
	[IM_VALUE_TIME] = encode_time,
	[IM_VALUE_FLAG] = encode_flag,
	[IM_VALUE_CUSTOM] = encode_custom,
	[IM_VALUE_JSON] = encode_json,
	[IM_VALUE_TEXTS] = encode_texts,
};

/* ---- the map ---- */

/* How values of a type can be read as text. */
static ImSourceKind
source_kind(Oid type)
{
	char		category;
	bool		preferred;

	if (type == TEXTOID || type == VARCHAROID)
		return SOURCE_TEXT;
	if (type == BPCHAROID)
		return SOURCE_PADDED;
	if (type == BYTEAOID || get_typtype(type) == TYPTYPE_PSEUDO)
		return type == UNKNOWNOID ? SOURCE_OUTPUT : SOURCE_UNUSABLE;
	/* Arrays, composites, ranges and pseudo-types have no text that is meant. */
	get_type_category_preferred(type, &category, &preferred);
	return strchr("ACRP", category) != NULL ? SOURCE_UNUSABLE : SOURCE_OUTPUT;
}

/* Looks up how to read a column. */
static void
set_source(ImSource *source, Form_pg_attribute att)
{
	Oid			output;

	if (source->kind != SOURCE_ABSENT)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("column \"%s\" of the record means the same as another one",
						NameStr(att->attname)),
				 errhint("Case and underscores do not count in column names: leave one of the two out.")));
	source->index = att->attnum - 1;
	source->column_type = att->atttypid;
	source->type = getBaseType(att->atttypid);
	source->kind = source_kind(source->type);
	source->varlena = att->attlen == -1;
	if (source->kind == SOURCE_OUTPUT)
	{
		bool		varlena;

		source->output = palloc(sizeof(FmgrInfo));
		getTypeOutputInfo(source->type, &output, &varlena);
		fmgr_info_cxt(output, source->output, CurrentMemoryContext);
	}
}

/*
 * JSON is good for app_defined_data only: elsewhere it would travel quoted.
 * A jsonpath is good for nothing, and its text can be huge as a jsonb's can.
 */
static void
refuse_json(const ImField *field, ImSource *source)
{
	if (source->type == JSONPATHOID)
		source->kind = SOURCE_UNUSABLE;
	if (field->kind != IM_VALUE_CUSTOM && field->kind != IM_VALUE_JSON &&
		(source->type == JSONOID || source->type == JSONBOID))
		source->kind = SOURCE_UNUSABLE;
}

/* The field that a column most likely means, of those that no column is; or NULL. */
static const ImField *
nearest_field(const ImRecordMap *map, const char *column)
{
	const ImField *nearest = NULL;
	int			least = NAMEDATALEN;

	for (int i = 0; i < map->command->nfields; i++)
	{
		const ImField *field = &map->command->fields[i];
		int			distance;

		if (map->source[i].kind != SOURCE_ABSENT)
			continue;
		distance = im_name_distance(column, field->column);
		if (distance >= 0 && distance < least)
		{
			least = distance;
			nearest = field;
		}
	}
	return nearest;
}

/* True if a column is a field. */
static bool
is_sent(const ImRecordMap *map, int index)
{
	for (int i = 0; i < map->command->nfields; i++)
		if (map->source[i].kind != SOURCE_ABSENT && map->source[i].index == index)
			return true;
	return false;
}

/* True for what stands beside the fields of any record: the keys of the row. */
static bool
is_row_key(const char *column)
{
	return strcmp(column, "id") == 0 || strcmp(column, "source_id") == 0;
}

/*
 * Warns of each column that will not be sent.  A row of an outbox, known by
 * its row_key, has columns of its own.
 */
static List *
find_unsent(const ImRecordMap *map, TupleDesc desc)
{
	List	   *unsent = NIL;

	for (int a = 0; a < desc->natts; a++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, a);
		char	   *name = NameStr(att->attname);
		const ImField *nearest;

		if (att->attisdropped)
			continue;
		/* It is an outbox row: its other columns are none of the record. */
		if (strcmp(name, "row_key") == 0 && att->atttypid == UUIDOID)
			return NIL;
		if (is_sent(map, a) || is_row_key(name))
			continue;
		nearest = nearest_field(map, name);
		name = quote(name, strlen(name));
		unsent = lappend(unsent, nearest == NULL ?
						 psprintf("column %s is not sent", name) :
						 psprintf("column %s is not sent; did you mean %s?", name, nearest->column));
	}
	return unsent;
}

/* See record.h. */
void
im_record_tell_unsent(const ImRecordMap *map)
{
	ListCell   *lc;

	foreach(lc, map->unsent)
		if (strstr(lfirst(lc), "did you mean") != NULL)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("%s", (const char *) lfirst(lc))));
}

/* See record.h. */
ImRecordMap *
im_record_map(const ImCommand *command, TupleDesc desc)
{
	ImRecordMap *map = palloc0(offsetof(ImRecordMap, source) + sizeof(ImSource) * command->nfields);

	map->command = command;
	map->conversion = im_text_conversion();
	for (int i = 0; i < command->nfields; i++)
	{
		const ImField *field = &command->fields[i];

		for (int a = 0; a < desc->natts; a++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, a);

			if (!att->attisdropped && im_name_same(NameStr(att->attname), field->column))
				set_source(&map->source[i], att);
		}
		if (map->source[i].kind == SOURCE_ABSENT && (field->flags & IM_FIELD_REQUIRED))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the record has no column \"%s\"", field->column),
					 errhint("%s", command->record_hint)));
		/* After all columns were seen: only now is it known which one is meant. */
		refuse_json(field, &map->source[i]);
	}
	map->unsent = find_unsent(map, desc);
	return map;
}

/* ---- one record ---- */

/*
 * The word of a record's variant field, read before the fields in turn because
 * rules of others depend on it.  Adds no problems: encode_word() will.
 */
static const ImWord *
peek_word(const ImRecordMap *map, const Datum *values, const bool *nulls)
{
	static const ImEncoding silent = {0};
	const ImSource *source;
	const ImField *field;
	ImItem		scratch = {0};
	ImEncoder	enc = {.map = map, .encoding = &silent, .item = &scratch};
	ImText		text;

	if (map->command->variant_field < 0)
		return NULL;
	source = &map->source[map->command->variant_field];
	field = &map->command->fields[map->command->variant_field];
	if (source->kind == SOURCE_ABSENT || nulls[source->index] ||
		!read_server(&enc, field, source, values[source->index], TEXT_MAX, &text))
		return NULL;
	return find_word(field, text.server);
}

/* See record.h. */
char *
im_record_text(const ImRecordMap *map, const Datum *values, const bool *nulls, const char *column)
{
	static const ImEncoding silent = {0};
	ImItem		scratch = {0};
	ImEncoder	enc = {.map = map, .encoding = &silent, .item = &scratch};
	ImText		text;

	for (int i = 0; i < map->command->nfields; i++)
	{
		const ImField *field = &map->command->fields[i];
		const ImSource *source = &map->source[i];

		if (strcmp(field->column, column) == 0 && source->kind != SOURCE_ABSENT && !nulls[source->index] &&
			read_server(&enc, field, source, values[source->index], TEXT_MAX, &text))
			return text.server;
	}
	return NULL;
}

/* See record.h. */
int
im_record_variant(const ImRecordMap *map, const Datum *values, const bool *nulls)
{
	const ImWord *word = peek_word(map, values, nulls);

	return word != NULL ? word->variant : 0;
}

/* A field that the record does not give. */
static void
encode_absent(ImEncoder *enc, const ImField *field)
{
	ImText		text;

	if (field->flags & IM_FIELD_REQUIRED)
		im_record_problem(enc, psprintf("%s is required, it is NULL", field->column));
	if (strcmp(field->column, "group_id") != 0 || enc->encoding->group_id == NULL)
		return;
	text.server = text.utf8 = pstrdup(enc->encoding->group_id);
	text.server_len = text.len = strlen(enc->encoding->group_id);
	finish_text(enc, field, &text);
}

/* See record.h. */
void
im_record_encode(const ImRecordMap *map, const Datum *values, const bool *nulls,
				 const ImEncoding *encoding, ImItem *item)
{
	const ImCommand *command = map->command;
	ImEncoder	enc = {
		.map = map, .command = command, .encoding = encoding, .values = values, .nulls = nulls,
		.word = peek_word(map, values, nulls), .item = item
	};
	ListCell   *lc;

	memset(item, 0, sizeof(ImItem));
	initStringInfo(&item->json);
	enc.variant = enc.word != NULL ? enc.word->variant : 0;
	appendStringInfoChar(&item->json, '{');
	for (int i = 0; i < command->nfields; i++)
	{
		const ImField *field = &command->fields[i];
		const ImSource *source = &map->source[i];

		if (source->kind == SOURCE_ABSENT || nulls[source->index])
			encode_absent(&enc, field);
		else
			encoders[field->kind] (&enc, field, source, values[source->index]);
	}
	/* Rules between fields come after each was read. */
	if (command->finish != NULL)
		command->finish(&enc);
	appendStringInfoChar(&item->json, '}');
	if (item->json.len > BODY_MAX)
		im_record_problem(&enc, psprintf("the request is %d bytes, the limit is %d (%d over)",
										 item->json.len, BODY_MAX, item->json.len - BODY_MAX));
	foreach(lc, map->unsent)
		im_record_warning(&enc, lfirst(lc));
}

/* See record.h. */
bool
im_record_has(const ImEncoder *enc, const char *column)
{
	for (int i = 0; i < enc->command->nfields; i++)
		if (strcmp(enc->command->fields[i].column, column) == 0)
			return enc->map->source[i].kind != SOURCE_ABSENT &&
				!enc->nulls[enc->map->source[i].index];
	return false;
}

/* The name that the request has for the command's key, or NULL. */
static const char *
key_name(const ImCommand *command)
{
	for (int i = 0; i < command->nfields; i++)
		if (command->fields[i].flags & IM_FIELD_KEY)
			return command->fields[i].sent;
	return NULL;
}

/* See record.h. */
void
im_record_request(StringInfo buf, const ImCommand *command, const char *key, const char *extra,
				  const char *const *items, const size_t *lengths, int nitems)
{
	/* One row a call: its item is all. */
	if (command->list == NULL)
	{
		appendBinaryStringInfo(buf, items[0], (int) lengths[0]);
		return;
	}
	appendStringInfoChar(buf, '{');
	if (key_name(command) != NULL && key != NULL)
	{
		appendStringInfo(buf, "\"%s\":", key_name(command));
		escape_json(buf, key);
		appendStringInfoChar(buf, ',');
	}
	appendStringInfo(buf, "%s\"%s\":[", extra, command->list);
	for (int i = 0; i < nitems; i++)
	{
		if (i > 0)
			appendStringInfoChar(buf, ',');
		appendBinaryStringInfo(buf, items[i], (int) lengths[i]);
	}
	appendStringInfoString(buf, "]}");
}

/* See record.h. */
char *
im_item_problem_text(const ImItem *item)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, item->problems)
	{
		if (buf.len > 0)
			appendStringInfoString(&buf, "; ");
		appendStringInfoString(&buf, lfirst(lc));
	}
	return buf.data;
}
