/*
 * call.h
 *	  The nouns of im_import: a row of an outbox, and a call, which is one
 *	  request to the IM service with rows of one command.
 *
 * Both are filled by several hands, one after the other, and their fields are
 * grouped by who fills them: queue (or a SQL function) says which row it is,
 * record encodes it, sender writes down what happened on the wire, results
 * tells what the answer says of each row, and protocol judges.  Errors are
 * data in here until an edge turns them into a row or an answer.
 *
 * This file must stay free of PostgreSQL, libcurl and OpenSSL: the simulator
 * and the fuzzers include it without a server.
 */
#ifndef IM_CALL_H
#define IM_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest GroupId that the service accepts or assigns, with room to spare. */
#define IM_GROUP_ID_MAX		128
/* How much of the service's ErrorInfo we keep, in bytes of UTF-8. */
#define IM_INFO_MAX			512

/*
 * A creation time so many seconds ahead of the database's clock is sent as now.
 * A later request for the same row sends the time itself, so that a group is
 * still ours if it is older than its row by no more than that.
 */
#define IM_TIME_AHEAD		5

/* Status of an outbox row; im_status_name() gives the SQL spelling. */
typedef enum ImStatus
{
	IM_PENDING,
	IM_SENDING,
	IM_IMPORTED,
	IM_FAILED,
	IM_INVALID,
	IM_IN_DOUBT,
	IM_UNDO,					/* imported, and to be taken back */
	IM_UNDONE
} ImStatus;

/*
 * What an ErrorCode asks of us.  The table of codes (errcodes.c) is the only
 * place that maps one to the other.
 */
typedef enum ImClass
{
	IM_CLASS_DONE,				/* 0: applied */
	IM_CLASS_EXISTS,			/* the GroupId is taken: ask whose group it is */
	IM_CLASS_ROW,				/* definite refusal of this one row */
	IM_CLASS_SLOW,				/* too fast: cut the rate, send the row again */
	IM_CLASS_QUOTA,				/* too many new groups: slow, later wait */
	IM_CLASS_RESIGN,			/* new UserSig, then again; twice means stop */
	IM_CLASS_STOP,				/* every row would meet it: stop the drain */
	IM_CLASS_RETRY				/* outcome unknown: may have been applied */
} ImClass;

/*
 * Our own codes, negative, where the service gave none.  They stand in
 * error_code and in the answers of im_import_group(), and errcodes.c explains
 * them beside the service's own.  The "may exist" ones are ambiguous.
 */
typedef enum ImOwnCode
{
	IM_CODE_NOT_SENT = -1,		/* connection failed before a body byte left */
	IM_CODE_TIMEOUT = -2,		/* no answer in time: may exist */
	IM_CODE_LOST = -3,			/* connection lost after sending: may exist */
	IM_CODE_HTTP = -4,			/* HTTP status other than 200: may exist */
	IM_CODE_UNREADABLE = -5,	/* answer is not what the API documents: may exist */
	IM_CODE_TOO_BIG = -6,		/* answer over the cap: may exist */
	IM_CODE_CRASHED = -7,		/* sender died in flight: may exist */
	IM_CODE_TLS = -8,			/* certificate not accepted: nothing was sent */
	IM_CODE_OTHER_ID = -9,		/* answer names another group: may exist */
	IM_CODE_ADOPTED = -10,		/* row came from another database: may exist */
	IM_CODE_DIFFERENT = -11,	/* GroupId exists with other content */
	IM_CODE_ITEM = -12,			/* refused within an answer, without a reason */
	IM_CODE_DISBANDED = -13		/* of a row being undone: its group is gone for sure */
} ImOwnCode;

/* What the reply parser found; all text is UTF-8, cleaned and bounded. */
typedef struct ImReply
{
	bool		readable;		/* a JSON object with an integer ErrorCode */
	int32_t		code;			/* ErrorCode */
	char		info[IM_INFO_MAX + 1];	/* ErrorInfo, "" if absent */
	char		group_id[IM_GROUP_ID_MAX + 1];	/* GroupId, "" if absent or
												 * unusable */
	bool		odd_group_id;	/* there is a GroupId, and it is unusable */
} ImReply;

/* What the app has of a row, compared with what we sent. */
typedef enum ImFound
{
	IM_FOUND_UNREADABLE,		/* no usable entry for the id */
	IM_FOUND_SAME,
	IM_FOUND_OTHER,
	IM_FOUND_ABSENT
} ImFound;

