/*
 * names.c
 *	  What a column's name may mean: which field it is, and which it nearly is.
 *
 * Must not know any field by name.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/varlena.h"

#include "names.h"

/* So many letters must two names have in common to be alike. */
#define COMMON_MIN		4

/* See names.h. */
bool
im_name_same(const char *column, const char *field)
{
	for (;; column++, field++)
	{
		while (*column == '_')
			column++;
		while (*field == '_')
			field++;
		if (pg_ascii_tolower((unsigned char) *column) != (unsigned char) *field)
			return false;
		if (*field == '\0')
			return true;
	}
}

/* A name as im_name_same() sees it; returns its length. */
static int
bare_name(const char *name, char *out)
{
	int			n = 0;

	for (; *name != '\0' && n < NAMEDATALEN - 1; name++)
		if (*name != '_')
			out[n++] = (char) pg_ascii_tolower((unsigned char) *name);
	out[n] = '\0';
	return n;
}

/* See names.h. */
int
im_name_distance(const char *column, const char *field)
{
	char		a[NAMEDATALEN];
	char		b[NAMEDATALEN];
	int			a_len = bare_name(column, a);
	int			b_len = bare_name(field, b);
	int			shorter = Min(a_len, b_len);
	int			common = 0;
	int			distance = varstr_levenshtein(a, a_len, b, b_len, 1, 1, 1, true);

	while (common < shorter && a[common] == b[common])
		common++;
	if (distance <= Min(2, shorter / 3))
		return distance;
	if (shorter >= COMMON_MIN && (strstr(a, b) != NULL || strstr(b, a) != NULL))
		return distance;
	return common >= COMMON_MIN && common * 2 >= shorter ? distance : -1;
}
