/*
 * text.h
 *	  Text that came from elsewhere: what of it may be shown or stored.
 *
 * Pure.  A character is a number of Unicode, or IM_TEXT_BAD_BYTE with a byte
 * that is not UTF-8.
 */
#ifndef IM_TEXT_H
#define IM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "utf8.h"

#define IM_TEXT_BAD_BYTE	UINT32_C(0x80000000)

/* Stands for a character that cannot be shown. */
#define IM_TEXT_REPLACEMENT	0xfffd

/* 0 to 9 only, whatever the locale says. */
static inline bool
im_text_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Printable ASCII, the space included: what every database can store. */
static inline bool
im_text_is_printable_char(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* True if all bytes are printable ASCII. */
extern bool im_text_is_printable(const char *text, size_t len);

/*
 * Reads the character that text begins with, which must not be empty.
 * Returns its length in bytes.
 */
extern size_t im_text_decode(const char *text, size_t len, uint32_t *c);

/*
 * Writes what may be shown of a character to out (4 bytes, no terminator) and
 * returns its length, 0 for a control character.  A tab or line feed becomes
 * a space, half of a surrogate pair becomes U+FFFD, a bad byte '?'.
 */
extern size_t im_text_clean_char(uint32_t c, char *out);

/*
 * Copies at most size - 1 bytes of foreign UTF-8 text to out, with a
 * terminator; each character as im_text_clean_char() has it.  Cuts between
 * characters.  Returns the length written; size 0 writes nothing.
 */
extern size_t im_text_clean(const char *text, size_t len, char *out, size_t size);

/* Makes '?' of every byte that is not ASCII. */
extern void im_text_mask(char *text);

#endif							/* IM_TEXT_H */
