/*
 * record.h
 *	  From a record's columns to what the service is sent for it, as the
 *	  command's fields[] says: matching the columns, checking them, building
 *	  the JSON.
 *
 * Knows nothing of curl, SPI or the outbox.  The JSON is built with
 * PostgreSQL's escape_json() and is UTF-8 whatever the database encoding.
 */
#ifndef IM_RECORD_H
#define IM_RECORD_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "command.h"

/* Which set of text limits applies: option text_limits. */
typedef enum ImTextLimits
{
	IM_LIMITS_PAGE,				/* 30/240/300/100 bytes, the import page */
	IM_LIMITS_SDK				/* 100/400/400/500 bytes, newer SDK documents */
} ImTextLimits;

/* Where each field stands in a record; see im_record_map(). Opaque to others. */
typedef struct ImRecordMap ImRecordMap;

/* What is not the record's own, but goes into what is sent. */
typedef struct ImEncoding
{
	ImTextLimits limits;
	bool		warnings;		/* also tell what is unusual but would be sent */
	const char *group_id;		/* used where the record's own is NULL; or NULL */
	int64		id;				/* of the row; 0: none */
	uint32		random;			/* that marks a message, see im_batch_random() */
	int64		sent_time;		/* UNIX seconds for a field that may be moved; 0:
								 * its own */
	int64		group_created;	/* UNIX seconds; 0: not known */
	int			message_bytes;	/* limit of a MsgBody; 0: none */
} ImEncoding;

/* One record, ready to be sent or refused. Strings are palloc'd. */
typedef struct ImItem
{
	char		group_id[IM_GROUP_ID_MAX + 1];	/* UTF-8; "" if absent */
	char	   *key;			/* of the call that it goes into, UTF-8; or NULL */
	char	   *name;			/* names it in the answer, UTF-8; or NULL */
	StringInfoData json;		/* one object, UTF-8; best effort if there are
								 * problems */
	List	   *problems;		/* of char *, server encoding, by the grammar of
								 * problem.h; NIL: can be sent */
	int32		problem_code;	/* the service's for such a record; 0 if none */
} ImItem;

/* A value as text, in the server encoding and in UTF-8. */
typedef struct ImText
{
	char	   *server;
	size_t		server_len;
	char	   *utf8;
	size_t		len;
} ImText;

/* One record on its way into JSON; for a command's own checks. */
typedef struct ImEncoder
{
	const ImRecordMap *map;
	const ImCommand *command;
	const ImEncoding *encoding;
	const Datum *values;
	const bool *nulls;
	const ImWord *word;			/* of the command's variant field, or NULL */
	int			variant;		/* its variant; 0: unknown */
	ImItem	   *item;
} ImEncoder;

/*
 * Finds the fields' columns in a record by name, without regard to case and
 * underscores.  Raises an ERROR with a HINT if there is no column for a
 * required field, or if two columns mean the same field.  Allocated in the
 * current memory context; valid as long as the caller keeps desc's shape.
 */
extern ImRecordMap *im_record_map(const ImCommand *command, TupleDesc desc);

/* WARNINGs of columns that are not sent, and whose name resembles one that is. */
extern void im_record_tell_unsent(const ImRecordMap *map);

/*
 * Checks and encodes one record.  Never raises for what is in the record, only
 * for running out of memory.  With encoding->warnings the list also has what
 * is unusual but would be sent, and the columns that would not be sent, each
 * beginning with "warning: ".
 */
extern void im_record_encode(const ImRecordMap *map, const Datum *values, const bool *nulls,
							 const ImEncoding *encoding, ImItem *item);

/* The variant of a record, see ImCommand.variant_field; 0 if it has none. */
extern int	im_record_variant(const ImRecordMap *map, const Datum *values, const bool *nulls);

/* What a record gives for a column, as text in the server encoding; NULL: nothing. */
extern char *im_record_text(const ImRecordMap *map, const Datum *values, const bool *nulls, const char *column);

/* All problems as one text, joined by "; ". */
extern char *im_item_problem_text(const ImItem *item);

/*
 * For a command's checks: adds a problem, after which the record will not be
 * sent, or what is unusual.
 */
extern void im_record_problem(ImEncoder *enc, const char *message);
extern void im_record_warning(ImEncoder *enc, const char *message);

/* For a command's checks: adds a member beside the fields' own. */
extern void im_record_string(ImEncoder *enc, const char *key, const char *utf8);
extern void im_record_number(ImEncoder *enc, const char *key, int64 number);
extern void im_record_member(ImEncoder *enc, const char *key, const char *json, size_t len);

/* True if the record gives a value for a column. */
extern bool im_record_has(const ImEncoder *enc, const char *column);

/*
 * A time column's value as UNIX seconds, whatever type somebody has given to the
 * column.  False if it is none.
 */
extern bool im_record_seconds(Oid type, Datum value, int64 *seconds);

/*
 * Appends the request of a call to buf: items of one command and key, each the
 * JSON of an ImItem; extra: members of the request, each with a comma at its end.
 */
extern void im_record_request(StringInfo buf, const ImCommand *command, const char *key,
							  const char *extra, const char *const *items, const size_t *lengths,
							  int nitems);

/* A value for a message: quoted, escaped and cut. */
extern char *im_record_quote(const ImText *text);

#endif							/* IM_RECORD_H */
