/*
 * reply.c
 *	  Reads the service's answers.
 *
 * Must never know curl, SQL or what a code means for a row, and never throw:
 * a reply may arrive after a group was created, and an error here would make
 * us forget that it exists.  Hence no PostgreSQL in this file at all, no
 * allocation, and a small JSON scanner of its own: the server's parser hands
 * out no keys unless it also converts strings, and converting raises for
 * \u0000, for half a surrogate pair and for what the database encoding lacks.
 *
 * The surprising rule: strict about structure, lenient about text.  A byte too
 * many after the object makes an answer unreadable, since it is not what the
 * service sent, or not all of it.  But invalid UTF-8 or a raw control character
 * within some string does not, or one odd ErrorInfo would cost us the
 * ErrorCode beside it.
 */
#include <string.h>

#include "reply.h"
#include "utf8.h"

/*
 * The text of a JSON token, where it stands in the body.  Strings are without
 * their quotes.
 */
typedef struct Text
{
	const char *p;
	const char *end;
	bool		escaped;		/* a backslash begins a JSON escape; else it
								 * is a backslash */
} Text;

typedef enum Kind
{
	KIND_NONE,					/* no such value */
	KIND_STRING,
	KIND_NUMBER,
	KIND_ARRAY,					/* text: from bracket to bracket */
	KIND_OBJECT,
	KIND_LITERAL				/* true, false, null */
} Kind;

typedef struct Value
{
	Kind		kind;
	Text		text;
} Value;

/* A place in a body.  Once bad, it stands at the end and stays there. */
typedef struct Scan
{
	const char *p;
	const char *end;
	int			depth;
	bool		fresh;			/* just opened: the next item has no comma */
	bool		bad;
} Scan;

/* The keys that we read, of an answer, of its entries, and of a request. */
typedef enum Key
{
	KEY_ERROR_CODE,
	KEY_ERROR_INFO,
	KEY_GROUP_ID,
	KEY_GROUP_INFO,
	KEY_TYPE,
	KEY_NAME,
	KEY_OWNER,
	KEY_CREATE_TIME,
	KEY_INTRODUCTION,
	KEY_NOTIFICATION,
	KEY_FACE_URL,
	KEY_MAX_MEMBERS_SENT,		/* the request's word ... */
	KEY_MAX_MEMBERS,			/* ... and the answer's */
	KEY_JOIN_OPTION,
	KEY_TOPIC,
	KEY_CUSTOM,
	KEY_PAIR_KEY,				/* of an entry of AppDefinedData */
	KEY_PAIR_VALUE,
	KEY_COUNT
} Key;

static const char *const key_names[KEY_COUNT] = {
	[KEY_ERROR_CODE] = "ErrorCode",
	[KEY_ERROR_INFO] = "ErrorInfo",
	[KEY_GROUP_ID] = "GroupId",
	[KEY_GROUP_INFO] = "GroupInfo",
	[KEY_TYPE] = "Type",
	[KEY_NAME] = "Name",
	[KEY_OWNER] = "Owner_Account",
	[KEY_CREATE_TIME] = "CreateTime",
	[KEY_INTRODUCTION] = "Introduction",
	[KEY_NOTIFICATION] = "Notification",
	[KEY_FACE_URL] = "FaceUrl",
	[KEY_MAX_MEMBERS_SENT] = "MaxMemberCount",
	[KEY_MAX_MEMBERS] = "MaxMemberNum",
	[KEY_JOIN_OPTION] = "ApplyJoinOption",
	[KEY_TOPIC] = "SupportTopic",
	[KEY_CUSTOM] = "AppDefinedData",
	[KEY_PAIR_KEY] = "Key",
	[KEY_PAIR_VALUE] = "Value",
};

/* How a field of two groups is compared. */
typedef enum How
{
	HOW_TYPE,					/* in either spelling */
	HOW_TEXT,					/* one that is not there is empty */
	HOW_WORD,					/* one that is not there is not known */
	HOW_NUMBER,
	HOW_FLAG,					/* a number; not there: not compared */
	HOW_CUSTOM					/* AppDefinedData; not there: not compared */
} How;