/* The judgement of one exchange with the service, see im_judge(). */
typedef enum ImOutcome
{
	IM_OUT_NOT_SENT,			/* provably no body byte left */
	IM_OUT_DONE,
	IM_OUT_EXISTS,				/* GroupId taken; nothing created now */
	IM_OUT_REFUSED,				/* definite, this row only */
	IM_OUT_SLOW,				/* definite, rate */
	IM_OUT_QUOTA,				/* definite, new groups per day */
	IM_OUT_RESIGN,				/* definite, UserSig */
	IM_OUT_STOP,				/* definite, whole drain */
	IM_OUT_UNKNOWN,				/* may have been applied */
	/* of a lookup (get_group_info) only: */
	IM_OUT_SAME,
	IM_OUT_OTHER,
	IM_OUT_IN_USE,				/* ours, but it holds what we did not import */
	IM_OUT_ABSENT,
	IM_OUT_UNREADABLE			/* cannot tell now */
} ImOutcome;

typedef struct ImVerdict
{
	ImOutcome	outcome;
	int32_t		code;			/* the service's, or an ImOwnCode */
	bool		answered;		/* the service answered at all */
	bool		ambiguous;		/* with IM_OUT_STOP: an undocumented code */
	bool		of_item;		/* said of this row alone, within an answer for many */
	int			http_status;	/* of the answer, 0: none */
	int32_t		retry_after;	/* seconds for which it asks everybody to wait */
} ImVerdict;

/*
 * The kinds of rows, in the order of a move.  Each has an outbox of its own, but
 * for what is done with rows of another kind's.
 */
typedef enum ImKind
{
#define IM_KIND(kind, name, function) kind,
#define IM_KIND_OF_OTHERS(kind, name) kind,
#include "commandlist.h"
	IM_KINDS
} ImKind;

#define IM_OUTBOXES			IM_UNDO_GROUP

/*
 * Kinds whose rows belong to a group are the stages of its room: it begins with
 * the first, goes on from each to the next, and is done after the last.
 */
#define IM_FIRST_STAGE		IM_MEMBER
#define IM_LAST_STAGE		(IM_OUTBOXES - 1)
#define IM_STAGES			(IM_LAST_STAGE - IM_FIRST_STAGE + 1)

/* Which command of the service a call uses. */
typedef enum ImOp
{
	IM_OP_NONE,
#define IM_IMPORT(op, ...) op,
#define IM_QUESTION(op, ...) op,
#include "commandlist.h"
	IM_OPS
} ImOp;

/* The operation whose limit another one uses: they are one command. */
static inline ImOp
im_op_limiter(ImOp op)
{
	switch ((int) op)
	{
#define IM_QUESTION(op, limiter, ...) \
		case op: \
			return limiter;
#include "commandlist.h"
		default:
			return op;
	}
}

/* True for what only asks: it changes nothing, however often it is sent. */
static inline bool
im_op_asks(ImOp op)
{
	switch ((int) op)
	{
#define IM_QUESTION(op, ...) case op:
#include "commandlist.h"
			return true;
		default:
			return false;
	}
}

/* What is compared of a group; im_field_column() gives the column's name. */
typedef enum ImCompared
{
	IM_FIELD_TYPE,
	IM_FIELD_NAME,
	IM_FIELD_OWNER,
	IM_FIELD_CREATE_TIME,
	IM_FIELD_INTRODUCTION,
	IM_FIELD_NOTIFICATION,
	IM_FIELD_FACE_URL,
	IM_FIELD_MAX_MEMBERS,
	IM_FIELD_JOIN_OPTION,
	IM_FIELD_TOPIC,
	IM_FIELD_CUSTOM
} ImCompared;

#define IM_FIELDS			(IM_FIELD_CUSTOM + 1)
#define IM_CHECK_MAX		50	/* ids in one get_group_info, as documented */
#define IM_CUSTOM_MAX		64	/* entries of AppDefinedData that are compared;
								 * an app has 10 keys, once it had 20 */

/* What sending a row a second time would do. */
typedef enum ImRepeat
{
	IM_REPEAT_REFUSED,			/* it has an id of its own: refused as taken */
	IM_REPEAT_NEVER,			/* a second one: the service chooses the id */
	IM_REPEAT_HARMLESS,			/* nothing new */
	IM_REPEAT_READ_BACK,		/* nothing new, but only what is there tells */
	IM_REPEAT_UNDO				/* it disbands a group, which is then gone */
} ImRepeat;

