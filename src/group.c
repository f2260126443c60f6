/*
 * group.c
 *	  What import_group looks like: from a record's columns to a request body,
 *	  and everything that is wrong with the record on the way.
 *
 * fields[] below is the only place that knows columns, JSON keys and limits;
 * adding a field is adding a line there.  This file must not know curl, SPI
 * or the outbox.
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
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "appdata.h"
#include "group.h"

/* A text field over this is not even quoted from, let alone sent. */
#define TEXT_MAX			(64 * 1024)
/* The longest body that we are willing to send, and app_defined_data. */
#define BODY_MAX			(1024 * 1024)
/* So much of a value is quoted in a problem, in characters. */
#define QUOTE_CHARS			40
/* Seconds after 1970 that are no sensible date: the year 5138. */
#define SECONDS_MAX			INT64CONST(100000000000)

/* Limits from documents 1047/34967 and 1047/33529, see fields[]. */
#define MEMBERS_MAX			6000
#define MEMBERS_MAX_COMMUNITY 100000

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

/* A value as text, in the server encoding and in UTF-8. */
typedef struct ImText
{
	char	   *server;
	size_t		server_len;
	char	   *utf8;
	size_t		len;
} ImText;

/* What the record's type column says. */
typedef enum ImTypeKind
{
	TYPE_UNKNOWN,				/* rules that depend on the type do not apply */
	TYPE_ORDINARY,
	TYPE_COMMUNITY,
	TYPE_REFUSED				/* AVChatRoom: exists, cannot be imported */
} ImTypeKind;

typedef struct ImTypeName
{
	const char *name;			/* what users write, in any case */
	const char *sent;			/* what the service documents */
	ImTypeKind	kind;
} ImTypeName;

/* One record on its way into a body. */
typedef struct ImEncoder
{
	const ImGroupMap *map;
	ImTextLimits limits;
	bool		want_warnings;
	const ImTypeName *type;		/* NULL if missing or unknown */
	ImGroup    *group;
} ImEncoder;

typedef struct ImField ImField;
typedef void (*ImFieldEncode) (ImEncoder *enc, const ImField *field,
							   const ImSource *source, Datum value);
typedef void (*ImFieldCheck) (ImEncoder *enc, const ImField *field,
							  const ImText *text);

struct ImField
{
	const char *column;
	const char *key;
	ImFieldEncode encode;
	bool		required;
	bool		nonempty;
	int			limit[2];		/* bytes of UTF-8, by ImTextLimits */
	ImFieldCheck check;			/* further rules of a text field, or NULL */
};

/* What the table names; each is explained where it stands. */
static void encode_text(ImEncoder *enc, const ImField *field,
						const ImSource *source, Datum value);
static void encode_type(ImEncoder *enc, const ImField *field,
						const ImSource *source, Datum value);
static void encode_count(ImEncoder *enc, const ImField *field,
						 const ImSource *source, Datum value);
static void encode_option(ImEncoder *enc, const ImField *field,
						  const ImSource *source, Datum value);
static void encode_time(ImEncoder *enc, const ImField *field,
						const ImSource *source, Datum value);
static void encode_custom(ImEncoder *enc, const ImField *field,
						  const ImSource *source, Datum value);
static void encode_topic(ImEncoder *enc, const ImField *field,
						 const ImSource *source, Datum value);
static void check_owner(ImEncoder *enc, const ImField *field,
						const ImText *text);
static void check_group_id(ImEncoder *enc, const ImField *field,
						   const ImText *text);

/*
 * The fields in the order of the import page's sample request.  The second
 * limit is what newer SDK documents say.
 */
static const ImField fields[] = {
	{"owner_account", "Owner_Account", encode_text, false, true, {32, 32}, check_owner},
	{"type", "Type", encode_type, true, true, {0, 0}, NULL},
	{"group_id", "GroupId", encode_text, false, true, {48, 48}, check_group_id},
	{"name", "Name", encode_text, true, true, {30, 100}, NULL},
	{"introduction", "Introduction", encode_text, false, false, {240, 400}, NULL},
	{"notification", "Notification", encode_text, false, false, {300, 400}, NULL},
	{"face_url", "FaceUrl", encode_text, false, false, {100, 500}, NULL},
	{"max_member_count", "MaxMemberCount", encode_count, false, false, {0, 0}, NULL},
	{"apply_join_option", "ApplyJoinOption", encode_option, false, true, {0, 0}, NULL},
	{"create_time", "CreateTime", encode_time, false, false, {0, 0}, NULL},
	{"app_defined_data", "AppDefinedData", encode_custom, false, false, {0, 0}, NULL},
	{"support_topic", "SupportTopic", encode_topic, false, false, {0, 0}, NULL},
};

