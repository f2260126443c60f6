/*
 * command.h
 *	  The kinds of rows that the extension moves, as data: what a row looks
 *	  like on the wire, how many go into one call, what sending one a second
 *	  time would do.
 *
 * One more kind is one file (cmd_*.c) and one line in im_commands[].  Nothing
 * else in the extension may ask "which kind is this?".
 *
 * The surprising rule: fields[] of a command is the only place that knows a
 * column of its record.  The encoder, the guard of the outbox, the statements
 * and the comparison with the app all read that table.
 */
#ifndef IM_COMMAND_H
#define IM_COMMAND_H

#include "call.h"

struct ImEncoder;
struct ImText;
struct ImField;

/* How a value is read and sent. */
typedef enum ImValueKind
{
	IM_VALUE_TEXT,				/* a string, its limit in bytes of UTF-8 */
	IM_VALUE_WORD,				/* one of a few words, see ImField.words */
	IM_VALUE_COUNT,				/* a whole number */
	IM_VALUE_TIME,				/* a point in time, sent as UNIX seconds */
	IM_VALUE_FLAG,				/* a boolean, sent as 0 or 1 */
	IM_VALUE_CUSTOM				/* AppDefinedData, see appdata.h */
} ImValueKind;

/* What else there is to know of a field. */
#define IM_FIELD_REQUIRED	0x01
#define IM_FIELD_NONEMPTY	0x02	/* "" is a problem, NULL leaves it out */

/* One of the words of a IM_VALUE_WORD field. */
typedef struct ImWord
{
	const char *name;			/* what people write, in any case; NULL ends */
	const char *sent;			/* what the service documents; NULL: nothing */
	int			variant;		/* see ImCommand.variants */
} ImWord;

/* A further rule of a field; text is NULL for numbers, of which number counts. */
typedef void (*ImFieldCheck) (struct ImEncoder *enc, const struct ImField *field,
							  const struct ImText *text, int64_t number);

typedef struct ImField
{
	const char *column;			/* SQL name */
	const char *sent;			/* key in the request */
	ImValueKind kind;
	uint8_t		flags;
	int			limit[2];		/* texts: bytes, by option text_limits */
	const ImWord *words;
	const char *allowed;		/* the words, for a message */
	ImFieldCheck check;
} ImField;

typedef struct ImCommand
{
	ImKind		kind;
	const char *name;			/* of the kind: "group" */
	const char *table;			/* its outbox: "im_group_outbox" */
	const char *record_hint;	/* where a required column is missing */
	ImOp		op;				/* that imports rows */
	const char *list;			/* key of the items' list in the request; NULL:
								 * the item is the request, one row a call */
	const ImField *fields;
	int			nfields;
	int			batch;			/* rows a call, unless an option says else */
	int			variant_field;	/* a word, on which rules of other fields
								 * depend: its place in fields[], or -1 */
	/* What must hold between the fields; adds problems and members. Or NULL. */
	void		(*finish) (struct ImEncoder *enc);
} ImCommand;

/* All of them, in the order of a move, by ImKind. */
extern const ImCommand *const im_commands[IM_KINDS];

/* The kind of that name, or NULL. */
extern const ImCommand *im_command_find(const char *name);

/* Rules that several commands share. */
extern void im_check_user_id(struct ImEncoder *enc, const struct ImField *field,
							 const struct ImText *text, int64_t number);
extern void im_check_group_id(struct ImEncoder *enc, const struct ImField *field,
							  const struct ImText *text, int64_t number);

extern const ImCommand im_cmd_group;

#endif							/* IM_COMMAND_H */
