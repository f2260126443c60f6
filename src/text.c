/*
 * text.c
 *	  Text that came from elsewhere: what of it may be shown or stored.
 *
 * Must not know PostgreSQL: a reply is cleaned where no error may be raised.
 * So everything here is UTF-8 or plain bytes; encoding.c knows what the
 * database speaks.
 */
#include <string.h>

#include "text.h"

/* Writes a character as UTF-8 to out (4 bytes), and returns its length. */
static size_t
encode(uint32_t c, char *out)
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xc0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xe0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3f));
		out[2] = (char) (0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3f));
	out[2] = (char) (0x80 | (c >> 6 & 0x3f));
	out[3] = (char) (0x80 | (c & 0x3f));
	return 4;
}

/* See text.h. */
size_t
im_text_clean_char(uint32_t c, char *out)
{
	if (c & IM_TEXT_BAD_BYTE)
		c = '?';
	else if (c == '\t' || c == '\n')
		c = ' ';
	else if (c >= 0xd800 && c <= 0xdfff)
		c = IM_TEXT_REPLACEMENT;
	else if (im_utf8_is_control(c))
		return 0;
	return encode(c, out);
}

/* See text.h. */
size_t
im_text_decode(const char *text, size_t len, uint32_t *c)
{
	size_t		n = im_utf8_decode(text, len, c);

	if (n > 0)
		return n;
	*c = IM_TEXT_BAD_BYTE | (unsigned char) *text;
	return 1;
}

/* See text.h. */
size_t
im_text_clean(const char *text, size_t len, char *out, size_t size)
{
	const char *end = text + len;
	char		encoded[4];
	size_t		used = 0;

	if (size == 0)
		return 0;
	while (text < end)
	{
		uint32_t	c;
		size_t		n;

		text += im_text_decode(text, (size_t) (end - text), &c);
		n = im_text_clean_char(c, encoded);
		if (n > size - 1 - used)
			break;
		memcpy(out + used, encoded, n);
		used += n;
	}
	out[used] = '\0';
	return used;
}

/* See text.h. */
void
im_text_mask(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text > 0x7f)
			*text = '?';
}

/* See text.h. */
bool
im_text_is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!im_text_is_printable_char((unsigned char) text[i]))
			return false;
	return true;
}