/* Places in fields[] that code refers to. */
#define FIELD_TYPE			1
#define FIELD_GROUP_ID		2

static const ImTypeName type_names[] = {
	{"Public", "Public", TYPE_ORDINARY},
	{"Private", "Private", TYPE_ORDINARY},
	{"Work", "Private", TYPE_ORDINARY},
	{"ChatRoom", "ChatRoom", TYPE_ORDINARY},
	{"Meeting", "ChatRoom", TYPE_ORDINARY},
	{"Community", "Community", TYPE_COMMUNITY},
	{"AVChatRoom", "AVChatRoom", TYPE_REFUSED},
};

static const char *const join_options[] = {"FreeAccess", "NeedPermission", "DisableApply"};

struct ImGroupMap
{
	ImSource	source[lengthof(fields)];
	Oid			conversion;		/* database encoding to UTF-8 */
};

/* ---- problems ---- */

/*
 * Appends one character of a quoted value, len bytes long; len 0 or less
 * means a byte that is no character.
 */
static void
quote_char(StringInfo buf, const char *s, int len)
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
	else
		appendBinaryStringInfo(buf, s, len);
}

/*
 * A value for a message: quoted, control characters and stray bytes escaped,
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
	for (chars = 0; len > 0 && chars < QUOTE_CHARS; chars++)
	{
		int			n = pg_encoding_verifymbchar(encoding, s, (int) Min(len, 16));

		quote_char(&buf, s, n);
		s += Max(n, 1);
		len -= Max(n, 1);
	}
	if (len > 0)
		appendStringInfoString(&buf, "...");
	appendStringInfoChar(&buf, '"');
	return buf.data;
}

/* Adds a problem; the record will not be sent. */
static void
problem(ImEncoder *enc, const char *message)
{
	enc->group->problems = lappend(enc->group->problems, unconstify(char *, message));
	if (enc->group->problem_code == 0)
		enc->group->problem_code = 10004;
}

/* Adds what is unusual but would be sent, if the caller asked for it. */
static void
warning(ImEncoder *enc, const char *message)
{
	if (enc->want_warnings)
		enc->group->problems = lappend(enc->group->problems, psprintf("warning: %s", message));
}

/* ---- reading values ---- */

/* See group.h. */
Oid
im_group_conversion(void)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return InvalidOid;
	return FindDefaultConversionProc(encoding, PG_UTF8);
}

