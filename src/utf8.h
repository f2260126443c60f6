/*
 * utf8.h
 *	  Decodes UTF-8, one character at a time.
 *
 * Header only, so that the pure files share one decoder without linking
 * anything.  Must never know PostgreSQL's encodings: what comes in here is
 * UTF-8 by contract, or hostile.
 */
#ifndef IM_UTF8_H
#define IM_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads the character that text begins with.  Returns its length in bytes and
 * sets *character, or returns 0 if text is empty or does not begin with valid
 * UTF-8: overlong forms, surrogates and numbers over U+10FFFF are not.
 */
static inline size_t
im_utf8_decode(const char *text, size_t len, uint32_t *character)
{
	/* The least number that needs so many bytes: anything below is overlong. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *byte = (const unsigned char *) text;
	size_t		need;
	uint32_t	c;

	if (len == 0)
		return 0;
	c = byte[0];
	if (c < 0x80)
	{
		*character = c;
		return 1;
	}
	need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc0 || c > 0xf7 || need > len)
		return 0;
	c &= 0x7f >> need;
	for (size_t i = 1; i < need; i++)
	{
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (byte[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return need;
}

/* True for the control characters U+0000-1F and U+007F-9F. */
static inline bool
im_utf8_is_control(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character <= 0x9f);
}

#endif							/* IM_UTF8_H */