/* Why a lookup is made, so that its result can be judged. */
typedef enum ImWhy
{
	IM_WHY_NONE,				/* no lookup: a plain send */
	IM_WHY_EXISTS,				/* the service says that the id is taken */
	IM_WHY_REFUSED,				/* refused now, but maybe applied before */
	IM_WHY_EXHAUSTED,			/* out of attempts, maybe applied */
	IM_WHY_INVALID,				/* would not be sent now, maybe applied before */
	IM_WHY_REPEAT,				/* before it is sent again */
	IM_WHY_UNDO					/* before its group is disbanded */
} ImWhy;

/* The life of a row as the protocol sees it while the row is claimed. */
typedef struct ImLife
{
	ImRepeat	repeat;
	bool		maybe_sent;		/* before this attempt */
	int64_t		suspect_ms;		/* age of the last attempt whose outcome is
								 * unknown, see im_steady_age_ms(); only if
								 * maybe_sent */
	int32_t		attempts;		/* this one included */
	ImWhy		why;
} ImLife;

/* What to do with a call now. */
typedef enum ImAct
{
	IM_ACT_SEND,				/* POST import_group */
	IM_ACT_LOOKUP,				/* ask get_group_info, then judge again */
	IM_ACT_SETTLE				/* write status, due and reason to the row */
} ImAct;

/* The decision: with IM_ACT_SETTLE all fields count, else only why. */
typedef struct ImNext
{
	ImAct		act;
	ImWhy		why;			/* of a lookup */
	ImStatus	status;
	bool		maybe_sent;		/* the row may have created a group */
	bool		suspect_now;	/* ... and the doubt is as old as this attempt */
	int32_t		attempts;
	int64_t		delay_ms;		/* pending: not before now + this; 0: at once */
	const char *reason;			/* static text, or NULL: what the service said */
} ImNext;

/* What may differ between an imported row of any kind but a group and the app. */
typedef enum ImDiffers
{
	IM_DIFFERS_ROLE,
	IM_DIFFERS_SENDER,
	IM_DIFFERS_TIME,
	IM_DIFFERS_TEXT,			/* the content, where the row has it as text ... */
	IM_DIFFERS_BODY				/* ... or as MsgBody */
} ImDiffers;

/* A group's messages, as far as the rows of one room imported them. */
typedef struct ImRoomFacts
{
	int64_t		messages;		/* how many, 0: not known */
	int64_t		newest_seq;		/* highest number that the service gave, 0: none */
	int64_t		newest_time;	/* latest time of one that is imported */
} ImRoomFacts;

/* A row that is asked about, or compared with the app. */
typedef struct ImSeen
{
	const ImRoomFacts *facts;	/* of its room, or NULL */
	bool		as_text;		/* its content is in the column text */
	int			company;		/* at most so many rows in its call; 0: no matter */
	int64_t		below;			/* of a message: look from this number downwards; 0:
								 * from the newest */
	/* What the answer says: */
	ImFound		found;
	uint32_t	differs;		/* of IM_FOUND_OTHER: a bit for each ImDiffers, or for
								 * each ImCompared of a group ... */
	uint64_t	custom;			/* ... but of its AppDefinedData here, a bit for each
								 * of im_reply_extras()'s keys */
	bool		again;			/* not decided: ask for it again, at below */
	/* Of a one-to-one message, what is asked next: */
	char		page_key[64];	/* what stands behind this message and below; "": all */
	int			pages;			/* that were read so far */
	bool		newer_names;	/* the two are named as newer documents do */
	bool		looks_back;		/* whether the service keeps anything as old */
	bool		expired;		/* it keeps nothing as old: nobody can tell */
	bool		by_count;		/* only its group's number of messages was looked at */
	int64_t		next_seq;		/* of its group: the number of the next message, 0: not
								 * said ... */
	int64_t		newest;			/* ... and the time of the newest one */
} ImSeen;

/* A page of the list of an app's groups; ids is room for max of them. */
typedef struct ImPage
{
	int64_t		from;			/* where it begins */
	int			limit;			/* ids that are asked for; 0: as many as there are */
	char		(*ids)[IM_GROUP_ID_MAX + 1];
	int			max;
	int			n;
	int64_t		next;			/* where the next page begins, 0: there is none */
	int64_t		total;			/* groups of the app, as the answer says */
} ImPage;