/* See group.h. */
char *
im_group_to_utf8(Oid conversion, char *text, size_t len, size_t *utf8_len)
{
	unsigned char *utf8;
	size_t		size = len * MAX_CONVERSION_GROWTH + 1;
	int			done;

	if (!OidIsValid(conversion))
	{
		*utf8_len = len;
		return pg_verify_mbstr(PG_UTF8, text, (int) len, true) ? text : NULL;
	}
	utf8 = palloc(size);
	done = pg_do_encoding_conversion_buf(conversion, GetDatabaseEncoding(), PG_UTF8,
										 (unsigned char *) text, (int) len,
										 utf8, (int) size, true);
	if (done != (int) len)
		return NULL;
	*utf8_len = strlen((char *) utf8);
	return (char *) utf8;
}

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
		problem(enc, psprintf("%s has type %s, which cannot be sent", field->column,
							  format_type_be(source->column_type)));
		return false;
	}
	if (text->server_len <= max)
	{
		/* a small jsonb can be gigabytes of digits */
		if (source->type == JSONBOID && !im_jsonb_within(value, max))
		{
			problem(enc, psprintf("%s as text is over the limit of %zu bytes",
								  field->column, max));
			return false;
		}
		make_text(source, value, text);
	}
	if (text->server_len <= max)
		return true;
	if (field->limit[enc->limits] > 0)
		max = (size_t) field->limit[enc->limits];
	problem(enc, psprintf("%s is %zu bytes, the limit is %zu (%zu over)", field->column,
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
	text->utf8 = im_group_to_utf8(enc->map->conversion, text->server, text->server_len,
								  &text->len);
	if (text->utf8 == NULL)
	{
		problem(enc, psprintf(OidIsValid(enc->map->conversion) ?
							  "%s has a character without counterpart in UTF-8: %s" :
							  "%s is not valid UTF-8: %s",
							  field->column, quote(text->server, text->server_len)));
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

/* Begins a member of the body: comma, key, colon. */
static void
put_key(ImEncoder *enc, const ImField *field)
{
	StringInfo	body = &enc->group->body;

	if (body->len > 1)
		appendStringInfoChar(body, ',');
	appendStringInfo(body, "\"%s\":", field->key);
}

/* Adds a member whose value is a string. */
static void
put_string(ImEncoder *enc, const ImField *field, const char *utf8)
{
	put_key(enc, field);
	escape_json(&enc->group->body, utf8);
}

/* Adds a member whose value is a whole number. */
static void
put_number(ImEncoder *enc, const ImField *field, int64 number)
{
	put_key(enc, field);
	appendStringInfo(&enc->group->body, INT64_FORMAT, number);
}

/* ---- text fields ---- */

/* Owner_Account: what every tls-sig-api calls safe; others may be refused. */
static void
check_owner(ImEncoder *enc, const ImField *field, const ImText *text)
{
	const char *p;

	for (p = text->utf8; isalnum((unsigned char) *p) || *p == '_' || *p == '-'; p++)
		if (IS_HIGHBIT_SET(*p))
			break;
	if (*p != '\0')
		warning(enc, psprintf("%s has characters other than A-Z, a-z, 0-9, _ and -: %s",
							  field->column, quote(text->server, text->server_len)));
}

/* The prefix that a GroupId must or must not have, if the type is known. */
static void
check_group_id_prefix(ImEncoder *enc, const ImField *field, const ImText *text)
{
	bool		community = enc->group->community;
	char	   *quoted = quote(text->server, text->server_len);

	if (enc->type == NULL)
		return;
	if (community && strncmp(text->utf8, "@TGS#_", 6) != 0)
		problem(enc, psprintf("%s of a Community must begin with \"@TGS#_\": %s",
							  field->column, quoted));
	else if (!community && strncmp(text->utf8, "@TGS#", 5) == 0)
		problem(enc, psprintf("%s must not begin with \"@TGS#\", which is reserved for the service: %s",
							  field->column, quoted));
	else if (!community && strncmp(text->utf8, "@TGS", 4) == 0)
		warning(enc, psprintf("%s begins with \"@TGS\", which newer documents reserve: %s",
							  field->column, quoted));
}

/* GroupId: printable ASCII, and the prefix. Remembers it in the group. */
static void
check_group_id(ImEncoder *enc, const ImField *field, const ImText *text)
{
	const char *p;

	for (p = text->utf8; *p >= 0x20 && *p <= 0x7e; p++)
		;
	if (*p != '\0')
		problem(enc, psprintf("%s has a character outside printable ASCII (0x20 to 0x7e): %s",
							  field->column, quote(text->server, text->server_len)));
	check_group_id_prefix(enc, field, text);
	if (text->len > 0 && (text->utf8[0] == ' ' || text->utf8[text->len - 1] == ' '))
		warning(enc, psprintf("%s begins or ends with a space: %s",
							  field->column, quote(text->server, text->server_len)));
	if (text->len <= IM_GROUP_ID_MAX)
		memcpy(enc->group->group_id, text->utf8, text->len + 1);
}

/* Checks a text field's length and rules, and sends it either way. */
static void
finish_text(ImEncoder *enc, const ImField *field, const ImText *text)
{
	size_t		limit = (size_t) field->limit[enc->limits];

	if (text->len > limit)
		problem(enc, psprintf("%s is %zu bytes of UTF-8, the limit is %zu (%zu over): %s",
							  field->column, text->len, limit, text->len - limit,
							  quote(text->server, text->server_len)));
	if (text->len == 0 && field->nonempty)
		problem(enc, psprintf(field->required ? "%s is empty" :
							  "%s is empty: use NULL to leave it out", field->column));
	else if (field->check != NULL)
		field->check(enc, field, text);
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

/* ---- type and join option: one of a few words ---- */

/* The entry for what a type column says, or NULL. */
static const ImTypeName *
find_type_name(const char *name)
{
	size_t		i;

	for (i = 0; i < lengthof(type_names); i++)
		if (pg_strcasecmp(type_names[i].name, name) == 0)
			return &type_names[i];
	return NULL;
}

/*
 * The type of a record, read before the fields in turn because rules of
 * others depend on it.  Adds no problems: encode_type() will.
 */
static const ImTypeName *
peek_type(const ImGroupMap *map, const Datum *values, const bool *nulls)
{
	const ImSource *source = &map->source[FIELD_TYPE];
	ImGroup		scratch = {0};
	ImEncoder	enc = {.map = map, .group = &scratch};
	ImText		text;

	if (nulls[source->index] ||
		!read_server(&enc, &fields[FIELD_TYPE], source, values[source->index], TEXT_MAX, &text))
		return NULL;
	return find_type_name(text.server);
}

/* Type: sent in the documented spelling. */
static void
encode_type(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;

	if (!read_utf8(enc, field, source, value, TEXT_MAX, &text))
		return;
	put_string(enc, field, enc->type ? enc->type->sent : text.utf8);
	if (enc->type == NULL)
		problem(enc, psprintf("%s is %s, allowed are Public, Private (or Work), ChatRoom (or Meeting) and Community",
							  field->column, quote(text.server, text.server_len)));
	else if (enc->type->kind == TYPE_REFUSED)
	{
		problem(enc, psprintf("%s is \"AVChatRoom\", which import_group does not support: make the group with create_group and modify_group_base_info",
							  field->column));
		enc->group->problem_code = 10007;
	}
}

/* ApplyJoinOption: sent in the documented spelling. */
static void
encode_option(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;
	const char *sent = NULL;
	size_t		i;

	if (!read_utf8(enc, field, source, value, TEXT_MAX, &text))
		return;
	for (i = 0; i < lengthof(join_options); i++)
		if (pg_strcasecmp(join_options[i], text.utf8) == 0)
			sent = join_options[i];
	put_string(enc, field, sent ? sent : text.utf8);
	if (sent == NULL)
		problem(enc, psprintf("%s is %s, allowed are FreeAccess, NeedPermission and DisableApply",
							  field->column, quote(text.server, text.server_len)));
	if (enc->group->community)
		problem(enc, psprintf("%s does not exist for a Community: leave it NULL", field->column));
}

/* ---- numbers and times ---- */

/* MaxMemberCount: the limit depends on the type. */
static void
encode_count(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	int64		limit = enc->group->community ? MEMBERS_MAX_COMMUNITY : MEMBERS_MAX;
	ImText		text;
	int64		count;
	bool		fraction;

	if (!read_server(enc, field, source, value, TEXT_MAX, &text))
		return;
	if (!parse_number(text.server, &count, &fraction) || fraction)
	{
		problem(enc, psprintf("%s is not a whole number: %s", field->column,
							  quote(text.server, text.server_len)));
		return;
	}
	if (count < 1)
		problem(enc, psprintf("%s is " INT64_FORMAT ", the least is 1", field->column, count));
	else if (count > limit)
		problem(enc, psprintf("%s is " INT64_FORMAT ", the limit is " INT64_FORMAT "%s (" INT64_FORMAT " over)",
							  field->column, count, limit,
							  enc->group->community ? " for a Community" : "", count - limit));
	put_number(enc, field, count);
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
	int			overflow = 0;

	if (type == DATEOID)
		t = date2timestamptz_opt_overflow(DatumGetDateADT(value), &overflow);
	else if (type == TIMESTAMPOID && !TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value)))
		t = timestamp2timestamptz_opt_overflow(DatumGetTimestamp(value), &overflow);
	else
		t = DatumGetTimestampTz(value);
	if (overflow != 0 || TIMESTAMP_NOT_FINITE(t))
		return false;
	/* the server's own cut is towards the year 2000: earlier times would become later */
	if (t % USECS_PER_SEC < 0)
		t -= USECS_PER_SEC;
	*seconds = (int64) timestamptz_to_time_t(t);
	return true;
}

/* Adds a problem that ends with the value; only now is a time made text. */
static void
time_problem(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value,
			 const char *what)
{
	ImText		text;

	if (read_server(enc, field, source, value, TEXT_MAX, &text))
		problem(enc, psprintf("%s %s: %s", field->column, what,
							  quote(text.server, text.server_len)));
}

/* Says what is wrong with a creation time, or NULL. */
static const char *
judge_time(int64 seconds)
{
	int64		now = (int64) timestamptz_to_time_t(GetCurrentTimestamp());

	if (seconds <= 0)
		return "is not after 1970-01-01 00:00:00 UTC";
	if (seconds > SECONDS_MAX)
		return "is far in the future, is it in milliseconds? Seconds are expected";
	if (seconds > now)
		return psprintf("is " INT64_FORMAT " seconds in the future", seconds - now);
	return NULL;
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
		wrong = judge_time(seconds);
		put_number(enc, field, seconds);
	}
	if (wrong != NULL)
		time_problem(enc, field, source, value, wrong);
}

/* SupportTopic: sent as 0 or 1. */
static void
encode_topic(ImEncoder *enc, const ImField *field, const ImSource *source, Datum value)
{
	ImText		text;
	bool		topic;

	if (!read_server(enc, field, source, value, TEXT_MAX, &text))
		return;
	if (!parse_bool(text.server, &topic))
	{
		problem(enc, psprintf("%s is neither a boolean nor 0 or 1: %s", field->column,
							  quote(text.server, text.server_len)));
		return;
	}
	if (enc->type != NULL && !enc->group->community)
		problem(enc, psprintf("%s exists for a Community only: leave it NULL", field->column));
	put_number(enc, field, topic ? 1 : 0);
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
	im_appdata_read(text.utf8, text.len, enc->want_warnings, &data);
	if (data.wrong != NULL)
	{
		problem(enc, psprintf("%s %s: %s", field->column, data.wrong,
							  quote(text.server, text.server_len)));
		return;
	}
	foreach(lc, data.warnings)
		warning(enc, psprintf("%s %s", field->column, (char *) lfirst(lc)));
	if (data.json.len > 0)
	{
		put_key(enc, field);
		appendBinaryStringInfo(&enc->group->body, data.json.data, data.json.len);
	}
}

/* ---- the map ---- */

/* True if a column's name means the field: case and underscores do not count. */
static bool
same_name(const char *column, const char *field)
{
	for (;; column++, field++)
	{
		while (*column == '_')
			column++;
		while (*field == '_')
			field++;
		if (pg_ascii_tolower((unsigned char) *column) != (unsigned char) *field)
			return false;
		if (*field == '\0')
			return true;
	}
}

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
refuse_json(ImGroupMap *map, size_t i)
{
	ImSource   *source = &map->source[i];

	if (source->type == JSONPATHOID)
		source->kind = SOURCE_UNUSABLE;
	if (fields[i].encode != encode_custom &&
		(source->type == JSONOID || source->type == JSONBOID))
		source->kind = SOURCE_UNUSABLE;
}

/* See group.h. */
ImGroupMap *
im_group_map(TupleDesc desc)
{
	ImGroupMap *map = palloc0(sizeof(ImGroupMap));
	size_t		i;
	int			a;

	map->conversion = im_group_conversion();
	for (i = 0; i < lengthof(fields); i++)
	{
		for (a = 0; a < desc->natts; a++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, a);

			if (!att->attisdropped && same_name(NameStr(att->attname), fields[i].column))
				set_source(&map->source[i], att);
		}
		if (map->source[i].kind == SOURCE_ABSENT && fields[i].required)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the record has no column \"%s\"", fields[i].column),
					 errhint("Give the record named columns, at least type and name: a row of a table, or of a subquery as in FROM (SELECT 'Public' AS type, title AS name FROM rooms) AS r.")));
		refuse_json(map, i);
	}
	return map;
}