/* The fields that im_reply_check() compares, if the request has them. */
static const struct
{
	const char *column;
	How			how;
	Key			sent;
	Key			said;
}			compared[IM_FIELDS] = {
	[IM_FIELD_TYPE] = {"type", HOW_TYPE, KEY_TYPE, KEY_TYPE},
	[IM_FIELD_NAME] = {"name", HOW_WORD, KEY_NAME, KEY_NAME},
	[IM_FIELD_OWNER] = {"owner_account", HOW_TEXT, KEY_OWNER, KEY_OWNER},
	[IM_FIELD_CREATE_TIME] = {"create_time", HOW_NUMBER, KEY_CREATE_TIME, KEY_CREATE_TIME},
	[IM_FIELD_INTRODUCTION] = {"introduction", HOW_TEXT, KEY_INTRODUCTION, KEY_INTRODUCTION},
	[IM_FIELD_NOTIFICATION] = {"notification", HOW_TEXT, KEY_NOTIFICATION, KEY_NOTIFICATION},
	[IM_FIELD_FACE_URL] = {"face_url", HOW_TEXT, KEY_FACE_URL, KEY_FACE_URL},
	[IM_FIELD_MAX_MEMBERS] = {"max_member_count", HOW_NUMBER, KEY_MAX_MEMBERS_SENT, KEY_MAX_MEMBERS},
	[IM_FIELD_JOIN_OPTION] = {"apply_join_option", HOW_WORD, KEY_JOIN_OPTION, KEY_JOIN_OPTION},
	[IM_FIELD_TOPIC] = {"support_topic", HOW_FLAG, KEY_TOPIC, KEY_TOPIC},
	[IM_FIELD_CUSTOM] = {"app_defined_data", HOW_CUSTOM, KEY_CUSTOM, KEY_CUSTOM},
};

/* What one object says. */
typedef struct Facts
{
	Value		of[KEY_COUNT];	/* of a repeated key the last, as everywhere */
	bool		code_seen;
	bool		code_bad;		/* not an int32, or repeated with another
								 * value */
	int32_t		code;
} Facts;

/* One entry of AppDefinedData. */
typedef struct Pair
{
	Text		key;
	Value		value;
} Pair;

/* A key that takes more bytes in the request is not compared. */
#define CUSTOM_KEY_MAX		128

/* ErrorCodes of an entry for a group that is not there. */
#define CODE_NO_GROUP		10010
#define CODE_BAD_GROUP_ID	10015	/* in newer words also: dissolved */

#define REPLACEMENT			0xfffd

/* What next_char() returns for a byte that is not UTF-8, with the byte. */
#define INVALID_BYTE		UINT32_C(0x80000000)

static void scan_value(Scan *scan, Value *value);

/* Gives up: whatever comes after cannot be trusted. */
static bool
fail(Scan *scan)
{
	scan->bad = true;
	scan->p = scan->end;
	return false;
}

/* The next byte that is not white space, or -1 at the end. */
static int
peek(Scan *scan)
{
	while (scan->p < scan->end &&
		   (*scan->p == ' ' || *scan->p == '\t' || *scan->p == '\n' || *scan->p == '\r'))
		scan->p++;
	return scan->p < scan->end ? (unsigned char) *scan->p : -1;
}

/* Steps over c, if it comes next. */
static bool
step_over(Scan *scan, char c)
{
	if (peek(scan) != c)
		return false;
	scan->p++;
	return true;
}

/* Steps over c, which must come next. */
static bool
expect(Scan *scan, char c)
{
	return step_over(scan, c) || fail(scan);
}

/* True if c is a digit, whatever the locale thinks. */
static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What a hexadecimal digit stands for, or -1. */
static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Steps over an escape, from its backslash on. */
static bool
scan_escape(Scan *scan)
{
	size_t		left = (size_t) (scan->end - scan->p);

	if (left >= 2 && memchr("\"\\/bfnrt", scan->p[1], 8) != NULL)
	{
		scan->p += 2;
		return true;
	}
	if (left < 6 || scan->p[1] != 'u')
		return fail(scan);
	for (int i = 2; i < 6; i++)
	{
		if (hex_value(scan->p[i]) < 0)
			return fail(scan);
	}
	scan->p += 6;
	return true;
}

/*
 * Reads a string.  A NUL byte in it is refused: nobody sends one, so that the
 * body is damaged.
 */
