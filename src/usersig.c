/*
 * usersig.c
 *	  Signs and decodes UserSigs (TLSSigAPIv2).
 *
 * The only user of OpenSSL and zlib.  Must never know settings, HTTP or SQL.
 *
 * Three rules surprise.  The secret key is used as the characters it is
 * written with: its 64 hexadecimal digits are not decoded.  What is signed is
 * not the JSON within the UserSig but lines of "name:value", the identifier
 * raw there and escaped in the JSON.  And the base64 is of the service's own
 * kind, with * - _ for + / =, which is not RFC 4648's base64url.
 *
 * The bytes of a UserSig depend on the version of zlib: compare what it
 * inflates to, never the string.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>

#include "usersig.h"
#include "utf8.h"

#define KEY_MAX			256		/* bytes */
#define SDKAPPID_MAX	INT64_C(4294967295)
#define MAC_LEN			32		/* SHA-256 */
#define MAC_TEXT_LEN	44		/* its base64 */

/*
 * Buffers for the longest identifier, which doubles in the JSON if it is all
 * quotes, and what surrounds it: names, a version and three numbers.
 */
#define SIGNED_MAX		(IM_IDENTIFIER_MAX + 256)
#define JSON_MAX		(2 * IM_IDENTIFIER_MAX + 256)
/* What fits into a UserSig before base64 makes four characters of three bytes. */
#define ZIPPED_MAX		((IM_USERSIG_MAX - 1) / 4 * 3)

/* What is signed. */
typedef struct Claims
{
	int64_t		sdkappid;
	const char *identifier;
	int64_t		issued_at;
	int64_t		lifetime;
} Claims;

static const char *const result_text[] = {
	[IM_SIG_OK] = "no error",
	[IM_SIG_BAD_IDENTIFIER] = "the identifier is empty, longer than 256 bytes, not valid UTF-8, or has a control character",
	[IM_SIG_BAD_KEY] = "the secret key is empty or longer than 256 bytes",
	[IM_SIG_BAD_LIFETIME] = "the lifetime is not between 1 second and 50 years",
	[IM_SIG_BAD_SDKAPPID] = "the SDKAppID is not between 1 and 4294967295",
	[IM_SIG_CRYPTO] = "the cryptography or compression library failed",
	[IM_SIG_NOT_BASE64] = "the UserSig is not base64 of the service's kind (A-Z a-z 0-9 * - and _ at the end)",
	[IM_SIG_NOT_ZLIB] = "the UserSig is damaged or cut off: what it encodes is not a whole zlib stream",
	[IM_SIG_TOO_LONG] = "the UserSig is too long",
};

/*
 * True if the identifier may stand in a line of its own in the signed text: a
 * line end in it would let it forge the lines that follow.
 */
static bool
identifier_is_good(const char *identifier)
{
	size_t		len = strnlen(identifier, IM_IDENTIFIER_MAX + 1);
	uint32_t	character;

	if (len == 0 || len > IM_IDENTIFIER_MAX)
		return false;
	while (len > 0)
	{
		size_t		n = im_utf8_decode(identifier, len, &character);

		if (n == 0 || im_utf8_is_control(character))
			return false;
		identifier += n;
		len -= n;
	}
	return true;
}

/* IM_SIG_OK, or what is wrong with the arguments of im_usersig_sign(). */
static ImSigResult
check_claims(const Claims *claims, size_t key_len)
{
	if (!identifier_is_good(claims->identifier))
		return IM_SIG_BAD_IDENTIFIER;
	if (key_len == 0 || key_len > KEY_MAX)
		return IM_SIG_BAD_KEY;
	if (claims->lifetime < 1 || claims->lifetime > IM_LIFETIME_MAX)
		return IM_SIG_BAD_LIFETIME;
	if (claims->sdkappid < 1 || claims->sdkappid > SDKAPPID_MAX)
		return IM_SIG_BAD_SDKAPPID;
	return IM_SIG_OK;
}

/*
 * Writes the base64 of the HMAC over the claims to mac_text (MAC_TEXT_LEN + 1
 * bytes).  False if OpenSSL refuses.
 */
