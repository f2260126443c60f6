/*
 * json.h
 *	  Reads JSON where it stands: no copy, no allocation, no error raised.
 *
 * Pure.  What can be read with it:
 *
 *		ImJsonScan	scan = im_json_begin(body, len);
 *
 *		if (im_json_enter(&scan, '{'))
 *			while (im_json_next_member(&scan, &name))
 *				im_json_value(&scan, &value);
 *		good = im_json_at_end(&scan);
 *
 * Every loop ends, also over damaged text; whether it was damaged is asked once
 * at the end.
 */
#ifndef IM_JSON_H
#define IM_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deepest nesting that is read; an answer of the service has at most 5. */
#define IM_JSON_DEPTH		32

/*
 * The text of a token, where it stands in the body.  Strings are without their
 * quotes.
 */
typedef struct ImJsonText
{
	const char *p;
	const char *end;
	bool		escaped;		/* a backslash begins a JSON escape; else it
								 * is a backslash */
} ImJsonText;

typedef enum ImJsonKind
{
	IM_JSON_NONE,				/* no such value */
	IM_JSON_STRING,
	IM_JSON_NUMBER,
	IM_JSON_ARRAY,				/* text: from bracket to bracket */
	IM_JSON_OBJECT,
	IM_JSON_LITERAL				/* true, false, null */
} ImJsonKind;

typedef struct ImJsonValue
{
	ImJsonKind	kind;
	ImJsonText	text;
} ImJsonValue;

/* A place in a body.  Once bad, it stands at the end and stays there. */
typedef struct ImJsonScan
{
	const char *p;
	const char *end;
	int			depth;
	bool		fresh;			/* just opened: the next item has no comma */
	bool		bad;
	bool		strict;			/* refuse raw control characters in strings */
} ImJsonScan;

/* The beginning of a text, and the beginning of an array or object in it. */
extern ImJsonScan im_json_begin(const char *body, size_t len);
extern ImJsonScan im_json_within(const ImJsonValue *container);

/* The same of an answer, which may have a byte-order mark before it. */
extern ImJsonScan im_json_begin_answer(const char *body, size_t len);

/* True if the whole text was read and was not damaged. */
extern bool im_json_at_end(ImJsonScan *scan);

/* The next byte that is not white space, or -1 at the end. */
extern int	im_json_peek(ImJsonScan *scan);

/* Steps into an object '{' or array '['; false, and bad, if none comes next. */
extern bool im_json_enter(ImJsonScan *scan, char open);

/*
 * True if there is another item before close, and steps over what separates
 * it from the one before; else steps over close.
 */
extern bool im_json_next_item(ImJsonScan *scan, char close);

/* True if there is another member; reads its key and stops at its value. */
extern bool im_json_next_member(ImJsonScan *scan, ImJsonText *key);

/* Reads any value with all that is in it; of IM_JSON_NONE if there is none. */
extern void im_json_value(ImJsonScan *scan, ImJsonValue *value);

/*
 * Reads a whole number.  False for anything else, for 1.0 and 1e0 too, and for
 * what does not fit into 63 bits.
 */
extern bool im_json_whole(const ImJsonValue *value, int64_t *number);

/* Text of our own, without escapes, to compare with. */
extern ImJsonText im_json_plain(const char *string, size_t len);

/* True if two texts are the same, character by character, after unescaping. */
extern bool im_json_same(ImJsonText a, ImJsonText b);

/* True if text says exactly word. */
extern bool im_json_is(const ImJsonText *text, const char *word);

/* The member of an object, of IM_JSON_NONE if there is none; of a repeated one the last. */
extern ImJsonValue im_json_member(const ImJsonValue *object, const char *name);

/*
 * True if said has all that sent has: of objects each member, whatever more there
 * is; of arrays as many elements, in order; of numbers the value.
 */
extern bool im_json_covers(const ImJsonValue *said, const ImJsonValue *sent);

/*
 * Takes the next character off text, which must not be at its end; see text.h.
 * Half of a surrogate pair is returned as it is, so that it equals nothing but
 * itself.
 */
extern uint32_t im_json_take(ImJsonText *text);

/*
 * Copies what may be shown of text, unescaped, to out; see im_text_clean().
 * \u0000 becomes U+FFFD.
 */
extern size_t im_json_clean(ImJsonText text, char *out, size_t size);

/* True if text is one JSON value, nested at most IM_JSON_DEPTH deep. */
extern bool im_json_valid(const char *text, size_t len);

#endif							/* IM_JSON_H */
