/*
 * command.h
 *	  The kinds of rows that the extension moves, as data: what a row looks
 *	  like on the wire, how many go into one call, what sending one a second
 *	  time would do.
 *
 * One more kind is one file (cmd_*.c), its lines in commandlist.h, and a table; see
 * "Anatomy of a command" in doc/architecture.md.  Nobody else may ask "which
 * kind is this?": what a kind needs is a member of ImCommand.
 *
 * The surprising rule: fields[] of a command is the only place that knows a
 * column of its record.  The encoder, the guard of the outbox, the statements
 * and the comparison with the app all read that table.
 */
#ifndef IM_COMMAND_H
#define IM_COMMAND_H

#include "answer.h"
#include "call.h"

struct StringInfoData;
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
	IM_VALUE_CUSTOM,			/* AppDefinedData, see appdata.h */
	IM_VALUE_JSON,				/* JSON as it was written, for the check */
	IM_VALUE_TEXTS				/* an array of strings */
} ImValueKind;

/* What else there is to know of a field. */
#define IM_FIELD_REQUIRED	0x01
#define IM_FIELD_NONEMPTY	0x02	/* "" is a problem, NULL leaves it out */
#define IM_FIELD_KEY		0x04	/* of the call, not of the item */
#define IM_FIELD_UNSENT		0x08	/* not sent as it is; its check may add members */
#define IM_FIELD_ID			0x10	/* names the item in the answer */
#define IM_FIELD_MOVED		0x20	/* a time that may have to be sent later */
#define IM_FIELD_EXACT		0x40	/* a time by which the service knows the item:
									 * the same whenever it is sent */
#define IM_FIELD_JOINED		0x80	/* a time after the group's creation and before now */
#define IM_FIELD_EITHER		0x100	/* one of two of which a record needs one */
#define IM_FIELD_ZERO		0x200	/* 0 is what a group has that we imported: then
									 * nothing is sent, unless a row that is gone has
									 * set another number */
#define IM_FIELD_USER		0x400	/* a user: the row waits as long as the account
									 * of that name is open */

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
	uint16_t	flags;
	int			limit[2];		/* texts: bytes, by option text_limits: 'page' and
								 * 'sdk', give both; none: there is no limit */
	int			most;			/* elements of an array */
	const ImWord *words;
	const char *allowed;		/* the words, for a message */
	ImFieldCheck check;
} ImField;

/* The columns by which a row names its group: one of the two. */
#define IM_ROOM_FIELDS(flag) \
	{.column = "group_source_id",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY}, \
	{.column = "group_id",.sent = "GroupId",.kind = IM_VALUE_TEXT, \
		.flags = IM_FIELD_NONEMPTY | (flag),.limit = {IM_GROUP_ID_MAX, IM_GROUP_ID_MAX}, \
		.check = im_check_group_id}

/* One question to the service about imported rows. */
typedef struct ImQuestion
{
	ImOp		op;				/* 0: there is none */
	int			batch;			/* rows a call */
	int32_t		absent[2];		/* codes that say: none of the call's rows is there */
	/* May the row go into the call?  It has others, and room. */
	bool		(*joins) (const ImCall *call, const ImRow *row);
	bool		has_basic;		/* what it asks for may be more than the app tells */
	bool		has_newer_names;	/* newer documents name its parameters otherwise */
} ImQuestion;

/* How imported rows of a kind are compared with the app. */
typedef struct ImCheckup
{
	ImQuestion	each;			/* about the rows */
	ImQuestion	room;			/* before it, about one row of each room; or none */
	/* The answer about a room says that all its rows are there. */
	bool		(*agrees) (const ImRow *row);
	const char *(*column) (int differs);	/* that a bit of ImSeen.differs is about */
} ImCheckup;

/* Rows of one room, i, stand together. */
#define IM_ROOM_ORDER	"i.group_source_id COLLATE \"C\", i.group_id COLLATE \"C\""

/*
 * What the statements of a command's outbox differ in; see statements.c, where
 * {extra} and so on stand for these.  o and i are rows of the outbox; v.word and
 * v.number are what C knows of a row, its GroupId and its number or time.  NULL:
 * as for most kinds.
 */
typedef struct ImCommandSql
{
	const char *extra;			/* a value that a claim reads beside the record */
	const char *claimed;		/* what a claim sets, with a comma at its end */
	const char *settled;		/* what an outcome sets, with a comma at its end */
	const char *named;			/* the GroupId of the row's own group */
	const char *unnamed;		/* the row's own group has no GroupId yet */
	const char *order;			/* of the rows of one group, if .ordered */
	const char *number;			/* of the row in its group, as the service counts */
	const char *askable;		/* an imported row can be compared with the app */
	const char *place;			/* order in which they are compared */
	const char *resolved;		/* what im_import_resolve() sets, with a comma at its end */
	const char *users;			/* without whose accounts it is refused, if it then goes
								 * again as soon as one of them came */
} ImCommandSql;

