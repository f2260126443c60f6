/*
 * problem.c
 *	  Lines that say what is wrong with a record, read again: where one ends,
 *	  and of which kind it is.
 *
 * Must not know columns or limits: the grammar in problem.h is all there is.
 *
 * The surprising rule: millions of lines are counted by kind, and a regular
 * expression takes longer than finding the problem.  So each pattern below is
 * tried once where its first character stands, and nothing is tried twice.
 */
#include <stdbool.h>
#include <string.h>

#include "problem.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_PARTS		4

/* A piece of a text. */
typedef struct Part
{
	const char *start;
	size_t		len;
} Part;

/*
 * Patterns and what they become.  # is a whole number, * a quoted value, ~ a
 * few words or nothing, $ the end of the text; anything else is itself.  In
 * the kind $1 is what the first ~ or kept number (%) has taken, and so on.
 */
static const struct
{
	const char *pattern;
	const char *kind;
}			rules[] = {
	{" #~, the limit is %~ (# over)", " over $2$1$3"},
	{" is #, the least is %", " is under $1"},
	{" is # seconds in the future", " is in the future"},
	{" moved by # seconds", " moved"},
	{" is *, allowed ", " is none of those that are allowed; allowed "},
	{" for key *", " for key \"...\""},
	{": *$", ""},
};

/* The length of a whole number, 0 if there is none. */
static size_t
number_length(const char *p, const char *end)
{
	const char *start = p;

	if (p < end && *p == '-')
		p++;
	if (p == end || *p < '0' || *p > '9')
		return 0;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return (size_t) (p - start);
}

/* The length of a quoted value with its marks, 0 if there is none. */
static size_t
quoted_length(const char *p, const char *end)
{
	const char *start = p;

	if (p == end || *p != '"')
		return 0;
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\' && p + 1 < end)
			p++;
	return p < end ? (size_t) (p + 1 - start) : 0;
}

/* The length of a few words. */
static size_t
words_length(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && strchr(",;:()\"", *p) == NULL)
		p++;
	/* the blank before a parenthesis is not theirs */
	if (p > start && p < end && *p == '(' && p[-1] == ' ')
		p--;
	return (size_t) (p - start);
}

/* The length of what a pattern's character stands for; false if it is not there. */
static bool
match_one(char c, const char *p, const char *end, size_t *len)
{
	switch (c)
	{
		case '#':
		case '%':
			*len = number_length(p, end);
			return *len > 0;
		case '*':
			*len = quoted_length(p, end);
			return *len > 0;
		case '~':
			*len = words_length(p, end);
			return true;
		case '$':
			*len = 0;
			return p == end;
		default:
			*len = 1;
			return p < end && *p == c;
	}
}

/* The length of the text that a pattern matches from p on, 0 if it does not. */
static size_t
match(const char *pattern, const char *p, const char *end, Part *parts)
{
	const char *start = p;
	int			n = 0;
	size_t		len;

	for (; *pattern != '\0'; pattern++, p += len)
	{
		if (!match_one(*pattern, p, end, &len))
			return 0;
		if (*pattern == '%' || *pattern == '~')
			parts[n++] = (Part) {p, len};
	}
	return (size_t) (p - start);
}

/* True if what the service said before begins here: it is no part of the kind. */
static bool
said_before(const char *p, const char *end)
{
	size_t		len = strlen(IM_SAID_BEFORE);

	return (size_t) (end - p) >= len && memcmp(p, IM_SAID_BEFORE, len) == 0;
}

/* Writes a kind with its parts; returns where it ends. */
static char *
put_kind(const char *kind, const Part *parts, char *out)
{
	for (; *kind != '\0'; kind++)
	{
		if (*kind == '$')
		{
			const Part *part = &parts[*++kind - '1'];

			memcpy(out, part->start, part->len);
			out += part->len;
		}
		else
			*out++ = *kind;
	}
	return out;
}

/* See problem.h. */
size_t
im_problem_length(const char *text, size_t len)
{
	const char *end = text + len;
	const char *p = text;

	while (p < end)
	{
		size_t		quoted = quoted_length(p, end);

		if (*p == ';' && p + 1 < end && p[1] == ' ')
			break;
		p += quoted > 0 ? quoted : 1;
	}
	return (size_t) (p - text);
}

/* See problem.h. */
size_t
im_problem_kind(const char *text, size_t len, char *out)
{
	const char *end = text + len;
	const char *p = text;
	char	   *o = out;
	bool		used[COUNT(rules)] = {false};

	while (p < end && !said_before(p, end))
	{
		Part		parts[MAX_PARTS];
		size_t		n = 0;

		/* each rule once: only so is the kind's length bounded */
		for (size_t i = 0; i < COUNT(rules) && n == 0; i++)
		{
			if (used[i] || rules[i].pattern[0] != *p)
				continue;
			n = match(rules[i].pattern, p, end, parts);
			if (n > 0)
			{
				o = put_kind(rules[i].kind, parts, o);
				used[i] = true;
			}
		}
		if (n == 0)
		{
			/* what is quoted elsewhere is the problem's own word */
			n = quoted_length(p, end);
			n = n > 0 ? n : 1;
			memcpy(o, p, n);
			o += n;
		}
		p += n;
	}
	return (size_t) (o - out);
}