/* ---- one record ---- */

/* A field that the record does not give. */
static void
encode_absent(ImEncoder *enc, const ImField *field, const char *generated_id)
{
	if (field->required)
		problem(enc, psprintf("%s is required, it is NULL", field->column));
	if (field == &fields[FIELD_GROUP_ID] && generated_id != NULL)
	{
		ImText		text;

		text.server = text.utf8 = pstrdup(generated_id);
		text.server_len = text.len = strlen(generated_id);
		finish_text(enc, field, &text);
	}
}

/* See group.h. */
void
im_group_encode(const ImGroupMap *map, TupleDesc desc,
				const Datum *values, const bool *nulls,
				const char *generated_id, ImTextLimits limits,
				bool want_warnings, ImGroup *group)
{
	ImEncoder	enc = {map, limits, want_warnings, peek_type(map, values, nulls), group};
	size_t		i;

	memset(group, 0, sizeof(ImGroup));
	initStringInfo(&group->body);
	group->community = enc.type != NULL && enc.type->kind == TYPE_COMMUNITY;
	appendStringInfoChar(&group->body, '{');
	for (i = 0; i < lengthof(fields); i++)
	{
		const ImSource *source = &map->source[i];

		if (source->kind == SOURCE_ABSENT || nulls[source->index])
			encode_absent(&enc, &fields[i], generated_id);
		else
			fields[i].encode(&enc, &fields[i], source, values[source->index]);
	}
	appendStringInfoChar(&group->body, '}');
	if (group->body.len > BODY_MAX)
		problem(&enc, psprintf("the request is %d bytes, the limit is %d (%d over)",
							   group->body.len, BODY_MAX, group->body.len - BODY_MAX));
}