typedef struct ImCommand
{
	ImKind		kind;
	const char *name;			/* of the kind: "group" */
	const char *table;			/* its outbox: "im_group_outbox" */
	const char *record_hint;	/* where a required column is missing */
	const char *function;		/* that imports one row now */
	const char *noun;			/* what a row becomes in the app, for messages ... */
	const char *a_noun;			/* ... and with its article */
	const char *change_hint;	/* what to do instead of changing an imported row */
	const struct ImAdvice *advice;	/* for codes, where that for all kinds does not fit;
									 * or NULL */
	ImCommandSql sql;
	ImOp		op;				/* that imports rows */
	ImOp		single_op;		/* that imports one row and says why not; 0: none */
	ImOp		lookup_op;		/* that tells whether a row was applied; 0: none */
	ImOp		explain_op;		/* that may tell why an item was refused; 0: none */
	int			explain_batch;	/* rows of any keys in one such question; 0: those of
								 * one call */
	bool		there_is_done;	/* ... and whether it is there: then it is done.  Asked
								 * also after a code that nobody documents, and if an
								 * earlier request may have been applied */
	const char *refused_because;	/* the reasons that are left then */
	const char *blames;			/* what a row's name is, if a refusal may be for its
								 * sake and does not tell it; or NULL */
	bool		contact_flag;	/* takes RecentContactFlag */
	const char *list;			/* key of the items' list in the request; NULL:
								 * the item is the request, one row a call */
	/* Composes the request, which no item is; or NULL. */
	void		(*compose) (struct StringInfoData *body, const ImCall *call);
	ImListWords answer;			/* the items' list in the answer */
	bool		listed_failed;	/* ... which has only those that failed */
	int32_t		result_done[2]; /* of answer.result: an item is done if it says so */
	int32_t		code_there;		/* of answer.code: the item was there already; 0: none */
	const ImField *fields;
	int			nfields;
	int			batch;			/* rows a call, unless an option says else */
	int			rate;			/* calls a second at most, unless an option says
								 * else; 0: only the server's rate_limit counts */
	int			lookup_batch;	/* rows of any keys in one lookup; 0: as in a call */
	bool		ordered;		/* one call of a key at a time, rows in order */
	bool		serial;			/* one call of a key at a time: the service refuses
								 * two that write at once */
	bool		harmless;		/* to send a row a second time changes nothing */
	bool		makes_groups;	/* a row becomes a group, with a GroupId of its own */
	bool		roomed;			/* a row belongs to a group, and waits for it */
	const char *counted;		/* ... whose rows are counted there, a column of
								 * _im_room_state */
	const struct ImCommand *undone_by;	/* rows of that kind undo what was imported of
										 * their room; or NULL */
	const char *in_turn;		/* ... and for all before it: why no session can have it
								 * sent now; or NULL */
	bool		undoes;			/* rows of another kind are taken back */
	ImKind		outbox;			/* ... of this one; else see im_outbox_of() */
	int32_t		key_codes[2];	/* of a call: it is refused for its key's sake, and so
								 * is each of its rows; 0: none */
	int32_t		done_codes[2];	/* of a call: nothing was left to do, which is as
								 * good as done; 0: none */
	bool		after_accounts; /* a row waits until no account is open */
	int			variant_field;	/* a word, on which rules of other fields
								 * depend: its place in fields[]; none: -1, since
								 * 0 is the first */
	const ImCheckup *checkup;	/* how rows are compared with the app; or NULL */
	const char *not_compared;	/* ... and then why not */
	/* What must hold between the fields; adds problems and members. Or NULL. */
	void		(*finish) (struct ImEncoder *enc);
} ImCommand;

/* All of them, in the order of a move, by ImKind. */
extern const ImCommand *const im_commands[IM_KINDS];

/* ERROR if one says what cannot work; called when the library is loaded. */
extern void im_commands_check(void);

/* True if a field of the command's record has that flag. */
static inline bool
im_command_has(const ImCommand *command, uint16_t flag)
{
	for (int i = 0; i < command->nfields; i++)
		if (command->fields[i].flags & flag)
			return true;
	return false;
}

/* The kind whose outbox has the rows of a kind. */
static inline ImKind
im_outbox_of(ImKind kind)
{
	return im_commands[kind]->undoes ? im_commands[kind]->outbox : kind;
}

/* The status of rows that are to be sent, that are being sent, and that are done. */
static inline ImStatus
im_open_status(const ImCommand *command)
{
	return command->undoes ? IM_UNDO : IM_PENDING;
}

static inline ImStatus
im_busy_status(const ImCommand *command)
{
	return command->undoes ? IM_UNDO : IM_SENDING;
}

static inline ImStatus
im_done_status(const ImCommand *command)
{
	return command->undoes ? IM_UNDONE : IM_IMPORTED;
}

/* The kind of that name, or of that outbox; NULL: there is none. */
extern const ImCommand *im_command_find(const char *name);
extern const ImCommand *im_command_of_table(const char *table);

/*
 * The kinds by name, as "account, friend and group"; compared: only those whose
 * rows can be compared with the app.  In the current memory context.
 */
extern char *im_command_names(bool compared);

/* Who may go into one question: any row, or those of one key. */
extern bool im_joins_any(const ImCall *call, const ImRow *row);
extern bool im_joins_key(const ImCall *call, const ImRow *row);

/* The column that an ImDiffers is about. */
extern const char *im_differs_column(int differs);

/* Reads an answer to a question about the call's rows; see results.h. */
typedef bool (*ImReader) (ImCall *call, const char *body, size_t len,
						  ImListEntry *entries, int max);

/* What composes the request of each question, and what reads its answer; see operation.h. */
#define IM_QUESTION(op, limiter, kind, path, reply_cap, rate, ask, read, own_codes) \
extern void ask(struct StringInfoData *body, ImCall *call, bool basic); \
extern bool read(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max);
#include "commandlist.h"

/* The commands themselves. */
#define IM_KIND(kind, name, function) extern const ImCommand im_cmd_##name;
#define IM_KIND_OF_OTHERS(kind, name) extern const ImCommand im_cmd_##name;
#include "commandlist.h"

#endif							/* IM_COMMAND_H */