static bool
scan_string(Scan *scan, Text *text)
{
	if (!expect(scan, '"'))
		return false;
	text->p = scan->p;
	text->escaped = false;
	while (scan->p < scan->end && *scan->p != '"')
	{
		if (*scan->p == '\0')
			return fail(scan);
		if (*scan->p != '\\')
			scan->p++;
		else if (scan_escape(scan))
			text->escaped = true;
		else
			return false;
	}
	if (scan->p == scan->end)
		return fail(scan);
	text->end = scan->p++;
	return true;
}

/* Steps over one or more digits. */
static bool
scan_digits(Scan *scan)
{
	if (scan->p == scan->end || !is_digit(*scan->p))
		return fail(scan);
	while (scan->p < scan->end && is_digit(*scan->p))
		scan->p++;
	return true;
}

/* Steps over c, if it is the very next byte, white space being none of it. */
static bool
scan_byte(Scan *scan, char c)
{
	if (scan->p == scan->end || *scan->p != c)
		return false;
	scan->p++;
	return true;
}

/* Steps over a number, as JSON's grammar has it. */
static bool
scan_number(Scan *scan)
{
	scan_byte(scan, '-');
	if (!scan_byte(scan, '0') && !scan_digits(scan))
		return false;
	if (scan_byte(scan, '.') && !scan_digits(scan))
		return false;
	if (scan_byte(scan, 'e') || scan_byte(scan, 'E'))
	{
		if (!scan_byte(scan, '+'))
			scan_byte(scan, '-');
		return scan_digits(scan);
	}
	return true;
}

/* Steps over true, false or null. */
static bool
scan_literal(Scan *scan, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (scan->end - scan->p) < len || memcmp(scan->p, word, len) != 0)
		return fail(scan);
	scan->p += len;
	return true;
}

/* Steps into an object or array. */
static bool
enter(Scan *scan, char open)
{
	if (!expect(scan, open))
		return false;
	if (++scan->depth > IM_REPLY_DEPTH)
		return fail(scan);
	scan->fresh = true;
	return true;
}

/*
 * True if there is another item before close, and steps over what separates
 * it from the one before; else steps over close.  Ends every loop over a
 * container, also over a damaged one.
 */
static bool
next_item(Scan *scan, char close)
{
	bool		fresh = scan->fresh;

	scan->fresh = false;
	if (step_over(scan, close))
	{
		scan->depth--;
		return false;
	}
	return fresh || expect(scan, ',');
}

/* True if there is another member; reads its key and stops at its value. */
static bool
next_member(Scan *scan, Text *key)
{
	return next_item(scan, '}') && scan_string(scan, key) && expect(scan, ':');
}

/*
 * Steps over an object or array with all that is in it.  Recursion ends at
 * IM_REPLY_DEPTH.
 */
static void
scan_container(Scan *scan, bool object)
{
	Text		key;
	Value		value;

	if (!enter(scan, object ? '{' : '['))
		return;
	while (object ? next_member(scan, &key) : next_item(scan, ']'))
		scan_value(scan, &value);
}

/* Reads any value; it is of KIND_NONE if there is none. */
static void
scan_value(Scan *scan, Value *value)
{
	int			c = peek(scan);

	value->kind = KIND_NONE;
	value->text.escaped = false;
	value->text.p = scan->p;
	if (c == '"')
	{
		if (scan_string(scan, &value->text))
			value->kind = KIND_STRING;
		return;
	}
	if (c == '{' || c == '[')
	{
		scan_container(scan, c == '{');
		value->kind = c == '{' ? KIND_OBJECT : KIND_ARRAY;
	}
	else if (c == '-' || (c >= '0' && c <= '9'))
	{
		scan_number(scan);
		value->kind = KIND_NUMBER;
	}
	else
	{
		scan_literal(scan, c == 't' ? "true" : c == 'f' ? "false" : "null");
		value->kind = KIND_LITERAL;
	}
	value->text.end = scan->p;
	if (scan->bad)
		value->kind = KIND_NONE;
}

/* The number of an escape \uXXXX, from its backslash on. */
static uint32_t
hex_escape(const char *p)
{
	uint32_t	c = 0;

	for (int i = 2; i < 6; i++)
		c = c << 4 | (uint32_t) hex_value(p[i]);
	return c;
}