/* See group.h. */
bool
im_group_is_community(const ImGroupMap *map, TupleDesc desc,
					  const Datum *values, const bool *nulls)
{
	const ImTypeName *type = peek_type(map, values, nulls);

	return type != NULL && type->kind == TYPE_COMMUNITY;
}

/* See group.h. */
char *
im_group_problem_text(const ImGroup *group)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, group->problems)
	{
		if (buf.len > 0)
			appendStringInfoString(&buf, "; ");
		appendStringInfoString(&buf, lfirst(lc));
	}
	return buf.data;
}

/* ---- what others need of a group ---- */

/*
 * Base32 of RFC 4648 in lower case, without padding: 26 characters, so that
 * the longest id has 35 of the 48 bytes allowed.
 */
void
im_group_generate_id(const unsigned char *row_key, bool community, char *out)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint32		bits = 0;
	int			nbits = 0;
	int			i;

	out += sprintf(out, community ? "@TGS#_im-" : "im-");
	for (i = 0; i < 16; i++)
	{
		bits = bits << 8 | row_key[i];
		for (nbits += 8; nbits >= 5; nbits -= 5)
			*out++ = alphabet[bits >> (nbits - 5) & 31];
	}
	*out++ = alphabet[bits << (5 - nbits) & 31];
	*out = '\0';
}

