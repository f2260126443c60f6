/*
 * test_values.c
 *	  What options may be, at the edges.  The words around them, and the rights,
 *	  are in test/sql/options.sql.
 */
#include "tap.h"
#include "values.h"

#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* Times: units, fractions, blanks, and what is none. */
static void
test_times(void)
{
	static const struct
	{
		const char *text;
		int			ms;			/* 0: refused */
	}			cases[] = {
		{"15s", 15000}, {" 15 s ", 15000}, {"15000", 15000}, {"15000ms", 15000}, {"2.5s", 2500},
		{"10min", 600000}, {"0.1h", 360000}, {"1000000us", 1000}, {"1s", 1000}, {"600s", 600000},
		{"999ms", 0}, {"601s", 0}, {"15", 0}, {"1d", 0}, {"", 0}, {"s", 0}, {"15 S", 0}, {"15 m", 0},
		{"15sec", 0}, {"15s s", 0}, {"15s;", 0}, {"-15s", 0}, {"nan", 0}, {"inf s", 0}, {"1e400s", 0}, {"1e-400s", 0},
	};

	for (int i = 0; i < COUNT(cases); i++)
	{
		int			ms;
		bool		good = im_value_time(cases[i].text, 1000, 600000, &ms);

		is_int(good ? ms : 0, cases[i].ms, "time \"%s\"", cases[i].text);
	}
}

/* Numbers: nothing but a number, and it must be one. */
static void
test_numbers(void)
{
	static const char *const bad[] = {"", " ", "fast", "NaN", "-nan", "inf", "1e999", "0", "0.0009", "-1", "1,5", "5x", "1000000.1"};
	static const char *const good[] = {"0.001", "1e-3", "200", " 200 ", "1000000", "0.5", "+7"};
	double		number;
	int64_t		whole;

	for (int i = 0; i < COUNT(bad); i++)
		ok(!im_value_number(bad[i], 0.001, 1000000, &number), "no number: \"%s\"", bad[i]);
	for (int i = 0; i < COUNT(good); i++)
		ok(im_value_number(good[i], 0.001, 1000000, &number), "a number: \"%s\"", good[i]);
	ok(im_value_whole("9223372036854775807", 1, INT64_MAX, &whole) && whole == INT64_MAX, "the greatest whole number");
	ok(!im_value_whole("9223372036854775808", 1, INT64_MAX, &whole), "one more is refused");
	ok(!im_value_whole("1.0", 1, 10, &whole) && !im_value_whole("", 0, 10, &whole), "no fraction, and not nothing");
}

/* Where keys could be sent. */
static void
test_endpoints(void)
{
	static const char *const bad[] = {
		"https://", "https:///", "https://a//", "https://a/b", "https://a?b", "https://a#b", "https://u@a", "https://a:", "https://a:0",
		"https://a:65536", "https://a: 80", "https://a:-1", "https://a b", "https://a\n", "https://[::1", "https://[::1]x", "https://[a]",
		"https://\xc3\xa9", "https://.a", "http://a", "http://127.1", "http://localhostx", "http://127.0.0.1.a", "http://[::2]",
		"http://[::ffff:127.0.0.1]", "http:/127.0.0.1", "ftp://127.0.0.1", "httpsx://a", "https",
	};
	char		url[IM_URL_MAX + 1];
	char		longest[400] = "https://";
	bool		plain;

	for (int i = 0; i < COUNT(bad); i++)
		ok(!im_value_endpoint(bad[i], url, &plain), "no endpoint: \"%s\"", bad[i]);
	ok(im_value_endpoint("HTTPS://A.example:443/", url, &plain) && !plain, "scheme in any case, port, slash");
	is_str(url, "https://A.example:443", "is made plain");
	ok(im_value_endpoint("http://LocalHost:1", url, &plain) && plain, "localhost");
	ok(im_value_endpoint("http://127.255.255.255", url, &plain) && plain, "127/8");
	ok(im_value_endpoint("http://[::1]:65535", url, &plain) && plain, "::1");
	memset(longest + 8, 'a', 253);
	ok(im_value_endpoint(longest, url, &plain) && strcmp(url, longest) == 0, "253 bytes of host");
	strcpy(longest + 8 + 253, ":65535");
	ok(im_value_endpoint(longest, url, &plain) && strcmp(url, longest) == 0, "and a port");
	memset(longest + 8, 'a', 254);
	longest[8 + 254] = '\0';
	ok(!im_value_endpoint(longest, url, &plain), "254 bytes of host");
	memset(longest + 8, 'a', 390);
	longest[398] = '\0';
	ok(!im_value_endpoint(longest, url, &plain), "390 bytes of host");
}

/* Keys and names. */
static void
test_words(void)
{
	char		key[IM_KEY_MAX + 1];
	char		text[IM_KEY_MAX + 4];

	memset(text, 'k', sizeof(text));
	ok(im_value_key(text, IM_KEY_MAX, key) && strlen(key) == IM_KEY_MAX, "a key of 256 bytes");
	ok(!im_value_key(text, IM_KEY_MAX + 1, key) && key[0] == '\0', "257 are refused");
	ok(im_value_key(" \tk1\r\n", 6, key), "white space around a key");
	is_str(key, "k1", "is no part of it");
	ok(!im_value_key("k 1", 3, key) && !im_value_key("k\0" "1", 3, key) && !im_value_key("k\x7f", 2, key), "nothing odd within");
	ok(!im_value_key("", 0, key) && !im_value_key(" \n", 2, key), "an empty key");
	ok(im_value_key("\xc2\xa0k", 3, key) && strlen(key) == 3, "a byte over 0x7f is no white space in any locale");
	ok(im_value_identifier("a b", 3, 3) && !im_value_identifier("a b", 3, 2) && !im_value_identifier("", 0, 2), "a name's length");
	ok(!im_value_identifier("a\n", 2, 9) && !im_value_identifier("a\0b", 3, 9) && !im_value_identifier("\x7f", 1, 9), "and characters");
}

int
main(void)
{
	test_times();
	test_numbers();
	test_endpoints();
	test_words();
	return tap_done();
}