/*
 * Takes an escape off text.  A pair of surrogates is one character; a lone one
 * is returned as it is, so that it equals nothing but itself.
 */
static uint32_t
take_escape(Text *text)
{
	static const char from[] = "bfnrt";
	static const char to[] = "\b\f\n\r\t";
	const char *found;
	uint32_t	c;
	uint32_t	low;

	if (text->p[1] != 'u')
	{
		c = (unsigned char) text->p[1];
		found = strchr(from, (int) c);
		text->p += 2;
		return found != NULL ? (uint32_t) to[found - from] : c;
	}
	c = hex_escape(text->p);
	text->p += 6;
	if (c < 0xd800 || c > 0xdbff || text->end - text->p < 6 ||
		text->p[0] != '\\' || text->p[1] != 'u')
		return c;
	low = hex_escape(text->p);
	if (low < 0xdc00 || low > 0xdfff)
		return c;
	text->p += 6;
	return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/*
 * Takes the next character off text, which must not be at its end.  A byte
 * that is not UTF-8 comes as INVALID_BYTE with the byte.
 */
static uint32_t
take_char(Text *text)
{
	uint32_t	c;
	size_t		len;

	if (text->escaped && *text->p == '\\')
		return take_escape(text);
	len = im_utf8_decode(text->p, (size_t) (text->end - text->p), &c);
	if (len == 0)
	{
		c = INVALID_BYTE | (unsigned char) *text->p;
		len = 1;
	}
	text->p += len;
	return c;
}

/* True if two texts are the same, character by character, after unescaping. */
static bool
same_text(Text a, Text b)
{
	while (a.p < a.end && b.p < b.end)
	{
		if (take_char(&a) != take_char(&b))
			return false;
	}
	return a.p == a.end && b.p == b.end;
}

/* A plain string as a Text. */
static Text
plain_text(const char *string, size_t len)
{
	Text		text = {string, string + len, false};

	return text;
}

/* True if text says exactly word. */
static bool
text_is(const Text *text, const char *word)
{
	size_t		len = strlen(word);

	if (text->escaped)
		return same_text(*text, plain_text(word, len));
	return (size_t) (text->end - text->p) == len && memcmp(text->p, word, len) == 0;
}

/*
 * Reads a whole number.  False for anything else, for 1.0 and 1e0 too, and for
 * what needs more than 18 digits: no number of the service does.
 */
static bool
whole_number(const Value *value, int64_t *number)
{
	const char *p = value->text.p;
	bool		negative;

	if (value->kind != KIND_NUMBER)
		return false;
	negative = *p == '-';
	if (negative)
		p++;
	if (value->text.end - p > 18)
		return false;
	*number = 0;
	for (; p < value->text.end; p++)
	{
		if (!is_digit(*p))
			return false;
		*number = *number * 10 + (*p - '0');
	}
	if (negative)
		*number = -*number;
	return true;
}

/*
 * Notes an ErrorCode.  Two that disagree are worse than none: which of them a
 * parser picks must not decide whether a group exists.
 */
static void
note_code(Facts *facts, const Value *value)
{
	int64_t		number;

	if (!whole_number(value, &number) ||
		number < INT32_MIN || number > INT32_MAX ||
		(facts->code_seen && number != facts->code))
		facts->code_bad = true;
	else
		facts->code = (int32_t) number;
	facts->code_seen = true;
}

/* Reads an object's members, those that we know. */
static void
read_object(Scan *scan, Facts *facts)
{
	Text		name;
	Value		value;

	memset(facts, 0, sizeof(*facts));
	if (!enter(scan, '{'))
		return;
	while (next_member(scan, &name))
	{
		int			key = 0;

		while (key < KEY_COUNT && !text_is(&name, key_names[key]))
			key++;
		scan_value(scan, &value);
		if (key == KEY_COUNT)
			continue;
		facts->of[key] = value;
		if (key == KEY_ERROR_CODE)
			note_code(facts, &value);
	}
}

/* Reads a body that is one object and nothing else.  False if it is not. */
static bool
read_body(const char *body, size_t len, Facts *facts)
{
	Scan		scan = {body, body + len, 0, false, false};

	read_object(&scan, facts);
	return peek(&scan) == -1 && !scan.bad;
}

/* Writes a character as UTF-8 to out (4 bytes), and returns its length. */
static size_t
encode_utf8(uint32_t c, char *out)
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xc0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xe0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3f));
		out[2] = (char) (0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3f));
	out[2] = (char) (0x80 | (c >> 6 & 0x3f));
	out[3] = (char) (0x80 | (c & 0x3f));
	return 4;
}

