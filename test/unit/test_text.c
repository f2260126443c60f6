/*
 * test_text.c
 *	  Cleans and masks text that came from elsewhere.
 */
#include "tap.h"
#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* U+FFFD as UTF-8. */
#define FFFD "\xef\xbf\xbd"

/* What im_text_clean() makes of bytes. */
static void
test_clean(void)
{
	char		out[64];
	static const struct
	{
		const char *text;
		size_t		len;
		const char *clean;
	}			cases[] = {
		{"", 0, ""},
		{"plain", 5, "plain"},
		{"a\\u0041\\n", 9, "a\\u0041\\n"},	/* no JSON here */
		{"a\0b", 3, "ab"},
		{"a\tb\nc\r\x1b" "d\x7f", 10, "a b cd"},
		{"\xc2\x80\xc2\x9f\xc2\xa0", 6, "\xc2\xa0"},
		{"\x1f \x1e\x7e", 4, " ~"},
		{"\x80\xbf", 2, "??"},
		{"\xc0\xaf\xc1\xbf", 4, "????"},
		{"\xe0\x80\xaf\xe0\x9f\xbf", 6, "??????"},
		{"\xe0\xa0\x80", 3, "\xe0\xa0\x80"},
		{"\xed\xa0\x80\xed\x9f\xbf", 6, "???\xed\x9f\xbf"},
		{"\xed\xbf\xbf\xee\x80\x80", 6, "???\xee\x80\x80"},
		{"\xf0\x80\x80\x80\xf0\x8f\xbf\xbf", 8, "????????"},
		{"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
		{"\xf4\x90\x80\x80\xf5\x80\x80\x80", 8, "????????"},
		{"\xf8\x88\x80\x80\x80\xfe\xff", 7, "???????"},
		{"\xf9\x90\x80\x80\xfc\x80\x80\x80", 8, "????????"},
		{"\xe7\xbe", 2, "??"},
		{"\xe7\xbe\xa4\xe7", 4, "\xe7\xbe\xa4?"},
		{"\xc3" "a\xe7" "b\xe7\xbe" "c\xf0\x9f\x98" "d", 11, "?a?b??c???d"},
		{"\xef\xbf\xbd", 3, FFFD},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
	{
		char	   *copy = exact_copy(cases[i].text, cases[i].len);
		size_t		len;

		memset(out, 0x7f, sizeof(out));
		len = im_text_clean(copy, cases[i].len, out, sizeof(out));
		is_str(out, cases[i].clean, "clean text %d", (int) i);
		is_int((int64_t) len, (int64_t) strlen(cases[i].clean), "its length");
		free(copy);
	}
	is_int((int64_t) im_text_clean("abc", 3, out, 3), 2, "bounded");
	is_str(out, "ab", "to what fits");
	is_int((int64_t) im_text_clean("a\xc3\xa9" "b", 4, out, 3), 1, "nothing after a character that does not fit");
	is_str(out, "a", "cut between characters");
	is_int((int64_t) im_text_clean("a\xc3\xa9" "b", 4, out, 4), 3, "a character that just fits");
	is_int((int64_t) im_text_clean("abc", 3, out, 1), 0, "room for the terminator only");
	is_str(out, "", "is empty");
	out[0] = 'x';
	is_int((int64_t) im_text_clean("abc", 3, out, 0), 0, "no room at all");
	is_int(out[0], 'x', "is not written to");
}

/* Bytes that no ASCII is become question marks, one each. */
static void
test_mask(void)
{
	char		text[] = "a\xc3\xa9~\x7f\x80\xff";

	im_text_mask(text);
	is_str(text, "a??~\x7f??", "masked");
	im_text_mask(text + strlen(text));
	is_str(text, "a??~\x7f??", "an empty text ends at once");
}

/* The printable characters of ASCII, at their edges. */
static void
test_printable(void)
{
	ok(im_text_is_printable("", 0), "nothing is printable");
	ok(im_text_is_printable(" aZ9~", 5), "from space to tilde");
	ok(!im_text_is_printable("a\x1f", 2), "not below");
	ok(!im_text_is_printable("\x7f", 1), "not DEL");
	ok(!im_text_is_printable("\xc3\xa9", 2), "not what is not ASCII");
	ok(!im_text_is_printable("a\0b", 3), "not NUL");
	ok(!im_text_is_printable_char(IM_TEXT_BAD_BYTE | 'a'), "not a bad byte");
	ok(im_text_is_digit('0') && im_text_is_digit('9'), "digits");
	ok(!im_text_is_digit('/') && !im_text_is_digit(':'), "and their neighbours");
}

/* Numbers of characters as UTF-8. */
static void
test_clean_char(void)
{
	char		out[4];

	is_int((int64_t) im_text_clean_char(0x7ff, out), 2, "two bytes");
	is_int((int64_t) im_text_clean_char(0x800, out), 3, "three bytes");
	is_int((int64_t) im_text_clean_char(0x1f600, out), 4, "four bytes");
	ok(memcmp(out, "\xf0\x9f\x98\x80", 4) == 0, "and the right ones");
	is_int((int64_t) im_text_clean_char(0xd800, out), 3, "half of a pair");
	ok(memcmp(out, FFFD, 3) == 0, "is replaced");
	is_int((int64_t) im_text_clean_char(0x9f, out), 0, "no control character");
}

int
main(void)
{
	test_clean();
	test_mask();
	test_printable();
	test_clean_char();
	return tap_done();
}
