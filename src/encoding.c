/*
 * encoding.c
 *	  Text between this database's encoding and UTF-8, which the service speaks.
 *
 * Must not know what the text is.  Nothing here raises for a character that one
 * side lacks: text to be sent is refused by the caller, text to be shown gets
 * question marks.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "encoding.h"
#include "text.h"

/* See encoding.h. */
Oid
im_text_conversion(void)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return InvalidOid;
	return FindDefaultConversionProc(encoding, PG_UTF8);
}

/* See encoding.h. */
char *
im_text_to_utf8(Oid conversion, char *text, size_t len, size_t *utf8_len)
{
	unsigned char *utf8;
	size_t		size = len * MAX_CONVERSION_GROWTH + 1;
	int			done;

	if (!OidIsValid(conversion))
	{
		*utf8_len = len;
		return pg_verify_mbstr(PG_UTF8, text, (int) len, true) ? text : NULL;
	}
	utf8 = palloc(size);
	done = pg_do_encoding_conversion_buf(conversion, GetDatabaseEncoding(), PG_UTF8,
										 (unsigned char *) text, (int) len,
										 utf8, (int) size, true);
	if (done != (int) len)
		return NULL;
	*utf8_len = strlen((char *) utf8);
	return (char *) utf8;
}

/* See encoding.h. */
char *
im_text_from_utf8(const char *utf8)
{
	size_t		len = strlen(utf8);
	size_t		room = len * MAX_CONVERSION_GROWTH + 1;
	char	   *text = palloc(room);
	Oid			proc;

	strlcpy(text, utf8, len + 1);
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return text;
	proc = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (OidIsValid(proc) &&
		pg_do_encoding_conversion_buf(proc, PG_UTF8, GetDatabaseEncoding(),
									  (unsigned char *) unconstify(char *, utf8), (int) len,
									  (unsigned char *) text, (int) room, true) == (int) len)
		return text;

	/* What this database cannot spell is shown as question marks. */
	strlcpy(text, utf8, len + 1);
	im_text_mask(text);
	return text;
}

/* See encoding.h. */
char *
im_text_as_utf8(const char *text)
{
	size_t		len = strlen(text);
	char	   *copy = pstrdup(text);
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8)
		return copy;
	utf8 = im_text_to_utf8(im_text_conversion(), copy, len, &len);
	if (utf8 != NULL)
		return utf8;
	im_text_mask(copy);
	return copy;
}