/*
 * Writes what may be shown of a character to out (4 bytes) and returns its
 * length, 0 for a control character.  \u0000 and half a surrogate pair, which
 * only an escape can bring, become U+FFFD.
 */
static size_t
clean_char(uint32_t c, bool escaped, char *out)
{
	if (c & INVALID_BYTE)
		c = '?';
	else if (c == '\t' || c == '\n')
		c = ' ';
	else if ((c == 0 && escaped) || (c >= 0xd800 && c <= 0xdfff))
		c = REPLACEMENT;
	else if (im_utf8_is_control(c))
		return 0;
	return encode_utf8(c, out);
}

/* Copies what may be shown of text to out, see im_reply_clean(). */
static size_t
clean_text(Text text, char *out, size_t size)
{
	char		encoded[4];
	size_t		used = 0;

	if (size == 0)
		return 0;
	while (text.p < text.end)
	{
		uint32_t	c = take_char(&text);
		size_t		len = clean_char(c, text.escaped, encoded);

		if (len > size - 1 - used)
			break;
		memcpy(out + used, encoded, len);
		used += len;
	}
	out[used] = '\0';
	return used;
}

/* Copies a string value to out, or nothing if it is none. */
static void
copy_info(const Value *value, char *out)
{
	out[0] = '\0';
	if (value->kind == KIND_STRING)
		clean_text(value->text, out, IM_INFO_MAX + 1);
}

/*
 * Copies a GroupId to out.  One that we could not store and send again byte
 * for byte is not copied at all: part of an id names another group.
 */
static void
copy_group_id(const Value *value, char *out)
{
	Text		text = value->text;
	size_t		used = 0;

	out[0] = '\0';
	if (value->kind != KIND_STRING)
		return;
	while (text.p < text.end)
	{
		uint32_t	c = take_char(&text);

		if (c < 0x20 || c > 0x7e || used == IM_GROUP_ID_MAX)
		{
			out[0] = '\0';
			return;
		}
		out[used++] = (char) c;
	}
	out[used] = '\0';
}

/* Hands out what an answer says; nothing of one without a good ErrorCode. */
static void
fill_reply(const Facts *facts, ImReply *reply)
{
	if (!facts->code_seen || facts->code_bad)
		return;
	reply->readable = true;
	reply->code = facts->code;
	copy_info(&facts->of[KEY_ERROR_INFO], reply->info);
	copy_group_id(&facts->of[KEY_GROUP_ID], reply->group_id);
	reply->odd_group_id = facts->of[KEY_GROUP_ID].kind == KIND_STRING && reply->group_id[0] == '\0';
}

/* Makes *reply an unreadable one. */
static void
clear_reply(ImReply *reply)
{
	reply->readable = false;
	reply->code = 0;
	reply->info[0] = '\0';
	reply->group_id[0] = '\0';
	reply->odd_group_id = false;
}

/* See reply.h. */
void
im_reply_parse(const char *body, size_t len, ImReply *reply)
{
	Facts		facts;

	clear_reply(reply);
	if (read_body(body, len, &facts))
		fill_reply(&facts, reply);
}

/*
 * Finds the entry for group_id in the array GroupInfo.  False if there is
 * none, or more than one: we could not say which of them is meant.
 */
static bool
find_entry(const Value *list, const char *group_id, Facts *entry)
{
	Scan		scan = {list->text.p, list->text.end, 0, false, false};
	Text		id = plain_text(group_id, strlen(group_id));
	Facts		facts;
	Value		value;
	int			found = 0;

	if (list->kind != KIND_ARRAY || !enter(&scan, '['))
		return false;
	while (next_item(&scan, ']'))
	{
		if (peek(&scan) != '{')
		{
			scan_value(&scan, &value);
			continue;
		}
		read_object(&scan, &facts);
		if (facts.of[KEY_GROUP_ID].kind != KIND_STRING ||
			!same_text(facts.of[KEY_GROUP_ID].text, id))
			continue;
		*entry = facts;
		found++;
	}
	return found == 1;
}

