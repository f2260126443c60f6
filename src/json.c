/*
 * json.c
 *	  Reads JSON where it stands: no copy, no allocation, no error raised.
 *
 * Must not know what is read or why.  It is not the server's parser, because
 * that hands out no keys unless it also converts strings, and converting
 * raises for \u0000, for half of a surrogate pair and for what the database
 * encoding lacks.
 *
 * The surprising rule: strict about structure, lenient about text.  Invalid
 * UTF-8 or a raw control character in a string does not make an answer
 * unreadable; only im_json_valid() minds control characters.
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"

/* See json.h. */
ImJsonScan
im_json_begin(const char *body, size_t len)
{
	ImJsonScan	scan = {body, body + len, 0, false, false, false};

	return scan;
}

/* See json.h. */
ImJsonScan
im_json_begin_answer(const char *body, size_t len)
{
	static const char mark[] = "\xef\xbb\xbf";
	size_t		skip = len >= 3 && memcmp(body, mark, 3) == 0 ? 3 : 0;

	return im_json_begin(body + skip, len - skip);
}

/* See json.h. */
ImJsonScan
im_json_within(const ImJsonValue *container)
{
	ImJsonScan	scan = {container->text.p, container->text.end, 0, false, false, false};

	return scan;
}

/* Gives up: whatever comes after cannot be trusted. */
static bool
fail(ImJsonScan *scan)
{
	scan->bad = true;
	scan->p = scan->end;
	return false;
}

/* See json.h. */
int
im_json_peek(ImJsonScan *scan)
{
	while (scan->p < scan->end &&
		   (*scan->p == ' ' || *scan->p == '\t' || *scan->p == '\n' || *scan->p == '\r'))
		scan->p++;
	return scan->p < scan->end ? (unsigned char) *scan->p : -1;
}

/* Steps over c, if it comes next. */
static bool
step_over(ImJsonScan *scan, char c)
{
	if (im_json_peek(scan) != c)
		return false;
	scan->p++;
	return true;
}

/* Steps over c, which must come next. */
static bool
expect(ImJsonScan *scan, char c)
{
	return step_over(scan, c) || fail(scan);
}

