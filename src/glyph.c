/*
 * glyph.c
 *	  What a reader sees of a text: where one character as people count them
 *	  ends, and which characters cannot be seen at all.
 *
 * Must not know records, fields or limits, nor the database encoding: text
 * comes and goes as UTF-8.
 *
 * Marks that take no room of their own come from the server's own table, by
 * pg_encoding_dsplen().  That table has no marks that take room, in 15 no format
 * characters, and later those with others that join nothing.  So what it
 * leaves open stands below, and every server cuts a text at the same place.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "glyph.h"
#include "text.h"

#define JOINER			0x200D	/* makes one of what is before and behind it */
#define SOFT_HYPHEN		0x00AD
#define FIRST_MARK		0x0300	/* no character below joins the one before it */

typedef struct Range
{
	uint32_t	first;
	uint32_t	last;
} Range;

/*
 * What belongs to the character before it, without being in the server's table:
 * the marks that take room (category Mc of Unicode 14), the later parts of a
 * Korean syllable, joiners, variation selectors, skin tones, and the letters
 * in the flags of regions.
 */
static const Range attached[] = {
	{0x0903, 0x0903}, {0x093B, 0x093B}, {0x093E, 0x094F}, {0x0982, 0x0983}, {0x09BE, 0x09CC},
	{0x09D7, 0x09D7}, {0x0A03, 0x0A03}, {0x0A3E, 0x0A40}, {0x0A83, 0x0A83}, {0x0ABE, 0x0ACC},
	{0x0B02, 0x0B03}, {0x0B3E, 0x0B57}, {0x0BBE, 0x0BCC}, {0x0BD7, 0x0BD7}, {0x0C01, 0x0C03},
	{0x0C41, 0x0C44}, {0x0C82, 0x0C83}, {0x0CBE, 0x0CD6}, {0x0D02, 0x0D03}, {0x0D3E, 0x0D4C},
	{0x0D57, 0x0D57}, {0x0D82, 0x0D83}, {0x0DCF, 0x0DDF}, {0x0DF2, 0x0DF3}, {0x0F3E, 0x0F3F},
	{0x0F7F, 0x0F7F}, {0x102B, 0x103C}, {0x1056, 0x1057}, {0x1062, 0x1064}, {0x1067, 0x106D},
	{0x1083, 0x108C}, {0x108F, 0x108F}, {0x109A, 0x109C}, {0x1160, 0x11FF}, {0x1715, 0x1715},
	{0x1734, 0x1734}, {0x17B6, 0x17C8}, {0x1923, 0x1938}, {0x1A19, 0x1A1A}, {0x1A55, 0x1A72},
	{0x1B04, 0x1B04}, {0x1B35, 0x1B44}, {0x1B82, 0x1B82}, {0x1BA1, 0x1BAA}, {0x1BE7, 0x1BF3},
	{0x1C24, 0x1C35}, {0x1CE1, 0x1CE1}, {0x1CF7, 0x1CF7}, {0x200C, 0x200D}, {0x302E, 0x302F},
	{0xA823, 0xA827}, {0xA880, 0xA881}, {0xA8B4, 0xA8C3}, {0xA952, 0xA953}, {0xA983, 0xA983},
	{0xA9B4, 0xA9C0}, {0xAA2F, 0xAA34}, {0xAA4D, 0xAA4D}, {0xAA7B, 0xAA7D}, {0xAAEB, 0xAAEF},
	{0xAAF5, 0xAAF5}, {0xABE3, 0xABEA}, {0xABEC, 0xABEC}, {0xD7B0, 0xD7FB}, {0xFE00, 0xFE0F},
	{0xFF9E, 0xFF9F}, {0x11000, 0x11002}, {0x11082, 0x11082}, {0x110B0, 0x110B8},
	{0x1112C, 0x1112C}, {0x11145, 0x11146}, {0x11182, 0x11182}, {0x111B3, 0x111C0},
	{0x111CE, 0x111CE}, {0x1122C, 0x11235}, {0x112E0, 0x112E2}, {0x11302, 0x11303},
	{0x1133E, 0x1134D}, {0x11357, 0x11357}, {0x11362, 0x11363}, {0x11435, 0x11445},
	{0x114B0, 0x114C1}, {0x115AF, 0x115BE}, {0x11630, 0x1163E}, {0x116AC, 0x116B6},
	{0x11720, 0x11726}, {0x1182C, 0x11838}, {0x11930, 0x1193D}, {0x11940, 0x11940},
	{0x11942, 0x11942}, {0x119D1, 0x119DF}, {0x119E4, 0x119E4}, {0x11A39, 0x11A39},
	{0x11A57, 0x11A58}, {0x11A97, 0x11A97}, {0x11C2F, 0x11C3E}, {0x11CA9, 0x11CB4},
	{0x11D8A, 0x11D96}, {0x11EF5, 0x11EF6}, {0x16F51, 0x16F87}, {0x16FF0, 0x16FF1},
	{0x1D165, 0x1D166}, {0x1D16D, 0x1D172}, {0x1F3FB, 0x1F3FF}, {0xE0020, 0xE007F},
	{0xE0100, 0xE01EF},
};

