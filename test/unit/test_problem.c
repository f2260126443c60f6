/*
 * test_problem.c
 *	  Lines that say what is wrong: where one ends, and of which kind it is.
 */
#include "problem.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A problem and its kind. */
static const struct
{
	const char *problem;
	const char *kind;
}			kinds[] = {
	{"name is 120 bytes, the limit is 100 (20 over)", "name is over 100 bytes"},
	{"name is 7 bytes, the limit is 100 (20 over)", "name is over 100 bytes"},
	{"name is 120 bytes, the limit is 100", "name is 120 bytes, the limit is 100"},
	{"max_member_num is 0, the least is 1", "max_member_num is under 1"},
	{"max_member_num is -3, the least is 1", "max_member_num is under 1"},
	{"create_time is 99 seconds in the future", "create_time is in the future"},
	{"type is \"Foo\", allowed Public, Private", "type is none of those that are allowed; allowed Public, Private"},
	{"value for key \"k1\" is missing", "value for key \"...\" is missing"},
	{"not a UserID: \"a\\\"b\"", "not a UserID"},
	{"not a UserID: \"a\" or so", "not a UserID: \"a\" or so"},
	{"not a UserID: \"open", "not a UserID: \"open"},
	{"text and body are both missing", "text and body are both missing"},
	{"send_time is moved by 7 seconds, too far (before, the service said: 10004 sender \"u17\", no)", "send_time is moved, too far"},
	{" (before, the service said: ", ""},
	{"the word \" is 5, the least is 1\" is its own", "the word \" is 5, the least is 1\" is its own"},
	{"", ""},
};

/* The kind of exactly these bytes, in a place that is just large enough. */
static void
check_kind(const char *problem, const char *expected)
{
	size_t		len = strlen(problem);
	char	   *text = exact_copy(problem, len);
	char	   *out = malloc(len + IM_PROBLEM_GROWTH + 1);
	size_t		n = im_problem_kind(text, len, out);

	ok(n <= len + IM_PROBLEM_GROWTH, "the kind of \"%s\" has its place", problem);
	out[n] = '\0';
	is_str(out, expected, "the kind of \"%s\"", problem);
	free(text);
	free(out);
}

/* Where the first of several problems ends. */
static void
test_length(void)
{
	static const struct
	{
		const char *text;
		size_t		len;
	}			cases[] = {
		{"a; b", 1},
		{"a;b", 3},
		{"", 0},
		{"; b", 0},
		{"one alone", 9},
		{"x: \"a; b\"; c", 9},
		{"x: \"a\\\"; b\"; c", 11},
		{"x: \"open; b", 8},
		{"a;", 2},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
	{
		size_t		len = strlen(cases[i].text);
		char	   *text = exact_copy(cases[i].text, len);

		is_int((int64_t) im_problem_length(text, len), (int64_t) cases[i].len, "the first problem of \"%s\"", cases[i].text);
		free(text);
	}
}

/* The kind never outgrows its place, whatever the line repeats. */
static void
test_bounded(void)
{
	static const char *const pieces[] = {
		" is 1, the least is 2", " for key \"\"", " is \"\", allowed ", " is 1 seconds in the future",
		" 1, the limit is 2 (3 over)", ": \"\"", "\"", "\\", "x"
	};
	uint32_t	random = 1;
	bool		held = true;

	for (int i = 0; i < 20000; i++)
	{
		char		line[1024] = "";
		char	   *out;
		size_t		len;

		for (int n = 0; n < 12; n++)
		{
			random = random * 1103515245u + 12345u;
			strcat(line, pieces[(random >> 16) % COUNT(pieces)]);
		}
		len = strlen(line);
		out = malloc(len + IM_PROBLEM_GROWTH);
		held = im_problem_kind(line, len, out) <= len + IM_PROBLEM_GROWTH && held;
		held = im_problem_length(line, len) <= len && held;
		free(out);
	}
	ok(held, "20,000 lines of pieces: the kind has its place");
}

int
main(void)
{
	test_length();
	for (size_t i = 0; i < COUNT(kinds); i++)
		check_kind(kinds[i].problem, kinds[i].kind);
	test_bounded();
	return tap_done();
}
