/*
 * fuzz_values.c
 *	  Whatever somebody writes into an option, it is refused, or what comes out
 *	  is within the limits and harmless: an endpoint is a scheme, a host and a
 *	  port, and plain HTTP stays on the machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "values.h"

/* Numbers are within their limits, and say the same when written again. */
static void
check_numbers(const char *text)
{
	char		again[64];
	int64_t		whole;
	int64_t		whole_again;
	double		number;
	int			ms;
	int			ms_again;

	if (im_value_whole(text, -5, 4294967295, &whole))
	{
		CHECK(whole >= -5 && whole <= 4294967295);
		snprintf(again, sizeof(again), "%lld", (long long) whole);
		CHECK(im_value_whole(again, whole, whole, &whole_again) && whole_again == whole);
		CHECK(im_value_number(text, -5, 4294967295, &number) && number == (double) whole);
	}
	if (im_value_number(text, 0.001, 1000000, &number))
		CHECK(number >= 0.001 && number <= 1000000);
	if (im_value_time(text, 1000, 600000, &ms))
	{
		CHECK(ms >= 1000 && ms <= 600000);
		snprintf(again, sizeof(again), "%d ms", ms);
		CHECK(im_value_time(again, 1000, 600000, &ms_again) && ms_again == ms);
	}
}

/* A host name or address that a URL may hold; *end is what follows. */
static void
check_host(const char *host, const char **end)
{
	bool		bracket = *host == '[';
	const char *allowed = bracket ? "0123456789abcdefABCDEF:." :
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t		len;

	host += bracket ? 1 : 0;
	len = strspn(host, allowed);
	CHECK(len > 0 && len <= 253);
	CHECK(!bracket || host[len] == ']');
	*end = host + len + (bracket ? 1 : 0);
}

/* True for what is_loopback() of values.c may say yes to, in other words. */
static bool
never_leaves(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strncasecmp(host, "localhost", 9) == 0 ||
		(host[0] == '[' && strspn(host + 1, "0:.1") == strcspn(host + 1, "]"));
}

/* A URL has no path, no query, no user; plain HTTP none but this machine. */
static void
check_endpoint(const char *text)
{
	char		url[IM_URL_MAX + 1];
	char		again[IM_URL_MAX + 1];
	const char *host;
	const char *end;
	bool		plain;
	bool		plain_again;

	memset(url, 'x', sizeof(url));
	if (!im_value_endpoint(text, url, &plain))
		return;
	CHECK(memchr(url, '\0', sizeof(url)) != NULL);
	CHECK(strncmp(url, plain ? "http://" : "https://", plain ? 7 : 8) == 0);
	host = url + (plain ? 7 : 8);
	check_host(host, &end);
	CHECK(*end == '\0' || (*end == ':' && strspn(end + 1, "0123456789") == strlen(end + 1)));
	CHECK(*end == '\0' || (atol(end + 1) >= 1 && atol(end + 1) <= 65535));
	CHECK(!plain || never_leaves(host));
	CHECK(im_value_endpoint(url, again, &plain_again) && plain_again == plain);
	CHECK(strcmp(url, again) == 0);
}

/* A key is one word; white space around it changes nothing. */
static void
check_key(const char *text, size_t len)
{
	char		key[IM_KEY_MAX + 1];
	char		again[IM_KEY_MAX + 1];
	char		padded[IM_KEY_MAX + 8];

	memset(key, 'x', sizeof(key));
	if (!im_value_key(text, len, key))
	{
		CHECK(key[0] == '\0');
		return;
	}
	CHECK(strlen(key) >= 1 && strlen(key) <= IM_KEY_MAX && strlen(key) <= len);
	for (const char *p = key; *p != '\0'; p++)
		CHECK((unsigned char) *p > ' ' && *p != 0x7f);
	snprintf(padded, sizeof(padded), " \t%s\r\n", key);
	CHECK(im_value_key(padded, strlen(padded), again) && strcmp(key, again) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	bool		second;

	CHECK(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_numbers(text);
	check_endpoint(text);
	check_key((const char *) data, size);
	if (im_value_identifier((const char *) data, size, 256))
		CHECK(size > 0 && size <= 256 && strlen(text) == size && strpbrk(text, "\n\r\t\x7f") == NULL);
	if (im_value_word(text, "hold", "continue", &second))
		CHECK(strcmp(text, second ? "continue" : "hold") == 0);
	free(text);
	return 0;
}
