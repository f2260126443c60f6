/*
 * test_json.c
 *	  Reads JSON: what is valid, and what a text says.  How damaged answers are
 *	  read is in test_reply.c.
 */
#include "json.h"
#include "tap.h"
#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* im_json_valid() of exactly the bytes of text. */
static bool
valid(const char *text, size_t len)
{
	char	   *copy = exact_copy(text, len);
	bool		result = im_json_valid(copy, len);

	free(copy);
	return result;
}

static void
test_valid(void)
{
	static const char *const good[] = {
		"null", "true", "false", "0", "-0", "12.5e-3", "1E+2", "\"\"", "[]", "{}", " [ 1 , 2 ] ",
		"{\"a\":{\"b\":[\"\\u0000\\ud83d\\n\"]}}", "\"\x7f\xff\"", "{\"a\":1,\"a\":2}", "\r\n\t1\r\n\t",
	};
	static const char *const bad[] = {
		"", " ", "nul", "nullx", "truefalse", "True", "+1", ".5", "1.", "01", "-", "1e", "1e+", "0x1",
		"'a'", "\"", "\"\\x\"", "\"\\u00g0\"", "\"\\u12\"", "\"\n\"", "\"\t\"", "\"\x1f\"", "[", "]", "[1,]", "[,1]",
		"[1 2]", "{", "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{1:2}", "[1}", "{]", "1 1", "NaN",
		"Infinity", "// c\n1", "\xef\xbb\xbf""1", "\v1",
	};

	for (size_t i = 0; i < COUNT(good); i++)
		ok(valid(good[i], strlen(good[i])), "valid: %s", good[i]);
	for (size_t i = 0; i < COUNT(bad); i++)
		ok(!valid(bad[i], strlen(bad[i])), "not valid, number %d", (int) i);
	ok(!valid("1\0", 2), "no NUL behind a value");
	ok(!valid("\"a\0b\"", 5), "no NUL in a string");
}

/* Nesting ends at IM_JSON_DEPTH. */
static void
test_depth(void)
{
	char		text[4 * IM_JSON_DEPTH];

	memset(text, '[', IM_JSON_DEPTH + 1);
	memset(text + IM_JSON_DEPTH + 1, ']', IM_JSON_DEPTH + 1);
	ok(valid(text + 1, 2 * IM_JSON_DEPTH), "as deep as allowed");
	ok(!valid(text, 2 * IM_JSON_DEPTH + 2), "one deeper");
}

/* Text that came by escapes is the same as text that did not. */
static void
test_text(void)
{
	static const char body[] = "{\"a\\u0041\\n\":\"\\ud83d\\ude00\\u0000\\ud800\"}";
	ImJsonScan	scan = im_json_begin(body, strlen(body));
	ImJsonText	name;
	ImJsonValue value;
	char		out[32];

	ok(im_json_enter(&scan, '{') && im_json_next_member(&scan, &name), "a member");
	ok(im_json_is(&name, "aA\n"), "its name, unescaped");
	ok(!im_json_is(&name, "aA"), "not a part of it");
	im_json_value(&scan, &value);
	is_int(value.kind, IM_JSON_STRING, "its value");
	is_int((int64_t) im_json_clean(value.text, out, sizeof(out)), 10, "cleaned");
	is_str(out, "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd", "a pair is one character, NUL and half a pair are replaced");
	is_int(im_json_take(&value.text), 0x1f600, "the first character");
	is_int(im_json_take(&value.text), 0, "the second");
	is_int(im_json_take(&value.text), 0xd800, "half a pair, as it is");
	ok(!im_json_next_member(&scan, &name) && im_json_at_end(&scan), "all is read");
}

/* What stands in an array can be read later. */
static void
test_within(void)
{
	static const char body[] = "[[1,\"b\",{}],-7]";
	ImJsonScan	scan = im_json_begin(body, strlen(body));
	ImJsonScan	inner;
	ImJsonValue list;
	ImJsonValue value;
	int64_t		number;
	int			n = 0;

	ok(im_json_enter(&scan, '[') && im_json_next_item(&scan, ']'), "an item");
	im_json_value(&scan, &list);
	is_int(list.kind, IM_JSON_ARRAY, "is an array");
	is_int((int64_t) (list.text.end - list.text.p), 10, "from bracket to bracket");
	inner = im_json_within(&list);
	for (im_json_enter(&inner, '['); im_json_next_item(&inner, ']'); n++)
		im_json_value(&inner, &value);
	is_int(n, 3, "of three");
	ok(im_json_at_end(&inner), "and nothing else");
	ok(im_json_next_item(&scan, ']'), "another item");
	im_json_value(&scan, &value);
	ok(im_json_whole(&value, &number) && number == -7, "is a number");
	ok(!im_json_whole(&list, &number), "and the first is none");
}

/* What the app says has all that was sent; it may say more. */
static void
test_covers(void)
{
	static const struct
	{
		const char *said;
		const char *sent;
		bool		covers;
	}			cases[] = {
		{"{\"a\":1,\"b\":[1,\"x\",{\"c\":null}]}", "{\"a\":1,\"b\":[1,\"x\",{\"c\":null}]}", true},
		{"{\"b\":2,\"a\":1}", "{\"a\":1,\"b\":2}", true},
		{"{\"a\":1,\"more\":{}}", "{\"a\":1}", true},
		{"{\"a\":1}", "{\"a\":1,\"more\":{}}", false},
		{"{\"a\":1}", "{}", true},
		{"{\"a\":1}", "{\"a\":2}", false},
		{"{\"a\":null}", "{\"a\":false}", false},
		{"{\"a\":\"1\"}", "{\"a\":1}", false},
		{"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":2}}", true},
		{"{\"a\":1,\"a\":2}", "{\"a\":2}", true},	/* the last one counts */
		{"{\"a\":1,\"a\":2}", "{\"a\":1}", false},
		{"{\"\\u0061\":\"\\u0062\"}", "{\"a\":\"b\"}", true},
		{"[1,2]", "[1,2]", true},
		{"[2,1]", "[1,2]", false},
		{"[1,2,3]", "[1,2]", false},
		{"[1]", "[1,2]", false},
		{"[]", "[]", true},
		{"[]", "{}", false},
		{"[{\"a\":1,\"b\":2}]", "[{\"b\":2}]", true},
		{"100", "1e2", true},
		{"29.50", "29.5", true},
		{"29.50", "29.51", false},
		{"-0.0", "0", true},
		{"9007199254740993", "9007199254740992", false},
		{"9007199254740993", "9007199254740993", true},
		{"123456789012345678901234567890123456789012345678901234567890123456789.5", "123456789012345678901234567890123456789012345678901234567890123456789.5", true},
		{"true", "true", true},
		{"true", "false", false},
		{"\"a\"", "\"A\"", false},
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++)
	{
		char	   *said = exact_copy(cases[n].said, strlen(cases[n].said));
		char	   *sent = exact_copy(cases[n].sent, strlen(cases[n].sent));
		ImJsonScan	a = im_json_begin(said, strlen(cases[n].said));
		ImJsonScan	b = im_json_begin(sent, strlen(cases[n].sent));
		ImJsonValue one;
		ImJsonValue other;

		im_json_value(&a, &one);
		im_json_value(&b, &other);
		ok(im_json_covers(&one, &other) == cases[n].covers, "%s %s %s", cases[n].said, cases[n].covers ? "covers" : "does not cover", cases[n].sent);
		free(said);
		free(sent);
	}
}

int
main(void)
{
	test_valid();
	test_depth();
	test_text();
	test_within();
	test_covers();
	return tap_done();
}
