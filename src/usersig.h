/*
 * usersig.h
 *	  Signs and decodes UserSigs (TLSSigAPIv2).
 *
 * The only user of OpenSSL and zlib.  Knows nothing of PostgreSQL, settings
 * or HTTP; never logs, never throws, keeps no copy of the key.
 */
#ifndef IM_USERSIG_H
#define IM_USERSIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_USERSIG_MAX		2048	/* longest UserSig we make or decode, with
									 * its terminator */
#define IM_USERSIG_JSON_MAX 4096	/* longest decoded JSON, with its terminator */
#define IM_IDENTIFIER_MAX	256 /* bytes of UTF-8 we are willing to sign for */
#define IM_LIFETIME_MAX		INT64_C(1576800000)	/* 50 years in seconds, the
												 * service's own maximum */

typedef enum ImSigResult
{
	IM_SIG_OK,
	IM_SIG_BAD_IDENTIFIER,		/* empty, over IM_IDENTIFIER_MAX, not UTF-8,
								 * or holding a control character */
	IM_SIG_BAD_KEY,				/* empty, or over 256 bytes */
	IM_SIG_BAD_LIFETIME,		/* not in 1 .. IM_LIFETIME_MAX */
	IM_SIG_BAD_SDKAPPID,		/* not in 1 .. 4294967295 */
	IM_SIG_CRYPTO,				/* OpenSSL or zlib failed */
	IM_SIG_NOT_BASE64,			/* decoding only, from here on */
	IM_SIG_NOT_ZLIB,
	IM_SIG_TOO_LONG
} ImSigResult;

/*
 * Writes the UserSig of identifier for sdkappid, valid from issued_at (UNIX
 * seconds) for lifetime seconds, to out (IM_USERSIG_MAX bytes).
 */
extern ImSigResult im_usersig_sign(int64_t sdkappid, const char *key, size_t key_len,
								   const char *identifier, int64_t issued_at,
								   int64_t lifetime, char *out);

/*
 * Inflates a UserSig to the JSON text within, written to out
 * (IM_USERSIG_JSON_MAX bytes) with a terminator, its length to *out_len.
 * The text is whatever the signer put there: not checked to be JSON or UTF-8,
 * and may hold NUL bytes.
 */
extern ImSigResult im_usersig_decode(const char *usersig, size_t len, char *out, size_t *out_len);

/* What a result means, in words fit for an error message. */
extern const char *im_usersig_result_text(ImSigResult result);

/* Overwrites secret memory in a way that the compiler cannot drop. */
extern void im_usersig_cleanse(void *secret, size_t len);

#endif							/* IM_USERSIG_H */