/* True if a and b are the two spellings of one type, in either order. */
static bool
are_spellings(const Text *a, const Text *b, const char *one, const char *other)
{
	return (text_is(a, one) && text_is(b, other)) ||
		(text_is(a, other) && text_is(b, one));
}

/* True if two Types are the same, the older spelling or the newer. */
static bool
same_type(const Text *a, const Text *b)
{
	return same_text(*a, *b) ||
		are_spellings(a, b, "Private", "Work") ||
		are_spellings(a, b, "ChatRoom", "Meeting");
}

/*
 * True if the group has the owner that was sent.  A group without owner has no
 * Owner_Account, or an empty one.
 */
static bool
same_owner(const Value *owner, const Value *sent)
{
	if (owner->kind != KIND_STRING)
		return same_text(plain_text("", 0), sent->text);
	return same_text(owner->text, sent->text);
}

/*
 * Compares the group of an entry with the one that was sent.  What is known to
 * differ decides before what is not known.
 */
static ImFound
compare_groups(const Value *group, const Value *sent)
{
	int64_t		created;
	int64_t		sent_created;

	if (!same_type(&group[KEY_TYPE].text, &sent[KEY_TYPE].text) ||
		!same_text(group[KEY_NAME].text, sent[KEY_NAME].text))
		return IM_FOUND_OTHER;
	if (sent[KEY_OWNER].kind != KIND_NONE &&
		!same_owner(&group[KEY_OWNER], &sent[KEY_OWNER]))
		return IM_FOUND_OTHER;
	if (sent[KEY_CREATE_TIME].kind == KIND_NONE)
		return IM_FOUND_SAME;
	if (!whole_number(&sent[KEY_CREATE_TIME], &sent_created) ||
		!whole_number(&group[KEY_CREATE_TIME], &created))
		return IM_FOUND_UNREADABLE;
	return created == sent_created ? IM_FOUND_SAME : IM_FOUND_OTHER;
}

/* True if there are a Type and a Name to compare. */
static bool
has_type_and_name(const Facts *facts)
{
	return facts->of[KEY_TYPE].kind == KIND_STRING &&
		facts->of[KEY_NAME].kind == KIND_STRING;
}

/*
 * Judges the one entry for our group.  A request that lacks type or name, which
 * no row can have sent, is another's group if there is one.
 */
static ImFound
judge_entry(const Facts *entry, const Facts *sent)
{
	if (entry->code_bad)
		return IM_FOUND_UNREADABLE;
	if (entry->code == CODE_NO_GROUP || entry->code == CODE_BAD_GROUP_ID)
		return IM_FOUND_ABSENT;
	if (entry->code != 0 || !has_type_and_name(entry))
		return IM_FOUND_UNREADABLE;
	if (!has_type_and_name(sent))
		return IM_FOUND_OTHER;
	return compare_groups(entry->of, sent->of);
}

/* See reply.h. */
ImFound
im_reply_compare(const char *body, size_t len, const char *group_id,
				 const char *sent, size_t sent_len, ImReply *reply)
{
	Facts		answer;
	Facts		entry;
	Facts		request;

	clear_reply(reply);
	if (!read_body(body, len, &answer))
		return IM_FOUND_UNREADABLE;
	fill_reply(&answer, reply);
	if (!find_entry(&answer.of[KEY_GROUP_INFO], group_id, &entry))
		return IM_FOUND_UNREADABLE;
	copy_info(&entry.of[KEY_ERROR_INFO], reply->info);
	if (!read_body(sent, sent_len, &request))
		return IM_FOUND_UNREADABLE;
	return judge_entry(&entry, &request);
}

/* See reply.h. */
const char *
im_field_column(ImCompared field)
{
	return compared[field].column;
}

/* Compares one field that the request has. */
static ImFound
compare_field(How how, const Value *said, const Value *sent)
{
	int64_t		a;
	int64_t		b;
	bool		same;

	if (how == HOW_NUMBER || how == HOW_FLAG)
	{
		if (!whole_number(sent, &a) || !whole_number(said, &b))
			return IM_FOUND_UNREADABLE;
		same = a == b;
	}
	else if (how == HOW_TEXT)
		same = same_owner(said, sent);
	else if (said->kind != KIND_STRING)
		return IM_FOUND_UNREADABLE;
	else
		same = how == HOW_TYPE ? same_type(&said->text, &sent->text) :
			same_text(said->text, sent->text);
	return same ? IM_FOUND_SAME : IM_FOUND_OTHER;
}