/* Blanks: they take room, and there is nothing to see. */
static const Range blanks[] = {
	{0x0009, 0x000D}, {0x0020, 0x0020}, {0x0085, 0x0085}, {0x00A0, 0x00A0}, {0x1680, 0x1680},
	{0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x2800, 0x2800},
	{0x3000, 0x3000}, {0x3164, 0x3164}, {0xFFA0, 0xFFA0},
};

/* What has no width and no shape, the attached ones apart. */
static const Range unseen[] = {
	{SOFT_HYPHEN, SOFT_HYPHEN}, {0x034F, 0x034F}, {0x061C, 0x061C}, {0x115F, 0x1160},
	{0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
	{0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
	{0xE0000, 0xE0FFF},
};

/* Format characters, which later servers have in their table, and which join nothing. */
static const Range formats[] = {
	{0x0600, 0x0605}, {0x061C, 0x061C}, {0x06DD, 0x06DD}, {0x070F, 0x070F}, {0x0890, 0x0891},
	{0x08E2, 0x08E2}, {0x180E, 0x180E}, {0x200B, 0x200B}, {0x200E, 0x200F}, {0x2028, 0x202E},
	{0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
	{0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0001, 0xE0001},
};

/* What turns the direction until it is ended: embeddings, overrides, isolates. */
static const Range turning[] = {
	{0x202A, 0x202E}, {0x2066, 0x2069},
};

/* The letters that make a flag in pairs. */
static const Range flag_letters[] = {
	{0x1F1E6, 0x1F1FF},
};

#define IS_IN(table, character) is_in(table, lengthof(table), character)

/* True if a sorted table has the character. */
static bool
is_in(const Range *table, size_t n, uint32_t character)
{
	size_t		low = 0;

	while (low < n)
	{
		size_t		middle = low + (n - low) / 2;

		if (character < table[middle].first)
			n = middle;
		else if (character > table[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

/* True if the character, which is valid UTF-8 at utf8, belongs to the one before it. */
static bool
is_attached(const char *utf8, uint32_t character)
{
	if (character < FIRST_MARK || character > 0x10FFFF)
		return false;
	if (IS_IN(attached, character))
		return true;
	return pg_encoding_dsplen(PG_UTF8, utf8) == 0 && !IS_IN(formats, character);
}

/* The length of the first character as people see it, at least 1. */
static size_t
cluster_length(const char *utf8, size_t len)
{
	uint32_t	before;
	uint32_t	c;
	size_t		end = im_text_decode(utf8, len, &before);
	bool		half_flag = IS_IN(flag_letters, before);

	while (end < len)
	{
		size_t		n = im_text_decode(utf8 + end, len - end, &c);

		if (before == '\r' && c == '\n')
			return end + n;
		if (half_flag && IS_IN(flag_letters, c))
			half_flag = false;
		else if (is_attached(utf8 + end, c))
			half_flag = false;
		else if (before != JOINER)
			break;
		before = c;
		end += n;
	}
	return end;
}

/* The length without the blanks at the end. */
static size_t
without_blanks(const char *utf8, size_t len)
{
	size_t		end = 0;
	size_t		at = 0;
	uint32_t	c;

	while (at < len)
	{
		at += im_text_decode(utf8 + at, len - at, &c);
		if (!IS_IN(blanks, c))
			end = at;
	}
	return end;
}

/* A first character that does not fit, cut within: no joiner is left at its end. */
static size_t
fit_within(const char *utf8, size_t len, size_t bytes)
{
	size_t		fit = 0;
	size_t		at = 0;
	uint32_t	c;

	while (at < len)
	{
		at += im_text_decode(utf8 + at, len - at, &c);
		if (at > bytes)
			break;
		if (c != JOINER)
			fit = at;
	}
	return fit;
}

/* See glyph.h. */
size_t
im_glyph_fit(const char *utf8, size_t len, size_t bytes)
{
	size_t		fit = 0;

	if (len <= bytes)
		return len;
	while (fit < bytes)
	{
		size_t		n = cluster_length(utf8 + fit, len - fit);

		if (fit + n > bytes)
			break;
		fit += n;
	}
	if (fit == 0)
		fit = fit_within(utf8, len, bytes);
	return without_blanks(utf8, fit);
}

/* See glyph.h. */
ImLook
im_glyph_look(const char *utf8, size_t len, bool lines)
{
	ImLook		look = {false, false, false};
	size_t		at = 0;
	uint32_t	c;

	while (at < len)
	{
		at += im_text_decode(utf8 + at, len - at, &c);
		if (im_utf8_is_control(c))
			look.control |= !lines || (c != '\t' && c != '\n' && c != '\r');
		else if (IS_IN(turning, c))
			look.direction = true;
		else if (!look.visible)
			look.visible = !IS_IN(blanks, c) && !IS_IN(unseen, c);
	}
	return look;
}

/* See glyph.h. */
bool
im_glyph_is_hidden(uint32_t character)
{
	return IS_IN(unseen, character) && !IS_IN(attached, character);
}