static bool
sign_claims(const Claims *claims, const char *key, size_t key_len, char *mac_text)
{
	char		text[SIGNED_MAX];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int mac_len = 0;
	bool		signed_it;
	int			len;

	len = snprintf(text, sizeof(text),
				   "TLS.identifier:%s\n"
				   "TLS.sdkappid:%" PRId64 "\n"
				   "TLS.time:%" PRId64 "\n"
				   "TLS.expire:%" PRId64 "\n",
				   claims->identifier, claims->sdkappid,
				   claims->issued_at, claims->lifetime);
	if (len < 0 || (size_t) len >= sizeof(text))
		return false;
	signed_it = HMAC(EVP_sha256(), key, (int) key_len,
					 (const unsigned char *) text, (size_t) len,
					 mac, &mac_len) != NULL && mac_len == MAC_LEN;
	/* Its length is known: MAC_TEXT_LEN has room for it. */
	if (signed_it)
		EVP_EncodeBlock((unsigned char *) mac_text, mac, MAC_LEN);
	im_usersig_cleanse(mac, sizeof(mac));
	return signed_it;
}

/*
 * Copies an identifier to out (2 * IM_IDENTIFIER_MAX + 1 bytes) as it stands
 * in a JSON string.  identifier_is_good() has refused the control characters,
 * which leaves two bytes to escape.
 */
static void
escape_identifier(const char *identifier, char *out)
{
	for (; *identifier != '\0'; identifier++)
	{
		if (*identifier == '"' || *identifier == '\\')
			*out++ = '\\';
		*out++ = *identifier;
	}
	*out = '\0';
}

/*
 * Writes the signed JSON to out (JSON_MAX bytes).  Returns its length, or -1
 * if it does not fit.
 */
static int
build_json(const Claims *claims, const char *mac_text, char *out)
{
	char		identifier[2 * IM_IDENTIFIER_MAX + 1];
	int			len;

	escape_identifier(claims->identifier, identifier);
	len = snprintf(out, JSON_MAX,
				   "{\"TLS.ver\":\"2.0\","
				   "\"TLS.identifier\":\"%s\","
				   "\"TLS.sdkappid\":%" PRId64 ","
				   "\"TLS.time\":%" PRId64 ","
				   "\"TLS.expire\":%" PRId64 ","
				   "\"TLS.sig\":\"%s\"}",
				   identifier, claims->sdkappid,
				   claims->issued_at, claims->lifetime, mac_text);
	return len < JSON_MAX ? len : -1;
}

/* Turns standard base64 into the service's kind, in place. */
static void
to_service_alphabet(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text == '+')
			*text = '*';
		else if (*text == '/')
			*text = '-';
		else if (*text == '=')
			*text = '_';
	}
}

/* Compresses and encodes json into out (IM_USERSIG_MAX bytes). */
static bool
pack_json(const char *json, size_t len, char *out)
{
	unsigned char zipped[ZIPPED_MAX];
	uLongf		zipped_len = sizeof(zipped);
	bool		packed;

	/* Looked at first: compress2() must never run out of room. */
	packed = compressBound(len) <= sizeof(zipped) &&
		compress2(zipped, &zipped_len, (const Bytef *) json, len,
				  Z_DEFAULT_COMPRESSION) == Z_OK;
	if (packed)
	{
		EVP_EncodeBlock((unsigned char *) out, zipped, (int) zipped_len);
		to_service_alphabet(out);
	}
	im_usersig_cleanse(zipped, sizeof(zipped));
	return packed;
}