/* Reads the next entry of an AppDefinedData; false at its end. */
static bool
next_pair(Scan *scan, Pair *pair)
{
	Facts		facts;
	Value		value;

	while (next_item(scan, ']'))
	{
		if (peek(scan) != '{')
		{
			scan_value(scan, &value);
			continue;
		}
		read_object(scan, &facts);
		if (facts.of[KEY_PAIR_KEY].kind != KIND_STRING)
			continue;
		pair->key = facts.of[KEY_PAIR_KEY].text;
		pair->value = facts.of[KEY_PAIR_VALUE];
		return true;
	}
	return false;
}

/*
 * Reads the entries that we sent and compare, at most IM_CUSTOM_MAX, so that
 * no row can make a comparison long.  Returns how many there are.
 */
static int
sent_pairs(const Value *list, Pair *pairs)
{
	Scan		scan = {list->text.p, list->text.end, 0, false, false};
	int			n = 0;

	if (list->kind != KIND_ARRAY || !enter(&scan, '['))
		return 0;
	while (n < IM_CUSTOM_MAX && next_pair(&scan, &pairs[n]))
	{
		if (pairs[n].key.end - pairs[n].key.p <= CUSTOM_KEY_MAX)
			n++;
	}
	return n;
}

/*
 * Notes in values, one for each pair that was sent, what an AppDefinedData
 * says of its key; of a repeated key the last.
 */
static void
find_values(const Value *list, const Pair *sent, int n, Value *values)
{
	Scan		scan = {list->text.p, list->text.end, 0, false, false};
	Pair		pair;

	enter(&scan, '[');
	while (next_pair(&scan, &pair))
	{
		for (int i = 0; i < n; i++)
		{
			if (same_text(pair.key, sent[i].key))
				values[i] = pair.value;
		}
	}
}

/* True if one of the values that were sent with the i-th key is the said one. */
static bool
was_sent(const Value *said, const Pair *sent, int n, int i)
{
	for (int j = 0; j < n; j++)
	{
		if (same_text(sent[j].key, sent[i].key) && same_owner(said, &sent[j].value))
			return true;
	}
	return false;
}

/*
 * Compares AppDefinedData, in whatever order; notes in *differs which of the
 * entries that were sent are another or are not there.  A value that is no
 * string is none of the documented ones: not known.
 */
static ImFound
compare_custom(const Value *said, const Value *sent, uint64_t *differs)
{
	Pair		pairs[IM_CUSTOM_MAX];
	Value		values[IM_CUSTOM_MAX];
	int			n = sent_pairs(sent, pairs);
	ImFound		all = IM_FOUND_SAME;

	if (said->kind != KIND_ARRAY)
		return IM_FOUND_UNREADABLE;
	memset(values, 0, sizeof(values));	/* of KIND_NONE: not there, empty */
	find_values(said, pairs, n, values);
	for (int i = 0; i < n; i++)
	{
		if (values[i].kind != KIND_NONE && values[i].kind != KIND_STRING)
			all = IM_FOUND_UNREADABLE;
		else if (!was_sent(&values[i], pairs, n, i))
			*differs |= UINT64_C(1) << i;
	}
	return *differs != 0 ? IM_FOUND_OTHER : all;
}

/* See reply.h. */
void
im_reply_extras(const char *sent, size_t len, ImExtras *extras)
{
	Pair		pairs[IM_CUSTOM_MAX];
	Facts		facts;

	extras->topic = false;
	extras->nkeys = 0;
	if (!read_body(sent, len, &facts))
		return;
	extras->topic = facts.of[KEY_TOPIC].kind != KIND_NONE;
	extras->nkeys = sent_pairs(&facts.of[KEY_CUSTOM], pairs);
	for (int i = 0; i < extras->nkeys; i++)
	{
		extras->keys[i].p = pairs[i].key.p;
		extras->keys[i].len = (size_t) (pairs[i].key.end - pairs[i].key.p);
	}
}