/* The messages of a group that is to be disbanded, as far as rows imported them. */
typedef struct ImOwned
{
	int64_t		messages;
	int64_t		least_seq;		/* of those whose number is known ... */
	int64_t		most_seq;		/* ... */
	bool		gapless;		/* all numbers are known, and none is left out */
} ImOwned;

struct ImCommand;
struct ImRoom;

/* A row of an outbox on its way, or what a SQL function sends like one. */
typedef struct ImRow
{
	/* Which row: filled by queue, or left empty by a SQL function. */
	ImKind		kind;
	int64_t		id;
	unsigned char row_key[16];	/* tells the row from another one with its id */
	int64_t		claim;			/* token; write-back must match it */
	ImLife		life;
	int64_t		suspect_at;		/* TimestampTz of the doubt, if life.maybe_sent */
	int			request;		/* slot of the session that waits for it, or
								 * -1 */
	uint32_t	order;			/* im_import_drain() that it counts for, or 0 */
	char	   *room_key;		/* of the room that a group becomes, or NULL */
	struct ImRoom *room;		/* that the row belongs to, or NULL */
	ImOwned		owned;			/* of a group that is to be disbanded */

	/* What to send: filled by record. */
	char		group_id[IM_GROUP_ID_MAX + 1];	/* its own or its group's; "" if
												 * assigned or none */
	char	   *key;			/* of the call that it goes into, or NULL */
	char	   *name;			/* names it in the answer, or NULL */
	char	   *item;			/* JSON; UTF-8; NULL: only ask whether it is there */
	size_t		item_len;
	int64_t		create_time;	/* of a group, UNIX seconds; 0: not given */
	int64_t		sent_time;		/* of a message, UNIX seconds */
	int64_t		least_time;		/* of one that was perhaps sent at a time that is lost:
								 * not before this one; else 0 */
	uint32_t	random;			/* of a message */
	char	   *problems;		/* UTF-8 text if the row cannot be sent, or NULL */
	int32_t		problem_code;

	/* What came of it: filled by results. */
	ImVerdict	verdict;
	char		info[IM_INFO_MAX + 1];
	char		said_id[IM_GROUP_ID_MAX + 1];	/* the GroupId of the answer, or "" */
	bool		found;			/* it is among the messages that were read */
	ImSeen		check;
	int64_t		seq;			/* of a message in its group, 0: not said */
	int32_t		refusal_code;	/* what led to a lookup, to be reported ... */
	char		refusal_info[IM_INFO_MAX + 1];	/* ... if the row is not there */

	/* What it means: filled by protocol. */
	ImNext		next;
	int64_t		judged_at;		/* wall clock of the judgement, server's
								 * TimestampTz */
} ImRow;

/* One exchange with the service: rows of one command and one key. */
typedef struct ImCall
{
	ImOp		op;
	const struct ImCommand *command;	/* of the rows; NULL: there are none */
	ImRow	  **rows;
	int			nrows;
	int			place;			/* in the drain's array of live calls */
	bool		waits;			/* not to be sent yet: more rows may come into it */
	char	   *body;			/* UTF-8, not terminated by the length */
	size_t		body_len;
	int64_t		read_below;		/* of messages: from this number downwards; 0: the
								 * newest */
	ImPage	   *page;			/* of IM_OP_LIST_GROUPS */

	/* What happened: filled by sender. */
	ImReply		reply;			/* of the last exchange */
	ImFound		found;			/* of a question: unreadable if nothing could be read */
	int			nread;			/* of IM_OP_GET_MESSAGES: messages in the answer ... */
	int64_t		least_seq;		/* ... the least of their numbers ... */
	int64_t		oldest_time;	/* ... and their oldest and newest times */
	int64_t		newest_time;
	int64_t		group_newest;	/* the newest time that an earlier page had */
	int64_t		elapsed_us;		/* of the last exchange */
	int64_t		begun_at;		/* of the last exchange; monotonic us */
	int64_t		server_time;	/* UNIX seconds by the answer's Date header, 0:
								 * none */
	int			retry_after;	/* seconds that an HTTP status 429 or 503 asks
								 * to wait, at most a day; 0: it does not */

	/* What it means: filled by protocol. */
	ImVerdict	verdict;
} ImCall;

#endif							/* IM_CALL_H */
