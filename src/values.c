/*
 * values.c
 *	  Values of options: from what a person writes to what can be used.
 *
 * Must not know PostgreSQL, nor which option has which value: so it can be
 * fuzzed without a server.  Characters are ASCII whatever the locale says,
 * because a byte that is a letter or a space in one locale is half a character
 * in another.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "values.h"

#define HOST_MAX		253		/* of a name, in bytes */
/* A host, its brackets, a colon and a port. */
#define AUTHORITY_MAX	(HOST_MAX + 8)
#define PORT_MAX		65535
#define BLANKS			" \t\n\v\f\r"

/* A unit of time, as postgresql.conf spells it. */
typedef struct Unit
{
	const char *name;
	double		ms;
} Unit;

static const Unit units[] = {
	{"us", 0.001}, {"ms", 1}, {"", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};

#define NUNITS	(sizeof(units) / sizeof(units[0]))

/* ---- characters ---- */

/* What may stand around a value. */
static bool
is_blank(char c)
{
	return c != '\0' && strchr(BLANKS, c) != NULL;
}

/* ASCII letters and digits. */
static bool
is_alnum(char c)
{
	return im_text_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* True if text begins with a word of lower case, in any case. */
static bool
begins_with(const char *text, const char *word)
{
	for (; *word != '\0'; text++, word++)
		if ((*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text) != *word)
			return false;
	return true;
}

/* ---- numbers and words ---- */

/* See values.h. */
bool
im_value_whole(const char *text, int64_t min, int64_t max, int64_t *whole)
{
	char	   *end;

	errno = 0;
	*whole = strtoimax(text, &end, 10);
	return end != text && *end == '\0' && errno == 0 && *whole >= min && *whole <= max;
}

/* See values.h. */
bool
im_value_number(const char *text, double min, double max, double *number)
{
	char	   *end;

	*number = strtod(text, &end);
	/* no number at all compares to nothing, and infinity is over any limit */
	return end != text && end[strspn(end, BLANKS)] == '\0' && *number >= min && *number <= max;
}

/* See values.h. */
bool
im_value_time(const char *text, int min, int max, int *ms)
{
	char	   *end;
	double		number = strtod(text, &end);
	const char *unit = end + strspn(end, BLANKS);
	size_t		len = strcspn(unit, BLANKS);
	bool		known = false;

	*ms = 0;
	for (size_t i = 0; i < NUNITS && !known; i++)
	{
		known = strlen(units[i].name) == len && memcmp(units[i].name, unit, len) == 0;
		if (known)
			number *= units[i].ms;
	}
	if (end == text || !known || unit[len + strspn(unit + len, BLANKS)] != '\0' ||
		!(number >= min && number <= max))
		return false;
	*ms = (int) (number + 0.5);
	return true;
}

/* See values.h. */
bool
im_value_word(const char *text, const char *first, const char *other, bool *second)
{
	*second = strcmp(text, other) == 0;
	return *second || strcmp(text, first) == 0;
}

/* ---- endpoints ---- */

/* True for addresses and names that never leave the machine. */
static bool
is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strlen(host) == strlen("localhost") && begins_with(host, "localhost"))
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* True for a name or IPv4 address of harmless characters. */
static bool
is_host_name(const char *host)
{
	const char *p;

	for (p = host; *p != '\0'; p++)
		if (!is_alnum(*p) && strchr(".-_", *p) == NULL)
			return false;
	return p > host && p - host <= HOST_MAX && is_alnum(*host);
}

/*
 * Splits "host[:port]" or "[address][:port]" in place; false if it is
 * anything else, as with a path, a query or a user.
 */
static bool
split_host(char *authority, char **host)
{
	struct in6_addr v6;
	bool		bracket = authority[0] == '[';
	char	   *end = strchr(authority, bracket ? ']' : ':');
	int64_t		port;

	*host = authority + (bracket ? 1 : 0);
	if (end == NULL)
		return !bracket && is_host_name(*host);
	if (bracket)
		*end++ = '\0';
	if (*end != '\0')
	{
		if (*end != ':' || !im_text_is_digit(end[1]) || !im_value_whole(end + 1, 1, PORT_MAX, &port))
			return false;
		*end = '\0';
	}
	return bracket ? inet_pton(AF_INET6, *host, &v6) == 1 : is_host_name(*host);
}

/* See values.h. */
bool
im_value_endpoint(const char *text, char *url, bool *plain)
{
	char		authority[AUTHORITY_MAX + 1];
	char	   *host;
	size_t		len;

	*plain = begins_with(text, "http://");
	url[0] = '\0';
	if (!*plain && !begins_with(text, "https://"))
		return false;
	text += *plain ? 7 : 8;
	len = strlen(text);
	if (len > 0 && text[len - 1] == '/')
		len--;
	if (len > AUTHORITY_MAX)
		return false;
	snprintf(url, IM_URL_MAX + 1, "%s://%.*s", *plain ? "http" : "https", (int) len, text);
	memcpy(authority, text, len);
	authority[len] = '\0';
	return split_host(authority, &host) && (!*plain || is_loopback(host));
}

/* ---- names and keys ---- */

/* See values.h. */
bool
im_value_identifier(const char *utf8, size_t len, size_t max)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) utf8[i] < 0x20 || utf8[i] == 0x7f)
			return false;
	return len > 0 && len <= max;
}

/* See values.h. */
bool
im_value_key(const char *text, size_t len, char *out)
{
	for (; len > 0 && is_blank(text[len - 1]); len--)
		;
	for (; len > 0 && is_blank(*text); len--)
		text++;
	out[0] = '\0';
	if (len == 0 || len > IM_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] <= ' ' || text[i] == 0x7f)
			return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}