/* What a hexadecimal digit stands for, or -1. */
static int
hex_value(char c)
{
	if (im_text_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Steps over an escape, from its backslash on. */
static bool
scan_escape(ImJsonScan *scan)
{
	size_t		left = (size_t) (scan->end - scan->p);

	/* Checked here, so that whoever takes the text later need not. */
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
scan_string(ImJsonScan *scan, ImJsonText *text)
{
	if (!expect(scan, '"'))
		return false;
	text->p = scan->p;
	text->escaped = false;
	while (scan->p < scan->end && *scan->p != '"')
	{
		if (*scan->p == '\0' || (scan->strict && (unsigned char) *scan->p < 0x20))
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
	/* The closing quote is no part of the text, but is stepped over. */
	text->end = scan->p++;
	return true;
}

/* Steps over one or more digits. */
static bool
scan_digits(ImJsonScan *scan)
{
	if (scan->p == scan->end || !im_text_is_digit(*scan->p))
		return fail(scan);
	while (scan->p < scan->end && im_text_is_digit(*scan->p))
		scan->p++;
	return true;
}

/* Steps over c, if it is the very next byte, white space being none of it. */
static bool
scan_byte(ImJsonScan *scan, char c)
{
	if (scan->p == scan->end || *scan->p != c)
		return false;
	scan->p++;
	return true;
}

/* Steps over a number, as JSON's grammar has it. */
static bool
scan_number(ImJsonScan *scan)
{
	scan_byte(scan, '-');
	/* A zero leads no other digits. */
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
scan_literal(ImJsonScan *scan, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (scan->end - scan->p) < len || memcmp(scan->p, word, len) != 0)
		return fail(scan);
	scan->p += len;
	return true;
}

/* See json.h. */
bool
im_json_enter(ImJsonScan *scan, char open)
{
	if (!expect(scan, open))
		return false;
	/* Before anything is read: hostile nesting must not use up the stack. */
	if (++scan->depth > IM_JSON_DEPTH)
		return fail(scan);
	scan->fresh = true;
	return true;
}

/* See json.h. */
bool
im_json_next_item(ImJsonScan *scan, char close)
{
	bool		fresh = scan->fresh;

	scan->fresh = false;
	if (step_over(scan, close))
	{
		scan->depth--;
		return false;
	}
	/* Only the first one has no comma before it. */
	return fresh || expect(scan, ',');
}

/* See json.h. */
bool
im_json_next_member(ImJsonScan *scan, ImJsonText *key)
{
	return im_json_next_item(scan, '}') && scan_string(scan, key) && expect(scan, ':');
}

/*
 * Steps over an object or array with all that is in it.  Recursion ends at
 * IM_JSON_DEPTH.
 */
static void
scan_container(ImJsonScan *scan, bool object)
{
	ImJsonText	key;
	ImJsonValue value;

	if (!im_json_enter(scan, object ? '{' : '['))
		return;
	while (object ? im_json_next_member(scan, &key) : im_json_next_item(scan, ']'))
		im_json_value(scan, &value);
}

/* See json.h. */
void
im_json_value(ImJsonScan *scan, ImJsonValue *value)
{
	int			c = im_json_peek(scan);

	value->kind = IM_JSON_NONE;
	value->text.escaped = false;
	value->text.p = scan->p;
	if (c == '"')
	{
		if (scan_string(scan, &value->text))
			value->kind = IM_JSON_STRING;
		return;
	}
	if (c == '{' || c == '[')
	{
		scan_container(scan, c == '{');
		value->kind = c == '{' ? IM_JSON_OBJECT : IM_JSON_ARRAY;
	}
	else if (c == '-' || im_text_is_digit((char) c))
	{
		scan_number(scan);
		value->kind = IM_JSON_NUMBER;
	}
	else
	{
		scan_literal(scan, c == 't' ? "true" : c == 'f' ? "false" : "null");
		value->kind = IM_JSON_LITERAL;
	}
	/* Last: what is broken inside makes the whole no value. */
	value->text.end = scan->p;
	if (scan->bad)
		value->kind = IM_JSON_NONE;
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
take_escape(ImJsonText *text)
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
	/* Only a high surrogate that another escape follows can be half of a pair. */
	if (c < 0xd800 || c > 0xdbff || text->end - text->p < 6 ||
		text->p[0] != '\\' || text->p[1] != 'u')
		return c;
	low = hex_escape(text->p);
	if (low < 0xdc00 || low > 0xdfff)
		return c;
	text->p += 6;
	return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* See json.h. */
uint32_t
im_json_take(ImJsonText *text)
{
	uint32_t	c;

	if (text->escaped && *text->p == '\\')
		return take_escape(text);
	text->p += im_text_decode(text->p, (size_t) (text->end - text->p), &c);
	return c;
}

/* See json.h. */
bool
im_json_same(ImJsonText a, ImJsonText b)
{
	while (a.p < a.end && b.p < b.end)
	{
		if (im_json_take(&a) != im_json_take(&b))
			return false;
	}
	return a.p == a.end && b.p == b.end;
}

/* See json.h. */
ImJsonText
im_json_plain(const char *string, size_t len)
{
	ImJsonText	text = {string, string + len, false};

	return text;
}

/* See json.h. */
bool
im_json_is(const ImJsonText *text, const char *word)
{
	size_t		len = strlen(word);

	if (text->escaped)
		return im_json_same(*text, im_json_plain(word, len));
	return (size_t) (text->end - text->p) == len && memcmp(text->p, word, len) == 0;
}

/* See json.h. */
bool
im_json_whole(const ImJsonValue *value, int64_t *number)
{
	const char *p = value->text.p;
	bool		negative;

	if (value->kind != IM_JSON_NUMBER)
		return false;
	negative = *p == '-';
	if (negative)
		p++;
	*number = 0;
	for (; p < value->text.end; p++)
	{
		/* A fraction or an exponent is refused with all else that is no digit. */
		if (!im_text_is_digit(*p) || *number > (INT64_MAX - (*p - '0')) / 10)
			return false;
		*number = *number * 10 + (*p - '0');
	}
	if (negative)
		*number = -*number;
	return true;
}

/* The member of that name, as a document spells it. */
static ImJsonValue
member_of(const ImJsonValue *object, ImJsonText name)
{
	ImJsonScan	scan = im_json_within(object);
	ImJsonValue found = {.kind = IM_JSON_NONE};
	ImJsonValue value;
	ImJsonText	key;

	if (object->kind != IM_JSON_OBJECT || !im_json_enter(&scan, '{'))
		return found;
	while (im_json_next_member(&scan, &key))
	{
		im_json_value(&scan, &value);
		/* Of a repeated key the last, as everywhere. */
		if (im_json_same(key, name))
			found = value;
	}
	return found;
}

/* See json.h. */
ImJsonValue
im_json_member(const ImJsonValue *object, const char *name)
{
	return member_of(object, im_json_plain(name, strlen(name)));
}

/* True if a number is written as a whole one, of whatever size. */
static bool
is_whole(const ImJsonValue *value)
{
	for (const char *p = value->text.p; p < value->text.end; p++)
		if (*p == '.' || *p == 'e' || *p == 'E')
			return false;
	return true;
}

/* True if two numbers are the same, however they are written. */
static bool
same_number(const ImJsonValue *a, const ImJsonValue *b)
{
	char		digits[2][64];
	const ImJsonValue *both[2] = {a, b};

	/* Whole ones have but one spelling, and may have more digits than a double. */
	if (is_whole(a) && is_whole(b))
		return im_json_same(a->text, b->text);
	for (int i = 0; i < 2; i++)
	{
		size_t		len = (size_t) (both[i]->text.end - both[i]->text.p);

		if (len >= sizeof(digits[i]))
			/* Longer than a double is exact: only the same digits are the same. */
			return im_json_same(a->text, b->text);
		memcpy(digits[i], both[i]->text.p, len);
		digits[i][len] = '\0';
	}
	return strtod(digits[0], NULL) == strtod(digits[1], NULL);
}

/* True if each member of sent is in said. */
static bool
covers_members(const ImJsonValue *said, const ImJsonValue *sent)
{
	ImJsonScan	scan = im_json_within(sent);
	ImJsonText	key;
	ImJsonValue value;

	if (!im_json_enter(&scan, '{'))
		return false;
	while (im_json_next_member(&scan, &key))
	{
		ImJsonValue other = member_of(said, key);

		im_json_value(&scan, &value);
		if (!im_json_covers(&other, &value))
			return false;
	}
	return true;
}

/* True if the elements are as many, and each covers its own. */
static bool
covers_elements(const ImJsonValue *said, const ImJsonValue *sent)
{
	ImJsonScan	a = im_json_within(said);
	ImJsonScan	b = im_json_within(sent);
	ImJsonValue one;
	ImJsonValue other;

	if (!im_json_enter(&a, '[') || !im_json_enter(&b, '['))
		return false;
	while (im_json_next_item(&b, ']'))
	{
		if (!im_json_next_item(&a, ']'))
			return false;
		im_json_value(&a, &one);
		im_json_value(&b, &other);
		if (!im_json_covers(&one, &other))
			return false;
	}
	/* There must be no more of them, either. */
	return !im_json_next_item(&a, ']');
}

/* See json.h. */
bool
im_json_covers(const ImJsonValue *said, const ImJsonValue *sent)
{
	if (said->kind != sent->kind)
		return false;
	switch (sent->kind)
	{
		case IM_JSON_NONE:
			return true;
		case IM_JSON_NUMBER:
			return same_number(said, sent);
		case IM_JSON_OBJECT:
			return covers_members(said, sent);
		case IM_JSON_ARRAY:
			return covers_elements(said, sent);
		case IM_JSON_STRING:
		case IM_JSON_LITERAL:
			break;
	}
	return im_json_same(said->text, sent->text);
}

/* See json.h. */
size_t
im_json_clean(ImJsonText text, char *out, size_t size)
{
	char		encoded[4];
	size_t		used = 0;

	if (size == 0)
		return 0;
	while (text.p < text.end)
	{
		uint32_t	c = im_json_take(&text);
		size_t		len = im_text_clean_char(c == 0 ? IM_TEXT_REPLACEMENT : c, encoded);

		/* Never a part of a character. */
		if (len > size - 1 - used)
			break;
		memcpy(out + used, encoded, len);
		used += len;
	}
	out[used] = '\0';
	return used;
}

/* See json.h. */
bool
im_json_at_end(ImJsonScan *scan)
{
	return im_json_peek(scan) == -1 && !scan->bad;
}

/* See json.h. */
bool
im_json_valid(const char *text, size_t len)
{
	ImJsonScan	scan = im_json_begin(text, len);
	ImJsonValue value;

	scan.strict = true;
	im_json_value(&scan, &value);
	return im_json_at_end(&scan);
}