/* See usersig.h.  out is empty unless the result is IM_SIG_OK. */
ImSigResult
im_usersig_sign(int64_t sdkappid, const char *key, size_t key_len,
				const char *identifier, int64_t issued_at,
				int64_t lifetime, char *out)
{
	Claims		claims = {sdkappid, identifier, issued_at, lifetime};
	char		mac_text[MAC_TEXT_LEN + 1];
	char		json[JSON_MAX];
	ImSigResult result = check_claims(&claims, key_len);

	out[0] = '\0';
	if (result != IM_SIG_OK)
		return result;
	/* The claims are good: what can fail now is the library. */
	result = IM_SIG_CRYPTO;
	if (sign_claims(&claims, key, key_len, mac_text))
	{
		int			len = build_json(&claims, mac_text, json);

		if (len > 0 && pack_json(json, (size_t) len, out))
			result = IM_SIG_OK;
	}
	im_usersig_cleanse(mac_text, sizeof(mac_text));
	im_usersig_cleanse(json, sizeof(json));
	return result;
}

/* The six bits that a character of the service's base64 stands for, or -1. */
static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '*' ? 62 : c == '-' ? 63 : -1;
}

/*
 * Decodes the service's base64: whole groups of four, padding only at the
 * end, and no bits set that decode to nothing.  A UserSig that only a
 * forgiving decoder reads was damaged on its way.  out takes len / 4 * 3
 * bytes; false leaves it undefined.
 */
static bool
decode_base64(const char *text, size_t len, unsigned char *out, size_t *out_len)
{
	size_t		pad = 0;
	uint32_t	bits = 0;

	if (len == 0 || len % 4 != 0)
		return false;
	/* Only there may padding stand: elsewhere it is no character at all. */
	while (pad < 2 && text[len - 1 - pad] == '_')
		pad++;
	*out_len = 0;
	for (size_t i = 0; i < len; i++)
	{
		int			value = i < len - pad ? sextet(text[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t) value;
		if (i % 4 == 3)
		{
			out[(*out_len)++] = bits >> 16 & 0xff;
			out[(*out_len)++] = bits >> 8 & 0xff;
			out[(*out_len)++] = bits & 0xff;
		}
	}
	*out_len -= pad;
	/* pad bytes of the last group are not part of the text: zero, if honest */
	return (bits & ((UINT32_C(1) << (8 * pad)) - 1)) == 0;
}

/* Inflates a whole zlib stream, with nothing after it, into out. */
static ImSigResult
inflate_json(const unsigned char *zipped, size_t zipped_len, char *out, size_t *out_len)
{
	uLong		read_len = zipped_len;
	uLongf		json_len = IM_USERSIG_JSON_MAX - 1;

	switch (uncompress2((Bytef *) out, &json_len, zipped, &read_len))
	{
		case Z_OK:
			break;
		case Z_BUF_ERROR:
			return IM_SIG_TOO_LONG;
		case Z_MEM_ERROR:
			return IM_SIG_CRYPTO;
		default:
			return IM_SIG_NOT_ZLIB;
	}
	/* Bytes after the stream are not what the service would take. */
	if (read_len != zipped_len)
		return IM_SIG_NOT_ZLIB;
	*out_len = json_len;
	return IM_SIG_OK;
}

/* See usersig.h.  out is empty unless the result is IM_SIG_OK. */
ImSigResult
im_usersig_decode(const char *usersig, size_t len, char *out, size_t *out_len)
{
	unsigned char zipped[ZIPPED_MAX];
	size_t		zipped_len;
	ImSigResult result;

	*out_len = 0;
	if (len >= IM_USERSIG_MAX)
		result = IM_SIG_TOO_LONG;
	else if (!decode_base64(usersig, len, zipped, &zipped_len))
		result = IM_SIG_NOT_BASE64;
	else
		result = inflate_json(zipped, zipped_len, out, out_len);
	/* Half of a secret is a secret, too. */
	if (result != IM_SIG_OK)
		im_usersig_cleanse(out, IM_USERSIG_JSON_MAX);
	out[*out_len] = '\0';
	im_usersig_cleanse(zipped, sizeof(zipped));
	return result;
}

/* See usersig.h. */
const char *
im_usersig_result_text(ImSigResult result)
{
	if ((size_t) result >= sizeof(result_text) / sizeof(result_text[0]))
		return "unknown result";
	return result_text[result];
}

/* See usersig.h. */
void
im_usersig_cleanse(void *secret, size_t len)
{
	OPENSSL_cleanse(secret, len);
}
