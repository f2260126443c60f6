/*
 * glyph.h
 *	  What a reader sees of a text: where one character as people count them
 *	  ends, and which characters cannot be seen at all.
 *
 * Text is UTF-8 here, whatever the database encoding.  Bytes that are not
 * UTF-8 are taken one by one, each for a character: nothing here raises.
 */
#ifndef IM_GLYPH_H
#define IM_GLYPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands out in a text, see im_glyph_look(). */
typedef struct ImLook
{
	bool		visible;		/* there is something to see */
	bool		control;		/* a control character that does not belong */
	bool		direction;		/* a character that turns the direction of
								 * what follows it */
} ImLook;

/*
 * The length of the longest prefix that has at most so many bytes and ends
 * between characters as people see them: not before a combining mark, a
 * variation selector or a skin tone, not around a zero-width joiner, not
 * within a flag.  If it had to cut, it leaves out the blanks before the cut.
 * Where not even the first such character fits, it is cut within that.
 */
extern size_t im_glyph_fit(const char *utf8, size_t len, size_t bytes);

/* Looks through a text.  With lines, tabs and line ends belong to it. */
extern ImLook im_glyph_look(const char *utf8, size_t len, bool lines);

/*
 * True for what must be written as its number where a value is quoted: it is
 * not seen, or it turns the direction of the rest of the message.
 */
extern bool im_glyph_is_hidden(uint32_t character);

#endif							/* IM_GLYPH_H */
