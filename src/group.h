/*
 * group.h
 *	  What import_group looks like: one static table says for each field its
 *	  column, JSON key, kind and limit, and everything here reads that table:
 *	  matching a record's columns, checking it, and building the body.
 *
 * Knows nothing of curl, SPI or the outbox.  The body is built with
 * PostgreSQL's escape_json() and is UTF-8 whatever the database encoding.
 * Source of fields and limits: the service's import_group page, doc 1047/34967.
 */
#ifndef IM_GROUP_H
#define IM_GROUP_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "lib/stringinfo.h"

#include "call.h"

/* Which set of text limits applies: option text_limits. */
typedef enum ImTextLimits
{
	IM_LIMITS_PAGE,				/* 30/240/300/100 bytes, the import page */
	IM_LIMITS_SDK				/* 100/400/400/500 bytes, newer SDK documents */
} ImTextLimits;

/* Where each field stands in a record; see im_group_map(). Opaque to others. */
typedef struct ImGroupMap ImGroupMap;

/* One record, ready to be sent or refused. Strings are palloc'd. */
typedef struct ImGroup
{
	char		group_id[IM_GROUP_ID_MAX + 1];	/* UTF-8; "" if absent */
	bool		community;
	StringInfoData body;		/* UTF-8 JSON; best effort if there are
								 * problems */
	List	   *problems;		/* of char *, server encoding; NIL: can be sent */
	int32		problem_code;	/* 10007 for AVChatRoom, else 10004; 0 if none */
} ImGroup;

/*
 * Finds the fields' columns in a record by name, without regard to case and
 * underscores.  Raises an ERROR with a HINT if there is no column "type" or no
 * column "name", or if two columns mean the same field.  Allocated in the
 * current memory context; valid as long as the caller keeps desc's shape.
 */
extern ImGroupMap *im_group_map(TupleDesc desc);

/*
 * Checks and encodes one record.  generated_id, if not NULL, is used where the
 * record has no group_id ('@TGS#_' is put before it for a Community by the
 * caller of im_group_generate_id, not here).  Never raises for what is in the
 * record, only for running out of memory.  With want_warnings the list also
 * has what would be sent all the same (custom keys over 16 bytes, UserIDs
 * with unusual characters), each beginning with "warning: ".
 */
extern void im_group_encode(const ImGroupMap *map, TupleDesc desc,
							const Datum *values, const bool *nulls,
							const char *generated_id, ImTextLimits limits,
							bool want_warnings, ImGroup *group);

/*
 * The generated id of a row: "im-" (Community: "@TGS#_im-") and the 128 bits of row_key in
 * base32, lower case.  A function of the row alone: whoever sends the row,
 * from whatever copy of the database, sends the same id.  out has
 * IM_GROUP_ID_MAX + 1 bytes.
 */
extern void im_group_generate_id(const unsigned char *row_key, bool community, char *out);

/* True if a record's type column says Community (any spelling we accept). */
extern bool im_group_is_community(const ImGroupMap *map, TupleDesc desc,
								  const Datum *values, const bool *nulls);

/* All problems as one text, joined by "; ". */
extern char *im_group_problem_text(const ImGroup *group);

/*
 * The longest prefix of UTF-8 text that fits into bytes and ends between
 * characters (never inside a multi-byte sequence); returns its length.
 */
extern size_t im_group_fit(const char *utf8, size_t len, size_t bytes);

/*
 * The conversion from the database encoding to UTF-8, InvalidOid if none is
 * needed (UTF8, and SQL_ASCII, whose bytes must be UTF-8 to be sent).  Looks
 * into catalogs: needs a transaction.
 */
extern Oid	im_group_conversion(void);

/*
 * Text of the database encoding as UTF-8, with a terminator, or NULL if it is
 * invalid or has a character that UTF-8 lacks; never raises.  May return text
 * itself, else palloc'd.
 */
extern char *im_group_to_utf8(Oid conversion, char *text, size_t len, size_t *utf8_len);

/* Body of get_group_info for one group, appended to buf. */
extern void im_group_lookup_body(StringInfo buf, const char *group_id);

/*
 * The same for many groups and all fields that ImCompared names; of several
 * checks of one group, it is asked for once.
 */
extern void im_group_check_body(StringInfo buf, const ImCheck *checks, int nchecks);

#endif							/* IM_GROUP_H */