/* True if the answer has nothing to compare with, and need not have. */
static bool
says_nothing(How how, const Value *said)
{
	return (how == HOW_FLAG || how == HOW_CUSTOM) &&
		(said->kind == KIND_NONE || (said->kind == KIND_LITERAL && text_is(&said->text, "null")));
}

/* Compares an entry with what was sent; notes which fields differ. */
static ImFound
compare_fields(const Value *said, const Value *sent, ImCheck *check)
{
	ImFound		all = IM_FOUND_SAME;

	for (int i = 0; i < IM_FIELDS; i++)
	{
		const Value *value = &sent[compared[i].sent];
		const Value *other = &said[compared[i].said];
		How			how = compared[i].how;
		ImFound		one;

		if (value->kind == KIND_NONE || says_nothing(how, other))
			continue;
		one = how == HOW_CUSTOM ? compare_custom(other, value, &check->custom) :
			compare_field(how, other, value);
		if (one == IM_FOUND_OTHER)
			check->differs |= UINT32_C(1) << i;
		else if (one == IM_FOUND_UNREADABLE)
			all = IM_FOUND_UNREADABLE;
	}
	return check->differs != 0 ? IM_FOUND_OTHER : all;
}

/* Judges the first entry for a check. */
static void
check_entry(const Facts *entry, ImCheck *check)
{
	Facts		request;

	if (entry->code_bad)
		return;
	if (entry->code == CODE_NO_GROUP || entry->code == CODE_BAD_GROUP_ID)
		check->found = IM_FOUND_ABSENT;
	else if (entry->code != 0)
		return;
	else if (check->sent == NULL)
		check->found = IM_FOUND_SAME;
	else if (read_body(check->sent, check->sent_len, &request) && has_type_and_name(&request))
		check->found = compare_fields(entry->of, request.of, check);
}

/* Gives an entry to the checks that asked for it; a second one spoils them. */
static void
place_entry(const Facts *entry, ImCheck *checks, bool *seen, int nchecks)
{
	const Value *id = &entry->of[KEY_GROUP_ID];

	for (int i = 0; id->kind == KIND_STRING && i < nchecks; i++)
	{
		if (!same_text(id->text, plain_text(checks[i].group_id, strlen(checks[i].group_id))))
			continue;
		if (seen[i])
		{
			checks[i].found = IM_FOUND_UNREADABLE;
			checks[i].differs = 0;
			checks[i].custom = 0;
		}
		else
			check_entry(entry, &checks[i]);
		seen[i] = true;
	}
}

/* Reads the array GroupInfo; whatever else stands in it is stepped over. */
static void
read_entries(const Value *list, ImCheck *checks, int nchecks)
{
	Scan		scan = {list->text.p, list->text.end, 0, false, false};
	bool		seen[IM_CHECK_MAX] = {false};
	Facts		entry;
	Value		value;

	if (list->kind != KIND_ARRAY || !enter(&scan, '['))
		return;
	while (next_item(&scan, ']'))
	{
		if (peek(&scan) == '{')
		{
			read_object(&scan, &entry);
			place_entry(&entry, checks, seen, nchecks);
		}
		else
			scan_value(&scan, &value);
	}
}

/* See reply.h. */
ImFound
im_reply_check(const char *body, size_t len, ImCheck *checks, int nchecks, ImReply *reply)
{
	ImFound		all = IM_FOUND_UNREADABLE;
	Facts		answer;

	clear_reply(reply);
	for (int i = 0; i < nchecks; i++)
	{
		checks[i].found = IM_FOUND_UNREADABLE;
		checks[i].differs = 0;
		checks[i].custom = 0;
	}
	if (nchecks > IM_CHECK_MAX || !read_body(body, len, &answer))
		return all;
	fill_reply(&answer, reply);
	read_entries(&answer.of[KEY_GROUP_INFO], checks, nchecks);
	for (int i = 0; i < nchecks; i++)
	{
		if (checks[i].found != IM_FOUND_UNREADABLE)
			all = IM_FOUND_SAME;
	}
	return all;
}

/* See reply.h. */
size_t
im_reply_clean(const char *text, size_t len, char *out, size_t size)
{
	return clean_text(plain_text(text, len), out, size);
}
