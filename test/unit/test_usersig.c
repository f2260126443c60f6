/*
 * test_usersig.c
 *	  Signs and decodes UserSigs against vectors that the service's own signer
 *	  for Node.js made (test/data/usersig-vectors.json has the same ones).
 *
 * The string itself is never compared: its bytes depend on zlib's version.
 */
#include <zlib.h>

#include "tap.h"
#include "usersig.h"

#define KEY_1 "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
#define KEY_2 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define T0 INT64_C(1795392000)	/* 2026-11-23 00:00:00 UTC */

typedef struct Vector
{
	const char *name;
	int64_t		sdkappid;
	const char *key;
	const char *identifier;
	int64_t		time;
	int64_t		expire;
	const char *json;
	const char *hmac;
	const char *sig;
} Vector;

/* V: plain; U: with a userbuf, which we decode but never sign. */
static const Vector vectors[] = {
	{"V1 plain ASCII id", 1400000000LL, KEY_1, "administrator", 1795392000LL, 86400LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"administrator\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":86400,\"TLS.sig\":\"F8ixUclNM7cVjOEC6owSUTNnqkreW0f75hAQfVPIbTc=\"}",
		"F8ixUclNM7cVjOEC6owSUTNnqkreW0f75hAQfVPIbTc=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc-x8zZPDsvxdnc3yy4NDQ-zyCrOLUsMN0sxNMxwD08ICPJNCkm2VagHDCzRq"},
	{"V2 180-day default", 1400000000LL, KEY_1, "xiaojun", 1795392000LL, 15552000LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"xiaojun\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":15552000,\"TLS.sig\":\"LeY/pH2TxQOJYTmV3wfMj2jGXM2+Np4JxQ6uk4lnaFk=\"}",
		"LeY/pH2TxQOJYTmV3wfMj2jGXM2+Np4JxQ6uk4lnaFk=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwhWZiflZpXlQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmluaGlsawUVTKwoyi0DipqamCNHizHQlKyWf1Ej9Ag*jkIpAf6-IkNww4-I03yyjLPcIXyNtvwITr4pAs9Jsk5y8RLdsW6VaAJ*NMhA_"},
	{"V3 spaces and URL-reserved ASCII", 1400000000LL, KEY_1, "im admin+ops/1=2&x%", 1795392000LL, 86400LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"im admin+ops/1=2&x%\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":86400,\"TLS.sig\":\"9QmALH3Zy0l6TVbux3flOjiUJo+6Wt3wxBC29Jau6bs=\"}",
		"9QmALH3Zy0l6TVbux3flOjiUJo+6Wt3wxBC29Jau6bs=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwpm5CokpuZl52vkFxfqGtkZqFapQZcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayULANzHX08jKMqDXLMQsKSSiuM03L8szJDvfK1zcJLjMsrnJyNLL0SS82Sim2VagFU3DSb"},
	{"V4 UTF-8 id (outside documented charset)", 1400000000LL, KEY_1, "\xe7\xae\xa1\xe7\x90\x86\xe5\x91\x98 \xc3\xa9", 1795392000LL, 7200LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"\xe7\xae\xa1\xe7\x90\x86\xe5\x91\x98 \xc3\xa9\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":7200,\"TLS.sig\":\"NvoKR1MsB1L4yZNmXnsiTPN80CFiWGkTNaqThyEIEZM=\"}",
		"NvoKR1MsB1L4yZNmXnsiTPN80CFiWGkTNaqThyEIEZM=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBws-XLXw*oe3pxBkKh1dC5YtTshMLCjJTlKwMTQygACJTkpmbqmRlaG5pamxpBBdNrSjILEpVsjI3gokUZ6YrWSn5leV7Bxn6FjsZ*phURvnlRuQVZ4YE*FkYOLtlhrtnh-glFoZkVLp6ukb52irVAgCyDDZC"},
	{"V5 32-byte id (documented maximum)", 20000001LL, KEY_2, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123", 1795392000LL, 604800LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123\",\"TLS.sdkappid\":20000001,\"TLS.time\":1795392000,\"TLS.expire\":604800,\"TLS.sig\":\"A7DvSQW6KLqrE5nU4xX2TA2EzepeTW31aN+jIIWsZYs=\"}",
		"A7DvSQW6KLqrE5nU4xX2TA2EzepeTW31aN+jIIWsZYs=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwo5Ozi6ubu4enl7ePr5*-gGBQcEhoWHhEZFR8boGhkbGUD3FKdmJBQWZKUpWRgZgYAgRL8nMTVWyMjS3NDW2BMlARFMrCjKLUpWszAxMLGBixZnpIOvMXcqCA8PNvH0Ki1xN80JNKiKMQhyNXKtSC1JDwo0NE-20szw9w4ujIottlWoBhtY3Ng__"},
	{"V6 maximum expire 50 years, 10-digit sdkappid", 1600000001LL, KEY_2, "admin", 1795392000LL, 1576800000LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"admin\",\"TLS.sdkappid\":1600000001,\"TLS.time\":1795392000,\"TLS.expire\":1576800000,\"TLS.sig\":\"4QIYGq8qHqJUmvb0/u65R6Xy0Gp6FFgfFlQcnsW+/VE=\"}",
		"4QIYGq8qHqJUmvb0/u65R6Xy0Gp6FFgfFlQcnsW+/VE=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5UInilOzEgoLMFCUrQzMDCDCEyJRk5qYqWRmaW5oaWxoZGBhARFMrCjKLQOKm5mYWYOVQczLTlayUTAI9I90LLQo9Cr1Cc8uSDPRLzUyDzCIqDdwLzNzc0tPccgKT84rDtfXDXG2VagFbMDEd"},
	{"V7 id needing JSON escapes", 1400000000LL, KEY_1, "a\"b\\c", 1795392000LL, 86400LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"a\\\"b\\\\c\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":86400,\"TLS.sig\":\"h0pUXYfAZOh/cBSBzs1xjTW27Zqop4TO+T/3x0xgkS4=\"}",
		"h0pUXYfAZOh/cBSBzs1xjTW27Zqop4TO+T/3x0xgkS4=",
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokxSkkxMclQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmluaGlsawUVTKwoyi1KVrCzMTGBCxZnpSlZKGQYFoRGRaY5R-hn6yU7BTlXFhhVZIeFG5lGF*QUmIf7aIfrGFQYV6dnBJrZKtQDUIjDM"},
	{"U1 userbuf numeric room 10000, privilege 255", 1400000000LL, KEY_1, "xiaojun", 1795392000LL, 86400LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"xiaojun\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":86400,\"TLS.userbuf\":\"AAAHeGlhb2p1blNyTgAAACcQawTTgAAAAP8AAAAA\",\"TLS.sig\":\"W82B2t0Y3Vaxvbu/+BErJpudc7ra/GWgcnKumjJtuYw=\"}",
		"W82B2t0Y3Vaxvbu/+BErJpudc7ra/GWgcnKumjJtuYw=",
		"eJw9jcEKgkAYhN-lvxapa6UtdFgjDIsoksTjqputqS2rq0b07pFZcxhmvjnME-zdadIwCRjQRIdx33nCyppfeI87Tu*ZKoepSm5UCJ4ANqb6oO9S84IBNqzFzFygP2Wd4JIBtufTH1IVk5G6AAZCyIa5*TVCwojy-cNPCSGr*Ehbv4-kYH*c-L55ChgCGzmo1kPzTLsmUtrIWUtPqCS2JNXcII3LrSoyr1Zhu4TXGxgvQ7A_"},
	{"U2 userbuf string room \"1000000040\", privilege 255", 1400000000LL, KEY_1, "xiaojun", 1795392000LL, 86400LL,
		"{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"xiaojun\",\"TLS.sdkappid\":1400000000,\"TLS.time\":1795392000,\"TLS.expire\":86400,\"TLS.userbuf\":\"AQAHeGlhb2p1blNyTgAAAAAAawTTgAAAAP8AAAAAAAoxMDAwMDAwMDQw\",\"TLS.sig\":\"/p3z8hZNjQLFrq7KpBhl5x63BVqW5er91Uh1WeSyGcM=\"}",
		"/p3z8hZNjQLFrq7KpBhl5x63BVqW5er91Uh1WeSyGcM=",
		"eJw9jsEKgkAYhN-lP0e1mqkLHTaigjKSLKGb5q*7ZbptmVb07oFbDQzMfHOZFwTLTfeOCigY3T502i4SLG4iFS1uRFQeq*I7XZNTJKVIgJJB-yu93MQZgRLbtUzX*FNspFAI1BkOfqi6ooqrFCgwn81xlvPYkCTOV48gY62iOtBx7WjAysabsFrbr39fRAYUetJ8Ony-OvrLqbrYCznmudUMzfHuElqoXLLlJMTNY3bwRvD*AIGTSDI_"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Signs with everything but the given parts taken from the first vector. */
static ImSigResult
sign(const char *identifier, const char *key, size_t key_len,
	 int64_t sdkappid, int64_t lifetime, char *out)
{
	return im_usersig_sign(sdkappid, key, key_len, identifier, T0, lifetime, out);
}

/* Decodes into json; the result. */
static ImSigResult
decode(const char *sig, size_t len, char *json, size_t *json_len)
{
	char	   *copy = exact_copy(sig, len);
	ImSigResult result = im_usersig_decode(copy, len, json, json_len);

	free(copy);
	return result;
}

/* True if text has only characters of the service's base64. */
static bool
is_service_base64(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-_") == strlen(text);
}

/* The vectors, both ways. */
static void
test_vectors(void)
{
	char		sig[IM_USERSIG_MAX];
	char		json[IM_USERSIG_JSON_MAX];
	size_t		len;

	for (size_t i = 0; i < COUNT(vectors); i++)
	{
		const Vector *v = &vectors[i];
		char		mac[64];

		is_int(decode(v->sig, strlen(v->sig), json, &len), IM_SIG_OK, "%s: decodes", v->name);
		is_str(json, v->json, "%s: decoded text", v->name);
		is_int((int64_t) len, (int64_t) strlen(v->json), "%s: decoded length", v->name);
		if (v->name[0] == 'U')
			continue;
		is_int(im_usersig_sign(v->sdkappid, v->key, strlen(v->key), v->identifier,
							   v->time, v->expire, sig), IM_SIG_OK, "%s: signs", v->name);
		ok(is_service_base64(sig), "%s: alphabet", v->name);
		is_int(decode(sig, strlen(sig), json, &len), IM_SIG_OK, "%s: our own decodes", v->name);
		is_str(json, v->json, "%s: our own text", v->name);
		snprintf(mac, sizeof(mac), "\"%s\"}", v->hmac);
		ok(strstr(json, mac) != NULL, "%s: HMAC", v->name);
	}
}

/* What is refused, and the last that is not. */
static void
test_refused_arguments(void)
{
	char		sig[IM_USERSIG_MAX];
	char		id[IM_IDENTIFIER_MAX + 2];
	char		key[258];
	static const char *const bad_ids[] = {
		"", "a\nTLS.sdkappid:1", "tab\t", "del\x7f", "c1\xc2\x85", "\xff", "a\xc3",
		"over\xc0\xaflong", "half\xed\xa0\x80", "big\xf4\x90\x80\x80",
	};

	for (size_t i = 0; i < COUNT(bad_ids); i++)
	{
		strcpy(sig, "old");
		is_int(sign(bad_ids[i], KEY_1, 64, 1400000000, 60, sig), IM_SIG_BAD_IDENTIFIER,
			   "identifier %d is refused", (int) i);
		is_str(sig, "", "and nothing is handed out");
	}
	memset(id, '"', sizeof(id));
	id[IM_IDENTIFIER_MAX + 1] = '\0';
	is_int(sign(id, KEY_1, 64, 1, 60, sig), IM_SIG_BAD_IDENTIFIER, "257 bytes of identifier");
	id[IM_IDENTIFIER_MAX] = '\0';
	is_int(sign(id, KEY_1, 64, INT64_C(4294967295), IM_LIFETIME_MAX, sig), IM_SIG_OK,
		   "256 bytes of identifier, all quotes");
	memset(key, 'k', sizeof(key));
	is_int(sign("a", key, 0, 1, 60, sig), IM_SIG_BAD_KEY, "no key");
	is_int(sign("a", key, 257, 1, 60, sig), IM_SIG_BAD_KEY, "257 bytes of key");
	is_int(sign("a", key, 256, 1, 60, sig), IM_SIG_OK, "256 bytes of key");
	is_int(sign("a", KEY_1, 64, 1, 0, sig), IM_SIG_BAD_LIFETIME, "no lifetime");
	is_int(sign("a", KEY_1, 64, 1, -1, sig), IM_SIG_BAD_LIFETIME, "negative lifetime");
	is_int(sign("a", KEY_1, 64, 1, IM_LIFETIME_MAX + 1, sig), IM_SIG_BAD_LIFETIME, "over 50 years");
	is_int(sign("a", KEY_1, 64, 1, 1, sig), IM_SIG_OK, "one second");
	is_int(sign("a", KEY_1, 64, 0, 60, sig), IM_SIG_BAD_SDKAPPID, "SDKAppID 0");
	is_int(sign("a", KEY_1, 64, -1, 60, sig), IM_SIG_BAD_SDKAPPID, "negative SDKAppID");
	is_int(sign("a", KEY_1, 64, INT64_C(4294967296), 60, sig), IM_SIG_BAD_SDKAPPID, "SDKAppID over 32 bits");
}

/* Numbers at their edges, and an identifier that doubles in the JSON. */
static void
test_extremes(void)
{
	char		sig[IM_USERSIG_MAX];
	char		json[IM_USERSIG_JSON_MAX];
	char		id[IM_IDENTIFIER_MAX + 1];
	char		expected[2 * IM_IDENTIFIER_MAX + 32];
	size_t		len;

	is_int(im_usersig_sign(1, KEY_1, 64, "a", INT64_MAX, 1, sig), IM_SIG_OK, "the last moment");
	decode(sig, strlen(sig), json, &len);
	ok(strstr(json, "\"TLS.time\":9223372036854775807,") != NULL, "64-bit time");
	im_usersig_sign(INT64_C(4294967295), KEY_1, 64, "a", T0, IM_LIFETIME_MAX, sig);
	decode(sig, strlen(sig), json, &len);
	ok(strstr(json, "\"TLS.sdkappid\":4294967295,") != NULL, "32-bit SDKAppID");

	for (int i = 0; i < IM_IDENTIFIER_MAX; i++)
	{
		id[i] = i % 2 ? '"' : '\\';
		memcpy(expected + 2 * i, i % 2 ? "\\\"" : "\\\\", 3);
	}
	id[IM_IDENTIFIER_MAX] = '\0';
	is_int(sign(id, KEY_1, 64, INT64_C(4294967295), IM_LIFETIME_MAX, sig), IM_SIG_OK, "all escapes");
	is_int(decode(sig, strlen(sig), json, &len), IM_SIG_OK, "all escapes decode");
	ok(strstr(json, expected) != NULL, "each escaped once");
}

/*
 * The key counts as it is written, and nothing but the claims: the same twice
 * is the same, any difference is another HMAC.
 */
static void
test_key(void)
{
	char		one[IM_USERSIG_MAX];
	char		two[IM_USERSIG_MAX];

	sign("a", "00", 2, 1, 60, one);
	sign("a", "00", 2, 1, 60, two);
	is_str(one, two, "the same twice");
	sign("a", "\0", 1, 1, 60, two);
	ok(strcmp(one, two) != 0, "hexadecimal digits are not decoded");
	sign("a", "0", 1, 1, 60, two);
	ok(strcmp(one, two) != 0, "the length of the key counts");
}

/* Encodes bytes in the service's base64, for making bad UserSigs. */
static size_t
encode_base64(const unsigned char *bytes, size_t len, char *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-";
	size_t		used = 0;

	for (size_t i = 0; i < len; i += 3)
	{
		uint32_t	bits = (uint32_t) bytes[i] << 16;

		bits |= i + 1 < len ? (uint32_t) bytes[i + 1] << 8 : 0;
		bits |= i + 2 < len ? bytes[i + 2] : 0;
		out[used++] = alphabet[bits >> 18];
		out[used++] = alphabet[bits >> 12 & 63];
		out[used++] = i + 1 < len ? alphabet[bits >> 6 & 63] : '_';
		out[used++] = i + 2 < len ? alphabet[bits & 63] : '_';
	}
	out[used] = '\0';
	return used;
}

/* Decodes a zlib stream of len bytes 'x'; the result. */
static ImSigResult
decode_of_length(size_t len, size_t *json_len)
{
	static char text[8192];
	unsigned char zipped[512];
	uLongf		zipped_len = sizeof(zipped);
	char		sig[1024];
	char		json[IM_USERSIG_JSON_MAX];
	size_t		sig_len;

	memset(text, 'x', sizeof(text));
	if (compress2(zipped, &zipped_len, (const Bytef *) text, len, 9) != Z_OK)
		abort();
	sig_len = encode_base64(zipped, zipped_len, sig);
	return decode(sig, sig_len, json, json_len);
}

/* Text that is no base64 of the service's kind. */
static void
test_bad_base64(void)
{
	char		json[IM_USERSIG_JSON_MAX];
	char		longest[IM_USERSIG_MAX + 1];
	size_t		len;
	static const char *const bad[] = {
		"", "A", "AA", "AAA", "AAAAA", "AA==", "AAA=", "AA+A", "AA/A", "A___", "____", "A_AA", "_AAA",
		"AA_A", "AA A", "AAA\n", "AA__AAAA", "AB__", "AAB_", "AAA\xc3", "AAA.",
	};

	for (size_t i = 0; i < COUNT(bad); i++)
	{
		memset(json, 'j', sizeof(json));
		is_int(decode(bad[i], strlen(bad[i]), json, &len), IM_SIG_NOT_BASE64, "\"%s\" is not base64",
			   strchr(bad[i], '\n') ? "AAA\\n" : bad[i]);
		ok(json[0] == '\0' && len == 0, "and nothing is handed out");
	}
	is_int(decode("AA\0A", 4, json, &len), IM_SIG_NOT_BASE64, "a NUL byte is not base64");
	memset(longest, 'A', sizeof(longest));
	is_int(decode(longest, IM_USERSIG_MAX, json, &len), IM_SIG_TOO_LONG, "a UserSig of 2048 bytes");
	is_int(decode(longest, IM_USERSIG_MAX - 1, json, &len), IM_SIG_NOT_BASE64, "of 2047: no multiple of 4");
	is_int(decode(longest, IM_USERSIG_MAX - 4, json, &len), IM_SIG_NOT_ZLIB, "of 2044: decoded in full");
}

/* Base64 of something that is no zlib stream, or too long a one. */
static void
test_bad_zlib(void)
{
	char		json[IM_USERSIG_JSON_MAX];
	unsigned char zipped[64];
	uLongf		zipped_len = sizeof(zipped);
	char		sig[128];
	size_t		len;
	const char *good = vectors[0].sig;

	is_int(decode(good, 176, json, &len), IM_SIG_NOT_ZLIB, "the last 20 characters are missing");
	is_int(decode(good, 4, json, &len), IM_SIG_NOT_ZLIB, "three bytes of a stream");
	compress2(zipped, &zipped_len, (const Bytef *) "hello", 5, 6);
	is_int(decode(sig, encode_base64(zipped, zipped_len, sig), json, &len), IM_SIG_OK, "a stream decodes");
	is_str(json, "hello", "whatever it says");
	zipped[zipped_len] = 0;
	is_int(decode(sig, encode_base64(zipped, zipped_len + 1, sig), json, &len), IM_SIG_NOT_ZLIB,
		   "a byte after the stream");
	is_int(decode(sig, encode_base64(zipped + 2, zipped_len - 6, sig), json, &len), IM_SIG_NOT_ZLIB,
		   "raw deflate");
	is_str(json, "", "leaves nothing");
	zipped[zipped_len - 1] ^= 1;
	is_int(decode(sig, encode_base64(zipped, zipped_len, sig), json, &len), IM_SIG_NOT_ZLIB,
		   "a wrong checksum");
	ok(memcmp(json, "\0\0\0\0\0", 5) == 0, "leaves nothing of the text either");
	is_int(decode_of_length(IM_USERSIG_JSON_MAX - 1, &len), IM_SIG_OK, "4095 bytes of text");
	is_int((int64_t) len, IM_USERSIG_JSON_MAX - 1, "in full");
	is_int(decode_of_length(IM_USERSIG_JSON_MAX, &len), IM_SIG_TOO_LONG, "4096 bytes of text");
	is_int(decode_of_length(8192, &len), IM_SIG_TOO_LONG, "8192 bytes of text");
	is_int((int64_t) len, 0, "leave nothing");
	is_int(decode_of_length(0, &len), IM_SIG_OK, "no text at all");
}

/* Every result has words, and cleansing cleanses. */
static void
test_rest(void)
{
	char		secret[] = "secret";

	for (int i = IM_SIG_OK; i <= IM_SIG_TOO_LONG; i++)
		ok(strlen(im_usersig_result_text((ImSigResult) i)) > 5, "words for result %d", i);
	ok(im_usersig_result_text((ImSigResult) 99) != NULL, "and for none such");
	im_usersig_cleanse(secret, sizeof(secret));
	ok(memcmp(secret, "\0\0\0\0\0\0", sizeof(secret)) == 0, "cleansed");
}

int
main(void)
{
	test_vectors();
	test_refused_arguments();
	test_extremes();
	test_key();
	test_bad_base64();
	test_bad_zlib();
	test_rest();
	return tap_done();
}