/* See group.h. */
size_t
im_group_fit(const char *utf8, size_t len, size_t bytes)
{
	size_t		cut = bytes;

	if (len <= bytes)
		return len;
	/* a byte of the form 10xxxxxx continues a character */
	while (cut > 0 && ((unsigned char) utf8[cut] & 0xC0) == 0x80)
		cut--;
	return cut;
}

/* See group.h. */
void
im_group_lookup_body(StringInfo buf, const char *group_id)
{
	appendStringInfoString(buf, "{\"GroupIdList\":[");
	escape_json(buf, group_id);
	appendStringInfoString(buf, "],\"ResponseFilter\":{\"GroupBaseInfoFilter\":"
						   "[\"Type\",\"Name\",\"Owner_Account\",\"CreateTime\"]}}");
}

/* True if an earlier check asks for the same group. */
static bool
is_asked_for(const ImCheck *checks, int i)
{
	for (int j = 0; j < i; j++)
		if (strcmp(checks[j].group_id, checks[i].group_id) == 0)
			return true;
	return false;
}

/* See group.h. */
void
im_group_check_body(StringInfo buf, const ImCheck *checks, int nchecks)
{
	const char *comma = "";

	appendStringInfoString(buf, "{\"GroupIdList\":[");
	for (int i = 0; i < nchecks; i++)
	{
		if (is_asked_for(checks, i))
			continue;
		appendStringInfoString(buf, comma);
		escape_json(buf, checks[i].group_id);
		comma = ",";
	}
	appendStringInfoString(buf, "],\"ResponseFilter\":{\"GroupBaseInfoFilter\":"
						   "[\"Type\",\"Name\",\"Owner_Account\",\"CreateTime\",\"Introduction\","
						   "\"Notification\",\"FaceUrl\",\"MaxMemberNum\",\"ApplyJoinOption\"]}}");
}
