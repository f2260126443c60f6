/*
 * encoding.h
 *	  Text between this database's encoding and UTF-8, which the service speaks.
 */
#ifndef IM_ENCODING_H
#define IM_ENCODING_H

#include "postgres.h"

/*
 * The conversion from the database encoding to UTF-8, InvalidOid if none is
 * needed (UTF8, and SQL_ASCII, whose bytes must be UTF-8 to be sent).  Looks
 * into catalogs: needs a transaction.
 */
extern Oid	im_text_conversion(void);

/*
 * Text of the database encoding as UTF-8, with a terminator, or NULL if it is
 * invalid or has a character that UTF-8 lacks; never raises.  May return text
 * itself, else palloc'd.
 */
extern char *im_text_to_utf8(Oid conversion, char *text, size_t len, size_t *utf8_len);

/*
 * To be shown, and palloc'd: clean UTF-8 text in the database encoding, and
 * text of the database encoding as UTF-8.  A question mark stands for each
 * byte of what cannot be converted.  Both need a transaction.
 */
extern char *im_text_from_utf8(const char *utf8);
extern char *im_text_as_utf8(const char *text);

#endif							/* IM_ENCODING_H */
